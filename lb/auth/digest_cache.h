// DigestCache: which digests were seen lately. A fixed number of entries, four to a place; when a place is
// full the one that ends first gives way. Memory is taken at the first Add.
#pragma once

#include <cstdint>
#include <memory>

#include "lb/auth/sip_hash.h"

namespace weir::lb {

class DigestCache {
 public:
  // `entries`: a power of two, at least kWays.
  DigestCache(uint32_t entries, int64_t life_ns) : sets_(entries / kWays), life_ns_(life_ns) {}

  bool Has(const Digest& digest, int64_t now_ns) const { return Find(digest, now_ns) != nullptr; }
  // Has, and if so its life begins anew.
  bool Use(const Digest& digest, int64_t now_ns) {
    Entry* const entry = Find(digest, now_ns);
    if (entry != nullptr) entry->end_ns = now_ns + life_ns_;
    return entry != nullptr;
  }
  void Add(const Digest& digest, int64_t now_ns) {
    if (entries_ == nullptr) entries_ = std::make_unique<Entry[]>(size_t{sets_} * kWays);
    Entry* const set = SetOf(digest);
    Entry* at = set;
    for (uint32_t i = 0; i < kWays; ++i) {
      if (set[i].digest == digest) {
        at = &set[i];
        break;
      }
      if (set[i].end_ns < at->end_ns) at = &set[i];
    }
    *at = {digest, now_ns + life_ns_};
  }

 private:
  static constexpr uint32_t kWays = 4;
  struct Entry {
    Digest digest;
    int64_t end_ns = 0;
  };

  Entry* Find(const Digest& digest, int64_t now_ns) const {
    if (entries_ == nullptr) return nullptr;
    Entry* const set = SetOf(digest);
    for (uint32_t i = 0; i < kWays; ++i) {
      if (set[i].digest == digest && set[i].end_ns > now_ns) return &set[i];
    }
    return nullptr;
  }
  Entry* SetOf(const Digest& digest) const { return &entries_[size_t{digest.low & (sets_ - 1)} * kWays]; }

  const uint32_t sets_;
  const int64_t life_ns_;
  std::unique_ptr<Entry[]> entries_;
};

}  // namespace weir::lb
