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

bool IsWildcard(const SocketAddress& address) {
  const size_t size = address.family == AF_INET6 ? 16 : 4;
  return std::all_of(address.bytes, address.bytes + size, [](uint8_t b) { return b == 0; });
}

// The same port, and one of them for every address of the machine. (IPv6 sockets are for IPv6 alone.)
bool Overlap(const SocketAddress& a, const SocketAddress& b) {
  return !a.is_unix() && a.family == b.family && a.port == b.port && a.port != 0 &&
         (a == b || IsWildcard(a) || IsWildcard(b));
}

// 0, or the errno of a bind of a TCP socket that no socket of another process may share, and with
// `beside_ours` none that does not share its port, as ours do. It never listens: a client that came in that
// moment would be reset.
int TryToListen(const SocketAddress& address, bool beside_ours) {
  const int fd = socket(address.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  // Connections of an earlier process that are still in TIME_WAIT are no reason to refuse.
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  if (beside_ours) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
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

int Try(const SocketAddress& address, bool beside_ours) {
  return address.is_unix() ? ProbeUnixListener(address) : TryToListen(address, beside_ours);
}

absl::Status Check(const std::string& where, const std::string& text, const SocketAddress& address,
                   bool beside_ours = false) {
  int error = Try(address, beside_ours);
  for (int i = 0; i < kPatience && error == EADDRINUSE; ++i) {
    usleep(kPauseUs);
    error = Try(address, beside_ours);
  }
  if (error == 0) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat(where, ": ", text, ": ", address.is_unix() ? ExplainUnix(error) : Explain(error)));
}

bool Has(const Settings& settings, const SocketAddress& address) {
  return std::any_of(settings.listeners.begin(), settings.listeners.end(),
                     [&address](const ListenerSettings& other) { return other.address == address; });
}

// A path has one listener: the new one cannot stand beside the old one.
bool ChangesProtocol(const Settings& running, const ListenerSettings& listener) {
  return listener.address.is_unix() &&
         std::any_of(running.listeners.begin(), running.listeners.end(), [&listener](const auto& other) {
           return other.address == listener.address && other.protocol != listener.protocol;
         });
}

// From 0.0.0.0:80 to 127.0.0.1:80, or back: the kernel lets sockets of one user that all share their port
// (SO_REUSEPORT) stand beside each other, and gives a connection to the most specific one.
bool HasBeside(const Settings& settings, const SocketAddress& address) {
  return std::any_of(settings.listeners.begin(), settings.listeners.end(),
                     [&address](const ListenerSettings& other) { return Overlap(other.address, address); });
}

}  // namespace

absl::Status CheckPortsFree(const Settings& settings, const Settings* running) {
  for (const ListenerSettings& listener : settings.listeners) {
    const std::string where = listener.where.empty() ? "--listen" : listener.where;
    if (running != nullptr && Has(*running, listener.address)) {
      if (!ChangesProtocol(*running, listener)) continue;
      return absl::UnavailableError(
          absl::StrCat(where, ": ", listener.text,
                       ": a unix socket keeps its protocol while Weir runs: choose another path"));
    }
    // The admin listener shares its port with nobody.
    if (settings.has_admin && Overlap(settings.admin, listener.address)) {
      return absl::UnavailableError(
          absl::StrCat(where, ": ", listener.text, ": the port of the admin listener, ",
                       settings.admin.ToString(), ", is among these: choose another port for one"));
    }
    const bool beside_ours = running != nullptr && HasBeside(*running, listener.address);
    if (absl::Status status = Check(where, listener.text, listener.address, beside_ours); !status.ok()) {
      return status;
    }
  }
  if (!settings.has_admin || running != nullptr) return absl::OkStatus();
  return Check(settings.admin_where, settings.admin.ToString(), settings.admin);
}

}  // namespace weir::lb
