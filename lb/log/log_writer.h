// LogWriter: writes the blocks of every shard's AccessLog to one file, to standard output or to syslog, in
// order of arrival, one write at a time through the backend of its own shard (the control shard). Made and
// used on its shard's thread.
//  file: one that takes no more (full disk, closed pipe) costs lines, which are counted, never a stop: the
//  rest of that block is dropped, and the next block starts on a line of its own. A non-blocking pipe that is
//  full is tried again every kRetryMs. The file can be changed at any time: what is being written ends in the
//  old one, what waits goes to the new one, and no line is lost or torn.
//  syslog: a datagram for each line. One who does not read makes the writer wait, and so costs lines at the
//  shards. Who is not there is looked for once
//  in kConnectMs; what comes meanwhile is dropped and counted.
// At the end: shards flush their logs, wait until these are home, then BeginStop, and turns until idle() (a
// write that hangs in a pipe nobody reads is cancelled).
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "core/shard.h"
#include "lb/log/access_format.h"
#include "lb/log/log_block.h"
#include "lb/stats.h"

namespace weir::lb {

// Opens `path` for appending ("-": standard output). The error names the path. Does not wait for a reader of
// a pipe: without one that is an error.
absl::StatusOr<int> OpenLogFile(const std::string& path);

class LogWriter {
 public:
  static constexpr uint32_t kRetryMs = 20;
  static constexpr uint32_t kConnectMs = 1'000;

  // `counters` are those of the control shard. `fd` is the writer's from now on.
  LogWriter(Shard& shard, int fd, ProxyCounters& counters);
  // To syslog. That nobody is there is said, and no error: it may still come.
  LogWriter(Shard& shard, const SyslogSettings& syslog, ProxyCounters& counters);
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  // On this shard: takes the block, writes it, sends it home.
  void Add(LogBlock* block);
  // Opens `path` again, which is another file when the log was rotated. If that fails the old one stays, and
  // it is said why. Standard output and syslog are left alone.
  void Reopen(const std::string& path);
  // Goes over to `fd` (the writer's from now on), once the block that is being written is.
  void Use(int fd);
  // Drops what is queued and ends the write in flight.
  void BeginStop();
  bool idle() const { return first_ == nullptr && !op_.busy(); }

 private:
  struct Resume : Runnable {
    explicit Resume(LogWriter* writer);
    LogWriter* writer;
  };

  void StartWrite();
  void StartSend();
  bool Connect();
  void GoOver();
  void OnWake();
  void TakeResult(int32_t result);
  void TakeSent(int32_t result);
  void SayWhetherItFails(int error);
  void EndLine();
  void DropAll();
  void DropFirst();
  void SendFirstHome();

  Shard& shard_;
  int fd_;
  int next_fd_ = -1;  // to go over to; -1: none
  ProxyCounters& counters_;
  const SyslogSettings syslog_;  // off: a file
  LogBlock* first_ = nullptr;    // being written
  LogBlock* last_ = nullptr;
  uint32_t written_ = 0;  // of the first block
  bool failing_ = false;  // the last write did, and it was said
  bool torn_ = false;     // the file ends in the middle of a line: a line feed comes first
  bool stopping_ = false;
  bool refused_ = false;       // the line at hand was, as far as one can know
  bool refusal_said_ = false;  // by a UDP receiver
  int64_t next_connect_ns_ = 0;
  Op op_;
  Timer retry_;
  Resume resume_;
};

}  // namespace weir::lb
