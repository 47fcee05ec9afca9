// The tree that a configuration file becomes, and what is said of files that become none.
#include "lb/config/document.h"

#include <algorithm>
#include <chrono>
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

// Else whoever reads the map would read it twice, into the same place.
TEST(Document, OfAKeyTwiceTheFirstStaysAndOfWhatIsNoneNothing) {
  const Parsed parsed = Parse("a: {b: 1, b: [2, 3], , c: 4, [d]: 5, [d]: 6}\n");
  const ConfigNode* const map = parsed.documents.at(0).Find("a");
  ASSERT_NE(map, nullptr);
  EXPECT_THAT(map->key_text, ElementsAre("b", "c"));
  ASSERT_EQ(map->items.size(), 2u);
  EXPECT_EQ(map->items[0].text, "1");
  EXPECT_EQ(map->items[1].text, "4");
}

// What people write, and what they are told. Each stands in a file that is right but for this.
TEST(Document, MistakesThatPeopleMake) {
  struct Mistake {
    const char* text;
    const char* said;  // behind "f.yaml:"; "": nothing, it is right
  };
  constexpr Mistake kMistakes[] = {
      {"a:\n\tb: c\n", "2:1: this is not YAML: a tab in the indentation: YAML is indented by spaces alone"},
      {"a:\n  - b: c\n\t  d: e\n",
       "3:1: this is not YAML: a tab in the indentation: YAML is indented by spaces alone"},
      {"a:\t1\n", ""},
      {"a:\n  - address:127.0.0.1:80\n    upstream: web\n",
       "2:12: this is not YAML: a space is missing behind the colon: address: ..."},
      {"admin:127.0.0.1:9901\nb: c\n",
       "1:6: this is not YAML: a space is missing behind the colon: admin: ..."},
      {"a:\n  -b: c\n    d: e\n",
       "2:3: this is not YAML: a space is missing behind the dash of a list's item"},
      {"a: 1\nb\nc: d\n", "2:2: this is not YAML: a colon is missing behind the key that ends here"},
      {"a: 1\nroutes\n  c: d\n", "2:7: this is not YAML: a colon is missing behind the key that ends here"},
      {"admin = x\nb: c\n", "1:7: this is not YAML: a key and its value stand as admin: ..."},
      {"// ours\nb: c\n", "1:1: this is not YAML: a comment begins with #"},
      {"listen 80;\nb: c\n", "1:1: this is not YAML: expected KEY: VALUE"},
      {"a: \"b\nc: d\n", "1:4: this is not YAML: the quote that begins here has no end"},
      {"a: 'it''s\nc: d\n", "1:4: this is not YAML: the quote that begins here has no end"},
      {"a: {b: \"c}\nd: e\n", "1:8: this is not YAML: the quote \" that begins here has no end"},
      {"a: \"b\nc: \"d\"\n",
       "2:5: this is not YAML: something stands behind the quote that ends here and begins on line 1: is its "
       "end "
       "missing there?"},
      {"a: \"b\" c\n",
       "1:8: this is not YAML: something stands behind the closing quote: put all of the value in quotes, or "
       "nothing there"},
      {"a: {b: \"/x\\.y\"}\n",
       "1:11: this is not YAML: \\. means nothing in double quotes: in single quotes a backslash is itself"},
      {"a: b\n  c: d\n",
       "2:3: this is not YAML: indented by 2 spaces, but a above has a value already: begin it below what it "
       "stands beside"},
      {"x:\n  - a: b\n   c: d\n",
       "3:4: this is not YAML: indented by 3 spaces, and nothing above is: begin it below what it stands "
       "beside"},
      {"a:\n  - b\nc:\n  d: e\n  - f\n",
       "5:3: this is not YAML: an item of a list (- ...) among keys: a list stands below a key of its own"},
      {"a:\n  - b: c\n  d: e\n",
       "3:3: this is not YAML: a key among items of a list: begin it with a dash, or indent it below one"},
      {"host: *.shop.example\n", "1:7: this is not YAML: a value that begins with * wants quotes"},
      {"a: {host: [b, *.c]}\n", "1:15: this is not YAML: a value that begins with * wants quotes"},
      {"address: [::]:8080\n", "1:10: this is not YAML: a value that begins with [ wants quotes"},
      {"a:\n  - {b}c\n", "2:5: this is not YAML: a value that begins with { wants quotes"},
      {"a: %2F\n", "1:4: this is not YAML: a value that begins with % wants quotes"},
      {"a: @b\n", "1:4: this is not YAML: a value that begins with @ wants quotes"},
      {"a: `b\\c`\n", "1:4: this is not YAML: a value that begins with ` wants quotes"},
      {"a: |b\n", "1:4: this is not YAML: a value that begins with | wants quotes"},
      {"a: b: c\n",
       "1:5: this is not YAML: a colon with a space behind it within a value: put the value in quotes"},
      {"a: {b: c: d}\n",
       "1:9: this is not YAML: a second colon with a space behind it: is a comma missing before, or quotes "
       "around "
       "the value?"},
      {"a: {b: c d: e}\n",
       "1:11: this is not YAML: a second colon with a space behind it: is a comma missing before, or quotes "
       "around "
       "the value?"},
      {"a: [\"b\" \"c\"]\n", "1:9: this is not YAML: a comma is missing before this"},
      {"a: {to: https://x${path}, b: c}\n",
       "1:9: this is not YAML: a value with { in it wants quotes within {...} and [...]"},
      {"a: {to: /[a-z]+}\n",
       "1:9: this is not YAML: a value with [ in it wants quotes within {...} and [...]"},
      {"a: [b, c\nd: e\n", "1:4: this is not YAML: the [ that begins here has no end"},
      {"a:\n  - {b: c\n    d: {e: f}\ng: h\n",
       "3:6: this is not YAML: a second colon with a space behind it: is a comma missing before, or quotes "
       "around "
       "the value?"},
      {"a: {b: [c, d}\n", "1:13: this is not YAML: found } where ] would end what line 1 begins"},
      {"a: {b: c}}\n", "1:10: this is not YAML: this } ends nothing"},
      {"a: b", "1:1: a byte of zero: this is no text"},
      // A parser's word, and no hint: what is meant nobody can tell.
      {"a: ! !b c\n", "1:6: this is not YAML: cannot assign multiple tags to the same node"},
  };
  for (const Mistake& mistake : kMistakes) {
    // The one with a zero in it is cut where it stands.
    const std::string text =
        std::string_view(mistake.text) == "a: b" ? std::string("a: b\0c\n", 7) : mistake.text;
    const std::vector<std::string> errors = Parse(text).problems.Errors();
    if (*mistake.said == '\0') {
      EXPECT_THAT(errors, IsEmpty()) << text;
    } else {
      EXPECT_THAT(errors, ElementsAre(std::string("f.yaml:") + mistake.said)) << text;
    }
  }
}

// Whatever is wrong with it: it may be a password, or the hash of one.
TEST(Document, MistakesAreToldWithoutTheValue) {
  constexpr const char* kTexts[] = {
      "users:\n  alice:hunter2\n  bob: x\n",
      "alice = $6$hunter2\nb: c\n",
      "alice: secret: hunter2\n",
      "alice: @hunter2\n",
      "alice: *hunter2\n",
      "a: [x, *hunter2]\n",
      "a: {b: @hunter2}\n",
      "alice: `hunter2`\n",
      "alice: [x]hunter2\n",
      "a: 1\nhunter2\nb: 2\n",
      "a: {b: x[hunter2}\n",
      "alice: |hunter2\n",
      "alice: \"x\" hunter2\n",
      "a: &x hunter2\nb: [&y *hunter2]\n",
      "k: 1\n? *hunter2\n",
      "alice:hunter2\n",
  };
  for (const char* text : kTexts) {
    const std::vector<std::string> errors = Parse(text).problems.Errors();
    EXPECT_THAT(errors, ElementsAre(testing::Not(HasSubstr("hunter2")))) << text;
  }
  EXPECT_EQ(OnlyError("users:\n  alice:hunter2\n  bob: x\n"),
            "f.yaml:2:8: this is not YAML: a space is missing behind the colon: alice: ...");
}

TEST(Document, AnAliasIsOfAnAnchorOfThatVeryName) {
  EXPECT_EQ(OnlyError("x: &a10 1\ny: *a1\n"),
            "f.yaml:2:4: this is not YAML: a value that begins with * wants quotes");
  EXPECT_EQ(OnlyError("x: a&b\ny: *b\n"),
            "f.yaml:2:4: this is not YAML: a value that begins with * wants quotes");
}

// Each of so many looks for its anchor.
TEST(Document, ManyAnchorsAndAliasesTakeNoLongTime) {
  std::string text;
  for (int i = 0; i < 60'000; ++i) {
    const std::string name = "anchor" + std::to_string(i);
    text += "k" + std::to_string(i) + ": &" + name + " x\nl" + std::to_string(i) + ": *" + name + "\n";
  }
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(OnlyError(text + "host: *.example\n"), HasSubstr("wants quotes"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

TEST(Document, OfVeryManyMistakesTheFirstAreTold) {
  Problems problems;
  problems.files = {"f.yaml"};
  for (uint32_t line = 100'000; line > 0; --line) problems.Error({0, line, 1}, "k", "bad");
  for (uint32_t line = 1; line <= 101; ++line) problems.Warning({0, line, 1}, "k", "odd");
  EXPECT_FALSE(problems.ok());
  EXPECT_EQ(problems.error_count(), 100'000u);
  const std::vector<std::string> errors = problems.Errors();
  ASSERT_EQ(errors.size(), Problems::kMostTold + 1);
  EXPECT_EQ(errors.front(), "f.yaml:1:1: k: bad");
  EXPECT_EQ(errors[99], "f.yaml:100:1: k: bad");
  EXPECT_EQ(errors.back(), "weir: and 99900 more mistakes");
  EXPECT_EQ(problems.Warnings().back(), "weir: and 1 more warning");
}

TEST(Document, AKeyIsToldWithoutWhatStandsBehindItsColon) {
  Problems problems;
  problems.files = {"f.yaml"};
  problems.Error({0, 1, 1}, "set.Authorization:Bearer hunter2", "bad");
  EXPECT_THAT(problems.Errors(), ElementsAre("f.yaml:1:1: set.Authorization: bad"));
}

// What is right is not taken for the mistake that comes behind it.
TEST(Document, HintsPassOverWhatIsRight) {
  const std::string right = R"(# one: two: [
%s: 1
a: it's "no" quote, {no} bracket [either]
b: several
  lines - of one
  text
"c d": 'it''s
   quoted: [text'
e: |
  literal: text: [
    "and more

  of it
f: >-   # folded
  x
g:
- at: the same column
  h: [1, 2,
      {x: y}, "z",
    ]
-   - nested
    - i: j
      k: "\x41\
        b"
l: &anchor
  m: n
o: *anchor
p: {q: *anchor, 'r': {}, "s": [], t: https://u:80/v#w, x: a b}
y: &z [1]
? complicated
)";
  std::string text = right;
  text.replace(text.find("%s"), 2, "s");
  text.erase(text.find("? complicated"));
  ASSERT_THAT(Parse(text).problems.Errors(), IsEmpty());
  const auto line = std::to_string(1 + std::count(text.begin(), text.end(), '\n'));
  EXPECT_EQ(OnlyError(text + "host: *.example\n"),
            "f.yaml:" + line + ":7: this is not YAML: a value that begins with * wants quotes");
  for (size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 2) text.replace(at, 1, "\r\n");
  EXPECT_EQ(OnlyError(text + "host: *.example\r\n"),
            "f.yaml:" + line + ":7: this is not YAML: a value that begins with * wants quotes");
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
