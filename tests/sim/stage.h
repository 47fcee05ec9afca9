// Stage: a small world for one directed scene: Weir on one shard (or more), nothing goes wrong by itself, and
// the test speaks for the clients and the origins. What they say is raw bytes, what they hear is kept as
// text.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/sim/peer.h"
#include "core/sim/world.h"
#include "tests/sim/rig.h"

namespace weir::lb::trial {

// One connection from the test's side.
class Speaker {
 public:
  explicit Speaker(sim::Peer& peer);
  Speaker(const Speaker&) = delete;
  Speaker& operator=(const Speaker&) = delete;

  void Say(std::string_view bytes) { peer.Send(bytes); }

  sim::Peer& peer;
  std::string heard;
  uint64_t heard_bytes = 0;  // also when nothing is kept
  bool keep = true;
  // Called after each piece that was heard.
  std::function<void(Speaker&)> on_heard;

  bool ended() const { return ended_; }  // FIN
  int error() const { return error_; }   // 0: none
  bool over() const { return ended_ || error_ != 0; }
  int64_t over_ns() const { return over_ns_; }
  // How many answers, or requests, begin in what was heard.
  size_t Count(std::string_view text) const;
  bool Heard(std::string_view text) const { return heard.find(text) != std::string::npos; }

 private:
  bool ended_ = false;
  int error_ = 0;
  int64_t over_ns_ = 0;
};

class Stage {
 public:
  struct Options {
    Settings settings = Rig::Defaults(1);
    uint32_t buffers = 64;
    uint32_t shards = 1;
    sim::Faults faults;
    uint32_t least_window_bytes = 2 * 1024;
    uint32_t most_window_bytes = 256 * 1024;
  };
  Stage(uint64_t seed, Options options);
  explicit Stage(uint64_t seed) : Stage(seed, Options()) {}
  // Ends the client connections that are open, and the rig.
  ~Stage();
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  Rig& rig() { return *rig_; }
  sim::World& world() { return rig_->world(); }
  const ProxyCounters& counters() { return rig_->proxy(0).counters(); }

  // An origin listens from now on. `on_request` is called for each head it hears.
  sim::PeerServer& Origin(uint32_t endpoint, std::function<void(Speaker&)> on_request = nullptr);
  // Connections that origins have accepted, in order.
  std::deque<std::unique_ptr<Speaker>>& origins() { return origins_; }
  Speaker& origin(size_t i) { return *origins_.at(i); }

  // A client connects and says `bytes` at once.
  Speaker& Client(std::string_view bytes = "", const char* to = kHttpAddress);

  void Run(int64_t ms) { world().RunFor(ms * kNsPerMs); }
  bool Until(const std::function<bool()>& done, int64_t ms) { return world().RunUntil(done, ms * kNsPerMs); }
  int64_t now_ms() { return (world().now_ns() - begin_ns_) / kNsPerMs; }
  int64_t MsOf(int64_t ns) const { return (ns - begin_ns_) / kNsPerMs; }

 private:
  std::unique_ptr<Rig> rig_;
  std::deque<std::unique_ptr<Speaker>> origins_;
  std::deque<std::unique_ptr<Speaker>> clients_;
  int64_t begin_ns_ = 0;
};

// "GET <target> HTTP/1.1" with a Host, and `fields` (each with its CR LF).
std::string Get(std::string_view target, std::string_view fields = "");
std::string Post(std::string_view target, std::string_view fields, std::string_view body);
inline constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

// Answers every request it hears with kOk.
void SayOk(Speaker& speaker);

}  // namespace weir::lb::trial
