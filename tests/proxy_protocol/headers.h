// PROXY headers of version 2 put together by hand, right or wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lb/proxy_protocol/crc32c.h"

namespace weir::lb {

inline std::string ShortText(size_t value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value & 0xff)};
}

inline std::string Tlv(uint8_t type, std::string_view value) {
  return std::string(1, static_cast<char>(type)) + ShortText(value.size()) + std::string(value);
}

inline std::string V2(uint8_t version_and_command, uint8_t family_and_transport, std::string_view rest) {
  std::string text("\r\n\r\n\0\r\nQUIT\n", 12);
  text += static_cast<char>(version_and_command);
  text += static_cast<char>(family_and_transport);
  return text + ShortText(rest.size()) + std::string(rest);
}

// 203.0.113.7:1234 to 198.51.100.9:443.
inline const std::string kV4Block("\xcb\x00\x71\x07\xc6\x33\x64\x09\x04\xd2\x01\xbb", 12);
inline std::string V2Tcp4(std::string_view tlvs = "") { return V2(0x21, 0x11, kV4Block + std::string(tlvs)); }

// With a checksum that is right behind the TLVs.
inline std::string V2Tcp4WithSum(std::string_view tlvs = "") {
  std::string text = V2Tcp4(std::string(tlvs) + Tlv(3, std::string(4, '\0')));
  const uint32_t sum = Crc32c(text);
  for (size_t i = 0; i < 4; ++i) text[text.size() - 4 + i] = static_cast<char>(sum >> (24 - 8 * i));
  return text;
}

}  // namespace weir::lb
