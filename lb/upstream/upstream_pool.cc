// UpstreamPool: the choice of an endpoint, and connections to it.
#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>

#include "lb/upstream/endpoint_news.h"
#include "lb/upstream/remote_loads.h"
#include "lb/upstream/upstream.h"

namespace weir::lb {
namespace {

constexpr uint32_t kMaxDoublings = 4;
// A retired pool passes by so many endpoints that were set aside since its last choice, then takes its
// chance.
constexpr uint32_t kMostLooks = 16;

// Errors of a connect that say nothing about the endpoint: no local port or no memory left.
bool IsOurs(int error) {
  return error == EADDRNOTAVAIL || error == EAGAIN || error == ENOMEM || error == ENOBUFS;
}

Choices MakeChoices(const UpstreamPlan& plan, uint64_t seed) {
  if (!plan.levels) return Choices(Levels(plan.settings, plan.layout, plan.tables, seed), plan.subsets, seed);
  Levels levels = *plan.levels;
  levels.Begin(seed);
  return Choices(std::move(levels), plan.subsets, seed);
}

// What a bound on load reads; `source` is the plan.
const UpstreamPlan& PlanOf(const void* source) { return *static_cast<const UpstreamPlan*>(source); }

uint32_t ActiveAt(const void* source, uint32_t endpoint) noexcept {
  const UpstreamPlan& plan = PlanOf(source);
  uint64_t active = 0;
  for (uint32_t i = 0; i < plan.seats.size(); ++i)
    active += plan.books[endpoint]->page(i).counters.active.Get();
  return static_cast<uint32_t>(active);
}

uint64_t ActiveInPart(const void* source, uint32_t part) noexcept {
  const UpstreamPlan& plan = PlanOf(source);
  uint64_t active = 0;
  for (uint32_t i = 0; i < plan.seats.size(); ++i) active += plan.book->in_flight(i, part).Get();
  return active;
}

// The same of a subset; `source` is the plan's BoundedSubset.
const UpstreamPlan::BoundedSubset& SubsetOf(const void* source) {
  return *static_cast<const UpstreamPlan::BoundedSubset*>(source);
}

uint32_t ActiveAtOfSubset(const void* source, uint32_t endpoint) noexcept {
  return ActiveAt(SubsetOf(source).plan, endpoint);
}

uint64_t ActiveInPartOfSubset(const void* source, uint32_t part) noexcept {
  const UpstreamPlan::BoundedSubset& subset = SubsetOf(source);
  uint64_t active = 0;
  for (uint32_t i = 0; i < subset.plan->seats.size(); ++i) active += subset.book->in_flight(i, part).Get();
  return active;
}

}  // namespace

UpstreamPool::UpstreamPool(Upstreams& upstreams, std::shared_ptr<UpstreamPlan> plan)
    : upstreams_(upstreams),
      plan_(std::move(plan)),
      counters_(plan_->book->page(upstreams.shard().index())),
      all_active_(plan_->book->active(upstreams.shard().index())),
      choices_(MakeChoices(*plan_, upstreams.shard().random().Next())),
      retired_(plan_->seats[upstreams.shard().index()].last_generation != 0),
      hashes_(Hashes(plan_->settings.balance)),
      observes_(plan_->settings.balance == Balance::kEwma),
      learns_(plan_->settings.outliers.on() && upstreams.outliers_ != nullptr),
      loads_{.at = ActiveAt,
             .total = ActiveInPart,
             .source = plan_.get(),
             .part = plan_->layout->part_number(0)},
      retry_budget_(*plan_, upstreams.shard().index()) {
  if (plan_->seats.size() > 1) {
    if (plan_->settings.counts_remote())
      remote_ = std::make_unique<RemoteLoads>(*plan_, upstreams.shard().index(), choices_);
    if (plan_->settings.hash.balance_percent > 0) bound_ = &loads_;
    for (const UpstreamPlan::BoundedSubset& subset : plan_->bounded) {
      const LevelLayout* const layout =
          plan_->subsets.layout(static_cast<uint32_t>(subset_loads_.size() + 1));
      subset_loads_.push_back({.at = ActiveAtOfSubset,
                               .total = ActiveInPartOfSubset,
                               .source = &subset,
                               .part = layout == nullptr ? 0 : layout->part_number(0)});
    }
    if (plan_->changes != nullptr) changes_ = &plan_->changes[upstreams.shard().index()];
  }
  counts_parts_ = bound_ != nullptr || choices_.has_zones();
  endpoints_.reserve(plan_->books.size());
  for (uint32_t i = 0; i < plan_->books.size(); ++i) {
    Endpoint* endpoint = upstreams.Hold(plan_->books[i]);
    endpoints_.push_back(endpoint);
    if (learns_) endpoint->watch = &endpoint->book->watch->page(upstreams.shard().index());
    choices_.Set(i, endpoint->standing());
    const uint32_t factor = EndpointBook::FactorOf(endpoint->view);
    if (factor != kFullFactor) choices_.SetWeightFactor(i, factor);
    if (retired_) continue;
    endpoint->owner = this;
    endpoint->index = i;
    upstreams.RelinkWarm(*endpoint);
  }
}

UpstreamPool::~UpstreamPool() {
  WEIR_CHECK(active_ == 0);
  for (Endpoint* endpoint : endpoints_) {
    if (endpoint->owner == this) endpoint->owner = nullptr;
    upstreams_.LetGo(endpoint);
  }
}

// All others are as the level behind those of the subset.
uint32_t UpstreamPool::Choose(std::span<const uint32_t> tried, uint64_t hash, SubsetUse subset) {
  const uint32_t endpoint = ChooseAmong(subset.number, tried, hash);
  return endpoint == kNone && subset.else_any ? ChooseAmong(0, tried, hash) : endpoint;
}

uint32_t UpstreamPool::ChooseAmong(uint32_t subset, std::span<const uint32_t> tried, uint64_t hash) {
  PickContext context{.tried = tried, .hash = hash, .now_ns = upstreams_.shard().now_ns(), .loads = bound_};
  if (subset != 0 && bound_ != nullptr) context.loads = &subset_loads_[subset - 1];
  if (retired_) return ChooseRetired(subset, context);
  Levels* const levels = choices_.Among(subset);
  return levels == nullptr ? kNone : levels->Pick(context);
}

// Only the last tries of old requests come here. One that came back is looked for where there is no other.
uint32_t UpstreamPool::ChooseRetired(uint32_t subset, const PickContext& context) {
  Levels* const levels = choices_.Among(subset);
  if (levels == nullptr) return kNone;
  uint32_t endpoint = kNone;
  for (uint32_t looks = 0; looks < kMostLooks; ++looks) {
    endpoint = levels->Pick(context);
    if (endpoint == kNone || endpoints_[endpoint]->usable()) break;
    levels->SetUsable(endpoint, false);
  }
  if (endpoint != kNone) return endpoint;
  for (uint32_t i = 0; i < endpoints_.size(); ++i) {
    if (endpoints_[i]->usable() && plan_->subsets.Has(subset, i)) levels->SetUsable(i, true);
  }
  return levels->Pick(context);
}

uint32_t UpstreamPool::Pick(std::span<const uint32_t> tried, uint64_t hash, bool allow_tried,
                            SubsetUse subset) {
  if (remote_ != nullptr) remote_->Follow(upstreams_.shard().now_ns(), choices_);
  uint32_t endpoint = Choose(tried, hash, subset);
  if (endpoint == kNone && allow_tried) endpoint = Choose({}, hash, subset);
  if (endpoint == kNone) return kNone;
  choices_.Acquire(endpoint);
  ++active_;
  EndpointCounters& counters = endpoints_[endpoint]->counters;
  counters.requests.Add();
  counters.active.Add();
  all_active_.Add();
  if (counts_parts_) CountInPart(endpoint);
  if (changes_ != nullptr) NoteChange(*endpoints_[endpoint]);
  return endpoint;
}

void UpstreamPool::CountInPart(uint32_t endpoint) {
  if (bound_ != nullptr) ForInFlight(endpoint, [](Counter& counter) { counter.Add(); });
  if (choices_.has_zones() && !settings().endpoints[endpoint].in_own_zone) counters_.left_zone.Add();
}

template <class Call>
void UpstreamPool::ForInFlight(uint32_t endpoint, Call call) {
  const uint32_t shard = upstreams_.shard().index();
  const uint32_t part = settings().endpoints[endpoint].part();
  call(plan_->book->in_flight(shard, part));
  for (uint64_t left = plan_->subsets.of(endpoint); left != 0; left &= left - 1)
    call(plan_->bounded[static_cast<size_t>(std::countr_zero(left))].book->in_flight(shard, part));
}

// For the pool in force, which has the endpoint perhaps in another place.
void UpstreamPool::NoteChange(const Endpoint& endpoint) {
  const UpstreamPool* const owner = endpoint.owner;
  if (owner == nullptr || owner->changes_ == nullptr) return;
  owner->changes_->Add(endpoint.index, static_cast<uint32_t>(endpoint.counters.active.Get()));
}

void UpstreamPool::Done(uint32_t endpoint) {
  choices_.Release(endpoint);
  --active_;
  endpoints_[endpoint]->counters.active.Sub();
  all_active_.Sub();
  if (bound_ != nullptr) ForInFlight(endpoint, [](Counter& counter) { counter.Sub(); });
  if (changes_ != nullptr) NoteChange(*endpoints_[endpoint]);
}

uint32_t UpstreamPool::RetryAfterSeconds(SubsetUse subset) const {
  const int64_t now_ns = upstreams_.shard().now_ns();
  int64_t first_ns = kNever;
  for (uint32_t i = 0; i < endpoints_.size(); ++i) {
    if (!endpoints_[i]->aside || !(subset.else_any || plan_->subsets.Has(subset.number, i))) continue;
    first_ns = std::min(first_ns, endpoints_[i]->aside_until_ns);
  }
  if (first_ns == kNever || first_ns <= now_ns) return 1;
  return static_cast<uint32_t>((first_ns - now_ns + kNsPerSecond - 1) / kNsPerSecond);
}

UpstreamConnection* UpstreamPool::TakeIdle(uint32_t index) {
  if (settings().proxy_hello.on()) return nullptr;
  while (UpstreamConnection* connection = endpoints_[index]->newest) {
    if (UpstreamConnection* taken = Take(connection, index)) return taken;
  }
  return nullptr;
}

UpstreamConnection* UpstreamPool::TakeOwn(uint32_t index, UpstreamConnection* own) {
  if (own == nullptr || own->endpoint != endpoints_[index]) return nullptr;
  return Take(own, index);
}

UpstreamConnection* UpstreamPool::Take(UpstreamConnection* connection, uint32_t index) {
  Shard& shard = upstreams_.shard();
  upstreams_.UnlinkIdle(connection);
  shard.ClearTimer(connection->timer);
  connection->pool = this;
  connection->index = index;
  connection->stream.Poll(shard);
  // It died in this very turn, or a reload has made another beginning of it.
  if (connection->stream.end_seen() || connection->stream.has_bytes() ||
      connection->hello != settings().proxy_hello) {
    upstreams_.Close(connection, false);
    return nullptr;
  }
  upstreams_.counters_.upstream_reused.Add();
  return connection;
}

UpstreamConnection* UpstreamPool::StartConnect(uint32_t index, Runnable* waiter, int* error, uint32_t& source,
                                               bool important, bool begins) {
  Shard& shard = upstreams_.shard();
  Slab<UpstreamConnection>& connections = upstreams_.connections_;
  if (important && connections.size() == connections.capacity()) upstreams_.CloseOneIdle();
  const uint16_t family = address(index).family;
  int fd = shard.backend().OpenStream(family);
  if (important && (fd == -EMFILE || fd == -ENFILE) && upstreams_.CloseOneIdle()) {
    // The closed one may still wait for its completions; then this attempt fails and the next finds the
    // descriptor.
    fd = shard.backend().OpenStream(family);
  }
  if (fd < 0) {
    *error = -fd;
    return nullptr;
  }
  if (const int refused = SetUp(fd, family, source, begins); refused != 0) {
    shard.backend().Close(fd);
    *error = -refused;
    return nullptr;
  }
  Endpoint* endpoint = endpoints_[index];
  UpstreamConnection* connection = connections.Make(&upstreams_, this, index, endpoint);
  if (connection == nullptr) {
    shard.backend().Close(fd);
    *error = ENFILE;
    return nullptr;
  }
  ++endpoint->holders;
  connection->begun_ns = shard.now_ns();
  connection->hello = settings().proxy_hello;
  if (settings().pool.on()) connection->luck = static_cast<uint32_t>(shard.random().Next() >> 32);
  connection->stream.Open(fd, family);
  connection->stream.SetWaiter(waiter);
  connection->stream.Connect(shard, &endpoint->book->address());
  upstreams_.counters_.upstream_connects.Add();
  upstreams_.counters_.upstream_open.Add();
  return connection;
}

// What the upstream says of its connections. Options were tried at start: one that is refused now is no
// reason to serve nobody.
int UpstreamPool::SetUp(int fd, uint16_t family, uint32_t& place, bool begins) {
  const UpstreamSettings& settings = plan_->settings;
  Backend& backend = upstreams_.shard().backend();
  if (settings.tcp != TcpOptions()) {
    TcpOptions options = settings.tcp;
    if (!begins) options.fast_open = 0;
    backend.SetTcp(fd, options, TcpOptions());
  }
  int error = 0;
  const size_t count = settings.sources.size();
  if (count == 0) return 0;
  const bool first = place == kNone;
  if (first) place = next_source_;
  for (size_t i = 0; i < count; ++i) {
    const SocketAddress& source = settings.sources[place];
    place = (place + 1) % count;
    if (source.family != family) continue;
    error = backend.BindSource(fd, source);
    if (error == 0) break;
  }
  if (first) next_source_ = place;  // those of another family take no turn
  return error;
}

uint32_t UpstreamPool::SourcesFor(uint32_t index) const {
  const std::vector<SocketAddress>& sources = plan_->settings.sources;
  const auto count = std::count_if(sources.begin(), sources.end(), [&](const SocketAddress& source) {
    return source.family == address(index).family;
  });
  return std::max(1u, static_cast<uint32_t>(count));
}

bool UpstreamPool::OthersAreLeft(const Endpoint& endpoint, uint32_t subset) {
  if (endpoint.owner == nullptr) return true;
  const std::vector<Endpoint*>& all = endpoint.owner->endpoints_;
  const Subsets& subsets = endpoint.owner->plan_->subsets;
  return std::any_of(all.begin(), all.end(), [&](const Endpoint* other) {
    return other != &endpoint && other->usable() && subsets.Has(subset, other->index);
  });
}

bool UpstreamPool::OthersAreLeftInSubsets(const Endpoint& endpoint) {
  if (endpoint.owner == nullptr) return true;
  const uint64_t subsets = endpoint.owner->plan_->subsets.of(endpoint.index);
  for (uint64_t left = subsets; left != 0; left &= left - 1) {
    if (!OthersAreLeft(endpoint, static_cast<uint32_t>(std::countr_zero(left)) + 1)) return false;
  }
  return true;
}

bool UpstreamPool::CanBeLeft(const Endpoint& endpoint, SubsetUse subset) const {
  if (endpoint.takes_requests()) return false;
  for (uint32_t i = 0; i < endpoints_.size(); ++i) {
    if (endpoints_[i]->usable() && (subset.else_any || plan_->subsets.Has(subset.number, i))) return true;
  }
  return false;
}

bool UpstreamPool::HasSilent() const {
  return std::any_of(endpoints_.begin(), endpoints_.end(),
                     [](const Endpoint* endpoint) { return (endpoint->view & EndpointBook::kSilent) != 0; });
}

bool UpstreamPool::IsLastResort(uint32_t index) const {
  switch (settings().all_down) {
    case AllDown::k503:
      return false;
    case AllDown::kPanic:
      return true;
    case AllDown::kBackup:
      return settings().endpoints[index].backup();
  }
  return false;
}

void UpstreamPool::ConnectFailed(uint32_t index, int error) {
  Endpoint& endpoint = *endpoints_[index];
  endpoint.counters.failures.Add();
  upstreams_.counters_.upstream_connect_failures.Add();
  if (IsOurs(error)) return;
  if (endpoint.aside) return;  // somebody else's attempt set it aside meanwhile
  const uint32_t doublings = std::min(endpoint.failures++, kMaxDoublings);
  // Where nobody else is left there is nobody whom waiting would spare, and requests for a subset may have to
  // wait for this very one.
  const bool others = OthersAreLeft(endpoint, 0);
  const bool doubles = others && OthersAreLeftInSubsets(endpoint);
  const uint32_t delay_ms = settings().set_aside_ms << (doubles ? doublings : 0);
  if (delay_ms == 0 || (!others && IsLastResort(index))) return;
  Shard& shard = upstreams_.shard();
  endpoint.aside = true;
  endpoint.aside_until_ns = shard.now_ns() + int64_t{delay_ms} * kNsPerMs;
  endpoint.counters.set_aside.Set(1);
  upstreams_.counters_.endpoints_set_aside.Add();
  upstreams_.TellBalancer(endpoint);
  shard.SetTimer(endpoint.timer, delay_ms);
  // Of one that is configured no more nobody wants to hear.
  if (upstreams_.news_ != nullptr && endpoint.owner != nullptr) {
    upstreams_.news_->SetAside(shard, *endpoint.owner->plan_, *endpoint.book, error, delay_ms);
  }
}

void UpstreamPool::ConnectWorked(uint32_t index) {
  Endpoint& endpoint = *endpoints_[index];
  endpoint.failures = 0;
  endpoint.counters.connects.Add();
  if (endpoint.aside) upstreams_.ComeBack(endpoint);
  if (upstreams_.news_ != nullptr && endpoint.owner != nullptr) {
    upstreams_.news_->Back(upstreams_.shard(), *endpoint.owner->plan_, *endpoint.book);
  }
}

Outcome UpstreamPool::OutcomeOfConnect(int error) {
  if (IsOurs(error)) return Outcome::kUnknown;
  return error == ETIMEDOUT ? Outcome::kTimeout : Outcome::kGatewayError;
}

void UpstreamPool::Count(uint32_t index, Outcome outcome, int64_t took_ns) {
  Endpoint& endpoint = *endpoints_[index];
  Sign sign;
  if (!endpoint.watch->Count(settings().outliers, outcome, took_ns, &sign)) return;
  // Of one that is configured no more nobody wants to hear; and its watch may be gone before the report is
  // there.
  if (endpoint.owner == nullptr) return;
  upstreams_.outliers_->Post(upstreams_.shard(), *endpoint.book->watch, sign);
}

}  // namespace weir::lb
