// What does a turn of the ring cost with 1, 8 and 64 operations, and what without any? The operations send a
// byte to one end of a socket pair and receive it at the other: the least that the kernel can do.
#include <sys/socket.h>
#include <unistd.h>

#include "bench/allocations.h"
#include "bench/ring_shard.h"

namespace weir {
namespace {

void EmptyTurn(benchmark::State& state) {
  Switchboard switchboard(1);
  auto shard = bench::RingShard(switchboard);
  bench::Count count(state);
  for (auto _ : state) shard->RunTurn(false);
}
BENCHMARK(EmptyTurn);

// Each iteration: `range` sends and as many receives in one submission, then as many turns as they take.
void SendAndReceive(benchmark::State& state) {
  Switchboard switchboard(1);
  auto shard = bench::RingShard(switchboard);
  const auto pairs = static_cast<size_t>(state.range(0));
  struct Pair {
    int fds[2];
    Op send;
    Op receive;
  };
  auto all = std::make_unique<Pair[]>(pairs);
  for (size_t i = 0; i < pairs; ++i) {
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, all[i].fds) != 0) std::abort();
  }
  {
    bench::Count count(state);
    for (auto _ : state) {
      for (size_t i = 0; i < pairs; ++i) {
        Pair& pair = all[i];
        pair.send.kind = Op::Kind::kSend;
        pair.send.fd = pair.fds[0];
        pair.send.data = "x";
        pair.send.length = 1;
        shard->Start(pair.send);
        pair.receive.kind = Op::Kind::kReceive;
        pair.receive.fd = pair.fds[1];
        shard->Start(pair.receive);
      }
      for (size_t i = 0; i < pairs; ++i) {
        while (!all[i].receive.done() || !all[i].send.done()) shard->RunTurn(false);
        BufferPool::Release(all[i].receive.buffer);
        all[i].send.state = all[i].receive.state = Op::State::kIdle;
      }
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * pairs * 2));
  for (size_t i = 0; i < pairs; ++i) {
    close(all[i].fds[0]);
    close(all[i].fds[1]);
  }
}
BENCHMARK(SendAndReceive)->Arg(1)->Arg(8)->Arg(64);

}  // namespace
}  // namespace weir
