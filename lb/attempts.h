// Attempts: which endpoints a request (or TCP connection) has tried, so that the next attempt takes another,
// if there is one.
// Fixed size: Settings::retries is at most kMax - 1.
#pragma once

#include <cstdint>
#include <span>

#include "core/check.h"

namespace weir::lb {

class Attempts {
 public:
  static constexpr uint32_t kMax = 8;

  uint32_t count() const { return count_; }
  std::span<const uint32_t> tried() const { return {tried_, tried_count_}; }
  void Add(uint32_t endpoint) {
    WEIR_CHECK(tried_count_ < kMax);
    ++count_;
    tried_[tried_count_++] = endpoint;
  }
  // The last attempt says nothing about its endpoint: a pooled connection had died. It may be tried again.
  void ForgiveLast() {
    WEIR_CHECK(tried_count_ > 0);
    --tried_count_;
  }

 private:
  uint32_t tried_[kMax] = {};
  uint8_t tried_count_ = 0;
  uint8_t count_ = 0;
};

}  // namespace weir::lb
