// SocketAddress: an IPv4 or IPv6 address and port in 20 bytes (a sockaddr_storage has 128, and every
// connection keeps one), with what people write and read. Text: "1.2.3.4:80", "[::1]:80". Value type.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir {

struct SocketAddress {
  uint8_t bytes[16] = {};  // IPv4: the first four
  uint16_t port = 0;       // host order
  uint16_t family = 0;     // AF_INET, AF_INET6; 0: none

  // "address:port" with a numeric address; IPv6 in brackets.
  static std::optional<SocketAddress> Parse(std::string_view text);
  static SocketAddress FromSockaddr(const sockaddr* from);
  // Returns the length to pass to the kernel.
  socklen_t ToSockaddr(sockaddr_storage* to) const;

  // Longest text of AppendIp, without the terminating zero.
  static constexpr size_t kMaxIpText = 45;
  // Writes the address without port (IPv4-mapped IPv6 as IPv4) and returns its length.
  size_t WriteIp(char out[kMaxIpText + 1]) const;
  // Longest text of Write: brackets, colon and five digits more.
  static constexpr size_t kMaxText = kMaxIpText + 8;
  // Writes ToString() without allocating, and without a terminating zero; returns its length.
  size_t Write(char out[kMaxText]) const;
  std::string ToString() const;
  bool operator==(const SocketAddress&) const = default;
};
static_assert(sizeof(SocketAddress) == 20);

}  // namespace weir
