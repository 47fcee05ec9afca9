#include "lb/http/trailers.h"

#include <algorithm>

#include "lb/http/chars.h"
#include "lb/http/field_line.h"
#include "lb/http/writer.h"

namespace weir::http {
namespace {

// Beyond the known names: whole families whose members direct processing. Digests are made to be trailers
// (RFC 9530).
bool IsForbiddenFamily(std::string_view name) {
  if (StartsWithIgnoreCase(name, "content-")) {
    return !EqualsIgnoreCase(name, "content-digest") && !EqualsIgnoreCase(name, "content-md5");
  }
  return StartsWithIgnoreCase(name, "if-") || StartsWithIgnoreCase(name, "x-forwarded-") ||
         StartsWithIgnoreCase(name, "proxy-") || StartsWithIgnoreCase(name, "sec-") ||
         StartsWithIgnoreCase(name, "access-control-");
}

bool MayBeTrailer(const Field& field) {
  const FieldId id = (field.flags & Field::kOddName) != 0 ? TwinOf(field.name()) : field.id;
  return (TraitsOf(id) & kNotInTrailer) == 0 && !IsForbiddenFamily(field.name());
}

}  // namespace

Trailers::Trailers(const Limits& limits)
    : limits_(limits),
      fields_(std::make_unique<Field[]>(limits.fields + 1)) {}  // one to read what is too many

ParseResult ParseTrailers(std::string_view bytes, Trailers& out) {
  out.field_count_ = 0;
  out.section_bytes = 0;
  const size_t size = std::min<size_t>(bytes.size(), out.limits_.header_bytes);
  FieldLineReader reader(bytes.data(), {bytes.data(), bytes.data() + size});
  for (uint32_t count = 0;; ++count) {
    Field& field = out.fields_[count];
    switch (reader.Next(field)) {
      case LineState::kField:
        break;
      case LineState::kNeedMore:
        return size == out.limits_.header_bytes ? ParseResult::Fail(431, "trailer section too large")
                                                : ParseResult::NeedMore();
      case LineState::kError:
        return ParseResult::Fail(400, reader.reason());
      case LineState::kEnd:
        out.field_count_ = count;
        out.section_bytes = static_cast<uint32_t>(reader.position() - bytes.data());
        return ParseResult::Done(out.section_bytes);
    }
    if (count == out.limits_.fields) return ParseResult::Fail(431, "too many trailer fields");
    if (!MayBeTrailer(field)) field.flags |= Field::kDrop;
  }
}

size_t MaxSerializedBytes(const Trailers& trailers) {
  return trailers.section_bytes + trailers.fields().size() + std::string_view("0\r\n\r\n").size();
}

size_t SerializeTrailers(const Trailers& trailers, char* memory) {
  Writer out(memory);
  out.Text("0\r\n");
  out.Fields(trailers.fields());
  out.Text("\r\n");
  return out.size();
}

}  // namespace weir::http
