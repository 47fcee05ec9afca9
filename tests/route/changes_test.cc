// What a route changes: lines with variables, rewritten paths and hosts, and what no value can do.
#include "lb/route/changes.h"

#include "gtest/gtest.h"

namespace weir::lb {
namespace {

Template Parsed(std::string_view text, Template::Use use = Template::Use::kResponse) {
  Template parsed;
  std::string error;
  EXPECT_TRUE(Template::Parse(text, &parsed, &error, use)) << error;
  return parsed;
}

std::string Written(const Template& text, const TemplateValues& values) {
  std::string out(text.Bytes(values), '\0');
  EXPECT_EQ(text.Write(values, out.data()), out.size());
  return out;
}

TEST(Lines, AreWrittenWithTheirVariables) {
  HeaderChanges changes;
  changes.added = {
      {"X-Id", Parsed("<${request_id}>")}, {"X-By", Parsed("${endpoint},${endpoint}")}, {"X-Empty", {}}};
  TemplateValues values;
  values.Set(Variable::kRequestId, "abc");
  values.Set(Variable::kEndpoint, kEndpointMark);
  std::string lines = "X-Before: 1\r\n";
  const size_t before = lines.size();
  changes.WriteLines(values, &lines);
  EXPECT_EQ(lines.size() - before, changes.Bytes(values));
  std::string filled = "X-First: 1\r\n";
  FillEndpoint(lines, "10.0.0.1:80", &filled);
  EXPECT_EQ(filled,
            "X-First: 1\r\nX-Before: 1\r\nX-Id: <abc>\r\nX-By: 10.0.0.1:80,10.0.0.1:80\r\nX-Empty: \r\n");
  std::string without;
  FillEndpoint("", "10.0.0.1:80", &without);
  EXPECT_EQ(without, "");
}

TEST(Lines, NoValueEndsOne) {
  HeaderChanges changes;
  changes.added = {{"X-A", Parsed("${path}|${host}|${client}")}};
  TemplateValues values;
  values.Set(Variable::kPath, "/a\r\nX-Forged: 1");
  values.Set(Variable::kHost, std::string_view("\0\x7f\t", 3));
  values.Set(Variable::kClient, kEndpointMark);  // nor is one taken for the endpoint
  std::string lines;
  changes.WriteLines(values, &lines);
  EXPECT_EQ(lines, "X-A: /a__X-Forged: 1|___|_\r\n");
}

TEST(Lines, NoneIsLongerThanItsBound) {
  constexpr size_t kTargetBytes = 100;
  const std::string target(kTargetBytes + 1, 't');  // one more than came: the first slash
  const std::string host(255, 'h');
  const std::string id(128, 'i');
  const std::string endpoint(SocketAddress::kMaxText, 'e');
  TemplateValues values;
  for (auto& value : values.values) value = target;
  values.Set(Variable::kNone, "");
  values.Set(Variable::kHost, host);
  values.Set(Variable::kScheme, "https");
  values.Set(Variable::kMethod, "GET");
  values.Set(Variable::kClient, "1111:2222:3333:4444:5555:6666:7777:8888");
  values.Set(Variable::kRequestId, id);
  values.Set(Variable::kEndpoint, endpoint);
  HeaderChanges changes;
  changes.added = {
      {"X-A", Parsed("a${host}b${path}${query}${uri}${scheme}${method}${client}${remainder}${request_id}"
                     "${endpoint}${0}${9}c")},
      {"X-B", Parsed("plain")}};
  std::string lines;
  changes.WriteLines(values, &lines);
  EXPECT_LE(lines.size(), changes.MostBytes(kTargetBytes));
}

TEST(Text, DollarsThatAreNoVariables) {
  const TemplateValues values;
  EXPECT_EQ(Written(Parsed("$"), values), "$");
  EXPECT_EQ(Written(Parsed("a$b$"), values), "a$b$");
  EXPECT_EQ(Written(Parsed("$${host}"), values), "${host}");
  EXPECT_EQ(Written(Parsed("${host}"), values), "");
  Template unused;
  std::string error;
  for (const char* text : {"${", "${}", "${host", "${Host}", "${10}", "${endpoint}", "a${x}b"}) {
    error.clear();
    EXPECT_FALSE(Template::Parse(text, &unused, &error)) << text;
    EXPECT_NE(error.find("expected one of ${host}"), std::string::npos) << error;
  }
}

// What the endpoint is asked for, of what the client asked for.
struct Rewrite {
  const char* path_regex;  // of the rule; empty: a prefix
  const char* prefix;
  const char* path;      // rewrite: path
  const char* asked;     // by the client
  const char* expected;  // a target, or why not
};

constexpr Rewrite kRewrites[] = {
    {"", "/api", "/v2${remainder}", "/api/x?y=z", "/v2/x?y=z"},
    {"", "/api", "/v2${remainder}", "/api", "/v2"},
    {"", "/api", "/v2${remainder}", "/api?q", "/v2?q"},
    {"", "/api/", "/${remainder}", "/api/x/y", "/x/y"},
    {"", "/", "/site${path}", "/a//b/../c", "/site/a/c"},
    {"", "/", "/${host}${path}", "/a", "/a.example/a"},
    {"", "/", "/m/${method}", "/a?b", "/m/GET?b"},
    {"", "/", "/fixed", "/a/b/c?d", "/fixed?d"},
    {"", "/", "/by/${client}", "/", "/by/203.0.113.9"},
    {"", "/", "/id/${request_id}", "/", "/id/the-id"},
    {"/u/([0-9]+)(/.*)?", "", "/people/${1}${2}", "/u/7/mail?a", "/people/7/mail?a"},
    {"/u/([0-9]+)(/.*)?", "", "/people/${1}${2}", "/u/7", "/people/7"},
    {"/(.*)\\.(jpg|png)", "", "/${2}/${1}", "/a/b.png", "/png/a/b"},
    {"/old/(.*)", "", "/new${0}", "/old/x", "/new/old/x"},
    {"/caf(.*)", "", "/c${1}", "/caf%c3%a9", "/c%C3%A9"},
    // What would not be in its one spelling could be read as another path.
    {"/f(.*)", "", "/static/${1}", "/f..", "!the rewritten path is not in its normal form"},
    {"/f(.*)", "", "/static/${1}", "/f/x", "!the rewritten path is not in its normal form"},
    {"/f(.*)", "", "/static/${1}", "/f.", "!the rewritten path is not in its normal form"},
    {"/f(.*)", "", "/static/${1}x", "/f..;", "!the rewritten path is not in its normal form"},
};

TEST(Rewriting, Paths) {
  for (const Rewrite& rewrite : kRewrites) {
    SCOPED_TRACE(std::string(rewrite.path) + " of " + rewrite.asked);
    RouteMatch match;
    if (*rewrite.path_regex != '\0') {
      match.path_regexes = {rewrite.path_regex};
    } else {
      match.path_prefixes = {rewrite.prefix};
    }
    std::vector<RouteProblem> problems;
    const auto table = RouteTable::Build({&match, 1}, {}, problems);
    ASSERT_NE(table, nullptr);
    const http::Limits limits;
    http::RequestHead head(limits);
    const std::string wire = std::string("GET ") + rewrite.asked + " HTTP/1.1\r\nHost: a.example\r\n\r\n";
    ASSERT_TRUE(http::ParseRequest(wire, head).done());
    RouteScratch scratch(limits.target_bytes);
    const RoutedHead routed =
        RouteHead(*table, {}, head, "", *SocketAddress::Parse("203.0.113.9:1"), "http", scratch);
    ASSERT_TRUE(routed.target.ok()) << routed.target.error;
    ASSERT_TRUE(routed.hit.found());
    RequestChanges changes;
    changes.path = Parsed(rewrite.path, Template::Use::kRequest);
    http::RequestContext context;
    const char* refused = ChangeRequest(changes, {}, ValuesFor(true, *table, routed, "203.0.113.9", "the-id"),
                                        head, scratch, context);
    EXPECT_EQ(refused == nullptr ? std::string(head.target) : "!" + std::string(refused), rewrite.expected);
  }
}

TEST(Rewriting, TheHost) {
  std::vector<RouteProblem> problems;
  const RouteMatch match;
  const auto table = RouteTable::Build({&match, 1}, {}, problems);
  const http::Limits limits;
  http::RequestHead head(limits);
  const std::string wire = "GET / HTTP/1.1\r\nHost: A.Example.:81\r\n\r\n";
  ASSERT_TRUE(http::ParseRequest(wire, head).done());
  RouteScratch scratch(limits.target_bytes);
  const RoutedHead routed = RouteHead(*table, {}, head, "", {}, "http", scratch);
  RequestChanges changes;
  changes.host = "internal:8080";
  http::RequestContext context;
  ASSERT_EQ(ChangeRequest(changes, {}, ValuesFor(false, *table, routed, "", ""), head, scratch, context),
            nullptr);
  std::string out(http::MaxSerializedBytes(head, context), '\0');
  out.resize(http::SerializeRequest(head, context, out.data()));
  EXPECT_EQ(out,
            "GET / HTTP/1.1\r\nHost: internal:8080\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: "
            "a.example:81\r\n\r\n");
}

TEST(Names, WhichCanBeChanged) {
  for (const char* name : {"X-A", "Cookie", "Server", "Set-Cookie", "Location", "Cache-Control"}) {
    EXPECT_EQ(WhyNotChangeable(name, true), nullptr) << name;
    EXPECT_EQ(WhyNotChangeable(name, false), nullptr) << name;
  }
  for (const char* name : {"Content-Length", "transfer-encoding", "Connection", "Via", "Upgrade", "TE"}) {
    EXPECT_NE(WhyNotChangeable(name, true), nullptr) << name;
    EXPECT_NE(WhyNotChangeable(name, false), nullptr) << name;
  }
  for (const char* name :
       {"Host", "X-Forwarded-For", "Forwarded", "X-Request-ID", "Max-Forwards", "Expect"}) {
    EXPECT_NE(WhyNotChangeable(name, false), nullptr) << name;
  }
  EXPECT_NE(WhyNotChangeable("Date", true), nullptr);
  for (const char* name : {"", "X A", "X:", "X\r", "\xff"}) EXPECT_NE(WhyNotChangeable(name, true), nullptr);
}

TEST(Chained, TheSecondHasTheLastWord) {
  const auto text = [](const HeaderChanges& changes) {
    std::string out;
    for (const std::string& name : changes.dropped) out += "-" + name + " ";
    changes.WriteLines({}, &out);
    return out;
  };
  const HeaderChanges none;
  const HeaderChanges first = {{"A", "B", "C"}, {{"A", Parsed("1")}, {"B", Parsed("1")}, {"D", Parsed("1")}}};
  EXPECT_EQ(text(Chained(first, none)), text(first));
  EXPECT_EQ(text(Chained(none, first)), text(first));
  EXPECT_EQ(text(Chained(first, {{"a"}, {{"a", Parsed("2")}, {"D", Parsed("2")}, {"C", Parsed("2")}}})),
            "-B -C -a B: 1\r\nD: 1\r\na: 2\r\nD: 2\r\nC: 2\r\n");
  EXPECT_EQ(text(Chained(first, {{"A", "d"}, {}})), "-B -C -A -d B: 1\r\n");
}

}  // namespace
}  // namespace weir::lb
