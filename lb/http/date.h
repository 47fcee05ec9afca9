// IMF-fixdate, "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7). Pure arithmetic: no locale, no time
// zone.
#ifndef LB_HTTP_DATE_H_
#define LB_HTTP_DATE_H_

#include <cstddef>
#include <cstdint>

namespace weir::http {

inline constexpr size_t kDateBytes = 29;

// Writes kDateBytes bytes, no terminator. REQUIRES: 0 <= unix_seconds < 253402300800 (year 10000).
void FormatDate(int64_t unix_seconds, char* out);

}  // namespace weir::http

#endif  // LB_HTTP_DATE_H_
