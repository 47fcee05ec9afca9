// The contract of connects, accepts and listeners (core/backend.h).
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "core/contract_fixture.h"

namespace weir {
namespace {

class BackendConnectTest : public BackendContractTest {};

// Connecting

TEST_P(BackendConnectTest, ConnectThenTalk) {
  SocketAddress address;
  std::unique_ptr<RemoteServer> server = rig_->Serve(address);
  const int fd = backend().OpenStream(family());
  ASSERT_GE(fd, 0);
  TestOp op;
  op.address = &address;
  Start(op, Op::Kind::kConnect, fd);
  EXPECT_EQ(Finish(op), 0);
  SocketAddress peer;
  EXPECT_EQ(backend().PeerAddress(fd, peer), 0);
  EXPECT_EQ(peer, GetParam().unix_sockets ? SocketAddress::ForUnix(nullptr) : address);
  SocketAddress local;
  EXPECT_EQ(backend().LocalAddress(fd, local), 0);
  EXPECT_EQ(local.family, family());
  if (!GetParam().unix_sockets) EXPECT_NE(local.port, 0);
  EXPECT_TRUE(rig_->RunUntil([&] { return server->accepted() == 1; }));
  ASSERT_TRUE(SendAll(fd, "ping"));
  EXPECT_TRUE(rig_->RunUntil([&] { return server->connection(0).received() == "ping"; }));
  server->connection(0).Send("pong");
  EXPECT_EQ(ReceiveAll(fd, 4), "pong");
  backend().Close(fd);
}

TEST_P(BackendConnectTest, ItComesFromItsSource) {
  if (GetParam().unix_sockets) GTEST_SKIP() << "a unix socket has no address";
  SocketAddress address;
  std::unique_ptr<RemoteServer> server = rig_->Serve(address);
  const SocketAddress source = *SocketAddress::Parse("127.0.0.77:0");
  const int fd = backend().OpenStream(family());
  ASSERT_EQ(backend().BindSource(fd, source), 0);
  TestOp op;
  op.address = &address;
  Start(op, Op::Kind::kConnect, fd);
  EXPECT_EQ(Finish(op), 0);
  SocketAddress local;
  EXPECT_EQ(backend().LocalAddress(fd, local), 0);
  EXPECT_NE(local.port, 0);
  local.port = 0;
  EXPECT_EQ(local, source);
  ASSERT_TRUE(SendAll(fd, "ping"));
  EXPECT_TRUE(
      rig_->RunUntil([&] { return server->accepted() == 1 && server->connection(0).received() == "ping"; }));
  backend().Close(fd);
}

// What differs is set, and what is not said any more is the system's again.
TEST_P(BackendConnectTest, TcpOptionsAreSetAndTakenBack) {
  TcpOptions said;
  said.keepalive_idle_s = 61;
  said.keepalive_interval_s = 7;
  said.keepalive_count = 3;
  said.user_timeout_ms = 4'500;
  said.no_delay = false;
  said.fast_open = 16;
  said.congestion_control = "reno";
  for (const bool listens : {false, true}) {
    SCOPED_TRACE(listens);
    const int fd = listens ? Listen() : backend().OpenStream(family());
    const auto read = [fd](int level, int name) {
      int value = -1;
      socklen_t length = sizeof(value);
      return getsockopt(fd, level, name, &value, &length) == 0 ? value : -errno;
    };
    const auto all = [&] {
      constexpr int kFastOpen = 23;
      constexpr int kFastOpenConnect = 30;
      return std::vector<int>{read(SOL_SOCKET, SO_KEEPALIVE),
                              read(IPPROTO_TCP, 4),
                              read(IPPROTO_TCP, 5),
                              read(IPPROTO_TCP, 6),
                              read(IPPROTO_TCP, 18),
                              read(IPPROTO_TCP, 1),
                              read(IPPROTO_TCP, listens ? kFastOpen : kFastOpenConnect)};
    };
    const bool real = !GetParam().simulated && !GetParam().unix_sockets;
    const std::vector<int> systems = real ? all() : std::vector<int>();
    EXPECT_EQ(backend().SetTcp(fd, said, TcpOptions()), 0);
    if (real) EXPECT_EQ(all(), (std::vector<int>{1, 61, 7, 3, 4'500, 0, listens ? 16 : 1}));
    EXPECT_EQ(backend().SetTcp(fd, TcpOptions(), said), 0);
    if (real) EXPECT_EQ(all(), systems);
    TcpOptions nobodys;
    nobodys.congestion_control = "nosuch";
    if (real) EXPECT_EQ(backend().SetTcp(fd, nobodys, TcpOptions()), -ENOENT);
    backend().Close(fd);
  }
}

TEST_P(BackendConnectTest, ConnectToNobodyIsRefused) {
  const SocketAddress address = rig_->NobodysAddress();
  const int fd = backend().OpenStream(family());
  TestOp op;
  op.address = &address;
  Start(op, Op::Kind::kConnect, fd);
  EXPECT_EQ(Finish(op), -ECONNREFUSED);
  backend().Close(fd);
}

TEST_P(BackendConnectTest, AConnectThatNobodyAnswersCanBeCancelled) {
  const int listener = ListenWithoutAnswer();
  const int fd = backend().OpenStream(family());
  TestOp op;
  op.address = &address_;
  Start(op, Op::Kind::kConnect, fd);
  rig_->RunFor(20);
  EXPECT_TRUE(op.busy());
  shard().Cancel(op);
  EXPECT_EQ(Finish(op), -ECANCELED);
  backend().Close(fd);
  backend().Close(listener);
}

TEST_P(BackendConnectTest, ManyConnectsInOneTurn) {
  SocketAddress address;
  std::unique_ptr<RemoteServer> server = rig_->Serve(address);
  constexpr size_t kConnects = 200;  // more than the backend's scratch for addresses
  std::vector<std::unique_ptr<TestOp>> ops;
  for (size_t i = 0; i < kConnects; ++i) {
    ops.push_back(std::make_unique<TestOp>());
    ops.back()->address = &address;
    const int fd = backend().OpenStream(family());
    ASSERT_GE(fd, 0);
    Start(*ops.back(), Op::Kind::kConnect, fd);
  }
  for (auto& op : ops) EXPECT_EQ(Finish(*op), 0);
  EXPECT_TRUE(rig_->RunUntil([&] { return server->accepted() == kConnects; }));
  for (auto& op : ops) backend().Close(op->fd);
}

// Accepting

// Accepts as a listener does: arms again when the request ended without cause.
struct Acceptor {
  explicit Acceptor(Shard& shard, int listener) : shard(shard) {
    source.kind = Op::Kind::kAccept;
    source.fd = listener;
    source.waiter = &bell;
    shard.Start(source);
  }
  // Takes at most `most` connections; true when the request has ended for good.
  bool Poll(size_t most = SIZE_MAX) {
    EXPECT_LE(source.tail - source.head, Source::kCapacity);
    for (; !source.empty() && most > 0; --most) fds.push_back(source.Pop());
    if (!source.done()) return false;
    if (source.result < 0 || stopping) return source.empty();
    source.state = Op::State::kIdle;
    shard.Start(source);
    return false;
  }
  void Stop() {
    stopping = true;
    shard.Cancel(source);
  }
  void CloseAll() {
    for (const int fd : fds) shard.backend().Close(fd);
    fds.clear();
  }
  Shard& shard;
  Bell bell;
  Source source;
  std::vector<int> fds;
  bool stopping = false;
};

TEST_P(BackendConnectTest, AcceptGivesEveryConnection) {
  const int listener = Listen();
  Acceptor acceptor(shard(), listener);
  std::vector<std::unique_ptr<Remote>> remotes;
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 4; ++i) remotes.push_back(rig_->Connect(address_));
    EXPECT_TRUE(rig_->RunUntil([&] {
      acceptor.Poll();
      return acceptor.fds.size() == remotes.size();
    }));
  }
  acceptor.Stop();
  EXPECT_TRUE(rig_->RunUntil([&] { return acceptor.Poll(); }));
  if (GetParam().seed == 0) EXPECT_EQ(acceptor.source.result, -ECANCELED);
  std::sort(acceptor.fds.begin(), acceptor.fds.end());
  EXPECT_EQ(std::unique(acceptor.fds.begin(), acceptor.fds.end()), acceptor.fds.end());
  acceptor.CloseAll();
  backend().Close(listener);
}

TEST_P(BackendConnectTest, ASourceNeverHoldsMoreThanItCanAndLosesNothing) {
  const int listener = Listen();
  constexpr size_t kConnections = 150;
  std::vector<std::unique_ptr<Remote>> remotes;
  for (size_t i = 0; i < kConnections; ++i) remotes.push_back(rig_->Connect(address_));
  EXPECT_TRUE(rig_->RunUntil([&] {
    return std::all_of(remotes.begin(), remotes.end(),
                       [](const auto& remote) { return remote->connected(); });
  }));
  Acceptor acceptor(shard(), listener);
  // Drained slowly: the rest waits, in the kernel.
  EXPECT_TRUE(rig_->RunUntil([&] {
    acceptor.Poll(7);
    return acceptor.fds.size() == kConnections;
  }));
  acceptor.Stop();
  EXPECT_TRUE(rig_->RunUntil([&] { return acceptor.Poll(); }));
  EXPECT_EQ(acceptor.fds.size(), kConnections);
  acceptor.CloseAll();
  backend().Close(listener);
}

TEST_P(BackendConnectTest, ConnectionsThatRaceACancelledAcceptAreNotLost) {
  const int listener = Listen();
  Acceptor acceptor(shard(), listener);
  rig_->RunFor(2);
  constexpr size_t kConnections = 20;
  std::vector<std::unique_ptr<Remote>> remotes;
  for (size_t i = 0; i < kConnections; ++i) {
    remotes.push_back(rig_->Connect(address_));
    if (i == kConnections / 2) acceptor.Stop();
    if (i % 3 == 0) shard().RunTurn(false);
  }
  EXPECT_TRUE(rig_->RunUntil([&] { return acceptor.Poll(); }));
  if (GetParam().seed == 0) EXPECT_EQ(acceptor.source.result, -ECANCELED);
  // What the request did not take waits in the queue.
  EXPECT_TRUE(rig_->RunUntil([&] {
    const int fd = backend().AcceptNow(listener);
    if (fd >= 0) acceptor.fds.push_back(fd);
    return acceptor.fds.size() == kConnections;
  }));
  EXPECT_EQ(backend().AcceptNow(listener), -EAGAIN);
  acceptor.CloseAll();
  backend().Close(listener);
}

TEST_P(BackendConnectTest, WithoutAFreeDescriptorAcceptEndsAndTheConnectionWaits) {
  const int listener = Listen();
  std::unique_ptr<Remote> remote = rig_->Connect(address_);
  EXPECT_TRUE(rig_->RunUntil([&] { return remote->connected(); }));
  rig_->RunFor(2);
  rig_->TakeAllFds();
  EXPECT_EQ(backend().OpenStream(family()), -EMFILE);
  {
    Acceptor acceptor(shard(), listener);
    EXPECT_TRUE(rig_->RunUntil([&] { return acceptor.Poll(); }));
    EXPECT_EQ(acceptor.source.result, -EMFILE);
    EXPECT_TRUE(acceptor.fds.empty());
  }
  EXPECT_EQ(backend().AcceptNow(listener), -EMFILE);
  rig_->GiveFdsBack();
  Acceptor acceptor(shard(), listener);
  EXPECT_TRUE(rig_->RunUntil([&] {
    acceptor.Poll();
    return acceptor.fds.size() == 1;
  }));
  acceptor.Stop();
  EXPECT_TRUE(rig_->RunUntil([&] { return acceptor.Poll(); }));
  acceptor.CloseAll();
  backend().Close(listener);
}

TEST_P(BackendConnectTest, AClosedListenerResetsWhoWaitsAndRefusesWhoComes) {
  const int listener = Listen();
  std::unique_ptr<Remote> waiting = rig_->Connect(address_);
  EXPECT_TRUE(rig_->RunUntil([&] { return waiting->connected(); }));
  rig_->RunFor(5);
  backend().Close(listener);
  EXPECT_TRUE(rig_->RunUntil([&] { return waiting->error() == ECONNRESET; }));
  std::unique_ptr<Remote> late = rig_->Connect(address_);
  EXPECT_TRUE(rig_->RunUntil([&] { return late->error() == ECONNREFUSED; }));
}

TEST_P(BackendConnectTest, RefusingHandshakesKeepsTheQueue) {
  if (GetParam().unix_sockets) GTEST_SKIP() << kNoHandshake;
  const int listener = Listen();
  std::vector<std::unique_ptr<Remote>> remotes;
  for (int i = 0; i < 3; ++i) remotes.push_back(rig_->Connect(address_));
  EXPECT_TRUE(rig_->RunUntil([&] {
    return std::all_of(remotes.begin(), remotes.end(),
                       [](const auto& remote) { return remote->connected(); });
  }));
  rig_->RunFor(5);
  ASSERT_EQ(backend().RefuseNewHandshakes(listener), 0);
  std::unique_ptr<Remote> late = rig_->Connect(address_);
  for (auto& remote : remotes) remote->Send("as before");  // what is connected goes on
  const int first = AcceptOne(listener);
  EXPECT_EQ(ReceiveAll(first, 9), "as before");
  const int second = AcceptOne(listener);
  const int third = AcceptOne(listener);
  rig_->RunFor(50);
  EXPECT_FALSE(late->connected());
  EXPECT_EQ(late->error(), 0);  // no answer at all
  EXPECT_EQ(backend().AcceptNow(listener), -EAGAIN);
  for (const int fd : {first, second, third, listener}) backend().Close(fd);
}

TEST_P(BackendConnectTest, ListenersShareAnAddressOnlyIfAllOfThemAgree) {
  if (GetParam().unix_sockets) GTEST_SKIP() << kNoHandshake;
  const int one = Listen();
  SocketAddress same = address_;
  const int two = backend().Listen(same, {});
  ASSERT_GE(two, 0);
  EXPECT_EQ(backend().Listen(same, {.reuse_port = false}), -EADDRINUSE);
  std::vector<std::unique_ptr<Remote>> remotes;
  for (int i = 0; i < 40; ++i) remotes.push_back(rig_->Connect(address_));
  size_t of_one = 0;
  size_t of_two = 0;
  std::vector<int> fds;
  EXPECT_TRUE(rig_->RunUntil([&] {
    for (const int listener : {one, two}) {
      const int fd = backend().AcceptNow(listener);
      if (fd < 0) continue;
      fds.push_back(fd);
      ++(listener == one ? of_one : of_two);
    }
    return of_one + of_two == remotes.size();
  }));
  EXPECT_GT(of_one, 0u);
  EXPECT_GT(of_two, 0u);
  for (const int fd : fds) backend().Close(fd);
  backend().Close(one);
  backend().Close(two);
}

INSTANTIATE_TEST_SUITE_P(On, BackendConnectTest, testing::ValuesIn(Machines()), NameOf);

}  // namespace
}  // namespace weir
