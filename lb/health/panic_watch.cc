#include "lb/health/panic_watch.h"

#include <utility>

namespace weir::lb {

PanicWatch::Look::Look(PanicWatch* owner)
    : Runnable([](Runnable* self) { static_cast<Look*>(self)->owner->LookAtChanged(); }), owner(owner) {}

PanicWatch::PanicWatch(Shard& control, Publisher& publisher, EndpointNews* news)
    : control_(control), publisher_(publisher), news_(news), look_(this) {
  publisher_.SetListener(this);
}

PanicWatch::~PanicWatch() {
  publisher_.SetListener(nullptr);
  control_.Forget(look_);
}

void PanicWatch::Follow(const Generation& generation) {
  changed_.clear();
  members_.clear();
  upstreams_.clear();
  for (uint32_t u = 0; u < generation.settings().upstreams.size(); ++u) {
    const std::shared_ptr<UpstreamPlan>& plan = generation.plan(u);
    if (!plan->settings.panics() || plan->layout == nullptr) {
      Tell(*plan, nullptr);
      continue;
    }
    Upstream& upstream = *upstreams_.emplace_back(std::make_unique<Upstream>(plan));
    for (uint32_t i = 0; i < plan->books.size(); ++i) {
      const uint32_t level = plan->layout->place(i).level;
      members_.emplace(plan->books[i].get(), Member{&upstream, level});
      upstream.tally.Change(level, {}, EndpointBook::StandingOf(plan->books[i]->seen()));
    }
    changed_.push_back(&upstream);
  }
  if (!changed_.empty()) control_.Wake(&look_);
}

void PanicWatch::Changed(const EndpointBook& book, uint64_t before) {
  const auto found = members_.find(&book);
  if (found == members_.end()) return;
  Upstream& upstream = *found->second.upstream;
  upstream.tally.Change(found->second.level, EndpointBook::StandingOf(before),
                        EndpointBook::StandingOf(book.seen()));
  if (std::exchange(upstream.changed, true)) return;
  changed_.push_back(&upstream);
  control_.Wake(&look_);  // whoever made the change says first why
}

void PanicWatch::LookAtChanged() {
  for (Upstream* upstream : std::exchange(changed_, {})) {
    upstream->changed = false;
    Tell(*upstream->plan, &upstream->tally);
  }
}

// `tally` is null: it cannot be in panic.
void PanicWatch::Tell(const UpstreamPlan& plan, const PanicTally* tally) {
  uint32_t levels = 0;
  for (uint32_t level = 0; tally != nullptr && level < plan.layout->levels(); ++level)
    levels |= uint32_t{tally->InPanic(level)} << plan.layout->number(level);
  const uint32_t before = std::exchange(plan.news->panic_levels, levels);
  if ((before == 0) == (levels == 0)) return;
  if (levels != 0) ++plan.news->panics;
  if (news_ == nullptr) return;
  if (levels == 0) return news_->Panic(plan, "the panic is over");
  news_->Panic(plan, "panic: " + std::to_string(tally->well()) + " of " + std::to_string(tally->there()) +
                         " endpoints well, so that all" + (tally->alone() ? " backups" : "") + " are used");
}

}  // namespace weir::lb
