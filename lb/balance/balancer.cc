#include "lb/balance/balancer.h"

#include <algorithm>

namespace weir::lb {

Balancer Balancer::Build(Balance policy, std::span<const uint32_t> weights, uint64_t seed) {
  WEIR_CHECK(!weights.empty() && weights.size() <= kMaxEndpoints);
  WEIR_CHECK(
      std::all_of(weights.begin(), weights.end(), [](uint32_t w) { return w >= 1 && w <= kMaxWeight; }));
  switch (policy) {
    case Balance::kRoundRobin:
      return Balancer(Policy(std::in_place_type<RoundRobin>, weights, seed));
    case Balance::kLeastConn:
      return Balancer(Policy(std::in_place_type<LeastConnections>, weights, seed));
  }
  WEIR_CHECK(false && "a policy");
}

void Balancer::Begin(uint64_t seed) noexcept {
  if (auto* policy = std::get_if<RoundRobin>(&policy_)) policy->Begin(seed);
}

uint32_t Balancer::Pick(const Context& context) noexcept {
  return std::visit([&](auto& policy) { return policy.Pick(context.tried); }, policy_);
}

void Balancer::Acquire(uint32_t endpoint) noexcept {
  std::visit([&](auto& policy) { policy.Acquire(endpoint); }, policy_);
}

void Balancer::Release(uint32_t endpoint) noexcept {
  std::visit([&](auto& policy) { policy.Release(endpoint); }, policy_);
}

void Balancer::SetUsable(uint32_t endpoint, bool usable) noexcept {
  std::visit([&](auto& policy) { policy.SetUsable(endpoint, usable); }, policy_);
}

}  // namespace weir::lb
