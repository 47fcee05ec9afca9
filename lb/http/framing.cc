#include "lb/http/framing.h"

#include "lb/http/chars.h"

namespace weir::http {

bool ParseContentLength(std::string_view value, uint64_t* length) {
  constexpr size_t kMaxDigits = 19;  // of INT64_MAX
  if (value.empty() || value.size() > kMaxDigits) return false;
  if (value.size() > 1 && value.front() == '0') return false;
  uint64_t sum = 0;
  for (char c : value) {
    if (!IsDigit(c)) return false;
    sum = sum * 10 + static_cast<uint64_t>(c - '0');
  }
  if (sum > kMaxBodyLength) return false;
  *length = sum;
  return true;
}

bool IsLoneChunked(std::string_view value) { return IsKeyword(value, "chunked"); }

}  // namespace weir::http
