// The cookies of a request (RFC 6265 section 4.2): pairs "name=value; name=value" in one field or several. No
// allocation.
#pragma once

#include <span>
#include <string_view>

#include "lb/http/field_list.h"

namespace weir::lb {

// for (CookieReader reader(fields, "name"); reader.Next();) Use(reader.value());
// All of the name, which is compared to the letter: a browser sends several where their paths differ.
class CookieReader {
 public:
  // `fields`: null: there are none.
  CookieReader(const http::FieldList* fields, std::string_view name) : name_(name) {
    if (fields != nullptr && fields->Has(http::FieldId::kCookie)) fields_ = fields->fields();
  }
  bool Next();
  std::string_view value() const { return value_; }

 private:
  std::span<const http::Field> fields_;  // not yet looked at
  std::string_view name_;
  std::string_view rest_;  // of the field that is looked at
  std::string_view value_;
};

}  // namespace weir::lb
