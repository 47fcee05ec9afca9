#include "lb/balance/first.h"

#include <string>

#include "gtest/gtest.h"

namespace weir::lb {
namespace {

std::string Letters(First& first, int picks, std::vector<uint32_t> tried = {}) {
  std::string text;
  for (int i = 0; i < picks; ++i) {
    const uint32_t endpoint = first.Pick({.tried = tried});
    text += endpoint == kNobody ? '-' : static_cast<char>('a' + endpoint);
  }
  return text;
}

TEST(First, IsTheFirstThatIsUsableWhateverItsWeight) {
  First first(std::vector<uint32_t>{1, 1'000, 1}, 2, 0);
  EXPECT_EQ(Letters(first, 3), "aaa");
  EXPECT_EQ(Letters(first, 2, {0}), "bb");
  first.SetUsable(0, false);
  EXPECT_EQ(Letters(first, 2), "bb");
  EXPECT_EQ(Letters(first, 2, {1}), "cc");
  EXPECT_EQ(Letters(first, 2, {1, 2}), "--");
  first.SetUsable(0, true);
  EXPECT_EQ(Letters(first, 2), "aa");
}

TEST(First, FillsOneAfterAnotherToItsLimit) {
  First first(std::vector<uint32_t>{1, 2, 1}, 0, 2);
  std::string text;
  for (int i = 0; i < 8; ++i) {
    text += Letters(first, 1);
    first.Acquire(static_cast<uint32_t>(text.back() - 'a'));
  }
  EXPECT_EQ(text, "aabbbbcc");
  EXPECT_EQ(Letters(first, 6), "abcabc");  // all full: in turns
  EXPECT_EQ(Letters(first, 4, {1}), "acac");
  first.Release(1);
  EXPECT_EQ(Letters(first, 2), "bb");
  first.SetRemote(1, 1);
  EXPECT_EQ(Letters(first, 3), "abc");
  first.SetRemote(1, 0);
  EXPECT_EQ(Letters(first, 2), "bb");
  // At its limit when it goes and when it comes back.
  first.SetUsable(0, false);
  first.SetUsable(0, true);
  EXPECT_EQ(Letters(first, 2), "bb");
}

TEST(First, WhileItStartsAPartGoesToTheNext) {
  First first(std::vector<uint32_t>{1, 1}, 0, 0);
  first.SetWeightFactor(0, kFullFactor / 4);
  EXPECT_EQ(Letters(first, 8), "bbbabbba");
  first.SetWeightFactor(1, 1);
  EXPECT_EQ(Letters(first, 4), "aaaa");
}

}  // namespace
}  // namespace weir::lb
