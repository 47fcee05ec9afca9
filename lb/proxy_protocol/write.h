// Writes the PROXY header that is to come first on a connection.
#pragma once

#include <cstddef>
#include <string_view>

#include "lb/proxy_protocol/header.h"

namespace weir::lb {

// What is told of a connection. Of a source and a destination of different families the IPv4 one is told as
// IPv6 (::ffff:a.b.c.d); where one of them is no IP address, both are unknown (v1 UNKNOWN, v2 UNSPEC).
struct ProxyFacts {
  bool local = false;  // Weir's own connection: v1 UNKNOWN, v2 LOCAL, and nothing else of these
  SocketAddress source;
  SocketAddress destination;
  // Version 2 only; empty, or longer than may be: left out.
  std::string_view authority;
  std::string_view unique_id;
  bool crc32c = false;
};

inline constexpr size_t kMostAuthorityBytes = 255;
inline constexpr size_t kMostWrittenProxyBytes =
    ProxyHeader::kFixedBytes + 36 + (3 + kMostAuthorityBytes) + (3 + ProxyHeader::kMostUniqueIdBytes) + 7;

// Returns the bytes written, at most kMostWrittenProxyBytes. REQUIRES: version is not kNone.
size_t WriteProxyHeader(ProxyVersion version, const ProxyFacts& facts, char* out);

}  // namespace weir::lb
