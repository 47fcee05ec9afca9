#include "lb/health/verdict.h"

#include <string>
#include <string_view>

#include "gtest/gtest.h"

namespace weir::lb {
namespace {

constexpr uint32_t kRise = 2;
constexpr uint32_t kFall = 3;

// '+' passed, '-' failed; gives what each of them made of it: 'U' and 'D': it has just come up, gone down.
std::string Play(Verdict& verdict, std::string_view results) {
  std::string said;
  for (const char result : results) {
    const bool changed = verdict.Add(result == '+', kRise, kFall);
    said += !changed ? '.' : verdict.up() ? 'U' : 'D';
  }
  return said;
}

TEST(Verdict, IsUpUntilACheckSaysOtherwise) {
  Verdict verdict;
  EXPECT_TRUE(verdict.up());
  EXPECT_TRUE(verdict.open());
  EXPECT_EQ(Play(verdict, "+++"), "...");
  EXPECT_TRUE(verdict.up());
  EXPECT_FALSE(verdict.open());
}

TEST(Verdict, TheFirstCheckDecidesAtOnce) {
  Verdict verdict;
  EXPECT_EQ(Play(verdict, "-"), "D");
  EXPECT_EQ(Play(verdict, "-+-++"), "....U") << "from then on it takes `rise`";
}

TEST(Verdict, ItTakesFallInARow) {
  Verdict verdict;
  EXPECT_EQ(Play(verdict, "+--+--+---"), ".........D");
  EXPECT_EQ(Play(verdict, "--+-+-++"), ".......U");
  EXPECT_EQ(Play(verdict, "---"), "..D");
}

TEST(Verdict, SteadyIsUpAndTheLastPassed) {
  Verdict verdict;
  EXPECT_TRUE(verdict.steady());
  Play(verdict, "+-");
  EXPECT_FALSE(verdict.steady());
  Play(verdict, "+");
  EXPECT_TRUE(verdict.steady());
  Play(verdict, "---");
  EXPECT_FALSE(verdict.steady());
  Play(verdict, "+");
  EXPECT_FALSE(verdict.steady());
  Play(verdict, "+");
  EXPECT_TRUE(verdict.steady());
}

TEST(Verdict, OneOfEachIsEnoughWhereSoSaid) {
  Verdict verdict;
  EXPECT_FALSE(verdict.Add(true, 1, 1));
  EXPECT_TRUE(verdict.Add(false, 1, 1));
  EXPECT_TRUE(verdict.Add(true, 1, 1));
}

TEST(Verdict, OtherChecksBeginAnewButNotFromUp) {
  Verdict verdict;
  Play(verdict, "+--");
  verdict.Restart();
  EXPECT_EQ(Play(verdict, "--"), "..");
  EXPECT_EQ(Play(verdict, "-"), "D");
  verdict.Restart();
  EXPECT_FALSE(verdict.up());
  EXPECT_EQ(Play(verdict, "+"), ".");
}

}  // namespace
}  // namespace weir::lb
