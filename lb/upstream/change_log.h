// ChangeLog: what changed lately in one shard's counts: a ring that the shard writes and any other follows,
// each at its own pace. An entry is an endpoint and how many it has in flight there; one word, so it is
// always whole. A follower that is lapped may read entries newer than others behind them: it reads these
// again when their turn comes, as it goes on only to where the ring ended when it began.
#pragma once

#include <atomic>
#include <cstdint>

namespace weir::lb {

class alignas(64) ChangeLog {
 public:
  static constexpr uint32_t kEntries = 1024;

  struct Entry {
    uint32_t endpoint;
    uint32_t active;
  };

  // The shard alone.
  void Add(uint32_t endpoint, uint32_t active) {
    const uint64_t end = end_.load(std::memory_order_relaxed);
    entries_[end % kEntries].store(uint64_t{endpoint} << 32 | active, std::memory_order_relaxed);
    end_.store(end + 1, std::memory_order_release);
  }
  uint64_t end() const { return end_.load(std::memory_order_acquire); }
  // REQUIRES: `at` is less than what end() said, by kEntries at most.
  Entry Read(uint64_t at) const {
    const uint64_t word = entries_[at % kEntries].load(std::memory_order_relaxed);
    return {static_cast<uint32_t>(word >> 32), static_cast<uint32_t>(word)};
  }

 private:
  std::atomic<uint64_t> end_{0};
  std::atomic<uint64_t> entries_[kEntries] = {};
};

}  // namespace weir::lb
