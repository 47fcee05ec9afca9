#include "lb/auth/password_desk.h"

#include <sys/random.h>

#include <algorithm>
#include <cstring>
#include <new>

namespace weir::lb {
namespace {

// An address, or of IPv6 the network that one customer has.
uint64_t ClientOf(const SocketAddress& address) {
  uint64_t client = 0;
  std::memcpy(&client, address.bytes, address.family == AF_INET6 ? 8 : 4);
  return client;
}

}  // namespace

PasswordDesk::Poll::Poll(PasswordDesk* desk)
    : Runnable([](Runnable* self) { static_cast<Poll*>(self)->desk->Look(); }), desk(desk) {}

PasswordDesk::PasswordDesk(Shard& shard, PasswordPool* pool, ProxyCounters& counters)
    : shard_(shard), pool_(pool), counters_(counters), poll_(this) {
  WEIR_CHECK(getrandom(key_.data(), sizeof(key_), 0) == sizeof(key_));
  timer_.waiter = &poll_;
}

PasswordDesk::~PasswordDesk() {
  shard_.ClearTimer(timer_);
  shard_.Forget(poll_);
  for (const Job& job : jobs_) WEIR_CHECK(job.first == nullptr);
  explicit_bzero(key_.data(), sizeof(key_));
}

// Of the question: what is known of a user is not known of a stranger with the same name, whose decoy may
// have the same hash.
Digest PasswordDesk::DigestOf(const BasicAuth::User& user, bool decoy, const Credentials& credentials) const {
  char text[1 + kMaxHashBytes + 1 + kMaxUserBytes + 1 + kMaxPasswordBytes];
  text[0] = decoy ? '?' : '=';
  char* end = text + 1;
  for (const std::string_view part : {std::string_view(user.hash), std::string_view(":"), credentials.user(),
                                      std::string_view(":"), credentials.password()}) {
    end = std::copy(part.begin(), part.end(), end);
  }
  const Digest digest = SipHash128(key_, {text, static_cast<size_t>(end - text)});
  explicit_bzero(text, sizeof(text));
  return digest;
}

PasswordDesk::Answer PasswordDesk::Ask(const BasicAuth& auth, const Credentials& credentials,
                                       const SocketAddress& address, Runnable* waiter, Asking** asking) {
  const BasicAuth::User* user = auth.Find(credentials.user());
  const bool decoy = user == nullptr;
  // A name that nobody has takes as long as one that somebody has.
  if (decoy) user = &auth.users[SipHash128(key_, credentials.user()).low % auth.users.size()];
  const Digest digest = DigestOf(*user, decoy, credentials);
  if (!decoy && right_.Use(digest, shard_.now_ns())) return Answer::kRight;
  if (wrong_.Has(digest, shard_.now_ns())) return Answer::kWrong;

  uint32_t index = 0;
  while (index < jobs_.size() && !(jobs_[index].used && jobs_[index].digest == digest)) ++index;
  const bool shared = index < jobs_.size();
  const uint64_t client = ClientOf(address);
  if (!shared) {
    const auto begun = std::count_if(jobs_.begin(), jobs_.end(),
                                     [client](const Job& job) { return job.used && job.client == client; });
    index = 0;
    while (index < jobs_.size() && (jobs_[index].used || begun >= kJobsPerClient)) ++index;
  }
  void* const memory = index < jobs_.size() ? shard_.arena().Allocate(sizeof(Asking)) : nullptr;
  if (memory == nullptr || pool_ == nullptr || !pool_->started()) {
    if (memory != nullptr) shard_.arena().Free(memory);
    counters_.password_checks_refused.Add();
    return Answer::kBusy;
  }
  Job& job = jobs_[index];
  if (!shared) {
    Begin(index, *user, credentials.password());
    job.decoy = decoy;
    job.client = client;
    job.digest = digest;
  }
  *asking = new (memory) Asking{waiter, job.first, index, Answer::kWait};
  job.first = *asking;
  return Answer::kWait;
}

void PasswordDesk::Begin(uint32_t index, const BasicAuth::User& user, std::string_view password) {
  jobs_[index].used = true;
  counters_.password_checks.Add();
  pool_->Ask(shard_.index(), pool_->job(shard_.index(), index), user.hash, password);
  if (used_++ == 0) shard_.SetTimer(timer_, kPollMs);
}

void PasswordDesk::Forget(Asking* asking) {
  Job& job = jobs_[asking->job];
  if (asking->answer == Answer::kWait) {
    Asking** at = &job.first;
    while (*at != asking) at = &(*at)->next;
    *at = asking->next;
    // If its turn has not come yet, the place is free at once. What is begun goes on, for nobody: whoever
    // asks the same from now on would get no answer of it.
    if (job.first == nullptr) {
      job.digest = {};
      if (pool_->Withdraw(pool_->job(shard_.index(), asking->job))) {
        job = {};
        --used_;
      }
    }
  }
  shard_.arena().Free(asking);
}

void PasswordDesk::Look() {
  timer_.fired = false;
  for (uint32_t i = 0; i < jobs_.size(); ++i) {
    Job& job = jobs_[i];
    PasswordPool::Job& checked = pool_->job(shard_.index(), i);
    if (!job.used || checked.state.load(std::memory_order_acquire) != PasswordPool::Job::State::kDone)
      continue;
    const bool right = checked.matches && !job.decoy;
    if (job.first != nullptr) (right ? right_ : wrong_).Add(job.digest, shard_.now_ns());
    while (Asking* const asking = job.first) {
      job.first = asking->next;
      asking->answer = right ? Answer::kRight : Answer::kWrong;
      shard_.Wake(asking->waiter);
    }
    checked.state.store(PasswordPool::Job::State::kFree, std::memory_order_relaxed);
    job = {};
    --used_;
  }
  if (used_ > 0) shard_.SetTimer(timer_, kPollMs);
}

}  // namespace weir::lb
