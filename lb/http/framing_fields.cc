#include "lb/http/framing_fields.h"

#include "lb/http/chars.h"

namespace weir::http {
namespace {

// Content-Length = 1*DIGIT. No sign, list or whitespace; and no leading zero, which the grammar allows but
// some readers take for octal.
bool ParseLength(std::string_view value, uint64_t* length) {
  constexpr size_t kMaxDigits = 19;  // of INT64_MAX
  if (value.empty() || value.size() > kMaxDigits) return false;
  if (value.size() > 1 && value.front() == '0') return false;
  uint64_t sum = 0;
  for (char c : value) {
    if (!IsDigit(c)) return false;
    sum = sum * 10 + static_cast<uint64_t>(c - '0');
  }
  *length = sum;
  return sum <= kMaxBodyLength;
}

}  // namespace

const char* FramingFields::AddLength(std::string_view value) {
  if (has_length_) return "repeated Content-Length";
  if (chunked_) return "both Transfer-Encoding and Content-Length";
  if (!ParseLength(value, &length_)) return "invalid Content-Length";
  has_length_ = true;
  return nullptr;
}

const char* FramingFields::AddCoding(std::string_view value, uint8_t minor) {
  if (minor == 0) return "Transfer-Encoding in HTTP/1.0";
  if (chunked_) return "repeated Transfer-Encoding";
  if (has_length_) return "both Transfer-Encoding and Content-Length";
  if (!IsKeyword(value, "chunked")) return "unsupported Transfer-Encoding";
  chunked_ = true;
  return nullptr;
}

}  // namespace weir::http
