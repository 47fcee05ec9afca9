// What core/backend.h promises, tried on the real ring and on the simulated one, so that the two do not drift
// apart. The simulation also runs with faults drawn from a few seeds: a promise holds on a bad day too.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/contract_rig.h"
#include "core/resident.h"
#include "core/sim/peer.h"
#include "core/stream.h"
#include "core/uring_probe.h"

namespace weir {
namespace {

struct Machine {
  std::string name;
  bool simulated;
  uint64_t seed;

  friend void PrintTo(const Machine& machine, std::ostream* out) { *out << machine.name; }
};

Shard* the_shard = nullptr;  // of the running test

struct Bell : Runnable {
  Bell() : Runnable([](Runnable* self) { ++static_cast<Bell*>(self)->rings; }) {}
  ~Bell() { the_shard->Forget(*this); }
  int rings = 0;
};

struct TestOp : Op {
  TestOp() { waiter = &bell; }
  Bell bell;
};

class BackendContractTest : public testing::TestWithParam<Machine> {
 protected:
  void Make(const RigOptions& options) {
    rig_ = GetParam().simulated ? NewSimRig(options, GetParam().seed) : NewUringRig(options);
    the_shard = &rig_->shard();
  }
  void SetUp() override { Make({}); }

  Shard& shard() { return rig_->shard(); }
  Backend& backend() { return rig_->backend(); }

  void Start(Op& op, Op::Kind kind, int fd, uint8_t flags = 0) {
    op.kind = kind;
    op.fd = fd;
    op.flags = flags;
    shard().Start(op);
  }
  void StartReceive(Op& op, int fd, uint8_t flags = 0) { Start(op, Op::Kind::kReceive, fd, flags); }
  void StartSend(Op& op, int fd, std::string_view bytes) {
    op.data = bytes.data();
    op.length = static_cast<uint32_t>(bytes.size());
    Start(op, Op::Kind::kSend, fd);
  }
  int32_t Finish(Op& op) {
    EXPECT_TRUE(rig_->RunUntil([&] { return op.done(); }));
    return op.result;
  }
  // Takes what a finished receive brought.
  std::string Take(Op& op) {
    EXPECT_TRUE(op.done());
    if (op.result <= 0) return {};
    std::string bytes(op.buffer->data, static_cast<size_t>(op.result));
    BufferPool::Release(op.buffer);
    return bytes;
  }
  // Receives until `bytes` came, the end, or an error (its errno in `error`).
  std::string ReceiveAll(int fd, size_t bytes, int* error = nullptr) {
    std::string all;
    while (all.size() < bytes) {
      TestOp op;
      StartReceive(op, fd);
      const int32_t result = Finish(op);
      if (result <= 0) {
        if (error != nullptr) *error = -result;
        break;
      }
      all += Take(op);
    }
    return all;
  }
  // Sends everything, whatever the pieces; false at an error.
  bool SendAll(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
      TestOp op;
      StartSend(op, fd, bytes);
      const int32_t sent = Finish(op);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }

  int Listen(int backlog = 4096) {
    address_ = *SocketAddress::Parse("127.0.0.1:0");
    const int fd = backend().Listen(address_, {.backlog = backlog});
    EXPECT_GE(fd, 0);
    return fd;
  }
  int AcceptOne(int listener) {
    int fd = -EAGAIN;
    EXPECT_TRUE(rig_->RunUntil([&] {
      fd = backend().AcceptNow(listener);
      return fd != -EAGAIN;
    }));
    EXPECT_GE(fd, 0);
    return fd;
  }
  // A connection: our fd, their Remote.
  int Pair(std::unique_ptr<Remote>& remote) {
    const int listener = Listen();
    remote = rig_->Connect(address_);
    const int fd = AcceptOne(listener);
    EXPECT_TRUE(rig_->RunUntil([&] { return remote->connected(); }));
    backend().Close(listener);
    return fd;
  }

  std::unique_ptr<Rig> rig_;
  SocketAddress address_;
};

// Receiving

TEST_P(BackendContractTest, ReceiveGivesTheBytesThenTheEnd) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  const std::string sent = sim::StreamBytes(1, 0, 300'000);
  remote->Send(sent);
  remote->Finish();
  int error = -1;
  EXPECT_EQ(ReceiveAll(fd, sent.size() + 1, &error), sent);
  EXPECT_EQ(error, 0);
  // The end stays the end.
  TestOp again;
  StartReceive(again, fd);
  EXPECT_EQ(Finish(again), 0);
  EXPECT_EQ(again.buffer, nullptr);
  backend().Close(fd);
}

TEST_P(BackendContractTest, EveryOpCompletesOnceAndWakesItsWaiterOnce) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  remote->Send("hello");
  TestOp op;
  StartReceive(op, fd);
  EXPECT_TRUE(op.busy());
  Finish(op);
  rig_->RunFor(100);
  EXPECT_EQ(op.bell.rings, 1);
  Take(op);
  backend().Close(fd);
}

TEST_P(BackendContractTest, AReceiveArmedBeforeTheBytesGetsThem) {
  for (const uint8_t flags : {uint8_t{0}, Op::kPollFirst, Op::kBody}) {
    std::unique_ptr<Remote> remote;
    const int fd = Pair(remote);
    TestOp op;
    StartReceive(op, fd, flags);
    rig_->RunFor(5);
    EXPECT_TRUE(op.busy());
    remote->Send("x");
    EXPECT_EQ(Finish(op), 1);
    EXPECT_EQ(Take(op), "x");
    backend().Close(fd);
  }
}

TEST_P(BackendContractTest, PollFirstAlsoGetsBytesThatAreThereAlready) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  remote->Send("abc");
  rig_->RunFor(5);
  TestOp op;
  StartReceive(op, fd, Op::kPollFirst);
  EXPECT_GT(Finish(op), 0);
  EXPECT_EQ(Take(op)[0], 'a');
  backend().Close(fd);
}

TEST_P(BackendContractTest, OneReceiveTakesAtMostABufferAndTellsThatThereIsMore) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  const std::string sent = sim::StreamBytes(2, 0, 100'000);
  remote->Send(sent);
  rig_->RunFor(20);
  std::string received;
  bool more_here = false;
  while (received.size() < sent.size()) {
    TestOp op;
    StartReceive(op, fd);
    const int32_t result = Finish(op);
    ASSERT_GT(result, 0);
    EXPECT_LE(result, static_cast<int32_t>(BufferPool::kBufferBytes));
    if ((op.flags & Op::kMoreHere) != 0) more_here = true;
    received += Take(op);
  }
  EXPECT_EQ(received, sent);
  if (GetParam().seed == 0) EXPECT_TRUE(more_here);
  // Nothing more is there, and nobody says so.
  remote->Send("z");
  TestOp last;
  StartReceive(last, fd);
  Finish(last);
  EXPECT_EQ(last.flags & Op::kMoreHere, 0);
  Take(last);
  backend().Close(fd);
}

TEST_P(BackendContractTest, AResetIsAnError) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  TestOp op;
  StartReceive(op, fd);
  rig_->RunFor(2);
  remote->Reset();
  EXPECT_EQ(Finish(op), -ECONNRESET);
  backend().Close(fd);
}

TEST_P(BackendContractTest, BytesThatCameBeforeAResetCanStillBeRead) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  remote->Send("last words");
  rig_->RunFor(1000);  // whatever is late has arrived
  remote->Reset();
  rig_->RunFor(1000);
  int error = 0;
  EXPECT_EQ(ReceiveAll(fd, 100, &error), "last words");
  EXPECT_EQ(error, ECONNRESET);
  backend().Close(fd);
}

// A trap for whoever relays a response of unknown length while it uploads: the end of stream after a failed
// send is no end.
TEST_P(BackendContractTest, AnErrorIsToldOnceToWhoeverAsksFirst) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  remote->Reset();
  rig_->RunFor(1000);
  TestOp send;
  StartSend(send, fd, "anybody there?");
  EXPECT_EQ(Finish(send), -ECONNRESET);
  TestOp receive;
  StartReceive(receive, fd);
  EXPECT_EQ(Finish(receive), 0);
  TestOp again;
  StartSend(again, fd, "hello?");
  EXPECT_EQ(Finish(again), -EPIPE);
  backend().Close(fd);
}

TEST_P(BackendContractTest, AResetEndsBothOpsInFlight) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  rig_->LimitSendBuffer(fd);
  remote->StopReading();
  const std::string big(4 << 20, 'b');
  TestOp receive;
  TestOp send;
  StartReceive(receive, fd);
  StartSend(send, fd, big);
  rig_->RunFor(20);
  remote->Reset();
  Finish(receive);
  Finish(send);
  // The send may take the error for itself and yet tell only how far it got: then the receive sees an end,
  // and the next send is the first to say that it was none.
  EXPECT_LE(receive.result, 0);
  EXPECT_LT(send.result, static_cast<int32_t>(big.size()));
  if (receive.result == 0 && send.result > 0) {
    TestOp next;
    StartSend(next, fd, big);
    EXPECT_EQ(Finish(next), -EPIPE);
  }
  backend().Close(fd);
}

// Sending

TEST_P(BackendContractTest, AllBytesArriveInOrderThroughASlowReader) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  rig_->LimitSendBuffer(fd);
  remote->StopReading();
  const std::string sent = sim::StreamBytes(3, 0, 1 << 20);
  std::string_view rest = sent;
  TestOp op;
  StartSend(op, fd, rest);
  rig_->RunFor(20);
  EXPECT_LT(remote->received().size(), sent.size());
  remote->ReadAgain();
  for (;;) {
    const int32_t result = Finish(op);
    ASSERT_GT(result, 0);
    rest.remove_prefix(static_cast<size_t>(result));
    if (rest.empty()) break;
    StartSend(op, fd, rest);
  }
  EXPECT_TRUE(rig_->RunUntil([&] { return remote->received().size() >= sent.size(); }));
  EXPECT_EQ(remote->received(), sent);
  backend().Close(fd);
}

TEST_P(BackendContractTest, AGatheredSendKeepsThePiecesInOrder) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  rig_->LimitSendBuffer(fd);
  const std::string one = sim::StreamBytes(4, 0, 7);
  const std::string two = sim::StreamBytes(4, 7, 200'000);
  const std::string three = sim::StreamBytes(4, 200'007, 1);
  const std::string all = one + two + three;
  iovec pieces[3] = {{const_cast<char*>(one.data()), one.size()},
                     {const_cast<char*>(two.data()), two.size()},
                     {const_cast<char*>(three.data()), three.size()}};
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = 3;
  TestOp op;
  op.message = &message;
  Start(op, Op::Kind::kGather, fd);
  const int32_t taken = Finish(op);
  ASSERT_GT(taken, 0);
  ASSERT_TRUE(SendAll(fd, std::string_view(all).substr(static_cast<size_t>(taken))));
  EXPECT_TRUE(rig_->RunUntil([&] { return remote->received().size() >= all.size(); }));
  EXPECT_EQ(remote->received(), all);
  backend().Close(fd);
}

TEST_P(BackendContractTest, BothDirectionsAtOnce) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  const std::string up = sim::StreamBytes(5, 0, 400'000);
  const std::string down = sim::StreamBytes(6, 0, 400'000);
  remote->Send(up);
  std::string received;
  std::string_view rest = down;
  TestOp receive;
  TestOp send;
  StartReceive(receive, fd);
  StartSend(send, fd, rest);
  EXPECT_TRUE(rig_->RunUntil([&] {
    if (receive.done() && received.size() < up.size()) {
      if (receive.result <= 0) return true;
      received += Take(receive);
      receive.state = Op::State::kIdle;
      if (received.size() < up.size()) StartReceive(receive, fd);
    }
    if (send.done() && !rest.empty()) {
      if (send.result <= 0) return true;
      rest.remove_prefix(static_cast<size_t>(send.result));
      if (!rest.empty()) StartSend(send, fd, rest);
    }
    return received.size() == up.size() && remote->received().size() == down.size() && rest.empty();
  }));
  EXPECT_EQ(received, up);
  EXPECT_EQ(remote->received(), down);
  backend().Close(fd);
}

TEST_P(BackendContractTest, AcknowledgedBytesGrowToWhatWasSent) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  const int64_t before = backend().AcknowledgedBytes(fd);
  ASSERT_GE(before, 0);
  ASSERT_TRUE(SendAll(fd, std::string(10'000, 'a')));
  EXPECT_TRUE(rig_->RunUntil([&] { return remote->received().size() == 10'000; }));
  // The real kernel also counts the handshake.
  EXPECT_TRUE(rig_->RunUntil([&] { return backend().AcknowledgedBytes(fd) - before >= 10'000; }));
  EXPECT_LE(backend().AcknowledgedBytes(fd), before + 10'001);
  backend().Close(fd);
}

TEST_P(BackendContractTest, WritesToAFileAppend) {
  const int fd = rig_->NewFile();
  std::string all;
  for (int i = 0; i < 5; ++i) {
    const std::string line = "line " + std::to_string(i) + "\n";
    all += line;
    std::string_view rest = line;
    while (!rest.empty()) {
      TestOp op;
      op.data = rest.data();
      op.length = static_cast<uint32_t>(rest.size());
      Start(op, Op::Kind::kWrite, fd);
      ASSERT_GT(Finish(op), 0);
      rest.remove_prefix(static_cast<size_t>(op.result));
    }
  }
  EXPECT_EQ(rig_->FileContents(fd), all);
  backend().Close(fd);
}

// Half-close and close

TEST_P(BackendContractTest, AHalfClosedConnectionStillCarriesTheOtherWay) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  remote->Finish();
  int error = -1;
  EXPECT_EQ(ReceiveAll(fd, 1, &error), "");
  EXPECT_EQ(error, 0);
  ASSERT_TRUE(SendAll(fd, "still here"));
  EXPECT_TRUE(rig_->RunUntil([&] { return remote->received() == "still here"; }));
  EXPECT_FALSE(remote->ended());
  EXPECT_EQ(backend().Shutdown(fd, Backend::Direction::kSend), 0);
  EXPECT_TRUE(rig_->RunUntil([&] { return remote->ended(); }));
  backend().Close(fd);
}

TEST_P(BackendContractTest, AfterOurFinWeStillReceiveAndMaySendNoMore) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  EXPECT_EQ(backend().Shutdown(fd, Backend::Direction::kSend), 0);
  EXPECT_TRUE(rig_->RunUntil([&] { return remote->ended(); }));
  remote->Send("answer");
  remote->Finish();
  EXPECT_EQ(ReceiveAll(fd, 100), "answer");
  TestOp op;
  StartSend(op, fd, "too late");
  EXPECT_EQ(Finish(op), -EPIPE);
  backend().Close(fd);
}

TEST_P(BackendContractTest, ShutdownOfBothDirectionsEndsAnArmedReceive) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  TestOp op;
  StartReceive(op, fd);
  rig_->RunFor(2);
  EXPECT_EQ(backend().Shutdown(fd, Backend::Direction::kBoth), 0);
  EXPECT_EQ(Finish(op), 0);
  EXPECT_TRUE(rig_->RunUntil([&] { return remote->ended(); }));
  backend().Close(fd);
}

TEST_P(BackendContractTest, CloseWithResetIsSeenAsAReset) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  backend().CloseWithReset(fd);
  EXPECT_TRUE(rig_->RunUntil([&] { return remote->error() == ECONNRESET; }));
}

// RFC 9293 3.6, and why whoever wants its last bytes to arrive reads on until the peer's FIN.
TEST_P(BackendContractTest, CloseWithUnreadBytesIsAReset) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  remote->Send("never read");
  rig_->RunFor(1000);
  backend().Close(fd);
  EXPECT_TRUE(rig_->RunUntil([&] { return remote->error() == ECONNRESET; }));
}

TEST_P(BackendContractTest, CloseDeliversWhatWasSent) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  const std::string sent = sim::StreamBytes(7, 0, 50'000);
  ASSERT_TRUE(SendAll(fd, sent));
  backend().Close(fd);
  EXPECT_TRUE(rig_->RunUntil([&] { return remote->ended(); }));
  EXPECT_EQ(remote->received(), sent);
}

// Connecting

TEST_P(BackendContractTest, ConnectThenTalk) {
  SocketAddress address;
  std::unique_ptr<RemoteServer> server = rig_->Serve(address);
  const int fd = backend().OpenStream(AF_INET);
  ASSERT_GE(fd, 0);
  TestOp op;
  op.address = &address;
  Start(op, Op::Kind::kConnect, fd);
  EXPECT_EQ(Finish(op), 0);
  SocketAddress peer;
  EXPECT_EQ(backend().PeerAddress(fd, peer), 0);
  EXPECT_EQ(peer, address);
  SocketAddress local;
  EXPECT_EQ(backend().LocalAddress(fd, local), 0);
  EXPECT_NE(local.port, 0);
  EXPECT_TRUE(rig_->RunUntil([&] { return server->accepted() == 1; }));
  ASSERT_TRUE(SendAll(fd, "ping"));
  EXPECT_TRUE(rig_->RunUntil([&] { return server->connection(0).received() == "ping"; }));
  server->connection(0).Send("pong");
  EXPECT_EQ(ReceiveAll(fd, 4), "pong");
  backend().Close(fd);
}

TEST_P(BackendContractTest, ConnectToNobodyIsRefused) {
  const SocketAddress address = rig_->NobodysAddress();
  const int fd = backend().OpenStream(AF_INET);
  TestOp op;
  op.address = &address;
  Start(op, Op::Kind::kConnect, fd);
  EXPECT_EQ(Finish(op), -ECONNREFUSED);
  backend().Close(fd);
}

TEST_P(BackendContractTest, AConnectThatNobodyAnswersCanBeCancelled) {
  const int listener = Listen();
  ASSERT_EQ(backend().RefuseNewHandshakes(listener), 0);
  const int fd = backend().OpenStream(AF_INET);
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

TEST_P(BackendContractTest, ManyConnectsInOneTurn) {
  SocketAddress address;
  std::unique_ptr<RemoteServer> server = rig_->Serve(address);
  constexpr size_t kConnects = 200;  // more than the backend's scratch for addresses
  std::vector<std::unique_ptr<TestOp>> ops;
  for (size_t i = 0; i < kConnects; ++i) {
    ops.push_back(std::make_unique<TestOp>());
    ops.back()->address = &address;
    const int fd = backend().OpenStream(AF_INET);
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

TEST_P(BackendContractTest, AcceptGivesEveryConnection) {
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

TEST_P(BackendContractTest, ASourceNeverHoldsMoreThanItCanAndLosesNothing) {
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

TEST_P(BackendContractTest, ConnectionsThatRaceACancelledAcceptAreNotLost) {
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

TEST_P(BackendContractTest, WithoutAFreeDescriptorAcceptEndsAndTheConnectionWaits) {
  const int listener = Listen();
  std::unique_ptr<Remote> remote = rig_->Connect(address_);
  EXPECT_TRUE(rig_->RunUntil([&] { return remote->connected(); }));
  rig_->RunFor(2);
  rig_->TakeAllFds();
  EXPECT_EQ(backend().OpenStream(AF_INET), -EMFILE);
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

TEST_P(BackendContractTest, AClosedListenerResetsWhoWaitsAndRefusesWhoComes) {
  const int listener = Listen();
  std::unique_ptr<Remote> waiting = rig_->Connect(address_);
  EXPECT_TRUE(rig_->RunUntil([&] { return waiting->connected(); }));
  rig_->RunFor(5);
  backend().Close(listener);
  EXPECT_TRUE(rig_->RunUntil([&] { return waiting->error() == ECONNRESET; }));
  std::unique_ptr<Remote> late = rig_->Connect(address_);
  EXPECT_TRUE(rig_->RunUntil([&] { return late->error() == ECONNREFUSED; }));
}

TEST_P(BackendContractTest, RefusingHandshakesKeepsTheQueue) {
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

TEST_P(BackendContractTest, ListenersShareAnAddressOnlyIfAllOfThemAgree) {
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

// Cancelling

TEST_P(BackendContractTest, ACancelledReceiveLeavesTheSocketUsable) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  TestOp op;
  StartReceive(op, fd, Op::kPollFirst);
  rig_->RunFor(2);
  shard().Cancel(op);
  shard().Cancel(op);  // asking twice is asking once
  EXPECT_EQ(Finish(op), -ECANCELED);
  remote->Send("later");
  EXPECT_EQ(ReceiveAll(fd, 5), "later");
  backend().Close(fd);
}

TEST_P(BackendContractTest, AnOpCancelledBeforeItsTurnNeverStarts) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  remote->Send("kept");
  rig_->RunFor(5);
  TestOp receive;
  TestOp send;
  StartReceive(receive, fd);
  StartSend(send, fd, "not sent");
  shard().Cancel(receive);
  shard().Cancel(send);
  EXPECT_TRUE(receive.busy());  // it ends in the turn, as every op does
  EXPECT_EQ(Finish(receive), -ECANCELED);
  EXPECT_EQ(Finish(send), -ECANCELED);
  EXPECT_EQ(ReceiveAll(fd, 4), "kept");
  rig_->RunFor(5);
  EXPECT_EQ(remote->received(), "");
  backend().Close(fd);
}

TEST_P(BackendContractTest, CancelOfAnIdleOrFinishedOpDoesNothing) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  TestOp op;
  shard().Cancel(op);
  remote->Send("a");
  StartReceive(op, fd);
  Finish(op);
  shard().Cancel(op);
  rig_->RunFor(5);
  EXPECT_EQ(op.result, 1);
  EXPECT_EQ(Take(op), "a");
  backend().Close(fd);
}

TEST_P(BackendContractTest, ABlockedSendThatIsCancelledTellsWhatWasTaken) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  rig_->LimitSendBuffer(fd);
  remote->StopReading();
  const std::string big = sim::StreamBytes(8, 0, 4 << 20);
  TestOp op;
  StartSend(op, fd, big);
  rig_->RunFor(20);
  shard().Cancel(op);
  const int32_t result = Finish(op);
  const size_t taken = result > 0 ? static_cast<size_t>(result) : 0;
  if (result <= 0) EXPECT_EQ(result, -ECANCELED);
  EXPECT_LT(taken, big.size());
  EXPECT_EQ(backend().Shutdown(fd, Backend::Direction::kSend), 0);
  remote->ReadAgain();
  EXPECT_TRUE(rig_->RunUntil([&] { return remote->ended(); }));
  EXPECT_EQ(remote->received(), big.substr(0, taken));
  backend().Close(fd);
}

TEST_P(BackendContractTest, ACancelThatRacesTheBytesLosesNone) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  Random random(GetParam().seed + 1);
  constexpr int kRounds = 300;
  std::string received;
  int cancelled = 0;
  for (int i = 0; i < kRounds; ++i) {
    TestOp op;
    StartReceive(op, fd, random.OneIn(2) ? Op::kPollFirst : 0);
    if (random.OneIn(2)) shard().RunTurn(false);
    remote->Send(sim::StreamBytes(9, static_cast<uint64_t>(i), 1));
    for (uint32_t turns = random.Below(4); turns > 0; --turns) {
      if (random.OneIn(2)) {
        rig_->RunUntil([n = 0]() mutable { return n++ > 0; });
      } else {
        shard().RunTurn(false);
      }
    }
    shard().Cancel(op);
    const int32_t result = Finish(op);
    if (result < 0) {
      EXPECT_EQ(result, -ECANCELED);
      ++cancelled;
    } else {
      received += Take(op);
    }
  }
  received += ReceiveAll(fd, kRounds - received.size());
  EXPECT_EQ(received, sim::StreamBytes(9, 0, kRounds));
  RecordProperty("cancelled", cancelled);
  backend().Close(fd);
}

// The memory of an op may be used again as soon as it is done, also by the kind of op that was just
// cancelled.
TEST_P(BackendContractTest, ACancelDoesNotReachTheNextOpInTheSameMemory) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  TestOp op;
  for (int i = 0; i < 100; ++i) {
    StartReceive(op, fd);
    if (i % 2 == 0) shard().RunTurn(false);
    remote->Send("m");
    if (i % 3 == 0) rig_->RunFor(1);
    shard().Cancel(op);
    Finish(op);
    Take(op);
    StartReceive(op, fd);  // nobody cancels this one
    remote->Send("n");
    EXPECT_GT(Finish(op), 0);
    Take(op);
  }
  backend().Close(fd);
}

// Buffers

class Receivers {
 public:
  Receivers(Rig& rig, SocketAddress address, int listener, size_t count, uint8_t flags)
      : rig_(rig), flags_(flags) {
    for (size_t i = 0; i < count; ++i) {
      remotes_.push_back(rig.Connect(address));
      int fd = -EAGAIN;
      EXPECT_TRUE(rig.RunUntil([&] {
        fd = rig.backend().AcceptNow(listener);
        return fd >= 0;
      }));
      fds_.push_back(fd);
      ops_.push_back(std::make_unique<TestOp>());
    }
    for (auto& remote : remotes_) remote->Send("data");
    rig.RunFor(5);
  }
  ~Receivers() {
    for (const int fd : fds_) rig_.backend().Close(fd);
  }
  void Start(size_t from, size_t to) {
    for (size_t i = from; i < to; ++i) {
      ops_[i]->kind = Op::Kind::kReceive;
      ops_[i]->fd = fds_[i];
      ops_[i]->flags = flags_;
      rig_.shard().Start(*ops_[i]);
    }
    rig_.RunFor(10);
  }
  size_t done(size_t from, size_t to) const {
    size_t count = 0;
    for (size_t i = from; i < to; ++i) count += ops_[i]->done();
    return count;
  }
  size_t size() const { return ops_.size(); }
  TestOp& op(size_t i) { return *ops_[i]; }
  bool Release(size_t i) {
    TestOp& op = *ops_[i];
    if (!op.done() || released_.count(i) != 0) return false;
    EXPECT_GT(op.result, 0);
    released_.insert(i);
    BufferPool::Release(op.buffer);
    return true;
  }

 private:
  Rig& rig_;
  uint8_t flags_;
  std::vector<std::unique_ptr<Remote>> remotes_;
  std::vector<int> fds_;
  std::vector<std::unique_ptr<TestOp>> ops_;
  std::set<size_t> released_;
};

TEST_P(BackendContractTest, TrimTakesNothingThatSomebodyNeeds) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  const std::string sent = sim::StreamBytes(1, 0, 2'000'000);
  const auto pages = [&] {
    size_t bytes = 0;
    for (uint32_t i = 0; i < shard().buffers().count(); ++i) {
      bytes += ResidentBytes(shard().buffers().at(i)->data, BufferPool::kBufferBytes);
    }
    return bytes;
  };
  remote->Send(sent);
  EXPECT_EQ(ReceiveAll(fd, sent.size()), sent);
  const size_t touched = pages();
  // One receive is armed meanwhile: the buffer it will take is among those that lie idle.
  TestOp op;
  StartReceive(op, fd, Op::kPollFirst);
  rig_->RunFor(5'000);
  EXPECT_TRUE(op.busy());
  UringFeatures features;
  std::string problem;
  if (!rig_->simulated() && ProbeUring(features, problem)) {
    EXPECT_GT(touched, 500'000u);
    if (features.ring_status) EXPECT_LE(pages(), 100'000u);
  }
  remote->Send(sent);
  Finish(op);
  const std::string first = Take(op);
  EXPECT_EQ(first + ReceiveAll(fd, sent.size() - first.size()), sent);
  backend().Close(fd);
}

TEST_P(BackendContractTest, TrimAfterManyReceivesKnowsWhoHasWhat) {
  if (rig_->simulated()) return;  // it keeps what it has
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  // As many as let a 16-bit count of them come round by less and by more than half.
  for (const int rounds : {20'000, 45'000}) {
    backend().Trim(UINT32_MAX);
    for (int i = 0; i < rounds; ++i) {
      TestOp op;
      remote->Send("x");
      StartReceive(op, fd);
      ASSERT_EQ(Finish(op), 1);
      if (i == rounds - 1) backend().Trim(UINT32_MAX);  // while we still hold what came last
      ASSERT_EQ(Take(op), "x");
    }
  }
  backend().Close(fd);
}

TEST_P(BackendContractTest, WithoutABufferAReceiveWaitsItsTurn) {
  Make({.buffers = 16});
  rig_->BeKind();
  const int listener = Listen();
  Receivers receivers(*rig_, address_, listener, 40, 0);
  receivers.Start(0, 30);
  const size_t first = receivers.done(0, 30);
  EXPECT_GT(first, 0u);
  EXPECT_LE(first, 16u);
  receivers.Start(30, 40);  // come later, and must not overtake
  EXPECT_EQ(receivers.done(0, 40), first);
  EXPECT_GT(shard().counters().buffers_exhausted.Get(), 0u);
  // One buffer comes back at a time.
  for (size_t finished = first; finished < receivers.size(); ++finished) {
    size_t i = 0;
    while (i < receivers.size() && !receivers.Release(i)) ++i;
    ASSERT_LT(i, receivers.size());
    ASSERT_TRUE(rig_->RunUntil([&] { return receivers.done(0, 40) > finished; })) << finished;
    EXPECT_TRUE(receivers.done(30, 40) == 0 || receivers.done(0, 30) == 30);
  }
  for (size_t i = 0; i < receivers.size(); ++i) receivers.Release(i);
  backend().Close(listener);
}

TEST_P(BackendContractTest, BodiesLeaveTheReserveToHeads) {
  Make({.buffers = 32});
  rig_->BeKind();
  const int listener = Listen();
  {
    Receivers bodies(*rig_, address_, listener, 40, Op::kBody | Op::kPollFirst);
    Receivers heads(*rig_, address_, listener, 10, Op::kPollFirst);
    bodies.Start(0, 40);
    const size_t first = bodies.done(0, 40);
    EXPECT_GT(first, 0u);
    EXPECT_LE(first, 32 - shard().buffers().reserve() + 1);
    const size_t expected = shard().buffers().reserve() - 1;
    heads.Start(0, 10);
    EXPECT_GE(heads.done(0, 10), expected);
    EXPECT_EQ(bodies.done(0, 40), first);
    EXPECT_TRUE(backend().ReceivesWait());
    // Everything goes on when buffers come back.
    EXPECT_TRUE(rig_->RunUntil([&] {
      for (size_t i = 0; i < 40; ++i) bodies.Release(i);
      for (size_t i = 0; i < 10; ++i) heads.Release(i);
      return bodies.done(0, 40) == 40 && heads.done(0, 10) == 10;
    }));
    EXPECT_FALSE(backend().ReceivesWait());
    for (size_t i = 0; i < 40; ++i) bodies.Release(i);
    for (size_t i = 0; i < 10; ++i) heads.Release(i);
  }
  backend().Close(listener);
}

// Armed while everything was free: what is reserved must not depend on when a receive was started.
TEST_P(BackendContractTest, BodiesArmedInGoodTimesLeaveTheReserveToo) {
  Make({.buffers = 32});
  rig_->BeKind();
  const int listener = Listen();
  std::vector<std::unique_ptr<Remote>> remotes;
  std::vector<std::unique_ptr<TestOp>> ops;
  for (int i = 0; i < 50; ++i) {
    remotes.push_back(rig_->Connect(address_));
    ops.push_back(std::make_unique<TestOp>());
    const bool head = i >= 45;
    StartReceive(*ops.back(), AcceptOne(listener),
                 static_cast<uint8_t>(head ? Op::kPollFirst : Op::kPollFirst | Op::kBody));
  }
  rig_->RunFor(5);
  for (int i = 0; i < 45; ++i) remotes[static_cast<size_t>(i)]->Send("body");
  rig_->RunFor(500);
  for (int i = 45; i < 48; ++i) {
    remotes[static_cast<size_t>(i)]->Send("head");
    EXPECT_GT(Finish(*ops[static_cast<size_t>(i)]), 0);
  }
  for (auto& remote : remotes) remote->Send("more");
  EXPECT_TRUE(rig_->RunUntil([&] {
    bool all = true;
    for (auto& op : ops) {
      if (op->done() && op->result > 0) {
        Take(*op);
        op->result = 0;
      }
      all = all && op->done();
    }
    return all;
  }));
  for (auto& op : ops) backend().Close(op->fd);
  backend().Close(listener);
}

TEST_P(BackendContractTest, AStarvedReceiveCanBeCancelled) {
  Make({.buffers = 16});
  rig_->BeKind();
  const int listener = Listen();
  {
    Receivers receivers(*rig_, address_, listener, 20, 0);
    receivers.Start(0, 20);
    for (size_t i = 0; i < 20; ++i) shard().Cancel(receivers.op(i));
    for (size_t i = 0; i < 20; ++i) {
      const int32_t result = Finish(receivers.op(i));
      EXPECT_TRUE(result == -ECANCELED || result > 0) << result;
      if (result > 0) receivers.Release(i);
    }
  }
  backend().Close(listener);
}

// Bounds of the rings

TEST_P(BackendContractTest, MoreOpsThanTheSubmissionRingHolds) {
  Make({.buffers = 64, .submissions = 8});
  const int listener = Listen();
  constexpr size_t kPairs = 60;
  std::vector<std::unique_ptr<Remote>> remotes;
  std::vector<int> fds;
  for (size_t i = 0; i < kPairs; ++i) {
    remotes.push_back(rig_->Connect(address_));
    fds.push_back(AcceptOne(listener));
  }
  std::vector<std::unique_ptr<TestOp>> ops;
  for (size_t i = 0; i < kPairs; ++i) {
    ops.push_back(std::make_unique<TestOp>());
    StartSend(*ops.back(), fds[i], "hello");
    ops.push_back(std::make_unique<TestOp>());
    StartReceive(*ops.back(), fds[i]);
  }
  for (size_t i = 0; i < kPairs; ++i) {
    remotes[i]->Send("y");
    EXPECT_GT(Finish(*ops[2 * i]), 0);
    EXPECT_EQ(Finish(*ops[2 * i + 1]), 1);
    Take(*ops[2 * i + 1]);
  }
  // As many cancels at once.
  for (size_t i = 0; i < kPairs; ++i) StartReceive(*ops[2 * i], fds[i]);
  rig_->RunFor(5);
  for (size_t i = 0; i < kPairs; ++i) shard().Cancel(*ops[2 * i]);
  for (size_t i = 0; i < kPairs; ++i) EXPECT_EQ(Finish(*ops[2 * i]), -ECANCELED);
  for (const int fd : fds) backend().Close(fd);
  backend().Close(listener);
}

TEST_P(BackendContractTest, MoreCompletionsThanTheirRingHolds) {
  Make({.buffers = 64, .submissions = 16, .completions = 16});
  const int listener = Listen();
  constexpr size_t kPairs = 100;
  std::vector<std::unique_ptr<Remote>> remotes;
  std::vector<std::unique_ptr<TestOp>> ops;
  for (size_t i = 0; i < kPairs; ++i) {
    remotes.push_back(rig_->Connect(address_));
    ops.push_back(std::make_unique<TestOp>());
    ops.back()->fd = AcceptOne(listener);
  }
  for (auto& op : ops) StartSend(*op, op->fd, "all at once");
  for (auto& op : ops) EXPECT_GT(Finish(*op), 0);
  rig_->RunFor(100);
  for (auto& op : ops) EXPECT_EQ(op->bell.rings, 1);
  if (!rig_->simulated()) EXPECT_GT(shard().counters().cq_overflows.Get(), 0u);
  for (auto& op : ops) backend().Close(op->fd);
  backend().Close(listener);
}

// Polling and signals

TEST_P(BackendContractTest, SignalsArriveThroughAPoll) {
  const int fd = rig_->NewSignalFd(SIGUSR1);
  ASSERT_GE(fd, 0);
  Source source;
  Bell bell;
  source.kind = Op::Kind::kPoll;
  source.fd = fd;
  source.length = 1;  // POLLIN
  source.waiter = &bell;
  shard().Start(source);
  rig_->RunFor(2);
  EXPECT_TRUE(source.empty());
  for (int round = 0; round < 3; ++round) {
    rig_->Raise(SIGUSR1);
    int signal = 0;
    EXPECT_TRUE(rig_->RunUntil([&] {
      while (!source.empty()) {
        EXPECT_NE(source.Pop() & 1, 0);
        if (const int taken = backend().TakeSignal(fd); taken != 0) signal = taken;
      }
      if (source.done()) {
        EXPECT_GE(source.result, 0);
        source.state = Op::State::kIdle;
        shard().Start(source);
      }
      return signal != 0;
    }));
    EXPECT_EQ(signal, SIGUSR1);
    EXPECT_EQ(backend().TakeSignal(fd), 0);
  }
  shard().Cancel(source);
  EXPECT_TRUE(rig_->RunUntil([&] {
    while (!source.empty()) source.Pop();
    return source.done();
  }));
  backend().Close(fd);
}

// Time

TEST_P(BackendContractTest, ATimerWakesAnIdleShardInTimeAndNotBefore) {
  for (const uint32_t delay_ms : {1u, 20u, 100u}) {
    Bell bell;
    Timer timer;
    timer.waiter = &bell;
    const int64_t start_ns = backend().ReadClock().mono_ns;
    shard().RunTurn(false);
    shard().SetTimer(timer, delay_ms);
    EXPECT_TRUE(rig_->RunUntil([&] { return bell.rings > 0; }));
    const int64_t took_ns = backend().ReadClock().mono_ns - start_ns;
    EXPECT_GE(took_ns, delay_ms * kNsPerMs);
    EXPECT_LE(took_ns, (delay_ms + 1000) * kNsPerMs);  // a machine may be busy
    shard().ClearTimer(timer);
  }
}

TEST_P(BackendContractTest, ATurnDoesNotWaitWhileSomethingIsReady) {
  Bell bell;
  shard().Wake(&bell);
  shard().RunTurn(true);
  EXPECT_EQ(bell.rings, 1);
}

// Streams: the same promises as the layers above use them

class StreamContractTest : public BackendContractTest {
 protected:
  void Close(Stream& stream, bool with_reset) {
    stream.BeginClose(shard(), with_reset);
    EXPECT_TRUE(rig_->RunUntil([&] { return stream.Closed(shard()); }));
  }
  void Open(Stream& stream, Bell& bell, int fd) {
    stream.SetWaiter(&bell);
    stream.Open(fd);
  }
};

TEST_P(StreamContractTest, ClosesOnlyWhenNothingIsInFlight) {
  for (const bool with_reset : {false, true}) {
    std::unique_ptr<Remote> remote;
    Bell bell;
    Stream stream;
    Open(stream, bell, Pair(remote));
    rig_->LimitSendBuffer(stream.fd());
    remote->StopReading();
    Slice slice(shard().buffers().Take(), 0, BufferPool::kBufferBytes);
    std::fill_n(slice.data(), slice.size(), 's');
    stream.ArmReceive(shard(), Op::kPollFirst);
    // Sends until one blocks.
    EXPECT_TRUE(rig_->RunUntil([&, rounds = 0]() mutable {
      stream.Poll(shard());
      if (!stream.sending()) {
        stream.Send(shard(), slice);
        rounds = 0;
      }
      return ++rounds > 20;
    }));
    slice.Clear();
    stream.BeginClose(shard(), with_reset);
    EXPECT_TRUE(stream.closing());
    int polls = 0;
    EXPECT_TRUE(rig_->RunUntil([&] {
      ++polls;
      return stream.Closed(shard());
    }));
    EXPECT_GT(polls, 1);
    EXPECT_FALSE(stream.is_open());
    remote->ReadAgain();
    EXPECT_TRUE(rig_->RunUntil([&] { return with_reset ? remote->error() == ECONNRESET : remote->ended(); }));
    EXPECT_LE(remote->received().size(), 1u << 24);
  }
}

TEST_P(StreamContractTest, LooksOneSliceAhead) {
  std::unique_ptr<Remote> remote;
  Bell bell;
  Stream stream;
  Open(stream, bell, Pair(remote));
  const std::string sent = sim::StreamBytes(10, 0, 200'000);
  remote->Send(sent);
  remote->Finish();
  std::string received;
  EXPECT_TRUE(rig_->RunUntil([&] {
    stream.ArmReceive(shard(), 0);
    stream.ArmReceive(shard(), 0);  // no effect
    stream.Poll(shard());
    if (stream.has_bytes()) {
      EXPECT_FALSE(stream.receive_armed());
      EXPECT_FALSE(stream.receive_ended());
      Slice slice = stream.TakeBytes();
      const uint32_t keep = slice.size() / 2;
      received += slice.view().substr(0, keep);
      slice.RemovePrefix(keep);
      if (received.size() % 2 == 0) {
        stream.PutBack(std::move(slice));
        EXPECT_TRUE(stream.has_bytes());
        slice = stream.TakeBytes();
      }
      received += slice.view();
    }
    return stream.receive_ended();
  }));
  EXPECT_EQ(received, sent);
  EXPECT_EQ(stream.receive_error(), 0);
  Close(stream, false);
}

TEST_P(StreamContractTest, SendsPiecesOfSlicesAndText) {
  std::unique_ptr<Remote> remote;
  Bell bell;
  Stream stream;
  Open(stream, bell, Pair(remote));
  rig_->LimitSendBuffer(stream.fd());
  std::string expected;
  for (int i = 0; i < 30; ++i) {
    Slice head(shard().buffers().TakeChunk(100), 0, 50);
    Slice body(shard().buffers().Take(), 0, 20'000);
    const std::string head_text = sim::StreamBytes(11, expected.size(), head.size());
    head_text.copy(head.data(), head.size());
    const std::string body_text = sim::StreamBytes(12, expected.size(), body.size());
    body_text.copy(body.data(), body.size());
    const Stream::Piece pieces[] = {head.view(), std::string_view("\r\n"), body.view(), std::string_view("")};
    const std::span<const Stream::Piece> some(pieces, i % 3 == 0 ? 1 : 4);
    expected += head_text;
    if (some.size() > 1) expected += "\r\n" + body_text;
    stream.SendPieces(shard(), some, std::move(head), std::move(body));
    EXPECT_TRUE(rig_->RunUntil([&] {
      stream.Poll(shard());
      return !stream.sending();
    }));
    ASSERT_EQ(stream.send_error(), 0);
  }
  EXPECT_EQ(stream.sent_bytes(), expected.size());
  stream.ShutdownSend(shard());
  EXPECT_TRUE(rig_->RunUntil([&] { return remote->ended(); }));
  EXPECT_EQ(remote->received(), expected);
  Close(stream, false);
  EXPECT_EQ(shard().arena().used_bytes(), 0u);
}

TEST_P(StreamContractTest, ConnectsAndTellsWhyNot) {
  SocketAddress address;
  std::unique_ptr<RemoteServer> server = rig_->Serve(address);
  const SocketAddress nobody = rig_->NobodysAddress();
  for (const SocketAddress* to : {const_cast<const SocketAddress*>(&address), &nobody}) {
    Bell bell;
    Stream stream;
    Open(stream, bell, backend().OpenStream(AF_INET));
    stream.Connect(shard(), to);
    EXPECT_TRUE(stream.connecting());
    EXPECT_TRUE(rig_->RunUntil([&] {
      stream.Poll(shard());
      return !stream.connecting();
    }));
    EXPECT_EQ(stream.connect_error(), to == &nobody ? ECONNREFUSED : 0);
    Close(stream, false);
  }
}

TEST_P(StreamContractTest, ClosesWhileItConnects) {
  const int listener = Listen();
  ASSERT_EQ(backend().RefuseNewHandshakes(listener), 0);
  Bell bell;
  Stream stream;
  Open(stream, bell, backend().OpenStream(AF_INET));
  stream.Connect(shard(), &address_);
  rig_->RunFor(5);
  Close(stream, true);
  EXPECT_FALSE(stream.connecting());
  backend().Close(listener);
}

TEST_P(StreamContractTest, AResetIsNoCleanEnd) {
  std::unique_ptr<Remote> remote;
  Bell bell;
  Stream stream;
  Open(stream, bell, Pair(remote));
  remote->Reset();
  EXPECT_TRUE(rig_->RunUntil([&] {
    stream.ArmReceive(shard(), Op::kPollFirst);
    stream.Poll(shard());
    return stream.receive_ended();
  }));
  EXPECT_EQ(stream.receive_error(), ECONNRESET);
  Close(stream, false);
}

std::vector<Machine> Machines() {
  std::vector<Machine> machines = {{"Uring", false, 0}, {"Sim", true, 0}};
  const char* wanted = std::getenv("WEIR_SEEDS");
  const uint64_t seeds = wanted == nullptr ? 6 : std::strtoull(wanted, nullptr, 10);
  for (uint64_t seed = 1; seed <= seeds; ++seed)
    machines.push_back({"SimSeed" + std::to_string(seed), true, seed});
  return machines;
}
const auto kName = [](const testing::TestParamInfo<Machine>& info) { return info.param.name; };
INSTANTIATE_TEST_SUITE_P(On, BackendContractTest, testing::ValuesIn(Machines()), kName);
INSTANTIATE_TEST_SUITE_P(On, StreamContractTest, testing::ValuesIn(Machines()), kName);

}  // namespace
}  // namespace weir
