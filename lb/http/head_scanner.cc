#include "lb/http/head_scanner.h"

#include "lb/http/chars.h"

namespace weir::http {
namespace {

// More than a start line has beside its target or reason: an unfinished one this long will not become valid.
constexpr uint32_t kStartLineRest = 64;

}  // namespace

bool HeadScanner::Ready(std::string_view bytes, const Limits& limits) {
  const char* const begin = bytes.data();
  const char* const end = begin + bytes.size();
  const char* p = begin + scanned_;
  while (true) {
    p = SkipValue(p, {begin, end});
    scanned_ = static_cast<uint32_t>(p - begin);
    if (scanned_ > limits.header_bytes) return true;
    if (!start_line_seen_ && scanned_ > limits.target_bytes + kStartLineRest) return true;
    if (end - p < 2) return p < end && *p != '\r';  // a lone CR waits for its LF
    if (p[0] != '\r' || p[1] != '\n') return true;
    const bool empty_line = scanned_ == line_start_;
    p += 2;
    scanned_ += 2;
    line_start_ = scanned_;
    const bool leading = empty_line && scanned_ == 2;  // tolerated once before a request
    if (empty_line && !leading) return true;
    if (!empty_line && !start_line_seen_) {
      start_line_seen_ = true;
      return true;
    }
  }
}

}  // namespace weir::http
