#include "lb/proxy_protocol/write.h"

#include <arpa/inet.h>

#include <cstring>

#include "core/check.h"
#include "lb/proxy_protocol/crc32c.h"

namespace weir::lb {
namespace {

constexpr char kV2Begin[] = "\r\n\r\n\0\r\nQUIT\n";
constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool IsV4(const SocketAddress& address) {
  return address.family == AF_INET ||
         (address.family == AF_INET6 && std::memcmp(address.bytes, kMapped, sizeof(kMapped)) == 0);
}

const uint8_t* V4Bytes(const SocketAddress& address) {
  return address.bytes + (address.family == AF_INET6 ? sizeof(kMapped) : 0);
}

void V6Bytes(const SocketAddress& address, uint8_t out[16]) {
  if (address.family == AF_INET6) {
    std::memcpy(out, address.bytes, 16);
  } else {
    std::memcpy(out, kMapped, sizeof(kMapped));
    std::memcpy(out + sizeof(kMapped), address.bytes, 4);
  }
}

class Out {
 public:
  explicit Out(char* out) : begin_(out), at_(out) {}
  void Bytes(const void* bytes, size_t count) {
    std::memcpy(at_, bytes, count);
    at_ += count;
  }
  void Text(std::string_view text) { Bytes(text.data(), text.size()); }
  void Byte(size_t value) { *at_++ = static_cast<char>(value); }
  void Short(size_t value) {
    Byte(value >> 8);
    Byte(value & 0xff);
  }
  void Tlv(uint8_t type, std::string_view value) {
    Byte(type);
    Short(value.size());
    Text(value);
  }
  void Number(uint32_t value) {
    char digits[10];
    size_t count = 0;
    do digits[count++] = static_cast<char>('0' + value % 10);
    while ((value /= 10) > 0);
    while (count > 0) Byte(static_cast<size_t>(digits[--count]));
  }
  void Ip(int family, const void* bytes) {
    char text[INET6_ADDRSTRLEN];
    WEIR_CHECK(inet_ntop(family, bytes, text, sizeof(text)) != nullptr);
    Text(text);
  }
  char* begin() const { return begin_; }
  size_t size() const { return static_cast<size_t>(at_ - begin_); }

 private:
  char* const begin_;
  char* at_;
};

enum class Form { kUnknown, kV4, kV6 };

Form FormOf(const ProxyFacts& facts) {
  const auto is_ip = [](const SocketAddress& address) {
    return address.family == AF_INET || address.family == AF_INET6;
  };
  if (facts.local || !is_ip(facts.source) || !is_ip(facts.destination)) return Form::kUnknown;
  return IsV4(facts.source) && IsV4(facts.destination) ? Form::kV4 : Form::kV6;
}

size_t WriteV1(const ProxyFacts& facts, char* to) {
  Out out(to);
  const Form form = FormOf(facts);
  if (form == Form::kUnknown) {
    out.Text("PROXY UNKNOWN\r\n");
    return out.size();
  }
  out.Text(form == Form::kV4 ? "PROXY TCP4 " : "PROXY TCP6 ");
  for (const SocketAddress* address : {&facts.source, &facts.destination}) {
    uint8_t v6[16];
    V6Bytes(*address, v6);
    form == Form::kV4 ? out.Ip(AF_INET, V4Bytes(*address)) : out.Ip(AF_INET6, v6);
    out.Byte(' ');
  }
  out.Number(facts.source.port);
  out.Byte(' ');
  out.Number(facts.destination.port);
  out.Text("\r\n");
  return out.size();
}

size_t WriteV2(const ProxyFacts& facts, char* to) {
  Out out(to);
  out.Bytes(kV2Begin, 12);
  out.Byte(facts.local ? 0x20 : 0x21);
  const Form form = FormOf(facts);
  out.Byte(form == Form::kUnknown ? 0x00 : form == Form::kV4 ? 0x11 : 0x21);
  out.Short(0);  // the length: not known yet
  if (form != Form::kUnknown) {
    for (const SocketAddress* address : {&facts.source, &facts.destination}) {
      uint8_t v6[16];
      V6Bytes(*address, v6);
      form == Form::kV4 ? out.Bytes(V4Bytes(*address), 4) : out.Bytes(v6, sizeof(v6));
    }
    out.Short(facts.source.port);
    out.Short(facts.destination.port);
  }
  if (!facts.local) {
    const auto fits = [](std::string_view text, size_t most) { return !text.empty() && text.size() <= most; };
    if (fits(facts.authority, kMostAuthorityBytes)) out.Tlv(ProxyHeader::kAuthority, facts.authority);
    if (fits(facts.unique_id, ProxyHeader::kMostUniqueIdBytes)) {
      out.Tlv(ProxyHeader::kUniqueId, facts.unique_id);
    }
    if (facts.crc32c) out.Tlv(ProxyHeader::kCrc32c, std::string_view("\0\0\0\0", 4));
  }
  const size_t length = out.size() - ProxyHeader::kFixedBytes;
  to[14] = static_cast<char>(length >> 8);
  to[15] = static_cast<char>(length & 0xff);
  if (facts.crc32c && !facts.local) {
    const uint32_t sum = Crc32c({to, out.size()});
    for (int i = 0; i < 4; ++i)
      to[out.size() - 4 + static_cast<size_t>(i)] = static_cast<char>(sum >> (24 - 8 * i));
  }
  return out.size();
}

}  // namespace

size_t WriteProxyHeader(ProxyVersion version, const ProxyFacts& facts, char* out) {
  WEIR_CHECK(version != ProxyVersion::kNone);
  const size_t bytes = version == ProxyVersion::kV1 ? WriteV1(facts, out) : WriteV2(facts, out);
  WEIR_CHECK(bytes <= kMostWrittenProxyBytes);
  return bytes;
}

}  // namespace weir::lb
