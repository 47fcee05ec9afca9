// The arithmetic of outlier ejection, and what a shard makes of one request after the other.
#include "lb/health/ejection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "core/clock.h"
#include "core/random.h"
#include "lb/upstream/outlier_watch.h"

namespace weir::lb {
namespace {

TEST(MostEjected, OneAtLeastAndNeverAll) {
  EXPECT_EQ(MostEjected(0, 100), 0u);
  EXPECT_EQ(MostEjected(1, 100), 0u);
  EXPECT_EQ(MostEjected(2, 1), 1u);
  EXPECT_EQ(MostEjected(2, 100), 1u);
  EXPECT_EQ(MostEjected(10, 10), 1u);
  EXPECT_EQ(MostEjected(20, 10), 2u);
  EXPECT_EQ(MostEjected(29, 10), 2u);
  EXPECT_EQ(MostEjected(30, 100), 29u);
  for (uint32_t endpoints = 2; endpoints < 300; ++endpoints) {
    for (uint32_t percent = 1; percent <= 100; ++percent) {
      const uint32_t most = MostEjected(endpoints, percent);
      EXPECT_GE(most, 1u);
      EXPECT_LT(most, endpoints);
      EXPECT_GE(most, MostEjected(endpoints, percent - 1));
      if (most > 1) EXPECT_LE(most * 100, endpoints * percent);
    }
  }
}

TEST(Ejections, GrowByTheBaseUpToTheMostAndShrinkAsFast) {
  uint32_t times = 0;
  std::vector<uint32_t> terms;
  for (int i = 0; i < 6; ++i) {
    terms.push_back(EjectionMs(30, 100, times));
    times = NextTimes(30, 100, times);
  }
  EXPECT_EQ(terms, (std::vector<uint32_t>{30, 60, 90, 100, 100, 100}));
  EXPECT_EQ(times, 3u) << "so that the first good interval counts";
  EXPECT_EQ(EjectionMs(30, 30, 0), 30u);
  EXPECT_EQ(NextTimes(30, 30, 0), 0u);
  EXPECT_EQ(EjectionMs(86'400'000, 86'400'000, UINT32_MAX), 86'400'000u);
}

TEST(CompareRates, AnOutlierIsFarBelowTheMean) {
  const SuccessRates one_of_five = CompareRates(std::vector<double>{0.5, 1, 1, 1, 1}, 1.9);
  EXPECT_DOUBLE_EQ(one_of_five.mean, 0.9);
  EXPECT_NEAR(one_of_five.threshold, 0.52, 1e-9);
  // Nearly the same: not one of them, however small the deviation.
  const std::vector<double> near{0.99, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  EXPECT_GT(near[0], CompareRates(near, 0.1).threshold);
  for (const double rate : {0.0, 0.5, 1.0}) {
    const SuccessRates same = CompareRates(std::vector<double>(7, rate), 1.9);
    EXPECT_DOUBLE_EQ(same.mean, rate);
    EXPECT_LT(same.threshold, rate);
  }
}

TEST(CompareRates, NeverTheBestAndNotMoreThanAnyDistributionHas) {
  Random random(11);
  for (int i = 0; i < 2'000; ++i) {
    std::vector<double> rates(2 + random.Below(30));
    for (double& rate : rates) rate = random.Below(1'001) / 1'000.0;
    const double factor = 0.1 + random.Below(30) / 10.0;
    const SuccessRates all = CompareRates(rates, factor);
    EXPECT_LE(all.threshold, all.mean - kLeastGap);
    const auto out = static_cast<double>(
        std::count_if(rates.begin(), rates.end(), [&](double rate) { return rate < all.threshold; }));
    EXPECT_GE(*std::max_element(rates.begin(), rates.end()), all.threshold);
    // Cantelli's bound on one side.
    EXPECT_LE(out, static_cast<double>(rates.size()) / (1 + factor * factor) + 1e-9);
  }
}

class Rows : public ::testing::Test {
 protected:
  // The sign that is reported, or kSigns.
  size_t Count(Outcome outcome, int64_t took_ms = kUnknownMs) {
    Sign sign;
    const int64_t took_ns = took_ms == kUnknownMs ? -1 : took_ms * kNsPerMs;
    return page_.Count(settings_, outcome, took_ns, &sign) ? static_cast<size_t>(sign) : kSigns;
  }
  static constexpr int64_t kUnknownMs = -1;
  static constexpr size_t kGateway = static_cast<size_t>(Sign::kGatewayErrors);
  static constexpr size_t kServer = static_cast<size_t>(Sign::kServerErrors);
  static constexpr size_t kTimeouts = static_cast<size_t>(Sign::kTimeouts);
  static constexpr size_t kSlow = static_cast<size_t>(Sign::kLatency);

  OutlierSettings settings_{.enabled = true, .consecutive_5xx = 3, .consecutive_gateway_errors = 3};
  OutlierWatch::Page page_;
};

TEST_F(Rows, AStatusIsWhatItIs) {
  for (const uint16_t status : {101, 200, 304, 404, 429, 499})
    EXPECT_EQ(OutcomeOf(status), Outcome::kAnswered);
  for (const uint16_t status : {500, 501, 505, 599}) EXPECT_EQ(OutcomeOf(status), Outcome::kServerError);
  for (const uint16_t status : {502, 503, 504}) EXPECT_EQ(OutcomeOf(status), Outcome::kGatewayError);
}

TEST_F(Rows, AnAnswerEndsARowAndTheMostExactNameIsSaid) {
  EXPECT_EQ(Count(Outcome::kServerError), kSigns);
  EXPECT_EQ(Count(Outcome::kServerError), kSigns);
  EXPECT_EQ(Count(Outcome::kAnswered), kSigns);
  EXPECT_EQ(Count(Outcome::kServerError), kSigns);
  EXPECT_EQ(Count(Outcome::kGatewayError), kSigns);
  EXPECT_EQ(Count(Outcome::kUnknown), kSigns);
  EXPECT_EQ(Count(Outcome::kTimeout), kServer) << "each of them is one";
  page_.ForgetRows();
  EXPECT_EQ(Count(Outcome::kGatewayError), kSigns);
  EXPECT_EQ(Count(Outcome::kTimeout), kSigns);
  EXPECT_EQ(Count(Outcome::kGatewayError), kGateway);
  EXPECT_EQ(Count(Outcome::kServerError), kServer) << "a row that was not taken goes on";
  settings_.consecutive_timeouts = 2;
  EXPECT_EQ(Count(Outcome::kTimeout), kServer);
  EXPECT_EQ(Count(Outcome::kTimeout), kTimeouts);
  EXPECT_EQ(page_.all.Get(), 12u) << "what says nothing is not counted";
}

TEST_F(Rows, ZeroIsNever) {
  settings_.consecutive_5xx = settings_.consecutive_gateway_errors = 0;
  for (int i = 0; i < 1'000; ++i) EXPECT_EQ(Count(Outcome::kTimeout, 60'000), kSigns);
}

TEST_F(Rows, SlowIsWhatTookLongerAndWhatNobodyKnowsIsNeither) {
  settings_.slow_above_ms = 100;
  settings_.consecutive_slow = 2;
  EXPECT_EQ(Count(Outcome::kAnswered, 101), kSigns);
  EXPECT_EQ(Count(Outcome::kAnswered, 100), kSigns);
  EXPECT_EQ(Count(Outcome::kAnswered, 101), kSigns);
  EXPECT_EQ(Count(Outcome::kAnswered), kSigns);
  EXPECT_EQ(Count(Outcome::kAnswered, 101), kSlow);
}

// Whatever comes, a report is of the last ones, all of which had that sign.
TEST_F(Rows, WhateverComesARowIsARow) {
  settings_.consecutive_timeouts = 2;
  settings_.slow_above_ms = 50;
  settings_.consecutive_slow = 4;
  Random random(7);
  std::vector<std::pair<Outcome, int64_t>> past;
  for (int i = 0; i < 20'000; ++i) {
    const auto outcome = static_cast<Outcome>(1 + random.Below(4));
    const int64_t took_ms = random.Below(100);
    past.emplace_back(outcome, took_ms);
    const auto has = [&](size_t sign, const auto& one) {
      if (sign == kSlow) return one.second > 50;
      return one.first >= (sign == kTimeouts  ? Outcome::kTimeout
                           : sign == kGateway ? Outcome::kGatewayError
                                              : Outcome::kServerError);
    };
    size_t expected = kSigns;
    for (size_t sign = 0; sign < kRowSigns && expected == kSigns; ++sign) {
      const size_t limit = LimitOf(settings_, sign);
      if (past.size() < limit) continue;
      bool all = true;
      for (size_t j = past.size() - limit; j < past.size(); ++j) all = all && has(sign, past[j]);
      if (all) expected = sign;
    }
    ASSERT_EQ(Count(outcome, took_ms), expected) << i;
    if (random.OneIn(20)) {
      page_.ForgetRows();
      past.clear();
    }
  }
}

}  // namespace
}  // namespace weir::lb
