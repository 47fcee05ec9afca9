#include "core/splice_calls.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace weir {

int StopBlocking(int fd) { return fcntl(fd, F_SETFL, O_NONBLOCK) == 0 ? 0 : -errno; }

int OpenKernelPipe(Pipe& pipe, uint32_t bytes) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) return -errno;
  // Beyond a user's share the system refuses; a smaller one may still have room there.
  int granted = -1;
  for (uint32_t ask = bytes; granted < 0 && ask >= 8192; ask /= 2) {
    granted = fcntl(fds[1], F_SETPIPE_SZ, static_cast<int>(ask));
  }
  if (granted < 0) granted = fcntl(fds[1], F_GETPIPE_SZ);
  if (granted <= 0) {
    const int error = granted == 0 ? ENFILE : errno;
    close(fds[0]);
    close(fds[1]);
    return -error;
  }
  pipe.read_fd = fds[0];
  pipe.write_fd = fds[1];
  pipe.capacity = static_cast<uint32_t>(granted);
  return 0;
}

int32_t SpliceOnce(int from_fd, int to_fd, uint32_t bytes) {
  ssize_t moved;
  do {
    moved = splice(from_fd, nullptr, to_fd, nullptr, bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  } while (moved < 0 && errno == EINTR);
  return static_cast<int32_t>(moved < 0 ? -errno : moved);
}

int32_t PassThrough(int from_fd, Pipe& pipe, uint32_t bytes) {
  pipe.came = pipe.passed = 0;
  pipe.error = 0;
  const int32_t came = SpliceOnce(from_fd, pipe.write_fd, bytes);
  if (came <= 0) return came;
  pipe.came = static_cast<uint32_t>(came);
  const int32_t went = SpliceOnce(pipe.read_fd, pipe.to_fd, pipe.came);
  if (went > 0) pipe.passed = static_cast<uint32_t>(went);
  if (went < 0 && went != -EAGAIN) pipe.error = -went;
  pipe.bytes = pipe.came - pipe.passed;
  return came;
}

}  // namespace weir
