#include "core/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/check.h"
#include "core/reserve.h"

namespace weir {

Arena::Arena(size_t limit_bytes) {
  span_limit_ = static_cast<uint32_t>((limit_bytes + kSpanBytes - 1) / kSpanBytes);
  WEIR_CHECK(span_limit_ > 0);
  base_ = static_cast<char*>(ReserveMemory(size_t{span_limit_} * kSpanBytes, "requests in flight"));
  spans_ = std::make_unique<Span[]>(span_limit_);
  std::fill(std::begin(with_room_), std::end(with_room_), kNone);
}

Arena::~Arena() { ReleaseMemory(base_, size_t{span_limit_} * kSpanBytes); }

uint32_t Arena::ClassOf(size_t bytes) {
  if (bytes <= kSmallBytes) return static_cast<uint32_t>((bytes + kStepBytes - 1) / kStepBytes - 1);
  return static_cast<uint32_t>(kSmallBytes / kStepBytes + std::bit_width(bytes - 1) - 12);
}

uint32_t Arena::ClassBytes(uint32_t size_class) {
  constexpr uint32_t kSmallClasses = kSmallBytes / kStepBytes;
  if (size_class < kSmallClasses) return (size_class + 1) * kStepBytes;
  return 4096u << (size_class - kSmallClasses);
}

size_t Arena::RoundUp(size_t bytes) { return ClassBytes(ClassOf(bytes)); }

void* Arena::Allocate(size_t bytes) {
  WEIR_CHECK(bytes > 0 && bytes <= kLargestBytes);
  const uint32_t size_class = ClassOf(bytes);
  const uint32_t object_bytes = ClassBytes(size_class);
  uint32_t index = with_room_[size_class];
  if (index == kNone) {
    index = TakeSpan(size_class);
    if (index == kNone) return nullptr;
  }
  Span& span = spans_[index];
  void* object;
  if (span.free != nullptr) {
    object = span.free;
    std::memcpy(&span.free, object, sizeof(void*));
  } else {
    object = Base(index) + span.bump;
    span.bump += object_bytes;
  }
  ++span.used;
  used_bytes_ += object_bytes;
  if (span.free == nullptr && span.bump + object_bytes > kSpanBytes) Unlink(index);
  return object;
}

void Arena::Free(void* object) {
  const size_t offset = static_cast<size_t>(static_cast<char*>(object) - base_);
  const uint32_t index = static_cast<uint32_t>(offset / kSpanBytes);
  WEIR_CHECK(index < spans_made_);
  Span& span = spans_[index];
  WEIR_CHECK(span.used > 0);
  const uint32_t object_bytes = ClassBytes(span.size_class);
  const bool was_full = span.free == nullptr && span.bump + object_bytes > kSpanBytes;
  std::memcpy(object, &span.free, sizeof(void*));
  span.free = object;
  --span.used;
  used_bytes_ -= object_bytes;
  if (was_full) Link(index);
  if (span.used == 0) {
    // The last span of a class stays, so that one request after another does not move it to and fro.
    const bool only_one = with_room_[span.size_class] == index && span.next == kNone;
    if (!only_one) {
      Unlink(index);
      ReleaseSpan(index);
    }
  }
}

uint32_t Arena::TakeSpan(uint32_t size_class) {
  uint32_t index = unused_;
  if (index != kNone) {
    unused_ = spans_[index].next;
  } else {
    if (spans_made_ == span_limit_) return kNone;
    index = spans_made_++;
  }
  Span& span = spans_[index];
  if (!span.resident) {
    span.resident = true;
    ++resident_spans_;
  }
  span.free = nullptr;
  span.bump = 0;
  span.used = 0;
  span.size_class = static_cast<uint8_t>(size_class);
  Link(index);
  return index;
}

void Arena::Link(uint32_t index) {
  Span& span = spans_[index];
  uint32_t& head = with_room_[span.size_class];
  span.next = head;
  span.previous = kNone;
  if (head != kNone) spans_[head].previous = index;
  head = index;
}

void Arena::Unlink(uint32_t index) {
  Span& span = spans_[index];
  if (span.previous == kNone) {
    with_room_[span.size_class] = span.next;
  } else {
    spans_[span.previous].next = span.next;
  }
  if (span.next != kNone) spans_[span.next].previous = span.previous;
  span.next = span.previous = kNone;
}

void Arena::ReleaseSpan(uint32_t index) {
  spans_[index].next = unused_;
  unused_ = index;
}

void Arena::Trim(uint32_t spans) {
  // A class's last, empty span is given back too when nobody used it since: it costs at most one fault to
  // return.
  for (uint32_t& head : with_room_) {
    if (head != kNone && spans_[head].used == 0 && spans_[head].next == kNone) {
      const uint32_t index = head;
      Unlink(index);
      ReleaseSpan(index);
    }
  }
  for (uint32_t index = unused_; index != kNone && spans > 0; index = spans_[index].next) {
    Span& span = spans_[index];
    if (!span.resident) continue;
    madvise(Base(index), kSpanBytes, MADV_DONTNEED);
    span.resident = false;
    --resident_spans_;
    --spans;
  }
}

}  // namespace weir
