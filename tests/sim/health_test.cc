// Active checks: what they find, how soon, and that requests go by it and none is lost.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/seeds.h"
#include "tests/sim/stage.h"

namespace weir::lb::trial {
namespace {

constexpr uint32_t kIntervalMs = 1'000;
constexpr uint32_t kDownMs = 200;
constexpr uint32_t kTimeoutMs = 300;
constexpr uint32_t kRise = 2;
constexpr uint32_t kFall = 3;
// From what happens to when every shard knows.
constexpr int64_t kDetectMs = kFall * kIntervalMs + kTimeoutMs;
constexpr int64_t kBackMs = (kRise + 1) * kDownMs + kTimeoutMs;

void Checked(UpstreamSettings& upstream) {
  HealthCheckSettings& check = upstream.health_check;
  check.type = HealthCheckSettings::Type::kHttp;
  check.path = "/check";
  check.interval_ms = kIntervalMs;
  check.interval_down_ms = kDownMs;
  check.jitter_ms = kIntervalMs / 10;
  check.timeout_ms = kTimeoutMs;
  check.rise = kRise;
  check.fall = kFall;
}

void Play(const std::function<void(Stage&)>& scene, const std::function<void(Settings&)>& change = nullptr) {
  ForEachSeed([&](uint64_t seed) {
    Stage::Options options;
    if (seed % 2 == 0) {
      options.faults.late_completion = 0.3;
      options.faults.short_receive = 0.3;
      options.faults.short_send = 0.3;
    }
    options.settings = Rig::Defaults(2);
    Checked(options.settings.upstreams[0]);
    if (change) change(options.settings);
    Stage stage(seed, std::move(options));
    scene(stage);
  });
}

EndpointBook& Book(Stage& stage, uint32_t endpoint) {
  return *stage.rig().generations().back()->plan(0)->books[endpoint];
}
// The shard goes by it.
bool Down(Stage& stage, uint32_t endpoint) {
  const Endpoint* known = Book(stage, endpoint).page(0).endpoint;
  return known == nullptr ? Book(stage, endpoint).down() : (known->view & EndpointBook::kDown) != 0;
}
bool IsCheck(const Speaker& origin) {
  const size_t last = origin.heard.rfind(" /");
  return origin.heard.compare(last, 8, " /check ") == 0;
}
uint64_t RequestsOf(Stage& stage, uint32_t endpoint) {
  return Book(stage, endpoint).page(0).counters.requests.Get();
}
// One request on a kept connection; its status.
std::string Ask(Stage& stage, Speaker& client) {
  client.heard.clear();
  client.Say(Get("/"));
  const auto whole = [&] {
    const size_t head = client.heard.find("\r\n\r\n");
    const size_t length = client.heard.find("Content-Length: ");
    return head != std::string::npos && length < head &&
           client.heard.size() >= head + 4 + std::stoul(client.heard.substr(length + 16));
  };
  EXPECT_TRUE(stage.Until(whole, 20'000)) << client.heard;
  return client.heard.substr(9, 3);
}

TEST(Checks, KeepTheirConnectionAndComeInTime) {
  Play([](Stage& stage) {
    std::string request;
    stage.Origin(0, [&](Speaker& origin) {
      request = origin.heard;
      SayOk(origin);
    });
    stage.Origin(1, SayOk);
    stage.Run(10'500);
    EXPECT_TRUE(request.starts_with("GET /check HTTP/1.1\r\nHost: 10.0.1.1:8000\r\n")) << request;
    EXPECT_EQ(stage.origins().size(), 2u) << "one connection each";
    for (uint32_t i = 0; i < 2; ++i) {
      EXPECT_GE(Book(stage, i).checks.done, 9u);
      EXPECT_LE(Book(stage, i).checks.done, 14u);
      EXPECT_EQ(Book(stage, i).checks.failed, 0u);
      EXPECT_FALSE(Down(stage, i));
    }
    EXPECT_EQ(RequestsOf(stage, 0), 0u) << "checks are no requests";
  });
}

TEST(Checks, OneThatAnswers500GetsNoRequestsUntilItIsWellAgain) {
  Play([](Stage& stage) {
    bool sick = false;
    stage.Origin(0, [&](Speaker& origin) {
      origin.Say(sick && IsCheck(origin) ? "HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nno\n" : kOk);
    });
    stage.Origin(1, SayOk);
    Speaker& client = stage.Client();
    stage.Run(3'000);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(Ask(stage, client), "200");
    EXPECT_EQ(RequestsOf(stage, 0), 2u);
    sick = true;
    const int64_t begin_ms = stage.now_ms();
    ASSERT_TRUE(stage.Until([&] { return Down(stage, 0); }, kDetectMs + 100));
    EXPECT_GE(stage.now_ms() - begin_ms, 2 * kDownMs * 9 / 10) << "three in a row";
    EXPECT_EQ(Book(stage, 0).checks.last_error, "status 500");
    const uint64_t before = RequestsOf(stage, 0);
    for (int i = 0; i < 6; ++i) EXPECT_EQ(Ask(stage, client), "200");
    EXPECT_EQ(RequestsOf(stage, 0), before);
    // Its idle connection is closed soon: the one of the checks is all that is left.
    ASSERT_TRUE(stage.Until([&] { return Book(stage, 0).page(0).counters.idle.Get() == 0; }, 500));
    sick = false;
    ASSERT_TRUE(stage.Until([&] { return !Down(stage, 0); }, kBackMs + 100));
    for (int i = 0; i < 4; ++i) EXPECT_EQ(Ask(stage, client), "200");
    EXPECT_EQ(RequestsOf(stage, 0), before + 2);
  });
}

// It is frozen: it takes requests and says nothing. Once its checks say so, what waits for it is answered by
// the others; but what it may have acted on, and what it had begun to answer, goes on.
TEST(Checks, WhatWaitsForOneThatGoesDownIsAnsweredByOthers) {
  for (const bool leaves : {true, false}) {
    SCOPED_TRACE(leaves);
    Play(
        [&](Stage& stage) {
          constexpr size_t kGets = 40;  // far more than the budget lets try again at one time
          bool frozen = false;
          std::vector<Speaker*> held;
          uint64_t most_retries = 0;
          stage.Origin(0, [&](Speaker& origin) {
            if (!frozen) return SayOk(origin);
            if (IsCheck(origin)) return;
            if (held.empty()) origin.Say("HTTP/1.1 200 OK\r\nContent-Le");
            held.push_back(&origin);
          });
          stage.Origin(1, [&](Speaker& origin) {
            UpstreamBook& book = *stage.rig().generations().back()->plan(0)->book;
            most_retries = std::max(most_retries, book.retries(0).Get());
            SayOk(origin);
          });
          stage.Run(3'000);
          frozen = true;
          std::vector<Speaker*> clients;
          const auto ask = [&](const std::string& request) { clients.push_back(&stage.Client(request)); };
          const auto at_first = [&] { return RequestsOf(stage, 0); };
          ask(Get("/begun"));
          if (at_first() == 0)
            ASSERT_TRUE(stage.Until([&] { return !clients[0]->heard.empty() || !held.empty(); }, 1'000));
          if (held.empty()) ask(Get("/begun"));
          ASSERT_TRUE(stage.Until([&] { return held.size() == 1; }, 1'000));
          for (int i = 0; i < 2; ++i) ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
          stage.Run(50);
          const size_t before = clients.size();
          for (size_t i = 0; i < 2 * kGets; ++i) ask(Get("/"));
          ASSERT_TRUE(stage.Until([&] { return held.size() == 2 + kGets; }, 1'000));
          ASSERT_FALSE(Down(stage, 0));
          ASSERT_TRUE(stage.Until([&] { return Down(stage, 0); }, kDetectMs + 100));
          const auto answered = [&] {
            return std::count_if(clients.begin() + static_cast<ptrdiff_t>(before), clients.end(),
                                 [](Speaker* client) { return client->Heard(" 200 OK"); });
          };
          if (!leaves) {
            stage.Run(2'000);
            EXPECT_EQ(answered(), kGets);
          } else {
            EXPECT_TRUE(stage.Until([&] { return answered() == 2 * kGets; }, 2'000)) << answered();
            EXPECT_GE(most_retries, 1u);
            EXPECT_LE(most_retries, (2 * kGets + 3) / 5);
            EXPECT_EQ(stage.counters().retries.Get(), kGets);
          }
          // Those that stay have their answer when it is well again.
          size_t posts = 0;
          for (Speaker* origin : held) {
            if (!origin->over() && origin != held[0]) origin->Say(kOk);
            posts += origin->Heard("POST ");
          }
          held[0]->Say("ngth: 5\r\n\r\nbegun");
          EXPECT_EQ(posts, 1u);
          EXPECT_TRUE(stage.Until(
              [&] {
                return std::all_of(clients.begin(), clients.end(),
                                   [](Speaker* client) { return client->Count("HTTP/1.1 200 OK") == 1; });
              },
              2'000));
          stage.Run(500);
          EXPECT_EQ(std::count_if(clients.begin(), clients.end(),
                                  [](Speaker* client) { return client->Heard("begun"); }),
                    1);
          UpstreamBook& book = *stage.rig().generations().back()->plan(0)->book;
          EXPECT_EQ(book.retries(0).Get(), 0u);
          EXPECT_EQ(book.active(0).Get(), 0u);
        },
        [&](Settings& settings) { settings.upstreams[0].retry.endpoint_down = leaves; });
  }
}

// The budget has no room, ever: the time for the answer is what it was.
TEST(Checks, WhoFindsNoRoomToLeaveHasItsTimeAllTheSame) {
  constexpr uint32_t kResponseMs = 8'000;
  for (const uint32_t per_try_ms : {0u, 1'000u}) {
    SCOPED_TRACE(per_try_ms);
    Play(
        [&](Stage& stage) {
          bool frozen = false;
          for (uint32_t i = 0; i < 2; ++i) {
            stage.Origin(i, [&, i](Speaker& origin) {
              if (i == 1 || !frozen) SayOk(origin);
            });
          }
          stage.Run(3'000);
          frozen = true;
          const int64_t begin_ms = stage.now_ms();
          Speaker* const clients[] = {&stage.Client(Get("/")), &stage.Client(Get("/"))};
          ASSERT_TRUE(stage.Until([&] { return Down(stage, 0); }, kDetectMs + 100));
          ASSERT_TRUE(
              stage.Until([&] { return clients[0]->Heard(" 504 ") || clients[1]->Heard(" 504 "); }, 20'000));
          EXPECT_GE(stage.now_ms() - begin_ms, kResponseMs);
          EXPECT_LE(stage.now_ms() - begin_ms, kResponseMs + 500);
          EXPECT_TRUE(clients[0]->Heard(" 200 ") || clients[1]->Heard(" 200 "));
        },
        [&](Settings& settings) {
          UpstreamSettings& upstream = settings.upstreams[0];
          upstream.retry_budget.share.value = 0;
          upstream.retry_budget.min = 0;
          upstream.retry.per_try_ms = per_try_ms;
          settings.timeouts.response_ms = upstream.timeouts.response_ms = kResponseMs;
        });
  }
}

// All have had their time at once, and the budget has room for few: those that found none ask again while
// they wait on, and leave as the others are done, long before any check says something.
TEST(Checks, WhoFindsNoRoomAfterItsTryAsksAgain) {
  Play(
      [&](Stage& stage) {
        constexpr size_t kGets = 40;
        bool frozen = false;
        stage.Origin(0, [&](Speaker& origin) {
          if (!frozen) SayOk(origin);
        });
        stage.Origin(1, SayOk);
        stage.Run(3'000);
        frozen = true;
        std::vector<Speaker*> clients;
        for (size_t i = 0; i < kGets; ++i) clients.push_back(&stage.Client(Get("/")));
        const auto all = [&] {
          return std::all_of(clients.begin(), clients.end(),
                             [](Speaker* client) { return client->Heard(" 200 OK"); });
        };
        EXPECT_TRUE(stage.Until(all, 2'000));
        EXPECT_FALSE(Down(stage, 0));
        EXPECT_GT(stage.counters().retries_over_budget.Get(), 0u);
      },
      [&](Settings& settings) {
        UpstreamSettings& upstream = settings.upstreams[0];
        upstream.retry.endpoint_down = false;
        upstream.retry.per_try_ms = 500;
        settings.timeouts.response_ms = upstream.timeouts.response_ms = 60'000;
      });
}

// As a process does that ends in good order: it takes no more connections, and finishes what it has.
TEST(Checks, WhatIsInFlightAtOneThatRefusesGoesOn) {
  Play([](Stage& stage) {
    Speaker* asked = nullptr;
    sim::PeerServer& ending = stage.Origin(0, [&](Speaker& origin) {
      if (IsCheck(origin)) {
        origin.Say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
      } else {
        asked = &origin;
      }
    });
    stage.Origin(1, SayOk);
    stage.Run(1'500);
    Speaker* const clients[] = {&stage.Client(Get("/")), &stage.Client(Get("/"))};
    const auto answered = [&] { return clients[0]->Heard("ok") + clients[1]->Heard("ok"); };
    ASSERT_TRUE(stage.Until([&] { return asked != nullptr && answered() == 1; }, 200));
    ending.Stop();
    ASSERT_TRUE(stage.Until([&] { return Down(stage, 0); }, kDetectMs + 100));
    stage.Run(1'000);
    EXPECT_EQ(answered(), 1);
    asked->Say(kOk);
    EXPECT_TRUE(stage.Until([&] { return answered() == 2; }, 200));
    EXPECT_EQ(stage.counters().retries.Get(), 0u);
  });
}

// There was no other when it fell silent: with the first that comes back what waits goes there.
TEST(Checks, WhatWaitsLeavesWhenThereIsAnotherAgain) {
  Play([&](Stage& stage) {
    bool frozen = false;
    bool sick = false;
    stage.Origin(0, [&](Speaker& origin) {
      if (!frozen) SayOk(origin);
    });
    stage.Origin(1, [&](Speaker& origin) {
      origin.Say(sick && IsCheck(origin) ? "HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nno\n" : kOk);
    });
    stage.Run(3'000);
    sick = true;
    ASSERT_TRUE(stage.Until([&] { return Down(stage, 1); }, kDetectMs + 100));
    frozen = true;
    Speaker& client = stage.Client(Get("/"));
    ASSERT_TRUE(stage.Until([&] { return Down(stage, 0); }, kDetectMs + 100));
    stage.Run(2'000);
    EXPECT_TRUE(client.heard.empty());
    sick = false;
    ASSERT_TRUE(stage.Until([&] { return !Down(stage, 1); }, kBackMs + 100));
    EXPECT_TRUE(stage.Until([&] { return client.Heard(" 200 OK"); }, 200)) << client.heard;
  });
}

// The backup takes over with the check that finds the last primary down, and gives back; a reload that moves
// an endpoint to another level while requests run keeps its counts.
TEST(Checks, ABackupTakesOverAndGivesBack) {
  Play(
      [](Stage& stage) {
        bool sick = false;
        for (uint32_t i = 0; i < 2; ++i) {
          stage.Origin(i, [&](Speaker& origin) {
            origin.Say(sick && IsCheck(origin) ? "HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nno\n" : kOk);
          });
        }
        bool holds = false;
        Speaker* held = nullptr;
        stage.Origin(2, [&](Speaker& origin) {
          if (holds && !IsCheck(origin)) {
            held = &origin;
          } else {
            origin.Say(kOk);
          }
        });
        Speaker& client = stage.Client();
        stage.Run(2'000);
        for (int i = 0; i < 4; ++i) EXPECT_EQ(Ask(stage, client), "200");
        EXPECT_EQ(RequestsOf(stage, 2), 0u);
        sick = true;
        ASSERT_TRUE(stage.Until([&] { return Down(stage, 0) && Down(stage, 1); }, kDetectMs + 100));
        for (int i = 0; i < 4; ++i) EXPECT_EQ(Ask(stage, client), "200");
        EXPECT_EQ(RequestsOf(stage, 2), 4u);

        // One request stays there; meanwhile the backup becomes one of the first level.
        holds = true;
        Speaker& waiting = stage.Client(Get("/held"));
        const auto active = [&] { return Book(stage, 2).page(0).counters.active.Get(); };
        ASSERT_TRUE(stage.Until([&] { return held != nullptr; }, 1'000));
        ASSERT_TRUE(stage.Until([&] { return active() == 1; }, 1'000)) << active();
        holds = false;
        stage.rig().Reload([](Settings& settings) { settings.upstreams[0].endpoints[2].level = 0; });
        stage.Run(100);
        EXPECT_EQ(Ask(stage, client), "200");
        ASSERT_TRUE(stage.Until([&] { return active() == 1; }, 1'000)) << active();
        held->Say(kOk);
        ASSERT_TRUE(stage.Until([&] { return waiting.Heard("200 OK"); }, 1'000));
        ASSERT_TRUE(stage.Until([&] { return active() == 0; }, 1'000));

        stage.rig().Reload(
            [](Settings& settings) { settings.upstreams[0].endpoints[2].level = EndpointSettings::kBackup; });
        sick = false;
        ASSERT_TRUE(stage.Until([&] { return !Down(stage, 0); }, kBackMs + 100));
        const uint64_t before = RequestsOf(stage, 2);
        for (int i = 0; i < 6; ++i) EXPECT_EQ(Ask(stage, client), "200");
        EXPECT_EQ(RequestsOf(stage, 2), before);
      },
      [](Settings& settings) {
        settings.upstreams[0].endpoints = Rig::Defaults(3).upstreams[0].endpoints;
        settings.upstreams[0].endpoints[2].level = EndpointSettings::kBackup;
      });
}

// The same where a connect finds it out: in the turn of the refusal the request goes on to the backup.
TEST(Checks, ARefusalGoesOnToTheBackup) {
  Play(
      [](Stage& stage) {
        sim::PeerServer& server = stage.Origin(0, SayOk);
        stage.Origin(1, SayOk);
        Speaker& client = stage.Client();
        EXPECT_EQ(Ask(stage, client), "200");
        EXPECT_EQ(RequestsOf(stage, 1), 0u);
        server.Stop();
        server.ResetAll();
        for (int i = 0; i < 5; ++i) EXPECT_EQ(Ask(stage, client), "200");
        EXPECT_EQ(RequestsOf(stage, 1), 5u);
        server.Start();
        ASSERT_TRUE(stage.Until(
            [&] {
              const uint64_t before = RequestsOf(stage, 0);
              EXPECT_EQ(Ask(stage, client), "200");
              return RequestsOf(stage, 0) > before;
            },
            20'000));
        const uint64_t before = RequestsOf(stage, 1);
        for (int i = 0; i < 5; ++i) EXPECT_EQ(Ask(stage, client), "200");
        EXPECT_EQ(RequestsOf(stage, 1), before);
      },
      [](Settings& settings) {
        settings.upstreams[0].health_check = {};
        settings.upstreams[0].endpoints[1].level = EndpointSettings::kBackup;
      });
}

TEST(Checks, OneThatHangsOrRefusesIsFound) {
  Play([](Stage& stage) {
    bool hangs = false;
    sim::PeerServer& server = stage.Origin(0, [&](Speaker& origin) {
      if (!hangs) SayOk(origin);
    });
    stage.Origin(1, SayOk);
    stage.Run(3'000);
    hangs = true;
    ASSERT_TRUE(stage.Until([&] { return Down(stage, 0); }, kDetectMs + 100));
    EXPECT_EQ(Book(stage, 0).checks.last_error, "no answer within 300 ms");
    hangs = false;
    ASSERT_TRUE(stage.Until([&] { return !Down(stage, 0); }, kBackMs + 100));
    stage.Run(2'000);
    server.Stop();
    server.ResetAll();
    ASSERT_TRUE(stage.Until([&] { return Down(stage, 0); }, kDetectMs + 100));
    EXPECT_EQ(Book(stage, 0).checks.last_error, "Connection refused");
    server.Start();
    ASSERT_TRUE(stage.Until([&] { return !Down(stage, 0); }, kBackMs + 100));
    EXPECT_FALSE(Down(stage, 1));
    EXPECT_EQ(Book(stage, 1).checks.failed, 0u) << "no check holds up another";
  });
}

// What is in flight when an endpoint goes down is answered.
TEST(Checks, WhatIsInFlightGoesOn) {
  Play([](Stage& stage) {
    bool sick = false;
    Speaker* asked = nullptr;
    stage.Origin(0, [&](Speaker& origin) {
      if (IsCheck(origin)) {
        origin.Say(sick ? "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n" : kOk);
      } else {
        asked = &origin;
      }
    });
    stage.Origin(1, SayOk);
    stage.Run(1'500);
    Speaker& first = stage.Client(Get("/"));
    Speaker& second = stage.Client(Get("/"));
    ASSERT_TRUE(
        stage.Until([&] { return asked != nullptr && first.Heard("ok") != second.Heard("ok"); }, 100));
    sick = true;
    ASSERT_TRUE(stage.Until([&] { return Down(stage, 0); }, kDetectMs + 100));
    stage.Run(1'000);
    asked->Say(kOk);
    ASSERT_TRUE(stage.Until([&] { return first.Heard("ok") && second.Heard("ok"); }, 100));
    EXPECT_TRUE(stage.Until([&] { return asked->over(); }, 500)) << "and is not kept";
    EXPECT_EQ(stage.counters().retries.Get(), 0u);
  });
}

TEST(Checks, WithAllDownRequestsGet503AndThenAgain200) {
  Play([](Stage& stage) {
    bool sick = true;
    for (uint32_t i = 0; i < 2; ++i) {
      stage.Origin(i, [&](Speaker& origin) {
        origin.Say(sick && IsCheck(origin) ? "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n" : kOk);
      });
    }
    Speaker& client = stage.Client();
    EXPECT_EQ(Ask(stage, client), "200") << "nobody has said anything yet";
    // The first check decides.
    ASSERT_TRUE(stage.Until([&] { return Down(stage, 0); }, kIntervalMs + kTimeoutMs));
    EXPECT_EQ(Book(stage, 0).checks.done, 1u);
    ASSERT_TRUE(stage.Until([&] { return Down(stage, 1); }, kIntervalMs + kTimeoutMs));
    EXPECT_EQ(Ask(stage, client), "503");
    EXPECT_TRUE(client.Heard("\r\nRetry-After: 1\r\n"));
    sick = false;
    ASSERT_TRUE(stage.Until([&] { return !Down(stage, 0) && !Down(stage, 1); }, kBackMs + kIntervalMs));
    EXPECT_EQ(Ask(stage, client), "200");
  });
}

// A reload keeps what is known of those that stay, begins and ends the others.
TEST(Checks, AReloadKeepsWhatIsKnown) {
  Play([](Stage& stage) {
    const auto fails = [](Speaker& origin) {
      origin.Say(IsCheck(origin) ? "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n" : kOk);
    };
    stage.Origin(0, fails);
    stage.Origin(1, SayOk);
    stage.Origin(2, fails);
    ASSERT_TRUE(stage.Until([&] { return Down(stage, 0); }, kIntervalMs + kTimeoutMs));
    Speaker& client = stage.Client();
    EXPECT_EQ(Ask(stage, client), "200");
    const uint64_t done = Book(stage, 0).checks.done;
    stage.rig().Reload([](Settings& settings) {
      UpstreamSettings& upstream = settings.upstreams[0];
      const std::string third = Rig::EndpointAddress(2);
      upstream.endpoints.push_back({*SocketAddress::Parse(third), 1, third});
    });
    stage.Run(5);
    EXPECT_TRUE(Down(stage, 0));
    EXPECT_GE(Book(stage, 0).checks.done, done);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(Ask(stage, client), "200");
    EXPECT_EQ(RequestsOf(stage, 0), 0u) << "its pool is new, what it goes by is not";
    ASSERT_TRUE(stage.Until([&] { return Down(stage, 2); }, kIntervalMs + kTimeoutMs));
    // Other checks: they pass.
    stage.rig().Reload([](Settings& settings) { settings.upstreams[0].health_check.status = {{200, 599}}; });
    stage.Run(5);
    EXPECT_TRUE(Down(stage, 0));
    ASSERT_TRUE(stage.Until([&] { return !Down(stage, 0) && !Down(stage, 2); }, 2 * kIntervalMs));
    stage.rig().Reload([](Settings& settings) { settings.upstreams[0].health_check.status = {{200, 399}}; });
    ASSERT_TRUE(stage.Until([&] { return Down(stage, 0) && Down(stage, 2); }, kDetectMs + kIntervalMs));
    // None any more: nobody says that they are down.
    stage.rig().Reload([](Settings& settings) {
      settings.upstreams[0].health_check = {};
      settings.upstreams[0].endpoints.pop_back();
    });
    ASSERT_TRUE(stage.Until([&] { return !Down(stage, 0); }, 100));
    const uint64_t last = Book(stage, 0).checks.done;
    stage.Run(3'000);
    EXPECT_EQ(Book(stage, 0).checks.done, last);
  });
}

TEST(Checks, TcpTakesAConnectionAndNoMore) {
  Play(
      [](Stage& stage) {
        sim::PeerServer& server = stage.Origin(0);
        stage.Origin(1);
        stage.Run(5'000);
        EXPECT_GE(Book(stage, 0).checks.done, 4u);
        EXPECT_EQ(Book(stage, 0).checks.failed, 0u);
        for (auto& origin : stage.origins()) EXPECT_EQ(origin->heard, "");
        server.Stop();
        ASSERT_TRUE(stage.Until([&] { return Down(stage, 0); }, kDetectMs + 100));
      },
      [](Settings& settings) { settings.upstreams[0].health_check.type = HealthCheckSettings::Type::kTcp; });
}

TEST(Checks, AnswersAreReadAsAnswersAre) {
  struct Case {
    std::string_view answer;
    std::string_view error;  // empty: it passes
    bool kept;
  };
  const std::string long_body(100'000, 'x');
  const std::string endless = "HTTP/1.1 200 OK\r\nX: " + std::string(200'000, 'y');
  const std::string large = "HTTP/1.1 200 OK\r\nContent-Length: 100002\r\n\r\nup" + long_body;
  const Case cases[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nup!\n", "", true},
      {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndown", "the body is not as expected", true},
      {"HTTP/1.1 103 X\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: "
       "chunked\r\n\r\n1\r\nu\r\n1\r\np\r\n0\r\n\r\n",
       "", true},
      {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nup", "", false},
      {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nup", "", false},
      {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nup", "breaks a rule", false},
      {"SSH-2.0-OpenSSH\r\n", "breaks a rule", false},
      {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nup", "no whole answer within 300 ms", false},
      {"HTTP/1.1 200 OK\r\n", "no answer within 300 ms", false},
      {"HTTP/1.1 301 Go\r\nLocation: /\r\nContent-Length: 2\r\n\r\nup", "status 301", true},
      {endless, "breaks a rule", false},
      {large, "", false},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(std::string(one.answer.substr(0, 80)));
    Stage::Options options;
    options.settings = Rig::Defaults(1);
    Checked(options.settings.upstreams[0]);
    options.settings.upstreams[0].health_check.body = "up";
    options.settings.upstreams[0].health_check.status = {{200, 204}, {299, 299}};
    Stage stage(7, std::move(options));
    stage.Origin(0, [&](Speaker& origin) {
      origin.heard.clear();
      origin.Say(one.answer);
    });
    ASSERT_TRUE(stage.Until([&] { return Book(stage, 0).checks.done >= 1; }, 2'000));
    const std::string& error = Book(stage, 0).checks.last_error;
    EXPECT_EQ(error.empty(), one.error.empty()) << error;
    EXPECT_NE(error.find(one.error), std::string::npos) << error;
    EXPECT_TRUE(stage.Until([&] { return stage.origin(0).over(); }, 50) != one.kept);
  }
}

// Servers close what has been idle for long: that is no failure.
TEST(Checks, AKeptConnectionThatEndedIsMadeAnew) {
  Play([](Stage& stage) {
    for (uint32_t i = 0; i < 2; ++i) {
      stage.Origin(i, [&stage](Speaker& origin) {
        SayOk(origin);
        stage.world().After(stage.world().random().Below(2 * kIntervalMs) * kNsPerMs,
                            [&origin] { origin.peer.Close(); });
      });
    }
    stage.Run(10'000);
    EXPECT_GT(stage.origins().size(), 4u);
    for (uint32_t i = 0; i < 2; ++i) {
      EXPECT_GE(Book(stage, i).checks.done, 8u);
      EXPECT_EQ(Book(stage, i).checks.failed, 0u) << Book(stage, i).checks.last_error;
    }
  });
}

// Under load endpoints go and come in every way there is; every request is answered.
TEST(Checks, NoRequestIsLost) {
  Play(
      [](Stage& stage) {
        bool sick[4] = {};
        std::vector<sim::PeerServer*> servers;
        for (uint32_t i = 0; i < 4; ++i) {
          servers.push_back(&stage.Origin(i, [&sick, i](Speaker& origin) {
            origin.Say(sick[i] && IsCheck(origin) ? "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n" : kOk);
          }));
        }
        stage.Run(1'500);
        std::vector<Speaker*> clients;
        for (int i = 0; i < 4; ++i) clients.push_back(&stage.Client());
        Random& random = stage.world().random();
        for (int round = 0; round < 60; ++round) {
          const uint32_t i = 1 + random.Below(3);  // the first one is always well
          switch (random.Below(4)) {
            case 0:
              sick[i] = !sick[i];
              break;
            case 1:
              if (servers[i]->listening()) {
                servers[i]->Stop();
                servers[i]->ResetAll();
              } else {
                servers[i]->Start();
              }
              break;
            case 2:
              stage.rig().Reload([&](Settings& settings) {
                settings.upstreams[0].health_check.fall = 1 + random.Below(3);
                settings.upstreams[0].retries = 3;
              });
              break;
            default:
              break;
          }
          for (Speaker* client : clients) ASSERT_EQ(Ask(stage, *client), "200");
          stage.Run(1 + random.Below(400));
        }
        for (uint32_t i = 0; i < 4; ++i) {
          sick[i] = false;
          if (!servers[i]->listening()) servers[i]->Start();
        }
        ASSERT_TRUE(stage.Until(
            [&] {
              for (uint32_t i = 0; i < 4; ++i) {
                if (Down(stage, i)) return false;
              }
              return true;
            },
            kBackMs + 2 * kIntervalMs));
      },
      [](Settings& settings) {
        settings = Rig::Defaults(4);
        Checked(settings.upstreams[0]);
        settings.upstreams[0].retries = 3;
        settings.listeners.clear();
      });
}

// As many at one time as may be, and the first round is no burst.
TEST(Checks, AreSpreadAndBounded) {
  Stage::Options options;
  options.settings = Rig::Defaults(250);
  Checked(options.settings.upstreams[0]);
  Stage stage(3, std::move(options));
  std::map<int64_t, int> per_10ms;
  for (uint32_t i = 0; i < 250; ++i) {
    stage.Origin(i, [&](Speaker& origin) {
      ++per_10ms[stage.now_ms() / 10];
      SayOk(origin);
    });
  }
  stage.Run(5'000);
  int most = 0;
  for (const auto& [when, count] : per_10ms) most = std::max(most, count);
  EXPECT_LT(most, 15) << "of 250 a second";
  uint32_t open = 0;
  for (auto& origin : stage.origins()) open += !origin->over();
  EXPECT_LE(open, Checker::kMostKept + Checker::kMostChecks);
}

TEST(Checks, ManyThatHangWaitForTheirTurnAndAreAllFound) {
  Stage::Options options;
  options.settings = Rig::Defaults(250);
  Checked(options.settings.upstreams[0]);
  Stage stage(5, std::move(options));
  for (uint32_t i = 0; i < 250; ++i) {
    if (i == 100) {
      stage.Origin(i, SayOk);
    } else {
      stage.Origin(i, [](Speaker&) {});
    }
  }
  ASSERT_TRUE(stage.Until(
      [&] {
        for (uint32_t i = 0; i < 250; ++i) {
          if (i != 100 && !Down(stage, i)) return false;
        }
        return true;
      },
      3'000));
  stage.Run(3'000);
  EXPECT_FALSE(Down(stage, 100));
  EXPECT_GE(Book(stage, 100).checks.done, 3u);
  // It drains while they hang.
  const int64_t begin_ms = stage.now_ms();
  stage.rig().Drain();
  ASSERT_TRUE(stage.Until([&] { return stage.rig().drained(); }, 5'000));
  EXPECT_LT(stage.now_ms() - begin_ms, 1'000);
}

}  // namespace
}  // namespace weir::lb::trial
