// What core/stream.h promises, on both backends.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "core/contract_fixture.h"
#include "core/sim/peer.h"
#include "core/stream.h"

namespace weir {
namespace {

// Streams: the same promises as the layers above use them

class StreamContractTest : public BackendContractTest {
 protected:
  void Close(Stream& stream, bool with_reset) {
    stream.BeginClose(shard(), with_reset);
    EXPECT_TRUE(rig_->RunUntil([&] { return stream.Closed(shard()); }));
  }
  void Open(Stream& stream, Bell& bell, int fd) {
    stream.SetWaiter(&bell);
    stream.Open(fd, family());
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
    EXPECT_TRUE(rig_->RunUntil([&] {
      return with_reset && !GetParam().unix_sockets ? remote->error() == ECONNRESET : remote->ended();
    }));
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

TEST_P(StreamContractTest, GivesBytesInOrderWhateverIsPutBack) {
  std::unique_ptr<Remote> remote;
  Bell bell;
  Stream stream;
  Open(stream, bell, Pair(remote));
  const std::string sent = sim::StreamBytes(3, 0, 400'000);
  std::string received;
  remote->Send(std::string_view(sent).substr(0, 5'000));
  bool rest_sent = false;
  uint32_t puts = 0;
  ASSERT_TRUE(rig_->RunUntil([&] {
    stream.Poll(shard());
    while (stream.has_bytes()) {
      Slice slice = stream.TakeBytes();
      // Half of it now and then, the rest as if it belonged to the next message.
      const uint32_t use = slice.size() > 1 && puts++ % 3 == 0 ? slice.size() / 2 : slice.size();
      received += slice.view().substr(0, use);
      slice.RemovePrefix(use);
      stream.PutBack(std::move(slice));
    }
    stream.ArmReceive(shard(), kHeadReceive);
    if (!rest_sent && received.size() == 5'000) {
      rest_sent = true;
      remote->Send(std::string_view(sent).substr(5'000));
      remote->Finish();
    }
    return stream.receive_ended();
  }));
  EXPECT_EQ(received, sent);
  EXPECT_EQ(stream.receive_error(), 0);
  Close(stream, false);
}

// Bulk is moved in depth, one connection for a while; none of the others may starve meanwhile.
TEST_P(StreamContractTest, BulkIsShared) {
  constexpr size_t kStreams = 12;
  const size_t kBytes = GetParam().seed == 0 ? 6'000'000 : 600'000;  // with faults the network may be slow
  std::vector<std::unique_ptr<Remote>> remotes(kStreams);
  std::vector<std::unique_ptr<Bell>> bells;
  std::vector<std::unique_ptr<Stream>> streams;
  std::vector<std::string> sent(kStreams);
  std::vector<std::string> received(kStreams);
  for (size_t i = 0; i < kStreams; ++i) {
    bells.push_back(std::make_unique<Bell>());
    streams.push_back(std::make_unique<Stream>());
    Open(*streams[i], *bells[i], Pair(remotes[i]));
    sent[i] = sim::StreamBytes(i, 0, kBytes);
    remotes[i]->Send(sent[i]);
  }
  size_t least_when_half = kBytes;
  ASSERT_TRUE(rig_->RunUntil([&] {
    size_t least = kBytes;
    size_t most = 0;
    for (size_t i = 0; i < kStreams; ++i) {
      streams[i]->Poll(shard());
      while (streams[i]->has_bytes()) received[i] += streams[i]->TakeBytes().view();
      streams[i]->ArmReceive(shard(), i % 2 == 0 ? kBodyReceive : kRelayReceive);
      least = std::min(least, received[i].size());
      most = std::max(most, received[i].size());
    }
    if (most >= kBytes / 2) least_when_half = std::min(least_when_half, least);
    return least == kBytes;
  }));
  if (GetParam().seed == 0) EXPECT_GT(least_when_half, 100'000u);  // with faults the network may stall one
  EXPECT_EQ(received, sent);
  for (auto& stream : streams) Close(*stream, false);
}

TEST_P(StreamContractTest, ACancelReachesAReceiveThatWaitsForItsTurnInBulk) {
  constexpr size_t kStreams = 12;
  std::vector<std::unique_ptr<Remote>> remotes(kStreams);
  std::vector<std::unique_ptr<Bell>> bells;
  std::vector<std::unique_ptr<Stream>> streams;
  for (size_t i = 0; i < kStreams; ++i) {
    bells.push_back(std::make_unique<Bell>());
    streams.push_back(std::make_unique<Stream>());
    Open(*streams[i], *bells[i], Pair(remotes[i]));
    remotes[i]->Send(std::string(1'000'000, 'b'));
  }
  rig_->RunFor(20);
  const auto rearm = [&] {
    for (auto& stream : streams) {
      stream->Poll(shard());
      while (stream->has_bytes()) stream->TakeBytes();
      stream->ArmReceive(shard(), kBodyReceive);
    }
  };
  for (int round = 0; round < 3; ++round) {
    rearm();
    ASSERT_TRUE(rig_->RunUntil([&] {
      for (auto& stream : streams) stream->Poll(shard());
      return std::all_of(streams.begin(), streams.end(),
                         [](const auto& stream) { return stream->has_bytes(); });
    }));
  }
  rearm();
  shard().RunTurn(false);
  // Most of them wait for their turn now; whoever is cancelled ends in the next, and keeps its bytes.
  std::vector<bool> waited;
  for (auto& stream : streams) {
    stream->Poll(shard());
    waited.push_back(!stream->has_bytes());
    stream->BeginClose(shard(), true);
  }
  shard().RunTurn(false);
  // Who is not told of more bytes has no turn to wait for.
  if (!GetParam().simulated && tells_more_here())
    EXPECT_GE(std::count(waited.begin(), waited.end(), true), 6);
  for (size_t i = 0; i < kStreams; ++i) {
    const bool closed = streams[i]->Closed(shard());
    if (waited[i] && !GetParam().simulated) EXPECT_TRUE(closed) << i;
    EXPECT_TRUE(rig_->RunUntil([&] { return closed || streams[i]->Closed(shard()); }));
  }
}

TEST_P(StreamContractTest, TheEndComesBehindTheBytes) {
  std::unique_ptr<Remote> remote;
  Bell bell;
  Stream stream;
  Open(stream, bell, Pair(remote));
  stream.ArmReceive(shard(), kHeadReceive);
  remote->Send("last words");
  remote->Finish();
  // It may be seen while they wait, and counts only when they are taken.
  std::string received;
  ASSERT_TRUE(rig_->RunUntil([&] {
    stream.Poll(shard());
    if (stream.has_bytes()) EXPECT_FALSE(stream.receive_ended());
    if (received.empty() && !stream.has_bytes()) return false;
    while (stream.has_bytes()) received += stream.TakeBytes().view();
    stream.ArmReceive(shard(), kHeadReceive);
    return stream.receive_ended();
  }));
  EXPECT_EQ(received, "last words");
  Close(stream, false);
}

TEST_P(StreamContractTest, ClosingGivesBackWhatNobodyTook) {
  const uint32_t before = shard().buffers().free_count();
  std::unique_ptr<Remote> remote;
  Bell bell;
  Stream stream;
  Open(stream, bell, Pair(remote));
  stream.ArmReceive(shard(), kHeadReceive);
  for (int i = 0; i < 3; ++i) {
    remote->Send("unread");
    rig_->RunFor(5);
  }
  stream.Poll(shard());
  EXPECT_TRUE(stream.has_bytes());
  Close(stream, true);
  rig_->RunFor(5);  // the kernel is provided with as many as before
  EXPECT_EQ(shard().buffers().free_count(), before);
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
    Open(stream, bell, backend().OpenStream(family()));
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
  const int listener = ListenWithoutAnswer();
  Bell bell;
  Stream stream;
  Open(stream, bell, backend().OpenStream(family()));
  stream.Connect(shard(), &address_);
  rig_->RunFor(5);
  Close(stream, true);
  EXPECT_FALSE(stream.connecting());
  backend().Close(listener);
}

TEST_P(StreamContractTest, AResetIsNoCleanEnd) {
  if (GetParam().unix_sockets) GTEST_SKIP() << kNoReset;
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

INSTANTIATE_TEST_SUITE_P(On, StreamContractTest, testing::ValuesIn(Machines()), NameOf);

}  // namespace
}  // namespace weir
