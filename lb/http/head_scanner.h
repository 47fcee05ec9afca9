// Tells when a growing head is worth parsing, so that a peer who sends one byte at a time costs O(n), not
// O(n^2).
//
// Use: parse once when the first bytes arrive. If that says kNeedMore, keep the bytes, and after each further
// arrival call Ready(all bytes so far); call the parser only when it returns true. It returns true when the
// head is complete, when the start line has just become complete (so that a bad one is answered at once),
// when a byte was seen that no head may contain, and when a limit is exceeded: in each case the parser then
// gives the precise answer. It may be true early (the parser says kNeedMore again), never late for a complete
// head. Works for requests, responses and trailer sections. One per connection while a head is partial; 12
// bytes; Reset() before the next head.
#ifndef LB_HTTP_HEAD_SCANNER_H_
#define LB_HTTP_HEAD_SCANNER_H_

#include <cstdint>
#include <string_view>

#include "lb/http/limits.h"

namespace weir::http {

class HeadScanner {
 public:
  // REQUIRES: `bytes` begins with the bytes of the previous call since Reset().
  bool Ready(std::string_view bytes, const Limits& limits);
  void Reset() { *this = HeadScanner(); }

 private:
  uint32_t scanned_ = 0;
  uint32_t line_start_ = 0;
  bool start_line_seen_ = false;
};

}  // namespace weir::http

#endif  // LB_HTTP_HEAD_SCANNER_H_
