// What all policies share: what Pick is told, and how a slow start is counted.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

namespace weir::lb {

inline constexpr uint32_t kNobody = UINT32_MAX;

// A weight's factor in parts of this: an endpoint in its slow start has less than all of its weight, but
// never nothing.
inline constexpr uint32_t kFullFactor = 1'024;
inline uint16_t ClampFactor(uint32_t factor) {
  return static_cast<uint16_t>(std::clamp(factor, 1u, kFullFactor));
}

// What is in flight on all shards together, read when it is asked for (relaxed: each count has one writer).
struct Loads {
  uint32_t (*at)(const void* source, uint32_t endpoint) noexcept = nullptr;
  uint64_t (*total)(const void* source, uint32_t part) noexcept = nullptr;  // of the usable ones
  const void* source = nullptr;
  // Of which part of a level they are read (levels.h): its number, and its endpoints in the source; null: all
  // of them.
  uint32_t part = 0;
  const uint16_t* members = nullptr;

  uint32_t At(uint32_t endpoint) const {
    return at(source, members == nullptr ? endpoint : members[endpoint]);
  }
  uint64_t Total() const { return total(source, part); }
};

struct PickContext {
  // Endpoints not to choose again; a handful (each is compared with each candidate).
  std::span<const uint32_t> tried = {};
  uint64_t hash = 0;   // of what the choice hangs on: maglev, ring_hash
  int64_t now_ns = 0;  // ewma
  // For bounded load; null: what this balancer was told (Acquire, Release, SetRemote).
  const Loads* loads = nullptr;
};

inline bool Contains(std::span<const uint32_t> set, uint32_t endpoint) {
  return std::find(set.begin(), set.end(), endpoint) != set.end();
}

// Requests in flight at an endpoint.
struct InFlight {
  uint32_t own = 0;
  uint32_t remote = 0;  // on other shards, as last heard

  uint32_t all() const { return own + remote; }
};

// For policies that do not look at what is in flight, or how long it took.
struct IgnoresLoad {
  void Acquire(uint32_t) noexcept {}
  void Release(uint32_t) noexcept {}
  void SetRemote(uint32_t, uint32_t) noexcept {}
};
struct IgnoresLatency {
  void Observe(uint32_t, int64_t, int64_t) noexcept {}
};

}  // namespace weir::lb
