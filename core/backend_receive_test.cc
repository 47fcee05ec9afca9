// The contract of receives (core/backend.h), and of the buffers they take.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/contract_fixture.h"
#include "core/resident.h"
#include "core/sim/peer.h"
#include "core/uring_probe.h"

namespace weir {
namespace {

class BackendReceiveTest : public BackendContractTest {
 protected:
  // Whether receives can stay armed here.
  bool Stays() const {
    UringFeatures features;
    std::string problem;
    return rig_->simulated() || (ProbeUring(features, problem) && features.receive_limit);
  }
};

// Receiving

TEST_P(BackendReceiveTest, ReceiveGivesTheBytesThenTheEnd) {
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

TEST_P(BackendReceiveTest, EveryOpCompletesOnceAndWakesItsWaiterOnce) {
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

TEST_P(BackendReceiveTest, AReceiveArmedBeforeTheBytesGetsThem) {
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

TEST_P(BackendReceiveTest, PollFirstAlsoGetsBytesThatAreThereAlready) {
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

TEST_P(BackendReceiveTest, OneReceiveTakesAtMostABufferAndTellsThatThereIsMore) {
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
  if (GetParam().seed == 0 && tells_more_here()) EXPECT_TRUE(more_here);
  // Nothing more is there, and nobody says so.
  remote->Send("z");
  TestOp last;
  StartReceive(last, fd);
  Finish(last);
  EXPECT_EQ(last.flags & Op::kMoreHere, 0);
  Take(last);
  backend().Close(fd);
}

TEST_P(BackendReceiveTest, AResetIsAnError) {
  if (GetParam().unix_sockets) GTEST_SKIP() << kNoReset;
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  TestOp op;
  StartReceive(op, fd);
  rig_->RunFor(2);
  remote->Reset();
  EXPECT_EQ(Finish(op), -ECONNRESET);
  backend().Close(fd);
}

TEST_P(BackendReceiveTest, BytesThatCameBeforeAResetCanStillBeRead) {
  if (GetParam().unix_sockets) GTEST_SKIP() << kNoReset;
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
TEST_P(BackendReceiveTest, AnErrorIsToldOnceToWhoeverAsksFirst) {
  if (GetParam().unix_sockets) GTEST_SKIP() << kNoReset;
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

TEST_P(BackendReceiveTest, AResetEndsBothOpsInFlight) {
  if (GetParam().unix_sockets) GTEST_SKIP() << kNoReset;
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

TEST_P(BackendReceiveTest, TrimTakesNothingThatSomebodyNeeds) {
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

TEST_P(BackendReceiveTest, TrimAfterManyReceivesKnowsWhoHasWhat) {
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

// Receives that stay armed. Whether the kernel has them is not said by the contract: all of it must hold for
// those that complete after the first result too.

TEST_P(BackendReceiveTest, AReceiveThatStaysTakesOneMessageAfterTheOther) {
  if (GetParam().unix_sockets) GTEST_SKIP() << kNoStaying;
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  TestOp op;
  uint32_t starts = 0;
  for (int i = 0; i < 200; ++i) {
    const std::string sent = "message " + std::to_string(i);
    op.bell.rings = 0;
    remote->Send(sent);
    std::string received;
    while (received.size() < sent.size()) {
      if (!op.busy()) {
        StartReceive(op, fd, kHeadReceive);
        ++starts;
      }
      ASSERT_TRUE(rig_->RunUntil([&] { return op.buffer != nullptr || op.done(); }));
      EXPECT_TRUE(op.busy() || op.result > 0 || op.result == -ECANCELED) << op.result;
      received += TakeWaiting(op);
    }
    ASSERT_EQ(received, sent);
    ASSERT_TRUE(rig_->RunUntil([&] { return op.bell.rings > 0; }));
  }
  if (Stays() && GetParam().seed == 0) EXPECT_EQ(starts, 1u);  // no faults
  remote->Finish();
  do {
    if (!op.busy()) StartReceive(op, fd, kHeadReceive);
    Finish(op);
  } while (op.result > 0 || op.result == -ECANCELED);
  EXPECT_EQ(op.result, 0);
  EXPECT_EQ(op.buffer, nullptr);
  backend().Close(fd);
}

// Nobody takes anything: it stops, and nothing of what came is lost or out of order.
TEST_P(BackendReceiveTest, AReceiveThatStaysStopsBeforeOneWhoDoesNotTake) {
  if (GetParam().unix_sockets) GTEST_SKIP() << kNoStaying;
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  const std::string sent = sim::StreamBytes(7, 0, 2'000'000);
  TestOp op;
  StartReceive(op, fd, kHeadReceive);
  remote->Send(sent);
  remote->Finish();
  std::string received;
  bool ended = false;
  while (!ended) {
    ASSERT_TRUE(rig_->RunUntil([&] { return op.done(); }));
    uint32_t waiting_bytes = 0;
    for (const Buffer* at = op.buffer; at != nullptr; at = at->next) waiting_bytes += at->length;
    EXPECT_LT(waiting_bytes, Op::kStayBytes + BufferPool::kBufferBytes);
    EXPECT_TRUE(op.result >= 0 || op.result == -ECANCELED) << op.result;
    ended = op.result == 0;
    received += TakeWaiting(op);
    if (!ended) StartReceive(op, fd, kHeadReceive);
  }
  EXPECT_EQ(received, sent);
  backend().Close(fd);
}

// Small pieces, each in a buffer of its own: what bounds it is the number of buffers, not of bytes.
TEST_P(BackendReceiveTest, SmallPiecesDoNotPileUp) {
  if (GetParam().unix_sockets) GTEST_SKIP() << kNoStaying;
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  TestOp op;
  StartReceive(op, fd, kHeadReceive);
  const uint32_t before = shard().buffers().free_count();
  std::string sent;
  for (int i = 0; i < 100; ++i) {
    const std::string piece(1, static_cast<char>('a' + i % 26));
    sent += piece;
    remote->Send(piece);
    rig_->RunFor(2);
  }
  EXPECT_GE(shard().buffers().free_count() + 2 * Op::kMostWaiting, before);
  std::string received;
  while (received.size() < sent.size()) {
    ASSERT_TRUE(rig_->RunUntil([&] { return op.buffer != nullptr || op.done(); }));
    received += TakeWaiting(op);
    if (op.done() && received.size() < sent.size()) StartReceive(op, fd, kHeadReceive);
  }
  EXPECT_EQ(received, sent);
  if (op.busy()) shard().Cancel(op);
  Finish(op);
  backend().Close(fd);
}

TEST_P(BackendReceiveTest, AReceiveThatStaysEndsOnceWhenCancelled) {
  if (GetParam().unix_sockets) GTEST_SKIP() << kNoStaying;
  for (int round = 0; round < 50; ++round) {
    std::unique_ptr<Remote> remote;
    const int fd = Pair(remote);
    TestOp op;
    StartReceive(op, fd, kHeadReceive);
    remote->Send("first");
    if (round % 2 == 0) ASSERT_TRUE(rig_->RunUntil([&] { return op.buffer != nullptr; }));
    if (round % 3 == 0) remote->Send("second");
    std::string received = TakeWaiting(op);
    if (op.busy()) {
      op.bell.rings = 0;
      shard().Cancel(op);
      ASSERT_TRUE(rig_->RunUntil([&] { return op.done(); }));
      ASSERT_TRUE(rig_->RunUntil([&] { return op.bell.rings > 0; }));
    }
    EXPECT_TRUE(op.result > 0 || op.result == -ECANCELED) << op.result;
    received += TakeWaiting(op);
    const std::string all = round % 3 == 0 ? "firstsecond" : "first";
    EXPECT_EQ(received + ReceiveAll(fd, all.size() - received.size()), all);
    backend().Close(fd);
  }
}

TEST_P(BackendReceiveTest, ReceivesThatStayShareAScarcePool) {
  if (GetParam().unix_sockets) GTEST_SKIP() << kNoStaying;
  Make({.buffers = 16});
  rig_->BeKind();
  const int listener = Listen();
  constexpr size_t kConnections = 40;
  std::vector<std::unique_ptr<Remote>> remotes;
  std::vector<std::unique_ptr<TestOp>> ops;
  std::vector<std::string> received(kConnections);
  std::vector<std::string> sent(kConnections);
  for (size_t i = 0; i < kConnections; ++i) {
    remotes.push_back(rig_->Connect(address_));
    ops.push_back(std::make_unique<TestOp>());
    StartReceive(*ops.back(), AcceptOne(listener), i % 2 == 0 ? kHeadReceive : kRelayReceive);
  }
  for (size_t i = 0; i < kConnections; ++i) {
    sent[i] = sim::StreamBytes(i, 0, 20'000 + i * 1'000);
    remotes[i]->Send(sent[i]);
  }
  rig_->RunFor(50);  // all buffers are somewhere now
  EXPECT_TRUE(rig_->RunUntil([&] {
    bool all = true;
    for (size_t i = 0; i < kConnections; ++i) {
      received[i] += TakeWaiting(*ops[i]);
      const bool complete = received[i].size() >= sent[i].size();
      if (ops[i]->done() && !complete) {
        EXPECT_TRUE(ops[i]->result > 0 || ops[i]->result == -ECANCELED) << ops[i]->result;
        StartReceive(*ops[i], ops[i]->fd, i % 2 == 0 ? kHeadReceive : kRelayReceive);
      }
      all = all && complete;
    }
    return all;
  }));
  EXPECT_EQ(received, sent);
  for (auto& op : ops) {
    if (op->busy()) shard().Cancel(*op);
    Finish(*op);
    EXPECT_EQ(op->buffer, nullptr);
    backend().Close(op->fd);
  }
  backend().Close(listener);
}

TEST_P(BackendReceiveTest, WithoutABufferAReceiveWaitsItsTurn) {
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

TEST_P(BackendReceiveTest, BodiesLeaveTheReserveToHeads) {
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
TEST_P(BackendReceiveTest, BodiesArmedInGoodTimesLeaveTheReserveToo) {
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

TEST_P(BackendReceiveTest, AStarvedReceiveCanBeCancelled) {
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

INSTANTIATE_TEST_SUITE_P(On, BackendReceiveTest, testing::ValuesIn(Machines()), NameOf);

}  // namespace
}  // namespace weir
