// The tree that a configuration file becomes, and what is said of files that become none.
#include "lb/config/document.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace weir::lb {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct Parsed {
  std::vector<ConfigNode> documents;
  Problems problems;
};

Parsed Parse(std::string_view text) {
  Parsed parsed;
  parsed.documents = ParseDocument(text, "f.yaml", parsed.problems);
  return parsed;
}

std::string OnlyError(std::string_view text) {
  const std::vector<std::string> errors = Parse(text).problems.Errors();
  EXPECT_EQ(errors.size(), 1u) << testing::PrintToString(errors);
  return errors.empty() ? "" : errors.front();
}

TEST(Document, KeysValuesAndTheirPlaces) {
  const Parsed parsed = Parse("a: 1\nb:\n  - x\n  - {c: ' y '}\nd:\n");
  ASSERT_THAT(parsed.problems.Errors(), IsEmpty());
  ASSERT_EQ(parsed.documents.size(), 1u);
  const ConfigNode& root = parsed.documents[0];
  EXPECT_EQ(root.Find("a")->text, "1");
  EXPECT_EQ(root.Find("a")->place.line, 1u);
  EXPECT_EQ(root.Find("a")->place.column, 4u);
  const ConfigNode& list = *root.Find("b");
  ASSERT_TRUE(list.is_list());
  EXPECT_EQ(list.items[1].Find("c")->text, " y ");
  EXPECT_EQ(list.items[1].key_place[0].line, 4u);
  EXPECT_EQ(root.Find("d")->kind, ConfigNode::Kind::kNothing);
  EXPECT_EQ(root.Find("e"), nullptr);
}

TEST(Document, NothingIsNothing) {
  for (const char* text : {"", "\n", "# only a comment\n", "---\n", "~\n"}) {
    const Parsed parsed = Parse(text);
    EXPECT_THAT(parsed.problems.Errors(), IsEmpty()) << text;
    EXPECT_TRUE(parsed.documents.empty()) << text;
  }
}

TEST(Document, WhatIsNoMapIsRefused) {
  EXPECT_EQ(OnlyError("- a\n"), "f.yaml:1:1: expected keys and values, such as listeners:");
  EXPECT_EQ(OnlyError("text\n"), "f.yaml:1:1: expected keys and values, such as listeners:");
  EXPECT_EQ(OnlyError("a: 1\n---\nb: 2\n"),
            "f.yaml:3:1: expected one document in a file, found a second (---)");
  EXPECT_EQ(OnlyError("? [a]\n: b\n"), "f.yaml:1:3: expected a key, found a list, a map or nothing");
}

TEST(Document, AKeyTwiceIsAnErrorAtTheSecond) {
  EXPECT_THAT(Parse("a: 1\nb: {c: 1,\n    c: 2}\na: 3\n").problems.Errors(),
              ElementsAre("f.yaml:3:5: c: given twice; first on line 2",
                          "f.yaml:4:1: a: given twice; first on line 1"));
}

TEST(Document, ValuesThatYamlTakesForItsOwn) {
  EXPECT_THAT(OnlyError("host: *.shop.example\n"),
              HasSubstr("quotes around a value that begins with *: \"*.shop.example\""));
  EXPECT_THAT(OnlyError("address: [::]:8080\n"),
              HasSubstr("quotes around a value that begins with [: \"[::]:8080\""));
  EXPECT_THAT(OnlyError("a:\n  - {b}c\n"), HasSubstr("quotes around a value that begins with {: \"{b}c\""));
  EXPECT_EQ(OnlyError("a: b: c\n").find("quotes around"), std::string::npos);
}

TEST(Document, AnchorsAndMergeKeys) {
  const Parsed parsed = Parse("x: &base {a: 1, b: 2}\ny: {<<: *base, b: 3}\nz: {<<: [*base, {c: 4}]}\n");
  ASSERT_THAT(parsed.problems.Errors(), IsEmpty());
  const ConfigNode& y = *parsed.documents[0].Find("y");
  EXPECT_EQ(y.Find("a")->text, "1");
  EXPECT_EQ(y.Find("b")->text, "3");
  EXPECT_EQ(y.Find("<<"), nullptr);
  EXPECT_EQ(parsed.documents[0].Find("z")->Find("c")->text, "4");
  EXPECT_THAT(OnlyError("a: {<<: text}\n"), HasSubstr("expected a map to merge"));
}

TEST(Document, BoundsOnWhatAFileMayBecome) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 10; ++i) {
    const std::string last = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + last;
    for (int j = 0; j < 9; ++j) bomb += ", " + last;
    bomb += "]\n";
  }
  EXPECT_THAT(OnlyError(bomb), HasSubstr("more than 1000000 values"));
  std::string many = "a: [x";
  for (int i = 0; i < 1'000'001; ++i) many += ",x";
  EXPECT_THAT(OnlyError(many + "]"), HasSubstr("more than 1000000 values"));
  many.clear();
  for (int i = 0; i < 40; ++i) many += "&a" + std::to_string(i) + " [";
  for (int i = 0; i < 100'000; ++i) many += "x,";
  EXPECT_THAT(OnlyError("a: " + many + std::string(40, ']')), HasSubstr("more than 1000000 values"));
  EXPECT_THAT(OnlyError("a: " + std::string(100, '[') + std::string(100, ']')),
              HasSubstr("more than 64 levels"));
  EXPECT_FALSE(Parse("a: " + std::string(100'000, '[')).problems.ok());
  EXPECT_FALSE(Parse("a: &a [*a]\n").problems.ok());
  EXPECT_THAT(OnlyError("a: " + std::string(17 << 20, 'x')), HasSubstr("larger than 16 MiB"));
}

TEST(Document, TheEnvironment) {
  ASSERT_EQ(setenv("WEIR_TEST_PORT", "8080", 1), 0);
  ASSERT_EQ(setenv("WEIR_TEST_ODD", "${env:WEIR_TEST_PORT}: [", 1), 0);
  const Parsed parsed =
      Parse("a: h:${env:WEIR_TEST_PORT}/${env:WEIR_TEST_PORT}\nb: ['${path}', '${env:WEIR_TEST_ODD}']\n");
  ASSERT_THAT(parsed.problems.Errors(), IsEmpty());
  EXPECT_EQ(parsed.documents[0].Find("a")->text, "h:8080/8080");
  EXPECT_EQ(parsed.documents[0].Find("b")->items[0].text, "${path}");
  // What the environment says is a value, not YAML, and is not looked at again.
  EXPECT_EQ(parsed.documents[0].Find("b")->items[1].text, "${env:WEIR_TEST_PORT}: [");
  EXPECT_EQ(OnlyError("a: {b: '${env:WEIR_TEST_NOBODY}'}\n"),
            "f.yaml:1:8: a.b: the environment has no variable \"WEIR_TEST_NOBODY\"");
  EXPECT_EQ(OnlyError("a: '${env:X'\n"), "f.yaml:1:4: a: ${env:NAME without the closing }");
}

class Files : public testing::Test {
 protected:
  Files() : folder_(testing::TempDir() + "/document_test." + std::to_string(getpid())) {
    std::filesystem::create_directories(folder_ + "/conf.d");
  }
  ~Files() override { std::filesystem::remove_all(folder_); }
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ + "/" + name) << text;
  }
  std::vector<ConfigNode> Load(const std::string& name) {
    return LoadDocument(folder_ + "/" + name, problems_);
  }

  const std::string folder_;
  Problems problems_;
};

TEST_F(Files, AreIncludedRelativeToTheIncludingOne) {
  Write("main.yaml", "include: [conf.d/*.yaml, one.yaml]\na: 1\n");
  Write("one.yaml", "include: conf.d/../two.yml\n");
  Write("two.yml", "b: 2\n");
  Write("conf.d/y.yaml", "c: 3\n");
  Write("conf.d/x.yaml", "d: 4\nd: 5\n");
  const std::vector<ConfigNode> documents = Load("main.yaml");
  EXPECT_THAT(problems_.Errors(),
              ElementsAre(folder_ + "/conf.d/x.yaml:2:1: d: given twice; first on line 1"));
  ASSERT_EQ(documents.size(), 5u);
  EXPECT_NE(documents[0].Find("a"), nullptr);
  EXPECT_NE(documents[1].Find("d"), nullptr);  // in the order of their names
  EXPECT_NE(documents[2].Find("c"), nullptr);
  EXPECT_NE(documents[4].Find("b"), nullptr);
}

TEST_F(Files, ThatAreNotThere) {
  Load("nobody.yaml");
  EXPECT_THAT(problems_.Errors(), ElementsAre("weir: --config: \"" + folder_ +
                                              "/nobody.yaml\": cannot be read: No such file or directory"));
  problems_ = Problems();
  Write("main.yaml", "include: [nobody.yaml, conf.d/*.yaml, {a: b}]\n");
  Load("main.yaml");
  EXPECT_THAT(problems_.Errors(),
              ElementsAre(folder_ + "/main.yaml:1:11: include: \"" + folder_ +
                              "/nobody.yaml\": there is no such file",
                          folder_ + "/main.yaml:1:39: include: expected a file, such as conf.d/*.yaml"));
  problems_ = Problems();
  Load("conf.d");
  EXPECT_FALSE(problems_.ok());
}

TEST_F(Files, ThatIncludeThemselves) {
  Write("main.yaml", "include: other.yaml\n");
  Write("other.yaml", "include: main.yaml\n");
  Load("main.yaml");
  ASSERT_EQ(problems_.Errors().size(), 1u);
  EXPECT_THAT(problems_.Errors()[0], HasSubstr("the file includes itself"));
}

}  // namespace
}  // namespace weir::lb
