// Who is asked where endpoints have priorities, and that nothing is lost between levels.
#include "lb/balance/levels.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/balance/test_balancers.h"

namespace weir::lb {
namespace {

class LevelsTest : public testing::TestWithParam<TestPolicy> {};
INSTANTIATE_TEST_SUITE_P(Policies, LevelsTest, testing::ValuesIn(kTestPolicies),
                         [](const auto& info) { return std::string(info.param.name); });

// However endpoints come and go: a request meets each usable one once, no level before the better ones are
// through, and what runs is given back where it was taken.
TEST_P(LevelsTest, TheBestLevelFirstAndEachUsableOneOnce) {
  Random random(31);
  for (int round = 0; round < 60; ++round) {
    std::vector<uint32_t> levels(1 + random.Below(20));
    for (uint32_t& level : levels) level = random.OneIn(4) ? EndpointSettings::kBackup : 3 * random.Below(3);
    const auto count = static_cast<uint32_t>(levels.size());
    const UpstreamSettings settings = UpstreamOf(GetParam(), levels);
    const Levels prototype = Make(settings, 1);
    Levels balancer = prototype;
    balancer.Begin(random.Next());
    std::vector<bool> usable(count, true);
    std::vector<uint32_t> running;
    for (int step = 0; step < 40; ++step) {
      const uint32_t flipped = random.Below(count);
      usable[flipped] = random.OneIn(2);
      balancer.SetUsable(flipped, usable[flipped]);
      balancer.SetWeightFactor(random.Below(count), 1 + random.Below(kFullFactor));
      balancer.SetRemote(random.Below(count), random.Below(9));
      balancer.Observe(random.Below(count), 1 + random.Below(1'000'000), step);
      std::vector<uint32_t> tried;
      const uint64_t hash = random.Next();
      for (uint32_t endpoint;
           (endpoint = balancer.Pick({.tried = tried, .hash = hash, .now_ns = step})) != Levels::kNone;) {
        ASSERT_LT(endpoint, count);
        ASSERT_TRUE(usable[endpoint]);
        ASSERT_EQ(std::count(tried.begin(), tried.end(), endpoint), 0);
        for (uint32_t better = 0; better < count; ++better) {
          const bool passed_by = usable[better] && levels[better] < levels[endpoint] &&
                                 std::count(tried.begin(), tried.end(), better) == 0;
          ASSERT_FALSE(passed_by) << better << " before " << endpoint;
        }
        tried.push_back(endpoint);
        balancer.Acquire(endpoint);
        running.push_back(endpoint);
      }
      ASSERT_EQ(static_cast<long>(tried.size()), std::count(usable.begin(), usable.end(), true));
      while (running.size() > 10) {
        balancer.Release(running.back());  // dies where it was never acquired
        running.pop_back();
      }
    }
  }
}

// With one level nothing is different from a balancer of all.
TEST_P(LevelsTest, OneLevelIsItsBalancer) {
  const UpstreamSettings settings = UpstreamOf(GetParam(), {5, 5, 5, 5, 5});
  std::vector<std::string> names;
  for (const EndpointSettings& endpoint : settings.endpoints) names.push_back(endpoint.text);
  Levels levels = Make(settings, 9);
  Balancer balancer = MakeTestBalancer(GetParam(), {1, 1, 1, 1, 1}, 9, names);
  Random random(5);
  for (int i = 0; i < 500; ++i) {
    const uint32_t at = random.Below(5);
    const bool usable = !random.OneIn(3);
    levels.SetUsable(at, usable);
    balancer.SetUsable(at, usable);
    const uint64_t hash = random.Next();
    const uint32_t picked = levels.Pick({.hash = hash, .now_ns = i});
    ASSERT_EQ(picked, balancer.Pick({.hash = hash, .now_ns = i}));
    if (picked == Levels::kNone) continue;
    levels.Acquire(picked);
    balancer.Acquire(picked);
  }
}

// A bound on load is that of the level: what other levels have in flight makes no room in it.
TEST(LevelsOf, ABoundIsOfItsLevel) {
  struct Board {
    uint32_t active[6] = {0, 0, 0, 500, 500, 500};
  } board;
  UpstreamSettings settings =
      UpstreamOf({"", Balance::kMaglev, 125},
                 {0, EndpointSettings::kBackup, 0, EndpointSettings::kBackup, 0, EndpointSettings::kBackup});
  Levels levels = Make(settings, 0);
  // Endpoints 0, 2 and 4 are the first level, 1, 3 and 5 the backups.
  const Loads loads{.at =
                        [](const void* of, uint32_t endpoint) noexcept {
                          return static_cast<const Board*>(of)->active[endpoint % 2 * 3 + endpoint / 2];
                        },
                    .total =
                        [](const void* of, uint32_t level) noexcept {
                          const uint32_t* const first =
                              static_cast<const Board*>(of)->active + (level == 0 ? 0 : 3);
                          return uint64_t{first[0]} + first[1] + first[2];
                        },
                    .source = &board};
  for (uint32_t total = 0; total < 90; ++total) {
    const uint32_t endpoint = levels.Pick({.hash = 77, .loads = &loads});
    ASSERT_EQ(endpoint % 2, 0u);
    EXPECT_LE(++board.active[endpoint / 2], (125 * (total + 1) + 299) / 300);
  }
  // And the other way round, where the backups serve.
  for (const uint32_t endpoint : {0u, 2u, 4u}) levels.SetUsable(endpoint, false);
  board = {{500, 500, 500, 0, 0, 0}};
  for (uint32_t total = 0; total < 90; ++total) {
    const uint32_t endpoint = levels.Pick({.hash = 77, .loads = &loads});
    ASSERT_EQ(endpoint % 2, 1u);
    EXPECT_LE(++board.active[3 + endpoint / 2], (125 * (total + 1) + 299) / 300);
  }
}

// Each level has its own table: keys do not move there when another level changes.
TEST(LevelsOf, TablesAreTakenOverLevelByLevel) {
  const UpstreamSettings before = UpstreamOf({"", Balance::kMaglev}, {0, 0, 1, 1, EndpointSettings::kBackup});
  const LevelLayout layout_before(before);
  const Levels::Tables tables = Levels::MakeTables(before, layout_before, nullptr, nullptr, {});
  ASSERT_EQ(tables.size(), 3u);
  UpstreamSettings after = before;
  after.endpoints[2].level = 0;  // to the first level
  const LevelLayout layout(after);
  const Levels::Tables then = Levels::MakeTables(after, layout, &before, &layout_before, tables);
  ASSERT_EQ(then.size(), 3u);
  EXPECT_NE(then[0], tables[0]);
  EXPECT_EQ(then[0]->size(), 3u);
  EXPECT_NE(then[1], tables[1]);
  EXPECT_EQ(then[2], tables[2]);
  after = before;
  for (EndpointSettings& endpoint : after.endpoints) endpoint.level += endpoint.level == 1;  // 2 instead of 1
  EXPECT_EQ(Levels::MakeTables(after, LevelLayout(after), &before, &layout_before, tables), tables);
}

}  // namespace
}  // namespace weir::lb
