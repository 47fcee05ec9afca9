// `weir explain`: what would become of a request.
#include "lb/config/explain.h"

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/config/made_up_machine.h"

namespace weir::lb {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kFile = R"yaml(listeners:
  - {address: 0.0.0.0:80, routes: site}
  - {address: 0.0.0.0:81, upstream: web}
  - {address: 0.0.0.0:82, upstream: web, protocol: tcp}
  - {address: 0.0.0.0:83, upstream: web, forwarded: both, trusted_proxies: 10.0.0.0/8}
upstreams:
  web: {endpoints: [10.0.0.1:80, {address: 10.0.0.2:80, weight: 3}]}
  api: {endpoints: [10.0.1.1:80], balance: least_conn, timeouts: {response: 0}, retries: 1}
routes:
  site:
    - {match: {host: a.example, path_prefix: /api, method: POST}, upstream: api}
    - {match: {host: a.example, path_prefix: /api, headers: {X-Key: {present: true}}}, upstream: api}
    - {match: {host: a.example, path_prefix: /api, client: 10.0.0.0/8}, upstream: api}
    - {match: {host: "*.example", path_regex: "/u/(.*)"}, redirect: {to: "https://x/${1}", status: 308}}
    - {match: {path: /gone}, respond: {status: 410, body: gone}, response_headers: {set: {X-By: "${endpoint}"}}}
    - {match: {path_prefix: /api}, upstream: web}
    - {match: {path_prefix: /id}, upstream: web, request_headers: {set: {X-Trace: "${request_id}"}},
       response_headers: {set: {X-Asked: "${host}${uri}"}, append: {X-By: "${endpoint}"}, remove: Server}}
    - {match: {path: /hash}, split: [{upstream: web, weight: 95}, {upstream: api, weight: 5}], sticky: {hash_on: client_ip}}
    - {match: {path: /user}, split: [{upstream: web, weight: 95}, {upstream: api, weight: 5}], sticky: {hash_on: "query:u"}}
    - {match: {path: /cookie}, split: [{upstream: web, weight: 1}, {upstream: api, weight: 0}], sticky: {cookie: side}}
    - {match: {path: /chance}, split: [{upstream: api}, {upstream: web}]}
    - {match: {path: /mine}, upstream: api, basic_auth: {realm: ours, users: {alice: "$2b$04$WUHhXETkX0fnYkrqZU3ta.zwoU3NOuzYB7by401ZrGRFKs239bMTy"}}}
    - {match: {path: /small}, upstream: api, client_max_body: 1KiB, max_header_bytes: 512, buffer: 1KiB,
       error_pages: {413: {body: big}}, response_headers: {append: {X-Here: "1", X-By: "${endpoint}"}}}
    - {match: {path: /sides}, split: [{upstream: web}, {upstream: api}], sticky: {cookie: side}, client_max_body: 1KiB}
    - {match: {path: /asked}, upstream: api, auth_request: {upstream: web, path: "/check${path}", copy: X-User}}
)yaml";

// As secrets do, which are nobody's business.
TEST(ExplainSecrets, WhatComesFromTheEnvironmentIsToldAsTheFileAsksForIt) {
  const std::string path = testing::TempDir() + "/explain_secrets." + std::to_string(getpid()) + ".yaml";
  setenv("WEIR_TEST_KEY", "hunter2", 1);
  std::ofstream(path) << R"(
listeners: [{address: 0.0.0.0:80, routes: r}]
upstreams: {web: {endpoints: [10.0.0.1:80]}}
routes:
  r:
    - upstream: web
      rewrite: {path: "/services/${env:WEIR_TEST_KEY}${path}"}
      request_headers: {set: {Authorization: "Bearer ${env:WEIR_TEST_KEY}", X-Tier: gold}}
      response_headers: {append: {X-Asked: "${path}", X-Key: "${env:WEIR_TEST_KEY}"}}
)";
  const std::string config = "--config=" + path;
  const std::string out = Parse({"explain", config, "http://a.example/x?y=1"}).out;
  std::filesystem::remove(path);
  EXPECT_THAT(out, HasSubstr("    GET /services/${env:WEIR_TEST_KEY}${path}?y=1 HTTP/1.1\n"));
  EXPECT_THAT(out, HasSubstr("    Authorization: Bearer ${env:WEIR_TEST_KEY}\n"));
  EXPECT_THAT(out, HasSubstr("    X-Tier: gold\n"));
  EXPECT_THAT(out, HasSubstr("    X-Asked: /x\n    X-Key: ${env:WEIR_TEST_KEY}\n"));
  EXPECT_THAT(out, Not(HasSubstr("hunter2")));
}

// Every value that explain tells, each from the environment.
TEST(ExplainSecrets, OfAllThatIsTold) {
  struct Case {
    const char* route;  // of the list
    const char* said;   // in the answer
    const char* said_to_others;
  };
  constexpr Case kCases[] = {
      {"{upstream: web, auth_request: {upstream: web, path: '/auth?key=${env:WEIR_TEST_KEY}'}}",
       "asks       GET /auth?key=${env:WEIR_TEST_KEY} of web", "asks       GET of web"},
      {"{match: {path_regex: '/${env:WEIR_TEST_KEY}/.*'}, upstream: web}",
       "but not this path regex (/${env:WEIR_TEST_KEY}/.*)", ""},
      {"{match: {path_regex: [/no, '/${env:WEIR_TEST_KEY}/.*']}, upstream: web}",
       "but not this path regex (/", ""},
      {"{upstream: web, rewrite: {host: '${env:WEIR_TEST_KEY}.example'}}",
       "Host: ${env:WEIR_TEST_KEY}.example\n", ""},
      {"{upstream: web, basic_auth: {realm: 'x${env:WEIR_TEST_KEY}', users: {alice: "
       "'$2b$04$WUHhXETkX0fnYkrqZU3ta.zwoU3NOuzYB7by401ZrGRFKs239bMTy'}}}",
       "realm x${env:WEIR_TEST_KEY})", ""},
      {"{redirect: {to: 'https://a.example/?k=${env:WEIR_TEST_KEY}'}}",
       "Location: https://a.example/?k=${env:WEIR_TEST_KEY}\n", ""},
      {"{split: [{upstream: web, weight: '${env:WEIR_TEST_WEIGHT}'}]}", "(weight ${env:WEIR_TEST_WEIGHT})",
       ""},
      {"{split: [{upstream: web}], sticky: {hash_on: 'header:${env:WEIR_TEST_KEY}'}}",
       "no header:${env:WEIR_TEST_KEY}\n", ""},
      {"{split: [{upstream: web}], sticky: {cookie: '${env:WEIR_TEST_KEY}'}}",
       "Set-Cookie: ${env:WEIR_TEST_KEY}=", ""},
      {"{upstream: web, allow: 10.0.0.0/8, response_headers: {set: {X-Key: "
       "'${env:WEIR_TEST_KEY}'}}}",
       "    X-Key: ${env:WEIR_TEST_KEY}\n", ""},
      {"{match: {path: /nothere}, upstream: web}", "    X-Listener: ${env:WEIR_TEST_KEY}\n", ""},
  };
  const std::string path = testing::TempDir() + "/explain_all." + std::to_string(getpid()) + ".yaml";
  const std::string config = "--config=" + path;
  setenv("WEIR_TEST_KEY", "hunter2", 1);
  setenv("WEIR_TEST_WEIGHT", "271828", 1);
  for (const Case& one : kCases) {
    std::ofstream(path) << R"(
listeners:
  - {address: 0.0.0.0:80, routes: r, response_headers: {set: {X-Listener: "${env:WEIR_TEST_KEY}"}}}
upstreams: {web: {endpoints: [10.0.0.1:80]}}
routes: {r: [)" << one.route
                        << "]}\n";
    const CommandLine line = Parse({"explain", config, "http://a.example/x?y=1"});
    EXPECT_THAT(line.out, HasSubstr(one.said)) << one.route << line.err;
    const CommandLine serving = Parse({config});
    ExplainQuestion others;
    others.url = "http://a.example/x?y=1";
    others.tells_secrets = false;
    std::string text;
    ASSERT_TRUE(ExplainRequest(serving.settings, others, &text)) << serving.err;
    EXPECT_THAT(text, HasSubstr(one.said_to_others)) << one.route;
    for (const std::string& told : {line.out, text}) {
      EXPECT_THAT(told, Not(HasSubstr("hunter2"))) << one.route;
      EXPECT_THAT(told, Not(HasSubstr("271828"))) << one.route;
    }
    EXPECT_THAT(text, Not(HasSubstr("?key="))) << one.route;
  }
  std::filesystem::remove(path);
}

TEST(ExplainHash, WhereItLeads) {
  const std::string path = testing::TempDir() + "/explain_hash." + std::to_string(getpid()) + ".yaml";
  std::ofstream(path) << R"(
listeners: [{address: 0.0.0.0:80, routes: r}, {address: 0.0.0.0:81, upstream: user}]
upstreams:
  user: {endpoints: [10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80], balance: maglev, hash_on: ["header:X-User", path],
         hash_balance_factor: 150}
  held: {endpoints: [10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80], balance: ring_hash, hash_on: "cookie:who",
         hash_cookie: {max_age: 1m}}
  asked: {endpoints: [10.0.0.1:80], balance: maglev, hash_on: "query:q"}
  levels: {endpoints: [{address: 10.0.0.8:80, backup: true}, {address: 10.0.0.9:80, priority: 2}, 10.0.0.7:80],
           balance: maglev, hash_on: path}
  zones: {endpoints: [{address: 10.0.0.1:80, zone: a}, {address: 10.0.0.2:80, zone: b, priority: 1},
                      {address: 10.0.0.3:80, zone: b}], balance: maglev, hash_on: path}
zone: b
routes:
  r:
    - {match: {path_prefix: /zones}, upstream: zones}
    - {match: {path_prefix: /levels}, upstream: levels}
    - {match: {path_prefix: /user}, upstream: user}
    - {match: {path_prefix: /held}, upstream: held}
    - {match: {path_prefix: /asked}, upstream: asked}
)";
  const std::string config = "--config=" + path;
  const auto explain = [&](std::string_view url, std::string_view header = "X-None: 1") {
    return Parse({"explain", config, url, "-H", header}).out;
  };
  // Pinned: all nodes, and all versions, lead a key to the same endpoint.
  EXPECT_THAT(explain("http://a/user/x", "X-User: alice"),
              HasSubstr("maglev among 10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80\n"
                        "endpoint   10.0.0.3:80, by the hash of header:X-User (749e5eee7beba602), unless it "
                        "has 150 % of the "
                        "average in flight\n"));
  const std::string by_path = explain("http://a/user/x");
  EXPECT_THAT(by_path, HasSubstr(", by the hash of path ("));
  EXPECT_EQ(explain("http://a/user/%78").substr(by_path.find("endpoint")).substr(0, 60),
            by_path.substr(by_path.find("endpoint")).substr(0, 60));
  EXPECT_THAT(explain("http://a:81/user/x?q=1"), HasSubstr(by_path.substr(by_path.find("endpoint"), 60)));
  EXPECT_THAT(explain("http://a/held", "Cookie: a=b; who=me"),
              testing::AllOf(HasSubstr(", by the hash of cookie:who ("), Not(HasSubstr("Set-Cookie"))));
  EXPECT_THAT(explain("http://a/held"),
              testing::AllOf(HasSubstr("endpoint   by chance, as the request has no cookie:who; its cookie "
                                       "holds it there\n"),
                             HasSubstr("    Set-Cookie: who=(made for each request); Path=/; Max-Age=60; "
                                       "HttpOnly; SameSite=Lax\n")));
  EXPECT_THAT(explain("http://a/asked?p=1"),
              HasSubstr("endpoint   by chance, as the request has no query:q\n"));

  // Where shards differ.
  const Settings settings = Parse({config}).settings;
  ExplainQuestion question;
  question.url = "http://a/user/x";
  question.headers = {"X-User: alice"};
  AsideNow now{.on = {0, 0, 0}, .shards = 2};
  const UpstreamAside aside = [&](uint32_t) { return now; };
  const auto live = [&] {
    std::string text;
    EXPECT_TRUE(ExplainRequest(settings, question, &text, {}, aside));
    const size_t at = text.find("endpoint   ");
    return text.substr(at, text.find(", by") - at);
  };
  EXPECT_EQ(live(), "endpoint   10.0.0.3:80");
  now.on[2] = 1;
  EXPECT_EQ(live(), "endpoint   10.0.0.3:80, or 10.0.0.2:80 on shards that have set it aside");
  now.on[2] = 2;
  EXPECT_EQ(live(), "endpoint   10.0.0.2:80");
  now.on = {2, 2, 2};
  EXPECT_EQ(live(), "endpoint   none");
  // In a slow start it has few of its keys.
  now.on = {0, 0, 0};
  now.factors = {kFullFactor, kFullFactor, 1};
  EXPECT_EQ(live(), "endpoint   10.0.0.2:80");
  now.factors.clear();

  // The best level that has somebody.
  EXPECT_THAT(explain("http://a/levels/x"),
              HasSubstr("maglev among 10.0.0.8:80 (backup), 10.0.0.9:80 (priority 2), 10.0.0.7:80\n"
                        "endpoint   10.0.0.7:80, by the hash of path ("));
  question.url = "http://a/levels/x";
  now.on = {0, 0, 2};
  EXPECT_EQ(live(), "endpoint   10.0.0.9:80");
  now.on = {0, 1, 2};
  EXPECT_EQ(live(), "endpoint   10.0.0.9:80, or 10.0.0.8:80 on shards that have set it aside");
  now.on = {0, 0, 0};
  now.known = {{}, {.well = false}, {.out = true}};
  EXPECT_EQ(live(), "endpoint   10.0.0.8:80");

  // Weir's zone first.
  const std::string zones = explain("http://a/zones/x");
  EXPECT_THAT(zones, HasSubstr("maglev among 10.0.0.1:80 (zone a), 10.0.0.2:80 (priority 1) (zone b), "
                               "10.0.0.3:80 (zone b)\nendpoint   10.0.0.3:80, by the hash of path ("));
  EXPECT_THAT(zones,
              HasSubstr("\nzone       b first: all requests while 5 of 7 there are well, below that 1.4 "
                        "times that share\n"));
  EXPECT_THAT(explain("http://a/levels/x"), Not(HasSubstr("zone  ")));
  question.url = "http://a/zones/x";
  now.known = {{}, {}, {.well = false}};
  EXPECT_EQ(live(), "endpoint   10.0.0.1:80");
  now.known = {{.well = false}, {}, {.well = false}};
  EXPECT_EQ(live(), "endpoint   10.0.0.2:80");
  std::filesystem::remove(path);
}

TEST(ExplainSubset, WhoIsInItAndWhereItLeads) {
  const std::string path = testing::TempDir() + "/explain_subset." + std::to_string(getpid()) + ".yaml";
  setenv("EXPLAIN_VERSION", "v2", 1);
  std::ofstream(path) << R"(
listeners: [{address: 0.0.0.0:80, routes: r}, {address: 0.0.0.0:81, upstream: a, subset: {version: v2}}]
upstreams:
  a:
    endpoints: [10.0.0.1:80, {address: 10.0.0.2:80, labels: {version: v2}}, {address: 10.0.0.3:80, labels: {version: v2, size: big}}]
    balance: maglev
    hash_on: path
  b: {endpoints: [{address: 10.0.0.4:80, labels: {size: big}}]}
routes:
  r:
    - {match: {path_prefix: /any}, upstream: a, subset: {size: big, version: v2}, subset_fallback: any}
    - {match: {path_prefix: /env}, upstream: a, subset: {version: "${env:EXPLAIN_VERSION}"}}
    - match: {path_prefix: /split}
      split: [{upstream: a, subset: {version: v2}, weight: 1}, {upstream: b, weight: 0}, {upstream: a, weight: 0}]
      mirror: {upstream: b, subset: {size: big}}
      auth_request: {upstream: b, path: /x, subset: {size: big}}
    - {match: {path_prefix: /all}, upstream: a}
)";
  const std::string config = "--config=" + path;
  const auto explain = [&](std::string_view url) { return Parse({"explain", config, url}).out; };
  EXPECT_THAT(
      explain("http://a:81/x"),
      HasSubstr(
          "10.0.0.3:80\nsubset     {version: v2}: 10.0.0.2:80, 10.0.0.3:80; else 503\nendpoint   10.0.0."));
  EXPECT_THAT(explain("http://a/any"),
              HasSubstr("subset     {size: big, version: v2}: 10.0.0.3:80; else any\n"
                        "endpoint   10.0.0.3:80, by the hash of path ("));
  EXPECT_THAT(explain("http://a/env"),
              HasSubstr("subset     {version: ${env:EXPLAIN_VERSION}}: 10.0.0.2:80, "));
  EXPECT_THAT(
      explain("http://a/split"),
      testing::AllOf(HasSubstr("split      a {version: v2} (weight 1), b (weight 0), a (weight 0)\n"
                               "side       a {version: v2}, for example: chance decides of each request\n"),
                     HasSubstr("of b {size: big}: this is what"), HasSubstr("\nsubset     {version: v2}: "),
                     HasSubstr("mirror     b, subset {size: big}, 100% of the requests\n")));
  EXPECT_THAT(explain("http://a/all"), Not(HasSubstr("\nsubset")));

  // As things are: with nobody of the subset, and then of all.
  const Settings settings = Parse({config}).settings;
  ExplainQuestion question;
  AsideNow now{.on = {0, 0, 2}, .shards = 2};
  const auto live = [&](const char* url) {
    question.url = url;
    std::string text;
    EXPECT_TRUE(ExplainRequest(settings, question, &text, {}, [&](uint32_t) { return now; }));
    const size_t at = text.find("endpoint   ");
    return text.substr(at, text.find(", by") - at);
  };
  EXPECT_EQ(live("http://a/env/x"), "endpoint   10.0.0.2:80");
  EXPECT_NE(live("http://a/any/x"), "endpoint   10.0.0.3:80");
  now.on = {0, 2, 2};
  EXPECT_EQ(live("http://a/env/x"), "endpoint   none");
  EXPECT_EQ(live("http://a/any/x"), "endpoint   10.0.0.1:80");
  now.on = {0, 2, 1};
  EXPECT_EQ(live("http://a/any/x"),
            "endpoint   10.0.0.3:80, or 10.0.0.1:80 on shards that have set it aside");
  std::filesystem::remove(path);
}

class Explain : public testing::Test {
 protected:
  Explain() : path_(testing::TempDir() + "/explain_test." + std::to_string(getpid()) + ".yaml") {
    std::ofstream(path_) << kFile;
  }
  ~Explain() override { std::filesystem::remove(path_); }

  CommandLine Ask(std::vector<std::string_view> arguments) {
    const std::string config = "--config=" + path_;
    arguments.insert(arguments.begin(), {"explain", config});
    CommandLine line = Parse(arguments);
    for (size_t at; (at = line.out.find(path_)) != std::string::npos;)
      line.out.replace(at, path_.size(), "f.yaml");
    return line;
  }
  std::string Answer(std::vector<std::string_view> arguments) {
    const CommandLine line = Ask(std::move(arguments));
    EXPECT_TRUE(line.exit);
    EXPECT_EQ(line.exit_code, 0) << line.err;
    return line.out;
  }

  const std::string path_;
};

TEST_F(Explain, ThePortOfTheUrlChoosesTheListener) {
  EXPECT_THAT(Answer({"http://a.example:81/"}),
              testing::StartsWith("listener   http://0.0.0.0:81\nupstream"));
  EXPECT_THAT(Answer({"http://a.example:8099/"}),
              testing::StartsWith("listener   http://0.0.0.0:80 (the first one for http: none has the URL's "
                                  "port 8099)\n"));
  EXPECT_THAT(Answer({"http://a.example/"}), Not(HasSubstr("the first one")));
}

TEST_F(Explain, TellsTheWholeStory) {
  EXPECT_EQ(Answer({"GET", "http://A.example.//api/./x?q=%20", "-H", "Cookie: a=b", "-H",
                    "X-Forwarded-For: forged", "--client", "203.0.113.7"}),
            R"text(listener   http://0.0.0.0:80 (1 of 3 listeners; --listener or a port in the URL chooses)
routes     site
host       a.example
path       /api/x
not met    f.yaml:11:7: for its host and the prefix /api, but not this method
not met    f.yaml:12:7: for its host and the prefix /api, but not this header (X-Key)
not met    f.yaml:13:7: for its host and the prefix /api, but not this client
not met    f.yaml:14:7: for a wildcard of its host and a path regex, but not this path regex (/u/(.*))
met        f.yaml:16:7: for any host and the prefix /api
upstream   web, round_robin among 10.0.0.1:80, 10.0.0.2:80 (weight 3)
times      connect 3000 ms, response 60000 ms, body 30000 ms, request none
retries    2 retries on connect_failure, reset, endpoint_down; budget 20% of what is in flight, at least 3
request
    GET /api/x?q=%20 HTTP/1.1
    Host: a.example
    Cookie: a=b
    X-Forwarded-For: 203.0.113.7
    X-Forwarded-Proto: http
    X-Forwarded-Host: a.example
    X-Request-ID: (made for each request)
    Via: 1.1 weir-...
)text");
}

TEST_F(Explain, EveryEnd) {
  EXPECT_THAT(
      Answer({"POST", "http://a.example/api"}),
      HasSubstr("met        f.yaml:11:7: for its host and the prefix /api\nalso fits  f.yaml:16:7: for "
                "any host and the prefix /api, but less specific or later in the list\nupstream   api, "
                "least_conn among 10.0.1.1:80\ntimes      connect 3000 ms, response none, body 30000 ms, "
                "request none\nretries    1 retry on connect_failure, reset, endpoint_down; budget 20% of "
                "what is in "
                "flight, at least 3\n"));
  EXPECT_THAT(Answer({"http://b.example/u/7"}), HasSubstr("answer     308, Location: https://x/7\n"));
  EXPECT_THAT(Answer({"http://b.example/gone"}), HasSubstr("answer     410, 4 bytes of text/plain"));
  EXPECT_THAT(Answer({"http://b.example/"}), HasSubstr("answer     404: no route is for this request\n"));
  EXPECT_THAT(Answer({"http://b.example/../x"}),
              HasSubstr("answer     400: the path climbs above its root\n"));
  EXPECT_THAT(Answer({"/gone"}), HasSubstr("answer     400: missing Host\n"));
  EXPECT_THAT(Answer({"/gone", "--header=Host: b"}), HasSubstr("answer     410"));
  EXPECT_THAT(Answer({"GET", "http://b/", "-H", "Transfer-Encoding: x"}), HasSubstr("answer     "));
}

TEST_F(Explain, WhatChangesOnTheWayDown) {
  EXPECT_THAT(Answer({"http://b.example/id//x?y", "-H", "X-Request-ID: mine"}),
              HasSubstr("    X-Trace: mine\n    X-Forwarded-For: 127.0.0.1\n"));
  EXPECT_THAT(Answer({"http://b.example/id//x?y"}), HasSubstr("    X-Trace: (made for each request)\n"));
  EXPECT_THAT(
      Answer({"http://b.example/id//x?y"}),
      testing::EndsWith("response\n    without X-Asked\n    without Server\n    X-Asked: b.example/id/x?y\n"
                        "    X-By: (the endpoint that answers)\n"));
  EXPECT_THAT(Answer({"http://b.example/gone"}),
              testing::EndsWith("response\n    without X-By\n    X-By: -\n"));
}

TEST_F(Explain, WhatTheUpstreamIsToldOfWhoAsked) {
  EXPECT_THAT(
      Answer({"http://a.example:83/", "--client=10.0.0.9", "-H", "Forwarded: for=1.2.3.4;proto=https"}),
      HasSubstr("client     1.2.3.4\nscheme     https\nupstream   web"));
  EXPECT_THAT(
      Answer({"http://a.example:83/", "--client=10.0.0.9", "-H", "Forwarded: for=1.2.3.4;proto=https"}),
      HasSubstr("    X-Forwarded-For: 1.2.3.4, 10.0.0.9\n    X-Forwarded-Proto: https\n"
                "    X-Forwarded-Host: a.example:83\n    Forwarded: for=1.2.3.4;proto=https, "
                "for=10.0.0.9;host=\"a.example:83\";proto=http;by=_weir-...\n"));
}

TEST_F(Explain, WhichSide) {
  const std::string split = "split      web (weight 95), api (weight 5)\n";
  EXPECT_THAT(Answer({"http://a/hash", "--client=10.0.0.1"}),
              HasSubstr(split + "side       web, by the hash of client_ip\nupstream   web, round_robin"));
  EXPECT_THAT(
      Answer({"http://a/hash", "--client=10.0.0.14"}),
      HasSubstr(split +
                "side       api, by the hash of client_ip\nupstream   api, least_conn among "
                "10.0.1.1:80\ntimes      connect 3000 ms, response none, body 30000 ms, request "
                "none\nretries    1 retry on connect_failure, reset, endpoint_down; budget 20% of what is in "
                "flight, at least 3\n"));
  EXPECT_THAT(Answer({"http://a/user?u=1"}), HasSubstr("by the hash of query:u\n"));
  EXPECT_THAT(
      Answer({"http://a/user"}),
      HasSubstr(split + "side       web, for example: chance decides, as the request has no query:u\n"));
  const std::string cookie = "Cookie: side=" + SideId("api");
  EXPECT_THAT(Answer({"http://a/cookie", "-H", cookie}),
              testing::AllOf(HasSubstr("side       api, by its cookie side\nupstream   api"),
                             Not(HasSubstr("Set-Cookie"))));
  EXPECT_THAT(Answer({"http://a/cookie"}),
              testing::AllOf(
                  HasSubstr("side       web, for example: chance decides, as it has no valid cookie side\n"),
                  testing::EndsWith("response\n    Set-Cookie: side=" + SideId("web") +
                                    "; Path=/; HttpOnly; SameSite=Lax\n")));
  EXPECT_THAT(Answer({"http://a/chance"}),
              HasSubstr("side       api, for example: chance decides of each request\n"));
}

TEST_F(Explain, WhatItCameBy) {
  EXPECT_THAT(Answer({"https://a.example:83/"}),
              testing::AllOf(HasSubstr("scheme     https\n"), HasSubstr("X-Forwarded-Proto: https\n")));
  EXPECT_THAT(Answer({"https://a.example:83/", "--client=10.0.0.9", "-H", "X-Forwarded-Proto: http"}),
              testing::AllOf(HasSubstr("scheme     http: the trusted proxy says so\n"),
                             HasSubstr("X-Forwarded-Proto: http\n")));
  EXPECT_THAT(
      Answer({"https://a.example/api", "-H", "X-Forwarded-Proto: https"}),
      testing::AllOf(HasSubstr("scheme     http: the listener has no trusted_proxies that could say https\n"),
                     HasSubstr("X-Forwarded-Proto: http\n")));
  EXPECT_THAT(Answer({"http://a.example:83/"}), Not(HasSubstr("scheme")));
}

TEST_F(Explain, HowMuchItMayBring) {
  EXPECT_THAT(Answer({"POST", "http://b/small", "-H", "Content-Length: 1024"}),
              HasSubstr(", at least 3\nbody       at most 1KiB\nbuffer     up to 1KiB\nrequest\n"));
  EXPECT_THAT(Answer({"POST", "http://b/small", "-H", "Content-Length: 1025"}),
              HasSubstr("answer     413: the request body is too large (at most 1KiB)\n"
                        "page       3 bytes of text/plain; charset=utf-8\n"));
  // Nothing is said of an upstream's answer that never comes.
  EXPECT_THAT(Answer({"POST", "http://b/small", "-H", "Content-Length: 1025"}),
              testing::EndsWith("bytes of text/plain; charset=utf-8\nresponse\n    X-Here: 1\n"));
  EXPECT_THAT(Answer({"POST", "http://b/sides", "-H", "Content-Length: 1025"}),
              testing::AllOf(testing::EndsWith("too large (at most 1KiB)\n"), Not(HasSubstr("Set-Cookie"))));
  const std::string field = "X: " + std::string(500, 'x');
  EXPECT_THAT(Answer({"http://b/small", "-H", field}),
              HasSubstr("answer     431: the request head has 537 bytes, the route takes 512\n"));
}

TEST_F(Explain, WhoIsAskedForAName) {
  EXPECT_THAT(Answer({"http://b/mine"}),
              HasSubstr("answer     401: a name and a password are wanted (basic_auth, realm ours)\n"));
  EXPECT_THAT(Answer({"http://b/mine", "-H", "Authorization: Basic YWxpY2U6b3Blbg=="}),
              HasSubstr("answer     401:"));
  const std::string let_in = Answer({"http://b/mine", "-H", "Authorization: Basic YWxpY2U6b3BlbiBzZXNhbWU="});
  EXPECT_THAT(let_in, HasSubstr("user       alice\nupstream   api"));
  EXPECT_THAT(let_in, Not(HasSubstr("Authorization")));
}

TEST_F(Explain, WhoIsAskedFirst) {
  const std::string story = Answer({"http://b/asked?x=1", "-H", "X-User: root"});
  EXPECT_THAT(
      story,
      HasSubstr("asks       GET /check/asked of web: this is what becomes of the request if it answers "
                "2xx\n           which says the request's X-User\nupstream   api"));
  EXPECT_THAT(story, Not(HasSubstr("root")));
  EXPECT_THAT(Answer({"HEAD", "http://b/asked"}), HasSubstr("asks       HEAD /check/asked of web"));
}

TEST_F(Explain, WhichListener) {
  EXPECT_THAT(Answer({"http://a.example:81/api"}), HasSubstr("listener   http://0.0.0.0:81\nupstream   web"));
  EXPECT_THAT(Answer({"http://a.example/api", "--listener=0.0.0.0:81"}),
              HasSubstr("listener   http://0.0.0.0:81\n"));
  EXPECT_THAT(Answer({"http://a.example/api", "--client=10.9.9.9"}), HasSubstr("met        f.yaml:13:7"));
  EXPECT_THAT(Answer({"http://a.example/api", "--client=2001:db8::1"}),
              HasSubstr("X-Forwarded-For: 2001:db8::1"));
}

TEST_F(Explain, WhichOfSeveralListeners) {
  EXPECT_THAT(
      Answer({"/gone", "-H", "Host: a"}),
      testing::StartsWith("listener   http://0.0.0.0:80 (1 of 3 listeners; --listener or a port in the "
                          "URL chooses)\n"));
  EXPECT_THAT(Answer({"http://a/gone", "--listener=0.0.0.0:80"}),
              testing::StartsWith("listener   http://0.0.0.0:80\n"));
  EXPECT_THAT(Answer({"http://a:80/gone"}), testing::StartsWith("listener   http://0.0.0.0:80\n"));
  const CommandLine one = Parse(
      {"--listen=http://0.0.0.0:80,tcp://0.0.0.0:81", "explain", "http://a/", "--backends=10.0.0.1:80"});
  EXPECT_THAT(one.out, testing::StartsWith("listener   http://0.0.0.0:80\n"));
  const CommandLine same_port = Parse({"--listen=http://10.0.0.1:80,http://10.0.0.2:80", "explain",
                                       "http://a:80/", "--backends=10.0.0.9:80"});
  EXPECT_THAT(same_port.out,
              testing::StartsWith("listener   http://10.0.0.1:80 (1 of 2 listeners with port 80; --listener "
                                  "chooses)\n"));
}

TEST_F(Explain, AHostAmongTheHeadersStandsForTheUrls) {
  const std::string story = Answer({"http://b.example:81/x", "-H", "hOST: a.example"});
  EXPECT_THAT(story, testing::AllOf(testing::StartsWith("listener   http://0.0.0.0:81\n"),
                                    HasSubstr("    Host: a.example\n"), Not(HasSubstr("b.example"))));
  EXPECT_THAT(Answer({"http://b/", "-H", "Host: a", "-H", "Host: c"}),
              HasSubstr("answer     400: repeated Host"));
  EXPECT_THAT(Answer({"http://b/", "-H", "Hostile: a"}), HasSubstr("host       b\n"));
}

TEST(ExplainRoutes, WhatElseFitsUpToFive) {
  const std::string path = testing::TempDir() + "/explain_others." + std::to_string(getpid()) + ".yaml";
  std::string text =
      "listeners: [{address: 0.0.0.0:80, routes: r}]\nupstreams: {web: {endpoints: [10.0.0.1:80]}}\n"
      "routes:\n  r:\n    - upstream: web\n    - {match: {method: POST}, upstream: web}\n"
      "    - {match: {host: [\"*.example\", a.example], path_regex: \"/a.*\"}, upstream: web}\n";
  const auto ask = [&] {
    std::ofstream(path) << text;
    const std::string config = "--config=" + path;
    std::string out = Parse({"explain", config, "http://a.example/a/b/c/d/e"}).out;
    for (size_t at; (at = out.find(path)) != std::string::npos;) out.replace(at, path.size(), "f");
    std::filesystem::remove(path);
    return out;
  };
  EXPECT_THAT(ask(),
              HasSubstr("met        f:7:7: for its host and a path regex\n"
                        "also fits  f:5:7: for any host and any path, but less specific or later in the "
                        "list\nupstream"));
  text += "    - {match: {path: /a/b/c/d/e}, upstream: web}\n";
  for (const char* prefix : {"/a", "/a/b", "/a/b/c"})
    text += std::string("    - {match: {path_prefix: ") + prefix + "}, upstream: web}\n";
  EXPECT_THAT(
      ask(),
      testing::AllOf(HasSubstr("also fits  f:8:7: for any host and its path, but"),
                     HasSubstr("also fits  f:11:7: for any host and the prefix /a/b/c, but"),
                     HasSubstr("also fits  f:9:7: for any host and the prefix /a, but less specific or later "
                               "in the list\nalso fits  f:5:7: for any host and any path, but less specific "
                               "or later in the list\nupstream")));
  text += "    - {match: {path_prefix: /a/b/c/d}, upstream: web}\n";
  EXPECT_THAT(ask(), testing::AllOf(HasSubstr("in the list\n           and others\nupstream"),
                                    Not(HasSubstr("f:5:7"))));
}

TEST(ExplainConnections, WhereTheyGo) {
  const std::string path = testing::TempDir() + "/explain_connections." + std::to_string(getpid()) + ".yaml";
  std::ofstream(path) << R"(
listeners:
  - {address: 0.0.0.0:80, upstream: web}
  - {address: 0.0.0.0:443, protocol: tcp, routes: names}
  - {address: 0.0.0.0:444, protocol: tcp, routes: few, deny: 10.0.0.1}
  - {address: 0.0.0.0:445, protocol: tcp, upstream: web}
upstreams:
  web: {endpoints: [10.0.0.1:80, 10.0.0.2:80]}
  mail: {endpoints: [10.0.0.3:80], retries: 1, timeouts: {tcp_idle: 1h}}
routes:
  names:
    - {match: {sni: "*.mail.example"}, upstream: mail}
    - {match: {sni: a.mail.example, alpn: h2}, upstream: web}
    - {upstream: web}
  few:
    - {match: {sni: a.example}, split: [{upstream: web}, {upstream: mail, weight: 2}]}
    - {match: {sni: b.example}, upstream: mail, deny: 127.0.0.1}
)";
  const std::string config = "--config=" + path;
  const auto ask = [&](std::vector<std::string_view> arguments) {
    arguments.insert(arguments.begin(), {"explain", config});
    const CommandLine line = Parse(arguments);
    std::string said = line.out + line.err;
    for (size_t at; (at = said.find(path)) != std::string::npos;) said.replace(at, path.size(), "f.yaml");
    EXPECT_EQ(line.exit_code, line.err.empty() ? 0 : 1);
    return said;
  };
  EXPECT_EQ(ask({"tls://A.Mail.Example.", "--alpn=http/1.1"}), R"text(listener   tcp://0.0.0.0:443
name       a.mail.example
protocols  http/1.1
routes     names
not met    f.yaml:13:7: for its name, but not this protocol
met        f.yaml:12:7: for a wildcard of its name
also fits  f.yaml:14:7: for any name, or none, but less specific or later in the list
upstream   mail, round_robin among 10.0.0.3:80
times      connect 3000 ms, idle 3600000 ms
retries    1 retry on connect_failure
)text");
  EXPECT_THAT(ask({"tls://a.mail.example", "--alpn", "x,h2"}),
              HasSubstr("met        f.yaml:13:7: for its name\n"));
  EXPECT_THAT(ask({"tcp://:443"}),
              HasSubstr("hello      none: no TLS\nroutes     names\nmet        f.yaml:14:7"));
  EXPECT_THAT(ask({"tls://:444"}),
              HasSubstr("name       none\nprotocols  none\nroutes     few\nanswer     none: no "
                        "route is for this hello\n"));
  EXPECT_THAT(ask({"tcp://:444"}), HasSubstr("answer     none: no route is for this connection\n"));
  EXPECT_THAT(ask({"tls://b.example:444"}),
              HasSubstr("answer     none: the route does not allow this client\n"));
  EXPECT_THAT(ask({"tls://a.example:444"}), HasSubstr("side       weight 2\nupstream   mail"));
  EXPECT_THAT(ask({"tls://a.example:444", "--client=10.0.0.1"}),
              HasSubstr("answer     none: the listener does not allow this client\n"));
  EXPECT_EQ(
      ask({"tls://a.example", "--listener=0.0.0.0:445"}).find("listener   tcp://0.0.0.0:445\nupstream   web"),
      0u);
  EXPECT_THAT(ask({"tls://a.example:80"}), HasSubstr("explain: no tcp listener has the port 80"));
  EXPECT_THAT(ask({"tls://a.example", "--listener=0.0.0.0:80"}),
              HasSubstr("expected the address of a tcp listener"));
  for (const char* wrong : {"tls://a..", "tls://a/b", "tcp://a:443"}) {
    EXPECT_THAT(ask({wrong}), HasSubstr("expected tls://NAME[:PORT]")) << wrong;
  }
  std::filesystem::remove(path);
}

TEST_F(Explain, BadQuestions) {
  const auto refusal = [&](std::vector<std::string_view> arguments) {
    const CommandLine line = Ask(std::move(arguments));
    EXPECT_EQ(line.exit_code, 1);
    EXPECT_EQ(line.out, "");
    return line.err;
  };
  EXPECT_THAT(refusal({}), HasSubstr("explain: expected [METHOD] URL"));
  EXPECT_THAT(refusal({"GET", "http://a/", "more"}), HasSubstr("explain: expected [METHOD] URL"));
  EXPECT_THAT(refusal({"ftp://a/"}), HasSubstr("expected http://HOST/PATH"));
  EXPECT_THAT(refusal({"http://a/", "--client=x"}),
              HasSubstr("--client: \"x\": expected an IPv4 or IPv6 address, or unix"));
  EXPECT_THAT(refusal({"http://a/", "--listener=0.0.0.0:82"}),
              HasSubstr("expected the address of an http listener"));
  EXPECT_THAT(refusal({"http://a/", "-H"}), HasSubstr("-H: the value is missing"));
  EXPECT_THAT(refusal({"http://a/", "--shardz=1"}), HasSubstr("unknown flag --shardz"));
}

TEST(ExplainFlags, WithoutAFile) {
  const CommandLine line =
      Parse({"--listen=http://0.0.0.0:80", "explain", "http://a/x", "--backends=10.0.0.1:80"});
  EXPECT_EQ(line.exit_code, 0) << line.err;
  EXPECT_THAT(line.out, HasSubstr("upstream   default, round_robin among 10.0.0.1:80\n"));
  EXPECT_THAT(line.out, Not(HasSubstr("routes")));
}

TEST(ExplainFlags, AUnixEndpoint) {
  const CommandLine line =
      Parse({"--listen=http://0.0.0.0:80", "explain", "http://a/x", "--backends=unix:/run/a.sock=2"});
  EXPECT_EQ(line.exit_code, 0) << line.err;
  EXPECT_THAT(line.out, HasSubstr("upstream   default, round_robin among unix:/run/a.sock (weight 2)\n"));
}

}  // namespace
}  // namespace weir::lb
