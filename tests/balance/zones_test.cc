// Zone preference: who gets requests as the own zone's endpoints go and come, and that all decide the same.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "lb/balance/levels.h"
#include "lb/balance/zone_tally.h"
#include "tests/balance/test_balancers.h"

namespace weir::lb {
namespace {

constexpr Standing kWell{}, kDown{.well = false}, kOut{.out = true};

// One endpoint for each of `zones`: o: in Weir's, x: elsewhere. `levels`: of the same length, or all are 0.
UpstreamSettings Zoned(const TestPolicy& policy, const std::string& zones,
                       std::vector<uint32_t> levels = {}) {
  levels.resize(zones.size());
  UpstreamSettings settings = UpstreamOf(policy, levels);
  for (size_t i = 0; i < zones.size(); ++i) settings.endpoints[i].in_own_zone = zones[i] == 'o';
  return settings;
}

// How many of `picks` go to endpoints of the own zone.
uint32_t Stay(Levels& levels, const UpstreamSettings& settings, uint32_t picks) {
  uint32_t stay = 0;
  for (uint32_t i = 0; i < picks; ++i) {
    const uint32_t endpoint = levels.Pick({.hash = i * 0x9e3779b97f4a7c15u, .now_ns = i});
    EXPECT_LT(endpoint, settings.endpoints.size());
    stay += settings.endpoints[endpoint].in_own_zone;
  }
  return stay;
}

// Within five standard deviations of a chance of so much each.
void ExpectShare(uint32_t count, uint32_t picks, double share) {
  const double deviation = std::sqrt(picks * share * (1 - share));
  EXPECT_NEAR(count, picks * share, 5 * deviation + 0.5) << share;
}

class ZonesTest : public testing::TestWithParam<TestPolicy> {};
INSTANTIATE_TEST_SUITE_P(Policies, ZonesTest, testing::ValuesIn(kTestPolicies),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(ZonesTest, AllStayWhileFiveOfSevenAreWell) {
  constexpr uint32_t kPicks = 20'000;
  const UpstreamSettings settings = Zoned(GetParam(), "oooxoxooxo");
  const std::vector<uint32_t> own = {0, 1, 2, 4, 6, 7, 9};
  Levels levels = Make(settings, 11);
  EXPECT_EQ(Stay(levels, settings, kPicks), kPicks);
  for (uint32_t down = 1; down <= 7; ++down) {
    levels.Set(own[down - 1], down % 2 == 0 ? kDown : kOut);
    const uint32_t stay = Stay(levels, settings, kPicks);
    ExpectShare(stay, kPicks, std::min(1.0, (7 - down) * 1.4 / 7));
    EXPECT_EQ(stay == kPicks, down <= 2) << down;
    EXPECT_EQ(stay == 0, down == 7) << down;
  }
  for (const uint32_t endpoint : own) levels.Set(endpoint, kWell);
  EXPECT_EQ(Stay(levels, settings, kPicks), kPicks);
}

TEST_P(ZonesTest, WhereTheOthersAreGoneTheOwnHaveAll) {
  const UpstreamSettings settings = Zoned(GetParam(), "ooxxo");
  Levels levels = Make(settings, 12);
  levels.Set(0, kDown);
  levels.Set(1, kDown);
  for (const uint32_t endpoint : {2u, 3u}) levels.Set(endpoint, kDown);
  EXPECT_EQ(Stay(levels, settings, 500), 500u);
  levels.Set(4, kDown);
  EXPECT_EQ(levels.Pick({}), Levels::kNone);
  levels.Set(3, kWell);
  EXPECT_EQ(levels.Pick({}), 3u);
}

// What a shard sets aside changes nobody's share: the others of the zone have it, while there are any.
TEST_P(ZonesTest, SetAsideIsNotDown) {
  const UpstreamSettings settings = Zoned(GetParam(), "ooox");
  Levels levels = Make(settings, 13);
  levels.SetUsable(0, false);
  levels.SetUsable(1, false);
  EXPECT_EQ(Stay(levels, settings, 500), 500u);
  levels.SetUsable(2, false);
  EXPECT_EQ(Stay(levels, settings, 500), 0u);
}

// However endpoints come and go, over levels, with and without panic: a request meets each that may serve
// once; a retry goes first to those of the own zone that are left, then to the others, then to the next
// level.
TEST_P(ZonesTest, RetriesStayAsLongAsTheyCan) {
  Random random(77);
  uint32_t left = 0;
  for (int round = 0; round < 80; ++round) {
    std::string zones(1 + random.Below(16), 'x');
    std::vector<uint32_t> numbers(zones.size());
    for (char& zone : zones) zone = random.OneIn(2) ? 'o' : 'x';
    for (uint32_t& number : numbers) number = random.OneIn(5) ? EndpointSettings::kBackup : random.Below(2);
    UpstreamSettings settings = Zoned(GetParam(), zones, numbers);
    const auto count = static_cast<uint32_t>(zones.size());
    const Levels prototype = Make(settings, 1);
    Levels levels = prototype;
    levels.Begin(random.Next());
    std::vector<Standing> standings(count);
    const auto serves = [&](uint32_t i) {
      return standings[i].well && !standings[i].out && !standings[i].aside;
    };
    std::vector<uint32_t> running;
    for (int step = 0; step < 40; ++step) {
      const uint32_t changed = random.Below(count);
      standings[changed] = {.well = !random.OneIn(3), .out = random.OneIn(4), .aside = random.OneIn(4)};
      levels.Set(changed, standings[changed]);
      levels.SetWeightFactor(random.Below(count), 1 + random.Below(kFullFactor));
      levels.SetRemote(random.Below(count), random.Below(9));
      levels.Observe(random.Below(count), 1 + random.Below(1'000'000), step);
      std::vector<uint32_t> tried;
      const uint64_t hash = random.Next();
      for (uint32_t endpoint;
           (endpoint = levels.Pick({.tried = tried, .hash = hash, .now_ns = step})) != Levels::kNone;) {
        ASSERT_LT(endpoint, count);
        ASSERT_TRUE(serves(endpoint));
        ASSERT_EQ(std::count(tried.begin(), tried.end(), endpoint), 0);
        for (uint32_t better = 0; better < count; ++better) {
          if (!serves(better) || std::count(tried.begin(), tried.end(), better) != 0) continue;
          ASSERT_GE(numbers[better], numbers[endpoint]);
          if (numbers[better] != numbers[endpoint] || zones[better] != 'o' || zones[endpoint] == 'o')
            continue;
          ASSERT_TRUE(tried.empty()) << "a retry leaves, and " << better << " is there";
          ++left;
        }
        tried.push_back(endpoint);
        levels.Acquire(endpoint);
        running.push_back(endpoint);
      }
      uint32_t usable = 0;
      for (uint32_t i = 0; i < count; ++i) usable += serves(i);
      ASSERT_EQ(tried.size(), usable);
      while (running.size() > 10) {
        levels.Release(running.back());  // dies where it was never acquired
        running.pop_back();
      }
    }
  }
  EXPECT_GT(left, 0u);
}

// Where all are in one zone, or none in Weir's, nothing is different, wherever that is.
TEST_P(ZonesTest, OfOneZoneNothingIsDifferent) {
  for (const char* zones : {"ooooo", "xxxxx"}) {
    const UpstreamSettings settings = Zoned(GetParam(), zones);
    EXPECT_EQ(LevelLayout(settings).parts(), 1u);
    std::vector<std::string> names;
    for (const EndpointSettings& endpoint : settings.endpoints) names.push_back(endpoint.text);
    Levels levels = Make(settings, 9);
    EXPECT_FALSE(levels.has_zones());
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
}

// Panic is a level's; in it who may serve counts, so that the zone keeps what it would with all of these
// well.
TEST_P(ZonesTest, InAPanicWhoMayServeCounts) {
  constexpr uint32_t kPicks = 10'000;
  UpstreamSettings settings = Zoned(GetParam(), "oooooxxxxx");
  settings.panic_percent = 50;
  Levels levels = Make(settings, 14);
  for (const uint32_t endpoint : {0u, 1u, 2u, 3u}) levels.Set(endpoint, kDown);
  EXPECT_FALSE(levels.InPanic(0)) << "6 of 10 are well";
  ExpectShare(Stay(levels, settings, kPicks), kPicks, 1.4 / 5);
  for (const uint32_t endpoint : {5u, 6u}) levels.Set(endpoint, kDown);
  ASSERT_TRUE(levels.InPanic(0));
  EXPECT_EQ(Stay(levels, settings, kPicks), kPicks);
  levels.Set(7, kDown);
  for (const uint32_t endpoint : {0u, 1u, 2u}) levels.Set(endpoint, {.well = false, .out = true});
  ASSERT_TRUE(levels.InPanic(0)) << "3 of 7";
  ExpectShare(Stay(levels, settings, kPicks), kPicks, 2 * 1.4 / 5);
}

// Each level by itself.
TEST_P(ZonesTest, EveryLevelHasItsOwnShare) {
  constexpr uint32_t kPicks = 10'000;
  const UpstreamSettings settings =
      Zoned(GetParam(), "oxoooxx", {0, 0, 1, 1, 1, 1, EndpointSettings::kBackup});
  Levels levels = Make(settings, 15);
  EXPECT_EQ(levels.Pick({}), 0u);
  levels.Set(0, kDown);
  EXPECT_EQ(levels.Pick({}), 1u) << "elsewhere, but of the better level";
  levels.Set(1, kDown);
  for (const uint32_t endpoint : {2u, 3u}) levels.Set(endpoint, kDown);
  ExpectShare(Stay(levels, settings, kPicks), kPicks, 1.4 / 3);
  for (const uint32_t endpoint : {4u, 5u}) levels.Set(endpoint, kDown);
  EXPECT_EQ(levels.Pick({}), 6u) << "a backup elsewhere, the only one";
}

// The key decides who leaves, so that all shards and all instances of the zone lead it to the same endpoint;
// and whoever comes back has exactly his keys again.
TEST(ZonesOf, KeysLeaveByTheirHash) {
  for (const TestPolicy& policy : kTestPolicies) {
    if (!Hashes(policy.method) || policy.load_percent != 0) continue;
    const UpstreamSettings settings = Zoned(policy, "oooooooxxx");
    Levels one = Make(settings, 1), two = Make(settings, 2);
    two.Begin(99);
    std::map<uint64_t, uint32_t> home;
    constexpr uint64_t kKeys = 5'000;
    for (uint64_t key = 0; key < kKeys; ++key) home[key] = one.Pick({.hash = key});
    std::set<uint64_t> left;
    for (const uint32_t down : {0u, 1u, 2u, 3u, 4u, 5u, 6u}) {
      one.Set(down, kDown);
      two.Set(down, kDown);
      std::set<uint64_t> left_now;
      for (uint64_t key = 0; key < kKeys; ++key) {
        const uint32_t endpoint = one.Pick({.hash = key});
        ASSERT_EQ(endpoint, two.Pick({.hash = key}));
        if (endpoint >= 7) left_now.insert(key);
        // Who stays goes on where he was, as long as that is well.
        if (endpoint < 7 && home[key] > down) ASSERT_EQ(endpoint, home[key]);
      }
      EXPECT_TRUE(std::includes(left_now.begin(), left_now.end(), left.begin(), left.end()));
      left = left_now;
    }
    EXPECT_EQ(left.size(), kKeys);
    for (uint32_t up = 0; up < 7; ++up) one.Set(up, kWell);
    for (uint64_t key = 0; key < kKeys; ++key) ASSERT_EQ(one.Pick({.hash = key}), home[key]);
  }
}

// Keys that leave, and those that stay, are of all parts of the tables: none of the endpoints has more.
TEST(ZonesOf, WhoLeavesIsSpreadAsWhoStays) {
  for (const TestPolicy& policy : kTestPolicies) {
    if (!Hashes(policy.method) || policy.load_percent != 0) continue;
    const UpstreamSettings settings = Zoned(policy, "ooooxxxx");
    Levels levels = Make(settings, 1);
    for (const uint32_t down : {2u, 3u}) levels.Set(down, kDown);  // 0.7 of the requests stay
    constexpr uint32_t kKeys = 40'000;
    std::vector<uint32_t> met(8);
    for (uint32_t key = 0; key < kKeys; ++key) ++met[levels.Pick({.hash = key * 0x9e3779b97f4a7c15u})];
    for (const uint32_t endpoint : {0u, 1u}) EXPECT_NEAR(met[endpoint], kKeys * 0.35, kKeys * 0.35 * 0.15);
    for (const uint32_t endpoint : {4u, 5u, 6u, 7u})
      EXPECT_NEAR(met[endpoint], kKeys * 0.075, kKeys * 0.075 * 0.2);
  }
}

// Weights count, not heads; in a slow start so much of them as counts there.
TEST(ZonesOf, AShareIsOfTheWeight) {
  constexpr uint32_t kPicks = 20'000;
  UpstreamSettings settings = Zoned({"", Balance::kRandom}, "ooox");
  settings.endpoints[0].weight = 10;
  settings.endpoints[1].weight = 6;
  settings.endpoints[2].weight = 4;
  Levels levels = Make(settings, 21);
  levels.Set(2, kDown);
  EXPECT_EQ(Stay(levels, settings, kPicks), kPicks) << "16 of 20";
  levels.Set(0, kDown);
  ExpectShare(Stay(levels, settings, kPicks), kPicks, 6 * 1.4 / 20);
  levels.Set(0, kWell);
  levels.SetWeightFactor(0, kFullFactor / 2);
  ExpectShare(Stay(levels, settings, kPicks), kPicks, 11 * 1.4 / 20);
  levels.SetWeightFactor(0, kFullFactor);
  EXPECT_EQ(Stay(levels, settings, kPicks), kPicks);
}

// What the most and heaviest endpoints add up to fits, and is right.
TEST(ZonesOf, TheLargestUpstreamIsCountedRight) {
  UpstreamSettings settings =
      Zoned({"", Balance::kRandom}, std::string(Balancer::kMaxEndpoints - 1, 'o') + "x");
  for (EndpointSettings& endpoint : settings.endpoints) endpoint.weight = Balancer::kMaxWeight;
  const LevelLayout layout(settings);
  ZoneTally tally(settings, layout);
  const auto last = static_cast<uint32_t>(settings.endpoints.size() - 2);
  const uint32_t enough = ((last + 1) * 5 + 6) / 7;
  for (uint32_t i = 0; i <= last - enough; ++i) tally.Set(i, kDown);
  EXPECT_TRUE(tally.Stays(0, false, ~uint64_t{0}));
  tally.Set(last - enough + 1, kDown);
  EXPECT_FALSE(tally.Stays(0, false, ~uint64_t{0}));
  EXPECT_TRUE(tally.Stays(0, false, ~uint64_t{0} / 10'000 * 9'990));
  EXPECT_TRUE(tally.Stays(0, true, ~uint64_t{0})) << "in a panic all of them serve";
  for (uint32_t i = 0; i <= last; ++i) tally.Set(i, i == 0 ? kWell : kDown);
  EXPECT_TRUE(tally.Stays(0, false, 0));
  EXPECT_FALSE(tally.Stays(0, false, ~uint64_t{0} / 10'000 * 2));
}

// A bound on load is that of the part: what the other one has in flight makes no room in it.
TEST(ZonesOf, ABoundIsOfItsPart) {
  struct Board {
    uint32_t active[6] = {0, 0, 0, 500, 500, 500};
  } board;
  const UpstreamSettings settings = Zoned({"", Balance::kMaglev, 125}, "oxoxox");
  Levels levels = Make(settings, 0);
  const Loads loads{.at =
                        [](const void* of, uint32_t endpoint) noexcept {
                          return static_cast<const Board*>(of)->active[endpoint % 2 * 3 + endpoint / 2];
                        },
                    .total =
                        [](const void* of, uint32_t part) noexcept {
                          const uint32_t* const first =
                              static_cast<const Board*>(of)->active + (part == 1 ? 0 : 3);
                          return uint64_t{first[0]} + first[1] + first[2];
                        },
                    .source = &board};
  for (uint32_t total = 0; total < 90; ++total) {
    const uint32_t endpoint = levels.Pick({.hash = 77, .loads = &loads});
    ASSERT_EQ(endpoint % 2, 0u);
    EXPECT_LE(++board.active[endpoint / 2], (125 * (total + 1) + 299) / 300);
  }
  for (const uint32_t endpoint : {0u, 2u, 4u}) levels.SetUsable(endpoint, false);
  board = {{500, 500, 500, 0, 0, 0}};
  for (uint32_t total = 0; total < 90; ++total) {
    const uint32_t endpoint = levels.Pick({.hash = 77, .loads = &loads});
    ASSERT_EQ(endpoint % 2, 1u);
    EXPECT_LE(++board.active[3 + endpoint / 2], (125 * (total + 1) + 299) / 300);
  }
}

// Each part has a table of its own: keys of one do not move when the other changes.
TEST(ZonesOf, TablesAreTakenOverPartByPart) {
  const UpstreamSettings before = Zoned({"", Balance::kMaglev}, "ooxxo");
  const LevelLayout layout_before(before);
  const Levels::Tables tables = Levels::MakeTables(before, layout_before, nullptr, nullptr, {});
  ASSERT_EQ(tables.size(), 2u);
  EXPECT_EQ(tables[0]->size(), 3u);
  UpstreamSettings after = before;
  after.endpoints.pop_back();
  const Levels::Tables then = Levels::MakeTables(after, LevelLayout(after), &before, &layout_before, tables);
  EXPECT_NE(then[0], tables[0]);
  EXPECT_EQ(then[1], tables[1]);
}

}  // namespace
}  // namespace weir::lb
