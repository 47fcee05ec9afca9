// What every policy keeps.
#include <algorithm>
#include <deque>

#include "gtest/gtest.h"
#include "tests/balance/test_balancers.h"

namespace weir::lb {
namespace {

using Weights = std::vector<uint32_t>;

class Contract : public testing::TestWithParam<TestPolicy> {
 protected:
  Balancer Make(const Weights& weights, uint64_t seed) { return MakeTestBalancer(GetParam(), weights, seed); }
  bool ByHash() const {
    return GetParam().method == Balancer::Method::kMaglev || GetParam().method == Balancer::Method::kRingHash;
  }
};
INSTANTIATE_TEST_SUITE_P(Policies, Contract, testing::ValuesIn(kTestPolicies),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(Contract, OneEndpoint) {
  Balancer balancer = Make({3}, 12'345);
  for (uint64_t hash = 0; hash < 5; ++hash) EXPECT_EQ(balancer.Pick({.hash = hash}), 0u);
  const uint32_t tried[] = {0};
  EXPECT_EQ(balancer.Pick({.tried = tried}), Balancer::kNone);
  balancer.SetUsable(0, false);
  balancer.SetUsable(0, false);
  EXPECT_EQ(balancer.Pick({}), Balancer::kNone);
  balancer.SetUsable(0, true);
  balancer.SetUsable(0, true);
  EXPECT_EQ(balancer.Pick({}), 0u);
  // However much is in flight.
  for (int i = 0; i < 1'000; ++i) balancer.Acquire(0);
  balancer.SetRemote(0, 1'000'000);
  EXPECT_EQ(balancer.Pick({}), 0u);
}

// Whatever the state: each usable endpoint is met once, nobody else, and then nobody.
TEST_P(Contract, RetriesVisitEveryUsableEndpointOnce) {
  Random random(12);
  for (int round = 0; round < (ByHash() ? 40 : 300); ++round) {
    Weights weights(1 + random.Below(30));
    for (uint32_t& weight : weights) weight = random.OneIn(3) ? 1 + random.Below(1'000) : 1;
    Balancer balancer = Make(weights, random.Next());
    std::vector<bool> usable(weights.size(), true);
    const int64_t now_ns = 1'000'000'000;
    for (uint32_t change = 0; change < 3 * weights.size(); ++change) {
      const uint32_t i = random.Below(static_cast<uint32_t>(weights.size()));
      switch (random.Below(5)) {
        case 0:
          usable[i] = !usable[i];
          balancer.SetUsable(i, usable[i]);
          break;
        case 1:
          balancer.SetWeightFactor(i, random.Below(1'100));
          break;
        case 2:
          balancer.SetRemote(i, random.Below(50));
          break;
        case 3:
          for (uint32_t times = random.Below(20); times > 0; --times) balancer.Acquire(i);
          break;
        default:
          balancer.Observe(i, random.Below(1'000'000'000), now_ns);
      }
    }
    std::vector<uint32_t> tried;
    const uint64_t hash = random.Next();
    for (uint32_t endpoint;
         (endpoint = balancer.Pick({.tried = tried, .hash = hash, .now_ns = now_ns})) != Balancer::kNone;) {
      ASSERT_LT(endpoint, weights.size());
      ASSERT_TRUE(usable[endpoint]);
      ASSERT_EQ(std::count(tried.begin(), tried.end(), endpoint), 0);
      tried.push_back(endpoint);
    }
    ASSERT_EQ(static_cast<long>(tried.size()), std::count(usable.begin(), usable.end(), true));
    // What was tried counts in this request only.
    EXPECT_EQ(balancer.Pick({.hash = hash}) != Balancer::kNone, !tried.empty());
  }
}

TEST_P(Contract, TheLastOfTenThousandIsFound) {
  Balancer balancer = Make(Weights(10'000, 7), 99);
  for (uint32_t i = 0; i < 10'000; ++i) balancer.SetUsable(i, i == 4'321);
  for (uint64_t i = 0; i < 100; ++i) ASSERT_EQ(balancer.Pick({.hash = i * 0x9e3779b97f4a7c15u}), 4'321u);
  balancer.SetUsable(4'321, false);
  ASSERT_EQ(balancer.Pick({}), Balancer::kNone);
}

// How often each is chosen, with `in_flight` requests under way all the time.
std::vector<double> Chosen(Balancer& balancer, uint32_t endpoints, int picks, size_t in_flight) {
  std::vector<double> chosen(endpoints);
  std::deque<uint32_t> running;
  Random random(77);
  for (int i = 0; i < picks; ++i) {
    const uint32_t endpoint = balancer.Pick({.hash = random.Next()});
    if (endpoint == Balancer::kNone) return {};
    ++chosen[endpoint];
    balancer.Acquire(endpoint);
    running.push_back(endpoint);
    if (running.size() < in_flight) continue;
    balancer.Release(running.front());
    running.pop_front();
  }
  for (const uint32_t endpoint : running) balancer.Release(endpoint);
  return chosen;
}

TEST_P(Contract, ASlowStartGetsItsPartAndAllOfItOnceItIsOver) {
  if (GetParam().most_in_flight != 0) GTEST_SKIP() << "whoever is over the limit of the first";
  Balancer balancer = Make(Weights(4, 1'000), 3);
  balancer.SetWeightFactor(0, kFullFactor / 4);
  const bool first = GetParam().method == Balancer::Method::kFirst;
  // Three and a quarter endpoints share; where keys or the list decide, it gets a quarter of what was its
  // own.
  const double part = first ? 0.25 : ByHash() ? 0.25 / 4 : 0.25 / 3.25;
  std::vector<double> chosen = Chosen(balancer, 4, 20'000, 400);
  ASSERT_FALSE(chosen.empty());
  EXPECT_NEAR(chosen[0] / 20'000, part, part * 0.15);
  balancer.SetWeightFactor(0, kFullFactor);
  chosen = Chosen(balancer, 4, 20'000, 400);
  EXPECT_NEAR(chosen[0] / 20'000, first ? 1 : 0.25, 0.25 * 0.15);
}

TEST_P(Contract, WhenAllStartTogetherAllAreUsed) {
  if (GetParam().method == Balancer::Method::kFirst) GTEST_SKIP() << "the first stays the first";
  const uint32_t endpoints = 40;
  Balancer balancer = Make(Weights(endpoints, 1'000), 3);
  for (uint32_t i = 0; i < endpoints; ++i) balancer.SetWeightFactor(i, 0);
  const std::vector<double> chosen = Chosen(balancer, endpoints, 40'000, 400);
  ASSERT_FALSE(chosen.empty());
  for (uint32_t i = 0; i < endpoints; ++i) EXPECT_NEAR(chosen[i], 1'000, 150) << i;
}

TEST_P(Contract, AFactorSurvivesBeingSetAside) {
  if (GetParam().method == Balancer::Method::kFirst) GTEST_SKIP() << "the first stays the first";
  Balancer balancer = Make(Weights(4, 10), 3);
  balancer.SetUsable(0, false);
  balancer.SetWeightFactor(0, kFullFactor / 10);
  EXPECT_EQ(Chosen(balancer, 4, 4'000, 100)[0], 0);
  balancer.SetUsable(0, true);
  const std::vector<double> chosen = Chosen(balancer, 4, 20'000, 400);
  EXPECT_GT(chosen[0], 0);
  EXPECT_LT(chosen[0], 20'000 * 0.05);
}

TEST_P(Contract, ShardsBeginElsewhereUnlessHashingDecides) {
  if (GetParam().method == Balancer::Method::kFirst) GTEST_SKIP();
  std::vector<uint32_t> seen;
  const Balancer built = Make(Weights(1'000, 1), 1);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Balancer copy = built;
    copy.Begin(seed * 0x9e3779b97f4a7c15u);
    seen.push_back(copy.Pick({.hash = 5}));
  }
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  if (ByHash()) {
    EXPECT_EQ(seen.size(), 1u);
  } else {
    EXPECT_GE(seen.size(), 15u);
  }
}

TEST_P(Contract, ACopyHasAStateOfItsOwn) {
  Balancer one = Make(Weights(5, 2), 1);
  Balancer two = one;
  for (uint32_t i = 0; i < 5; ++i) one.SetUsable(i, false);
  EXPECT_EQ(one.Pick({}), Balancer::kNone);
  EXPECT_NE(two.Pick({}), Balancer::kNone);
}

TEST_P(Contract, BuildRefusesWhatConfigurationMustNotLetThrough) {
  EXPECT_DEATH(Make({}, 0), "expected");
  EXPECT_DEATH(Make({0}, 0), "expected");
  EXPECT_DEATH(Make({1'001}, 0), "expected");
}

}  // namespace
}  // namespace weir::lb
