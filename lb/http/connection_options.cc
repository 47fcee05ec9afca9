#include "lb/http/connection_options.h"

#include "lb/http/chars.h"

namespace weir::http {

const char* ConnectionOptions::Add(std::string_view value) {
  if (IsKeyword(value, "keep-alive")) [[likely]] {
    keep_alive_ = true;
    return nullptr;
  }
  for (ListReader list(value); list.Next();) {
    if (const char* reason = AddOption(list.element())) return reason;
  }
  return nullptr;
}

const char* ConnectionOptions::AddOption(std::string_view option) {
  if (IsKeyword(option, "keep-alive")) {
    keep_alive_ = true;
    return nullptr;
  }
  if (IsKeyword(option, "close")) {
    close_ = true;
    return nullptr;
  }
  if (!IsToken(option)) return "invalid Connection option";
  const FieldId id = FieldIdOf(option);
  const uint8_t traits = TraitsOf(id);
  const bool tolerated = direction_ == Direction::kResponse && id == FieldId::kTransferEncoding;
  if ((traits & kNotNameable) != 0 && !tolerated) return "Connection names a protected field";
  if (IsKeyword(option, "upgrade")) upgrade_ = true;
  if ((traits & kHopByHop) != 0) return nullptr;  // dropped anyway
  if (named_count_ == kMaxNamed) return "too many Connection options";
  named_[named_count_++] = {option.data(), option.size()};
  return nullptr;
}

void ConnectionOptions::DropNamed(std::span<Field> fields) const {
  for (uint32_t i = 0; i < named_count_; ++i) {
    const std::string_view name(named_[i].data, named_[i].size);
    for (Field& field : fields) {
      if (EqualsIgnoreCase(field.name(), name)) field.flags |= Field::kDrop;
    }
  }
}

}  // namespace weir::http
