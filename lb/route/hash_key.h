// HashKey: the part of a request by which it always meets the same side or endpoint, as the configuration
// names it: client_ip, header:NAME, cookie:NAME, path, query:NAME. The hash has no key and no seed: it is the
// same on every shard, in every process and after every restart, for as long as Weir lives (a test pins it);
// whoever chooses the key can choose where it leads, as everywhere with consistent hashing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lb/route/table.h"

namespace weir::lb {

struct HashKey {
  enum class Of : uint8_t { kClientIp, kHeader, kCookie, kPath, kQuery };

  Of of = Of::kClientIp;
  std::string name;  // of the header, cookie or parameter

  // False: `error` says what is accepted.
  static bool Parse(std::string_view text, HashKey* out, std::string* error);
  std::string ToString() const;
  // Of what the request has, or nothing if it does not have it, or empty: of several headers, cookies or
  // parameters of the name the first; of a parameter the decoded value (the first 2 KiB, else as it came).
  std::optional<uint64_t> HashOf(const RouteRequest& request) const;
};

uint64_t StableHash(std::string_view bytes);
// The finaliser of splitmix64: a bijection in which every bit depends on every bit.
uint64_t MixBits(uint64_t z);

}  // namespace weir::lb
