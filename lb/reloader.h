// Reloader: from "read the configuration anew", or "change this of it", to "every shard goes by it". Keeps
// the generations, the newest in force first of all; lets the loader make the next one, gives it to the
// shards, says when all have it, and ends those that no request goes by any more. What cannot be used changes
// nothing.
//
// Control shard's. One job at a time, in order; who asks for a reload while one waits has that one, which
// reads everything again. Bounds: kMostGenerations, beyond which it is refused until old requests end;
// kMostWaiting.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/shard.h"
#include "core/source.h"
#include "lb/generation.h"
#include "lb/loader.h"

namespace weir::lb {

class Reloader final : public Generation::Keeper {
 public:
  static constexpr size_t kMostGenerations = 256;
  static constexpr size_t kMostWaiting = 64;

  // What became of it, and what to tell, a sentence a line. `status` is as HTTP has it: 200 if it is in
  // force.
  struct Outcome {
    uint16_t status = 200;
    std::string text;
  };
  using Answer = std::function<void(const Outcome& outcome)>;

  // `first` is what the shards begin with; Adopt first of all is theirs. `load` may be empty: nothing can be
  // reloaded.
  Reloader(Shard& control, Settings first, LoadSettings load);
  ~Reloader() override;

  // Is told of each generation that the shards are about to adopt. Once, before the first reload.
  void SetFollower(std::function<void(const Generation&)> follower) { follower_ = std::move(follower); }
  void Ask(Answer answer);
  // Another generation with the settings that `change` makes of those in force, on the loader's thread; their
  // `messages` are what is told, and without settings nothing changes.
  void AskChange(LoadSettings change, Answer answer);
  // Weir drains: nothing more is reloaded.
  void Close(std::string why);
  // After Close: lets go of the ring. True when that is done.
  bool Stopped();
  // The loader is at work; its end would be waited for.
  bool loading() const { return loader_ != nullptr && loader_->busy(); }

  Generation& newest() { return *generations_.back(); }
  const Generation& newest() const { return *generations_.back(); }
  // Those that still exist, oldest first.
  const std::vector<std::unique_ptr<Generation>>& generations() const { return generations_; }
  uint64_t reloads() const { return reloads_; }
  uint64_t failures() const { return failures_; }

  void OnAdopted(Snapshot& snapshot) override;
  void OnGone(Snapshot& snapshot) override;

 private:
  struct Watch : Runnable {
    explicit Watch(Reloader* owner);
    Reloader* owner;
  };
  struct Job {
    LoadSettings change;  // empty: a reload
    std::vector<Answer> answers;
  };

  void Begin();
  void StartLoader();
  void OnEvent();
  void OnLoaded(Loader::Result result);
  void Refuse(const Outcome& outcome);
  void Tell(const Outcome& outcome);
  std::string Summary() const;

  Shard& control_;
  const LoadSettings load_;
  std::function<void(const Generation&)> follower_;
  std::vector<std::unique_ptr<Generation>> generations_;
  std::unique_ptr<Loader> loader_;  // made by the first reload; its thread looks at the newest generation
  Job job_;                         // at hand
  std::deque<Job> waiting_;
  bool adopting_ = false;  // the newest is not everywhere yet
  std::string closed_;     // why nothing more is reloaded
  int64_t load_us_ = 0;
  std::string warnings_;
  uint64_t reloads_ = 0;
  uint64_t failures_ = 0;
  Source events_;
  Watch watch_;
};

}  // namespace weir::lb
