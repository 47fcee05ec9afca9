// Passwords are checked by other threads, and a shard knows for a while what they said.
#include "lb/auth/password_desk.h"

#include <unistd.h>

#include <algorithm>

#include "core/uring_backend.h"
#include "gtest/gtest.h"

namespace weir::lb {
namespace {

using Answer = PasswordDesk::Answer;

class PasswordDeskTest : public testing::Test {
 protected:
  static Shard::MakeBackend Ring() {
    UringFeatures features;
    std::string problem;
    EXPECT_TRUE(ProbeUring(features, problem)) << problem;
    return [features](BufferPool& pool, CoreCounters& counters) {
      return std::make_unique<UringBackend>(
          UringBackend::Options{.features = features, .submissions = 64, .completions = 128}, pool, counters);
    };
  }
  struct Waiting : Runnable {
    Waiting() : Runnable([](Runnable* self) { ++static_cast<Waiting*>(self)->woken; }) {}
    int woken = 0;
  };

  PasswordDeskTest() {
    auth_.users = {{"alice", "$2b$04$WUHhXETkX0fnYkrqZU3ta.zwoU3NOuzYB7by401ZrGRFKs239bMTy"},
                   {"bob", "$2y$05$X2fcDw.D546UJI5Y0gfvuuzQs0fmJyNIVvKwTvBwUi4A1JTLnkOyi"}};
    auth_.Finish();
  }

  static std::string Basic(const std::string& plain) {
    static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text = "Basic ";
    uint32_t bits = 0;
    int count = 0;
    for (const char c : plain) {
      bits = bits << 8 | static_cast<unsigned char>(c);
      for (count += 8; count >= 6; count -= 6) text += kDigits[bits >> (count - 6) & 63];
    }
    if (count > 0) text += kDigits[bits << (6 - count) & 63];
    return text;
  }
  Answer Ask(PasswordDesk& desk, const std::string& plain, Waiting& waiting, PasswordDesk::Asking** asking) {
    Credentials credentials;
    EXPECT_TRUE(credentials.Read(Basic(plain))) << plain;
    if (many_clients_) ++client_.bytes[3];
    return desk.Ask(auth_, credentials, client_, &waiting, asking);
  }
  // Asks, and waits for the word.
  Answer Whole(PasswordDesk& desk, const std::string& plain) {
    Waiting waiting;
    PasswordDesk::Asking* asking = nullptr;
    Answer answer = Ask(desk, plain, waiting, &asking);
    if (answer != Answer::kWait) return answer;
    while (waiting.woken == 0) Turn();
    answer = asking->answer;
    desk.Forget(asking);
    return answer;
  }
  // (A turn that may wait does so at its end.)
  void Turn() {
    usleep(1'000);
    shard_.RunTurn(false);
  }
  uint64_t checks() const { return counters_.password_checks.Get(); }

  BasicAuth auth_;
  SocketAddress client_ = *SocketAddress::Parse("192.0.2.0:1");
  bool many_clients_ = false;  // each question is another one's
  Switchboard switchboard_{1};
  PasswordPool pool_{1};
  ProxyCounters counters_;
  Shard shard_{{.index = 0, .arena_bytes = 1 << 20, .buffers = 64}, switchboard_, Ring()};
};

TEST_F(PasswordDeskTest, WhatWasFoundIsKnown) {
  pool_.Start(2);
  Shard::Enter enter(shard_);
  PasswordDesk desk(shard_, &pool_, counters_);
  EXPECT_EQ(Whole(desk, "alice:open sesame"), Answer::kRight);
  EXPECT_EQ(Whole(desk, "alice:open sesame"), Answer::kRight);
  EXPECT_EQ(checks(), 1u);
  EXPECT_EQ(Whole(desk, "alice:open"), Answer::kWrong);
  EXPECT_EQ(Whole(desk, "alice:open"), Answer::kWrong);
  EXPECT_EQ(checks(), 2u);
  EXPECT_EQ(Whole(desk, "bob:secret"), Answer::kRight);
  EXPECT_EQ(Whole(desk, "bob:open sesame"), Answer::kWrong);
  // Whose names nobody has are checked too, and never right: not even with the password that the hash in
  // their place has.
  const uint64_t before = checks();
  EXPECT_EQ(Whole(desk, "carol:open sesame"), Answer::kWrong);
  EXPECT_EQ(Whole(desk, "carol:secret"), Answer::kWrong);
  EXPECT_EQ(Whole(desk, "dave:open sesame"), Answer::kWrong);
  EXPECT_EQ(Whole(desk, "dave:secret"), Answer::kWrong);
  EXPECT_EQ(checks(), before + 4);
  // Another hash in a new configuration is another question.
  std::swap(auth_.users[0].hash, auth_.users[1].hash);
  EXPECT_EQ(Whole(desk, "alice:open sesame"), Answer::kWrong);
  EXPECT_EQ(Whole(desk, "alice:secret"), Answer::kRight);
}

// One name may be a user of one route and a stranger to another, where somebody has the same hash.
TEST_F(PasswordDeskTest, WhatIsKnownOfAUserIsNotKnownOfAStranger) {
  pool_.Start(1);
  Shard::Enter enter(shard_);
  PasswordDesk desk(shard_, &pool_, counters_);
  auth_.users.resize(1);
  EXPECT_EQ(Whole(desk, "alice:open sesame"), Answer::kRight);
  auth_.users[0].name = "carol";
  EXPECT_EQ(Whole(desk, "alice:open sesame"), Answer::kWrong);
  EXPECT_EQ(Whole(desk, "carol:open sesame"), Answer::kRight);
  auth_.users[0].name = "alice";
  EXPECT_EQ(Whole(desk, "alice:open sesame"), Answer::kRight);
  EXPECT_EQ(Whole(desk, "carol:open sesame"), Answer::kWrong);
}

TEST_F(PasswordDeskTest, ManyWhoAskTheSameShareACheck) {
  pool_.Start(1);
  Shard::Enter enter(shard_);
  PasswordDesk desk(shard_, &pool_, counters_);
  Waiting waiting[5];
  PasswordDesk::Asking* asking[5] = {};
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Ask(desk, "bob:secret", waiting[i], &asking[i]), Answer::kWait);
  desk.Forget(asking[2]);  // left
  while (waiting[4].woken == 0) Turn();
  EXPECT_EQ(checks(), 1u);
  for (const int i : {0, 1, 3, 4}) {
    EXPECT_EQ(waiting[i].woken, 1) << i;
    EXPECT_EQ(asking[i]->answer, Answer::kRight) << i;
    desk.Forget(asking[i]);
  }
  EXPECT_EQ(waiting[2].woken, 0);
}

TEST_F(PasswordDeskTest, OneClientDoesNotTakeAllThePlaces) {
  pool_.Start(1);
  Shard::Enter enter(shard_);
  PasswordDesk desk(shard_, &pool_, counters_);
  constexpr uint32_t kMost = PasswordDesk::kJobsPerClient;
  Waiting waiting[kMost + 2];
  PasswordDesk::Asking* asking[kMost + 2] = {};
  for (uint32_t i = 0; i < kMost; ++i) {
    ASSERT_EQ(Ask(desk, "alice:" + std::to_string(i), waiting[i], &asking[i]), Answer::kWait);
  }
  EXPECT_EQ(Ask(desk, "alice:one more", waiting[kMost], &asking[kMost]), Answer::kBusy);
  EXPECT_EQ(Ask(desk, "alice:0", waiting[kMost], &asking[kMost]), Answer::kWait) << "shared";
  client_ = *SocketAddress::Parse("[2001:db8::1]:1");
  EXPECT_EQ(Ask(desk, "alice:one more", waiting[kMost + 1], &asking[kMost + 1]), Answer::kWait);
  for (uint32_t i = 0; i < kMost + 2; ++i) desk.Forget(asking[i]);
}

TEST_F(PasswordDeskTest, TooManyAtOneTime) {
  many_clients_ = true;
  pool_.Start(1);
  Shard::Enter enter(shard_);
  PasswordDesk desk(shard_, &pool_, counters_);
  constexpr uint32_t kMost = PasswordPool::kJobsPerShard;
  Waiting waiting[kMost + 1];
  PasswordDesk::Asking* asking[kMost + 1] = {};
  for (uint32_t i = 0; i < kMost; ++i) {
    ASSERT_EQ(Ask(desk, "alice:" + std::to_string(i), waiting[i], &asking[i]), Answer::kWait);
  }
  EXPECT_EQ(Ask(desk, "alice:one more", waiting[kMost], &asking[kMost]), Answer::kBusy);
  EXPECT_EQ(Ask(desk, "alice:0", waiting[kMost], &asking[kMost]), Answer::kWait) << "shared";
  EXPECT_EQ(counters_.password_checks_refused.Get(), 1u);
  // All but the last leave: what was not begun is not checked, and there is room again.
  for (uint32_t i = 0; i + 1 < kMost; ++i) desk.Forget(asking[i]);
  desk.Forget(asking[kMost]);
  while (waiting[kMost - 1].woken == 0) Turn();
  EXPECT_EQ(asking[kMost - 1]->answer, Answer::kWrong);
  desk.Forget(asking[kMost - 1]);
  EXPECT_EQ(Whole(desk, "alice:open sesame"), Answer::kRight);
  // What nobody waited for is not known.
  const uint64_t before = checks();
  EXPECT_EQ(Whole(desk, "alice:30"), Answer::kWrong);
  EXPECT_EQ(checks(), before + 1);
}

// Who leaves before the check is begun leaves the place to the next, at once.
TEST_F(PasswordDeskTest, APlaceIsGivenBackByWhoLeaves) {
  many_clients_ = true;
  pool_.Start(1);
  Shard::Enter enter(shard_);
  PasswordDesk desk(shard_, &pool_, counters_);
  constexpr uint32_t kMost = PasswordPool::kJobsPerShard;
  Waiting waiting[kMost + 1];
  PasswordDesk::Asking* asking[kMost + 1] = {};
  for (int round = 0; round < 20; ++round) {
    for (Waiting& one : waiting) one.woken = 0;
    for (uint32_t i = 0; i < kMost; ++i) {
      // The first are slow, so that the last ones' turn is far.
      const std::string who = i < 4 ? "bob:" : "alice:";
      ASSERT_EQ(Ask(desk, who + std::to_string(round) + "," + std::to_string(i), waiting[i], &asking[i]),
                Answer::kWait);
    }
    desk.Forget(asking[kMost - 1]);
    ASSERT_EQ(Ask(desk, "alice:open sesame", waiting[kMost], &asking[kMost]),
              round == 0 ? Answer::kWait : Answer::kRight);
    for (uint32_t i = 0; i < kMost - 1; i += 2) desk.Forget(asking[i]);  // some of them as their turn comes
    for (uint32_t i = 1; i < kMost - 1; i += 2) {
      while (waiting[i].woken == 0) Turn();
      EXPECT_EQ(asking[i]->answer, Answer::kWrong);
      desk.Forget(asking[i]);
    }
    if (round > 0) continue;
    while (waiting[kMost].woken == 0) Turn();
    EXPECT_EQ(asking[kMost]->answer, Answer::kRight);
    desk.Forget(asking[kMost]);
  }
}

TEST_F(PasswordDeskTest, WithoutThreads) {
  Shard::Enter enter(shard_);
  Waiting waiting;
  PasswordDesk::Asking* asking = nullptr;
  PasswordDesk none(shard_, nullptr, counters_);
  EXPECT_EQ(Ask(none, "alice:open sesame", waiting, &asking), Answer::kBusy);
  PasswordDesk not_started(shard_, &pool_, counters_);
  EXPECT_EQ(Ask(not_started, "alice:open sesame", waiting, &asking), Answer::kBusy);
}

TEST_F(PasswordDeskTest, AShardEndsWhileItsPasswordsAreChecked) {
  pool_.Start(1);
  Shard::Enter enter(shard_);
  PasswordDesk desk(shard_, &pool_, counters_);
  many_clients_ = true;
  for (int i = 0; i < 10; ++i) {
    Waiting waiting;
    PasswordDesk::Asking* asking = nullptr;
    ASSERT_EQ(Ask(desk, "bob:" + std::to_string(i), waiting, &asking), Answer::kWait);
    desk.Forget(asking);
  }
}

}  // namespace
}  // namespace weir::lb
