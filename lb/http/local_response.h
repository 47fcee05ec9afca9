// Complete small responses of our own: errors, and the answers to TRACE and OPTIONS that must not travel
// further. All have Date, Content-Length and, if asked, Connection. Nothing the client sent is repeated in an
// error.
#ifndef LB_HTTP_LOCAL_RESPONSE_H_
#define LB_HTTP_LOCAL_RESPONSE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lb/http/request.h"

namespace weir::http {

struct LocalContext {
  std::string_view date;  // IMF-fixdate
  uint8_t client_minor = 1;
  bool keep_alive = false;    // false writes `Connection: close`
  bool head_request = false;  // headers only
};

inline constexpr size_t kMaxErrorBytes = 1024;

// A text/plain response "status phrase[: reason]". `reason` may be empty (REQUIRES: at most 256 bytes,
// constant text); retry_after_s 0 writes no Retry-After; `extra_fields`: whole lines. Returns the bytes
// written, at most kMaxErrorBytes and what the extra fields have.
size_t SerializeError(uint16_t status, std::string_view reason, uint32_t retry_after_s,
                      const LocalContext& context, char* out, std::string_view extra_fields = {});

// A response that a route gives, or its page for an error. 204 and 304 have neither length nor body (RFC
// 9110 8.6).
struct FixedResponse {
  uint16_t status = 200;
  std::string_view location = {};      // Location; empty: none
  std::string_view content_type = {};  // empty: none
  std::string_view body = {};
  std::string_view extra_fields = {};  // whole lines
  uint32_t retry_after_s = 0;          // 0: no Retry-After
  bool no_store = false;               // Cache-Control: no-store
};
size_t MaxFixedBytes(const FixedResponse& response);
// `out` has MaxFixedBytes(response).
size_t SerializeFixed(const FixedResponse& response, const LocalContext& context, char* out);

// For head.MustAnswerHere(): OPTIONS gets 200 with Allow; TRACE gets 200 message/http with the request as
// received, without its credentials (RFC 9110 9.3.8). `out` has MaxLocalAnswerBytes(head) bytes,
// and what `extra_fields` have, which are whole lines.
size_t MaxLocalAnswerBytes(const RequestHead& head);
size_t SerializeLocalAnswer(const RequestHead& head, const LocalContext& context, char* out,
                            std::string_view extra_fields = {});

}  // namespace weir::http

#endif  // LB_HTTP_LOCAL_RESPONSE_H_
