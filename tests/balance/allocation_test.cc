// Nothing that happens per request, or when an endpoint's state changes, asks for memory.
#include "core/allocations.h"
#include "gtest/gtest.h"
#include "tests/balance/test_balancers.h"

namespace weir::lb {
namespace {

TEST(Balancer, AllocatesNothingOnceItIsBuilt) {
  for (const TestPolicy& policy : kTestPolicies) {
    constexpr uint32_t kEndpoints = 500;
    std::vector<uint32_t> weights(kEndpoints);
    for (uint32_t i = 0; i < kEndpoints; ++i) weights[i] = 1 + i % 90;
    Balancer balancer = MakeTestBalancer(policy, weights, 1);
    Random random(2);
    const uint64_t before = Allocations();
    int picked = 0;
    for (int step = 0; step < 20'000; ++step) {
      // For a while only a few are usable.
      const bool few = step > 10'000;
      const uint32_t i = random.Below(kEndpoints);
      balancer.SetUsable(i, few ? random.OneIn(100) : !random.OneIn(4));
      balancer.SetWeightFactor(i, random.Below(kFullFactor + 1));
      balancer.SetRemote(i, random.Below(9));
      balancer.Observe(i, random.Below(1'000'000), step);
      const uint32_t tried[] = {i, random.Below(kEndpoints)};
      const uint32_t endpoint = balancer.Pick({.tried = tried, .hash = random.Next(), .now_ns = step});
      if (endpoint == Balancer::kNone) continue;
      ++picked;
      balancer.Acquire(endpoint);
      if (random.OneIn(2)) balancer.Release(endpoint);
    }
    balancer.Begin(7);
    EXPECT_EQ(Allocations() - before, 0u) << policy.name;
    EXPECT_GT(picked, 10'000) << policy.name;
  }
}

}  // namespace
}  // namespace weir::lb
