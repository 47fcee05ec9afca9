// Every kind of condition, and every rule of which of several is the best.
#include "lb/route/table.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/route/reference.h"

namespace weir::lb {
namespace {

using Must = ValueCondition::Test;
constexpr uint32_t kNone = RouteHit::kNone;

// A table, and what it says to requests.
class Table {
 public:
  explicit Table(std::vector<RouteMatch> rules, const RouteOptions& options = {}) : rules_(std::move(rules)) {
    std::vector<RouteProblem> problems;
    table_ = RouteTable::Build(rules_, options, problems);
    EXPECT_NE(table_, nullptr);
    for (const RouteProblem& problem : problems) ADD_FAILURE() << Name(problem.part) << ": " << problem.text;
  }

  RouteHit Hit(const Asked& asked) { return table_->Match(maker_.Make(asked)); }
  uint32_t Rule(const Asked& asked) { return Hit(asked).rule; }
  uint32_t At(const std::string& host, const std::string& path = "/") {
    return Rule({.host = host, .path = path});
  }
  RouteCaptures Captures(const Asked& asked) { return table_->Capture(Hit(asked), asked.path); }

  // "0 any-host prefix:4 header 1; 2 exact-host exact met"
  std::string Explained(const Asked& asked) {
    constexpr const char* kHosts[] = {"exact-host", "wildcard", "any-host"};
    constexpr const char* kPaths[] = {"exact", "regex", "prefix", "any-path"};
    std::vector<RouteStep> steps;
    table_->Explain(maker_.Make(asked), steps);
    std::string text;
    for (const RouteStep& step : steps) {
      text += (text.empty() ? "" : "; ") + std::to_string(step.rule) + " " +
              kHosts[static_cast<int>(step.host)] + " " + kPaths[static_cast<int>(step.path)];
      if (step.path == PathKind::kPrefix) text += ":" + std::to_string(step.path_bytes);
      text += step.failed == RoutePart::kNone
                  ? std::string(" met")
                  : std::string(" ") + Name(step.failed) + " " + std::to_string(step.failed_element);
    }
    return text;
  }

 private:
  std::vector<RouteMatch> rules_;
  std::unique_ptr<const RouteTable> table_;
  RequestMaker maker_;
};

TEST(Hosts, ExactAndWildcardAndAny) {
  Table table(
      {{.hosts = {"a.example"}}, {.hosts = {"*.a.example"}}, {.hosts = {"[2001:DB8::1]", "B.example."}}});
  EXPECT_EQ(table.At("a.example"), 0u);
  EXPECT_EQ(table.At("b.a.example"), 1u);
  EXPECT_EQ(table.At("c.b.a.example"), 1u);  // one or more labels
  EXPECT_EQ(table.At(".a.example"), kNone);
  EXPECT_EQ(table.At("xa.example"), kNone);
  EXPECT_EQ(table.At("example"), kNone);
  EXPECT_EQ(table.At(""), kNone);
  EXPECT_EQ(table.At("[2001:db8::1]"), 2u);
  EXPECT_EQ(table.At("b.example"), 2u);
}

TEST(Hosts, TheLongestWildcardThenShorterOnesThenNone) {
  Table table({{},
               {.hosts = {"*.example"}, .path_prefixes = {"/1"}},
               {.hosts = {"*.b.a.example"}, .path_prefixes = {"/3"}},
               {.hosts = {"*.a.example"}, .path_prefixes = {"/2", "/1"}},
               {.hosts = {"c.b.a.example"}, .path_prefixes = {"/4", "/2"}}});
  EXPECT_EQ(table.At("c.b.a.example", "/4"), 4u);
  EXPECT_EQ(table.At("c.b.a.example", "/3"), 2u);
  EXPECT_EQ(table.At("c.b.a.example", "/2"), 4u);
  EXPECT_EQ(table.At("c.b.a.example", "/1"), 3u);
  EXPECT_EQ(table.At("c.b.a.example", "/0"), 0u);
  EXPECT_EQ(table.At("b.a.example", "/3"), 0u);  // the star stands for a label at least
  EXPECT_EQ(table.At("b.a.example", "/1"), 3u);
  EXPECT_EQ(table.At("a.example", "/1"), 1u);
  EXPECT_EQ(table.At("test", "/1"), 0u);
  EXPECT_EQ(table.At("", "/1"), 0u);
}

TEST(Hosts, AnotherHostOfTheSameHashTagIsNotTaken) {
  std::vector<RouteMatch> rules;
  for (int i = 0; i < 5'000; ++i) rules.push_back({.hosts = {"h" + std::to_string(i) + ".example"}});
  Table table(rules);
  for (int i = 0; i < 5'000; ++i) {
    EXPECT_EQ(table.At("h" + std::to_string(i) + ".example"), static_cast<uint32_t>(i));
    EXPECT_EQ(table.At("g" + std::to_string(i) + ".example"), kNone);
  }
}

TEST(Hosts, LongNamesAndManyLabels) {
  std::string deep = "example";
  for (int i = 0; i < 30; ++i) deep = "a." + deep;  // 31 labels
  Table table({{.hosts = {"*." + deep}}, {.hosts = {"x." + deep}}, {.hosts = {std::string(253, 'x')}}});
  EXPECT_EQ(table.At("y." + deep), 0u);
  EXPECT_EQ(table.At("z.y.x." + deep), 0u);
  EXPECT_EQ(table.At("x." + deep), 1u);
  EXPECT_EQ(table.At(deep), kNone);
  EXPECT_EQ(table.At(std::string(253, 'x')), 2u);
  std::string dots(256, '.');
  EXPECT_EQ(table.At(dots), kNone);
}

TEST(Paths, ExactIsTheWholePath) {
  Table table(
      {{.paths = {"/a"}}, {.paths = {"/a/"}}, {.paths = {"/"}}, {.paths = {"*"}}, {.paths = {"/a/b%20c"}}});
  EXPECT_EQ(table.At("", "/a"), 0u);
  EXPECT_EQ(table.At("", "/a/"), 1u);
  EXPECT_EQ(table.At("", "/"), 2u);
  EXPECT_EQ(table.At("", "*"), 3u);
  EXPECT_EQ(table.At("", "/a/b%20c"), 4u);
  for (const char* path : {"/A", "/a/b", "/ab", "/a/b%20c/", "/a//", "//", "/*"})
    EXPECT_EQ(table.At("", path), kNone);
}

TEST(Paths, PrefixesAreOfWholeSegments) {
  Table table({{.path_prefixes = {"/api"}}, {.path_prefixes = {"/dir/"}}});
  for (const char* path : {"/api", "/api/", "/api/x", "/api/x/y"}) EXPECT_EQ(table.At("", path), 0u) << path;
  for (const char* path : {"/dir/", "/dir/x"}) EXPECT_EQ(table.At("", path), 1u) << path;
  for (const char* path : {"/apiary", "/api.x", "/ap", "/dir", "/dirt", "/", "*", "/x/api"})
    EXPECT_EQ(table.At("", path), kNone) << path;
}

TEST(Paths, TheLongestPrefix) {
  Table table({{.path_prefixes = {"/"}},
               {.path_prefixes = {"/a"}},
               {.path_prefixes = {"/a/"}},
               {.path_prefixes = {"/a/b"}},
               {.path_prefixes = {"/a/b/c/d"}}});
  EXPECT_EQ(table.At("", "/"), 0u);
  EXPECT_EQ(table.At("", "/b"), 0u);
  EXPECT_EQ(table.At("", "/a"), 1u);
  EXPECT_EQ(table.At("", "/a/"), 2u);
  EXPECT_EQ(table.At("", "/a/c"), 2u);
  EXPECT_EQ(table.At("", "/a/b"), 3u);
  EXPECT_EQ(table.At("", "/a/b/c"), 3u);
  EXPECT_EQ(table.At("", "/a/b/c/d/e"), 4u);
  EXPECT_EQ(table.At("", "*"), kNone);
}

TEST(Paths, ExactThenRegexThenPrefixThenAny) {
  const RouteMatch any;
  const RouteMatch prefix = {.path_prefixes = {"/a/b/c"}};
  const RouteMatch regex = {.path_regexes = {"/a/.*"}};
  const RouteMatch exact = {.paths = {"/a/b/c"}};
  EXPECT_EQ(Table({any, prefix, regex, exact}).At("", "/a/b/c"), 3u);
  EXPECT_EQ(Table({any, prefix, regex}).At("", "/a/b/c"), 2u);
  EXPECT_EQ(Table({any, prefix}).At("", "/a/b/c"), 1u);
  EXPECT_EQ(Table({any}).At("", "/a/b/c"), 0u);
  EXPECT_EQ(Table({any, prefix, regex, exact}).At("", "/a/b/d"), 2u);
}

TEST(Paths, TheFirstRegexThatMatchesTheWholePath) {
  Table table(
      {{.path_regexes = {"/x/[0-9]+", "/y"}}, {.path_regexes = {"/x/.*"}}, {.path_regexes = {"/x/1"}}});
  EXPECT_EQ(table.At("", "/x/1"), 0u);
  EXPECT_EQ(table.At("", "/x/1a"), 1u);
  EXPECT_EQ(table.At("", "/y"), 0u);
  EXPECT_EQ(table.At("", "/yy"), kNone);
  EXPECT_EQ(table.At("", "/z/x/1"), kNone);
}

TEST(Paths, TheHostComesFirst) {
  Table table(
      {{.paths = {"/a"}}, {.hosts = {"*.example"}, .path_regexes = {"/.*"}}, {.hosts = {"a.example"}}});
  EXPECT_EQ(table.At("a.example", "/a"), 2u);
  EXPECT_EQ(table.At("b.example", "/a"), 1u);
  EXPECT_EQ(table.At("b.test", "/a"), 0u);
}

TEST(Paths, DeepAndLongOnes) {
  std::string deep;
  for (int i = 0; i < 63; ++i) deep += "/s" + std::to_string(i);
  const std::string long_segment = "/" + std::string(2'047, 'x');
  Table table(
      {{.paths = {deep}}, {.path_prefixes = {deep}}, {.path_prefixes = {long_segment}}, {.paths = {"/s0/"}}});
  EXPECT_EQ(table.At("", deep), 0u);
  EXPECT_EQ(table.At("", deep + "/"), 1u);
  EXPECT_EQ(table.At("", deep + deep), 1u);
  EXPECT_EQ(table.At("", deep + "x"), kNone);
  EXPECT_EQ(table.At("", long_segment), 2u);
  EXPECT_EQ(table.At("", long_segment + "/y"), 2u);
  EXPECT_EQ(table.At("", long_segment + "y"), kNone);
  EXPECT_EQ(table.At("", "/s0/"), 3u);
}

TEST(Order, OfEqualOnesTheFirstInTheList) {
  Table table({{.path_prefixes = {"/a"}, .methods = {"POST"}},
               {.path_prefixes = {"/a"}, .methods = {"POST", "GET"}},
               {.path_prefixes = {"/a"}}});
  EXPECT_EQ(table.Rule({.path = "/a", .method = "POST"}), 0u);
  EXPECT_EQ(table.Rule({.path = "/a", .method = "GET"}), 1u);
  EXPECT_EQ(table.Rule({.path = "/a", .method = "PUT"}), 2u);
}

TEST(Order, WhatDoesNotHoldMakesRoomForTheLessSpecific) {
  Table table({{.hosts = {"a.example"}, .paths = {"/a/b"}, .methods = {"1"}},
               {.hosts = {"a.example"}, .path_regexes = {"/a/b"}, .methods = {"2"}},
               {.hosts = {"a.example"}, .path_prefixes = {"/a/b"}, .methods = {"3"}},
               {.hosts = {"a.example"}, .path_prefixes = {"/a"}, .methods = {"4"}},
               {.hosts = {"a.example"}, .methods = {"5"}},
               {.hosts = {"*.example"}, .methods = {"6"}},
               {.methods = {"7"}}});
  for (uint32_t i = 0; i < 7; ++i) {
    EXPECT_EQ(table.Rule({.host = "a.example", .path = "/a/b", .method = std::to_string(i + 1)}), i);
  }
  EXPECT_EQ(table.Rule({.host = "a.example", .path = "/a/b", .method = "8"}), kNone);
}

TEST(Conditions, Methods) {
  Table table({{.methods = {"GET", "HEAD"}}});
  EXPECT_EQ(table.Rule({.method = "HEAD"}), 0u);
  EXPECT_EQ(table.Rule({.method = "POST"}), kNone);
  EXPECT_EQ(table.Rule({.method = "get"}), kNone);
}

TEST(Conditions, Headers) {
  Table table({{.paths = {"/present"}, .headers = {{"x-a", Must::kPresent, {}}}},
               {.paths = {"/absent"}, .headers = {{"X-A", Must::kAbsent, {}}}},
               {.paths = {"/exact"}, .headers = {{"X-A", Must::kExact, "one"}}},
               {.paths = {"/prefix"}, .headers = {{"X-A", Must::kPrefix, "on"}}},
               {.paths = {"/regex"}, .headers = {{"X-A", Must::kRegex, "o.[a-e\xe9]"}}},
               {.paths = {"/all"},
                .headers = {{"X-A", Must::kExact, "one"}, {"Upgrade", Must::kExact, "websocket"}}}});
  const auto fits = [&](const char* path, std::vector<std::string> fields) {
    return table.Rule({.path = path, .fields = std::move(fields)}) != kNone;
  };
  EXPECT_TRUE(fits("/present", {"X-a: "}));
  EXPECT_FALSE(fits("/present", {"X-AA: 1"}));
  EXPECT_TRUE(fits("/absent", {"X-AA: 1"}));
  EXPECT_FALSE(fits("/absent", {"x-a: 1"}));
  EXPECT_TRUE(fits("/exact", {"X-A: one"}));
  EXPECT_TRUE(fits("/exact", {"X-A: two", "X-B: 1", "X-A: one"}));  // any line
  EXPECT_FALSE(fits("/exact", {"X-A: One"}));
  EXPECT_FALSE(fits("/exact", {"X-A: one, two"}));
  EXPECT_FALSE(fits("/exact", {}));
  EXPECT_TRUE(fits("/prefix", {"X-A: one"}));
  EXPECT_FALSE(fits("/prefix", {"X-A: o"}));
  EXPECT_TRUE(fits("/regex", {"X-A: one"}));
  EXPECT_TRUE(fits("/regex", {"X-A: on\xe9"}));  // bytes
  EXPECT_FALSE(fits("/regex", {"X-A: ones"}));   // the whole value
  EXPECT_TRUE(
      fits("/all", {"Upgrade: websocket", "Connection: upgrade", "X-A: one"}));  // hop-by-hop ones too
  EXPECT_FALSE(fits("/all", {"X-A: one"}));
}

TEST(Conditions, Query) {
  Table table({{.paths = {"/present"}, .query = {{"a b", Must::kPresent, {}}}},
               {.paths = {"/absent"}, .query = {{"a", Must::kAbsent, {}}}},
               {.paths = {"/exact"}, .query = {{"a", Must::kExact, "1 &"}}},
               {.paths = {"/prefix"}, .query = {{"a", Must::kPrefix, "1 "}}},
               {.paths = {"/regex"}, .query = {{"a", Must::kRegex, "[0-9]+ x*"}}},
               {.paths = {"/empty"}, .query = {{"a", Must::kExact, ""}}}});
  const auto fits = [&](const char* path, std::string query) {
    return table.Rule({.path = path, .query = std::move(query)}) != kNone;
  };
  for (const char* query : {"a+b", "a%20b=", "x&a+b=1", "&&a%20b&"})
    EXPECT_TRUE(fits("/present", query)) << query;
  for (const char* query : {"", "ab", "a=b", "=a b", "a+bc", "a%2Bb"})
    EXPECT_FALSE(fits("/present", query)) << query;
  EXPECT_TRUE(fits("/absent", "b=1&A=2&ab"));
  EXPECT_FALSE(fits("/absent", "b=1&%61=2"));
  for (const char* query : {"a=1+%26", "a=2&a=1%20%26", "%61=%31+%26"})
    EXPECT_TRUE(fits("/exact", query)) << query;
  for (const char* query : {"a=1+&", "a=1+%26x", "a=1+%2", "b=1+%26"})
    EXPECT_FALSE(fits("/exact", query)) << query;
  EXPECT_TRUE(fits("/prefix", "a=1+23"));
  EXPECT_FALSE(fits("/prefix", "a=1"));
  EXPECT_TRUE(fits("/regex", "a=12+"));
  EXPECT_TRUE(fits("/regex", "a=x&a=12%20xx"));
  EXPECT_FALSE(fits("/regex", "a=12"));
  EXPECT_TRUE(fits("/empty", "a"));
  EXPECT_TRUE(fits("/empty", "a=&b"));
  EXPECT_FALSE(fits("/empty", "a=1"));
}

TEST(Conditions, QueriesAreReadUpToABound) {
  Table table({{.query = {{"a", Must::kPresent, {}}}}, {.query = {{"r", Must::kRegex, "x.*"}}}});
  std::string many;
  for (int i = 0; i < 255; ++i) many += "b&";
  EXPECT_EQ(table.Rule({.query = many + "a"}), 0u);
  EXPECT_EQ(table.Rule({.query = many + "b&a"}), kNone);
  EXPECT_EQ(table.Rule({.query = "r=x" + std::string(4'000, 'y')}), 1u);  // nothing to decode
  EXPECT_EQ(table.Rule({.query = "r=x+" + std::string(2'044, 'y')}), 1u);
  EXPECT_EQ(table.Rule({.query = "r=x+" + std::string(2'047, 'y')}), kNone);
}

TEST(Conditions, Clients) {
  Network ten = {.bytes = {10}, .prefix_bits = 8};
  Network documentation = {.bytes = {0x20, 0x01, 0x0d, 0xb8}, .prefix_bits = 32, .ipv6 = true};
  Table table({{.clients = {ten, documentation}}});
  EXPECT_EQ(table.Rule({.client = "10.1.2.3"}), 0u);
  EXPECT_EQ(table.Rule({.client = "::ffff:10.1.2.3"}), 0u);
  EXPECT_EQ(table.Rule({.client = "2001:db8::1"}), 0u);
  EXPECT_EQ(table.Rule({.client = "11.1.2.3"}), kNone);
}

TEST(Captures, GroupsOfTheRegex) {
  Table table({{.path_regexes = {"/u/([^/]+)/(x)?(.*)"}},
               {.path_prefixes = {"/api"}},
               {.path_prefixes = {"/d/"}},
               {.path_regexes = {"(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)"}}});
  const Asked asked = {.path = "/u/me/rest/of"};
  const RouteCaptures captures = table.Captures(asked);
  ASSERT_EQ(captures.count, 4u);
  EXPECT_EQ(captures.groups[0], "/u/me/rest/of");
  EXPECT_EQ(captures.groups[1], "me");
  EXPECT_EQ(captures.groups[2], "");
  EXPECT_EQ(captures.groups[3], "rest/of");
  EXPECT_EQ(captures.groups[1].data(), asked.path.data() + 3);  // a view
  EXPECT_EQ(captures.remainder, "");

  const Asked many = {.path = "/1234567890"};
  const RouteCaptures ten = table.Captures(many);
  ASSERT_EQ(ten.count, 10u);  // the whole and the first nine
  EXPECT_EQ(ten.groups[9], "8");

  for (const auto& [path, remainder] : std::vector<std::pair<std::string, std::string>>{
           {"/api", ""}, {"/api/", "/"}, {"/api/x/y", "/x/y"}, {"/d/", ""}, {"/d/x", "x"}}) {
    const Asked one = {.path = path};
    EXPECT_EQ(table.Captures(one).remainder, remainder) << path;
    EXPECT_EQ(table.Captures(one).count, 0u);
  }
  const Asked nothing = {.path = "/x"};
  EXPECT_EQ(table.Captures(nothing).count, 0u);
}

TEST(Explain, TellsTheCandidatesInOrderAndWhyNot) {
  Table table({{.hosts = {"a.example"}, .paths = {"/a"}, .methods = {"POST"}},
               {.hosts = {"a.example"},
                .path_regexes = {"/b.*", "/a"},
                .headers = {{"X-A", Must::kPresent, {}}, {"X-B", Must::kPresent, {}}}},
               {.hosts = {"*.example"}, .path_prefixes = {"/a", "/"}, .query = {{"q", Must::kExact, "1"}}},
               {.hosts = {"a.example"}, .clients = {{.bytes = {10}, .prefix_bits = 8}}},
               {.path_prefixes = {"/"}},
               {}});
  EXPECT_EQ(
      table.Explained({.host = "a.example", .path = "/a", .fields = {"X-A: 1"}}),
      "0 exact-host exact method 0; 1 exact-host regex path regex 0; 1 exact-host regex header 1; "
      "3 exact-host any-path client 0; 2 wildcard prefix:2 query parameter 0; 2 wildcard prefix:1 query "
      "parameter 0; 4 any-host prefix:1 met");
  EXPECT_EQ(table.Explained({.host = "a.example", .path = "/a", .method = "POST"}), "0 exact-host exact met");
  EXPECT_EQ(table.Explained({.path = "*"}), "5 any-host any-path met");
  EXPECT_EQ(Table({{.hosts = {"a.example"}}}).Explained({.host = "b.example"}), "");
}

TEST(Table, EmptyHasNothing) {
  EXPECT_EQ(Table({}).At("a.example", "/"), kNone);
  EXPECT_EQ(Table({}).At("", ""), kNone);
}

TEST(Table, AnySeedGivesTheSame) {
  for (uint64_t seed : {uint64_t{0}, uint64_t{1}, UINT64_MAX}) {
    Table table({{.hosts = {"a.example"}, .path_prefixes = {"/a"}}, {.paths = {"/b"}}}, {.hash_seed = seed});
    EXPECT_EQ(table.At("a.example", "/a/b"), 0u);
    EXPECT_EQ(table.At("a.example", "/b"), 1u);
  }
}

TEST(Table, RulesPathsAreNormalisedAsRequestsAre) {
  std::vector<RouteProblem> problems;
  const std::vector<RouteMatch> rules = {{.paths = {"/%7euser"}, .path_prefixes = {"/a//b/../c/"}}};
  const auto table = RouteTable::Build(rules, {}, problems);
  ASSERT_NE(table, nullptr);
  EXPECT_EQ(table->Match({.path = "/~user"}).rule, 0u);
  EXPECT_EQ(table->Match({.path = "/a/c/x"}).rule, 0u);
  ASSERT_EQ(problems.size(), 2u);
  EXPECT_EQ(problems[1].text, "is matched as /a/c/");
}

}  // namespace
}  // namespace weir::lb
