// RetryBudget: how many of an upstream's requests may be on a further attempt at one time: a share of what it
// has in flight, or a minimum if that is more, of all shards together; so that an upstream that fails is not
// buried under what is tried again. Each shard counts what it has in UpstreamBook, and who asks adds up what
// all have: only then is another shard's line read. A shard that was refused does not look again for
// kPeriodNs, or a herd of failures would. Shards that ask in the same moment do not see each other and may
// exceed the budget by one request each. Owner: a shard's pool.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/clock.h"
#include "lb/upstream/plan.h"

namespace weir::lb {

class RetryBudget {
 public:
  static constexpr int64_t kPeriodNs = kNsPerMs;

  RetryBudget(const UpstreamPlan& plan, uint32_t shard) : plan_(plan), shard_(shard) {}

  // True: there is room; it is taken until GiveBack. Who asks is still in flight.
  bool Take(int64_t now_ns) {
    if (!HasRoom(now_ns)) return false;
    plan_.book->retries(shard_).Add();
    // Others see it before this shard adds up again, or it would exceed the budget by more than one.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return true;
  }
  void GiveBack() { plan_.book->retries(shard_).Sub(); }
  // A request that waits for its next attempt has no endpoint, and is as much in flight as before: of many
  // that fail together the first to wait must not take the room of the others.
  void BeginWait() { plan_.book->active(shard_).Add(); }
  void EndWait() { plan_.book->active(shard_).Sub(); }

  // Who finds no room may wait for it so long.
  uint32_t wait_ms() const { return plan_.settings.retry_budget.wait_ms; }

 private:
  bool HasRoom(int64_t now_ns) {
    const RetryBudgetSettings& settings = plan_.settings.retry_budget;
    if (!settings.on) return true;
    if (now_ns < closed_until_ns_) return false;
    uint64_t retries = 0;
    uint64_t in_flight = 0;
    for (uint32_t i = 0; i < plan_.seats.size(); ++i) {
      retries += plan_.book->retries(i).Get();
      in_flight += plan_.book->active(i).Get();
    }
    if (settings.Allows(retries, in_flight)) return true;
    closed_until_ns_ = now_ns + kPeriodNs;
    return false;
  }

  const UpstreamPlan& plan_;
  const uint32_t shard_;
  int64_t closed_until_ns_ = 0;
};

}  // namespace weir::lb
