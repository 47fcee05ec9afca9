// What does finding a request's rule cost: its path, the table at 10 to 10,000 hosts, a client's network, its
// side of a split?
#include <cstdio>
#include <string>
#include <vector>

#include "bench/allocations.h"
#include "core/random.h"
#include "lb/route/host.h"
#include "lb/route/network_set.h"
#include "lb/route/path.h"
#include "lb/route/split.h"
#include "lb/route/table.h"

namespace weir::lb {
namespace {

void Normalise(benchmark::State& state, std::string_view target) {
  std::vector<char> out(MaxNormalBytes(target));
  bench::Count count(state, target.size());
  for (auto _ : state) {
    benchmark::DoNotOptimize(target);
    NormalTarget normal = NormaliseTarget(target, {}, out.data());
    benchmark::DoNotOptimize(normal);
  }
}
BENCHMARK_CAPTURE(Normalise, plain,
                  std::string_view("/api/v1/users/1234567/orders?from=2026-01-01&to=2026-02-01"));
BENCHMARK_CAPTURE(Normalise, encoded,
                  std::string_view("/api/v1/users/J%C3%BCrgen/orders?from=2026-01-01&to=2026-02-01"));
BENCHMARK_CAPTURE(Normalise, dirty,
                  std::string_view("/api//v1/./users/%7euser/../1234567/orders?from=2026-01-01"));

void Host(benchmark::State& state) {
  char out[kHostBytes];
  std::string_view authority = "Shop-1234.Customer.Example:8443";
  bench::Count count(state);
  for (auto _ : state) {
    benchmark::DoNotOptimize(authority);
    std::string_view host = NormaliseHost(authority, out);
    benchmark::DoNotOptimize(host);
  }
}
BENCHMARK(Host);

constexpr const char* kPaths[] = {
    "/",        "/api/v1/users", "/api/v1/orders", "/static",      "/images",
    "/healthz", "/login",        "/admin/",        "/favicon.ico", "/robots.txt"};

std::string HostName(uint32_t i) { return "shop-" + std::to_string(i * 7919) + ".customer.example"; }

// No two hosts have a text in common but the shortest.
std::string PathOf(uint32_t host, uint32_t i) {
  std::string path = kPaths[i];
  if (path.size() > 1)
    path.insert(path.find('/', 1) == std::string::npos ? 1 : 5, std::to_string(host) + "-");
  return path;
}

// Half of the ten paths of each host are prefixes. Every tenth host is a wildcard.
std::vector<RouteMatch> Rules(uint32_t hosts) {
  std::vector<RouteMatch> rules;
  for (uint32_t i = 0; i < hosts; ++i) {
    for (uint32_t p = 0; p < std::size(kPaths); ++p) {
      RouteMatch& rule = rules.emplace_back();
      rule.hosts = {(i % 10 == 9 ? "*." : "") + HostName(i)};
      (p < 5 ? rule.path_prefixes : rule.paths).push_back(PathOf(i, p));
    }
  }
  return rules;
}

// Requests as a parser leaves them: host and path side by side.
struct Questions {
  std::string text;
  std::vector<uint32_t> ends;  // of each host, of each path

  std::string_view At(size_t i) const {
    const uint32_t begin = i == 0 ? 0 : ends[i - 1];
    return std::string_view(text).substr(begin, ends[i] - begin);
  }
};

Questions Ask(uint32_t hosts, size_t count) {
  Random random(1);
  Questions questions;
  const auto add = [&](const std::string& text) {
    questions.text += text;
    questions.ends.push_back(static_cast<uint32_t>(questions.text.size()));
  };
  for (size_t n = 0; n < count; ++n) {
    const uint32_t i = random.Below(hosts);
    const uint32_t p = random.Below(std::size(kPaths));
    add((i % 10 == 9 ? "www." : "") + HostName(i));
    add(PathOf(i, p) + (p == 0 ? "index.html" : p < 5 ? "/1234567" : ""));
  }
  return questions;
}

// Hosts and paths at random, so that with many of them the table is not in the nearest cache. The questions
// are kept close together: a request's text is in the cache when it is matched.
void Match(benchmark::State& state) {
  const auto hosts = static_cast<uint32_t>(state.range(0));
  std::vector<RouteProblem> problems;
  const std::unique_ptr<const RouteTable> table = RouteTable::Build(Rules(hosts), {}, problems);
  constexpr size_t kQuestions = 16'384;
  const Questions questions = Ask(hosts, kQuestions);
  RouteRequest request;
  request.method = "GET";
  size_t next = 0;
  bench::Count count(state);
  for (auto _ : state) {
    request.host = questions.At(next);
    request.path = questions.At(next + 1);
    next = (next + 2) % (2 * kQuestions);
    RouteHit hit = table->Match(request);
    if (!hit.found()) state.SkipWithError("no rule");
    benchmark::DoNotOptimize(hit);
  }
}
BENCHMARK(Match)->Arg(10)->Arg(1'000)->Arg(10'000);

// Nothing fits: the host has a wildcard's ending and the path goes deep.
void MatchNothing(benchmark::State& state) {
  std::vector<RouteProblem> problems;
  const std::unique_ptr<const RouteTable> table = RouteTable::Build(Rules(10'000), {}, problems);
  std::string path;
  for (int i = 0; i < 4'000; ++i) path += "/a";
  RouteRequest request;
  request.host = "a.b.c.d.e.f.unknown.customer.example";
  request.path = path;
  request.method = "GET";
  bench::Count count(state);
  for (auto _ : state) {
    RouteHit hit = table->Match(request);
    benchmark::DoNotOptimize(hit);
  }
}
BENCHMARK(MatchNothing);

SocketAddress RandomAddress(Random& random, bool ipv6) {
  SocketAddress address;
  address.family = ipv6 ? AF_INET6 : AF_INET;
  for (uint8_t& byte : address.bytes) byte = static_cast<uint8_t>(random.Below(256));
  if (!ipv6) std::fill(address.bytes + 4, address.bytes + 16, uint8_t{0});
  if (ipv6) {
    address.bytes[0] = 0x20;
    address.bytes[1] = 0x01;
  }
  return address;
}

NetworkSet Networks(uint32_t count, bool ipv6) {
  Random random(1);
  std::vector<NetworkSet::Entry> entries;
  while (entries.size() < count) {
    const SocketAddress address = RandomAddress(random, ipv6);
    const uint32_t bits = ipv6 ? 32 + random.Below(33) : 12 + random.Below(21);
    Network network{.prefix_bits = static_cast<uint8_t>(bits), .ipv6 = ipv6};
    for (uint32_t i = 0; i < bits; ++i)
      network.bytes[i / 8] |= static_cast<uint8_t>(address.bytes[i / 8] & (0x80 >> i % 8));
    entries.push_back({network, random.Below(2)});
  }
  return NetworkSet::Build(entries);
}

void FindNetwork(benchmark::State& state, bool ipv6) {
  const NetworkSet set = Networks(static_cast<uint32_t>(state.range(0)), ipv6);
  Random random(2);
  std::vector<SocketAddress> addresses(16'384);
  for (SocketAddress& address : addresses) address = RandomAddress(random, ipv6);
  size_t next = 0;
  bench::Count count(state);
  for (auto _ : state) benchmark::DoNotOptimize(set.Find(addresses[next++ % addresses.size()]));
}
BENCHMARK_CAPTURE(FindNetwork, v4, false)->Arg(100'000);
BENCHMARK_CAPTURE(FindNetwork, v6, true)->Arg(100'000);

void SideByHash(benchmark::State& state) {
  Split split;
  for (int64_t i = 0; i < state.range(0); ++i) split.Add("side-" + std::to_string(i), 10);
  split.sticky = Split::Sticky::kHash;
  RouteRequest request = {.client = *SocketAddress::Parse("203.0.113.1:80")};
  bench::Count count(state);
  for (auto _ : state) {
    ++request.client.bytes[3];
    benchmark::DoNotOptimize(ChooseSide(split, request, 0));
  }
}
BENCHMARK(SideByHash)->Arg(2)->Arg(20);

void Build(benchmark::State& state) {
  const std::vector<RouteMatch> rules = Rules(static_cast<uint32_t>(state.range(0)));
  bench::Count count(state);
  for (auto _ : state) {
    std::vector<RouteProblem> problems;
    benchmark::DoNotOptimize(RouteTable::Build(rules, {}, problems));
  }
}
BENCHMARK(Build)->Arg(10'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace weir::lb
