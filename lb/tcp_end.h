// Why a TCP connection ended, as the access log's `end` and the metrics by reason have it.
#pragma once

#include <cstddef>
#include <iterator>
#include <string_view>

namespace weir::lb {

inline constexpr std::string_view kTcpEndNames[] = {
    "client_closed",   // both sides are done, and the client was the first
    "server_closed",   // likewise the endpoint
    "client_reset",    // the client broke it off, while it was connected for or later
    "upstream_reset",  // likewise the endpoint
    "idle_timeout",    // no byte in either direction
    "cut",             // at the end of the drain time
    "out_of_buffers",  // it held some for long while there were too few
    "no_route",        // its listener's routes have none for it
    "tls_hello",       // what it began with was no right ClientHello; the log's word has the reason behind it
    "denied",          // its network is not allowed
    "upstream_unreachable",  // no endpoint could be connected to
    "out_of_memory",
    "other",
};
inline constexpr size_t kTcpEnds = std::size(kTcpEndNames);

// Its place in these.
constexpr size_t TcpEndOf(std::string_view name) {
  if (name.starts_with("tls_hello_")) name = "tls_hello";
  for (size_t i = 0; i < kTcpEnds; ++i) {
    if (kTcpEndNames[i] == name) return i;
  }
  return kTcpEnds - 1;
}

}  // namespace weir::lb
