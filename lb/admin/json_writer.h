// JsonWriter: JSON, two spaces deep; values come as they are to stand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace weir::lb {

// `key` is empty for the whole and for elements of a list.
class JsonWriter {
 public:
  // '{' or '[', and what closes it.
  void Open(std::string_view key, char bracket);
  void Close(char bracket);
  void Number(std::string_view key, uint64_t value);
  void Bool(std::string_view key, bool value);
  // Bytes that are not ASCII are told as if they were Latin-1, so that whatever a peer sent is JSON.
  void String(std::string_view key, std::string_view value);
  std::string Take() { return std::move(text_) + "\n"; }

 private:
  void Begin(std::string_view key);
  void Line() { text_.append("\n").append(2 * depth_, ' '); }
  void Quote(std::string_view value);

  std::string text_;
  size_t depth_ = 0;
  bool first_ = true;
};

}  // namespace weir::lb
