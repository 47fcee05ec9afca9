// TLVs of a PROXY header of version 2: type, length of two bytes, value, one behind the other.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace weir::lb {

// Steps through them. When Next says no more, well_formed() tells whether it was the end, or the next one is
// cut short.
class TlvReader {
 public:
  static constexpr size_t kFrontBytes = 3;

  explicit TlvReader(std::string_view tlvs) : rest_(tlvs) {}
  bool Next();
  uint8_t type() const { return type_; }
  std::string_view value() const { return value_; }
  bool well_formed() const { return rest_.empty(); }

 private:
  std::string_view rest_;
  std::string_view value_;
  uint8_t type_ = 0;
};

// What the TLV of TLS has behind its flags and result: TLVs of their own. Nothing: it is too short for these.
std::optional<std::string_view> SslTlvs(std::string_view value);
// By its name in configurations ("authority", "ssl_cn"), or its number ("0xe0", "224"). Nothing: no such
// name, or it is a checksum or padding, which nobody keeps.
std::optional<uint8_t> TlvType(std::string_view name);
// All names, for messages.
inline constexpr const char* kTlvNames =
    "alpn authority unique_id netns ssl_version ssl_cn ssl_cipher ssl_sig_alg ssl_key_alg, or a number such "
    "as "
    "0xe0";
// The value of the first one of this type, also of one within that of TLS.
std::optional<std::string_view> FindTlv(std::string_view tlvs, uint8_t type);

}  // namespace weir::lb
