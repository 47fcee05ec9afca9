#include "lb/http/field_line.h"

namespace weir::http {

LineState FieldLineReader::EmptyLine() {
  if (end_ - p_ < 2) return LineState::kNeedMore;
  if (p_[1] != '\n') return Fail("bare CR");
  p_ += 2;
  return LineState::kEnd;
}

LineState FieldLineReader::FailName(const char* at) {
  if (at == p_ && IsBlank(*at)) return Fail("line folding or whitespace before a field name");
  if (at == p_ && *at == ':') return Fail("empty field name");
  if (*at == '\n') return Fail("bare LF");
  if (*at == '\r') return Fail("field line without colon");
  if (IsBlank(*at)) return Fail("whitespace before the colon");
  return Fail("invalid character in a field name");
}

LineState FieldLineReader::FailValue(const char* at) {
  if (at == end_) return LineState::kNeedMore;
  if (*at == '\n') return Fail("bare LF");
  if (*at != '\r') return Fail("control character in a field value");
  if (end_ - at < 2) return LineState::kNeedMore;
  return Fail("bare CR");
}

}  // namespace weir::http
