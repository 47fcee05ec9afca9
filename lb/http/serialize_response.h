// Writes the response head a client gets, from the parsed form only (RFC 9110 section 7.6, RFC 9112 section
// 4).
//
// Always `HTTP/1.1 status reason`; the upstream's end-to-end fields in their order, then Date if missing,
// Via, framing and Connection. 1xx get neither Date, framing nor Connection; 101 gets `Connection: upgrade`
// and Upgrade, which 426 keeps too.
#ifndef LB_HTTP_SERIALIZE_RESPONSE_H_
#define LB_HTTP_SERIALIZE_RESPONSE_H_

#include <cstddef>
#include <string_view>

#include "lb/http/framing.h"
#include "lb/http/request.h"
#include "lb/http/response.h"

namespace weir::http {

struct ResponseContext {
  BodyFraming body;          // of the message to the client, from DownstreamFraming
  uint8_t client_minor = 1;  // of the request
  bool keep_alive = true;    // the connection stays open after this response
  std::string_view date;     // IMF-fixdate, used if the upstream sent no Date
  std::string_view via_name;
  std::string_view extra_fields = {};  // whole lines, behind the upstream's
};

// What frames the body downstream: a length stays one, chunked and close-delimited bodies become chunked for
// HTTP/1.1 clients and close-delimited for HTTP/1.0 ones (then keep_alive must be false). kNone for 1xx, 204,
// 304, HEAD.
BodyFraming DownstreamFraming(const ResponseFacts& response, const RequestFacts& request);

size_t MaxSerializedBytes(const ResponseHead& head, const ResponseContext& context);

// Returns the bytes written. REQUIRES: as SerializeRequest; keep_alive is false if body is kUntilClose; body
// is not kChunked if client_minor is 0.
size_t SerializeResponse(const ResponseHead& head, const ResponseContext& context, char* out);

}  // namespace weir::http

#endif  // LB_HTTP_SERIALIZE_RESPONSE_H_
