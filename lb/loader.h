// Loader: what takes too long for any shard, in a thread of its own at low priority: making the next
// generation (files, names, tables: up to seconds), and ending old ones (freeing 10,000 routes takes
// milliseconds). One job of each kind at a time.
//
// Used by the control thread alone. A result is announced on `event_fd` (readable), which the control shard
// polls. The generation that Begin gets must live until its result was taken.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "lb/config/settings.h"
#include "lb/generation.h"

namespace weir::lb {

// Settings read anew while `running` are in force. Empty: they cannot be used, and `messages` says why, a
// sentence a line; else `messages` are warnings. Called on the loader's thread.
struct LoadedSettings {
  std::optional<Settings> settings;
  std::string messages;
  uint16_t status = 0;  // of a change (Begin): what has become of it, as HTTP has it
};
using LoadSettings = std::function<LoadedSettings(const Settings& running)>;

class Loader {
 public:
  struct Result {
    std::unique_ptr<Generation> generation;  // its new sockets are open; null: see `messages`
    std::string messages;
    uint16_t status = 0;
    int64_t took_us = 0;
  };

  // `load` is for reloads; `keeper` is that of the generations.
  Loader(LoadSettings load, Generation::Keeper* keeper);
  // Waits for the job at hand.
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  int event_fd() const { return event_fd_; }
  bool busy() const { return busy_; }
  // A reload, after which endpoints are still as operators changed them; or `change`, if there is one, of
  // what is in force. REQUIRES: not busy.
  void Begin(const Generation& running, LoadSettings change = {});
  // The result that was announced, or null. Then it is not busy any more.
  std::unique_ptr<Result> Take();
  // `generation` is of no use any more.
  void End(std::unique_ptr<Generation> generation);

 private:
  void Run();
  std::unique_ptr<Result> Load(const Generation& running, const LoadSettings& change);
  LoadedSettings Reload(const Settings& running);

  const LoadSettings load_;
  Generation::Keeper* const keeper_;
  const int event_fd_;
  bool busy_ = false;

  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  const Generation* running_ = nullptr;  // a job: what is in force
  LoadSettings change_;                  // likewise; empty: a reload
  std::unique_ptr<Result> result_;
  std::vector<std::unique_ptr<Generation>> ended_;
  bool stop_ = false;

  std::thread thread_;
};

}  // namespace weir::lb
