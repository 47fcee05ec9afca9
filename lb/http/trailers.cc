#include "lb/http/trailers.h"

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

Trailers::Trailers(const Limits& limits) : FieldList(limits) {}

ParseResult ParseTrailers(std::string_view bytes, Trailers& out) {
  out.Clear();
  out.section_bytes = 0;
  const Memory memory(bytes.substr(0, out.limits_.header_bytes));
  const auto on_field = [](Field& field) -> const char* {
    if (!MayBeTrailer(field)) field.flags |= Field::kDrop;
    return nullptr;
  };
  const FieldSection section =
      ReadFieldSection(memory.begin, memory, out.fields_.get(), out.limits_.fields, on_field);
  if (section.state == LineState::kNeedMore) {
    const bool full = bytes.size() >= out.limits_.header_bytes;
    return full ? ParseResult::Fail(431, "trailer section too large") : ParseResult::NeedMore();
  }
  if (section.state == LineState::kError) {
    return section.reason == nullptr ? ParseResult::Fail(431, "too many trailer fields")
                                     : ParseResult::Fail(400, section.reason);
  }
  out.field_count_ = section.count;
  out.section_bytes = static_cast<uint32_t>(section.end - memory.begin);
  return ParseResult::Done(out.section_bytes);
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
