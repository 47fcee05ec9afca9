#include "lb/health/outliers.h"

#include <algorithm>
#include <cstdio>

#include "lb/health/ejection.h"

namespace weir::lb {
namespace {

// For people: of what is longer parts of a second do not matter.
std::string TimeText(int64_t ns) {
  const int64_t ms = (ns + kNsPerMs / 2) / kNsPerMs;
  return ms < 10'000 && ms % 1'000 != 0 ? std::to_string(ms) + " ms"
                                        : std::to_string((ms + 500) / 1'000) + " s";
}

std::string Why(const OutlierSettings& settings, Sign sign, uint64_t row) {
  const auto in_a_row = [row](const char* what) {
    return std::to_string(row) + " " + what + (row == 1 ? "" : "s in a row");
  };
  switch (sign) {
    case Sign::kTimeouts:
      return in_a_row("timeout");
    case Sign::kGatewayErrors:
      return in_a_row("gateway error");
    case Sign::kServerErrors:
      return in_a_row("server error");
    case Sign::kLatency:
      return in_a_row("answer") + " took more than " + TimeText(settings.slow_above_ms * kNsPerMs);
    case Sign::kSuccessRate:  // has no row
      break;
  }
  return {};
}

// The sums of all shards; what came since the last look, and that was now.
struct Sums {
  uint64_t all = 0;
  uint64_t signs[kRowSigns]{};
};
Sums TakeNew(OutlierWatch& watch) {
  Sums sums;
  for (uint32_t shard = 0; shard < watch.shards(); ++shard) {
    const OutlierWatch::Page& page = watch.page(shard);
    // Signs first: what is counted meanwhile makes the whole larger, never a part.
    for (size_t i = 0; i < kRowSigns; ++i) sums.signs[i] += page.signs[i].Get();
    sums.all += page.all.Get();
  }
  const auto since = [](uint64_t& sum, uint64_t& seen) {
    const uint64_t now = sum;
    sum -= std::exchange(seen, now);
  };
  since(sums.all, watch.state.all_seen);
  for (size_t i = 0; i < kRowSigns; ++i) since(sums.signs[i], watch.state.signs_seen[i]);
  return sums;
}

bool IsUsable(const EndpointBook& book) {
  return book.takes_requests() && book.trouble.load(std::memory_order_relaxed) == 0;
}

void BeginRound(OutlierGroup& group) {
  group.next = 0;
  group.rates.clear();
  group.rated.clear();
}

}  // namespace

Outliers::Tick::Tick(Outliers* owner)
    : Runnable([](Runnable* self) { static_cast<Tick*>(self)->owner->OnTick(); }), owner(owner) {}

Outliers::Outliers(Shard& control, Publisher& publisher, EndpointNews* news)
    : control_(control), publisher_(publisher), news_(news), tick_(this) {
  timer_.waiter = &tick_;
}

Outliers::~Outliers() {
  control_.ClearTimer(timer_);
  control_.Forget(tick_);
}

void Outliers::Stop() {
  stopped_ = true;
  control_.ClearTimer(timer_);
}

void Outliers::Follow(const Generation& generation) {
  if (stopped_) return;
  for (uint32_t u = 0; u < generation.settings().upstreams.size(); ++u) {
    const std::shared_ptr<UpstreamPlan>& plan = generation.plan(u);
    if (!plan->settings.outliers.on()) continue;
    FollowGroup(groups_[plan->settings.name], plan, generation.number());
  }
  for (auto at = groups_.begin(); at != groups_.end();) {
    if (at->second.generation == generation.number()) {
      ++at;
      continue;
    }
    for (const std::shared_ptr<EndpointBook>& book : at->second.plan->books) Forget(book);
    at = groups_.erase(at);
  }
  SetTimer();
}

void Outliers::FollowGroup(OutlierGroup& group, const std::shared_ptr<UpstreamPlan>& plan,
                           uint64_t generation) {
  const int64_t interval_ns = plan->settings.outliers.interval_ms * kNsPerMs;
  const int64_t now_ns = control_.now_ns();
  const std::shared_ptr<UpstreamPlan> before = std::exchange(group.plan, plan);
  // A new interval may be shorter; a round that is going on begins again, as places have changed.
  group.round_ns = before == nullptr ? now_ns + interval_ns : std::min(group.round_ns, now_ns + interval_ns);
  group.generation = generation;
  BeginRound(group);
  group.usable_seen = group.ejected = 0;
  for (uint32_t i = 0; i < plan->books.size(); ++i) {
    OutlierWatch& watch = *plan->books[i]->watch;
    if (watch.state.group == nullptr) {
      watch.state.group = &group;
      watch.state.since_ns = now_ns;
      TakeNew(watch);
    }
    watch.state.index = i;
    if (watch.state.ejected && watch.state.generation != generation) ++group.ejected;
    watch.state.generation = generation;
  }
  if (before == nullptr) return;
  for (const std::shared_ptr<EndpointBook>& book : before->books) {
    if (book->watch->state.generation != generation) Forget(book);
  }
}

// It is watched no more.
void Outliers::Forget(const std::shared_ptr<EndpointBook>& book) {
  OutlierWatch::Case& state = book->watch->state;
  if (state.ejected) End(book);
  state.group = nullptr;
  state.times = 0;
}

void Outliers::End(const std::shared_ptr<EndpointBook>& book) {
  OutlierWatch::Case& state = book->watch->state;
  due_.erase({state.until_ns, state.ticket});
  state.ejected = false;
  state.since_ns = control_.now_ns();
  // What failed until now was punished.
  TakeNew(*book->watch);
  publisher_.Clear(book, EndpointBook::kEjected | EndpointBook::kTimesOut);
}

void Outliers::BringBack(const std::shared_ptr<EndpointBook>& book) {
  OutlierWatch::Case& state = book->watch->state;
  const int64_t out_ns = control_.now_ns() - state.since_ns;
  End(book);
  --state.group->ejected;
  if (news_ != nullptr)
    news_->Tell(*state.group->plan, *book, "is no longer ejected, after " + TimeText(out_ns));
}

bool Outliers::Readmit(UpstreamPlan& plan, const std::shared_ptr<EndpointBook>& book) {
  // A watch that this plan does not use is somebody else's, who may just be making it.
  if (!plan.settings.outliers.on()) return false;
  OutlierWatch::Case& state = book->watch->state;
  state.times = 0;
  if (!state.ejected) return false;
  BringBack(book);
  SetTimer();
  return true;
}

void Outliers::Take(const OutlierWatch::Report& report) {
  const OutlierWatch::Case& state = report.watch->state;
  // A reload may have been faster than the report.
  if (stopped_ || state.group == nullptr) return;
  OutlierGroup& group = *state.group;
  Eject(group, group.plan->books[state.index], report.sign,
        Why(group.plan->settings.outliers, report.sign, report.row), report.timeouts_alone);
}

// Of each subset of the endpoint's: routes that ask for it would have nobody.
bool Outliers::SubsetsHaveOthers(const UpstreamPlan& plan, const EndpointBook& book) {
  uint64_t left = plan.subsets.of(book.watch->state.index);
  for (uint32_t i = 0; i < plan.books.size() && left != 0; ++i) {
    const EndpointBook& other = *plan.books[i];
    if (&other == &book || !IsUsable(other)) continue;
    left &= ~plan.subsets.of(i);
  }
  return left == 0;
}

bool Outliers::OthersAreUsable(OutlierGroup& group, const EndpointBook& book) const {
  const auto& books = group.plan->books;
  const auto count = static_cast<uint32_t>(books.size());
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t at = (group.usable_seen + i) % count;
    const EndpointBook& other = *books[at];
    if (&other == &book || !IsUsable(other)) continue;
    group.usable_seen = at;
    return SubsetsHaveOthers(*group.plan, book);
  }
  return false;
}

bool Outliers::MayEject(OutlierGroup& group, const std::shared_ptr<EndpointBook>& book) {
  OutlierWatch::Case& state = book->watch->state;
  const int64_t now_ns = control_.now_ns();
  if (!book->takes_requests() || now_ns < state.deaf_until_ns) return false;
  const auto endpoints = static_cast<uint32_t>(group.plan->books.size());
  const bool room = group.ejected < MostEjected(endpoints, group.plan->settings.outliers.most_percent);
  if (room && OthersAreUsable(group, *book)) return true;
  ++state.refused;
  state.deaf_until_ns = now_ns + kDeafMs * kNsPerMs;
  return false;
}

void Outliers::Eject(OutlierGroup& group, const std::shared_ptr<EndpointBook>& book, Sign sign,
                     const std::string& why, bool timeouts_alone) {
  if (!MayEject(group, book)) return;
  OutlierWatch::Case& state = book->watch->state;
  const OutlierSettings& settings = group.plan->settings.outliers;
  const uint32_t term_ms = EjectionMs(settings.base_ejection_ms, settings.most_ejection_ms, state.times) +
                           control_.random().Below(settings.jitter_ms + 1);
  state.times = NextTimes(settings.base_ejection_ms, settings.most_ejection_ms, state.times);
  state.ejected = true;
  state.since_ns = control_.now_ns();
  state.until_ns = state.since_ns + term_ms * kNsPerMs;
  state.ticket = ++tickets_;
  state.why = why;
  ++state.ejections[static_cast<size_t>(sign)];
  ++group.ejected;
  due_.emplace(std::pair(state.until_ns, state.ticket), book);
  publisher_.Set(book, EndpointBook::kEjected | (timeouts_alone ? EndpointBook::kTimesOut : 0));
  if (news_ != nullptr)
    news_->Tell(*group.plan, *book, "is ejected for " + TimeText(term_ms * kNsPerMs) + ": " + why);
  SetTimer();
}

void Outliers::LookAt(OutlierGroup& group, const std::shared_ptr<EndpointBook>& book) {
  OutlierWatch::Case& state = book->watch->state;
  const OutlierSettings& settings = group.plan->settings.outliers;
  const Sums sums = TakeNew(*book->watch);
  if (state.ejected) return;
  const int64_t interval_ns = settings.interval_ms * kNsPerMs;
  if (state.times > 0 && control_.now_ns() - state.since_ns >= interval_ns) --state.times;
  for (size_t i = 0; i < kRowSigns; ++i) {
    const uint32_t limit = LimitOf(settings, i);
    if (limit == 0 || sums.signs[i] < limit || sums.signs[i] < sums.all) continue;
    Eject(group, book, static_cast<Sign>(i), Why(settings, static_cast<Sign>(i), sums.signs[i]),
          sums.signs[static_cast<size_t>(Sign::kTimeouts)] >= sums.all);
    return;
  }
  if (!settings.by_success_rate || sums.all < settings.success_requests || !book->takes_requests()) return;
  const uint64_t failed = std::min(sums.signs[static_cast<size_t>(Sign::kServerErrors)], sums.all);
  group.rates.push_back(static_cast<double>(sums.all - failed) / static_cast<double>(sums.all));
  group.rated.push_back(state.index);
}

// With those whose rows were long enough out of the comparison: they are out already.
void Outliers::Compare(OutlierGroup& group) {
  const OutlierSettings& settings = group.plan->settings.outliers;
  if (group.rates.size() < settings.success_hosts) return;
  const SuccessRates all = CompareRates(group.rates, settings.stdev_factor_thousandths / 1'000.0);
  size_t left = kMostAtOnce;
  for (size_t i = 0; i < group.rates.size() && left > 0; ++i) {
    if (group.rates[i] >= all.threshold) continue;
    --left;
    char why[96];
    std::snprintf(why, sizeof(why), "%.1f %% of its requests succeeded, the endpoints' mean is %.1f %%",
                  group.rates[i] * 100, all.mean * 100);
    Eject(group, group.plan->books[group.rated[i]], Sign::kSuccessRate, why, false);
  }
}

// At most so many of its endpoints; how many it was.
size_t Outliers::GoRound(OutlierGroup& group, size_t most) {
  const auto& books = group.plan->books;
  size_t looks = 0;
  for (; looks < most && group.next < books.size(); ++looks) LookAt(group, books[group.next++]);
  if (group.next < books.size()) return looks;
  Compare(group);
  BeginRound(group);
  group.round_ns =
      std::max(group.round_ns + group.plan->settings.outliers.interval_ms * kNsPerMs, control_.now_ns());
  return looks;
}

void Outliers::OnTick() {
  timer_.fired = false;
  const int64_t now_ns = control_.now_ns();
  size_t left = kMostAtOnce;
  for (; left > 0 && !due_.empty() && due_.begin()->first.first <= now_ns; --left)
    BringBack(std::shared_ptr(due_.begin()->second));
  auto at = groups_.upper_bound(last_served_);
  for (size_t i = 0; i < groups_.size() && left > 0; ++i, ++at) {
    if (at == groups_.end()) at = groups_.begin();
    if (at->second.round_ns > now_ns) continue;
    left -= GoRound(at->second, left);
    last_served_ = at->first;
  }
  SetTimer();
}

void Outliers::SetTimer() {
  control_.ClearTimer(timer_);
  if (stopped_) return;
  int64_t next_ns = due_.empty() ? kNever : due_.begin()->first.first;
  for (const auto& [name, group] : groups_) next_ns = std::min(next_ns, group.round_ns);
  if (next_ns == kNever) return;
  const int64_t left_ms = (next_ns - control_.now_ns() + kNsPerMs - 1) / kNsPerMs;
  control_.SetTimer(timer_, static_cast<uint32_t>(std::max<int64_t>(left_ms, kTickMs)));
}

}  // namespace weir::lb
