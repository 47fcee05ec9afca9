#include "core/fleet.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/stop_message.h"
#include "core/uring_probe.h"

namespace weir {
namespace {

constexpr uint32_t kShards = 3;

// Goes from the control shard to every other one and home again.
struct Greeting : Message {
  Greeting() {
    deliver = [](Message* message, Shard& receiver) {
      auto* greeting = static_cast<Greeting*>(message);
      greeting->thread = std::this_thread::get_id();
      greeting->index = receiver.index();
    };
    recycle = [](Message* message, Shard& home) {
      if (++*static_cast<Greeting*>(message)->back == kShards) home.Stop();
    };
  }
  std::thread::id thread;
  uint32_t index = UINT32_MAX;
  uint32_t* back = nullptr;
};

TEST(FleetTest, ShardsStartAnswerStopAndGoAwayOnTheirOwnThreads) {
  UringFeatures features;
  std::string problem;
  ASSERT_TRUE(ProbeUring(features, problem)) << problem;
  static std::atomic<int> alive;
  alive = 0;
  struct Guest : Tenant {
    explicit Guest(Shard& shard) : shard(shard), thread(std::this_thread::get_id()) {
      EXPECT_EQ(&Shard::Current(), &shard);
      ++alive;
    }
    ~Guest() override {
      EXPECT_EQ(std::this_thread::get_id(), thread);
      EXPECT_EQ(&Shard::Current(), &shard);
      --alive;
    }
    Shard& shard;
    std::thread::id thread;
  };

  cpu_set_t mask;
  ASSERT_EQ(sched_getaffinity(0, sizeof(mask), &mask), 0);
  int cpu = 0;
  while (!CPU_ISSET(static_cast<size_t>(cpu), &mask)) ++cpu;

  Switchboard switchboard(kShards + 1);
  const UringBackend::Options uring{features, 64, 256};
  Fleet fleet({.shards = kShards,
               .cpus = std::vector<int>(kShards, cpu),
               .shard = {.index = 0, .seed = 1, .buffers = 16},
               .uring = uring},
              switchboard, [](Shard& shard) { return std::make_unique<Guest>(shard); });
  fleet.Start();
  EXPECT_EQ(alive, static_cast<int>(kShards));

  Shard control({.index = kShards, .buffers = 16}, switchboard,
                [&](BufferPool& pool, CoreCounters& counters) -> std::unique_ptr<Backend> {
                  return std::make_unique<UringBackend>(uring, pool, counters);
                });
  Greeting greetings[kShards];
  uint32_t back = 0;
  for (uint32_t i = 0; i < kShards; ++i) {
    greetings[i].back = &back;
    control.Post(i, &greetings[i]);
  }
  control.Run();
  for (uint32_t i = 0; i < kShards; ++i) {
    EXPECT_EQ(greetings[i].index, i);
    EXPECT_NE(greetings[i].thread, std::this_thread::get_id());
  }
  StopMessage stops[kShards];
  for (uint32_t i = 0; i < kShards; ++i) control.Post(i, &stops[i]);
  control.RunTurn(false);
  EXPECT_EQ(alive, static_cast<int>(kShards));  // nobody goes before all have stopped and Join was called
  fleet.Join();
  EXPECT_EQ(alive, 0);
}

}  // namespace
}  // namespace weir
