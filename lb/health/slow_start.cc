#include "lb/health/slow_start.h"

#include <algorithm>
#include <cmath>

namespace weir::lb {
namespace {

int64_t StepNs(const SlowStartSettings& settings) {
  return std::max(settings.duration_ms / SlowStarter::kSteps, SlowStarter::kLeastStepMs) * kNsPerMs;
}

}  // namespace

uint32_t SlowStartFactor(const SlowStartSettings& settings, int64_t since_ms) {
  if (since_ms >= int64_t{settings.duration_ms}) return kFullFactor;
  const double start = settings.start_percent / 100.0;
  const double passed = static_cast<double>(since_ms) / settings.duration_ms;
  const double factor = settings.mode == SlowStartSettings::Mode::kLinear ? start + (1 - start) * passed
                                                                          : std::pow(start, 1 - passed);
  return std::clamp(static_cast<uint32_t>(std::lround(factor * kFullFactor)), 1u, kFullFactor);
}

SlowStarter::Tick::Tick(SlowStarter* owner)
    : Runnable([](Runnable* self) { static_cast<Tick*>(self)->owner->OnTick(); }), owner(owner) {}

SlowStarter::SlowStarter(Shard& control, Publisher& publisher)
    : control_(control), publisher_(publisher), tick_(this) {
  timer_.waiter = &tick_;
  publisher_.SetGreeter(this);
}

SlowStarter::~SlowStarter() {
  publisher_.SetGreeter(nullptr);
  control_.ClearTimer(timer_);
  control_.Forget(tick_);
}

void SlowStarter::Stop() {
  stopped_ = true;
  for (const auto& [when, book] : due_) book->start.ticket = 0;
  due_.clear();
  control_.ClearTimer(timer_);
}

void SlowStarter::Follow(const Generation& generation) {
  if (stopped_) return;
  for (uint32_t u = 0; u < generation.settings().upstreams.size(); ++u) {
    const UpstreamPlan& plan = *generation.plan(u);
    const bool was_there = std::any_of(plan.books.begin(), plan.books.end(),
                                       [](const auto& book) { return book->start.generation != 0; });
    for (const std::shared_ptr<EndpointBook>& book : plan.books) {
      const bool added = was_there && book->start.generation == 0;
      book->start.generation = generation.number();
      Change(book, plan.settings.slow_start);
      if (added && book->takes_requests()) publisher_.Set(book, Begin(book));
    }
  }
  for (auto at = due_.begin(); at != due_.end();) {
    EndpointBook& book = *at->second;
    if (book.start.generation == generation.number()) {
      ++at;
      continue;
    }
    book.start.ticket = 0;
    at = due_.erase(at);
  }
  SetTimer();
}

void SlowStarter::Change(const std::shared_ptr<EndpointBook>& book, const SlowStartSettings& settings) {
  if (book->start.settings == settings) return;
  book->start.settings = settings;
  // The next step may be nearer now, or there may be none.
  if (book->start.ticket != 0) Wait(book, control_.now_ns());
}

uint64_t SlowStarter::Missing(const std::shared_ptr<EndpointBook>& book, bool takes_requests) {
  if (takes_requests) return Begin(book);
  Forget(*book);
  return 0;
}

uint64_t SlowStarter::Begin(const std::shared_ptr<EndpointBook>& book) {
  const SlowStartSettings& settings = book->start.settings;
  if (!settings.on() || stopped_) return 0;
  book->start.begun_ns = control_.now_ns();
  WaitForStep(book);
  SetTimer();
  return EndpointBook::MissingOf(SlowStartFactor(settings, 0));
}

void SlowStarter::Forget(EndpointBook& book) {
  if (book.start.ticket == 0) return;
  due_.erase({book.start.due_ns, book.start.ticket});
  book.start.ticket = 0;
}

void SlowStarter::Wait(const std::shared_ptr<EndpointBook>& book, int64_t due_ns) {
  Forget(*book);
  book->start.due_ns = due_ns;
  book->start.ticket = ++tickets_;
  due_.emplace(std::pair(due_ns, book->start.ticket), book);
}

void SlowStarter::WaitForStep(const std::shared_ptr<EndpointBook>& book) {
  const SlowStartSettings& settings = book->start.settings;
  const int64_t now_ns = control_.now_ns();
  const int64_t begun_ns = book->start.begun_ns;
  const int64_t end_ns = begun_ns + settings.duration_ms * kNsPerMs;
  // Counted from the beginning: one step that is late makes no other late.
  const int64_t step_ns = StepNs(settings);
  const int64_t next_ns = begun_ns + ((now_ns - begun_ns) / step_ns + 1) * step_ns;
  Wait(book, std::min(next_ns, std::max(end_ns, now_ns)));
}

void SlowStarter::Step(const std::shared_ptr<EndpointBook>& book) {
  const int64_t since_ms = (control_.now_ns() - book->start.begun_ns) / kNsPerMs;
  const uint32_t factor = SlowStartFactor(book->start.settings, since_ms);
  if (factor == kFullFactor && since_ms >= int64_t{book->start.settings.duration_ms}) {
    Forget(*book);
  } else {
    WaitForStep(book);
  }
  publisher_.Publish(book, (book->seen() & ~EndpointBook::kMissing) | EndpointBook::MissingOf(factor));
}

void SlowStarter::OnTick() {
  timer_.fired = false;
  for (size_t i = 0; i < kMostAtOnce && !due_.empty(); ++i) {
    const auto& [when, book] = *due_.begin();
    if (when.first > control_.now_ns()) break;
    Step(std::shared_ptr(book));
  }
  SetTimer();
}

void SlowStarter::SetTimer() {
  control_.ClearTimer(timer_);
  if (due_.empty()) return;
  const int64_t left_ms = (due_.begin()->first.first - control_.now_ns() + kNsPerMs - 1) / kNsPerMs;
  control_.SetTimer(timer_, static_cast<uint32_t>(std::max<int64_t>(left_ms, kTickMs)));
}

}  // namespace weir::lb
