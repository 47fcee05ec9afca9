#include "lb/upstream/endpoint_news.h"

#include <cstring>

#include "core/log.h"

namespace weir::lb {
namespace {

bool WriteNow(const std::string& line) { return LogLineNow("%s", line.c_str()); }

std::string Duration(uint32_t ms) {
  return ms % 1000 == 0 ? std::to_string(ms / 1000) + " s" : std::to_string(ms) + " ms";
}

// Looks at the one that was found usable last before all others: mostly it still is.
bool AnyLeft(UpstreamPlan& plan) {
  uint32_t& seen = plan.news->usable_seen;
  const auto count = static_cast<uint32_t>(plan.books.size());
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t at = (seen + i) % count;
    if (plan.books[at]->trouble.load(std::memory_order_relaxed) != 0 || !plan.books[at]->takes_requests())
      continue;
    seen = at;
    return true;
  }
  return false;
}

}  // namespace

EndpointNews::WindowEnd::WindowEnd(EndpointNews* news)
    : Runnable([](Runnable* self) { static_cast<WindowEnd*>(self)->news->EndWindow(); }), news(news) {}

EndpointNews::EndpointNews(Shard& control, WriteLine write)
    : control_(control), write_(write == nullptr ? WriteNow : write), window_end_(this) {
  timer_.waiter = &window_end_;
}

EndpointNews::~EndpointNews() {
  control_.ClearTimer(timer_);
  control_.Forget(window_end_);
}

void EndpointNews::SetAside(Shard& from, UpstreamPlan& plan, EndpointBook& book, int error,
                            uint32_t delay_ms) {
  uint64_t none = 0;
  const uint64_t trouble = uint64_t{static_cast<uint32_t>(error)} << 32 | delay_ms;
  if (book.trouble.compare_exchange_strong(none, trouble)) Post(from, plan, book);
}

void EndpointNews::Back(Shard& from, UpstreamPlan& plan, EndpointBook& book) {
  if (book.trouble.load(std::memory_order_relaxed) == 0) [[likely]]
    return;
  if (book.trouble.exchange(0) != 0) Post(from, plan, book);
}

// The book is alive when its note arrives, and so is the plan: the generation that has them ends only after
// this shard has said that it is done with it, which it says later, in the same mailbox.
void EndpointNews::Post(Shard& from, UpstreamPlan& plan, EndpointBook& book) {
  EndpointBook::Note& note = book.note;
  if (note.posted.exchange(true)) return;  // whoever takes it will see this change too
  note.news = this;
  note.plan = &plan;
  note.book = &book;
  note.deliver = [](Message* message, Shard&) {
    auto& arrived = *static_cast<EndpointBook::Note*>(message);
    EndpointNews& news = *arrived.news;
    UpstreamPlan& of = *arrived.plan;
    EndpointBook& about = *arrived.book;
    arrived.posted.store(false);  // from here on it is another's
    news.Take(of, about);
  };
  from.Post(from.switchboard().control(), &note);
}

void EndpointNews::Take(UpstreamPlan& plan, EndpointBook& book) {
  const uint64_t trouble = book.trouble.load();
  const bool aside = trouble != 0;
  if (aside == book.told_aside) return;
  book.told_aside = aside;
  const std::string endpoint = "upstream " + plan.settings.name + ": endpoint " + book.address().ToString();
  if (aside) {
    Say(endpoint + " is set aside for " + Duration(static_cast<uint32_t>(trouble)) + ": " +
            std::strerror(static_cast<int>(trouble >> 32)),
        kMostEndpointLines);
  } else {
    Say(endpoint + " takes connections again", kMostEndpointLines);
  }
  TellIfNoneLeft(plan);
}

void EndpointNews::Checked(UpstreamPlan& plan, EndpointBook& book, const std::string& why) {
  Tell(plan, book, (book.down() ? "is down: " : "is up: ") + why);
}

void EndpointNews::Tell(UpstreamPlan& plan, EndpointBook& book, const std::string& what) {
  Say("upstream " + plan.settings.name + ": endpoint " + book.address().ToString() + " " + what,
      kMostEndpointLines);
  TellIfNoneLeft(plan);
}

void EndpointNews::Panic(const UpstreamPlan& plan, const std::string& what) {
  Say("upstream " + plan.settings.name + ": " + what, kMostLines);
}

void EndpointNews::TellIfNoneLeft(UpstreamPlan& plan) {
  const bool none_left = !AnyLeft(plan);
  if (none_left == plan.news->told_none_left) return;
  plan.news->told_none_left = none_left;
  Say("upstream " + plan.settings.name + ": " +
          (none_left ? "no endpoint left" : "an endpoint is there again"),
      kMostLines);
}

void EndpointNews::Say(const std::string& line, uint32_t most_lines) {
  if (!timer_.linked()) control_.SetTimer(timer_, kWindowMs);
  if (lines_ >= most_lines || !write_(line)) {
    ++untold_;
  } else {
    ++lines_;
  }
}

void EndpointNews::EndWindow() {
  timer_.fired = false;
  lines_ = 0;
  if (untold_ == 0) return;
  if (write_("endpoints: and " + std::to_string(untold_) + " more changes (/upstreams has what is so)")) {
    untold_ = 0;
    lines_ = 1;
  }
  control_.SetTimer(timer_, kWindowMs);
}

}  // namespace weir::lb
