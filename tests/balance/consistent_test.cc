#include "lb/balance/consistent.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <numeric>

#include "gtest/gtest.h"
#include "tests/balance/test_balancers.h"

namespace weir::lb {
namespace {

using Weights = std::vector<uint32_t>;
constexpr TestPolicy kMaglev = {"maglev", Balancer::Method::kMaglev};
constexpr TestPolicy kRing = {"ring_hash", Balancer::Method::kRingHash};

uint64_t Key(uint64_t i) { return i * 0x9e3779b97f4a7c15u; }

// One list of endpoints in two orders, in the same states.
struct Nodes {
  Nodes(const TestPolicy& policy, const Weights& weights, uint64_t seed)
      : names(TestNames(static_cast<uint32_t>(weights.size()))) {
    order.resize(weights.size());
    std::iota(order.begin(), order.end(), 0u);
    Random random(seed);
    for (size_t i = order.size(); i > 1; --i)
      std::swap(order[i - 1], order[random.Below(static_cast<uint32_t>(i))]);
    Weights other_weights;
    std::vector<std::string> other_names;
    for (const uint32_t i : order) {
      other_weights.push_back(weights[i]);
      other_names.push_back(names[i]);
    }
    balancers.push_back(MakeTestBalancer(policy, weights, 1, names));
    balancers.push_back(MakeTestBalancer(policy, other_weights, 2, other_names));
  }
  uint32_t Other(uint32_t endpoint) const {
    return static_cast<uint32_t>(std::find(order.begin(), order.end(), endpoint) - order.begin());
  }
  void SetUsable(uint32_t endpoint, bool usable) {
    balancers[0].SetUsable(endpoint, usable);
    balancers[1].SetUsable(Other(endpoint), usable);
  }
  void SetWeightFactor(uint32_t endpoint, uint32_t factor) {
    balancers[0].SetWeightFactor(endpoint, factor);
    balancers[1].SetWeightFactor(Other(endpoint), factor);
  }
  // Where both agree.
  uint32_t Pick(uint64_t hash, uint32_t tried = Balancer::kNone) {
    const uint32_t one = balancers[0].Pick({.tried = {&tried, 1}, .hash = hash});
    const uint32_t other_tried = tried == Balancer::kNone ? tried : Other(tried);
    const uint32_t two = balancers[1].Pick({.tried = {&other_tried, 1}, .hash = hash});
    EXPECT_EQ(one, two == Balancer::kNone ? two : order[two]) << hash;
    return one;
  }

  std::vector<std::string> names;
  std::vector<uint32_t> order;  // of the second: index there → index in the first
  std::vector<Balancer> balancers;
};

TEST(Consistent, AllNodesAgreeWhateverTheOrderAndTheStates) {
  for (const TestPolicy& policy : {kMaglev, kRing}) {
    // From everybody usable to hardly anybody.
    for (const uint32_t one_in : {1u, 2u, 10u, 200u}) {
      Weights weights(300);
      for (uint32_t i = 0; i < 300; ++i) weights[i] = 1 + i % 4;
      Nodes nodes(policy, weights, 3);
      Random random(4);
      for (uint32_t i = 0; i < 300; ++i) {
        nodes.SetUsable(i, i == 77 || random.OneIn(one_in));
        if (random.OneIn(10)) nodes.SetWeightFactor(i, random.Below(kFullFactor));
      }
      for (uint64_t i = 0; i < 3'000; ++i) {
        const uint32_t first = nodes.Pick(Key(i));
        ASSERT_NE(first, Balancer::kNone);
        nodes.Pick(Key(i), first);
      }
    }
  }
}

TEST(Consistent, WhoIsDownLosesItsOwnKeysOnlyAndGetsThemBack) {
  for (const TestPolicy& policy : {kMaglev, kRing}) {
    Balancer balancer = MakeTestBalancer(policy, Weights(50, 3), 1);
    std::vector<uint32_t> before;
    for (uint64_t i = 0; i < 20'000; ++i) before.push_back(balancer.Pick({.hash = Key(i)}));
    balancer.SetUsable(7, false);
    std::map<uint32_t, int> heirs;
    for (uint64_t i = 0; i < 20'000; ++i) {
      const uint32_t now = balancer.Pick({.hash = Key(i)});
      ASSERT_NE(now, 7u);
      if (before[i] == 7) {
        ++heirs[now];
      } else {
        ASSERT_EQ(now, before[i]);
      }
    }
    EXPECT_GE(heirs.size(), 30u);  // not one neighbour
    balancer.SetUsable(7, true);
    for (uint64_t i = 0; i < 20'000; ++i) ASSERT_EQ(balancer.Pick({.hash = Key(i)}), before[i]);
  }
}

TEST(Consistent, TriedIsAsGoodAsDown) {
  for (const TestPolicy& policy : {kMaglev, kRing}) {
    Balancer balancer = MakeTestBalancer(policy, Weights(10, 1), 1);
    Balancer other = balancer;
    other.SetUsable(3, false);
    const uint32_t tried[] = {3};
    for (uint64_t i = 0; i < 2'000; ++i)
      ASSERT_EQ(balancer.Pick({.tried = tried, .hash = Key(i)}), other.Pick({.hash = Key(i)}));
  }
}

TEST(Consistent, TheFewThatAreLeftShareByWeight) {
  for (const TestPolicy& policy : {kMaglev, kRing}) {
    Weights weights(3'000, 1);
    weights[10] = 1;
    weights[2'000] = 2;
    weights[2'500] = 5;
    Balancer balancer = MakeTestBalancer(policy, weights, 1);
    for (uint32_t i = 0; i < 3'000; ++i) balancer.SetUsable(i, i == 10 || i == 2'000 || i == 2'500);
    std::map<uint32_t, double> keys;
    for (uint64_t i = 0; i < 80'000; ++i) ++keys[balancer.Pick({.hash = Key(i)})];
    EXPECT_EQ(keys.size(), 3u);
    EXPECT_NEAR(keys[10], 10'000, 800);
    EXPECT_NEAR(keys[2'000], 20'000, 1'000);
    EXPECT_NEAR(keys[2'500], 50'000, 1'500);
    // And only its own keys move when one more of them goes.
    Balancer fewer = balancer;
    fewer.SetUsable(2'000, false);
    for (uint64_t i = 0; i < 5'000; ++i) {
      const uint32_t was = balancer.Pick({.hash = Key(i)});
      if (was != 2'000) ASSERT_EQ(fewer.Pick({.hash = Key(i)}), was);
    }
  }
}

TEST(Consistent, AStartTakesMoreAndMoreOfItsOwnKeys) {
  for (const TestPolicy& policy : {kMaglev, kRing}) {
    Balancer balancer = MakeTestBalancer(policy, Weights(10, 5), 1);
    std::vector<uint32_t> home;
    for (uint64_t i = 0; i < 20'000; ++i) home.push_back(balancer.Pick({.hash = Key(i)}));
    const double own = static_cast<double>(std::count(home.begin(), home.end(), 4u));
    std::vector<bool> had(home.size());
    for (const uint32_t factor : {1u, 100u, 512u, 1'000u, 1'024u}) {
      balancer.SetWeightFactor(4, factor);
      double now_has = 0;
      for (uint64_t i = 0; i < home.size(); ++i) {
        const bool has = balancer.Pick({.hash = Key(i)}) == 4;
        ASSERT_TRUE(has || !had[i]);        // none is lost again
        ASSERT_TRUE(!has || home[i] == 4);  // none is a stranger
        had[i] = has;
        now_has += has;
      }
      EXPECT_NEAR(now_has / own, factor / 1'024.0, 0.05);
    }
  }
}

TEST(Consistent, HashesThatAllLieCloseTogetherAreSpread) {
  // As behind a split that gives this upstream one part in a thousand of the numbers.
  for (const TestPolicy& policy : {kMaglev, kRing}) {
    Balancer balancer = MakeTestBalancer(policy, Weights(10, 20), 1);
    std::vector<int> keys(10);
    for (uint64_t i = 0; i < 20'000; ++i) ++keys[balancer.Pick({.hash = i << 32})];
    EXPECT_GT(*std::min_element(keys.begin(), keys.end()), 1'600);
    EXPECT_LT(*std::max_element(keys.begin(), keys.end()), 2'400);
  }
}

// How many requests one may have, with one more in all.
uint64_t Bound(uint32_t percent, uint64_t total, uint64_t weight, uint64_t weights) {
  const uint64_t above = percent * (total + 1) * weight;
  const uint64_t below = 100 * weights;
  return (above + below - 1) / below;
}

TEST(BoundedLoad, NobodyIsEverAboveTheFactor) {
  Random random(9);
  int displaced = 0;
  for (int round = 0; round < 40; ++round) {
    const uint32_t percents[] = {101, 110, 125, 200, 1'000};
    const uint32_t percent = percents[round % 5];
    const uint32_t endpoints = 2 + random.Below(200);
    Weights weights(endpoints);
    for (uint32_t& weight : weights) weight = round % 2 == 0 ? 1 : 1 + random.Below(9);
    const auto method = round % 4 < 2 ? Balancer::Method::kMaglev : Balancer::Method::kRingHash;
    Balancer balancer = MakeTestBalancer({"", method, percent}, weights, 1);
    Balancer unbounded = MakeTestBalancer({"", method}, weights, 1);
    std::vector<uint64_t> in_flight(endpoints);
    std::vector<bool> usable(endpoints, true);
    std::vector<uint32_t> running;
    for (int step = 0; step < 3'000; ++step) {
      if (random.OneIn(50)) {
        const uint32_t i = random.Below(endpoints);
        usable[i] = !usable[i];
        balancer.SetUsable(i, usable[i]);
        unbounded.SetUsable(i, usable[i]);
      }
      if (!running.empty() && random.Below(5) < 2) {
        std::swap(running[random.Below(static_cast<uint32_t>(running.size()))], running.back());
        balancer.Release(running.back());
        --in_flight[running.back()];
        running.pop_back();
        continue;
      }
      // A few keys are everything: without a bound a few endpoints had all requests.
      const uint64_t hash = Key(random.Below(3));
      const uint32_t endpoint = balancer.Pick({.hash = hash});
      uint64_t total = 0, sum = 0;
      for (uint32_t i = 0; i < endpoints; ++i) {
        total += usable[i] ? in_flight[i] : 0;
        sum += usable[i] ? weights[i] : 0;
      }
      ASSERT_EQ(endpoint == Balancer::kNone, sum == 0);
      if (sum == 0) continue;
      ASSERT_LE(in_flight[endpoint] + 1, Bound(percent, total, weights[endpoint], sum))
          << percent << " % of " << total << ", " << endpoints << " endpoints, step " << step;
      displaced += endpoint != unbounded.Pick({.hash = hash});
      balancer.Acquire(endpoint);
      ++in_flight[endpoint];
      running.push_back(endpoint);
    }
  }
  EXPECT_GT(displaced, 10'000);
}

TEST(BoundedLoad, KeysStayWhereTheyAreWhileThereIsRoom) {
  Balancer free = MakeTestBalancer(kMaglev, Weights(10, 1), 1);
  Balancer bounded = MakeTestBalancer({"", Balancer::Method::kMaglev, 200}, Weights(10, 1), 1);
  Random random(1);
  std::deque<uint32_t> running;
  int same = 0;
  for (int i = 0; i < 20'000; ++i) {
    const uint64_t hash = random.Next();
    const uint32_t endpoint = bounded.Pick({.hash = hash});
    same += endpoint == free.Pick({.hash = hash});
    bounded.Acquire(endpoint);
    running.push_back(endpoint);
    if (running.size() <= 200) continue;
    bounded.Release(running.front());
    running.pop_front();
  }
  EXPECT_GT(same, 19'900);
}

// What all shards have in flight, as each can read it.
struct Board {
  std::vector<uint32_t> in_flight;
  Loads loads() const {
    return {[](const void* board, uint32_t endpoint) noexcept {
              return static_cast<const Board*>(board)->in_flight[endpoint];
            },
            [](const void* board, uint32_t) noexcept {
              uint64_t total = 0;
              for (const uint32_t count : static_cast<const Board*>(board)->in_flight) total += count;
              return total;
            },
            this};
  }
};

TEST(BoundedLoad, ShardsThatLookAtTheSameMomentExceedItByOneEachAtMost) {
  constexpr uint32_t kShards = 4, kEndpoints = 20, kPercent = 110;
  std::vector<Balancer> shards;
  for (uint32_t i = 0; i < kShards; ++i)
    shards.push_back(MakeTestBalancer({"", Balancer::Method::kMaglev, kPercent}, Weights(kEndpoints, 1), i));
  Board board{std::vector<uint32_t>(kEndpoints)};
  const Loads loads = board.loads();
  std::deque<uint32_t> running;
  Random random(3);
  for (int turn = 0; turn < 5'000; ++turn) {
    const uint64_t bound = Bound(kPercent, loads.Total(), 1, kEndpoints);
    uint32_t picked[kShards];
    const uint64_t hash = Key(random.Below(4));
    for (uint32_t i = 0; i < kShards; ++i) picked[i] = shards[i].Pick({.hash = hash, .loads = &loads});
    for (const uint32_t endpoint : picked) {
      // With the one load to go by, each alone is within the bound.
      ASSERT_LE(board.in_flight[endpoint] + 1, bound + kShards - 1);
      ++board.in_flight[endpoint];
      running.push_back(endpoint);
    }
    while (running.size() > 300) {
      --board.in_flight[running.front()];
      running.pop_front();
    }
  }
}

TEST(BoundedLoad, OtherShardsCountAsTheyWereToldOf) {
  Balancer balancer = MakeTestBalancer({"", Balancer::Method::kMaglev, 125}, Weights(4, 1), 1);
  const uint32_t home = balancer.Pick({.hash = 1});
  balancer.SetRemote(home, 10);
  EXPECT_NE(balancer.Pick({.hash = 1}), home);
  balancer.SetRemote(home, 0);
  EXPECT_EQ(balancer.Pick({.hash = 1}), home);
  // In the total as well: with this much everywhere, a little more there is within the bound.
  for (uint32_t i = 0; i < 4; ++i) balancer.SetRemote(i, i == home ? 100 : 90);
  EXPECT_EQ(balancer.Pick({.hash = 1}), home);
}

TEST(BoundedLoad, WithoutRoomAnywhereTheLeastLoadedIsTaken) {
  Balancer balancer = MakeTestBalancer({"", Balancer::Method::kMaglev, 125}, {1, 1, 4, 1}, 1);
  // All room is at 3, which was tried.
  for (int i = 0; i < 50; ++i) balancer.Acquire(0);
  for (int i = 0; i < 40; ++i) balancer.Acquire(1);
  for (int i = 0; i < 130; ++i) balancer.Acquire(2);
  const uint32_t tried[] = {3};
  for (uint64_t i = 0; i < 100; ++i) EXPECT_EQ(balancer.Pick({.tried = tried, .hash = Key(i)}), 2u);
  // Counts that contradict each other end as well.
  struct Wrong {
    static uint32_t At(const void*, uint32_t endpoint) noexcept { return endpoint == 1 ? 999 : 1'000; }
    static uint64_t Total(const void*, uint32_t) noexcept { return 0; }
  };
  const Loads wrong = {.at = Wrong::At, .total = Wrong::Total};
  Balancer equal = MakeTestBalancer({"", Balancer::Method::kMaglev, 125}, {1, 1, 1}, 1);
  for (uint64_t i = 0; i < 100; ++i) EXPECT_EQ(equal.Pick({.hash = Key(i), .loads = &wrong}), 1u);
}

}  // namespace
}  // namespace weir::lb
