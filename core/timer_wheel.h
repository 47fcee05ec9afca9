// TimerWheel: all of a shard's deadlines, at no system call and no submission of their own: the turn's one
// wait ends at NextWakeNs(). Hierarchical (Varghese and Lauck, 1987): five levels of 64 slots of 1 ms, 64 ms,
// 4 s, 4.4 min, 4.7 h. Timer: intrusive, one per connection, owned by it. Moving a deadline later only stores
// it (the wheel re-links the timer when its old slot comes due); moving it earlier re-links at once.
// Resolution 1 ms, never early. Delays up to kMaxDelayMs (24 days); the 32-bit clock may wrap. A timer that
// fired is unlinked, `fired` is set and its waiter woken; Set arms it anew.
#pragma once

#include <cstdint>

#include "core/runnable.h"

namespace weir {

struct TimerLink {
  TimerLink* next = nullptr;
  TimerLink* previous = nullptr;
};

struct Timer : TimerLink {
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { WEIR_CHECK(!linked()); }

  bool linked() const { return next != nullptr; }

  Runnable* waiter = nullptr;
  uint32_t deadline_ms = 0;  // on the wheel's clock
  uint32_t linked_ms = 0;    // what it is linked for, never later than deadline_ms
  bool fired = false;
};

class TimerWheel {
 public:
  static constexpr uint32_t kMaxDelayMs = 0x7fff'0000;

  explicit TimerWheel(int64_t now_ns);
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // (Re)arms `timer` to fire no earlier than `delay_ms` from now.
  void Set(Timer& timer, uint32_t delay_ms);
  // Disarms; harmless when it is not armed.
  void Clear(Timer& timer);

  // Moves time on and wakes what is due, at most `limit` timers (the rest at the next call).
  void Advance(int64_t now_ns, ReadyList& ready, uint32_t limit);
  // When Advance has something to do next, in monotonic ns; kNever without timers. May be early, never late.
  int64_t NextWakeNs() const;

  uint32_t now_ms() const { return clock_ms_; }
  uint32_t count() const { return count_; }
  // Checks every list against every timer in it (tests).
  void Validate() const;

 private:
  static constexpr int kLevels = 5;
  static constexpr int kBits = 6;
  static constexpr uint32_t kSlots = 1u << kBits;
  static constexpr uint32_t kMaxLinkMs = (1u << (kBits * kLevels)) - (1u << (kBits * (kLevels - 1)));

  void Link(Timer& timer);
  void Unlink(Timer& timer);
  bool NextEvent(uint32_t& delay_ms) const;
  void CollectDue();

  int64_t start_ns_;
  uint32_t now_ms_ = 0;    // how far the slots have been looked at
  uint32_t clock_ms_ = 0;  // what time it is; ahead of now_ms_ while due timers are left over
  int64_t ticks_ = 0;      // now_ms_ before it was cut to 32 bits
  uint32_t count_ = 0;
  uint64_t occupied_[kLevels] = {};
  TimerLink slots_[kLevels][kSlots];
  TimerLink due_;  // slots that came due, not yet looked at
};

}  // namespace weir
