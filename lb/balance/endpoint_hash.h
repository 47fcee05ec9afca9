// The hashes of consistent hashing: 64 bits, no secret, the same everywhere and for good (a test pins them).
// Mixing is the finaliser of splitmix64 (Steele, Lea and Flood, 2014): a bijection in which every bit of the
// result depends on every bit of the word. Names are taken eight bytes at a time, little-endian.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace weir::lb {

inline uint64_t MixBits(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// A key's hash as balancing goes by it. It is mixed once more, as the same hash may have chosen a side before
// (split): the keys that come here may all be from one part of the numbers.
inline uint64_t MixKey(uint64_t hash) { return MixBits(hash ^ 0x6a09e667f3bcc908u); }

// By which a key stays in a zone or leaves it. Drawn apart from where it leads: else those that leave would
// all be from one part of the tables.
inline uint64_t MixKeyForZone(uint64_t hash) { return MixBits(hash ^ 0xbb67ae8584caa73bu); }

inline uint64_t HashName(std::string_view name, uint64_t seed) {
  static_assert(std::endian::native == std::endian::little, "words are read as they lie");
  constexpr uint64_t kOdd = 0x9e3779b97f4a7c15u;
  uint64_t hash = MixBits(seed + (name.size() + 1) * kOdd);
  while (!name.empty()) {
    uint64_t word = 0;
    const size_t bytes = name.size() < sizeof(word) ? name.size() : sizeof(word);
    std::memcpy(&word, name.data(), bytes);
    hash = MixBits((hash ^ word) + kOdd);
    name.remove_prefix(bytes);
  }
  return hash;
}

// Of one key and one endpoint, each mixed already.
inline uint64_t HashPair(uint64_t mixed, uint64_t name_hash) { return MixBits(mixed ^ name_hash); }

}  // namespace weir::lb
