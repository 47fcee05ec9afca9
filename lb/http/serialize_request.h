// Writes the request an upstream gets, from the parsed form only (RFC 9110 section 7.6, RFC 9112 section 3).
//
// Always `METHOD target HTTP/1.1`, Host first, then the client's end-to-end fields in their order, then ours:
// framing, Expect, Max-Forwards, TE and Upgrade with their Connection, X-Forwarded-For/-Proto/-Host and
// Forwarded as the context says, X-Request-ID, Via. What the client's Connection names is removed before ours
// are added. Fields named like ours with other punctuation (X_Forwarded_For) and the client's own copies of
// ours, written or not, are dropped.
#ifndef LB_HTTP_SERIALIZE_REQUEST_H_
#define LB_HTTP_SERIALIZE_REQUEST_H_

#include <cstddef>
#include <string_view>

#include "lb/http/framing.h"
#include "lb/http/request.h"

namespace weir::http {

struct RequestContext {
  BodyFraming body;                      // usually head.facts.body
  std::string_view client_ip;            // X-Forwarded-For, whole; empty: omitted
  std::string_view proto = "http";       // X-Forwarded-Proto
  std::string_view request_id;           // X-Request-ID when the client's is absent or invalid
  std::string_view via_name;             // our pseudonym
  std::string_view default_host;         // Host of an HTTP/1.0 request that has none
  std::string_view forwarded_host = {};  // X-Forwarded-Host; empty: received_host
  std::string_view received_host = {};   // the Host that came, if `authority` is another; empty: that
  std::string_view forwarded = {};       // Forwarded, whole; empty: omitted
  bool x_forwarded = true;               // X-Forwarded-* are written
  std::string_view extra_fields = {};    // whole lines, behind the client's
};

// An upper bound for what SerializeRequest writes.
size_t MaxSerializedBytes(const RequestHead& head, const RequestContext& context);

// Returns the bytes written. REQUIRES: head was parsed with kDone and its bytes are unchanged; `out` has
// MaxSerializedBytes(head, context) bytes and does not overlap them.
size_t SerializeRequest(const RequestHead& head, const RequestContext& context, char* out);

}  // namespace weir::http

#endif  // LB_HTTP_SERIALIZE_REQUEST_H_
