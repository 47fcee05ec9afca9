// What Build says about rules that are wrong, or can never match.
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "lb/route/table.h"

namespace weir::lb {
namespace {

using Must = ValueCondition::Test;

// "rule part element: text", errors with "! " before; "by N" for another rule.
std::vector<std::string> Problems(const std::vector<RouteMatch>& rules, const RouteOptions& options = {}) {
  std::vector<RouteProblem> problems;
  const auto table = RouteTable::Build(rules, options, problems);
  bool errors = false;
  std::vector<std::string> texts;
  for (const RouteProblem& problem : problems) {
    errors |= problem.is_error;
    texts.push_back((problem.is_error ? "! " : "") + std::to_string(problem.rule) + " " + Name(problem.part) +
                    " " + std::to_string(problem.element) + ": " + problem.text);
    if (problem.other_rule != UINT32_MAX) texts.back() += " by " + std::to_string(problem.other_rule);
  }
  EXPECT_EQ(table == nullptr, errors);
  return texts;
}

using Texts = std::vector<std::string>;

constexpr const char* kNever = "can never match: a rule with the same host and path comes first by ";

TEST(Errors, Hosts) {
  for (const auto& [host, text] : std::vector<std::pair<std::string, std::string>>{
           {"*", "expected a host; a rule without one is for every host"},
           {"a.*.example", "expected the star as the whole first label: *.a.example"},
           {"*a.example", "expected the star as the whole first label: *.a.example"},
           {"*.", "expected the star as the whole first label: *.a.example"},
           {"*.*.example", "expected the star as the whole first label: *.a.example"},
           {"a.example:80", "expected a host without a port; IPv6 in brackets"},
           {"::1", "expected a host without a port; IPv6 in brackets"},
           {"[::1]:80", "expected a host without a port; IPv6 in brackets"}})
    EXPECT_EQ(Problems({{}, {.hosts = {"good.example", host}}}), Texts{"! 1 host 1: " + text}) << host;
  for (const char* host : {"", ".", "a..b", ".a", "a b",
                           "b\xc3\xbc"
                           "cher.example",
                           "[::g]", "[]", "a/b", "a,b", "a.."})
    EXPECT_EQ(Problems({{.hosts = {host}}}).size(), 1u) << host;
  EXPECT_EQ(Problems({{.hosts = {std::string(254, 'a')}}}).size(), 1u);
  std::string deep = "a";
  for (int i = 0; i < 31; ++i) deep += ".a";
  EXPECT_EQ(Problems({{.hosts = {"*." + deep}}}),
            Texts{"! 0 host 0: expected at most 31 labels behind the star"});
  EXPECT_EQ(Problems({{.hosts = {deep, "*." + deep.substr(2), "A_b-c.Example.", "*.example", "10.0.0.1",
                                 "[::1]"}}}),
            Texts{});
}

TEST(Errors, ServerNames) {
  const std::string expected =
      "expected a server name in ASCII (xn--... for others), or *.NAME, without a port";
  for (const auto& [name, text] : std::vector<std::pair<std::string, std::string>>{
           {"*", "expected a server name; a rule without one is for every name, and for none"},
           {"a.*.example", "expected the star as the whole first label: *.a.example"},
           {"a.example:443", expected},
           {"[::1]", expected},
           {"", expected},
           {"a..b", expected}})
    EXPECT_EQ(Problems({{}, {.sni = {"good.example", name}}}), Texts{"! 1 server name 1: " + text}) << name;
  EXPECT_EQ(Problems({{.hosts = {"a.example"}, .sni = {"a.example"}}}),
            Texts{"! 0 server name 0: expected only one of host and sni"});
  EXPECT_EQ(Problems({{.alpn = {"h2", ""}}, {.alpn = {std::string(256, 'p')}}}),
            (Texts{"! 0 protocol 1: expected the name of a protocol, such as h2 or http/1.1",
                   "! 1 protocol 0: expected the name of a protocol, such as h2 or http/1.1"}));
  EXPECT_EQ(
      Problems({{.sni = {"a.example"}, .alpn = {"h2"}}, {.sni = {"a.example"}}, {.sni = {"A.example."}}}),
      Texts{"2 rule 0: can never match: a rule with the same server name comes first by 1"});
}

TEST(Errors, Paths) {
  const std::string begins = "expected a path that begins with /";
  const std::string characters =
      "expected a path without query, in printable ASCII; other characters percent-encoded";
  for (const auto& [path, text] :
       std::vector<std::pair<std::string, std::string>>{{"", begins},
                                                        {"a", begins},
                                                        {"/a?b", characters},
                                                        {"/a#b", characters},
                                                        {"/a b", characters},
                                                        {"/caf\xc3\xa9", characters},
                                                        {"/a\\b", characters},
                                                        {"/..", "the path climbs above its root"},
                                                        {"/a/..;/b", "ambiguous dot segment in the path"},
                                                        {"/%4", "malformed percent-encoding in the path"}}) {
    EXPECT_EQ(Problems({{.paths = {"/good", path}}}), Texts{"! 0 path 1: " + text}) << path;
    EXPECT_EQ(Problems({{.path_prefixes = {path}}}), Texts{"! 0 path prefix 0: " + text}) << path;
  }
  EXPECT_EQ(Problems({{.path_prefixes = {"*"}}}), Texts{"! 0 path prefix 0: " + begins});
  std::string deep;
  for (int i = 0; i < 63; ++i) deep += "/a";
  EXPECT_EQ(Problems({{.paths = {deep, deep + "/", "*"}}}), Texts{});
  EXPECT_EQ(Problems({{.paths = {deep + "/a"}}}), Texts{"! 0 path 0: expected at most 63 segments"});
  const std::string long_one = "/" + std::string(2'047, 'a');
  EXPECT_EQ(Problems({{.paths = {long_one}}}), Texts{});
  EXPECT_EQ(Problems({{.paths = {long_one + "a"}}}), Texts{"! 0 path 0: expected at most 2048 bytes"});
  EXPECT_EQ(Problems({{.paths = {"/a%2Fb"}}}, {.path = {.escaped_slashes = EscapedSlashes::kReject}}),
            Texts{"! 0 path 0: encoded slash in the path"});
}

TEST(Errors, RegularExpressionsInTheWordsOfRe2) {
  EXPECT_EQ(Problems({{.path_regexes = {"/a", "/("}}}),
            Texts{"! 0 path regex 1: bad regular expression: missing ): /("});
  EXPECT_EQ(Problems({{.headers = {{"A", Must::kRegex, "a**"}}}}),
            Texts{"! 0 header 0: bad regular expression: bad repetition operator: **"});
  EXPECT_EQ(Problems({{.query = {{"a", Must::kPresent, "["}, {"a", Must::kRegex, "["}}}}),
            Texts{"! 0 query parameter 1: bad regular expression: missing ]: ["});
  EXPECT_EQ(Problems({{.path_regexes = {"((a{100}){100}){100}"}}}).size(), 1u);  // its program is too large
}

TEST(Errors, OtherConditions) {
  EXPECT_EQ(Problems({{.methods = {"GET", "", "A B"}}}),
            (Texts{"! 0 method 1: expected a method, such as GET",
                   "! 0 method 2: expected a method, such as GET"}));
  EXPECT_EQ(
      Problems({{.headers = {{"", Must::kPresent, {}}, {"a:", Must::kPresent, {}}}}}),
      (Texts{"! 0 header 0: expected the name of a header", "! 0 header 1: expected the name of a header"}));
  EXPECT_EQ(Problems({{.query = {{"", Must::kPresent, {}}}}}),
            Texts{"! 0 query parameter 0: expected a name"});
  EXPECT_EQ(Problems({{.clients = {{}, {.bytes = {10, 1}, .prefix_bits = 8}}}}),
            Texts{"! 0 client 1: has bits set behind its prefix; the network would be 10.0.0.0/8"});
}

TEST(Errors, AllAreTold) {
  EXPECT_EQ(Problems({{.hosts = {"*"}, .paths = {"a"}, .methods = {""}}, {.path_regexes = {"("}}}).size(),
            4u);
}

TEST(Warnings, PathsThatAreWrittenOtherwise) {
  EXPECT_EQ(Problems({{.paths = {"/%7ea"}, .path_prefixes = {"/a/./b", "/c"}}}),
            (Texts{"0 path 0: is matched as /~a", "0 path prefix 0: is matched as /a/b"}));
  EXPECT_EQ(Problems({{.paths = {"/a//b"}}}, {.path = {.merge_slashes = false}}), Texts{});
}

TEST(Warnings, RulesThatCanNeverMatch) {
  const std::vector<RouteMatch> each = {{.paths = {"/a"}},
                                        {.path_prefixes = {"/a"}},
                                        {.path_prefixes = {"/a/"}},
                                        {.path_regexes = {"/a"}},
                                        {},
                                        {.hosts = {"a.example"}},
                                        {.hosts = {"*.a.example"}}};
  EXPECT_EQ(Problems(each), Texts{});  // other keys
  for (const RouteMatch& rule : each) {
    RouteMatch conditional = rule;
    conditional.methods = {"GET"};
    EXPECT_EQ(Problems({{.paths = {"/other"}}, rule, rule}), Texts{"2 rule 0: " + std::string(kNever) + "1"});
    EXPECT_EQ(Problems({rule, conditional}), Texts{"1 rule 0: " + std::string(kNever) + "0"});
    EXPECT_EQ(Problems({conditional, rule}), Texts{});
    EXPECT_EQ(Problems({conditional, conditional, rule}), Texts{});
  }
}

TEST(Warnings, PartsOfRulesThatCanNeverMatch) {
  EXPECT_EQ(Problems({{.hosts = {"a"}, .paths = {"/1", "/2"}}, {.hosts = {"a", "b"}, .paths = {"/1", "/2"}}}),
            Texts{"1 host 0: " + std::string(kNever) + "0"});
  EXPECT_EQ(Problems({{.paths = {"/1"}}, {.paths = {"/1", "/2"}}}),
            Texts{"1 path 0: " + std::string(kNever) + "0"});
  EXPECT_EQ(Problems({{.path_regexes = {"/1"}}, {.paths = {"/1"}, .path_regexes = {"/1"}}}),
            Texts{"1 path regex 0: " + std::string(kNever) + "0"});
  EXPECT_EQ(Problems({{.hosts = {"a"}, .paths = {"/1"}}, {.hosts = {"a", "b"}, .paths = {"/1", "/2"}}}),
            Texts{});
}

TEST(Warnings, NotForWhatIsGivenTwiceInOneRule) {
  EXPECT_EQ(Problems({{.hosts = {"a", "A"}, .paths = {"/1", "/1"}, .path_regexes = {"/2", "/2"}}}), Texts{});
}

TEST(Warnings, OfRulesThatASchemeLeavesNothing) {
  const auto by = [](uint32_t last, uint32_t taker) {
    return Texts{std::to_string(last) + " rule 0: " + kNever + std::to_string(taker)};
  };
  for (const std::vector<std::string>& regexes : {std::vector<std::string>{}, {"/x.*"}}) {
    const RouteMatch any = {.path_regexes = regexes};
    const RouteMatch http = {.path_regexes = regexes, .scheme = "http"};
    const RouteMatch https = {.path_regexes = regexes, .scheme = "https"};
    const RouteMatch get = {.path_regexes = regexes, .methods = {"GET"}, .scheme = "http"};
    EXPECT_EQ(Problems({http, any}), Texts{});
    EXPECT_EQ(Problems({http, https}), Texts{});
    EXPECT_EQ(Problems({get, http, https}), Texts{});
    EXPECT_EQ(Problems({https, get, any}), Texts{});
    EXPECT_EQ(Problems({any, https}), by(1, 0));
    EXPECT_EQ(Problems({https, https}), by(1, 0));
    EXPECT_EQ(Problems({http, get}), by(1, 0));
    EXPECT_EQ(Problems({http, https, any}), by(2, 1));
    EXPECT_EQ(Problems({https, any, http}), by(2, 1));
    EXPECT_EQ(Problems({https, any, https}), by(2, 0));
  }
}

TEST(Errors, Schemes) {
  EXPECT_EQ(Problems({{.scheme = "https"}, {.scheme = "ftp"}}),
            Texts{"! 1 scheme 0: expected http or https"});
}

}  // namespace
}  // namespace weir::lb
