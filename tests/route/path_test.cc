#include "lb/route/path.h"

#include <string>
#include <vector>

#include "core/random.h"
#include "gtest/gtest.h"

namespace weir::lb {
namespace {

constexpr PathOptions kEverySlash = {.merge_slashes = false};
constexpr PathOptions kNoEscapedSlash = {.escaped_slashes = EscapedSlashes::kReject};

// The normal form, or "! reason".
std::string Normal(std::string_view target, const PathOptions& options = {}) {
  std::vector<char> out(MaxNormalBytes(target));
  const NormalTarget normal = NormaliseTarget(target, options, out.data());
  if (!normal.ok()) return std::string("! ") + normal.error;
  EXPECT_LE(normal.text.size(), MaxNormalBytes(target));
  EXPECT_EQ(std::string(normal.path()) + (normal.has_query() ? "?" : "") + std::string(normal.query()),
            normal.text);
  return std::string(normal.text);
}

struct Case {
  const char* target;
  const char* normal;
};

constexpr const char* kClimbs = "! the path climbs above its root";
constexpr const char* kAmbiguous = "! ambiguous dot segment in the path";
constexpr const char* kMalformed = "! malformed percent-encoding in the path";
constexpr const char* kNul = "! encoded NUL in the path";

TEST(Path, NormalOnesStayAsTheyAre) {
  for (const char* target :
       {"/", "*", "/a", "/a/", "/a/b?c=%7e&d=../..//", "/?", "/a?/../", "/.well-known/x", "/..a/...",
        "/a./b..", "/a;x=1/b", "/%20", "/%2F", "/caf%C3%A9", "/%2541", "/a.b/.c/..d/e.", "/|^`{}[]", "/a:b@c",
        "/a-long-path/of/more/than/sixteen/bytes/.x?"}) {
    const std::string text = target;
    std::vector<char> out(MaxNormalBytes(text), '#');
    const NormalTarget normal = NormaliseTarget(text, {}, out.data());
    EXPECT_TRUE(normal.ok()) << target << ": " << normal.error;
    EXPECT_EQ(normal.text.data(), text.data()) << target;  // the same view
    EXPECT_EQ(normal.text, text);
  }
}

TEST(Path, EncodedUnreservedCharactersAreDecodedOnce) {
  for (const Case& c : std::vector<Case>{
           {"/%61%7A%41%30%2d%2E%5f%7Ea", "/azA0-._~a"},
           {"/%7euser", "/~user"},
           {"/%2f%5c%3a", "/%2F%5C%3A"},
           {"/%252e%252e/", "/%252e%252e/"},
           {"/%25%32%65", "/%252e"},
           {"/%c3%a9%c0%ae", "/%C3%A9%C0%AE"},  // overlong forms are somebody else's UTF-8
           {"/%41?%41%zz", "/A?%41%zz"},
       })
    EXPECT_EQ(Normal(c.target), c.normal) << c.target;
}

TEST(Path, DotSegmentsAreResolvedAfterDecoding) {
  for (const Case& c : std::vector<Case>{
           {"/.", "/"},
           {"/./", "/"},
           {"/a/.", "/a/"},
           {"/a/./b", "/a/b"},
           {"/a/..", "/"},
           {"/a/../", "/"},
           {"/a/b/..", "/a/"},
           {"/a/b/../c", "/a/c"},
           {"/a/b/c/../../d", "/a/d"},
           {"/mid/content=5/../6", "/mid/6"},  // RFC 3986 5.2.4
           {"/a/b/c/./../../g", "/a/g"},
           {"/%2e", "/"},
           {"/a/%2E%2e/b", "/b"},
           {"/a/.%2e/b", "/b"},
           {"/a/%2e./b?x", "/b?x"},
           {"/a/.?..", "/a/?.."},
           {"/0123456789abcdef/0123456789abcdef/../x", "/0123456789abcdef/x"},
           {"/0123456789abcd/.?", "/0123456789abcd/?"},
           {"/0123456789abcd/..?", "/?"},
       })
    EXPECT_EQ(Normal(c.target), c.normal) << c.target;
}

TEST(Path, SlashesAreMergedFirst) {
  for (const Case& c : std::vector<Case>{
           {"//", "/"},
           {"//a///b//", "/a/b/"},
           {"/a//../b", "/b"},
           {"//evil.example/x", "/evil.example/x"},
           {"/a?b//c", "/a?b//c"},
       })
    EXPECT_EQ(Normal(c.target), c.normal) << c.target;
}

TEST(Path, OrKept) {
  for (const Case& c : std::vector<Case>{
           {"//", "//"},
           {"/a///b//", "/a///b//"},
           {"/a//../b", "/a/b"},
           {"//..", "/"},
           {"/a//./b", "/a//b"},
           {"//../..", kClimbs},
       })
    EXPECT_EQ(Normal(c.target, kEverySlash), c.normal) << c.target;
}

TEST(Path, WhatAbsoluteFormLacksIsAdded) {
  EXPECT_EQ(Normal(""), "/");
  EXPECT_EQ(Normal("?a=/../b"), "/?a=/../b");
  EXPECT_EQ(Normal("?"), "/?");
}

TEST(Path, NobodyClimbsAboveTheRoot) {
  for (const char* target : {"/..", "/../", "/../a", "/a/../..", "/a/../../b", "/%2e%2e", "/.%2E/etc/passwd",
                             "/./..", "//..", "/a/b/../../../c", "/..?", "/a/%2e%2E/%2e%2e/"})
    EXPECT_EQ(Normal(target), kClimbs) << target;
}

TEST(Path, WhatSomeTakeForADotSegmentIsRefused) {
  for (const char* target : {"/..;/",
                             "/a/..;x=1/b",
                             "/a/.;/b",
                             "/a/..;",
                             "/%2e%2e;/",
                             "/..;?",
                             "/a/..%3Bx/b",
                             "/a/.%3b",
                             "/..;/..;/",
                             "/a/..%2f",
                             "/a/..%2fb",
                             "/%2e%2e%2f",
                             "/%2e%2e%2fetc",
                             "/a%2f..",
                             "/a%2F../b",
                             "/a%2f..%2fb",
                             "/a/..%5c",
                             "/a%5C..%5Cb",
                             "/a%2f.%2fb",
                             "/a%2f..;x",
                             "/a;x%2f..",
                             "/a%2f%2e%2e",
                             "/0123456789abcdef/..;/",
                             "/0123456789abcdef/.;"})
    EXPECT_EQ(Normal(target), kAmbiguous) << target;
  for (const char* target : {"/a..;x", "/...;x", "/;..", "/a;..", "/a%2Fb", "/..a%2F", "/a%2Fb..", "/.a;x",
                             "/a;%2Fb", "/%3B..", "/a%2F...", "/..%20", "/.%25"})
    EXPECT_EQ(Normal(target), target);
}

TEST(Path, MalformedEncodingsAndNulAreRefused) {
  for (const char* target : {"/%", "/%4", "/%4?a", "/%zz", "/%%41", "/%4g", "/a%", "/%u0041", "/%?41"})
    EXPECT_EQ(Normal(target), kMalformed) << target;
  for (const char* target : {"/%00", "/a/%00/../b", "/a%00.txt"}) EXPECT_EQ(Normal(target), kNul) << target;
  EXPECT_EQ(Normal("a"), "! the path does not begin with a slash");
}

TEST(Path, EscapedSlashesCanBeRefused) {
  for (const char* target : {"/a%2fb", "/a%2Fb", "/%5C", "/%5c?"})
    EXPECT_EQ(Normal(target, kNoEscapedSlash), "! encoded slash in the path") << target;
  EXPECT_EQ(Normal("/a?%2f", kNoEscapedSlash), "/a?%2f");
  EXPECT_EQ(Normal("/a%252f", kNoEscapedSlash), "/a%252f");
}

TEST(Path, PlainOnesAreKnownAtAGlance) {
  EXPECT_TRUE(IsPlainTarget("/", {}));
  EXPECT_TRUE(IsPlainTarget("*", {}));
  EXPECT_TRUE(IsPlainTarget("/.well-known/acme-challenge/0123456789?%2e", {}));
  EXPECT_TRUE(IsPlainTarget("/a//b", kEverySlash));
  for (const char* target : {"", "?", "/a//b", "/a/.", "/a/..", "/%20", "/a/..;", "/0123456789abcdef//"})
    EXPECT_FALSE(IsPlainTarget(target, {})) << target;
}

TEST(Path, SixteenKilobytesOfDotsAreLinear) {
  std::string down;
  std::string up;
  for (int i = 0; i < 2'000; ++i) {
    down += "/a%7E";
    up += "/..";
  }
  EXPECT_EQ(Normal(down + up), "/");
  EXPECT_EQ(Normal(down + up + "/.."), kClimbs);
  EXPECT_EQ(Normal("/" + std::string(16'000, '/')), "/");
  EXPECT_EQ(Normal("/" + std::string(16'000, '.')), "/" + std::string(16'000, '.'));
}

// The same rules as three passes over whole strings, as RFC 3986 has them.
std::string Reference(std::string_view target, const PathOptions& options) {
  const size_t query_at = std::min(target.find('?'), target.size());
  const std::string query(target.substr(query_at));
  std::string path;
  for (size_t i = 0; i < query_at; ++i) {
    if (target[i] != '%') {
      path += target[i];
      continue;
    }
    const std::string digits(target.substr(i + 1, std::min<size_t>(2, query_at - i - 1)));
    if (digits.size() < 2 || !isxdigit(static_cast<unsigned char>(digits[0])) ||
        !isxdigit(static_cast<unsigned char>(digits[1])))
      return "!";
    const int c = std::stoi(digits, nullptr, 16);
    if (c == 0) return "!";
    if (c < 128 && (isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~')) {
      path += static_cast<char>(c);
    } else {
      char text[4];
      snprintf(text, sizeof(text), "%%%02X", static_cast<unsigned>(c));
      path += text;
    }
    i += 2;
  }
  if (options.escaped_slashes == EscapedSlashes::kReject &&
      (path.find("%2F") != std::string::npos || path.find("%5C") != std::string::npos))
    return "!";
  while (options.merge_slashes && path.find("//") != std::string::npos) path.replace(path.find("//"), 2, "/");
  std::vector<std::string> segments;
  bool open = false;  // what follows is in the last one of them
  for (size_t i = 0; i < path.size();) {
    const size_t end = std::min(path.find('/', i + 1), path.size());
    const std::string segment = path.substr(i + 1, end - i - 1);
    std::string pieces = segment;
    for (const char* slash : {"%2F", "%5C"}) {
      while (pieces.find(slash) != std::string::npos) pieces.replace(pieces.find(slash), 3, "/");
    }
    while (pieces.find("%3B") != std::string::npos) pieces.replace(pieces.find("%3B"), 3, ";");
    if (pieces != segment || pieces.find(';') != std::string::npos) {
      for (size_t p = 0; p <= pieces.size();) {
        const size_t piece_end = std::min(pieces.find('/', p), pieces.size());
        std::string piece = pieces.substr(p, piece_end - p);
        piece = piece.substr(0, piece.find(';'));
        if (piece == "." || piece == "..") return "!";
        p = piece_end + 1;
      }
    }
    open = segment == "." || segment == "..";
    if (segment == "..") {
      if (segments.empty()) return "!";
      segments.pop_back();
    } else if (segment != ".") {
      segments.push_back(segment);
    }
    i = end;
  }
  std::string result;
  for (const std::string& segment : segments) result += "/" + segment;
  return result + (open ? "/" : "") + query;
}

TEST(Path, IsWhatSeveralPassesGiveAndStaysSo) {
  constexpr const char* kPieces[] = {
      "/",   "/",   "/",  ".",   "..",  "%2e", "%2E", "a",   "bc", "%61",
      "%2f", "%5C", ";",  "%3b", "%25", "%00", "%4",  "%c3", "?",  "0123456789abcdef",
      "/..", "/a/", "//", "x=1", "%20", "~",   "%7e", "/./", "/b", "/c"};
  Random random(1);
  int refused = 0;
  int changed = 0;
  for (int round = 0; round < 200'000; ++round) {
    std::string target = "/";
    for (uint32_t i = random.Below(10); i > 0; --i) target += kPieces[random.Below(std::size(kPieces))];
    const PathOptions options = {
        .merge_slashes = random.OneIn(2),
        .escaped_slashes = random.OneIn(4) ? EscapedSlashes::kReject : EscapedSlashes::kKeep};
    const std::string normal = Normal(target, options);
    const std::string expected = Reference(target, options);
    if (expected == "!") {
      ++refused;
      ASSERT_EQ(normal.front(), '!') << target << " became " << normal;
      continue;
    }
    ASSERT_EQ(normal, expected) << target;
    ASSERT_EQ(Normal(normal, options), normal) << target;
    changed += normal != target ? 1 : 0;
  }
  EXPECT_GT(refused, 10'000);
  EXPECT_GT(changed, 10'000);
}

}  // namespace
}  // namespace weir::lb
