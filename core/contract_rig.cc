#include "core/contract_rig.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "core/sim/backend.h"
#include "core/sim/peer.h"
#include "core/sim/world.h"
#include "core/unix_path.h"
#include "core/uring_backend.h"

namespace weir {

void Rig::RunFor(uint32_t ms) {
  const int64_t end_ns = backend().ReadClock().mono_ns + ms * kNsPerMs;
  RunUntil([&] { return backend().ReadClock().mono_ns >= end_ns; });
}

namespace {

// The real kernel

int64_t MonotonicNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kNsPerSecond + now.tv_nsec;
}

class SocketRemote final : public Remote {
 public:
  SocketRemote(std::vector<SocketRemote*>& all, int fd, bool connected)
      : all_(all), fd_(fd), connected_(connected) {
    all_.push_back(this);
  }
  ~SocketRemote() override {
    Drop();
    std::erase(all_, this);
  }

  void Send(std::string_view bytes) override { queue_ += bytes; }
  void Finish() override { finish_asked_ = true; }
  void Close() override { close_asked_ = true; }
  void Reset() override {
    if (fd_ < 0) return;
    const linger hard{1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    Drop();
  }
  void StopReading() override { reading_ = false; }
  void ReadAgain() override { reading_ = true; }
  bool connected() const override { return connected_; }
  bool ended() const override { return ended_; }
  int error() const override { return error_; }
  const std::string& received() const override { return received_; }

  void Fail(int error) {
    error_ = error;
    Drop();
  }

  void Pump() {
    if (fd_ < 0) return;
    if (!connected_) {
      pollfd question{fd_, POLLOUT, 0};
      if (poll(&question, 1, 0) <= 0) return;
      int error = 0;
      socklen_t length = sizeof(error);
      getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &length);
      if (error != 0) {
        Fail(error);
        return;
      }
      connected_ = true;
    }
    while (!queue_.empty()) {
      const ssize_t sent = send(fd_, queue_.data(), queue_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0) {
        if (errno == EAGAIN) break;
        Fail(errno);
        return;
      }
      queue_.erase(0, static_cast<size_t>(sent));
    }
    if (queue_.empty() && close_asked_) {
      Drop();
      return;
    }
    if (queue_.empty() && finish_asked_ && !finished_) {
      finished_ = true;
      shutdown(fd_, SHUT_WR);
    }
    char bytes[16 * 1024];
    while (reading_ && !ended_) {
      const ssize_t got = recv(fd_, bytes, sizeof(bytes), MSG_DONTWAIT);
      if (got > 0) {
        received_.append(bytes, static_cast<size_t>(got));
      } else if (got == 0) {
        ended_ = true;
      } else if (errno == EAGAIN) {
        break;
      } else {
        Fail(errno);
        return;
      }
    }
  }

 private:
  void Drop() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

  std::vector<SocketRemote*>& all_;
  int fd_;
  bool connected_;
  bool ended_ = false;
  bool reading_ = true;
  bool finish_asked_ = false;
  bool finished_ = false;
  bool close_asked_ = false;
  int error_ = 0;
  std::string queue_;
  std::string received_;
};

class SocketServer final : public RemoteServer {
 public:
  SocketServer(std::vector<SocketServer*>& all, std::vector<SocketRemote*>& remotes, int fd)
      : all_(all), remotes_(remotes), fd_(fd) {
    all_.push_back(this);
  }
  ~SocketServer() override {
    close(fd_);
    std::erase(all_, this);
  }
  size_t accepted() const override { return connections_.size(); }
  Remote& connection(size_t index) override { return *connections_[index]; }

  void Pump() {
    for (;;) {
      const int fd = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd < 0) return;
      connections_.push_back(std::make_unique<SocketRemote>(remotes_, fd, true));
    }
  }

 private:
  std::vector<SocketServer*>& all_;
  std::vector<SocketRemote*>& remotes_;
  int fd_;
  std::vector<std::unique_ptr<SocketRemote>> connections_;
};

// Brings a waiting turn back once a millisecond, to look after the other side.
struct Heartbeat : Runnable {
  explicit Heartbeat(Shard& shard)
      : Runnable([](Runnable* self) {
          auto* beat = static_cast<Heartbeat*>(self);
          beat->shard.SetTimer(beat->timer, 0);
        }),
        shard(shard) {
    timer.waiter = this;
    shard.SetTimer(timer, 0);
  }
  ~Heartbeat() {
    shard.ClearTimer(timer);
    shard.Forget(*this);
  }
  Shard& shard;
  Timer timer;
};

class UringRig final : public Rig {
 public:
  explicit UringRig(const RigOptions& options) : unix_sockets_(options.unix_sockets), switchboard_(1) {
    UringFeatures features;
    std::string problem;
    if (!ProbeUring(features, problem)) {
      std::fprintf(stderr, "%s\n", problem.c_str());
      std::abort();
    }
    shard_ = std::make_unique<Shard>(
        Shard::Options{.index = 0, .seed = 1, .buffers = options.buffers}, switchboard_,
        [&](BufferPool& pool, CoreCounters& counters) -> std::unique_ptr<Backend> {
          return std::make_unique<UringBackend>(
              UringBackend::Options{features, options.submissions, options.completions}, pool, counters);
        });
    heartbeat_ = std::make_unique<Heartbeat>(*shard_);
  }
  ~UringRig() override { GiveFdsBack(); }

  Shard& shard() override { return *shard_; }
  bool simulated() const override { return false; }

  bool RunUntil(const std::function<bool()>& done) override {
    const int64_t end_ns = MonotonicNs() + 10 * kNsPerSecond;
    while (!done()) {
      if (MonotonicNs() > end_ns) return false;
      for (size_t i = 0; i < servers_.size(); ++i) servers_[i]->Pump();
      for (size_t i = 0; i < remotes_.size(); ++i) remotes_[i]->Pump();
      shard_->RunTurn(true);
    }
    return true;
  }

  std::unique_ptr<Remote> Connect(const SocketAddress& to) override {
    const int fd = socket(to.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    WEIR_CHECK(fd >= 0);
    LimitReceiveBuffer(fd);
    sockaddr_storage storage;
    const socklen_t length = to.ToSockaddr(&storage);
    const int error = connect(fd, reinterpret_cast<sockaddr*>(&storage), length) == 0 ? 0 : errno;
    WEIR_CHECK(error == 0 || error == EINPROGRESS || to.is_unix());
    auto remote = std::make_unique<SocketRemote>(remotes_, fd, error == 0);
    if (error != 0 && error != EINPROGRESS) remote->Fail(error);
    return remote;
  }

  std::unique_ptr<RemoteServer> Serve(SocketAddress& address) override {
    address = FreeAddress();
    const int fd = socket(address.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    WEIR_CHECK(fd >= 0);
    LimitReceiveBuffer(fd);  // accepted sockets inherit it
    Bind(fd, address);
    WEIR_CHECK(listen(fd, 1024) == 0);
    return std::make_unique<SocketServer>(servers_, remotes_, fd);
  }

  SocketAddress FreeAddress() override {
    if (!unix_sockets_) return *SocketAddress::Parse("127.0.0.1:0");
    static int made = 0;
    std::string expected;
    return *ParseUnixAddress("unix:@weir-contract-" + std::to_string(getpid()) + "-" + std::to_string(made++),
                             &expected);
  }

  SocketAddress NobodysAddress() override {
    SocketAddress address = FreeAddress();
    const int fd = socket(address.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    Bind(fd, address);
    close(fd);
    return address;
  }

  void LimitSendBuffer(int fd) override {
    const int bytes = 16 * 1024;
    WEIR_CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)) == 0);
  }

  void TakeAllFds() override {
    WEIR_CHECK(getrlimit(RLIMIT_NOFILE, &limit_) == 0);
    const int next = dup(0);  // the lowest free number
    WEIR_CHECK(next >= 0);
    close(next);
    rlimit none = limit_;
    none.rlim_cur = static_cast<rlim_t>(next);
    WEIR_CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    limited_ = true;
  }
  void GiveFdsBack() override {
    if (limited_) setrlimit(RLIMIT_NOFILE, &limit_);
    limited_ = false;
  }

  int NewSignalFd(int signal) override {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    WEIR_CHECK(sigprocmask(SIG_BLOCK, &set, nullptr) == 0);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  }
  void Raise(int signal) override { kill(getpid(), signal); }

  int NewFile() override { return memfd_create("contract", MFD_CLOEXEC); }
  std::string FileContents(int fd) override {
    std::string contents(1 << 20, '\0');
    const ssize_t bytes = pread(fd, contents.data(), contents.size(), 0);
    contents.resize(static_cast<size_t>(std::max<ssize_t>(bytes, 0)));
    return contents;
  }

 private:
  static void LimitReceiveBuffer(int fd) {
    const int bytes = 16 * 1024;
    WEIR_CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) == 0);
  }
  // The port 0 is replaced by the one chosen.
  static void Bind(int fd, SocketAddress& address) {
    sockaddr_storage storage;
    socklen_t length = address.ToSockaddr(&storage);
    WEIR_CHECK(bind(fd, reinterpret_cast<sockaddr*>(&storage), length) == 0);
    if (address.is_unix()) return;
    WEIR_CHECK(getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) == 0);
    address = SocketAddress::FromSockaddr(reinterpret_cast<sockaddr*>(&storage));
  }

  const bool unix_sockets_;
  Switchboard switchboard_;
  std::unique_ptr<Shard> shard_;
  std::unique_ptr<Heartbeat> heartbeat_;
  std::vector<SocketRemote*> remotes_;
  std::vector<SocketServer*> servers_;
  rlimit limit_{};
  bool limited_ = false;
};

// The simulation

class SimRemote final : public Remote {
 public:
  explicit SimRemote(sim::Peer& peer) : peer_(peer) {
    peer_.on_bytes = [this](sim::Peer&, std::string_view bytes) { received_ += bytes; };
  }
  ~SimRemote() override {
    peer_.on_bytes = {};
    peer_.Reset();
  }
  void Send(std::string_view bytes) override { peer_.Send(bytes); }
  void Finish() override { peer_.Finish(); }
  void Close() override { peer_.Close(); }
  void Reset() override { peer_.Reset(); }
  void StopReading() override { peer_.StopReading(); }
  void ReadAgain() override { peer_.ReadAgain(); }
  bool connected() const override { return peer_.connected(); }
  bool ended() const override { return peer_.ended(); }
  int error() const override { return peer_.error(); }
  const std::string& received() const override { return received_; }

 private:
  sim::Peer& peer_;
  std::string received_;
};

class SimServer final : public RemoteServer {
 public:
  SimServer(sim::World& world, const SocketAddress& address)
      : server_(world.Serve(address.ToString(), [this](sim::Peer& peer) {
          connections_.push_back(std::make_unique<SimRemote>(peer));
        })) {}
  ~SimServer() override { server_.Stop(); }
  size_t accepted() const override { return connections_.size(); }
  Remote& connection(size_t index) override { return *connections_[index]; }

 private:
  std::vector<std::unique_ptr<SimRemote>> connections_;
  sim::PeerServer& server_;
};

sim::World::Options WorldOptions(const RigOptions& options, uint64_t seed) {
  sim::World::Options result;
  result.seed = seed;
  result.submissions = options.submissions;
  result.least_window_bytes = 1024;
  result.most_window_bytes = 64 * 1024;
  if (seed != 0) {
    Random random(seed);
    result.faults = sim::Faults::Drawn(random, false);
    result.faults.no_fd = 0;  // TakeAllFds says when
    // Ten seconds are the tests' patience.
    result.faults.connect_lost = 0;
    result.faults.late_segment /= 4;
  }
  return result;
}

class SimRig final : public Rig {
 public:
  SimRig(const RigOptions& options, uint64_t seed)
      : world_(WorldOptions(options, seed)),
        shard_(world_.NewShard(world_.NewSwitchboard(1),
                               {.index = 0, .seed = seed, .buffers = options.buffers})) {}

  Shard& shard() override { return shard_; }
  bool simulated() const override { return true; }
  bool RunUntil(const std::function<bool()>& done) override {
    const bool ok = world_.RunUntil(done, 10 * kNsPerSecond);
    if (!ok) std::fprintf(stderr, "%s", world_.Dump().c_str());
    return ok;
  }
  std::unique_ptr<Remote> Connect(const SocketAddress& to) override {
    return std::make_unique<SimRemote>(world_.Connect(to.ToString()));
  }
  std::unique_ptr<RemoteServer> Serve(SocketAddress& address) override {
    address = NobodysAddress();
    return std::make_unique<SimServer>(world_, address);
  }
  SocketAddress FreeAddress() override { return *SocketAddress::Parse("127.0.0.1:0"); }
  SocketAddress NobodysAddress() override {
    return *SocketAddress::Parse("127.0.0.1:" + std::to_string(next_port_++));
  }
  void LimitSendBuffer(int /*fd*/) override {}  // windows are small already
  void TakeAllFds() override { world_.set_fd_limit(world_.open_fds()); }
  void GiveFdsBack() override { world_.set_fd_limit(4096); }
  int NewSignalFd(int /*signal*/) override { return world_.NewSignalFd(); }
  void Raise(int signal) override { world_.Raise(signal); }
  int NewFile() override { return world_.NewFile(); }
  std::string FileContents(int fd) override { return world_.FileContents(fd); }
  void BeKind() override {
    sim::Faults& faults = world_.faults();
    faults.starved = faults.late_completion = faults.late_segment = faults.stall = 0;
  }

 private:
  sim::World world_;
  Shard& shard_;
  uint16_t next_port_ = 2000;
};

}  // namespace

std::unique_ptr<Rig> NewUringRig(const RigOptions& options) { return std::make_unique<UringRig>(options); }
std::unique_ptr<Rig> NewSimRig(const RigOptions& options, uint64_t seed) {
  return std::make_unique<SimRig>(options, seed);
}

}  // namespace weir
