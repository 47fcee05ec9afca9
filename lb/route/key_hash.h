// Hashes of a path's beginnings and of a host's endings. One pass over the text keeps the state after every
// eight bytes; the hash of any beginning (or ending) is then one more step, made only for those that a table
// has keys of. Inside only.
//
// The same classes make the keys of the table and look requests up, so that "which beginnings" is said once.
// A path's points: 0 for one that begins with '/', before each further slash, and its end unless that is a
// slash. /a/b has "", "/a" and "/a/b"; /a/ has "" and "/a"; * has "*". Only as many are taken as the table
// can have keys for, whatever a client sends. The hash: 64x64-bit multiplications, seeded. Keys are also
// compared whole.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "lb/route/host.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace weir::lb {

// A rule's path has at most so many segments and bytes, a wildcard so many labels behind its star.
inline constexpr uint32_t kMaxRouteSegments = 63;
inline constexpr uint32_t kMaxRoutePathBytes = 2'048;
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

// Most often both are short, and a call of memcmp takes longer than the comparison.
inline bool SameBytes(std::string_view a, std::string_view b) {
  const size_t size = a.size();
  if (size != b.size()) return false;
  if (size >= 8) {
    for (size_t at = 0; at + 8 < size; at += 8) {
      if (Load8(a.data() + at) != Load8(b.data() + at)) return false;
    }
    return Load8(a.data() + size - 8) == Load8(b.data() + size - 8);
  }
  return std::equal(a.begin(), a.end(), b.begin());
}

inline uint64_t HashEight(uint64_t state, const char* p) {
  return Mix(state ^ Load8(p), 0x9e3779b97f4a7c15u);
}

// The last step, for a text of `length` bytes of which the `size` at p, 0 to 8, are not in `state` yet.
inline uint64_t HashLast(uint64_t state, const char* p, size_t size, size_t length, std::string_view text) {
  const uint64_t word = size == 0 ? 0 : LoadUpTo8(p, size, text);
  return Mix(state ^ word, 0xbf58476d1ce4e5b9u ^ (uint64_t{length} << 32));
}

// How many bytes of a text of `length` the last step takes.
constexpr size_t LastBytes(size_t length) { return length == 0 ? 0 : (length - 1) % 8 + 1; }

// Bit i: p[i] is c, for the 16 bytes from p on, or what of them is before the end of `text`.
inline unsigned Where16(const char* p, char c, std::string_view text) {
  const char* const end = text.data() + text.size();
#if defined(__SSE2__)
  const auto at = [c](const char* from) {
    const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(c))));
  };
  if (end - p >= 16) return at(p);
  if (text.size() >= 16) return at(end - 16) >> (16 - (end - p));
#endif
  unsigned mask = 0;
  for (const char* q = p; q < end && q < p + 16; ++q) mask |= (*q == c ? 1u : 0u) << (q - p);
  return mask;
}

class PathKeys {
 public:
  // No more than `most` points, and none after `longest` bytes. REQUIRES: at most kMaxRouteSegments + 1, and
  // kMaxRoutePathBytes.
  PathKeys(std::string_view path, uint64_t seed, uint32_t most, uint32_t longest) : path_(path) {
    const char* const begin = path.data();
    states_[0] = seed;
    const size_t hashed = std::min<size_t>(path.size(), longest);
    for (size_t i = 0; 8 * i + 8 < hashed; ++i) states_[i + 1] = HashEight(states_[i], begin + 8 * i);
    for (size_t from = 0; from < path.size(); from += 16) {
      for (unsigned mask = Where16(begin + from, '/', path); mask != 0; mask &= mask - 1) {
        if (!Add(from + static_cast<size_t>(std::countr_zero(mask)), most, longest)) return;
      }
    }
    complete_ = (!path.empty() && path.back() == '/') || Add(path.size(), most, longest);
  }

  uint32_t count() const { return count_; }
  // Is the last point the path's end, or before a slash that ends it?
  bool complete() const { return complete_; }
  std::string_view text(uint32_t point) const { return path_.substr(0, ends_[point]); }
  uint64_t hash(uint32_t point) const {
    const size_t length = ends_[point];
    const size_t last = LastBytes(length);
    return HashLast(states_[(length - last) / 8], path_.data() + length - last, last, length, path_);
  }

 private:
  bool Add(size_t end, uint32_t most, uint32_t longest) {
    if (count_ == most || end > longest) return false;
    ends_[count_++] = static_cast<uint32_t>(end);
    return true;
  }

  const std::string_view path_;
  uint32_t count_ = 0;
  bool complete_ = false;
  // Neither is cleared: that would take longer than the rest.
  uint32_t ends_[kMaxRouteSegments + 1];
  uint64_t states_[kMaxRoutePathBytes / 8 + 1];
};

class HostKeys {
 public:
  // REQUIRES: at most kHostBytes.
  HostKeys(std::string_view host, uint64_t seed) : host_(host) {
    states_[0] = seed;
    const char* const end = host.data() + host.size();
    for (size_t i = 0; 8 * i + 8 < host.size(); ++i) states_[i + 1] = HashEight(states_[i], end - 8 * i - 8);
  }

  std::string_view text() const { return host_; }
  uint64_t hash() const { return HashFrom(0); }
  uint64_t HashFrom(size_t begin) const {
    const size_t length = host_.size() - begin;
    const size_t last = LastBytes(length);
    return HashLast(states_[(length - last) / 8], host_.data() + begin, last, length, host_);
  }

  // Where the endings with 1, 2, ... labels begin, at [1], [2], ...; the host itself is none of them. Returns
  // how many there are, at most kMaxWildcardLabels.
  uint32_t FindEndings(uint16_t (&begins)[kMaxWildcardLabels + 1]) const {
    uint32_t count = 0;
    size_t rest = host_.size();
    while (rest > 0) {
      const size_t from = rest > 16 ? rest - 16 : 0;
      unsigned mask = Where16(host_.data() + from, '.', host_);
      if (rest - from < 16) mask &= (1u << (rest - from)) - 1;
      while (mask != 0) {
        const auto bit = static_cast<unsigned>(std::bit_width(mask)) - 1;
        mask ^= 1u << bit;
        const size_t dot = from + bit;
        if (dot == 0 || count == kMaxWildcardLabels) return count;  // a star stands for something
        begins[++count] = static_cast<uint16_t>(dot + 1);
      }
      rest = from;
    }
    return count;
  }

 private:
  const std::string_view host_;
  uint64_t states_[kHostBytes / 8 + 1];  // not cleared, either
};

}  // namespace weir::lb
