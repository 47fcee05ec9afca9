// Which side a request goes to: the hash that never changes, borders that move with the weights, cookies.
#include "lb/route/split.h"

#include <cmath>
#include <memory>

#include "core/random.h"
#include "gtest/gtest.h"
#include "lb/http/request.h"
#include "lb/route/cookies.h"

namespace weir::lb {
namespace {

// A request that lives as long as this.
class Asked {
 public:
  explicit Asked(const std::string& fields, std::string_view target = "/",
                 const char* client = "203.0.113.9:1")
      : wire_("GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n"), head_({}), target_(target) {
    EXPECT_TRUE(http::ParseRequest(wire_, head_).done()) << wire_;
    const size_t query = target.find('?');
    request.path = std::string_view(target_).substr(0, query);
    if (query != std::string_view::npos) request.query = std::string_view(target_).substr(query + 1);
    request.method = "GET";
    request.fields = &head_;
    request.client = *SocketAddress::Parse(client);
  }

  RouteRequest request;

 private:
  const std::string wire_;
  http::RequestHead head_;
  const std::string target_;
};

HashKey KeyOf(std::string_view text) {
  HashKey key;
  std::string error;
  EXPECT_TRUE(HashKey::Parse(text, &key, &error)) << text << ": " << error;
  EXPECT_EQ(key.ToString(), text);
  return key;
}

Split Of(std::vector<uint32_t> weights) {
  Split split;
  for (const uint32_t weight : weights)
    split.sides.push_back({weight, SideId(std::to_string(split.sides.size()))});
  return split;
}

// Clients would meet another side after an update if these changed.
TEST(StableHash, NeverChanges) {
  EXPECT_EQ(StableHash(""), 0xa706dd2f4d197e6fu);
  EXPECT_EQ(StableHash("a"), 0x5e025f9ade9eaf3eu);
  EXPECT_EQ(StableHash("canary"), 0x48e4b4645205ec0u);
  EXPECT_EQ(StableHash("eight by"), 0xe0511bce5875d63bu);
  EXPECT_EQ(StableHash("more than eight bytes"), 0xe0e50f3ab9e03cc6u);
  EXPECT_EQ(SideId("canary"), "0ce5025464b4e840");
}

TEST(StableHash, TellsApartWhatIsPadded) {
  EXPECT_NE(StableHash("a"), StableHash(std::string_view("a\0", 2)));
  EXPECT_NE(StableHash("12345678"), StableHash(std::string_view("12345678\0", 9)));
  EXPECT_NE(StableHash(""), StableHash(std::string_view("\0", 1)));
}

TEST(HashKey, WhatItMayBe) {
  for (const char* text : {"client_ip", "header:X-User", "cookie:session", "path", "query:q", "query:a b"})
    KeyOf(text);
  HashKey key;
  std::string error;
  for (const char* text : {"", "ip", "client_ip:x", "header", "header:", "header:a b",
                           "cookie:", "cookie:a=b", "path:", "query:", "Header:X"}) {
    EXPECT_FALSE(HashKey::Parse(text, &key, &error)) << text;
    EXPECT_EQ(error, "expected client_ip, header:NAME, cookie:NAME, path or query:NAME");
  }
  EXPECT_FALSE(HashKey::Parse("header:" + std::string(257, 'x'), &key, &error));
}

TEST(HashKey, WhatItLooksAt) {
  const auto hash = [](std::string_view key, const Asked& asked) { return KeyOf(key).HashOf(asked.request); };
  const std::optional<uint64_t> none;
  EXPECT_EQ(hash("header:x-user", Asked("X-User: ann\r\nX-USER: bob\r\n")), StableHash("ann"));
  EXPECT_EQ(hash("header:X-User", Asked("X-User:\r\n")), none);
  EXPECT_EQ(hash("header:X-User", Asked("")), none);
  EXPECT_EQ(hash("cookie:s", Asked("Cookie: t=1; s=2; s=3\r\n")), StableHash("2"));
  EXPECT_EQ(hash("cookie:s", Asked("Cookie: t=1\r\nCookie: s=2\r\n")), StableHash("2"));
  EXPECT_EQ(hash("cookie:s", Asked("Cookie: S=2; ss=3; s =4; s\r\n")), none);
  EXPECT_EQ(hash("cookie:s", Asked("Cookie: s=\r\n")), none);
  const RouteRequest bare = {.path = "/"};
  EXPECT_EQ(KeyOf("header:X").HashOf(bare), none);
  EXPECT_EQ(KeyOf("cookie:X").HashOf(bare), none);
  EXPECT_EQ(KeyOf("client_ip").HashOf(bare), none);
  EXPECT_EQ(hash("path", Asked("", "/a/b?c")), StableHash("/a/b"));
  EXPECT_EQ(hash("query:q", Asked("", "/?p=1&q=a%20b&q=c")), StableHash("a b"));
  EXPECT_EQ(hash("query:q", Asked("", "/?%71=a+b")), StableHash("a b"));
  EXPECT_EQ(hash("query:q", Asked("", "/?q")), none);
  EXPECT_EQ(hash("query:q", Asked("", "/")), none);
  EXPECT_EQ(hash("query:q", Asked("", "/?q=" + std::string(3000, '+'))), StableHash(std::string(3000, '+')));
  EXPECT_EQ(hash("client_ip", Asked("", "/", "1.2.3.4:5")), StableHash("\1\2\3\4"));
  EXPECT_EQ(hash("client_ip", Asked("", "/", "[::ffff:1.2.3.4]:6")), StableHash("\1\2\3\4"));
  EXPECT_NE(hash("client_ip", Asked("", "/", "[2001:db8::1]:6")),
            hash("client_ip", Asked("", "/", "[2001:db8::2]:6")));
}

TEST(Cookies, AllOfAName) {
  const Asked asked("Cookie: a=1;a=2 ; b=3\r\nX-Other: a=4\r\nCookie:\r\nCookie: ; ;a=\"5\"; aa=6; a=\r\n");
  std::string values;
  for (CookieReader reader(asked.request.fields, "a"); reader.Next();)
    values += "<" + std::string(reader.value()) + ">";
  EXPECT_EQ(values, "<1><2><\"5\"><>");
}

TEST(Split, ByChanceAndByWeight) {
  const Asked asked("");
  const Split split = Of({95, 0, 5});
  Random random(1);
  uint32_t counts[3] = {};
  for (int i = 0; i < 100'000; ++i) {
    const SplitChoice choice = ChooseSide(split, asked.request, random.Next());
    EXPECT_EQ(choice.why, SplitChoice::Why::kChance);
    ++counts[choice.side];
  }
  EXPECT_NEAR(counts[0], 95'000, 500);
  EXPECT_EQ(counts[1], 0u);
  EXPECT_NEAR(counts[2], 5'000, 500);
}

TEST(Split, TheEndsOfTheLine) {
  const Asked asked("");
  EXPECT_EQ(ChooseSide(Of({0, 1, 0}), asked.request, 0).side, 1u);
  EXPECT_EQ(ChooseSide(Of({0, 1, 0}), asked.request, UINT64_MAX).side, 1u);
  EXPECT_EQ(ChooseSide(Of({1, 1}), asked.request, UINT64_MAX / 2).side, 0u);
  EXPECT_EQ(ChooseSide(Of({1, 1}), asked.request, UINT64_MAX / 2 + 1).side, 1u);
  const Split most = Of(std::vector<uint32_t>(Split::kMaxSides, Split::kMaxWeight));
  EXPECT_EQ(ChooseSide(most, asked.request, 0).side, 0u);
  EXPECT_EQ(ChooseSide(most, asked.request, UINT64_MAX).side, Split::kMaxSides - 1);
}

TEST(Split, AHashMeetsTheSameSideAndFewMoveWithTheWeights) {
  constexpr int kUsers = 20'000;
  const auto sides = [](std::vector<uint32_t> weights) {
    Split split = Of(std::move(weights));
    split.sticky = Split::Sticky::kHash;
    split.key = KeyOf("query:user");
    std::vector<uint32_t> found;
    for (int user = 0; user < kUsers; ++user) {
      const std::string query = "user=" + std::to_string(user);
      const RouteRequest request = {.query = query};
      const SplitChoice choice = ChooseSide(split, request, static_cast<uint64_t>(user) << 40);
      EXPECT_EQ(choice.why, SplitChoice::Why::kHash);
      found.push_back(choice.side);
    }
    return found;
  };
  const auto moved = [](const std::vector<uint32_t>& a, const std::vector<uint32_t>& b) {
    int count = 0;
    for (int i = 0; i < kUsers; ++i) count += a[static_cast<size_t>(i)] != b[static_cast<size_t>(i)];
    return 100.0 * count / kUsers;
  };
  const std::vector<uint32_t> before = sides({95, 5});
  EXPECT_EQ(before, sides({95, 5}));
  EXPECT_EQ(before, sides({950, 50})) << "shares, not sums";
  EXPECT_NEAR(moved(before, sides({90, 10})), 5, 0.7);
  EXPECT_NEAR(moved(before, sides({100, 0})), 5, 0.7);
  EXPECT_NEAR(moved(before, sides({0, 100})), 95, 0.7);
  EXPECT_NEAR(moved(sides({50, 25, 25}), sides({50, 50})), 25, 1.2);
}

TEST(Split, WithoutAKeyChanceDecides) {
  Split split = Of({1, 1});
  split.sticky = Split::Sticky::kHash;
  split.key = KeyOf("header:X-User");
  const Asked asked("");
  EXPECT_EQ(ChooseSide(split, asked.request, 0).side, 0u);
  const SplitChoice other = ChooseSide(split, asked.request, UINT64_MAX);
  EXPECT_EQ(other.side, 1u);
  EXPECT_EQ(other.why, SplitChoice::Why::kChance);
}

TEST(Split, ACookieHolds) {
  Split split = Of({0, 1, 1});
  split.sticky = Split::Sticky::kCookie;
  split.cookie = "side";
  const auto choose = [&](const std::string& fields) {
    return ChooseSide(split, Asked(fields).request, UINT64_MAX);
  };
  for (uint32_t side = 0; side < 3; ++side) {
    const SplitChoice choice = choose("Cookie: a=b; side=" + SideId(std::to_string(side)) + "\r\n");
    EXPECT_EQ(choice.side, side) << "whatever its weight";
    EXPECT_EQ(choice.why, SplitChoice::Why::kCookie);
  }
  EXPECT_EQ(choose("Cookie: side=old; side=" + SideId("0") + "\r\n").side, 0u) << "one that is valid will do";
  for (const std::string& fields :
       {std::string(), std::string("Cookie: side=\r\n"), "Cookie: other=" + SideId("0") + "\r\n",
        "Cookie: side=" + SideId("0") + "0\r\n", "Cookie: Side=" + SideId("0") + "\r\n",
        "Cookie: side=" + SideId("gone") + "\r\n", "X-Cookie: side=" + SideId("0") + "\r\n"}) {
    const SplitChoice choice = choose(fields);
    EXPECT_EQ(choice.side, 2u) << fields;
    EXPECT_EQ(choice.why, SplitChoice::Why::kChance) << fields;
  }
}

TEST(Split, ASidesIdShowsNothingAndIsACookieValue) {
  EXPECT_EQ(SideId("canary"), SideId("canary"));
  EXPECT_NE(SideId("canary"), SideId("canarx"));
  EXPECT_EQ(SideId("a; b=\"c\"").find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_EQ(SideId("").size(), 16u);
}

}  // namespace
}  // namespace weir::lb
