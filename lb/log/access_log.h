// AccessLog: a shard's end of the access log. Write formats one line (access_line.h, or access_format.h where
// that was asked for) into the current block of 64 KiB; a full block goes to the LogWriter's shard as a
// message, one that is not full after kFlushMs at the latest. Blocks come home when they are written. With
// all of its blocks away (a slow disk, a stuck pipe) lines are dropped and counted
// (ProxyCounters::log_lines_dropped): logging never makes a shard wait. Made and used on its own shard's
// thread. Memory: kBlocks * LogBlock::kBytes, touched only as needed; no allocation after construction. Must
// not be destroyed before `home()`, or before the writer's shard took its last turn.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/shard.h"
#include "lb/log/access_format.h"
#include "lb/log/access_line.h"
#include "lb/log/log_block.h"
#include "lb/log/record.h"
#include "lb/stats.h"

namespace weir::lb {

class LogWriter;

class AccessLog {
 public:
  static constexpr uint32_t kBlocks = 8;
  static constexpr uint32_t kFlushMs = 100;

  // `writer` lives on shard `writer_shard` and outlives this.
  AccessLog(Shard& shard, LogWriter& writer, uint32_t writer_shard, ProxyCounters& counters);
  ~AccessLog();
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;

  // `format`: null for the usual JSON. Not kept: each line may have another.
  void Write(const AccessRecord& record, const AccessFormat* format = nullptr);
  // Sends off what is there (drain).
  void Flush();
  // Nothing is waiting here or with the writer: after the last Flush, all that will be written is written.
  bool home() const { return away_ == 0 && (current_ == nullptr || current_->lines == 0); }

 private:
  struct FlushTimer : Runnable {
    explicit FlushTimer(AccessLog* log);
    AccessLog* log;
  };
  friend class LogWriter;

  void TakeHome(LogBlock* block);

  Shard& shard_;
  LogWriter& writer_;
  uint32_t writer_shard_;
  ProxyCounters& counters_;
  std::unique_ptr<LogBlock[]> blocks_;
  std::unique_ptr<char[]> memory_;  // what the lines lie in
  LogBlock* free_ = nullptr;
  LogBlock* current_ = nullptr;
  uint32_t away_ = 0;
  Timer timer_;
  FlushTimer flush_;
};

}  // namespace weir::lb
