// The calls of core/backend.h that answer at once: what a kernel's socket calls do.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <utility>

#include "core/check.h"
#include "core/pipe.h"
#include "core/sim/backend.h"

namespace weir::sim {

Descriptor& Backend::Need(int fd, const char* what) const {
  Descriptor* descriptor = world_.Find(host_, fd);
  if (descriptor == nullptr) {
    std::fprintf(stderr, "sim: cannot %s: fd %d is not open (seed %llu)\n", what, fd,
                 static_cast<unsigned long long>(world_.options_.seed));
  }
  WEIR_CHECK(descriptor != nullptr);
  return *descriptor;
}

// Unix sockets are the kernel's alone: nothing above core tells them from TCP, and what differs (no
// handshake, no reset) would be a second network to keep true. But that a path has one listener, and its
// clients no name, is told: so one can listen there, and then it is as TCP is.
int Backend::OpenStream(uint16_t family) {
  if (family == AF_UNIX) return -EAFNOSUPPORT;
  if (world_.Chance(world_.faults_.no_fd)) return -EMFILE;
  auto descriptor = std::make_unique<Descriptor>(Descriptor::Kind::kStream);
  Endpoint& endpoint = world_.NewEndpoint();
  descriptor->endpoint = &endpoint;
  Observer* observer = descriptor.get();
  const int fd = world_.NewFd(host_, std::move(descriptor));
  if (fd >= 0) endpoint.set_observer(observer);
  return fd;
}

// Nothing that the simulated network does hangs on these.
int Backend::SetTcp(int fd, const TcpOptions&, const TcpOptions&) {
  Need(fd, "set options");
  return 0;
}

int Backend::BindSource(int fd, const SocketAddress& source) {
  Endpoint* endpoint = Need(fd, "bind").endpoint;
  WEIR_CHECK(endpoint != nullptr);
  endpoint->BindTo(source);
  return 0;
}

int Backend::BeginSplice(int fd) {
  Descriptor& descriptor = Need(fd, "splice");
  WEIR_CHECK(descriptor.endpoint != nullptr);
  descriptor.may_splice = true;
  return 0;
}

int Backend::OpenPipe(Pipe& pipe, uint32_t bytes) {
  if (world_.Chance(world_.faults_.no_fd)) return -EMFILE;
  const int read_fd = world_.NewFd(host_, std::make_unique<Descriptor>(Descriptor::Kind::kPipe));
  if (read_fd < 0) return read_fd;
  const int write_fd = world_.NewFd(host_, std::make_unique<Descriptor>(Descriptor::Kind::kPipe));
  if (write_fd < 0) {
    Close(read_fd);
    return write_fd;
  }
  pipe.read_fd = read_fd;
  pipe.write_fd = write_fd;
  pipe.capacity = world_.Chance(world_.faults_.short_receive) ? 4096 : bytes;
  return 0;
}

void Backend::ClosePipe(Pipe& pipe) {
  Close(pipe.read_fd);
  Close(pipe.write_fd);
}

int Backend::Listen(SocketAddress& address, const ListenOptions& options) {
  SocketAddress bound = address;
  if (bound.port == 0 && !bound.is_unix()) {
    do {
      bound = world_.Ephemeral(bound);
    } while (world_.AddressTaken(bound, false));
  }
  const bool shares = options.reuse_port && !bound.is_unix();
  if (world_.AddressTaken(bound, shares)) return -EADDRINUSE;
  auto descriptor = std::make_unique<Descriptor>(Descriptor::Kind::kListener);
  Descriptor* raw = descriptor.get();
  const int fd = world_.NewFd(host_, std::move(descriptor));
  if (fd < 0) return fd;
  raw->listener = &world_.NewListener(bound, shares, options.backlog);
  raw->listener->observer = raw;
  address = bound;
  return fd;
}

int Backend::AcceptNow(int listener_fd) {
  Listener* listener = Need(listener_fd, "accept").listener;
  WEIR_CHECK(listener != nullptr);
  if (world_.open_fds(host_) >= world_.options_.fd_limit) return -EMFILE;
  Endpoint* endpoint = listener->Take();
  if (endpoint == nullptr) return -EAGAIN;
  auto descriptor = std::make_unique<Descriptor>(Descriptor::Kind::kStream);
  descriptor->endpoint = endpoint;
  endpoint->set_observer(descriptor.get());
  return world_.NewFd(host_, std::move(descriptor));
}

int Backend::RefuseNewHandshakes(int listener_fd) {
  Listener* listener = Need(listener_fd, "refuse handshakes").listener;
  WEIR_CHECK(listener != nullptr);
  listener->refuses = true;
  return 0;
}

int Backend::PeerAddress(int fd, SocketAddress& address) {
  const Endpoint* endpoint = Need(fd, "ask for the peer").endpoint;
  if (endpoint == nullptr || endpoint->state() != Endpoint::State::kConnected) return -ENOTCONN;
  address = endpoint->remote();
  return 0;
}

int Backend::LocalAddress(int fd, SocketAddress& address) {
  const Descriptor& descriptor = Need(fd, "ask for the address");
  if (descriptor.listener != nullptr) {
    address = descriptor.listener->address;
    return 0;
  }
  if (descriptor.endpoint == nullptr) return -ENOTSOCK;
  address = descriptor.endpoint->local();
  return 0;
}

int64_t Backend::AcknowledgedBytes(int fd) {
  const Endpoint* endpoint = Need(fd, "ask what was acknowledged").endpoint;
  return endpoint == nullptr ? -EOPNOTSUPP : static_cast<int64_t>(endpoint->acknowledged_bytes());
}

bool Backend::HasBytes(int fd) {
  const Endpoint* endpoint = Need(fd, "ask whether there are bytes").endpoint;
  return endpoint != nullptr && endpoint->readable_bytes() > 0;
}

int Backend::Shutdown(int fd, Direction direction) {
  Endpoint* endpoint = Need(fd, "shut down").endpoint;
  WEIR_CHECK(endpoint != nullptr);
  int error = 0;
  if (direction != Direction::kReceive) error = endpoint->ShutdownSend();
  if (direction != Direction::kSend && error == 0) error = endpoint->ShutdownReceive();
  return error;
}

void Backend::Close(int fd) {
  Descriptor& descriptor = Need(fd, "close");
  // An op in flight pins the socket: no FIN would leave, and the number could be given away under it.
  WEIR_CHECK(descriptor.flights.empty());
  if (descriptor.endpoint != nullptr) descriptor.endpoint->Close();
  if (descriptor.listener != nullptr) descriptor.listener->Close();
  world_.RemoveFd(host_, fd);
}

void Backend::CloseWithReset(int fd) {
  Descriptor& descriptor = Need(fd, "close");
  WEIR_CHECK(descriptor.flights.empty());
  WEIR_CHECK(descriptor.endpoint != nullptr);
  descriptor.endpoint->Reset();
  world_.RemoveFd(host_, fd);
}

int Backend::TakeSignal(int signal_fd) {
  Descriptor& descriptor = Need(signal_fd, "take a signal");
  WEIR_CHECK(descriptor.kind == Descriptor::Kind::kSignals);
  if (descriptor.signals.empty()) return 0;
  const int signal = descriptor.signals.front();
  descriptor.signals.erase(descriptor.signals.begin());
  return signal;
}

}  // namespace weir::sim
