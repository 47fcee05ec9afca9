#include "tests/sim/seeds.h"

#include <cstdio>
#include <cstdlib>
#include <string>

#include "gtest/gtest.h"

namespace weir::lb::trial {
namespace {

constexpr uint64_t kSeeds = 20;
constexpr uint64_t kFullSeeds = 100;

}  // namespace

bool SeedsWereChosen() {
  const char* chosen = std::getenv("WEIR_SEED");
  return chosen != nullptr && *chosen != '\0';
}

void ForEachSeed(const std::function<void(uint64_t seed)>& run) {
  const std::string test = testing::UnitTest::GetInstance()->current_test_info()->name();
  uint64_t first = 1;
  const char* full = std::getenv("WEIR_FULL");
  uint64_t last = full != nullptr && *full != '\0' && *full != '0' ? kFullSeeds : kSeeds;
  if (SeedsWereChosen()) {
    char* end = nullptr;
    first = last = std::strtoull(std::getenv("WEIR_SEED"), &end, 10);
    if (*end == '-') last = std::strtoull(end + 1, nullptr, 10);
  }
  for (uint64_t seed = first; seed <= last; ++seed) {
    std::printf("%s: seed %llu\n", test.c_str(), static_cast<unsigned long long>(seed));
    std::fflush(stdout);
    SCOPED_TRACE(test + ", seed " + std::to_string(seed) + " (WEIR_SEED=" + std::to_string(seed) +
                 " runs it alone)");
    run(seed);
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace weir::lb::trial
