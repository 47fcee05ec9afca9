// PasswordDesk: a shard's end of checking passwords. What was found right or used in the last minutes is
// known (so that a browser's session costs one check), and for a few seconds what was found wrong (so that a
// client that repeats itself costs little); the rest is asked of the PasswordPool, whose answers are looked
// for every kPollMs while any is missing: a check takes longer than that. Several who ask the same share one
// job. A password is never kept: known is a keyed digest of it, its user and the stored hash, so that another
// hash in a new configuration is another question. Made and used on its shard's thread. Bounds:
// PasswordPool::kJobsPerShard, kRightEntries, kWrongEntries.
#pragma once

#include <array>
#include <cstdint>

#include "core/shard.h"
#include "lb/auth/basic_auth.h"
#include "lb/auth/credentials.h"
#include "lb/auth/digest_cache.h"
#include "lb/auth/password_pool.h"
#include "lb/stats.h"

namespace weir::lb {

class PasswordDesk {
 public:
  static constexpr uint32_t kPollMs = 5;
  static constexpr uint32_t kJobsPerClient = PasswordPool::kJobsPerShard / 4;
  static constexpr uint32_t kRightEntries = 4096;
  static constexpr uint32_t kWrongEntries = 1024;
  static constexpr int64_t kRightNs = int64_t{300'000'000'000};
  static constexpr int64_t kWrongNs = int64_t{10'000'000'000};

  enum class Answer : uint8_t {
    kRight,
    kWrong,
    kWait,  // there will be a word; the waiter is woken
    kBusy,  // too many are being checked
  };
  // Somebody who waits; from the shard's arena.
  struct Asking {
    Runnable* waiter = nullptr;
    Asking* next = nullptr;
    uint32_t job = 0;
    Answer answer = Answer::kWait;
  };

  // `pool` outlives this; null, or not started: everything is kBusy.
  PasswordDesk(Shard& shard, PasswordPool* pool, ProxyCounters& counters);
  ~PasswordDesk();
  PasswordDesk(const PasswordDesk&) = delete;
  PasswordDesk& operator=(const PasswordDesk&) = delete;

  // kWait: `*asking` is the caller's until it gives it to Forget, with or without having seen its answer.
  // `client`: who asks; nobody gets more than kJobsPerClient at one time.
  Answer Ask(const BasicAuth& auth, const Credentials& credentials, const SocketAddress& client,
             Runnable* waiter, Asking** asking);
  void Forget(Asking* asking);

 private:
  struct Job {
    bool used = false;
    bool decoy = false;  // nobody has that name: wrong whatever comes of it
    uint64_t client = 0;
    Digest digest;
    Asking* first = nullptr;
  };
  struct Poll : Runnable {
    explicit Poll(PasswordDesk* desk);
    PasswordDesk* desk;
  };

  void Begin(uint32_t index, const BasicAuth::User& user, std::string_view password);
  Digest DigestOf(const BasicAuth::User& user, bool decoy, const Credentials& credentials) const;
  void Look();

  Shard& shard_;
  PasswordPool* const pool_;
  ProxyCounters& counters_;
  SipKey key_;
  DigestCache right_{kRightEntries, kRightNs};
  DigestCache wrong_{kWrongEntries, kWrongNs};
  std::array<Job, PasswordPool::kJobsPerShard> jobs_;
  uint32_t used_ = 0;
  Timer timer_;
  Poll poll_;
};

}  // namespace weir::lb
