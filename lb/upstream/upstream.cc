#include "lb/upstream/upstream.h"

#include <algorithm>
#include <cerrno>

#include "lb/config/budget.h"

namespace weir::lb {
namespace {

constexpr uint32_t kMaxDoublings = 4;

// Errors of a connect that say nothing about the endpoint: no local port or no memory left.
bool IsOurs(int error) {
  return error == EADDRNOTAVAIL || error == EAGAIN || error == ENOMEM || error == ENOBUFS;
}

std::vector<uint32_t> Weights(const UpstreamSettings& settings) {
  std::vector<uint32_t> weights;
  for (const EndpointSettings& endpoint : settings.endpoints) weights.push_back(endpoint.weight);
  return weights;
}

}  // namespace

UpstreamConnection::Watch::Watch(UpstreamConnection* owner)
    : Runnable([](Runnable* self) {
        UpstreamConnection* connection = static_cast<Watch*>(self)->owner;
        connection->pool->OnWatch(connection);
      }),
      owner(owner) {}

UpstreamConnection::UpstreamConnection(UpstreamPool* pool) : watch(this), pool(pool) {
  stream.SetWaiter(&watch);
  timer.waiter = &watch;
}

UpstreamPool::Endpoint::Endpoint(UpstreamPool* pool)
    : Runnable([](Runnable* self) {
        auto* endpoint = static_cast<Endpoint*>(self);
        endpoint->pool->ComeBack(*endpoint);
      }),
      pool(pool) {
  timer.waiter = this;
}

UpstreamPool::UpstreamPool(Shard& shard, const UpstreamSettings& settings, ProxyCounters& counters,
                           Upstreams& upstreams)
    : shard_(shard),
      settings_(settings),
      counters_(counters),
      upstreams_(upstreams),
      balancer_(Balancer::Build(settings.balance, Weights(settings), shard.random().Next())),
      usable_(static_cast<uint32_t>(settings.endpoints.size())) {
  for (size_t i = 0; i < settings.endpoints.size(); ++i)
    endpoints_.push_back(std::make_unique<Endpoint>(this));
}

UpstreamPool::~UpstreamPool() {
  for (auto& endpoint : endpoints_) {
    WEIR_CHECK(endpoint->idle == 0);
    shard_.ClearTimer(endpoint->timer);
    shard_.Forget(*endpoint);
  }
}

uint32_t UpstreamPool::Pick(std::span<const uint32_t> tried, bool allow_tried) {
  uint32_t endpoint = balancer_.Pick({.tried = tried});
  if (endpoint == kNone && allow_tried) endpoint = balancer_.Pick({});
  if (endpoint == kNone) return kNone;
  balancer_.Acquire(endpoint);
  EndpointCounters& counters = endpoints_[endpoint]->counters;
  counters.requests.Add();
  counters.active.Add();
  return endpoint;
}

void UpstreamPool::Done(uint32_t endpoint) {
  balancer_.Release(endpoint);
  endpoints_[endpoint]->counters.active.Sub();
}

uint32_t UpstreamPool::RetryAfterSeconds() const {
  int64_t first_ns = kNever;
  for (const auto& endpoint : endpoints_) {
    if (endpoint->aside) first_ns = std::min(first_ns, endpoint->aside_until_ns);
  }
  if (first_ns == kNever || first_ns <= shard_.now_ns()) return 1;
  return static_cast<uint32_t>((first_ns - shard_.now_ns() + kNsPerSecond - 1) / kNsPerSecond);
}

UpstreamConnection* UpstreamPool::TakeIdle(uint32_t index) {
  while (UpstreamConnection* connection = endpoints_[index]->newest) {
    UnlinkIdle(connection);
    shard_.ClearTimer(connection->timer);
    connection->stream.Poll(shard_);
    if (!connection->stream.end_seen() && !connection->stream.has_bytes()) {
      counters_.upstream_reused.Add();
      return connection;
    }
    Close(connection, false);  // it died in this very turn
  }
  return nullptr;
}

UpstreamConnection* UpstreamPool::StartConnect(uint32_t index, Runnable* waiter, int* error) {
  Slab<UpstreamConnection>& connections = upstreams_.connections();
  if (connections.size() == connections.capacity()) upstreams_.CloseOneIdle();
  const uint16_t family = address(index).family;
  int fd = shard_.backend().OpenStream(family);
  if ((fd == -EMFILE || fd == -ENFILE) && upstreams_.CloseOneIdle()) {
    // The closed one may still wait for its completions; then this attempt fails and the next finds the
    // descriptor.
    fd = shard_.backend().OpenStream(family);
  }
  if (fd < 0) {
    *error = -fd;
    return nullptr;
  }
  UpstreamConnection* connection = connections.Make(this);
  if (connection == nullptr) {
    shard_.backend().Close(fd);
    *error = ENFILE;
    return nullptr;
  }
  connection->endpoint = index;
  connection->stream.Open(fd);
  connection->stream.SetWaiter(waiter);
  connection->stream.Connect(shard_, &settings_.endpoints[index].address);
  counters_.upstream_connects.Add();
  counters_.upstream_open.Add();
  return connection;
}

void UpstreamPool::ConnectFailed(uint32_t index, int error) {
  Endpoint& endpoint = *endpoints_[index];
  endpoint.counters.failures.Add();
  counters_.upstream_connect_failures.Add();
  if (IsOurs(error)) return;
  if (endpoint.aside) return;  // somebody else's attempt set it aside meanwhile
  const uint32_t doublings = std::min(endpoint.failures++, kMaxDoublings);
  const uint32_t delay_ms = settings_.set_aside_ms << doublings;
  if (delay_ms == 0) return;
  endpoint.aside = true;
  endpoint.aside_until_ns = shard_.now_ns() + int64_t{delay_ms} * kNsPerMs;
  endpoint.counters.set_aside.Set(1);
  counters_.endpoints_set_aside.Add();
  balancer_.SetUsable(index, false);
  --usable_;
  shard_.SetTimer(endpoint.timer, delay_ms);
}

void UpstreamPool::ConnectWorked(uint32_t index) {
  Endpoint& endpoint = *endpoints_[index];
  endpoint.failures = 0;
  endpoint.counters.connects.Add();
  if (endpoint.aside) ComeBack(endpoint);
}

void UpstreamPool::ComeBack(Endpoint& endpoint) {
  if (!endpoint.aside) return;
  shard_.ClearTimer(endpoint.timer);
  endpoint.aside = false;
  endpoint.counters.set_aside.Set(0);
  ++usable_;
  for (uint32_t i = 0; i < endpoints_.size(); ++i) {
    if (endpoints_[i].get() == &endpoint) balancer_.SetUsable(i, true);
  }
}

void UpstreamPool::Release(UpstreamConnection* connection) {
  Endpoint& endpoint = *endpoints_[connection->endpoint];
  Stream& stream = connection->stream;
  stream.SetWaiter(&connection->watch);
  stream.Poll(shard_);
  if (endpoint.aside || stream.sending() || stream.end_seen() || stream.has_bytes() ||
      settings_.idle_connections == 0) {
    Close(connection, false);
    return;
  }
  if (endpoint.idle >= settings_.idle_connections) {
    UpstreamConnection* oldest = endpoint.oldest;
    UnlinkIdle(oldest);
    Close(oldest, false);
  }
  connection->idle = true;
  connection->newer = nullptr;
  connection->older = endpoint.newest;
  (endpoint.newest == nullptr ? endpoint.oldest : endpoint.newest->newer) = connection;
  endpoint.newest = connection;
  ++endpoint.idle;
  endpoint.counters.idle.Add();
  counters_.upstream_idle.Add();
  stream.ArmReceive(shard_, kHeadReceive);
  shard_.SetTimer(connection->timer, settings_.idle_ms);
}

void UpstreamPool::UnlinkIdle(UpstreamConnection* connection) {
  Endpoint& endpoint = *endpoints_[connection->endpoint];
  WEIR_CHECK(connection->idle);
  (connection->newer == nullptr ? endpoint.newest : connection->newer->older) = connection->older;
  (connection->older == nullptr ? endpoint.oldest : connection->older->newer) = connection->newer;
  connection->newer = connection->older = nullptr;
  connection->idle = false;
  --endpoint.idle;
  endpoint.fewest_idle = std::min(endpoint.fewest_idle, endpoint.idle);
  endpoint.counters.idle.Sub();
  counters_.upstream_idle.Sub();
}

void UpstreamPool::Close(UpstreamConnection* connection, bool with_reset) {
  WEIR_CHECK(!connection->idle);
  shard_.ClearTimer(connection->timer);
  connection->stream.SetWaiter(&connection->watch);
  connection->stream.BeginClose(shard_, with_reset);
  OnWatch(connection);
}

void UpstreamPool::OnWatch(UpstreamConnection* connection) {
  if (connection->stream.closing()) {
    if (!connection->stream.Closed(shard_)) return;
    shard_.Forget(connection->watch);
    counters_.upstream_open.Sub();
    upstreams_.connections().Destroy(connection);
    return;
  }
  if (!connection->idle) return;  // an exchange has it: this wake-up was meant for the pool
  connection->stream.Poll(shard_);
  // FIN, an error, bytes before any request (a 408, or garbage), or too old: none of them can be used again.
  if (connection->timer.fired || connection->stream.end_seen() || connection->stream.has_bytes()) {
    UnlinkIdle(connection);
    Close(connection, false);
  } else {
    connection->stream.ArmReceive(shard_, kHeadReceive);
  }
}

void UpstreamPool::Shrink() {
  for (auto& endpoint : endpoints_) {
    const uint32_t unneeded = endpoint->fewest_idle > kKeepIdle ? endpoint->fewest_idle - kKeepIdle : 0;
    for (uint32_t i = 0; i < (unneeded + 1) / 2; ++i) {
      UpstreamConnection* oldest = endpoint->oldest;
      UnlinkIdle(oldest);
      Close(oldest, false);
    }
    endpoint->fewest_idle = endpoint->idle;
  }
}

bool UpstreamPool::CloseOneIdle() {
  for (auto& endpoint : endpoints_) {
    if (endpoint->oldest == nullptr) continue;
    UpstreamConnection* oldest = endpoint->oldest;
    UnlinkIdle(oldest);
    Close(oldest, false);
    return true;
  }
  return false;
}

// In use is at most one connection for each client; idle ones give way when the slab is full.
Upstreams::Upstreams(Shard& shard, const Settings& settings, ProxyCounters& counters)
    : connections_(settings.max_connections + kSpareUpstreams) {
  for (const UpstreamSettings& upstream : settings.upstreams)
    pools_.push_back(std::make_unique<UpstreamPool>(shard, upstream, counters, *this));
}

bool Upstreams::CloseOneIdle() {
  return std::any_of(pools_.begin(), pools_.end(), [](auto& pool) { return pool->CloseOneIdle(); });
}

void Upstreams::CloseAllIdle() {
  while (CloseOneIdle()) {
  }
}

void Upstreams::Shrink() {
  for (auto& pool : pools_) pool->Shrink();
  connections_.Trim();
}

}  // namespace weir::lb
