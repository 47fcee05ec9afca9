#include "lb/balance/schedule.h"

#include <numeric>
#include <string>

#include "core/random.h"
#include "gtest/gtest.h"

namespace weir::lb {
namespace {

using Weights = std::vector<uint32_t>;

std::string Letters(const Weights& weights) {
  std::string text;
  for (const uint16_t endpoint : LayOut(SlotsPerEndpoint(weights))) text += static_cast<char>('a' + endpoint);
  return text;
}

TEST(Schedule, SpreadsTheHeavyOne) {
  EXPECT_EQ(Letters({5, 1, 1}), "aabacaa");
  EXPECT_EQ(Letters({1, 1, 1}), "abc");
  EXPECT_EQ(Letters({3, 1}), "aaba");
  EXPECT_EQ(Letters({1, 2}), "bab");
  EXPECT_EQ(Letters({7}), "a");
}

TEST(Schedule, DividesByTheCommonDivisor) {
  EXPECT_EQ(Letters({100, 100}), "ab");
  EXPECT_EQ(Letters({300, 100}), "aaba");
}

// What nginx does, literally: O(endpoints) a slot.
std::vector<uint16_t> Reference(const Weights& slots) {
  std::vector<int64_t> credit(slots.size());
  const auto sum = std::accumulate(slots.begin(), slots.end(), int64_t{0});
  std::vector<uint16_t> schedule;
  for (int64_t turn = 0; turn < sum; ++turn) {
    size_t best = 0;
    for (size_t i = 0; i < slots.size(); ++i) {
      credit[i] += slots[i];
      if (credit[i] > credit[best]) best = i;
    }
    credit[best] -= sum;
    schedule.push_back(static_cast<uint16_t>(best));
  }
  return schedule;
}

TEST(Schedule, IsTheOrderOfTheSimpleAlgorithm) {
  Random random(7);
  for (int round = 0; round < 300; ++round) {
    Weights weights(1 + random.Below(20));
    const uint32_t heaviest = 1 + random.Below(30);
    for (uint32_t& weight : weights) weight = 1 + random.Below(heaviest);
    const Weights slots = SlotsPerEndpoint(weights);
    ASSERT_EQ(LayOut(slots), Reference(slots)) << "round " << round;
  }
}

TEST(Schedule, AnyWindowHoldsAboutItsShare) {
  Random random(8);
  for (int round = 0; round < 50; ++round) {
    Weights weights(2 + random.Below(10));
    for (uint32_t& weight : weights) weight = 1 + random.Below(100);
    const Weights slots = SlotsPerEndpoint(weights);
    const std::vector<uint16_t> schedule = LayOut(slots);
    std::vector<double> count(weights.size());
    for (size_t turn = 0; turn < schedule.size(); ++turn) {
      ++count[schedule[turn]];
      for (size_t i = 0; i < count.size(); ++i) {
        const double ideal = static_cast<double>(turn + 1) * slots[i] / static_cast<double>(schedule.size());
        ASSERT_LT(std::abs(count[i] - ideal), 2.0);
      }
    }
  }
}

TEST(Schedule, ManyHeavyEndpointsStayWithinTheBound) {
  Random random(9);
  for (const uint32_t endpoints : {100u, 1'000u, 10'000u, 16'384u}) {
    Weights weights(endpoints);
    for (uint32_t& weight : weights) weight = 1 + random.Below(1'000);
    weights[0] = 1;
    weights[1] = 1'000;
    const Weights slots = SlotsPerEndpoint(weights);
    const auto sum = std::accumulate(slots.begin(), slots.end(), uint64_t{0});
    EXPECT_LE(sum, kMaxSlots);
    EXPECT_GT(sum, kMaxSlots / 2);
    EXPECT_GE(*std::min_element(slots.begin(), slots.end()), 1u);
    const std::vector<uint16_t> schedule = LayOut(slots);
    EXPECT_EQ(schedule.size(), sum);
    EXPECT_EQ(std::count(schedule.begin(), schedule.end(), 1), slots[1]);
  }
}

}  // namespace
}  // namespace weir::lb
