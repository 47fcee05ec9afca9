// Count: put one in a benchmark before its loop, and the result says how often memory was allocated for each
// iteration ("allocs"; every malloc of the process, whoever calls it). Reference: in every binary, a fixed
// piece of integer work, so that results of two machines can be compared as ratios (tools/bench).
#pragma once

#include <x86intrin.h>

#include <cstdint>

#include "benchmark/benchmark.h"
#include "core/allocations.h"

namespace weir::bench {

class Count {
 public:
  // `bytes` an iteration goes through, if that means something: gives bytes per (time stamp) cycle.
  explicit Count(benchmark::State& state, uint64_t bytes = 0)
      : state_(state), bytes_(bytes), allocations_(Allocations()), cycles_(__rdtsc()) {}
  ~Count() {
    const uint64_t cycles = __rdtsc() - cycles_;
    const auto iterations = static_cast<double>(state_.iterations());
    state_.counters["allocs"] = static_cast<double>(Allocations() - allocations_) / iterations;
    if (bytes_ > 0) {
      state_.counters["bytes_per_cycle"] =
          static_cast<double>(bytes_) * iterations / static_cast<double>(cycles);
    }
  }
  Count(const Count&) = delete;
  Count& operator=(const Count&) = delete;

 private:
  benchmark::State& state_;
  uint64_t bytes_;
  uint64_t allocations_;
  uint64_t cycles_;
};

}  // namespace weir::bench
