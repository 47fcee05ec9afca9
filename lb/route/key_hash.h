// Hashes of a path's beginnings and of a host's endings, all in one pass: a point is where a segment (or,
// from the right, a label) ends, with the hash of everything up to there. Inside only.
//
// The same functions make the keys of the table and look requests up, so that "which beginnings" is said
// once. A path's points: 0 for one that begins with '/', before each further slash, and its end unless that
// is a slash. /a/b has "", "/a" and "/a/b"; /a/ has "" and "/a"; * has "*". Only as many are taken as the
// table can have keys for, whatever a client sends. The hash: 64x64-bit multiplications over eight bytes at a
// time, seeded. Keys are also compared whole.
#pragma once

#include <emmintrin.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace weir::lb {

// A rule's path has at most so many segments, a wildcard so many labels behind its star.
inline constexpr uint32_t kMaxRouteSegments = 63;
inline constexpr uint32_t kMaxWildcardLabels = 31;

inline uint64_t Mix(uint64_t a, uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t Load8(const char* p) {
  uint64_t word;
  memcpy(&word, p, sizeof(word));
  return word;
}

// The `size` bytes at p, 1 to 8 of them, with zeros behind. Reads nothing outside `text`, which has them.
inline uint64_t LoadUpTo8(const char* p, size_t size, std::string_view text) {
  const size_t unwanted_bits = 64 - 8 * size;
  if (text.data() + text.size() - p >= 8) return Load8(p) << unwanted_bits >> unwanted_bits;
  if (p + size - text.data() >= 8) return Load8(p + size - 8) >> unwanted_bits;
  uint64_t word = 0;
  memcpy(&word, p, size);
  return word;
}

// Of what has `hash`, and then the `size` > 0 bytes at p in `text`.
inline uint64_t HashOn(uint64_t hash, const char* p, size_t size, std::string_view text) {
  uint64_t length = size;
  for (; size > 8; size -= 8, p += 8) hash = Mix(hash ^ Load8(p), 0x9e3779b97f4a7c15u);
  return Mix(hash ^ LoadUpTo8(p, size, text), 0xbf58476d1ce4e5b9u ^ (length << 32));
}

// Bit i: p[i] is c, for the 16 bytes from p on, or what of them is before the end of `text`.
inline unsigned Where16(const char* p, char c, std::string_view text) {
  const char* const end = text.data() + text.size();
  const auto at = [c](const char* from) {
    const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(c))));
  };
  if (end - p >= 16) return at(p);
  if (text.size() >= 16) return at(end - 16) >> (16 - (end - p));
  unsigned mask = 0;
  for (const char* q = p; q < end; ++q) mask |= (*q == c ? 1u : 0u) << (q - p);
  return mask;
}

struct KeyPoint {
  uint32_t end = 0;  // the path up to here
  uint64_t hash = 0;
};

struct PathPoints {
  uint32_t count = 0;
  bool complete = false;  // the last point is the path's end, or before a slash that ends it
  KeyPoint points[kMaxRouteSegments + 1];

  // REQUIRES: most <= kMaxRouteSegments + 1. No more than `most` points, and none after `longest` bytes.
  PathPoints(std::string_view path, uint64_t seed, uint32_t most, uint32_t longest) {
    const char* const begin = path.data();
    const char* const end = begin + path.size();
    const char* last = begin;
    uint64_t hash = seed;
    const auto add = [&](const char* at) {
      if (count == most || static_cast<size_t>(at - begin) > longest) return false;
      if (at > last) hash = HashOn(hash, last, static_cast<size_t>(at - last), path);
      points[count++] = {static_cast<uint32_t>(at - begin), hash};
      last = at;
      return true;
    };
    for (const char* p = begin; p < end; p += 16) {
      for (unsigned mask = Where16(p, '/', path); mask != 0; mask &= mask - 1) {
        if (!add(p + std::countr_zero(mask))) return;
      }
    }
    complete = (!path.empty() && path.back() == '/') || add(end);
  }
};

// Of "a.b.example": "example", "b.example" (points 1 and 2: by number of labels), and the whole.
struct HostPoints {
  uint32_t labels = 0;
  uint64_t whole = 0;                       // its hash
  KeyPoint points[kMaxWildcardLabels + 1];  // proper endings; `end` is where the ending begins

  HostPoints(std::string_view host, uint64_t seed) {
    const char* const begin = host.data();
    const char* last = begin + host.size();  // where what is hashed already begins
    uint64_t hash = seed;
    // `at` is where a label begins, `behind` where it ends.
    const auto add = [&](const char* at, const char* behind) {
      if (behind > at) hash = HashOn(hash, at, static_cast<size_t>(behind - at), host);
      ++labels;
    };
    for (size_t rest = host.size(); rest > 0;) {
      const size_t from = rest > 16 ? rest - 16 : 0;
      unsigned mask = Where16(begin + from, '.', host);
      if (rest - from < 16) mask &= (1u << (rest - from)) - 1;
      for (; mask != 0;) {
        const unsigned bit = static_cast<unsigned>(std::bit_width(mask)) - 1;
        mask ^= 1u << bit;
        const char* const dot = begin + from + bit;
        add(dot + 1, last);
        if (labels <= kMaxWildcardLabels) points[labels] = {static_cast<uint32_t>(dot + 1 - begin), hash};
        last = dot;
      }
      rest = from;
    }
    if (!host.empty()) add(begin, last);
    whole = hash;
  }
};

}  // namespace weir::lb
