// A list of protocols as ALPN has it (RFC 7301 3.1): the length of a name in one byte, the name, and so on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weir::lb {

inline constexpr size_t kMostProtocolBytes = 255;  // of one name

// Steps through the names. When Next says no more, well_formed() tells whether it was the end, or the next
// one is empty or cut short.
class AlpnReader {
 public:
  explicit AlpnReader(std::string_view list) : rest_(list) {}
  bool Next() {
    if (rest_.empty()) return false;
    const auto length = static_cast<uint8_t>(rest_.front());
    if (length == 0 || length >= rest_.size()) return false;
    name_ = rest_.substr(1, length);
    rest_.remove_prefix(size_t{1} + length);
    return true;
  }
  std::string_view name() const { return name_; }
  bool well_formed() const { return rest_.empty(); }

 private:
  std::string_view rest_;
  std::string_view name_;
};

// Whether `name` is one of the list; byte by byte, as RFC 7301 6 wants it.
inline bool HasProtocol(std::string_view list, std::string_view name) {
  for (AlpnReader reader(list); reader.Next();) {
    if (reader.name() == name) return true;
  }
  return false;
}

}  // namespace weir::lb
