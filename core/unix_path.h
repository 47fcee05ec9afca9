// Names of unix stream sockets. A name has up to 108 bytes where a SocketAddress has 16, so that it lies once
// in a table of the process, and addresses point to it. Names are never freed or changed: any thread may read
// them, and an address that a connection or a log line still holds is good for ever. The table grows only by
// what the operator writes (configuration, flags): nothing that a peer sends may get here. 128 bytes each,
// under a lock: for start and reload, not for the data path.
#pragma once

#include <sys/un.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/address.h"

namespace weir {

struct UnixPath {
  uint8_t bytes;       // of `sun_path`, without a terminating zero
  char sun_path[108];  // as in sockaddr_un: an abstract name begins with a zero
  bool is_abstract() const { return sun_path[0] == '\0'; }
  std::string_view path() const { return {sun_path, bytes}; }
};

inline constexpr std::string_view kUnixPrefix = "unix:";
// Of a path, and of an abstract name without its "@".
inline constexpr size_t kMaxUnixPathBytes = sizeof(sockaddr_un::sun_path) - 1;

// "unix:/absolute/path", or "unix:@name" for the abstract namespace of Linux; printable ASCII without spaces,
// double quotes and backslashes, so that it needs no escaping wherever it is shown.
// One spelling each: no empty, "." or ".." segments. On failure `expected` says what was.
std::optional<SocketAddress> ParseUnixAddress(std::string_view text, std::string* expected);

// For SocketAddress. `path` may be null: a socket without a name.
socklen_t WriteSockaddr(const UnixPath* path, sockaddr_storage* to);
size_t WriteText(const UnixPath* path, char out[SocketAddress::kMaxText]);

}  // namespace weir
