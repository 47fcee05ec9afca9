// The access log on real rings: shards on their own threads, a real file, a real pipe.
#include <fcntl.h>
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
  close(*fd);
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
  close(ends[1]);
}

}  // namespace
}  // namespace weir::lb
