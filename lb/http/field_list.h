// The field lines of one parsed head or trailer section: what RequestHead, ResponseHead and Trailers have in
// common.
//
// Memory for Limits::fields of them is allocated once, at construction; a list is scratch space, reused and
// never copied. Its views live as long as the bytes that were parsed.
#ifndef LB_HTTP_FIELD_LIST_H_
#define LB_HTTP_FIELD_LIST_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "lb/http/chars.h"
#include "lb/http/field.h"
#include "lb/http/limits.h"

namespace weir::http {

class FieldList {
 public:
  FieldList(const FieldList&) = delete;
  FieldList& operator=(const FieldList&) = delete;

  std::span<const Field> fields() const { return {fields_.get(), field_count_}; }
  bool Has(FieldId id) const { return (seen_ & Bit(id)) != 0; }  // also if dropped
  const Field* Find(FieldId id) const;                           // the first, or null; also if dropped
  const Limits& limits() const { return limits_; }
  // Fields of this name are not forwarded: whatever their letters' case, nor those that a CGI-like origin
  // would take for it (X_Name for X-Name).
  void Drop(std::string_view name) { Mark(name, Field::kDrop); }
  // As Drop, until Unhide: for another message that is made of the same fields.
  void Hide(std::string_view name) { Mark(name, Field::kHidden); }
  void Unhide() {
    for (Field& field : mutable_fields()) field.flags &= static_cast<uint8_t>(~Field::kHidden);
  }

 protected:
  explicit FieldList(const Limits& limits)
      : limits_(limits),
        fields_(std::make_unique<Field[]>(limits.fields + 1)) {}  // one to read what is too many
  ~FieldList() = default;

  void Clear() {
    field_count_ = 0;
    seen_ = 0;
  }
  void MarkSeen(FieldId id) { seen_ |= Bit(id); }
  std::span<Field> mutable_fields() { return {fields_.get(), field_count_}; }

  const Limits limits_;
  const std::unique_ptr<Field[]> fields_;
  uint32_t field_count_ = 0;

 private:
  void Mark(std::string_view name, Field::Flag flag);
  static constexpr uint64_t Bit(FieldId id) { return uint64_t{1} << static_cast<unsigned>(id); }
  static_assert(static_cast<unsigned>(FieldId::kCount) <= 64);

  uint64_t seen_ = 0;  // a bit for each FieldId
};

inline void FieldList::Mark(std::string_view name, Field::Flag flag) {
  for (Field& field : mutable_fields()) {
    const bool twin = (field.flags & Field::kOddName) != 0 && IsTwin(field.name(), name);
    if (twin || EqualsIgnoreCase(field.name(), name)) field.flags |= flag;
  }
}

inline const Field* FieldList::Find(FieldId id) const {
  if (!Has(id)) return nullptr;
  for (const Field& field : fields()) {
    if (field.id == id) return &field;
  }
  return nullptr;
}

}  // namespace weir::http

#endif  // LB_HTTP_FIELD_LIST_H_
