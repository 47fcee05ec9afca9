#include "lb/proxy_protocol/parse.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "lb/proxy_protocol/crc32c.h"
#include "lb/proxy_protocol/tlv.h"

namespace weir::lb {
namespace {

using State = ProxyParse::State;

constexpr std::string_view kV1Begin = "PROXY ";
constexpr std::string_view kV2Begin{"\r\n\r\n\0\r\nQUIT\n", 12};

ProxyParse NeedMore(size_t most, bool begun) {
  ProxyParse parse;
  parse.begun = begun;
  parse.bytes = static_cast<uint32_t>(most);
  return parse;
}

ProxyParse Wrong(const char* why, State state = State::kMalformed) {
  ProxyParse parse;
  parse.state = state;
  parse.begun = true;
  parse.why = why;
  return parse;
}

ProxyParse Done(size_t bytes, const ProxyHeader& header) {
  ProxyParse parse;
  parse.state = State::kDone;
  parse.begun = true;
  parse.bytes = static_cast<uint32_t>(bytes);
  parse.header = header;
  return parse;
}

uint8_t ByteAt(std::string_view bytes, size_t at) { return static_cast<uint8_t>(bytes[at]); }

uint16_t ShortAt(std::string_view bytes, size_t at) {
  return static_cast<uint16_t>(ByteAt(bytes, at) << 8 | ByteAt(bytes, at + 1));
}

// Everywhere else one that is IPv4 is so, whatever socket it came by.
void Unmap(SocketAddress& address) {
  static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (address.family != AF_INET6 || std::memcmp(address.bytes, kMapped, sizeof(kMapped)) != 0) return;
  uint8_t v4[4];
  std::memcpy(v4, address.bytes + sizeof(kMapped), sizeof(v4));
  std::memset(address.bytes, 0, sizeof(address.bytes));
  std::memcpy(address.bytes, v4, sizeof(v4));
  address.family = AF_INET;
}

// Version 1

// Takes a word and the space behind it.
bool TakeWord(std::string_view& line, std::string_view* word) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos) return false;
  *word = line.substr(0, space);
  line.remove_prefix(space + 1);
  return true;
}

bool ReadIp(std::string_view text, uint16_t family, SocketAddress* address) {
  char buffer[INET6_ADDRSTRLEN];
  if (text.empty() || text.size() >= sizeof(buffer) || text.find('\0') != std::string_view::npos)
    return false;
  buffer[text.copy(buffer, text.size())] = '\0';
  address->family = family;
  return inet_pton(family, buffer, address->bytes) == 1;
}

bool ReadPort(std::string_view text, uint16_t* port) {
  if (text.empty() || text.size() > 5 || (text.size() > 1 && text.front() == '0')) return false;
  uint32_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + static_cast<uint32_t>(c - '0');
  }
  *port = static_cast<uint16_t>(value);
  return value <= UINT16_MAX;
}

ProxyParse ParseV1(std::string_view bytes) {
  const std::string_view most = bytes.substr(0, ProxyHeader::kMostV1Bytes);
  const size_t end = most.find_first_of("\r\n");
  const bool cr_alone = end + 1 == most.size() && most[end] == '\r';
  if (end == std::string_view::npos || cr_alone) {
    if (most.size() == ProxyHeader::kMostV1Bytes)
      return Wrong("no end of line in 107 bytes", State::kTooLong);
    return NeedMore(ProxyHeader::kMostV1Bytes, true);
  }
  if (most[end] != '\r' || most[end + 1] != '\n') return Wrong("a line ends with CR LF");
  ProxyHeader header;
  header.version = ProxyVersion::kV1;
  std::string_view line = most.substr(kV1Begin.size(), end - kV1Begin.size());
  if (line == "UNKNOWN" || line.starts_with("UNKNOWN ")) return Done(end + 2, header);
  std::string_view protocol, source, destination, source_port;
  if (!TakeWord(line, &protocol) || (protocol != "TCP4" && protocol != "TCP6")) {
    return Wrong("expected TCP4, TCP6 or UNKNOWN");
  }
  const uint16_t family = protocol == "TCP4" ? AF_INET : AF_INET6;
  if (!TakeWord(line, &source) || !TakeWord(line, &destination) || !TakeWord(line, &source_port) ||
      !ReadIp(source, family, &header.source) || !ReadIp(destination, family, &header.destination)) {
    return Wrong("expected two addresses of that family");
  }
  if (!ReadPort(source_port, &header.source.port) || !ReadPort(line, &header.destination.port)) {
    return Wrong("expected two ports");
  }
  Unmap(header.source);
  Unmap(header.destination);
  header.local = false;
  return Done(end + 2, header);
}

// Version 2

bool AreTlvs(std::string_view bytes) {
  TlvReader reader(bytes);
  while (reader.Next()) {
  }
  return reader.well_formed();
}

// Null: they are as they should be.
const char* CheckTlvs(std::string_view whole, std::string_view tlvs) {
  bool has_sum = false;
  TlvReader reader(tlvs);
  while (reader.Next()) {
    const std::string_view value = reader.value();
    switch (reader.type()) {
      case ProxyHeader::kCrc32c: {
        if (value.size() != 4) return "a checksum has four bytes";
        if (has_sum) return "two checksums";
        has_sum = true;
        const auto at = static_cast<size_t>(value.data() - whole.data());
        const uint32_t said = uint32_t{ShortAt(value, 0)} << 16 | ShortAt(value, 2);
        uint32_t sum = Crc32c(whole.substr(0, at));
        sum = Crc32c(std::string_view("\0\0\0\0", 4), sum);
        if (Crc32c(whole.substr(at + 4), sum) != said) return "the checksum is wrong";
        break;
      }
      case ProxyHeader::kUniqueId:
        if (value.size() > ProxyHeader::kMostUniqueIdBytes) return "a unique id has at most 128 bytes";
        break;
      case ProxyHeader::kSsl: {
        const std::optional<std::string_view> inner = SslTlvs(value);
        if (!inner) return "a TLV of TLS is too short";
        TlvReader of_ssl(*inner);
        while (of_ssl.Next()) {
        }
        if (!of_ssl.well_formed()) return "a TLV within that of TLS is cut short";
        break;
      }
      default:
        break;
    }
  }
  return reader.well_formed() ? nullptr : "a TLV is cut short";
}

void ReadAddresses(std::string_view block, uint16_t family, size_t ip_bytes, ProxyHeader& header) {
  header.source.family = header.destination.family = family;
  std::memcpy(header.source.bytes, block.data(), ip_bytes);
  std::memcpy(header.destination.bytes, block.data() + ip_bytes, ip_bytes);
  header.source.port = ShortAt(block, 2 * ip_bytes);
  header.destination.port = ShortAt(block, 2 * ip_bytes + 2);
  Unmap(header.source);
  Unmap(header.destination);
}

ProxyParse ParseV2(std::string_view bytes) {
  enum Family : uint8_t { kUnspec, kInet, kInet6, kUnix };
  constexpr size_t kAddressBytes[] = {0, 12, 36, 216};
  constexpr uint8_t kStream = 1;
  constexpr uint8_t kDatagram = 2;
  // What can be wrong is told as soon as it is there.
  const size_t size = bytes.size();
  if (size > 12 && ByteAt(bytes, 12) >> 4 != 2) return Wrong("expected version 2");
  if (size > 12 && (ByteAt(bytes, 12) & 0xf) > 1) return Wrong("expected LOCAL or PROXY");
  const bool local = size > 12 && (ByteAt(bytes, 12) & 0xf) == 0;
  if (size > 13 && !local && (ByteAt(bytes, 13) >> 4 > kUnix || (ByteAt(bytes, 13) & 0xf) > kDatagram)) {
    return Wrong("no such address family or transport");
  }
  if (size < ProxyHeader::kFixedBytes) return NeedMore(ProxyHeader::kFixedBytes, true);
  const size_t length = ShortAt(bytes, 14);
  if (length > ProxyHeader::kMostLength) return Wrong("longer than 4096 bytes", State::kTooLong);
  const uint8_t family = ByteAt(bytes, 13) >> 4;
  if (!local && length < kAddressBytes[family]) return Wrong("too short for its addresses");
  const size_t most = ProxyHeader::kFixedBytes + length;
  if (size < most) return NeedMore(most, true);

  ProxyHeader header;
  header.version = ProxyVersion::kV2;
  if (local) return Done(most, header);
  const std::string_view whole = bytes.substr(0, most);
  const std::string_view block = whole.substr(ProxyHeader::kFixedBytes);
  const std::string_view tlvs = block.substr(kAddressBytes[family]);
  // Behind no addresses there may be anything, also TLVs.
  if (family != kUnspec || AreTlvs(tlvs)) {
    if (const char* const wrong = CheckTlvs(whole, tlvs); wrong != nullptr) return Wrong(wrong);
    header.tlvs = tlvs;
  }
  header.local = (ByteAt(bytes, 13) & 0xf) != kStream || (family != kInet && family != kInet6);
  if (!header.local && family == kInet) ReadAddresses(block, AF_INET, 4, header);
  if (!header.local && family == kInet6) ReadAddresses(block, AF_INET6, 16, header);
  return Done(most, header);
}

}  // namespace

ProxyParse ParseProxyHeader(std::string_view bytes) {
  if (bytes.starts_with(kV1Begin)) return ParseV1(bytes);
  if (bytes.starts_with(kV2Begin)) return ParseV2(bytes);
  if (kV1Begin.starts_with(bytes)) return NeedMore(ProxyHeader::kMostV1Bytes, false);
  if (kV2Begin.starts_with(bytes)) return NeedMore(ProxyHeader::kFixedBytes, false);
  ProxyParse parse;
  parse.state = State::kNone;
  return parse;
}

}  // namespace weir::lb
