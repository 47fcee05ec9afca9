#include "lb/log/log_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/log.h"
#include "lb/log/access_log.h"
#include "lb/log/syslog_socket.h"

namespace weir::lb {
namespace {

constexpr char kLineFeed = '\n';

bool IsSameFile(int a, int b) {
  struct stat of_a;
  struct stat of_b;
  return fstat(a, &of_a) == 0 && fstat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev &&
         of_a.st_ino == of_b.st_ino;
}

// Opened without waiting for a pipe's reader, but written to like any other: a write that must wait does so
// in the ring.
int OpenForAppending(const char* path) {
  const int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0644);
  if (fd >= 0) fcntl(fd, F_SETFL, O_APPEND);
  return fd;
}

}  // namespace

absl::StatusOr<int> OpenLogFile(const std::string& path) {
  // A descriptor of our own also for standard output: it is closed like any other.
  const int fd = path == "-" ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3) : OpenForAppending(path.c_str());
  if (fd >= 0) return fd;
  const int error = errno;
  return absl::ErrnoToStatus(error,
                             absl::StrCat(path == "-" ? "standard output" : path, ": cannot be written to"));
}

LogWriter::Resume::Resume(LogWriter* writer)
    : Runnable([](Runnable* self) { static_cast<Resume*>(self)->writer->OnWake(); }), writer(writer) {}

LogWriter::LogWriter(Shard& shard, int fd, ProxyCounters& counters)
    : shard_(shard), fd_(fd), counters_(counters), resume_(this) {
  op_.waiter = &resume_;
  retry_.waiter = &resume_;
}

LogWriter::LogWriter(Shard& shard, const SyslogSettings& syslog, ProxyCounters& counters)
    : shard_(shard), fd_(-1), counters_(counters), syslog_(syslog), resume_(this) {
  op_.waiter = &resume_;
  retry_.waiter = &resume_;
  Connect();
}

LogWriter::~LogWriter() {
  WEIR_CHECK(idle());
  shard_.ClearTimer(retry_);
  shard_.Forget(resume_);
  if (next_fd_ >= 0) shard_.backend().Close(next_fd_);
  if (fd_ >= 0) shard_.backend().Close(fd_);
}

void LogWriter::Add(LogBlock* block) {
  block->next_block = nullptr;
  (first_ == nullptr ? first_ : last_->next_block) = block;
  last_ = block;
  if (stopping_) {
    // What is being cancelled takes these along.
    if (!op_.busy()) DropAll();
  } else if (first_ == block) {
    StartWrite();
  }
}

void LogWriter::Reopen(const std::string& path) {
  if (path == "-" || syslog_.on()) return;
  const absl::StatusOr<int> fd = OpenLogFile(path);
  if (fd.ok()) {
    LogLine("the access log was opened again: %s", path.c_str());
    Use(*fd);
  } else {
    LogLine("the access log goes on in the file that is open: %s",
            std::string(fd.status().message()).c_str());
  }
}

void LogWriter::Use(int fd) {
  if (next_fd_ >= 0) shard_.backend().Close(next_fd_);
  next_fd_ = fd;
  if (!op_.busy()) GoOver();
}

// Only between two blocks: a line that was begun ends where it began.
void LogWriter::GoOver() {
  if (next_fd_ < 0 || written_ > 0) return;
  // Another file does not end in the middle of a line of this one.
  torn_ = torn_ && IsSameFile(fd_, next_fd_);
  shard_.backend().Close(fd_);
  fd_ = std::exchange(next_fd_, -1);
}

void LogWriter::BeginStop() {
  stopping_ = true;
  shard_.ClearTimer(retry_);
  if (op_.busy()) {
    shard_.Cancel(op_);
  } else {
    DropAll();
  }
}

void LogWriter::StartWrite() {
  if (syslog_.on()) return StartSend();
  WEIR_CHECK(first_ != nullptr && written_ < first_->length);
  op_.kind = Op::Kind::kWrite;
  op_.fd = fd_;
  if (torn_) {
    op_.data = &kLineFeed;
    op_.length = 1;
  } else {
    op_.data = first_->data + written_;
    op_.length = first_->length - written_;
  }
  shard_.Start(op_);
}

void LogWriter::StartSend() {
  while (first_ != nullptr && fd_ < 0 && !Connect()) DropFirst();
  if (first_ == nullptr) return;
  const char* const line = first_->data + written_;
  const void* const end = std::memchr(line, kLineFeed, first_->length - written_);
  WEIR_CHECK(end != nullptr);
  // Not kSend: where that waits for room in a unix socket's queue, the ring (Linux 6.18) sends an empty
  // datagram in the end, as the first attempt has used the text up. A write begins again.
  op_.kind = Op::Kind::kWrite;
  op_.fd = fd_;
  op_.data = line;
  op_.length = static_cast<uint32_t>(static_cast<const char*>(end) - line);
  shard_.Start(op_);
}

bool LogWriter::Connect() {
  if (shard_.now_ns() < next_connect_ns_) return false;
  next_connect_ns_ = shard_.now_ns() + int64_t{kConnectMs} * kNsPerMs;
  const int fd = ConnectSyslog(syslog_);
  fd_ = std::max(fd, -1);
  if (fd < 0) SayWhetherItFails(-fd);
  return fd >= 0;
}

// Woken by the write's completion, or by the retry's timer.
void LogWriter::OnWake() {
  if (op_.busy()) return;
  if (op_.done()) {
    op_.state = Op::State::kIdle;
    if (op_.result == -EAGAIN && !stopping_) {
      shard_.SetTimer(retry_, kRetryMs);
      return;
    }
    TakeResult(op_.result);
  }
  if (stopping_) DropAll();
  GoOver();
  if (first_ != nullptr) StartWrite();
}

void LogWriter::TakeResult(int32_t result) {
  if (first_ == nullptr || result == -EINTR) return;
  if (syslog_.on()) return TakeSent(result);
  SayWhetherItFails(result < 0 ? -result : result == 0 ? EIO : 0);
  if (result <= 0) {
    DropFirst();
  } else if (torn_) {
    torn_ = false;
  } else {
    written_ += static_cast<uint32_t>(result);
    WEIR_CHECK(written_ <= first_->length);
    if (written_ == first_->length) SendFirstHome();
  }
}

void LogWriter::TakeSent(int32_t result) {
  if (result >= 0) {
    SayWhetherItFails(0);
    EndLine();
  } else if (stopping_) {
    return;  // the rest is dropped all the same
  } else if (!syslog_.path.empty() && result != -EMSGSIZE) {
    // Its reader ended, and perhaps another one is there: the line is sent again, to that one.
    if (std::exchange(refused_, true)) SayWhetherItFails(-result);
    shard_.backend().Close(std::exchange(fd_, -1));
  } else if (result == -ECONNREFUSED) {
    // Of UDP that is the answer to a line before this one.
    counters_.log_lines_dropped.Add();
    if (!std::exchange(refusal_said_, true)) {
      LogLine("the access log has no receiver at %s: lines are lost", syslog_.address.c_str());
    }
    if (std::exchange(refused_, true)) EndLine();
  } else {
    SayWhetherItFails(-result);
    counters_.log_lines_dropped.Add();
    EndLine();
  }
}

// With the line at hand, whatever became of it.
void LogWriter::EndLine() {
  refused_ = false;
  written_ += op_.length + 1;
  WEIR_CHECK(written_ <= first_->length);
  if (written_ == first_->length) SendFirstHome();
}

// Once when it begins, and once when it ends (0).
void LogWriter::SayWhetherItFails(int error) {
  if (stopping_ || (error != 0) == failing_) return;
  failing_ = !failing_;
  if (!failing_) {
    LogLine("the access log is written again");
  } else if (syslog_.on()) {
    LogLine("the access log cannot be sent to %s (%s): lines are dropped until it can",
            syslog_.address.c_str(), std::strerror(error));
  } else {
    LogLine("the access log cannot be written (%s): lines are dropped until it can", std::strerror(error));
  }
}

void LogWriter::DropAll() {
  while (first_ != nullptr) DropFirst();
}

void LogWriter::DropFirst() {
  const char* rest = first_->data + written_;
  const char* end = first_->data + first_->length;
  if (written_ > 0) torn_ = rest[-1] != kLineFeed;
  counters_.log_lines_dropped.Add(static_cast<uint64_t>(std::count(rest, end, kLineFeed)));
  SendFirstHome();
}

void LogWriter::SendFirstHome() {
  LogBlock* block = first_;
  first_ = block->next_block;
  written_ = 0;
  block->deliver = [](Message* message, Shard&) {
    auto* returned = static_cast<LogBlock*>(message);
    returned->log->TakeHome(returned);
  };
  shard_.Post(block->shard, block);
}

}  // namespace weir::lb
