// Pipe: what splice(2) moves bytes through, from one socket to another, without anybody looking at them: the
// bytes stay where the network put them, and the pipe holds references. PipePool: a shard's pipes. They are
// taken when bytes are there to be moved and given back when these have gone on, the last one first (its
// memory is in the cache), so that a flow that waits holds none. One with bytes in it never goes back: it is
// closed. The system grants users without privileges 64 MB of pipes (/proc/sys/fs/pipe-user-pages-soft) and
// smaller ones from then on: then pipes are what they can be, or `Take` answers null and bytes are copied.
#pragma once

#include <cstdint>
#include <memory>

#include "core/check.h"
#include "core/clock.h"
#include "core/stats.h"

namespace weir {

class Backend;

struct Pipe {
  int32_t read_fd = -1;
  int32_t write_fd = -1;
  uint32_t capacity = 0;  // bytes, at most: small pieces take as much room as pages
  uint32_t bytes = 0;     // in it
  // Of a kPass: where it goes on to, what came in, how much of it went on, and the other socket's error.
  int32_t to_fd = -1;
  uint32_t came = 0;
  uint32_t passed = 0;
  int32_t error = 0;
  bool busy = false;      // an op has it
  bool given_up = false;  // nobody but this op
  Pipe* next = nullptr;
};

class PipePool {
 public:
  static constexpr uint32_t kPipeBytes = 256 * 1024;

  PipePool(Backend& backend, CoreCounters& counters, uint32_t most);
  ~PipePool() { WEIR_CHECK(open_ == 0); }
  PipePool(const PipePool&) = delete;
  PipePool& operator=(const PipePool&) = delete;

  // An empty one. Null: all are out, or the system has none, which is not asked again for a second.
  Pipe* Take(int64_t now_ns);
  // From who took it, also while an op has it.
  void GiveBack(Pipe* pipe);
  // The op that had it is over.
  void OpDone(Pipe* pipe);
  // Closes what lay unused since the last time.
  void Trim();
  // Before the backend goes; no op is looked at any more.
  void CloseAll();
  uint32_t open() const { return open_; }
  uint32_t free_count() const { return free_count_; }

 private:
  static constexpr int64_t kAskAgainNs = kNsPerSecond;

  void Close(Pipe* pipe);

  Backend& backend_;
  CoreCounters& counters_;
  const uint32_t most_;
  uint32_t open_ = 0;
  uint32_t free_count_ = 0;
  uint32_t least_free_ = 0;  // since the last Trim
  int64_t ask_again_ns_ = 0;
  std::unique_ptr<Pipe[]> pipes_;
  Pipe* free_ = nullptr;    // open and empty, the one used last first
  Pipe* closed_ = nullptr;  // without descriptors
};

}  // namespace weir
