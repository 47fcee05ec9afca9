// What a retry budget lets pass: by itself, over shards that ask in any order, and over threads at one time.
#include "lb/upstream/retry_budget.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace weir::lb {
namespace {

struct Budgets {
  Budgets(RetryBudgetSettings settings, uint32_t shards) {
    UpstreamSettings upstream;
    upstream.retry_budget = std::move(settings);
    upstream.endpoints.push_back({*SocketAddress::Parse("10.0.0.1:80"), 1, "10.0.0.1:80"});
    plan = std::make_unique<UpstreamPlan>(upstream, shards, nullptr);
    for (uint32_t i = 0; i < shards; ++i) budgets.emplace_back(*plan, i);
  }
  void SetInFlight(uint32_t shard, uint64_t count) { plan->book->active(shard).Set(count); }
  uint64_t InFlight() const { return SumOf(&UpstreamBook::active); }
  uint64_t Retries() const { return SumOf(&UpstreamBook::retries); }
  uint64_t SumOf(Counter& (UpstreamBook::*counter)(uint32_t)) const {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < budgets.size(); ++i) sum += (plan->book.get()->*counter)(i).Get();
    return sum;
  }
  // So many in a row, each in a time of its own.
  uint32_t TakeAll(uint32_t shard) {
    uint32_t taken = 0;
    while (taken < 10'000 && budgets[shard].Take(now_ns += RetryBudget::kPeriodNs)) ++taken;
    return taken;
  }

  std::unique_ptr<UpstreamPlan> plan;
  std::vector<RetryBudget> budgets;
  int64_t now_ns = kNsPerSecond;
};

RetryBudgetSettings Percent(uint64_t percent, uint32_t min) {
  return {true, {Share::kAll * percent / 100, std::to_string(percent) + "%"}, min};
}

TEST(RetryBudget, IsTheShareOrTheMinimumIfThatIsMore) {
  for (const auto& [in_flight, most] :
       {std::pair<uint64_t, uint32_t>{1, 3}, {15, 3}, {19, 3}, {20, 4}, {1000, 200}}) {
    SCOPED_TRACE(in_flight);
    Budgets one(RetryBudgetSettings(), 1);
    one.SetInFlight(0, in_flight);
    EXPECT_EQ(one.TakeAll(0), most);
    one.budgets[0].GiveBack();
    EXPECT_EQ(one.TakeAll(0), 1u);
  }
  Budgets none(Percent(0, 0), 1);
  none.SetInFlight(0, 1000);
  EXPECT_EQ(none.TakeAll(0), 0u);
  RetryBudgetSettings off;
  off.on = false;
  EXPECT_EQ(Budgets(off, 1).TakeAll(0), 10'000u);
}

TEST(RetryBudget, IsOneForAllShards) {
  Budgets four(Percent(20, 3), 4);
  EXPECT_EQ(four.TakeAll(2), 3u);
  EXPECT_EQ(four.TakeAll(0), 0u) << "the minimum is of all shards together";
  four.SetInFlight(1, 50);
  four.SetInFlight(3, 50);
  EXPECT_EQ(four.TakeAll(0), 17u) << "what the others have in flight counts for each shard";
  EXPECT_EQ(four.TakeAll(1), 0u) << "and what they try again, too";
  four.budgets[2].GiveBack();
  EXPECT_EQ(four.TakeAll(1), 1u);
}

TEST(RetryBudget, WhoWasRefusedDoesNotAskAgainForAWhile) {
  Budgets one(Percent(0, 1), 1);
  RetryBudget& budget = one.budgets[0];
  ASSERT_TRUE(budget.Take(1000));
  ASSERT_FALSE(budget.Take(1000));
  budget.GiveBack();
  EXPECT_FALSE(budget.Take(1000 + RetryBudget::kPeriodNs - 1));
  EXPECT_TRUE(budget.Take(1000 + RetryBudget::kPeriodNs));
}

// Whatever the shards have in flight and in whatever order they ask: who is let pass is within the budget.
TEST(RetryBudget, IsNeverExceeded) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    const auto below = [&random](uint64_t bound) { return random() % bound; };
    const auto shards = static_cast<uint32_t>(1 + below(5));
    const uint64_t percent = below(101);
    const auto min = static_cast<uint32_t>(below(6));
    Budgets all(Percent(percent, min), shards);
    std::vector<uint64_t> taken(shards);
    for (int i = 0; i < 500; ++i) {
      const auto shard = static_cast<uint32_t>(below(shards));
      all.now_ns += static_cast<int64_t>(below(2 * RetryBudget::kPeriodNs));
      switch (below(4)) {
        case 0:
          all.SetInFlight(shard, taken[shard] + below(60));
          break;
        case 1:
          if (taken[shard] > 0) {
            all.budgets[shard].GiveBack();
            --taken[shard];
          }
          break;
        default: {
          if (!all.budgets[shard].Take(all.now_ns)) break;
          ++taken[shard];
          const uint64_t allowed = std::max<uint64_t>(min, all.InFlight() * percent / 100);
          ASSERT_LE(all.Retries(), allowed);
        }
      }
    }
    for (uint32_t i = 0; i < shards; ++i) {
      for (; taken[i] > 0; --taken[i]) all.budgets[i].GiveBack();
    }
    EXPECT_EQ(all.Retries(), 0u);
  }
}

// Threads that ask in the same moment: one more for each other thread, no more.
TEST(RetryBudget, ThreadsThatAskAtOnceExceedItByOneEach) {
  constexpr uint32_t kThreads = 4;
  constexpr uint32_t kMin = 8;
  constexpr int kRounds = 500;
  for (int round = 0; round < kRounds; ++round) {
    Budgets all(Percent(0, kMin), kThreads);
    std::atomic<uint32_t> ready{0};
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < kThreads; ++i) {
      threads.emplace_back([&all, &ready, i] {
        ready.fetch_add(1);
        while (ready.load() < kThreads) std::this_thread::yield();
        for (uint32_t k = 0; k < 2 * kMin; ++k) all.budgets[i].Take(kNsPerSecond);
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_GE(all.Retries(), kMin);
    ASSERT_LE(all.Retries(), kMin + kThreads - 1);
  }
}

}  // namespace
}  // namespace weir::lb
