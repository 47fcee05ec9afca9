#include "bench/allocations.h"

#include <atomic>
#include <cstddef>

namespace {

// Plain loads and stores: the benchmarks have one thread, and a locked add would show in their results.
std::atomic<uint64_t> allocations{0};
void CountOne() {
  allocations.store(allocations.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

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

extern "C" {
void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* memory, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);

void* malloc(size_t bytes) {
  CountOne();
  return __libc_malloc(bytes);
}
void* calloc(size_t count, size_t bytes) {
  CountOne();
  return __libc_calloc(count, bytes);
}
void* realloc(void* memory, size_t bytes) {
  CountOne();
  return __libc_realloc(memory, bytes);
}
void* aligned_alloc(size_t alignment, size_t bytes) {
  CountOne();
  return __libc_memalign(alignment, bytes);
}
}

namespace weir::bench {

uint64_t Allocations() { return allocations.load(std::memory_order_relaxed); }

}  // namespace weir::bench
