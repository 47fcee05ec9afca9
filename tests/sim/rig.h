// Rig: Weir in a simulated world: N shards with a Proxy each, the control shard with the access log's writer,
// all on one virtual clock. It stands for lb/server.cc, which needs a kernel: orders go to the shards as
// messages, and the shards report back when they are drained. End() is the last thing a test does: it drains,
// waits, and checks that nothing is left: connections, descriptors, buffers, arena bytes, gauges.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/sim/peer.h"
#include "core/sim/world.h"
#include "lb/health/checker.h"
#include "lb/health/outliers.h"
#include "lb/health/panic_watch.h"
#include "lb/health/publisher.h"
#include "lb/health/slow_start.h"
#include "lb/log/access_log.h"
#include "lb/log/log_writer.h"
#include "lb/proxy.h"

namespace weir::lb::trial {

inline constexpr char kHttpAddress[] = "10.0.0.1:80";
inline constexpr char kTcpAddress[] = "10.0.0.1:81";

class Rig : public Generation::Keeper {
 public:
  struct Options {
    sim::World::Options world;
    uint32_t shards = 1;
    uint32_t buffers = 256;
    bool log = true;
    bool routed = false;  // requests find their upstream by routes
    Settings settings;    // endpoints and limits; listeners are made here
  };
  // Settings with `endpoints` at 10.0.1.1:8000, 10.0.1.2:8000, ...
  static Settings Defaults(uint32_t endpoints);
  static std::string EndpointAddress(uint32_t endpoint);

  explicit Rig(Options options);
  ~Rig();
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  sim::World& world() { return *world_; }
  // What holds for new requests.
  const Settings& settings() const { return generations_.back()->settings(); }
  // All shards are to adopt what `change` makes of the settings, as soon as its order reaches them.
  void Reload(const std::function<void(Settings&)>& change);
  const std::vector<std::unique_ptr<Generation>>& generations() const { return generations_; }
  uint64_t reloads() const { return reloads_; }
  uint32_t shards() const { return static_cast<uint32_t>(tenants_.size()); }
  Proxy& proxy(uint32_t shard) { return *tenants_[shard]->proxy; }
  Shard& shard(uint32_t index) { return *tenants_[index]->shard; }
  // Of all shards together.
  uint64_t Sum(Counter ProxyCounters::* counter) const;
  uint64_t RequestsCounted() const;
  uint64_t RequestsCounted(uint32_t status_class) const;

  // Orders every shard to say close, as the lame duck does.
  void SayClose();
  // Orders every shard to drain; after settings.timeouts.drain_ms it cuts what is left.
  void Drain();
  bool draining() const { return drain_ns_ != 0; }
  int64_t drain_ns() const { return drain_ns_; }
  bool drained() const { return drained_ == tenants_.size(); }
  bool cut() const { return cut_; }
  // Under World::On(control()) alone, as what follows.
  Publisher& publisher() { return *publisher_; }
  Shard& control() { return *control_; }
  SlowStarter& slow_starter() { return *slow_starter_; }
  Outliers& outliers() { return *outliers_; }
  // What an operator was told of endpoints, in the newest rig.
  static const std::vector<std::string>& told();

  // Drains if nobody did, and checks that all is gone in time.
  void End();
  // What the access log says of request `id` (story.h), after End.
  std::string LogLinesOf(uint64_t id) const;

 private:
  struct Order : Message {
    std::function<void()> act;
  };
  struct Tenant {
    Shard* shard = nullptr;
    ProxyCounters counters;
    std::unique_ptr<AccessLog> log;
    std::unique_ptr<Proxy> proxy;
    Order say_close;
    Order drain;
    Order cut;
    Order drained;
  };

  void OnAdopted(Snapshot& snapshot) override;
  void OnGone(Snapshot& snapshot) override;
  void Adopt(Settings settings);
  bool OpenSockets();
  void Post(Shard& from, uint32_t to, Order& order, std::function<void()> act);
  void ReportWhenLogIsHome(Tenant& tenant);
  void CheckCounters();

  std::vector<std::unique_ptr<Generation>> generations_;
  uint64_t reloads_ = 0;
  std::unique_ptr<sim::World> world_;
  Switchboard* switchboard_ = nullptr;
  Shard* control_ = nullptr;
  ProxyCounters control_counters_;
  int log_fd_ = -1;
  std::unique_ptr<LogWriter> log_writer_;
  std::unique_ptr<Publisher> publisher_;
  std::unique_ptr<SlowStarter> slow_starter_;
  std::unique_ptr<Checker> checker_;
  std::unique_ptr<EndpointNews> news_;
  std::unique_ptr<Outliers> outliers_;
  std::unique_ptr<PanicWatch> panic_watch_;
  std::vector<std::unique_ptr<Tenant>> tenants_;
  std::vector<const ProxyCounters*> counters_;
  int64_t drain_ns_ = 0;
  uint32_t drained_ = 0;
  bool cut_ = false;
  bool ended_ = false;
  std::string log_text_;
};

}  // namespace weir::lb::trial
