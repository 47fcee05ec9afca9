#include "core/unix_listener.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "core/backend.h"
#include "core/socket_calls.h"
#include "core/unix_path.h"

namespace weir {
namespace {

// As a connection tells: the only thing that knows whether a socket's file has a socket.
bool SomebodyListens(const SocketAddress& address, int* error) {
  const int fd = OpenStreamSocket(AF_UNIX);
  *error = fd < 0 ? -fd : -ConnectUnix(fd, address);
  if (fd >= 0) close(fd);
  // Its queue is full; it is there, but no stream socket.
  return fd >= 0 && (*error == 0 || *error == EAGAIN || *error == EPROTOTYPE);
}

int MayMakeFiles(const UnixPath& path) {
  const std::string folder(path.path().substr(0, std::max<size_t>(path.path().rfind('/'), 1)));
  return faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) == 0 ? 0 : errno;
}

// As ProbeUnixListener. `leftover`: what must go before (st_ino 0: nothing).
int Probe(const SocketAddress& address, struct stat* leftover) {
  *leftover = {};
  const UnixPath& path = *address.unix_path();
  int error = 0;
  if (path.is_abstract()) return SomebodyListens(address, &error) ? EADDRINUSE : 0;
  struct stat found;
  if (lstat(path.sun_path, &found) != 0) return errno == ENOENT ? MayMakeFiles(path) : errno;
  if (!S_ISSOCK(found.st_mode)) return ENOTSOCK;
  if (SomebodyListens(address, &error)) return EADDRINUSE;
  if (error != ECONNREFUSED) return error;
  *leftover = found;
  return MayMakeFiles(path);
}

bool SameFile(const char* path, dev_t device, ino_t inode) {
  struct stat found;
  return lstat(path, &found) == 0 && S_ISSOCK(found.st_mode) && found.st_dev == device &&
         found.st_ino == inode;
}

}  // namespace

int ProbeUnixListener(const SocketAddress& address) {
  struct stat leftover;
  return Probe(address, &leftover);
}

int ListenOnUnix(const SocketAddress& address, const ListenOptions& options) {
  struct stat leftover;
  if (const int error = Probe(address, &leftover); error != 0) return -error;
  const char* const path = address.unix_path()->sun_path;
  if (leftover.st_ino != 0 && SameFile(path, leftover.st_dev, leftover.st_ino)) unlink(path);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  sockaddr_storage storage;
  const socklen_t length = address.ToSockaddr(&storage);
  // The mode of an unbound socket is the mode of the file that bind makes, less the umask, which is not what
  // was asked for; nobody can connect before listen.
  if (fchmod(fd, options.unix_mode) != 0 || bind(fd, reinterpret_cast<sockaddr*>(&storage), length) != 0 ||
      (!address.unix_path()->is_abstract() && chmod(path, options.unix_mode) != 0) ||
      listen(fd, options.backlog) != 0) {
    const int error = errno;
    close(fd);
    return -error;
  }
  return fd;
}

void UnixSocketFile::Remember(const SocketAddress& address) {
  if (!address.is_unix() || address.unix_path()->is_abstract()) return;
  struct stat made;
  if (lstat(address.unix_path()->sun_path, &made) != 0) return;
  address_ = address;
  device_ = made.st_dev;
  inode_ = made.st_ino;
}

int UnixSocketFile::SetMode(uint32_t mode) {
  if (address_.family == 0) return 0;
  const char* const path = address_.unix_path()->sun_path;
  return !SameFile(path, device_, inode_) || chmod(path, mode) == 0 ? 0 : errno;
}

void UnixSocketFile::Remove() {
  if (address_.family == 0) return;
  const char* const path = address_.unix_path()->sun_path;
  if (SameFile(path, device_, inode_)) unlink(path);
  address_ = {};
}

}  // namespace weir
