// Op: a request to the kernel. It lives in the object that owns the fd (a Stream embeds one for
// receiving and one for sending), never on a coroutine's frame: a frame may end while the kernel still works.
//   kIdle -> Shard::Start -> kPending -> (submitted by the turn) kInFlight -> kDone -> the owner reads it ->
//   kIdle
// Cancel only asks: the one completion decides, and its result may still be success. The memory an op points
// to stays valid until kDone. `waiter` may be changed at any time, by the owner's thread; it is woken when
// the op becomes kDone, or a receive that stays armed (kStay) brought bytes. Source (source.h) is for
// listeners and polls.
#pragma once

#include <cstdint>

#include "core/buffer.h"
#include "core/runnable.h"

struct msghdr;

namespace weir {

class Backend;
struct Pipe;
struct SocketAddress;

struct Op {
  enum class Kind : uint8_t {
    kNone,
    kReceive,   // into buffers of the shard's pool, see Op::buffer
    kSend,      // `data`, `length`
    kGather,    // `message` (sendmsg)
    kConnect,   // `address`
    kReadable,  // tells when a receive would give something
    kPass,      // what is there, at most `length`, into `pipe` and on to its `to_fd`
    kDrain,     // `length` bytes out of `pipe`
    kWrite,     // `data`, `length` at the file's own position (log files)
    kAccept,    // Source: one result per connection (its fd)
    kPoll,      // Source: one result per readiness (poll mask = length)
    kDoorbell,  // wakes the shard behind `peer`; gives no result worth waiting for
  };
  enum class State : uint8_t { kIdle, kPending, kInFlight, kDone };

  static constexpr uint8_t kPollFirst =
      1;  // receive: expect nothing yet, wait for readiness at once; drain: expect no room yet
  static constexpr uint8_t kBody = 2;  // receive: leaves the last eighth of the buffers to request heads
  static constexpr uint8_t kCancelAsked = 4;  // set by Cancel
  static constexpr uint8_t kStarved = 8;      // receive: waits for a free buffer (the backend's list)
  static constexpr uint8_t kMoreHere =
      16;  // receive, result: the socket holds more bytes (never said of unix sockets by Linux 6.1)
  static constexpr uint8_t kSource = 32;  // this Op is a Source
  // Receive, not of unix sockets: stays armed after a result, so that a connection with one message after the
  // other needs one op for many of them. It ends by itself with the buffer that reaches kStayBytes, or soon
  // after kMostWaiting buffers wait to be taken: the owner that does not keep up stops its peer. A wish: who
  // cannot do it completes after the first result. (Of a unix socket the kernel would forget an end that came
  // while bytes lay there; seen with Linux 6.18.)
  static constexpr uint8_t kStay = 64;
  // Receive: the socket holds bytes, on a connection that lately had bulk; it is the connection's `length`th
  // in a row, from 1. It may stay pending for many turns: a turn tries only some of these, behind all sends.
  // A connection goes on for a run of them before the others, who wait in order.
  static constexpr uint8_t kBulk = 128;
  static constexpr uint32_t kStayBytes = 64 * 1024;
  static constexpr uint32_t kMostWaiting = 3;

  Op() = default;
  Op(const Op&) = delete;
  Op& operator=(const Op&) = delete;
  ~Op() { WEIR_CHECK(state == State::kIdle || state == State::kDone); }

  bool busy() const { return state == State::kPending || state == State::kInFlight; }
  bool done() const { return state == State::kDone; }
  // Receives only. The first buffer that waits; it comes with one reference and its length.
  Buffer* TakeReceived() {
    Buffer* first = buffer;
    buffer = first->next;
    first->next = nullptr;
    return first;
  }
  // For backends. Returns how many wait now.
  uint32_t PushReceived(Buffer* last, uint32_t bytes) {
    last->length = bytes;
    uint32_t waiting = 1;
    Buffer** at = &buffer;
    for (; *at != nullptr; at = &(*at)->next) ++waiting;
    *at = last;
    return waiting;
  }

  Op* next = nullptr;          // the shard's pending list, or one of the backend's
  Runnable* waiter = nullptr;  // woken at kDone, and by each buffer of kStay; may be null
  int32_t fd = -1;
  int32_t result = 0;  // bytes, or -errno
  Kind kind = Kind::kNone;
  State state = State::kIdle;
  uint8_t flags = 0;
  uint32_t length = 0;
  union {
    Buffer* buffer = nullptr;  // receive: what was received and not taken yet, in order; null when started
    const void* data;
    const msghdr* message;
    const SocketAddress* address;
    Pipe* pipe;
    Backend* peer;
  };
};
static_assert(sizeof(Op) == 40, "two of these per connection, times a million");

// Intrusive FIFO of ops by Op::next.
class OpList {
 public:
  bool empty() const { return head_ == nullptr; }
  Op* front() const { return head_; }  // null when empty, as back
  Op* back() const { return head_ == nullptr ? nullptr : tail_; }
  void PushBack(Op* op) {
    op->next = nullptr;
    if (head_ == nullptr) {
      head_ = op;
    } else {
      tail_->next = op;
    }
    tail_ = op;
  }
  Op* PopFront() {
    Op* op = head_;
    head_ = op->next;
    op->next = nullptr;
    return op;
  }
  void PushFront(Op* op) {
    op->next = head_;
    if (head_ == nullptr) tail_ = op;
    head_ = op;
  }
  // Moves everything of `other` behind what is here.
  void Append(OpList& other) {
    if (other.empty()) return;
    (head_ == nullptr ? head_ : tail_->next) = other.head_;
    tail_ = other.tail_;
    other.head_ = nullptr;
  }
  // O(length); true if it was there.
  bool Remove(Op* op) {
    Op* previous = nullptr;
    for (Op* at = head_; at != nullptr; previous = at, at = at->next) {
      if (at != op) continue;
      (previous == nullptr ? head_ : previous->next) = op->next;
      if (tail_ == op) tail_ = previous;
      op->next = nullptr;
      return true;
    }
    return false;
  }

 private:
  Op* head_ = nullptr;
  Op* tail_ = nullptr;
};

}  // namespace weir
