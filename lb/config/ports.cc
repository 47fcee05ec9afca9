#include "lb/config/ports.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/unix_listener.h"

namespace weir::lb {
namespace {

// How long a listener that a reload removed may take to close, or those of a process that was killed: its
// ring's armed accepts hold them until the kernel has taken the ring apart, ten milliseconds after the
// process's end.
constexpr int kPatience = 25;
constexpr useconds_t kPauseUs = 20'000;

// 0, or the errno of a bind of a TCP socket that no socket of another process may share. It never listens: a
// client that came in that moment would be reset.
int TryToListen(const SocketAddress& address) {
  const int fd = socket(address.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  // Connections of an earlier process that are still in TIME_WAIT are no reason to refuse.
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  if (address.family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
  sockaddr_storage storage;
  const socklen_t length = address.ToSockaddr(&storage);
  const bool bound = bind(fd, reinterpret_cast<sockaddr*>(&storage), length) == 0;
  const int error = bound ? 0 : errno;
  close(fd);
  return error;
}

std::string Explain(int error) {
  switch (error) {
    case EADDRINUSE:
      return "the port is in use by another process (ss -ltnp tells which)";
    case EACCES:
    case EPERM:
      return "not allowed: ports below net.ipv4.ip_unprivileged_port_start need root or CAP_NET_BIND_SERVICE";
    case EADDRNOTAVAIL:
      return "this machine does not have that address";
    case EAFNOSUPPORT:
      return "this machine does not speak IPv6";
    default:
      return strerror(error);
  }
}

std::string ExplainUnix(int error) {
  switch (error) {
    case EADDRINUSE:
      return "the socket is in use by another process (ss -lxp tells which)";
    case ENOTSOCK:
      return "there is something that is no socket: remove it, or choose another path";
    case ENOENT:
    case ENOTDIR:
      return "its folder does not exist";
    case EACCES:
    case EPERM:
      return "not allowed: this user may not make files in its folder, or use the socket that is there";
    default:
      return strerror(error);
  }
}

int Try(const SocketAddress& address) {
  return address.is_unix() ? ProbeUnixListener(address) : TryToListen(address);
}

absl::Status Check(const char* flag, const std::string& text, const SocketAddress& address) {
  int error = Try(address);
  for (int i = 0; i < kPatience && error == EADDRINUSE; ++i) {
    usleep(kPauseUs);
    error = Try(address);
  }
  if (error == 0) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat(flag, ": ", text, ": ", address.is_unix() ? ExplainUnix(error) : Explain(error)));
}

bool Has(const Settings& settings, const SocketAddress& address) {
  return std::any_of(settings.listeners.begin(), settings.listeners.end(),
                     [&address](const ListenerSettings& other) { return other.address == address; });
}

}  // namespace

absl::Status CheckPortsFree(const Settings& settings, const Settings* running) {
  for (const ListenerSettings& listener : settings.listeners) {
    if (running != nullptr && Has(*running, listener.address)) continue;
    if (absl::Status status = Check("--listen", listener.text, listener.address); !status.ok()) return status;
  }
  if (!settings.has_admin || running != nullptr) return absl::OkStatus();
  return Check("--admin", settings.admin.ToString(), settings.admin);
}

}  // namespace weir::lb
