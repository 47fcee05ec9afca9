// Content-Length and Transfer-Encoding of one head, and the rules that keep two readers of it from seeing two
// bodies (RFC 9112 section 6, RFC 9110 section 8.6). The same for requests and responses. Private to this
// folder.
//
// Each may stand there once, never both; the only coding is a lone chunked, and none in HTTP/1.0.
#ifndef LB_HTTP_FRAMING_FIELDS_H_
#define LB_HTTP_FRAMING_FIELDS_H_

#include <cstdint>
#include <string_view>

#include "lb/http/framing.h"

namespace weir::http {

class FramingFields {
 public:
  // Null: fine; else what is wrong.
  const char* AddLength(std::string_view value);
  const char* AddCoding(std::string_view value, uint8_t minor);

  bool has_length() const { return has_length_; }
  uint64_t length() const { return length_; }

  // kNone if there is neither.
  BodyFraming body() const {
    if (chunked_) return BodyFraming::Chunked();
    return has_length_ ? BodyFraming::Length(length_) : BodyFraming::None();
  }

 private:
  uint64_t length_ = 0;
  bool has_length_ = false;
  bool chunked_ = false;
};

}  // namespace weir::http

#endif  // LB_HTTP_FRAMING_FIELDS_H_
