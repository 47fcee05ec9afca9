// Runnable: something a shard can resume from its loop; ReadyList: the queue of what is to run next.
// Intrusive and owned by whoever embeds it; a Runnable is in at most one list, waking it twice queues it
// once. Nothing runs inside a completion: completions, timers and events only put a Runnable here (design:
// shard.h).
#pragma once

#include <coroutine>

#include "core/check.h"

namespace weir {

struct Runnable {
  using Function = void (*)(Runnable*);

  explicit Runnable(Function run) : run(run) {}
  Runnable(const Runnable&) = delete;
  Runnable& operator=(const Runnable&) = delete;

  bool queued() const { return next != nullptr; }

  Function run;
  Runnable* next = nullptr;  // null: in no list; EndMark(): last of its list
};

class ReadyList {
 public:
  ReadyList() = default;
  ReadyList(const ReadyList&) = delete;
  ReadyList& operator=(const ReadyList&) = delete;

  bool empty() const { return head_ == EndMark(); }

  // Queues `runnable` unless it is queued already.
  void PushBack(Runnable* runnable) {
    if (runnable->queued()) return;
    runnable->next = EndMark();
    if (empty()) {
      head_ = runnable;
    } else {
      tail_->next = runnable;
    }
    tail_ = runnable;
  }

  Runnable* PopFront() {
    WEIR_CHECK(!empty());
    Runnable* first = head_;
    head_ = first->next;
    first->next = nullptr;
    return first;
  }

  // Takes `runnable` out wherever it is; O(length), only for the rare owner that ends while it is queued.
  void Remove(Runnable* runnable) {
    if (!runnable->queued()) return;
    Runnable** link = &head_;
    Runnable* previous = nullptr;
    while (*link != runnable) {
      WEIR_CHECK(*link != EndMark());
      previous = *link;
      link = &previous->next;
    }
    *link = runnable->next;
    if (tail_ == runnable) tail_ = previous;
    runnable->next = nullptr;
  }

  // Moves everything of `other` behind what is here.
  void Append(ReadyList& other) {
    if (other.empty()) return;
    if (empty()) {
      head_ = other.head_;
    } else {
      tail_->next = other.head_;
    }
    tail_ = other.tail_;
    other.head_ = EndMark();
  }

 private:
  static Runnable* EndMark() { return reinterpret_cast<Runnable*>(alignof(Runnable)); }

  Runnable* head_ = EndMark();
  Runnable* tail_ = nullptr;  // valid while not empty
};

}  // namespace weir
