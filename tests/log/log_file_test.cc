// The access log on real rings: shards on their own threads, a real file, a real pipe.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "core/uring_backend.h"
#include "gtest/gtest.h"
#include "lb/log/access_log.h"
#include "lb/log/log_writer.h"

namespace weir::lb {
namespace {

Shard::MakeBackend Rings() {
  UringFeatures features;
  std::string problem;
  EXPECT_TRUE(ProbeUring(features, problem)) << problem;
  return [features](BufferPool& pool, CoreCounters& counters) {
    return std::make_unique<UringBackend>(
        UringBackend::Options{.features = features, .submissions = 64, .completions = 128}, pool, counters);
  };
}

TEST(OpenLogFile, TheErrorNamesThePath) {
  const absl::StatusOr<int> fd = OpenLogFile("/nonexistent/access.log");
  ASSERT_FALSE(fd.ok());
  EXPECT_EQ(std::string(fd.status().message()),
            "/nonexistent/access.log: cannot be written to: No such file or directory");
}

TEST(OpenLogFile, Appends) {
  const std::string path = testing::TempDir() + "/appends.log";
  std::ofstream(path) << "first\n";
  const absl::StatusOr<int> fd = OpenLogFile(path);
  ASSERT_TRUE(fd.ok());
  ASSERT_EQ(write(*fd, "second\n", 7), 7);
  close(*fd);
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  EXPECT_EQ(text.str(), "first\nsecond\n");
}

TEST(OpenLogFile, DoesNotWaitForThePipesReader) {
  const std::string path = testing::TempDir() + "/nobody_reads.fifo";
  unlink(path.c_str());
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_FALSE(OpenLogFile(path).ok());
  const int reader = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  const absl::StatusOr<int> fd = OpenLogFile(path);
  ASSERT_TRUE(fd.ok());
  EXPECT_EQ(fcntl(*fd, F_GETFL) & O_NONBLOCK, 0);
  close(*fd);
  close(reader);
  unlink(path.c_str());
}

// What a shard's thread does here: log, flush, wait until all is written.
void LogLines(uint32_t index, Switchboard& switchboard, const Shard::MakeBackend& rings, LogWriter& writer,
              int lines, ProxyCounters& counters, std::atomic<int>& finished,
              std::atomic<bool>& control_gone) {
  Shard shard({.index = index, .arena_bytes = 1 << 20, .buffers = 64}, switchboard, rings);
  Shard::Enter enter(shard);
  AccessLog log(shard, writer, switchboard.control(), counters);
  const std::string target = "/" + std::to_string(index) + std::string(500, 'x');
  AccessRecord record;
  record.target = target;
  for (int i = 0; i < lines; ++i) {
    log.Write(record);
    if (i % 50 == 0) shard.RunTurn(false);
  }
  log.Flush();
  while (!log.home()) shard.RunTurn(true);
  finished.fetch_add(1);
  while (!control_gone.load()) std::this_thread::yield();
}

TEST(LogFile, AllLinesOfAllShardsReachTheFile) {
  const std::string path = testing::TempDir() + "/all_lines.log";
  unlink(path.c_str());
  const absl::StatusOr<int> fd = OpenLogFile(path);
  ASSERT_TRUE(fd.ok());
  constexpr int kLines = 2'000;
  const Shard::MakeBackend rings = Rings();
  Switchboard switchboard(3);
  ProxyCounters counters[3];
  std::atomic<int> finished = 0;
  std::atomic<bool> control_gone = false;
  {
    Shard control({.index = 2, .arena_bytes = 1 << 20, .buffers = 64}, switchboard, rings);
    LogWriter writer(control, *fd, counters[2]);
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < 2; ++i) {
      threads.emplace_back(
          [&, i] { LogLines(i, switchboard, rings, writer, kLines, counters[i], finished, control_gone); });
    }
    while (finished.load() < 2) control.RunTurn(false);
    EXPECT_TRUE(writer.idle());
    control_gone = true;
    for (std::thread& thread : threads) thread.join();
  }
  std::ifstream file(path);
  uint64_t lines[2] = {};
  for (std::string line; std::getline(file, line);) {
    ASSERT_TRUE(line.starts_with("{\"time\"") && line.ends_with("}")) << line;
    ++lines[line.find("\"/1x") != std::string::npos ? 1 : 0];
  }
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(lines[i], counters[i].log_lines.Get());
    EXPECT_EQ(counters[i].log_lines.Get() + counters[i].log_lines_dropped.Get(),
              static_cast<uint64_t>(kLines));
  }
  EXPECT_EQ(counters[2].log_lines_dropped.Get(), 0u);
}

// logrotate: the file gets another name, then the writer is told.
TEST(LogFile, NoLineIsLostWhenTheFileIsRotated) {
  const std::string path = testing::TempDir() + "/rotated.log";
  std::vector<std::string> paths = {path};
  unlink(path.c_str());
  const absl::StatusOr<int> fd = OpenLogFile(path);
  ASSERT_TRUE(fd.ok());
  constexpr int kLines = 3'000;
  constexpr int kRotations = 5;
  const Shard::MakeBackend rings = Rings();
  Switchboard switchboard(2);
  ProxyCounters counters[2];
  std::atomic<int> finished = 0;
  std::atomic<bool> control_gone = false;
  {
    Shard control({.index = 1, .arena_bytes = 1 << 20, .buffers = 64}, switchboard, rings);
    LogWriter writer(control, *fd, counters[1]);
    std::thread thread(
        [&] { LogLines(0, switchboard, rings, writer, kLines, counters[0], finished, control_gone); });
    while (finished.load() == 0) {
      control.RunTurn(false);
      struct stat now;
      if (paths.size() > kRotations || stat(path.c_str(), &now) != 0 || now.st_size == 0) continue;
      paths.push_back(path + "." + std::to_string(paths.size()));
      ASSERT_EQ(rename(path.c_str(), paths.back().c_str()), 0);
      writer.Reopen(path);
    }
    control_gone = true;
    thread.join();
  }
  uint64_t lines = 0;
  for (const std::string& name : paths) {
    std::ifstream file(name);
    for (std::string line; std::getline(file, line); ++lines) {
      ASSERT_TRUE(line.starts_with("{\"time\"") && line.ends_with("}")) << line;
    }
    unlink(name.c_str());
  }
  EXPECT_EQ(paths.size(), 1u + kRotations);
  EXPECT_EQ(lines, counters[0].log_lines.Get());
  EXPECT_EQ(counters[1].log_lines_dropped.Get(), 0u);
}

TEST(LogFile, AWriteIntoAPipeNobodyReadsCanBeEnded) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const Shard::MakeBackend rings = Rings();
  Switchboard switchboard(1);
  ProxyCounters counters;
  {
    Shard shard({.index = 0, .arena_bytes = 1 << 20, .buffers = 64}, switchboard, rings);
    Shard::Enter enter(shard);
    LogWriter writer(shard, ends[1], counters);
    AccessLog log(shard, writer, 0, counters);
    const std::string target(1'000, 'x');
    AccessRecord record;
    record.target = target;
    for (int i = 0; i < 1'000; ++i) {
      log.Write(record);
      shard.RunTurn(false);
    }
    EXPECT_GT(counters.log_lines_dropped.Get(), 0u);
    log.Flush();
    EXPECT_FALSE(writer.idle());
    writer.BeginStop();
    while (!writer.idle() || !log.home()) shard.RunTurn(true);
  }
  close(ends[0]);
}

}  // namespace
}  // namespace weir::lb
