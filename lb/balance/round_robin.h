// RoundRobin: smooth weighted round robin as a walk round a Schedule. The slots of unusable endpoints are
// cleared in a bit set, so that the walk steps over any number of them at once and those left keep their
// relative shares. An endpoint in `tried` is stepped over slot by slot, a few times at most; then any other
// usable one does.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lb/balance/bit_set.h"
#include "lb/balance/usable_list.h"

namespace weir::lb {

class RoundRobin {
 public:
  RoundRobin(std::span<const uint32_t> weights, uint64_t seed);

  void Begin(uint64_t seed) noexcept { cursor_ = static_cast<uint32_t>(seed % schedule_.size()); }
  uint32_t Pick(std::span<const uint32_t> tried) noexcept;
  void Acquire(uint32_t) noexcept {}
  void Release(uint32_t) noexcept {}
  void SetUsable(uint32_t endpoint, bool usable) noexcept;

 private:
  std::vector<uint16_t> schedule_;
  std::vector<uint32_t> slots_;       // all slots, by endpoint
  std::vector<uint32_t> first_slot_;  // by endpoint: where its slots begin in slots_; one more at the end
  BitSet usable_slots_;
  UsableList usable_;
  uint32_t cursor_;
};

}  // namespace weir::lb
