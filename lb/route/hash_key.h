// HashKey: the part of a request by which it always meets the same side or endpoint, as the configuration
// names it: client_ip, header:NAME, cookie:NAME, path, query:NAME, sni. The hash has no key and no seed: it
// is the same on every shard, in every process and after every restart, for as long as Weir lives (a test
// pins it); whoever chooses the key can choose where it leads, as everywhere with consistent hashing.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "lb/route/table.h"

namespace weir::lb {

struct HashKey {
  enum class Of : uint8_t { kClientIp, kHeader, kCookie, kPath, kQuery, kServerName };

  Of of = Of::kClientIp;
  std::string name;  // of the header, cookie or parameter

  // False: `error` says what is accepted.
  static bool Parse(std::string_view text, HashKey* out, std::string* error);
  std::string ToString() const;
  // Of what the request has, or nothing if it does not have it, or empty: of several headers, cookies or
  // parameters of the name the first; of a parameter the decoded value (the first 2 KiB, else as it came).
  std::optional<uint64_t> HashOf(const RouteRequest& request) const;

  bool operator==(const HashKey&) const = default;
};

// The first of `keys` that the request has, and its hash; null: none of them.
const HashKey* FindHash(std::span<const HashKey> keys, const RouteRequest& request, uint64_t* hash);

// What a cookie says by which a client is held to its endpoint.
inline constexpr size_t kHashIdBytes = 16;
std::string_view WriteHashId(uint64_t id, char (&memory)[kHashIdBytes]);

uint64_t StableHash(std::string_view bytes);
// The finaliser of splitmix64: a bijection in which every bit depends on every bit.
uint64_t MixBits(uint64_t z);

}  // namespace weir::lb
