// First: the first usable endpoint in the order of the list, whatever the weights; with `most_in_flight` the
// first that has less than so many times its weight in flight, so that as few as possible work and the rest
// may sleep. When all have that many they take turns. An endpoint that starts slowly lets a part of the
// requests pass on to the next.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lb/balance/bit_set.h"
#include "lb/balance/pick.h"

namespace weir::lb {

class First : public IgnoresLatency {
 public:
  First(std::span<const uint32_t> weights, uint64_t seed, uint32_t most_in_flight);

  void Begin(uint64_t seed) noexcept { cursor_ = static_cast<uint32_t>(seed % nodes_.size()); }
  uint32_t Pick(const PickContext& context) noexcept;
  void Acquire(uint32_t endpoint) noexcept;
  void Release(uint32_t endpoint) noexcept;
  void SetRemote(uint32_t endpoint, uint32_t in_flight) noexcept;
  void SetUsable(uint32_t endpoint, bool usable) noexcept;
  void SetWeightFactor(uint32_t endpoint, uint32_t factor) noexcept;

 private:
  struct Node {
    InFlight in_flight;
    uint32_t most = UINT32_MAX;
    uint16_t factor = kFullFactor;
    uint16_t saved = 0;  // of a turn, in parts of kFullFactor
  };

  void Update(uint32_t endpoint);

  std::vector<Node> nodes_;
  BitSet usable_;
  BitSet open_;  // usable, and not at its limit
  uint32_t cursor_ = 0;
};

}  // namespace weir::lb
