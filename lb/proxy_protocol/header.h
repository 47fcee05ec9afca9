// ProxyHeader: what the header of the PROXY protocol says, versions 1 and 2 (HAProxy's proxy-protocol.txt).
// Value type; views lie in the bytes that were parsed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/address.h"

namespace weir::lb {

enum class ProxyVersion : uint8_t { kNone, kV1, kV2 };

struct ProxyHeader {
  // Bytes of version 1, with CR LF; of version 2 behind its first 16.
  static constexpr size_t kMostV1Bytes = 107;
  static constexpr size_t kFixedBytes = 16;
  static constexpr size_t kMostLength = 4096;
  static constexpr size_t kMostBytes = kFixedBytes + kMostLength;

  // The types of TLVs that the specification names. Those of TLS stand within kSsl.
  static constexpr uint8_t kAlpn = 0x01;
  static constexpr uint8_t kAuthority = 0x02;
  static constexpr uint8_t kCrc32c = 0x03;
  static constexpr uint8_t kNoop = 0x04;
  static constexpr uint8_t kUniqueId = 0x05;
  static constexpr uint8_t kSsl = 0x20;
  static constexpr uint8_t kSslVersion = 0x21;
  static constexpr uint8_t kSslCommonName = 0x22;
  static constexpr uint8_t kSslCipher = 0x23;
  static constexpr uint8_t kSslSignature = 0x24;
  static constexpr uint8_t kSslKey = 0x25;
  static constexpr uint8_t kNetns = 0x30;
  static constexpr size_t kMostUniqueIdBytes = 128;

  ProxyVersion version = ProxyVersion::kNone;
  // LOCAL, UNKNOWN, UNSPEC, or nothing that came by TCP: the addresses are those of the connection itself.
  bool local = true;
  SocketAddress source;       // IPv4-mapped IPv6 is IPv4
  SocketAddress destination;  // likewise
  std::string_view tlvs;      // well-formed (tlv.h)
};

}  // namespace weir::lb
