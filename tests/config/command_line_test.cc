#include "lb/config/command_line.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lb/config/budget.h"
#include "tests/config/made_up_machine.h"

namespace weir::lb {
namespace {

using Command = CommandLine::Command;
using testing::HasSubstr;

// Exactly this one mistake.
std::string OneError(const std::string& sentence) {
  return "weir: " + sentence + "\nweir: `weir help` lists all flags\n";
}

TEST(CommandLine, EverythingHasADefaultButListenersAndBackends) {
  const CommandLine line = ParseWith({});
  ASSERT_FALSE(line.exit) << line.err;
  EXPECT_EQ(line.command, Command::kRun);
  const Settings& settings = line.settings;
  ASSERT_EQ(settings.listeners.size(), 1u);
  EXPECT_EQ(settings.listeners[0].protocol, Protocol::kHttp);
  EXPECT_EQ(settings.listeners[0].address.ToString(), "0.0.0.0:8080");
  EXPECT_EQ(settings.listeners[0].text, "http://0.0.0.0:8080");
  ASSERT_EQ(settings.upstreams[0].endpoints.size(), 1u);
  EXPECT_EQ(settings.upstreams[0].endpoints[0].address.ToString(), "10.0.0.1:80");
  EXPECT_EQ(settings.upstreams[0].endpoints[0].weight, 1u);
  EXPECT_EQ(settings.upstreams[0].balance, Balance::kRoundRobin);
  EXPECT_FALSE(settings.has_admin);
  EXPECT_EQ(settings.access_log, "");
  EXPECT_EQ(settings.shards, 4u);
  EXPECT_EQ(settings.cpus, (std::vector<int>{0, 1, 4, 5}));
  EXPECT_EQ(settings.buffer_memory_bytes, uint64_t{512} << 20);
  EXPECT_GT(settings.max_connections, 9'000u);
  EXPECT_LT(settings.max_connections, 10'000u);
  EXPECT_EQ(settings.timeouts.connect_ms, 3'000u);
  EXPECT_EQ(settings.limits.header_bytes, 16'384u);
  EXPECT_EQ(settings.fd_limit, 20'000u);
}

TEST(CommandLine, EveryFlagReachesItsSetting) {
  const CommandLine line = Parse({"--listen=http://0.0.0.0:80,tcp://[::1]:81",
                                  "--backends=10.0.0.1:80,10.0.0.2:80=3",
                                  "--balance=least_conn",
                                  "--admin=127.0.0.1:9901",
                                  "--access_log=-",
                                  "--shards=2",
                                  "--cpus=4,0",
                                  "--max_connections=100",
                                  "--buffer_memory=20MiB",
                                  "--client_header_timeout=1ms",
                                  "--client_body_timeout=2ms",
                                  "--client_send_timeout=3ms",
                                  "--keep_alive_timeout=4ms",
                                  "--connect_timeout=5ms",
                                  "--response_timeout=6ms",
                                  "--upstream_body_timeout=7ms",
                                  "--request_timeout=8ms",
                                  "--tcp_idle_timeout=9ms",
                                  "--upstream_idle_timeout=10ms",
                                  "--retries=7",
                                  "--set_aside=11ms",
                                  "--upstream_idle_connections=12",
                                  "--max_header_bytes=4k",
                                  "--max_header_fields=13",
                                  "--max_target_bytes=2k",
                                  "--lame_duck=14ms",
                                  "--drain_timeout=15ms"});
  ASSERT_FALSE(line.exit) << line.err;
  const Settings& settings = line.settings;
  ASSERT_EQ(settings.listeners.size(), 2u);
  EXPECT_EQ(settings.listeners[1].protocol, Protocol::kTcp);
  ASSERT_EQ(settings.upstreams[0].endpoints.size(), 2u);
  EXPECT_EQ(settings.upstreams[0].endpoints[1].weight, 3u);
  EXPECT_EQ(settings.upstreams[0].endpoints[1].text, "10.0.0.2:80");
  EXPECT_EQ(settings.upstreams[0].balance, Balance::kLeastConn);
  EXPECT_TRUE(settings.has_admin);
  EXPECT_EQ(settings.admin.ToString(), "127.0.0.1:9901");
  EXPECT_EQ(settings.access_log, "-");
  EXPECT_EQ(settings.shards, 2u);
  EXPECT_EQ(settings.cpus, (std::vector<int>{4, 0}));
  EXPECT_EQ(settings.max_connections, 100u);
  EXPECT_EQ(settings.buffer_memory_bytes, uint64_t{20} << 20);
  const Timeouts& timeouts = settings.timeouts;
  EXPECT_EQ(timeouts.client_header_ms, 1u);
  EXPECT_EQ(timeouts.client_body_ms, 2u);
  EXPECT_EQ(timeouts.client_send_ms, 3u);
  EXPECT_EQ(timeouts.keep_alive_ms, 4u);
  EXPECT_EQ(timeouts.connect_ms, 5u);
  EXPECT_EQ(timeouts.response_ms, 6u);
  EXPECT_EQ(timeouts.upstream_body_ms, 7u);
  EXPECT_EQ(timeouts.request_ms, 8u);
  EXPECT_EQ(timeouts.tcp_idle_ms, 9u);
  EXPECT_EQ(settings.upstreams[0].idle_ms, 10u);
  EXPECT_EQ(timeouts.lame_duck_ms, 14u);
  EXPECT_EQ(timeouts.drain_ms, 15u);
  EXPECT_EQ(settings.upstreams[0].retries, 7u);
  EXPECT_EQ(settings.upstreams[0].set_aside_ms, 11u);
  EXPECT_EQ(settings.upstreams[0].idle_connections, 12u);
  EXPECT_EQ(settings.limits.header_bytes, 4'096u);
  EXPECT_EQ(settings.limits.fields, 13u);
  EXPECT_EQ(settings.limits.target_bytes, 2'048u);
  // Nothing of it is left for the next line.
  EXPECT_EQ(ParseWith({}).settings.timeouts.connect_ms, 3'000u);
}

TEST(CommandLine, Commands) {
  EXPECT_EQ(Parse({"version"}).out, "weir 0.1.0\n");
  EXPECT_EQ(Parse({"--version"}).out, "weir 0.1.0\n");
  EXPECT_EQ(Parse({"help"}).exit_code, 0);
  EXPECT_EQ(Parse({"--help"}).out, Parse({"help"}).out);
  EXPECT_THAT(Parse({"help"}).out, HasSubstr("--listen="));
  // Help is given also to a line with mistakes: they may be why it is asked for.
  EXPECT_EQ(Parse({"--lisen=x", "--help"}).exit_code, 0);
  EXPECT_EQ(Parse({"help", "--markdown"}).out, FlagsMarkdown());
  const CommandLine check = ParseWith({"check"});
  EXPECT_TRUE(check.exit);
  EXPECT_EQ(check.exit_code, 0);
  EXPECT_THAT(check.out, HasSubstr("--backends=10.0.0.1:80\n"));
  EXPECT_EQ(ParseWith({"check", "--retries=x"}).exit_code, 1);
  EXPECT_EQ(ParseWith({"chekc"}).err, OneError("unknown command \"chekc\": expected demo, check, explain, "
                                               "reload, version or help; did you mean check?"));
  EXPECT_EQ(ParseWith({"check", "demo"}).err,
            OneError("\"demo\": expected at most one word that is not a flag, a command"));
  // What was meant is a file, with check or without.
  EXPECT_EQ(Parse({"check", "weir.yaml"}).err,
            OneError("\"weir.yaml\": a configuration file is given as --config=weir.yaml"));
  EXPECT_EQ(Parse({"/etc/weir/main"}).err,
            OneError("\"/etc/weir/main\": a configuration file is given as --config=/etc/weir/main"));
}

TEST(CommandLine, TheDemoNeedsNoFlags) {
  const CommandLine line = Parse({"demo"});
  ASSERT_FALSE(line.exit) << line.err;
  EXPECT_EQ(line.command, Command::kDemo);
  EXPECT_EQ(line.settings.listeners[0].text, "http://127.0.0.1:8080");
  EXPECT_EQ(line.settings.admin.ToString(), "127.0.0.1:9901");
  EXPECT_TRUE(line.settings.upstreams.empty());
  EXPECT_EQ(Parse({"demo", "--listen=http://127.0.0.1:0", "--admin=127.0.0.1:0"}).settings.listeners[0].text,
            "http://127.0.0.1:0");
  EXPECT_EQ(Parse({"demo", "--backends=1.1.1.1:1"}).err,
            OneError("--backends: weir demo brings its own; leave the flag out, or the word demo"));
}

TEST(CommandLine, ListsAddUpAndOtherFlagsAreGivenOnce) {
  const CommandLine line = ParseWith({"--backends=10.0.0.2:80,10.0.0.3:80", "--listen", "tcp://0.0.0.0:81"});
  ASSERT_FALSE(line.exit) << line.err;
  EXPECT_EQ(line.settings.upstreams[0].endpoints.size(), 3u);
  EXPECT_EQ(line.settings.listeners.size(), 2u);
  EXPECT_EQ(ParseWith({"--retries=1", "--retries=1"}).err,
            OneError("--retries: \"1\": the flag is given twice"));
}

TEST(CommandLine, TheCommandLineWinsOverFlagFiles) {
  const std::string path = testing::TempDir() + "/wins.flags";
  std::ofstream(path) << "--retries=1\n--backends=10.0.0.9:80\n";
  const std::string flag = "--flagfile=" + path;
  for (const bool file_first : {true, false}) {
    const CommandLine line = file_first ? ParseWith({flag, "--retries=3"}) : ParseWith({"--retries=3", flag});
    ASSERT_FALSE(line.exit) << line.err;
    EXPECT_EQ(line.settings.upstreams[0].retries, 3u);
    EXPECT_EQ(line.settings.upstreams[0].endpoints.size(), 2u);
  }
  EXPECT_EQ(ParseWith({flag}).settings.upstreams[0].retries, 1u);
  std::ofstream(path) << "--retries=1\n--retries=x\n--connect_timeout=x\n";
  EXPECT_EQ(ParseWith({flag}).err,
            "weir: " + path + ":2: --retries: \"x\": the flag is given twice\n" +
                OneError(path + ":3: --connect_timeout: \"x\": expected a duration such as 500ms, 10s, "
                                "5m or 1h"));
}

TEST(CommandLine, EveryMistakeIsNamed) {
  const CommandLine line =
      Parse({"--listen=htp://x,http://0.0.0.0:80", "--backends=10.0.0.1", "--retires=1"});
  EXPECT_TRUE(line.exit);
  EXPECT_EQ(line.exit_code, 1);
  EXPECT_EQ(line.out, "");
  EXPECT_EQ(line.err,
            "weir: unknown flag --retires; did you mean --retries?\n"
            "weir: --listen: \"htp://x\": expected http:// or tcp://, and ADDRESS:PORT or unix:/PATH\n"
            "weir: --backends: \"10.0.0.1\": the port is missing: expected HOST:PORT or HOST:PORT=WEIGHT\n"
            "weir: `weir help` lists all flags\n");
}

TEST(CommandLine, WhatIsMissing) {
  EXPECT_EQ(Parse({}).err,
            "weir: --listen is missing: where clients connect, such as --listen=http://0.0.0.0:8080\n"
            "weir: --backends is missing: where requests go, such as --backends=10.0.0.1:80,10.0.0.2:80\n"
            "weir: `weir help` lists all flags\n");
}

TEST(CommandLine, AddressesThatMeet) {
  EXPECT_EQ(ParseWith({"--listen=http://0.0.0.0:8080"}).err,
            OneError("--listen: http://0.0.0.0:8080 is given twice"));
  EXPECT_EQ(
      ParseWith({"--listen=tcp://0.0.0.0:8080"}).err,
      OneError(
          "--listen: http://0.0.0.0:8080 and tcp://0.0.0.0:8080 are the same address: choose another port "
          "for one"));
  EXPECT_FALSE(ParseWith({"--listen=tcp://127.0.0.1:0", "--listen=http://127.0.0.1:0"}).exit);
  EXPECT_EQ(ParseWith({"--admin=0.0.0.0:8080"}).err,
            OneError("--admin: 0.0.0.0:8080 is also http://0.0.0.0:8080 of --listen: choose another port"));
  EXPECT_EQ(ParseWith({"--backends=0.0.0.0:8080"}).err,
            OneError("--backends: 0.0.0.0:8080 is an address that Weir itself listens on"));
  EXPECT_EQ(
      ParseWith({"--backends=10.0.0.1:80=2"}).err,
      OneError("--backends: 10.0.0.1:80 is given twice; for a larger share give it a weight: 10.0.0.1:80=2"));
}

TEST(CommandLine, NamesAreResolved) {
  const CommandLine line = Parse({"--listen=http://0.0.0.0:8080", "--backends=two.example:8000=5"});
  ASSERT_FALSE(line.exit) << line.err;
  ASSERT_EQ(line.settings.upstreams[0].endpoints.size(), 2u);
  EXPECT_EQ(line.settings.upstreams[0].endpoints[0].address.ToString(), "10.1.0.1:8000");
  EXPECT_EQ(line.settings.upstreams[0].endpoints[1].address.ToString(), "[2001:db8::1]:8000");
  EXPECT_EQ(line.settings.upstreams[0].endpoints[1].weight, 5u);
  EXPECT_EQ(line.settings.upstreams[0].endpoints[1].text, "two.example:8000");
  EXPECT_EQ(
      ParseWith({"--backends=no.example:80"}).err,
      OneError("--backends: \"no.example:80\": the name cannot be resolved: Name or service not known"));
  EXPECT_EQ(
      ParseWith({"--backends=one.example:80,two.example:80"}).err,
      OneError(
          "--backends: two.example:80 (10.1.0.1:80) is given twice; for a larger share give it a weight: "
          "two.example:80=2"));
}

TEST(CommandLine, ShardsAndCpus) {
  EXPECT_EQ(ParseWith({"--shards=1"}).settings.cpus, (std::vector<int>{0}));
  EXPECT_EQ(ParseWith({"--cpus=1,4"}).settings.shards, 2u);
  // More threads than CPUs: not pinned, unless the CPUs were named.
  EXPECT_EQ(ParseWith({"--shards=9"}).settings.shards, 9u);
  EXPECT_TRUE(ParseWith({"--shards=9"}).settings.cpus.empty());
  EXPECT_EQ(ParseWith({"--shards=3", "--cpus=0,1"}).err,
            OneError("--shards: 3 are more than the 2 of --cpus"));
  EXPECT_EQ(ParseWith({"--cpus=1-2"}).err,
            OneError("--cpus: 2: this process may not run there; allowed: 0-1,4-5"));
  EXPECT_EQ(ParseWith({"--cpus=2-3,0,6-9"}).err,
            OneError("--cpus: 2-3,6-9: this process may not run there; allowed: 0-1,4-5"));
  EXPECT_EQ(ParseWith({"--cpus=1,0-1"}).err, OneError("--cpus: 1 is given twice"));
  EXPECT_EQ(ParseWith({"--shards=257"}).err,
            OneError("--shards: \"257\": expected a whole number from 0 to 256"));
}

TEST(CommandLine, ConnectionsMustFitTheFileLimit) {
  // Left out, it leaves room for listeners that reloads may add (32 sockets for each of 4 shards), and for
  // connections of checks.
  const uint32_t most = ParseWith({}).settings.max_connections + (4 * 32 + kMostCheckConnections) / 2;
  EXPECT_FALSE(ParseWith({"--max_connections=" + std::to_string(most)}).exit);
  EXPECT_THAT(
      ParseWith({"--max_connections=" + std::to_string(most + 1)}).err,
      HasSubstr(
          "needs 20002 open files and the limit is 20000: raise it (ulimit -Hn, LimitNOFILE=), or choose " +
          std::to_string(most) + " or less"));
  Machine machine = MadeUpMachine();
  machine.fd_limit = 200;
  EXPECT_THAT(ParseWith({}, machine).err, HasSubstr("the limit of open files is 200, and 534 are needed"));
}

TEST(CommandLine, BufferMemory) {
  EXPECT_EQ(
      ParseWith({"--buffer_memory=35MiB"}).err,
      OneError(
          "--buffer_memory: 35MiB is too little for 4 shards: expected 36MiB or more (256 buffers of 36KiB "
          "each)"));
  EXPECT_FALSE(ParseWith({"--buffer_memory=36MiB"}).exit);
  Machine machine = MadeUpMachine();
  machine.memory_bytes = uint64_t{100} << 20;
  EXPECT_EQ(ParseWith({}, machine).settings.buffer_memory_bytes, uint64_t{64} << 20);
  machine.memory_bytes = uint64_t{1} << 40;
  EXPECT_EQ(ParseWith({}, machine).settings.buffer_memory_bytes, uint64_t{1} << 30);
}

TEST(CommandLine, LimitsMustAgree) {
  EXPECT_EQ(ParseWith({"--max_header_bytes=8KiB"}).err,
            OneError("--max_target_bytes: 8KiB does not fit into --max_header_bytes=8KiB"));
  EXPECT_FALSE(ParseWith({"--max_header_bytes=8KiB", "--max_target_bytes=4KiB"}).exit);
  EXPECT_EQ(ParseWith({"--max_header_bytes=31KiB"}).err,
            OneError("--max_header_bytes: \"31KiB\": expected a size from 512B to 30KiB"));
}

TEST(CommandLine, TheAccessLogMustBeWritable) {
  EXPECT_EQ(
      ParseWith({"--access_log=/nonexistent/weir.log"}).err,
      OneError("--access_log: \"/nonexistent/weir.log\": cannot be written to: No such file or directory"));
  EXPECT_EQ(ParseWith({"--access_log=/tmp"}).err,
            OneError("--access_log: \"/tmp\": cannot be written to: Is a directory"));
  EXPECT_FALSE(ParseWith({"--access_log=" + testing::TempDir() + "/not_yet.log"}).exit);
  EXPECT_FALSE(ParseWith({"--access_log=not_yet.log"}).exit);
  if (geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  const std::string path = testing::TempDir() + "/read_only.log";
  std::ofstream(path) << "x";
  ASSERT_EQ(chmod(path.c_str(), 0400), 0);
  EXPECT_EQ(ParseWith({"--access_log=" + path}).err,
            OneError("--access_log: \"" + path + "\": cannot be written to: Permission denied"));
}

TEST(CommandLine, FromMain) {
  char name[] = "weir";
  char version[] = "version";
  char* argv[] = {name, version, nullptr};
  EXPECT_EQ(ParseCommandLine(2, argv, MadeUpMachine()).out, "weir 0.1.0\n");
}

}  // namespace
}  // namespace weir::lb
