// Request methods (RFC 9110 section 9). Any token is a method; those with a meaning for a proxy have a name
// here, the rest are kOther and are forwarded by their text. Methods are case-sensitive: `get` is kOther.
#ifndef LB_HTTP_METHOD_H_
#define LB_HTTP_METHOD_H_

#include <cstdint>
#include <string_view>

namespace weir::http {

enum class Method : uint8_t { kOther, kGet, kHead, kPost, kPut, kDelete, kConnect, kOptions, kTrace, kPatch };

Method MethodOf(std::string_view text);

// Safe: the client asks for no change of state (section 9.2.1).
constexpr bool IsSafe(Method method) {
  return method == Method::kGet || method == Method::kHead || method == Method::kOptions ||
         method == Method::kTrace;
}

// Idempotent: sending it twice means the same as once (section 9.2.2), so it may be retried. PATCH and POST
// are not.
constexpr bool IsIdempotent(Method method) {
  return IsSafe(method) || method == Method::kPut || method == Method::kDelete;
}

}  // namespace weir::http

#endif  // LB_HTTP_METHOD_H_
