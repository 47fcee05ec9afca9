// The head of an HTTP/1.x response from an upstream, strictly parsed (RFC 9112 sections 4 and 6, RFC 9110
// section 15).
//
// Scratch space like RequestHead: one per shard, views into the caller's bytes. Interim (1xx) and final
// responses alike; after a 1xx other than 101 another head follows. Every error is status 502: the upstream
// broke a rule, its connection must not be reused. Errors beyond syntax: Content-Length repeated, listed or
// beside Transfer-Encoding; any transfer coding but a lone chunked; Transfer-Encoding in HTTP/1.0; a 101 that
// was not asked for. 1xx and 204 have no body whatever their fields say; neither have 304 and answers to
// HEAD, whose Content-Length is kept as information.
#ifndef LB_HTTP_RESPONSE_H_
#define LB_HTTP_RESPONSE_H_

#include <cstdint>
#include <string_view>
#include <type_traits>

#include "lb/http/field_list.h"
#include "lb/http/framing.h"
#include "lb/http/limits.h"
#include "lb/http/parse_result.h"
#include "lb/http/request.h"
#include "lb/http/upgrade_list.h"

namespace weir::http {

struct ResponseFacts {
  BodyFraming body;                 // what to read from the upstream
  uint64_t content_length = 0;      // the field's value, if has_content_length; also of HEAD and 304
  uint16_t status = 0;              // 100 to 599
  uint8_t minor = 1;                // 0 or 1
  bool keep_alive = false;          // the upstream will take another request (never with kUntilClose)
  bool has_content_length = false;  // never with 1xx and 204

  bool interim() const { return status < 200 && status != 101; }
};
static_assert(std::is_trivially_copyable_v<ResponseFacts> && sizeof(ResponseFacts) <= 32);

class ResponseHead : public FieldList {
 public:
  explicit ResponseHead(const Limits& limits);  // REQUIRES: Valid(limits)

  ResponseFacts facts;
  std::string_view reason;
  UpgradeList upgrade;  // 101 and 426: the protocols named in Upgrade
  uint32_t head_bytes = 0;

 private:
  friend class ResponseParser;
  void Clear();
};

// `request` is the request being answered: its method and its upgrade list matter.
ParseResult ParseResponse(std::string_view bytes, const RequestFacts& request, ResponseHead& out);

}  // namespace weir::http

#endif  // LB_HTTP_RESPONSE_H_
