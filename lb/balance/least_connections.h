// LeastConnections: the usable endpoint with the smallest (in flight + 1) / weight. Endpoints lie in
// intrusive lists, one per level of that score; a bit set finds the lowest level that has any. Begin and end
// of a request move one endpoint to the tail of another list: everything is O(1), and among equals the one
// chosen longest ago comes first.
// Levels: scores are scaled to integers (exactly, where the weights allow) and are told apart exactly up to
// 255 and within 0.8 % above that; whatever falls into one level counts as equal.
// Requests of other shards count as last heard (SetRemote); an endpoint that starts slowly counts with a part
// of its weight. Nothing here is ever full: with much in flight everywhere the least of it still wins.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lb/balance/bit_set.h"
#include "lb/balance/pick.h"

namespace weir::lb {

class LeastConnections : public IgnoresLatency {
 public:
  LeastConnections(std::span<const uint32_t> weights, uint64_t seed);

  void Begin(uint64_t seed) noexcept;
  uint32_t Pick(const PickContext& context) noexcept;
  void Acquire(uint32_t endpoint) noexcept;
  void Release(uint32_t endpoint) noexcept;
  void SetRemote(uint32_t endpoint, uint32_t in_flight) noexcept;
  void SetUsable(uint32_t endpoint, bool usable) noexcept;
  void SetWeightFactor(uint32_t endpoint, uint32_t factor) noexcept;

 private:
  static constexpr uint32_t kNone = kNobody;
  static constexpr uint32_t kLevels = 4096;

  struct Node {
    uint32_t next = kNone;
    uint32_t previous = kNone;
    InFlight in_flight;
    uint16_t weight = 1;
    uint16_t factor = kFullFactor;
    uint16_t level = 0;  // of the list it is in
    bool usable = true;
  };
  struct List {
    uint32_t first = kNone;
    uint32_t last = kNone;
  };

  uint16_t LevelOf(const Node& node) const;
  void PushBack(uint32_t endpoint);
  void Unlink(uint32_t endpoint);
  void Move(uint32_t endpoint);

  std::vector<Node> nodes_;
  std::vector<List> lists_;
  BitSet occupied_;
  uint64_t scale_;  // score = (in flight + 1) * scale / (weight * factor)
};

}  // namespace weir::lb
