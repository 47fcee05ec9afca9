// The simulated world itself: its network behaves like TCP, the same seed gives the same run, and whoever
// breaks the backend's contract is told.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
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
    stream.Open(fd, AF_INET);
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

// tools/test --full asks for more.
uint64_t Seeds() {
  const char* wanted = std::getenv("WEIR_SEEDS");
  return wanted == nullptr ? 20 : std::strtoull(wanted, nullptr, 10);
}

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
  for (uint64_t seed = 1; seed <= Seeds(); ++seed) {
    SCOPED_TRACE(seed);
    const Summary run = Echo(seed, false);
    EXPECT_EQ(run.broken, 0u);
    if (HasFailure()) return;
  }
}

TEST(SimTest, ConnectionsThatBreakLeaveNothingBehind) {
  uint64_t broken = 0;
  for (uint64_t seed = 1; seed <= Seeds(); ++seed) {
    SCOPED_TRACE(seed);
    broken += Echo(seed, true).broken;
    if (HasFailure()) return;
  }
  EXPECT_GT(broken, 0u);
}

TEST(SimTest, TheSameSeedIsTheSameRun) {
  for (uint64_t seed = 100; seed < 105; ++seed) {
    const Summary first = Echo(seed, true);
    const Summary second = Echo(seed, true);
    EXPECT_EQ(first.end_ns, second.end_ns);
    EXPECT_EQ(first.turns, second.turns);
    EXPECT_EQ(first.echoed_bytes, second.echoed_bytes);
  }
  EXPECT_NE(Echo(1, false).end_ns, Echo(2, false).end_ns);
}

// The network

class NetworkTest : public testing::Test {
 protected:
  World world_{{.seed = 3}};
  std::string log_;
};

TEST_F(NetworkTest, PeersTalkWithoutAnyShard) {
  world_.Serve(kAddress, [](Peer& peer) {
    peer.on_bytes = [](Peer& p, std::string_view bytes) { p.Send(bytes); };
    peer.on_end = [](Peer& p) { p.Close(); };
  });
  Peer& client = world_.Connect(kAddress, "127.0.0.9");
  std::string received;
  client.on_bytes = [&](Peer&, std::string_view bytes) { received += bytes; };
  client.Send("one ");  // before it is connected
  client.Send("two");
  client.Finish();
  ASSERT_TRUE(world_.RunUntil([&] { return client.ended(); }));
  EXPECT_EQ(received, "one two");
  EXPECT_EQ(client.bytes_received(), 7u);
  EXPECT_EQ(client.bytes_acknowledged(), 7u);
  EXPECT_EQ(client.remote().ToString(), kAddress);
  EXPECT_EQ(client.local().ToString().substr(0, 10), "127.0.0.9:");
}

TEST_F(NetworkTest, CloseWaitsForWhatWasQueuedBeforeTheConnection) {
  std::string received;
  bool ended = false;
  world_.Serve(kAddress, [&](Peer& peer) {
    peer.on_bytes = [&](Peer&, std::string_view bytes) { received += bytes; };
    peer.on_end = [&](Peer&) { ended = true; };
  });
  Peer& client = world_.Connect(kAddress);
  client.Send("all of it");
  client.Close();
  EXPECT_FALSE(client.closed());
  ASSERT_TRUE(world_.RunUntil([&] { return ended; }));
  EXPECT_EQ(received, "all of it");
  EXPECT_TRUE(client.closed());
}

TEST_F(NetworkTest, AServerStopsStartsHangsAndDies) {
  PeerServer& server = world_.Serve(kAddress, [](Peer& peer) { peer.Send("hello"); });
  Peer& first = world_.Connect(kAddress);
  ASSERT_TRUE(world_.RunUntil([&] { return first.bytes_received() == 5; }));
  server.Stop();
  Peer& refused = world_.Connect(kAddress);
  ASSERT_TRUE(world_.RunUntil([&] { return refused.error() != 0; }));
  EXPECT_EQ(refused.error(), ECONNREFUSED);
  EXPECT_EQ(first.error(), 0);  // what was accepted lives on
  server.Start();
  server.Pause();
  Peer& hanging = world_.Connect(kAddress);
  ASSERT_TRUE(world_.RunUntil([&] { return hanging.connected(); }));
  world_.RunFor(kNsPerSecond);
  EXPECT_EQ(hanging.bytes_received(), 0u);
  server.Resume();
  ASSERT_TRUE(world_.RunUntil([&] { return hanging.bytes_received() == 5; }));
  server.ResetAll();
  ASSERT_TRUE(world_.RunUntil([&] { return first.error() != 0 && hanging.error() != 0; }));
  EXPECT_EQ(first.error(), ECONNRESET);
  EXPECT_EQ(server.accepted(), 2u);
}

TEST_F(NetworkTest, RatesAndPausesAreKept) {
  uint64_t received = 0;
  int64_t done_ns = 0;
  world_.Serve(kAddress, [&](Peer& peer) {
    peer.manner.read_bytes_per_s = 100'000;
    peer.on_bytes = [&](Peer& p, std::string_view bytes) {
      received += bytes.size();
      if (received == 300'000) done_ns = p.world().now_ns();
    };
  });
  Peer& client = world_.Connect(kAddress);
  const int64_t start_ns = world_.now_ns();
  client.Send(std::string(300'000, 'x'));
  ASSERT_TRUE(world_.RunUntil([&] { return done_ns != 0; }));
  EXPECT_GT(done_ns - start_ns, 2 * kNsPerSecond);
  EXPECT_LT(done_ns - start_ns, 5 * kNsPerSecond);
}

TEST_F(NetworkTest, WhoDoesNotReadStopsTheSender) {
  Peer* accepted = nullptr;
  uint64_t received = 0;
  world_.Serve(kAddress, [&](Peer& peer) {
    accepted = &peer;
    peer.StopReadingFor(2 * kNsPerSecond);
    peer.on_bytes = [&](Peer&, std::string_view bytes) { received += bytes.size(); };
  });
  Peer& client = world_.Connect(kAddress);
  client.Send(std::string(2'000'000, 'x'));
  world_.RunFor(kNsPerSecond);
  EXPECT_EQ(received, 0u);
  EXPECT_GT(client.bytes_queued(), 1'000'000u);
  ASSERT_TRUE(world_.RunUntil([&] { return received == 2'000'000; }));
  EXPECT_EQ(client.bytes_queued(), 0u);
}

TEST_F(NetworkTest, ALostHandshakeIsTriedAgainAndThenGivenUp) {
  world_.Serve(kAddress, {});
  world_.faults().connect_lost = 1;
  Peer& lucky = world_.Connect(kAddress);
  world_.RunFor(500 * kNsPerMs);
  EXPECT_FALSE(lucky.connected());
  world_.faults().connect_lost = 0;
  ASSERT_TRUE(world_.RunUntil([&] { return lucky.connected(); }, 2 * kNsPerSecond));
  world_.faults().connect_lost = 1;
  Peer& unlucky = world_.Connect(kAddress);
  ASSERT_TRUE(world_.RunUntil([&] { return unlucky.error() != 0; }));
  EXPECT_EQ(unlucky.error(), ETIMEDOUT);
}

TEST_F(NetworkTest, RunUntilGivesUpWhenNothingWillEverHappen) {
  EXPECT_FALSE(world_.RunUntil([] { return false; }));
  world_.After(kNsPerSecond, [] {});
  const int64_t start_ns = world_.now_ns();
  world_.RunFor(300 * kNsPerMs);
  EXPECT_EQ(world_.now_ns(), start_ns + 300 * kNsPerMs);
}

// Whoever breaks the contract is told

class ContractBreachTest : public testing::Test {
 protected:
  ContractBreachTest() { GTEST_FLAG_SET(death_test_style, "fast"); }

  // A connected socket of the shard.
  int Connected() {
    world_.Serve(kAddress, [](Peer& peer) { peer.StopReading(); });
    const int fd = shard_.backend().OpenStream(AF_INET);
    Op op;
    op.kind = Op::Kind::kConnect;
    op.fd = fd;
    op.address = &address_;
    shard_.Start(op);
    EXPECT_TRUE(world_.RunUntil([&] { return op.done(); }));
    return fd;
  }
  void Start(Op& op, Op::Kind kind, int fd) {
    op.kind = kind;
    op.fd = fd;
    shard_.Start(op);
    shard_.RunTurn(false);
  }

  const SocketAddress address_ = *SocketAddress::Parse(kAddress);
  World world_{{.seed = 1, .check_clean = false}};
  Shard& shard_ = world_.NewShard(world_.NewSwitchboard(1), {.buffers = 8});
};

TEST_F(ContractBreachTest, CloseWithAnOpInFlight) {
  EXPECT_DEATH(
      {
        const int fd = Connected();
        Op op;
        Start(op, Op::Kind::kReceive, fd);
        shard_.backend().Close(fd);
      },
      "flights.empty");
}

TEST_F(ContractBreachTest, CloseTwice) {
  EXPECT_DEATH(
      {
        const int fd = Connected();
        shard_.backend().Close(fd);
        shard_.backend().Close(fd);
      },
      "fd 3 is not open");
}

TEST_F(ContractBreachTest, TwoReceivesAtOnce) {
  EXPECT_DEATH(
      {
        const int fd = Connected();
        Op one;
        Op two;
        Start(one, Op::Kind::kReceive, fd);
        Start(two, Op::Kind::kReceive, fd);
      },
      "other->kind == op.kind");
}

TEST_F(ContractBreachTest, BytesChangedWhileTheyAreSent) {
  EXPECT_DEATH(
      {
        const int fd = Connected();
        std::string bytes(1 << 20, 'a');
        Op op;
        op.data = bytes.data();
        op.length = static_cast<uint32_t>(bytes.size());
        Start(op, Op::Kind::kSend, fd);
        bytes[1000] = 'b';
        shard_.Cancel(op);
        world_.RunUntil([&] { return op.done(); });
      },
      "was == is");
}

TEST_F(ContractBreachTest, AnOpTouchedInFlight) {
  EXPECT_DEATH(
      {
        const int fd = Connected();
        Op op;
        Start(op, Op::Kind::kReceive, fd);
        op.fd = fd + 1;
        shard_.Cancel(op);
        world_.RunUntil([&] { return op.done(); });
      },
      "op.fd == flight.fd");
}

TEST_F(ContractBreachTest, ALeakedDescriptor) {
  EXPECT_DEATH(
      {
        Connected();
        world_.CheckClean();
      },
      "host 0 fd 3 stream: connection");
}

TEST_F(ContractBreachTest, ALeakedBuffer) {
  EXPECT_DEATH(
      {
        shard_.buffers().Take();
        world_.CheckClean();
      },
      "7 of 8 buffers free");
}

}  // namespace
}  // namespace weir::sim
