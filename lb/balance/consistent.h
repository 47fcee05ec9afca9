// Consistent: the endpoint to which a key leads (HashTable), or where that cannot take it, the next on the
// table's circle that can: unusable and tried ones are stepped over, nothing is built anew. The same list,
// key and states give the same endpoint on every shard and node.
//  - A slow start: an endpoint with a part of its weight takes that part of its keys, always the same ones,
//    and more as the part grows.
//  - Bounded load (Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2016): with
//    `load_percent` nobody has more than so much of the average in flight, in proportion to its weight and
//    rounded up: in flight + 1 <= ceil(percent / 100 * (total + 1) * weight / sum of usable weights). Where
//    Loads are of all shards, shards that look at the same moment exceed it by one request each at most.
//  - After kMaxProbes places without luck every usable one is looked at: the winner of a weighted rendezvous
//    of key and names, of those with room. That is rare (few usable, many of them full), or short (few
//    usable).
//    Should none have room (all who have it were tried; counts that move meanwhile), it is the least loaded.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "lb/balance/hash_table.h"
#include "lb/balance/pick.h"
#include "lb/balance/usable_list.h"

namespace weir::lb {

class Consistent : public IgnoresLatency {
 public:
  static constexpr uint32_t kMaxProbes = 64;

  // `load_percent`: more than 100, or 0 for no bound.
  Consistent(std::shared_ptr<const HashTable> table, uint32_t load_percent);

  void Begin(uint64_t) noexcept {}
  uint32_t Pick(const PickContext& context) noexcept;
  void Acquire(uint32_t endpoint) noexcept;
  void Release(uint32_t endpoint) noexcept;
  void SetRemote(uint32_t endpoint, uint32_t in_flight) noexcept;
  void SetUsable(uint32_t endpoint, bool usable) noexcept;
  void SetWeightFactor(uint32_t endpoint, uint32_t factor) noexcept;

 private:
  uint64_t Share(uint32_t endpoint) const { return uint64_t{takes_[endpoint]} * table_->weight(endpoint); }
  bool HasRoom(uint32_t endpoint, const Loads* loads) const;
  uint32_t Load(uint32_t endpoint, const Loads* loads) const;
  uint32_t LookAtAll(uint64_t key, const PickContext& context) const;

  std::shared_ptr<const HashTable> table_;
  std::vector<uint16_t> takes_;  // the factor, or 0 while it is not usable; all that most picks look at
  std::vector<uint16_t> factors_;
  std::vector<InFlight> in_flight_;
  UsableList usable_;
  uint64_t shares_ = 0;  // sum of the usable ones'
  uint64_t total_ = 0;   // in flight at the usable ones
  uint32_t load_percent_;
};

}  // namespace weir::lb
