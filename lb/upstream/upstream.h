// UpstreamConnection: one connection to an endpoint. UpstreamPool: a shard's view of one upstream: which
// endpoint is next, its idle connections (newest first, so that few stay warm and the rest age out), and
// which are set aside. A connection is owned by the pool; while an exchange uses it, the exchange's waiter
// hears of its events. An idle one keeps its receive armed: the upstream's FIN, or bytes nobody asked for,
// end it at once. Bounds: `UpstreamSettings::idle_connections` idle ones per endpoint; in use: one per client
// connection. An endpoint that refuses or times out is set aside for UpstreamSettings::set_aside_ms, doubling
// up to 16 times while it goes on failing; it comes back by itself. Upstreams: all pools of a shard.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/shard.h"
#include "core/slab.h"
#include "core/stream.h"
#include "lb/balance/balancer.h"
#include "lb/config/settings.h"
#include "lb/stats.h"
#include "lb/upstream/endpoint_counters.h"

namespace weir::lb {

class UpstreamPool;
class Upstreams;

struct UpstreamConnection {
  explicit UpstreamConnection(UpstreamPool* pool);

  // What wakes while no exchange owns it: idle, or closing.
  struct Watch : Runnable {
    explicit Watch(UpstreamConnection* owner);
    UpstreamConnection* owner;
  };

  Stream stream;
  Timer timer;
  Watch watch;
  UpstreamPool* pool;
  uint32_t endpoint = 0;
  uint32_t requests = 0;                // begun on it
  UpstreamConnection* newer = nullptr;  // the endpoint's idle list
  UpstreamConnection* older = nullptr;
  bool idle = false;
};

class UpstreamPool {
 public:
  UpstreamPool(Shard& shard, const UpstreamSettings& settings, ProxyCounters& counters, Upstreams& upstreams);
  ~UpstreamPool();
  UpstreamPool(const UpstreamPool&) = delete;
  UpstreamPool& operator=(const UpstreamPool&) = delete;

  static constexpr uint32_t kNone = Balancer::kNone;

  // The endpoint for the next attempt, none of `tried` (with `allow_tried` rather one of them than none);
  // kNone when none is left. Counts it as in flight until Done.
  uint32_t Pick(std::span<const uint32_t> tried, bool allow_tried = false);
  // The request (or TCP connection) on `endpoint` is over, however it ended.
  void Done(uint32_t endpoint);
  uint32_t endpoint_count() const { return static_cast<uint32_t>(endpoints_.size()); }
  const SocketAddress& address(uint32_t endpoint) const { return settings_.endpoints[endpoint].address; }
  // True when no endpoint is usable just now.
  bool AllSetAside() const { return usable_ == 0; }
  // Seconds until the first one comes back, at least 1.
  uint32_t RetryAfterSeconds() const;

  // An idle connection of `endpoint`, or null. Its waiter is still the pool's watch: the caller sets its own.
  UpstreamConnection* TakeIdle(uint32_t endpoint);
  // A fresh socket that begins to connect, or null with `error` (errno). The caller waits for it.
  UpstreamConnection* StartConnect(uint32_t endpoint, Runnable* waiter, int* error);
  // The result of a connect the caller waited for: sets the endpoint aside (unless `error`, an errno, is of
  // our own making), or clears its record.
  void ConnectFailed(uint32_t endpoint, int error);
  void ConnectWorked(uint32_t endpoint);

  // Gives back a connection that can take another request.
  void Release(UpstreamConnection* connection);
  void Close(UpstreamConnection* connection, bool with_reset);
  // Closes the oldest idle connection of an endpoint. False when there is none.
  bool CloseOneIdle();

  EndpointCounters& endpoint_counters(uint32_t endpoint) { return endpoints_[endpoint]->counters; }
  // Closes half of the idle connections that nobody needed since the last call, the oldest first.
  void Shrink();
  static constexpr uint32_t kKeepIdle = 32;  // per endpoint: kept however quiet it is, until they age out

 private:
  friend struct UpstreamConnection;

  struct Endpoint : Runnable {
    explicit Endpoint(UpstreamPool* pool);
    UpstreamPool* pool;
    UpstreamConnection* newest = nullptr;
    UpstreamConnection* oldest = nullptr;
    uint32_t idle = 0;
    uint32_t fewest_idle = 0;  // since the last Shrink: so many were never needed
    uint32_t failures = 0;     // in a row
    int64_t aside_until_ns = 0;
    bool aside = false;
    Timer timer;  // brings it back
    EndpointCounters counters;
  };

  void OnWatch(UpstreamConnection* connection);
  void UnlinkIdle(UpstreamConnection* connection);
  void ComeBack(Endpoint& endpoint);

  Shard& shard_;
  const UpstreamSettings& settings_;
  ProxyCounters& counters_;
  Upstreams& upstreams_;
  Balancer balancer_;
  std::vector<std::unique_ptr<Endpoint>> endpoints_;
  uint32_t usable_;
};

// All upstreams of a shard: their pools, and the memory and descriptors that these share.
class Upstreams {
 public:
  Upstreams(Shard& shard, const Settings& settings, ProxyCounters& counters);

  UpstreamPool& pool(uint32_t index) { return *pools_[index]; }  // of Settings::upstreams
  Slab<UpstreamConnection>& connections() { return connections_; }
  uint32_t open() const { return connections_.size(); }
  // Closes the oldest idle connection of any endpoint (descriptors ran out). False when there is none.
  bool CloseOneIdle();
  void CloseAllIdle();
  // Shrinks every pool, and gives memory back. Call every kShrinkMs: a burst's connections leave within some
  // seconds.
  void Shrink();
  static constexpr uint32_t kShrinkMs = 1'000;

 private:
  Slab<UpstreamConnection> connections_;
  std::vector<std::unique_ptr<UpstreamPool>> pools_;
};

}  // namespace weir::lb
