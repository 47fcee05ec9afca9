// WeightedDraw: an endpoint by chance, in proportion to its weight (times its factor, while it starts
// slowly). An alias table (Walker, 1977; Vose, 1991) over all endpoints gives a candidate in one step; one
// that is not usable is drawn again, which leaves the shares of the others right. When that fails too often
// (few of many are usable, or all are starting), sums in a binary indexed tree (Fenwick, 1994) of those that
// are usable answer in O(log n), with the same shares.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/random.h"
#include "lb/balance/pick.h"

namespace weir::lb {

class WeightedDraw {
 public:
  WeightedDraw(std::span<const uint32_t> weights, uint64_t seed);

  void Begin(uint64_t seed) noexcept { random_ = Random(seed); }
  // Usable, not in `tried` and not `other`; kNobody where there is none.
  uint32_t Draw(std::span<const uint32_t> tried, uint32_t other = kNobody) noexcept;
  // Two different ones, as if drawn one after the other; kNobody for what there is none of.
  struct Two {
    uint32_t one;
    uint32_t two;
  };
  Two DrawTwo(std::span<const uint32_t> tried) noexcept;
  void SetUsable(uint32_t endpoint, bool usable) noexcept;
  void SetWeightFactor(uint32_t endpoint, uint32_t factor) noexcept;

  // Weight times factor. REQUIRES: usable.
  uint32_t share(uint32_t endpoint) const { return (*sides_)[endpoint].weight * nodes_[endpoint].takes; }

 private:
  struct Side {
    uint32_t threshold;  // below it (of 2^32) a draw stays here
    uint16_t alias;      // else it goes there
    uint16_t weight;
  };
  struct Node {
    uint16_t factor = kFullFactor;
    uint16_t takes = kFullFactor;  // the factor, or 0 while it is not usable, or out
    bool usable = true;
  };

  uint32_t FromSums(std::span<const uint32_t> tried, uint32_t other) noexcept;
  uint32_t Find(uint64_t point) const;
  void SetTakes(uint32_t endpoint, uint32_t takes);
  void AddToSums(uint32_t endpoint, uint64_t difference);
  static std::vector<Side> MakeSides(std::span<const uint32_t> weights);

  std::shared_ptr<const std::vector<Side>> sides_;  // the same in every copy
  std::vector<Node> nodes_;
  std::vector<uint64_t> sums_;
  uint64_t sum_ = 0;
  uint32_t usable_;
  uint32_t starting_ = 0;  // with less than all of their weight, usable or not
  bool equal_;             // all weights are
  Random random_;
};

}  // namespace weir::lb
