#include "lb/auth/password_pool.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
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

void PasswordPool::Ask(uint32_t shard, Job& job, std::string_view hash, std::string_view password) {
  WEIR_CHECK(hash.size() < sizeof(job.hash) && password.size() < sizeof(job.password));
  // A question that was taken back leaves its place in the ring to this one, unless its turn has just come.
  Job::State withdrawn = Job::State::kWithdrawn;
  const bool in_ring =
      job.state.compare_exchange_strong(withdrawn, Job::State::kOurs, std::memory_order_acq_rel);
  WEIR_CHECK(in_ring || withdrawn == Job::State::kFree || withdrawn == Job::State::kDone);
  *std::copy(hash.begin(), hash.end(), job.hash) = '\0';
  *std::copy(password.begin(), password.end(), job.password) = '\0';
  job.state.store(Job::State::kAsked, std::memory_order_release);
  if (in_ring) return;
  WEIR_CHECK(lanes_[shard].ring.Push(&job));
  sem_post(&asked_);
}

bool PasswordPool::Withdraw(Job& job) {
  Job::State asked = Job::State::kAsked;
  if (!job.state.compare_exchange_strong(asked, Job::State::kOurs, std::memory_order_acq_rel)) return false;
  explicit_bzero(job.password, sizeof(job.password));
  job.state.store(Job::State::kWithdrawn, std::memory_order_release);
  return true;
}

// On a thread that checks. False: nobody asks any more.
bool PasswordPool::Begin(Job& job) {
  for (;;) {
    Job::State state = Job::State::kAsked;
    if (job.state.compare_exchange_strong(state, Job::State::kChecking, std::memory_order_acq_rel))
      return true;
    if (state == Job::State::kWithdrawn &&
        job.state.compare_exchange_strong(state, Job::State::kDone, std::memory_order_acq_rel)) {
      return false;
    }
    std::this_thread::yield();  // the shard writes some hundred bytes
  }
}

void PasswordPool::Work() {
  // Of this thread alone (Linux). If it may not, it goes on without.
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNiceness);
  PasswordChecker checker;
  for (;;) {
    while (sem_wait(&asked_) != 0) WEIR_CHECK(errno == EINTR);
    if (stopping_.load(std::memory_order_relaxed)) return;
    Job* const job = Next();
    if (job == nullptr || !Begin(*job)) continue;
    job->matches = checker.Matches(job->password, job->hash);
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
