#include "lb/route/split.h"

#include "lb/route/cookies.h"
#include "lb/route/rendezvous.h"

namespace weir::lb {
namespace {

// Sides lie one after another on a line, each as long as its weight: the one at a point between 0 (none of
// the way) and 2^64 (all of it).
uint32_t SideAt(const Split& split, uint64_t part) {
  __extension__ using Wide = unsigned __int128;
  auto point = static_cast<uint64_t>((Wide{part} * split.total_weight) >> 64);
  uint32_t side = 0;
  while (point >= split.sides[side].weight) point -= split.sides[side++].weight;
  return side;
}

// Should two come as early (once in 2^40 or so), their names decide, so that the order never does.
uint32_t SideFor(const Split& split, uint64_t key_hash) {
  uint32_t best = 0;
  uint64_t best_lot = UINT64_MAX;  // none yet: a lot has less
  for (uint32_t i = 0; i < split.sides.size(); ++i) {
    const Split::Side& side = split.sides[i];
    if (side.weight == 0) continue;
    const uint64_t lot = LotOf(key_hash, side.name_hash);
    const Split::Side& other = split.sides[best];
    const bool first = best_lot == UINT64_MAX;
    if (first || ComesBefore(lot, side.weight, best_lot, other.weight) ||
        (!ComesBefore(best_lot, other.weight, lot, side.weight) && side.name_hash < other.name_hash)) {
      best = i;
      best_lot = lot;
    }
  }
  return best;
}

}  // namespace

void Split::Add(std::string_view name, uint32_t weight) {
  sides.push_back({.weight = weight, .id = SideId(name), .name_hash = StableHash(name)});
  total_weight += weight;
}

SplitChoice ChooseSide(const Split& split, const RouteRequest& request, uint64_t random) {
  if (split.sticky == Split::Sticky::kHash) {
    const std::optional<uint64_t> hash = split.key.HashOf(request);
    if (hash) return {SideFor(split, *hash), SplitChoice::Why::kHash};
  } else if (split.sticky == Split::Sticky::kCookie) {
    for (CookieReader reader(request.fields, split.cookie); reader.Next();) {
      for (uint32_t side = 0; side < split.sides.size(); ++side) {
        if (reader.value() == split.sides[side].id) return {side, SplitChoice::Why::kCookie};
      }
    }
  }
  return {SideAt(split, random), SplitChoice::Why::kChance};
}

std::string SideId(std::string_view name) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string id;
  uint64_t bits = StableHash(name);
  for (int i = 0; i < 16; ++i, bits >>= 4) id += kHex[bits & 15];
  return id;
}

}  // namespace weir::lb
