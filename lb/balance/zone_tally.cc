#include "lb/balance/zone_tally.h"

#include <algorithm>

#include "lb/balance/levels.h"

namespace weir::lb {

ZoneTally::ZoneTally(const UpstreamSettings& settings, const LevelLayout& layout) : shares_(layout.levels()) {
  members_.reserve(settings.endpoints.size());
  for (uint32_t i = 0; i < settings.endpoints.size(); ++i) {
    const EndpointSettings& endpoint = settings.endpoints[i];
    const uint16_t level = layout.place(i).level;
    const bool here = level != LevelLayout::kNowhere;
    const bool counts = here && endpoint.in_own_zone && layout.is_split(level);
    members_.push_back({.weight = counts ? endpoint.weight : 0, .level = here ? level : uint16_t{0}});
    shares_[members_.back().level].whole += uint64_t{members_.back().weight} * kFullFactor;
  }
  for (Share& share : shares_) share.there = share.well = share.whole;
}

uint32_t ZoneTally::ShareOf(uint64_t part, uint64_t whole) {
  constexpr uint64_t kAll = uint64_t{1} << kShareBits;
  // At most 14 bits of endpoints, 10 of weight, 10 of the factor and 3 of the seven.
  return static_cast<uint32_t>(7 * part >= 5 * whole ? kAll : (7 * part << kShareBits) / (5 * whole));
}

void ZoneTally::Change(uint32_t endpoint, const Member& after) noexcept {
  Member& before = members_[endpoint];
  Share& share = shares_[before.level];
  const auto count = [&share](const Member& member, bool in) {
    if (member.standing.out) return;
    const uint64_t weight = uint64_t{member.weight} * member.factor;
    share.there = in ? share.there + weight : share.there - weight;
    if (member.standing.well) share.well = in ? share.well + weight : share.well - weight;
  };
  count(before, false);
  count(after, true);
  before = after;
  share.calm = ShareOf(share.well, share.whole);
  share.in_panic = ShareOf(share.there, share.whole);
}

void ZoneTally::Set(uint32_t endpoint, const Standing& standing) noexcept {
  Member after = members_[endpoint];
  if (after.weight == 0) return;
  after.standing = standing;
  Change(endpoint, after);
}

void ZoneTally::SetWeightFactor(uint32_t endpoint, uint32_t factor) noexcept {
  Member after = members_[endpoint];
  if (after.weight == 0) return;
  after.factor = ClampFactor(factor);
  Change(endpoint, after);
}

}  // namespace weir::lb
