// SipHash-2-4 with 128 bits (Aumasson and Bernstein, 2012): a keyed hash that nobody can predict without the
// key. Not for storing passwords: it is quick on purpose.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace weir::lb {

using SipKey = std::array<uint64_t, 2>;

struct Digest {
  uint64_t low = 0;
  uint64_t high = 0;

  friend bool operator==(const Digest& a, const Digest& b) {
    return ((a.low ^ b.low) | (a.high ^ b.high)) == 0;
  }
};

Digest SipHash128(const SipKey& key, std::string_view bytes);

}  // namespace weir::lb
