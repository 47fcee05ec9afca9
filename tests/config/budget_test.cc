#include "lb/config/budget.h"

#include <bit>

#include "core/buffer.h"
#include "gtest/gtest.h"
#include "tests/config/made_up_machine.h"

namespace weir::lb {
namespace {

TEST(Budget, ADefaultConfigurationUsesTheWholeFileLimitButForListenersAndChecksToCome) {
  constexpr uint64_t kListenersToCome = 32;
  const Settings settings = ParseWith({}).settings;
  const MemoryBudget budget = ComputeBudget(settings);
  EXPECT_LE(budget.file_count, settings.fd_limit);
  EXPECT_GE(budget.file_count + settings.shards * kListenersToCome + kMostCheckConnections,
            settings.fd_limit - 1);
  EXPECT_EQ(budget.memory_bytes, Sum(budget.memory));
}

TEST(Budget, EverySizeIsWithinItsBounds) {
  for (const char* shards : {"1", "2", "3", "64", "256"}) {
    for (const char* connections : {"1", "100", "4000"}) {
      for (const char* header : {"1KiB", "16KiB", "30KiB"}) {
        Machine machine = MadeUpMachine();
        machine.fd_limit = 1'000'000;
        const CommandLine line =
            ParseWith({std::string("--shards=") + shards, std::string("--max_connections=") + connections,
                       std::string("--max_header_bytes=") + header, "--max_target_bytes=100"},
                      machine);
        ASSERT_FALSE(line.exit) << line.err;
        const MemoryBudget budget = ComputeBudget(line.settings);
        const uint32_t clients = line.settings.max_connections;
        for (const ShardBudget& shard : {budget.shard, budget.control}) {
          EXPECT_TRUE(std::has_single_bit(shard.submissions));
          EXPECT_TRUE(std::has_single_bit(shard.completions));
          EXPECT_LE(shard.submissions, kMaxSubmissions);
          EXPECT_LE(shard.completions, kMaxCompletions);
          EXPECT_GE(shard.completions, 2 * shard.submissions);
          EXPECT_LE(shard.buffers, BufferPool::kMaxCount);
        }
        EXPECT_GE(budget.shard.buffers, kMinBuffersPerShard);
        EXPECT_GE(budget.shard.clients, clients);
        EXPECT_GE(budget.shard.upstreams, clients);
        // Every client with a request whose heads are as long as they may be.
        EXPECT_GE(budget.shard.arena_bytes,
                  size_t{clients} * (kRequestBytes + kHeadChunks * line.settings.limits.header_bytes));
        // All of an even share's operations may complete at once.
        EXPECT_GE(budget.shard.completions, 4 * clients / line.settings.shards);
      }
    }
  }
}

uint64_t AmountOf(const std::vector<BudgetLine>& lines, std::string_view what) {
  for (const BudgetLine& line : lines) {
    if (line.what.starts_with(what)) return line.amount;
  }
  return 0;
}

Settings WithEndpoints(uint32_t count) {
  Settings settings = ParseWith({"--shards=2"}).settings;
  const EndpointSettings endpoint = settings.upstreams.at(0).endpoints.at(0);
  settings.upstreams[0].endpoints.assign(count, endpoint);
  return settings;
}

TEST(Budget, EachEndpointThatIsCheckedHasAConnectionUpToABound) {
  for (const uint32_t count : {1u, 3u, 256u, 257u, 1'000u}) {
    Settings settings = WithEndpoints(count);
    EXPECT_EQ(AmountOf(ComputeBudget(settings).files, "connections of health checks"), 0u);
    const uint64_t before = ComputeBudget(settings).file_count;
    settings.upstreams[0].health_check.type = HealthCheckSettings::Type::kTcp;
    const MemoryBudget budget = ComputeBudget(settings);
    EXPECT_EQ(AmountOf(budget.files, "connections of health checks"), std::min(count, 256u));
    EXPECT_EQ(budget.file_count, before + std::min(count, 256u));
  }
}

TEST(Budget, WhatShardsTellEachOtherOfLoadCountsWhereTheyDo) {
  const std::string_view what = "load of each shard";
  for (const Balance balance : {Balance::kLeastConn, Balance::kRoundRobin}) {
    const bool counts = balance == Balance::kLeastConn;
    Settings settings = WithEndpoints(33);
    settings.upstreams[0].balance = balance;
    EXPECT_EQ(AmountOf(ComputeBudget(settings).memory, what), counts ? 2 * 2 * kChangeLogBytes : 0);
    settings.shards = 1;
    EXPECT_EQ(AmountOf(ComputeBudget(settings).memory, what), 0u) << "there is nobody to tell";
    settings = WithEndpoints(32);
    settings.upstreams[0].balance = balance;
    EXPECT_EQ(AmountOf(ComputeBudget(settings).memory, what), 0u) << "all counts are read";
  }
}

TEST(Budget, BufferMemoryIsSharedOut) {
  EXPECT_EQ(BuffersPerShard(uint64_t{72} << 20, 2), 1'024u);
  EXPECT_EQ(BuffersPerShard(uint64_t{1} << 40, 1), kMaxBuffersPerShard);
  EXPECT_EQ(MinBufferMemory(2), uint64_t{18} << 20);
  EXPECT_EQ(DefaultBufferMemory(uint64_t{4} << 30, 2), uint64_t{256} << 20);
  EXPECT_EQ(DefaultBufferMemory(uint64_t{4} << 30, 256), MinBufferMemory(256));
}

}  // namespace
}  // namespace weir::lb
