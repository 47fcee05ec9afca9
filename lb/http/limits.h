// What one message head may cost. One value of this struct is chosen at start and shared by every parser of
// a shard; nothing in lb/http grows beyond it.
//
// header_bytes counts a whole head: start line, fields and the empty line (RFC 9112 section 2.1). A request
// above it is 431, a response 502. It is also the limit of a trailer section.
// fields       counts field lines. One more is 431 (502 in a response).
// target_bytes counts the request-target as received. One more is 414. Also the limit of a reason phrase
// (502).
#ifndef LB_HTTP_LIMITS_H_
#define LB_HTTP_LIMITS_H_

#include <cstdint>

namespace weir::http {

struct Limits {
  uint32_t header_bytes = 16384;
  uint32_t fields = 100;
  uint32_t target_bytes = 8192;
};

// Bounds within which Limits may be configured; parsers CHECK nothing beyond these.
inline constexpr uint32_t kMinHeaderBytes = 512;
inline constexpr uint32_t kMaxHeaderBytes = 1 << 20;
inline constexpr uint32_t kMaxFields = 10000;

constexpr bool Valid(const Limits& limits) {
  return limits.header_bytes >= kMinHeaderBytes && limits.header_bytes <= kMaxHeaderBytes &&
         limits.fields > 0 && limits.fields <= kMaxFields && limits.target_bytes > 0 &&
         limits.target_bytes < limits.header_bytes;
}

}  // namespace weir::http

#endif  // LB_HTTP_LIMITS_H_
