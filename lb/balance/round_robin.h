// RoundRobin: smooth weighted round robin as a walk round a Schedule. The slots of unusable endpoints are
// cleared in a bit set, so that the walk steps over any number of them at once and those left keep their
// relative shares. An endpoint in `tried` is stepped over slot by slot, a few times at most; then any other
// usable one does. One that starts slowly takes only a part of its slots, evenly spread: each slot that comes
// by gives it that part of a turn. Where the walk meets nobody else for long, they are all in it, and the
// first one met is taken.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lb/balance/bit_set.h"
#include "lb/balance/pick.h"
#include "lb/balance/usable_list.h"

namespace weir::lb {

class RoundRobin : public IgnoresLoad, public IgnoresLatency {
 public:
  RoundRobin(std::span<const uint32_t> weights, uint64_t seed);

  void Begin(uint64_t seed) noexcept { cursor_ = static_cast<uint32_t>(seed % schedule_.size()); }
  uint32_t Pick(const PickContext& context) noexcept;
  void SetUsable(uint32_t endpoint, bool usable) noexcept;
  void SetWeightFactor(uint32_t endpoint, uint32_t factor) noexcept;

 private:
  struct Start {
    uint16_t factor = kFullFactor;
    uint16_t saved = 0;  // of a turn, in parts of kFullFactor
  };

  bool TakesTurn(uint32_t endpoint);

  std::vector<uint16_t> schedule_;
  std::vector<uint32_t> slots_;       // all slots, by endpoint
  std::vector<uint32_t> first_slot_;  // by endpoint: where its slots begin in slots_; one more at the end
  BitSet usable_slots_;
  UsableList usable_;
  std::vector<Start> starts_;  // by endpoint
  uint32_t starting_ = 0;      // endpoints with less than all of their weight
  uint32_t cursor_;
};

}  // namespace weir::lb
