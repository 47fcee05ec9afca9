// Mailbox: how one shard hands work to another. Each ordered pair of shards has an SPSC ring of Message
// pointers; what does not fit waits in the sender's overflow list and goes first at its next turn. A Message
// is made, owned and freed by the sender: the receiver runs `deliver` on its own thread and sends the message
// back (`home`), where `recycle` runs. So no memory is ever freed on another thread than the one that made
// it. A sender rings the receiver's doorbell only when that one has announced that it sleeps: it announces,
// fences, looks again, and only then waits (Dekker's handshake; both sides use seq_cst fences).
#pragma once

#include <atomic>
#include <cstdint>

#include "core/check.h"

namespace weir {

class Shard;

struct Message {
  void (*deliver)(Message*, Shard& receiver) = nullptr;
  void (*recycle)(Message*, Shard& home) = nullptr;  // null: the message is not sent back
  Message* next = nullptr;                           // sender's overflow list
  uint32_t home = 0;                                 // index of the sending shard
  bool returning = false;
};

class SpscRing {
 public:
  static constexpr uint32_t kCapacity = 256;

  // Sender's thread. False when full.
  bool Push(Message* message) {
    const uint32_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_seen_ == kCapacity) {
      head_seen_ = head_.load(std::memory_order_acquire);
      if (tail - head_seen_ == kCapacity) return false;
    }
    slots_[tail % kCapacity] = message;
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }
  // Receiver's thread. Null when empty.
  Message* Pop() {
    const uint32_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_.load(std::memory_order_acquire)) return nullptr;
    Message* message = slots_[head % kCapacity];
    head_.store(head + 1, std::memory_order_release);
    return message;
  }
  bool Empty() const {
    return head_.load(std::memory_order_relaxed) == tail_.load(std::memory_order_acquire);
  }

 private:
  alignas(64) std::atomic<uint32_t> head_{0};
  alignas(64) std::atomic<uint32_t> tail_{0};
  uint32_t head_seen_ = 0;  // the sender's copy: it touches the receiver's line only when the ring looks full
  alignas(64) Message* slots_[kCapacity];
};

}  // namespace weir
