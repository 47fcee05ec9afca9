#include "lb/balance/by_chance.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "gtest/gtest.h"
#include "lb/balance/balancer.h"

namespace weir::lb {
namespace {

using Weights = std::vector<uint32_t>;

// Pearson's chi-square of `seen` against `shares`, in standard deviations above what chance gives; nobody
// without a share may be seen.
double ChiSquare(const std::vector<double>& seen, const std::vector<double>& shares) {
  const double picks = std::accumulate(seen.begin(), seen.end(), 0.0);
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  double square = 0;
  double degrees = -1;
  for (size_t i = 0; i < seen.size(); ++i) {
    if (shares[i] == 0) {
      EXPECT_EQ(seen[i], 0) << i;
      continue;
    }
    const double ideal = picks * shares[i] / sum;
    square += (seen[i] - ideal) * (seen[i] - ideal) / ideal;
    ++degrees;
  }
  return (square - degrees) / std::sqrt(2 * degrees);
}

std::vector<double> Draws(WeightedDraw& draw, size_t endpoints, int draws,
                          std::span<const uint32_t> tried = {}, uint32_t other = kNobody) {
  std::vector<double> seen(endpoints);
  for (int i = 0; i < draws; ++i) ++seen.at(draw.Draw(tried, other));
  return seen;
}

TEST(WeightedDraw, SharesAreTheWeightsWhoeverIsUsable) {
  Random random(4);
  for (const uint32_t endpoints : {2u, 3u, 17u, 100u, 512u}) {
    // All usable, half, few: drawn from the table, both, and the sums.
    for (const uint32_t one_in : {1u, 2u, 30u}) {
      Weights weights(endpoints);
      for (uint32_t& weight : weights) weight = 1 + random.Below(20);
      WeightedDraw draw(weights, random.Next());
      std::vector<double> shares(weights.begin(), weights.end());
      for (uint32_t i = 2; i < endpoints; ++i) {
        if (random.OneIn(one_in)) continue;
        draw.SetUsable(i, false);
        shares[i] = 0;
      }
      const std::vector<double> seen = Draws(draw, endpoints, 200'000);
      EXPECT_LT(ChiSquare(seen, shares), 4) << endpoints << " one in " << one_in;
    }
  }
}

TEST(WeightedDraw, SharesAreRightWhileSomeStartAndSomeWereTried) {
  const Weights weights = {10, 10, 5, 1, 200, 40};
  WeightedDraw draw(weights, 5);
  draw.SetWeightFactor(1, 256);
  draw.SetWeightFactor(5, 512);
  EXPECT_LT(ChiSquare(Draws(draw, 6, 200'000), {10, 2.5, 5, 1, 200, 20}), 4);
  // What is left is much less than what is drawn at first: the sums answer.
  const uint32_t tried[] = {4, 5, 4};
  EXPECT_LT(ChiSquare(Draws(draw, 6, 200'000, tried), {10, 2.5, 5, 1, 0, 0}), 4);
  EXPECT_LT(ChiSquare(Draws(draw, 6, 200'000, tried, 0), {0, 2.5, 5, 1, 0, 0}), 4);
  draw.SetUsable(4, false);
  EXPECT_LT(ChiSquare(Draws(draw, 6, 200'000, tried, 0), {0, 2.5, 5, 1, 0, 0}), 4);
  draw.SetUsable(4, true);
  draw.SetWeightFactor(5, kFullFactor);
  draw.SetWeightFactor(1, kFullFactor);
  EXPECT_LT(ChiSquare(Draws(draw, 6, 200'000), {10, 10, 5, 1, 200, 40}), 4);
}

TEST(WeightedDraw, WhenAllHaveJustBegunTheirSharesAreTheWeights) {
  const Weights weights = {3, 1, 1, 7};
  WeightedDraw draw(weights, 5);
  for (uint32_t i = 0; i < 4; ++i) draw.SetWeightFactor(i, 0);
  EXPECT_LT(ChiSquare(Draws(draw, 4, 100'000), {3, 1, 1, 7}), 4);
}

TEST(WeightedDraw, TwoAreDifferentAndEachPairIsAsLikelyAsItShouldBe) {
  // The first by its share, the second by its share of the others.
  for (const Weights& weights :
       {Weights{1, 1, 1, 1}, Weights{4, 4, 4}, Weights{1, 2, 3, 4}, Weights{1, 9, 9}}) {
    const size_t size = weights.size();
    WeightedDraw draw(weights, 6);
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    std::vector<double> seen(size * size), shares(size * size);
    for (size_t i = 0; i < size; ++i) {
      for (size_t j = 0; j < size; ++j) {
        if (i != j) shares[i * size + j] = weights[i] / sum * weights[j] / (sum - weights[i]);
      }
    }
    for (int i = 0; i < 100'000; ++i) {
      const auto [one, two] = draw.DrawTwo({});
      ++seen.at(one * size + two);
    }
    EXPECT_LT(ChiSquare(seen, shares), 4) << size;
  }
  // Equal, but not all there, or not all of it.
  WeightedDraw draw(Weights{1, 1, 1}, 6);
  draw.SetUsable(1, false);
  for (int i = 0; i < 1'000; ++i) {
    const auto [one, two] = draw.DrawTwo({});
    ASSERT_TRUE(one != 1 && two != 1 && one != two);
  }
  draw.SetUsable(1, true);
  draw.SetWeightFactor(1, 1);
  double begins = 0;
  for (int i = 0; i < 10'000; ++i) begins += draw.DrawTwo({}).one == 1;
  EXPECT_LT(begins, 30);
  const uint32_t tried[] = {0, 1};
  EXPECT_EQ(draw.DrawTwo(tried).one, 2u);
  EXPECT_EQ(draw.DrawTwo(tried).two, kNobody);
}

TEST(P2c, TakesTheLessLoadedOfTwo) {
  Balancer balancer = Balancer::Build({.method = Balancer::Method::kP2c, .weights = Weights{1, 1}}, 3);
  balancer.Acquire(0);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(balancer.Pick({}), 1u);
  balancer.Acquire(1);
  balancer.Acquire(1);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(balancer.Pick({}), 0u);
  balancer.SetRemote(0, 5);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(balancer.Pick({}), 1u);
  balancer.SetRemote(0, 0);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(balancer.Pick({}), 0u);
}

// Also where one draw would nearly always be the same one.
TEST(P2c, TheTwoAreDifferent) {
  Balancer balancer = Balancer::Build({.method = Balancer::Method::kP2c, .weights = Weights{1'000, 1, 1}}, 3);
  for (int i = 0; i < 2'000; ++i) balancer.Acquire(0);
  for (int i = 0; i < 1'000; ++i) ASSERT_NE(balancer.Pick({}), 0u);
}

// n requests for n endpoints: with two choices the fullest has log log n, with one log n / log log n.
TEST(P2c, TwoChoicesAreFarBetterThanOne) {
  const auto fullest = [](Balancer::Method method) {
    Balancer balancer = Balancer::Build({.method = method, .weights = Weights(10'000, 1)}, 3);
    std::vector<int> in_flight(10'000);
    for (int i = 0; i < 10'000; ++i) {
      const uint32_t endpoint = balancer.Pick({});
      balancer.Acquire(endpoint);
      ++in_flight[endpoint];
    }
    return *std::max_element(in_flight.begin(), in_flight.end());
  };
  EXPECT_LE(fullest(Balancer::Method::kP2c), 4);
  EXPECT_GE(fullest(Balancer::Method::kRandom), 6);
}

TEST(P2c, InFlightFollowsTheWeights) {
  const Weights weights = {1, 2, 5, 10};
  Balancer balancer = Balancer::Build({.method = Balancer::Method::kP2c, .weights = weights}, 3);
  std::vector<double> in_flight(4);
  for (int i = 0; i < 18'000; ++i) {
    const uint32_t endpoint = balancer.Pick({});
    balancer.Acquire(endpoint);
    ++in_flight[endpoint];
  }
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(in_flight[i], 1'000 * weights[i], 60 * weights[i]) << i;
}

constexpr int64_t kMs = 1'000'000;

TEST(Ewma, APeakCountsAtOnceAndIsForgottenSlowly) {
  Ewma ewma(Weights{1, 1}, 1, 1'000 * kMs);
  ewma.Observe(0, 10 * kMs, 0);
  ewma.Observe(1, 10 * kMs, 0);
  ewma.Observe(0, 100 * kMs, 1 * kMs);
  EXPECT_NEAR(ewma.LatencyNs(0, 1 * kMs), 100 * kMs, kMs);
  // One fast answer right after it says little,
  ewma.Observe(0, 10 * kMs, 2 * kMs);
  EXPECT_GT(ewma.LatencyNs(0, 2 * kMs), 99 * kMs);
  // one second of them says much.
  for (int64_t ms = 3; ms <= 1'002; ++ms) ewma.Observe(0, 10 * kMs, ms * kMs);
  EXPECT_NEAR(ewma.LatencyNs(0, 1'002 * kMs), (10 + 90 / 2.718) * kMs, 3 * kMs);
}

TEST(Ewma, WhoIsNewOrSilentCountsAsAverage) {
  Ewma ewma(Weights{1, 1, 1}, 1, 1'000 * kMs);
  EXPECT_EQ(ewma.LatencyNs(0, 0), 1);
  for (int i = 0; i < 1'000; ++i) ewma.Observe(0, 20 * kMs, i * kMs);
  ewma.Observe(1, 500 * kMs, 1'000 * kMs);
  const double average = ewma.LatencyNs(2, 1'000 * kMs);
  EXPECT_GT(average, 20 * kMs);
  EXPECT_LT(average, 30 * kMs);
  EXPECT_NEAR(ewma.LatencyNs(1, 1'000'000 * kMs), average, kMs);
}

// A request a millisecond, each as long as its endpoint takes.
std::vector<double> Serve(Ewma& ewma, std::span<const int64_t> latencies_ms, int64_t from_ms, int requests) {
  struct Running {
    int64_t end_ms;
    uint32_t endpoint;
    int64_t latency_ms;
  };
  std::vector<double> chosen(latencies_ms.size());
  std::vector<Running> running;
  for (int i = 0; i < requests; ++i) {
    const int64_t now_ms = from_ms + i;
    std::erase_if(running, [&](const Running& one) {
      if (one.end_ms > now_ms) return false;
      ewma.Release(one.endpoint);
      ewma.Observe(one.endpoint, one.latency_ms * kMs, one.end_ms * kMs);
      return true;
    });
    const uint32_t endpoint = ewma.Pick({.now_ns = now_ms * kMs});
    ewma.Acquire(endpoint);
    ++chosen[endpoint];
    running.push_back({now_ms + latencies_ms[endpoint], endpoint, latencies_ms[endpoint]});
  }
  for (const Running& one : running) ewma.Release(one.endpoint);
  return chosen;
}

TEST(Ewma, TheSlowOneGetsLittleUntilItIsFastAgain) {
  Ewma ewma(Weights(5, 1), 8, 1'000 * kMs);
  const int64_t uneven[] = {10, 10, 100, 10, 10};
  std::vector<double> chosen = Serve(ewma, uneven, 0, 20'000);
  EXPECT_LT(chosen[2], 20'000 * 0.05);
  EXPECT_GT(chosen[2], 20);  // asked now and then, or it could never come back
  const int64_t even[] = {10, 10, 10, 10, 10};
  chosen = Serve(ewma, even, 30'000, 20'000);
  EXPECT_NEAR(chosen[2], 4'000, 800);
}

TEST(Ewma, AReturningEndpointIsNotFlooded) {
  Ewma ewma(Weights(5, 1), 8, 1'000 * kMs);
  const int64_t even[] = {10, 10, 10, 10, 10};
  ewma.SetUsable(2, false);
  EXPECT_EQ(Serve(ewma, even, 0, 5'000)[2], 0);
  ewma.SetUsable(2, true);
  EXPECT_LT(Serve(ewma, even, 5'000, 100)[2], 35);
}

}  // namespace
}  // namespace weir::lb
