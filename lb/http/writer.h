// Appends text to memory the caller has sized. Private to this folder: the MaxSerializedBytes() beside each
// serialiser is the proof that it fits, and the tests compare the two.
#ifndef LB_HTTP_WRITER_H_
#define LB_HTTP_WRITER_H_

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "lb/http/field.h"

namespace weir::http {

class Writer {
 public:
  explicit Writer(char* out) : begin_(out), p_(out) {}

  size_t size() const { return static_cast<size_t>(p_ - begin_); }

  // Inlined: the size of a literal is then a constant, and its copy a few moves.
  [[gnu::always_inline]] void Text(std::string_view text) {
    if (text.empty()) return;
    memcpy(p_, text.data(), text.size());
    p_ += text.size();
  }

  void Number(uint64_t value) { p_ = std::to_chars(p_, p_ + kMaxDigits, value).ptr; }

  // "name: value\r\n"
  void FieldLine(std::string_view name, std::string_view value) {
    Text(name);
    Text(": ");
    Text(value);
    Text("\r\n");
  }

  // Every field that is not dropped, in order. Neighbours that were received just as they are to be written
  // go in one copy: their bytes are what the parsed form would give.
  void Fields(std::span<const Field> fields) {
    const char* run = nullptr;
    const char* run_end = nullptr;
    for (const Field& field : fields) {
      if (field.dropped()) continue;
      if ((field.flags & Field::kVerbatim) != 0) {
        if (field.name_data != run_end) {
          Text({run, static_cast<size_t>(run_end - run)});
          run = field.name_data;
        }
        run_end = field.value_data + field.value_size + 2;
        continue;
      }
      Text({run, static_cast<size_t>(run_end - run)});
      run = run_end = nullptr;
      FieldLine(field.name(), field.value());
    }
    Text({run, static_cast<size_t>(run_end - run)});
  }

  // Via: all values so far, then our hop, as one field.
  void Via(std::span<const Field> fields, bool has_earlier, uint8_t minor, std::string_view name) {
    Text("Via: ");
    if (has_earlier) {
      for (const Field& field : fields) {
        if (field.id != FieldId::kVia || field.value_size == 0) continue;
        Text(field.value());
        Text(", ");
      }
    }
    Text(minor == 0 ? "1.0 " : "1.1 ");
    Text(name);
    Text("\r\n");
  }

  static constexpr size_t kMaxDigits = 20;  // of UINT64_MAX

 private:
  char* const begin_;
  char* p_;
};

}  // namespace weir::http

#endif  // LB_HTTP_WRITER_H_
