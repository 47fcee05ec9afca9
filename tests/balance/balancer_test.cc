#include "lb/balance/balancer.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "core/random.h"
#include "gtest/gtest.h"

namespace weir::lb {
namespace {

using Weights = std::vector<uint32_t>;

constexpr Balance kBoth[] = {Balance::kRoundRobin, Balance::kLeastConn};

// Picks in a row, nothing in flight.
std::string Letters(Balancer& balancer, int picks, std::vector<uint32_t> tried = {}) {
  std::string text;
  for (int i = 0; i < picks; ++i) {
    const uint32_t endpoint = balancer.Pick({.tried = tried});
    text += endpoint == Balancer::kNone ? '-' : static_cast<char>('a' + endpoint);
  }
  return text;
}

TEST(RoundRobin, FollowsItsScheduleRoundAndRound) {
  Balancer balancer = Balancer::Build(Balance::kRoundRobin, Weights{5, 1, 1}, 0);
  EXPECT_EQ(Letters(balancer, 14), "aabacaaaabacaa");
}

TEST(RoundRobin, ShardsBeginElsewhere) {
  Balancer one = Balancer::Build(Balance::kRoundRobin, Weights{1, 1, 1}, 1);
  Balancer two = Balancer::Build(Balance::kRoundRobin, Weights{1, 1, 1}, 3'000'002);
  EXPECT_EQ(Letters(one, 4), "bcab");
  EXPECT_EQ(Letters(two, 4), "cabc");
}

TEST(RoundRobin, TheOthersKeepTheirSharesWhenOneIsGone) {
  Balancer balancer = Balancer::Build(Balance::kRoundRobin, Weights{2, 1, 1}, 0);
  balancer.SetUsable(1, false);
  const std::string text = Letters(balancer, 300);
  EXPECT_EQ(std::count(text.begin(), text.end(), 'a'), 200);
  EXPECT_EQ(std::count(text.begin(), text.end(), 'c'), 100);
  EXPECT_EQ(text.find("cc"), std::string::npos);
  balancer.SetUsable(1, true);
  const std::string again = Letters(balancer, 400);
  EXPECT_EQ(std::count(again.begin(), again.end(), 'b'), 100);
}

TEST(RoundRobin, ATriedHeavyOneIsSteppedOver) {
  Balancer balancer = Balancer::Build(Balance::kRoundRobin, Weights{1'000, 1, 1}, 5);
  const std::string text = Letters(balancer, 100, {0});
  EXPECT_EQ(std::count(text.begin(), text.end(), 'a'), 0);
  EXPECT_EQ(std::count(text.begin(), text.end(), '-'), 0);
  EXPECT_GT(std::count(text.begin(), text.end(), 'b'), 0);
  EXPECT_GT(std::count(text.begin(), text.end(), 'c'), 0);
}

TEST(LeastConn, EqualWeightsFillEvenly) {
  Balancer balancer = Balancer::Build(Balance::kLeastConn, Weights{1, 1, 1, 1}, 0);
  std::vector<int> in_flight(4);
  for (int i = 0; i < 400; ++i) {
    const uint32_t endpoint = balancer.Pick({});
    balancer.Acquire(endpoint);
    ++in_flight[endpoint];
    EXPECT_LE(*std::max_element(in_flight.begin(), in_flight.end()) -
                  *std::min_element(in_flight.begin(), in_flight.end()),
              1);
  }
}

TEST(LeastConn, TheFreestIsNext) {
  Balancer balancer = Balancer::Build(Balance::kLeastConn, Weights{1, 1, 1}, 0);
  for (const uint32_t endpoint : {0, 0, 1, 1, 1, 2, 2}) balancer.Acquire(endpoint);
  balancer.Release(2);
  EXPECT_EQ(Letters(balancer, 3), "ccc");
  balancer.Acquire(2);
  EXPECT_EQ(Letters(balancer, 4), "acac");
}

TEST(LeastConn, IdleEndpointsTakeTurns) {
  Balancer balancer = Balancer::Build(Balance::kLeastConn, Weights{1, 1, 1}, 1);
  std::string text;
  for (int i = 0; i < 6; ++i) {
    const uint32_t endpoint = balancer.Pick({});
    balancer.Acquire(endpoint);
    balancer.Release(endpoint);
    text += static_cast<char>('a' + endpoint);
  }
  EXPECT_EQ(text, "bcabca");
}

TEST(LeastConn, InFlightFollowsTheWeights) {
  const Weights weights = {1, 2, 5, 10};
  Balancer balancer = Balancer::Build(Balance::kLeastConn, weights, 0);
  std::vector<uint32_t> in_flight(4);
  for (int i = 0; i < 1'800; ++i) {
    const uint32_t endpoint = balancer.Pick({});
    balancer.Acquire(endpoint);
    ++in_flight[endpoint];
  }
  for (size_t i = 0; i < weights.size(); ++i) EXPECT_NEAR(in_flight[i], weights[i] * 100, 2) << i;
}

// Against the definition: the smallest (in flight + 1) / weight, within what one level merges.
TEST(LeastConn, PicksTheSmallestScore) {
  Random random(11);
  for (int round = 0; round < 30; ++round) {
    Weights weights(1 + random.Below(40));
    const uint32_t heaviest = round % 3 == 0 ? 1 : 1 + random.Below(1'000);
    for (uint32_t& weight : weights) weight = 1 + random.Below(heaviest);
    Balancer balancer = Balancer::Build(Balance::kLeastConn, weights, random.Next());
    std::vector<uint32_t> in_flight(weights.size());
    std::vector<bool> usable(weights.size(), true);
    std::vector<uint32_t> running;
    const auto score = [&](uint32_t i) { return (in_flight[i] + 1.0) / weights[i]; };
    for (int step = 0; step < 3'000; ++step) {
      const uint32_t endpoint = balancer.Pick({});
      double best = 1e300;
      for (uint32_t i = 0; i < weights.size(); ++i) {
        if (usable[i]) best = std::min(best, score(i));
      }
      if (best == 1e300) {
        ASSERT_EQ(endpoint, Balancer::kNone);
      } else {
        ASSERT_TRUE(usable[endpoint]);
        ASSERT_LE(score(endpoint), best * 1.02);
        if (heaviest == 1 && in_flight[endpoint] < 255) {
          ASSERT_EQ(score(endpoint), best);
        }
      }
      if (endpoint != Balancer::kNone && random.Below(5) < 3) {
        balancer.Acquire(endpoint);
        ++in_flight[endpoint];
        running.push_back(endpoint);
      } else if (!running.empty()) {
        std::swap(running[random.Below(static_cast<uint32_t>(running.size()))], running.back());
        balancer.Release(running.back());
        --in_flight[running.back()];
        running.pop_back();
      }
      if (random.OneIn(20)) {
        const uint32_t i = random.Below(static_cast<uint32_t>(weights.size()));
        usable[i] = !usable[i];
        balancer.SetUsable(i, usable[i]);
      }
    }
  }
}

TEST(LeastConn, RequestsOfAnEndpointSetAsideAreStillCounted) {
  Balancer balancer = Balancer::Build(Balance::kLeastConn, Weights{1, 1}, 0);
  for (int i = 0; i < 3; ++i) balancer.Acquire(0);
  balancer.Acquire(1);
  balancer.SetUsable(0, false);
  balancer.Acquire(1);
  balancer.Release(0);
  balancer.Release(0);
  balancer.Release(0);
  balancer.SetUsable(0, true);
  EXPECT_EQ(Letters(balancer, 2), "aa");
}

TEST(LeastConn, RequestsOfOtherShardsCount) {
  Balancer balancer = Balancer::Build(Balance::kLeastConn, Weights{1, 1, 1}, 0);
  balancer.SetRemote(0, 2);
  balancer.SetRemote(1, 1);
  EXPECT_EQ(Letters(balancer, 3), "ccc");
  balancer.Acquire(2);
  EXPECT_EQ(Letters(balancer, 4), "bcbc");
  balancer.SetRemote(0, 0);
  EXPECT_EQ(Letters(balancer, 2), "aa");
  // Set aside, it hears of them all the same.
  balancer.SetUsable(1, false);
  balancer.SetRemote(1, 0);
  balancer.SetUsable(1, true);
  EXPECT_EQ(Letters(balancer, 4), "abab");
}

TEST(LeastConn, HoweverMuchIsInFlightSomebodyIsChosen) {
  Balancer balancer = Balancer::Build(Balance::kLeastConn, Weights{1'000, 999, 1}, 0);
  for (uint32_t i = 0; i < 3; ++i) {
    balancer.SetRemote(i, 4'000'000'000);
    balancer.SetWeightFactor(i, 0);
  }
  for (int i = 0; i < 10; ++i) EXPECT_NE(balancer.Pick({}), Balancer::kNone);
}

TEST(LeastConn, WhoeverStartsHasItsPartInFlight) {
  Balancer balancer = Balancer::Build(Balance::kLeastConn, Weights{4, 4, 4}, 0);
  balancer.SetWeightFactor(1, kFullFactor / 4);
  std::vector<double> in_flight(3);
  for (int i = 0; i < 900; ++i) {
    const uint32_t endpoint = balancer.Pick({});
    balancer.Acquire(endpoint);
    ++in_flight[endpoint];
  }
  EXPECT_NEAR(in_flight[0], 400, 4);
  EXPECT_NEAR(in_flight[1], 100, 4);
  EXPECT_NEAR(in_flight[2], 400, 4);
}

TEST(RoundRobin, WhoeverStartsHasAPartOfItsTurns) {
  Balancer balancer = Balancer::Build(Balance::kRoundRobin, Weights{2, 1, 1}, 0);
  balancer.SetWeightFactor(0, kFullFactor / 2);
  const std::string text = Letters(balancer, 300);
  EXPECT_EQ(std::count(text.begin(), text.end(), 'a'), 100);
  EXPECT_EQ(text.find("aa"), std::string::npos);  // evenly
  balancer.SetWeightFactor(0, kFullFactor);
  const std::string after = Letters(balancer, 400);
  EXPECT_EQ(std::count(after.begin(), after.end(), 'a'), 200);
}

TEST(Balancer, OneEndpoint) {
  for (const Balance policy : kBoth) {
    Balancer balancer = Balancer::Build(policy, Weights{3}, 12'345);
    EXPECT_EQ(Letters(balancer, 3), "aaa");
    EXPECT_EQ(Letters(balancer, 1, {0}), "-");
    balancer.SetUsable(0, false);
    balancer.SetUsable(0, false);
    EXPECT_EQ(Letters(balancer, 1), "-");
    balancer.SetUsable(0, true);
    EXPECT_EQ(Letters(balancer, 1), "a");
  }
}

TEST(Balancer, RetriesVisitEveryUsableEndpointOnce) {
  Random random(12);
  for (const Balance policy : kBoth) {
    for (int round = 0; round < 200; ++round) {
      Weights weights(1 + random.Below(12));
      for (uint32_t& weight : weights) weight = random.OneIn(3) ? 1 + random.Below(1'000) : 1;
      Balancer balancer = Balancer::Build(policy, weights, random.Next());
      uint32_t usable = 0;
      for (uint32_t i = 0; i < weights.size(); ++i) {
        const bool is = random.Below(4) != 0;
        balancer.SetUsable(i, is);
        usable += is ? 1 : 0;
      }
      std::vector<uint32_t> tried;
      for (uint32_t endpoint; (endpoint = balancer.Pick({.tried = tried})) != Balancer::kNone;) {
        ASSERT_LT(endpoint, weights.size());
        ASSERT_EQ(std::count(tried.begin(), tried.end(), endpoint), 0);
        tried.push_back(endpoint);
      }
      EXPECT_EQ(tried.size(), usable);
    }
  }
}

TEST(Balancer, TenThousandEndpoints) {
  for (const Balance policy : kBoth) {
    Balancer balancer = Balancer::Build(policy, Weights(10'000, 7), 99);
    std::vector<int> seen(10'000);
    for (int i = 0; i < 20'000; ++i) {
      const uint32_t endpoint = balancer.Pick({});
      balancer.Acquire(endpoint);
      ++seen[endpoint];
    }
    EXPECT_EQ(*std::min_element(seen.begin(), seen.end()), 2);
    EXPECT_EQ(*std::max_element(seen.begin(), seen.end()), 2);
    // All but one set aside: it is found at once.
    for (uint32_t i = 0; i < 10'000; ++i) balancer.SetUsable(i, i == 4'321);
    for (int i = 0; i < 10; ++i) EXPECT_EQ(balancer.Pick({}), 4'321u);
  }
}

TEST(Balancer, BuildRefusesWhatConfigurationMustNotLetThrough) {
  EXPECT_DEATH(Balancer::Build(Balance::kRoundRobin, Weights{}, 0), "expected");
  EXPECT_DEATH(Balancer::Build(Balance::kRoundRobin, Weights{0}, 0), "expected");
  EXPECT_DEATH(Balancer::Build(Balance::kLeastConn, Weights{1'001}, 0), "expected");
}

}  // namespace
}  // namespace weir::lb
