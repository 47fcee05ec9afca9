// Listeners with one socket for all shards: what is accepted there is handed to the shard with the fewest
// connections, and nobody is lost on the way: not in a drain, nor in a reload that some shards know of before
// the others.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/unix_path.h"
#include "tests/sim/seeds.h"
#include "tests/sim/stage.h"

namespace weir::lb::trial {
namespace {

constexpr char kUnix[] = "unix:/run/weir.sock";

void AddListener(Settings& settings, Protocol protocol = Protocol::kHttp) {
  ListenerSettings listener = settings.listeners[0];
  std::string expected;
  listener.protocol = protocol;
  listener.address = *ParseUnixAddress(kUnix, &expected);
  listener.text = kUnix;
  settings.listeners.push_back(listener);
}

Stage::Options Shards(uint32_t shards, bool faults) {
  Stage::Options options;
  options.shards = shards;
  options.settings = Rig::Defaults(1);
  if (faults) options.faults.late_completion = options.faults.source_ends = 0.2;
  return options;
}

TEST(UnixListener, EveryShardGetsItsShare) {
  for (const Protocol protocol : {Protocol::kHttp, Protocol::kTcp}) {
    Stage stage(1, Shards(3, false));
    stage.Origin(0, SayOk);
    stage.rig().Reload([&](Settings& settings) { AddListener(settings, protocol); });
    stage.Run(10);
    std::vector<Speaker*> clients;
    for (int i = 0; i < 60; ++i) clients.push_back(&stage.Client(Get("/"), kUnix));
    ASSERT_TRUE(stage.Until(
        [&] { return std::all_of(clients.begin(), clients.end(), [](auto* c) { return c->Heard("ok"); }); },
        4'000));
    for (uint32_t shard = 0; shard < 3; ++shard)
      EXPECT_NEAR(stage.rig().proxy(shard).counters().accepted.Get(), 20, 3) << shard;
    EXPECT_EQ(stage.rig().Sum(&ProxyCounters::accept_errors), 0u);
    if (protocol == Protocol::kHttp) {
      EXPECT_TRUE(stage.origin(0).Heard("X-Forwarded-For: unix:\r\n")) << stage.origin(0).heard;
    }
  }
}

TEST(UnixListener, WhoHasFewestGetsTheNext) {
  Stage stage(1, Shards(2, false));
  stage.Origin(0, SayOk);
  stage.rig().Reload([](Settings& settings) { AddListener(settings); });
  stage.Run(10);
  // Those that came through another listener count too, wherever that led them.
  std::vector<Speaker*> clients;
  for (int i = 0; i < 40; ++i) clients.push_back(&stage.Client(Get("/")));
  stage.Run(100);
  for (int i = 0; i < 40; ++i) clients.push_back(&stage.Client(Get("/"), kUnix));
  ASSERT_TRUE(stage.Until(
      [&] { return std::all_of(clients.begin(), clients.end(), [](auto* c) { return c->Heard("ok"); }); },
      4'000));
  for (uint32_t shard = 0; shard < 2; ++shard)
    EXPECT_NEAR(stage.rig().proxy(shard).counters().open_connections.Get(), 40, 3) << shard;
}

TEST(UnixListener, NobodyIsLostInADrain) {
  ForEachSeed([](uint64_t seed) {
    Stage stage(seed, Shards(3, true));
    stage.Origin(0, SayOk);
    stage.rig().Reload([](Settings& settings) { AddListener(settings); });
    stage.Run(10);
    std::vector<Speaker*> clients;
    for (int i = 0; i < 30; ++i) clients.push_back(&stage.Client(Get("/"), kUnix));
    stage.Run(static_cast<int64_t>(seed % 8));
    stage.rig().Drain();
    ASSERT_TRUE(stage.Until(
        [&] {
          return std::all_of(clients.begin(), clients.end(),
                             [](auto* c) { return !c->peer.connected() || c->Heard("ok"); });
        },
        20'000));
    for (Speaker* client : clients) EXPECT_TRUE(client->Heard("ok") || client->heard.empty());
    // Counted when the client's kernel has the last byte.
    const auto answered = static_cast<uint64_t>(
        std::count_if(clients.begin(), clients.end(), [](auto* client) { return client->Heard("ok"); }));
    EXPECT_TRUE(stage.Until([&] { return stage.rig().RequestsCounted(2) == answered; }, 1'000));
  });
}

TEST(UnixListener, NobodyIsLostInReloads) {
  ForEachSeed([](uint64_t seed) {
    Stage stage(seed, Shards(3, true));
    stage.Origin(0, SayOk);
    std::vector<Speaker*> clients;
    for (int round = 0; round < 6; ++round) {
      if (round % 2 == 0) {
        stage.rig().Reload([](Settings& settings) { AddListener(settings); });
        for (int i = 0; i < 10; ++i) clients.push_back(&stage.Client(Get("/"), kUnix));
        stage.Run(static_cast<int64_t>(seed % 5));
      } else {
        stage.rig().Reload([](Settings& settings) { settings.listeners.pop_back(); });
        stage.Run(static_cast<int64_t>(300 + seed % 5));
      }
    }
    ASSERT_TRUE(stage.Until(
        [&] {
          return std::all_of(clients.begin(), clients.end(),
                             [](auto* c) { return !c->peer.connected() || c->Heard("ok"); });
        },
        20'000));
    for (Speaker* client : clients) EXPECT_EQ(client->Count("200 OK"), client->peer.connected() ? 1u : 0u);
  });
}

}  // namespace
}  // namespace weir::lb::trial
