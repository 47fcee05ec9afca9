// How a table lies in memory. Inside only.
//
// All of a host is one block, begun on a cache line: header, name, hash slots, nodes. So a match waits for
// memory about twice: for the host's slot, and for its block, whose lines are fetched together.
//
//   HostBlock | name | padding to 4 | PathSlot[slots] | PathNode, text, padding to 4 | ...
//
// A node is for one text of a path without the slash at its end, and has four lists of candidates: rules for
// exactly that path without and with a slash behind, and for the prefix likewise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lb/route/key_hash.h"

namespace weir::lb {

// A list of candidates: none, one in place, or where in RouteTable::lists_ it begins.
inline constexpr uint32_t kEmptyList = UINT32_MAX;
inline constexpr uint32_t kInPlace = 1u << 31;
// A candidate: a rule, and whether there is something to check.
inline constexpr uint32_t kConditional = 1u << 30;
inline constexpr uint32_t kRuleMask = kConditional - 1;

struct PathSlot {
  uint32_t tag = 0;   // of the hash
  uint32_t node = 0;  // bytes from the block's begin; 0: empty
};

struct PathNode {
  enum List : uint32_t { kExact, kExactSlash, kPrefix, kPrefixSlash, kLists };

  uint32_t lists[kLists];
  uint32_t text_bytes;

  std::string_view text() const { return {reinterpret_cast<const char*>(this + 1), text_bytes}; }
};

struct HostBlock {
  uint64_t exact_depths;   // bit n: there are exact paths at point n
  uint64_t prefix_depths;  // likewise
  uint32_t name_bytes;     // of a wildcard without "*."
  uint32_t wildcard;       // 1 or 0
  uint32_t slot_count;     // a power of two, or 0
  uint32_t any_path;       // list
  uint32_t first_regex;    // in RouteTable::path_regexes_
  uint32_t regex_count;

  const char* bytes() const { return reinterpret_cast<const char*>(this); }
  std::string_view name() const { return {bytes() + sizeof(HostBlock), name_bytes}; }
  const PathSlot* slots() const {
    return reinterpret_cast<const PathSlot*>(bytes() + sizeof(HostBlock) + (name_bytes + 3) / 4 * 4);
  }
  const PathNode& node(uint32_t offset) const { return *reinterpret_cast<const PathNode*>(bytes() + offset); }
  // The node of `text`, or null.
  const PathNode* Find(std::string_view text, uint64_t hash) const {
    if (slot_count == 0) return nullptr;
    const PathSlot* const all = slots();
    const auto tag = static_cast<uint32_t>(hash >> 32);
    for (uint32_t i = static_cast<uint32_t>(hash);; ++i) {
      const PathSlot& slot = all[i & (slot_count - 1)];
      if (slot.node == 0) return nullptr;
      if (slot.tag == tag && SameBytes(node(slot.node).text(), text)) return &node(slot.node);
    }
  }
};
static_assert(sizeof(HostBlock) == 40 && sizeof(PathNode) == 20 && alignof(PathNode) == 4);

}  // namespace weir::lb
