// Counter: a number one shard writes and anybody may read at any time. The writer pays for a plain load and
// store (no lock prefix); readers see each counter whole, and different counters at slightly different
// moments. Each shard's counters lie together on cache lines of their own (alignas), read by others only when
// someone looks.
#pragma once

#include <atomic>
#include <cstdint>

namespace weir {

class Counter {
 public:
  void Add(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void Sub(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) - n, std::memory_order_relaxed);
  }
  void Set(uint64_t n) { value_.store(n, std::memory_order_relaxed); }
  uint64_t Get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// Counts of values by size: 2^kSubBits buckets an octave. Unit: the caller's.
template <uint32_t kSubBits>
class HistogramOf {
 public:
  static constexpr uint32_t kSub = kSubBits;
  static constexpr uint32_t kBuckets = 40u << kSub;

  static uint32_t BucketOf(uint64_t value) {
    if (value < (1u << kSub)) return static_cast<uint32_t>(value);
    const uint32_t top = 63 - static_cast<uint32_t>(__builtin_clzll(value));
    const uint32_t bucket =
        ((top - kSub + 1) << kSub) + static_cast<uint32_t>((value >> (top - kSub)) & ((1u << kSub) - 1));
    return bucket < kBuckets ? bucket : kBuckets - 1;
  }
  // Smallest value that no longer falls into `bucket`.
  static uint64_t UpperBound(uint32_t bucket) {
    if (bucket < (1u << kSub)) return bucket + 1;
    const uint32_t octave = (bucket >> kSub) - 1;
    return (uint64_t{bucket & ((1u << kSub) - 1)} + (1u << kSub) + 1) << octave;
  }

  void Record(uint64_t value) {
    buckets_[BucketOf(value)].Add();
    sum_.Add(value);
  }
  uint64_t bucket(uint32_t i) const { return buckets_[i].Get(); }
  uint64_t sum() const { return sum_.Get(); }

 private:
  Counter buckets_[kBuckets];
  Counter sum_;
};

// Four buckets an octave, so a quantile is right within 19 %: small enough for every shard to have several.
using Histogram = HistogramOf<2>;

// What the event machine itself counts, per shard.
struct alignas(64) CoreCounters {
  Counter turns;
  Counter ops_submitted;
  Counter completions;
  Counter cq_overflows;       // turns in which the kernel had to keep completions aside
  Counter buffers_exhausted;  // receives that had to wait for a buffer
  Counter buffer_low_water;   // times fewer than an eighth of the buffers were free
  Counter messages;           // taken from mailboxes
  Counter doorbells;          // rung by this shard
  Counter slow_turns;         // turns whose own work took longer than 1 ms
  Counter stalls;             // times the shard stood still (shard.h)
  Counter stalled_ms;         // for how long in all
  Counter passes;             // times bytes went from one socket to another through a pipe
  Counter passed_bytes;       // that came into one
  Counter pipes_open;         // now
  Counter pipes_small;        // pipes that the system granted less than asked
  Counter pipes_refused;      // times it granted none
};

}  // namespace weir
