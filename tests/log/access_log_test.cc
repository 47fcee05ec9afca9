#include "lb/log/access_log.h"

#include "gtest/gtest.h"
#include "lb/log/log_writer.h"
#include "tests/log/scripted_backend.h"

namespace weir::lb {
namespace {

// Two shards that log, and the control shard that writes, all in this thread.
class AccessLogTest : public testing::Test {
 protected:
  struct Member {
    Member(uint32_t index, Switchboard& switchboard)
        : shard({.index = index, .arena_bytes = 1 << 20, .buffers = 1}, switchboard,
                [this](BufferPool&, CoreCounters&) {
                  auto made = std::make_unique<ScriptedBackend>();
                  backend = made.get();
                  return made;
                }) {}
    ScriptedBackend* backend = nullptr;
    Shard shard;
    ProxyCounters counters;
  };

  void TearDown() override {
    one_log_.Flush();
    two_log_.Flush();
    Turns(20);
    writer_.BeginStop();
    Turns(20);
    EXPECT_TRUE(one_log_.home());
    EXPECT_TRUE(two_log_.home());
  }

  void Turns(int count = 5) {
    for (int i = 0; i < count; ++i) {
      for (Member* member : {&one_, &two_, &control_}) member->shard.RunTurn(false);
    }
  }
  void Pass(int64_t ms) {
    for (Member* member : {&one_, &two_, &control_}) PassTime(*member->backend, member->shard, ms);
    Turns();
  }
  static AccessRecord Record(std::string_view target) {
    AccessRecord record;
    record.target = target;
    record.end = "ok";
    return record;
  }
  void Log(AccessLog& log, std::string_view target) { log.Write(Record(target)); }
  // Until a block of this log is sent off.
  void FillBlock(AccessLog& log, char mark) {
    const std::string target(1'000, mark);
    for (int i = 0; i < 50; ++i) Log(log, target);
  }
  uint64_t Lines() const { return static_cast<uint64_t>(std::count(file().begin(), file().end(), '\n')); }
  const std::string& file() const { return control_.backend->file; }
  uint64_t DroppedByWriter() const { return control_.counters.log_lines_dropped.Get(); }

  Switchboard switchboard_{3};
  Member one_{0, switchboard_};
  Member two_{1, switchboard_};
  Member control_{2, switchboard_};
  LogWriter writer_{control_.shard, ScriptedBackend::kFile, control_.counters};
  AccessLog one_log_{one_.shard, writer_, 2, one_.counters};
  AccessLog two_log_{two_.shard, writer_, 2, two_.counters};
};

TEST_F(AccessLogTest, LinesArriveAfterTheFlushTime) {
  Turns();
  Log(one_log_, "/a");
  Log(one_log_, "/b");
  Turns();
  EXPECT_EQ(file(), "");
  Pass(AccessLog::kFlushMs + 1);
  EXPECT_EQ(Lines(), 2u);
  EXPECT_LT(file().find("\"/a\""), file().find("\"/b\""));
  EXPECT_EQ(control_.backend->writes, 1);
  EXPECT_TRUE(one_log_.home());
  EXPECT_EQ(one_.counters.log_lines.Get(), 2u);
  // The timer is not armed while there is nothing to write.
  Pass(10 * AccessLog::kFlushMs);
  EXPECT_EQ(control_.backend->writes, 1);
}

TEST_F(AccessLogTest, AFullBlockGoesAtOnce) {
  FillBlock(one_log_, 'x');
  EXPECT_FALSE(one_log_.home());
  Turns();
  EXPECT_GT(Lines(), 40u);
  EXPECT_LE(file().size(), LogBlock::kBytes);
}

TEST_F(AccessLogTest, FlushSendsWhatThereIs) {
  Log(one_log_, "/last");
  one_log_.Flush();
  one_log_.Flush();
  Turns();
  EXPECT_EQ(Lines(), 1u);
  EXPECT_TRUE(one_log_.home());
}

TEST_F(AccessLogTest, ShardsDoNotTearEachOthersLines) {
  control_.backend->answers.assign(200, 1'000);
  for (int i = 0; i < 4; ++i) {
    FillBlock(one_log_, 'a');
    FillBlock(two_log_, 'b');
    Turns();
  }
  one_log_.Flush();
  two_log_.Flush();
  Turns(500);
  EXPECT_EQ(Lines(), 400u);
  size_t begin = 0;
  for (size_t end; (end = file().find('\n', begin)) != std::string::npos; begin = end + 1) {
    const std::string line = file().substr(begin, end - begin);
    ASSERT_TRUE(line.starts_with("{\"time\"") && line.ends_with("}")) << line;
    ASSERT_TRUE(line.find("aaaa") == std::string::npos || line.find("bbbb") == std::string::npos);
  }
  EXPECT_EQ(DroppedByWriter(), 0u);
}

TEST_F(AccessLogTest, AStuckFileCostsLinesNeverAWait) {
  control_.backend->answers = {ScriptedBackend::kHang};
  const int lines = 50 * 50;
  for (int i = 0; i < 50; ++i) {
    FillBlock(one_log_, 'x');
    Turns(1);
  }
  const uint64_t dropped = one_.counters.log_lines_dropped.Get();
  EXPECT_GT(dropped, 0u);
  EXPECT_EQ(dropped + one_.counters.log_lines.Get(), static_cast<uint64_t>(lines));
  // The other shard's lines wait behind it, and are not lost.
  Log(two_log_, "/other");
  two_log_.Flush();
  Turns();
  EXPECT_FALSE(two_log_.home());
  EXPECT_EQ(two_.counters.log_lines_dropped.Get(), 0u);
  // At the end the write is cancelled, and everything that did not reach the file is counted.
  one_log_.Flush();
  writer_.BeginStop();
  Turns();
  EXPECT_TRUE(writer_.idle());
  EXPECT_TRUE(one_log_.home());
  EXPECT_EQ(file(), "");
  EXPECT_EQ(DroppedByWriter(), one_.counters.log_lines.Get() + 1);
}

TEST_F(AccessLogTest, LoggingGoesOnWhenTheFileDoes) {
  control_.backend->answers = {ScriptedBackend::kHang};
  for (int i = 0; i < 20; ++i) FillBlock(one_log_, 'x');
  Turns();
  EXPECT_GT(one_.counters.log_lines_dropped.Get(), 0u);
  Op* op = control_.backend->hanging;
  ASSERT_NE(op, nullptr);
  op->result = static_cast<int32_t>(op->length);
  op->state = Op::State::kDone;
  control_.shard.Wake(op->waiter);
  Turns(30);
  EXPECT_TRUE(one_log_.home());
  const uint64_t dropped = one_.counters.log_lines_dropped.Get();
  Log(one_log_, "/again");
  one_log_.Flush();
  Turns();
  EXPECT_NE(file().find("/again"), std::string::npos);
  EXPECT_EQ(one_.counters.log_lines_dropped.Get(), dropped);
}

TEST_F(AccessLogTest, AFullPipeIsTriedAgain) {
  control_.backend->answers = {-EAGAIN, 10, -EAGAIN};
  Log(one_log_, "/a");
  one_log_.Flush();
  Turns();
  EXPECT_EQ(file(), "");
  Pass(LogWriter::kRetryMs + 1);
  EXPECT_EQ(file().size(), 10u);
  Pass(LogWriter::kRetryMs + 1);
  EXPECT_EQ(Lines(), 1u);
  EXPECT_EQ(DroppedByWriter(), 0u);
}

TEST_F(AccessLogTest, AFullDiskDropsTheRestAndTheNextLineStartsAfresh) {
  Log(one_log_, "/1");
  Log(one_log_, "/2");
  Log(one_log_, "/3");
  one_log_.Flush();
  Log(one_log_, "/4");
  one_log_.Flush();
  // Half of the first line, then no space: for the rest, and for the line feed that would mend it.
  control_.backend->answers = {40, -ENOSPC, -ENOSPC};
  Turns(10);
  EXPECT_EQ(file().size(), 40u);
  EXPECT_EQ(DroppedByWriter(), 4u);
  EXPECT_TRUE(one_log_.home());
  Log(one_log_, "/5");
  one_log_.Flush();
  Turns(10);
  EXPECT_EQ(Lines(), 2u);
  EXPECT_EQ(file()[40], '\n');
  EXPECT_EQ(file().find("{\"time\"", 1), 41u);
}

TEST_F(AccessLogTest, AClosedPipeIsCounted) {
  control_.backend->answers.assign(10, -EPIPE);
  for (int i = 0; i < 3; ++i) {
    Log(one_log_, "/a");
    one_log_.Flush();
    Turns();
  }
  EXPECT_EQ(DroppedByWriter(), 3u);
  EXPECT_TRUE(one_log_.home());
}

// Descriptors that no process has: whether two are the same file cannot be told.
constexpr int kOther = 1'000'001;
constexpr int kThird = 1'000'002;

TEST_F(AccessLogTest, AnIdleWriterGoesOverAtOnce) {
  Log(one_log_, "/old");
  one_log_.Flush();
  Turns();
  writer_.Use(kOther);
  EXPECT_EQ(control_.backend->closed, std::vector<int>{ScriptedBackend::kFile});
  Log(one_log_, "/new");
  one_log_.Flush();
  Turns();
  EXPECT_EQ(Lines(), 1u);
  EXPECT_NE(control_.backend->files[kOther].find("/new"), std::string::npos);
}

TEST_F(AccessLogTest, ABlockEndsInTheFileInWhichItBegan) {
  Log(one_log_, "/1");
  Log(one_log_, "/2");
  one_log_.Flush();
  Log(one_log_, "/3");
  one_log_.Flush();
  control_.backend->answers = {40, -EAGAIN};
  Turns();
  EXPECT_EQ(file().size(), 40u);
  writer_.Use(kThird);
  writer_.Use(kOther);  // the last word counts
  EXPECT_EQ(control_.backend->closed, std::vector<int>{kThird});
  Pass(LogWriter::kRetryMs + 1);
  EXPECT_EQ(Lines(), 2u);
  EXPECT_EQ(std::count(control_.backend->files[kOther].begin(), control_.backend->files[kOther].end(), '\n'),
            1);
  EXPECT_EQ(control_.backend->closed, (std::vector<int>{kThird, ScriptedBackend::kFile}));
  EXPECT_EQ(DroppedByWriter(), 0u);
}

TEST_F(AccessLogTest, AWriteInFlightKeepsItsFile) {
  control_.backend->answers = {ScriptedBackend::kHang};
  Log(one_log_, "/1");
  one_log_.Flush();
  Turns();
  writer_.Use(kOther);
  EXPECT_TRUE(control_.backend->closed.empty());
  Op* op = control_.backend->hanging;
  ASSERT_NE(op, nullptr);
  op->result = static_cast<int32_t>(op->length);
  op->state = Op::State::kDone;
  control_.shard.Wake(op->waiter);
  Turns();
  EXPECT_EQ(control_.backend->closed, std::vector<int>{ScriptedBackend::kFile});
}

TEST_F(AccessLogTest, AnotherFileDoesNotEndInTheMiddleOfALine) {
  Log(one_log_, "/1");
  one_log_.Flush();
  control_.backend->answers = {40, -ENOSPC};
  Turns();
  writer_.Use(kOther);
  Log(one_log_, "/2");
  one_log_.Flush();
  Turns();
  EXPECT_EQ(file().size(), 40u);
  EXPECT_TRUE(control_.backend->files[kOther].starts_with("{\"time\""));
}

TEST_F(AccessLogTest, WhatCannotBeOpenedChangesNothing) {
  writer_.Reopen("/nonexistent/access.log");
  writer_.Reopen("-");
  EXPECT_TRUE(control_.backend->closed.empty());
  Log(one_log_, "/1");
  one_log_.Flush();
  Turns();
  EXPECT_EQ(Lines(), 1u);
}

TEST_F(AccessLogTest, WhatComesAfterTheStopIsCounted) {
  writer_.BeginStop();
  Log(one_log_, "/late");
  one_log_.Flush();
  Turns();
  EXPECT_EQ(DroppedByWriter(), 1u);
  EXPECT_TRUE(one_log_.home());
}

}  // namespace
}  // namespace weir::lb
