// What the program says about itself: --help, `weir check` and the flags table of README.md, against files.
// After a change that is meant, `bazel-bin/lb/weir help` (and `help --markdown`) give the new text.
#include <fstream>
#include <sstream>

#include "gtest/gtest.h"
#include "lb/config/command_line.h"
#include "lb/config/flag_table.h"
#include "tests/config/made_up_machine.h"

namespace weir::lb {
namespace {

std::string FileText(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST(Reference, Help) { EXPECT_EQ(Parse({"--help"}).out, FileText("tests/config/golden/help.txt")); }

TEST(Reference, Check) {
  const CommandLine line = Parse({"check", "--listen=http://0.0.0.0:8080,tcp://[::]:5432",
                                  "--backends=10.0.0.1:80,two.example:80=3", "--access_log=-", "--shards=2",
                                  "--connect_timeout=1500ms"});
  EXPECT_EQ(line.out, FileText("tests/config/golden/check.txt")) << line.err;
}

TEST(Reference, WhatCheckPrintsIsAFlagFileOfTheSame) {
  const std::string out = ParseWith({"check", "--admin=127.0.0.1:1", "--balance=least_conn"}).out;
  const std::string path = testing::TempDir() + "/check.flags";
  std::ofstream(path) << out;
  const CommandLine again = Parse({"check", "--flagfile=" + path});
  EXPECT_EQ(again.out, out) << again.err;
}

TEST(Reference, ReadmeHasTheTable) {
  const std::string readme = FileText("README.md");
  const std::string begin = "<!-- flags -->\n";
  const size_t at = readme.find(begin);
  if (at == std::string::npos) GTEST_SKIP() << "README.md has no flags table yet";
  const size_t end = readme.find("<!-- /flags -->", at);
  ASSERT_NE(end, std::string::npos);
  EXPECT_EQ(readme.substr(at + begin.size(), end - at - begin.size()), FlagsMarkdown());
}

TEST(Reference, EveryRowIsComplete) {
  for (const FlagRow& row : FlagTable()) {
    EXPECT_FALSE(row.placeholder.empty()) << row.name;
    EXPECT_TRUE(row.sentence.ends_with('.')) << row.name;
    EXPECT_EQ(row.sentence.find('|'), std::string_view::npos)
        << row.name << ": would end the cell of its table";
    EXPECT_EQ(FindFlag(row.name), &row) << "a name stands twice";
    EXPECT_EQ(row.apply == nullptr, !row.default_text.empty()) << row.name;
  }
}

TEST(Reference, NoLineOfHelpIsTooWide) {
  std::istringstream help(HelpText());
  for (std::string line; std::getline(help, line);) EXPECT_LE(line.size(), 110u) << line;
}

}  // namespace
}  // namespace weir::lb
