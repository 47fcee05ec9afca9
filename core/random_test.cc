#include "core/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace weir {
namespace {

TEST(RandomTest, TheReferenceSequence) {
  // splitmix64 from seed 0 begins 0xe220a8397b1dcdaf, and xoshiro256**'s first output is rotl(s[1] * 5, 7)
  // * 9.
  Random random(0);
  const uint64_t second_word = 0x6e789e6aa1b965f4u;  // the second of splitmix64(0)
  const uint64_t times_five = second_word * 5;
  EXPECT_EQ(random.Next(), ((times_five << 7) | (times_five >> 57)) * 9);
}

TEST(RandomTest, TheSameSeedTheSameSequenceAndNeighboursDiffer) {
  Random a(42);
  Random b(42);
  Random c(43);
  int same = 0;
  for (int i = 0; i < 100; ++i) {
    const uint64_t draw = a.Next();
    EXPECT_EQ(draw, b.Next());
    same += draw == c.Next();
  }
  EXPECT_EQ(same, 0);
}

TEST(RandomTest, BelowIsEvenAndStaysBelow) {
  Random random(5);
  for (const uint32_t bound : {1u, 2u, 3u, 7u, 100u}) {
    std::vector<int> counts(bound);
    const int draws = 20'000;
    for (int i = 0; i < draws; ++i) {
      const uint32_t draw = random.Below(bound);
      ASSERT_LT(draw, bound);
      ++counts[draw];
    }
    for (const int count : counts) {
      const double expected = static_cast<double>(draws) / bound;
      EXPECT_NEAR(count, expected, 6 * std::sqrt(expected));
    }
  }
  EXPECT_LT(random.Below(UINT32_MAX), UINT32_MAX);
}

TEST(RandomTest, OneInHappensThatOften) {
  Random random(6);
  int hits = 0;
  for (int i = 0; i < 100'000; ++i) hits += random.OneIn(10);
  EXPECT_NEAR(hits, 10'000, 600);
  EXPECT_TRUE(random.OneIn(1));
}

}  // namespace
}  // namespace weir
