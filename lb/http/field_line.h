// Reads one field line (RFC 9112 section 5): the same strict syntax for requests, responses and trailers.
// Private to this folder.
//
// Refused: obs-fold and whitespace before the name, empty or invalid names, whitespace before the colon, bare
// CR or LF, NUL, other controls and DEL. Whitespace around the value is trimmed; bytes from 0x80 up pass in
// values.
#ifndef LB_HTTP_FIELD_LINE_H_
#define LB_HTTP_FIELD_LINE_H_

#include <cstddef>
#include <cstdint>

#include "lb/http/chars.h"
#include "lb/http/field.h"

namespace weir::http {

enum class LineState : uint8_t { kField, kEnd, kNeedMore, kError };

// Moves over [p, end). After kField or kEnd `p` is behind the line; else it is where the problem was found.
class FieldLineReader {
 public:
  // `memory` ends where the bytes end so far, and may begin before `p`.
  FieldLineReader(const char* p, const Memory& memory) : p_(p), memory_(memory), end_(memory.end) {}

  LineState Next(Field& out);

  const char* position() const { return p_; }
  const char* reason() const { return reason_; }

 private:
  LineState Fail(const char* reason) {
    reason_ = reason;
    return LineState::kError;
  }
  LineState FailName(const char* at);
  LineState FailValue(const char* at);
  LineState EmptyLine();

  const char* p_;
  const Memory memory_;
  const char* const end_;
  const char* reason_ = "";
};

inline constexpr size_t kMaxFieldName = UINT16_MAX;

inline LineState FieldLineReader::Next(Field& out) {
  const char* const name = p_;
  const char* p = kPlainNameChars.Skip(name, memory_);
  bool plain = true;
  if (p < end_ && *p != ':') [[unlikely]] {
    if (p == name && *p == '\r') return EmptyLine();
    p = kTokenChars.Skip(p, memory_);
    plain = false;
  }
  if (p == end_) [[unlikely]]
    return LineState::kNeedMore;
  if (*p != ':' || p == name) [[unlikely]]
    return FailName(p);
  const size_t name_size = static_cast<size_t>(p - name);
  if (name_size > kMaxFieldName) [[unlikely]]
    return Fail("field name too long");

  const char* value = p + 1;
  if (value < end_ && *value == ' ') [[likely]]
    ++value;
  while (value < end_ && IsBlank(*value)) [[unlikely]]
    ++value;
  const char* const cr = SkipValue(value, memory_);
  if (end_ - cr < 2 || cr[0] != '\r' || cr[1] != '\n') [[unlikely]]
    return FailValue(cr);
  const char* value_end = cr;
  while (value_end > value && IsBlank(value_end[-1])) --value_end;

  out.name_data = name;
  out.value_data = value;
  out.value_size = static_cast<uint32_t>(value_end - value);
  out.name_size = static_cast<uint16_t>(name_size);
  out.id = plain ? FieldIdOf({name, name_size}) : FieldId::kUnknown;
  const bool verbatim = value == p + 2 && p[1] == ' ' && value_end == cr;
  out.flags = static_cast<uint8_t>((verbatim ? Field::kVerbatim : 0) | (plain ? 0 : Field::kOddName));
  p_ = cr + 2;
  return LineState::kField;
}

// All field lines of a head or trailer section, with the empty line.
struct FieldSection {
  LineState state;     // kEnd, kNeedMore or kError
  uint32_t count;      // fields read
  const char* end;     // behind the empty line, of kEnd
  const char* reason;  // of kError; null if there are more than `limit` fields
};

// Reads into fields[0, limit], the last of which only serves to see what is too many. `on_field` returns null
// or why the field is refused, in which case kError has that reason.
template <typename OnField>
FieldSection ReadFieldSection(const char* p, const Memory& memory, Field* fields, uint32_t limit,
                              OnField on_field) {
  FieldLineReader reader(p, memory);
  for (uint32_t count = 0;; ++count) {
    const LineState line = reader.Next(fields[count]);
    if (line != LineState::kField) [[unlikely]]
      return {line, count, reader.position(), reader.reason()};
    if (count == limit) [[unlikely]]
      return {LineState::kError, count, nullptr, nullptr};
    if (const char* reason = on_field(fields[count])) [[unlikely]]
      return {LineState::kError, count, nullptr, reason};
  }
}

}  // namespace weir::http

#endif  // LB_HTTP_FIELD_LINE_H_
