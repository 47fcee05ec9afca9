#include "lb/reloader.h"

#include <poll.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/log.h"
#include "lb/proxy.h"

namespace weir::lb {

namespace {

// As HTTP has it: what is there cannot be used; it cannot be done now.
constexpr uint16_t kRefused = 422;
constexpr uint16_t kNotNow = 503;

// Each line of `text`, with its time.
void LogLines(std::string_view text) {
  constexpr std::string_view kName = "weir: ";  // which a log line has by itself
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.starts_with(kName)) line.remove_prefix(kName.size());
    if (!line.empty()) LogLine("%.*s", static_cast<int>(line.size()), line.data());
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

}  // namespace

Reloader::Watch::Watch(Reloader* owner)
    : Runnable([](Runnable* self) { static_cast<Watch*>(self)->owner->OnEvent(); }), owner(owner) {}

Reloader::Reloader(Shard& control, Settings first, LoadSettings load)
    : control_(control), load_(std::move(load)), watch_(this) {
  generations_.push_back(std::make_unique<Generation>(std::move(first), nullptr, this));
  generations_.back()->made_wall_ms = control_.wall_ms();
}

Reloader::~Reloader() {
  WEIR_CHECK(!events_.busy());
  control_.Forget(watch_);
}

void Reloader::Ask(Answer answer) {
  if (!closed_.empty() || load_ == nullptr) {
    const std::string why = closed_.empty() ? "there is nothing to reload" : closed_;
    LogLine("reload refused: %s", why.c_str());
    return answer({kRefused, why + "\n"});
  }
  const auto reload =
      std::find_if(waiting_.begin(), waiting_.end(), [](const Job& job) { return job.change == nullptr; });
  if (reload != waiting_.end()) return reload->answers.push_back(std::move(answer));
  waiting_.push_back({nullptr, {std::move(answer)}});
  Begin();
}

void Reloader::AskChange(LoadSettings change, Answer answer) {
  if (!closed_.empty()) return answer({kNotNow, closed_ + "\n"});
  if (waiting_.size() >= kMostWaiting) {
    return answer({kNotNow, absl::StrCat(kMostWaiting, " changes wait already: try again later\n")});
  }
  waiting_.push_back({std::move(change), {std::move(answer)}});
  Begin();
}

void Reloader::Close(std::string why) {
  closed_ = std::move(why);
  for (const Job& job : std::exchange(waiting_, {})) {
    for (const Answer& answer : job.answers) answer({job.change ? kNotNow : kRefused, closed_ + "\n"});
  }
  if (!adopting_) Tell({job_.change ? kNotNow : kRefused, closed_ + "\n"});
}

bool Reloader::Stopped() {
  if (events_.busy()) {
    control_.Cancel(events_);
    return false;
  }
  return true;
}

void Reloader::Begin() {
  while (!waiting_.empty() && !adopting_ && !loading()) {
    job_ = std::move(waiting_.front());
    waiting_.pop_front();
    if (generations_.size() < kMostGenerations) {
      StartLoader();
      loader_->Begin(newest(), job_.change);
    } else {
      Refuse(
          {job_.change ? kNotNow : kRefused,
           absl::StrCat("requests of ", kMostGenerations, " earlier configurations still run (",
                        generations_.front()->users(), " of the oldest): try again when some have ended\n")});
    }
  }
}

void Reloader::StartLoader() {
  if (loader_ != nullptr) return;
  loader_ = std::make_unique<Loader>(load_, this);
  events_.kind = Op::Kind::kPoll;
  events_.fd = loader_->event_fd();
  events_.length = POLLIN;
  events_.waiter = &watch_;
  control_.Start(events_);
}

void Reloader::OnEvent() {
  while (!events_.empty()) events_.Pop();
  std::unique_ptr<Loader::Result> result = loader_->Take();
  if (events_.done() && closed_.empty()) control_.Start(events_);
  if (result != nullptr) OnLoaded(std::move(*result));
}

void Reloader::OnLoaded(Loader::Result result) {
  if (!closed_.empty() && result.generation != nullptr) {
    return result.generation->CloseSockets([this](int fd) { control_.backend().Close(fd); });
  }
  if (result.generation == nullptr) {
    Refuse({result.status != 0 ? result.status : kRefused, std::move(result.messages)});
    return Begin();
  }
  load_us_ = result.took_us;
  warnings_ = std::move(result.messages);
  adopting_ = true;
  generations_.push_back(std::move(result.generation));
  newest().made_wall_ms = control_.wall_ms();
  if (const int error = newest().UpdateFiles(); error != 0)
    LogLine("the mode of a unix socket stays as it was: %s", std::strerror(error));
  if (follower_) follower_(newest());
  for (uint32_t shard = 0; shard < newest().shards(); ++shard)
    Proxy::PostAdopt(control_, newest().snapshot(shard));
}

void Reloader::OnAdopted(Snapshot& snapshot) {
  Generation& generation = *snapshot.generation;
  if (++generation.snapshots_adopted < generation.shards()) return;
  adopting_ = false;
  const std::string summary = Summary();
  if (job_.change == nullptr) {
    ++reloads_;
    LogLines(warnings_);
    warnings_ += summary + "\n";
  }
  LogLine("%s", summary.c_str());
  Tell({200, std::move(warnings_)});
  Begin();
}

void Reloader::OnGone(Snapshot& snapshot) {
  Generation* const generation = snapshot.generation;
  if (++generation->snapshots_gone < generation->shards()) return;
  const auto place = std::find_if(generations_.begin(), generations_.end(),
                                  [generation](const auto& other) { return other.get() == generation; });
  std::unique_ptr<Generation> ended = std::move(*place);
  generations_.erase(place);
  loader_->End(std::move(ended));
}

// Who asked for a change hears why not; a reload may have been asked for by a signal.
void Reloader::Refuse(const Outcome& outcome) {
  if (job_.change == nullptr) {
    ++failures_;
    LogLine("reload refused, nothing has changed:");
    LogLines(outcome.text);
  }
  Tell(outcome);
}

void Reloader::Tell(const Outcome& outcome) {
  for (const Answer& answer : std::exchange(job_.answers, {})) answer(outcome);
}

std::string Reloader::Summary() const {
  const Generation& generation = newest();
  int64_t slowest_us = 0;
  for (uint32_t shard = 0; shard < generation.shards(); ++shard)
    slowest_us = std::max(slowest_us, generations_.back()->snapshot(shard).adopt_us);
  const auto before = generation.listeners_before();
  const auto listeners_added = std::count(before.begin(), before.end(), Generation::kNew);
  const auto changed = generation.changed();
  const auto removed = std::count_if(changed.begin(), changed.end(),
                                     [](const auto& change) { return change.after == nullptr; });
  const bool new_listeners = listeners_added > 0 || !generation.listeners_removed().empty();
  const bool new_upstreams = generation.upstreams_added() > 0 || !changed.empty();
  // What is counted need not be named.
  std::string parts;
  for (const std::string& part : generation.parts_changed()) {
    if ((part == "listeners" && new_listeners) || (part == "upstreams" && new_upstreams)) continue;
    absl::StrAppend(&parts, parts.empty() ? "; changed: " : ", ", part);
  }
  if (parts.empty() && !new_listeners && !new_upstreams) parts = "; nothing changed";
  return absl::StrCat(
      "generation ", generation.number(), " is in force: read and built in ", load_us_ / 1000,
      " ms, adopted in ", slowest_us, " us at most; listeners: ", listeners_added, " new, ",
      generation.listeners_removed().size(), " removed; upstreams: ", generation.upstreams_added(), " new, ",
      changed.size() - static_cast<size_t>(removed), " changed, ", removed, " removed", parts);
}

}  // namespace weir::lb
