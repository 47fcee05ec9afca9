#include "lb/proxy_protocol/tlv.h"

#include <charconv>

#include "lb/proxy_protocol/header.h"

namespace weir::lb {

bool TlvReader::Next() {
  if (rest_.size() < kFrontBytes) return false;
  const size_t length =
      static_cast<size_t>(static_cast<uint8_t>(rest_[1])) << 8 | static_cast<uint8_t>(rest_[2]);
  if (rest_.size() - kFrontBytes < length) return false;
  type_ = static_cast<uint8_t>(rest_[0]);
  value_ = rest_.substr(kFrontBytes, length);
  rest_.remove_prefix(kFrontBytes + length);
  return true;
}

std::optional<std::string_view> SslTlvs(std::string_view value) {
  constexpr size_t kFlagsAndResult = 5;
  if (value.size() < kFlagsAndResult) return std::nullopt;
  return value.substr(kFlagsAndResult);
}

std::optional<uint8_t> TlvType(std::string_view name) {
  static constexpr struct {
    std::string_view name;
    uint8_t type;
  } kNames[] = {{"alpn", ProxyHeader::kAlpn},
                {"authority", ProxyHeader::kAuthority},
                {"unique_id", ProxyHeader::kUniqueId},
                {"netns", ProxyHeader::kNetns},
                {"ssl_version", ProxyHeader::kSslVersion},
                {"ssl_cn", ProxyHeader::kSslCommonName},
                {"ssl_cipher", ProxyHeader::kSslCipher},
                {"ssl_sig_alg", ProxyHeader::kSslSignature},
                {"ssl_key_alg", ProxyHeader::kSslKey}};
  for (const auto& known : kNames) {
    if (name == known.name) return known.type;
  }
  const bool hex = name.starts_with("0x");
  if (hex) name.remove_prefix(2);
  uint8_t type = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), type, hex ? 16 : 10);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  if (type == ProxyHeader::kCrc32c || type == ProxyHeader::kNoop) return std::nullopt;
  return type;
}

std::optional<std::string_view> FindTlv(std::string_view tlvs, uint8_t type) {
  for (TlvReader reader(tlvs); reader.Next();) {
    if (reader.type() == type) return reader.value();
    if (reader.type() != ProxyHeader::kSsl) continue;
    for (TlvReader inner(SslTlvs(reader.value()).value_or(std::string_view())); inner.Next();) {
      if (inner.type() == type) return inner.value();
    }
  }
  return std::nullopt;
}

}  // namespace weir::lb
