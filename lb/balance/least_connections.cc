#include "lb/balance/least_connections.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "core/check.h"

namespace weir::lb {
namespace {

// Scores up to 2^kExactBits - 1 have a level each; every octave above has 2^(kExactBits - 1) levels.
constexpr uint32_t kExactBits = 8;
constexpr uint32_t kPerOctave = 1u << (kExactBits - 1);
constexpr uint64_t kMaxScale = 1u << 17;

uint32_t Level(uint64_t score) {
  const auto width = static_cast<uint32_t>(std::bit_width(score));
  if (width <= kExactBits) return static_cast<uint32_t>(score);
  const uint32_t octave = width - kExactBits;
  return octave * kPerOctave + static_cast<uint32_t>(score >> octave);
}

// The smallest factor that makes every (in flight + 1) / weight a whole number, if it is not too large.
uint64_t ScaleFor(std::span<const uint32_t> weights) {
  uint64_t scale = 1;
  for (const uint32_t weight : weights) {
    scale = std::lcm(scale, weight);
    if (scale > kMaxScale) return kMaxScale;
  }
  return scale;
}

}  // namespace

LeastConnections::LeastConnections(std::span<const uint32_t> weights, uint64_t seed)
    : nodes_(weights.size()), lists_(kLevels), occupied_(kLevels) {
  uint32_t divisor = 0;
  for (const uint32_t weight : weights) divisor = std::gcd(divisor, weight);
  WEIR_CHECK(divisor > 0);
  for (size_t i = 0; i < weights.size(); ++i) nodes_[i].weight = static_cast<uint16_t>(weights[i] / divisor);
  std::vector<uint32_t> reduced;
  for (const Node& node : nodes_) reduced.push_back(node.weight);
  scale_ = ScaleFor(reduced);
  for (uint32_t i = 0; i < weights.size(); ++i) PushBack(i);
  Begin(seed);
}

void LeastConnections::Begin(uint64_t seed) noexcept {
  // To the tail, one after another: whoever stands at `seed` is then the first.
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const auto endpoint = static_cast<uint32_t>((seed + i) % nodes_.size());
    if (!nodes_[endpoint].usable) continue;
    Unlink(endpoint);
    PushBack(endpoint);
  }
}

uint32_t LeastConnections::Pick(const PickContext& context) noexcept {
  for (uint32_t level = occupied_.Next(0); level != BitSet::kNone; level = occupied_.Next(level + 1)) {
    for (uint32_t i = lists_[level].first; i != kNone; i = nodes_[i].next) {
      if (Contains(context.tried, i)) continue;
      // To the tail: chosen endpoints take turns, even those whose requests end before the next begins.
      Unlink(i);
      PushBack(i);
      return i;
    }
  }
  return kNone;
}

void LeastConnections::Acquire(uint32_t endpoint) noexcept {
  ++nodes_[endpoint].in_flight.own;
  Move(endpoint);
}

void LeastConnections::Release(uint32_t endpoint) noexcept {
  WEIR_CHECK(nodes_[endpoint].in_flight.own > 0);
  --nodes_[endpoint].in_flight.own;
  Move(endpoint);
}

void LeastConnections::SetRemote(uint32_t endpoint, uint32_t in_flight) noexcept {
  nodes_[endpoint].in_flight.remote = in_flight;
  Move(endpoint);
}

void LeastConnections::SetWeightFactor(uint32_t endpoint, uint32_t factor) noexcept {
  nodes_[endpoint].factor = ClampFactor(factor);
  Move(endpoint);
}

void LeastConnections::SetUsable(uint32_t endpoint, bool usable) noexcept {
  Node& node = nodes_[endpoint];
  if (usable == node.usable) return;
  if (usable) {
    PushBack(endpoint);
  } else {
    Unlink(endpoint);
  }
  node.usable = usable;
}

uint16_t LeastConnections::LevelOf(const Node& node) const {
  uint64_t score = (uint64_t{node.in_flight.all()} + 1) * scale_ / node.weight;
  if (node.factor != kFullFactor) score = score * kFullFactor / node.factor;
  return static_cast<uint16_t>(std::min<uint32_t>(Level(score), kLevels - 1));
}

void LeastConnections::PushBack(uint32_t endpoint) {
  Node& node = nodes_[endpoint];
  node.level = LevelOf(node);
  List& list = lists_[node.level];
  node.next = kNone;
  node.previous = list.last;
  if (list.first == kNone) {
    list.first = endpoint;
    occupied_.Set(node.level);
  } else {
    nodes_[list.last].next = endpoint;
  }
  list.last = endpoint;
}

void LeastConnections::Unlink(uint32_t endpoint) {
  Node& node = nodes_[endpoint];
  List& list = lists_[node.level];
  (node.previous == kNone ? list.first : nodes_[node.previous].next) = node.next;
  (node.next == kNone ? list.last : nodes_[node.next].previous) = node.previous;
  if (list.first == kNone) occupied_.Clear(node.level);
}

void LeastConnections::Move(uint32_t endpoint) {
  Node& node = nodes_[endpoint];
  if (!node.usable || LevelOf(node) == node.level) return;
  Unlink(endpoint);
  PushBack(endpoint);
}

}  // namespace weir::lb
