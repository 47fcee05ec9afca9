#include "lb/health/checker.h"

#include <utility>

namespace weir::lb {

Checker::Starter::Starter(Checker* owner)
    : Runnable([](Runnable* self) { static_cast<Starter*>(self)->owner->StartNext(); }), owner(owner) {}

Checker::Checker(Shard& control, Publisher& publisher, EndpointNews* news)
    : control_(control), publisher_(publisher), news_(news), response_head_(http::Limits{}), starter_(this) {}

Checker::~Checker() {
  WEIR_CHECK(checks_.empty() && ending_.empty());
  control_.Forget(starter_);
}

void Checker::Follow(const Generation& generation) {
  if (stopping_) return;
  for (uint32_t u = 0; u < generation.settings().upstreams.size(); ++u) {
    const std::shared_ptr<UpstreamPlan>& plan = generation.plan(u);
    const bool on = plan->settings.health_check.on();
    for (uint32_t i = 0; i < plan->books.size(); ++i) {
      const std::shared_ptr<EndpointBook>& book = plan->books[i];
      if (!on) {
        if (std::exchange(book->checks.on, false))
          publisher_.Clear(book, EndpointBook::kDown | EndpointBook::kChecksUnheard);
        continue;
      }
      book->checks.on = true;
      Entry& entry = checks_[book.get()];
      entry.generation = generation.number();
      if (entry.check == nullptr) {
        entry.check = std::make_unique<Check>(*this, control_, plan, i);
      } else {
        entry.check->SetPlan(plan, i);
      }
    }
  }
  EndAllBut(generation.number());
}

void Checker::EndAllBut(uint64_t generation) {
  for (auto at = checks_.begin(); at != checks_.end();) {
    Entry& entry = at->second;
    if (entry.generation == generation) {
      ++at;
      continue;
    }
    Check* const check = entry.check.get();
    ending_.emplace(check, std::move(entry.check));
    at = checks_.erase(at);
    check->End();
  }
  std::erase_if(queue_, [](const Check* check) { return !check->waits_for_turn(); });
}

void Checker::Stop() {
  if (std::exchange(stopping_, true)) return;
  EndAllBut(kNoGeneration);
}

void Checker::Ask(Check& check) {
  if (running_ == kMostChecks || !queue_.empty()) return queue_.push_back(&check);
  ++running_;
  check.Begin();
}

void Checker::Done() {
  --running_;
  if (!queue_.empty()) control_.Wake(&starter_);
}

void Checker::StartNext() {
  while (running_ < kMostChecks && !queue_.empty()) {
    Check* const next = queue_.front();
    queue_.pop_front();
    ++running_;
    next->Begin();
  }
}

void Checker::Ended(Check& check) { ending_.erase(&check); }

void Checker::Changed(UpstreamPlan& plan, uint32_t endpoint, bool up, const std::string& error, bool heard) {
  const std::shared_ptr<EndpointBook>& book = plan.books[endpoint];
  if (up) {
    publisher_.Clear(book, EndpointBook::kDown | EndpointBook::kChecksUnheard);
  } else {
    publisher_.Set(book, EndpointBook::kDown | (heard ? 0 : EndpointBook::kChecksUnheard));
  }
  if (news_ != nullptr) news_->Checked(plan, *book, up ? "its checks pass" : error);
}

void Checker::StillDown(UpstreamPlan& plan, uint32_t endpoint, bool heard) {
  const std::shared_ptr<EndpointBook>& book = plan.books[endpoint];
  if (heard) {
    publisher_.Clear(book, EndpointBook::kChecksUnheard);
  } else {
    publisher_.Set(book, EndpointBook::kChecksUnheard);
  }
}

}  // namespace weir::lb
