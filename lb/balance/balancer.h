// Balancer: which endpoint gets the next request. A closed set of policies behind Build (cold) and Pick (hot,
// no allocation, no system call, constant time but for what README.md says). One per shard, used by that
// shard alone; it knows weights, counts and names, not addresses or sockets: an endpoint is its index in
// `weights`. README.md: what the policies are for, what they promise and what they cost.
//
// What takes long to make (schedules, tables) is made once and copied: Build somewhere else, copy, Begin.
// `seed` sets where a shard begins, so that shards do not herd to the same endpoint; where hashing decides it
// means nothing.
// Unusable endpoints leave the lists when their state changes (SetUsable), or are stepped over in bounded
// time. Endpoints tried before in this request come in as a set: retrying is the caller's loop.
// Bounds: kMaxEndpoints, weights 1 to kMaxWeight.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <variant>

#include "lb/balance/by_chance.h"
#include "lb/balance/consistent.h"
#include "lb/balance/first.h"
#include "lb/balance/least_connections.h"
#include "lb/balance/pick.h"
#include "lb/balance/round_robin.h"
#include "lb/config/settings.h"

namespace weir::lb {

class Balancer {
 public:
  static constexpr uint32_t kNone = kNobody;
  static constexpr uint32_t kMaxEndpoints = 16'384;
  static constexpr uint32_t kMaxWeight = 1'000;

  using Context = PickContext;

  using Method = Balance;
  struct Options {
    Method method = Method::kRoundRobin;
    std::span<const uint32_t> weights = {};
    std::span<const std::string_view> names =
        {};  // kMaglev, kRingHash: by which other nodes know the endpoints
    std::shared_ptr<const HashTable> table = nullptr;  // likewise: made before, of the same; null: make it
    uint32_t slots = HashTable::kSlots;                // kMaglev: a prime
    uint32_t load_percent = 0;          // kMaglev, kRingHash: the bound on load, above 100; 0: none
    uint32_t most_in_flight = 0;        // kFirst: for each unit of weight; 0: no limit
    int64_t decay_ns = Ewma::kDecayNs;  // kEwma
  };

  // REQUIRES: 1 to kMaxEndpoints weights, each 1 to kMaxWeight; where hashing decides, as many names. All
  // endpoints are usable.
  static Balancer Build(const Options& options, uint64_t seed);
  static Balancer Build(Balance policy, std::span<const uint32_t> weights, uint64_t seed);
  // kMaglev, kRingHash: what takes long to make of them.
  static std::shared_ptr<const HashTable> MakeTable(const Options& options);
  // A copy of one that was built elsewhere begins where `seed` says.
  void Begin(uint64_t seed) noexcept;

  // A usable endpoint that is not in `tried`, or kNone. Does not count it as in flight.
  uint32_t Pick(const Context& context) noexcept;

  // A request or connection begins, or ends, on `endpoint`.
  void Acquire(uint32_t endpoint) noexcept;
  void Release(uint32_t endpoint) noexcept;
  // How many are in flight there on all other shards, as far as is known.
  void SetRemote(uint32_t endpoint, uint32_t in_flight) noexcept;
  // A request took so long (kEwma).
  void Observe(uint32_t endpoint, int64_t latency_ns, int64_t now_ns) noexcept;
  // No effect when it is so already. Costs at most a few microseconds (an endpoint's slots in the schedule).
  void SetUsable(uint32_t endpoint, bool usable) noexcept;
  // Slow start: its weight counts as weight * factor / kFullFactor; a factor of 0 as 1.
  void SetWeightFactor(uint32_t endpoint, uint32_t factor) noexcept;

 private:
  using Policy =
      std::variant<RoundRobin, RandomChoice, LeastConnections, PowerOfTwo, Ewma, Consistent, First>;
  explicit Balancer(Policy policy) : policy_(std::move(policy)) {}

  Policy policy_;
};

}  // namespace weir::lb
