// PasswordPool: the threads that check passwords, which takes 10 ms to a second each and would stop a shard
// for as long. A shard hands a job over (a ring of its own, no lock; the threads share one among themselves)
// and looks at `state` now and then. One for the process; it owns the jobs, so that a shard may end while its
// jobs are still checked. Bounds: kJobsPerShard. The threads have a lower priority than the shards, whose
// CPUs they may have to share.
#pragma once

#include <semaphore.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/mailbox.h"
#include "lb/auth/password.h"

namespace weir::lb {

class PasswordPool {
 public:
  static constexpr uint32_t kJobsPerShard = 32;
  static_assert(kJobsPerShard <= SpscRing::kCapacity, "Ask never finds the ring full");

  struct Job : Message {
    enum class State : uint32_t { kFree, kAsked, kDone };

    std::atomic<State> state{State::kFree};  // kAsked to kDone by the pool, the rest by the shard
    std::atomic<bool> abandoned{false};      // nobody waits any more: it is done without a check
    bool matches = false;                    // once kDone
    char hash[kMaxHashBytes + 1];
    char password[kMaxPasswordBytes + 1];  // cleared by the pool
  };

  explicit PasswordPool(uint32_t shards);
  ~PasswordPool();
  PasswordPool(const PasswordPool&) = delete;
  PasswordPool& operator=(const PasswordPool&) = delete;

  // Not from a shard: threads inherit the CPUs of who makes them. A second call does nothing, nor does 0.
  void Start(uint32_t threads);
  bool started() const { return started_.load(std::memory_order_acquire); }

  // On the shard's thread.
  Job& job(uint32_t shard, uint32_t index) { return lanes_[shard].jobs[index]; }
  // REQUIRES: hash and password are set, the job is kFree, Start was called.
  void Ask(uint32_t shard, Job& job);

 private:
  struct Lane {
    SpscRing ring;
    Job jobs[kJobsPerShard];
  };

  void Work();
  Job* Next();

  const uint32_t shards_;
  std::unique_ptr<Lane[]> lanes_;  // once started
  sem_t asked_;  // jobs in the rings (std::counting_semaphore of this library can lose a wake-up)
  std::atomic<bool> started_{false};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;        // of the threads, for:
  uint32_t next_lane_ = 0;  // shards take turns
  std::vector<std::thread> threads_;
};

}  // namespace weir::lb
