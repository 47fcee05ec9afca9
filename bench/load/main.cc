// weir-load: load generator and origin for measuring proxies, both in one thread with one io_uring, so cheap
// that the proxy is the bottleneck. See --help. Output: one JSON object on a line of its own.
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "bench/load/client.h"
#include "bench/load/origin.h"
#include "core/address.h"
#include "core/uring_backend.h"
#include "core/uring_probe.h"

ABSL_FLAG(std::string, origins, "",
          "listen on these addresses (comma list) and answer GET and POST /b/N with N bytes");
ABSL_FLAG(std::string, serve_ms, "",
          "how long each of --origins is at work with a request, a comma list in their order; missing ones, "
          "and 0: not at all");
ABSL_FLAG(uint32_t, workers, 1, "with --serve_ms: so many requests at one time, others wait");
ABSL_FLAG(std::string, target, "",
          "ask this address; without it the program is only an origin, until SIGTERM");
ABSL_FLAG(uint32_t, connections, 64, "connections to the target");
ABSL_FLAG(
    std::string, ask, "100",
    "what to ask, a comma list that is gone through again and again: BYTES (GET, so many bytes of answer) or "
    "UPLOAD+BYTES (POST)");
ABSL_FLAG(bool, close, false, "a connection for each request");
ABSL_FLAG(bool, close_field, true, "with --close: say \"Connection: close\" (not what a TCP proxy looks at)");
ABSL_FLAG(bool, connect_only, false, "open a connection, say FIN, wait for the target's FIN: no request");
ABSL_FLAG(double, seconds, 3, "duration of the load; 0: none, only the connections");
ABSL_FLAG(double, rate, 0,
          "requests a second, due whether or not earlier ones were answered; 0: closed loop");
ABSL_FLAG(std::string, hold, "",
          "a comma list of counts: the origin answers nothing until so many requests wait, then all; then "
          "the next");
ABSL_FLAG(bool, first, true, "each connection asks once before the load begins");
ABSL_FLAG(double, warm_seconds, 0,
          "the load runs for so long before it counts: what the target opens and keeps is there then");
ABSL_FLAG(bool, sync, false,
          "print \"ready\" when all are connected, begin at a line on stdin, and keep the connections until "
          "its end");
ABSL_FLAG(uint32_t, timeout_ms, 30'000, "a request that takes longer has failed");

namespace weir::load {
namespace {

constexpr uint32_t kBuffers = 8192;
constexpr size_t kArenaBytes = size_t{256} << 20;
constexpr uint32_t kCompletions = 65'536;
constexpr int64_t kPatienceNs = 5 * kNsPerSecond;  // for what is under way at the end

[[noreturn]] void Die(const std::string& message) {
  std::fprintf(stderr, "weir-load: %s\n", message.c_str());
  std::exit(1);
}

std::vector<std::string> Split(const std::string& list) {
  std::vector<std::string> parts;
  for (size_t at = 0; at < list.size();) {
    const size_t comma = std::min(list.find(',', at), list.size());
    parts.push_back(list.substr(at, comma - at));
    at = comma + 1;
  }
  return parts;
}

SocketAddress ParseAddress(const char* flag, const std::string& text) {
  const std::optional<SocketAddress> address = SocketAddress::Parse(text);
  if (!address.has_value()) Die(std::string("--") + flag + ": \"" + text + "\": expected ADDRESS:PORT");
  return *address;
}

uint64_t ParseNumber(const char* flag, std::string_view text, uint64_t most) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > most) {
    Die(std::string("--") + flag + ": \"" + std::string(text) + "\": expected a number, at most " +
        std::to_string(most));
  }
  return value;
}
uint64_t ParseBytes(std::string_view text) { return ParseNumber("ask", text, LoadOrigin::kLargestBody); }

std::vector<Ask> ParseAsks() {
  std::vector<Ask> asks;
  const bool close = absl::GetFlag(FLAGS_close) && absl::GetFlag(FLAGS_close_field);
  for (const std::string& text : Split(absl::GetFlag(FLAGS_ask))) {
    const size_t plus = text.find('+');
    Ask ask;
    ask.answer_bytes = ParseBytes(plus == std::string::npos ? text : text.substr(plus + 1));
    ask.request = (plus == std::string::npos ? "GET" : "POST");
    ask.request += " /b/" + std::to_string(ask.answer_bytes) +
                   " HTTP/1.1\r\nHost: " + absl::GetFlag(FLAGS_target) +
                   "\r\nUser-Agent: weir-load\r\nAccept: */*\r\n";
    if (close) ask.request += "Connection: close\r\n";
    if (plus != std::string::npos) {
      const uint64_t upload = ParseBytes(std::string_view(text).substr(0, plus));
      ask.request += "Content-Length: " + std::to_string(upload) + "\r\n\r\n" + std::string(upload, 'u');
    } else {
      ask.request += "\r\n";
    }
    asks.push_back(std::move(ask));
  }
  if (asks.empty()) Die("--ask: expected at least one number of bytes");
  return asks;
}

double OwnCpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// In us; the upper end of the bucket, which is within 1.6 %.
double Quantile(const LoadClient::Latency& latency, uint64_t count, double fraction) {
  const auto wanted = static_cast<uint64_t>(fraction * static_cast<double>(count));
  uint64_t below = 0;
  for (uint32_t i = 0; i < LoadClient::Latency::kBuckets; ++i) {
    below += latency.bucket(i);
    if (below > wanted || (below == count && below > 0)) {
      return static_cast<double>(LoadClient::Latency::UpperBound(i)) * 1e-3;
    }
  }
  return 0;
}

void Print(const LoadClient& client, double seconds, double cpu_seconds) {
  const LoadClient::Results r = client.results();
  const LoadClient::Latency& latency = client.latency();
  std::printf(
      "{\"requests\": %llu, \"seconds\": %.6f, \"failed\": %llu, \"failed_before\": %llu, \"connects\": "
      "%llu, \"bytes\": %llu, "
      "\"errors\": {\"connect\": %llu, \"status\": %llu, \"broken\": %llu, \"timeout\": %llu}, "
      "\"first_wrong\": \"%s\", \"closed_idle\": %llu, "
      "\"unanswered\": %llu, \"generator_cpu_seconds\": %.6f, "
      "\"latency_us\": {\"mean\": %.1f, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"p99.9\": %.1f, "
      "\"p99.99\": %.1f, "
      "\"max\": %.1f}}\n",
      static_cast<unsigned long long>(r.requests), seconds,
      static_cast<unsigned long long>(LoadClient::Failed(r)),
      static_cast<unsigned long long>(r.failed_before), static_cast<unsigned long long>(r.connects),
      static_cast<unsigned long long>(r.bytes), static_cast<unsigned long long>(r.connect_errors),
      static_cast<unsigned long long>(r.status_errors), static_cast<unsigned long long>(r.broken),
      static_cast<unsigned long long>(r.timeouts), client.first_wrong().c_str(),
      static_cast<unsigned long long>(r.closed_idle), static_cast<unsigned long long>(r.unanswered),
      cpu_seconds,
      r.requests == 0 ? 0.0 : static_cast<double>(latency.sum()) * 1e-3 / static_cast<double>(r.requests),
      Quantile(latency, r.requests, 0.5), Quantile(latency, r.requests, 0.9),
      Quantile(latency, r.requests, 0.99), Quantile(latency, r.requests, 0.999),
      Quantile(latency, r.requests, 0.9999), Quantile(latency, r.requests, 1.0));
  std::fflush(stdout);
}

// The program's own pace: what happens after how many turns is decided here, the shard only turns.
class Program {
 public:
  explicit Program(Shard& shard)
      : shard_(shard), stdin_ready_(&Program::OnStdin, this), tick_(&Program::OnTick, this) {
    tick_timer_.waiter = &tick_;
    for (const std::string& count : Split(absl::GetFlag(FLAGS_hold))) {
      hold_.counts.push_back(static_cast<uint32_t>(ParseNumber("hold", count, kOriginConnections)));
    }
    for (const std::string& time : Split(absl::GetFlag(FLAGS_serve_ms))) {
      serve_ms_.push_back(static_cast<uint32_t>(ParseNumber("serve_ms", time, kMostServeMs)));
    }
    if (absl::GetFlag(FLAGS_workers) == 0) Die("--workers: expected 1 or more");
    shard_.SetTimer(tick_timer_, kTickMs);
  }
  ~Program() {
    shard_.ClearTimer(tick_timer_);
    shard_.Forget(stdin_ready_);
    shard_.Forget(tick_);
  }

  void Listen(const std::string& text) {
    SocketAddress address = ParseAddress("origins", text);
    const int fd = shard_.backend().Listen(address, {});
    if (fd < 0) Die("--origins: " + text + ": " + std::strerror(-fd));
    const LoadPace pace{origins_.size() < serve_ms_.size() ? serve_ms_[origins_.size()] : 0,
                        absl::GetFlag(FLAGS_workers)};
    origins_.push_back(std::make_unique<LoadOrigin>(shard_, fd, kOriginConnections, hold_, pace));
  }

  int Run() {
    if (absl::GetFlag(FLAGS_target).empty()) {
      for (;;) shard_.RunTurn(true);
    }
    LoadClient::Options options;
    options.target = ParseAddress("target", absl::GetFlag(FLAGS_target));
    options.connections = absl::GetFlag(FLAGS_connections);
    options.asks = ParseAsks();
    options.connect_only = absl::GetFlag(FLAGS_connect_only);
    options.close = absl::GetFlag(FLAGS_close) || options.connect_only;
    options.rate = absl::GetFlag(FLAGS_rate);
    options.request_timeout_ms = absl::GetFlag(FLAGS_timeout_ms);
    LoadClient client(shard_, options);
    client_ = &client;
    client.Connect(absl::GetFlag(FLAGS_first));
    const int64_t patience_ns = shard_.now_ns() + options.request_timeout_ms * kNsPerMs;
    while (!client.ready()) {
      shard_.RunTurn(true);
      if (shard_.now_ns() < patience_ns) continue;
      const LoadClient::Results so_far = client.results();
      Die("not all connections were answered within --timeout_ms: " + std::to_string(so_far.connect_errors) +
          " connects failed, " + std::to_string(so_far.status_errors) + " answers were not 200, " +
          std::to_string(so_far.broken) + " broke off or were not as asked for" +
          (client.first_wrong().empty() ? "" : "; the first: " + client.first_wrong()));
    }
    if (absl::GetFlag(FLAGS_warm_seconds) > 0) Load(client, absl::GetFlag(FLAGS_warm_seconds));
    const bool sync = absl::GetFlag(FLAGS_sync);
    if (sync) {
      std::puts("ready");
      std::fflush(stdout);
      AwaitStdin();
    }
    const double seconds = absl::GetFlag(FLAGS_seconds);
    const double cpu_before = OwnCpuSeconds();
    const int64_t begin_ns = shard_.now_ns();
    if (seconds > 0) Load(client, seconds);
    Print(client, static_cast<double>(shard_.now_ns() - begin_ns) * 1e-9, OwnCpuSeconds() - cpu_before);
    if (sync) AwaitStdin();
    client.BeginClose();
    while (!client.closed()) shard_.RunTurn(true);
    client_ = nullptr;
    for (auto& origin : origins_) origin->BeginClose();
    for (auto& origin : origins_) {
      while (!origin->closed()) shard_.RunTurn(true);
    }
    return 0;
  }

 private:
  static constexpr uint32_t kTickMs = 200;
  static constexpr uint32_t kTicksToLook = 5;
  static constexpr uint32_t kOriginConnections = 65'536;
  static constexpr uint32_t kMostServeMs = 60'000;

  struct Callback : Runnable {
    Callback(Function run, Program* program) : Runnable(run), program(program) {}
    Program* program;
  };

  // Asks for so long, and waits for what is under way then.
  void Load(LoadClient& client, double seconds) {
    client.Begin();
    const int64_t end_ns = shard_.now_ns() + static_cast<int64_t>(seconds * 1e9);
    // An open loop turns without rest: a timer would bundle what is due.
    const bool may_wait = absl::GetFlag(FLAGS_rate) <= 0;
    while (shard_.now_ns() < end_ns) {
      client.Pace();
      shard_.RunTurn(may_wait);
    }
    client.End(end_ns);
    while (!client.quiet() && shard_.now_ns() < end_ns + kPatienceNs) shard_.RunTurn(true);
  }

  static void OnStdin(Runnable* self) { static_cast<Callback*>(self)->program->stdin_woke_ = true; }
  static void OnTick(Runnable* self) {
    Program& program = *static_cast<Callback*>(self)->program;
    program.tick_timer_.fired = false;
    if (program.client_ != nullptr && ++program.ticks_ % kTicksToLook == 0) program.client_->CheckTimeouts();
    program.shard_.SetTimer(program.tick_timer_, kTickMs);
  }

  // Until a line, or the end, comes; the shard turns meanwhile.
  void AwaitStdin() {
    Source poll;
    poll.kind = Op::Kind::kPoll;
    poll.fd = STDIN_FILENO;
    poll.length = POLLIN;
    poll.waiter = &stdin_ready_;
    stdin_woke_ = false;
    shard_.Start(poll);
    while (!stdin_woke_) shard_.RunTurn(true);
    char line[256];
    [[maybe_unused]] const ssize_t got = read(STDIN_FILENO, line, sizeof(line));
    shard_.Cancel(poll);
    while (poll.busy()) shard_.RunTurn(true);
  }

  Shard& shard_;
  LoadHold hold_;
  std::vector<uint32_t> serve_ms_;
  std::vector<std::unique_ptr<LoadOrigin>> origins_;
  LoadClient* client_ = nullptr;
  Callback stdin_ready_;
  Callback tick_;
  Timer tick_timer_;
  uint32_t ticks_ = 0;
  bool stdin_woke_ = false;
};

int Main() {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  std::signal(SIGPIPE, SIG_IGN);
  if (absl::GetFlag(FLAGS_origins).empty() && absl::GetFlag(FLAGS_target).empty()) {
    Die("nothing to do: give --origins, --target or both");
  }

  UringFeatures features;
  std::string problem;
  if (!ProbeUring(features, problem)) Die(problem);
  Switchboard switchboard(1);
  Shard::Options options;
  options.seed = 1;
  options.arena_bytes = kArenaBytes;
  options.buffers = kBuffers;
  const UringBackend::Options uring{features, 4096, kCompletions};
  Shard shard(options, switchboard, [&uring](BufferPool& pool, CoreCounters& counters) {
    return std::make_unique<UringBackend>(uring, pool, counters);
  });
  Shard::Enter enter(shard);
  shard.RunTurn(false);  // reads the clock
  Program program(shard);
  for (const std::string& text : Split(absl::GetFlag(FLAGS_origins))) program.Listen(text);
  return program.Run();
}

}  // namespace
}  // namespace weir::load

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage("load generator and origin for measuring HTTP/1.1 and TCP proxies");
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  if (rest.size() > 1) weir::load::Die(std::string("\"") + rest[1] + "\": expected only flags");
  return weir::load::Main();
}
