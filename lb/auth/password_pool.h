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
#include <string_view>
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
    // In the ring from kAsked until the pool takes it out. The shard may take a question back before it is
    // begun, and ask another in its place (kOurs: for a moment, while it writes).
    enum class State : uint32_t { kFree, kAsked, kOurs, kWithdrawn, kChecking, kDone };

    std::atomic<State> state{State::kFree};
    bool matches = false;  // once kDone
    char hash[kMaxHashBytes + 1];
    char password[kMaxPasswordBytes + 1];  // cleared by the pool, or as the question is taken back
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
  // REQUIRES: Start was called, and the job's last question was taken back or is done.
  void Ask(uint32_t shard, Job& job, std::string_view hash, std::string_view password);
  // Takes a question back: its job can be asked the next one at once. False: it is begun, or done.
  bool Withdraw(Job& job);

 private:
  struct Lane {
    SpscRing ring;
    Job jobs[kJobsPerShard];
  };

  void Work();
  static bool Begin(Job& job);
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
