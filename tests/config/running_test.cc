// Settings for a reload: read beside settings that are in force.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "tests/config/made_up_machine.h"

namespace weir::lb {
namespace {

using testing::HasSubstr;

CommandLine Again(std::vector<std::string_view> more, const Settings& running,
                  const Machine& machine = MadeUpMachine()) {
  std::vector<std::string_view> arguments = {"--listen=http://0.0.0.0:8080", "--backends=10.0.0.1:80"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return ParseCommandLine(arguments, machine, &running);
}

TEST(Running, WhatWasLeftToTheMachineStaysAsItIs) {
  Settings running = ParseWith({}).settings;
  running.via_name = "weir-1234";  // the server's choice
  Machine machine = MadeUpMachine();
  machine.cpus = {0, 1};
  machine.memory_bytes /= 2;
  const CommandLine line = Again({"--listen=http://0.0.0.0:8081"}, running, machine);
  ASSERT_FALSE(line.exit) << line.err;
  EXPECT_EQ(line.settings.shards, running.shards);
  EXPECT_EQ(line.settings.cpus, running.cpus);
  EXPECT_EQ(line.settings.buffer_memory_bytes, running.buffer_memory_bytes);
  EXPECT_EQ(line.settings.max_connections, running.max_connections);
  EXPECT_EQ(line.settings.via_name, "weir-1234");
  EXPECT_EQ(line.settings.listeners.size(), 2u);
}

TEST(Running, WhatIsSaidAndNewIsRefused) {
  const Settings running = ParseWith({"--shards=2"}).settings;
  const std::string sentence = ": cannot change while Weir runs: restart it, or leave it as it was\n";
  for (const char* flag :
       {"--shards=3", "--cpus=4,5", "--buffer_memory=100MiB", "--max_connections=7", "--via_name=other",
        "--admin=127.0.0.1:9901", "--access_log=-", "--pid_file=/tmp/weir.pid", "--max_header_bytes=20KiB",
        "--max_header_fields=50", "--max_target_bytes=4KiB"}) {
    const std::string text(flag);
    std::vector<std::string_view> flags = {text};
    if (text.find("shards") == std::string::npos) flags.push_back("--shards=2");
    EXPECT_THAT(Again(flags, running).err, HasSubstr(text.substr(0, text.find('=')) + sentence)) << flag;
  }
  const CommandLine same = Again({"--shards=2", "--cpus=0,1", "--max_header_fields=100"}, running);
  EXPECT_FALSE(same.exit) << same.err;
}

TEST(Running, MoreListenersFitUnlessTheLimitIsReached) {
  const Settings running = ParseWith({}).settings;
  std::string listen = "--listen=tcp://0.0.0.0:1";
  for (int port = 2; port <= 31; ++port) listen += ",tcp://0.0.0.0:" + std::to_string(port);
  EXPECT_FALSE(Again({listen}, running).exit) << Again({listen}, running).err;
  for (int port = 32; port <= 400; ++port) listen += ",tcp://0.0.0.0:" + std::to_string(port);
  EXPECT_THAT(Again({listen}, running).err, HasSubstr("--max_connections: "));
}

TEST(Running, TheLogMayLookOtherwiseButGoesWhereItWent) {
  const std::string path = testing::TempDir() + "/running_log." + std::to_string(getpid()) + ".yaml";
  const auto load = [&path](const std::string& log, const Settings* running) {
    std::ofstream(path) << "listeners: [{address: \"0.0.0.0:8080\", upstream: web}]\n"
                           "upstreams: {web: {endpoints: [10.0.0.1:80]}}\naccess_log: "
                        << log << "\n";
    const std::string flag = "--config=" + path;
    const std::vector<std::string_view> arguments = {flag};
    return ParseCommandLine(arguments, MadeUpMachine(), running);
  };
  const Settings file = load("\"-\"", nullptr).settings;
  const CommandLine combined = load("{file: \"-\", format: combined}", &file);
  EXPECT_EQ(combined.err, "");
  EXPECT_NE(combined.settings.log_format, nullptr);
  const Settings syslog = load("{syslog: \"unix:/a\"}", nullptr).settings;
  EXPECT_EQ(load("{syslog: {address: \"unix:/a\", tag: edge}, sample: 1%}", &syslog).err, "");
  const std::string refused =
      path + ":3:13: access_log: cannot change while Weir runs: restart it, or leave it as it was\n";
  EXPECT_EQ(load("{syslog: \"unix:/b\"}", &syslog).err, refused);
  EXPECT_EQ(load("{syslog: \"unix:/a\"}", &file).err, refused);
  EXPECT_EQ(load("{file: \"-\"}", &syslog).err, refused);
}

TEST(Running, TheTokenIsReadAnew) {
  const std::string path = testing::TempDir() + "/token";
  std::ofstream(path) << "0123456789abcdef\n";
  const std::string flag = "--admin_token_file=" + path;
  const Settings running = ParseWith({flag}).settings;
  EXPECT_EQ(running.admin_token, "0123456789abcdef");
  std::ofstream(path) << "fedcba9876543210";
  EXPECT_EQ(Again({flag}, running).settings.admin_token, "fedcba9876543210");
  for (const char* bad : {"", "short", "0123456789 abcdef", "0123456789abcdef\n0123456789abcdef\n"}) {
    std::ofstream(path) << bad;
    EXPECT_THAT(Again({flag}, running).err,
                HasSubstr("expected one line of 16 to 256 visible characters without spaces"))
        << bad;
  }
}

TEST(Running, TheReloadCommandWantsOnlyToKnowWhichProcess) {
  const CommandLine line = Parse({"reload", "--admin=127.0.0.1:9901", "--pid_file=/run/weir.pid"});
  ASSERT_FALSE(line.exit) << line.err;
  EXPECT_EQ(line.command, CommandLine::Command::kReload);
  EXPECT_EQ(line.settings.admin.ToString(), "127.0.0.1:9901");
  EXPECT_EQ(line.settings.pid_file, "/run/weir.pid");
  EXPECT_THAT(Parse({"reload"}).err, HasSubstr("is missing: which Weir?"));
  const std::string path = testing::TempDir() + "/weir.yaml";
  std::ofstream(path) << "admin: 127.0.0.1:9902\nlisteners: [{address: nonsense}]\n";
  EXPECT_EQ(Parse({"reload", "--config=" + path}).settings.admin.ToString(), "127.0.0.1:9902");
}

}  // namespace
}  // namespace weir::lb
