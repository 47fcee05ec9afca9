// Further attempts: after what, where, when, with what body, and never twice what must not be done twice.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/random.h"
#include "tests/sim/seeds.h"
#include "tests/sim/stage.h"

namespace weir::lb::trial {
namespace {

constexpr std::string_view kBusy =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nRetry-After: 7\r\n\r\nbusy";

std::string Put(size_t bytes) {
  return "PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: " + std::to_string(bytes) + "\r\n\r\n";
}

// Every request that any origin hears gets its number, from 1, and what `answer` does with it.
class Scene {
 public:
  using Answer = std::function<void(Speaker&, size_t number)>;
  using Change = std::function<void(Settings&, UpstreamSettings&)>;

  Scene(uint64_t seed, uint32_t endpoints, const Change& change, Answer answer) {
    Stage::Options options;
    options.settings = Rig::Defaults(endpoints);
    options.settings.upstreams[0].timeouts = options.settings.timeouts;
    change(options.settings, options.settings.upstreams[0]);
    stage_ = std::make_unique<Stage>(seed, std::move(options));
    for (uint32_t i = 0; i < endpoints; ++i) {
      stage_->Origin(i, [this, i, answer](Speaker& speaker) {
        heard_at.push_back(i);
        heard_ms.push_back(stage_->now_ms());
        answer(speaker, heard_at.size());
      });
    }
  }
  Stage& stage() { return *stage_; }
  Speaker& Asks(std::string_view request, std::string_view end = "\r\n\r\n") {
    Speaker& client = stage_->Client(request);
    EXPECT_TRUE(stage_->Until([&] { return client.Heard(end) || client.over(); }, 100'000));
    return client;
  }

  std::vector<uint32_t> heard_at;  // endpoints
  std::vector<int64_t> heard_ms;

 private:
  std::unique_ptr<Stage> stage_;
};

void OnGatewayErrors(Settings&, UpstreamSettings& upstream) {
  for (const int status : {502, 503, 504}) upstream.retry.statuses.set(status - RetrySettings::kFirstStatus);
}

TEST(Retry, OfAStatusAnotherEndpointIsAskedFirst) {
  ForEachSeed([](uint64_t seed) {
    Scene scene(seed, 3, OnGatewayErrors,
                [](Speaker& origin, size_t number) { number <= 2 ? origin.Say(kBusy) : origin.Say(kOk); });
    Speaker& client = scene.Asks(Get("/"));
    EXPECT_TRUE(client.Heard("200 OK")) << client.heard;
    EXPECT_FALSE(client.Heard("503"));
    ASSERT_EQ(scene.heard_at.size(), 3u);
    EXPECT_EQ(scene.heard_at[0] + scene.heard_at[1] + scene.heard_at[2], 3u) << "each of the three once";
    EXPECT_EQ(scene.stage().counters().retries.Get(), 2u);
  });
}

TEST(Retry, NotOfAStatusThatNobodyNamed) {
  ForEachSeed([](uint64_t seed) {
    Scene scene(
        seed, 3, [](Settings&, UpstreamSettings&) {}, [](Speaker& origin, size_t) { origin.Say(kBusy); });
    EXPECT_TRUE(scene.Asks(Get("/")).Heard("503 Service"));
    EXPECT_EQ(scene.heard_at.size(), 1u);
  });
}

TEST(Retry, TheLastAnswerIsTheClientsAndItsConnectionIsKept) {
  ForEachSeed([](uint64_t seed) {
    Scene scene(seed, 1, OnGatewayErrors, [](Speaker& origin, size_t number) {
      origin.Say("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 1\r\n\r\n" + std::to_string(number));
    });
    Speaker& client = scene.Asks(Get("/"), "\r\n\r\n3");
    EXPECT_EQ(client.Count("HTTP/1.1 "), 1u) << client.heard;
    EXPECT_EQ(scene.heard_at.size(), 3u) << "where there is no other endpoint, the same";
    EXPECT_EQ(scene.stage().origins().size(), 1u) << "an answer that is dropped whole costs no connection";
    client.heard.clear();
    client.Say(Get("/"));
    EXPECT_TRUE(scene.stage().Until([&] { return client.Heard("\r\n\r\n6"); }, 1'000)) << client.heard;
  });
}

TEST(Retry, AnAnswerThatIsNotWholeCostsItsConnection) {
  ForEachSeed([](uint64_t seed) {
    Scene scene(seed, 1, OnGatewayErrors, [](Speaker& origin, size_t number) {
      number == 1 ? origin.Say("HTTP/1.1 503 Later\r\nContent-Length: 100000\r\n\r\na part")
                  : origin.Say(kOk);
    });
    EXPECT_TRUE(scene.Asks(Get("/")).Heard("200 OK"));
    EXPECT_EQ(scene.stage().origins().size(), 2u);
  });
}

// POST: an origin may have acted on it, whatever becomes of its answer.
TEST(Retry, WhatIsNotIdempotentIsSentOnce) {
  const std::vector<std::function<void(Speaker&)>> failures = {
      [](Speaker& origin) { origin.Say(kBusy); },
      [](Speaker& origin) { origin.peer.Reset(); },
      [](Speaker& origin) { origin.peer.Close(); },
      [](Speaker&) {},  // no answer
      [](Speaker& origin) { origin.Say("HTTP/1.1 50"), origin.peer.Close(); },
  };
  for (const bool may : {false, true}) {
    for (size_t i = 0; i < failures.size(); ++i) {
      SCOPED_TRACE(i);
      ForEachSeed([&](uint64_t seed) {
        Scene scene(
            seed, 3,
            [&](Settings& settings, UpstreamSettings& upstream) {
              OnGatewayErrors(settings, upstream);
              upstream.retry.non_idempotent = may;
              upstream.retry.per_try_ms = 200;
              upstream.retry.body_bytes = 1000;
              settings.timeouts.response_ms = upstream.timeouts.response_ms = 1'000;
            },
            [&](Speaker& origin, size_t number) { number == 1 ? failures[i](origin) : origin.Say(kOk); });
        Speaker& client = scene.Asks(Post("/", "Content-Length: 4\r\n", "body"));
        const bool again = may && i < 4;  // of the last one a part of the answer came
        EXPECT_EQ(scene.heard_at.size(), again ? 2u : 1u);
        EXPECT_EQ(client.Heard("200 OK"), again) << client.heard;
        EXPECT_EQ(client.Count("HTTP/1.1 "), 1u) << client.heard;
      });
    }
  }
}

TEST(Retry, OnlyAfterWhatTheListSays) {
  ForEachSeed([](uint64_t seed) {
    const auto only_statuses = [](Settings& settings, UpstreamSettings& upstream) {
      OnGatewayErrors(settings, upstream);
      upstream.retry.reset = upstream.retry.connect_failure = false;
    };
    Scene scene(seed, 2, only_statuses,
                [](Speaker& origin, size_t number) { number == 1 ? origin.peer.Close() : origin.Say(kOk); });
    EXPECT_TRUE(scene.Asks(Get("/")).Heard("502 "));
    Scene nobody(
        seed, 0,
        [&](Settings& settings, UpstreamSettings& upstream) {
          only_statuses(settings, upstream);
          upstream.endpoints = Rig::Defaults(2).upstreams[0].endpoints;
        },
        nullptr);
    EXPECT_TRUE(nobody.Asks(Get("/")).Heard("502 "));
    EXPECT_EQ(nobody.stage().counters().upstream_connect_failures.Get(), 1u);
  });
}

TEST(Retry, AnAttemptThatTakesTooLongGivesWay) {
  ForEachSeed([](uint64_t seed) {
    Scene scene(
        seed, 2, [](Settings&, UpstreamSettings& upstream) { upstream.retry.per_try_ms = 300; },
        [](Speaker& origin, size_t number) {
          if (number == 2) origin.Say(kOk);
        });
    EXPECT_TRUE(scene.Asks(Get("/")).Heard("200 OK"));
    ASSERT_EQ(scene.heard_at.size(), 2u);
    EXPECT_NE(scene.heard_at[0], scene.heard_at[1]);
    const int64_t took_ms = scene.heard_ms[1] - scene.heard_ms[0];
    EXPECT_GE(took_ms, 250);
    EXPECT_LE(took_ms, 600);
  });
}

// The last attempt, one that is over the budget, one that may not be repeated: they have the time of the
// answer.
TEST(Retry, AnAttemptWithoutAnotherBehindItGoesOn) {
  for (const int why : {0, 1, 2}) {
    SCOPED_TRACE(why);
    ForEachSeed([why](uint64_t seed) {
      std::unique_ptr<Scene> scene;
      scene = std::make_unique<Scene>(
          seed, 2,
          [&](Settings&, UpstreamSettings& upstream) {
            upstream.retry.per_try_ms = 300;
            if (why == 0) upstream.retries = 0;
            if (why == 1) upstream.retry_budget.share.value = upstream.retry_budget.min = 0;
          },
          [&](Speaker& origin, size_t) {
            scene->stage().world().After(2'000 * kNsPerMs, [&origin] { origin.Say(kOk); });
          });
      Speaker& client = scene->Asks(why == 2 ? Post("/", "Content-Length: 1\r\n", "x") : Get("/"));
      EXPECT_TRUE(client.Heard("200 OK")) << client.heard;
      EXPECT_EQ(scene->heard_at.size(), 1u);
    });
  }
}

// However the time is parted among attempts: one that goes on has no more than the answer's.
TEST(Retry, WhoGoesOnHasTheTimeOfTheAnswer) {
  for (const uint32_t try_ms : {300u, 1'000u, 5'000u}) {
    SCOPED_TRACE(try_ms);
    ForEachSeed([try_ms](uint64_t seed) {
      Scene scene(
          seed, 2,
          [try_ms](Settings& settings, UpstreamSettings& upstream) {
            upstream.retry.per_try_ms = try_ms;
            upstream.retry_budget.share.value = upstream.retry_budget.min = 0;
            settings.timeouts.response_ms = upstream.timeouts.response_ms = 1'000;
          },
          [](Speaker&, size_t) {});
      EXPECT_TRUE(scene.Asks(Get("/")).Heard("504 "));
      ASSERT_EQ(scene.heard_at.size(), 1u);
      const int64_t took_ms = scene.stage().now_ms() - scene.heard_ms[0];
      EXPECT_GE(took_ms, 900);
      EXPECT_LE(took_ms, 1'400);
    });
  }
}

TEST(Retry, WaitsAreDrawnBelowABoundThatDoubles) {
  int64_t sums_ms[4] = {};
  uint64_t scenes = 0;
  ForEachSeed([&](uint64_t seed) {
    Scene scene(
        seed, 1,
        [](Settings& settings, UpstreamSettings& upstream) {
          OnGatewayErrors(settings, upstream);
          upstream.retries = 4;
          upstream.retry.backoff_base_ms = 1'000;
          upstream.retry.backoff_max_ms = 3'000;
        },
        [](Speaker& origin, size_t) { origin.Say(kBusy); });
    EXPECT_TRUE(scene.Asks(Get("/"), "\r\n\r\nbusy").Heard("503"));
    ASSERT_EQ(scene.heard_ms.size(), 5u);
    for (size_t i = 0; i < 4; ++i) {
      const int64_t waited_ms = scene.heard_ms[i + 1] - scene.heard_ms[i];
      EXPECT_LE(waited_ms, (i == 0 ? 1'000 : i == 1 ? 2'000 : 3'000) + 300);
      sums_ms[i] += waited_ms;
    }
    ++scenes;
  });
  if (scenes < 20) return;
  EXPECT_NEAR(static_cast<double>(sums_ms[0]) / scenes, 500, 250);
  EXPECT_NEAR(static_cast<double>(sums_ms[1]) / scenes, 1'000, 500);
  EXPECT_NEAR(static_cast<double>(sums_ms[3]) / scenes, 1'500, 600);
}

TEST(Retry, WhoWaitsHoldsNobodyAndHearsOfTheClient) {
  ForEachSeed([](uint64_t seed) {
    Scene scene(
        seed, 1,
        [](Settings& settings, UpstreamSettings& upstream) {
          OnGatewayErrors(settings, upstream);
          upstream.retry.backoff_base_ms = upstream.retry.backoff_max_ms = 3'600'000;
        },
        [](Speaker& origin, size_t) { origin.Say(kBusy); });
    Stage& stage = scene.stage();
    Speaker& client = stage.Client(Get("/"));
    stage.Run(500);
    ASSERT_EQ(scene.heard_at.size(), 1u);
    const UpstreamPlan& plan = *stage.rig().generations().back()->plan(0);
    EXPECT_EQ(plan.books[0]->page(0).counters.active.Get(), 0u);
    EXPECT_EQ(plan.book->active(0).Get(), 1u) << "to the budget it is in flight";
    EXPECT_EQ(stage.counters().upstream_idle.Get(), 1u);
    client.peer.Reset();
    stage.Run(500);
    EXPECT_EQ(plan.book->active(0).Get(), 0u);
    EXPECT_EQ(stage.counters().client_aborts.Get(), 1u);
    EXPECT_EQ(stage.counters().requests_active.Get(), 0u);
    EXPECT_EQ(scene.heard_at.size(), 1u);
  });
}

// Else each that waits would make the room smaller for those that failed with it.
TEST(Retry, ManyThatFailTogetherAndWaitHaveTheWholeBudget) {
  ForEachSeed([](uint64_t seed) {
    constexpr size_t kRequests = 40;
    std::vector<Speaker*> asked;
    Scene scene(
        seed, 1,
        [](Settings& settings, UpstreamSettings& upstream) {
          OnGatewayErrors(settings, upstream);
          upstream.retry.backoff_base_ms = upstream.retry.backoff_max_ms = 3'600'000;
          upstream.retry_budget.share.value = Share::kAll / 2;
        },
        [&](Speaker& origin, size_t) { asked.push_back(&origin); });
    Stage& stage = scene.stage();
    std::vector<Speaker*> clients;
    for (size_t i = 0; i < kRequests; ++i) clients.push_back(&stage.Client(Get("/")));
    ASSERT_TRUE(stage.Until([&] { return asked.size() == kRequests; }, 10'000));
    for (Speaker* origin : asked) origin->Say(kBusy);
    const auto answered = [&] {
      return std::count_if(clients.begin(), clients.end(),
                           [](Speaker* client) { return client->Heard("busy"); });
    };
    stage.Run(1'000);
    // Who asks when others were answered finds fewer in flight: at least what was never answered may be half.
    const UpstreamPlan& plan = *stage.rig().generations().back()->plan(0);
    const uint64_t waiting = plan.book->retries(0).Get();
    EXPECT_EQ(answered() + waiting, kRequests);
    EXPECT_GE(waiting, 18u);
    EXPECT_LE(waiting, 20u);
  });
}

// All of them on connections that are new: each costs the budget. Who finds no room waits, and none is lost;
// how many are tried again at one time is within the budget all the while.
TEST(Retry, AllThatAnEndpointHadInFlightIsServedByTheOthers) {
  for (const bool waits : {true, false}) {
    SCOPED_TRACE(waits);
    ForEachSeed([&](uint64_t seed) {
      constexpr size_t kRequests = 60;
      Stage* the_stage = nullptr;
      std::vector<Speaker*> asked;
      bool died = false;
      uint64_t most_retries = 0;
      Scene scene(
          seed, 2,
          [&](Settings&, UpstreamSettings& upstream) {
            if (!waits) upstream.retry_budget.wait_ms = 0;
          },
          [&](Speaker& origin, size_t) {
            if (!died) return asked.push_back(&origin);
            const UpstreamPlan& plan = *the_stage->rig().generations().back()->plan(0);
            most_retries = std::max(most_retries, plan.book->retries(0).Get());
            the_stage->rig().world().After(10 * kNsPerMs, [&origin] { origin.Say(kOk); });
          });
      Stage& stage = scene.stage();
      the_stage = &stage;
      std::vector<Speaker*> clients;
      for (size_t i = 0; i < kRequests; ++i) clients.push_back(&stage.Client(Get("/")));
      ASSERT_TRUE(stage.Until([&] { return asked.size() == kRequests; }, 10'000));
      died = true;
      for (size_t i = 0; i < kRequests; ++i) {
        if (scene.heard_at[i] == 0) asked[i]->peer.Reset();
      }
      const auto count = [&](std::string_view status) {
        return static_cast<size_t>(std::count_if(clients.begin(), clients.end(),
                                                 [&](Speaker* client) { return client->Heard(status); }));
      };
      stage.Run(5'000);
      const size_t held =
          static_cast<size_t>(std::count(scene.heard_at.begin(), scene.heard_at.begin() + kRequests, 1u));
      EXPECT_EQ(count("200 OK") + count("502 "), kRequests - held);
      if (waits) {
        EXPECT_EQ(count("502 "), 0u);
        EXPECT_EQ(stage.counters().retries_over_budget.Get(), 0u);
      } else {
        EXPECT_GT(count("502 "), 0u);
        EXPECT_EQ(stage.counters().retries_over_budget.Get(), count("502 "));
      }
      EXPECT_GE(most_retries, 3u);
      EXPECT_LE(most_retries, kRequests / 5);
      const UpstreamPlan& plan = *stage.rig().generations().back()->plan(0);
      EXPECT_EQ(plan.book->retries(0).Get(), 0u);
      EXPECT_EQ(plan.book->active(0).Get(), held);
    });
  }
}

// One place in all, and nobody waits for it: who has it keeps it for the next attempt, though another has
// just been refused.
TEST(Retry, WhoHasAPlaceInTheBudgetKeepsIt) {
  ForEachSeed([](uint64_t seed) {
    std::vector<Speaker*> asked;
    Scene scene(
        seed, 4,
        [](Settings&, UpstreamSettings& upstream) {
          upstream.retry_budget.share.value = 0;
          upstream.retry_budget.min = 1;
          upstream.retry_budget.wait_ms = 0;
        },
        [&](Speaker& origin, size_t) { asked.push_back(&origin); });
    Stage& stage = scene.stage();
    Speaker& first = stage.Client(Get("/first"));
    ASSERT_TRUE(stage.Until([&] { return asked.size() == 1; }, 1'000));
    Speaker& second = stage.Client(Get("/second"));
    ASSERT_TRUE(stage.Until([&] { return asked.size() == 2; }, 1'000));
    asked[0]->peer.Reset();
    ASSERT_TRUE(stage.Until([&] { return asked.size() == 3; }, 1'000));
    asked[1]->peer.Reset();
    asked[2]->peer.Reset();
    ASSERT_TRUE(stage.Until([&] { return second.Heard(" 502 ") && asked.size() == 4; }, 1'000));
    asked[3]->Say(kOk);
    EXPECT_TRUE(stage.Until([&] { return first.Heard(" 200 OK"); }, 1'000)) << first.heard;
  });
}

TEST(Retry, TheTimeForTheRequestEndsAWait) {
  ForEachSeed([](uint64_t seed) {
    Scene scene(
        seed, 1,
        [](Settings& settings, UpstreamSettings& upstream) {
          OnGatewayErrors(settings, upstream);
          upstream.retry.backoff_base_ms = upstream.retry.backoff_max_ms = 3'600'000;
          settings.timeouts.request_ms = upstream.timeouts.request_ms = 700;
        },
        [](Speaker& origin, size_t) { origin.Say(kBusy); });
    EXPECT_TRUE(scene.Asks(Get("/")).Heard("504 "));
    EXPECT_LE(scene.stage().now_ms(), 1'500);
    EXPECT_EQ(scene.heard_at.size(), 1u);
  });
}

// A body that comes in pieces: the first origin fails in the middle of it, the second has all of it.
TEST(Retry, ABodyWithinTheBoundIsSentAgain) {
  const std::string body = [] {
    std::string text;
    for (int i = 0; text.size() < 10'000; ++i) text += std::to_string(i) + ",";
    return text.substr(0, 10'000);
  }();
  for (const uint32_t most_bytes : {10'000u, 9'999u}) {
    for (const bool busy : {false, true}) {
      SCOPED_TRACE(most_bytes);
      SCOPED_TRACE(busy);
      ForEachSeed([&](uint64_t seed) {
        Random random(seed);
        Scene scene(
            seed, 2,
            [&](Settings& settings, UpstreamSettings& upstream) {
              OnGatewayErrors(settings, upstream);
              upstream.retry.body_bytes = most_bytes;
            },
            [](Speaker&, size_t) {});
        Stage& stage = scene.stage();
        Speaker& client = stage.Client(Put(body.size()));
        // Beyond what comes with the head.
        const size_t fails_at = (most_bytes < body.size() ? 5'000 : 0) + random.Below(4'000);
        size_t said = 0;
        bool failed = false;
        const auto fail_when_due = [&] {
          if (failed || said <= fails_at || scene.heard_at.empty()) return;
          failed = true;
          busy ? stage.origin(0).Say(kBusy) : stage.origin(0).peer.Reset();
        };
        while (said < body.size()) {
          const size_t bytes = std::min<size_t>(1 + random.Below(3'000), body.size() - said);
          client.Say(std::string_view(body).substr(said, bytes));
          said += bytes;
          stage.Run(50);
          fail_when_due();
          stage.Run(50);
        }
        ASSERT_TRUE(failed);
        stage.Run(500);
        if (most_bytes < body.size()) {
          EXPECT_TRUE(client.Heard(busy ? "503 " : "502 ")) << client.heard;
          EXPECT_EQ(stage.origins().size(), 1u);
          return;
        }
        ASSERT_EQ(stage.origins().size(), 2u);
        const std::string& heard = stage.origin(1).heard;
        EXPECT_EQ(heard.substr(heard.find("\r\n\r\n") + 4), body);
        stage.origin(1).Say(kOk);
        EXPECT_TRUE(stage.Until([&] { return client.Heard("\r\n\r\nok"); }, 1'000));
        EXPECT_EQ(client.Count("HTTP/1.1 "), 1u) << client.heard;
        client.heard.clear();
        client.Say(Get("/"));
        EXPECT_TRUE(stage.Until([&] { return scene.heard_at.size() == 3; }, 1'000))
            << "the next one is whole";
      });
    }
  }
}

// Everything at once, with a network that loses and cuts: each client gets at most one answer, and no origin
// ever hears a POST again.
TEST(Retry, WhateverFailsNothingIsDoneTwiceThatMustNotBe) {
  ForEachSeed([](uint64_t seed) {
    Random random(seed);
    constexpr int kRequests = 40;
    std::map<std::string, int> heard;
    std::unique_ptr<Scene> scene;
    scene = std::make_unique<Scene>(
        seed, 4,
        [&](Settings& settings, UpstreamSettings& upstream) {
          OnGatewayErrors(settings, upstream);
          upstream.retries = 1 + random.Below(4);
          upstream.retry.per_try_ms = random.Below(2) * 200;
          upstream.retry.body_bytes = random.Below(2) * 5'000;
          upstream.retry.backoff_base_ms = random.Below(2) * 50;
          upstream.retry.backoff_max_ms = upstream.retry.backoff_base_ms * 4;
          settings.timeouts.response_ms = upstream.timeouts.response_ms = 1'000;
          if (random.Below(2) == 0) upstream.retry_budget.on = false;
        },
        [&](Speaker& origin, size_t) {
          const size_t line = origin.heard.rfind(" /n");
          const size_t begin = origin.heard.rfind('\n', line) + 1;
          ++heard[origin.heard.substr(begin, origin.heard.find(" HTTP", line) - begin)];
          switch (random.Below(7)) {
            case 0:
              return origin.Say(kBusy);
            case 1:
              return origin.peer.Reset();
            case 2:
              return origin.peer.Close();
            case 3:
              return;
            case 4:
              origin.Say("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 100000\r\n\r\npart");
              return;
            default:
              return origin.Say(kOk);
          }
        });
    Stage& stage = scene->stage();
    std::vector<Speaker*> clients;
    for (int i = 0; i < kRequests; ++i) {
      const char* const method = random.Below(2) == 0 ? "POST" : random.Below(2) == 0 ? "PUT" : "GET";
      const std::string target = std::string(method) + " /n" + std::to_string(i);
      const size_t bytes = method[0] == 'G' ? 0 : random.Below(8'000);
      clients.push_back(&stage.Client(
          target + " HTTP/1.1\r\nHost: a.test\r\nContent-Length: " + std::to_string(bytes) + "\r\n\r\n"));
      stage.Run(random.Below(30));
      clients.back()->Say(std::string(bytes, 'x'));
      stage.Run(random.Below(30));
    }
    stage.Run(20'000);
    for (Speaker* client : clients) EXPECT_EQ(client->Count("HTTP/1.1 "), 1u) << client->heard;
    const uint32_t retries = stage.rig().settings().upstreams[0].retries;
    for (const auto& [what, times] : heard) {
      EXPECT_LE(times, what.starts_with("POST") ? 1 : static_cast<int>(retries) + 1) << what;
    }
    EXPECT_GE(heard.size(), static_cast<size_t>(kRequests) / 2);
  });
}

}  // namespace
}  // namespace weir::lb::trial
