// lb/route promises that matching allocates nothing: this counts. Regexes are warmed up, as RE2 builds their
// automata while they run.
#include <string>
#include <vector>

#include "core/allocations.h"
#include "gtest/gtest.h"
#include "lb/route/host.h"
#include "lb/route/network_set.h"
#include "lb/route/path.h"
#include "lb/route/table.h"
#include "tests/route/reference.h"

namespace weir::lb {
namespace {

TEST(AllocationTest, NoneForAMatch) {
  using Must = ValueCondition::Test;
  const std::vector<RouteMatch> rules = {
      {.hosts = {"*.a.example"},
       .path_prefixes = {"/a/b"},
       .methods = {"POST"},
       .headers = {{"X-A", Must::kRegex, "[0-9]+"}, {"X-B", Must::kAbsent, {}}},
       .query = {{"q", Must::kExact, "a b"}, {"r", Must::kRegex, "a .*"}},
       .clients = {{.bytes = {10}, .prefix_bits = 8}}},
      {.hosts = {"b.a.example"}, .path_regexes = {"/a/[x-z]+", "/b/(.*)"}},
      {.path_prefixes = {"/"}}};
  std::vector<RouteProblem> problems;
  const auto table = RouteTable::Build(rules, {}, problems);
  const NetworkSet set =
      NetworkSet::Build(std::vector<NetworkSet::Entry>{{{.bytes = {10}, .prefix_bits = 8}, 1}});
  RequestMaker maker;
  const Asked asked = {.path = "/a/b/c",
                       .query = "r=a+b%2Fc&q=a+b",
                       .method = "POST",
                       .fields = {"X-A: 123"},
                       .client = "10.1.2.3"};
  RouteRequest request = maker.Make(asked);
  const std::string_view target = "/a//b/%63?x";
  std::vector<char> out(MaxNormalBytes(target));
  char host[kHostBytes];

  bool good = true;
  const auto once = [&] {
    const NormalTarget normal = NormaliseTarget(target, {}, out.data());
    request.host = NormaliseHost("B.A.Example:80", host);
    request.path = normal.path();
    good &= table->Match(request).rule == 0;
    request.path = "/b/c";
    good &= table->Match(request).rule == 1;
    request.path = "/c";
    const RouteHit hit = table->Match(request);
    good &= hit.rule == 2 && table->Capture(hit, request.path).remainder == "c";
    good &= set.Find(request.client) == 1;
  };
  once();
  const uint64_t before = Allocations();
  for (int i = 0; i < 1'000; ++i) once();
  EXPECT_EQ(Allocations() - before, 0u);
  EXPECT_TRUE(good);
}

}  // namespace
}  // namespace weir::lb
