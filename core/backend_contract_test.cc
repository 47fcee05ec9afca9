// The contract of sends, connects, accepts, cancels, polls and time (core/backend.h).
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

#include "core/contract_fixture.h"
#include "core/sim/peer.h"

namespace weir {
namespace {

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

INSTANTIATE_TEST_SUITE_P(On, BackendContractTest, testing::ValuesIn(Machines()), NameOf);

}  // namespace
}  // namespace weir
