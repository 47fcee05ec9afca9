// From how many bytes on does a pipe cost less than copying? Messages of each size go through one shard on
// loopback TCP, by receives and sends of pool buffers, and by splice(2); another thread sends each and reads
// it before the next. Time is the shard's CPU time for a message. `Crossover` tries all sizes and says what
// --splice_from should be here: for bodies whose length is known, what is to come; a flow of unknown length
// has to prove as much first.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/allocations.h"
#include "bench/ring_shard.h"
#include "core/splice.h"
#include "core/stream.h"

namespace weir {
namespace {

double CpuSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// A TCP connection: the peer's end and ours.
std::pair<int, int> Connection() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* const at = reinterpret_cast<sockaddr*>(&address);
  const int peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listener, at, length) != 0 || listen(listener, 1) != 0 ||
      getsockname(listener, at, &length) != 0 || connect(peer, at, length) != 0) {
    std::abort();
  }
  const int ours = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  close(listener);
  const int on = 1;
  for (const int fd : {peer, ours}) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return {peer, ours};
}

class Flow {
 public:
  Flow(size_t message_bytes, bool by_pipe)
      : message_bytes_(message_bytes),
        by_pipe_(by_pipe),
        switchboard_(1),
        shard_(bench::RingShard(switchboard_)) {
    const auto [source, in] = Connection();
    const auto [sink, out] = Connection();
    in_.Open(in, AF_INET);
    out_.Open(out, AF_INET);
    peer_ = std::thread([this, source = source, sink = sink] { Speak(source, sink); });
  }
  ~Flow() {
    while (!in_.receive_ended()) Step();
    peer_.join();
    splice_.Drop(*shard_, in_);
    for (Stream* stream : {&in_, &out_}) {
      stream->BeginClose(*shard_, false);
      while (!stream->Closed(*shard_)) shard_->RunTurn(false);
    }
  }

  // CPU time of one message.
  double Move() {
    const double begin = CpuSeconds();
    goal_ += message_bytes_;
    while (came_ < goal_ || out_.sending() || splice_.moving()) Step();
    return CpuSeconds() - begin;
  }
  void Stop() { stop_.store(true); }

 private:
  void Speak(int source, int sink) {
    std::vector<char> bytes(message_bytes_);
    while (!stop_.load()) {
      for (size_t sent = 0; sent < bytes.size();) {
        const ssize_t taken = write(source, bytes.data() + sent, bytes.size() - sent);
        if (taken <= 0) std::abort();
        sent += static_cast<size_t>(taken);
      }
      for (size_t heard = 0; heard < bytes.size();) {
        const ssize_t read_bytes = read(sink, bytes.data(), bytes.size());
        if (read_bytes <= 0) std::abort();
        heard += static_cast<size_t>(read_bytes);
      }
    }
    close(source);
    close(sink);
  }

  void Step() {
    in_.Poll(*shard_);
    out_.Poll(*shard_);
    if (in_.receive_ended()) return;  // nothing would end a wait
    if (by_pipe_) {
      // Small messages would be copied by now; here they go on.
      if (splice_.Move(*shard_, in_, out_, UINT64_MAX, came_) == Splice::Step::kCopy) return;
    } else {
      if (!out_.sending() && in_.has_bytes()) {
        Slice slice = in_.TakeBytes();
        came_ += slice.size();
        out_.Send(*shard_, std::move(slice));
      }
      in_.ArmReceive(*shard_, kRelayReceive);
    }
    shard_->RunTurn(true);
  }

  const size_t message_bytes_;
  const bool by_pipe_;
  Switchboard switchboard_;
  std::unique_ptr<Shard> shard_;
  Stream in_;
  Stream out_;
  Splice splice_;
  uint64_t came_ = 0;
  uint64_t goal_ = 0;
  std::atomic<bool> stop_{false};
  std::thread peer_;
};

void Through(benchmark::State& state, bool by_pipe) {
  Flow flow(static_cast<size_t>(state.range(0)), by_pipe);
  flow.Move();  // opens what is kept
  {
    const bench::Count count(state);
    for (auto _ : state) state.SetIterationTime(flow.Move());
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
  flow.Stop();
}
void Copied(benchmark::State& state) { Through(state, false); }
void Spliced(benchmark::State& state) { Through(state, true); }
BENCHMARK(Copied)->RangeMultiplier(4)->Range(4 << 10, 4 << 20)->UseManualTime();
BENCHMARK(Spliced)->RangeMultiplier(4)->Range(4 << 10, 4 << 20)->UseManualTime();

double MedianMicroseconds(size_t bytes, bool by_pipe) {
  constexpr int kMessages = 400;
  std::vector<double> times;
  Flow flow(bytes, by_pipe);
  for (int i = 0; i < kMessages; ++i) times.push_back(flow.Move());
  flow.Stop();
  std::nth_element(times.begin(), times.begin() + kMessages / 2, times.end());
  return times[kMessages / 2] * 1e6;
}

void Crossover(benchmark::State& state) {
  std::string label = "copied/spliced us:";
  size_t from = 0;
  for (auto _ : state) {
    for (size_t bytes = 8 << 10; bytes <= 1 << 20; bytes *= 2) {
      const double copied = MedianMicroseconds(bytes, false);
      const double spliced = MedianMicroseconds(bytes, true);
      char text[64];
      std::snprintf(text, sizeof(text), " %zuK %.1f/%.1f", bytes >> 10, copied, spliced);
      label += text;
      if (spliced >= copied) from = 0;
      if (spliced < copied && from == 0) from = bytes;
    }
  }
  label += from == 0 ? "; copying is cheaper: --splice_from=0"
                     : "; --splice_from=" + std::to_string(from >> 10) + "KiB";
  state.SetLabel(label);
}
BENCHMARK(Crossover)->Iterations(1)->Unit(benchmark::kSecond);

}  // namespace
}  // namespace weir
