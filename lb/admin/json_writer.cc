#include "lb/admin/json_writer.h"

namespace weir::lb {

void JsonWriter::Open(std::string_view key, char bracket) {
  Begin(key);
  text_ += bracket;
  ++depth_;
  first_ = true;
}

void JsonWriter::Close(char bracket) {
  --depth_;
  if (!first_) Line();
  text_ += bracket;
  first_ = false;
}

void JsonWriter::Number(std::string_view key, uint64_t value) {
  Begin(key);
  text_ += std::to_string(value);
}

void JsonWriter::Bool(std::string_view key, bool value) {
  Begin(key);
  text_ += value ? "true" : "false";
}

void JsonWriter::String(std::string_view key, std::string_view value) {
  Begin(key);
  Quote(value);
}

void JsonWriter::Begin(std::string_view key) {
  if (!first_) text_ += ',';
  if (depth_ > 0) Line();
  first_ = false;
  if (key.empty()) return;
  Quote(key);
  text_ += ": ";
}

void JsonWriter::Quote(std::string_view value) {
  static constexpr char kHex[] = "0123456789abcdef";
  text_ += '"';
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      text_.append("\\").append(1, c);
    } else if (byte < 0x20 || byte > 0x7e) {
      text_.append("\\u00").append(1, kHex[byte >> 4]).append(1, kHex[byte & 15]);
    } else {
      text_ += c;
    }
  }
  text_ += '"';
}

}  // namespace weir::lb
