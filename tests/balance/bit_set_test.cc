#include "lb/balance/bit_set.h"

#include <set>

#include "core/random.h"
#include "gtest/gtest.h"

namespace weir::lb {
namespace {

TEST(BitSet, FindsTheNextAcrossEmptyWordsAndSums) {
  BitSet bits(64 * 64 * 64);
  for (const uint32_t bit : {0u, 63u, 64u, 4095u, 4096u, 262'143u}) bits.Set(bit);
  EXPECT_EQ(bits.Next(0), 0u);
  EXPECT_EQ(bits.Next(1), 63u);
  EXPECT_EQ(bits.Next(64), 64u);
  EXPECT_EQ(bits.Next(65), 4095u);
  EXPECT_EQ(bits.Next(4096), 4096u);
  EXPECT_EQ(bits.Next(4097), 262'143u);
  EXPECT_EQ(bits.Next(262'144), BitSet::kNone);
  bits.Clear(262'143);
  EXPECT_EQ(bits.Next(4097), BitSet::kNone);
}

TEST(BitSet, AgreesWithAnOrderedSet) {
  for (const uint32_t size : {1u, 64u, 65u, 4'096u, 5'000u, 70'000u}) {
    Random random(size);
    BitSet bits(size);
    std::set<uint32_t> expected;
    for (int step = 0; step < 20'000; ++step) {
      const uint32_t bit = random.Below(size);
      if (random.Below(3) == 0) {
        bits.Set(bit);
        expected.insert(bit);
      } else {
        bits.Clear(bit);
        expected.erase(bit);
      }
      const uint32_t from = random.Below(size + 1);
      const auto next = expected.lower_bound(from);
      ASSERT_EQ(bits.Next(from), next == expected.end() ? BitSet::kNone : *next);
      ASSERT_EQ(bits.Get(bit), expected.contains(bit));
    }
  }
}

}  // namespace
}  // namespace weir::lb
