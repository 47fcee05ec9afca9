// Kept connections: which is used next, when one is used no more, and that a dead one is noticed while it is
// idle.
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/seeds.h"
#include "tests/sim/stage.h"

namespace weir::lb::trial {
namespace {

void Play(const std::function<void(UpstreamSettings&)>& change, const std::function<void(Stage&)>& scene,
          const std::function<void(Speaker&)>& on_request = SayOk) {
  ForEachSeed([&](uint64_t seed) {
    Stage::Options options;
    change(options.settings.upstreams[0]);
    Stage stage(seed, std::move(options));
    stage.Origin(0, on_request);
    scene(stage);
  });
}

void Ask(Stage& stage, Speaker& client) {
  client.heard.clear();
  client.Say(Get("/"));
  ASSERT_TRUE(stage.Until([&] { return client.Heard("\r\n\r\nok"); }, 5'000)) << client.heard;
}

TEST(Pool, AConnectionHasSoManyRequestsAndNoMore) {
  for (const uint32_t most : {1u, 5u, 80u}) {
    SCOPED_TRACE(most);
    std::set<size_t> lengths;
    Play([most](UpstreamSettings& upstream) { upstream.pool.max_requests = most; },
         [&](Stage& stage) {
           Speaker& client = stage.Client();
           for (uint32_t i = 0; i < 3 * most; ++i) Ask(stage, client);
           stage.Run(100);
           ASSERT_GE(stage.origins().size(), 3u);
           for (size_t i = 0; i < 3; ++i) {
             const size_t requests = stage.origin(i).Count("\r\n\r\n");
             EXPECT_LE(requests, most);
             if (i == 2) continue;  // it may be the last one, and not have all yet
             EXPECT_GE(requests, most - most / 8);
             EXPECT_TRUE(stage.origin(i).over());
             lengths.insert(requests);
           }
         });
    if (most == 80u && !SeedsWereChosen()) EXPECT_GE(lengths.size(), 4u) << "they do not end together";
  }
}

TEST(Pool, AConnectionEndsWhenItIsOldIdleOrNot) {
  for (const bool idle : {false, true}) {
    SCOPED_TRACE(idle);
    std::set<int64_t> ages_ms;
    Play([](UpstreamSettings& upstream) { upstream.pool.max_age_ms = 8'000; },
         [&](Stage& stage) {
           Speaker& client = stage.Client();
           Ask(stage, client);
           const int64_t begun_ms = stage.now_ms();
           while (!stage.origin(0).over() && stage.now_ms() < begun_ms + 20'000) {
             if (!idle) Ask(stage, client);
             stage.Run(100);
           }
           ASSERT_TRUE(stage.origin(0).over());
           const int64_t age_ms = stage.MsOf(stage.origin(0).over_ns()) - begun_ms;
           EXPECT_GE(age_ms, 6'800);
           EXPECT_LE(age_ms, 8'500);
           ages_ms.insert(age_ms / 50);
           Ask(stage, client);
           EXPECT_EQ(stage.origins().size(), 2u);
         });
    if (!SeedsWereChosen()) EXPECT_GE(ages_ms.size(), 4u) << "they do not end together";
  }
}

TEST(Pool, WithoutLimitsAConnectionGoesOn) {
  Play([](UpstreamSettings&) {},
       [](Stage& stage) {
         Speaker& client = stage.Client();
         for (int i = 0; i < 300; ++i) Ask(stage, client);
         stage.Run(30'000);
         Ask(stage, client);
         EXPECT_EQ(stage.origins().size(), 1u);
       });
}

// Limits that a reload brings hold for the connections that are there.
TEST(Pool, AReloadsLimitsHoldAtOnce) {
  Play([](UpstreamSettings&) {},
       [](Stage& stage) {
         Speaker& client = stage.Client();
         for (int i = 0; i < 10; ++i) Ask(stage, client);
         stage.rig().Reload([](Settings& settings) { settings.upstreams[0].pool.max_requests = 5; });
         stage.Run(200);
         Ask(stage, client);
         stage.Run(100);
         EXPECT_TRUE(stage.origin(0).over());
       });
}

TEST(Pool, TheOneThatWasUsedLastIsUsedNext) {
  Play([](UpstreamSettings&) {},
       [](Stage& stage) {
         std::vector<Speaker*> clients;
         for (int i = 0; i < 3; ++i) clients.push_back(&stage.Client(Get("/")));
         ASSERT_TRUE(stage.Until(
             [&] {
               size_t heard = 0;
               for (size_t i = 0; i < stage.origins().size(); ++i) heard += stage.origin(i).Count("\r\n\r\n");
               return heard == 3;
             },
             5'000));
         for (const size_t next : {2, 0, 1}) {
           stage.origin(next).Say(kOk);
           stage.Run(50);
         }
         EXPECT_EQ(stage.counters().upstream_idle.Get(), 3u);
         clients[0]->Say(Get("/"));
         stage.Run(50);
         EXPECT_EQ(stage.origin(1).Count("\r\n\r\n"), 2u);
         clients[1]->Say(Get("/"));
         stage.Run(50);
         EXPECT_EQ(stage.origin(0).Count("\r\n\r\n"), 2u);
       },
       [](Speaker&) {});
}

// A FIN, a reset, bytes that nobody asked for: the connection is gone before anybody would use it.
TEST(Pool, ADeadOneIsNoticedWhileItIsIdle) {
  const std::function<void(Speaker&)> ends[] = {
      [](Speaker& origin) { origin.peer.Close(); },
      [](Speaker& origin) { origin.peer.Reset(); },
      [](Speaker& origin) { origin.Say("HTTP/1.1 408 Request Timeout\r\n\r\n"); },
  };
  for (const auto& end : ends) {
    Play([](UpstreamSettings& upstream) { upstream.retries = 0; },
         [&end](Stage& stage) {
           Speaker& client = stage.Client();
           Ask(stage, client);
           EXPECT_EQ(stage.counters().upstream_idle.Get(), 1u);
           end(stage.origin(0));
           EXPECT_TRUE(stage.Until([&] { return stage.counters().upstream_idle.Get() == 0; }, 1'000));
           Ask(stage, client);
           EXPECT_EQ(stage.origins().size(), 2u);
           EXPECT_EQ(stage.counters().upstream_reused.Get(), 0u);
         });
  }
}

TEST(Pool, TheOldestGoesWhereTooManyAreIdle) {
  Play([](UpstreamSettings& upstream) { upstream.idle_connections = 2; },
       [](Stage& stage) {
         for (int i = 0; i < 4; ++i) stage.Client(Get("/"));
         ASSERT_TRUE(stage.Until(
             [&] {
               size_t heard = 0;
               for (size_t i = 0; i < stage.origins().size(); ++i) heard += stage.origin(i).Count("\r\n\r\n");
               return heard == 4;
             },
             5'000));
         for (size_t i = 0; i < 4; ++i) {
           stage.origin(i).Say(kOk);
           stage.Run(50);
         }
         EXPECT_EQ(stage.counters().upstream_idle.Get(), 2u);
         EXPECT_TRUE(stage.origin(0).over() && stage.origin(1).over());
         EXPECT_FALSE(stage.origin(2).over() || stage.origin(3).over());
       },
       [](Speaker&) {});
}

}  // namespace
}  // namespace weir::lb::trial
