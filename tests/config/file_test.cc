// A configuration file from text to settings: what each key does, and what is said of each mistake.
#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lb/config/budget.h"
#include "lb/config/file_reader.h"
#include "lb/config/reference.h"
#include "tests/config/made_up_machine.h"

namespace weir::lb {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

class File : public testing::Test {
 protected:
  File() : path_(testing::TempDir() + "/file_test." + std::to_string(getpid()) + ".yaml") {}
  ~File() override { std::filesystem::remove(path_); }

  CommandLine Check(const std::string& text, std::vector<std::string_view> flags = {}) {
    std::ofstream(path_) << text;
    const std::string config = "--config=" + path_;
    flags.push_back(config);
    CommandLine line = Parse(flags);
    // The path of the scratch file is nobody's business.
    for (std::string* said : {&line.out, &line.err}) {
      for (size_t at; (at = said->find(path_)) != std::string::npos;)
        said->replace(at, path_.size(), "f.yaml");
    }
    return line;
  }
  Settings Good(const std::string& text, std::vector<std::string_view> flags = {}) {
    const CommandLine line = Check(text, std::move(flags));
    EXPECT_FALSE(line.exit) << line.err;
    EXPECT_EQ(line.err, "");
    return line.settings;
  }
  // The lines that are told, and that nothing would run.
  std::vector<std::string> Bad(const std::string& text, std::vector<std::string_view> flags = {}) {
    const CommandLine line = Check(text, std::move(flags));
    EXPECT_TRUE(line.exit);
    EXPECT_EQ(line.exit_code, 1);
    std::vector<std::string> lines;
    std::stringstream stream(line.err);
    for (std::string one; std::getline(stream, one);) lines.push_back(one);
    return lines;
  }

  const std::string path_;
};

const std::string kSmallest = R"(listeners:
  - {address: "0.0.0.0:8080", upstream: web}
upstreams:
  web:
    endpoints: [10.0.0.1:80, 10.0.0.2:80]
)";

TEST_F(File, FiveLinesWillDo) {
  const Settings settings = Good(kSmallest);
  ASSERT_EQ(settings.listeners.size(), 1u);
  EXPECT_EQ(settings.listeners[0].protocol, Protocol::kHttp);
  EXPECT_EQ(settings.listeners[0].address.ToString(), "0.0.0.0:8080");
  EXPECT_EQ(settings.listeners[0].routes, ListenerSettings::kNone);
  ASSERT_EQ(settings.upstreams.size(), 1u);
  EXPECT_EQ(settings.upstreams[0].name, "web");
  EXPECT_EQ(settings.upstreams[0].endpoints.size(), 2u);
  // The rest is what flags alone would give.
  const Settings flags = ParseWith({}).settings;
  EXPECT_EQ(settings.max_connections, flags.max_connections);
  EXPECT_EQ(settings.timeouts.connect_ms, flags.timeouts.connect_ms);
  EXPECT_EQ(settings.listeners[0].direct.timeouts.response_ms, flags.timeouts.response_ms);
  EXPECT_EQ(settings.upstreams[0].idle_connections, flags.upstreams[0].idle_connections);
}

TEST_F(File, SaysWhatFlagsSay) {
  const Settings settings = Good(kSmallest + R"(
admin: 127.0.0.1:9901
access_log: "-"
via_name: edge
shards: 2
cpus: [0, 4]
timeouts: {client_header: 1s, client_body: 2s, client_send: 3s, keep_alive: 4s, connect: 5s, response: 6s,
           upstream_body: 7s, request: 8s, tcp_idle: 9s, upstream_idle: 10s, lame_duck: 11s, drain: 12s}
limits: {max_connections: 77, buffer_memory: 128MiB, retries: 5, set_aside: 13s, idle_connections: 9,
         max_header_bytes: 8KiB, max_header_fields: 50, max_target_bytes: 4KiB}
paths: {merge_slashes: false, escaped_slashes: reject}
)");
  EXPECT_EQ(settings.admin.ToString(), "127.0.0.1:9901");
  EXPECT_EQ(settings.access_log, "-");
  EXPECT_EQ(settings.via_name, "edge");
  EXPECT_EQ(settings.shards, 2u);
  EXPECT_THAT(settings.cpus, ElementsAre(0, 4));
  const Timeouts& timeouts = settings.timeouts;
  EXPECT_EQ(timeouts.client_header_ms, 1'000u);
  EXPECT_EQ(timeouts.client_body_ms, 2'000u);
  EXPECT_EQ(timeouts.client_send_ms, 3'000u);
  EXPECT_EQ(timeouts.keep_alive_ms, 4'000u);
  EXPECT_EQ(timeouts.connect_ms, 5'000u);
  EXPECT_EQ(timeouts.response_ms, 6'000u);
  EXPECT_EQ(timeouts.upstream_body_ms, 7'000u);
  EXPECT_EQ(timeouts.request_ms, 8'000u);
  EXPECT_EQ(timeouts.tcp_idle_ms, 9'000u);
  EXPECT_EQ(settings.upstreams[0].idle_ms, 10'000u);
  EXPECT_EQ(timeouts.lame_duck_ms, 11'000u);
  EXPECT_EQ(timeouts.drain_ms, 12'000u);
  EXPECT_EQ(settings.max_connections, 77u);
  EXPECT_EQ(settings.buffer_memory_bytes, uint64_t{128} << 20);
  EXPECT_EQ(settings.upstreams[0].retries, 5u);
  EXPECT_EQ(settings.upstreams[0].set_aside_ms, 13'000u);
  EXPECT_EQ(settings.upstreams[0].idle_connections, 9u);
  EXPECT_EQ(settings.limits.header_bytes, 8'192u);
  EXPECT_EQ(settings.limits.fields, 50u);
  EXPECT_EQ(settings.limits.target_bytes, 4'096u);
  EXPECT_FALSE(settings.paths.merge_slashes);
  EXPECT_EQ(settings.paths.escaped_slashes, EscapedSlashes::kReject);
}

TEST_F(File, HowTheAccessLogLooks) {
  const std::string file = "access_log:\n  file: \"-\"\n";
  Settings settings = Good(kSmallest + file);
  EXPECT_EQ(settings.access_log, "-");
  EXPECT_TRUE(settings.log.usual());
  EXPECT_EQ(settings.log_format, nullptr);
  settings = Good(kSmallest + file + R"(  format: json
  fields: [time, status]
  request_headers: [User-Agent, Cookie]
  response_headers: Content-Type
  redact_headers: Cookie
  query: redact
  sample: 1/8
  errors: sample
)");
  EXPECT_THAT(settings.log.fields, ElementsAre("time", "status"));
  EXPECT_THAT(settings.log.request_headers, ElementsAre("User-Agent", "Cookie"));
  EXPECT_THAT(settings.log.response_headers, ElementsAre("Content-Type"));
  EXPECT_THAT(settings.log.redact_headers, ElementsAre("Cookie"));
  EXPECT_TRUE(settings.log.redact_query);
  EXPECT_TRUE(settings.log.sample_errors);
  EXPECT_EQ(settings.log.sample.value, Share::kAll / 8);
  ASSERT_NE(settings.log_format, nullptr);
  EXPECT_TRUE(settings.log_format->keeps_response());
  settings = Good(kSmallest + file + "  format: combined\n");
  EXPECT_EQ(settings.log.form, AccessLogSettings::Form::kCombined);
  settings = Good(kSmallest + file +
                  "  template: \"${status} ${request_header:Cookie}\"\n  sensitive_headers: keep\n");
  EXPECT_EQ(settings.log.form, AccessLogSettings::Form::kTemplate);
  EXPECT_EQ(settings.log.line, "${status} ${request_header:Cookie}");
  // The flag says where, the file how.
  settings = Good(kSmallest + "access_log: {format: combined}\n", {"--access_log=-"});
  EXPECT_EQ(settings.access_log, "-");
  EXPECT_NE(settings.log_format, nullptr);
  settings = Good(kSmallest + "access_log: {file: /nonexistent/log, format: combined}\n", {"--access_log=-"});
  EXPECT_EQ(settings.access_log, "-");
}

TEST_F(File, SharesOfTheAccessLog) {
  const auto share = [this](const std::string& text) {
    return Good(kSmallest + "access_log: {file: \"-\", sample: " + text + "}\n").log.sample.value;
  };
  EXPECT_EQ(share("100%"), Share::kAll);
  EXPECT_EQ(share("1/1"), Share::kAll);
  EXPECT_EQ(share("50%"), Share::kAll / 2);
  EXPECT_EQ(share("0.5%"), Share::kAll / 200);
  EXPECT_EQ(share("12.25%"), Share::kAll * 1'225 / 10'000);
  EXPECT_EQ(share("0%"), 0u);
  EXPECT_EQ(share("1/999999999"), 4u);
  for (const char* text : {"10", "101%", "100.1%", "%", "1/0", "2/3", "1/", "1/2.5", ".5%", "5.%", "1.2.3%",
                           "-1%", "1/9999999999", "a%", "0x10%"}) {
    EXPECT_THAT(Bad(kSmallest + "access_log: {file: \"-\", sample: \"" + text + "\"}\n"),
                ElementsAre("f.yaml:6:33: access_log.sample: \"" + std::string(text) +
                            "\": expected a share, such as 10%, 0.5% or 1/100"));
  }
}

TEST_F(File, MistakesInTheAccessLog) {
  const auto bad = [this](const std::string& keys) {
    return Bad(kSmallest + "access_log: {" + keys + "}\n");
  };
  EXPECT_THAT(bad(""),
              ElementsAre("f.yaml:6:13: access_log: expected one of file and syslog: where lines go"));
  EXPECT_THAT(bad("format: json"),
              ElementsAre("f.yaml:6:13: access_log: expected one of file and syslog: where lines go"));
  EXPECT_THAT(
      bad("file: [a]"),
      ElementsAre("f.yaml:6:20: access_log.file: expected a text, found a list; to YAML a value that begins "
                  "with [ is a list: put it in quotes"));
  EXPECT_THAT(
      bad("file: /nonexistent/weir.log"),
      ElementsAre("f.yaml:6:13: access_log: \"/nonexistent/weir.log\": cannot be written to: No such file or "
                  "directory"));
  EXPECT_THAT(bad("file: \"-\", fromat: json"),
              ElementsAre("f.yaml:6:25: access_log.fromat: unknown key; did you mean format?"));
  EXPECT_THAT(bad("file: \"-\", format: xml"),
              ElementsAre("f.yaml:6:33: access_log.format: \"xml\": expected json, combined or template"));
  EXPECT_THAT(bad("file: \"-\", query: drop"),
              ElementsAre("f.yaml:6:32: access_log.query: \"drop\": expected keep or redact"));
  EXPECT_THAT(bad("file: \"-\", fields: [status, nothing]"),
              ElementsAre(HasSubstr(
                  "f.yaml:6:33: access_log.fields: \"nothing\": expected some of time protocol client")));
  EXPECT_THAT(
      bad("file: \"-\", request_headers: [Accept, Authorization]"),
      ElementsAre("f.yaml:6:42: access_log.request_headers: \"Authorization\" holds credentials: name it in "
                  "redact_headers too, or say sensitive_headers: keep"));
  EXPECT_THAT(bad("file: \"-\", template: \"${response_header:Set-Cookie}\""),
              ElementsAre("f.yaml:6:35: access_log.template: \"Set-Cookie\" holds credentials: name it in "
                          "redact_headers too, or say sensitive_headers: keep"));
  EXPECT_THAT(bad("file: \"-\", format: template"),
              ElementsAre("f.yaml:6:13: access_log.template: expected the text of a line"));
  EXPECT_THAT(bad("file: \"-\", format: combined, template: \"${end}\""),
              ElementsAre("f.yaml:6:53: access_log.template: expected format: template, or no template"));
  EXPECT_THAT(Bad(kSmallest + "access_log: {file: \"-\"}\ninclude: more.yaml\n"), testing::SizeIs(1));
}

TEST_F(File, TheAccessLogGoesToSyslog) {
  Settings settings = Good(kSmallest + "access_log: {syslog: \"unix:/dev/log\"}\n");
  EXPECT_EQ(settings.access_log, "");
  EXPECT_TRUE(settings.has_access_log());
  EXPECT_NE(settings.log_format, nullptr);
  EXPECT_EQ(settings.log.syslog.path, "/dev/log");
  EXPECT_EQ(settings.log.syslog.process, std::to_string(getpid()));
  const std::string text =
      kSmallest +
      "access_log:\n  syslog: {address: \"udp:10.0.0.9:514\", facility: local0, tag: edge}\n"
      "  format: combined\n";
  settings = Good(text);
  EXPECT_EQ(settings.log.syslog.udp.ToString(), "10.0.0.9:514");
  EXPECT_EQ(settings.log.syslog.facility, 16);
  EXPECT_EQ(settings.log.syslog.tag, "edge");
  EXPECT_TRUE(Good(text, {"--access_log=-"}).log_format != nullptr);
  EXPECT_FALSE(Good(text, {"--access_log=-"}).log.syslog.on());
  settings = Good(kSmallest + "access_log: {syslog: \"udp:two.example:514\"}\n");
  EXPECT_EQ(settings.log.syslog.udp.port, 514);
  const std::string said = Check(text, {"check"}).out;
  EXPECT_THAT(said, HasSubstr(R"(access_log:
  syslog:
    address: udp:10.0.0.9:514                               # f.yaml:7:21
    facility: local0                                        # f.yaml:7:51
    tag: edge                                               # f.yaml:7:64
  format: combined                                          # f.yaml:8:11
)"));
  EXPECT_EQ(Good(said).log.syslog.facility, 16);

  const auto bad = [this](const std::string& keys) {
    return Bad(kSmallest + "access_log: {" + keys + "}\n");
  };
  for (const char* address : {"/dev/log", "unix:dev/log", "udp:1.2.3.4", "udp:1.2.3.4:0", "udp:1.2.3.4:514=3",
                              "udp:unix:/a", "tcp:a:1"}) {
    EXPECT_THAT(bad("syslog: \"" + std::string(address) + "\""),
                ElementsAre("f.yaml:6:22: access_log.syslog: \"" + std::string(address) +
                            "\": expected unix:/PATH or udp:HOST:PORT, such as unix:/dev/log"));
  }
  EXPECT_THAT(bad("syslog: \"unix:/" + std::string(107, 'x') + "\""),
              ElementsAre(HasSubstr("expected a path of at most 107 bytes")));
  EXPECT_THAT(bad("syslog: {tag: a}"),
              ElementsAre("f.yaml:6:22: access_log.syslog: the key address is missing"));
  EXPECT_THAT(
      bad("syslog: {address: \"unix:/a\", facility: local8, tag: \"a b\"}"),
      ElementsAre("f.yaml:6:53: access_log.syslog.facility: \"local8\": expected a facility, such as daemon, "
                  "user, local0 to local7",
                  "f.yaml:6:66: access_log.syslog.tag: \"a b\": expected at most 48 printable ASCII "
                  "characters without spaces"));
  EXPECT_THAT(bad("file: \"-\", syslog: \"unix:/a\""),
              ElementsAre("f.yaml:6:13: access_log: expected only one of file and syslog"));
  EXPECT_THAT(
      bad("syslog: \"udp:nowhere.example:514\""),
      ElementsAre(HasSubstr("access_log: \"udp:nowhere.example:514\": the name cannot be resolved: ")));
}

TEST_F(File, TheAccessLogIsDescribedSoThatItReadsBack) {
  const std::string text = kSmallest + R"(access_log:
  file: "-"
  template: "${time} \"${request}\" $${x}"
  redact_headers: [Cookie, X-Key]
  query: redact
  sample: 0.5%
)";
  const std::string said = Check(text, {"check"}).out;
  EXPECT_THAT(said, HasSubstr(R"(access_log:
  file: "-"                                                 # f.yaml:7:9
  format: template                                          # f.yaml:8:13
  sensitive_headers: refuse                                 # default
  query: redact                                             # f.yaml:10:10
  sample: "0.5%"                                            # f.yaml:11:11
  errors: all                                               # default
  template: "${time} \"${request}\" $${x}"                  # f.yaml:8:13
  redact_headers: [Cookie, X-Key]                           # f.yaml:9:19
)"));
  const Settings settings = Good(said);
  EXPECT_EQ(settings.log.line, "${time} \"${request}\" $${x}");
  EXPECT_EQ(settings.log.sample.value, Share::kAll / 200);
  EXPECT_THAT(Check(text, {"check", "--access_log=/tmp/x"}).out,
              HasSubstr("  file: /tmp/x                                              # --access_log\n"));
  EXPECT_THAT(Check(kSmallest + "access_log: {file: \"-\", format: json}\n", {"check"}).out,
              HasSubstr("\naccess_log: \"-\"  "));
}

TEST_F(File, AFlagWinsOverIt) {
  const std::string text =
      kSmallest + "shards: 2\ncpus: [0, 1]\nlimits: {retries: 5}\ntimeouts: {connect: 5s}\n";
  const Settings settings = Good(text, {"--shards=1", "--cpus=4,5", "--retries=1"});
  EXPECT_EQ(settings.shards, 1u);
  EXPECT_THAT(settings.cpus, ElementsAre(4));
  EXPECT_EQ(settings.upstreams[0].retries, 1u);
  EXPECT_EQ(settings.upstreams[0].timeouts.connect_ms, 5'000u);
  const std::string said = Check(text, {"check", "--retries=1"}).out;
  EXPECT_THAT(said, HasSubstr("  retries: 1                                                # --retries\n"));
  EXPECT_THAT(said,
              HasSubstr("    retries: 1                                              # limits.retries\n"));
  EXPECT_THAT(said, HasSubstr("  connect: 5s                                               # f.yaml:9:21\n"));
  EXPECT_THAT(said,
              HasSubstr("      connect: 5s                                           # timeouts.connect\n"));
  EXPECT_THAT(said, HasSubstr("  response: 1m                                              # default\n"));
  // It is read all the same.
  EXPECT_THAT(Bad(kSmallest + "shards: many\n", {"--shards=1"}),
              ElementsAre("f.yaml:6:9: shards: \"many\": expected a whole number from 0 to 256"));
}

TEST_F(File, HowUpstreamsBalance) {
  const std::string text = R"(
listeners:
  - {address: 0.0.0.0:1, routes: r}
  - {address: 0.0.0.0:2, upstream: mixed, protocol: tcp}
upstreams:
  plain: {endpoints: [10.0.0.1:80], balance: maglev}
  mixed: {endpoints: [10.0.0.1:80], balance: ring_hash, hash_on: ["header:X-User", client_ip],
          hash_balance_factor: 125}
  held: {endpoints: [10.0.0.1:80], balance: maglev, hash_on: ["query:a b", "cookie:who"],
         hash_table_size: 655373, hash_cookie: {max_age: 1h, secure: true}}
  read: {endpoints: [10.0.0.1:80], balance: maglev, hash_on: ["cookie:JSESSIONID", path]}
  few: {endpoints: [10.0.0.1:80], balance: first, max_in_flight: 100}
  quick: {endpoints: [10.0.0.1:80], balance: ewma}
routes:
  r: [{split: [{upstream: plain}, {upstream: held}, {upstream: read}, {upstream: few}, {upstream: quick}]}]
)";
  const auto check = [](const Settings& settings) {
    const auto& upstreams = settings.upstreams;
    ASSERT_EQ(upstreams.size(), 6u);
    const HashKey address;
    EXPECT_EQ(upstreams[0].balance, Balance::kMaglev);
    EXPECT_THAT(upstreams[0].hash.on, ElementsAre(address));
    EXPECT_EQ(upstreams[0].hash.slots, 65'537u);
    EXPECT_EQ(upstreams[0].hash.cookie(), nullptr);
    EXPECT_EQ(upstreams[1].balance, Balance::kRingHash);
    EXPECT_THAT(upstreams[1].hash.on, ElementsAre(HashKey{HashKey::Of::kHeader, "X-User"}, address));
    EXPECT_EQ(upstreams[1].hash.balance_percent, 125u);
    EXPECT_EQ(upstreams[2].hash.on[0].name, "a b");
    ASSERT_NE(upstreams[2].hash.cookie(), nullptr);
    EXPECT_EQ(upstreams[2].hash.cookie()->name, "who");
    EXPECT_EQ(upstreams[2].hash.cookie_attributes, "; Path=/; Max-Age=3600; Secure; HttpOnly; SameSite=Lax");
    EXPECT_EQ(upstreams[2].hash.slots, 655'373u);
    EXPECT_EQ(upstreams[3].hash.cookie(), nullptr);  // somebody else's: it is only read
    EXPECT_EQ(upstreams[4].balance, Balance::kFirst);
    EXPECT_EQ(upstreams[4].max_in_flight, 100u);
    EXPECT_EQ(upstreams[5].balance, Balance::kEwma);
    EXPECT_TRUE(upstreams[5].hash.on.empty());
  };
  check(Good(text));
  const std::string said = Check(text, {"check"}).out;
  EXPECT_THAT(said, HasSubstr("#   tables of consistent hashing, before and after a reload"));
  check(Good(said));
}

TEST_F(File, PrioritiesAndBackups) {
  const std::string text = R"(
listeners: [{address: 0.0.0.0:1, upstream: a}]
upstreams:
  a:
    balance: maglev
    endpoints: [10.0.0.1:80, {address: 10.0.0.2:80, priority: 9}, {address: 10.0.0.3:80, backup: true, weight: 2},
                {address: 10.0.0.4:80, backup: false, priority: 0}, {address: "unix:/run/b", backup: true}]
)";
  const auto check = [](const Settings& settings) {
    std::vector<uint32_t> levels;
    for (const EndpointSettings& endpoint : settings.upstreams[0].endpoints) levels.push_back(endpoint.level);
    EXPECT_THAT(levels, ElementsAre(0, 9, EndpointSettings::kBackup, 0, EndpointSettings::kBackup));
    EXPECT_TRUE(settings.upstreams[0].endpoints[2].backup());
  };
  check(Good(text));
  const std::string said = Check(text, {"check"}).out;
  EXPECT_THAT(said, HasSubstr("      - {address: \"10.0.0.2:80\", weight: 1, priority: 9}\n"
                              "      - {address: \"10.0.0.3:80\", weight: 2, backup: true}\n"
                              "      - {address: \"10.0.0.4:80\", weight: 1}\n"));
  check(Good(said));
  EXPECT_THAT(
      Bad(R"(
listeners: [{address: 0.0.0.0:1, upstream: a}]
upstreams:
  a: {endpoints: [10.0.0.1:80, {address: 10.0.0.2:80, priority: 10}, {address: 10.0.0.3:80, backup: yes}]}
  b: {endpoints: [{address: 10.0.0.1:80, backup: true}, {address: 10.0.0.2:80, backup: true}]}
  c: {endpoints: [10.0.0.1:80, {address: 10.0.0.2:80, backup: true, priority: 1}]}
  d: {endpoints: [10.0.0.1:80, {address: 10.0.0.1:80, backup: true}]}
)"),
      ElementsAre(
          "f.yaml:4:65: upstreams.a.endpoints[1].priority: \"10\": expected a whole number from 0 to 9",
          "f.yaml:4:101: upstreams.a.endpoints[2].backup: \"yes\": expected true or false",
          "f.yaml:5:18: upstreams.b.endpoints: all endpoints are backups: whose? At least one is none",
          "f.yaml:6:79: upstreams.c.endpoints[1].priority: a backup has none: it comes behind all priorities",
          "f.yaml:7:42: upstreams.d: 10.0.0.1:80 is given twice; for a larger share give it a weight"));
}

TEST_F(File, Zones) {
  const std::string text = R"(
listeners: [{address: 0.0.0.0:1, upstream: a}]
zone: eu-1a
upstreams:
  a:
    endpoints: [10.0.0.1:80, {address: 10.0.0.2:80, zone: eu-1b}, {address: 10.0.0.3:80, zone: eu-1a, priority: 1},
                {address: "unix:/run/a", zone: EU_1.a}]
)";
  const auto own = [](const Settings& settings) {
    std::string text;
    for (const EndpointSettings& endpoint : settings.upstreams[0].endpoints)
      text += endpoint.zone + (endpoint.in_own_zone ? "! " : " ");
    return text;
  };
  EXPECT_EQ(Good(text).zone, "eu-1a");
  EXPECT_EQ(own(Good(text)), " eu-1b eu-1a! EU_1.a ");
  const CommandLine checked = Check(text, {"check"});
  EXPECT_THAT(checked.out,
              HasSubstr("      - {address: \"10.0.0.1:80\", weight: 1}\n"
                        "      - {address: \"10.0.0.2:80\", weight: 1, zone: eu-1b}\n"
                        "      - {address: \"10.0.0.3:80\", weight: 1, priority: 1, zone: eu-1a}\n"));
  EXPECT_THAT(checked.out, testing::ContainsRegex("zone: eu-1a +# f.yaml:3:7\n"));
  EXPECT_EQ(own(Good(checked.out)), " eu-1b eu-1a! EU_1.a ");
  // One file for all zones: the flag wins.
  EXPECT_THAT(Check(text, {"--zone=nowhere"}).err,
              HasSubstr("no endpoint is in Weir's zone, nowhere: none is preferred"));
  const CommandLine flag = Check(text, {"--zone=eu-1b"});
  EXPECT_FALSE(flag.exit) << flag.err;
  EXPECT_EQ(flag.settings.zone, "eu-1b");
  EXPECT_EQ(own(flag.settings), " eu-1b! eu-1a EU_1.a ");
  // Who does not know his own has no endpoints in it.
  EXPECT_EQ(own(Good(R"(
listeners: [{address: 0.0.0.0:1, upstream: a}]
upstreams: {a: {endpoints: [10.0.0.1:80, {address: 10.0.0.2:80, zone: eu-1b}]}}
)")),
            " eu-1b ");
  const std::string longest(64, 'z');
  EXPECT_THAT(
      Bad(R"(
listeners: [{address: 0.0.0.0:1, upstream: a}]
zone: eu 1a
upstreams:
  a: {endpoints: [{address: 10.0.0.1:80, zone: ""}, {address: 10.0.0.2:80, zone: [b]}, {address: 10.0.0.3:80, zone: a/b}]}
  b: {endpoints: [{address: 10.0.0.1:80, zone: )" +
          longest + "}, {address: 10.0.0.2:80, zone: z" + longest + "}]}\n"),
      ElementsAre(
          "f.yaml:3:7: zone: \"eu 1a\": expected letters, digits and any of ._-, at most 64 of them",
          "f.yaml:5:48: upstreams.a.endpoints[0].zone: \"\": expected the name of a zone, such as eu-1a",
          "f.yaml:5:82: upstreams.a.endpoints[1].zone: found a list: expected the name of a zone, such as "
          "eu-1a; to YAML a value that begins with [ is a list: put it in quotes",
          "f.yaml:5:117: upstreams.a.endpoints[2].zone: \"a/b\": expected letters, digits and any of "
          "._-, at most 64 of them",
          "f.yaml:6:144: upstreams.b.endpoints[1].zone: \"z" + longest +
              "\": expected letters, digits and any of ._-, at most 64 of them"));
  EXPECT_THAT(Check(text, {"--zone="}).err, HasSubstr("--zone: \"\": expected NAME\n"));
}

TEST_F(File, Subsets) {
  const std::string text = R"(
listeners:
  - {address: 0.0.0.0:1, upstream: a, subset: {size: big}, subset_fallback: any}
  - {address: 0.0.0.0:2, protocol: tcp, subset: {version: v2}, upstream: a}
  - {address: 0.0.0.0:3, routes: r}
upstreams:
  a:
    endpoints: [10.0.0.1:80, {address: 10.0.0.2:80, labels: {version: v1}},
                {address: 10.0.0.3:80, labels: {version: v2, size: big, app.kubernetes.io/name: "1.2_b-3"}},
                {address: "unix:/run/b", labels: {}}]
  b: {endpoints: [{address: 10.0.0.4:80, labels: {version: 2}}]}
routes:
  r:
    - {match: {path: /a}, upstream: a, subset: {version: v2, size: big}, mirror: {upstream: b, subset: {version: 2}}}
    - {match: {path: /b}, upstream: a, subset: {size: big}, auth_request: {upstream: b, path: /x, subset: {version: 2}}}
    - match: {path: /c}
      split: [{upstream: a, weight: 2}, {upstream: a, subset: {version: v1}}, {upstream: b, subset: {version: 2}, subset_fallback: any}]
)";
  const auto check = [](const Settings& settings) {
    const UpstreamSettings& a = settings.upstreams[0];
    EXPECT_EQ(a.endpoints[2].labels,
              (Labels{{"app.kubernetes.io/name", "1.2_b-3"}, {"size", "big"}, {"version", "v2"}}));
    EXPECT_TRUE(a.endpoints[0].labels.empty());
    EXPECT_TRUE(a.endpoints[3].labels.empty());
    const auto use = [&](uint32_t upstream, const SubsetUse& used) {
      const std::string labels =
          used.number == 0 ? "all" : LabelsText(settings.upstreams[upstream].subsets[used.number - 1]);
      return labels + (used.else_any ? " or any" : "");
    };
    const auto of = [&](const RouteSettings& route) { return use(route.upstream, route.subset); };
    EXPECT_EQ(of(settings.listeners[0].direct), "{size: big} or any");
    EXPECT_EQ(of(settings.listeners[1].direct), "{version: v2}");
    const std::vector<RouteSettings>& routes = settings.routes[0].routes;
    EXPECT_EQ(of(routes[0]), "{size: big, version: v2}");
    EXPECT_EQ(use(routes[0].mirror.upstream, routes[0].mirror.subset), "{version: 2}");
    EXPECT_EQ(of(routes[1]), "{size: big}");
    EXPECT_EQ(of(routes[1].auth_request->leg), "{version: 2}");
    const SplitSettings& split = *routes[2].split;
    EXPECT_EQ(of(split.sides[0]), "all");
    EXPECT_EQ(of(split.sides[1]), "{version: v1}");
    EXPECT_EQ(of(split.sides[2]), "{version: 2} or any");
    EXPECT_NE(split.split.sides[0].id, split.split.sides[1].id) << "sides of one upstream are two";
    EXPECT_NE(split.split.sides[0].name_hash, split.split.sides[1].name_hash);
    EXPECT_EQ(split.split.sides[0].id, SideId("a"));
    EXPECT_EQ(a.subsets.size(), 4u) << "each once";
    EXPECT_EQ(settings.upstreams[1].subsets.size(), 1u);
  };
  check(Good(text));
  const std::string said = Check(text, {"check"}).out;
  EXPECT_THAT(said,
              HasSubstr("      - {address: \"10.0.0.3:80\", weight: 1, labels: {app.kubernetes.io/name: "
                        "1.2_b-3, size: big, version: v2}}\n"));
  EXPECT_THAT(said, HasSubstr("    subset: {size: big}                                     # f.yaml:3:47\n"
                              "    subset_fallback: any                                    # f.yaml:3:77\n"));
  EXPECT_THAT(said, HasSubstr("      subset_fallback: none                                 # default\n"));
  EXPECT_THAT(
      said, HasSubstr("        - {upstream: a, subset: {version: v1}, subset_fallback: none, weight: 1}\n"));
  check(Good(said));
}

TEST_F(File, SubsetsThatAreNone) {
  EXPECT_THAT(
      Bad(R"(
listeners:
  - {address: 0.0.0.0:1, upstream: a, subset: {version: v3}}
  - {address: 0.0.0.0:2, routes: r, subset: {version: v1}}
  - {address: 0.0.0.0:3, upstream: a, subset_fallback: any}
  - {address: 0.0.0.0:4, routes: r, subset_fallback: none}
upstreams:
  a:
    endpoints:
      - {address: 10.0.0.1:80, labels: {version: v1}}
      - {address: 10.0.0.2:80, labels: {version: v2, size: big}}
  b:
    endpoints:
      - {address: 10.0.0.3:80, labels: [version]}
      - {address: 10.0.0.4:80, labels: {"a b": c, a: "b c", "": x, d: "", e: [f], "Größe": x}}
      - {address: 10.0.0.5:80, labels: {a: 1, a: 2}}
      - {address: 10.0.0.6:80, labels: {a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1, h: 1, i: 1, j: 1, k: 1, l: 1, m: 1, n: 1, o: 1, p: 1, q: 1}}
routes:
  r:
    - {match: {path: /1}, upstream: a, subset: {versoin: v1}}
    - {match: {path: /2}, upstream: a, subset: {size: big, version: v1}}
    - {match: {path: /3}, upstream: a, subset: {}}
    - {match: {path: /4}, upstream: a, subset: v1}
    - {match: {path: /5}, upstream: a, subset: {version: v1}, subset_fallback: all}
    - {match: {path: /6}, redirect: {to: /}, subset: {version: v1}}
    - {match: {path: /7}, split: [{upstream: a}], subset: {version: v1}}
    - {match: {path: /8}, split: [{upstream: a, subset: {version: v1}}, {upstream: a, subset: {version: v1}, subset_fallback: any}]}
    - {match: {path: /9}, split: [{upstream: a, subset: {version: v4}}]}
    - {match: {path: /10}, upstream: c, subset: {version: v1}}
    - {match: {path: /11}, upstream: b, subset: {version: v1}}
    - {match: {path: /12}, upstream: a, mirror: {upstream: a, subset: {version: v5}}}
    - {match: {path: /13}, upstream: a, auth_request: {upstream: a, path: /, subset: {version: v6}}}
)"),
      ElementsAre(
          "f.yaml:3:57: listeners[0].subset.version: no endpoint of a has the label version: v3; there are "
          "v1, v2",
          "f.yaml:4:45: listeners[1]: subset: of what? Expected at a route, beside its upstream",
          "f.yaml:5:56: listeners[2]: subset_fallback: there is no subset that it could be for",
          "f.yaml:6:54: listeners[3]: subset_fallback: there is no subset that it could be for",
          "f.yaml:14:40: upstreams.b.endpoints[0].labels: expected names with values, such as {version: v2}, "
          "found a list",
          "f.yaml:15:41: upstreams.b.endpoints[1].labels: \"a b\": expected 1 to 63 letters, digits, and any "
          "of -_./",
          "f.yaml:15:54: upstreams.b.endpoints[1].labels.a: \"b c\": expected 1 to 63 letters, digits, and "
          "any of -_./",
          "f.yaml:15:61: upstreams.b.endpoints[1].labels: \"\": expected 1 to 63 letters, digits, and any of "
          "-_./",
          "f.yaml:15:71: upstreams.b.endpoints[1].labels.d: \"\": expected 1 to 63 letters, digits, and any "
          "of -_./",
          "f.yaml:15:78: upstreams.b.endpoints[1].labels.e: expected a text, found a list; to YAML a value "
          "that begins with [ is a list: put it in quotes",
          "f.yaml:15:83: upstreams.b.endpoints[1].labels: \"Größe\": expected 1 to 63 letters, digits, and "
          "any of -_./",
          "f.yaml:16:47: a: given twice; first on line 16",
          "f.yaml:17:40: upstreams.b.endpoints[3].labels: 17 labels: at most 16 are possible",
          "f.yaml:20:58: routes.r[0].subset.versoin: no endpoint of a has a label versoin; did you mean "
          "version?",
          "f.yaml:21:48: routes.r[1].subset: no endpoint of a has all of the labels {size: big, version: v1}",
          "f.yaml:22:48: routes.r[2].subset: no labels: leave the key out for all endpoints, or name some",
          "f.yaml:23:48: routes.r[3].subset: expected names with values, such as {version: v2}, found a "
          "single value",
          "f.yaml:24:80: routes.r[4].subset_fallback: \"all\": expected none or any",
          "f.yaml:25:54: routes.r[5]: subset: only of an upstream that requests go to",
          "f.yaml:26:59: routes.r[6]: subset: expected at a side of the split, beside its upstream",
          "f.yaml:27:84: routes.r[7].split[1]: given twice; for a larger share give it more weight",
          "f.yaml:28:67: routes.r[8].split[0].subset.version: no endpoint of a has the label version: v4; "
          "there are v1, v2",
          "f.yaml:29:38: routes.r[9].upstream: \"c\": expected the name of an upstream",
          "f.yaml:31:81: routes.r[11].mirror.subset.version: no endpoint of a has the label version: v5; "
          "there are v1, v2",
          "f.yaml:32:96: routes.r[12].auth_request.subset.version: no endpoint of a has the label version: "
          "v6; there are v1, v2"));
  // Likewise, where all are used then.
  EXPECT_THAT(Check(R"(
listeners: [{address: 0.0.0.0:1, upstream: a, subset: {version: v2}, subset_fallback: any}]
upstreams: {a: {endpoints: [10.0.0.1:80]}}
)",
                    {"check"})
                  .err,
              "f.yaml:2:65: warning: listeners[0].subset.version: no endpoint of a has a label version; for "
              "now all are "
              "used (subset_fallback: any)\n");
  std::string many = "upstreams: {a: {endpoints: [";
  for (int i = 0; i <= 64; ++i)
    many += absl::StrCat("{address: \"10.0.0.1:", i + 1, "\", labels: {n: ", i, "}}, ");
  many += "]}}\nlisteners: [{address: 0.0.0.0:1, routes: r}]\nroutes:\n  r:\n";
  for (int i = 0; i <= 64; ++i)
    many += absl::StrCat("  - {match: {path: /", i, "}, upstream: a, subset: {n: ", i, "}}\n");
  EXPECT_THAT(Bad(many),
              ElementsAre("f.yaml:69:47: routes.r[64].subset: another subset of a: at most 64 are possible"));
}

// A subset has a table of its own.
TEST_F(File, TablesOfSubsetsAreCounted) {
  const auto tables = [&](const std::string& more) {
    const std::string said = Check("listeners: [{address: 0.0.0.0:1, upstream: a" + more + R"(}]
upstreams: {a: {balance: maglev, hash_table_size: 5000011, endpoints: [10.0.0.1:80,
                                                                       {address: 10.0.0.2:80, labels: {v: 2}}]}})",
                                   {"check"})
                                 .out;
    const size_t line = said.find("tables of consistent hashing");
    return line == std::string::npos ? "" : said.substr(line, said.find('\n', line) - line);
  };
  EXPECT_THAT(tables(""), HasSubstr(" 19.1 MiB"));
  EXPECT_THAT(tables(", subset: {v: 2}"), HasSubstr(" 38.1 MiB"));
}

// A level has a table of its own, and each of its two parts.
TEST_F(File, TablesOfLevelsAreCounted) {
  const auto tables = [&](const std::string& second, const std::string& more = "") {
    const std::string said = Check(R"(
listeners: [{address: 0.0.0.0:1, upstream: a}]
upstreams: {a: {balance: maglev, hash_table_size: 5000011, endpoints: [10.0.0.1:80, {address: 10.0.0.2:80)" +
                                       second + "}]}}\n" + more,
                                   {"check"})
                                 .out;
    const size_t line = said.find("tables of consistent hashing");
    return line == std::string::npos ? "" : said.substr(line, said.find('\n', line) - line);
  };
  EXPECT_EQ(tables(""), tables(", priority: 0"));
  EXPECT_NE(tables(""), tables(", priority: 1"));
  EXPECT_EQ(tables(", backup: true"), tables(", priority: 1"));
  EXPECT_EQ(tables(""), tables(", zone: a"));
  EXPECT_EQ(tables(", zone: a", "zone: a\n"), tables(", priority: 1"));
}

TEST_F(File, Panic) {
  const std::string text = R"(
listeners:
  - {address: 0.0.0.0:1, upstream: a}
  - {address: 0.0.0.0:2, upstream: b}
  - {address: 0.0.0.0:3, upstream: c}
  - {address: 0.0.0.0:4, upstream: d}
  - {address: 0.0.0.0:5, upstream: e}
upstreams:
  a: {endpoints: [10.0.0.1:80]}
  b: {endpoints: [10.0.0.1:80], panic_threshold: 50%}
  c: {endpoints: [10.0.0.1:80], panic_threshold: 100%, on_all_down: 503}
  d: {endpoints: [10.0.0.1:80], on_all_down: panic, panic_threshold: 0%}
  e: {endpoints: [10.0.0.1:80, {address: 10.0.0.2:80, backup: true}], on_all_down: backup}
)";
  const auto check = [](const Settings& settings) {
    std::vector<std::pair<uint32_t, AllDown>> said;
    for (const UpstreamSettings& upstream : settings.upstreams)
      said.emplace_back(upstream.panic_percent, upstream.all_down);
    EXPECT_THAT(said, ElementsAre(std::pair(0u, AllDown::k503), std::pair(50u, AllDown::kPanic),
                                  std::pair(100u, AllDown::k503), std::pair(0u, AllDown::kPanic),
                                  std::pair(0u, AllDown::kBackup)));
    EXPECT_FALSE(settings.upstreams[0].panics());
    for (size_t i = 1; i < 5; ++i) EXPECT_TRUE(settings.upstreams[i].panics()) << i;
  };
  check(Good(text));
  const std::string said = Check(text, {"check"}).out;
  EXPECT_THAT(said, HasSubstr("    panic_threshold: \"50%\""));
  EXPECT_THAT(said, HasSubstr("    on_all_down: backup"));
  check(Good(said));
  EXPECT_THAT(
      Bad(R"(
listeners: [{address: 0.0.0.0:1, upstream: a}]
upstreams:
  a: {endpoints: [10.0.0.1:80], panic_threshold: 50}
  b: {endpoints: [10.0.0.1:80], panic_threshold: 101%}
  c: {endpoints: [10.0.0.1:80], on_all_down: 502}
  d: {endpoints: [10.0.0.1:80], on_all_down: backup}
)"),
      ElementsAre(
          "f.yaml:4:50: upstreams.a.panic_threshold: \"50\": expected a whole number of percent from "
          "0% to 100%",
          "f.yaml:5:50: upstreams.b.panic_threshold: \"101%\": expected a whole number of percent from "
          "0% to 100%",
          "f.yaml:6:46: upstreams.c.on_all_down: \"502\": expected 503, panic or backup",
          "f.yaml:7:46: upstreams.d.on_all_down: no endpoint is a backup"));
}

TEST_F(File, WhatBalancingCannotMean) {
  EXPECT_THAT(
      Bad(R"(
listeners: [{address: 0.0.0.0:1, upstream: a}]
upstreams:
  a:
    endpoints: [10.0.0.1:80]
    hash_on: path
    hash_cookie: {secure: true}
    hash_balance_factor: 150
    hash_table_size: 65537
    max_in_flight: 3
  b: {endpoints: [10.0.0.1:80], balance: ring_hash, hash_table_size: 101, hash_balance_factor: 109}
  c: {endpoints: [10.0.0.1:80], balance: maglev, hash_table_size: 65536, max_in_flight: -1}
  d: {endpoints: [10.0.0.1:80], balance: maglev, hash_on: [path, san, path], hash_cookie: {max_age: 1ms}}
  e: {endpoints: [10.0.0.1:80], balance: maglev, hash_on: ["cookie:a", path], hash_cookie: {max_age: 1s}}
  f: {endpoints: [10.0.0.1:80], balance: maglev, hash_on: []}
)"),
      testing::IsSupersetOf(std::vector<testing::Matcher<std::string>>{
          "f.yaml:6:14: upstreams.a.hash_on: only with balance: maglev or ring_hash",
          "f.yaml:7:18: upstreams.a.hash_cookie: only with balance: maglev or ring_hash",
          "f.yaml:8:26: upstreams.a.hash_balance_factor: only with balance: maglev or ring_hash",
          "f.yaml:9:22: upstreams.a.hash_table_size: only with balance: maglev",
          "f.yaml:10:20: upstreams.a.max_in_flight: only with balance: first",
          "f.yaml:11:70: upstreams.b.hash_table_size: only with balance: maglev",
          "f.yaml:11:96: upstreams.b.hash_balance_factor: \"109\": expected 0, or a whole number from 110 "
          "to 100000",
          "f.yaml:12:67: upstreams.c.hash_table_size: \"65536\": expected a prime number from 101 to "
          "5000011, such as 65537 or 655373",
          "f.yaml:12:89: upstreams.c.max_in_flight: only with balance: first",
          "f.yaml:13:66: upstreams.d.hash_on: \"san\": expected client_ip, header:NAME, cookie:NAME, path, "
          "query:NAME or sni",
          "f.yaml:13:71: upstreams.d.hash_on: \"path\" is given twice",
          "f.yaml:13:101: upstreams.d.hash_cookie.max_age: \"1ms\": expected whole seconds, at most 1000h",
          "f.yaml:13:91: upstreams.d.hash_cookie: no cookie is set: hash_on has none, or not in the last "
          "place",
          "f.yaml:14:92: upstreams.e.hash_cookie: no cookie is set: hash_on has none, or not in the last "
          "place",
          "f.yaml:15:59: upstreams.f.hash_on: the list is empty: leave the key out, or name something",
      }));
}

TEST_F(File, TcpHasNothingToHashButTheAddress) {
  const CommandLine line = Check(R"(
listeners: [{address: 0.0.0.0:1, upstream: a, protocol: tcp}]
upstreams: {a: {endpoints: [10.0.0.1:80], balance: maglev, hash_on: path}}
)");
  EXPECT_FALSE(line.exit);
  EXPECT_THAT(line.err,
              HasSubstr("f.yaml:2:44: warning: listeners[0].upstream: tcp connections have nothing that "
                        "hash_on of a names: they are hashed by client_ip"));
}

TEST_F(File, UpstreamsAndRoutesHaveTimesOfTheirOwn) {
  const Settings settings = Good(R"(
timeouts: {connect: 1s, response: 2s, client_body: 3s}
listeners:
  - {address: 0.0.0.0:1, routes: r}
  - {address: 0.0.0.0:2, upstream: two}
  - {address: 0.0.0.0:3, upstream: one, protocol: tcp}
upstreams:
  one: {endpoints: [10.0.0.1:80]}
  two: {endpoints: [{address: 10.0.0.1:80, weight: 7}], balance: least_conn, retries: 1, set_aside: 0,
        idle_connections: 3, timeouts: {connect: 5s, upstream_idle: 6s, request: 9s}}
routes:
  r:
    - {upstream: two, timeouts: {connect: 7s, response: 0, upstream_body: 0, client_body: 0}, retries: 0}
    - {match: {path: /x}, upstream: one}
)");
  EXPECT_EQ(settings.listeners[1].direct.upstream, 1u);
  EXPECT_EQ(settings.listeners[1].direct.timeouts.connect_ms, 5'000u);
  EXPECT_EQ(settings.listeners[1].direct.timeouts.response_ms, 2'000u);
  EXPECT_EQ(settings.listeners[1].direct.retries, 1u);
  EXPECT_EQ(settings.listeners[2].protocol, Protocol::kTcp);
  EXPECT_EQ(settings.listeners[2].direct.upstream, 0u);
  EXPECT_EQ(settings.upstreams[1].balance, Balance::kLeastConn);
  EXPECT_EQ(settings.upstreams[1].endpoints[0].weight, 7u);
  EXPECT_EQ(settings.upstreams[1].set_aside_ms, 0u);
  EXPECT_EQ(settings.upstreams[1].idle_connections, 3u);
  EXPECT_EQ(settings.upstreams[1].idle_ms, 6'000u);
  ASSERT_EQ(settings.routes.size(), 1u);
  const RouteSettings& first = settings.routes[0].routes[0];
  EXPECT_EQ(first.upstream, 1u);
  EXPECT_EQ(first.retries, 0u);
  EXPECT_EQ(first.timeouts.connect_ms, 7'000u);
  EXPECT_EQ(first.timeouts.response_ms, 0u);
  EXPECT_EQ(first.timeouts.upstream_body_ms, 0u);
  EXPECT_EQ(first.timeouts.client_body_ms, 0u);
  EXPECT_EQ(first.timeouts.request_ms, 9'000u);
  const RouteSettings& second = settings.routes[0].routes[1];
  EXPECT_EQ(second.upstream, 0u);
  EXPECT_EQ(second.retries, 2u);
  EXPECT_EQ(second.timeouts.client_body_ms, 3'000u);
}

TEST_F(File, HowMuchARequestMayBring) {
  const Settings settings = Good(R"(
limits: {client_max_body: 1MiB, max_header_bytes: 12KiB}
listeners: [{address: 0.0.0.0:1, routes: r}, {address: 0.0.0.0:2, upstream: web}]
upstreams: {web: {endpoints: [10.0.0.1:80]}}
routes:
  r:
    - {upstream: web}
    - {match: {path: /upload}, upstream: web, client_max_body: 0, max_header_bytes: 1KiB, buffer: 24KiB}
    - {match: {path: /note}, upstream: web, client_max_body: 100}
)");
  const std::vector<RouteSettings>& routes = settings.routes[0].routes;
  EXPECT_EQ(settings.listeners[1].direct.client_max_body_bytes, 1u << 20);
  EXPECT_EQ(routes[0].client_max_body_bytes, 1u << 20);
  EXPECT_EQ(routes[0].max_header_bytes, UINT32_MAX);
  EXPECT_EQ(routes[1].client_max_body_bytes, 0u);
  EXPECT_EQ(routes[1].max_header_bytes, 1024u);
  EXPECT_EQ(routes[0].buffer_bytes, 0u);
  EXPECT_EQ(routes[1].buffer_bytes, 24u * 1024);
  EXPECT_EQ(routes[2].client_max_body_bytes, 100u);
  EXPECT_EQ(ParseWith({"--client_max_body=5"}).settings.listeners[0].direct.client_max_body_bytes, 5u);
  EXPECT_THAT(
      Bad(R"(limits: {max_header_bytes: 12KiB, client_max_body: -1}
listeners: [{address: 0.0.0.0:1, routes: r}]
upstreams: {web: {endpoints: [10.0.0.1:80]}}
routes: {r: [{upstream: web, client_max_body: 10X, max_header_bytes: 13KiB}, {upstream: web, max_header_bytes: 1, buffer: 25KiB}]}
)"),
      ElementsAre("f.yaml:1:52: limits.client_max_body: \"-1\": expected a size such as 65536, 64KiB, 256MiB "
                  "or 1GiB",
                  "f.yaml:4:47: routes.r[0].client_max_body: \"10X\": expected a size such as 65536, 64KiB, "
                  "256MiB or 1GiB",
                  "f.yaml:4:70: routes.r[0].max_header_bytes: \"13KiB\": more than the 12KiB of "
                  "limits.max_header_bytes, which hold before a route is known",
                  "f.yaml:4:112: routes.r[1].max_header_bytes: \"1\": expected a size from 512B to 30KiB",
                  "f.yaml:4:123: routes.r[1].buffer: \"25KiB\": expected a size from 0 to 24KiB"));
}

TEST_F(File, WhatIsSaidOfErrors) {
  const std::string page = path_ + ".html";
  std::ofstream(page) << "<p>away</p>\n";
  const std::string name = page.substr(page.rfind('/') + 1);
  const std::string text = R"(
error_pages: {5xx: {body: all}, 404: {body: "{}", content_type: application/json}}
listeners: [{address: 0.0.0.0:1, routes: r, error_pages: {503: {file: )" +
                           name + R"(}}}]
upstreams: {web: {endpoints: [10.0.0.1:80]}}
routes:
  r:
    - upstream: web
      error_pages: {4xx: {body: ""}, 413: {file: ")" +
                           name + R"(", content_type: text/x}, 502: {body: b}}
      response_headers: {set: {Strict-Transport-Security: max-age=1, Cache-Control: public}, append: {etag: x, Vary: y},
                         remove: Server}
    - {match: {path: /down}, respond: {status: 503, file: )" +
                           name + R"(}}
)";
  const Settings settings = Good(text);
  const std::string once = Check(text, {"check"}).out;
  EXPECT_THAT(once, HasSubstr("error_pages:\n  404: {content_type: application/json, body: \"{}\"}\n"
                              "  5xx: {content_type: \"text/plain; charset=utf-8\", body: all}\n"));
  EXPECT_THAT(once,
              HasSubstr("respond: {status: 503, content_type: \"text/html; charset=utf-8\", file: " + name));
  EXPECT_FALSE(Check(once).exit);
  ASSERT_EQ(settings.error_pages.size(), 2u);
  EXPECT_EQ(settings.error_pages[0].content_type, "application/json");
  EXPECT_TRUE(settings.error_pages[1].IsFor(504));
  EXPECT_FALSE(settings.error_pages[1].IsFor(404));
  const ErrorPages& listener = settings.listeners[0].direct.error_pages;
  ASSERT_EQ(listener.size(), 1u);
  EXPECT_EQ(listener[0].body, "<p>away</p>\n");
  EXPECT_EQ(listener[0].content_type, "text/html; charset=utf-8");
  const RouteSettings& route = settings.routes[0].routes[0];
  ASSERT_EQ(route.error_pages.size(), 3u);
  EXPECT_EQ(route.error_pages[1].status, 413) << "before 4xx";
  EXPECT_EQ(route.error_pages[1].content_type, "text/x");
  EXPECT_EQ(route.error_pages[1].body, "<p>away</p>\n");
  EXPECT_EQ(route.error_fields, "Strict-Transport-Security: max-age=1\r\nVary: y\r\n");
  EXPECT_EQ(settings.routes[0].routes[1].body, "<p>away</p>\n");
  std::ofstream(page) << std::string(24 * 1024 + 1, 'x');
  const std::vector<std::string> said = Bad(R"(listeners: [{address: 0.0.0.0:1, routes: r},
  {address: 0.0.0.0:2, upstream: web, protocol: tcp, error_pages: {503: {body: x}}}]
upstreams: {web: {endpoints: [10.0.0.1:80]}}
error_pages: [404]
routes:
  r:
    - upstream: web
      error_pages:
        200: {body: x}
        6xx: {body: x}
        401: {}
        402: {body: x, file: /y}
        403: {fil: x}
        404: {file: /nobody/here}
        405: {file: )" + name + R"(}
        406: text
        407: {body: x, content_type: "a\nb"}
)");
  std::filesystem::remove(page);
  EXPECT_THAT(
      said,
      ElementsAre(
          "f.yaml:2:67: listeners[1]: error_pages: a tcp connection is answered nothing",
          HasSubstr("f.yaml:4:14: error_pages: expected statuses with what to say, such as {404:"),
          "f.yaml:9:9: routes.r[0].error_pages.200: expected a status from 400 to 599, 4xx or 5xx",
          "f.yaml:10:9: routes.r[0].error_pages.6xx: expected a status from 400 to 599, 4xx or 5xx",
          "f.yaml:11:14: routes.r[0].error_pages.401: expected one of body and file",
          "f.yaml:12:30: routes.r[0].error_pages.402.file: expected only one of body and file",
          "f.yaml:13:14: routes.r[0].error_pages.403: expected one of body and file",
          "f.yaml:13:15: routes.r[0].error_pages.403.fil: unknown key; did you mean file?",
          "f.yaml:14:21: routes.r[0].error_pages.404.file: \"/nobody/here\": cannot be read: No such file or "
          "directory",
          HasSubstr("f.yaml:15:21: routes.r[0].error_pages.405.file:"),
          HasSubstr(
              "f.yaml:16:14: routes.r[0].error_pages.406: expected keys and values, found a single value"),
          "f.yaml:17:38: routes.r[0].error_pages.407.content_type: expected a media type, such as "
          "text/html"));
}

TEST_F(File, WhoIsAskedForAName) {
  const std::string users = path_ + ".users";
  const std::string hash = "$2b$04$WUHhXETkX0fnYkrqZU3ta.zwoU3NOuzYB7by401ZrGRFKs239bMTy";  // open sesame
  std::ofstream(users) << "# ours\n\nbob:" << hash << "\r\nalice:" << hash << ":Alice Smith\n";
  const std::string name = users.substr(users.rfind('/') + 1);
  const std::string text = R"(
listeners: [{address: 0.0.0.0:1, routes: r}]
upstreams: {web: {endpoints: [10.0.0.1:80]}}
routes:
  r:
    - {match: {path: /a}, upstream: web, basic_auth: {realm: the shop, forward: true, users: {"carol b": ")" +
                           hash + R"("}}, response_headers: {set: {X-A: b}}}
    - {match: {path: /b}, respond: {status: 200}, basic_auth: {users_file: )" +
                           name + R"(}}
    - upstream: web
)";
  const Settings settings = Good(text);
  const std::vector<RouteSettings>& routes = settings.routes[0].routes;
  ASSERT_NE(routes[0].basic_auth, nullptr);
  EXPECT_EQ(routes[0].basic_auth->realm, "the shop");
  EXPECT_TRUE(routes[0].basic_auth->forward);
  ASSERT_NE(routes[0].basic_auth->Find("carol b"), nullptr);
  EXPECT_EQ(routes[0].basic_auth->Find("carol b")->hash, hash);
  EXPECT_EQ(routes[0].unauthorized_fields,
            "X-A: b\r\nWWW-Authenticate: Basic realm=\"the shop\", charset=\"UTF-8\"\r\n");
  ASSERT_EQ(routes[1].basic_auth->users.size(), 2u);
  EXPECT_EQ(routes[1].basic_auth->Find("alice")->hash, hash);
  EXPECT_FALSE(routes[1].basic_auth->forward);
  EXPECT_EQ(routes[2].basic_auth, nullptr);
  const std::string once = Check(text, {"check"}).out;
  EXPECT_THAT(
      once,
      HasSubstr("      basic_auth:\n        realm: restricted\n        forward: false\n        users_file: " +
                name + "\n"));
  // Hashes stay where they are, and nobody else comes in their place.
  EXPECT_EQ(once.find(hash), std::string::npos) << once;
  EXPECT_THAT(once, HasSubstr("        users:  # their hashes are not printed: they stay at f.yaml:6:94\n"
                              "          \"carol b\": \"***\"\n"));
  EXPECT_THAT(Bad(once),
              ElementsAre(HasSubstr("routes.r[0].basic_auth.users: carol b: \"***\" stands for a hash that "
                                    "weir check does not print: put the hash here, or use users_file")));

  std::ofstream(users) << "bob:" << hash << "\nsecret\nbob:hunter2\n:" << hash << "\nbob:" << hash << "\n";
  const std::vector<std::string> said = Bad(R"(listeners: [{address: 0.0.0.0:1, routes: r}]
upstreams: {web: {endpoints: [10.0.0.1:80]}}
routes:
  r:
    - {match: {path: /1}, upstream: web, basic_auth: {users: {alice: hunter2, "a:b": x}, realm: "a\"b"}}
    - {match: {path: /2}, upstream: web, basic_auth: {users: {alice: "$2b$31$)" +
                                            hash.substr(7) + R"("}, users_file: /x}}
    - {match: {path: /3}, upstream: web, basic_auth: {realm: x}}
    - {match: {path: /4}, upstream: web, basic_auth: {users: {}}}
    - {match: {path: /5}, upstream: web, basic_auth: {users: {alice: "$2b$31$)" +
                                            hash.substr(7) + R"("}}}
    - {match: {path: /6}, upstream: web, basic_auth: {users_file: )" +
                                            name + R"(}}
    - {match: {path: /7}, upstream: web, basic_auth: {users_file: /nobody}}
    - {match: {path: /8}, upstream: web, basic_auth: {users: {alice: [x]}, forward: often}}
)");
  std::filesystem::remove(users);
  for (const std::string& line : said) EXPECT_EQ(line.find("hunter2"), std::string::npos) << line;
  ASSERT_EQ(said.size(), 14u) << testing::PrintToString(said);
  EXPECT_THAT(said[0],
              HasSubstr("f.yaml:5:70: routes.r[0].basic_auth.users: alice: expected a hash of bcrypt ($2b$"));
  EXPECT_THAT(said[1], HasSubstr("users: expected a name of 1 to 128 bytes, without :"));
  EXPECT_THAT(said[2], HasSubstr("realm: expected at most 128 printable ASCII characters"));
  EXPECT_THAT(said[3], HasSubstr("routes.r[1].basic_auth: expected only one of users and users_file"));
  EXPECT_THAT(said[4], HasSubstr("routes.r[2].basic_auth: expected one of users and users_file"));
  EXPECT_THAT(said[5],
              HasSubstr("routes.r[3].basic_auth.users: expected names with hashes, found keys and values"));
  EXPECT_THAT(said[6], HasSubstr("routes.r[4].basic_auth.users: alice: this hash takes seconds to check"));
  EXPECT_THAT(said[7], HasSubstr("routes.r[5].basic_auth: bob: is there twice"));
  EXPECT_THAT(said[8], HasSubstr("routes.r[6].basic_auth.users_file: \"/nobody\": cannot be read"));
  EXPECT_THAT(said[9], HasSubstr("routes.r[7].basic_auth.users: expected a text, found a list"));
  EXPECT_THAT(said[10], HasSubstr("routes.r[7].basic_auth.forward: \"often\": expected true or false"));
  EXPECT_THAT(said[11], HasSubstr(".users:2:1: routes.r[5].basic_auth.users_file: expected NAME:HASH"));
  EXPECT_THAT(said[12], HasSubstr(".users:3:1: routes.r[5].basic_auth.users_file: bob: expected a hash"));
  EXPECT_THAT(said[13], HasSubstr(".users:4:1: routes.r[5].basic_auth.users_file: expected a name of 1"));
}

class Environment : public File {
 protected:
  Environment() {
    for (const auto& [name, value] : kValues) setenv(name, value, 1);
  }
  ~Environment() override {
    for (const auto& [name, value] : kValues) unsetenv(name);
  }
  static constexpr std::pair<const char*, const char*> kValues[] = {
      {"ADDRESS", "0.0.0.0:8081"},
      {"NET", "192.0.2.0/24"},
      {"BACK", "127.0.0.2"},
      {"NAME", "two.example"},
      {"WEIGHT", "3"},
      {"TIME", "2s"},
      {"HOST", "shop.example"},
      {"KEY", "hunter2, 9!"},
      {"SHARE", "12%"},
      {"HASH", "$2b$04$WUHhXETkX0fnYkrqZU3ta.zwoU3NOuzYB7by401ZrGRFKs239bMTy"},
  };
};

TEST_F(Environment, IsPrintedAsTheFileAsksForIt) {
  const std::string text = R"(
listeners:
  - {address: 0.0.0.0:8080, routes: r, deny: "${env:NET}", error_pages: {404: {body: "${env:KEY}"}}}
  - {address: "${env:ADDRESS}", upstream: web, allow: [10.0.0.0/8, "${env:NET}"]}
upstreams:
  web:
    endpoints: ["${env:BACK}:80", {address: "${env:NAME}:80", weight: "${env:WEIGHT}"}, 10.0.0.1:99]
  other: {endpoints: [10.0.0.2:80], timeouts: {connect: "${env:TIME}"}}
timeouts: {connect: "${env:TIME}", response: 7s}
access_log: {file: "-", sample: "${env:SHARE}"}
routes:
  r:
    - match: {host: ["${env:HOST}", b.example], path: "/${env:WEIGHT}", headers: {X-A: "${env:KEY}", X-B: {regex: "a${env:KEY}"}}}
      upstream: other
      rewrite: {path: "/services/${env:WEIGHT}${path}", host: "${env:HOST}"}
      request_headers: {set: {Authorization: "Bearer ${env:KEY}"}, append: {X-L: plain, X-M: "${env:KEY}"}}
      response_headers: {append: {X-N: "${env:KEY}"}, remove: "X-${env:KEY2}"}
      basic_auth: {realm: "${env:HOST}", users: {ann: "${env:HASH}"}}
    - {match: {path_prefix: "/p${env:WEIGHT}"}, redirect: {to: "https://${env:HOST}${path}"}}
    - {match: {host: c.example}, respond: {body: "${env:KEY}"}}
    - {split: [{upstream: web, weight: "${env:WEIGHT}"}, {upstream: other}]}
)";
  setenv("KEY2", "Removed", 1);
  const std::string once = Check(text, {"check"}).out;
  for (const auto& [name, value] : kValues) {
    if (strlen(value) > 3) EXPECT_EQ(once.find(value), std::string::npos) << name << "\n" << once;
  }
  for (const char* line : {
           "  connect: \"${env:TIME}\"                                    # f.yaml:9:21\n",
           "  sample: \"${env:SHARE}\"                                    # f.yaml:10:33\n",
           "    deny: \"${env:NET}\"\n",
           "      404: {content_type: \"text/plain; charset=utf-8\", body: \"${env:KEY}\"}\n",
           "  - address: \"${env:ADDRESS}\"                               # f.yaml:4:15\n",
           "    allow: [10.0.0.0/8, \"${env:NET}\"]\n",
           "      - {address: \"${env:BACK}:80\", weight: 1}\n"
           "      - {address: \"${env:NAME}:80\", weight: \"${env:WEIGHT}\"}\n"
           "      - {address: \"10.0.0.1:99\", weight: 1}\n",
           "      connect: \"${env:TIME}\"                                # timeouts.connect\n",
           "      connect: \"${env:TIME}\"                                # f.yaml:8:57\n",
           "    - match: {host: [\"${env:HOST}\", b.example], path: \"/${env:WEIGHT}\", headers: "
           "{X-A: \"${env:KEY}\", X-B: {regex: \"a${env:KEY}\"}}}",
           "      rewrite: {path: \"/services/${env:WEIGHT}${path}\", host: \"${env:HOST}\"}\n",
           "      request_headers: {set: {Authorization: \"Bearer ${env:KEY}\"}, append: {X-L: plain, X-M: "
           "\"${env:KEY}\"}}\n",
           "      response_headers: {append: {X-N: \"${env:KEY}\"}, remove: \"X-${env:KEY2}\"}\n",
           "        realm: \"${env:HOST}\"\n",
           "          ann: \"${env:HASH}\"\n",
           "    - match: {path_prefix: \"/p${env:WEIGHT}\"}",
           "      redirect: {to: \"https://${env:HOST}${path}\", status: 302}\n",
           "respond: {status: 200, content_type: \"text/plain; charset=utf-8\", body: \"${env:KEY}\"}\n",
           "        - {upstream: web, weight: \"${env:WEIGHT}\"}\n",
       }) {
    EXPECT_THAT(once, HasSubstr(line));
  }
  // And so it reads back; what a flag says instead is no secret.
  const Settings again = Good(once);
  ASSERT_EQ(again.upstreams.size(), 2u);
  EXPECT_EQ(again.upstreams[0].endpoints.size(), Good(text).upstreams[0].endpoints.size());
  EXPECT_EQ(again.upstreams[0].endpoints[1].weight, 3u);
  EXPECT_EQ(again.routes[0].routes[0].request.headers.added[0].value.text(), "Bearer hunter2, 9!");
  EXPECT_THAT(Check(text, {"check", "--connect_timeout=4s"}).out,
              HasSubstr("  connect: 4s                                               # --connect_timeout\n"));
}

TEST_F(Environment, NorIsAFormOfIt) {
  setenv("ODD", "/%41Qd", 1);
  setenv("SCHEME", "https", 1);
  const CommandLine line = Check(R"(
listeners: [{address: 0.0.0.0:1, routes: r}]
upstreams: {web: {endpoints: [10.0.0.1:80]}}
routes: {r: [{match: {path: "${env:ODD}", scheme: "${env:SCHEME}"}, upstream: web}, {match: {path: /%42}, upstream: web}]}
)",
                                 {"check"});
  EXPECT_THAT(line.err, HasSubstr("is matched in another form, its normal one"));
  EXPECT_THAT(line.err, HasSubstr("is matched as /B"));
  EXPECT_EQ(line.err.find("AQd"), std::string::npos) << line.err;
  EXPECT_THAT(line.out, HasSubstr("scheme: \"${env:SCHEME}\"}"));
}

TEST_F(Environment, IsNotRepeatedInErrors) {
  setenv("BAD", "geheim", 1);
  EXPECT_THAT(
      Bad(R"(
listeners: [{address: "${env:BAD}:x", routes: r, allow: "${env:BAD}/33"}]
upstreams: {web: {endpoints: ["a_${env:BAD},c"], retries: "${env:WEIGHT}x", balance: "${env:BAD}"}}
timeouts: {connect: "${env:BAD}"}
cpus: ["${env:BAD}"]
routes:
  r:
    - {match: {path: "/a${env:BAD}//"}, upstream: "w${env:BAD}", request_headers: {set: {X-A: "x${${env:BAD}}"}}}
    - {match: {path_regex: "/(${env:BAD}"}, redirect: {to: "${env:BAD}", status: "${env:WEIGHT}"}}
)"),
      ElementsAre(
          "f.yaml:2:23: listeners[0].address: \"${env:BAD}:x\": expected ADDRESS:PORT, such as "
          "0.0.0.0:8080 or \"[::]:8080\", or unix:/PATH",
          HasSubstr("f.yaml:2:57: listeners[0].allow: \"${env:BAD}/33\": expected "),
          HasSubstr("f.yaml:3:31: upstreams.web.endpoints[0]: \"a_${env:BAD},c\": expected HOST:PORT"),
          "f.yaml:3:59: upstreams.web.retries: \"${env:WEIGHT}x\": expected a whole number from 0 to "
          "7",
          "f.yaml:3:86: upstreams.web.balance: \"${env:BAD}\": expected round_robin, random, least_conn, "
          "p2c, "
          "ewma, maglev, ring_hash or first",
          HasSubstr("f.yaml:4:21: timeouts.connect: \"${env:BAD}\": expected a duration"),
          HasSubstr("f.yaml:5:7: cpus: \"${env:BAD}\": expected"),
          "f.yaml:8:51: routes.r[0].upstream: \"w${env:BAD}\": expected the name of an upstream",
          HasSubstr("f.yaml:8:95: routes.r[0].request_headers.set.X-A: \"x${${env:BAD}}\": expected one "
                    "of"),
          "f.yaml:9:28: routes.r[1].match.path_regex: bad regular expression: missing ): /(${env:BAD}",
          "f.yaml:9:60: routes.r[1].redirect.to: \"${env:BAD}\": expected https://HOST/PATH, or /PATH",
          "f.yaml:9:82: routes.r[1].redirect.status: \"${env:WEIGHT}\": expected 301, 302, 303, 307 "
          "or 308"));
}

TEST_F(Environment, AVariableThatIsNotThereIsToldOnce) {
  unsetenv("NOT_THERE");
  EXPECT_THAT(
      Bad(R"(
listeners: [{address: 0.0.0.0:80, routes: r}]
upstreams: {web: {endpoints: ["${env:NOT_THERE}:80", "b:80:"], retries: "${env:NOT_THERE"}}
timeouts: {connect: "${env:NOT_THERE}"}
routes:
  r: [{upstream: "${env:NOT_THERE}", request_headers: {set: {X-Key: "${env:NOT_THERE}", X-B: "${nobody}"}}}]
)"),
      ElementsAre("f.yaml:3:31: upstreams.web.endpoints[0]: the environment has no variable \"NOT_THERE\"",
                  HasSubstr("f.yaml:3:54: upstreams.web.endpoints[1]: \"b:80:\": expected HOST:PORT"),
                  "f.yaml:3:73: upstreams.web.retries: ${env:NAME without the closing }",
                  "f.yaml:4:21: timeouts.connect: the environment has no variable \"NOT_THERE\"",
                  "f.yaml:6:18: routes.r[0].upstream: the environment has no variable \"NOT_THERE\"",
                  "f.yaml:6:69: routes.r[0].request_headers.set.X-Key: the environment has no variable "
                  "\"NOT_THERE\"",
                  HasSubstr("f.yaml:6:94: routes.r[0].request_headers.set.X-B: ")));
}

TEST_F(File, WhatOthersCallIt) {
  EXPECT_THAT(
      Bad(R"(
listeners: [{address: 0.0.0.0:80, routes: r, timeouts: {connect: 1s}, protocol: htp}]
upstreams:
  web: {endpoints: ["127.0.0.1:80=3", "127.0.0.1:81=", "a,b:1=3"], balance: leastconn}
  api: {endpoints: ["127.0.0.1:80"], balance: roundrobin}
limits: {client_max_body: 10MB, max_header_bytes: 8m}
routes:
  r: [{upstream: web, response_headers: {add: {X: y}}, client_max_body: 8Mb},
      {match: {path: /x}, redirect: {to: /, status: 300}}]
)"),
      ElementsAre(
          "f.yaml:2:46: listeners[0].timeouts: unknown key; timeouts stand at the top of the file, at "
          "upstreams "
          "and at routes",
          "f.yaml:2:81: listeners[0].protocol: \"htp\": expected http or tcp; did you mean http?",
          "f.yaml:4:21: upstreams.web.endpoints[0]: \"127.0.0.1:80=3\": a weight is a key of its own: "
          "{address: \"127.0.0.1:80\", weight: 3}",
          HasSubstr("f.yaml:4:39: upstreams.web.endpoints[1]: \"127.0.0.1:81=\": expected HOST:PORT"),
          HasSubstr("f.yaml:4:56: upstreams.web.endpoints[2]: \"a,b:1=3\": expected HOST:PORT"),
          "f.yaml:4:77: upstreams.web.balance: \"leastconn\": expected round_robin, random, "
          "least_conn, p2c, ewma, maglev, ring_hash or first; did you mean least_conn?",
          "f.yaml:5:47: upstreams.api.balance: \"roundrobin\": expected round_robin, random, "
          "least_conn, p2c, ewma, maglev, ring_hash or first; did you mean round_robin?",
          "f.yaml:6:27: limits.client_max_body: \"10MB\": expected a size such as 65536, 64KiB, 256MiB or "
          "1GiB; "
          "did you mean 10MiB?",
          "f.yaml:6:51: limits.max_header_bytes: \"8m\": expected a size such as 65536, 64KiB, 256MiB or "
          "1GiB; "
          "did you mean 8MiB?",
          "f.yaml:8:42: routes.r[0].response_headers.add: unknown key; did you mean append?",
          "f.yaml:8:73: routes.r[0].client_max_body: \"8Mb\": expected a size such as 65536, 64KiB, 256MiB "
          "or "
          "1GiB; did you mean 8MiB?",
          "f.yaml:9:53: routes.r[1].redirect.status: \"300\": expected 301, 302, 303, 307 or 308"));
}

TEST_F(File, WarnsOfSchemesThatNobodyCouldSay) {
  const auto told = [this](const std::string& listeners) {
    const CommandLine line = Check("listeners: [" + listeners + R"(]
upstreams: {web: {endpoints: [10.0.0.1:80]}}
routes:
  r:
    - {match: {scheme: http}, redirect: {to: "https://${host}${uri}"}}
    - {match: {scheme: https}, upstream: web}
    - {match: {scheme: https, path: /x}, upstream: web}
)",
                                   {"check"});
    EXPECT_EQ(line.exit_code, 0);
    return line.err;
  };
  const std::string plain = "{address: 0.0.0.0:80, routes: r}";
  const std::string behind = "{address: 0.0.0.0:81, routes: r, trusted_proxies: 10.0.0.0/8}";
  EXPECT_EQ(told(plain),
            "f.yaml:5:24: warning: routes.r[0].match.scheme: always holds: no listener with these routes has "
            "trusted_proxies that could say https\n"
            "f.yaml:6:24: warning: routes.r[1].match.scheme: never holds: no listener with these routes has "
            "trusted_proxies that could say https\n"
            "f.yaml:7:24: warning: routes.r[2].match.scheme: never holds: no listener with these routes has "
            "trusted_proxies that could say https\n");
  EXPECT_EQ(told(behind), "");
  EXPECT_EQ(told(plain + ", " + behind), "");
}

TEST_F(File, WarnsOfVariablesInBodies) {
  const CommandLine line = Check(R"(
listeners: [{address: 0.0.0.0:80, routes: r}]
routes:
  r:
    - {match: {path: /x}, respond: {body: "x ${request_id} ${host}"}}
    - {respond: {body: "`${cart}` $host"}, error_pages: {403: {body: "${client}"}}}
)",
                                 {"check"});
  EXPECT_EQ(line.exit_code, 0);
  EXPECT_EQ(line.err,
            "f.yaml:5:43: warning: routes.r[0].respond.body: \"${host}\" stands for itself: no variables in "
            "bodies\n"
            "f.yaml:6:70: warning: routes.r[1].error_pages.403.body: \"${client}\" stands for itself: no "
            "variables in bodies\n");
}

class SiteFiles : public File {
 protected:
  SiteFiles() : folder_(path_ + ".d") { std::filesystem::create_directory(folder_); }
  ~SiteFiles() override { std::filesystem::remove_all(folder_); }

  void Site(const std::string& name, const std::string& text) { std::ofstream(folder_ + "/" + name) << text; }
  CommandLine CheckAll(const std::string& more = "", std::vector<std::string_view> flags = {"check"}) {
    return Check(
        "listeners: [{address: 0.0.0.0:80, routes: sites}]\ninclude: [" + folder_ + "/*.yaml" + more + "]\n",
        std::move(flags));
  }

  const std::string folder_;
  const std::string shown_ = "f.yaml.d";
};

TEST_F(SiteFiles, AddToTheSameRoutes) {
  setenv("SITE_KEY", "a key of a site", 1);
  Site("a.yaml",
       "upstreams: {a: {endpoints: [10.0.0.1:80]}}\n"
       "routes:\n  sites:\n    - {match: {host: a.example}, upstream: a}\n"
       "    - {match: {host: a.example, path: /x}, respond: {body: a}}\n");
  Site("b.yaml",
       "upstreams: {b: {endpoints: [10.0.0.2:80]}}\n"
       "routes:\n  sites:\n    - match: {host: b.example}\n      upstream: b\n"
       "      request_headers: {set: {X-Key: \"${env:SITE_KEY}\"}}\n");
  const Settings settings = CheckAll("", {}).settings;
  ASSERT_EQ(settings.routes.size(), 1u);
  EXPECT_EQ(settings.routes[0].name, "sites");
  ASSERT_EQ(settings.routes[0].routes.size(), 3u);
  EXPECT_EQ(settings.routes[0].matches[2].hosts.front(), "b.example");
  EXPECT_EQ(settings.routes[0].routes[0].where, folder_ + "/a.yaml:4:7");
  EXPECT_EQ(settings.routes[0].routes[2].where, folder_ + "/b.yaml:4:7");
  const CommandLine line = CheckAll();
  // Said where it is, kept secret where it is printed, and it reads back.
  EXPECT_THAT(line.out, HasSubstr("X-Key: \"${env:SITE_KEY}\""));
  EXPECT_THAT(line.out, testing::Not(HasSubstr("a key of a site")));
  EXPECT_EQ(Good(line.out).routes[0].routes.size(), 3u);
}

TEST_F(SiteFiles, MistakesAndWarningsAreOfTheRightFile) {
  Site("a.yaml",
       "upstreams: {web: {endpoints: [10.0.0.1:80]}}\n"
       "routes:\n  sites:\n    - {match: {host: a.example}, upstream: web}\n");
  Site("b.yaml",
       "\nroutes:\n  sites:\n    - {match: {host: b.example}, upstream: web}\n"
       "    - {match: {host: a.example, method: GET}, upstream: web}\n");
  EXPECT_EQ(CheckAll().err,
            shown_ +
                "/b.yaml:5:7: warning: routes.sites[2]: can never match: a rule with the same host and path "
                "comes first (the route at " +
                shown_ + "/a.yaml:4:7)\n");
  Site("b.yaml",
       "routes:\n  sites:\n    - {match: {host: b.example}, upstream: wep}\n"
       "  sites: [{respond: {}}]\n");
  Site("c.yaml", "routes: {sites: {a: b}}\n");
  EXPECT_EQ(CheckAll().err,
            shown_ +
                "/b.yaml:3:44: routes.sites[1].upstream: \"wep\": expected the name of an upstream; did you "
                "mean web?\n" +
                shown_ + "/b.yaml:4:3: sites: given twice; first on line 2\n" + shown_ +
                "/c.yaml:1:17: routes.sites: expected a list of routes (- match: ...), found keys and "
                "values\n");
}

TEST_F(SiteFiles, AFileThatIsReadTwiceIsNoSecondSite) {
  Site("a.yaml", "routes: {sites: [{respond: {}}]}\n");
  EXPECT_EQ(CheckAll(", " + folder_ + "/a.yaml").err,
            shown_ + "/a.yaml:1:10: routes.sites: given twice; first at " + shown_ + "/a.yaml:1:10\n");
}

TEST_F(File, HealthChecks) {
  const Settings settings = Good(R"(
listeners:
  - {address: 0.0.0.0:1, upstream: web}
  - {address: 0.0.0.0:2, upstream: quick}
  - {address: 0.0.0.0:3, upstream: all}
  - {address: 0.0.0.0:4, upstream: text}
  - {address: 0.0.0.0:5, upstream: none}
upstreams:
  web:
    endpoints: [10.0.0.1:80]
    health_check: {}
  quick:
    endpoints: [10.0.0.2:80]
    health_check: {type: tcp, interval: 500ms, port: 81, rise: 1, fall: 5}
  all:
    endpoints: [10.0.0.3:80]
    health_check: {type: http, method: HEAD, path: "/up?a=b", host: "a.test:8080", status: [2xx, 301, 400-404],
                   interval: 10s, timeout: 10s, jitter: 0, interval_down: 250ms, port: 8081}
  text:
    endpoints: ["unix:/run/a.sock"]
    health_check: {body: "all: well\n", status: 200}
  none: {endpoints: [10.0.0.4:80]}
)");
  using Check = HealthCheckSettings;
  Check usual;
  EXPECT_FALSE(usual.on());
  EXPECT_EQ(settings.upstreams[4].health_check, usual);
  usual.type = Check::Type::kHttp;
  EXPECT_EQ(settings.upstreams[0].health_check, usual);
  const Check& quick = settings.upstreams[1].health_check;
  EXPECT_EQ(quick.type, Check::Type::kTcp);
  EXPECT_EQ(quick.port, 81);
  EXPECT_EQ(quick.interval_ms, 500u);
  EXPECT_EQ(quick.interval_down_ms, 500u);
  EXPECT_EQ(quick.timeout_ms, 500u);
  EXPECT_EQ(quick.jitter_ms, 50u);
  EXPECT_EQ(quick.rise, 1u);
  EXPECT_EQ(quick.fall, 5u);
  const Check& all = settings.upstreams[2].health_check;
  EXPECT_EQ(all.method, "HEAD");
  EXPECT_EQ(all.path, "/up?a=b");
  EXPECT_EQ(all.host, "a.test:8080");
  EXPECT_EQ(all.status, (std::vector<Check::StatusRange>{{200, 299}, {301, 301}, {400, 404}}));
  EXPECT_EQ(all.timeout_ms, 10'000u);
  EXPECT_EQ(all.jitter_ms, 0u);
  EXPECT_EQ(all.interval_down_ms, 250u);
  EXPECT_EQ(settings.upstreams[3].health_check.body, "all: well\n");
}

TEST_F(File, HealthChecksArePrintedAndReadBack) {
  const std::string text = R"(
listeners: [{address: 0.0.0.0:1, upstream: web}, {address: 0.0.0.0:2, upstream: tcp, protocol: tcp}]
upstreams:
  web:
    endpoints: [10.0.0.1:80]
    health_check: {path: /up, status: [2xx, 301], body: "a: \"b\"", interval: 10s, host: a.test, port: 9}
  tcp:
    endpoints: [10.0.0.2:80]
    health_check: {type: tcp}
)";
  const std::string once = Check(text, {"check"}).out;
  EXPECT_THAT(once, HasSubstr(R"(    health_check:
      type: http                                            # default
      port: 9                                               # f.yaml:6:104
      method: GET                                           # default
      path: /up                                             # f.yaml:6:26
      host: a.test                                          # f.yaml:6:90
      body: "a: \"b\""                                      # f.yaml:6:57
      interval: 10s                                         # f.yaml:6:79
      interval_down: 1s                                     # default
      jitter: 1s                                            # default
      timeout: 2s                                           # default
      rise: 2                                               # default
      fall: 3                                               # default
      status: [200-299, 301]                                # f.yaml:6:39
)"));
  EXPECT_THAT(once, HasSubstr(R"(    health_check:
      type: tcp                                             # f.yaml:9:26
      interval: 5s                                          # default
      interval_down: 1s                                     # default
      jitter: 500ms                                         # default
      timeout: 2s                                           # default
      rise: 2                                               # default
      fall: 3                                               # default
    timeouts:
)"));
  const Settings again = Good(once);
  const Settings settings = Good(text);
  ASSERT_EQ(again.upstreams.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const UpstreamSettings& upstream =
        again.upstreams[0].name == settings.upstreams[i].name ? again.upstreams[0] : again.upstreams[1];
    EXPECT_EQ(upstream.health_check, settings.upstreams[i].health_check);
  }
}

TEST_F(File, WrongHealthChecks) {
  EXPECT_THAT(
      Bad(R"(
listeners: [{address: 0.0.0.0:1, upstream: a}]
upstreams:
  a: {endpoints: [10.0.0.1:80], health_check: {method: get, path: up, host: "a b", status: [99, x, 300-200, 6xx]}}
  b: {endpoints: [10.0.0.1:80], health_check: {type: tcp, path: /x}}
  c: {endpoints: [10.0.0.1:80], health_check: {interval: 1s, timeout: 2s, interval_down: 3s, jitter: 4s}}
  d: {endpoints: [10.0.0.1:80], health_check: {interval: 5ms, rise: 0, fall: 101, port: 0, body: ""}}
  e: {endpoints: [10.0.0.1:80, unix:/a], health_check: {port: 81, method: HEAD, body: x}}
  f: {health_check: {pth: /}, endpoints: [10.0.0.1:80]}
  g: {health_check: http, endpoints: [10.0.0.1:80]}
)"),
      ElementsAre(
          "f.yaml:4:56: upstreams.a.health_check.method: \"get\": expected GET, HEAD or OPTIONS",
          "f.yaml:4:67: upstreams.a.health_check.path: \"up\": expected a path that begins with /, in "
          "visible "
          "ASCII",
          "f.yaml:4:77: upstreams.a.health_check.host: \"a b\": expected a host name, with a port if need be",
          "f.yaml:4:93: upstreams.a.health_check.status: \"99\": expected a status from 200 to 599, such as "
          "200, 2xx or 200-399",
          HasSubstr("f.yaml:4:97: upstreams.a.health_check.status: \"x\": expected"),
          HasSubstr("f.yaml:4:100: upstreams.a.health_check.status: \"300-200\": expected"),
          HasSubstr("f.yaml:4:109: upstreams.a.health_check.status: \"6xx\": expected"),
          "f.yaml:5:65: upstreams.b.health_check: with type tcp nothing is asked",
          "f.yaml:6:71: upstreams.c.health_check: timeout of 2s: expected no more than the interval, 1s",
          "f.yaml:6:90: upstreams.c.health_check: interval_down of 3s: expected no more than the interval, "
          "1s",
          "f.yaml:6:102: upstreams.c.health_check: jitter of 4s: expected no more than the interval, 1s",
          "f.yaml:7:58: upstreams.d.health_check.interval: \"5ms\": expected 10ms or more",
          "f.yaml:7:69: upstreams.d.health_check.rise: \"0\": expected a whole number from 1 to 100",
          "f.yaml:7:78: upstreams.d.health_check.fall: \"101\": expected a whole number from 1 to 100",
          "f.yaml:7:89: upstreams.d.health_check.port: \"0\": expected a whole number from 1 to 65535",
          "f.yaml:7:98: upstreams.d.health_check.body: \"\": expected 1 to 1024 bytes",
          "f.yaml:8:56: upstreams.e.health_check: the answer to HEAD has no body",
          "f.yaml:8:63: upstreams.e: health_check.port: a unix socket has no port",
          "f.yaml:9:22: upstreams.f.health_check.pth: unknown key; did you mean path?",
          HasSubstr("f.yaml:10:21: upstreams.g.health_check: expected keys and values, found a single value; "
                    "accepted: type port")));
}

TEST_F(File, ProxyProtocol) {
  const std::string text = R"(
listeners:
  - {address: 0.0.0.0:1, upstream: a, proxy_protocol: required}
  - {address: 0.0.0.0:2, upstream: a, proxy_protocol: {mode: optional, from: [10.0.0.0/8, "2001:db8::/32"], timeout: 2s}}
  - {address: 0.0.0.0:3, upstream: a, protocol: tcp, proxy_protocol: {mode: required, from: 10.0.0.1}}
  - {address: 0.0.0.0:4, routes: r}
upstreams:
  a: {endpoints: [10.0.0.1:80]}
routes:
  r:
    - {match: {proxy_protocol: {authority: a.test, "0xe0": {prefix: x}, ssl_cn: {present: false}}}, upstream: a}
)";
  const Settings settings = Good(text);
  using Mode = ProxyProtocolSettings::Mode;
  const auto of = [&](size_t i) -> const ProxyProtocolSettings& {
    return settings.listeners[i].proxy_protocol;
  };
  EXPECT_EQ(of(0).mode, Mode::kRequired);
  EXPECT_TRUE(of(0).from.Allows(*SocketAddress::Parse("192.0.2.1:1")));
  EXPECT_EQ(of(0).timeout_ms, 5'000u);
  EXPECT_EQ(of(1).mode, Mode::kOptional);
  EXPECT_TRUE(of(1).from.Allows(*SocketAddress::Parse("10.1.2.3:1")));
  EXPECT_FALSE(of(1).from.Allows(*SocketAddress::Parse("192.0.2.1:1")));
  EXPECT_EQ(of(1).timeout_ms, 2'000u);
  EXPECT_FALSE(of(2).from.Allows(*SocketAddress::Parse("10.0.0.2:1")));
  EXPECT_FALSE(of(3).on());
  const std::string once = Check(text, {"check"}).out;
  EXPECT_THAT(once, HasSubstr(R"(    proxy_protocol:
      mode: required                                        # f.yaml:3:55
      timeout: 5s                                           # default
)"));
  EXPECT_THAT(once, HasSubstr(R"(    proxy_protocol:
      mode: optional                                        # f.yaml:4:62
      timeout: 2s                                           # f.yaml:4:118
      from: [10.0.0.0/8, 2001:db8::/32]
)"));
  EXPECT_THAT(once, HasSubstr("proxy_protocol: {"));
  const Settings again = Good(once);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(again.listeners[i].proxy_protocol.mode, of(i).mode) << i;
    EXPECT_EQ(again.listeners[i].proxy_protocol.from.allow, of(i).from.allow) << i;
    EXPECT_EQ(again.listeners[i].proxy_protocol.timeout_ms, of(i).timeout_ms) << i;
  }
  ASSERT_EQ(again.routes[0].matches[0].proxy_protocol.size(), 3u);
}

TEST_F(File, UnixListeners) {
  const std::string text = R"(
listeners:
  - {address: "unix:/tmp/a.sock", upstream: a}
  - {address: "unix:/tmp/b.sock", upstream: a, protocol: tcp, mode: 0600, allow: [unix, 10.0.0.0/8]}
  - {address: "unix:/tmp/c.sock", upstream: a, mode: "666", deny: unix, trusted_proxies: unix}
  - {address: "unix:@name", upstream: a, proxy_protocol: {mode: required, from: unix}}
upstreams:
  a: {endpoints: [10.0.0.1:80]}
)";
  const Settings settings = Good(text);
  EXPECT_EQ(settings.listeners[0].address.ToString(), "unix:/tmp/a.sock");
  EXPECT_EQ(settings.listeners[0].text, "http://unix:/tmp/a.sock");
  EXPECT_EQ(settings.listeners[0].unix_mode, 0660u);
  EXPECT_EQ(settings.listeners[1].unix_mode, 0600u);
  EXPECT_EQ(settings.listeners[2].unix_mode, 0666u);
  EXPECT_EQ(settings.listeners[3].DefaultHost(), "localhost");
  const SocketAddress unix = SocketAddress::ForUnix(nullptr);
  EXPECT_TRUE(settings.listeners[0].access.Allows(unix));
  EXPECT_TRUE(settings.listeners[1].access.Allows(unix));
  EXPECT_FALSE(settings.listeners[1].access.Allows(*SocketAddress::Parse("192.0.2.1:1")));
  EXPECT_FALSE(settings.listeners[2].access.Allows(unix));
  EXPECT_TRUE(settings.listeners[2].trusted.Allows(unix));
  EXPECT_TRUE(settings.listeners[3].proxy_protocol.from.Allows(unix));
  const std::string once = Check(text, {"check"}).out;
  EXPECT_THAT(once, HasSubstr(R"(  - address: "unix:/tmp/b.sock"                             # f.yaml:4:15
    mode: 0600                                              # f.yaml:4:69
)"));
  const Settings again = Good(once);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(again.listeners[i].address, settings.listeners[i].address) << i;
    EXPECT_EQ(again.listeners[i].unix_mode, settings.listeners[i].unix_mode) << i;
    EXPECT_EQ(again.listeners[i].access.Allows(unix), settings.listeners[i].access.Allows(unix)) << i;
  }
}

TEST_F(File, WrongUnixListeners) {
  EXPECT_THAT(
      Bad(R"(
listeners:
  - {address: "unix:app.sock", upstream: a}
  - {address: "unix:/tmp/b.sock", upstream: a, mode: 0990}
  - {address: "unix:/tmp/c.sock", upstream: a, mode: 0060}
  - {address: 0.0.0.0:1, upstream: a, mode: 0660}
  - {address: "unix:@name", upstream: a, mode: 0660}
  - {address: "unix:/tmp/d.sock", upstream: a, tcp: {nodelay: false}}
upstreams:
  a: {endpoints: [10.0.0.1:80, "unix:/tmp/d.sock"]}
)"),
      ElementsAre(
          HasSubstr("f.yaml:3:15: listeners[0].address: \"unix:app.sock\": expected an absolute path"),
          HasSubstr("f.yaml:4:54: listeners[1].mode: \"0990\": expected a mode in octal, from "
                    "0600 to 0777, such as 0660"),
          HasSubstr("f.yaml:5:54: listeners[2].mode: \"0060\": expected a mode in octal"),
          HasSubstr("f.yaml:6:45: listeners[3]: mode: only a unix socket's file has one"),
          HasSubstr("f.yaml:7:48: listeners[4]: mode: an abstract name has none"),
          HasSubstr("f.yaml:8:53: listeners[5]: tcp: a unix socket knows nothing of it"),
          HasSubstr("f.yaml:10:32: upstreams.a: unix:/tmp/d.sock is an address that Weir itself")));
}

TEST_F(File, UnixListenersGivenTwice) {
  EXPECT_THAT(Bad(R"(
listeners:
  - {address: "unix:/tmp/d.sock", upstream: a}
  - {address: "unix:/tmp/d.sock", upstream: a}
  - {address: "unix:/tmp/d.sock", protocol: tcp, upstream: a}
upstreams:
  a: {endpoints: [10.0.0.1:80]}
)"),
              ElementsAre(HasSubstr("f.yaml:4:15: listeners: http://unix:/tmp/d.sock is given twice"),
                          HasSubstr("are the same address: choose another port")));
}

TEST_F(File, ConnectionsOfOneClient) {
  const std::string text = R"(
listeners:
  - {address: 0.0.0.0:1, upstream: a, max_connections_per_client: 50}
  - {address: 0.0.0.0:2, upstream: a, protocol: tcp, max_connections_per_client: 7}
  - {address: 0.0.0.0:3, upstream: a}
upstreams:
  a: {endpoints: [10.0.0.1:80]}
)";
  const Settings settings = Good(text);
  EXPECT_EQ(settings.listeners[0].max_connections_per_client, 50u);
  EXPECT_EQ(settings.listeners[1].max_connections_per_client, 7u);
  EXPECT_EQ(settings.listeners[2].max_connections_per_client, 0u);
  const std::string once = Check(text, {"check"}).out;
  EXPECT_THAT(once, HasSubstr("    max_connections_per_client: 7                           # f.yaml:4:82\n"));
  EXPECT_THAT(once, HasSubstr("connections of each client: "));
  EXPECT_EQ(Good(once).listeners[1].max_connections_per_client, 7u);
  EXPECT_THAT(
      Bad(R"(
listeners:
  - {address: 0.0.0.0:1, upstream: a, max_connections_per_client: -1}
upstreams:
  a: {endpoints: [10.0.0.1:80]}
)"),
      ElementsAre("f.yaml:3:67: listeners[0].max_connections_per_client: \"-1\": expected a whole number "
                  "from 0 to 4000000"));
}

TEST_F(File, ALimitForClientsWithoutAddress) {
  const std::string text = R"(
listeners:
  - {address: "unix:/tmp/a.sock", upstream: a, max_connections_per_client: 50}
  - {address: "unix:/tmp/b.sock", upstream: a, max_connections_per_client: 50, proxy_protocol: required}
upstreams:
  a: {endpoints: [10.0.0.1:80]}
)";
  EXPECT_THAT(
      Check(text, {"check"}).err,
      HasSubstr("f.yaml:3:5: warning: listeners[0]: max_connections_per_client: clients of a unix socket "
                "have no address"));
  EXPECT_THAT(Check(text, {"check"}).err, testing::Not(HasSubstr("listeners[1]")));
}

TEST_F(File, RoutesOfConnections) {
  const std::string text = R"(
listeners:
  - {address: 0.0.0.0:1, protocol: tcp, routes: r, proxy_protocol: required}
  - {address: 0.0.0.0:2, protocol: tcp, routes: plain}
  - {address: 0.0.0.0:3, routes: plain}
upstreams:
  a: {endpoints: [{address: 10.0.0.1:443, labels: {v: "2"}}], retry: {on: [reset]}}
  b: {endpoints: [10.0.0.2:443]}
routes:
  r:
    - {match: {sni: [A.example., "*.wild.example"], alpn: [h2, http/1.1]}, upstream: a, subset: {v: "2"}}
    - {match: {sni: b.example, client: 10.0.0.0/8, proxy_protocol: {authority: x}}, upstream: b, deny: 10.0.0.1}
    - {match: {alpn: acme-tls/1}, upstream: b, timeouts: {connect: 1s, tcp_idle: 1h}, retries: 1, retry: {on: [reset]}}
    - {split: [{upstream: a}, {upstream: b, weight: 3}], sticky: {hash_on: client_ip}}
  plain: [{upstream: a}]
)";
  const Settings settings = Good(text);
  EXPECT_EQ(settings.listeners[0].routes, 0u);
  const auto met = [](const Settings& of, std::string_view name, std::string_view alpn, const char* client) {
    RouteRequest asked;
    asked.host = name;
    asked.alpn = alpn;
    asked.client = *SocketAddress::Parse(client);
    asked.tlvs = std::string_view("\x02\x00\x01x", 4);
    return of.routes[0].table->Match(asked).rule;
  };
  const std::string once = Check(text, {"check"}).out;
  EXPECT_THAT(
      once,
      HasSubstr("    - match: {sni: [A.example., \"*.wild.example\"], alpn: [h2, http/1.1]}  # f.yaml:"));
  const Settings again = Good(once);
  for (const Settings* of : {&settings, &again}) {
    EXPECT_EQ(met(*of, "a.example", "\x02h2", "127.0.0.1:1"), 0u);
    EXPECT_EQ(met(*of, "x.y.wild.example", "\x01x\x08http/1.1", "127.0.0.1:1"), 0u);
    EXPECT_EQ(met(*of, "a.example", "", "127.0.0.1:1"), 3u);
    EXPECT_EQ(met(*of, "wild.example", "\x02h2", "127.0.0.1:1"), 3u);
    EXPECT_EQ(met(*of, "b.example", "", "10.0.0.2:1"), 1u);
    EXPECT_EQ(met(*of, "b.example", "", "127.0.0.1:1"), 3u);
    EXPECT_EQ(met(*of, "c.example",
                  "\x0a"
                  "acme-tls/1",
                  "127.0.0.1:1"),
              2u);
    EXPECT_EQ(of->routes[0].routes[0].subset.number, 1u);
    EXPECT_EQ(of->routes[0].routes[2].timeouts.connect_ms, 1'000u);
    EXPECT_EQ(of->routes[0].routes[2].timeouts.tcp_idle_ms, 3'600'000u);
    EXPECT_EQ(of->routes[0].routes[2].retries, 1u);
    EXPECT_FALSE(of->routes[0].routes[2].retry.connect_failure);
    EXPECT_EQ(of->routes[0].routes[3].split->sides.size(), 2u);
  }
}

TEST_F(File, WrongRoutesOfConnections) {
  EXPECT_THAT(
      Bad(R"(
listeners:
  - {address: 0.0.0.0:1, protocol: tcp, routes: r}
  - {address: 0.0.0.0:2, routes: s}
  - {address: 0.0.0.0:3, protocol: tcp, routes: r, upstream: a}
upstreams:
  a: {endpoints: [10.0.0.1:80]}
routes:
  r:
    - {match: {host: a.example, headers: {X: {exact: y}}}, upstream: a, rewrite: {path: /x}}
    - {match: {sni: a.example}, redirect: {to: "https://b.example"}}
    - {match: {alpn: h2}, upstream: a, timeouts: {connect: 1s, response: 1s}, retry: {per_try_timeout: 1s}}
    - {split: [{upstream: a}], sticky: {hash_on: path}}
    - {upstream: a, client_max_body: 1KiB}
  s:
    - {match: {sni: a.example, path: /x}, upstream: a}
    - {match: {alpn: h2}, upstream: a}
)"),
      UnorderedElementsAre(
          HasSubstr("f.yaml:10:22: routes.r[0].match.host: only of requests, and the tcp listener at "
                    "f.yaml:3:15 knows "
                    "none: expected sni, alpn, client, proxy_protocol"),
          HasSubstr("f.yaml:10:42: routes.r[0].match.headers: only of requests"),
          HasSubstr(
              "f.yaml:10:82: routes.r[0].rewrite: only of requests, and the tcp listener at f.yaml:3:15 "
              "knows "
              "none: expected match, upstream, subset, subset_fallback, split, sticky, timeouts, retries, "
              "retry, allow, deny"),
          HasSubstr("f.yaml:11:43: routes.r[1].redirect: only of requests"),
          HasSubstr("f.yaml:12:74: routes.r[2].timeouts.response: only of requests, and the tcp listener at "
                    "f.yaml:3:15 knows none: expected connect, tcp_idle"),
          HasSubstr("f.yaml:12:104: routes.r[2].retry.per_try_timeout: only of requests"),
          HasSubstr("f.yaml:13:50: routes.r[3].sticky.hash_on: \"path\": of requests; the tcp listener at "
                    "f.yaml:3:15 "
                    "knows none: expected client_ip"),
          HasSubstr("f.yaml:14:38: routes.r[4].client_max_body: only of requests"),
          HasSubstr("f.yaml:16:21: routes.s[0].match.sni: only of connections that a tcp listener passes on, "
                    "and the "
                    "listener at f.yaml:4:15 is for http"),
          HasSubstr("f.yaml:17:22: routes.s[1].match.alpn: only of connections"),
          HasSubstr("f.yaml:5:5: listeners[2]: expected only one of upstream and routes; a route without "
                    "match is for "
                    "what meets no other")));
  EXPECT_THAT(
      Bad(R"(
listeners:
  - {address: 0.0.0.0:1, protocol: tcp, routes: r}
upstreams:
  a: {endpoints: [10.0.0.1:80]}
routes:
  r:
    - {match: {sni: ["*", "a.*.example", "a.example:443", "[::1]", "b\xfc.example"]}, upstream: a}
    - {match: {sni: a.example, host: a.example}, upstream: a}
    - {match: {alpn: ""}, upstream: a}
)"),
      ElementsAre(
          HasSubstr("f.yaml:8:22: routes.r[0].match.sni: expected a server name; a rule without one is for "
                    "every name, "
                    "and for none"),
          HasSubstr("f.yaml:8:27: routes.r[0].match.sni: expected the star as the whole first label"),
          HasSubstr("f.yaml:8:42: routes.r[0].match.sni: expected a server name in ASCII"),
          HasSubstr("f.yaml:8:59: routes.r[0].match.sni: expected a server name in ASCII"),
          HasSubstr("f.yaml:8:68: routes.r[0].match.sni: expected a server name in ASCII"),
          HasSubstr("f.yaml:9:21: routes.r[1].match.sni: expected only one of host and sni"),
          HasSubstr("f.yaml:9:38: routes.r[1].match.host: only of requests"),
          HasSubstr("f.yaml:10:22: routes.r[2].match.alpn: expected the name of a protocol, such as h2")));
}

TEST_F(File, ConnectionsThatNoRouteCanMeet) {
  const CommandLine line = Check(R"(
listeners: [{address: 0.0.0.0:1, protocol: tcp, routes: r}]
upstreams:
  a: {endpoints: [10.0.0.1:80], balance: maglev, hash_on: path}
routes:
  r:
    - {match: {sni: [a.example, b.example]}, upstream: a}
    - {match: {sni: [c.example, b.example]}, upstream: a}
    - {match: {sni: a.example, alpn: h2}, upstream: a}
)");
  EXPECT_FALSE(line.exit);
  EXPECT_THAT(
      line.err,
      HasSubstr("f.yaml:8:33: warning: routes.r[1].match.sni: can never match: a rule with the same server "
                "name comes first (the route at f.yaml:7:7)"));
  EXPECT_THAT(
      line.err,
      HasSubstr("f.yaml:9:7: warning: routes.r[2]: can never match: a rule with the same server name comes "
                "first (the route at f.yaml:7:7)"));
  EXPECT_THAT(line.err,
              HasSubstr("routes.r[0].upstream: tcp connections have nothing that hash_on of a names"));
}

TEST_F(File, ServerNamesAreHeardByRoutes) {
  const CommandLine line = Check(R"(
listeners: [{address: 0.0.0.0:1, protocol: tcp, routes: r}, {address: 0.0.0.0:2, protocol: tcp, upstream: a}]
upstreams:
  a: {endpoints: [10.0.0.1:80], balance: maglev, hash_on: sni}
  b: {endpoints: [10.0.0.1:80]}
routes:
  r:
    - {match: {sni: a.example}, split: [{upstream: a}, {upstream: b}], sticky: {hash_on: sni}}
    - {upstream: a}
)");
  EXPECT_FALSE(line.exit) << line.err;
  EXPECT_THAT(line.err,
              HasSubstr("listeners[1].upstream: tcp connections have nothing that hash_on of a names"));
  EXPECT_THAT(line.err, Not(HasSubstr("routes.r[0]")));
}

TEST_F(File, ProxyProtocolOut) {
  const std::string text = R"(
listeners: [{address: 0.0.0.0:1, upstream: a}, {address: 0.0.0.0:2, upstream: b}, {address: 0.0.0.0:3, upstream: c}]
upstreams:
  a: {endpoints: [10.0.0.1:80], proxy_protocol: v1}
  b: {endpoints: [10.0.0.1:80], proxy_protocol: {version: v2, tlvs: [crc32c, authority]}}
  c: {endpoints: [10.0.0.1:80], proxy_protocol: {version: v2, tlvs: unique_id}}
)";
  const Settings settings = Good(text);
  using Hello = ProxyHelloSettings;
  EXPECT_EQ(settings.upstreams[0].proxy_hello, (Hello{.version = ProxyVersion::kV1}));
  EXPECT_EQ(settings.upstreams[1].proxy_hello,
            (Hello{.version = ProxyVersion::kV2, .authority = true, .crc32c = true}));
  EXPECT_EQ(settings.upstreams[2].proxy_hello, (Hello{.version = ProxyVersion::kV2, .unique_id = true}));
  const std::string once = Check(text, {"check"}).out;
  EXPECT_THAT(once, HasSubstr(R"(    proxy_protocol:
      version: v1                                           # f.yaml:4:49
)"));
  EXPECT_THAT(once, HasSubstr(R"(    proxy_protocol:
      version: v2                                           # f.yaml:5:59
      tlvs: [authority, crc32c]
)"));
  const Settings again = Good(once);
  for (size_t i = 0; i < 3; ++i)
    EXPECT_EQ(again.upstreams[i].proxy_hello, settings.upstreams[i].proxy_hello) << i;
  EXPECT_THAT(
      Bad(R"(
listeners: [{address: 0.0.0.0:1, upstream: a}]
upstreams:
  a: {endpoints: [10.0.0.1:80], proxy_protocol: v3}
  b: {endpoints: [10.0.0.1:80], proxy_protocol: {tlvs: authority}}
  c: {endpoints: [10.0.0.1:80], proxy_protocol: {version: v1, tlvs: [authority]}}
  d: {endpoints: [10.0.0.1:80], proxy_protocol: {version: v2, tlvs: [authority, alpn, authority]}}
)"),
      ElementsAre(
          HasSubstr("f.yaml:4:49: upstreams.a.proxy_protocol: \"v3\": expected v1 or v2"),
          HasSubstr("f.yaml:5:49: upstreams.b.proxy_protocol: the key version is missing"),
          HasSubstr("f.yaml:6:69: upstreams.c.proxy_protocol.tlvs: only with version: v2"),
          HasSubstr(
              "f.yaml:7:81: upstreams.d.proxy_protocol.tlvs: \"alpn\": expected authority, unique_id or"),
          HasSubstr("f.yaml:7:87: upstreams.d.proxy_protocol.tlvs: \"authority\" is given twice")));
}

TEST_F(File, WrongProxyProtocol) {
  EXPECT_THAT(
      Bad(R"(
listeners:
  - {address: 0.0.0.0:1, upstream: a, proxy_protocol: optional}
  - {address: 0.0.0.0:2, upstream: a, proxy_protocol: requird}
  - {address: 0.0.0.0:3, upstream: a, proxy_protocol: {from: 10.0.0.1}}
  - {address: 0.0.0.0:4, upstream: a, proxy_protocol: {mode: required, from: 10.0.0.1/8}}
  - {address: 0.0.0.0:5, upstream: a, proxy_protocol: {mode: required, timeout: 5, networks: 10.0.0.1}}
  - {address: 0.0.0.0:6, routes: r}
upstreams:
  a: {endpoints: [10.0.0.1:80]}
routes:
  r:
    - {match: {proxy_protocol: {host: a.test}}, upstream: a}
)"),
      ElementsAre(
          HasSubstr("f.yaml:3:55: listeners[0].proxy_protocol: with optional everybody could say"),
          HasSubstr("f.yaml:4:55: listeners[1].proxy_protocol: \"requird\": expected required or optional; "
                    "did you mean required?"),
          HasSubstr("f.yaml:5:55: listeners[2].proxy_protocol: the key mode is missing"),
          HasSubstr("f.yaml:6:78: listeners[3].proxy_protocol.from: \"10.0.0.1/8\""),
          HasSubstr("f.yaml:7:81: listeners[4].proxy_protocol.timeout: \"5\": expected a unit"),
          HasSubstr("f.yaml:7:84: listeners[4].proxy_protocol.networks: unknown key"),
          HasSubstr("f.yaml:13:33: routes.r[0].match.proxy_protocol: expected one of alpn authority")));
}

TEST_F(File, SlowStarts) {
  const std::string text = R"(
listeners: [{address: 0.0.0.0:1, upstream: a}, {address: 0.0.0.0:2, upstream: b}, {address: 0.0.0.0:3, upstream: c}]
upstreams:
  a: {endpoints: [10.0.0.1:80], slow_start: 30s}
  b: {endpoints: [10.0.0.1:80], slow_start: {duration: 1m, mode: exponential, start: 5%}}
  c: {endpoints: [10.0.0.1:80], slow_start: 0}
)";
  const Settings settings = Good(text);
  using Start = SlowStartSettings;
  EXPECT_EQ(settings.upstreams[0].slow_start, (Start{30'000, Start::Mode::kLinear, 10}));
  EXPECT_EQ(settings.upstreams[1].slow_start, (Start{60'000, Start::Mode::kExponential, 5}));
  EXPECT_FALSE(settings.upstreams[2].slow_start.on());
  const std::string once = Check(text, {"check"}).out;
  EXPECT_THAT(once, HasSubstr(R"(    slow_start:
      duration: 30s                                         # f.yaml:4:45
      mode: linear                                          # default
      start: 10%                                            # default
    timeouts:
)"));
  EXPECT_THAT(once, HasSubstr(R"(    slow_start:
      duration: 1m                                          # f.yaml:5:56
      mode: exponential                                     # f.yaml:5:66
      start: 5%                                             # f.yaml:5:86
    timeouts:
)"));
  const Settings again = Good(once);
  for (size_t i = 0; i < 3; ++i)
    EXPECT_EQ(again.upstreams[i].slow_start, settings.upstreams[i].slow_start) << i;
}

TEST_F(File, WrongSlowStarts) {
  EXPECT_THAT(
      Bad(R"(
listeners: [{address: 0.0.0.0:1, upstream: a}]
upstreams:
  a: {endpoints: [10.0.0.1:80], slow_start: 30}
  b: {endpoints: [10.0.0.1:80], slow_start: {mode: exponential}}
  c: {endpoints: [10.0.0.1:80], slow_start: {duration: 25h, mode: exponental, start: 0%}}
  d: {endpoints: [10.0.0.1:80], slow_start: {duration: 1s, start: 10, time: 2s}}
  e: {endpoints: [10.0.0.1:80], slow_start: [1s]}
)"),
      ElementsAre(
          "f.yaml:4:45: upstreams.a.slow_start: \"30\": expected a unit: 30ms, 30s, 30m or 30h",
          "f.yaml:5:45: upstreams.b.slow_start: the key duration is missing",
          "f.yaml:6:56: upstreams.c.slow_start.duration: \"25h\": expected a duration from 1ms to 24h, or 0",
          "f.yaml:6:67: upstreams.c.slow_start.mode: \"exponental\": expected linear or exponential; did you "
          "mean exponential?",
          "f.yaml:6:86: upstreams.c.slow_start.start: \"0%\": expected a whole number of percent from 1% to "
          "99%",
          "f.yaml:7:67: upstreams.d.slow_start.start: \"10\": expected a whole number of percent from 1% to "
          "99%",
          "f.yaml:7:71: upstreams.d.slow_start.time: unknown key; accepted: duration mode start",
          HasSubstr("f.yaml:8:45: upstreams.e.slow_start: found a list")));
}

TEST_F(File, Retries) {
  const std::string text = R"(
listeners: [{address: 0.0.0.0:1, upstream: a}, {address: 0.0.0.0:2, routes: r}, {address: 0.0.0.0:3, upstream: c}]
upstreams:
  a: {endpoints: [10.0.0.1:80]}
  b:
    endpoints: [10.0.0.1:80]
    retry:
      on: [reset, gateway_error, 429]
      per_try_timeout: 2s
      body: 8KiB
      non_idempotent: true
      backoff: {base: 25ms}
  c: {endpoints: [10.0.0.1:80], retry: {on: 503, backoff: {base: 1h, max: 2h}}}
routes:
  r:
    - {match: {path: /a}, upstream: b}
    - {match: {path: /b}, upstream: b, retry: {on: connect_failure, non_idempotent: false}}
    - {match: {path: /c}, split: [{upstream: a}, {upstream: b}], retry: {body: 1KiB}}
    - {match: {path: /d}, upstream: a, auth_request: {upstream: b, path: /}}
)";
  const Settings settings = Good(text);
  EXPECT_EQ(settings.upstreams[0].retry, RetrySettings());
  EXPECT_TRUE(RetrySettings().connect_failure && RetrySettings().reset && RetrySettings().statuses.none());
  RetrySettings b;
  b.connect_failure = b.endpoint_down = false;
  for (const int status : {429, 502, 503, 504}) b.statuses.set(status - 400);
  b.per_try_ms = 2'000;
  b.body_bytes = 8'192;
  b.non_idempotent = true;
  b.backoff_base_ms = 25;
  b.backoff_max_ms = 250;
  EXPECT_EQ(settings.upstreams[1].retry, b);
  EXPECT_TRUE(b.Wants(429) && b.Wants(503));
  for (const uint16_t status : {200, 399, 400, 500, 599, 600, 999}) EXPECT_FALSE(b.Wants(status)) << status;
  const RetrySettings& c = settings.upstreams[2].retry;
  EXPECT_TRUE(c.Wants(503) && !c.reset && !c.connect_failure && c.statuses.count() == 1);
  EXPECT_EQ(c.backoff_max_ms, 7'200'000u);
  EXPECT_EQ(settings.listeners[2].direct.retry, c);
  const std::vector<RouteSettings>& routes = settings.routes[0].routes;
  EXPECT_EQ(routes[0].retry, b);
  RetrySettings own = b;
  own.connect_failure = true;
  own.reset = own.non_idempotent = false;
  own.statuses.reset();
  EXPECT_EQ(routes[1].retry, own);
  RetrySettings side;
  side.body_bytes = 1'024;
  EXPECT_EQ(routes[2].split->sides[0].retry, side);
  side = b;
  side.body_bytes = 1'024;
  EXPECT_EQ(routes[2].split->sides[1].retry, side);
  EXPECT_EQ(routes[3].auth_request->leg.retry, b);

  const std::string once = Check(text, {"check"}).out;
  EXPECT_THAT(once, HasSubstr(R"(    retry:
      on: [connect_failure, reset, endpoint_down]           # default
      per_try_timeout: 0                                    # default
      body: 0                                               # default
      non_idempotent: false                                 # default
      backoff: {base: 0, max: 0}                            # default
)"));
  EXPECT_THAT(once, HasSubstr(R"(    retry:
      on: [reset, 429, 502, 503, 504]                       # f.yaml:8:11
      per_try_timeout: 2s                                   # f.yaml:9:24
      body: 8KiB                                            # f.yaml:10:13
      non_idempotent: true                                  # f.yaml:11:23
      backoff: {base: 25ms, max: 250ms}                     # f.yaml:12:16
)"));
  EXPECT_THAT(once, HasSubstr(R"(      retry:
        on: [connect_failure]                               # f.yaml:17:52
        per_try_timeout: 2s                                 # upstreams.b.retry.per_try_timeout
)"));
  const Settings again = Good(once);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(again.upstreams[i].retry, settings.upstreams[i].retry) << i;
  for (size_t i = 0; i < 2; ++i) EXPECT_EQ(again.routes[0].routes[i].retry, routes[i].retry) << i;
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(again.routes[0].routes[2].split->sides[i].retry, routes[2].split->sides[i].retry) << i;
  }
}

TEST_F(File, WrongRetries) {
  EXPECT_THAT(
      Bad(R"(
listeners: [{address: 0.0.0.0:1, upstream: a}]
upstreams:
  a: {endpoints: [10.0.0.1:80], retry: {on: [5xx, 399, 600, per_try_timeout]}}
  b: {endpoints: [10.0.0.1:80], retry: {on: []}}
  c: {endpoints: [10.0.0.1:80], retry: {per_try_timeout: 2, body: 25KiB, non_idempotent: maybe}}
  d: {endpoints: [10.0.0.1:80], retry: {backoff: {max: 1s}}}
  e: {endpoints: [10.0.0.1:80], retry: {backoff: {base: 2s, max: 1s}}}
  f: {endpoints: [10.0.0.1:80], retry: 3}
  g: {endpoints: [10.0.0.1:80], retry: {attempts: 3}}
)"),
      ElementsAre(
          "f.yaml:4:46: upstreams.a.retry.on: \"5xx\": expected connect_failure, reset, endpoint_down, "
          "gateway_error, or a "
          "status from 400 to 599",
          HasSubstr("f.yaml:4:51: upstreams.a.retry.on: \"399\": expected connect_failure"),
          HasSubstr("f.yaml:4:56: upstreams.a.retry.on: \"600\": expected connect_failure"),
          HasSubstr("f.yaml:4:61: upstreams.a.retry.on: \"per_try_timeout\": expected connect_failure, "
                    "reset, endpoint_down, "
                    "gateway_error, or a status from 400 to 599; a time for each attempt is a key beside on: "
                    "per_try_timeout: 2s"),
          "f.yaml:5:45: upstreams.b.retry.on: the list is empty: leave the key out, or name something",
          "f.yaml:6:58: upstreams.c.retry.per_try_timeout: \"2\": expected a unit: 2ms, 2s, 2m or 2h",
          HasSubstr("f.yaml:6:67: upstreams.c.retry.body: \"25KiB\": expected "),
          HasSubstr("f.yaml:6:90: upstreams.c.retry.non_idempotent: \"maybe\": expected true or false"),
          "f.yaml:7:50: upstreams.d.retry.backoff: the key base is missing",
          "f.yaml:8:50: upstreams.e.retry.backoff: max is less than base",
          HasSubstr(
              "f.yaml:9:40: upstreams.f.retry: expected keys and values, found a single value; accepted: on"),
          HasSubstr("f.yaml:10:41: upstreams.g.retry.attempts: unknown key; accepted: on per_try_timeout")));
}

TEST_F(File, TcpOptionsOfListenersAndUpstreams) {
  const std::string text = R"(
listeners:
- {address: 0.0.0.0:1, upstream: a, tcp: {keepalive: 61s, keepalive_interval: 7s, keepalive_count: 3, user_timeout: 4500ms,
                                          nodelay: false, congestion_control: reno, fast_open: 256}}
- {address: 0.0.0.0:2, upstream: b, protocol: tcp}
upstreams:
  a: {endpoints: [10.0.0.1:80], tcp: {keepalive: 2m, fast_open: true, source: [10.0.0.5, "fd00::5"]}}
  b: {endpoints: [10.0.0.1:80], tcp: {source: 10.0.0.6}}
)";
  const Settings settings = Good(text);
  TcpOptions clients;
  clients.keepalive_idle_s = 61;
  clients.keepalive_interval_s = 7;
  clients.keepalive_count = 3;
  clients.user_timeout_ms = 4'500;
  clients.no_delay = false;
  clients.fast_open = 256;
  clients.congestion_control = "reno";
  EXPECT_EQ(settings.listeners[0].tcp, clients);
  EXPECT_EQ(settings.listeners[1].tcp, TcpOptions());
  TcpOptions servers;
  servers.keepalive_idle_s = 120;
  servers.fast_open = 1;
  EXPECT_EQ(settings.upstreams[0].tcp, servers);
  EXPECT_THAT(settings.upstreams[0].sources,
              ElementsAre(*SocketAddress::Parse("10.0.0.5:0"), *SocketAddress::Parse("[fd00::5]:0")));
  EXPECT_THAT(settings.upstreams[1].sources, ElementsAre(*SocketAddress::Parse("10.0.0.6:0")));
  EXPECT_EQ(settings.upstreams[1].tcp, TcpOptions());

  const Settings again = Good(Check(text, {"check"}).out);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(again.listeners[i].tcp, settings.listeners[i].tcp) << i;
    EXPECT_EQ(again.upstreams[i].tcp, settings.upstreams[i].tcp) << i;
    EXPECT_EQ(again.upstreams[i].sources, settings.upstreams[i].sources) << i;
  }
  EXPECT_THAT(
      Bad(R"(
listeners:
- {address: 0.0.0.0:1, upstream: a, tcp: {keepalive: 1500ms, keepalive_count: 128, congestion_control: Reno, source: 10.0.0.1}}
upstreams:
  a: {endpoints: [10.0.0.1:80], tcp: {keepalive: 10h, fast_open: 5, source: ["10.0.0.1:80", 10.0.0.5, 10.0.0.5, host]}}
)"),
      ElementsAre(
          HasSubstr("f.yaml:3:54: listeners[0].tcp.keepalive: \"1500ms\": expected whole seconds, 32767s at "
                    "most, or 0"),
          HasSubstr("listeners[0].tcp.keepalive_count: \"128\": expected a whole number from 0 to 127"),
          HasSubstr("listeners[0].tcp.congestion_control: \"Reno\": expected the name of an algorithm"),
          HasSubstr("listeners[0].tcp.source: unknown key; accepted: keepalive"),
          HasSubstr("upstreams.a.tcp.keepalive: \"10h\": expected whole seconds"),
          HasSubstr("upstreams.a.tcp.fast_open: \"5\": expected true or false"),
          HasSubstr(
              "upstreams.a.tcp.source: \"10.0.0.1:80\": expected an address of this machine without a port"),
          HasSubstr("upstreams.a.tcp.source: \"10.0.0.5\" is given twice"),
          HasSubstr("upstreams.a.tcp.source: \"host\": expected an address")));
}

TEST_F(File, WhatTheKernelDoesNotTakeIsToldWithItsPlace) {
  EXPECT_THAT(
      Bad(R"(
listeners: [{address: 0.0.0.0:1, upstream: a, tcp: {congestion_control: nosuch}}]
upstreams:
  a: {endpoints: [10.0.0.1:80], tcp: {congestion_control: forbidden, source: [10.0.0.5, 192.0.2.7]}}
)"),
      ElementsAre(
          HasSubstr("f.yaml:2:73: listeners: \"nosuch\": this kernel has no such algorithm"),
          HasSubstr("f.yaml:4:59: upstreams.a.tcp.congestion_control: \"forbidden\": not allowed"),
          HasSubstr(
              "f.yaml:4:89: upstreams.a.tcp.source: 192.0.2.7: this machine does not have that address")));
}

TEST_F(File, Pools) {
  const std::string text = R"(
listeners: [{address: 0.0.0.0:1, upstream: a}, {address: 0.0.0.0:2, upstream: b}]
upstreams:
  a: {endpoints: [10.0.0.1:80]}
  b: {endpoints: [10.0.0.1:80], pool: {max_requests: 1000, max_age: 10m}}
)";
  const Settings settings = Good(text);
  EXPECT_FALSE(settings.upstreams[0].pool.on());
  EXPECT_TRUE(settings.upstreams[1].pool.on());
  EXPECT_EQ(settings.upstreams[1].pool.max_requests, 1'000u);
  EXPECT_EQ(settings.upstreams[1].pool.max_age_ms, 600'000u);
  const std::string once = Check(text, {"check"}).out;
  EXPECT_THAT(once, HasSubstr(R"(    pool:
      max_requests: 1000                                    # f.yaml:5:54
      max_age: 10m                                          # f.yaml:5:69
)"));
  const Settings again = Good(once);
  for (size_t i = 0; i < 2; ++i) EXPECT_EQ(again.upstreams[i].pool, settings.upstreams[i].pool) << i;
  EXPECT_THAT(
      Bad(R"(
listeners: [{address: 0.0.0.0:1, upstream: a}]
upstreams:
  a: {endpoints: [10.0.0.1:80], pool: {max_requests: -1, max_age: 10, max_idle: 3}}
)"),
      ElementsAre("f.yaml:4:54: upstreams.a.pool.max_requests: \"-1\": expected a whole number from 0 to "
                  "1000000000",
                  "f.yaml:4:67: upstreams.a.pool.max_age: \"10\": expected a unit: 10ms, 10s, 10m or 10h",
                  "f.yaml:4:71: upstreams.a.pool.max_idle: unknown key; accepted: max_requests max_age"));
}

TEST_F(File, RetryBudgets) {
  const std::string text = R"(
listeners: [{address: 0.0.0.0:1, upstream: a}, {address: 0.0.0.0:2, upstream: b}, {address: 0.0.0.0:3, upstream: c}]
upstreams:
  a: {endpoints: [10.0.0.1:80]}
  b: {endpoints: [10.0.0.1:80], retry_budget: {share: 1/8, min: 0}}
  c: {endpoints: [10.0.0.1:80], retry_budget: off}
)";
  const Settings settings = Good(text);
  const RetryBudgetSettings& usual = settings.upstreams[0].retry_budget;
  EXPECT_TRUE(usual.on);
  EXPECT_EQ(usual.share.text, "20%");
  EXPECT_EQ(usual.min, 3u);
  EXPECT_EQ(settings.upstreams[1].retry_budget.share.value, Share::kAll / 8);
  EXPECT_EQ(settings.upstreams[1].retry_budget.min, 0u);
  EXPECT_FALSE(settings.upstreams[2].retry_budget.on);
  const std::string once = Check(text, {"check"}).out;
  EXPECT_THAT(once, HasSubstr(R"(    retry_budget:
      share: "20%"                                          # default
      min: 3                                                # default
)"));
  EXPECT_THAT(once, HasSubstr(R"(    retry_budget:
      share: 1/8                                            # f.yaml:5:55
      min: 0                                                # f.yaml:5:65
)"));
  EXPECT_THAT(once, HasSubstr("    retry_budget: off                                       # f.yaml:6:47\n"));
  const Settings again = Good(once);
  for (size_t i = 0; i < 3; ++i)
    EXPECT_EQ(again.upstreams[i].retry_budget, settings.upstreams[i].retry_budget) << i;
}

TEST_F(File, WrongRetryBudgets) {
  EXPECT_THAT(
      Bad(R"(
listeners: [{address: 0.0.0.0:1, upstream: a}]
upstreams:
  a: {endpoints: [10.0.0.1:80], retry_budget: on}
  b: {endpoints: [10.0.0.1:80], retry_budget: [20%]}
  c: {endpoints: [10.0.0.1:80], retry_budget: {share: 20, min: -1}}
  d: {endpoints: [10.0.0.1:80], retry_budget: {shares: 20%}}
)"),
      ElementsAre(
          "f.yaml:4:47: upstreams.a.retry_budget: \"on\": expected off, or keys and values: share, min, wait",
          "f.yaml:5:47: upstreams.b.retry_budget: expected off, or keys and values: share, min, wait, found "
          "a list",
          HasSubstr("f.yaml:6:55: upstreams.c.retry_budget.share: \"20\": expected "),
          "f.yaml:6:64: upstreams.c.retry_budget.min: \"-1\": expected a whole number from 0 to 1000000",
          HasSubstr("f.yaml:7:48: upstreams.d.retry_budget.shares: unknown key; did you mean share?")));
}

TEST_F(File, OutlierEjection) {
  const std::string text = R"(
listeners: [{address: 0.0.0.0:1, upstream: a}, {address: 0.0.0.0:2, upstream: b}, {address: 0.0.0.0:3, upstream: c}, {address: 0.0.0.0:4, upstream: d}]
upstreams:
  a: {endpoints: [10.0.0.1:80], outlier_ejection: true}
  b:
    endpoints: [10.0.0.1:80]
    outlier_ejection:
      {consecutive_5xx: 0, consecutive_gateway_errors: 3, consecutive_timeouts: 2, interval: 100ms,
       latency: {above: 2s, consecutive: 7}, base_ejection_time: 10m, max_ejection_percent: 50,
                      success_rate: false}
  c: {endpoints: [10.0.0.1:80], outlier_ejection: false}
  d: {endpoints: [10.0.0.1:80], outlier_ejection: {success_rate:
                      {stdev_factor: 0.05, minimum_hosts: 2, minimum_requests: 1000000}}}
)";
  const Settings settings = Good(text);
  EXPECT_EQ(settings.upstreams[0].outliers, (OutlierSettings{.enabled = true}));
  EXPECT_EQ(settings.upstreams[1].outliers, (OutlierSettings{.enabled = true,
                                                             .consecutive_5xx = 0,
                                                             .consecutive_gateway_errors = 3,
                                                             .consecutive_timeouts = 2,
                                                             .slow_above_ms = 2'000,
                                                             .consecutive_slow = 7,
                                                             .by_success_rate = false,
                                                             .interval_ms = 100,
                                                             .base_ejection_ms = 600'000,
                                                             .most_ejection_ms = 600'000,
                                                             .jitter_ms = 60'000,
                                                             .most_percent = 50}));
  EXPECT_FALSE(settings.upstreams[2].outliers.on());
  EXPECT_EQ(settings.upstreams[3].outliers, (OutlierSettings{.enabled = true,
                                                             .stdev_factor_thousandths = 50,
                                                             .success_hosts = 2,
                                                             .success_requests = 1'000'000}));
  const std::string once = Check(text, {"check"}).out;
  EXPECT_THAT(once, HasSubstr(R"(    outlier_ejection:
      consecutive_5xx: 5                                    # default
      consecutive_gateway_errors: 5                         # default
      consecutive_timeouts: 0                               # default
      interval: 10s                                         # default
      base_ejection_time: 30s                               # default
      max_ejection_time: 5m                                 # default
      jitter: 3s                                            # default
      max_ejection_percent: 10                              # default
      success_rate:
        stdev_factor: 1.9                                   # default
        minimum_hosts: 5                                    # default
        minimum_requests: 100                               # default
    timeouts:
)"));
  EXPECT_THAT(once,
              HasSubstr("        stdev_factor: 0.05                                  # f.yaml:13:38\n"));
  EXPECT_THAT(once,
              HasSubstr("      success_rate: false                                   # f.yaml:10:37\n"));
  EXPECT_THAT(once, HasSubstr("      consecutive_5xx: 0                                    # f.yaml:8:25\n"));
  EXPECT_THAT(once, HasSubstr("      latency: {above: 2s, consecutive: 7}                  # f.yaml:9:17\n"));
  const Settings again = Good(once);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(again.upstreams[i].outliers, settings.upstreams[i].outliers) << i;
}

TEST_F(File, WrongOutlierEjection) {
  EXPECT_THAT(
      Bad(R"(
listeners: [{address: 0.0.0.0:1, upstream: a}]
upstreams:
  a: {endpoints: [10.0.0.1:80], outlier_ejection: yes}
  b: {endpoints: [10.0.0.1:80], outlier_ejection: {consecutive_5xx: 1001, latency: {consecutive: 3}}}
  c: {endpoints: [10.0.0.1:80], outlier_ejection: {interval: 50ms, max_ejection_percent: 0, latency: 1s}}
  d: {endpoints: [10.0.0.1:80], outlier_ejection: {base_ejection_time: 1m, max_ejection_time: 30s}}
  e: {endpoints: [10.0.0.1:80], outlier_ejection: {consecutive_5xx: 0, consecutive_gateway_errors: 0, success_rate: false}}
  f: {endpoints: [10.0.0.1:80], outlier_ejection: {consecutive_gateway_failure: 5, jitter: 2}}
  g: {endpoints: [10.0.0.1:80], outlier_ejection: [true]}
  h: {endpoints: [10.0.0.1:80], outlier_ejection: {success_rate: {stdev_factor: 1.9.1, minimum_hosts: 1}}}
  i: {endpoints: [10.0.0.1:80], outlier_ejection: {success_rate: {stdev_factor: 10.001}}}
)"),
      ElementsAre(
          "f.yaml:4:51: upstreams.a.outlier_ejection: \"yes\": expected true or false",
          "f.yaml:5:69: upstreams.b.outlier_ejection.consecutive_5xx: \"1001\": expected a whole number from "
          "0 "
          "to 1000",
          "f.yaml:5:84: upstreams.b.outlier_ejection.latency: the key above is missing",
          "f.yaml:6:62: upstreams.c.outlier_ejection.interval: \"50ms\": expected 100ms or more",
          "f.yaml:6:90: upstreams.c.outlier_ejection.max_ejection_percent: \"0\": expected a whole number "
          "from "
          "1 to 100",
          HasSubstr("f.yaml:6:102: upstreams.c.outlier_ejection.latency: expected keys and values, found a "
                    "single value; accepted: above consecutive"),
          "f.yaml:7:95: upstreams.d.outlier_ejection: max_ejection_time of 30s: expected no less than "
          "base_ejection_time, 1m",
          "f.yaml:8:51: upstreams.e.outlier_ejection: nothing would be found: all that could be counts 0",
          HasSubstr("f.yaml:9:52: upstreams.f.outlier_ejection.consecutive_gateway_failure: unknown key; did "
                    "you mean consecutive_gateway_errors?"),
          HasSubstr("f.yaml:9:92: upstreams.f.outlier_ejection.jitter: \"2\": expected a unit"),
          HasSubstr("f.yaml:10:51: upstreams.g.outlier_ejection: found a list"),
          "f.yaml:11:81: upstreams.h.outlier_ejection.success_rate.stdev_factor: \"1.9.1\": expected a "
          "number "
          "from 0.001 to 10, such as 1.9",
          "f.yaml:11:103: upstreams.h.outlier_ejection.success_rate.minimum_hosts: \"1\": expected a whole "
          "number from 2 to 10000",
          "f.yaml:12:81: upstreams.i.outlier_ejection.success_rate.stdev_factor: \"10.001\": expected a "
          "number "
          "from 0.001 to 10, such as 1.9"));
}

TEST_F(File, MatchesAndActions) {
  const Settings settings = Good(R"(
listeners: [{address: 0.0.0.0:1, routes: r, trusted_proxies: 10.0.0.0/8}]
upstreams: {web: {endpoints: [10.0.0.1:80]}}
routes:
  r:
    - match: {host: ["a.example", "*.b.example"], path: /x, path_prefix: [/api/], path_regex: "/v([0-9]+)/.*",
              method: [GET, POST], headers: {X-A: "1", X-B: {present: false}}, query: {q: {regex: "[0-9]+"}},
              client: [10.0.0.0/8, "2001:db8::/32"], scheme: https}
      redirect: {to: "https://${host}/${1}${query}", status: 307}
    - {match: {path: /web}, upstream: web}
    - respond: {status: 503, body: "back soon\n", content_type: text/x-note}
)");
  const RouteMatch& match = settings.routes[0].matches[0];
  EXPECT_THAT(match.hosts, ElementsAre("a.example", "*.b.example"));
  EXPECT_THAT(match.paths, ElementsAre("/x"));
  EXPECT_THAT(match.path_prefixes, ElementsAre("/api/"));
  EXPECT_THAT(match.path_regexes, ElementsAre("/v([0-9]+)/.*"));
  EXPECT_THAT(match.methods, ElementsAre("GET", "POST"));
  ASSERT_EQ(match.headers.size(), 2u);
  EXPECT_EQ(match.headers[0].test, ValueCondition::Test::kExact);
  EXPECT_EQ(match.headers[1].test, ValueCondition::Test::kAbsent);
  EXPECT_EQ(match.query[0].test, ValueCondition::Test::kRegex);
  EXPECT_EQ(match.clients.size(), 2u);
  EXPECT_EQ(match.scheme, "https");
  const RouteSettings& redirect = settings.routes[0].routes[0];
  EXPECT_EQ(redirect.action, RouteSettings::Action::kRedirect);
  EXPECT_EQ(redirect.status, 307);
  EXPECT_TRUE(redirect.location.UsesCaptures());
  const RouteSettings& respond = settings.routes[0].routes[2];
  EXPECT_EQ(respond.action, RouteSettings::Action::kRespond);
  EXPECT_EQ(respond.status, 503);
  EXPECT_EQ(respond.body, "back soon\n");
  EXPECT_EQ(respond.content_type, "text/x-note");
  RouteRequest request;
  request.host = "x.b.example";
  request.path = "/api/1";
  EXPECT_EQ(settings.routes[0].table->Match(request).rule, 2u);
}

TEST_F(File, AllMistakesAreToldAtOnce) {
  EXPECT_THAT(
      Bad(R"(listners: []
timeouts: {connect: 5x, foo: 1}
listeners:
  - address: 127.0.0.1:99999
    routs: shop
  - address: 0.0.0.0:8080
    upstream: weeb
  - address: 0.0.0.0:8080
    protocol: https
    upstream: web
upstreams:
  web:
    ballance: least_conn
    endpoints: []
    health_check: {type: https}
  other:
    balance: maglev
    endpoints: [10.0.0.1, {adress: 1.2.3.4:5}, "nohost.invalid:80", {address: 1.2.3.4:5, weight: 0}, unix:a]
    timeouts: {connect: 5}
routes:
  shop:
    - match: {host: "*.shop.example", path_prefix: api, path_regex: "("}
    - match: {host: a.b}
      upstream: web
      redirect: {to: /}
    - match: {client: 10.0.0.1/8, headers: {a: {exact: x, prefix: y}}, query: text, host: {a: b}}
      respond: {status: 204, body: x}
    - redirect: {to: "shop.example", status: 200}
    - redirect: {to: "/${nobody}"}
    - redirect: {}
    - mirror: web
)"),
      ElementsAre(
          "f.yaml:1:1: listners: unknown key; did you mean listeners?",
          "f.yaml:2:21: timeouts.connect: \"5x\": expected a duration such as 500ms, 10s, 5m or 1h",
          HasSubstr("f.yaml:2:25: timeouts.foo: unknown key; accepted: client_header client_body"),
          "f.yaml:4:5: listeners[0]: expected one of upstream and routes: where requests go",
          HasSubstr("f.yaml:4:14: listeners[0].address: \"127.0.0.1:99999\": expected ADDRESS:PORT"),
          "f.yaml:5:5: listeners[0].routs: unknown key; did you mean routes?",
          "f.yaml:7:15: listeners[1].upstream: \"weeb\": expected the name of an upstream; did you mean web?",
          "f.yaml:8:14: listeners: http://0.0.0.0:8080 is given twice",
          "f.yaml:9:15: listeners[2].protocol: \"https\": not available yet; expected http or tcp",
          "f.yaml:13:5: upstreams.web.ballance: unknown key; did you mean balance?",
          "f.yaml:14:16: upstreams.web.endpoints: the list is empty: an upstream has at least one endpoint",
          "f.yaml:15:26: upstreams.web.health_check.type: \"https\": expected http or tcp; did you mean "
          "http?",
          HasSubstr("f.yaml:18:17: upstreams.other.endpoints[0]: \"10.0.0.1\": expected HOST:PORT"),
          "f.yaml:18:27: upstreams.other.endpoints[1]: the key address is missing",
          "f.yaml:18:28: upstreams.other.endpoints[1].adress: unknown key; did you mean address?",
          HasSubstr("f.yaml:18:48: upstreams.other: \"nohost.invalid:80\": the name cannot be resolved"),
          "f.yaml:18:98: upstreams.other.endpoints[3].weight: \"0\": expected a whole number from 1 to 1000",
          "f.yaml:18:102: upstreams.other.endpoints[4]: \"unix:a\": expected an absolute path behind unix:, "
          "such as "
          "unix:/run/app.sock, or @ and a name",
          "f.yaml:19:25: upstreams.other.timeouts.connect: \"5\": expected a unit: 5ms, 5s, 5m or 5h",
          "f.yaml:22:7: routes.shop[0]: expected one of upstream, split, redirect, respond",
          "f.yaml:22:52: routes.shop[0].match.path_prefix: expected a path that begins with /",
          HasSubstr("f.yaml:22:69: routes.shop[0].match.path_regex: bad regular expression: missing )"),
          "f.yaml:23:7: routes.shop[1]: expected only one of upstream, split, redirect, respond",
          "f.yaml:26:7: routes.shop[2]: a response of status 204 has no body",
          HasSubstr(
              "f.yaml:26:23: routes.shop[2].match.client: \"10.0.0.1/8\": has bits set behind its prefix"),
          "f.yaml:26:48: routes.shop[2].match.headers.a: expected one of exact, prefix, regex, present",
          HasSubstr("f.yaml:26:79: routes.shop[2].match.query: expected names and values"),
          HasSubstr(
              "f.yaml:26:91: routes.shop[2].match.host: expected a text, found keys and values; to YAML a "
              "value that begins with {"),
          "f.yaml:28:22: routes.shop[3].redirect.to: \"shop.example\": expected https://HOST/PATH, or /PATH",
          "f.yaml:28:46: routes.shop[3].redirect.status: \"200\": expected 301, 302, 303, 307 or 308",
          HasSubstr("f.yaml:29:22: routes.shop[4].redirect.to: \"${nobody}\": expected one of ${host}"),
          "f.yaml:30:17: routes.shop[5].redirect: the key to is missing",
          "f.yaml:31:7: routes.shop[6]: expected one of upstream, split, redirect, respond",
          "f.yaml:31:15: routes.shop[6].mirror: expected keys and values, found a single value; accepted: "
          "upstream subset subset_fallback share"));
}

TEST_F(File, WhatARouteChanges) {
  const Settings settings = Good(R"(
listeners: [{address: 0.0.0.0:1, routes: r}]
upstreams: {web: {endpoints: [10.0.0.1:80]}}
routes:
  r:
    - match: {path_prefix: /api}
      upstream: web
      rewrite: {path: "/v2${remainder}", host: internal.example:81}
      request_headers: {set: {X-Client: "${client}"}, append: {X-Path: "${path}"}, remove: [Cookie, X-Debug]}
      response_headers: {set: {Strict-Transport-Security: max-age=1}, remove: Server}
    - match: {path_regex: "/(a+)/.*"}
      upstream: web
      request_headers: {set: {X-Trace: "${request_id}"}}
      response_headers: {set: {X-Request-ID: "${request_id}", X-Served-By: "${endpoint}"}, append: {X-Group: "${1}"}}
    - upstream: web
)");
  const RouteSettings& route = settings.routes[0].routes[0];
  EXPECT_TRUE(route.captures);
  EXPECT_EQ(route.request.path.text(), "/v2${remainder}");
  EXPECT_EQ(route.request.host, "internal.example:81");
  EXPECT_THAT(route.request.headers.dropped, ElementsAre("X-Client", "Cookie", "X-Debug"));
  ASSERT_EQ(route.request.headers.added.size(), 2u);
  EXPECT_EQ(route.request.headers.added[1].name, "X-Path");
  EXPECT_THAT(route.response.dropped, ElementsAre("Strict-Transport-Security", "Server"));
  EXPECT_EQ(route.response_fields, "Strict-Transport-Security: max-age=1\r\n");
  EXPECT_FALSE(route.response_variables);
  const RouteSettings& varies = settings.routes[0].routes[1];
  EXPECT_TRUE(varies.response_variables);
  EXPECT_TRUE(varies.captures) << "for the response alone";
  EXPECT_EQ(varies.response_fields, "");
  ASSERT_EQ(varies.response.added.size(), 3u);
  EXPECT_EQ(varies.response.added[1].value.text(), "${endpoint}");
  EXPECT_TRUE(settings.routes[0].routes[2].request.empty());
  EXPECT_FALSE(settings.routes[0].routes[2].captures);
}

TEST_F(File, WhatARouteMayNotChange) {
  EXPECT_THAT(
      Bad(R"(listeners: [{address: 0.0.0.0:1, routes: r}]
upstreams: {web: {endpoints: [10.0.0.1:80]}}
routes:
  r:
    - upstream: web
      rewrite: {path: "v2?x", host: "a b"}
      request_headers:
        set: {Content-Length: "1", "X Y": z, X-A: "a\nb", X-B: "${endpoint}", x-forwarded-for: me}
        append: [X-C]
        remove: [Host, transfer-encoding]
      response_headers: {set: {X-Path: "${cookie}"}, delete: X}
    - {redirect: {to: /}, request_headers: {remove: X}}
)"),
      ElementsAre(
          "f.yaml:6:23: routes.r[0].rewrite.path: \"v2?x\": expected a path that begins with /",
          "f.yaml:6:37: routes.r[0].rewrite.host: \"a b\": expected HOST or HOST:PORT",
          "f.yaml:8:15: routes.r[0].request_headers.set.Content-Length: \"Content-Length\": Weir writes "
          "this header itself",
          "f.yaml:8:36: routes.r[0].request_headers.set.X: \"X...\": expected a header's name",
          "f.yaml:8:51: routes.r[0].request_headers.set.X-A: expected at most 1024 printable ASCII "
          "characters in a line",
          HasSubstr("f.yaml:8:64: routes.r[0].request_headers.set.X-B: \"${endpoint}\": expected one of "
                    "${host}"),
          "f.yaml:8:79: routes.r[0].request_headers.set.x-forwarded-for: \"x-forwarded-for\": Weir "
          "writes this header itself",
          HasSubstr("f.yaml:9:17: routes.r[0].request_headers.append: expected names and values"),
          "f.yaml:10:18: routes.r[0].request_headers.remove: \"Host\": Weir writes this header itself",
          "f.yaml:10:24: routes.r[0].request_headers.remove: \"transfer-encoding\": Weir writes this "
          "header itself",
          "f.yaml:11:40: routes.r[0].response_headers.set.X-Path: \"${cookie}\": expected one of ${host} "
          "${path} ${query} ${uri} ${scheme} ${method} ${client} ${remainder} ${request_id} ${0} to ${9} "
          "${endpoint}",
          HasSubstr("f.yaml:11:54: routes.r[0].response_headers.delete: unknown key"),
          "f.yaml:12:44: routes.r[1]: only a request that goes to an upstream can be changed"));
}

TEST_F(File, Mirrors) {
  const std::string head = kSmallest.substr(0, kSmallest.find("listeners")) +
                           "listeners: [{address: 0.0.0.0:1, routes: r}]\n"
                           "upstreams: {web: {endpoints: [10.0.0.1:80]}, copy: {endpoints: [10.0.0.2:80]}}\n";
  const std::string text = head +
                           "routes:\n  r:\n    - {upstream: web, mirror: {upstream: copy, share: 1/4}}\n"
                           "    - {match: {path: /all}, upstream: web, mirror: {upstream: copy}}\n";
  const Settings settings = Good(text);
  EXPECT_EQ(settings.routes[0].routes[0].mirror.upstream, 1u);
  EXPECT_EQ(settings.routes[0].routes[0].mirror.share.value, Share::kAll / 4);
  EXPECT_EQ(settings.routes[0].routes[1].mirror.share.value, Share::kAll);
  const std::string said = Check(text, {"check"}).out;
  EXPECT_THAT(said, HasSubstr("      mirror: {upstream: copy, share: 1/4}\n"));
  EXPECT_THAT(said, HasSubstr("#   copies to mirrors: 4 x 256 x (384 B + 768 B + 2 heads x "));
  EXPECT_THAT(said, HasSubstr("#   connections to mirrors: 4 x 256 "));
  EXPECT_EQ(Good(said).routes[0].routes[0].mirror.share.value, Share::kAll / 4);
  EXPECT_THAT(
      Bad(head + "routes:\n  r:\n    - {upstream: web, mirror: {upstream: cop, share: 120%}}\n"
                 "    - {match: {path: /a}, upstream: web, mirror: {share: 1%}}\n"
                 "    - {match: {path: /b}, respond: {}, mirror: {upstream: copy}}\n"),
      ElementsAre(HasSubstr("mirror.upstream: \"cop\": expected the name of an upstream; did you mean copy?"),
                  HasSubstr("mirror.share: \"120%\": expected a share, such as 10%, 0.5% or 1/100"),
                  HasSubstr("mirror: the key upstream is missing"),
                  HasSubstr("only a request that goes to an upstream can be mirrored")));
}

TEST_F(File, AuthRequests) {
  const std::string head = kSmallest.substr(0, kSmallest.find("listeners")) +
                           "listeners: [{address: 0.0.0.0:1, routes: r}]\n"
                           "upstreams:\n  web: {endpoints: [10.0.0.1:80]}\n"
                           "  sso: {endpoints: [10.0.0.2:80], timeouts: {response: 3s}, retries: 1}\n";
  const std::string text =
      head +
      "routes:\n  r:\n    - upstream: web\n      timeouts: {request: 9s}\n"
      "      auth_request: {upstream: sso, path: \"/auth?from=${client}\", copy: [X-User, X-Groups]}\n"
      "      response_headers: {remove: [Server, Location], set: {X-Frame-Options: DENY, Cache-Control: "
      "no-store, X-Id: \"${request_id}\"}}\n"
      "    - match: {path: /s}\n      split: [{upstream: web}, {upstream: sso}]\n"
      "      auth_request: {upstream: sso, path: \"${uri}\"}\n";
  const Settings settings = Good(text);
  const AuthRequestSettings& auth = *settings.routes[0].routes[0].auth_request;
  EXPECT_EQ(auth.path.text(), "/auth?from=${client}");
  EXPECT_THAT(auth.copy, ElementsAre("X-User", "X-Groups"));
  EXPECT_EQ(auth.leg.upstream, 1u);
  EXPECT_EQ(auth.leg.retries, 1u);
  EXPECT_EQ(auth.leg.timeouts.response_ms, 3'000u);
  EXPECT_EQ(auth.leg.timeouts.request_ms, 9'000u) << "the whole request's time is the route's";
  EXPECT_EQ(auth.leg.response_fields, "X-Frame-Options: DENY\r\n");
  EXPECT_THAT(auth.leg.response.dropped, ElementsAre("Server", "X-Frame-Options"))
      << "but where to log in, how, and what a body says of itself";
  EXPECT_EQ(settings.routes[0].routes[1].split->sides[1].auth_request->path.text(), "${uri}");
  const std::string said = Check(text, {"check"}).out;
  EXPECT_THAT(said,
              HasSubstr("      auth_request: {upstream: sso, path: \"/auth?from=${client}\", copy: [X-User, "
                        "X-Groups]}\n"));
  EXPECT_EQ(Good(said).routes[0].routes[0].auth_request->leg.timeouts.request_ms, 9'000u);
  EXPECT_THAT(
      Bad(head +
          "routes:\n  r:\n    - {upstream: web, auth_request: {upstream: ssl, path: auth}}\n"
          "    - {match: {path: /a}, upstream: web, auth_request: {copy: [Host, X-A]}}\n"
          "    - {match: {path: /b}, respond: {}, auth_request: {upstream: sso, path: /, copy: X-A}}\n"
          "    - match: {path: /c}\n      upstream: web\n"
          "      request_headers: {set: {x-user: a}}\n"
          "      auth_request: {upstream: sso, path: \"/${1}\", copy: X-User}\n"
          "    - {match: {path: /d}, upstream: web, auth_request: {upstream: sso, path: \"/${x}\"}}\n"),
      ElementsAre(
          HasSubstr(
              "[0].auth_request.upstream: \"ssl\": expected the name of an upstream; did you mean sso?"),
          HasSubstr("[0].auth_request.path: \"auth\": expected a path that begins with /"),
          HasSubstr("[1].auth_request: the key upstream is missing"),
          HasSubstr("[1].auth_request: the key path is missing"),
          HasSubstr("[1].auth_request.copy: \"Host\": Weir writes this header itself"),
          HasSubstr("[2]: auth_request.copy: only a request that goes to an upstream can be changed"),
          HasSubstr("[3]: ${0} to ${9} want a path_regex in match"),
          HasSubstr("[3]: auth_request.copy: X-User is also set by request_headers: only one can say it"),
          HasSubstr("[4].auth_request.path: \"${x}\": expected one of")));
}

// What clients were promised comes first; what is left is for copies.
TEST_F(File, MirrorsGetWhatIsLeftOfTheOpenFiles) {
  const std::string without =
      "listeners: [{address: 0.0.0.0:1, routes: r}]\n"
      "upstreams: {web: {endpoints: [10.0.0.1:80]}, copy: {endpoints: [10.0.0.2:80]}}\n"
      "routes: {r: [{upstream: web";
  const std::string with = without + ", mirror: {upstream: copy}}]}\n";
  const Settings settings = Good(with);
  EXPECT_EQ(settings.mirrors_per_shard, 256u);
  const Settings none = Check(without + "}]}\n").settings;  // with a warning
  EXPECT_EQ(none.max_connections, settings.max_connections + 4 * 256 / 2);
  EXPECT_LE(ComputeBudget(settings).file_count, settings.fd_limit);
  for (const Settings* each : {&settings, &none})
    EXPECT_GE(ComputeBudget(*each).file_count + 4 * 32 + kMostCheckConnections, each->fd_limit - 1)
        << "32 listeners may come, and checks";
  const auto most = [&](uint32_t connections) {
    return Check(with, {"--max_connections=" + std::to_string(connections)});
  };
  const uint32_t all = none.max_connections + (4 * 32 + kMostCheckConnections) / 2;
  EXPECT_EQ(most(all - 40).settings.mirrors_per_shard, 20u);
  EXPECT_THAT(most(all).err,
              HasSubstr("--max_connections: " + std::to_string(all) +
                        " leaves none of the 20000 open files to mirrors: raise the limit (ulimit -Hn, "
                        "LimitNOFILE=), or choose less"));
}

TEST_F(File, HeadersThatRoutesAddAreCounted) {
  const auto with = [](int count) {
    std::string headers;
    for (int i = 0; i < count; ++i) headers += "X-" + std::to_string(i) + ": \"${uri}\", ";
    return "listeners: [{address: 0.0.0.0:1, routes: r}]\nupstreams: {web: {endpoints: [10.0.0.1:80]}}\n"
           "limits: {max_header_bytes: 4KiB, max_target_bytes: 1KiB}\n"
           "routes:\n  r: [{upstream: web, response_headers: {append: {" +
           headers + "}}}]\n";
  };
  EXPECT_THAT(Bad(with(65)),
              ElementsAre("f.yaml:5:50: routes.r[0].response_headers.append: more than 64 headers"));
  Good(with(64));
  // 4 KiB, 1 KiB of Weir's own, three headers of 1 KiB; in sizes that the arena has.
  EXPECT_THAT(Check(with(3), {"check"}).out, HasSubstr(" + 4 heads x 16 KiB"));
  EXPECT_THAT(Check(with(0) + "  s: [{upstream: web}]\n", {"check"}).out, HasSubstr(" + 4 heads x 8 KiB"));
}

TEST_F(File, UnixEndpoints) {
  const std::string text = R"(listeners: [{address: 0.0.0.0:1, upstream: web}]
upstreams:
  web:
    endpoints: [unix:/run/a.sock, {address: "unix:/run/b=1,{c}#.sock", weight: 2}, "unix:@d", 10.0.0.1:80]
)";
  const Settings settings = Good(text);
  const std::vector<EndpointSettings>& endpoints = settings.upstreams[0].endpoints;
  ASSERT_EQ(endpoints.size(), 4u);
  EXPECT_EQ(endpoints[0].address.ToString(), "unix:/run/a.sock");
  EXPECT_EQ(endpoints[1].address.ToString(), "unix:/run/b=1,{c}#.sock");
  EXPECT_EQ(endpoints[1].text, "unix:/run/b=1,{c}#.sock");
  EXPECT_EQ(endpoints[1].weight, 2u);
  EXPECT_EQ(endpoints[2].address.ToString(), "unix:@d");
  EXPECT_EQ(endpoints[3].address.port, 80);
  // What check prints reads back.
  const CommandLine check = Check(text, {"check"});
  EXPECT_THAT(check.out, HasSubstr("      - {address: \"unix:/run/b=1,{c}#.sock\", weight: 2}\n"));
  EXPECT_EQ(Good(check.out).upstreams[0].endpoints[1].address, endpoints[1].address);

  EXPECT_THAT(
      Bad(R"(listeners: [{address: 0.0.0.0:1, upstream: web}]
upstreams: {web: {endpoints: [unix:/a, {address: unix:/a}, {address: unix:/b/}, {address: "unix:/a b", weight: 2}]}}
)"),
      ElementsAre("f.yaml:2:50: upstreams.web: unix:/a is given twice; for a larger share give it a weight",
                  "f.yaml:2:70: upstreams.web.endpoints[2]: \"unix:/b/\": expected a file's path without //, "
                  "/./, /../ and without a slash at its end behind unix:",
                  "f.yaml:2:91: upstreams.web.endpoints[3]: \"unix:/a b\": expected printable ASCII "
                  "characters without spaces, quotes and backslashes behind unix:"));
}

TEST_F(File, AUnixSocketForAdmin) {
  const Settings settings = Good("admin: unix:/run/weir.sock\n" + kSmallest);
  EXPECT_TRUE(settings.has_admin);
  EXPECT_EQ(settings.admin.ToString(), "unix:/run/weir.sock");
  const CommandLine check = Check("admin: \"unix:/run/weir{1}.sock\"\n" + kSmallest, {"check"});
  EXPECT_THAT(check.out, HasSubstr("admin: \"unix:/run/weir{1}.sock\" "));
  EXPECT_EQ(Good(check.out).admin.ToString(), "unix:/run/weir{1}.sock");
  EXPECT_EQ(Good(kSmallest, {"--admin=unix:/a"}).admin.ToString(), "unix:/a");
  EXPECT_THAT(
      Bad("admin: unix:@weir\n" + kSmallest),
      ElementsAre("f.yaml:1:8: admin: \"unix:@weir\": expected unix:/PATH: an abstract name has no mode, and "
                  "everybody may connect to it"));
  EXPECT_THAT(Bad("admin: unix:/a\nlisteners: [{address: 0.0.0.0:1, upstream: web}]\n"
                  "upstreams: {web: {endpoints: [unix:/a]}}\n"),
              ElementsAre("f.yaml:3:31: upstreams.web: unix:/a is an address that Weir itself listens on"));
}

TEST_F(File, WhoMayCome) {
  const std::string list = path_ + ".networks";
  std::ofstream(list) << "# an office\n198.51.100.0/24  # all of it\n\n  2001:db8::1\r\n";
  const Settings settings = Good(R"(
listeners:
  - {address: 0.0.0.0:1, routes: r, deny: [203.0.113.0/24, "file:)" +
                                 list + R"("], allow: 203.0.113.7}
upstreams: {web: {endpoints: [10.0.0.1:80]}}
routes: {r: [{upstream: web, allow: [10.0.0.0/8, "::1"], deny: 10.1.0.0/16}]}
)");
  const auto allows = [](const AccessSettings& access, const char* address) {
    return access.Allows(*SocketAddress::Parse(address));
  };
  const AccessSettings& listener = settings.listeners[0].access;
  EXPECT_TRUE(allows(listener, "203.0.113.7:1"));
  EXPECT_FALSE(allows(listener, "203.0.113.8:1"));
  EXPECT_FALSE(allows(listener, "198.51.100.9:1"));
  EXPECT_FALSE(allows(listener, "[2001:db8::1]:1"));
  EXPECT_FALSE(allows(listener, "192.0.2.1:1")) << "somebody is named: nobody else comes";
  const AccessSettings& route = settings.routes[0].routes[0].access;
  EXPECT_TRUE(allows(route, "10.2.0.1:1"));
  EXPECT_TRUE(allows(route, "[::1]:1"));
  EXPECT_FALSE(allows(route, "10.1.0.1:1"));
  EXPECT_TRUE(allows(settings.listeners[0].direct.access, "10.1.0.1:1"));
  // A list that was to be filled lets nobody in.
  std::ofstream(list) << "# nothing\n";
  EXPECT_THAT(Bad("listeners: [{address: 0.0.0.0:1, upstream: web, allow: \"file:" + list +
                  "\"}]\nupstreams: {web: {endpoints: [10.0.0.1:80]}}\n"),
              ElementsAre(HasSubstr("has no networks")));
  std::ofstream(list) << "10.0.0.1\n10.0.0.1/8\nx\n";
  const std::vector<std::string> said =
      Bad("listeners: [{address: 0.0.0.0:1, upstream: web, deny: [\"file:" + list +
          "\", \"file:/nobody\", x, 1.2.3.4/33]}]\nupstreams: {web: {endpoints: "
          "[10.0.0.1:80]}}\n");
  std::filesystem::remove(list);
  ASSERT_EQ(said.size(), 5u);
  EXPECT_THAT(said[0], HasSubstr("listeners[0].deny: \"/nobody\": cannot be read: No such file"));
  EXPECT_THAT(said[1], HasSubstr("listeners[0].deny: \"x\": expected"));
  EXPECT_THAT(said[2], HasSubstr("listeners[0].deny: \"1.2.3.4/33\": expected"));
  EXPECT_THAT(said[3], HasSubstr(".networks:2:1: listeners[0].deny: \"10.0.0.1/8\": has bits set"));
  EXPECT_THAT(said[4], HasSubstr(".networks:3:1: listeners[0].deny: \"x\": expected"));
}

TEST_F(File, WhatCouldNotWork) {
  const auto route = [&](const std::string& text) {
    return Bad(
        "listeners: [{address: 0.0.0.0:1, routes: r}]\nupstreams: {web: {endpoints: [10.0.0.1:80]}}\nroutes: "
        "{r: "
        "[" +
        text + "]}\n");
  };
  for (const auto& [text, said] : std::initializer_list<std::pair<std::string, std::string>>{
           {"{match: {path_prefix: /go/}, redirect: {to: \"https://a.example${remainder}\"}}",
            "behind the host comes"},
           {"{match: {path_regex: \"/(.*)\"}, redirect: {to: \"https://${1}/\"}}", "behind the host comes"},
           {"{redirect: {to: \"//a.example\"}}", "expected https://HOST/PATH"},
           {"{redirect: {to: \"/${1}\"}}", "want a path_regex"},
           {"{upstream: web, response_headers: {set: {X-A: \"${1}\"}}}", "want a path_regex"},
           {"{upstream: web, response_headers: {set: {X-A: \"${remainder}\"}}}", "wants a path_prefix"},
           {"{redirect: {to: \"https://${request_id}/\"}}", "behind the host comes"},
           {"{redirect: {to: \"/${endpoint}\"}}", "expected one of ${host}"},
           {"{upstream: web, rewrite: {path: \"/v2${remainder}\"}}", "wants a path_prefix"},
           {"{upstream: web, rewrite: {path: \"/v2${uri}\"}}", "the query stays by itself"},
           {"{upstream: web, rewrite: {path: /a//b}}", "is not in its normal form"},
           {"{upstream: web, rewrite: {host: \"a:b\"}}", "expected HOST or HOST:PORT"},
           {"{upstream: web, rewrite: {host: \"[::1]x\"}}", "expected HOST or HOST:PORT"},
           {"{upstream: web, rewrite: {host: \"a:70000\"}}", "expected HOST or HOST:PORT"},
           {"{upstream: web, request_headers: {set: {X-A: a, x-a: b}}}", "set or removed already"},
           {"{upstream: web, request_headers: {set: {Max-Forwards: \"1\"}}}", "writes this header itself"},
           {"{upstream: web, response_headers: {set: {Date: x}}}", "writes this header itself"},
           {"{respond: {body: x}, response_headers: {set: {Content-Type: x}}}",
            "is said by redirect or respond"},
           {"{upstream: web, match: {headers: {}}}", "nothing is asked for"},
       }) {
    EXPECT_THAT(route(text), ElementsAre(HasSubstr(said))) << text;
  }
  for (const char* text :
       {"{redirect: {to: \"https://${host}${uri}\"}}", "{redirect: {to: \"https://${host}:8443${path}\"}}",
        "{redirect: {to: \"${path}/\"}}", "{upstream: web, rewrite: {host: \"[::1]:80\"}}",
        "{upstream: web, response_headers: {set: {X-Request-ID: x}}}"}) {
    EXPECT_THAT(
        Check(std::string("listeners: [{address: 0.0.0.0:1, routes: r}]\nupstreams: {web: {endpoints: "
                          "[10.0.0.1:80]}}\nroutes: {r: [") +
              text + "]}\n")
            .err,
        testing::AnyOf("", HasSubstr("nobody sends to this upstream")))
        << text;
  }
  EXPECT_THAT(Bad(kSmallest + "shards: 8\ncpus: [0]\n"),
              ElementsAre("f.yaml:6:9: shards: 8 are more than the 1 of --cpus"));
  EXPECT_THAT(Bad(kSmallest, {"--balance=least_conn"}),
              ElementsAre("weir: --balance: the file of --config says it of each upstream"));
  EXPECT_THAT(
      Bad("listeners: [{address: 0.0.0.0:1, upstream: web, protocol: tcp, trusted_proxies: 10.0.0.1}]\n"
          "upstreams: {web: {endpoints: [10.0.0.1:80]}}\n"),
      ElementsAre(HasSubstr("trusted_proxies: a tcp connection")));
}

TEST_F(File, SplitsHaveSidesWithTimesOfTheirOwn) {
  const Settings settings = Good(R"(
listeners: [{address: 0.0.0.0:1, routes: r}]
upstreams:
  web: {endpoints: [10.0.0.1:80], timeouts: {connect: 1s, response: 5s}, retries: 1}
  canary: {endpoints: [10.0.0.2:80], timeouts: {connect: 2s}, retries: 0}
routes:
  r:
    - match: {path: /a}
      split: [{upstream: web, weight: 95}, {upstream: canary, weight: 5}]
      sticky: {cookie: side, max_age: 1h, secure: true}
      request_headers: {set: {X-A: b}}
      response_headers: {set: {X-C: d}}
      timeouts: {response: 7s}
    - {match: {path: /b}, split: [{upstream: canary, weight: 0}, {upstream: web}], retries: 4, sticky: {hash_on: "header:X-User"}}
    - {split: [{upstream: canary}]}
)");
  const std::vector<RouteSettings>& routes = settings.routes[0].routes;
  ASSERT_NE(routes[0].split, nullptr);
  const SplitSettings& cookie = *routes[0].split;
  EXPECT_EQ(cookie.split.sticky, Split::Sticky::kCookie);
  EXPECT_EQ(cookie.max_age_s, 3600u);
  ASSERT_EQ(cookie.sides.size(), 2u);
  EXPECT_EQ(cookie.split.sides[0].weight, 95u);
  EXPECT_EQ(cookie.split.sides[1].weight, 5u);
  EXPECT_EQ(cookie.sides[0].upstream, 0u);
  EXPECT_EQ(cookie.sides[1].upstream, 1u);
  EXPECT_EQ(cookie.sides[0].retries, 1u);
  EXPECT_EQ(cookie.sides[1].retries, 0u);
  EXPECT_EQ(cookie.sides[0].timeouts.connect_ms, 1'000u);
  EXPECT_EQ(cookie.sides[1].timeouts.connect_ms, 2'000u);
  for (const RouteSettings& side : cookie.sides) {
    EXPECT_EQ(side.timeouts.response_ms, 7'000u);
    EXPECT_EQ(side.request.headers.added.size(), 1u);
    EXPECT_EQ(side.response_fields, "X-C: d\r\n");
    EXPECT_EQ(side.split, nullptr);
    EXPECT_EQ(side.where, routes[0].where);
  }
  EXPECT_EQ(cookie.sides[1].set_cookie, "Set-Cookie: side=" + SideId("canary") +
                                            "; Path=/; Max-Age=3600; Secure; HttpOnly; SameSite=Lax\r\n");
  const SplitSettings& hash = *routes[1].split;
  EXPECT_EQ(hash.split.sticky, Split::Sticky::kHash);
  EXPECT_EQ(hash.split.key.ToString(), "header:X-User");
  EXPECT_EQ(hash.split.sides[0].weight, 0u);
  EXPECT_EQ(hash.split.sides[1].weight, 1u);
  EXPECT_EQ(hash.sides[0].retries, 4u);
  EXPECT_EQ(hash.sides[0].set_cookie, "");
  EXPECT_EQ(routes[2].split->split.sticky, Split::Sticky::kNo);
}

TEST_F(File, HeadersOfAListener) {
  const std::string text = R"(
listeners:
  - {address: 0.0.0.0:1, routes: r, response_headers: {set: {X-All: "1"}, append: {Cache-Control: no-store}}}
  - {address: 0.0.0.0:2, routes: r}
  - {address: 0.0.0.0:3, upstream: web, request_headers: {set: {X-Edge: a}, remove: X-B}, response_headers: {remove: Server}}
upstreams: {web: {endpoints: [10.0.0.1:80]}}
routes:
  r:
    - {match: {path: /a}, upstream: web, response_headers: {set: {X-Own: "2"}}}
    - {match: {path: /b}, upstream: web, response_headers: {remove: X-All},
       basic_auth: {realm: x, users: {a: "$2b$04$WUHhXETkX0fnYkrqZU3ta.zwoU3NOuzYB7by401ZrGRFKs239bMTy"}}}
    - {respond: {status: 200}}
)";
  const Settings settings = Good(text);
  ASSERT_EQ(settings.routes.size(), 2u);
  EXPECT_EQ(settings.listeners[1].routes, 0u) << "the others have the routes as they are";
  const ListenerSettings& listener = settings.listeners[0];
  ASSERT_EQ(listener.routes, 1u);
  EXPECT_EQ(listener.direct.error_fields, "X-All: 1\r\n");
  const RouteList& list = settings.routes[1];
  EXPECT_TRUE(list.of_listener);
  EXPECT_EQ(list.table, settings.routes[0].table);
  EXPECT_EQ(list.routes[0].response_fields, "X-All: 1\r\nCache-Control: no-store\r\nX-Own: 2\r\n");
  EXPECT_EQ(list.routes[0].error_fields, "X-All: 1\r\nX-Own: 2\r\n");
  EXPECT_THAT(list.routes[0].response.dropped, ElementsAre("X-All", "X-Own"));
  EXPECT_EQ(list.routes[1].response_fields, "Cache-Control: no-store\r\n");
  EXPECT_THAT(list.routes[1].unauthorized_fields, testing::StartsWith("WWW-Authenticate: "));
  EXPECT_THAT(list.routes[2].response_fields, "X-All: 1\r\nCache-Control: no-store\r\n");
  EXPECT_EQ(settings.routes[0].routes[0].response_fields, "X-Own: 2\r\n");
  EXPECT_THAT(settings.listeners[2].direct.request.headers.dropped, ElementsAre("X-Edge", "X-B"));
  EXPECT_THAT(settings.listeners[2].direct.response.dropped, ElementsAre("Server"));
  // What check prints reads back, with the listener's beside the listener alone.
  std::string said = Check(text, {"check"}).out;
  EXPECT_THAT(said,
              HasSubstr("    response_headers: {set: {X-All: 1}, append: {Cache-Control: no-store}}\n"));
  EXPECT_THAT(said, HasSubstr("      response_headers: {set: {X-Own: 2}}\n"));
  EXPECT_THAT(said, HasSubstr("    request_headers: {set: {X-Edge: a}, remove: X-B}\n"));
  // All but the hash, which it does not print.
  const size_t hidden = said.find("\"***\"");
  ASSERT_NE(hidden, std::string::npos);
  said.replace(hidden, 5, "$2b$04$WUHhXETkX0fnYkrqZU3ta.zwoU3NOuzYB7by401ZrGRFKs239bMTy");
  const Settings again = Good(said);
  EXPECT_EQ(again.routes.size(), 2u);
  EXPECT_EQ(again.routes[1].routes[0].response_fields, list.routes[0].response_fields);
}

TEST_F(File, HeadersOfAListenerBesideAuthRequest) {
  const Settings settings = Good(R"(
listeners:
  - address: 0.0.0.0:1
    routes: r
    request_headers: {set: {X-User: nobody, X-Edge: "1"}}
    response_headers: {set: {X-All: "1"}}
upstreams: {web: {endpoints: [10.0.0.1:80]}}
routes:
  r:
    - {upstream: web, auth_request: {upstream: web, path: /auth, copy: x-user}}
)");
  const RouteSettings& route = settings.routes[1].routes[0];
  ASSERT_EQ(route.request.headers.added.size(), 1u) << "who it is, the asked server alone says";
  EXPECT_EQ(route.request.headers.added[0].name, "X-Edge");
  EXPECT_EQ(route.auth_request->leg.error_fields, "X-All: 1\r\n");
  EXPECT_EQ(route.auth_request->leg.response_fields, "X-All: 1\r\n");
  EXPECT_THAT(route.auth_request->leg.response.dropped, ElementsAre("X-All"));
}

TEST_F(File, HeadersThatNoListenerCanHave) {
  const auto bad = [this](const std::string& listener, const std::string& route = "upstream: web") {
    return Bad("listeners: [{address: 0.0.0.0:1, " + listener +
               "}]\nupstreams: {web: {endpoints: [10.0.0.1:80]}}\nroutes: {r: [{" + route + "}]}\n");
  };
  EXPECT_THAT(bad("upstream: web, protocol: tcp, response_headers: {set: {X-A: b}}"),
              testing::Contains(HasSubstr("response_headers: a tcp connection has no headers")));
  EXPECT_THAT(bad("upstream: web, response_headers: {set: {X-A: \"${host}\"}}"),
              testing::Contains(HasSubstr("X-A: only with routes can a value have variables")));
  EXPECT_THAT(bad("routes: r, request_headers: {set: {X-A: \"${1}\"}}"),
              ElementsAre(HasSubstr("X-A: ${0} to ${9} and ${remainder} are what a route matched")));
  EXPECT_THAT(bad("routes: r, response_headers: {set: {content-type: a}}"),
              ElementsAre(HasSubstr("Content-Type is each answer's own: expected at a route")));
  EXPECT_THAT(bad("routes: r, response_headers: {set: {Via: a}}"),
              ElementsAre(HasSubstr("\"Via\": Weir writes this header itself")));
  std::string ours;
  std::string theirs;
  for (int i = 0; i < 40; ++i) {
    absl::StrAppend(&ours, i > 0 ? ", " : "", "X-A", i, ": b");
    absl::StrAppend(&theirs, i > 0 ? ", " : "", "X-B", i, ": b");
  }
  EXPECT_THAT(bad("routes: r, response_headers: {set: {" + ours + "}}",
                  "upstream: web, response_headers: {set: {" + theirs + "}}"),
              ElementsAre(HasSubstr("with those of the route at f.yaml:3:14: more than 64 headers")));
}

// Each of 64 listeners with 10,000 routes of its own would be a gigabyte.
TEST_F(File, ListenersThatAskForTheSameOfTheSameRoutesShareThem) {
  const Settings settings = Good(R"(
listeners:
  - {address: 0.0.0.0:1, routes: r, response_headers: {set: {X-A: b}}}
  - {address: 0.0.0.0:2, routes: r, response_headers: {set: {X-A: b}}}
  - {address: 0.0.0.0:3, routes: r, response_headers: {set: {X-A: c}}}
  - {address: 0.0.0.0:4, routes: r, response_headers: {append: {X-A: b}}}
  - {address: 0.0.0.0:5, routes: s, response_headers: {set: {X-A: b}}}
  - {address: 0.0.0.0:6, routes: r, request_headers: {set: {X-A: b}}}
  - {address: 0.0.0.0:7, routes: r}
upstreams: {web: {endpoints: [10.0.0.1:80]}}
routes: {r: [{upstream: web}], s: [{upstream: web}]}
)");
  std::vector<uint32_t> lists;
  for (const ListenerSettings& listener : settings.listeners) lists.push_back(listener.routes);
  EXPECT_THAT(lists, ElementsAre(2, 2, 3, 4, 5, 6, 0));
}

TEST_F(File, OneMistakeIsToldOnce) {
  const std::string rest = "upstreams: {web: {endpoints: [10.0.0.1:80]}}\n";
  std::string much;
  for (int i = 0; i < 8; ++i)
    absl::StrAppend(&much, i > 0 ? ", " : "", "X-A", i, ": ", std::string(1000, 'b'));
  const std::string headers = "response_headers: {set: {" + much + "}}";
  EXPECT_THAT(Bad("listeners: [{address: 0.0.0.0:1, routes: r, " + headers + "}]\n" + rest +
                  "routes: {r: [{upstream: web}]}\n"),
              ElementsAre(HasSubstr("listeners[0].response_headers: more than 7168 bytes")));
  EXPECT_THAT(Bad("listeners: [{address: 0.0.0.0:1, routes: r, response_headers: {set: {X-B: c}}}]\n" + rest +
                  "routes: {r: [{upstream: web, " + headers + "}]}\n"),
              ElementsAre(HasSubstr("routes.r[0].response_headers: more than 7168 bytes")));
  EXPECT_THAT(Bad("listeners: [{address: 0.0.0.0:1, routes: r, response_headers: {set: {X-B: " +
                  std::string(1000, 'b') + "}}}]\n" + rest +
                  "routes: {r: [{upstream: web, response_headers: {set: {" +
                  much.substr(0, much.rfind(", ")) + "}}}]}\n"),
              ElementsAre(HasSubstr(
                  "listeners[0]: with those of the route at f.yaml:3:14: more than 7168 bytes of headers")));
  EXPECT_THAT(Bad("listeners: [{address: 0.0.0.0:1, routes: r}]\n" + rest +
                  "routes: {r: [{upstream: web, basic_auth: {alice: x}}]}\n"),
              ElementsAre(HasSubstr("basic_auth.alice: unknown key")));
}

// Nobody wants a password in a log because a space was missing.
TEST_F(File, MistakesWithSecretsAreToldWithoutThem) {
  const std::string hash = "$2b$04$WUHhXETkX0fnYkrqZU3ta.zwoU3NOuzYB7by401ZrGRFKs239bMTy";
  const auto bad = [this](const std::string& route) {
    const std::vector<std::string> said =
        Bad("listeners: [{address: 0.0.0.0:1, routes: r}]\nupstreams: {web: {endpoints: [10.0.0.1:80]}}\n"
            "routes: {r: [{upstream: web, " +
            route + "}]}\n");
    for (const std::string& line : said) {
      EXPECT_EQ(line.find("WUHh"), std::string::npos) << line;
      EXPECT_EQ(line.find("hunter2"), std::string::npos) << line;
    }
    return said;
  };
  EXPECT_THAT(bad("request_headers: {set: {Authorization:Bearer hunter2}}"),
              ElementsAre(HasSubstr("request_headers.set.Authorization: \"Authorization...\": a space is "
                                    "missing behind the colon")));
  EXPECT_THAT(bad("request_headers: {remove: [Authorization:Basic-hunter2]}"),
              ElementsAre(HasSubstr("request_headers.remove: \"Authorization...\": a space is missing")));
  EXPECT_THAT(bad("request_headers: {set: {Authorization=hunter2: a}}"),
              ElementsAre(HasSubstr("set.Authorization: \"Authorization...\": expected a header's name")));
  EXPECT_THAT(bad("match: {headers: {X-Key:hunter2}}"),
              testing::Contains(HasSubstr("match.headers.X-Key: ")));
  EXPECT_THAT(bad("basic_auth: {users:hunter2}"),
              ElementsAre(HasSubstr(
                  "basic_auth.users: unknown key; a space is missing behind the colon: users: ...")));
  EXPECT_THAT(bad("basic_auth: {users: {\"" + hash + "\": alice}}"),
              ElementsAre(HasSubstr("expected a name before the hash, found a hash in its place")));
  EXPECT_THAT(bad("basic_auth: {users_file: \"" + hash + "\"}"),
              ElementsAre(HasSubstr("users_file: expected a file, found the hash of a password")));
  EXPECT_THAT(bad("basic_auth: {users_file: \"alice:" + hash + "\"}"),
              ElementsAre(HasSubstr("users_file: expected a file, found the hash of a password")));
}

TEST_F(File, AnotherAdminTokenIsAChange) {
  const std::string name = testing::TempDir() + "/changed." + std::to_string(getpid()) + ".token";
  const auto parts = [&](const char* token) {
    std::ofstream(name) << token;
    return Good("listeners: [{address: 0.0.0.0:1, upstream: web}]\nadmin_token_file: " + name +
                "\nupstreams: {web: {endpoints: [10.0.0.1:80]}}\n")
        .parts;
  };
  const auto before = parts("0123456789abcdef");
  EXPECT_EQ(parts("0123456789abcdef"), before);
  EXPECT_NE(parts("0123456789abcdeg").at("admin token"), before.at("admin token"));
  std::filesystem::remove(name);
}

TEST_F(File, SchemesAreOneOfTwo) {
  const std::string file =
      "listeners: [{address: 0.0.0.0:1, routes: r, trusted_proxies: 10.0.0.0/8}]\nupstreams: {web: "
      "{endpoints: [10.0.0.1:80]}}\n"
      "routes:\n  r:\n    - {match: {scheme: SCHEME}, upstream: web}\n";
  const auto with = [&file](const std::string& scheme) {
    std::string text = file;
    return text.replace(text.find("SCHEME"), 6, scheme);
  };
  for (const char* scheme : {"http", "https"}) {
    const CommandLine check = Check(with(scheme), {"check"});
    EXPECT_EQ(Good(check.out).routes[0].matches[0].scheme, scheme);
    EXPECT_THAT(check.out, HasSubstr(absl::StrCat("- match: {scheme: ", scheme, "}  # f.yaml:5:7\n")));
  }
  EXPECT_THAT(Bad(with("HTTPS")),
              ElementsAre("f.yaml:5:24: routes.r[0].match.scheme: \"HTTPS\": expected http or https"));
  EXPECT_THAT(
      Bad(with("[http, https]")),
      ElementsAre(HasSubstr("f.yaml:5:24: routes.r[0].match.scheme: found a list: expected http or https")));
}

TEST_F(File, SplitsThatCouldNotWork) {
  const auto route = [&](const std::string& text) {
    return Bad(
        "listeners: [{address: 0.0.0.0:1, routes: r}]\nupstreams: {web: {endpoints: [10.0.0.1:80]}, canary: "
        "{endpoints: [10.0.0.2:80]}}\nroutes:\n  r:\n    - {upstream: canary, match: {path: /x}}\n    - "
        "{upstream: "
        "web, match: {path: /y}}\n    - {" +
        text + "}\n");
  };
  const std::string split = "split: [{upstream: web}], ";
  std::string many;
  for (int i = 0; i < 33; ++i) many += "{}, ";
  for (const auto& [text, said] : std::initializer_list<std::pair<std::string, std::string>>{
           {"split: web", "routes.r[2].split: expected a list, such as"},
           {"split: []", "routes.r[2].split: the list is empty"},
           {"split: [" + many + "]", "routes.r[2].split: more than 32 sides"},
           {"split: [{upstream: web, weight: 0}]", "routes.r[2].split: no side has weight"},
           {"split: [{upstream: web}, {upstream: web}]",
            "routes.r[2].split[1]: given twice; for a larger share"},
           {"split: [{upstream: wep}]",
            "routes.r[2].split[0].upstream: \"wep\": expected the name of an upstream; did you mean web?"},
           {"split: [{upstream: web, weight: 1000001}]",
            "split[0].weight: \"1000001\": expected a whole number from 0 to 1000000"},
           {"split: [{upstream: web, weight: -1}]", "expected a whole number from 0 to 1000000"},
           {"split: [{weight: 1}]", "routes.r[2].split[0]: the key upstream is missing"},
           {"split: [{upstream: web, share: 1}]", "split[0].share: unknown key"},
           {"upstream: web, split: [{upstream: web}]",
            "expected only one of upstream, split, redirect, respond"},
           {"upstream: web, sticky: {cookie: a}", "sticky: there is no split that it could be for"},
           {split + "sticky: {}", "sticky: expected one of cookie and hash_on"},
           {split + "sticky: {max_age: 1h}", "sticky: expected one of cookie and hash_on"},
           {split + "sticky: {cookie: a, hash_on: path}", "sticky: expected one of cookie and hash_on"},
           {split + "sticky: {hash_on: path, max_age: 1h}", "sticky: max_age and secure are a cookie's"},
           {split + "sticky: {hash_on: path, secure: true}", "sticky: max_age and secure are a cookie's"},
           {split + "sticky: {cookie: a, secure: yes}", "sticky.secure: \"yes\": expected true or false"},
           {"split: [{upstream: web}, {upstream: wep}]", "did you mean web?"},
           {split + "sticky: {hash_on: ip}",
            "sticky.hash_on: \"ip\": expected client_ip, header:NAME, cookie:NAME, path, query:NAME or sni"},
           {split + "sticky: {cookie: \"a b\"}", "sticky.cookie: \"a b\": expected a cookie's name"},
           {split + "sticky: {cookie: a, max_age: 1500ms}",
            "sticky.max_age: \"1500ms\": expected whole seconds"},
           {split + "sticky: {cookie: a, max_age: 1001h}", "expected whole seconds, at most 1000h"},
           {"split: [{upstream: web}, {upstream: canary}], timeouts: {connect: x}",
            "timeouts.connect: \"x\""},
       }) {
    EXPECT_THAT(route(text), ElementsAre(HasSubstr(said))) << text;
  }
}

TEST_F(File, WhatUpstreamsAreToldOfWhoAsked) {
  const auto listener = [](const std::string& more) {
    return "listeners: [{address: 0.0.0.0:1, upstream: web, " + more +
           "}]\nupstreams: {web: {endpoints: [10.0.0.1:80]}}\n";
  };
  EXPECT_EQ(Good(kSmallest).listeners[0].forwarded, ForwardedForm::kXForwarded);
  EXPECT_EQ(Good(listener("forwarded: x_forwarded")).listeners[0].forwarded, ForwardedForm::kXForwarded);
  EXPECT_EQ(Good(listener("forwarded: rfc7239")).listeners[0].forwarded, ForwardedForm::kRfc7239);
  EXPECT_EQ(Good(listener("forwarded: both")).listeners[0].forwarded, ForwardedForm::kBoth);
  EXPECT_THAT(
      Bad(listener("forwarded: x-forwarded")),
      ElementsAre("f.yaml:1:60: listeners[0].forwarded: \"x-forwarded\": expected x_forwarded, rfc7239 "
                  "or both; did you mean x_forwarded?"));
  EXPECT_THAT(Bad(listener("forwarded: [both]")),
              ElementsAre(HasSubstr("found a list: expected x_forwarded")));
  EXPECT_THAT(Bad(listener("protocol: tcp, forwarded: both")),
              ElementsAre("f.yaml:1:75: listeners[0]: forwarded: a tcp connection has no headers"));
}

TEST_F(File, WhatIsNoFileAtAll) {
  EXPECT_THAT(Bad("a: [b\n"), ElementsAre("f.yaml:1:4: this is not YAML: the [ that begins here has no end"));
  EXPECT_THAT(Bad(""), ElementsAre(HasSubstr("\"f.yaml\" has no listeners")));
  EXPECT_THAT(
      Bad("listeners: text\nupstreams: [x]\n"),
      ElementsAre(HasSubstr("f.yaml:1:12: listeners: expected a list"),
                  HasSubstr("f.yaml:2:12: upstreams: expected names, with what each is, found a list")));
  EXPECT_THAT(Bad(kSmallest, {"--listen=http://0.0.0.0:1", "--backends=10.0.0.9:1"}),
              ElementsAre("weir: --listen: the file of --config has the listeners",
                          "weir: --backends: the file of --config has the upstreams"));
  EXPECT_THAT(Bad(kSmallest, {"demo"}),
              ElementsAre(HasSubstr("weir: --config: weir demo has nothing to read")));
  EXPECT_THAT(Bad(kSmallest + "timeouts: {connect: 1s}\nadmin: {a: b}\naccess_log: [a]\nlimits: 7\n"),
              ElementsAre(HasSubstr("f.yaml:7:8: admin: expected ADDRESS:PORT, found keys and values"),
                          HasSubstr("f.yaml:8:13: access_log: expected FILE or keys, found a list"),
                          HasSubstr("f.yaml:9:9: limits: expected keys and values, found a single value")));
}

TEST_F(File, WhatIsSurelyNotMeantIsWarnedOf) {
  const CommandLine line = Check(R"(
listeners: [{address: 0.0.0.0:1, routes: r}]
upstreams: {web: {endpoints: [10.0.0.1:80]}}
routes:
  r:
    - {match: {method: [GET, post], path: /a/*b, path_prefix: "/api/*"}, upstream: web}
    - {match: {path_regex: [api/.*, "^a", "/x", "^[^b]", "a|/b", "a?/b"]}, upstream: web}
    - {match: {host: a.example}, redirect: {to: https://$host/x}}
    - {match: {host: b.example}, upstream: web, rewrite: {path: /x$uri}, request_headers: {set: {X-A: $hosts, X-B: "a$client $5"}}}
    - upstream: web
)");
  EXPECT_FALSE(line.exit);
  const std::string w = ": warning: routes.r[";
  EXPECT_EQ(line.err,
            "f.yaml:6:30" + w +
                "0].match.method: \"post\": methods differ by case; did you mean POST?\n"
                "f.yaml:6:43" +
                w +
                "0].match.path: \"/a/*b\": the star stands for itself; path_regex is for patterns\n"
                "f.yaml:6:63" +
                w +
                "0].match.path_prefix: \"/api/*\": the star stands for itself; a path_prefix has "
                "all below it without one\n"
                "f.yaml:7:29" +
                w +
                "1].match.path_regex: \"api/.*\": matches nothing, as paths begin with /\n"
                "f.yaml:7:37" +
                w +
                "1].match.path_regex: \"^a\": matches nothing, as paths begin with /\n"
                "f.yaml:8:49" +
                w +
                "2].redirect.to: \"$host\" stands for itself; did you mean ${host}?\n"
                "f.yaml:9:65" +
                w +
                "3].rewrite.path: \"$uri\" stands for itself; did you mean ${uri}?\n"
                "f.yaml:9:116" +
                w + "3].request_headers.set.X-B: \"$client\" stands for itself; did you mean ${client}?\n");
  constexpr std::pair<const char*, const char*> kTheirs[] = {
      {"$request_uri", "${uri}"}, {"/$http_host", "${host}"}, {"/$remote_addr", "${client}"},
      {"/$args", "${query}"},     {"/$1/x", "${1}"},          {"/$scheme", "${scheme}"}};
  for (const auto& [theirs, ours] : kTheirs) {
    const CommandLine other = Check(absl::StrCat(R"(
listeners: [{address: 0.0.0.0:1, routes: r}]
upstreams: {web: {endpoints: [10.0.0.1:80]}}
routes: {r: [{redirect: {to: "https://a.example/)",
                                                 theirs, "\"}}]}\n"));
    EXPECT_THAT(other.err, HasSubstr(absl::StrCat(" stands for itself; did you mean ", ours, "?\n")))
        << theirs;
  }
  EXPECT_THAT(
      Bad(R"(
listeners: [{address: 0.0.0.0:1, routes: r}]
upstreams: {web: {endpoints: [10.0.0.1:80]}}
routes: {r: [{match: {host: [https://a.example, a.example/x, a.example:80]}, upstream: web}]}
)"),
      ElementsAre("f.yaml:4:30: routes.r[0].match.host: expected a host alone, without scheme and path",
                  "f.yaml:4:49: routes.r[0].match.host: expected a host without a path",
                  "f.yaml:4:62: routes.r[0].match.host: expected a host without a port; IPv6 in brackets"));
}

TEST_F(File, WarningsDoNotStopAnybody) {
  const CommandLine line = Check(kSmallest + R"(
  spare: {endpoints: [10.0.0.3:80]}
routes:
  r:
    - upstream: web
    - {match: {method: GET}, upstream: web}
)");
  EXPECT_FALSE(line.exit);
  EXPECT_EQ(line.err,
            "f.yaml:7:3: warning: upstreams.spare: nobody sends to this upstream\n"
            "f.yaml:9:3: warning: routes.r: no listener has these routes\n"
            "f.yaml:11:7: warning: routes.r[1]: can never match: a rule with the same host and path comes "
            "first (the "
            "route at f.yaml:10:7)\n");
}

TEST_F(File, TheResolvedFormIsAFileOfTheSame) {
  const std::string text = R"(
admin: 127.0.0.1:9901
listeners: [{address: "[::]:80", routes: r, forwarded: both}, {address: 0.0.0.0:2, upstream: web, protocol: tcp}]
upstreams: {web: {endpoints: [one.example:80], timeouts: {response: 0}}}
routes:
  r:
    - {match: {host: "*.a.example", path_regex: "/\"x\".*", headers: {a: {prefix: "${b}"}}}, upstream: web}
    - {match: {client: 10.0.0.0/8}, redirect: {to: "https://a${uri}"}}
    - {match: {path: /b}, upstream: web, client_max_body: 7MiB, max_header_bytes: 1KiB, buffer: 4KiB}
    - {match: {path: /c}, upstream: web, rewrite: {path: "/d", host: e}, request_headers: {set: {a: b}, append: {c: d},
       remove: [e, f]}, response_headers: {set: {g: "h: \"i\""}}}
    - {match: {path: /v}, upstream: web, response_headers: {set: {a: "${request_id} ${endpoint}"}}}
    - {match: {path: /s}, split: [{upstream: web, weight: 3}], sticky: {cookie: side, max_age: 90s}, retries: 0,
       timeouts: {response: 0, request: 9s}}
    - {match: {path: /t}, split: [{upstream: web}], sticky: {hash_on: "query:a b"}}
    - respond: {status: 404, body: "{\"a\": \"b\"}\r\n\t"}
      error_pages: {4xx: {body: "a\n"}}
)";
  const std::string once = Check(text, {"check"}).out;
  ASSERT_THAT(once, HasSubstr("routes:"));
  const std::string twice = Check(once, {"check"}).out;
  const auto values = [](const std::string& said) {
    std::stringstream lines(said);
    std::string all;
    for (std::string line; std::getline(lines, line);) all += line.substr(0, line.find(" # ")) + "\n";
    return all;
  };
  // Names are addresses by then; where values came from is another place.
  EXPECT_EQ(values(twice).find("weir:"), std::string::npos);
  std::string before = values(once);
  std::string after = values(twice);
  const auto trim = [](std::string& all) {
    for (size_t at; (at = all.find(" \n")) != std::string::npos;) all.erase(at, 1);
  };
  trim(before);
  trim(after);
  EXPECT_EQ(before, after);
}

std::string FileText(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST_F(File, TheResolvedFormOfTheSmallest) {
  EXPECT_EQ(Check(kSmallest, {"check"}).out, FileText("tests/config/golden/smallest.txt"));
}

TEST(FileReference, TheDocsAreWhatTheParserKnows) {
  EXPECT_EQ(ConfigurationMarkdown(), FileText("docs/configuration.md"));
  EXPECT_EQ(ConfigurationSchema(), FileText("docs/weir.schema.json"));
}

TEST(FileReference, EveryKeyIsExplained) {
  for (const SectionDoc& section : DescribeSections()) {
    for (const KeyDoc& key : section.keys) {
      EXPECT_TRUE(key.sentence.ends_with('.')) << section.name << "." << key.name;
      if (!key.available) continue;
      EXPECT_FALSE(key.type.empty()) << section.name << "." << key.name;
      EXPECT_EQ(key.schema.front(), '{') << section.name << "." << key.name;
    }
  }
}

}  // namespace
}  // namespace weir::lb
