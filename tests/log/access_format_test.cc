#include "lb/log/access_format.h"

#include <string>

#include "gtest/gtest.h"
#include "lb/log/access_line.h"
#include "tests/json/json.h"

namespace weir::lb {
namespace {

using Form = AccessLogSettings::Form;
using tests::Json;
using tests::JsonReader;

constexpr int64_t kWallMs = 1'795'359'352'123;  // 2026-11-22T14:55:52.123Z

constexpr std::string_view kRequestHead =
    "GET /index.html?q=1 HTTP/1.1\r\nHost: example.com\r\nUser-Agent: curl/8\r\nX-Two: a\r\nx-two: b\r\n"
    "Referer: http://r.example/p?token=abc&x#frag\r\nCookie: secret=1\r\nEmpty: \r\n\r\n";
constexpr std::string_view kResponseHead =
    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nLocation: /next?code=1\r\nVary: A\r\nVary: B\r\n\r\n";

const SocketAddress kEndpoint = *SocketAddress::Parse("10.0.0.2:80");

AccessRecord Request() {
  AccessRecord record;
  record.client = *SocketAddress::Parse("192.0.2.7:50123");
  record.method = "GET";
  record.host = "example.com";
  record.target = "/index.html?q=1";
  record.forwarded_target = "/v2/index.html?q=1";
  record.request_id = "abc-123";
  record.request_head = kRequestHead;
  record.status = 200;
  record.bytes_received = 5;
  record.bytes_sent = 1'234;
  record.body_bytes_sent = 1'000;
  record.total_us = 1'500;
  record.connect_us = 300;
  record.response_us = 1'400;
  record.endpoint = &kEndpoint;
  record.retries = 1;
  record.end = "ok";
  return record;
}

AccessRecord Connection() {
  AccessRecord record;
  record.tcp = true;
  record.client = *SocketAddress::Parse("[2001:db8::1]:443");
  record.bytes_sent = record.body_bytes_sent = 7;
  record.end = "client_closed";
  return record;
}

std::shared_ptr<const AccessFormat> Build(const AccessLogSettings& settings) {
  AccessFormat::Problem problem;
  std::shared_ptr<const AccessFormat> format = AccessFormat::Build(settings, &problem);
  EXPECT_NE(format, nullptr) << problem.key << ": " << problem.sentence;
  return format;
}

std::string Write(const AccessFormat& format, const AccessRecord& record, int64_t wall_ms = kWallMs) {
  std::string line(format.max_line_bytes(), '#');
  line.resize(format.Write(record, wall_ms, line.data()));
  EXPECT_TRUE(line.ends_with('\n'));
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  line.pop_back();
  return line;
}

std::string ByTemplate(std::string text, const AccessRecord& record, bool redact_query = false) {
  AccessLogSettings settings;
  settings.form = Form::kTemplate;
  settings.line = std::move(text);
  settings.redact_query = redact_query;
  return Write(*Build(settings), record);
}

std::string Refused(const AccessLogSettings& settings) {
  AccessFormat::Problem problem;
  EXPECT_EQ(AccessFormat::Build(settings, &problem), nullptr);
  return problem.key + ": " + problem.sentence;
}
std::string RefusedTemplate(std::string text) {
  AccessLogSettings settings;
  settings.form = Form::kTemplate;
  settings.line = std::move(text);
  return Refused(settings);
}

TEST(AccessFormat, TheUsualMembersAreTheUsualLine) {
  const std::shared_ptr<const AccessFormat> format = Build({});
  for (const AccessRecord& record : {Request(), Connection(), AccessRecord()}) {
    std::string usual(kMaxAccessLineBytes, '#');
    usual.resize(FormatAccessLine(record, kWallMs, usual.data(), usual.size()));
    EXPECT_EQ(Write(*format, record) + "\n", usual);
  }
}

TEST(AccessFormat, ChosenMembersInTheirOrder) {
  AccessLogSettings settings;
  settings.fields = {"status", "client_ip", "request", "body_bytes_sent", "time_local", "end"};
  const std::shared_ptr<const AccessFormat> format = Build(settings);
  EXPECT_EQ(Write(*format, Request()),
            R"({"status":200,"client_ip":"192.0.2.7","request":"GET /index.html?q=1 HTTP/1.1",)"
            R"("body_bytes_sent":1000,"time_local":"22/Nov/2026:14:55:52 +0000","end":"ok"})");
  EXPECT_EQ(
      Write(*format, Connection()),
      R"({"client_ip":"2001:db8::1","body_bytes_sent":7,"time_local":"22/Nov/2026:14:55:52 +0000","end":"client_closed"})");
  settings.fields = {"status"};
  EXPECT_EQ(Write(*Build(settings), Connection()), "{}");
}

TEST(AccessFormat, WhatAProxyHeaderSaid) {
  AccessRecord record = Connection();
  record.peer = *SocketAddress::Parse("10.0.0.5:999");
  record.tlvs = std::string_view(
      "\x02\0\x06"
      "a.test\x05\0\x03i\"\xff\xe0\0\0",
      18);
  EXPECT_EQ(ByTemplate("${client} ${peer} ${proxy_protocol_authority} ${proxy_protocol_unique_id} "
                       "${proxy_protocol_tlv:2} [${proxy_protocol_tlv:0xE0}] ${proxy_protocol_alpn} "
                       "${proxy_protocol_tlv:ssl_cipher}",
                       record),
            R"([2001:db8::1]:443 10.0.0.5:999 a.test i\x22\xFF a.test [-] - -)");
  AccessLogSettings settings;
  settings.fields = {"peer", "proxy_protocol_authority", "proxy_protocol_alpn"};
  EXPECT_EQ(Write(*Build(settings), record),
            R"({"peer":"10.0.0.5:999","proxy_protocol_authority":"a.test","proxy_protocol_alpn":null})");
  for (const char* name : {"", "crc32c", "256", "0x", "host"}) {
    EXPECT_NE(RefusedTemplate("${proxy_protocol_tlv:" + std::string(name) + "}").find("expected one of alpn"),
              std::string::npos);
  }
}

TEST(AccessFormat, WhatAClientHelloSaid) {
  AccessRecord record = Connection();
  AccessLogSettings settings;
  settings.fields = {"sni", "alpn"};
  EXPECT_EQ(Write(*Build(settings), record), R"({"sni":null,"alpn":null})");
  EXPECT_EQ(ByTemplate("${sni} ${alpn}", record), "- -");
  record.sni = "a.example";
  record.alpn = "h2,\"\x01";
  EXPECT_EQ(Write(*Build(settings), record), R"({"sni":"a.example","alpn":"h2,\"\u0001"})");
  EXPECT_EQ(ByTemplate("${sni} ${alpn}", record), R"(a.example h2,\x22\x01)");
}

TEST(AccessFormat, Headers) {
  AccessLogSettings settings;
  settings.fields = {"status"};
  settings.request_headers = {"User-Agent", "X-Two", "Missing", "Empty"};
  settings.response_headers = {"content-type", "Vary", "Nothing"};
  const std::shared_ptr<const AccessFormat> format = Build(settings);
  AccessRecord record = Request();
  EXPECT_EQ(
      Write(*format, record),
      R"({"status":200,"request_headers":{"User-Agent":"curl/8","X-Two":"a, b","Missing":null,"Empty":""},)"
      R"("response_headers":{"content-type":null,"Vary":null,"Nothing":null}})");
  std::string kept(format->max_kept_bytes(), '#');
  kept.resize(format->Keep(kResponseHead, kept.data()));
  record.kept_response = kept;
  EXPECT_EQ(
      Write(*format, record),
      R"({"status":200,"request_headers":{"User-Agent":"curl/8","X-Two":"a, b","Missing":null,"Empty":""},)"
      R"("response_headers":{"content-type":"text/html","Vary":"A, B","Nothing":null}})");
  EXPECT_EQ(Write(*format, Connection()), "{}");
  // A request that was refused before it had a head.
  record.request_head = {};
  EXPECT_NE(Write(*format, record).find("\"User-Agent\":null"), std::string::npos);
}

TEST(AccessFormat, OfALongResponseHeaderTheBeginningIsKept) {
  AccessLogSettings settings;
  settings.fields = {"status"};
  settings.response_headers = {"A", "B", "C"};
  const std::shared_ptr<const AccessFormat> format = Build(settings);
  const std::string most(AccessFormat::kMostKeptBytes, 'x');
  const std::string head =
      "HTTP/1.1 200 OK\r\nB: " + most + "y\r\nC: " + most + "\r\nA: 1\r\nA: " + most + "\r\n\r\n";
  std::string kept(format->max_kept_bytes(), '#');
  kept.resize(format->Keep(head, kept.data()));
  AccessRecord record = Request();
  record.kept_response = kept;
  EXPECT_EQ(Write(*format, record), R"({"status":200,"response_headers":{"A":"1, )" + most.substr(3) +
                                        "\u2026\",\"B\":\"" + most + "\u2026\",\"C\":\"" + most + "\"}}");
}

TEST(AccessFormat, CombinedIsWhatNginxWrites) {
  AccessLogSettings settings;
  settings.form = Form::kCombined;
  const std::shared_ptr<const AccessFormat> format = Build(settings);
  AccessRecord record = Request();
  EXPECT_EQ(Write(*format, record),
            R"(192.0.2.7 - - [22/Nov/2026:14:55:52 +0000] "GET /index.html?q=1 HTTP/1.1" 200 1000 )"
            R"("http://r.example/p?token=abc&x#frag" "curl/8")");
  record.minor = 0;
  record.request_head = "GET / HTTP/1.1\r\nUser-Agent: a\"b\\c\t\x01\xff\x7f\r\nReferer: \r\n\r\n";
  EXPECT_EQ(Write(*format, record, 0),
            R"(192.0.2.7 - - [01/Jan/1970:00:00:00 +0000] "GET /index.html?q=1 HTTP/1.0" 200 1000 )"
            R"("" "a\x22b\x5Cc\x09\x01\xFF\x7F")");
  EXPECT_EQ(Write(*format, Connection()),
            R"(2001:db8::1 - - [22/Nov/2026:14:55:52 +0000] "-" 000 7 "-" "-")");
}

TEST(AccessFormat, Template) {
  EXPECT_EQ(ByTemplate("${client} $ $${end} {${end}} ${endpoint}\u00e9", Request()),
            "192.0.2.7:50123 $ ${end} {ok} 10.0.0.2:80\u00e9");
  EXPECT_EQ(
      ByTemplate("${time} ${protocol} ${method} ${host} ${path} ${status} ${bytes_received} ${bytes_sent} "
                 "${duration_us} ${connect_us} ${response_us} ${retries} ${request_id}",
                 Request()),
      "2026-11-22T14:55:52.123Z http GET example.com /index.html?q=1 200 5 1234 1500 300 1400 1 abc-123");
  EXPECT_EQ(ByTemplate("${request_header:user-agent}|${request_header:None}|${request_header:Empty}|"
                       "${response_header:Vary}",
                       Request()),
            "curl/8|-||-");
  // What has no value is a dash.
  EXPECT_EQ(
      ByTemplate("${method} ${host} ${path} ${request} ${status} ${endpoint} ${request_id}", Connection()),
      "- - - - 000 - -");
}

TEST(AccessFormat, NothingFromAPeerBreaksTheLine) {
  std::string all = "/";
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  AccessRecord record = Request();
  record.target = all;
  const std::string line = ByTemplate("<${path}>", record);
  EXPECT_EQ(std::count(line.begin(), line.end(), '"'), 0);
  for (const char c : line) EXPECT_TRUE(c >= 0x20 && c < 0x7f);
}

TEST(AccessFormat, QueriesAreRedacted) {
  const auto redacted = [](std::string_view target) {
    AccessRecord record = Request();
    record.target = target;
    return ByTemplate("${path}", record, true);
  };
  EXPECT_EQ(redacted("/a/b"), "/a/b");
  EXPECT_EQ(redacted("*"), "*");
  EXPECT_EQ(redacted("/a?"), "/a?");
  EXPECT_EQ(redacted("/a?token=abc"), "/a?token=***");
  EXPECT_EQ(redacted("/a?token=abc&page=2&&z=1"), "/a?token=***&page=***&&z=***");
  EXPECT_EQ(redacted("/a?x=1?y=2=3"), "/a?x=***");
  EXPECT_EQ(redacted("/a?x=1;token=2"), "/a?x=***");
  // What has no name is all value, and what has no value may be one: tokens end with '='.
  EXPECT_EQ(redacted("/a?0123456789"), "/a?***");
  EXPECT_EQ(redacted("/a?=secret"), "/a?=***");
  EXPECT_EQ(redacted("/a?token="), "/a?***");
  EXPECT_EQ(redacted("/a?dG9rZW4=="), "/a?***");
  EXPECT_EQ(redacted("/a?b#access_token=1&c=2"), "/a?***#***");
  EXPECT_EQ(redacted("/a#access_token=1"), "/a#***");
}

TEST(AccessFormat, ThePathAsItCameAndAsItGoesOn) {
  AccessRecord record = Request();
  EXPECT_EQ(ByTemplate("${path} ${forwarded_path}", record), "/index.html?q=1 /v2/index.html?q=1");
  EXPECT_EQ(ByTemplate("${path} ${forwarded_path}", record, true), "/index.html?q=*** /v2/index.html?q=***");
  record.forwarded_target = {};
  EXPECT_EQ(ByTemplate("${path} ${forwarded_path}", record), "/index.html?q=1 -");
  AccessLogSettings settings;
  settings.fields = {"forwarded_path", "path"};
  EXPECT_EQ(Write(*Build(settings), record), R"({"forwarded_path":"","path":"/index.html?q=1"})");
  EXPECT_EQ(Write(*Build(settings), Connection()), "{}");
  EXPECT_EQ(ByTemplate("${upstream} ${scheme}", record), "- http");
  record.client.port = 0;
  EXPECT_EQ(ByTemplate("${client}", record), "192.0.2.7");
  settings.fields = {"upstream", "scheme"};
  EXPECT_EQ(Write(*Build(settings), record), R"({"upstream":null,"scheme":"http"})");
  record.upstream = "web";
  record.https = true;
  EXPECT_EQ(Write(*Build(settings), record), R"({"upstream":"web","scheme":"https"})");
  EXPECT_EQ(Write(*Build(settings), Connection()), R"({"upstream":null})");
}

TEST(AccessFormat, TheUser) {
  AccessRecord record = Request();
  EXPECT_EQ(ByTemplate("<${user}>", record), "<->");
  AccessLogSettings settings;
  settings.fields = {"user"};
  EXPECT_EQ(Write(*Build(settings), record), R"({"user":null})");
  EXPECT_EQ(Write(*Build(settings), Connection()), "{}");
  // Nothing in a name passes for another field.
  record.user = " a [b] \"c\"\\\xff\n";
  EXPECT_EQ(Write(*Build(settings), record), R"({"user":" a [b] \"c\"\\\u00ff\n"})");
  EXPECT_EQ(ByTemplate("<${user}>", record), R"(<\x20a\x20[b]\x20\x22c\x22\x5C\xFF\x0A>)");
  settings = {};
  settings.form = Form::kCombined;
  EXPECT_EQ(Write(*Build(settings), record).substr(0, 57),
            R"(192.0.2.7 - \x20a\x20[b]\x20\x22c\x22\x5C\xFF\x0A [22/Nov)");
  for (const char c : {'x', ' ', '\x80'}) {
    const std::string most(10'000, c);
    record.user = most;
    const std::string line = ByTemplate("${user}", record);
    EXPECT_LE(line.size(), kMaxLoggedUser);
    EXPECT_GT(line.size(), kMaxLoggedUser - 12);
    EXPECT_EQ(line.find("\u2026"), line.size() - 3);
  }
}

TEST(AccessFormat, ATargetOfWhichNotAllIsThereIsMarked) {
  AccessRecord record = Request();
  record.target_cut = true;
  EXPECT_EQ(ByTemplate("${path}|${request}", record),
            "/index.html?q=1\u2026|GET /index.html?q=1\u2026 HTTP/1.1");
  EXPECT_EQ(ByTemplate("${path}", record, true), "/index.html?q=***\u2026");
  const std::string most(kMaxLoggedTarget, 'x');
  record.target = most;
  const std::string line = ByTemplate("${path}", record);
  EXPECT_LE(line.size(), kMaxLoggedTarget);
  EXPECT_EQ(line.find("\u2026"), line.size() - 3);
}

TEST(AccessFormat, QueriesAreRedactedWhereverTheyStand) {
  AccessLogSettings settings;
  settings.redact_query = true;
  settings.fields = {"request", "path"};
  settings.request_headers = {"Referer"};
  settings.response_headers = {"Location"};
  const std::shared_ptr<const AccessFormat> format = Build(settings);
  AccessRecord record = Request();
  std::string kept(format->max_kept_bytes(), '#');
  kept.resize(format->Keep(kResponseHead, kept.data()));
  record.kept_response = kept;
  EXPECT_EQ(Write(*format, record),
            R"({"request":"GET /index.html?q=*** HTTP/1.1","path":"/index.html?q=***",)"
            R"("request_headers":{"Referer":"http://r.example/p?token=***&***#***"},)"
            R"("response_headers":{"Location":"/next?code=***"}})");
}

TEST(AccessFormat, CredentialsAreNotLoggedUnlessAsked) {
  for (const char* name : {"Authorization", "cookie", "SET-COOKIE", "Proxy_Authorization"}) {
    AccessLogSettings settings;
    settings.request_headers = {name};
    const std::string why =
        std::string(name) +
        "\" holds credentials: name it in redact_headers too, or say sensitive_headers: keep";
    EXPECT_EQ(Refused(settings), "request_headers: \"" + why);
    settings.request_headers.clear();
    settings.response_headers = {name};
    EXPECT_EQ(Refused(settings), "response_headers: \"" + why);
    EXPECT_EQ(RefusedTemplate("${request_header:" + std::string(name) + "}"), "template: \"" + why);
    settings.sensitive_headers = true;
    Build(settings);
  }
  AccessLogSettings settings;
  settings.fields = {"status"};
  settings.request_headers = {"Cookie", "X-Two", "Missing"};
  settings.redact_headers = {"COOKIE", "x-two", "missing"};
  EXPECT_EQ(Write(*Build(settings), Request()),
            R"({"status":200,"request_headers":{"Cookie":"***","X-Two":"***","Missing":null}})");
  settings.request_headers = {"Cookie"};
  settings.redact_headers = {};
  settings.sensitive_headers = true;
  EXPECT_EQ(Write(*Build(settings), Request()), R"({"status":200,"request_headers":{"Cookie":"secret=1"}})");
}

TEST(AccessFormat, ASampleButAllErrors) {
  Random random(7);
  AccessLogSettings settings;
  settings.sample.value = Share::kAll / 10;
  const std::shared_ptr<const AccessFormat> format = Build(settings);
  const auto share = [&](const AccessFormat& of, uint16_t status, std::string_view end) {
    AccessRecord record = Request();
    record.status = status;
    record.end = end;
    int written = 0;
    for (int i = 0; i < 10'000; ++i) written += of.Wants(record, random) ? 1 : 0;
    return written;
  };
  EXPECT_NEAR(share(*format, 200, "ok"), 1'000, 150);
  EXPECT_NEAR(share(*format, 404, "ok"), 1'000, 150);
  EXPECT_NEAR(share(*format, 301, "answered_here"), 1'000, 150);
  EXPECT_EQ(share(*format, 500, "ok"), 10'000);
  EXPECT_EQ(share(*format, 503, "answered_here"), 10'000);
  EXPECT_EQ(share(*format, 200, "client_abort"), 10'000);
  const auto share_of_tcp = [&](std::string_view end) {
    AccessRecord record = Connection();
    record.end = end;
    int written = 0;
    for (int i = 0; i < 10'000; ++i) written += format->Wants(record, random) ? 1 : 0;
    return written;
  };
  EXPECT_NEAR(share_of_tcp("client_closed"), 1'000, 150);
  EXPECT_NEAR(share_of_tcp("server_closed"), 1'000, 150);
  EXPECT_EQ(share_of_tcp("idle_timeout"), 10'000);
  settings.sample_errors = true;
  EXPECT_NEAR(share(*Build(settings), 500, "upstream_closed"), 1'000, 150);
  settings.sample.value = 0;
  EXPECT_EQ(share(*Build(settings), 500, "ok"), 0);
  settings.sample_errors = false;
  EXPECT_EQ(share(*Build(settings), 200, "ok"), 0);
  EXPECT_EQ(share(*Build(settings), 502, "ok"), 10'000);
}

TEST(AccessFormat, ALineHasItsBound) {
  const std::string worst(50'000, '\x80');
  const std::string head = "GET / HTTP/1.1\r\nA: " + worst + "\r\nA: " + worst + "\r\n\r\n";
  const SocketAddress address = *SocketAddress::Parse("[1111:2222:3333:4444:5555:6666:7777:8888]:65535");
  AccessLogSettings json;
  json.fields = {"user",       "time",       "protocol", "client",          "method",
                 "host",       "path",       "status",   "bytes_sent",      "duration_us",
                 "connect_us", "endpoint",   "retries",  "request_id",      "end",
                 "client_ip",  "time_local", "request",  "body_bytes_sent", "forwarded_path",
                 "upstream",   "scheme"};
  json.request_headers = {"A", "B", "C"};
  json.response_headers = {"A", "B", "C"};
  AccessLogSettings combined;
  combined.form = Form::kCombined;
  for (AccessLogSettings settings : {json, combined}) {
    for (const bool redact : {false, true}) {
      settings.redact_query = redact;
      const std::shared_ptr<const AccessFormat> format = Build(settings);
      for (const std::string& target : {worst, "/?" + worst, "/?a=" + worst, std::string(50'000, '&')}) {
        AccessRecord record;
        record.client = address;
        record.endpoint = &address;
        record.upstream = record.user = record.method = record.host = record.request_id = record.end = worst;
        record.target = record.forwarded_target = target;
        record.target_cut = redact;
        record.request_head = head;
        std::string kept(format->max_kept_bytes(), '#');
        kept.resize(format->Keep(head, kept.data()));
        record.kept_response = kept;
        record.status = UINT16_MAX;
        record.bytes_received = record.bytes_sent = record.body_bytes_sent = record.total_us = UINT64_MAX;
        record.connect_us = record.response_us = record.retries = UINT32_MAX;
        const std::string line = Write(*format, record, 253'402'300'799'999);
        EXPECT_LT(line.size(), AccessFormat::kMostLineBytes);
        if (settings.form == Form::kJson) {
          EXPECT_TRUE(JsonReader::Read(line).has_value()) << line;
        }
      }
    }
  }
}

TEST(AccessFormat, RandomBytesStayOneLineOfJson) {
  Random random(3);
  AccessLogSettings settings;
  settings.redact_query = true;
  settings.request_headers = {"A", "Referer"};
  const std::shared_ptr<const AccessFormat> format = Build(settings);
  for (int round = 0; round < 2'000; ++round) {
    std::string texts[3];
    for (std::string& text : texts) {
      text.resize(random.Below(round % 10 == 0 ? 5'000 : 60));
      for (char& c : text) c = random.OneIn(4) ? "?&=#/"[random.Below(5)] : static_cast<char>(random.Next());
    }
    // A head that nobody serialised: it is walked all the same.
    const std::string head = "GET / HTTP/1.1\r\nReferer: " + texts[0] + "\r\nA: " + texts[1];
    AccessRecord record = Request();
    record.target = texts[2];
    record.request_head = head;
    const std::string line = Write(*format, record);
    ASSERT_TRUE(JsonReader::Read(line).has_value()) << line;
  }
}

TEST(AccessFormat, DatagramsHaveAHeader) {
  AccessLogSettings settings;
  settings.syslog.address = "unix:/dev/log";
  settings.syslog.host = "edge-1";
  settings.syslog.process = "4711";
  EXPECT_FALSE(settings.usual());
  std::string usual(kMaxAccessLineBytes, '#');
  usual.resize(FormatAccessLine(Request(), kWallMs, usual.data(), usual.size()));
  usual.pop_back();
  EXPECT_EQ(Write(*Build(settings), Request()),
            "<190>1 2026-11-22T14:55:52.123Z edge-1 weir 4711 access - " + usual);
  settings.syslog.facility = 3;
  settings.syslog.tag = "proxy";
  settings.form = Form::kTemplate;
  settings.line = "${status}";
  EXPECT_EQ(Write(*Build(settings), Request()),
            "<30>1 2026-11-22T14:55:52.123Z edge-1 proxy 4711 access - 200");
  EXPECT_EQ(Write(*Build(settings), Connection()),
            "<30>1 2026-11-22T14:55:52.123Z edge-1 proxy 4711 access - 000");
}

TEST(AccessFormat, WhatIsRefused) {
  const std::string names = AccessFormat::FieldNames();
  AccessLogSettings settings;
  settings.fields = {"status", "nothing"};
  EXPECT_EQ(Refused(settings), "fields: \"nothing\": expected some of " + names);
  settings.fields = {"status", "end", "status"};
  EXPECT_EQ(Refused(settings), "fields: \"status\" is given twice");
  settings.fields = {"request_header:NAME"};
  EXPECT_EQ(Refused(settings), "fields: \"request_header:NAME\": expected some of " + names);
  settings = {};
  settings.request_headers = {"A", "a"};
  EXPECT_EQ(Refused(settings), "request_headers: \"a\" is given twice");
  settings.request_headers = {"A B"};
  EXPECT_EQ(Refused(settings), "request_headers: \"A B\": expected a header's name");
  settings.request_headers.clear();
  for (int i = 0; i < 17; ++i) settings.request_headers.push_back("X-" + std::to_string(i));
  EXPECT_EQ(Refused(settings), "request_headers: 17 headers: at most 16 are possible");
  settings.request_headers.pop_back();
  EXPECT_EQ(Refused(settings).substr(0, 38), "request_headers: a line could become 1");
  settings = {};
  settings.redact_headers = {""};
  EXPECT_EQ(Refused(settings), "redact_headers: \"\": expected a header's name");
  settings = {};
  settings.line = "x";
  EXPECT_EQ(Refused(settings), "template: expected format: template, or no template");
  settings = {};
  settings.form = Form::kCombined;
  settings.fields = {"status"};
  EXPECT_EQ(Refused(settings), "fields: only format: json has fields");
  settings.fields.clear();
  settings.request_headers = {"A"};
  EXPECT_EQ(Refused(settings), "request_headers: the combined format has none but Referer and User-Agent");

  const std::string expected =
      ": expected one of " + names +
      " request_header:NAME response_header:NAME proxy_protocol_tlv:NUMBER between ${ and }";
  EXPECT_EQ(RefusedTemplate("a ${nothing}"), "template: \"${nothing}\"" + expected);
  EXPECT_EQ(RefusedTemplate("a ${end"), "template: \"${end\"" + expected);
  EXPECT_EQ(RefusedTemplate("${}"), "template: \"${}\"" + expected);
  EXPECT_EQ(RefusedTemplate("${request_header:}"), "template: \"\": expected a header's name");
  EXPECT_EQ(RefusedTemplate(""), "template: expected the text of a line");
  EXPECT_EQ(RefusedTemplate("a\nb"), "template: expected one line, without control characters");
  EXPECT_EQ(
      RefusedTemplate(std::string(16'400, 'x')),
      "template: a line could become 16401 bytes long: expected at most 16384; a header counts as 1024");
}

}  // namespace
}  // namespace weir::lb
