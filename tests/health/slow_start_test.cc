// How a slow start grows.
#include "lb/health/slow_start.h"

#include <gtest/gtest.h>

namespace weir::lb {
namespace {

using Mode = SlowStartSettings::Mode;

TEST(SlowStartFactor, GrowsByTheSamePartOrByTheSameFactor) {
  const SlowStartSettings linear{10'000, Mode::kLinear, 10};
  const int64_t tenth = 102;
  EXPECT_EQ(SlowStartFactor(linear, 0), tenth);
  EXPECT_EQ(SlowStartFactor(linear, 5'000), 563u);  // 55 %
  EXPECT_EQ(SlowStartFactor(linear, 9'999), 1'024u);
  EXPECT_EQ(SlowStartFactor(linear, 10'000), kFullFactor);
  EXPECT_EQ(SlowStartFactor(linear, 1'000'000), kFullFactor);
  const SlowStartSettings exponential{10'000, Mode::kExponential, 25};
  EXPECT_EQ(SlowStartFactor(exponential, 0), 256u);
  EXPECT_EQ(SlowStartFactor(exponential, 5'000), 512u);
  EXPECT_EQ(SlowStartFactor(exponential, 10'000), kFullFactor);
}

TEST(SlowStartFactor, IsNeverNothingAndNeverFalls) {
  for (const Mode mode : {Mode::kLinear, Mode::kExponential}) {
    for (const uint32_t percent : {1u, 50u, 99u}) {
      for (const uint32_t duration_ms : {1u, 3u, 30'000u, 86'400'000u}) {
        const SlowStartSettings settings{duration_ms, mode, percent};
        uint32_t last = 1;
        for (uint32_t i = 0; i <= 100; ++i) {
          const uint32_t factor = SlowStartFactor(settings, int64_t{duration_ms} * i / 100);
          EXPECT_GE(factor, last);
          last = factor;
        }
        EXPECT_EQ(last, kFullFactor);
      }
    }
  }
  EXPECT_EQ(SlowStartFactor({}, 0), kFullFactor) << "there is none";
}

TEST(EndpointBook, TellsAPercentageOfItsFactor) {
  EXPECT_EQ(EndpointBook::PercentOf(0), 100u);
  EXPECT_EQ(EndpointBook::PercentOf(EndpointBook::MissingOf(1)), 1u);
  EXPECT_EQ(EndpointBook::PercentOf(EndpointBook::MissingOf(512)), 50u);
  EXPECT_EQ(EndpointBook::PercentOf(EndpointBook::MissingOf(1'023)), 99u);
  EXPECT_EQ(EndpointBook::PercentOf(EndpointBook::kDown), 100u);
}

}  // namespace
}  // namespace weir::lb
