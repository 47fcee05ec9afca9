// Source: a multishot request (accept, poll): one submission, many results, kept in a fixed ring until one
// coroutine drains it. The ring cannot overflow: the backend stops reaping for this turn when it is full
// (`full()`), and the kernel keeps the rest. When the request ends (an error, a cancel, or the kernel's own
// decision) `state` is kDone and `result` says why; the owner re-arms it. Owned like an Op, by the object
// that owns the fd.
#pragma once

#include <cstdint>

#include "core/op.h"

namespace weir {

struct Source : Op {
  static constexpr uint32_t kCapacity = 64;

  Source() { flags = kSource; }

  bool empty() const { return head == tail; }
  bool full() const { return tail - head == kCapacity; }
  int32_t Pop() {
    WEIR_CHECK(!empty());
    return results[head++ % kCapacity];
  }
  void Push(int32_t value) {
    WEIR_CHECK(!full());
    results[tail++ % kCapacity] = value;
  }

  uint32_t head = 0;
  uint32_t tail = 0;
  int32_t results[kCapacity];
};

}  // namespace weir
