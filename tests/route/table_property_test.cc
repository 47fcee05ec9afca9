// Random rules and requests from few words, so that they meet: the table finds what the reference finds.
#include <string>
#include <vector>

#include "core/random.h"
#include "gtest/gtest.h"
#include "lb/route/table.h"
#include "tests/route/reference.h"

namespace weir::lb {
namespace {

class Words {
 public:
  explicit Words(uint64_t seed) : random_(seed) {}

  bool OneIn(uint32_t times) { return random_.OneIn(times); }
  uint32_t Below(uint32_t bound) { return random_.Below(bound); }
  template <size_t kCount>
  std::string Of(const char* const (&words)[kCount]) {
    return words[Below(kCount)];
  }

  std::string Host() {
    std::string host = Of(kTops);
    for (uint32_t i = Below(4); i > 0; --i) host = Of(kLabels) + "." + host;
    return host;
  }
  std::string Path() {
    std::string path;
    for (uint32_t i = Below(5); i > 0; --i) path += "/" + Of(kSegments);
    return path + (path.empty() || OneIn(4) ? "/" : "");
  }
  std::string Pair() { return Of(kNames) + (OneIn(8) ? "" : "=" + Of(kEncoded)); }

  ValueCondition Condition() {
    using Must = ValueCondition::Test;
    ValueCondition condition{.name = Of(kNames), .test = static_cast<Must>(Below(5)), .value = {}};
    if (condition.test >= Must::kExact) condition.value = Of(kValues);
    if (condition.test == Must::kRegex) condition.value += ".*";
    return condition;
  }

  RouteMatch Rule() {
    RouteMatch rule;
    for (uint32_t i = Below(3); i > 0; --i) rule.hosts.push_back((OneIn(2) ? "*." : "") + Host());
    for (uint32_t i = OneIn(3) ? Below(3) : 0; i > 0; --i) rule.paths.push_back(OneIn(20) ? "*" : Path());
    for (uint32_t i = OneIn(2) ? Below(3) : 0; i > 0; --i) rule.path_prefixes.push_back(Path());
    for (uint32_t i = OneIn(4) ? Below(3) : 0; i > 0; --i) rule.path_regexes.push_back(Path() + ".*");
    if (OneIn(3)) rule.methods = {Of(kMethods), Of(kMethods)};
    if (OneIn(3)) rule.scheme = Of(kSchemes);
    for (uint32_t i = OneIn(3) ? Below(3) : 0; i > 0; --i) rule.headers.push_back(Condition());
    for (uint32_t i = OneIn(3) ? Below(3) : 0; i > 0; --i) rule.query.push_back(Condition());
    if (OneIn(5)) {
      Network network;
      std::string error;
      EXPECT_TRUE(ParseNetwork(Of(kNetworks), &network, &error));
      rule.clients = {network};
    }
    return rule;
  }

  Asked Request() {
    Asked asked;
    asked.host = OneIn(20) ? "" : Host();
    asked.path = OneIn(20) ? "*" : Path();
    for (uint32_t i = Below(4); i > 0; --i) asked.query += (asked.query.empty() ? "" : "&") + Pair();
    asked.method = Of(kMethods);
    asked.scheme = Of(kSchemes);
    for (uint32_t i = Below(4); i > 0; --i) asked.fields.push_back(Of(kFieldNames) + ": " + Of(kValues));
    asked.client = Of(kClients);
    return asked;
  }

 private:
  static constexpr const char* kTops[] = {"example", "test", "example", "long-name-of-a-top-level"};
  static constexpr const char* kLabels[] = {"a", "b", "shop-number-one", "www"};
  static constexpr const char* kSegments[] = {
      "a", "b", "ab", "api", "a-segment-of-more-than-eight", "a-segment-of-more-than-nine"};
  static constexpr const char* kMethods[] = {"GET", "POST", "get"};
  static constexpr const char* kSchemes[] = {"http", "https"};
  static constexpr const char* kNames[] = {"x-a", "x b", "x-c"};
  static constexpr const char* kFieldNames[] = {"x-a", "X-A", "x-c"};
  static constexpr const char* kValues[] = {"1", "12", "a b", "%"};
  static constexpr const char* kEncoded[] = {"1", "%31", "12", "1%32", "a+b", "a%20b", "%", "%25", "%2", ""};
  static constexpr const char* kNetworks[] = {"10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32", "0.0.0.0/0"};
  static constexpr const char* kClients[] = {"10.0.0.1", "10.1.2.3", "2001:db8::1", "192.0.2.1",
                                             "::ffff:10.1.2.3"};

  Random random_;
};

std::string Told(const Asked& asked) {
  return asked.method + " " + asked.scheme + "://" + asked.host + asked.path + "?" + asked.query;
}

TEST(TableProperty, FindsWhatGoingThroughAllRulesFinds) {
  RequestMaker maker;
  int found = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    Words words(seed);
    std::vector<RouteMatch> rules;
    for (uint32_t i = words.OneIn(10) ? 300 : words.Below(20); i > 0; --i) {
      rules.push_back(words.Rule());
      for (FieldCondition& header : rules.back().headers) {
        if (header.name == "x b") header.name = "X-C";
      }
    }
    std::vector<RouteProblem> problems;
    const auto table = RouteTable::Build(rules, {.hash_seed = seed}, problems);
    ASSERT_NE(table, nullptr) << problems.front().text;
    for (int i = 0; i < 300; ++i) {
      const Asked asked = words.Request();
      const RouteRequest& request = maker.Make(asked);
      const RouteHit hit = table->Match(request);
      ASSERT_EQ(hit.rule, ReferenceMatch(rules, asked)) << "seed " << seed << ": " << Told(asked);
      found += hit.found() ? 1 : 0;

      std::vector<RouteStep> steps;
      ASSERT_EQ(table->Explain(request, steps).rule, hit.rule);
      for (const RouteStep& step : steps) {
        const bool last = &step == &steps.back();
        ASSERT_EQ(step.failed == RoutePart::kNone, last && hit.found());
      }
      std::vector<uint32_t> others;
      for (const RouteStep& other : table->OthersThatFit(request, hit, rules.size())) {
        ASSERT_EQ(other.failed, RoutePart::kNone);
        ASSERT_NE(other.rule, hit.rule);
        const std::vector<RouteMatch> alone = {rules[other.rule]};
        ASSERT_EQ(ReferenceMatch(alone, asked), 0u) << "seed " << seed << ": " << Told(asked);
        ASSERT_EQ(std::count(others.begin(), others.end(), other.rule), 0);
        others.push_back(other.rule);
      }
      for (const RouteProblem& problem : problems) {
        ASSERT_FALSE(problem.is_error);
        if (problem.part == RoutePart::kNone) ASSERT_NE(hit.rule, problem.rule) << "said never to match";
      }
      if (hit.path == PathKind::kPrefix && hit.found()) {
        ASSERT_EQ(asked.path.substr(hit.path_bytes), table->Capture(hit, request.path).remainder);
      }
    }
  }
  EXPECT_GT(found, 20'000);
}

}  // namespace
}  // namespace weir::lb
