// Slab<T>: fixed-capacity storage for one kind of long-lived object (connections), addressed by a dense
// index. The lowest free index is always taken, so objects stay together and the pages behind the highest one
// in use can be given back (Trim); free objects cost nothing but address space. Owned and used by one shard.
// Objects are made in place and never move. There are no generation tags: an object is destroyed only after
// every op and timer that could name it has ended (stream.h), so no stale name exists. Costs: Make and
// Destroy touch two bitmap words; ForEach looks at live objects only.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/reserve.h"

namespace weir {

template <class T>
class Slab {
 public:
  explicit Slab(uint32_t capacity)
      : capacity_(capacity),
        words_((capacity + 63) / 64),
        free_(words_, ~uint64_t{0}),
        with_free_((words_ + 63) / 64) {
    WEIR_CHECK(capacity > 0);
    if (capacity % 64 != 0) free_.back() = (uint64_t{1} << (capacity % 64)) - 1;
    for (uint32_t word = 0; word < words_; ++word) with_free_[word / 64] |= uint64_t{1} << (word % 64);
    bytes_ = (size_t{capacity} * sizeof(T) + kPageBytes - 1) / kPageBytes * kPageBytes;
    objects_ = static_cast<char*>(ReserveMemory(bytes_, "connections"));
    resident_.resize((bytes_ / kPageBytes + 63) / 64);
  }
  ~Slab() {
    WEIR_CHECK(size_ == 0);
    ReleaseMemory(objects_, bytes_);
  }
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  uint32_t size() const { return size_; }
  uint32_t capacity() const { return capacity_; }

  // Null when full.
  template <class... Args>
  T* Make(Args&&... args) {
    if (size_ == capacity_) return nullptr;
    uint32_t top = first_top_;
    while (with_free_[top] == 0) ++top;
    first_top_ = top;
    const uint32_t word = top * 64 + static_cast<uint32_t>(std::countr_zero(with_free_[top]));
    const uint32_t index = word * 64 + static_cast<uint32_t>(std::countr_zero(free_[word]));
    free_[word] &= free_[word] - 1;
    if (free_[word] == 0) with_free_[top] &= ~(uint64_t{1} << (word % 64));
    ++size_;
    const size_t begin = size_t{index} * sizeof(T);
    SetResident(begin / kPageBytes);
    SetResident((begin + sizeof(T) - 1) / kPageBytes);
    return new (objects_ + size_t{index} * sizeof(T)) T(std::forward<Args>(args)...);
  }

  void Destroy(T* object) {
    const uint32_t index = IndexOf(object);
    const uint32_t word = index / 64;
    WEIR_CHECK(index < capacity_ && (free_[word] >> (index % 64) & 1) == 0);
    object->~T();
    free_[word] |= uint64_t{1} << (index % 64);
    with_free_[word / 64] |= uint64_t{1} << (word % 64);
    if (word / 64 < first_top_) first_top_ = word / 64;
    --size_;
  }

  uint32_t IndexOf(const T* object) const {
    return static_cast<uint32_t>((reinterpret_cast<const char*>(object) - objects_) / sizeof(T));
  }

  // Calls `visit(T&)` for every live object; the visited one may be destroyed.
  template <class Visit>
  void ForEach(Visit visit) {
    for (uint32_t word = 0; word < words_; ++word) {
      const uint64_t all =
          word + 1 == words_ && capacity_ % 64 != 0 ? (uint64_t{1} << (capacity_ % 64)) - 1 : ~uint64_t{0};
      for (uint64_t live = all & ~free_[word]; live != 0; live &= live - 1) {
        const uint32_t index = word * 64 + static_cast<uint32_t>(std::countr_zero(live));
        visit(*std::launder(reinterpret_cast<T*>(objects_ + size_t{index} * sizeof(T))));
      }
    }
  }

  // Gives the pages without a live object back to the kernel. Call about once a second.
  void Trim() {
    for (size_t word = 0; word < resident_.size(); ++word) {
      for (uint64_t pages = resident_[word]; pages != 0; pages &= pages - 1) {
        const size_t page = word * 64 + static_cast<size_t>(std::countr_zero(pages));
        if (InUse(page)) continue;
        madvise(objects_ + page * kPageBytes, kPageBytes, MADV_DONTNEED);
        resident_[word] &= ~(uint64_t{1} << (page % 64));
      }
    }
  }

 private:
  static constexpr size_t kPageBytes = 4096;

  void SetResident(size_t page) { resident_[page / 64] |= uint64_t{1} << (page % 64); }
  bool InUse(size_t page) const {
    const size_t last = std::min<size_t>(((page + 1) * kPageBytes - 1) / sizeof(T), capacity_ - 1);
    for (size_t index = page * kPageBytes / sizeof(T); index <= last; ++index) {
      if ((free_[index / 64] >> (index % 64) & 1) == 0) return true;
    }
    return false;
  }

  uint32_t capacity_;
  uint32_t words_;
  std::vector<uint64_t> free_;       // a bit for each free object
  std::vector<uint64_t> with_free_;  // a bit for each word of free_ that has one
  uint32_t first_top_ = 0;           // no word of with_free_ before this one has a bit
  uint32_t size_ = 0;
  std::vector<uint64_t> resident_;  // a bit for each page that may be present
  size_t bytes_ = 0;
  char* objects_ = nullptr;
};

}  // namespace weir
