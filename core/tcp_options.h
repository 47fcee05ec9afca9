// TcpOptions: how the kernel treats a TCP connection. A plain value; what is left at its default is the
// system's, and costs no call.
#pragma once

#include <cstdint>
#include <string>

namespace weir {

struct TcpOptions {
  // Probes of a connection that is quiet (RFC 9293 section 3.8.4): the first after so long, then one each
  // interval; after so many without an answer it is over. 0 of the first: no probes; else the system's.
  uint32_t keepalive_idle_s = 0;
  uint32_t keepalive_interval_s = 0;
  uint32_t keepalive_count = 0;
  // What was sent may lie without an acknowledgement for so long, then it is over (RFC 5482).
  uint32_t user_timeout_ms = 0;
  // Small segments go out at once, also while others are not acknowledged (RFC 9293 section 3.7.4).
  bool no_delay = true;
  // Data in the SYN (RFC 7413). Of a listener: so many may wait whose handshake is not over. Of a connection
  // to be made: any other number than 0 is yes.
  uint32_t fast_open = 0;
  std::string congestion_control;  // its name

  bool operator==(const TcpOptions&) const = default;
};

}  // namespace weir
