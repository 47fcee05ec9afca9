#include "core/stats.h"

#include <gtest/gtest.h>

#include "core/random.h"

namespace weir {
namespace {

TEST(HistogramTest, BucketsFollowEachOtherWithoutGaps) {
  uint32_t last = 0;
  for (uint64_t value = 0; value < 100'000; ++value) {
    const uint32_t bucket = Histogram::BucketOf(value);
    ASSERT_TRUE(bucket == last || bucket == last + 1) << value;
    ASSERT_LT(value, Histogram::UpperBound(bucket));
    if (bucket > 0) ASSERT_GE(value, Histogram::UpperBound(bucket - 1));
    last = bucket;
  }
}

TEST(HistogramTest, ABucketIsAtMostAQuarterWide) {
  Random random(1);
  for (int i = 0; i < 10'000; ++i) {
    const uint64_t value = 4 + (random.Next() >> (25 + random.Below(38)));
    const uint32_t bucket = Histogram::BucketOf(value);
    ASSERT_GE(value, Histogram::UpperBound(bucket - 1));
    ASSERT_LT(value, Histogram::UpperBound(bucket));
    ASSERT_LE(Histogram::UpperBound(bucket), Histogram::UpperBound(bucket - 1) * 5 / 4);
  }
}

TEST(HistogramTest, FinerOnesToo) {
  using Fine = HistogramOf<6>;
  uint32_t last = 0;
  for (uint64_t value = 0; value < 100'000; ++value) {
    const uint32_t bucket = Fine::BucketOf(value);
    ASSERT_TRUE(bucket == last || bucket == last + 1) << value;
    ASSERT_LT(value, Fine::UpperBound(bucket));
    if (bucket > 0) ASSERT_GE(value, Fine::UpperBound(bucket - 1));
    if (bucket > 64) ASSERT_LE(Fine::UpperBound(bucket), Fine::UpperBound(bucket - 1) * 65 / 64);
    last = bucket;
  }
}

TEST(HistogramTest, HugeValuesFallIntoTheLastBucket) {
  Histogram histogram;
  histogram.Record(UINT64_MAX);
  histogram.Record(uint64_t{1} << 60);
  EXPECT_EQ(histogram.bucket(Histogram::kBuckets - 1), 2u);
}

TEST(HistogramTest, CountsAndSums) {
  Histogram histogram;
  for (uint64_t value = 0; value < 1000; ++value) histogram.Record(value);
  uint64_t count = 0;
  for (uint32_t i = 0; i < Histogram::kBuckets; ++i) count += histogram.bucket(i);
  EXPECT_EQ(count, 1000u);
  EXPECT_EQ(histogram.sum(), 999u * 1000 / 2);
}

TEST(CounterTest, GoesUpAndDown) {
  Counter counter;
  counter.Add();
  counter.Add(10);
  counter.Sub(3);
  EXPECT_EQ(counter.Get(), 8u);
  counter.Set(5);
  EXPECT_EQ(counter.Get(), 5u);
}

}  // namespace
}  // namespace weir
