// Copies of requests: what they are, and that nobody notices them.
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "tests/sim/seeds.h"
#include "tests/sim/stage.h"

namespace weir::lb::trial {
namespace {

constexpr int64_t kSettleMs = 250;

// Endpoint 0 serves, endpoint 1 gets the copies.
void Play(const std::function<void(Stage&)>& scene, const std::function<void(Settings&)>& change = nullptr) {
  ForEachSeed([&](uint64_t seed) {
    Stage::Options options;
    if (seed % 2 == 0) {
      options.faults.late_completion = 0.3;
      options.faults.short_receive = 0.3;
      options.faults.short_send = 0.3;
    }
    options.settings = Rig::Defaults(2);
    UpstreamSettings copies = options.settings.upstreams[0];
    copies.name = "copies";
    copies.endpoints.erase(copies.endpoints.begin());
    options.settings.upstreams[0].endpoints.pop_back();
    options.settings.upstreams.push_back(copies);
    if (change) change(options.settings);
    Stage stage(seed, std::move(options));
    stage.rig().Reload([](Settings& settings) { settings.listeners[0].direct.mirror.upstream = 1; });
    stage.Run(kSettleMs);
    scene(stage);
  });
}

uint64_t InFlight(Stage& stage) {
  return stage.rig().generations().back()->plan(1)->books[0]->page(0).counters.active.Get();
}

TEST(Mirrors, GetTheVeryRequestAndTheirAnswersGoNowhere) {
  Play([](Stage& stage) {
    std::string request;
    std::string copy;
    const auto latest = [](const Speaker& origin) {
      return origin.heard.substr(origin.heard.rfind(" /") + 1);
    };
    stage.Origin(0, [&](Speaker& origin) {
      request = latest(origin);
      origin.Say(kOk);
    });
    stage.Origin(1, [&](Speaker& mirror) {
      copy = latest(mirror);
      mirror.Say("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n");
      mirror.Say("5\r\nwrong\r\n0\r\n\r\n");
    });
    Speaker& client = stage.Client();
    for (int i = 1; i <= 3; ++i) {
      client.Say(i == 2 ? Post("/2", "Content-Length: 4\r\n", "body") : Get("/" + std::to_string(i)));
      ASSERT_TRUE(stage.Until([&] { return client.Count("\r\n\r\nok") == static_cast<size_t>(i); }, 1000));
      ASSERT_TRUE(stage.Until([&] { return InFlight(stage) == 0; }, 1000));
      // A body may come a moment later.
      stage.Run(20);
      EXPECT_NE(request.find("/" + std::to_string(i) + " HTTP/1.1"), std::string::npos);
      // A body that came behind its head is no mirror's.
      if (i == 2 && stage.counters().mirrors_left_out.Get() == 1) continue;
      EXPECT_EQ(copy.substr(0, copy.find("\r\n\r\n")), request.substr(0, request.find("\r\n\r\n")));
    }
    EXPECT_FALSE(client.Heard("500"));
    EXPECT_EQ(stage.origins().size(), 2u) << "both keep their connection";
    EXPECT_EQ(stage.counters().mirrored.Get() + stage.counters().mirrors_left_out.Get(), 3u);
    EXPECT_LE(stage.counters().mirrors_left_out.Get(), 1u);
    EXPECT_EQ(stage.counters().mirror_failures.Get(), 0u);
    const Generation& generation = *stage.rig().generations().back();
    EXPECT_EQ(generation.plan(0)->book->page(0).responses[2].Get(), 3u);
    EXPECT_EQ(generation.plan(1)->book->page(0).responses[5].Get(), stage.counters().mirrored.Get())
        << "what the mirror answers";
    EXPECT_EQ(generation.plan(1)->book->page(0).responses[2].Get(), 0u);
  });
}

TEST(Mirrors, NobodyWaitsForOneThatHangs) {
  Play(
      [](Stage& stage) {
        stage.Origin(0, SayOk);
        stage.Origin(1, [](Speaker&) {});
        Speaker& client = stage.Client(Get("/"));
        ASSERT_TRUE(stage.Until([&] { return client.Heard("ok"); }, 1000));
        EXPECT_EQ(InFlight(stage), 1u);
        ASSERT_TRUE(stage.Until([&] { return InFlight(stage) == 0; }, 2000));
        EXPECT_EQ(stage.counters().mirror_failures.Get(), 1u);
        EXPECT_EQ(stage.counters().upstream_timeouts.Get(), 0u);
      },
      [](Settings& settings) {
        settings.upstreams[1].timeouts.response_ms = 1'000;
        settings.upstreams[1].timeouts.upstream_body_ms = 500;
      });
}

TEST(Mirrors, OneThatRefusesIsSetAsideAndCostsNothing) {
  Play([](Stage& stage) {
    stage.Origin(0, SayOk);
    Speaker& client = stage.Client();
    for (size_t i = 1; i <= 5; ++i) {
      client.Say(Get("/"));
      ASSERT_TRUE(stage.Until([&] { return client.Count("\r\n\r\nok") == i; }, 1000));
      stage.Run(20);
    }
    EXPECT_EQ(stage.counters().mirrored.Get(), 1u);
    EXPECT_EQ(stage.counters().mirror_failures.Get(), 1u);
    EXPECT_EQ(stage.counters().mirrors_left_out.Get(), 4u);
  });
}

TEST(Mirrors, LargeBodiesAndTunnelsAreLeftOut) {
  Play([](Stage& stage) {
    stage.Origin(0, [](Speaker& origin) {
      origin.Say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    });
    stage.Origin(1, SayOk);
    stage.Client(Post("/", "Content-Length: 100000\r\n", std::string(100'000, 'x')));
    stage.Client(Get("/", "Connection: upgrade\r\nUpgrade: chat\r\n"));
    ASSERT_TRUE(stage.Until([&] { return stage.counters().mirrors_left_out.Get() == 2; }, 2000));
    EXPECT_EQ(stage.counters().mirrored.Get(), 0u);
  });
}

TEST(Mirrors, OneThatTricklesEndsInTime) {
  Play(
      [](Stage& stage) {
        stage.Origin(0, SayOk);
        stage.Origin(
            1, [](Speaker& mirror) { mirror.Say("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"); });
        Speaker& client = stage.Client(Get("/"));
        ASSERT_TRUE(stage.Until([&] { return client.Heard("ok") && stage.origins().size() == 2; }, 1000));
        stage.rig().Reload([](Settings& settings) { settings.timeouts.keep_alive_ms += 1; });
        for (int i = 0; i < 40 && InFlight(stage) > 0; ++i) {
          for (auto& origin : stage.origins()) {
            if (origin->Heard("/") && !origin->over()) origin->Say("x");
          }
          stage.Run(100);
          EXPECT_LE(stage.rig().generations().size(), i < 3 ? 2u : 1u)
              << "it needs no configuration any more";
        }
        EXPECT_EQ(InFlight(stage), 0u);
        EXPECT_EQ(stage.counters().mirror_failures.Get(), 1u);
      },
      [](Settings& settings) {
        settings.upstreams[1].timeouts.response_ms = 1'000;
        settings.upstreams[1].timeouts.upstream_body_ms = 1'000;
      });
}

TEST(Mirrors, NoneBeginsWhileWeirDrains) {
  Play([](Stage& stage) {
    stage.Origin(0, SayOk);
    stage.Origin(1, [](Speaker&) {});
    Speaker& client = stage.Client("GET / HTTP/1.1\r\nHost: a\r\n");
    stage.Run(50);
    stage.rig().Drain();
    stage.Run(50);
    client.Say("\r\n");
    ASSERT_TRUE(stage.Until([&] { return client.over(); }, 5'000));
    EXPECT_TRUE(client.Heard("ok"));
    client.peer.Finish();
    ASSERT_TRUE(stage.Until([&] { return stage.rig().drained(); }, 5'000));
    EXPECT_FALSE(stage.rig().cut());
    EXPECT_EQ(stage.counters().mirrored.Get(), 0u);
  });
}

TEST(Mirrors, AreBoundedAndEndWithTheDrain) {
  constexpr uint32_t kClients = Mirror::kMost + 20;
  Play([](Stage& stage) {
    stage.Origin(0, SayOk);
    stage.Origin(1, [](Speaker&) {});
    for (uint32_t i = 0; i < kClients; ++i) {
      Speaker& client = stage.Client(Get("/", "Connection: close\r\n"));
      ASSERT_TRUE(stage.Until([&] { return client.over(); }, 1000));
      client.peer.Finish();
    }
    EXPECT_EQ(InFlight(stage), Mirror::kMost);
    EXPECT_EQ(stage.counters().mirrors_left_out.Get(), kClients - Mirror::kMost);
    const int64_t begin_ms = stage.now_ms();
    stage.rig().Drain();
    ASSERT_TRUE(stage.Until([&] { return stage.rig().drained(); }, 10'000));
    EXPECT_LT(stage.now_ms() - begin_ms, 5'000) << "nobody waits for their time-outs";
    EXPECT_FALSE(stage.rig().cut());
  });
}

// Where descriptors are short, it is copies that are left out.
TEST(Mirrors, AsManyAsThereAreDescriptorsFor) {
  Play(
      [](Stage& stage) {
        stage.Origin(0, SayOk);
        stage.Origin(1, [](Speaker&) {});
        for (int i = 0; i < 5; ++i) {
          Speaker& client = stage.Client(Get("/"));
          ASSERT_TRUE(stage.Until([&] { return client.Heard("\r\n\r\nok"); }, 1000));
        }
        EXPECT_EQ(InFlight(stage), 2u);
        EXPECT_EQ(stage.counters().mirrors_left_out.Get(), 3u);
      },
      [](Settings& settings) { settings.mirrors_per_shard = 2; });
}

}  // namespace
}  // namespace weir::lb::trial
