// The one spelling of a host: lower case, without port, without one trailing dot (the root's, RFC 1034 3.1);
// an IPv6 address in brackets and in its canonical text. What routes are matched against. Pure, no
// allocation.
#pragma once

#include <cstddef>
#include <string_view>

namespace weir::lb {

// A name has at most 253 bytes (RFC 1035 2.3.4).
inline constexpr size_t kHostBytes = 256;

// `authority` is what lb/http accepts: host[:port]. Empty if there is no host, or none that fits into `out`:
// such a request matches only rules for every host.
std::string_view NormaliseHost(std::string_view authority, char (&out)[kHostBytes]);

}  // namespace weir::lb
