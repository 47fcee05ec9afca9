#include "lb/upstream/upstream.h"

#include <algorithm>
#include <utility>

#include "lb/upstream/endpoint_news.h"

namespace weir::lb {
namespace {

// Idle connections of endpoints that are gone, or down: so many are closed each time the house is kept.
constexpr uint32_t kFarewells = 64;
// Pools with together so many endpoints end each time, or one larger pool.
constexpr uint32_t kEndpointsAtOnce = 2048;

}  // namespace

UpstreamConnection::Watch::Watch(UpstreamConnection* owner)
    : Runnable([](Runnable* self) {
        UpstreamConnection* connection = static_cast<Watch*>(self)->owner;
        connection->upstreams->OnWatch(connection);
      }),
      owner(owner) {}

UpstreamConnection::UpstreamConnection(Upstreams* upstreams, UpstreamPool* pool, uint32_t index,
                                       Endpoint* endpoint)
    : watch(this), upstreams(upstreams), pool(pool), endpoint(endpoint), index(index) {
  stream.SetWaiter(&watch);
  timer.waiter = &watch;
}

Endpoint::Endpoint(Upstreams* upstreams, std::shared_ptr<EndpointBook> book, EndpointCounters& counters)
    : Runnable([](Runnable* self) {
        auto* endpoint = static_cast<Endpoint*>(self);
        endpoint->upstreams->ComeBack(*endpoint);
      }),
      upstreams(upstreams),
      book(std::move(book)),
      counters(counters),
      view(this->book->seen()) {
  timer.waiter = this;
}

Upstreams::Upstreams(Shard& shard, uint32_t most, ProxyCounters& counters, EndpointNews* news,
                     OutlierSink* outliers)
    : shard_(shard), counters_(counters), news_(news), outliers_(outliers), connections_(most) {}

Upstreams::~Upstreams() {
  retired_.clear();
  counters_.retired_pools.Set(0);
  while (!pools_.empty()) EndPool(pools_.back().get());
}

UpstreamPool& Upstreams::MakePool(const std::shared_ptr<UpstreamPlan>& plan) {
  pools_.push_back(std::make_unique<UpstreamPool>(*this, plan));
  UpstreamPlan::Seat& seat = plan->seats[shard_.index()];
  seat.pool = pools_.back().get();
  if (seat.last_generation != 0) AddRetired(seat.pool);
  return *seat.pool;
}

void Upstreams::AddRetired(UpstreamPool* pool) {
  pool->retired_ = true;
  retired_.push_back(pool);
  counters_.retired_pools.Set(retired_.size());
}

void Upstreams::EndPool(UpstreamPool* pool) {
  pool->plan_->seats[shard_.index()].pool = nullptr;
  std::erase(retired_, pool);
  counters_.retired_pools.Set(retired_.size());
  std::erase_if(pools_, [pool](const auto& owned) { return owned.get() == pool; });
}

void Upstreams::Retire(const std::shared_ptr<UpstreamPlan>& plan, uint64_t last_generation) {
  UpstreamPlan::Seat& seat = plan->seats[shard_.index()];
  seat.last_generation = last_generation;
  if (seat.pool == nullptr) return;
  AddRetired(seat.pool);
  for (Endpoint* endpoint : seat.pool->endpoints_) {
    if (endpoint->owner != seat.pool) continue;  // another pool has it already
    endpoint->owner = nullptr;
    RelinkWarm(*endpoint);
  }
}

void Upstreams::KeepHouse(uint64_t oldest_generation) {
  for (uint32_t i = 0; i < kFarewells && first_warm_ != nullptr && first_warm_->leaving(); ++i)
    CloseOldest(*first_warm_);
  uint32_t ended = 0;
  for (size_t i = 0; i < retired_.size();) {
    UpstreamPool* pool = retired_[i];
    const UpstreamPlan::Seat& seat = pool->plan_->seats[shard_.index()];
    if (ended < kEndpointsAtOnce && pool->active_ == 0 && seat.last_generation < oldest_generation) {
      ended += pool->endpoint_count();
      EndPool(pool);
    } else {
      ++i;
    }
  }
}

Endpoint* Upstreams::Hold(const std::shared_ptr<EndpointBook>& book) {
  EndpointBook::Page& page = book->page(shard_.index());
  if (page.endpoint == nullptr) page.endpoint = new Endpoint(this, book, page.counters);
  ++page.endpoint->holders;
  return page.endpoint;
}

void Upstreams::LetGo(Endpoint* endpoint) {
  if (--endpoint->holders > 0) return;
  WEIR_CHECK(endpoint->idle == 0);
  shard_.ClearTimer(endpoint->timer);
  shard_.Forget(*endpoint);
  endpoint->counters.set_aside.Set(0);
  endpoint->book->page(shard_.index()).endpoint = nullptr;
  delete endpoint;
}

void Upstreams::ComeBack(Endpoint& endpoint) {
  if (!endpoint.aside) return;
  shard_.ClearTimer(endpoint.timer);
  endpoint.aside = false;
  endpoint.counters.set_aside.Set(0);
  TellBalancer(endpoint);
  NoteUsable(endpoint);
  EndViews();
}

// Who waits at one that is silent, as there was no other, may go there.
void Upstreams::NoteUsable(const Endpoint& endpoint) {
  if (endpoint.owner != nullptr && endpoint.usable()) some_silent_ |= endpoint.owner->HasSilent();
}

void Upstreams::TellBalancer(Endpoint& endpoint) {
  if (endpoint.owner != nullptr) endpoint.owner->choices_.Set(endpoint.index, endpoint.standing());
}

void Upstreams::ReadView(Endpoint& endpoint) {
  const uint64_t before = std::exchange(endpoint.view, endpoint.book->seen());
  const uint64_t changed = before ^ endpoint.view;
  if ((changed & EndpointBook::kMissing) != 0 && endpoint.owner != nullptr) {
    endpoint.owner->choices_.SetWeightFactor(endpoint.index, EndpointBook::FactorOf(endpoint.view));
  }
  some_silent_ |= (changed & endpoint.view & EndpointBook::kSilent) != 0;
  if ((changed & EndpointBook::kNoRequests) == 0) return;
  // What failed before an ejection, or in the course of it, does not count twice.
  if ((changed & EndpointBook::kEjected) != 0 && endpoint.watch != nullptr) endpoint.watch->ForgetRows();
  TellBalancer(endpoint);
  NoteUsable(endpoint);
  RelinkWarm(endpoint);
}

// Rare, and so nobody keeps a list of who waits where: one look at all connections for many changes.
void Upstreams::EndViews() {
  if (!std::exchange(some_silent_, false)) return;
  connections_.ForEach([this](UpstreamConnection& connection) {
    const bool has_request = !connection.idle && connection.requests > 0 && !connection.stream.closing() &&
                             !connection.stream.has_bytes();
    if (has_request && (connection.endpoint->view & EndpointBook::kSilent) != 0)
      shard_.Wake(connection.stream.waiter());
  });
}

void Upstreams::CloseOwn(UpstreamConnection* connection) {
  UnlinkIdle(connection);
  Close(connection, false);
}

void Upstreams::Release(UpstreamConnection* connection, UpstreamConnection** keeper) {
  Endpoint& endpoint = *connection->endpoint;
  Stream& stream = connection->stream;
  stream.SetWaiter(&connection->watch);
  stream.Poll(shard_);
  if (endpoint.owner == nullptr || !endpoint.usable() || stream.sending() || stream.end_seen() ||
      stream.has_bytes() || endpoint.owner->settings().idle_connections == 0 ||
      connection->hello != endpoint.owner->settings().proxy_hello ||
      (connection->hello.on() && keeper == nullptr)) {
    Close(connection, false);
    return;
  }
  const UpstreamSettings& settings = endpoint.owner->settings();
  uint32_t left_ms = settings.idle_ms;
  if (settings.pool.on() && connection->IsSpent(settings.pool, shard_.now_ns(), &left_ms)) {
    return Close(connection, false);
  }
  if (connection->hello.on() && *keeper != nullptr) CloseOwn(*keeper);
  if (endpoint.idle >= settings.idle_connections) CloseOldest(endpoint);
  if (endpoint.idle == 0) LinkWarm(endpoint);
  connection->idle = true;
  if (connection->hello.on()) {
    connection->keeper = keeper;
    *keeper = connection;
  }
  connection->newer = nullptr;
  connection->older = endpoint.newest;
  (endpoint.newest == nullptr ? endpoint.oldest : endpoint.newest->newer) = connection;
  endpoint.newest = connection;
  ++endpoint.idle;
  endpoint.counters.idle.Add();
  counters_.upstream_idle.Add();
  stream.ArmReceive(shard_, kHeadReceive);
  shard_.SetTimer(connection->timer, left_ms);
}

void Upstreams::UnlinkIdle(UpstreamConnection* connection) {
  Endpoint& endpoint = *connection->endpoint;
  WEIR_CHECK(connection->idle);
  if (connection->keeper != nullptr) *std::exchange(connection->keeper, nullptr) = nullptr;
  (connection->newer == nullptr ? endpoint.newest : connection->newer->older) = connection->older;
  (connection->older == nullptr ? endpoint.oldest : connection->older->newer) = connection->newer;
  connection->newer = connection->older = nullptr;
  connection->idle = false;
  --endpoint.idle;
  endpoint.fewest_idle = std::min(endpoint.fewest_idle, endpoint.idle);
  endpoint.counters.idle.Sub();
  counters_.upstream_idle.Sub();
  if (endpoint.idle == 0) UnlinkWarm(endpoint);
}

void Upstreams::CloseOldest(Endpoint& endpoint) {
  UpstreamConnection* oldest = endpoint.oldest;
  UnlinkIdle(oldest);
  Close(oldest, false);
}

void Upstreams::Close(UpstreamConnection* connection, bool with_reset) {
  WEIR_CHECK(!connection->idle);
  shard_.ClearTimer(connection->timer);
  connection->stream.SetWaiter(&connection->watch);
  connection->stream.BeginClose(shard_, with_reset);
  OnWatch(connection);
}

void Upstreams::OnWatch(UpstreamConnection* connection) {
  if (connection->stream.closing()) {
    if (!connection->stream.Closed(shard_)) return;
    shard_.Forget(connection->watch);
    counters_.upstream_open.Sub();
    Endpoint* endpoint = connection->endpoint;
    connections_.Destroy(connection);
    LetGo(endpoint);
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

void Upstreams::RelinkWarm(Endpoint& endpoint) {
  if (endpoint.idle == 0) return;
  UnlinkWarm(endpoint);
  LinkWarm(endpoint);
}

void Upstreams::LinkWarm(Endpoint& endpoint) {
  const bool first = endpoint.leaving();
  endpoint.previous_warm = first ? nullptr : last_warm_;
  endpoint.next_warm = first ? first_warm_ : nullptr;
  (endpoint.previous_warm == nullptr ? first_warm_ : endpoint.previous_warm->next_warm) = &endpoint;
  (endpoint.next_warm == nullptr ? last_warm_ : endpoint.next_warm->previous_warm) = &endpoint;
}

void Upstreams::UnlinkWarm(Endpoint& endpoint) {
  (endpoint.previous_warm == nullptr ? first_warm_ : endpoint.previous_warm->next_warm) = endpoint.next_warm;
  (endpoint.next_warm == nullptr ? last_warm_ : endpoint.next_warm->previous_warm) = endpoint.previous_warm;
  endpoint.next_warm = endpoint.previous_warm = nullptr;
}

bool Upstreams::CloseOneIdle() {
  if (first_warm_ == nullptr) return false;
  Endpoint& endpoint = *first_warm_;
  if (endpoint.idle > 1 && !endpoint.leaving()) RelinkWarm(endpoint);
  CloseOldest(endpoint);
  return true;
}

void Upstreams::CloseAllIdle() {
  while (CloseOneIdle()) {
  }
}

void Upstreams::Shrink() {
  for (Endpoint* endpoint = first_warm_; endpoint != nullptr;) {
    Endpoint* const next = endpoint->next_warm;  // the last idle one's end takes it out of the list
    const uint32_t unneeded = endpoint->fewest_idle > kKeepIdle ? endpoint->fewest_idle - kKeepIdle : 0;
    for (uint32_t i = 0; i < (unneeded + 1) / 2; ++i) CloseOldest(*endpoint);
    endpoint->fewest_idle = endpoint->idle;
    endpoint = next;
  }
  connections_.Trim();
}

}  // namespace weir::lb
