// ClientConnection: what a client's connection costs while nothing happens on it. Everything a request needs
// is made after its first byte and gone after its last. Owner: the Proxy's slab, on one shard; used by one
// session coroutine, which parks on it (it is the Waiter); when the session has ended, the same Waiter runs
// the closing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/address.h"
#include "core/shard.h"
#include "core/stream.h"

namespace weir::lb {

struct UpstreamConnection;

// What a PROXY header said of a connection beyond its address. From the shard's arena, for as long as the
// connection; the TLVs lie behind it.
struct Introduction {
  // As many as a header may have.
  static constexpr size_t kMostTlvBytes = 4096;

  SocketAddress peer;         // who sent the header
  SocketAddress destination;  // where the client connected to, there
  uint32_t tlv_bytes = 0;

  std::string_view tlvs() const { return {reinterpret_cast<const char*>(this + 1), tlv_bytes}; }
};

struct ClientConnection : Waiter {
  static constexpr uint16_t kNoListener = UINT16_MAX;

  ClientConnection() {
    stream.SetWaiter(this);
    timer.waiter = this;
  }

  Stream stream;
  Timer timer;
  SocketAddress peer;                    // the client; not who connected, if a PROXY header was believed
  uint32_t requests = 0;                 // begun
  Introduction* introduction = nullptr;  // null: there was no PROXY header, or one that said nothing
  UpstreamConnection* own = nullptr;     // idle, for the next request of this client alone
  int64_t held_since_ns = 0;  // its bytes have lain in buffers since and did not move on; 0: none lie there
  uint32_t count_slot = UINT32_MAX;  // where it counts as its client's (ClientTable); UINT32_MAX: nowhere
  uint16_t listener = kNoListener;   // its place in the proxy; a tunnel has none
  bool over_limit = false;           // gets a 503 only
  bool over_client_limit = false;    // gets a 429 only
  bool cut = false;                  // to be reset as soon as its session looks
};

}  // namespace weir::lb
