// SocketAddress: an IPv4 or IPv6 address and port, or the name of a unix stream socket, in 20 bytes (a
// sockaddr_storage has 128, and every connection keeps one), with what people write and read. Text:
// "1.2.3.4:80", "[::1]:80", "unix:/run/app.sock", "unix:@name". Value type. A unix socket's name lies outside
// of it, see core/unix_path.h; equal names are equal addresses.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir {

struct UnixPath;

struct SocketAddress {
  uint8_t bytes[16] = {};  // IPv4: the first four; unix: a pointer, see unix_path
  uint16_t port = 0;       // host order
  uint16_t family = 0;     // AF_INET, AF_INET6, AF_UNIX; 0: none

  // "address:port" with a numeric address; IPv6 in brackets. No unix sockets: what is read here may come from
  // a peer, and their names are kept for ever.
  static std::optional<SocketAddress> Parse(std::string_view text);
  static SocketAddress ForUnix(const UnixPath* path);
  // A unix socket's is without a name, for the same reason.
  static SocketAddress FromSockaddr(const sockaddr* from);
  // Returns the length to pass to the kernel.
  socklen_t ToSockaddr(sockaddr_storage* to) const;

  bool is_unix() const { return family == AF_UNIX; }
  // REQUIRES: is_unix(). Null: a socket without a name, as most clients' are.
  const UnixPath* unix_path() const;

  // Longest text of AppendIp, without the terminating zero.
  static constexpr size_t kMaxIpText = 45;
  // Writes the address without port (IPv4-mapped IPv6 as IPv4, a unix socket as "unix:", no address as "-")
  // and returns its length.
  size_t WriteIp(char out[kMaxIpText + 1]) const;
  std::string IpText() const;
  // Longest text of Write ("unix:@" and 107 bytes), which writes no terminating zero. It is printable ASCII
  // without quotes and backslashes.
  static constexpr size_t kMaxText = 113;
  size_t Write(char out[kMaxText]) const;
  std::string ToString() const;
  bool operator==(const SocketAddress&) const = default;
};
static_assert(sizeof(SocketAddress) == 20);

}  // namespace weir
