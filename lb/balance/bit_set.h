// BitSet: up to 64³ bits with "next set bit from here" in three steps, whatever lies between. What balancing
// keeps its usable slots and occupied levels in. Fixed size after construction.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "core/check.h"

namespace weir::lb {

class BitSet {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  explicit BitSet(uint32_t bits) : bits_(bits), words_((bits + 63) / 64), sums_((words_.size() + 63) / 64) {
    WEIR_CHECK(bits > 0 && bits <= 64 * 64 * 64);
  }

  uint32_t size() const { return bits_; }
  bool Get(uint32_t bit) const { return (words_[bit / 64] >> (bit % 64) & 1) != 0; }
  void Set(uint32_t bit) {
    words_[bit / 64] |= uint64_t{1} << (bit % 64);
    sums_[bit / 4096] |= uint64_t{1} << (bit / 64 % 64);
    top_ |= uint64_t{1} << (bit / 4096);
  }
  void Clear(uint32_t bit) {
    if ((words_[bit / 64] &= ~(uint64_t{1} << (bit % 64))) != 0) return;
    if ((sums_[bit / 4096] &= ~(uint64_t{1} << (bit / 64 % 64))) != 0) return;
    top_ &= ~(uint64_t{1} << (bit / 4096));
  }
  // The first set bit at or after `from`, or kNone. `from` may be size().
  uint32_t Next(uint32_t from) const {
    if (from >= bits_) return kNone;
    uint32_t word = from / 64;
    if (const uint64_t rest = words_[word] >> (from % 64); rest != 0) return from + Low(rest);
    uint32_t sum = word / 64;
    uint64_t words = After(sums_[sum], word % 64);
    if (words == 0) {
      const uint64_t sums = After(top_, sum);
      if (sums == 0) return kNone;
      sum = Low(sums);
      words = sums_[sum];
    }
    word = sum * 64 + Low(words);
    return word * 64 + Low(words_[word]);
  }

 private:
  static uint32_t Low(uint64_t word) { return static_cast<uint32_t>(std::countr_zero(word)); }
  // The bits of `word` behind `bit`.
  static uint64_t After(uint64_t word, uint32_t bit) { return word & (~uint64_t{1} << bit); }

  uint32_t bits_;
  std::vector<uint64_t> words_;
  std::vector<uint64_t> sums_;  // which words are not 0
  uint64_t top_ = 0;            // which sums are not 0
};

}  // namespace weir::lb
