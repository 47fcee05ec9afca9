// Subsets of an upstream: each chooses as if there were no other endpoints, and knows what all know.
#include "lb/balance/choices.h"

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/balance/test_balancers.h"

namespace weir::lb {
namespace {

// The upstream that a subset looks like.
struct Alone {
  Alone(const UpstreamSettings& settings, uint32_t number, uint64_t seed) {
    UpstreamSettings own = settings;
    own.endpoints.clear();
    for (uint32_t i = 0; i < settings.endpoints.size(); ++i) {
      index.push_back(static_cast<uint32_t>(own.endpoints.size()));
      if (!settings.IsIn(number, settings.endpoints[i])) continue;
      members.push_back(i);
      own.endpoints.push_back(settings.endpoints[i]);
    }
    if (members.empty()) return;
    levels.emplace(Make(own, 0));
    levels->Begin(seed);
  }

  std::optional<Levels> levels;
  std::vector<uint32_t> members;
  std::vector<uint32_t> index;  // by endpoint: where it is among the members, if it is there
};

class ChoicesTest : public testing::TestWithParam<TestPolicy> {};
INSTANTIATE_TEST_SUITE_P(Policies, ChoicesTest, testing::ValuesIn(kTestPolicies),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(ChoicesTest, EachAsIfThereWereNoOthers) {
  Random random(11);
  uint32_t panics = 0;
  uint32_t empty = 0;
  for (int round = 0; round < 40; ++round) {
    std::vector<uint32_t> at_levels(1 + random.Below(12));
    for (uint32_t& level : at_levels) level = random.OneIn(3) ? random.Below(2) : 0;
    UpstreamSettings settings = UpstreamOf(GetParam(), at_levels);
    settings.panic_percent = round % 3 == 0 ? 50 : 0;
    settings.subsets = {
        {{"version", "v1"}}, {{"version", "v2"}}, {{"size", "big"}}, {{"size", "big"}, {"version", "v2"}}};
    const auto count = static_cast<uint32_t>(at_levels.size());
    for (EndpointSettings& endpoint : settings.endpoints) {
      if (!random.OneIn(4)) endpoint.labels["version"] = random.OneIn(2) ? "v1" : "v2";
      if (random.OneIn(2)) endpoint.labels["size"] = random.OneIn(2) ? "big" : "small";
      endpoint.labels["other"] = "x";
      endpoint.in_own_zone = round % 2 == 0 && random.OneIn(3);
    }
    const Subsets subsets(settings, nullptr, nullptr);
    const uint64_t seed = random.Next();
    Levels all = Make(settings, 0);
    all.Begin(seed);
    Choices choices(std::move(all), subsets, seed);
    std::vector<Alone> alone;
    for (uint32_t number = 0; number <= subsets.count(); ++number) alone.emplace_back(settings, number, seed);
    const auto tell = [&](uint32_t endpoint, auto call) {
      call(choices, endpoint);
      for (uint32_t number = 0; number < alone.size(); ++number) {
        if (subsets.Has(number, endpoint)) call(*alone[number].levels, alone[number].index[endpoint]);
      }
    };
    std::vector<uint32_t> running;
    for (int step = 0; step < 100; ++step) {
      const uint32_t at = random.Below(count);
      const Standing standing = {.well = !random.OneIn(3), .out = random.OneIn(9), .aside = random.OneIn(9)};
      tell(at, [&](auto& to, uint32_t i) { to.Set(i, standing); });
      const uint32_t factor = random.OneIn(2) ? kFullFactor : 1 + random.Below(kFullFactor);
      tell(random.Below(count), [&](auto& to, uint32_t i) { to.SetWeightFactor(i, factor); });
      const uint32_t remote = random.Below(9);
      tell(random.Below(count), [&](auto& to, uint32_t i) { to.SetRemote(i, remote); });
      const int64_t took_ns = 1 + random.Below(1'000'000);
      tell(random.Below(count), [&](auto& to, uint32_t i) { to.Observe(i, took_ns, step); });
      for (uint32_t number = 0; number < alone.size(); ++number) {
        const Alone& own = alone[number];
        Levels* const levels = choices.Among(number);
        ASSERT_EQ(levels == nullptr, own.members.empty());
        empty += levels == nullptr;
        if (levels == nullptr) continue;
        std::vector<uint32_t> tried;
        std::vector<uint32_t> tried_alone;
        const uint64_t hash = random.Next();
        for (uint32_t attempt = 0; attempt < 3; ++attempt) {
          const uint32_t picked = levels->Pick({.tried = tried, .hash = hash, .now_ns = step});
          const uint32_t expected =
              alone[number].levels->Pick({.tried = tried_alone, .hash = hash, .now_ns = step});
          ASSERT_EQ(picked, expected == Levels::kNone ? Levels::kNone : own.members[expected])
              << round << " " << step << " " << number;
          if (picked == Levels::kNone) break;
          tried.push_back(picked);
          tried_alone.push_back(expected);
          tell(picked, [&](auto& to, uint32_t i) { to.Acquire(i); });
          running.push_back(picked);
        }
        bool in_panic = false;
        for (uint32_t other = 0; other < alone.size(); ++other)
          in_panic |= subsets.Has(other, at) && alone[other].levels->InPanic(alone[other].index[at]);
        ASSERT_EQ(choices.InPanic(at), in_panic);
        panics += in_panic;
      }
      while (running.size() > 20) {
        tell(running.front(), [&](auto& to, uint32_t i) { to.Release(i); });
        running.erase(running.begin());
      }
    }
  }
  EXPECT_GT(panics, 100u);
  EXPECT_GT(empty, 100u);
}

TEST(Subsets, OfEndpoints) {
  UpstreamSettings settings = UpstreamOf(kTestPolicies[0], {0, 0, 1});
  settings.endpoints[0].labels = {{"version", "v1"}};
  settings.endpoints[2].labels = {{"version", "v2"}, {"size", "big"}};
  settings.subsets = {{{"version", "v2"}}, {{"version", "v3"}}, {{"size", "big"}, {"version", "v2"}}};
  const Subsets subsets(settings, nullptr, nullptr);
  EXPECT_EQ(subsets.count(), 3u);
  EXPECT_EQ(subsets.of(0), 0u);
  EXPECT_EQ(subsets.of(1), 0u);
  EXPECT_EQ(subsets.of(2), 0b101u);
  EXPECT_TRUE(subsets.Has(0, 1)) << "all";
  EXPECT_FALSE(subsets.Has(1, 1));
  EXPECT_EQ(subsets.layout(2), nullptr);
  EXPECT_FALSE(subsets.levels(2).has_value());
  EXPECT_EQ(subsets.layout(1)->place(1).level, LevelLayout::kNowhere);
  EXPECT_EQ(subsets.layout(1)->number(0), 1u) << "its level keeps its number";
  EXPECT_EQ(Subsets().count(), 0u);
  EXPECT_EQ(Subsets().of(7), 0u);
}

TEST(Subsets, TablesAreMadeAnewOnlyWhereTheyChange) {
  UpstreamSettings settings = UpstreamOf({"maglev", Balance::kMaglev}, {0, 0, 0});
  settings.endpoints[0].labels = settings.endpoints[1].labels = {{"version", "v1"}};
  settings.endpoints[2].labels = {{"version", "v2"}};
  settings.subsets = {{{"version", "v1"}}, {{"version", "v2"}}};
  const Subsets before(settings, nullptr, nullptr);
  UpstreamSettings changed = settings;
  std::swap(changed.subsets[0], changed.subsets[1]);
  const Subsets swapped(changed, &before, &settings);
  EXPECT_EQ(swapped.tables(1), before.tables(2));
  EXPECT_EQ(swapped.tables(2), before.tables(1));
  changed.endpoints[0].labels = {{"version", "v2"}};
  const Subsets moved(changed, &before, &settings);
  EXPECT_NE(moved.tables(1), before.tables(2));
  EXPECT_NE(moved.tables(2), before.tables(1));
}

}  // namespace
}  // namespace weir::lb
