// Zone preference: endpoints of Weir's zone fail, are found out and come back, under requests that all get
// their answer.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "tests/sim/seeds.h"
#include "tests/sim/stage.h"

namespace weir::lb::trial {
namespace {

constexpr uint32_t kOwn = 4;  // the first ones; of kAll
constexpr uint32_t kAll = 7;

void Play(const std::function<void(UpstreamSettings&)>& change,
          const std::function<void(Stage&, uint64_t)>& scene) {
  ForEachSeed([&](uint64_t seed) {
    Stage::Options options;
    if (seed % 2 == 0) {
      options.faults.late_completion = 0.3;
      options.faults.short_receive = 0.3;
      options.faults.short_send = 0.3;
    }
    options.settings = Rig::Defaults(kAll);
    UpstreamSettings& upstream = options.settings.upstreams[0];
    for (uint32_t i = 0; i < kOwn; ++i) upstream.endpoints[i].in_own_zone = true;
    change(upstream);
    Stage stage(seed, std::move(options));
    scene(stage, seed);
  });
}

UpstreamPlan& Plan(Stage& stage) { return *stage.rig().generations().back()->plan(0); }
uint64_t LeftZone(Stage& stage) { return Plan(stage).book->page(0).left_zone.Get(); }

// Says so of these endpoints, and nothing of the others.
void Say(Stage& stage, uint64_t bits, std::initializer_list<uint32_t> endpoints) {
  stage.world().On(stage.rig().control(), [&] {
    for (uint32_t i = 0; i < kAll; ++i) {
      const bool about = std::find(endpoints.begin(), endpoints.end(), i) != endpoints.end();
      stage.rig().publisher().Publish(Plan(stage).books[i], about ? bits : 0);
    }
  });
  stage.Run(10);
}

// How many of `requests` stay in the zone; each must get its answer.
uint64_t Stay(Stage& stage, uint32_t requests) {
  const uint64_t before = LeftZone(stage);
  for (uint32_t i = 0; i < requests; ++i) {
    Speaker& client = stage.Client(Get("/"));
    EXPECT_TRUE(stage.Until([&] { return client.Heard("\r\n\r\n"); }, 20'000));
    EXPECT_TRUE(client.heard.starts_with("HTTP/1.1 200")) << client.heard;
  }
  return requests - (LeftZone(stage) - before);
}

TEST(Zones, WhatChecksSayMovesRequests) {
  Play([](UpstreamSettings&) {},
       [](Stage& stage, uint64_t) {
         for (uint32_t i = 0; i < kAll; ++i) stage.Origin(i, SayOk);
         EXPECT_EQ(Stay(stage, 20), 20u);
         Say(stage, EndpointBook::kDown, {1});
         EXPECT_EQ(Stay(stage, 20), 20u) << "3 of 4 are enough";
         Say(stage, EndpointBook::kEjected, {0, 1});
         const uint64_t stay = Stay(stage, 60);  // 70 % of them on average
         EXPECT_GT(stay, 20u);
         EXPECT_LT(stay, 60u);
         Say(stage, EndpointBook::kDown, {0, 1, 2, 3});
         EXPECT_EQ(Stay(stage, 20), 0u);
         Say(stage, EndpointBook::kDown, {4, 5, 6});
         EXPECT_EQ(Stay(stage, 20), 20u);
         Say(stage, EndpointBook::kDraining, {0, 1, 2, 3});
         EXPECT_EQ(Stay(stage, 20), 0u);
         // A reload into a plan in which Weir is elsewhere.
         stage.rig().Reload([](Settings& settings) {
           for (EndpointSettings& endpoint : settings.upstreams[0].endpoints)
             endpoint.in_own_zone = !endpoint.in_own_zone;
         });
         stage.Run(50);
         Say(stage, 0, {});
         EXPECT_EQ(Stay(stage, 20), 20u);
         for (uint32_t i = 0; i < kOwn; ++i) {
           const uint64_t met = Plan(stage).books[i]->page(0).counters.requests.Get();
           EXPECT_EQ(Stay(stage, 5), 5u);
           EXPECT_EQ(Plan(stage).books[i]->page(0).counters.requests.Get(), met);
         }
       });
}

// In a slow start whoever is alone in the zone does not get all of its requests at once.
TEST(Zones, WhoComesBackAloneBeginsWithAShare) {
  Play([](UpstreamSettings&) {},
       [](Stage& stage, uint64_t) {
         for (uint32_t i = 0; i < kAll; ++i) stage.Origin(i, SayOk);
         Say(stage, EndpointBook::MissingOf(kFullFactor / 16), {0, 1, 2, 3});
         EXPECT_LT(Stay(stage, 50), 20u);  // 9 % on average
         Say(stage, 0, {});
         EXPECT_EQ(Stay(stage, 20), 20u);
       });
}

// Nobody says who is down: connections are refused, and requests in flight end with a reset. Each is tried
// again, in the zone as long as there is somebody, and none is lost; whoever listens again gets requests
// again.
TEST(Zones, NoRequestIsLostAsTheZoneDiesAndComesBack) {
  for (const Balance balance : {Balance::kRoundRobin, Balance::kLeastConn, Balance::kMaglev}) {
    Play(
        [balance](UpstreamSettings& upstream) {
          upstream.balance = balance;
          if (Hashes(balance)) upstream.hash.on = {HashKey{HashKey::Of::kQuery, "q"}};
          upstream.retries = 7;
          upstream.retry_budget.on = false;
          upstream.set_aside_ms = 200;
        },
        [](Stage& stage, uint64_t seed) {
          std::vector<sim::PeerServer*> servers;
          for (uint32_t i = 0; i < kAll; ++i) servers.push_back(&stage.Origin(i, SayOk));
          Random random(seed);
          std::vector<Speaker*> clients;
          const auto ask = [&](uint32_t requests) {
            for (uint32_t i = 0; i < requests; ++i) {
              clients.push_back(&stage.Client(Get("/?q=" + std::to_string(clients.size()))));
              stage.Run(random.Below(4));
            }
          };
          ask(10);
          for (uint32_t i = 0; i < kOwn; ++i) {
            servers[i]->Stop();
            servers[i]->ResetAll();
            ask(10);
          }
          const uint64_t left = LeftZone(stage);
          EXPECT_GT(left, 0u);
          for (uint32_t i = 0; i < kOwn; ++i) {
            servers[i]->Start();
            ask(5);
          }
          for (const Speaker* client : clients) {
            ASSERT_TRUE(stage.Until([&] { return client->Heard("\r\n\r\n"); }, 20'000));
            EXPECT_TRUE(client->heard.starts_with("HTTP/1.1 200")) << client->heard;
          }
          stage.Run(10'000);  // nobody is set aside any more
          EXPECT_EQ(Stay(stage, 20), 20u);
        });
  }
}

}  // namespace
}  // namespace weir::lb::trial
