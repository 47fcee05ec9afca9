#include "lb/reloader.h"

#include <poll.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/log.h"
#include "lb/proxy.h"

namespace weir::lb {

namespace {

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
    answer(false, why + "\n");
    return;
  }
  waiting_.push_back(std::move(answer));
  asked_ = true;
  Begin();
}

void Reloader::Close(std::string why) {
  closed_ = std::move(why);
  asked_ = false;
  for (const Answer& answer : std::exchange(waiting_, {})) answer(false, closed_ + "\n");
  if (!adopting_) Tell(false, closed_ + "\n");
}

bool Reloader::Stopped() {
  if (events_.busy()) {
    control_.Cancel(events_);
    return false;
  }
  return true;
}

void Reloader::Begin() {
  if (!asked_ || adopting_ || loading()) return;
  asked_ = false;
  answers_ = std::exchange(waiting_, {});
  if (generations_.size() >= kMostGenerations) {
    return Refuse(absl::StrCat("requests of ", kMostGenerations, " earlier reloads still run (",
                               generations_.front()->users(),
                               " of the oldest): try again when some have ended\n"));
  }
  if (loader_ == nullptr) {
    loader_ = std::make_unique<Loader>(load_, this);
    events_.kind = Op::Kind::kPoll;
    events_.fd = loader_->event_fd();
    events_.length = POLLIN;
    events_.waiter = &watch_;
    control_.Start(events_);
  }
  loader_->Begin(newest());
}

void Reloader::OnEvent() {
  while (!events_.empty()) events_.Pop();
  std::unique_ptr<Loader::Result> result = loader_->Take();
  if (events_.done() && closed_.empty()) control_.Start(events_);
  if (result != nullptr) OnLoaded(std::move(*result));
}

void Reloader::OnLoaded(Loader::Result result) {
  if (!closed_.empty() && result.generation != nullptr) {
    for (uint32_t shard = 0; shard < result.generation->shards(); ++shard) {
      for (const int fd : result.generation->snapshot(shard).sockets) {
        if (fd >= 0) control_.backend().Close(fd);
      }
    }
    return;
  }
  if (result.generation == nullptr) {
    Refuse(result.messages);
    return Begin();
  }
  load_us_ = result.took_us;
  warnings_ = std::move(result.messages);
  adopting_ = true;
  generations_.push_back(std::move(result.generation));
  newest().made_wall_ms = control_.wall_ms();
  if (follower_) follower_(newest());
  for (uint32_t shard = 0; shard < newest().shards(); ++shard)
    Proxy::PostAdopt(control_, newest().snapshot(shard));
}

void Reloader::OnAdopted(Snapshot& snapshot) {
  Generation& generation = *snapshot.generation;
  if (++generation.snapshots_adopted < generation.shards()) return;
  adopting_ = false;
  ++reloads_;
  const std::string summary = Summary();
  LogLines(warnings_);
  LogLine("%s", summary.c_str());
  Tell(true, warnings_ + summary + "\n");
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

void Reloader::Refuse(const std::string& text) {
  ++failures_;
  LogLine("reload refused, nothing has changed:");
  LogLines(text);
  Tell(false, text);
}

void Reloader::Tell(bool in_force, const std::string& text) {
  for (const Answer& answer : std::exchange(answers_, {})) answer(in_force, text);
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
