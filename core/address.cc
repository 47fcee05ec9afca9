#include "core/address.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstring>

#include "core/check.h"
#include "core/unix_path.h"

namespace weir {

std::optional<SocketAddress> SocketAddress::Parse(std::string_view text) {
  SocketAddress address;
  if (text.find('\0') != std::string_view::npos) return std::nullopt;  // inet_pton would stop there
  std::string host;
  std::string_view port;
  if (!text.empty() && text.front() == '[') {
    const size_t end = text.find(']');
    if (end == std::string_view::npos || end + 1 >= text.size() || text[end + 1] != ':') return std::nullopt;
    host = text.substr(1, end - 1);
    port = text.substr(end + 2);
    if (inet_pton(AF_INET6, host.c_str(), address.bytes) != 1) return std::nullopt;
    address.family = AF_INET6;
  } else {
    const size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return std::nullopt;
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (inet_pton(AF_INET, host.c_str(), address.bytes) != 1) return std::nullopt;
    address.family = AF_INET;
  }
  if (port.empty() || port.front() < '0' || port.front() > '9') return std::nullopt;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (error != std::errc() || end != port.data() + port.size()) return std::nullopt;
  return address;
}

SocketAddress SocketAddress::FromSockaddr(const sockaddr* from) {
  SocketAddress address;
  if (from->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(from);
    std::memcpy(address.bytes, &v4->sin_addr, 4);
    address.port = ntohs(v4->sin_port);
    address.family = AF_INET;
  } else if (from->sa_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(from);
    std::memcpy(address.bytes, &v6->sin6_addr, 16);
    address.port = ntohs(v6->sin6_port);
    address.family = AF_INET6;
  } else if (from->sa_family == AF_UNIX) {
    address.family = AF_UNIX;
  }
  return address;
}

SocketAddress SocketAddress::ForUnix(const UnixPath* path) {
  SocketAddress address;
  static_assert(sizeof(path) <= sizeof(address.bytes));
  std::memcpy(address.bytes, &path, sizeof(path));
  address.family = AF_UNIX;
  return address;
}

const UnixPath* SocketAddress::unix_path() const {
  WEIR_CHECK(is_unix());
  const UnixPath* path;
  std::memcpy(&path, bytes, sizeof(path));
  return path;
}

socklen_t SocketAddress::ToSockaddr(sockaddr_storage* to) const {
  std::memset(to, 0, sizeof(*to));
  if (family == AF_INET) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(to);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    std::memcpy(&v4->sin_addr, bytes, 4);
    return sizeof(sockaddr_in);
  }
  if (family == AF_UNIX) return WriteSockaddr(unix_path(), to);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(to);
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(port);
  std::memcpy(&v6->sin6_addr, bytes, 16);
  return sizeof(sockaddr_in6);
}

size_t SocketAddress::WriteIp(char out[kMaxIpText + 1]) const {
  static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  const uint8_t* v4 = nullptr;
  if (family == AF_INET) v4 = bytes;
  if (family == AF_INET6 && std::memcmp(bytes, kMapped, sizeof(kMapped)) == 0) v4 = bytes + 12;
  if (v4 != nullptr) {
    char* at = out;
    for (int i = 0; i < 4; ++i) {
      if (i > 0) *at++ = '.';
      at = std::to_chars(at, out + kMaxIpText, static_cast<unsigned>(v4[i])).ptr;
    }
    *at = '\0';
    return static_cast<size_t>(at - out);
  }
  if (family == AF_UNIX) {
    std::strcpy(out, "unix:");
    return kUnixPrefix.size();
  }
  if (family != AF_INET6 || inet_ntop(AF_INET6, bytes, out, kMaxIpText + 1) == nullptr) {
    std::strcpy(out, "-");
    return 1;
  }
  return std::strlen(out);
}

size_t SocketAddress::Write(char out[kMaxText]) const {
  if (family == AF_UNIX) return WriteText(unix_path(), out);
  static_assert(kMaxIpText + sizeof("[]:65535") <= kMaxText);
  char* at = out + 1;
  at += WriteIp(at);
  // A bracket in front needs room that an IPv4 address, the more frequent one, does not.
  const size_t ip_bytes = static_cast<size_t>(at - out) - 1;
  if (std::memchr(out + 1, ':', ip_bytes) != nullptr) {
    *out = '[';
    *at++ = ']';
  } else {
    std::memmove(out, out + 1, ip_bytes);
    --at;
  }
  *at++ = ':';
  return static_cast<size_t>(std::to_chars(at, out + kMaxText, port).ptr - out);
}

std::string SocketAddress::IpText() const {
  char text[kMaxIpText + 1];
  return {text, WriteIp(text)};
}

std::string SocketAddress::ToString() const {
  char text[kMaxText];
  return std::string(text, Write(text));
}

}  // namespace weir
