#include "core/stream.h"

#include <sys/uio.h>

#include <cerrno>
#include <new>

#include "core/shard.h"

namespace weir {

struct Stream::Gather {
  msghdr message{};
  iovec pieces[kMaxPieces];
  Buffer* held[2] = {nullptr, nullptr};
};

namespace {

// Above this staying armed saves too little: it would end soon anyway.
constexpr uint32_t kBulkBytes = BufferPool::kBufferBytes / 4 * 3;

// Takes the reference out of a slice.
Buffer* Detach(Slice slice) {
  Buffer* buffer = slice.buffer();
  if (buffer != nullptr) BufferPool::Reference(buffer);
  return buffer;
}

}  // namespace

void Stream::Connect(Shard& shard, const SocketAddress* address) {
  WEIR_CHECK(!sending() && !connecting_);
  connecting_ = true;
  send_.kind = Op::Kind::kConnect;
  send_.address = address;
  shard.Start(send_);
}

void Stream::DoArmReceive(Shard& shard, uint8_t flags) {
  WEIR_CHECK(!closing_);
  receive_.kind = Op::Kind::kReceive;
  // When the last receive left bytes behind, trying first is right; else readiness is waited for at once.
  if (more_here_) flags &= static_cast<uint8_t>(~Op::kPollFirst);
  if (bulk_ > 0 || !may_stay_) flags &= static_cast<uint8_t>(~Op::kStay);
  if (bulk_ > 0 && more_here_) {
    flags |= Op::kBulk;
    ++receive_.length;
  } else {
    receive_.length = 0;
  }
  receive_.flags = flags;
  shard.Start(receive_);
}

void Stream::CancelReceive(Shard& shard) { shard.Cancel(receive_); }

Slice Stream::TakeReceived() {
  if (!has_bytes()) return {};
  Buffer* buffer = receive_.TakeReceived();
  if (buffer->length >= kBulkBytes) {
    bulk_ = 7;
  } else if (bulk_ > 0) {
    --bulk_;
  }
  return Slice(buffer, 0, buffer->length);
}

void Stream::ReceiveDone(Shard& shard) {
  receive_.state = Op::State::kIdle;
  if (receive_.kind != Op::Kind::kReceive) [[unlikely]] {
    PassDone(shard);
    return;
  }
  more_here_ = (receive_.flags & Op::kMoreHere) != 0;
  if (receive_.result > 0) return;
  // CancelReceive, closing, or bytes that were not taken: no end of the stream.
  if (receive_.result == -ECANCELED) return;
  receive_ended_ = true;
  receive_error_ = static_cast<int16_t>(-receive_.result);
}

void Stream::WaitReadable(Shard& shard) {
  WEIR_CHECK(receive_.state == Op::State::kIdle && !has_bytes() && !receive_ended_ && !closing_);
  receive_.kind = Op::Kind::kReadable;
  receive_.flags = 0;
  shard.Start(receive_);
}

void Stream::BeginSplice(Shard& shard) {
  if (spliced_) return;
  spliced_ = true;
  // Of a socket that is open this cannot fail.
  WEIR_CHECK(shard.backend().BeginSplice(fd()) == 0);
}

void Stream::Pass(Shard& shard, Stream& to, Pipe* pipe, uint32_t most) {
  WEIR_CHECK(receive_.state == Op::State::kIdle && !has_bytes() && !receive_ended_ && !closing_);
  WEIR_CHECK(!to.sending() && !to.closing_ && !to.send_shut_ && !to.connecting_);
  WEIR_CHECK(!pipe->busy && pipe->bytes == 0 && most > 0);
  BeginSplice(shard);
  to.BeginSplice(shard);
  pipe->busy = true;
  pipe->to_fd = to.fd();
  pipe->came = pipe->passed = 0;
  pipe->error = 0;
  receive_.kind = Op::Kind::kPass;
  receive_.flags = 0;
  receive_.length = most;
  receive_.pipe = pipe;
  shard.Start(receive_);
}

void Stream::EndPass(Pipe& pipe, Stream& to) {
  WEIR_CHECK(!pipe.busy);
  to.sent_bytes_ += pipe.passed;
  if (pipe.error != 0) to.send_error_ = static_cast<int16_t>(pipe.error);
  pipe.came = pipe.passed = 0;
  pipe.error = 0;
}

// What a WaitReadable or a Pass came to.
void Stream::PassDone(Shard& shard) {
  const int32_t result = receive_.result;
  if (receive_.kind == Op::Kind::kReadable) {
    // Whatever it is: who looks will see.
    if (result != -ECANCELED) readable_ = true;
  } else {
    shard.pipes().OpDone(receive_.pipe);
    readable_ = result > 0 && static_cast<uint32_t>(result) == receive_.length;
    if (result <= 0 && result != -EAGAIN && result != -ECANCELED) {
      receive_ended_ = true;
      receive_error_ = static_cast<int16_t>(-result);
    }
  }
  receive_.kind = Op::Kind::kReceive;
  receive_.buffer = nullptr;
  receive_.length = 0;
  // When receives go on there may be more, or not: it costs little to try.
  more_here_ = false;
}

void Stream::Drain(Shard& shard, Pipe* pipe) {
  WEIR_CHECK(!sending() && !closing_ && !pipe->busy && pipe->bytes > 0);
  pipe->busy = true;
  draining_ = true;
  send_.kind = Op::Kind::kDrain;
  send_.flags = Op::kPollFirst;  // a Pass has just tried
  send_.pipe = pipe;
  send_.length = pipe->bytes;
  shard.Start(send_);
}

void Stream::DrainDone(Shard& shard) {
  Pipe* pipe = send_.pipe;
  if (send_.result <= 0) {
    send_error_ = static_cast<int16_t>(send_.result == 0 ? EPIPE : -send_.result);
    DropHeld(shard);
    return;
  }
  const uint32_t taken = static_cast<uint32_t>(send_.result);
  WEIR_CHECK(taken <= pipe->bytes);
  sent_bytes_ += taken;
  pipe->bytes -= taken;
  if (pipe->bytes > 0 && !closing_ && !pipe->given_up) {
    send_.flags = Op::kPollFirst;
    send_.length = pipe->bytes;
    shard.Start(send_);
    return;
  }
  DropHeld(shard);
}

void Stream::Send(Shard& shard, Slice slice) {
  WEIR_CHECK(!sending() && !closing_ && held_ == nullptr && gather_ == nullptr);
  WEIR_CHECK(!slice.empty());
  send_.kind = Op::Kind::kSend;
  send_.data = slice.data();
  send_.length = slice.size();
  held_ = Detach(std::move(slice));
  shard.Start(send_);
}

void Stream::SendPieces(Shard& shard, std::span<const Piece> pieces, Slice first, Slice second) {
  WEIR_CHECK(!sending() && !closing_ && held_ == nullptr && gather_ == nullptr);
  WEIR_CHECK(pieces.size() <= kMaxPieces);
  void* memory = shard.arena().Allocate(sizeof(Gather));
  WEIR_CHECK(memory != nullptr);
  gather_ = new (memory) Gather;
  size_t count = 0;
  for (const Piece& piece : pieces) {
    if (piece.length == 0) continue;
    gather_->pieces[count++] = {const_cast<char*>(piece.data), piece.length};
  }
  WEIR_CHECK(count > 0);
  gather_->message.msg_iov = gather_->pieces;
  gather_->message.msg_iovlen = count;
  gather_->held[0] = Detach(std::move(first));
  gather_->held[1] = Detach(std::move(second));
  if (count == 1) {  // a plain send is cheaper; the record keeps what it lies in
    send_.kind = Op::Kind::kSend;
    send_.data = gather_->pieces[0].iov_base;
    send_.length = static_cast<uint32_t>(gather_->pieces[0].iov_len);
  } else {
    send_.kind = Op::Kind::kGather;
    send_.message = &gather_->message;
  }
  shard.Start(send_);
}

void Stream::TakeSent(Shard& shard) {
  send_.state = Op::State::kIdle;
  if (draining_) [[unlikely]] {
    DrainDone(shard);
    return;
  }
  if (connecting_) {
    connecting_ = false;
    if (send_.result < 0) send_error_ = static_cast<int16_t>(-send_.result);
    return;
  }
  if (send_.result <= 0) {
    send_error_ = static_cast<int16_t>(send_.result == 0 ? EPIPE : -send_.result);
    DropHeld(shard);
    return;
  }
  uint64_t taken = static_cast<uint32_t>(send_.result);
  sent_bytes_ += taken;
  if (send_.kind == Op::Kind::kSend) {
    WEIR_CHECK(taken <= send_.length);
    send_.data = static_cast<const char*>(send_.data) + taken;
    send_.length -= static_cast<uint32_t>(taken);
    if (send_.length > 0 && !closing_) {
      shard.Start(send_);
      return;
    }
    DropHeld(shard);
    return;
  }
  msghdr& message = gather_->message;
  while (message.msg_iovlen > 0 && taken >= message.msg_iov->iov_len) {
    taken -= message.msg_iov->iov_len;
    ++message.msg_iov;
    --message.msg_iovlen;
  }
  if (message.msg_iovlen == 0 || closing_) {
    DropHeld(shard);
    return;
  }
  message.msg_iov->iov_base = static_cast<char*>(message.msg_iov->iov_base) + taken;
  message.msg_iov->iov_len -= taken;
  shard.Start(send_);
}

void Stream::DropHeld(Shard& shard) {
  if (draining_) {
    draining_ = false;
    shard.pipes().OpDone(send_.pipe);
  }
  if (held_ != nullptr) BufferPool::Release(std::exchange(held_, nullptr));
  if (gather_ == nullptr) return;
  for (Buffer* buffer : gather_->held) {
    if (buffer != nullptr) BufferPool::Release(buffer);
  }
  shard.arena().Free(std::exchange(gather_, nullptr));
}

void Stream::ShutdownSend(Shard& shard) {
  if (send_shut_) return;
  WEIR_CHECK(!sending());
  send_shut_ = true;
  shard.backend().Shutdown(fd(), Backend::Direction::kSend);
}

void Stream::BeginClose(Shard& shard, bool with_reset) {
  WEIR_CHECK(is_open() && !closing_);
  closing_ = true;
  with_reset_ = with_reset;
  shard.Cancel(receive_);
  shard.Cancel(send_);
}

bool Stream::Closed(Shard& shard) {
  WEIR_CHECK(closing_);
  Poll(shard);
  if (receive_.busy() || send_.busy()) return false;
  while (has_bytes()) TakeBytes();
  DropHeld(shard);
  if (with_reset_) {
    shard.backend().CloseWithReset(fd());
  } else {
    shard.backend().Close(fd());
  }
  receive_.fd = send_.fd = -1;
  return true;
}

}  // namespace weir
