#include "lb/log/syslog_socket.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace weir::lb {
namespace {

int Connect(int family, const sockaddr* address, socklen_t length) {
  const int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  if (connect(fd, address, length) == 0) return fd;
  const int error = errno;
  close(fd);
  return -error;
}

}  // namespace

int ConnectSyslog(const SyslogSettings& settings) {
  if (settings.path.empty()) {
    sockaddr_storage address;
    const socklen_t length = settings.udp.ToSockaddr(&address);
    return Connect(settings.udp.family, reinterpret_cast<const sockaddr*>(&address), length);
  }
  sockaddr_un address = {};
  static_assert(SyslogSettings::kMostPathBytes == sizeof(address.sun_path) - 1);
  if (settings.path.size() > SyslogSettings::kMostPathBytes) return -ENAMETOOLONG;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, settings.path.data(), settings.path.size());
  return Connect(AF_UNIX, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

}  // namespace weir::lb
