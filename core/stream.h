// Stream: one connected TCP or unix socket as the layers above see it: received slices, one send in flight,
// ends and errors. It embeds its two ops, so nothing has to outlive anything: whoever waits on it may end or
// change at any time, and the buffers of a send in flight belong to the Stream until the kernel is done with
// them. Owner: one connection object on one shard. After each wake-up the owner calls Poll, which takes over
// what the kernel finished, then looks at the state. Holding no bytes, an idle Stream holds no buffer.
// Receiving: ArmReceive has no effect while bytes wait to be taken, and a receive that stays armed
// (Op::kStay) ends when Op::kMostWaiting buffers do, perhaps after all of them were taken: whoever wants to
// hear more arms again after every wake-up. That, with one send in flight, is the whole back-pressure.
// Closing: BeginClose cancels what is in flight; `closed` waits for the completions, then closes. RFC
// 9293 3.6: closing with unread bytes sends RST, so whoever wants the peer to get the last bytes reads until
// the peer's FIN first.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <span>
#include <string_view>

#include "core/buffer.h"
#include "core/op.h"

namespace weir {

class Shard;
struct Pipe;

// What to arm a receive with: where messages come one by one, where a body of some length is to come (it
// leaves the last buffers to heads), and where nobody can tell.
inline constexpr uint8_t kHeadReceive = Op::kPollFirst | Op::kStay;
inline constexpr uint8_t kBodyReceive = Op::kPollFirst | Op::kBody;
inline constexpr uint8_t kRelayReceive = Op::kPollFirst | Op::kBody | Op::kStay;

class Stream {
 public:
  // Most pieces of one gathered send.
  static constexpr size_t kMaxPieces = 6;

  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { WEIR_CHECK(fd() < 0); }

  // Takes over a connected (or, with Connect, a fresh) socket of this family.
  void Open(int fd, uint16_t family) {
    WEIR_CHECK(this->fd() < 0);
    receive_.fd = send_.fd = fd;
    may_stay_ = family != AF_UNIX;
  }
  int fd() const { return receive_.fd; }
  bool is_open() const { return receive_.fd >= 0; }
  void SetWaiter(Runnable* waiter) { receive_.waiter = send_.waiter = waiter; }
  Runnable* waiter() const { return receive_.waiter; }

  // Starts connecting; `address` stays valid until connect_done. The send op carries it: nothing can be sent
  // yet.
  void Connect(Shard& shard, const SocketAddress* address);
  bool connecting() const { return connecting_; }
  // After Poll and once not connecting: 0 or errno.
  int connect_error() const { return send_error_; }

  // Arms the one receive unless it is armed, bytes wait, or the peer ended. `flags`: Op::kPollFirst,
  // Op::kBody, Op::kStay (not where bytes came in bulk lately: a full buffer each is worth an op).
  void ArmReceive(Shard& shard, uint8_t flags) {
    if (receive_.state != Op::State::kIdle || has_bytes() || receive_ended_) return;
    DoArmReceive(shard, flags);
  }
  // Asks to disarm; done when receive_armed() is false. Bytes that came first win.
  void CancelReceive(Shard& shard);
  // Takes over what finished. Cheap when nothing did.
  void Poll(Shard& shard) {
    if (receive_.done()) ReceiveDone(shard);
    if (send_.done()) TakeSent(shard);
  }
  bool has_bytes() const {
    return ahead_.holds_buffer() || (receive_.buffer != nullptr && receive_.kind == Op::Kind::kReceive);
  }
  // What came first and was not taken yet.
  Slice TakeBytes() {
    if (ahead_.holds_buffer()) return std::move(ahead_);
    return TakeReceived();
  }
  // Gives back what was taken last and not used: it is received again first.
  void PutBack(Slice rest) {
    WEIR_CHECK(!ahead_.holds_buffer());
    if (!rest.empty()) ahead_ = std::move(rest);
  }
  // No more bytes will come: FIN (receive_error 0) or an error, behind the bytes that came before.
  bool receive_ended() const { return receive_ended_ && !has_bytes(); }
  // The end has been seen, though bytes may still wait to be taken.
  bool end_seen() const { return receive_ended_; }
  int receive_error() const { return receive_error_; }
  bool receive_armed() const { return receive_.busy(); }

  struct Piece {
    const char* data;
    size_t length;
    Piece(const char* data, size_t length) : data(data), length(length) {}
    Piece(std::string_view text) : data(text.data()), length(text.size()) {}  // NOLINT: pieces are text
  };
  // Sends all of `slice`. One send at a time.
  void Send(Shard& shard, Slice slice);
  // Sends the pieces in order; they lie in `first`, `second` (kept until done) or in static memory.
  void SendPieces(Shard& shard, std::span<const Piece> pieces, Slice first, Slice second);
  bool sending() const { return send_.busy() || send_.done(); }
  // The first error of any send (errno), 0 while all went well; sticky.
  int send_error() const { return send_error_; }
  // Bytes the kernel has taken since Open.
  uint64_t sent_bytes() const { return sent_bytes_; }

  // Bytes that nobody must see go on through a pipe (pipe.h), as long as none wait to be taken here. First
  // WaitReadable, which holds nothing, until `readable`; then Pass, once `to` is not sending, until not
  // `receive_armed`; then EndPass, which tells `to` what it was sent. What remains in the pipe goes with
  // Drain, which is a send of `to`. What a Pass found out about this stream's end is where a receive leaves
  // it.
  void WaitReadable(Shard& shard);
  bool readable() const { return readable_; }
  void Pass(Shard& shard, Stream& to, Pipe* pipe, uint32_t most);
  static void EndPass(Pipe& pipe, Stream& to);
  void Drain(Shard& shard, Pipe* pipe);
  // What is being sent lies in a pipe, not in a buffer.
  bool draining() const { return draining_; }

  void ShutdownSend(Shard& shard);
  bool send_shut() const { return send_shut_; }

  // Ends what is in flight. Ops wake the waiter; call `Closed` after each wake-up until it returns true.
  void BeginClose(Shard& shard, bool with_reset);
  bool closing() const { return closing_; }
  bool Closed(Shard& shard);

 private:
  struct Gather;

  void DoArmReceive(Shard& shard, uint8_t flags);
  void ReceiveDone(Shard& shard);
  void PassDone(Shard& shard);
  void DrainDone(Shard& shard);
  void BeginSplice(Shard& shard);
  Slice TakeReceived();
  void TakeSent(Shard& shard);
  void DropHeld(Shard& shard);

  Op receive_;
  Op send_;
  Slice ahead_;             // put back
  Buffer* held_ = nullptr;  // what a plain send lies in
  Gather* gather_ =
      nullptr;  // a gathered send: pieces and what they lie in; from the arena, only while in flight
  uint64_t sent_bytes_ = 0;
  int16_t receive_error_ = 0;
  int16_t send_error_ = 0;
  bool receive_ended_ : 1 = false;
  bool connecting_ : 1 = false;
  bool send_shut_ : 1 = false;
  bool closing_ : 1 = false;
  bool with_reset_ : 1 = false;
  bool may_stay_ : 1 = true;    // receives may have Op::kStay
  bool more_here_ : 1 = false;  // the last receive left bytes in the socket
  bool readable_ : 1 = false;   // WaitReadable found something, and no Pass has found nothing since
  bool draining_ : 1 = false;   // the send is a kDrain
  bool spliced_ : 1 = false;    // the backend knows
  uint8_t bulk_ : 3 = 0;        // small results to come before receives stay armed again
};
static_assert(sizeof(Stream) <= 136, "every connection has one");

}  // namespace weir
