// UsableList: the usable endpoints as a dense array, in no order. Answers "any that is not in this small set"
// when a policy's own order has nothing quickly: with one candidate more than tried ones, one of them fits.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "lb/balance/pick.h"

namespace weir::lb {

class UsableList {
 public:
  explicit UsableList(uint32_t endpoints) : list_(endpoints), place_(endpoints) {
    for (uint32_t i = 0; i < endpoints; ++i) list_[i] = place_[i] = i;
  }

  bool Has(uint32_t endpoint) const { return place_[endpoint] != kAbsent; }
  uint32_t size() const { return static_cast<uint32_t>(list_.size()); }
  std::span<const uint32_t> all() const { return list_; }

  void Add(uint32_t endpoint) {
    place_[endpoint] = size();
    list_.push_back(endpoint);  // never beyond the capacity it was built with
  }
  void Remove(uint32_t endpoint) {
    const uint32_t last = list_.back();
    list_[place_[endpoint]] = last;
    place_[last] = place_[endpoint];
    list_.pop_back();
    place_[endpoint] = kAbsent;
  }

  // One that is not in `tried`, looking from `start` on; UINT32_MAX when there is none.
  uint32_t Other(std::span<const uint32_t> tried, uint32_t start) const {
    const uint32_t looks = static_cast<uint32_t>(std::min<size_t>(size(), tried.size() + 1));
    for (uint32_t i = 0; i < looks; ++i) {
      const uint32_t endpoint = list_[(start + i) % size()];
      if (!Contains(tried, endpoint)) return endpoint;
    }
    return UINT32_MAX;
  }

 private:
  static constexpr uint32_t kAbsent = UINT32_MAX;

  std::vector<uint32_t> list_;
  std::vector<uint32_t> place_;  // by endpoint
};

}  // namespace weir::lb
