// What does one access log line cost?
#include <string>

#include "bench/allocations.h"
#include "lb/log/access_line.h"

namespace weir::lb {
namespace {

void Format(benchmark::State& state, const std::string& target) {
  const SocketAddress endpoint = *SocketAddress::Parse("10.0.0.2:80");
  AccessRecord record;
  record.client = *SocketAddress::Parse("192.0.2.7:50123");
  record.method = "GET";
  record.host = "www.example.com";
  record.target = target;
  record.request_id = "0123456789abcdef0123456789abcdef";
  record.status = 200;
  record.bytes_sent = 1'234;
  record.total_us = 1'500;
  record.response_us = 1'400;
  record.endpoint = &endpoint;
  record.end = "ok";
  char line[kMaxAccessLineBytes];
  int64_t wall_ms = 1'795'359'352'123;
  bench::Count count(state);
  for (auto _ : state) {
    benchmark::DoNotOptimize(FormatAccessLine(record, ++wall_ms, line, sizeof(line)));
    benchmark::ClobberMemory();
  }
}
BENCHMARK_CAPTURE(Format, usual, "/products/index.html?page=3&sort=price");
BENCHMARK_CAPTURE(Format, long_target, std::string(2'000, 'x'));
BENCHMARK_CAPTURE(Format, hostile_target, std::string(2'000, '\x80'));

}  // namespace
}  // namespace weir::lb
