// AccessRecord: the facts of one request or TCP connection for its log line. Views live only during the call.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/address.h"

namespace weir::lb {

struct AccessRecord {
  bool tcp = false;
  uint8_t minor = 1;        // HTTP only: of the client's HTTP/1.x
  bool has_version = true;  // HTTP only: else it was refused before that was read
  SocketAddress client;
  SocketAddress peer;       // who connected: the client, or who sent its PROXY header
  std::string_view tlvs;    // of that header
  std::string_view sni;     // what a TLS client asked for that is passed on; empty: nothing, or it is none
  std::string_view alpn;    // likewise: protocols with commas between
  std::string_view user;    // HTTP only: who has shown the right password; empty: nobody was asked, or has
  std::string_view method;  // HTTP only
  std::string_view target;  // HTTP only: as the client sent it
  bool target_cut = false;  // and that was longer
  std::string_view forwarded_target;  // HTTP only: path and query as an endpoint gets them; empty: none does
  std::string_view upstream;          // its name; empty: it was for none
  bool https = false;                 // HTTP only: what the client came by
  std::string_view host;              // HTTP only
  std::string_view request_id;        // HTTP only
  std::string_view request_head;      // HTTP only: as forwarded, whole; for a format that wants headers
  std::string_view kept_response;     // HTTP only: what Keep of the line's AccessFormat wrote, or nothing
  uint16_t status = 0;                // HTTP only; 0: no answer was sent
  uint64_t bytes_received = 0;        // from the client: body (HTTP), all (TCP)
  uint64_t bytes_sent = 0;            // to the client, heads included
  uint64_t body_bytes_sent = 0;       // to the client, without heads
  uint64_t total_us = 0;
  uint32_t connect_us = 0;                  // until an upstream connection was there; 0 on reuse
  uint32_t response_us = 0;                 // until the response head came
  const SocketAddress* endpoint = nullptr;  // null: none was reached
  uint32_t retries = 0;
  // Why it ended: "ok" (TCP: "client_closed", "server_closed"), or what went wrong ("client_abort", …).
  std::string_view end;
};

}  // namespace weir::lb
