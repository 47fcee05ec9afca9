// What does a message between shards cost: through the ring buffer alone, and with doorbell, turn and return?
#include "bench/allocations.h"
#include "bench/ring_shard.h"
#include "core/mailbox.h"

namespace weir {
namespace {

void RingPushPop(benchmark::State& state) {
  SpscRing ring;
  Message message;
  bench::Count count(state);
  for (auto _ : state) {
    ring.Push(&message);
    benchmark::DoNotOptimize(ring.Pop());
  }
}
BENCHMARK(RingPushPop);

struct Ping : Message {
  bool back = true;
};

// There and back, both shards on this thread: the doorbells are rung, nobody is woken.
void Hop(benchmark::State& state) {
  Switchboard switchboard(2);
  auto first = bench::RingShard(switchboard, 0);
  auto second = bench::RingShard(switchboard, 1);
  Ping ping;
  ping.deliver = [](Message*, Shard&) {};
  ping.recycle = [](Message* message, Shard&) { static_cast<Ping*>(message)->back = true; };
  first->RunTurn(false);
  second->RunTurn(false);
  bench::Count count(state);
  for (auto _ : state) {
    ping.back = false;
    first->Post(1, &ping);
    while (!ping.back) {
      first->RunTurn(false);
      second->RunTurn(false);
    }
  }
}
BENCHMARK(Hop);

}  // namespace
}  // namespace weir
