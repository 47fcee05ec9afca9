#include "lb/balance/balancer.h"

#include <algorithm>

namespace weir::lb {

Balancer Balancer::Build(const Options& options, uint64_t seed) {
  const std::span<const uint32_t> weights = options.weights;
  WEIR_CHECK(!weights.empty() && weights.size() <= kMaxEndpoints);
  WEIR_CHECK(
      std::all_of(weights.begin(), weights.end(), [](uint32_t w) { return w >= 1 && w <= kMaxWeight; }));
  switch (options.method) {
    case Method::kRoundRobin:
      return Balancer(RoundRobin(weights, seed));
    case Method::kRandom:
      return Balancer(RandomChoice(weights, seed));
    case Method::kLeastConn:
      return Balancer(LeastConnections(weights, seed));
    case Method::kP2c:
      return Balancer(PowerOfTwo(weights, seed));
    case Method::kEwma:
      return Balancer(Ewma(weights, seed, options.decay_ns));
    case Method::kMaglev:
    case Method::kRingHash:
      return Balancer(
          Consistent(options.table != nullptr ? options.table : MakeTable(options), options.load_percent));
    case Method::kFirst:
      return Balancer(First(weights, seed, options.most_in_flight));
  }
  WEIR_CHECK(false && "a method");
}

Balancer Balancer::Build(Balance policy, std::span<const uint32_t> weights, uint64_t seed) {
  return Build({.method = policy, .weights = weights}, seed);
}

std::shared_ptr<const HashTable> Balancer::MakeTable(const Options& options) {
  return options.method == Method::kMaglev ? HashTable::Maglev(options.names, options.weights, options.slots)
                                           : HashTable::Ring(options.names, options.weights);
}

void Balancer::Begin(uint64_t seed) noexcept {
  std::visit([&](auto& policy) { policy.Begin(seed); }, policy_);
}

uint32_t Balancer::Pick(const Context& context) noexcept {
  return std::visit([&](auto& policy) { return policy.Pick(context); }, policy_);
}

void Balancer::Acquire(uint32_t endpoint) noexcept {
  std::visit([&](auto& policy) { policy.Acquire(endpoint); }, policy_);
}

void Balancer::Release(uint32_t endpoint) noexcept {
  std::visit([&](auto& policy) { policy.Release(endpoint); }, policy_);
}

void Balancer::SetRemote(uint32_t endpoint, uint32_t in_flight) noexcept {
  std::visit([&](auto& policy) { policy.SetRemote(endpoint, in_flight); }, policy_);
}

void Balancer::Observe(uint32_t endpoint, int64_t latency_ns, int64_t now_ns) noexcept {
  std::visit([&](auto& policy) { policy.Observe(endpoint, latency_ns, now_ns); }, policy_);
}

void Balancer::SetUsable(uint32_t endpoint, bool usable) noexcept {
  std::visit([&](auto& policy) { policy.SetUsable(endpoint, usable); }, policy_);
}

void Balancer::SetWeightFactor(uint32_t endpoint, uint32_t factor) noexcept {
  std::visit([&](auto& policy) { policy.SetWeightFactor(endpoint, factor); }, policy_);
}

}  // namespace weir::lb
