// What core/backend.h promises of kReadable, kPass and kDrain, and core/splice.h of whole flows, on both
// backends.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <memory>
#include <string>
#include <utility>

#include "core/contract_fixture.h"
#include "core/sim/peer.h"
#include "core/splice.h"
#include "core/stream.h"

namespace weir {
namespace {

class SpliceContractTest : public BackendContractTest {
 protected:
  void SetUp() override {
    std::signal(SIGPIPE, SIG_IGN);  // splice(2) cannot be told to leave it out
    BackendContractTest::SetUp();
    bell_ = std::make_unique<Bell>();
    Open(in_, source_);
    Open(out_, sink_);
  }
  void TearDown() override {
    splice_.Drop(shard(), in_);
    for (Stream* stream : {&in_, &out_}) {
      if (!stream->is_open()) continue;
      if (!stream->closing()) stream->BeginClose(shard(), true);
      EXPECT_TRUE(rig_->RunUntil([&] { return stream->Closed(shard()); }));
    }
    EXPECT_EQ(shard().pipes().open(), shard().pipes().free_count());
    bell_.reset();
    BackendContractTest::TearDown();
  }

  void Open(Stream& stream, std::unique_ptr<Remote>& remote) {
    stream.SetWaiter(bell_.get());
    stream.Open(Pair(remote), family());
  }
  void Poll() {
    in_.Poll(shard());
    out_.Poll(shard());
  }
  // One step of the flow.
  Splice::Step Move(uint64_t most = UINT64_MAX) {
    Poll();
    const uint64_t before = came_;
    const Splice::Step step = splice_.Move(shard(), in_, out_, most - came_, came_);
    EXPECT_LE(came_ - before, PipePool::kPipeBytes);
    return step;
  }
  // One piece by a receive and a send, as its owner does where it cannot be spliced. True: it is through.
  bool Copy(uint64_t most) {
    Poll();
    if (out_.sending()) return false;
    if (std::exchange(copied_, false)) return true;
    if (in_.has_bytes()) {
      Slice rest = in_.TakeBytes();
      Slice slice = rest;
      slice.Truncate(static_cast<uint32_t>(std::min<uint64_t>(slice.size(), most - came_)));
      rest.RemovePrefix(slice.size());
      in_.PutBack(std::move(rest));
      came_ += slice.size();
      out_.Send(shard(), std::move(slice));
      copied_ = true;
      return false;
    }
    if (in_.receive_ended()) return true;
    in_.ArmReceive(shard(), 0);
    return false;
  }
  // Goes on where it must be copied, until the end or a failure.
  Splice::Step RunFlow(uint64_t most = UINT64_MAX) {
    Splice::Step step = Splice::Step::kWaits;
    EXPECT_TRUE(rig_->RunUntil([&] {
      if (step != Splice::Step::kCopy || Copy(most)) step = Move(most);
      return step == Splice::Step::kEnded || step == Splice::Step::kFailed;
    }));
    return step;
  }
  bool Received(size_t bytes) {
    return rig_->RunUntil([&] {
      Poll();
      return sink_->received().size() >= bytes;
    });
  }

  std::unique_ptr<Bell> bell_;
  std::unique_ptr<Remote> source_;
  std::unique_ptr<Remote> sink_;
  Stream in_;
  Stream out_;
  Splice splice_;
  uint64_t came_ = 0;
  bool copied_ = false;
};

TEST_P(SpliceContractTest, AllBytesInOrderThenTheEnd) {
  const std::string sent = sim::StreamBytes(1, 0, 3'000'000);
  source_->Send(sent);
  source_->Finish();
  EXPECT_EQ(RunFlow(), Splice::Step::kEnded);
  EXPECT_TRUE(in_.receive_ended());
  EXPECT_EQ(in_.receive_error(), 0);
  EXPECT_EQ(came_, sent.size());
  EXPECT_EQ(out_.sent_bytes(), sent.size());
  EXPECT_FALSE(splice_.moving());
  out_.ShutdownSend(shard());
  EXPECT_TRUE(rig_->RunUntil([&] { return sink_->ended(); }));
  EXPECT_TRUE(sink_->received() == sent);
  EXPECT_GT(shard().counters().passes.Get(), 0u);
  if (GetParam().seed == 0) EXPECT_EQ(shard().counters().passed_bytes.Get(), sent.size());
}

TEST_P(SpliceContractTest, NoMoreThanAskedFor) {
  const std::string sent = sim::StreamBytes(2, 0, 500'000);
  source_->Send(sent);
  EXPECT_EQ(RunFlow(300'001), Splice::Step::kEnded);
  EXPECT_EQ(came_, 300'001u);
  EXPECT_FALSE(in_.receive_ended());
  EXPECT_FALSE(in_.receive_armed());
  EXPECT_TRUE(Received(300'001));
  // What is behind them is received as before, and sent as before.
  std::string rest;
  EXPECT_TRUE(rig_->RunUntil([&] {
    Poll();
    in_.ArmReceive(shard(), kRelayReceive);
    while (in_.has_bytes()) {
      Slice slice = in_.TakeBytes();
      rest += slice.view();
    }
    return rest.size() >= sent.size() - 300'001;
  }));
  EXPECT_TRUE(sent.substr(300'001) == rest);
  in_.CancelReceive(shard());
  Slice slice(shard().buffers().Take(), 0, 5);
  std::copy_n("after", 5, slice.data());
  out_.Send(shard(), std::move(slice));
  EXPECT_TRUE(Received(300'006));
  EXPECT_TRUE(sink_->received() == sent.substr(0, 300'001) + "after");
}

TEST_P(SpliceContractTest, WhoWaitsHoldsNoPipe) {
  source_->Send("first");
  EXPECT_TRUE(rig_->RunUntil([&] {
    Move();
    return sink_->received() == "first" && !splice_.moving();
  }));
  rig_->RunFor(20);
  EXPECT_EQ(Move(), Splice::Step::kWaits);
  EXPECT_TRUE(in_.receive_armed());
  EXPECT_FALSE(splice_.moving());
  EXPECT_EQ(shard().pipes().open(), shard().pipes().free_count());
  source_->Send("second");
  EXPECT_TRUE(rig_->RunUntil([&] {
    Move();
    return sink_->received() == "firstsecond";
  }));
  EXPECT_LE(shard().pipes().open(), 1u);
  // The pipe is closed when nobody used it for long.
  rig_->RunFor(3000);
  EXPECT_EQ(shard().pipes().open(), 0u);
}

TEST_P(SpliceContractTest, ASlowReaderStopsTheFlowAndGetsAll) {
  rig_->LimitSendBuffer(out_.fd());
  sink_->StopReading();
  const std::string sent = sim::StreamBytes(3, 0, GetParam().simulated ? 1'000'000 : 16'000'000);
  source_->Send(sent);
  source_->Finish();
  for (int i = 0; i < 300; ++i) {
    Move();
    rig_->RunFor(10);
  }
  EXPECT_LT(came_, sent.size());
  EXPECT_TRUE(splice_.moving());
  EXPECT_TRUE(out_.sending());
  EXPECT_TRUE(out_.draining());
  sink_->ReadAgain();
  EXPECT_EQ(RunFlow(), Splice::Step::kEnded);
  EXPECT_TRUE(Received(sent.size()));
  EXPECT_TRUE(sink_->received() == sent);
}

TEST_P(SpliceContractTest, AResetOfTheSourceComesBehindItsBytes) {
  if (GetParam().unix_sockets) GTEST_SKIP() << kNoReset;
  source_->Send("last words");
  rig_->RunFor(1000);
  source_->Reset();
  rig_->RunFor(1000);
  EXPECT_EQ(RunFlow(), Splice::Step::kEnded);
  EXPECT_EQ(in_.receive_error(), ECONNRESET);
  EXPECT_TRUE(Received(10));
}

TEST_P(SpliceContractTest, TheSinksErrorIsTheSinks) {
  if (GetParam().unix_sockets) GTEST_SKIP() << kNoReset;
  sink_->Reset();
  rig_->RunFor(1000);
  source_->Send(std::string(100'000, 'x'));
  EXPECT_EQ(RunFlow(), Splice::Step::kFailed);
  EXPECT_NE(out_.send_error(), 0);
  EXPECT_EQ(in_.receive_error(), 0);
  EXPECT_FALSE(in_.receive_ended());
}

TEST_P(SpliceContractTest, ASinkThatGoesWhileItIsSentTo) {
  rig_->LimitSendBuffer(out_.fd());
  sink_->StopReading();
  source_->Send(std::string(8'000'000, 'x'));
  EXPECT_TRUE(rig_->RunUntil([&] {
    if (Move() == Splice::Step::kCopy) rig_->RunFor(1);
    return out_.draining();
  }));
  sink_->Close();
  EXPECT_EQ(RunFlow(), Splice::Step::kFailed);
  EXPECT_TRUE(out_.send_error() == EPIPE || out_.send_error() == ECONNRESET) << out_.send_error();
}

// In each of its states: while it waits, while a pass is under way, while the pipe is drained.
TEST_P(SpliceContractTest, GivenUpAtAnyTime) {
  for (int state = 0; state < 3; ++state) {
    SCOPED_TRACE(state);
    std::unique_ptr<Remote> source;
    std::unique_ptr<Remote> sink;
    Stream in;
    Stream out;
    Splice splice;
    Open(in, source);
    Open(out, sink);
    if (state == 2) {
      rig_->LimitSendBuffer(out.fd());
      sink->StopReading();
    }
    if (state > 0) source->Send(std::string(GetParam().simulated ? 1'000'000 : 16'000'000, 'x'));
    EXPECT_TRUE(rig_->RunUntil([&] {
      in.Poll(shard());
      out.Poll(shard());
      if (splice.Move(shard(), in, out, UINT64_MAX, came_) == Splice::Step::kCopy) rig_->RunFor(1);
      return state == 0 ? in.receive_armed() : state == 1 ? splice.moving() : out.draining();
    }));
    splice.Drop(shard(), in);
    EXPECT_FALSE(splice.moving());
    in.BeginClose(shard(), true);
    out.BeginClose(shard(), true);
    EXPECT_TRUE(rig_->RunUntil([&] { return in.Closed(shard()); }));
    EXPECT_TRUE(rig_->RunUntil([&] { return out.Closed(shard()); }));
    EXPECT_EQ(shard().pipes().open(), shard().pipes().free_count());
  }
}

// Messages, not bulk: the caller goes back to receives, with nothing left behind.
TEST_P(SpliceContractTest, AFlowThatTurnsSmall) {
  std::string sent;
  Splice::Step step = Splice::Step::kWaits;
  for (int i = 0; i < 100 && step != Splice::Step::kCopy; ++i) {
    source_->Send("small");
    sent += "small";
    EXPECT_TRUE(rig_->RunUntil([&] {
      step = Move();
      return step == Splice::Step::kCopy || sink_->received() == sent;
    }));
  }
  EXPECT_EQ(step, Splice::Step::kCopy);
  EXPECT_FALSE(splice_.moving());
  EXPECT_FALSE(in_.receive_armed());
  EXPECT_FALSE(out_.sending());
  EXPECT_TRUE(Received(came_));
}

TEST_P(SpliceContractTest, WithoutDescriptorsItIsCopied) {
  source_->Send("x");
  rig_->TakeAllFds();
  Splice::Step step = Splice::Step::kWaits;
  EXPECT_TRUE(rig_->RunUntil([&] {
    step = Move();
    return step == Splice::Step::kCopy;
  }));
  EXPECT_FALSE(splice_.moving());
  EXPECT_GT(shard().counters().pipes_refused.Get(), 0u);
  rig_->GiveFdsBack();
  // Not asked again at once.
  EXPECT_EQ(shard().pipes().Take(shard().now_ns()), nullptr);
  rig_->RunFor(1500);
  EXPECT_EQ(RunFlow(1), Splice::Step::kEnded);
  EXPECT_TRUE(Received(1));
}

TEST_P(SpliceContractTest, NoMorePipesThanAllowed) {
  std::vector<Pipe*> pipes;
  while (Pipe* pipe = shard().pipes().Take(shard().now_ns())) {
    EXPECT_GE(pipe->capacity, 4096u);
    pipes.push_back(pipe);
    ASSERT_LE(pipes.size(), 1000u);
  }
  if (!GetParam().simulated) EXPECT_EQ(pipes.size(), Shard::Options().pipes);
  for (Pipe* pipe : pipes) shard().pipes().GiveBack(pipe);
  EXPECT_EQ(shard().pipes().free_count(), shard().pipes().open());
}

// A receive and a send wait as before on a socket that was spliced.
TEST_P(SpliceContractTest, OtherOpsStillWait) {
  source_->Send("x");
  EXPECT_EQ(RunFlow(1), Splice::Step::kEnded);
  in_.ArmReceive(shard(), 0);
  rig_->RunFor(20);
  Poll();
  EXPECT_TRUE(in_.receive_armed());
  EXPECT_FALSE(in_.end_seen());
  source_->Send("y");
  EXPECT_TRUE(rig_->RunUntil([&] {
    Poll();
    return in_.has_bytes();
  }));
  EXPECT_EQ(in_.TakeBytes().view(), "y");
  rig_->LimitSendBuffer(out_.fd());
  sink_->StopReading();
  uint64_t sent = 0;
  int rounds = 0;
  EXPECT_TRUE(rig_->RunUntil([&] {
    Poll();
    if (!out_.sending()) {
      Slice slice(shard().buffers().Take(), 0, BufferPool::kBufferBytes);
      std::fill_n(slice.data(), slice.size(), 's');
      sent += slice.size();
      out_.Send(shard(), std::move(slice));
      rounds = 0;
    }
    rig_->RunFor(5);
    return ++rounds > 5;
  }));
  EXPECT_EQ(out_.send_error(), 0);
  sink_->ReadAgain();
  EXPECT_TRUE(rig_->RunUntil([&] {
    Poll();
    return !out_.sending() && sink_->received().size() == sent + 1;
  }));
  EXPECT_EQ(out_.send_error(), 0);
}

INSTANTIATE_TEST_SUITE_P(Backends, SpliceContractTest, testing::ValuesIn(Machines()), NameOf);

}  // namespace
}  // namespace weir
