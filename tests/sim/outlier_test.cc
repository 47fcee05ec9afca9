// Who fails requests gets none for some time: what is counted, how long it lasts, and whom it never meets.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>

#include "lb/endpoint_desk.h"
#include "tests/sim/seeds.h"
#include "tests/sim/stage.h"

namespace weir::lb::trial {
namespace {

constexpr uint32_t kBaseMs = 1'000;
constexpr uint32_t kJitterMs = 100;
constexpr uint32_t kIntervalMs = 5'000;
constexpr std::string_view k500 = "HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nno\n";
constexpr std::string_view k503 = "HTTP/1.1 503 No\r\nContent-Length: 3\r\n\r\nno\n";

void Play(uint32_t endpoints, const std::function<void(Stage&)>& scene,
          const std::function<void(Settings&)>& change = nullptr, uint32_t shards = 1) {
  ForEachSeed([&](uint64_t seed) {
    Stage::Options options;
    options.shards = shards;
    if (seed % 2 == 0) {
      options.faults.late_completion = 0.3;
      options.faults.short_receive = 0.3;
      options.faults.short_send = 0.3;
    }
    options.settings = Rig::Defaults(endpoints);
    UpstreamSettings& upstream = options.settings.upstreams[0];
    upstream.name = "web";
    upstream.outliers.enabled = true;
    upstream.outliers.base_ejection_ms = kBaseMs;
    upstream.outliers.jitter_ms = kJitterMs;
    upstream.outliers.interval_ms = kIntervalMs;
    if (change) change(options.settings);
    Stage stage(seed, std::move(options));
    scene(stage);
  });
}

const std::shared_ptr<EndpointBook>& Book(Stage& stage, uint32_t endpoint) {
  return stage.rig().generations().back()->plan(0)->books[endpoint];
}
OutlierWatch::Case& State(Stage& stage, uint32_t endpoint) { return Book(stage, endpoint)->watch->state; }
// Every shard goes by it.
bool Ejected(Stage& stage, uint32_t endpoint) {
  const EndpointBook& book = *Book(stage, endpoint);
  for (uint32_t shard = 0; shard < stage.rig().shards(); ++shard) {
    const Endpoint* known = book.page(shard).endpoint;
    if (((known == nullptr ? book.seen() : known->view) & EndpointBook::kEjected) == 0) return false;
  }
  return true;
}
uint64_t RequestsOf(Stage& stage, uint32_t endpoint) {
  uint64_t sum = 0;
  for (uint32_t shard = 0; shard < stage.rig().shards(); ++shard)
    sum += Book(stage, endpoint)->page(shard).counters.requests.Get();
  return sum;
}
// One request on a kept connection; its status.
std::string Ask(Stage& stage, Speaker& client, const std::string& request = Get("/")) {
  client.heard.clear();
  client.Say(request);
  const auto whole = [&] {
    const size_t head = client.heard.find("\r\n\r\n");
    const size_t length = client.heard.find("Content-Length: ");
    return head != std::string::npos && length < head &&
           client.heard.size() >= head + 4 + std::stoul(client.heard.substr(length + 16));
  };
  EXPECT_TRUE(stage.Until(whole, 20'000)) << client.heard;
  return client.heard.substr(9, 3);
}
void Ask(Stage& stage, Speaker& client, int times) {
  for (int i = 0; i < times; ++i) Ask(stage, client);
}
// What operators were told, of the endpoint.
std::string LastTold(uint32_t endpoint) {
  const std::string of = "endpoint " + Rig::EndpointAddress(endpoint) + " ";
  for (auto line = Rig::told().rbegin(); line != Rig::told().rend(); ++line) {
    if (const size_t at = line->find(of); at != std::string::npos) return line->substr(at + of.size());
  }
  return {};
}

TEST(Outliers, FiveServerErrorsInARowAndItsTermGrows) {
  Play(2, [](Stage& stage) {
    bool sick = true;
    stage.Origin(0, [&](Speaker& origin) { origin.Say(sick ? k500 : kOk); });
    stage.Origin(1, SayOk);
    Speaker& client = stage.Client();
    for (int round = 1; round <= 3; ++round) {
      const uint64_t before = RequestsOf(stage, 0);
      ASSERT_TRUE(stage.Until([&] { return !Ejected(stage, 0); }, 1));
      while (RequestsOf(stage, 0) < before + 4) Ask(stage, client);
      stage.Run(5);
      ASSERT_FALSE(Ejected(stage, 0)) << "four are not five";
      Ask(stage, client, 2);
      ASSERT_TRUE(stage.Until([&] { return Ejected(stage, 0); }, 10));
      const int64_t begin_ms = stage.now_ms();
      EXPECT_EQ(LastTold(0).substr(0, 15), "is ejected for ");
      EXPECT_TRUE(LastTold(0).ends_with(" ms: 5 server errors in a row") ||
                  LastTold(0).ends_with(" s: 5 server errors in a row"))
          << LastTold(0);
      for (int i = 0; i < 6; ++i) EXPECT_EQ(Ask(stage, client), "200");
      EXPECT_EQ(RequestsOf(stage, 0), before + 5);
      ASSERT_TRUE(stage.Until([&] { return !Ejected(stage, 0); }, 10'000));
      const int64_t term_ms = stage.now_ms() - begin_ms;
      EXPECT_GE(term_ms, round * kBaseMs - 20);
      EXPECT_LE(term_ms, round * kBaseMs + kJitterMs + 50);
      EXPECT_EQ(LastTold(0).substr(0, 28), "is no longer ejected, after ");
    }
    EXPECT_EQ(State(stage, 0).ejections[static_cast<size_t>(Sign::kServerErrors)], 3u);
    EXPECT_EQ(State(stage, 0).times, 3u);
    sick = false;
    stage.Run(3 * kIntervalMs + 100);
    EXPECT_LE(State(stage, 0).times, 1u) << "each interval in which it is well makes the next one shorter";
    Ask(stage, client, 6);
    EXPECT_FALSE(Ejected(stage, 0));
  });
}

TEST(Outliers, AGoodAnswerEndsTheRow) {
  Play(2, [](Stage& stage) {
    int asked = 0;
    stage.Origin(0, [&](Speaker& origin) { origin.Say(++asked % 5 == 0 ? kOk : k500); });
    stage.Origin(1, SayOk);
    Speaker& client = stage.Client();
    Ask(stage, client, 60);
    stage.Run(3 * kIntervalMs);
    EXPECT_FALSE(Ejected(stage, 0));
    EXPECT_EQ(Book(stage, 0)->watch->page(0).all.Get(), 30u);
  });
}

TEST(Outliers, GatewayErrorsAreAnswersAndTheirAbsence) {
  Play(
      2,
      [](Stage& stage) {
        int asked = 0;
        stage.Origin(0, [&](Speaker& origin) {
          switch (++asked % 3) {
            case 0:
              return origin.Say(k503);
            case 1:
              return origin.peer.Reset();
            default:
              return origin.Say("SMTP is better\r\n\r\n");
          }
        });
        stage.Origin(1, SayOk);
        Speaker& client = stage.Client();
        // With POST each failure is the client's.
        for (int i = 0; i < 20 && !Ejected(stage, 0); ++i)
          Ask(stage, client, Post("/", "Content-Length: 0\r\n", ""));
        ASSERT_TRUE(stage.Until([&] { return Ejected(stage, 0); }, 10));
        EXPECT_GT(asked, 4) << "the end of a connection that was kept says nothing";
        EXPECT_TRUE(LastTold(0).ends_with(": 4 gateway errors in a row")) << LastTold(0);
        EXPECT_EQ(State(stage, 0).ejections[static_cast<size_t>(Sign::kGatewayErrors)], 1u);
      },
      [](Settings& settings) {
        settings.upstreams[0].outliers.consecutive_gateway_errors = 4;
        settings.upstreams[0].outliers.consecutive_5xx = 0;
      });
}

TEST(Outliers, OneThatRefusesAndOneThatHangs) {
  Play(
      3,
      [](Stage& stage) {
        stage.Origin(0).Stop();
        stage.Origin(1);
        stage.Origin(2, SayOk);
        Speaker& client = stage.Client();
        for (int i = 0; i < 50 && !(Ejected(stage, 0) && Ejected(stage, 1)); ++i) Ask(stage, client);
        ASSERT_TRUE(Ejected(stage, 0) && Ejected(stage, 1));
        EXPECT_EQ(State(stage, 0).why, "5 gateway errors in a row");
        EXPECT_EQ(State(stage, 1).why, "2 timeouts in a row");
        for (int i = 0; i < 6; ++i) EXPECT_EQ(Ask(stage, client), "200");
      },
      [](Settings& settings) {
        UpstreamSettings& upstream = settings.upstreams[0];
        upstream.set_aside_ms = 0;
        upstream.outliers.consecutive_timeouts = 2;
        upstream.outliers.most_percent = 100;
        upstream.outliers.base_ejection_ms = 60'000;
        settings.timeouts.response_ms = 100;
      });
}

TEST(Outliers, SlowAnswersAreEnoughWhereThatIsSaid) {
  Play(
      2,
      [](Stage& stage) {
        stage.Origin(
            0, [&](Speaker& origin) { stage.world().After(300 * kNsPerMs, [&origin] { origin.Say(kOk); }); });
        stage.Origin(1, SayOk);
        Speaker& client = stage.Client();
        Ask(stage, client, 10);
        ASSERT_TRUE(stage.Until([&] { return Ejected(stage, 0); }, 10));
        EXPECT_EQ(RequestsOf(stage, 0), 3u);
        EXPECT_EQ(State(stage, 0).why, "3 answers in a row took more than 200 ms");
      },
      [](Settings& settings) {
        settings.upstreams[0].outliers.slow_above_ms = 200;
        settings.upstreams[0].outliers.consecutive_slow = 3;
        settings.upstreams[0].outliers.base_ejection_ms = 60'000;
      });
}

TEST(Outliers, NotMoreThanMayBeAndNeverTheLast) {
  Play(3, [](Stage& stage) {
    stage.Origin(0, [](Speaker& origin) { origin.Say(k500); });
    stage.Origin(1, [](Speaker& origin) { origin.Say(k500); });
    stage.Origin(2, SayOk);
    Speaker& client = stage.Client();
    Ask(stage, client, 30);
    EXPECT_EQ(Ejected(stage, 0) + Ejected(stage, 1), 1) << "a tenth, one at least";
    EXPECT_EQ(State(stage, 0).refused + State(stage, 1).refused, 1u) << "once in a while is enough";
    // Nobody else would be there.
    stage.Run(3'000);
    stage.world().On(stage.rig().control(), [&] {
      stage.rig().publisher().Set(Book(stage, 0), EndpointBook::kDraining);
      stage.rig().publisher().Set(Book(stage, 2), EndpointBook::kDown);
    });
    stage.Run(10);
    ASSERT_FALSE(Ejected(stage, 0) || Ejected(stage, 1));
    Ask(stage, client, 20);
    EXPECT_FALSE(Ejected(stage, 1));
    EXPECT_EQ(State(stage, 0).refused + State(stage, 1).refused, 2u);
  });
}

TEST(Outliers, AllOfThemFailAndHalfMayGo) {
  Play(
      4,
      [](Stage& stage) {
        for (uint32_t i = 0; i < 4; ++i) stage.Origin(i, [](Speaker& origin) { origin.Say(k500); });
        Speaker& client = stage.Client();
        Ask(stage, client, 60);
        int ejected = 0;
        for (uint32_t i = 0; i < 4; ++i) ejected += Ejected(stage, i);
        EXPECT_EQ(ejected, 2);
        EXPECT_EQ(stage.rig().outliers().ejected(), 2u);
      },
      [](Settings& settings) {
        settings.upstreams[0].outliers.most_percent = 50;
        settings.upstreams[0].outliers.base_ejection_ms = 60'000;
      });
}

// Each shard sees too few: what all saw together is found with the next look.
TEST(Outliers, ARowThatNoShardSeesAlone) {
  Play(
      2,
      [](Stage& stage) {
        bool sick = false;
        stage.Origin(0, [&](Speaker& origin) { origin.Say(sick ? k500 : kOk); });
        stage.Origin(1, SayOk);
        // In no time at all, so that all of it is between two looks.
        std::vector<Speaker*> clients;
        const auto ask = [&] {
          clients.clear();
          for (int i = 0; i < 40; ++i) clients.push_back(&stage.Client(Get("/")));
          ASSERT_TRUE(stage.Until(
              [&] {
                return std::all_of(clients.begin(), clients.end(),
                                   [](const Speaker* client) { return client->Heard("\r\n\r\n"); });
              },
              1'000));
        };
        // What was well before the last look is no excuse.
        ask();
        stage.Run(2 * kIntervalMs);
        const uint64_t before = RequestsOf(stage, 0);
        sick = true;
        ask();
        const uint64_t failed = RequestsOf(stage, 0) - before;
        ASSERT_GE(failed, 10u);
        EXPECT_FALSE(Ejected(stage, 0));
        ASSERT_TRUE(stage.Until([&] { return Ejected(stage, 0); }, kIntervalMs + 100));
        EXPECT_EQ(State(stage, 0).why, std::to_string(failed) + " server errors in a row");
        EXPECT_FALSE(Ejected(stage, 1));
        // What was counted then does not count again.
        ASSERT_TRUE(stage.Until([&] { return !Ejected(stage, 0); }, 2'000));
        stage.Run(2 * kIntervalMs);
        EXPECT_EQ(State(stage, 0).ejections[static_cast<size_t>(Sign::kServerErrors)], 1u);
      },
      [](Settings& settings) {
        settings.upstreams[0].outliers.consecutive_5xx = 10;
        settings.upstreams[0].outliers.consecutive_gateway_errors = 0;
      },
      8);
}

// It fails every other request, so that none of its rows is long.
void HalfOfIts(uint32_t endpoints, const std::function<void(Stage&)>& then) {
  Play(
      endpoints,
      [&](Stage& stage) {
        int asked = 0;
        stage.Origin(0, [&asked](Speaker& origin) { origin.Say(++asked % 2 == 0 ? kOk : k500); });
        for (uint32_t i = 1; i < endpoints; ++i) stage.Origin(i, SayOk);
        Speaker& client = stage.Client();
        Ask(stage, client, static_cast<int>(24 * endpoints));
        ASSERT_LT(stage.now_ms(), kIntervalMs);
        stage.Until([&] { return Ejected(stage, 0); }, 2 * kIntervalMs);
        then(stage);
        for (uint32_t i = 1; i < endpoints; ++i) EXPECT_EQ(State(stage, i).why, "") << i;
      },
      [](Settings& settings) {
        settings.upstreams[0].outliers.success_requests = 20;
        settings.upstreams[0].outliers.base_ejection_ms = 60'000;
      });
}

TEST(Outliers, FarFewerSuccessesThanTheOthers) {
  HalfOfIts(6, [](Stage& stage) {
    ASSERT_TRUE(Ejected(stage, 0));
    EXPECT_NEAR(static_cast<double>(stage.now_ms()), kIntervalMs, 100) << "with the first look";
    EXPECT_EQ(State(stage, 0).ejections[static_cast<size_t>(Sign::kSuccessRate)], 1u);
    EXPECT_EQ(State(stage, 0).why, "50.0 % of its requests succeeded, the endpoints' mean is 91.7 %");
  });
}

TEST(Outliers, WithTooFewToCompareNobodyKnows) {
  HalfOfIts(4, [](Stage& stage) { EXPECT_FALSE(Ejected(stage, 0)); });
}

TEST(Outliers, AReloadKeepsThemAndOneWithoutEndsThem) {
  Play(
      3,
      [](Stage& stage) {
        stage.Origin(0, [](Speaker& origin) { origin.Say(k500); });
        stage.Origin(1, SayOk);
        stage.Origin(2, SayOk);
        Speaker& client = stage.Client();
        const auto until_ejected = [&] {
          for (int i = 0; i < 60 && !Ejected(stage, 0); ++i) Ask(stage, client);
          EXPECT_TRUE(Ejected(stage, 0));
        };
        until_ejected();
        stage.rig().Reload([](Settings& settings) {
          settings.upstreams[0].balance = Balance::kLeastConn;
          std::swap(settings.upstreams[0].endpoints[0], settings.upstreams[0].endpoints[1]);
        });
        stage.Run(50);
        // It has another place now.
        EXPECT_FALSE(Ejected(stage, 0));
        EXPECT_TRUE(Ejected(stage, 1));
        EXPECT_EQ(State(stage, 1).index, 1u);
        const uint64_t before = RequestsOf(stage, 1);
        Ask(stage, client, 9);
        EXPECT_EQ(RequestsOf(stage, 1), before);
        stage.rig().Reload([](Settings& settings) {
          std::swap(settings.upstreams[0].endpoints[0], settings.upstreams[0].endpoints[1]);
          settings.upstreams[0].balance = Balance::kRoundRobin;
          settings.upstreams[0].outliers = {};
        });
        stage.Run(50);
        EXPECT_FALSE(Ejected(stage, 0));
        EXPECT_EQ(stage.rig().outliers().ejected(), 0u);
        Ask(stage, client, 60);
        EXPECT_FALSE(Ejected(stage, 0)) << "nobody counts";
        stage.rig().Reload([](Settings& settings) {
          settings.upstreams[0].outliers.enabled = true;
          settings.upstreams[0].outliers.interval_ms = 60'000;
        });
        stage.Run(50);
        until_ejected();
        // Gone while it is out, and there again: a new one.
        const auto endpoints = stage.rig().settings().upstreams[0].endpoints;
        stage.rig().Reload([](Settings& settings) {
          auto& all = settings.upstreams[0].endpoints;
          all.erase(all.begin());
        });
        stage.Run(200);
        EXPECT_EQ(stage.rig().outliers().ejected(), 0u);
        stage.rig().Reload([&](Settings& settings) { settings.upstreams[0].endpoints = endpoints; });
        stage.Run(50);
        EXPECT_FALSE(Ejected(stage, 0));
        until_ejected();
      },
      [](Settings& settings) { settings.upstreams[0].outliers.base_ejection_ms = 60'000; });
}

TEST(Outliers, AnOperatorsReadyEndsItAndHisDrainIsAnother) {
  Play(
      2,
      [](Stage& stage) {
        stage.Origin(0, [](Speaker& origin) { origin.Say(k500); });
        stage.Origin(1, SayOk);
        Speaker& client = stage.Client();
        const auto say = [&](const std::string& state) {
          bool done = false;
          stage.world().On(stage.rig().control(), [&] {
            EndpointDesk(stage.rig().publisher(), nullptr, nullptr, &stage.rig().outliers())
                .Change(*stage.rig().generations().back(), false,
                        "/upstreams/web/endpoints/" + Rig::EndpointAddress(0) + "?state=" + state, "a test",
                        [&](EndpointDesk::Reply) { done = true; });
          });
          EXPECT_TRUE(stage.Until([&] { return done; }, 10));
        };
        Ask(stage, client, 10);
        ASSERT_TRUE(stage.Until([&] { return Ejected(stage, 0); }, 10));
        say("drain");
        EXPECT_EQ(Book(stage, 0)->seen(), EndpointBook::kEjected | EndpointBook::kDraining);
        say("ready");
        EXPECT_EQ(Book(stage, 0)->seen(), 0u);
        EXPECT_FALSE(Ejected(stage, 0)) << "at the moment of the answer";
        EXPECT_EQ(State(stage, 0).times, 0u);
        Ask(stage, client, 10);
        ASSERT_TRUE(stage.Until([&] { return Ejected(stage, 0); }, 10));
        say("ready");
        EXPECT_EQ(Book(stage, 0)->seen(), 0u) << "also where nothing else was said";
        EXPECT_EQ(stage.rig().outliers().ejected(), 0u);
      },
      [](Settings& settings) { settings.upstreams[0].outliers.base_ejection_ms = 60'000; });
}

TEST(Outliers, TcpIsGoodWithTheFirstByte) {
  Play(
      2,
      [](Stage& stage) {
        bool sick = false;
        stage.Origin(0, [&](Speaker& origin) {
          if (sick) {
            origin.peer.Reset();
          } else {
            origin.Say("hello\r\n\r\n");
          }
        });
        stage.Origin(1, [](Speaker& origin) { origin.Say("hello\r\n\r\n"); });
        const auto connect = [&] {
          Speaker& client = stage.Client("a\r\n\r\n", kTcpAddress);
          EXPECT_TRUE(stage.Until([&] { return client.over() || client.Heard("hello"); }, 1'000));
          const bool heard = client.Heard("hello");
          client.peer.Reset();
          stage.Run(20);
          return heard;
        };
        for (int i = 0; i < 8; ++i) EXPECT_TRUE(connect());
        EXPECT_EQ(Book(stage, 0)->watch->page(0).all.Get(), 4u);
        sick = true;
        for (int i = 0; i < 10; ++i) connect();
        ASSERT_TRUE(stage.Until([&] { return Ejected(stage, 0); }, 10));
        EXPECT_EQ(State(stage, 0).why, "5 gateway errors in a row");
        for (int i = 0; i < 6; ++i) EXPECT_TRUE(connect());
      },
      [](Settings& settings) { settings.upstreams[0].outliers.base_ejection_ms = 60'000; });
}

// Endpoints that are well for a while and then are not, reloads, faults: never too many are out, all shards
// agree, and once all are well all are in.
TEST(Outliers, WhateverHappensInTheEndAllAreIn) {
  constexpr uint32_t kEndpoints = 5;
  constexpr uint32_t kMost = 2;
  ForEachSeed([&](uint64_t seed) {
    Stage::Options options;
    options.shards = 2;
    options.faults.late_completion = 0.3;
    options.faults.short_receive = 0.3;
    options.faults.short_send = 0.3;
    options.faults.connect_refused = 0.02;
    options.settings = Rig::Defaults(kEndpoints);
    UpstreamSettings& upstream = options.settings.upstreams[0];
    upstream.outliers.enabled = true;
    upstream.outliers.consecutive_timeouts = 2;
    upstream.outliers.interval_ms = 500;
    upstream.outliers.base_ejection_ms = 300;
    upstream.outliers.most_ejection_ms = 2'000;
    upstream.outliers.jitter_ms = 100;
    upstream.outliers.most_percent = 40;
    options.settings.timeouts.response_ms = 200;
    Stage stage(seed, std::move(options));
    Random random(seed);
    enum class Mood { kWell, kServerErrors, kHangs, kResets } moods[kEndpoints] = {};
    for (uint32_t i = 0; i < kEndpoints; ++i) {
      stage.Origin(i, [&moods, i](Speaker& origin) {
        if (moods[i] == Mood::kWell) origin.Say(kOk);
        if (moods[i] == Mood::kServerErrors) origin.Say(k500);
        if (moods[i] == Mood::kResets) origin.peer.Reset();
      });
    }
    uint64_t ejections = 0;
    for (int step = 0; step < 60; ++step) {
      moods[random.Below(kEndpoints)] = static_cast<Mood>(random.Below(4));
      if (random.OneIn(10)) {
        stage.rig().Reload([&](Settings& settings) {
          settings.upstreams[0].balance = static_cast<Balance>(random.Below(3));
          settings.upstreams[0].outliers.enabled = !random.OneIn(5);
        });
      }
      for (int i = 0; i < 10; ++i) stage.Client(Get("/"));
      for (int i = 0; i < 10; ++i) {
        stage.Run(30);
        uint32_t out = 0;
        for (uint32_t e = 0; e < kEndpoints; ++e)
          out += (Book(stage, e)->seen() & EndpointBook::kEjected) != 0;
        ASSERT_LE(out, kMost);
        ASSERT_EQ(out, stage.rig().outliers().ejected());
      }
    }
    for (Mood& mood : moods) mood = Mood::kWell;
    stage.Run(1'000);  // what hung is over
    stage.rig().Reload([](Settings& settings) { settings.upstreams[0].outliers.enabled = true; });
    ASSERT_TRUE(stage.Until(
        [&] {
          for (uint32_t e = 0; e < kEndpoints; ++e) {
            for (const uint64_t count : State(stage, e).ejections) ejections += count;
            if (Book(stage, e)->seen() != 0) return false;
          }
          return true;
        },
        10'000));
    stage.Run(20);
    for (uint32_t e = 0; e < kEndpoints; ++e) {
      for (uint32_t shard = 0; shard < 2; ++shard) {
        const Endpoint* known = Book(stage, e)->page(shard).endpoint;
        if (known != nullptr) EXPECT_EQ(known->view, 0u);
      }
    }
    EXPECT_GT(ejections, 0u);
  });
}

}  // namespace
}  // namespace weir::lb::trial
