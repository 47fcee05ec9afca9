// World: a simulated network with its hosts, shards and peers, all on one thread under a virtual clock. The
// same seed gives the same run, byte for byte: a bug report is a seed. It owns everything in it. Shards run
// real code on a sim::Backend (MakeBackend, or simply NewShard); Peers (peer.h) are the test's own clients
// and servers.
//
// Time moves only here: a shard's turn costs some microseconds, and when no shard has anything to do the
// clock jumps to the next event. So minutes of timeouts cost nothing, and a slow test is one where much
// happens.
//
// The world ends the process (WEIR_CHECK) when somebody breaks the contract of core/backend.h: closes an fd
// that has an op in flight or is not open, starts an op twice, touches an op or the bytes of a send while
// they are in flight. At its end (or CheckClean) it does the same for a leaked fd, op, buffer or arena byte.
// Test only; one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"
#include "core/clock.h"
#include "core/random.h"
#include "core/shard.h"
#include "core/sim/faults.h"
#include "core/switchboard.h"

namespace weir::sim {

class Backend;
class Endpoint;
class Listener;
class Peer;
class PeerServer;
struct Descriptor;

class World {
 public:
  struct Options {
    uint64_t seed = 1;
    Faults faults = {};
    uint32_t fd_limit = 4096;     // per host
    uint32_t submissions = 4096;  // most ops a backend submits per turn; the rest stays pending
    uint32_t least_window_bytes =
        2 * 1024;  // each direction of a connection draws how many unread bytes it holds
    uint32_t most_window_bytes = 256 * 1024;
    int64_t least_latency_ns = 5 * kNsPerUs;  // one way, drawn per connection
    int64_t most_latency_ns = 100 * kNsPerUs;
    bool check_clean = true;  // the destructor calls CheckClean
  };

  explicit World(const Options& options);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // Time and chance.
  int64_t now_ns() const { return now_ns_; }
  Random& random() { return random_; }
  Faults& faults() { return faults_; }
  const Options& options() const { return options_; }
  // Runs `action` outside of any shard, once the clock is there.
  void At(int64_t when_ns, std::function<void()> action);
  void After(int64_t delay_ns, std::function<void()> action) { At(now_ns_ + delay_ns, std::move(action)); }

  // Shards. A host is a process: its shards share one table of file descriptors.
  static constexpr uint32_t kWeirHost = 0;
  // Owned by the world, because a switchboard outlives its shards.
  Switchboard& NewSwitchboard(uint32_t shards);
  Shard& NewShard(Switchboard& switchboard, const Shard::Options& options, uint32_t host = kWeirHost);
  // For code that makes its shards itself: give it MakeBackend, then tell the world about each with Adopt
  // (not owned; Forget before it is destroyed).
  Shard::MakeBackend MakeBackend(uint32_t host = kWeirHost);
  void Adopt(Shard& shard);
  void Forget(Shard& shard);
  // Destroys the shards NewShard made, last made first. What lives on them must be gone or must need no
  // shard.
  void DestroyShards();
  // Runs `action` as code of the shard (Shard::Current, frames from its arena); the shard takes a turn soon
  // after.
  template <class Action>
  void On(Shard& shard, Action&& action) {
    Shard::Enter enter(shard);
    action();
    Poke(shard);
  }
  // Brings the shard out of its sleep.
  void Poke(Shard& shard);
  // Gives the shard no turn for so long, as if its process had been stopped.
  void Stall(Shard& shard, int64_t duration_ns);

  // Running. One step is one shard's turn, or a jump of the clock to the next event. False: nothing will ever
  // happen again.
  bool Step();
  void RunFor(int64_t duration_ns);
  // Steps until `done()`; false if that did not happen within `limit_ns` of virtual time.
  template <class Done>
  bool RunUntil(Done&& done, int64_t limit_ns = 600 * kNsPerSecond) {
    const int64_t end_ns = now_ns_ + limit_ns;
    while (!done()) {
      if (now_ns_ > end_ns || !Step()) return done();
    }
    return true;
  }

  // Peers, kept until the world ends. Addresses are "127.0.0.1:80".
  Peer& Connect(std::string_view to, std::string_view from_ip = "127.0.0.1");
  // Listens; `on_accept` gets each connection. Several servers on one address share it as SO_REUSEPORT does.
  PeerServer& Serve(std::string_view address, std::function<void(Peer&)> on_accept);

  // A signal: TakeSignal on a NewSignalFd of that host gives it, after the poll Source fired.
  int NewSignalFd(uint32_t host = kWeirHost);
  void Raise(int signal, uint32_t host = kWeirHost);
  // A file for Op::kWrite, and what was written to it.
  int NewFile(uint32_t host = kWeirHost);
  const std::string& FileContents(int fd, uint32_t host = kWeirHost) const;

  // What is open.
  uint32_t open_fds(uint32_t host = kWeirHost) const;
  void set_fd_limit(uint32_t limit) { options_.fd_limit = limit; }
  // Fds, their kinds and the state of the connections, one a line, for a failed test's message.
  std::string Dump() const;
  // Aborts if a host holds fds, or if a shard NewShard made has ops in flight, buffers or arena memory out.
  void CheckClean() const;

 private:
  friend class Backend;
  friend class Endpoint;
  friend class Listener;
  friend class Peer;
  friend class PeerServer;

  struct Event {
    int64_t when_ns;
    uint64_t order;
    std::function<void()> action;
    bool operator<(const Event& other) const {  // the earliest on top
      return when_ns != other.when_ns ? when_ns > other.when_ns : order > other.order;
    }
  };
  struct Seat {
    Shard* shard;
    Backend* backend;
    std::unique_ptr<Shard> owned;
    int64_t stalled_until_ns = 0;
  };
  struct Host {
    std::map<int, std::unique_ptr<Descriptor>> fds;
  };

  bool Chance(double probability) {
    return probability > 0 && static_cast<double>(random_.Next() >> 11) * 0x1.0p-53 < probability;
  }
  int64_t Between(int64_t least, int64_t most);
  void RunDueEvents();
  void RunShard(Seat& seat);

  // Descriptors (backend.cc).
  int NewFd(uint32_t host, std::unique_ptr<Descriptor> descriptor);
  Descriptor* Find(uint32_t host, int fd) const;
  void RemoveFd(uint32_t host, int fd);

  // The network (network.cc).
  Endpoint& NewEndpoint();
  void Syn(Endpoint& client, uint32_t attempt);
  Listener* PickListener(const SocketAddress& address, uint32_t hash) const;
  bool AddressTaken(const SocketAddress& address, bool reuse_port) const;
  Listener& NewListener(const SocketAddress& address, bool reuse_port, int backlog);
  SocketAddress Ephemeral(const SocketAddress& ip);

  Options options_;
  Faults faults_;
  Random random_;
  int64_t now_ns_ = 1'000 * kNsPerSecond;
  int64_t wall_ms_ = 1'700'000'000'000;
  uint64_t events_made_ = 0;
  std::priority_queue<Event> events_;
  std::vector<std::unique_ptr<Endpoint>> endpoints_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::vector<std::unique_ptr<PeerServer>> servers_;
  uint16_t next_port_ = 10'000;
  std::map<uint32_t, Host> hosts_;
  std::vector<Backend*> backends_;  // alive
  std::vector<std::unique_ptr<Switchboard>> switchboards_;
  std::vector<Seat> seats_;
};

}  // namespace weir::sim
