// The contract of sends, cancels, polls and time (core/backend.h).
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <memory>
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

TEST_P(BackendContractTest, HasBytesUntilTheyAreReceived) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  EXPECT_FALSE(backend().HasBytes(fd));
  remote->Send("abc");
  EXPECT_TRUE(rig_->RunUntil([&] { return backend().HasBytes(fd); }));
  EXPECT_EQ(ReceiveAll(fd, 3), "abc");
  EXPECT_FALSE(backend().HasBytes(fd));
  backend().Close(fd);
}

TEST_P(BackendContractTest, AcknowledgedBytesGrowToWhatWasSent) {
  if (GetParam().unix_sockets)
    GTEST_SKIP() << "a unix socket's kernel counts only what the peer has not read";
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
  if (GetParam().unix_sockets) GTEST_SKIP() << kNoReset;
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
