#include "lb/config/arguments.h"

#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace weir::lb {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Arguments Walk(std::vector<std::string_view> arguments) { return WalkArguments(arguments); }

// "where name=text" of each.
std::vector<std::string> Flags(const Arguments& arguments) {
  std::vector<std::string> flags;
  for (const GivenFlag& flag : arguments.flags) {
    flags.push_back(flag.where + std::string(flag.row->name) + "=" + flag.text);
  }
  return flags;
}

std::string MakeFile(const std::string& name, std::string_view text) {
  std::string path = testing::TempDir() + "/" + name;
  std::ofstream(path) << text;
  return path;
}

TEST(Arguments, AllSpellings) {
  const Arguments arguments = Walk({"--retries=1", "-retries=2", "--retries", "3", "-retries", "4",
                                    "--access_log", "-", "--access_log=", "--access_log=a=b"});
  EXPECT_THAT(arguments.errors, IsEmpty());
  EXPECT_THAT(Flags(arguments), ElementsAre("retries=1", "retries=2", "retries=3", "retries=4",
                                            "access_log=-", "access_log=", "access_log=a=b"));
}

TEST(Arguments, WordsStandAnywhere) {
  EXPECT_THAT(Walk({"check", "--retries=1"}).words, ElementsAre("check"));
  EXPECT_THAT(Walk({"--retries=1", "check"}).words, ElementsAre("check"));
  EXPECT_THAT(Walk({"--", "--retries=1", "-"}).words, ElementsAre("--retries=1", "-"));
}

TEST(Arguments, AMissingValue) {
  EXPECT_THAT(Walk({"--retries"}).errors, ElementsAre("--retries: the value is missing: --retries=COUNT"));
  const Arguments arguments = Walk({"--retries", "--listen=http://0.0.0.0:80", "--flagfile"});
  EXPECT_THAT(arguments.errors, ElementsAre("--retries: the value is missing: --retries=COUNT",
                                            "--flagfile: the value is missing: --flagfile=FILE"));
  EXPECT_EQ(arguments.flags.size(), 1u);
}

TEST(Arguments, UnknownFlagsGetASuggestion) {
  EXPECT_THAT(Walk({"--lisen=x"}).errors, ElementsAre("unknown flag --lisen; did you mean --listen?"));
  EXPECT_THAT(Walk({"--drain-timeout=1s"}).errors,
              ElementsAre("unknown flag --drain-timeout; did you mean --drain_timeout?"));
  EXPECT_THAT(Walk({"--max_conn=1"}).errors,
              ElementsAre("unknown flag --max_conn; did you mean --max_connections?"));
  EXPECT_THAT(Walk({"--backend=1"}).errors, ElementsAre("unknown flag --backend; did you mean --backends?"));
  EXPECT_THAT(Walk({"--hlep"}).errors, ElementsAre("unknown flag --hlep; did you mean --help?"));
  EXPECT_THAT(Walk({"--zzzzzzzz"}).errors, ElementsAre("unknown flag --zzzzzzzz"));
  EXPECT_THAT(Walk({"--=1"}).errors, ElementsAre("unknown flag --"));
  EXPECT_THAT(Walk({"--nobalance"}).errors, ElementsAre("unknown flag --nobalance; did you mean --balance?"));
}

TEST(Arguments, AFlagFile) {
  const std::string path = MakeFile("simple.flags",
                                    "# a comment\n"
                                    "\n"
                                    "--retries=1\r\n"
                                    "  --listen=http://0.0.0.0:80  \n"
                                    "-access_log /var/log/weir log\n"
                                    "--shards\t 2");
  const Arguments arguments = Walk({"--flagfile=" + path, "--retries=2"});
  EXPECT_THAT(arguments.errors, IsEmpty());
  EXPECT_THAT(Flags(arguments),
              ElementsAre(path + ":3: retries=1", path + ":4: listen=http://0.0.0.0:80",
                          path + ":5: access_log=/var/log/weir log", path + ":6: shards=2", "retries=2"));
  EXPECT_TRUE(arguments.flags[0].from_file);
  EXPECT_FALSE(arguments.flags[4].from_file);
}

TEST(Arguments, FlagFilesInsideEachOther) {
  const std::string inner = MakeFile("inner.flags", "--retries=1\n");
  const std::string outer = MakeFile("outer.flags", "--shards=1\n--flagfile=" + inner + "\n--shards=2\n");
  const std::string other = MakeFile("other.flags", "--shards=3\n");
  const Arguments arguments = Walk({"--flagfile", outer + "," + other});
  EXPECT_THAT(arguments.errors, IsEmpty());
  EXPECT_THAT(Flags(arguments), ElementsAre(outer + ":1: shards=1", inner + ":1: retries=1",
                                            outer + ":3: shards=2", other + ":1: shards=3"));
}

TEST(Arguments, FlagFileMistakes) {
  const std::string self = testing::TempDir() + "/self.flags";
  MakeFile("self.flags", "retries=1\n--flagfile=" + self + "\n--lisen=1\n--retries\n");
  EXPECT_THAT(Walk({"--flagfile=" + self}).errors,
              ElementsAre(self + ":1: \"retries=1\": expected --name=value, or # and a comment",
                          self + ":2: --flagfile: \"" + self + "\": the file includes itself",
                          self + ":3: unknown flag --lisen; did you mean --listen?",
                          self + ":4: --retries: the value is missing: --retries=COUNT"));
  EXPECT_THAT(Walk({"--flagfile=/nonexistent"}).errors,
              ElementsAre("--flagfile: \"/nonexistent\": cannot be read: No such file or directory"));
  EXPECT_THAT(Walk({"--flagfile=/"}).errors,
              ElementsAre("--flagfile: \"/\": cannot be read: Is a directory"));
}

TEST(Nearest, SwappedLettersAreOneEdit) {
  const std::vector<std::string_view> names = {"demo", "check", "version", "help"};
  EXPECT_EQ(Nearest("hcekc", names), "");
  EXPECT_EQ(Nearest("chekc", names), "check");
  EXPECT_EQ(Nearest("dmeo", names), "demo");
  EXPECT_EQ(Nearest("ver", names), "version");
  EXPECT_EQ(Nearest("x", names), "");
  EXPECT_EQ(Nearest(std::string(1'000, 'x'), names), "");
}

}  // namespace
}  // namespace weir::lb
