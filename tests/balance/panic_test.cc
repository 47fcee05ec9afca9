// Who serves when too few are well: the decision, and the choices that go by it.
#include "lb/balance/panic.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "lb/balance/levels.h"
#include "tests/balance/test_balancers.h"

namespace weir::lb {
namespace {

constexpr uint32_t kBackup = EndpointSettings::kBackup;

UpstreamSettings Upstream(const TestPolicy& policy, const std::vector<uint32_t>& levels, uint32_t percent,
                          AllDown all_down) {
  UpstreamSettings settings = UpstreamOf(policy, levels);
  settings.panic_percent = percent;
  settings.all_down = all_down;
  return settings;
}

// What panic.h promises, said the long way: the levels to be asked, and whether in panic.
struct Expected {
  std::vector<uint32_t> levels;
  bool panic = false;
};
Expected Decide(const UpstreamSettings& settings, const std::vector<Standing>& standings) {
  std::vector<uint32_t> all;
  for (const EndpointSettings& endpoint : settings.endpoints) all.push_back(endpoint.level);
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  const auto count = [&](uint32_t level, bool well) {
    uint32_t sum = 0;
    for (size_t i = 0; i < standings.size(); ++i) {
      sum += settings.endpoints[i].level == level && !standings[i].out && (!well || standings[i].well);
    }
    return sum;
  };
  const auto from = [&](uint32_t first, bool panic) {
    std::vector<uint32_t> order = {first};
    for (const uint32_t level : all) {
      if (level != first) order.push_back(level);
    }
    return Expected{order, panic};
  };
  for (const uint32_t level : all) {
    const double share = 100.0 * count(level, true) / std::max(1u, count(level, false));
    if (count(level, true) > 0 && share >= settings.panic_percent) return from(level, false);
  }
  for (const uint32_t level : all) {
    if (count(level, true) > 0) return from(level, true);
  }
  if (settings.all_down == AllDown::kPanic) {
    for (const uint32_t level : all) {
      if (count(level, false) > 0) return from(level, true);
    }
  }
  if (settings.all_down == AllDown::kBackup && count(kBackup, false) > 0) return {{kBackup}, true};
  return from(all.front(), false);
}

class PanicTest : public testing::TestWithParam<TestPolicy> {};
INSTANTIATE_TEST_SUITE_P(Policies, PanicTest, testing::ValuesIn(kTestPolicies),
                         [](const auto& info) { return std::string(info.param.name); });

// However endpoints come and go: level after level in the order that is right, each that may serve once, and
// none that an operator took out or that is set aside. What runs survives every change.
TEST_P(PanicTest, AsPromised) {
  Random random(7);
  uint32_t panics = 0;
  for (int round = 0; round < 80; ++round) {
    std::vector<uint32_t> levels(1 + random.Below(12));
    for (uint32_t& level : levels) level = random.OneIn(4) ? kBackup : random.Below(3);
    if (round % 4 == 0) std::fill(levels.begin(), levels.end(), 0);
    const auto count = static_cast<uint32_t>(levels.size());
    const auto all_down = static_cast<AllDown>(random.Below(3));
    const UpstreamSettings settings = Upstream(GetParam(), levels, 25 * random.Below(5), all_down);
    const Levels prototype = Make(settings, 1);
    Levels balancer = prototype;
    balancer.Begin(random.Next());
    std::vector<Standing> standings(count);
    std::vector<uint32_t> running;
    for (int step = 0; step < 60; ++step) {
      const uint32_t at = random.Below(count);
      standings[at] = {.well = random.OneIn(1 + round % 4), .out = random.OneIn(8), .aside = random.OneIn(8)};
      balancer.Set(at, standings[at]);
      balancer.SetWeightFactor(random.Below(count), 1 + random.Below(kFullFactor));
      balancer.SetRemote(random.Below(count), random.Below(9));
      balancer.Observe(random.Below(count), 1 + random.Below(1'000'000), step);
      const Expected expected = Decide(settings, standings);
      panics += expected.panic;
      std::vector<uint32_t> tried;
      const uint64_t hash = random.Next();
      for (const uint32_t level : expected.levels) {
        for (uint32_t i = 0; i < count; ++i) {
          const bool serves =
              !standings[i].out && !standings[i].aside && (standings[i].well || expected.panic);
          if (levels[i] != level || !serves) continue;
          const uint32_t picked = balancer.Pick({.tried = tried, .hash = hash, .now_ns = step});
          ASSERT_NE(picked, Levels::kNone) << round << " " << step;
          ASSERT_EQ(levels[picked], level);
          ASSERT_FALSE(standings[picked].out || standings[picked].aside);
          ASSERT_TRUE(standings[picked].well || expected.panic);
          ASSERT_EQ(std::count(tried.begin(), tried.end(), picked), 0);
          ASSERT_TRUE(standings[picked].well || balancer.InPanic(picked));
          tried.push_back(picked);
          balancer.Acquire(picked);
          running.push_back(picked);
        }
      }
      ASSERT_EQ(balancer.Pick({.tried = tried, .hash = hash, .now_ns = step}), Levels::kNone);
      while (running.size() > 10) {
        balancer.Release(running.back());  // dies where it was never acquired
        running.pop_back();
      }
    }
  }
  EXPECT_GT(panics, 500u);
}

// What came to an endpoint before the panic counts in it, and after it what came in it.
TEST(Panic, LoadIsKnownOnBothSides) {
  UpstreamSettings settings = Upstream({"", Balance::kLeastConn}, {0, 0, 0, 0}, 50, AllDown::kPanic);
  Levels levels = Make(settings, 3);
  for (int i = 0; i < 5; ++i) levels.Acquire(0);
  for (const uint32_t endpoint : {1u, 2u, 3u}) levels.Set(endpoint, {.well = false});
  ASSERT_TRUE(levels.InPanic(0));
  for (int i = 0; i < 15; ++i) {
    const uint32_t endpoint = levels.Pick({});
    ASSERT_NE(endpoint, 0u) << "the others have less";
    levels.Acquire(endpoint);
  }
  levels.Release(0);
  for (const uint32_t endpoint : {1u, 2u, 3u}) levels.Set(endpoint, {});
  ASSERT_FALSE(levels.InPanic(0));
  EXPECT_EQ(levels.Pick({}), 0u) << "it has 4, the others 5 each";
}

// The thresholds themselves: under it, not at it.
TEST(Panic, BeginsUnderTheThreshold) {
  const UpstreamSettings settings = Upstream({"", Balance::kRoundRobin}, {0, 0, 0, 0}, 50, AllDown::k503);
  const LevelLayout layout(settings);
  PanicTally tally(settings, layout);
  const Standing well, down{.well = false}, out{.out = true}, both{.well = false, .out = true};
  EXPECT_FALSE(tally.panic());
  tally.Change(0, well, down);
  tally.Change(0, well, down);
  EXPECT_FALSE(tally.panic()) << "2 of 4 are 50 %";
  tally.Change(0, well, down);
  EXPECT_TRUE(tally.panic());
  EXPECT_EQ(tally.well(), 1u);
  EXPECT_EQ(tally.there(), 4u);
  tally.Change(0, down, both);
  EXPECT_TRUE(tally.panic()) << "1 of 3";
  tally.Change(0, down, both);
  EXPECT_FALSE(tally.panic()) << "1 of 2: two are drained";
  tally.Change(0, well, down);
  EXPECT_FALSE(tally.panic()) << "nobody: 503";
  tally.Change(0, both, out);
  EXPECT_FALSE(tally.panic());
  EXPECT_EQ(tally.there(), 2u);
}

}  // namespace
}  // namespace weir::lb
