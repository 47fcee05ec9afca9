// What does choosing an endpoint cost, by policy and number of endpoints?
#include <memory>
#include <string>
#include <vector>

#include "bench/allocations.h"
#include "lb/balance/balancer.h"
#include "lb/balance/levels.h"

namespace weir::lb {
namespace {

using Method = Balancer::Method;

Balancer Make(benchmark::State& state, Method method, bool weighted, uint32_t load_percent = 0) {
  const auto endpoints = static_cast<size_t>(state.range(0));
  std::vector<uint32_t> weights(endpoints, 1);
  for (size_t i = 0; weighted && i < endpoints; ++i) weights[i] = 1 + static_cast<uint32_t>(i * 7919 % 100);
  std::vector<std::string> names;
  for (size_t i = 0; i < endpoints; ++i) {
    names.push_back("10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256) + ":8080");
  }
  const std::vector<std::string_view> views(names.begin(), names.end());
  return Balancer::Build({.method = method, .weights = weights, .names = views, .load_percent = load_percent},
                         1);
}

// Another key each time, at the price of a multiplication.
uint64_t Key(uint64_t i) { return i * 0x9e3779b97f4a7c15u; }

// A request begins and an older one ends: 64 are in flight, as on a busy shard.
void PickAcquireRelease(benchmark::State& state, Method method, bool weighted, uint32_t load_percent = 0) {
  Balancer balancer = Make(state, method, weighted, load_percent);
  uint32_t running[64];
  uint64_t key = 0;
  for (uint32_t& endpoint : running) balancer.Acquire(endpoint = balancer.Pick({.hash = Key(++key)}));
  for (uint32_t i = 0; i < state.range(0); ++i) balancer.Observe(i, 1'000'000 + Key(i) % 1'000'000, 1);
  size_t oldest = 0;
  bench::Count count(state);
  for (auto _ : state) {
    balancer.Release(running[oldest % 64]);
    const uint32_t endpoint = balancer.Pick({.hash = Key(++key), .now_ns = 1'000'000});
    balancer.Acquire(endpoint);
    running[oldest++ % 64] = endpoint;
  }
}
#define POLICY(name, ...) \
  BENCHMARK_CAPTURE(PickAcquireRelease, name, __VA_ARGS__)->Arg(3)->Arg(100)->Arg(1'000)->Arg(10'000)
POLICY(round_robin, Method::kRoundRobin, false);
POLICY(round_robin_weighted, Method::kRoundRobin, true);
POLICY(least_conn, Method::kLeastConn, false);
POLICY(least_conn_weighted, Method::kLeastConn, true);
POLICY(random, Method::kRandom, false);
POLICY(random_weighted, Method::kRandom, true);
POLICY(p2c, Method::kP2c, false);
POLICY(p2c_weighted, Method::kP2c, true);
POLICY(ewma, Method::kEwma, false);
POLICY(maglev, Method::kMaglev, false);
POLICY(maglev_bounded, Method::kMaglev, false, 125);
POLICY(ring_hash, Method::kRingHash, false);
POLICY(first, Method::kFirst, false);

// The choice alone.
void Pick(benchmark::State& state, Method method) {
  Balancer balancer = Make(state, method, false);
  uint64_t key = 0;
  bench::Count count(state);
  for (auto _ : state) {
    const uint32_t endpoint = balancer.Pick({.hash = Key(++key), .now_ns = 1'000'000});
    benchmark::DoNotOptimize(endpoint);
  }
}
#define PICK(name, ...) BENCHMARK_CAPTURE(Pick, name, __VA_ARGS__)->Arg(3)->Arg(100)->Arg(1'000)->Arg(10'000)
PICK(round_robin, Method::kRoundRobin);
PICK(least_conn, Method::kLeastConn);
PICK(p2c, Method::kP2c);
PICK(maglev, Method::kMaglev);

// The choice of an upstream: calm where it may be in panic, in panic, and with two levels.
void PickOfUpstream(benchmark::State& state, Balance method, bool panic, bool backups) {
  UpstreamSettings settings;
  settings.balance = method;
  settings.panic_percent = 50;
  for (int64_t i = 0; i < state.range(0); ++i) {
    const std::string text = "10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256) + ":8080";
    const uint32_t level = backups && i % 2 != 0 ? EndpointSettings::kBackup : 0;
    settings.endpoints.push_back({*SocketAddress::Parse(text), 1, text, level});
  }
  const auto layout = std::make_shared<const LevelLayout>(settings);
  Levels levels(settings, layout, Levels::MakeTables(settings, *layout, nullptr, nullptr, {}), 1);
  for (uint32_t i = 1; panic && i < settings.endpoints.size(); ++i) levels.Set(i, {.well = false});
  uint64_t key = 0;
  bench::Count count(state);
  for (auto _ : state) {
    const uint32_t endpoint = levels.Pick({.hash = Key(++key), .now_ns = 1'000'000});
    benchmark::DoNotOptimize(endpoint);
  }
}
#define UPSTREAM(name, ...) BENCHMARK_CAPTURE(PickOfUpstream, name, __VA_ARGS__)->Arg(4)->Arg(1'000)
UPSTREAM(round_robin, Balance::kRoundRobin, false, false);
UPSTREAM(round_robin_panic, Balance::kRoundRobin, true, false);
UPSTREAM(round_robin_backups, Balance::kRoundRobin, false, true);
UPSTREAM(least_conn_backups, Balance::kLeastConn, false, true);
UPSTREAM(p2c_backups, Balance::kP2c, false, true);
UPSTREAM(maglev, Balance::kMaglev, false, false);
UPSTREAM(maglev_panic, Balance::kMaglev, true, false);
UPSTREAM(maglev_backups, Balance::kMaglev, false, true);

// With half of them unusable: some are drawn, or met, in vain.
void PickAmongHalf(benchmark::State& state, Method method) {
  Balancer balancer = Make(state, method, false);
  for (uint32_t i = 0; i < state.range(0); ++i) balancer.SetUsable(i, Key(i) >> 63 != 0);
  uint64_t key = 0;
  bench::Count count(state);
  for (auto _ : state) benchmark::DoNotOptimize(balancer.Pick({.hash = Key(++key)}));
}
BENCHMARK_CAPTURE(PickAmongHalf, p2c, Method::kP2c)->Arg(1'000);
BENCHMARK_CAPTURE(PickAmongHalf, maglev, Method::kMaglev)->Arg(1'000);
BENCHMARK_CAPTURE(PickAmongHalf, ring_hash, Method::kRingHash)->Arg(1'000);

// With one in sixty-four left, the worst for consistent hashing: many places in vain, then all that are left.
void PickAmongFew(benchmark::State& state, Method method) {
  Balancer balancer = Make(state, method, false);
  for (uint32_t i = 0; i < state.range(0); ++i) balancer.SetUsable(i, i % 64 == 0);
  uint64_t key = 0;
  bench::Count count(state);
  for (auto _ : state) benchmark::DoNotOptimize(balancer.Pick({.hash = Key(++key)}));
}
BENCHMARK_CAPTURE(PickAmongFew, p2c, Method::kP2c)->Arg(10'000);
BENCHMARK_CAPTURE(PickAmongFew, maglev, Method::kMaglev)->Arg(10'000);
BENCHMARK_CAPTURE(PickAmongFew, ring_hash, Method::kRingHash)->Arg(10'000);

// With one usable endpoint left.
void PickTheLastOne(benchmark::State& state, Method method) {
  Balancer balancer = Make(state, method, true);
  for (uint32_t i = 1; i < state.range(0); ++i) balancer.SetUsable(i, false);
  uint64_t key = 0;
  bench::Count count(state);
  for (auto _ : state) benchmark::DoNotOptimize(balancer.Pick({.hash = Key(++key)}));
}
BENCHMARK_CAPTURE(PickTheLastOne, round_robin, Method::kRoundRobin)->Arg(10'000);
BENCHMARK_CAPTURE(PickTheLastOne, least_conn, Method::kLeastConn)->Arg(10'000);
BENCHMARK_CAPTURE(PickTheLastOne, p2c, Method::kP2c)->Arg(10'000);
BENCHMARK_CAPTURE(PickTheLastOne, maglev, Method::kMaglev)->Arg(10'000);

// An endpoint with the largest weight is set aside and comes back: the longest thing a shard does here at
// once.
void SetAsideAndBack(benchmark::State& state, Method method) {
  Balancer balancer = Balancer::Build({.method = method, .weights = std::vector<uint32_t>{1'000, 1, 1}}, 1);
  bench::Count count(state);
  for (auto _ : state) {
    balancer.SetUsable(0, false);
    balancer.SetUsable(0, true);
  }
}
BENCHMARK_CAPTURE(SetAsideAndBack, round_robin, Method::kRoundRobin);
BENCHMARK_CAPTURE(SetAsideAndBack, least_conn, Method::kLeastConn);
BENCHMARK_CAPTURE(SetAsideAndBack, p2c, Method::kP2c);

void Build(benchmark::State& state, Method method, bool weighted = true) {
  bench::Count count(state);
  for (auto _ : state) benchmark::DoNotOptimize(Make(state, method, weighted));
}
#define BUILD(name, ...) \
  BENCHMARK_CAPTURE(Build, name, __VA_ARGS__)->Arg(3)->Arg(1'000)->Arg(10'000)->Unit(benchmark::kMicrosecond)
BUILD(round_robin, Method::kRoundRobin);
BUILD(least_conn, Method::kLeastConn);
BUILD(p2c, Method::kP2c);
BUILD(maglev, Method::kMaglev, false);
BUILD(maglev_weighted, Method::kMaglev);
BUILD(ring_hash, Method::kRingHash, false);

// What a shard does when it first needs the upstream: a copy of what was built.
void Copy(benchmark::State& state, Method method) {
  const Balancer built = Make(state, method, false);
  for (auto _ : state) {
    Balancer balancer = built;
    balancer.Begin(7);
    benchmark::DoNotOptimize(balancer);
  }
}
BENCHMARK_CAPTURE(Copy, maglev, Method::kMaglev)->Arg(3)->Arg(1'000)->Arg(10'000);
BENCHMARK_CAPTURE(Copy, p2c, Method::kP2c)->Arg(3)->Arg(1'000)->Arg(10'000);

}  // namespace
}  // namespace weir::lb
