// The route that a connection takes whose listener has routes: by the ClientHello that it begins with, which
// is read and passed on as it came (lb/tls_hello).
#pragma once

#include <cstdint>
#include <string_view>

#include "core/buffer.h"
#include "core/task.h"
#include "lb/client_connection.h"
#include "lb/generation.h"

namespace weir::lb {

class Proxy;

// What a ClientHello asked for, as texts. From the shard's arena; they lie behind it.
struct HelloNames {
  uint16_t server_bytes = 0;
  uint16_t protocols_bytes = 0;

  std::string_view server() const { return {reinterpret_cast<const char*>(this + 1), server_bytes}; }
  // With commas between: "h2,http/1.1".
  std::string_view protocols() const {
    return {reinterpret_cast<const char*>(this + 1) + server_bytes, protocols_bytes};
  }
};

struct HelloRoute {
  const RouteSettings* route = nullptr;  // null: it goes nowhere
  const char* end = nullptr;             // why, in the access log; null: it said nothing, and nothing is said
  HelloNames* names = nullptr;           // null: there was no ClientHello, or it named nothing
  Slice begin;  // what came, where that was in several pieces: it goes before all that the stream still has
};

// Waits for the ClientHello until `timeouts: client_header` is over. Whatever is wrong with it is counted,
// and ends the connection before anybody else has heard of it. What is no TLS takes a route as well, if there
// is one that asks for neither name nor protocol. `names` is the caller's to free.
Task<HelloRoute> RouteByHello(Proxy& proxy, ClientConnection& client, SnapshotHold hold);

}  // namespace weir::lb
