#include "lb/balance/first.h"

#include "core/check.h"

namespace weir::lb {
namespace {

// So many in their slow start are asked before the first of them is taken.
constexpr uint32_t kMaxReluctant = 16;

}  // namespace

First::First(std::span<const uint32_t> weights, uint64_t seed, uint32_t most_in_flight)
    : nodes_(weights.size()),
      usable_(static_cast<uint32_t>(weights.size())),
      open_(static_cast<uint32_t>(weights.size())) {
  for (uint32_t i = 0; i < weights.size(); ++i) {
    const uint64_t most = uint64_t{most_in_flight} * weights[i];
    if (most_in_flight != 0) nodes_[i].most = static_cast<uint32_t>(std::min<uint64_t>(most, UINT32_MAX));
    usable_.Set(i);
    open_.Set(i);
  }
  Begin(seed);
}

uint32_t First::Pick(const PickContext& context) noexcept {
  uint32_t reluctant = kNobody;
  uint32_t reluctants = 0;
  for (uint32_t i = open_.Next(0); i != BitSet::kNone; i = open_.Next(i + 1)) {
    if (Contains(context.tried, i)) continue;
    Node& node = nodes_[i];
    if (node.factor == kFullFactor) return i;
    const uint32_t saved = uint32_t{node.saved} + node.factor;
    node.saved = static_cast<uint16_t>(saved % kFullFactor);
    if (saved >= kFullFactor) return i;
    if (reluctant == kNobody) reluctant = i;
    if (++reluctants == kMaxReluctant) break;
  }
  if (reluctant != kNobody) return reluctant;
  // All are at their limits: once round.
  for (uint32_t round = 0; round < 2; ++round) {
    for (uint32_t i = usable_.Next(cursor_); i != BitSet::kNone; i = usable_.Next(i + 1)) {
      if (Contains(context.tried, i)) continue;
      cursor_ = i + 1;
      return i;
    }
    cursor_ = 0;
  }
  return kNobody;
}

void First::Acquire(uint32_t endpoint) noexcept {
  ++nodes_[endpoint].in_flight.own;
  Update(endpoint);
}

void First::Release(uint32_t endpoint) noexcept {
  WEIR_CHECK(nodes_[endpoint].in_flight.own > 0);
  --nodes_[endpoint].in_flight.own;
  Update(endpoint);
}

void First::SetRemote(uint32_t endpoint, uint32_t in_flight) noexcept {
  nodes_[endpoint].in_flight.remote = in_flight;
  Update(endpoint);
}

void First::SetUsable(uint32_t endpoint, bool usable) noexcept {
  if (usable) {
    usable_.Set(endpoint);
  } else {
    usable_.Clear(endpoint);
  }
  Update(endpoint);
}

void First::SetWeightFactor(uint32_t endpoint, uint32_t factor) noexcept {
  nodes_[endpoint].factor = ClampFactor(factor);
}

void First::Update(uint32_t endpoint) {
  const Node& node = nodes_[endpoint];
  if (usable_.Get(endpoint) && node.in_flight.all() < node.most) {
    open_.Set(endpoint);
  } else {
    open_.Clear(endpoint);
  }
}

}  // namespace weir::lb
