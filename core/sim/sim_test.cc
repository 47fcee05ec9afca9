// The simulated world itself: its network behaves like TCP, the same seed gives the same run, and whoever
// breaks the backend's contract is told.
#include <gtest/gtest.h>

#include <cerrno>
#include <optional>
#include <string>

#include "core/sim/backend.h"
#include "core/sim/peer.h"
#include "core/sim/world.h"
#include "core/stream.h"
#include "core/task.h"

namespace weir::sim {
namespace {

constexpr char kAddress[] = "127.0.0.1:80";

// An echo server on a shard, the smallest thing that uses everything: one coroutine per connection.
class EchoServer {
 public:
  explicit EchoServer(Shard& shard) : shard_(shard) {
    SocketAddress address = *SocketAddress::Parse(kAddress);
    accept_.fd = shard.backend().Listen(address, {});
    accept_.kind = Op::Kind::kAccept;
    EXPECT_GE(accept_.fd, 0);
    AcceptLoop(scope_, *this);
  }

  void Stop() {
    stopping_ = true;
    shard_.Wake(&accept_waiter_);
  }
  bool done() const { return scope_.running() == 0; }
  uint64_t failed() const { return failed_; }

 private:
  static Root AcceptLoop(Scope& scope, EchoServer& self) {
    Source& accept = self.accept_;
    accept.waiter = &self.accept_waiter_;
    self.shard_.Start(accept);
    for (;;) {
      while (!accept.empty()) Serve(scope, self, accept.Pop());
      if (accept.done()) {
        if (self.stopping_) break;
        accept.state = Op::State::kIdle;
        self.shard_.Start(accept);  // at once, also at EMFILE: another connection may have closed
      }
      if (self.stopping_) self.shard_.Cancel(accept);
      co_await self.accept_waiter_.Park();
    }
    self.shard_.backend().Close(accept.fd);
  }

  static Root Serve(Scope& /*scope*/, EchoServer& self, int fd) {
    Shard& shard = self.shard_;
    Stream stream;
    Waiter waiter;
    stream.SetWaiter(&waiter);
    stream.Open(fd);
    while (stream.send_error() == 0) {
      stream.ArmReceive(shard, 0);
      stream.Poll(shard);
      if (!stream.sending() && stream.has_bytes()) stream.Send(shard, stream.TakeBytes());
      if (!stream.sending() && !stream.has_bytes() && stream.receive_ended()) break;
      co_await waiter.Park();
    }
    if (stream.send_error() != 0 || stream.receive_error() != 0) ++self.failed_;
    stream.BeginClose(shard, false);
    while (!stream.Closed(shard)) co_await waiter.Park();
    shard.Forget(waiter);
  }

  Shard& shard_;
  Scope scope_;
  Source accept_;
  Waiter accept_waiter_;
  bool stopping_ = false;
  uint64_t failed_ = 0;
};

struct Summary {
  int64_t end_ns = 0;
  uint64_t echoed_bytes = 0;
  uint64_t broken = 0;
  uint64_t turns = 0;
};

Summary Echo(uint64_t seed, bool may_break) {
  Random random(seed);
  World::Options options;
  options.seed = seed;
  options.faults = Faults::Drawn(random, may_break);
  World world(options);
  Shard& shard = world.NewShard(world.NewSwitchboard(2), {.index = 0, .seed = seed, .buffers = 16});
  std::optional<EchoServer> server;
  world.On(shard, [&] { server.emplace(shard); });

  struct Client {
    uint64_t length = 0;
    uint64_t seen = 0;
    bool over = false;
  };
  Summary run;
  constexpr uint32_t kClients = 20;
  uint32_t over = 0;
  for (uint32_t i = 0; i < kClients; ++i) {
    world.After(world.random().Below(5) * kNsPerMs, [&] {
      Peer& peer = world.Connect(kAddress);
      auto client = std::make_shared<Client>();
      client->length = 1 + world.random().Below(200'000);
      if (world.random().OneIn(5)) peer.manner = {4096, 5 * kNsPerMs, 0, 0};
      peer.on_connected = [client](Peer& p) {
        p.Send(StreamBytes(p.id(), 0, client->length));
        p.Finish();
      };
      peer.on_bytes = [client](Peer& p, std::string_view bytes) {
        ASSERT_EQ(FirstWrongByte(p.id(), client->seen, bytes), std::string_view::npos);
        client->seen += bytes.size();
      };
      peer.on_end = [client, &run, &over](Peer& p) {
        EXPECT_EQ(client->seen, client->length);
        run.echoed_bytes += client->seen;
        ++over;
        p.Close();
      };
      peer.on_error = [&run, &over, may_break](Peer&, int error) {
        EXPECT_TRUE(may_break) << error;
        ++run.broken;
        ++over;
      };
    });
  }
  EXPECT_TRUE(world.RunUntil([&] { return over == kClients; })) << world.Dump();
  run.end_ns = world.now_ns();
  world.On(shard, [&] { server->Stop(); });
  EXPECT_TRUE(world.RunUntil([&] { return server->done(); })) << world.Dump();
  run.turns = shard.counters().turns.Get();
  return run;
}

TEST(SimTest, EveryByteComesBackOnceAndInOrderWhateverTheDayIsLike) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    const Summary run = Echo(seed, false);
    EXPECT_EQ(run.broken, 0u);
    if (HasFailure()) return;
  }
}

TEST(SimTest, ConnectionsThatBreakLeaveNothingBehind) {
  uint64_t broken = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    broken += Echo(seed, true).broken;
    if (HasFailure()) return;
  }
  EXPECT_GT(broken, 0u);
}

TEST(SimTest, TheSameSeedIsTheSameRun) {
  for (uint64_t seed = 100; seed < 110; ++seed) {
    const Summary first = Echo(seed, true);
    const Summary second = Echo(seed, true);
    EXPECT_EQ(first.end_ns, second.end_ns);
    EXPECT_EQ(first.turns, second.turns);
    EXPECT_EQ(first.echoed_bytes, second.echoed_bytes);
  }
  EXPECT_NE(Echo(1, false).end_ns, Echo(2, false).end_ns);
}

}  // namespace
}  // namespace weir::sim
