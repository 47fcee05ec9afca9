#include "lb/balance/weighted_draw.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <numeric>

#include "core/check.h"

namespace weir::lb {
namespace {

// With half of the weight usable, one draw in 256 goes to the sums.
constexpr uint32_t kMaxDraws = 8;

}  // namespace

WeightedDraw::WeightedDraw(std::span<const uint32_t> weights, uint64_t seed)
    : sides_(std::make_shared<const std::vector<Side>>(MakeSides(weights))),
      nodes_(weights.size()),
      sums_(weights.size() + 1),
      usable_(static_cast<uint32_t>(weights.size())),
      equal_(std::adjacent_find(weights.begin(), weights.end(), std::not_equal_to<>()) == weights.end()),
      random_(seed) {
  for (uint32_t i = 0; i < weights.size(); ++i) AddToSums(i, share(i));
}

std::vector<WeightedDraw::Side> WeightedDraw::MakeSides(std::span<const uint32_t> weights) {
  WEIR_CHECK(!weights.empty() && weights.size() <= UINT16_MAX);
  const uint64_t count = weights.size();
  const auto sum = std::accumulate(weights.begin(), weights.end(), uint64_t{0});
  std::vector<Side> sides(count);
  std::vector<uint64_t> left(count);  // what each has still to place; a place holds `sum`
  std::vector<uint32_t> poor, rich;
  for (uint32_t i = 0; i < count; ++i) {
    left[i] = weights[i] * count;
    sides[i] = {UINT32_MAX, static_cast<uint16_t>(i), static_cast<uint16_t>(weights[i])};
    (left[i] < sum ? poor : rich).push_back(i);
  }
  while (!poor.empty() && !rich.empty()) {
    const uint32_t i = poor.back();
    const uint32_t giver = rich.back();
    poor.pop_back();
    sides[i].threshold = static_cast<uint32_t>((left[i] << 32) / sum);
    sides[i].alias = static_cast<uint16_t>(giver);
    left[giver] -= sum - left[i];
    if (left[giver] >= sum) continue;
    rich.pop_back();
    poor.push_back(giver);
  }
  return sides;
}

uint32_t WeightedDraw::Draw(std::span<const uint32_t> tried, uint32_t other) noexcept {
  const std::vector<Side>& sides = *sides_;
  for (uint32_t draw = 0; draw < kMaxDraws; ++draw) {
    const uint64_t random = random_.Next();
    const auto place = static_cast<uint32_t>(((random >> 32) * sides.size()) >> 32);
    const Side side = sides[place];
    // A full side's alias is itself. Without a jump, as nobody could foretell it.
    const uint32_t leaves = static_cast<uint32_t>(random) >= side.threshold ? UINT32_MAX : 0;
    const uint32_t endpoint = place ^ ((place ^ side.alias) & leaves);
    const uint32_t takes = nodes_[endpoint].takes;
    if (takes == 0 || endpoint == other || Contains(tried, endpoint)) continue;
    if (takes == kFullFactor || random_.Below(kFullFactor) < takes) return endpoint;
  }
  return FromSums(tried, other);
}

WeightedDraw::Two WeightedDraw::DrawTwo(std::span<const uint32_t> tried) noexcept {
  const auto count = static_cast<uint32_t>(nodes_.size());
  if (equal_ && starting_ == 0 && usable_ == count && tried.empty() && count > 1) {
    // Nobody is refused, so that one random number does: the second is so many places behind the first.
    const uint64_t random = random_.Next();
    const auto one = static_cast<uint32_t>(((random >> 32) * count) >> 32);
    uint32_t two =
        one + 1 + static_cast<uint32_t>((uint64_t{static_cast<uint32_t>(random)} * (count - 1)) >> 32);
    two -= two >= count ? count : 0;
    return {one, two};
  }
  const uint32_t one = Draw(tried);
  return {one, one == kNobody || usable_ == 1 ? kNobody : Draw(tried, one)};
}

uint32_t WeightedDraw::FromSums(std::span<const uint32_t> tried, uint32_t other) noexcept {
  // Who is not wanted is out while the draw is made.
  const auto leave = [&](uint32_t endpoint) {
    if (endpoint != kNobody) SetTakes(endpoint, 0);
  };
  const auto come_back = [&](uint32_t endpoint) {
    if (endpoint != kNobody && nodes_[endpoint].usable) SetTakes(endpoint, nodes_[endpoint].factor);
  };
  leave(other);
  for (const uint32_t endpoint : tried) leave(endpoint);
  uint32_t endpoint = kNobody;
  if (sum_ > 0) {
    endpoint = Find(static_cast<uint64_t>((static_cast<unsigned __int128>(random_.Next()) * sum_) >> 64));
  }
  come_back(other);
  for (const uint32_t one : tried) come_back(one);
  return endpoint;
}

// The endpoint in whose stretch of 0 to sum_ the point lies.
uint32_t WeightedDraw::Find(uint64_t point) const {
  uint32_t at = 0;
  for (auto step = static_cast<uint32_t>(std::bit_floor(nodes_.size())); step > 0; step /= 2) {
    if (at + step > nodes_.size() || sums_[at + step] > point) continue;
    at += step;
    point -= sums_[at];
  }
  return at;
}

void WeightedDraw::AddToSums(uint32_t endpoint, uint64_t difference) {
  sum_ += difference;
  for (uint32_t i = endpoint + 1; i < sums_.size(); i += i & -i) sums_[i] += difference;
}

void WeightedDraw::SetTakes(uint32_t endpoint, uint32_t takes) {
  Node& node = nodes_[endpoint];
  if (takes == node.takes) return;
  const uint64_t before = share(endpoint);
  node.takes = static_cast<uint16_t>(takes);
  AddToSums(endpoint, share(endpoint) - before);
}

void WeightedDraw::SetUsable(uint32_t endpoint, bool usable) noexcept {
  Node& node = nodes_[endpoint];
  if (usable == node.usable) return;
  node.usable = usable;
  usable_ += usable ? 1u : -1u;
  SetTakes(endpoint, usable ? node.factor : 0);
}

void WeightedDraw::SetWeightFactor(uint32_t endpoint, uint32_t factor) noexcept {
  Node& node = nodes_[endpoint];
  starting_ -= node.factor != kFullFactor;
  node.factor = ClampFactor(factor);
  starting_ += node.factor != kFullFactor;
  if (node.usable) SetTakes(endpoint, node.factor);
}

}  // namespace weir::lb
