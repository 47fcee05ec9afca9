// Switchboard: the mailboxes between all shards of a fleet, and each shard's doorbell state. Made before the
// shards and outlives them. Shards are numbered 0 to n - 1; the control shard is the last one. Thread-safe as
// mailbox.h says.
#pragma once

#include <atomic>
#include <memory>

#include "core/mailbox.h"

namespace weir {

class Backend;

class Switchboard {
 public:
  struct alignas(64) Seat {
    std::atomic<uint32_t> asleep{
        0};                         // written by the shard: it waits, or is about to, and wants the doorbell
    std::atomic<uint32_t> mail{0};  // written by senders: some ring is not empty
    std::atomic<Backend*> backend{nullptr};  // set once, when the shard is up
  };

  explicit Switchboard(uint32_t shards)
      : shards_(shards),
        seats_(std::make_unique<Seat[]>(shards)),
        rings_(std::make_unique<SpscRing[]>(size_t{shards} * shards)) {}

  uint32_t shards() const { return shards_; }
  uint32_t control() const { return shards_ - 1; }
  Seat& seat(uint32_t shard) { return seats_[shard]; }
  SpscRing& ring(uint32_t from, uint32_t to) { return rings_[size_t{from} * shards_ + to]; }

 private:
  uint32_t shards_;
  std::unique_ptr<Seat[]> seats_;
  std::unique_ptr<SpscRing[]> rings_;
};

}  // namespace weir
