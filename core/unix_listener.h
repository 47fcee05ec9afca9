// Listening on a unix socket's path: who may connect, what a crashed process left behind, and what is taken
// away at the end. The file is made with its mode, so that there is no moment in which others may connect.
// What lies at the path already is removed only if it is a socket on which nobody listens; anything else is
// an error. (Two processes that start in the same microseconds and find the same leftover may both think the
// path theirs: the later one has it then.) Blocking calls on the file system: for start, reload and end, not
// for the data path.
#pragma once

#include <sys/types.h>

#include "core/address.h"

namespace weir {

struct ListenOptions;

// 0: one may listen there. Else an errno: EADDRINUSE: somebody listens; ENOTSOCK: there is something that is
// no socket; ENOENT, ENOTDIR, EACCES, EROFS...: the folder does not let us. An abstract name knows EADDRINUSE
// only.
int ProbeUnixListener(const SocketAddress& address);

// A bound and listening socket, or one of these errors, negative.
int ListenOnUnix(const SocketAddress& address, const ListenOptions& options);

// The file that a listener made, which outlives its socket.
class UnixSocketFile {
 public:
  // Call right after Listen. Nothing is remembered of abstract names and other families.
  void Remember(const SocketAddress& address);
  // Who may connect from now on. 0, or an errno; nothing where somebody has put another one in its place.
  int SetMode(uint32_t mode);
  // Removes it, likewise. Nobody comes any more then; who is in the socket's queue is accepted as before.
  void Remove();

 private:
  SocketAddress address_;  // family 0: none
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace weir
