// What does counting cost?
#include "bench/allocations.h"
#include "core/stats.h"

namespace weir {
namespace {

void CounterAdd(benchmark::State& state) {
  Counter counter;
  benchmark::DoNotOptimize(&counter);  // somebody may read it
  bench::Count count(state);
  for (auto _ : state) {
    counter.Add();
    benchmark::ClobberMemory();
  }
}
BENCHMARK(CounterAdd);

void HistogramRecord(benchmark::State& state) {
  Histogram histogram;
  uint64_t value = 1;
  bench::Count count(state);
  for (auto _ : state) {
    histogram.Record(value & 0xfffff);
    value = value * 6364136223846793005u + 1442695040888963407u;
    benchmark::ClobberMemory();
  }
}
BENCHMARK(HistogramRecord);

}  // namespace
}  // namespace weir
