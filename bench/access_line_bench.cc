// What does one access log line cost, in each of its forms?
#include <string>

#include "bench/allocations.h"
#include "lb/log/access_format.h"
#include "lb/log/access_line.h"

namespace weir::lb {
namespace {

const SocketAddress kEndpoint = *SocketAddress::Parse("10.0.0.2:80");

AccessRecord Record(std::string_view target) {
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
  record.endpoint = &kEndpoint;
  record.end = "ok";
  record.request_head =
      "GET /products/index.html?page=3&sort=price HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: "
      "Mozilla/5.0 "
      "(X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\nAccept: text/html\r\nReferer: "
      "https://www.example.com/?from=mail\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n";
  return record;
}

void Format(benchmark::State& state, const std::string& target) {
  const AccessRecord record = Record(target);
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

AccessLogSettings Combined() {
  AccessLogSettings settings;
  settings.form = AccessLogSettings::Form::kCombined;
  return settings;
}
AccessLogSettings Redacted() {
  AccessLogSettings settings;
  settings.redact_query = true;
  settings.request_headers = {"User-Agent", "Referer"};
  return settings;
}

void FormatAsAsked(benchmark::State& state, const AccessLogSettings& settings) {
  AccessFormat::Problem problem;
  const std::shared_ptr<const AccessFormat> format = AccessFormat::Build(settings, &problem);
  const AccessRecord record = Record("/products/index.html?page=3&sort=price");
  std::string line(format->max_line_bytes(), ' ');
  int64_t wall_ms = 1'795'359'352'123;
  bench::Count count(state);
  for (auto _ : state) {
    benchmark::DoNotOptimize(format->Write(record, ++wall_ms, line.data()));
    benchmark::ClobberMemory();
  }
}
BENCHMARK_CAPTURE(FormatAsAsked, usual_members, AccessLogSettings());
BENCHMARK_CAPTURE(FormatAsAsked, combined, Combined());
BENCHMARK_CAPTURE(FormatAsAsked, headers_and_redacted_query, Redacted());

}  // namespace
}  // namespace weir::lb
