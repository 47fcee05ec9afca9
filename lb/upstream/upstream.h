// What a shard knows of the upstreams. Endpoint: one address of one upstream: its idle connections (newest
// first, so that few stay warm and the rest age out), and whether it is set aside; it stays the same through
// reloads. UpstreamPool: which endpoint is next, for one plan (plan.h; priorities and backups: lb/balance's
// levels.h). UpstreamConnection: one connection to
// an endpoint; while an exchange uses it, the exchange's waiter hears of its events. An idle one keeps its
// receive armed: the upstream's FIN, or bytes nobody asked for, end it at once. Upstreams: all of a shard's.
//
// Bounds: `UpstreamSettings::idle_connections` idle ones per endpoint; in use: one per client connection. One
// that had its share of requests or time (UpstreamSettings::pool) is not kept. An endpoint that refuses or
// times out is set aside for UpstreamSettings::set_aside_ms, doubling up to 16 times while it goes on failing
// and others are left; it comes back by itself. One that is down for its checks (lb/health) gets no new
// requests either; what is in flight there goes on, idle connections are closed, some at a time.
//
// A reload: a pool whose plan is no longer in force is retired. What was begun with it ends with it; its
// endpoints belong to the pool of the new plan from the moment there is one, and it looks at them itself
// where it chooses one. One that no plan in force has
// keeps no connection: idle ones are closed, some at a time, the others when their request is over.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/shard.h"
#include "core/slab.h"
#include "core/stream.h"
#include "lb/stats.h"
#include "lb/upstream/plan.h"
#include "lb/upstream/retry_budget.h"

namespace weir::lb {

class UpstreamPool;
class Upstreams;

struct UpstreamConnection {
  UpstreamConnection(Upstreams* upstreams, UpstreamPool* pool, uint32_t index, Endpoint* endpoint);

  // It has had its share of requests or time. Else `left_ms` until its time is over, if that ever is.
  bool IsSpent(const PoolSettings& limits, int64_t now_ns, uint32_t* left_ms) const {
    if (limits.max_requests > 0 && requests >= Own(limits.max_requests)) return true;
    if (limits.max_age_ms == 0) return false;
    const int64_t over_ms = Own(limits.max_age_ms) - (now_ns - begun_ns) / kNsPerMs;
    if (over_ms > 0) *left_ms = static_cast<uint32_t>(std::min<int64_t>(*left_ms, over_ms));
    return over_ms <= 0;
  }
  uint32_t Own(uint32_t limit) const {
    return limit - static_cast<uint32_t>(uint64_t{limit / 8} * luck >> 32);
  }

  // What wakes while no exchange owns it: idle, or closing.
  struct Watch : Runnable {
    explicit Watch(UpstreamConnection* owner);
    UpstreamConnection* owner;
  };

  Stream stream;
  Timer timer;
  Watch watch;
  Upstreams* upstreams;
  UpstreamPool* pool;  // who it was picked from last, and as which of its endpoints
  Endpoint* endpoint;
  uint32_t index;
  uint32_t requests = 0;                // begun on it
  uint32_t luck = 0;                    // how much earlier than others it ends
  int64_t begun_ns = 0;                 // its connect
  UpstreamConnection* newer = nullptr;  // the endpoint's idle list
  UpstreamConnection* older = nullptr;
  // With a PROXY header it is for one client connection, which keeps it in `*keeper` while it is idle.
  UpstreamConnection** keeper = nullptr;
  ProxyHelloSettings hello;  // what it began with
  bool idle = false;
};

struct Endpoint : Runnable {
  Endpoint(Upstreams* upstreams, std::shared_ptr<EndpointBook> book, EndpointCounters& counters);

  // Nothing is known against it, or it serves in a panic.
  bool takes_requests() const { return (view & EndpointBook::kNoRequests) == 0 || InPanic(); }
  bool usable() const { return !aside && takes_requests(); }
  Standing standing() const {
    Standing standing = EndpointBook::StandingOf(view);
    standing.aside = aside;
    return standing;
  }
  // Its idle connections are to be closed.
  bool leaving() const { return owner == nullptr || !takes_requests(); }
  bool InPanic() const;

  Upstreams* upstreams;
  const std::shared_ptr<EndpointBook> book;
  EndpointCounters& counters;
  UpstreamPool* owner = nullptr;  // the pool in force that has it; null: none
  uint32_t index = 0;             // there
  uint32_t holders = 0;           // pools that have it, and connections: gone when nobody is left
  UpstreamConnection* newest = nullptr;
  UpstreamConnection* oldest = nullptr;
  uint32_t idle = 0;
  uint32_t fewest_idle = 0;  // since the last Shrink: so many were never needed
  uint32_t failures = 0;     // in a row
  int64_t aside_until_ns = 0;
  bool aside = false;
  uint64_t view = 0;                    // its book's, as last read
  OutlierWatch::Page* watch = nullptr;  // its book's; null: no pool that had it ejects outliers
  Timer timer;                          // brings it back
  Endpoint* next_warm = nullptr;        // the list of those with idle connections
  Endpoint* previous_warm = nullptr;
};

class RemoteLoads;

class UpstreamPool {
 public:
  UpstreamPool(Upstreams& upstreams, std::shared_ptr<UpstreamPlan> plan);
  ~UpstreamPool();
  UpstreamPool(const UpstreamPool&) = delete;
  UpstreamPool& operator=(const UpstreamPool&) = delete;

  static constexpr uint32_t kNone = Balancer::kNone;

  // The endpoint for the next attempt, none of `tried` (with `allow_tried` rather one of them than none);
  // kNone when none is left, of `subset`: its settings are the pool's. Counts it as in flight until Done; the
  // pool lives at least so long. `hash`: of what the choice hangs on; of no meaning unless hashes().
  uint32_t Pick(std::span<const uint32_t> tried, uint64_t hash = 0, bool allow_tried = false,
                SubsetUse subset = {});
  bool hashes() const { return hashes_; }
  // A request on `endpoint` was answered within `took_ns`. A failure should be told as something slow.
  void Observe(uint32_t endpoint, int64_t took_ns);
  // One that failed after `took_ns`: if that was quick, it counts as kFailureNs, or whoever fails fastest
  // would get most.
  static constexpr int64_t kFailureNs = kNsPerSecond;
  void ObserveFailure(uint32_t endpoint, int64_t took_ns) {
    Observe(endpoint, std::max(took_ns, kFailureNs));
  }
  // What became of one, where outliers are ejected; `took_ns` until the head of its answer, or kUnknownNs.
  static constexpr int64_t kUnknownNs = -1;
  void Learn(uint32_t endpoint, Outcome outcome, int64_t took_ns) {
    if (learns_) [[unlikely]]
      Count(endpoint, outcome, took_ns);
  }
  // Of a connect that failed with `error`.
  static Outcome OutcomeOfConnect(int error);
  // The request (or TCP connection) on `endpoint` is over, however it ended.
  void Done(uint32_t endpoint);
  uint32_t endpoint_count() const { return static_cast<uint32_t>(endpoints_.size()); }
  const SocketAddress& address(uint32_t endpoint) const { return endpoints_[endpoint]->book->address(); }
  // Seconds until the first one of `subset` comes back, at least 1.
  uint32_t RetryAfterSeconds(SubsetUse subset) const;

  // An idle connection of `endpoint`, or null. Its waiter is still the pool's watch: the caller sets its own.
  UpstreamConnection* TakeIdle(uint32_t endpoint);
  // Likewise, where connections are for one client (UpstreamSettings::proxy_hello): that one's.
  UpstreamConnection* TakeOwn(uint32_t endpoint, UpstreamConnection* own);
  // A fresh socket that begins to connect, or null with `error` (errno). The caller waits for it.
  // `important`: where descriptors or memory ran out, an idle connection gives way.
  // `source`: kNone, and for another try of the same what it has become: that takes the next address.
  // `begins`: we speak first, as fast open wants.
  UpstreamConnection* StartConnect(uint32_t endpoint, Runnable* waiter, int* error, uint32_t& source,
                                   bool important = true, bool begins = true);
  // How many addresses connections to `endpoint` may come from: as often a connect that ends with
  // EADDRNOTAVAIL (the port numbers of one are in use) is worth another. At least 1.
  uint32_t SourcesFor(uint32_t endpoint) const;
  // The result of a connect the caller waited for: sets the endpoint aside (unless `error`, an errno, is of
  // our own making), or clears its record.
  void ConnectFailed(uint32_t endpoint, int error);
  void ConnectWorked(uint32_t endpoint);

  // It answers nobody, as its checks or other requests say, and there are others for `subset`. Who waits for
  // it is woken when that is known (EndViews).
  bool IsLost(uint32_t endpoint, SubsetUse subset) const {
    const Endpoint& at = *endpoints_[endpoint];
    return (at.view & EndpointBook::kSilent) != 0 && CanBeLeft(at, subset);
  }

  RetryBudget& retry_budget() { return retry_budget_; }
  const UpstreamSettings& settings() const { return plan_->settings; }
  UpstreamCounters& counters() { return counters_; }
  // Who is not well serves where `endpoint` is (lb/balance/panic.h).
  bool InPanic(uint32_t endpoint) const { return choices_.InPanic(endpoint); }

 private:
  friend class Upstreams;

  // Of the endpoint's pool in force: one in `subset` (0: any) that takes requests.
  static bool OthersAreLeft(const Endpoint& endpoint, uint32_t subset);
  // The same in every subset that has the endpoint.
  bool HasSilent() const;
  static bool OthersAreLeftInSubsets(const Endpoint& endpoint);
  bool CanBeLeft(const Endpoint& endpoint, SubsetUse subset) const;
  void Count(uint32_t endpoint, Outcome outcome, int64_t took_ns);
  // Whoever is asked last is asked again and again: on_all_down says so.
  bool IsLastResort(uint32_t index) const;
  uint32_t Choose(std::span<const uint32_t> tried, uint64_t hash, SubsetUse subset);
  uint32_t ChooseAmong(uint32_t subset, std::span<const uint32_t> tried, uint64_t hash);
  uint32_t ChooseRetired(uint32_t subset, const PickContext& context);
  // Null: it had ended.
  UpstreamConnection* Take(UpstreamConnection* connection, uint32_t endpoint);
  static void NoteChange(const Endpoint& endpoint);
  int SetUp(int fd, uint16_t family, uint32_t& place, bool begins);
  // One more there.
  void CountInPart(uint32_t endpoint);
  // Of this shard, what a bound on load counts for `endpoint`: in its part of a level, and that of its
  // subsets.
  template <class Call>
  void ForInFlight(uint32_t endpoint, Call call);

  Upstreams& upstreams_;
  const std::shared_ptr<UpstreamPlan> plan_;
  UpstreamCounters& counters_;
  Counter& all_active_;  // picked and not done, of this shard's pools of the upstream
  Choices choices_;
  std::vector<Endpoint*> endpoints_;
  bool retired_;  // no news of who is set aside and who comes back: those are the owners'
  const bool hashes_;
  const bool observes_;
  const bool learns_;
  // What of the other shards its choices hang on. With one shard, and for most policies, nothing.
  std::unique_ptr<RemoteLoads> remote_;
  ChangeLog* changes_ = nullptr;
  const Loads* bound_ = nullptr;
  bool counts_parts_ = false;
  Loads loads_;
  std::vector<Loads> subset_loads_;  // by number - 1, where bound_ is
  uint64_t active_ = 0;              // picked and not done
  RetryBudget retry_budget_;
  uint32_t next_source_ = 0;
};

// All upstreams of a shard: their pools and endpoints, and the memory and descriptors that these share.
class Upstreams {
 public:
  // At most `most` connections. `news` (null: nobody) tells of endpoints that are set aside, `outliers`
  // (null: nobody) hears of those whose requests fail.
  Upstreams(Shard& shard, uint32_t most, ProxyCounters& counters, EndpointNews* news = nullptr,
            OutlierSink* outliers = nullptr);
  ~Upstreams();
  Upstreams(const Upstreams&) = delete;
  Upstreams& operator=(const Upstreams&) = delete;

  // The shard's pool for `plan`, made when it is first asked for.
  UpstreamPool& PoolOf(const std::shared_ptr<UpstreamPlan>& plan) {
    UpstreamPool* pool = plan->seats[shard_.index()].pool;
    return pool != nullptr ? *pool : MakePool(plan);
  }
  // `plan` is in no generation after `last_generation`.
  void Retire(const std::shared_ptr<UpstreamPlan>& plan, uint64_t last_generation);
  // Ends the retired pools that nobody can ask for any more, and some idle connections of endpoints that are
  // in no pool in force. `oldest_generation`: the oldest one somebody still goes by. Call now and then.
  void KeepHouse(uint64_t oldest_generation);

  // The view of its book may have changed. EndViews: so much for now.
  void ReadView(Endpoint& endpoint);
  void EndViews();

  // Gives back a connection that can take another request. `keeper`: of the client whose it was; one that is
  // for a client alone ends without.
  void Release(UpstreamConnection* connection, UpstreamConnection** keeper = nullptr);
  // The client of an idle one left.
  void CloseOwn(UpstreamConnection* connection);
  void Close(UpstreamConnection* connection, bool with_reset);

  Shard& shard() { return shard_; }
  uint32_t open() const { return connections_.size(); }
  size_t retired() const { return retired_.size(); }
  // Closes an endpoint's oldest idle connection (descriptors ran out), each endpoint's in turn. False when
  // there is none.
  bool CloseOneIdle();
  void CloseAllIdle();
  // Closes half of the idle connections that nobody needed since the last call, the oldest first, and gives
  // memory back. Call every kShrinkMs: a burst's connections leave within some seconds.
  void Shrink();
  static constexpr uint32_t kShrinkMs = 1'000;
  static constexpr uint32_t kKeepIdle = 32;  // per endpoint: kept however quiet it is, until they age out

 private:
  friend class UpstreamPool;
  friend struct UpstreamConnection;
  friend struct Endpoint;

  void AddRetired(UpstreamPool* pool);
  UpstreamPool& MakePool(const std::shared_ptr<UpstreamPlan>& plan);
  void EndPool(UpstreamPool* pool);
  Endpoint* Hold(const std::shared_ptr<EndpointBook>& book);
  void LetGo(Endpoint* endpoint);
  void OnWatch(UpstreamConnection* connection);
  void UnlinkIdle(UpstreamConnection* connection);
  void CloseOldest(Endpoint& endpoint);
  void ComeBack(Endpoint& endpoint);
  void TellBalancer(Endpoint& endpoint);
  void NoteUsable(const Endpoint& endpoint);
  // Those that are leaving come first.
  void LinkWarm(Endpoint& endpoint);
  void RelinkWarm(Endpoint& endpoint);
  void UnlinkWarm(Endpoint& endpoint);

  Shard& shard_;
  ProxyCounters& counters_;
  EndpointNews* const news_;
  OutlierSink* const outliers_;
  Slab<UpstreamConnection> connections_;
  std::vector<std::unique_ptr<UpstreamPool>> pools_;
  std::vector<UpstreamPool*> retired_;
  Endpoint* first_warm_ = nullptr;  // those that are leaving come first
  Endpoint* last_warm_ = nullptr;
  bool some_silent_ = false;  // since EndViews
};

inline bool Endpoint::InPanic() const {
  return owner != nullptr && owner->InPanic(index) && !EndpointBook::StandingOf(view).out;
}

inline void UpstreamPool::Observe(uint32_t endpoint, int64_t took_ns) {
  if (observes_) [[unlikely]]
    choices_.Observe(endpoint, took_ns, upstreams_.shard().now_ns());
}

}  // namespace weir::lb
