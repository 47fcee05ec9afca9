#include "core/timer_wheel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "core/clock.h"
#include "core/random.h"

namespace weir {
namespace {

constexpr uint32_t kAll = UINT32_MAX;

struct Woken : Runnable {
  Woken() : Runnable([](Runnable* self) { ++static_cast<Woken*>(self)->times; }) {}
  int times = 0;
};

void Drain(ReadyList& ready) {
  while (!ready.empty()) {
    Runnable* runnable = ready.PopFront();
    runnable->run(runnable);
  }
}

TEST(TimerWheelTest, FiresOnceNeverEarlyAndUnlinked) {
  TimerWheel wheel(0);
  ReadyList ready;
  Woken woken;
  Timer timer;
  timer.waiter = &woken;
  EXPECT_EQ(wheel.NextWakeNs(), kNever);
  wheel.Set(timer, 10);
  EXPECT_TRUE(timer.linked());
  wheel.Advance(10 * kNsPerMs + 999'999, ready, kAll);
  EXPECT_FALSE(timer.fired);
  wheel.Advance(11 * kNsPerMs, ready, kAll);
  EXPECT_TRUE(timer.fired);
  EXPECT_FALSE(timer.linked());
  Drain(ready);
  wheel.Advance(1000 * kNsPerMs, ready, kAll);
  Drain(ready);
  EXPECT_EQ(woken.times, 1);
  EXPECT_EQ(wheel.count(), 0u);
}

TEST(TimerWheelTest, ATimerMovedLaterFiresOnlyThen) {
  TimerWheel wheel(0);
  ReadyList ready;
  Timer timer;
  wheel.Set(timer, 5);
  wheel.Advance(3 * kNsPerMs, ready, kAll);
  wheel.Set(timer, 100);
  wheel.Advance(103 * kNsPerMs, ready, kAll);
  EXPECT_FALSE(timer.fired);
  wheel.Advance(104 * kNsPerMs, ready, kAll);
  EXPECT_TRUE(timer.fired);
}

TEST(TimerWheelTest, ATimerMovedEarlierFiresEarlier) {
  TimerWheel wheel(0);
  ReadyList ready;
  Timer timer;
  wheel.Set(timer, 100'000);
  wheel.Set(timer, 3);
  EXPECT_LE(wheel.NextWakeNs(), 4 * kNsPerMs);
  wheel.Advance(4 * kNsPerMs, ready, kAll);
  EXPECT_TRUE(timer.fired);
}

TEST(TimerWheelTest, ClearForgetsAlsoWhatHasFired) {
  TimerWheel wheel(0);
  ReadyList ready;
  Timer timer;
  wheel.Set(timer, 1);
  wheel.Clear(timer);
  wheel.Clear(timer);
  wheel.Advance(100 * kNsPerMs, ready, kAll);
  EXPECT_FALSE(timer.fired);
  wheel.Set(timer, 1);
  wheel.Advance(200 * kNsPerMs, ready, kAll);
  EXPECT_TRUE(timer.fired);
  wheel.Clear(timer);
  EXPECT_FALSE(timer.fired);
}

// Found before the first release: slots of two levels that began at the same millisecond were not both looked
// at.
TEST(TimerWheelTest, SlotsOfTwoLevelsDueAtTheSameMillisecond) {
  TimerWheel wheel(0);
  ReadyList ready;
  Timer far;
  Timer near;
  wheel.Set(far, 149);  // level 1, slot [128, 192)
  wheel.Advance(70 * kNsPerMs, ready, kAll);
  wheel.Set(near, 57);  // level 0, exactly 128
  wheel.Advance(128 * kNsPerMs, ready, kAll);
  EXPECT_TRUE(near.fired);
  wheel.Advance(150 * kNsPerMs, ready, kAll);
  EXPECT_TRUE(far.fired);
}

TEST(TimerWheelTest, TheLimitLeavesTheRestForTheNextCall) {
  TimerWheel wheel(0);
  ReadyList ready;
  std::vector<std::unique_ptr<Timer>> timers;
  for (int i = 0; i < 100; ++i) {
    timers.push_back(std::make_unique<Timer>());
    wheel.Set(*timers.back(), 5);
  }
  const auto fired = [&] {
    return std::count_if(timers.begin(), timers.end(), [](const auto& timer) { return timer->fired; });
  };
  wheel.Advance(50 * kNsPerMs, ready, 30);
  EXPECT_EQ(fired(), 30);
  EXPECT_LE(wheel.NextWakeNs(), 50 * kNsPerMs);
  // A timer set meanwhile counts from the real time, not from where the backlog stands.
  Timer late;
  wheel.Set(late, 10);
  wheel.Advance(50 * kNsPerMs, ready, 30);
  EXPECT_EQ(fired(), 60);
  wheel.Advance(50 * kNsPerMs, ready, kAll);
  EXPECT_EQ(fired(), 100);
  wheel.Advance(60 * kNsPerMs, ready, kAll);
  EXPECT_FALSE(late.fired);
  wheel.Advance(61 * kNsPerMs, ready, kAll);
  EXPECT_TRUE(late.fired);
}

// Against a list that is searched from end to end: what fires, when, and that no wake time is late.
class Model {
 public:
  explicit Model(uint64_t seed, int64_t start_ns) : random_(seed), now_ns_(start_ns), wheel_(start_ns) {
    start_ns_ = start_ns;
    for (int i = 0; i < 50; ++i) timers_.push_back(std::make_unique<Entry>());
  }
  ~Model() {
    for (auto& entry : timers_) wheel_.Clear(entry->timer);
  }

  void Step() {
    switch (random_.Below(8)) {
      case 0:
      case 1:
      case 2: {
        Entry& entry = Any();
        // All sizes of delays, so that every level is used.
        const uint32_t delay = random_.Below(uint32_t{1} << (1 + random_.Below(31)));
        entry.deadline_ms = Ms() + std::min(delay, TimerWheel::kMaxDelayMs) + 1;
        wheel_.Set(entry.timer, std::min(delay, TimerWheel::kMaxDelayMs));
        entry.armed = true;
        return;
      }
      case 3: {
        Entry& entry = Any();
        wheel_.Clear(entry.timer);
        entry.armed = false;
        return;
      }
      default:
        Advance();
    }
  }

  int64_t Ms() const { return (now_ns_ - start_ns_) / kNsPerMs; }
  uint64_t fired() const { return fired_; }

 private:
  struct Entry {
    Timer timer;
    int64_t deadline_ms = 0;
    bool armed = false;
  };

  Entry& Any() { return *timers_[random_.Below(static_cast<uint32_t>(timers_.size()))]; }

  void Advance() {
    int64_t earliest_ms = INT64_MAX;
    for (const auto& entry : timers_) {
      if (entry->armed) earliest_ms = std::min(earliest_ms, entry->deadline_ms);
    }
    const int64_t wake_ns = wheel_.NextWakeNs();
    if (earliest_ms != INT64_MAX) {
      ASSERT_LE(wake_ns, start_ns_ + earliest_ms * kNsPerMs);
    }
    switch (random_.Below(4)) {
      case 0:
        now_ns_ += random_.Below(5'000'000);
        break;
      case 1:
        // A backlog of due timers may lag a minute behind, not days.
        if (behind_) break;
        now_ns_ += static_cast<int64_t>(random_.Below(uint32_t{1} << random_.Below(31))) * kNsPerMs;
        break;
      default:  // what a shard does
        if (wake_ns != kNever) now_ns_ = std::max(now_ns_, wake_ns);
    }
    const uint32_t limit = random_.OneIn(4) ? 1 + random_.Below(3) : kAll;
    ReadyList ready;
    wheel_.Advance(now_ns_, ready, limit);
    uint32_t fired = 0;
    bool left = false;
    for (auto& entry : timers_) {
      if (!entry->armed) {
        ASSERT_FALSE(entry->timer.fired);
        continue;
      }
      const bool due = entry->deadline_ms <= Ms();
      if (entry->timer.fired) {
        ASSERT_TRUE(due);
        wheel_.Clear(entry->timer);
        entry->armed = false;
        ++fired;
      } else {
        left = left || due;
      }
    }
    ASSERT_LE(fired, limit);
    ASSERT_TRUE(!left || fired == limit);
    if (left) ASSERT_LE(wheel_.NextWakeNs(), now_ns_);
    behind_ = left;
    fired_ += fired;
    wheel_.Validate();
  }

  Random random_;
  int64_t start_ns_ = 0;
  int64_t now_ns_;
  uint64_t fired_ = 0;
  bool behind_ = false;
  TimerWheel wheel_;
  std::vector<std::unique_ptr<Entry>> timers_;
};

TEST(TimerWheelTest, AgreesWithASearchedListAcrossTheWrapOfItsClock) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    Model model(seed, static_cast<int64_t>(seed) * 123'456'789);
    for (int step = 0; step < 5000 && !testing::Test::HasFatalFailure(); ++step) model.Step();
    ASSERT_FALSE(testing::Test::HasFatalFailure());
    EXPECT_GT(model.fired(), 100u);
    EXPECT_GT(model.Ms(), int64_t{UINT32_MAX});  // the 32-bit clock has wrapped
  }
}

TEST(TimerWheelTest, DeadlinesOnBothSidesOfTheWrap) {
  TimerWheel wheel(0);
  ReadyList ready;
  const int64_t almost_ms = int64_t{UINT32_MAX} - 50;
  wheel.Advance(almost_ms * kNsPerMs, ready, kAll);
  Timer before;
  Timer after;
  Timer long_after;
  wheel.Set(before, 20);
  wheel.Set(after, 200);
  wheel.Set(long_after, 100'000);
  wheel.Advance((almost_ms + 20) * kNsPerMs, ready, kAll);
  EXPECT_FALSE(before.fired);
  wheel.Advance((almost_ms + 200) * kNsPerMs, ready, kAll);
  EXPECT_TRUE(before.fired);
  EXPECT_FALSE(after.fired);
  wheel.Advance((almost_ms + 100'000) * kNsPerMs, ready, kAll);
  EXPECT_TRUE(after.fired);
  EXPECT_FALSE(long_after.fired);
  wheel.Advance((almost_ms + 100'001) * kNsPerMs, ready, kAll);
  EXPECT_TRUE(long_after.fired);
}

TEST(TimerWheelDeathTest, ADelayBeyondTheClockIsRefused) {
  TimerWheel wheel(0);
  Timer timer;
  EXPECT_DEATH(wheel.Set(timer, TimerWheel::kMaxDelayMs + 1), "delay_ms <= kMaxDelayMs");
}

TEST(TimerWheelDeathTest, ATimerThatEndsWhileItIsArmedIsFound) {
  EXPECT_DEATH(
      {
        TimerWheel wheel(0);
        Timer timer;
        wheel.Set(timer, 10);
      },
      "!linked\\(\\)");
}

}  // namespace
}  // namespace weir
