#include "bench/allocations.h"

#include <cstdint>

namespace {

void Reference(benchmark::State& state) {
  uint64_t value = 88'172'645'463'325'252u;
  for (auto _ : state) {
    for (int i = 0; i < 100; ++i) {
      value ^= value << 13;
      value ^= value >> 7;
      value ^= value << 17;
    }
    benchmark::DoNotOptimize(value);
  }
}
BENCHMARK(Reference);

}  // namespace
