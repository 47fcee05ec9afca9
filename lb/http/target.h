// The request-target and the authority (RFC 9112 section 3.2, RFC 3986 section 3). Private to this folder.
//
// Accepted: origin-form; absolute-form with http or https; `*` for OPTIONS. The path has RFC 3986 characters
// with whole percent-encodings, plus | ^ ` { } [ ], which browsers send as they are; the query also " \ and a
// bare %, for the same reason. Refused everywhere: controls, space, bytes from 0x80 up, '#', '<', '>';
// authority-form (CONNECT is not served). An authority is uri-host[:port] with a non-empty host: no userinfo,
// no comma, port at most 65535, a real IPv6 address within brackets.
#ifndef LB_HTTP_TARGET_H_
#define LB_HTTP_TARGET_H_

#include <string_view>

#include "lb/http/chars.h"
#include "lb/http/method.h"

namespace weir::http {

// Every character some form of target may have: what ends the target in a request line.
inline constexpr CharSet kTargetChars =
    CharSet::Where([](char c) { return c > 0x20 && c < 0x7f && !IsOneOf(c, "#<>"); });

struct Target {
  std::string_view path;       // path and query, or "*"
  bool lacks_slash = false;    // `http://h?q`: path begins with '?'
  std::string_view authority;  // of absolute-form, else empty
  bool https = false;
};

// The end of the good origin-form at `p`, which is `p` if there is none; at most memory.end.
const char* SkipOriginForm(const char* p, const Memory& memory);

// `text` consists of kTargetChars. Null: fine; else what is wrong.
const char* ParseTarget(std::string_view text, Method method, Target* out);

bool IsValidAuthority(std::string_view text, const Memory& memory);

}  // namespace weir::http

#endif  // LB_HTTP_TARGET_H_
