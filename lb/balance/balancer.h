// Balancer: which endpoint gets the next request. A closed set of policies behind Build (cold) and Pick (hot,
// no allocation, no system call, constant time). One per shard, used by that shard alone; it knows weights
// and counts, not addresses or sockets: an endpoint is its index in `weights`.
//  - Round robin: smooth and weighted, laid out as a schedule at Build (schedule.h).
//  - Least connections: the smallest (in flight + 1) / weight, counting this shard's own requests; among
//    equals the one chosen longest ago.
// `seed` sets where a shard begins, so that shards do not herd to the same endpoint.
// Unusable endpoints leave the lists when their state changes (SetUsable); Pick never probes them. Endpoints
// tried before in this request come in as a set: retrying is the caller's loop.
// Bounds: kMaxEndpoints, weights 1 to kMaxWeight. Costs: 6 ns a request, least connections 50
// (bench/balance_bench.cc).
#pragma once

#include <cstdint>
#include <span>
#include <variant>

#include "lb/balance/least_connections.h"
#include "lb/balance/round_robin.h"
#include "lb/config/settings.h"

namespace weir::lb {

class Balancer {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint32_t kMaxEndpoints = 16'384;
  static constexpr uint32_t kMaxWeight = 1'000;

  struct Context {
    // Endpoints not to choose again; a handful (each is compared with each candidate).
    std::span<const uint32_t> tried = {};
  };

  // REQUIRES: 1 to kMaxEndpoints weights, each 1 to kMaxWeight. All endpoints are usable.
  static Balancer Build(Balance policy, std::span<const uint32_t> weights, uint64_t seed);
  // A copy of one that was built elsewhere begins where `seed` says.
  void Begin(uint64_t seed) noexcept;

  // A usable endpoint that is not in `tried`, or kNone. Does not count it as in flight.
  uint32_t Pick(const Context& context) noexcept;

  // A request or connection begins, or ends, on `endpoint`.
  void Acquire(uint32_t endpoint) noexcept;
  void Release(uint32_t endpoint) noexcept;
  // No effect when it is so already. Costs at most a few microseconds (an endpoint's slots in the schedule).
  void SetUsable(uint32_t endpoint, bool usable) noexcept;

 private:
  using Policy = std::variant<RoundRobin, LeastConnections>;
  explicit Balancer(Policy policy) : policy_(std::move(policy)) {}

  Policy policy_;
};

}  // namespace weir::lb
