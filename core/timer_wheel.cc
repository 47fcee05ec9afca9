#include "core/timer_wheel.h"

#include <bit>

#include "core/clock.h"

namespace weir {
namespace {

void MakeEmpty(TimerLink& list) { list.next = list.previous = &list; }
bool Empty(const TimerLink& list) { return list.next == &list; }

void InsertBack(TimerLink& list, TimerLink& link) {
  link.previous = list.previous;
  link.next = &list;
  list.previous->next = &link;
  list.previous = &link;
}

void TakeOut(TimerLink& link) {
  link.previous->next = link.next;
  link.next->previous = link.previous;
  link.next = link.previous = nullptr;
}

// On a clock that wraps: is `a` at or before `b`?
bool NotAfter(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) <= 0; }

}  // namespace

TimerWheel::TimerWheel(int64_t now_ns) : start_ns_(now_ns) {
  for (auto& level : slots_) {
    for (TimerLink& slot : level) MakeEmpty(slot);
  }
  MakeEmpty(due_);
}

void TimerWheel::Set(Timer& timer, uint32_t delay_ms) {
  WEIR_CHECK(delay_ms <= kMaxDelayMs);
  // One more: the clock's current millisecond has partly passed, and a deadline is never early.
  timer.deadline_ms = clock_ms_ + delay_ms + 1;
  timer.fired = false;
  if (timer.linked()) {
    if (NotAfter(timer.linked_ms, timer.deadline_ms)) return;
    Unlink(timer);
  }
  Link(timer);
}

void TimerWheel::Clear(Timer& timer) {
  timer.fired = false;
  if (timer.linked()) Unlink(timer);
}

void TimerWheel::Link(Timer& timer) {
  uint32_t delay = timer.deadline_ms - now_ms_;
  if (delay > kMaxLinkMs) delay = kMaxLinkMs;
  WEIR_CHECK(delay > 0);
  timer.linked_ms = now_ms_ + delay;
  const int level = (std::bit_width(delay) - 1) / kBits;
  const uint32_t slot = (timer.linked_ms >> (level * kBits)) % kSlots;
  InsertBack(slots_[level][slot], timer);
  occupied_[level] |= uint64_t{1} << slot;
  ++count_;
}

void TimerWheel::Unlink(Timer& timer) {
  // The bit of a slot that this empties stays set: the wheel finds the slot empty when it comes due.
  TakeOut(timer);
  --count_;
}

bool TimerWheel::NextEvent(uint32_t& delay_ms) const {
  bool found = false;
  for (int k = 0; k < kLevels; ++k) {
    if (occupied_[k] == 0) continue;
    const uint32_t current = now_ms_ >> (k * kBits);
    // A slot with the current index is a whole round away.
    const uint32_t distance =
        std::countr_zero(std::rotr(occupied_[k], static_cast<int>((current + 1) % kSlots))) + 1;
    const uint32_t delay = ((current + distance) << (k * kBits)) - now_ms_;
    if (found && delay >= delay_ms) continue;
    found = true;
    delay_ms = delay;
  }
  return found;
}

void TimerWheel::CollectDue() {
  // Slots of several levels may begin at this very millisecond: all of them are due, and none can hold a
  // timer of the next round, because what is a whole round away is linked one level higher.
  for (int level = 0; level < kLevels; ++level) {
    if (level > 0 && (now_ms_ & ((1u << (level * kBits)) - 1)) != 0) break;
    const uint32_t slot = (now_ms_ >> (level * kBits)) % kSlots;
    occupied_[level] &= ~(uint64_t{1} << slot);
    TimerLink& list = slots_[level][slot];
    if (Empty(list)) continue;
    list.next->previous = due_.previous;
    list.previous->next = &due_;
    due_.previous->next = list.next;
    due_.previous = list.previous;
    MakeEmpty(list);
  }
}

void TimerWheel::Advance(int64_t now_ns, ReadyList& ready, uint32_t limit) {
  const int64_t target = (now_ns - start_ns_) / kNsPerMs;
  clock_ms_ = static_cast<uint32_t>(target);
  for (;;) {
    while (!Empty(due_)) {
      Timer& timer = static_cast<Timer&>(*due_.next);
      if (!NotAfter(timer.deadline_ms, now_ms_)) {
        Unlink(timer);  // its deadline was moved on meanwhile, or it came down a level
        Link(timer);
        continue;
      }
      if (limit == 0) return;
      --limit;
      Unlink(timer);
      timer.fired = true;
      if (timer.waiter != nullptr) ready.PushBack(timer.waiter);
    }
    uint32_t delay_ms = 0;
    if (!NextEvent(delay_ms) || ticks_ + delay_ms > target) break;
    ticks_ += delay_ms;
    now_ms_ += delay_ms;
    CollectDue();
  }
  if (target > ticks_) {
    now_ms_ += static_cast<uint32_t>(target - ticks_);
    ticks_ = target;
  }
}

int64_t TimerWheel::NextWakeNs() const {
  if (!Empty(due_)) return start_ns_ + ticks_ * kNsPerMs;
  uint32_t delay_ms = 0;
  if (!NextEvent(delay_ms)) return kNever;
  return start_ns_ + (ticks_ + delay_ms) * kNsPerMs;
}

void TimerWheel::Validate() const {
  uint32_t seen = 0;
  for (int level = 0; level < kLevels; ++level) {
    for (uint32_t slot = 0; slot < kSlots; ++slot) {
      const TimerLink& list = slots_[level][slot];
      for (const TimerLink* at = list.next; at != &list; at = at->next, ++seen) {
        const Timer& timer = static_cast<const Timer&>(*at);
        WEIR_CHECK((occupied_[level] >> slot & 1) != 0);
        WEIR_CHECK(NotAfter(timer.linked_ms, timer.deadline_ms));
        WEIR_CHECK(!NotAfter(timer.linked_ms, now_ms_));
        WEIR_CHECK((timer.linked_ms >> (level * kBits)) % kSlots == slot);
      }
    }
  }
  for (const TimerLink* at = due_.next; at != &due_; at = at->next) ++seen;
  WEIR_CHECK(seen == count_);
}

}  // namespace weir
