#include "lb/route/split.h"

#include "lb/route/cookies.h"

namespace weir::lb {
namespace {

// The side at a point between 0 (none of the way) and 2^64 (all of it).
uint32_t SideAt(const Split& split, uint64_t part) {
  uint64_t total = 0;
  for (const Split::Side& side : split.sides) total += side.weight;
  __extension__ using Wide = unsigned __int128;
  auto point = static_cast<uint64_t>((static_cast<Wide>(part) * total) >> 64);
  uint32_t side = 0;
  while (point >= split.sides[side].weight) point -= split.sides[side++].weight;
  return side;
}

}  // namespace

SplitChoice ChooseSide(const Split& split, const RouteRequest& request, uint64_t random) {
  if (split.sticky == Split::Sticky::kHash) {
    const std::optional<uint64_t> hash = split.key.HashOf(request);
    if (hash) return {SideAt(split, *hash), SplitChoice::Why::kHash};
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
