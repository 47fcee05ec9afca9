#include "core/shard.h"

#include <gtest/gtest.h>

#include <string>

#include "core/sim/peer.h"
#include "core/sim/world.h"
#include "core/stream.h"

namespace weir {
namespace {

class ShardTest : public testing::Test {
 protected:
  sim::World world_{{.seed = 1}};
  Switchboard& switchboard_ = world_.NewSwitchboard(2);
  Shard& shard_ = world_.NewShard(switchboard_, {.index = 0, .buffers = 8});
  std::string log_;
};

struct Step : Runnable {
  Step(std::string& log, const char* text)
      : Runnable([](Runnable* self) {
          auto* step = static_cast<Step*>(self);
          step->log += step->text;
        }),
        log(log),
        text(text) {}
  std::string& log;
  const char* text;
};

TEST_F(ShardTest, MailTimersAndReadyWorkShareATurnInThatOrder) {
  struct Note : Message {
    std::string* log = nullptr;
    Runnable* wakes = nullptr;
  } note;
  Step from_mail(log_, "from-mail ");
  Step at_timer(log_, "timer ");
  note.log = &log_;
  note.wakes = &from_mail;
  note.deliver = [](Message* message, Shard& shard) {
    auto* self = static_cast<Note*>(message);
    *self->log += "mail ";
    shard.Wake(self->wakes);
  };
  Timer timer;
  timer.waiter = &at_timer;
  shard_.Stop();  // the world leaves it alone: turns are ours
  shard_.RunTurn(false);
  shard_.SetTimer(timer, 1);
  shard_.Post(0, &note);
  shard_.RunTurn(false);
  EXPECT_EQ(log_, "");
  world_.RunFor(5 * kNsPerMs);
  shard_.RunTurn(false);
  EXPECT_EQ(log_, "mail from-mail timer ");
}

// A deadline and fresh bytes in one resume: whoever waits for both sees both, and may let the bytes win.
Root ReceiveOrGiveUp(Scope& /*scope*/, Shard& shard, Stream& stream, uint32_t deadline_ms,
                     std::string& result) {
  Waiter waiter;
  Timer deadline;
  stream.SetWaiter(&waiter);
  deadline.waiter = &waiter;
  shard.SetTimer(deadline, deadline_ms);
  for (;;) {
    stream.ArmReceive(shard, 0);
    stream.Poll(shard);
    if (stream.has_bytes()) {
      result = std::string(stream.TakeBytes().view());
      break;
    }
    if (deadline.fired) {
      result = "timeout";
      break;
    }
    co_await waiter.Park();
  }
  shard.ClearTimer(deadline);
  stream.BeginClose(shard, false);
  while (!stream.Closed(shard)) co_await waiter.Park();
  shard.Forget(waiter);
}

TEST_F(ShardTest, BytesOrDeadline) {
  for (const bool send : {true, false}) {
    sim::PeerServer& server = world_.Serve(send ? "127.0.0.1:81" : "127.0.0.1:82", [&](sim::Peer& peer) {
      if (send) peer.Send("answer");
    });
    const SocketAddress address = server.address();
    Scope scope;
    Stream stream;
    std::string result;
    stream.Open(shard_.backend().OpenStream(AF_INET), AF_INET);
    stream.Connect(shard_, &address);
    ASSERT_TRUE(world_.RunUntil([&] {
      stream.Poll(shard_);
      return !stream.connecting();
    }));
    const int64_t start_ns = world_.now_ns();
    world_.On(shard_, [&] { ReceiveOrGiveUp(scope, shard_, stream, 50, result); });
    ASSERT_TRUE(world_.RunUntil([&] { return scope.running() == 0; }));
    EXPECT_EQ(result, send ? "answer" : "timeout");
    if (!send) EXPECT_GE(world_.now_ns() - start_ns, 50 * kNsPerMs);
  }
}

// The process is stopped for 20 s. What came meanwhile is not late, and who still says nothing has the rest
// of his five seconds.
TEST_F(ShardTest, WhatTheShardStandsStillIsNobodysTime) {
  for (const bool send : {true, false}) {
    sim::PeerServer& server = world_.Serve(send ? "127.0.0.1:81" : "127.0.0.1:82", [&](sim::Peer& peer) {
      if (send) world_.After(7 * kNsPerSecond, [&peer] { peer.Send("answer"); });
    });
    const SocketAddress address = server.address();
    Scope scope;
    Stream stream;
    std::string result;
    stream.Open(shard_.backend().OpenStream(AF_INET), AF_INET);
    stream.Connect(shard_, &address);
    ASSERT_TRUE(world_.RunUntil([&] {
      stream.Poll(shard_);
      return !stream.connecting();
    }));
    world_.On(shard_, [&] { ReceiveOrGiveUp(scope, shard_, stream, 5000, result); });
    world_.RunFor(2 * kNsPerSecond);
    const uint64_t stalls = shard_.counters().stalls.Get();
    const int64_t now_ns = shard_.now_ns();
    const int64_t begin_ns = world_.now_ns();
    world_.Stall(shard_, 20 * kNsPerSecond);
    ASSERT_TRUE(world_.RunUntil([&] { return scope.running() == 0; }));
    EXPECT_EQ(result, send ? "answer" : "timeout");
    EXPECT_EQ(shard_.counters().stalls.Get(), stalls + 1);
    const int64_t took_ns = world_.now_ns() - begin_ns;
    const int64_t stalled_ns = static_cast<int64_t>(shard_.counters().stalled_ms.Get()) * kNsPerMs;
    EXPECT_NEAR(static_cast<double>(took_ns - (shard_.now_ns() - now_ns)), 19.5e9, 0.6e9);
    if (send) {
      EXPECT_LT(took_ns, 21 * kNsPerSecond);
    } else {
      EXPECT_GT(took_ns, 22 * kNsPerSecond);
      EXPECT_LT(took_ns, 24 * kNsPerSecond);
    }
    EXPECT_GT(stalled_ns, 19 * kNsPerSecond);
  }
}

// Late for a turn on a busy machine is not a stall: time is counted.
TEST_F(ShardTest, AShortPauseIsTime) {
  world_.RunFor(kNsPerSecond);
  const int64_t behind_ns = world_.now_ns() - shard_.now_ns();
  for (int i = 0; i < 100; ++i) {
    world_.Stall(shard_, 150 * kNsPerMs);
    world_.Poke(shard_);
    world_.RunFor(200 * kNsPerMs);
  }
  EXPECT_EQ(shard_.counters().stalls.Get(), 0u);
  EXPECT_NEAR(static_cast<double>(world_.now_ns() - shard_.now_ns()), static_cast<double>(behind_ns), 1e9);
}

TEST_F(ShardTest, WhoWakesItselfForEverDoesNotStopTheShard) {
  struct Greedy : Runnable {
    explicit Greedy(Shard& shard)
        : Runnable([](Runnable* self) {
            auto* greedy = static_cast<Greedy*>(self);
            ++greedy->runs;
            greedy->shard.Wake(self);
          }),
          shard(shard) {}
    Shard& shard;
    uint64_t runs = 0;
  } greedy(shard_);
  shard_.Wake(&greedy);
  const uint64_t turns = shard_.counters().turns.Get();
  shard_.RunTurn(true);
  shard_.RunTurn(true);
  EXPECT_EQ(shard_.counters().turns.Get(), turns + 2);
  EXPECT_GT(greedy.runs, 100u);
  EXPECT_LT(greedy.runs, 100'000u);
  EXPECT_FALSE(shard_.idle());
  shard_.Forget(greedy);
  EXPECT_TRUE(shard_.idle());
}

TEST_F(ShardTest, WhatABurstLeftIsGivenBackAfterAWhile) {
  std::vector<Buffer*> buffers;
  while (Buffer* buffer = shard_.buffers().Take()) buffers.push_back(buffer);
  std::vector<void*> objects;
  for (int i = 0; i < 3000; ++i) objects.push_back(shard_.arena().Allocate(500));
  for (Buffer* buffer : buffers) BufferPool::Release(buffer);
  for (void* object : objects) shard_.arena().Free(object);
  EXPECT_GT(shard_.arena().resident_bytes(), 1u << 20);
  world_.RunFor(3 * kNsPerSecond);
  EXPECT_EQ(shard_.arena().resident_bytes(), 0u);
  for (Buffer* buffer : buffers) EXPECT_FALSE(buffer->resident);
}

TEST_F(ShardTest, CurrentIsTheShardWhoseTurnItIs) {
  Shard& other = world_.NewShard(switchboard_, {.index = 1, .buffers = 8});
  world_.On(shard_, [&] {
    EXPECT_EQ(&Shard::Current(), &shard_);
    world_.On(other, [&] { EXPECT_EQ(&Shard::Current(), &other); });
    EXPECT_EQ(&Shard::Current(), &shard_);
  });
  EXPECT_DEATH(Shard::Current(), "current_shard");
}

TEST_F(ShardTest, AnIdleShardSleepsUntilItsNextTimer) {
  world_.RunFor(100 * kNsPerMs);
  const uint64_t before = shard_.counters().turns.Get();
  world_.RunFor(10 * kNsPerSecond);
  // One timer a second of its own, and the turns in which the world does not let it wait.
  EXPECT_LT(shard_.counters().turns.Get() - before, 50u);
}

TEST_F(ShardTest, AStartedOpCannotBeStartedAgain) {
  Op op;
  op.kind = Op::Kind::kReceive;
  op.fd = 3;
  EXPECT_DEATH(
      {
        shard_.Start(op);
        shard_.Start(op);
      },
      "!op.busy\\(\\)");
}

}  // namespace
}  // namespace weir
