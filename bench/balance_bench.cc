// What does choosing an endpoint cost, by policy and number of endpoints?
#include <vector>

#include "bench/allocations.h"
#include "lb/balance/balancer.h"

namespace weir::lb {
namespace {

Balancer Make(benchmark::State& state, Balance policy, bool weighted) {
  std::vector<uint32_t> weights(static_cast<size_t>(state.range(0)), 1);
  for (size_t i = 0; weighted && i < weights.size(); ++i)
    weights[i] = 1 + static_cast<uint32_t>(i * 7919 % 100);
  return Balancer::Build(policy, weights, 1);
}

// A request begins and an older one ends: 64 are in flight, as on a busy shard.
void PickAcquireRelease(benchmark::State& state, Balance policy, bool weighted) {
  Balancer balancer = Make(state, policy, weighted);
  uint32_t running[64];
  for (uint32_t& endpoint : running) balancer.Acquire(endpoint = balancer.Pick({}));
  size_t oldest = 0;
  bench::Count count(state);
  for (auto _ : state) {
    balancer.Release(running[oldest % 64]);
    const uint32_t endpoint = balancer.Pick({});
    balancer.Acquire(endpoint);
    running[oldest++ % 64] = endpoint;
  }
}
BENCHMARK_CAPTURE(PickAcquireRelease, round_robin, Balance::kRoundRobin, false)
    ->Arg(3)
    ->Arg(100)
    ->Arg(10'000);
BENCHMARK_CAPTURE(PickAcquireRelease, round_robin_weighted, Balance::kRoundRobin, true)
    ->Arg(3)
    ->Arg(100)
    ->Arg(10'000);
BENCHMARK_CAPTURE(PickAcquireRelease, least_conn, Balance::kLeastConn, false)->Arg(3)->Arg(100)->Arg(10'000);
BENCHMARK_CAPTURE(PickAcquireRelease, least_conn_weighted, Balance::kLeastConn, true)
    ->Arg(3)
    ->Arg(100)
    ->Arg(10'000);

// With one usable endpoint left: unusable ones must not be probed.
void PickTheLastOne(benchmark::State& state, Balance policy) {
  Balancer balancer = Make(state, policy, true);
  for (uint32_t i = 1; i < state.range(0); ++i) balancer.SetUsable(i, false);
  bench::Count count(state);
  for (auto _ : state) benchmark::DoNotOptimize(balancer.Pick({}));
}
BENCHMARK_CAPTURE(PickTheLastOne, round_robin, Balance::kRoundRobin)->Arg(10'000);
BENCHMARK_CAPTURE(PickTheLastOne, least_conn, Balance::kLeastConn)->Arg(10'000);

// An endpoint with the largest weight is set aside and comes back: the longest thing a shard does here at
// once.
void SetAsideAndBack(benchmark::State& state, Balance policy) {
  Balancer balancer = Balancer::Build(policy, std::vector<uint32_t>{1'000, 1, 1}, 1);
  bench::Count count(state);
  for (auto _ : state) {
    balancer.SetUsable(0, false);
    balancer.SetUsable(0, true);
  }
}
BENCHMARK_CAPTURE(SetAsideAndBack, round_robin, Balance::kRoundRobin);
BENCHMARK_CAPTURE(SetAsideAndBack, least_conn, Balance::kLeastConn);

void Build(benchmark::State& state, Balance policy) {
  bench::Count count(state);
  for (auto _ : state) benchmark::DoNotOptimize(Make(state, policy, true));
}
BENCHMARK_CAPTURE(Build, round_robin, Balance::kRoundRobin)
    ->Arg(3)
    ->Arg(10'000)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(Build, least_conn, Balance::kLeastConn)->Arg(3)->Arg(10'000)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace weir::lb
