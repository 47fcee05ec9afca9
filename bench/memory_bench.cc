// What do the shard's allocators cost: arena, coroutine frame, slab, buffer lease?
#include <vector>

#include "bench/allocations.h"
#include "core/arena.h"
#include "core/buffer.h"
#include "core/frame.h"
#include "core/random.h"
#include "core/slab.h"
#include "core/task.h"

namespace weir {
namespace {

constexpr size_t kArenaBytes = size_t{256} << 20;

// One goes, one comes, a thousand stay: as under traffic. Every iteration is one of each.
void ArenaAllocateFree(benchmark::State& state) {
  Arena arena(kArenaBytes);
  const auto bytes = static_cast<size_t>(state.range(0));
  std::vector<void*> live(1000);
  for (void*& object : live) object = arena.Allocate(bytes);
  size_t at = 0;
  {
    bench::Count count(state);
    for (auto _ : state) {
      arena.Free(live[at]);
      live[at] = arena.Allocate(bytes);
      at = (at * 7 + 1) % live.size();
    }
  }
  for (void* object : live) arena.Free(object);
}
BENCHMARK(ArenaAllocateFree)->Arg(64)->Arg(600)->Arg(4096);

Task<int> Child(int value) { co_return value + 1; }
Root Caller(Scope& /*scope*/, int* sum) { *sum += co_await Child(*sum); }

// A root coroutine that awaits a child: two frames.
void CoroutineCall(benchmark::State& state) {
  Arena arena(kArenaBytes);
  SetFrameArena(&arena);
  {
    Scope scope;
    int sum = 0;
    bench::Count count(state);
    for (auto _ : state) {
      Caller(scope, &sum);
      benchmark::DoNotOptimize(sum);
      sum = 0;
    }
  }
  SetFrameArena(nullptr);
}
BENCHMARK(CoroutineCall);

struct Object {
  explicit Object(uint64_t value) { words[0] = value; }
  uint64_t words[54];  // as large as a client connection
};

void SlabMakeDestroy(benchmark::State& state) {
  const auto capacity = static_cast<uint32_t>(state.range(0));
  Slab<Object> slab(capacity);
  std::vector<Object*> live;
  for (uint32_t i = 0; i < capacity - 1; ++i) live.push_back(slab.Make(i));
  Random random(1);
  {
    bench::Count count(state);
    for (auto _ : state) {
      const uint64_t at = random.Below(live.size());
      slab.Destroy(live[at]);
      live[at] = slab.Make(at);
    }
  }
  for (Object* object : live) slab.Destroy(object);
}
BENCHMARK(SlabMakeDestroy)->Arg(64)->Arg(10'000)->Arg(1'000'000);

void BufferLease(benchmark::State& state) {
  Arena arena(kArenaBytes);
  BufferPool pool(arena, 1024);
  bench::Count count(state);
  for (auto _ : state) {
    Slice slice(pool.Take(), 0, 100);
    const Slice copy = slice;
    benchmark::DoNotOptimize(copy.data());
  }
}
BENCHMARK(BufferLease);

void ChunkLease(benchmark::State& state) {
  Arena arena(kArenaBytes);
  BufferPool pool(arena, 16);
  bench::Count count(state);
  for (auto _ : state) {
    const Slice slice(pool.TakeChunk(500), 0, 500);
    benchmark::DoNotOptimize(slice.data());
  }
}
BENCHMARK(ChunkLease);

}  // namespace
}  // namespace weir
