// Arena: a shard's memory for small objects that come and go with traffic: coroutine frames, request heads,
// send records. Size classes in steps of 32 bytes up to 2 KiB, then powers of two up to 32 KiB; each class
// takes spans of 64 KiB. A span whose last object is freed goes back to a shared stack, and Trim() hands the
// pages of spans that stay unused back to the kernel: so a burst of requests leaves nothing behind that idle
// connections would have to pay for. Owned and used by one shard. Bounded by the bytes given at construction;
// Allocate answers null at the bound. Costs: allocate and free are O(1), no lock, no system call except the
// first touch of pages (bench/memory_bench.cc).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace weir {

class Arena {
 public:
  static constexpr size_t kSpanBytes = 64 * 1024;
  static constexpr size_t kStepBytes = 32;
  static constexpr size_t kSmallBytes = 2048;
  static constexpr size_t kLargestBytes = 32 * 1024;

  // Reserves address space only; `limit_bytes` is rounded up to whole spans.
  explicit Arena(size_t limit_bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // 32-byte aligned memory of at least `bytes` (1 to kLargestBytes), or null when the bound is reached.
  void* Allocate(size_t bytes);
  void Free(void* object);
  // What Allocate(bytes) really gives.
  static size_t RoundUp(size_t bytes);

  // Gives the pages of unused spans back to the kernel, at most `spans` of them. Call about once a second.
  void Trim(uint32_t spans);

  size_t used_bytes() const { return used_bytes_; }                       // in objects
  size_t resident_bytes() const { return resident_spans_ * kSpanBytes; }  // in spans not given back

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint32_t kClasses = kSmallBytes / kStepBytes + 4;  // 4096, 8192, 16384, 32768

  struct Span {
    void* free = nullptr;   // objects that were freed, linked through their first bytes
    uint32_t bump = 0;      // objects never handed out begin here: their pages are still untouched
    uint32_t used = 0;      // objects handed out
    uint32_t next = kNone;  // in the class's list of spans with room, or the stack of unused spans
    uint32_t previous = kNone;
    uint8_t size_class = 0;
    bool resident = false;  // its pages may be present
  };

  static uint32_t ClassOf(size_t bytes);
  static uint32_t ClassBytes(uint32_t size_class);
  uint32_t TakeSpan(uint32_t size_class);
  void Link(uint32_t span);
  void Unlink(uint32_t span);
  void ReleaseSpan(uint32_t span);
  char* Base(uint32_t span) const { return base_ + size_t{span} * kSpanBytes; }

  char* base_ = nullptr;
  uint32_t span_limit_ = 0;
  uint32_t spans_made_ = 0;
  uint32_t unused_ = kNone;  // stack of spans without objects
  uint32_t with_room_[kClasses];
  size_t used_bytes_ = 0;
  size_t resident_spans_ = 0;
  std::unique_ptr<Span[]> spans_;
};

}  // namespace weir
