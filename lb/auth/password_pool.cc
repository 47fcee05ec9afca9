#include "lb/auth/password_pool.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace weir::lb {
namespace {

constexpr int kNiceness = 5;

}  // namespace

PasswordPool::PasswordPool(uint32_t shards) : shards_(shards) { WEIR_CHECK(sem_init(&asked_, 0, 0) == 0); }

PasswordPool::~PasswordPool() {
  stopping_.store(true, std::memory_order_relaxed);
  for (size_t i = 0; i < threads_.size(); ++i) sem_post(&asked_);
  for (std::thread& thread : threads_) thread.join();
  sem_destroy(&asked_);
  for (uint32_t i = 0; lanes_ != nullptr && i < shards_; ++i) {
    for (Job& job : lanes_[i].jobs) explicit_bzero(job.password, sizeof(job.password));
  }
}

void PasswordPool::Start(uint32_t threads) {
  if (threads == 0 || started()) return;
  lanes_ = std::make_unique<Lane[]>(shards_);
  for (uint32_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
  started_.store(true, std::memory_order_release);
}

void PasswordPool::Ask(uint32_t shard, Job& job) {
  WEIR_CHECK(job.state.load(std::memory_order_relaxed) == Job::State::kFree);
  job.abandoned.store(false, std::memory_order_relaxed);
  job.state.store(Job::State::kAsked, std::memory_order_relaxed);
  WEIR_CHECK(lanes_[shard].ring.Push(&job));
  sem_post(&asked_);
}

void PasswordPool::Work() {
  // Of this thread alone (Linux). If it may not, it goes on without.
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNiceness);
  PasswordChecker checker;
  for (;;) {
    while (sem_wait(&asked_) != 0) WEIR_CHECK(errno == EINTR);
    if (stopping_.load(std::memory_order_relaxed)) return;
    Job* const job = Next();
    if (job == nullptr) continue;
    job->matches =
        !job->abandoned.load(std::memory_order_relaxed) && checker.Matches(job->password, job->hash);
    explicit_bzero(job->password, sizeof(job->password));
    job->state.store(Job::State::kDone, std::memory_order_release);
  }
}

PasswordPool::Job* PasswordPool::Next() {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (uint32_t i = 0; i < shards_; ++i) {
    const uint32_t lane = next_lane_;
    next_lane_ = (next_lane_ + 1) % shards_;
    if (Message* const job = lanes_[lane].ring.Pop()) return static_cast<Job*>(job);
  }
  return nullptr;
}

}  // namespace weir::lb
