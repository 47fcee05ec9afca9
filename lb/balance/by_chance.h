// The policies that draw by chance (WeightedDraw).
//  - RandomChoice: one draw.
//  - PowerOfTwo: two different ones are drawn, by weight, and the one with less (in flight + 1) / weight is
//    taken (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001). What a shard does
//    not know of the others matters less than with least connections: shards do not all run to the same one.
//  - Ewma: the same, by latency * (in flight + 1) / weight, the latency being a moving average that follows a
//    peak at once and forgets it within some decay_ns (peak EWMA, as in Finagle).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lb/balance/pick.h"
#include "lb/balance/weighted_draw.h"

namespace weir::lb {

// SetUsable and the like, for those that have nothing but `draw_` to tell of it.
class ByChance {
 public:
  void Begin(uint64_t seed) noexcept { draw_.Begin(seed); }
  void SetUsable(uint32_t endpoint, bool usable) noexcept { draw_.SetUsable(endpoint, usable); }
  void SetWeightFactor(uint32_t endpoint, uint32_t factor) noexcept {
    draw_.SetWeightFactor(endpoint, factor);
  }

 protected:
  ByChance(std::span<const uint32_t> weights, uint64_t seed) : draw_(weights, seed) {}

  WeightedDraw draw_;
};

class RandomChoice : public ByChance, public IgnoresLoad, public IgnoresLatency {
 public:
  RandomChoice(std::span<const uint32_t> weights, uint64_t seed) : ByChance(weights, seed) {}

  uint32_t Pick(const PickContext& context) noexcept { return draw_.Draw(context.tried); }
};

class PowerOfTwo : public ByChance, public IgnoresLatency {
 public:
  PowerOfTwo(std::span<const uint32_t> weights, uint64_t seed)
      : ByChance(weights, seed), in_flight_(weights.size()) {}

  uint32_t Pick(const PickContext& context) noexcept;
  void Acquire(uint32_t endpoint) noexcept { ++in_flight_[endpoint].own; }
  void Release(uint32_t endpoint) noexcept;
  void SetRemote(uint32_t endpoint, uint32_t in_flight) noexcept { in_flight_[endpoint].remote = in_flight; }

 private:
  std::vector<InFlight> in_flight_;
};

class Ewma : public ByChance {
 public:
  static constexpr int64_t kDecayNs = 10'000'000'000;

  // `decay_ns`: within so much time what was measured loses about two thirds of its weight.
  Ewma(std::span<const uint32_t> weights, uint64_t seed, int64_t decay_ns);

  uint32_t Pick(const PickContext& context) noexcept;
  void Acquire(uint32_t endpoint) noexcept { ++peers_[endpoint].in_flight.own; }
  void Release(uint32_t endpoint) noexcept;
  void SetRemote(uint32_t endpoint, uint32_t in_flight) noexcept {
    peers_[endpoint].in_flight.remote = in_flight;
  }
  // A request took so long. A failure should be told as something long, or whoever fails fastest gets most.
  void Observe(uint32_t endpoint, int64_t latency_ns, int64_t now_ns) noexcept;

  // What is expected of it: what was measured, and the more time passed since, the more like the others. So
  // one that was slow gets another chance, and one that is new is not flooded: it counts as average.
  double LatencyNs(uint32_t endpoint, int64_t now_ns) const;

 private:
  static constexpr int64_t kNever = INT64_MIN;

  struct Peer {
    double latency_ns = 0;
    int64_t measured_ns = kNever;
    InFlight in_flight;
  };

  double Decay(int64_t from_ns, int64_t to_ns) const;

  std::vector<Peer> peers_;
  double mean_ns_ = 0;  // over all requests of late; 0: none yet
  double per_decay_;
};

}  // namespace weir::lb
