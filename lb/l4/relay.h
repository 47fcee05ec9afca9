// Relay: moves bytes between a client and an upstream in both directions until both are done: TCP connections
// and, once upgraded, HTTP tunnels. Half-close is forwarded; a reset on one side becomes a reset on the
// other; each direction holds at most one slice in flight and a few of look-ahead, or, once it is bulk, what
// one pipe holds (core/splice.h), so a slow reader stops its writer (back-pressure by not reading). Bytes
// that were received before (leftovers of an upgrade) are put back into the streams beforehand.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/task.h"
#include "lb/client_connection.h"
#include "lb/upstream/upstream.h"

namespace weir::lb {

class Proxy;

struct RelayResult {
  uint64_t client_bytes = 0;    // from the client to the upstream
  uint64_t upstream_bytes = 0;  // from the upstream to the client
  bool reset = false;           // both sides are to be closed with RST
  const char* end = "";         // one of kTcpEndNames (lb/tcp_end.h)
};

// The upstream's events must wake the client's waiter. Neither side is closed here. `idle_ms`: no byte in
// either direction for so long ends it. `learns`: how it goes says whether the endpoint is well.
Task<RelayResult> Relay(Proxy& proxy, ClientConnection& client, UpstreamConnection& upstream,
                        uint32_t idle_ms, bool learns = false);

}  // namespace weir::lb
