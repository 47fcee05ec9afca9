// Split: which of several sides a request goes to, by weight: by chance, or so that the same client (or
// whatever a HashKey names) meets the same side. Plain values, made by the configuration; choosing allocates
// nothing.
//
// By hash a side is met for its name and its weight, not for its place (rendezvous.h): when weights change,
// and when sides come or go, only those move that must. A cookie holds a client whatever the weights become,
// as long as the side is there: also one of weight 0, which gets nobody else.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lb/route/hash_key.h"
#include "lb/route/table.h"

namespace weir::lb {

struct Split {
  enum class Sticky : uint8_t { kNo, kCookie, kHash };
  struct Side {
    uint32_t weight = 1;
    std::string id;          // the cookie's value: SideId of its name
    uint64_t name_hash = 0;  // what draws its lots
  };
  static constexpr size_t kMaxSides = 32;
  static constexpr uint32_t kMaxWeight = 1'000'000;

  void Add(std::string_view name, uint32_t weight);

  std::vector<Side> sides;    // by Add
  uint64_t total_weight = 0;  // likewise
  Sticky sticky = Sticky::kNo;
  std::string cookie;  // kCookie: its name
  HashKey key;         // kHash
};

struct SplitChoice {
  enum class Why : uint8_t {
    kChance,  // nobody asked for more, or the request has nothing to go by
    kCookie,
    kHash,
  };
  uint32_t side = 0;
  Why why = Why::kChance;
};

// REQUIRES: some side has weight. `random`: 64 of them, for when it is left to chance.
SplitChoice ChooseSide(const Split& split, const RouteRequest& request, uint64_t random);

// What stands for a side in a cookie: always the same of the same name, and does not show it.
std::string SideId(std::string_view name);

}  // namespace weir::lb
