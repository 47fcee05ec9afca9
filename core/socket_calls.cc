#include "core/socket_calls.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

#include "core/check.h"
#include "core/unix_listener.h"

namespace weir {
namespace {

// <netinet/tcp.h> and <linux/tcp.h> cannot be included together; the latter has the newer tcp_info.
constexpr int kTcpNoDelay = 1;
constexpr int kTcpKeepIdle = 4;
constexpr int kTcpKeepInterval = 5;
constexpr int kTcpKeepCount = 6;
constexpr int kTcpInfo = 11;
constexpr int kTcpCongestion = 13;
constexpr int kTcpUserTimeout = 18;
constexpr int kTcpFastOpen = 23;
constexpr int kTcpFastOpenConnect = 30;

// More than any socket's send queue can hold.
constexpr int64_t kUnixAcknowledgedBase = int64_t{1} << 40;

int SetInt(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof(value)) == 0 ? 0 : -errno;
}

int CloseAndReturn(int fd, int error) {
  close(fd);
  return -error;
}

// Sets options of one socket and keeps the first error.
class TcpSetter {
 public:
  explicit TcpSetter(int fd) : fd_(fd) {}
  ~TcpSetter() {
    if (fresh_fd_ >= 0) close(fresh_fd_);
  }
  TcpSetter(const TcpSetter&) = delete;
  TcpSetter& operator=(const TcpSetter&) = delete;

  void Set(int level, int name, uint32_t value, uint32_t before) {
    if (value != before) Note(SetInt(fd_, level, name, static_cast<int>(value)));
  }
  // 0 is what the system says: a fresh socket knows.
  void SetOrSystems(int name, uint32_t value, uint32_t before) {
    if (value == before) return;
    int wanted = static_cast<int>(value);
    socklen_t length = sizeof(wanted);
    if (value == 0 && getsockopt(Fresh(), IPPROTO_TCP, name, &wanted, &length) != 0) return Note(-errno);
    Note(SetInt(fd_, IPPROTO_TCP, name, wanted));
  }
  void SetCongestionControl(const std::string& name, const std::string& before) {
    if (name == before) return;
    char wanted[kCongestionBytes] = {};
    socklen_t length = sizeof(wanted);
    if (!name.empty()) {
      length = static_cast<socklen_t>(name.copy(wanted, sizeof(wanted) - 1));
    } else if (getsockopt(Fresh(), IPPROTO_TCP, kTcpCongestion, wanted, &length) != 0) {
      return Note(-errno);
    }
    Note(setsockopt(fd_, IPPROTO_TCP, kTcpCongestion, wanted, length) == 0 ? 0 : -errno);
  }
  int error() const { return error_; }

 private:
  static constexpr size_t kCongestionBytes = 16;  // TCP_CA_NAME_MAX

  void Note(int error) {
    if (error_ == 0) error_ = error;
  }
  int Fresh() {
    if (fresh_fd_ < 0) fresh_fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
    return fresh_fd_;
  }

  const int fd_;
  int fresh_fd_ = -1;
  int error_ = 0;
};

bool Listens(int fd) {
  int listens = 0;
  socklen_t length = sizeof(listens);
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 && listens != 0;
}

bool IsUnix(int fd) {
  int domain = 0;
  socklen_t length = sizeof(domain);
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_UNIX;
}

}  // namespace

int OpenStreamSocket(uint16_t family) {
  if (family == AF_UNIX) {  // non-blocking until ConnectUnix has worked
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd < 0 ? -errno : fd;
  }
  // Blocking on purpose: io_uring answers EAGAIN instead of waiting when a socket is non-blocking.
  const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
  if (fd < 0) return -errno;
  SetInt(fd, IPPROTO_TCP, kTcpNoDelay, 1);
  return fd;
}

int SetTcpOptions(int fd, const TcpOptions& options, const TcpOptions& before) {
  if (options == before || IsUnix(fd)) return 0;
  TcpSetter setter(fd);
  setter.Set(IPPROTO_TCP, kTcpNoDelay, options.no_delay, before.no_delay);
  setter.Set(SOL_SOCKET, SO_KEEPALIVE, options.keepalive_idle_s > 0, before.keepalive_idle_s > 0);
  setter.SetOrSystems(kTcpKeepIdle, options.keepalive_idle_s, before.keepalive_idle_s);
  setter.SetOrSystems(kTcpKeepInterval, options.keepalive_interval_s, before.keepalive_interval_s);
  setter.SetOrSystems(kTcpKeepCount, options.keepalive_count, before.keepalive_count);
  setter.Set(IPPROTO_TCP, kTcpUserTimeout, options.user_timeout_ms, before.user_timeout_ms);
  if (options.fast_open != before.fast_open) {
    if (Listens(fd)) {
      setter.Set(IPPROTO_TCP, kTcpFastOpen, options.fast_open, before.fast_open);
    } else {
      setter.Set(IPPROTO_TCP, kTcpFastOpenConnect, options.fast_open > 0, before.fast_open > 0);
    }
  }
  setter.SetCongestionControl(options.congestion_control, before.congestion_control);
  return setter.error();
}

int ProbeTcp(const TcpOptions& options, const SocketAddress* source) {
  const int fd = OpenStreamSocket(source == nullptr ? uint16_t{AF_INET} : source->family);
  if (fd < 0) return -fd;
  int error = SetTcpOptions(fd, options, TcpOptions());
  if (error == 0 && source != nullptr) error = BindSourceAddress(fd, *source);
  close(fd);
  return -error;
}

int BindSourceAddress(int fd, const SocketAddress& source) {
  if (source.port == 0) {
    // Else each port would be good for one connection only, wherever that goes.
    if (const int error = SetInt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1); error != 0) return error;
  }
  sockaddr_storage storage;
  const socklen_t length = source.ToSockaddr(&storage);
  return bind(fd, reinterpret_cast<sockaddr*>(&storage), length) == 0 ? 0 : -errno;
}

int ConnectUnix(int fd, const SocketAddress& address) {
  sockaddr_storage storage;
  const socklen_t length = address.ToSockaddr(&storage);
  if (connect(fd, reinterpret_cast<sockaddr*>(&storage), length) != 0) return -errno;
  int non_blocking = 0;
  return ioctl(fd, FIONBIO, &non_blocking) == 0 ? 0 : -errno;
}

int ListenOn(SocketAddress& address, const ListenOptions& options) {
  if (address.is_unix()) return ListenOnUnix(address, options);
  const int fd = socket(address.family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
  if (fd < 0) return -errno;
  SetInt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (options.reuse_port) {
    if (const int error = SetInt(fd, SOL_SOCKET, SO_REUSEPORT, 1); error != 0)
      return CloseAndReturn(fd, -error);
  }
  // "::" means IPv6 only, as written: the operator lists 0.0.0.0 too when both are wanted.
  if (address.family == AF_INET6) SetInt(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  SetInt(fd, IPPROTO_TCP, kTcpNoDelay, 1);  // accepted sockets inherit it
  sockaddr_storage storage;
  const socklen_t length = address.ToSockaddr(&storage);
  if (bind(fd, reinterpret_cast<sockaddr*>(&storage), length) != 0) return CloseAndReturn(fd, errno);
  if (listen(fd, options.backlog) != 0) return CloseAndReturn(fd, errno);
  if (address.port == 0) {
    if (const int error = QueryLocal(fd, address); error != 0) return CloseAndReturn(fd, -error);
  }
  return fd;
}

int AcceptFrom(int listener_fd) {
  // accept4 on a blocking listener would wait: ask first. Only this thread accepts from the fd now.
  pollfd question{listener_fd, POLLIN, 0};
  if (poll(&question, 1, 0) <= 0) return -EAGAIN;
  const int fd = accept4(listener_fd, nullptr, nullptr, SOCK_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

int DropSynSegments(int listener_fd) {
  if (IsUnix(listener_fd)) return shutdown(listener_fd, SHUT_RD) == 0 ? 0 : -errno;
  // A classic filter on the TCP header: a segment with SYN and without ACK is dropped, everything else
  // passes. The peer sends its SYN again after a second, and by then finds the next process, or a clean
  // refusal.
  static constexpr uint8_t kSyn = 0x02;
  static constexpr uint8_t kAck = 0x10;
  sock_filter code[] = {
      {BPF_LD | BPF_B | BPF_ABS, 0, 0, 13},    {BPF_ALU | BPF_AND | BPF_K, 0, 0, kSyn | kAck},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, kSyn}, {BPF_RET | BPF_K, 0, 0, 0},
      {BPF_RET | BPF_K, 0, 0, 0xffffffff},
  };
  const sock_fprog program{sizeof(code) / sizeof(code[0]), code};
  return setsockopt(listener_fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0 ? 0 : -errno;
}

int QueryPeer(int fd, SocketAddress& address) {
  sockaddr_storage storage;
  socklen_t length = sizeof(storage);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return -errno;
  address = SocketAddress::FromSockaddr(reinterpret_cast<sockaddr*>(&storage));
  return 0;
}

int QueryLocal(int fd, SocketAddress& address) {
  sockaddr_storage storage;
  socklen_t length = sizeof(storage);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return -errno;
  address = SocketAddress::FromSockaddr(reinterpret_cast<sockaddr*>(&storage));
  return 0;
}

int64_t QueryAcknowledged(int fd) {
  tcp_info info{};
  socklen_t length = sizeof(info);
  if (getsockopt(fd, IPPROTO_TCP, kTcpInfo, &info, &length) != 0) {
    int unread_bytes = 0;  // with what the kernel needs to keep them
    if (!IsUnix(fd) || ioctl(fd, SIOCOUTQ, &unread_bytes) != 0) return -errno;
    return kUnixAcknowledgedBase - unread_bytes;
  }
  if (length < offsetof(tcp_info, tcpi_bytes_acked) + sizeof(info.tcpi_bytes_acked)) return -ENOSYS;
  return static_cast<int64_t>(info.tcpi_bytes_acked);
}

bool QueryHasBytes(int fd) {
  int bytes = 0;
  return ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

int ShutdownSocket(int fd, Backend::Direction direction) {
  const int how = direction == Backend::Direction::kSend      ? SHUT_WR
                  : direction == Backend::Direction::kReceive ? SHUT_RD
                                                              : SHUT_RDWR;
  return shutdown(fd, how) == 0 ? 0 : -errno;
}

void CloseSocketWithReset(int fd) {
  const linger hard{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  close(fd);
}

int ReadSignal(int signal_fd) {
  signalfd_siginfo info;
  const ssize_t bytes = read(signal_fd, &info, sizeof(info));
  return bytes == static_cast<ssize_t>(sizeof(info)) ? static_cast<int>(info.ssi_signo) : 0;
}

}  // namespace weir
