#include "lb/http/field.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "lb/http/chars.h"

namespace weir::http {
namespace {

std::vector<std::string> Elements(std::string_view value) {
  std::vector<std::string> elements;
  for (ListReader list(value); list.Next();) elements.emplace_back(list.element());
  return elements;
}

TEST(FieldIdTest, EveryKnownNameIsFoundInAnyCase) {
  for (unsigned i = 1; i < static_cast<unsigned>(FieldId::kCount); ++i) {
    const FieldId id = static_cast<FieldId>(i);
    std::string name(CanonicalName(id));
    ASSERT_FALSE(name.empty());
    EXPECT_EQ(FieldIdOf(name), id) << name;
    std::transform(name.begin(), name.end(), name.begin(), ToLower);
    EXPECT_EQ(FieldIdOf(name), id) << name;
    for (char& c : name) c = static_cast<char>(IsAlpha(c) ? c ^ 0x20 : c);
    EXPECT_EQ(FieldIdOf(name), id) << name;
  }
}

TEST(FieldIdTest, NothingElseIsFound) {
  for (unsigned i = 1; i < static_cast<unsigned>(FieldId::kCount); ++i) {
    const std::string name(CanonicalName(static_cast<FieldId>(i)));
    EXPECT_EQ(FieldIdOf(name + "x"), FieldId::kUnknown);
    EXPECT_EQ(FieldIdOf("x" + name), FieldId::kUnknown);
    EXPECT_EQ(FieldIdOf(name.substr(1)), FieldId::kUnknown) << name;
    for (size_t at = 0; at < name.size(); ++at) {
      for (int c = 0x21; c < 0x7f; ++c) {
        std::string other = name;
        other[at] = static_cast<char>(c);
        const bool plain_character = kPlainNameChars.Has(other[at]);
        if (!plain_character || EqualsIgnoreCase(other, name)) continue;
        EXPECT_NE(FieldIdOf(other), static_cast<FieldId>(i)) << other;
      }
    }
  }
  EXPECT_EQ(FieldIdOf(""), FieldId::kUnknown);
  EXPECT_EQ(FieldIdOf(std::string(100, 'a')), FieldId::kUnknown);
}

TEST(FieldIdTest, TwinsReadAsTheFieldsTheyImitate) {
  EXPECT_EQ(TwinOf("X_Forwarded_For"), FieldId::kXForwardedFor);
  EXPECT_EQ(TwinOf("x.forwarded~for"), FieldId::kXForwardedFor);
  EXPECT_EQ(TwinOf("Content_Length"), FieldId::kContentLength);
  EXPECT_EQ(TwinOf("X_Forwarded_Fox"), FieldId::kUnknown);
  EXPECT_EQ(TwinOf(std::string(200, '_')), FieldId::kUnknown);
}

TEST(ListReaderTest, SplitsAtCommas) {
  using Strings = std::vector<std::string>;
  EXPECT_EQ(Elements(""), Strings{});
  EXPECT_EQ(Elements(" , ,\t,"), Strings{});
  EXPECT_EQ(Elements("a"), Strings{"a"});
  EXPECT_EQ(Elements("a, b ,,c d\t"), (Strings{"a", "b", "c d"}));
  EXPECT_EQ(Elements(R"(a="x,y", b)"), (Strings{R"(a="x,y")", "b"}));
  EXPECT_EQ(Elements(R"("a\",b", c)"), (Strings{R"("a\",b")", "c"}));
  EXPECT_EQ(Elements(R"("unclosed, b)"), Strings{R"("unclosed, b)"});
  EXPECT_EQ(Elements("\"a\\"), Strings{"\"a\\"});
}

// Every byte at every offset of every length, with memory before it or not: all ways of scanning must agree.
template <typename Skip, typename Has>
void ExpectSkipStopsAtNonMembers(Skip skip, Has has) {
  for (int c = 0; c < 256; ++c) {
    for (size_t length : {1u, 5u, 15u, 16u, 17u, 32u, 40u}) {
      for (size_t at = 0; at < length; ++at) {
        for (size_t before : {0u, 1u, 15u, 16u}) {
          std::vector<char> memory(before + length, 'a');
          char* const text = memory.data() + before;
          text[at] = static_cast<char>(c);
          const size_t expected = has(static_cast<char>(c)) ? length : at;
          const char* const stop = skip(text, Memory{memory.data(), text + length});
          ASSERT_EQ(static_cast<size_t>(stop - text), expected)
              << c << " at " << at << " of " << length << ", " << before << " before";
        }
      }
    }
  }
}

TEST(CharSetTest, TokenScan) {
  const auto is_token = [](char c) {
    return IsAlnum(c) || (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != nullptr);
  };
  for (int c = 0; c < 256; ++c) {
    ASSERT_EQ(kTokenChars.Has(static_cast<char>(c)), is_token(static_cast<char>(c))) << c;
  }
  ExpectSkipStopsAtNonMembers([](const char* p, const Memory& memory) { return kTokenChars.Skip(p, memory); },
                              is_token);
}

TEST(CharSetTest, ValueScan) {
  const auto is_value = [](char c) {
    const int u = static_cast<unsigned char>(c);
    return u == 9 || (u >= 32 && u != 127);
  };
  ExpectSkipStopsAtNonMembers([](const char* p, const Memory& memory) { return SkipValue(p, memory); },
                              is_value);
}

}  // namespace
}  // namespace weir::http
