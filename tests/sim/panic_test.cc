// Panic: when checks and outlier detection leave too few endpoints all are used, and none of them afterwards.
#include <gtest/gtest.h>

#include <functional>
#include <initializer_list>
#include <string>

#include "tests/sim/seeds.h"
#include "tests/sim/stage.h"

namespace weir::lb::trial {
namespace {

constexpr uint64_t kDown = EndpointBook::kDown;
constexpr uint64_t kEjected = EndpointBook::kEjected;

void Play(uint32_t endpoints, const std::function<void(UpstreamSettings&)>& change,
          const std::function<void(Stage&)>& scene) {
  ForEachSeed([&](uint64_t seed) {
    Stage::Options options;
    if (seed % 2 == 0) {
      options.faults.late_completion = 0.3;
      options.faults.short_receive = 0.3;
      options.faults.short_send = 0.3;
    }
    options.settings = Rig::Defaults(endpoints);
    change(options.settings.upstreams[0]);
    Stage stage(seed, std::move(options));
    scene(stage);
  });
}

UpstreamPlan& Plan(Stage& stage) { return *stage.rig().generations().back()->plan(0); }

// Says so of these endpoints, and nothing of the others.
void Say(Stage& stage, uint64_t bits, std::initializer_list<uint32_t> endpoints) {
  stage.world().On(stage.rig().control(), [&] {
    for (uint32_t i = 0; i < Plan(stage).books.size(); ++i) {
      const bool about = std::find(endpoints.begin(), endpoints.end(), i) != endpoints.end();
      stage.rig().publisher().Publish(Plan(stage).books[i], about ? bits : 0);
    }
  });
  stage.Run(10);
}

// How many of `requests` each endpoint gets, as digits; -, if one is not answered with 200.
std::string Shares(Stage& stage, uint32_t requests) {
  std::vector<uint64_t> before;
  const auto requests_of = [&](uint32_t i) { return Plan(stage).books[i]->page(0).counters.requests.Get(); };
  for (uint32_t i = 0; i < Plan(stage).books.size(); ++i) before.push_back(requests_of(i));
  for (uint32_t i = 0; i < requests; ++i) {
    Speaker& client = stage.Client(Get("/"));
    EXPECT_TRUE(stage.Until([&] { return client.heard.find("\r\n\r\n") != std::string::npos; }, 20'000));
    if (!client.heard.starts_with("HTTP/1.1 200")) return "-";
  }
  std::string text;
  for (uint32_t i = 0; i < before.size(); ++i) text += std::to_string(requests_of(i) - before[i]);
  return text;
}

TEST(Panic, UnderTheThresholdAllAreUsed) {
  Play(
      4, [](UpstreamSettings& upstream) { upstream.panic_percent = 60; },
      [](Stage& stage) {
        for (uint32_t i = 0; i < 4; ++i) stage.Origin(i, SayOk);
        EXPECT_EQ(Shares(stage, 8), "2222");
        Say(stage, kDown, {3});
        EXPECT_EQ(Plan(stage).news->panic_levels, 0u);
        EXPECT_EQ(Shares(stage, 6), "2220");
        Say(stage, kEjected, {1, 2});
        EXPECT_EQ(Plan(stage).news->panic_levels, 1u);
        EXPECT_EQ(Shares(stage, 8), "2222");
        // What it has been given there can be used again, once the shard knows that its requests have left.
        EXPECT_TRUE(
            stage.Until([&] { return Plan(stage).books[1]->page(0).counters.idle.Get() > 0; }, 20'000));
        // A reload in between changes nothing; nor is it another panic.
        stage.rig().Reload([](Settings& settings) { settings.upstreams[0].retries = 1; });
        stage.Run(50);
        EXPECT_EQ(Shares(stage, 8), "2222");
        Say(stage, EndpointBook::kDraining, {0, 1});
        EXPECT_EQ(Plan(stage).news->panic_levels, 0u) << "who is left is well";
        EXPECT_EQ(Shares(stage, 4), "0022");
        stage.world().On(stage.rig().control(), [&] {
          stage.rig().publisher().Set(Plan(stage).books[0], kDown);
          stage.rig().publisher().Set(Plan(stage).books[2], kDown);
        });
        stage.Run(10);
        EXPECT_EQ(Plan(stage).news->panic_levels, 1u);
        EXPECT_EQ(Shares(stage, 4), "0022") << "whom the operator took out gets nothing";
        Say(stage, kDown, {2});
        EXPECT_EQ(Shares(stage, 6), "2202");
        EXPECT_EQ(Plan(stage).news->panics, 2u);
      });
}

TEST(Panic, AllDown) {
  Play(
      3, [](UpstreamSettings& upstream) { upstream.all_down = AllDown::kPanic; },
      [](Stage& stage) {
        for (uint32_t i = 0; i < 3; ++i) stage.Origin(i, SayOk);
        Say(stage, kDown, {0, 2});
        EXPECT_EQ(Shares(stage, 3), "030");
        Say(stage, kDown, {0, 1, 2});
        EXPECT_EQ(Shares(stage, 6), "222");
        stage.rig().Reload([](Settings& settings) { settings.upstreams[0].all_down = AllDown::k503; });
        stage.Run(50);
        EXPECT_EQ(Plan(stage).news->panic_levels, 0u);
        EXPECT_EQ(Shares(stage, 1), "-");
        stage.rig().Reload([](Settings& settings) { settings.upstreams[0].all_down = AllDown::kPanic; });
        stage.Run(50);
        EXPECT_EQ(Shares(stage, 6), "222");
        EXPECT_EQ(Plan(stage).news->panics, 2u);
        Say(stage, EndpointBook::kForcedDown | kDown, {0, 1, 2});
        EXPECT_EQ(Shares(stage, 1), "-");
        Say(stage, 0, {});
        EXPECT_EQ(Shares(stage, 6), "222");
        EXPECT_EQ(Plan(stage).news->panic_levels, 0u);
      });
}

// On the pool of before the reload, which hears no news.
TEST(Panic, AnOldRequestIsTriedAgainAmongAllToo) {
  Play(
      3, [](UpstreamSettings& upstream) { upstream.all_down = AllDown::kPanic; },
      [](Stage& stage) {
        Speaker* held = nullptr;
        for (uint32_t i = 0; i < 3; ++i) {
          stage.Origin(i, [&held](Speaker& speaker) {
            if (held == nullptr) {
              held = &speaker;
            } else {
              SayOk(speaker);
            }
          });
        }
        Speaker& client = stage.Client(Get("/"));
        ASSERT_TRUE(stage.Until([&] { return held != nullptr; }, 20'000));
        Say(stage, kDown, {0, 1, 2});
        stage.rig().Reload([](Settings& settings) { settings.upstreams[0].balance = Balance::kLeastConn; });
        stage.Run(50);
        ASSERT_EQ(stage.counters().retired_pools.Get(), 1u);
        held->peer.Close();
        ASSERT_TRUE(stage.Until([&] { return client.Heard("\r\n\r\n"); }, 20'000));
        EXPECT_TRUE(client.heard.starts_with("HTTP/1.1 200")) << client.heard;
      });
}

TEST(Panic, LevelsAndBackups) {
  Play(
      4,
      [](UpstreamSettings& upstream) {
        upstream.panic_percent = 50;
        upstream.all_down = AllDown::kBackup;
        upstream.endpoints[3].level = EndpointSettings::kBackup;
      },
      [](Stage& stage) {
        for (uint32_t i = 0; i < 4; ++i) stage.Origin(i, SayOk);
        Say(stage, kDown, {0, 1});
        EXPECT_EQ(Shares(stage, 3), "0003") << "a third is not enough, and the backup is well";
        Say(stage, kDown, {0, 1, 3});
        EXPECT_EQ(Shares(stage, 6), "2220");
        Say(stage, kDown, {0, 1, 2, 3});
        EXPECT_EQ(Plan(stage).news->panic_levels, 1u << EndpointSettings::kBackup);
        EXPECT_EQ(Shares(stage, 3), "0003");
        Say(stage, kDown, {0});
        EXPECT_EQ(Shares(stage, 4), "0220");
      });
}

// Nobody listens: whoever is asked last is asked on, and found as soon as it is back, whatever `set_aside`.
TEST(Panic, TheLastOneIsNotSetAside) {
  Play(
      2,
      [](UpstreamSettings& upstream) {
        upstream.all_down = AllDown::kPanic;
        upstream.set_aside_ms = 60'000;
      },
      [](Stage& stage) {
        sim::PeerServer& first = stage.Origin(0, SayOk);
        sim::PeerServer& second = stage.Origin(1, SayOk);
        EXPECT_EQ(Shares(stage, 2), "11");
        for (sim::PeerServer* server : {&first, &second}) {
          server->Stop();
          server->ResetAll();
        }
        for (int i = 0; i < 5; ++i) EXPECT_EQ(Shares(stage, 1), "-");
        first.Start();
        second.Start();
        EXPECT_NE(Shares(stage, 1), "-");
      });
}

}  // namespace
}  // namespace weir::lb::trial
