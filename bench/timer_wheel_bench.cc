// What do timers cost when there are many: rearming one, and a millisecond's advance?
#include <memory>

#include "bench/allocations.h"
#include "core/clock.h"
#include "core/random.h"
#include "core/timer_wheel.h"

namespace weir {
namespace {

struct Entry : Runnable {
  Entry() : Runnable([](Runnable*) {}) { timer.waiter = this; }
  Timer timer;
};

struct Wheel {
  explicit Wheel(uint32_t timers)
      : count(timers), wheel(0), all(std::make_unique<Entry[]>(timers)), random(1) {
    for (uint32_t i = 0; i < timers; ++i) {
      wheel.Set(all[i].timer, 1 + static_cast<uint32_t>(random.Below(60'000)));
    }
  }
  ~Wheel() {
    while (!ready.empty()) ready.PopFront();
    for (uint32_t i = 0; i < count; ++i) wheel.Clear(all[i].timer);
  }
  const uint32_t count;
  TimerWheel wheel;
  std::unique_ptr<Entry[]> all;
  Random random;
  ReadyList ready;
};

void Rearm(benchmark::State& state) {
  Wheel w(static_cast<uint32_t>(state.range(0)));
  bench::Count count(state);
  for (auto _ : state) w.wheel.Set(w.all[w.random.Below(w.count)].timer, 30'000);
}
BENCHMARK(Rearm)->Arg(1'000)->Arg(1'000'000);

// A millisecond passes; what came due is set again for a minute later. ("due": timers a millisecond.)
void Advance(benchmark::State& state) {
  Wheel w(static_cast<uint32_t>(state.range(0)));
  int64_t now_ns = 0;
  uint64_t fired = 0;
  {
    bench::Count count(state);
    for (auto _ : state) {
      now_ns += kNsPerMs;
      w.wheel.Advance(now_ns, w.ready, w.count);
      while (!w.ready.empty()) {
        auto* entry = static_cast<Entry*>(w.ready.PopFront());
        entry->timer.fired = false;
        w.wheel.Set(entry->timer, 60'000);
        ++fired;
      }
    }
  }
  state.counters["due"] = static_cast<double>(fired) / static_cast<double>(state.iterations());
}
BENCHMARK(Advance)->Arg(1'000)->Arg(1'000'000);

// A million timers stand still while time passes: what the wheel itself costs.
void AdvanceNothingDue(benchmark::State& state) {
  Wheel w(static_cast<uint32_t>(state.range(0)));
  for (uint32_t i = 0; i < w.count; ++i) w.wheel.Set(w.all[i].timer, 1u << 29);
  int64_t now_ns = 0;
  bench::Count count(state);
  for (auto _ : state) {
    now_ns += kNsPerMs;
    w.wheel.Advance(now_ns, w.ready, w.count);
  }
}
BENCHMARK(AdvanceNothingDue)->Arg(1'000'000)->Iterations(1'000'000);

}  // namespace
}  // namespace weir
