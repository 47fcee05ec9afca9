// The closed set of synchronous calls on real sockets, shared by everything that talks to the real kernel.
// None blocks. Errors: -errno.
#pragma once

#include "core/backend.h"

namespace weir {

int OpenStreamSocket(uint16_t family);
// 0, or an errno: whether a socket can have these options, and come from `source` (may be null).
int ProbeTcp(const TcpOptions& options, const SocketAddress* source);
int SetTcpOptions(int fd, const TcpOptions& options, const TcpOptions& before);
int BindSourceAddress(int fd, const SocketAddress& source);
// Of a fresh socket of OpenStreamSocket(AF_UNIX). 0: connected, and from now on like every other socket.
// -EAGAIN: the listener's queue is full, try again.
int ConnectUnix(int fd, const SocketAddress& address);
int ListenOn(SocketAddress& address, const ListenOptions& options);
int AcceptFrom(int listener_fd);
int DropSynSegments(int listener_fd);
int QueryPeer(int fd, SocketAddress& address);
int QueryLocal(int fd, SocketAddress& address);
int64_t QueryAcknowledged(int fd);
bool QueryHasBytes(int fd);
int ShutdownSocket(int fd, Backend::Direction direction);
void CloseSocketWithReset(int fd);
int ReadSignal(int signal_fd);

}  // namespace weir
