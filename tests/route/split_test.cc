// Which side a request goes to: the hash that never changes, who moves when sides do, cookies.
#include "lb/route/split.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include "core/random.h"
#include "gtest/gtest.h"
#include "lb/http/request.h"
#include "lb/route/cookies.h"
#include "lb/route/rendezvous.h"

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
  for (const uint32_t weight : weights) split.Add(std::to_string(split.sides.size()), weight);
  return split;
}

// Sides by their names, in the order of a list.
using Sides = std::vector<std::pair<std::string, uint32_t>>;

constexpr uint32_t kUsers = 100'000;

// Whom each of kUsers meets by the hash of who it is.
std::vector<std::string> Met(const Sides& sides) {
  Split split;
  for (const auto& [name, weight] : sides) split.Add(name, weight);
  split.sticky = Split::Sticky::kHash;
  split.key = KeyOf("query:user");
  std::vector<std::string> met;
  for (uint32_t user = 0; user < kUsers; ++user) {
    const std::string query = "user=" + std::to_string(user);
    const SplitChoice choice = ChooseSide(split, {.query = query}, uint64_t{user} << 40);
    EXPECT_EQ(choice.why, SplitChoice::Why::kHash);
    met.push_back(sides[choice.side].first);
  }
  return met;
}

std::map<std::string, double> SharesOf(const std::vector<std::string>& met) {
  std::map<std::string, double> shares;
  for (const std::string& side : met) shares[side] += 1.0 / kUsers;
  return shares;
}

double TotalOf(const Sides& sides) {
  double total = 0;
  for (const auto& [name, weight] : sides) total += weight;
  return total;
}

uint32_t WeightIn(const Sides& sides, const std::string& name) {
  for (const auto& [other, weight] : sides) {
    if (other == name) return weight;
  }
  return 0;
}

// Of how many the shares say that they must move: of what sides lose, and others gain.
double NeededMoves(const Sides& before, const Sides& after) {
  double gained = 0;
  for (const auto& [name, weight] : after)
    gained += std::max(0.0, weight / TotalOf(after) - WeightIn(before, name) / TotalOf(before));
  return gained;
}

// Checks who moves when the one becomes the other, and returns how many do.
double Moves(const Sides& before, const Sides& after) {
  const std::vector<std::string> was = Met(before);
  const std::vector<std::string> is = Met(after);
  double moved = 0;
  for (uint32_t user = 0; user < kUsers; ++user) {
    if (was[user] == is[user]) continue;
    moved += 1.0 / kUsers;
    // Nobody moves to a side that did not gain, beside the one that is left.
    EXPECT_GT(uint64_t{WeightIn(before, was[user])} * WeightIn(after, is[user]),
              uint64_t{WeightIn(before, is[user])} * WeightIn(after, was[user]))
        << was[user] << " to " << is[user];
  }
  return moved;
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
  for (const char* text :
       {"client_ip", "header:X-User", "cookie:session", "path", "query:q", "query:a b", "sni"})
    KeyOf(text);
  HashKey key;
  std::string error;
  for (const char* text : {"", "ip", "client_ip:x", "header", "header:", "header:a b",
                           "cookie:", "cookie:a=b", "path:", "query:", "Header:X", "sni:a"}) {
    EXPECT_FALSE(HashKey::Parse(text, &key, &error)) << text;
    EXPECT_EQ(error, "expected client_ip, header:NAME, cookie:NAME, path, query:NAME or sni");
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

TEST(Lot, IsTheLogarithm) {
  EXPECT_GT(LotOf(0, 0), uint64_t{60} << kLotBits) << "the hash of 0 is 0, and its logarithm is finite";
  Random random(7);
  double sum = 0;
  constexpr int kLots = 200'000;
  for (int i = 0; i < kLots; ++i) {
    const uint64_t key = random.Next();
    const uint64_t name = random.Next();
    const double lot = std::ldexp(static_cast<double>(LotOf(key, name)), -kLotBits);
    const long double exact = 64 - std::log2(static_cast<long double>(MixBits(key ^ name) | 1));
    ASSERT_NEAR(lot, static_cast<double>(exact), std::ldexp(1, -40)) << key << " " << name;
    sum += lot;
  }
  EXPECT_NEAR(sum / kLots, 1 / std::log(2), 0.01);
}

// The inverse of MixBits, so that the hash can be chosen.
uint64_t Unmixed(uint64_t z) {
  const auto unshifted = [](uint64_t x, int bits) {
    for (uint64_t y = x;;) {
      const uint64_t next = x ^ (y >> bits);
      if (next == y) return y;
      y = next;
    }
  };
  const auto inverse = [](uint64_t odd) {
    uint64_t x = odd;
    for (int i = 0; i < 6; ++i) x *= 2 - odd * x;
    return x;
  };
  z = unshifted(z, 31) * inverse(0x94d049bb133111ebu);
  z = unshifted(z, 27) * inverse(0xbf58476d1ce4e5b9u);
  return unshifted(z, 30);
}

TEST(Lot, AtTheEndsOfEachStep) {
  constexpr uint64_t kOne = uint64_t{1} << kLotBits;
  ASSERT_EQ(MixBits(Unmixed(12345)), 12345u);
  EXPECT_EQ(LotOf(Unmixed(1), 0), 64 * kOne);
  EXPECT_EQ(LotOf(Unmixed(uint64_t{1} << 63 | 1), 0), kOne) << "half";
  EXPECT_LT(LotOf(Unmixed(UINT64_MAX), 0), uint64_t{1} << 17) << "all but nothing, and not below it";
  for (uint64_t step = 64; step < 128; ++step) {
    for (const uint64_t hash : {step << 57 | 1, (step << 57) - 1}) {
      const double exact = static_cast<double>(64 - std::log2(static_cast<long double>(hash)));
      EXPECT_NEAR(std::ldexp(static_cast<double>(LotOf(Unmixed(hash), 0)), -kLotBits), exact,
                  std::ldexp(1, -40))
          << hash;
    }
  }
}

// Clients would meet another side after an update if these changed.
TEST(Lot, NeverChanges) {
  EXPECT_EQ(LotOf(StableHash("ann"), StableHash("web")), 120214531805618614u);
  EXPECT_EQ(LotOf(StableHash("ann"), StableHash("canary")), 119962026595484927u);
  EXPECT_EQ(LotOf(StableHash("bob"), StableHash("web")), 161571121603539266u);
}

TEST(Split, ByHashEachSideHasItsShare) {
  for (const Sides& sides : {Sides{{"web", 95}, {"canary", 5}}, Sides{{"a", 1}, {"b", 1}, {"c", 1}},
                             Sides{{"a", 1}, {"b", 10}, {"c", 100}, {"d", 1000}},
                             Sides{{"web", 1'000'000}, {"off", 0}, {"canary", 10'000}}}) {
    std::map<std::string, double> shares = SharesOf(Met(sides));
    for (const auto& [name, weight] : sides)
      EXPECT_NEAR(shares[name], weight / TotalOf(sides), 0.005) << name;
    EXPECT_FALSE(shares.contains("off") && shares["off"] > 0);
  }
  Sides many;
  for (uint32_t i = 0; i < Split::kMaxSides; ++i) many.emplace_back("side" + std::to_string(i), 1 + i % 4);
  std::map<std::string, double> shares = SharesOf(Met(many));
  for (const auto& [name, weight] : many) EXPECT_NEAR(shares[name], weight / TotalOf(many), 0.003) << name;
}

TEST(Split, ByHashNoMoreMoveThanMust) {
  const Sides three = {{"a", 50}, {"b", 30}, {"c", 20}};
  const auto check = [](const Sides& before, const Sides& after) {
    EXPECT_NEAR(Moves(before, after), NeededMoves(before, after), 0.004)
        << testing::PrintToString(before) << " to " << testing::PrintToString(after);
  };
  check({{"web", 95}, {"canary", 5}}, {{"web", 90}, {"canary", 10}});
  check({{"web", 95}, {"canary", 5}}, {{"web", 100}, {"canary", 0}});
  check(three, {{"a", 60}, {"b", 30}, {"c", 20}});
  check(three, {{"a", 50}, {"b", 10}, {"c", 20}});
  check(three, {{"a", 50}, {"b", 0}, {"c", 20}});
  check(three, {{"a", 50}, {"c", 20}});
  check(three, {{"b", 30}, {"c", 20}});
  check(three, {{"a", 50}, {"new", 25}, {"b", 30}, {"c", 20}});
  check(three, {{"new", 100}, {"c", 20}, {"b", 30}, {"a", 50}});
  Sides many;
  for (uint32_t i = 0; i < 20; ++i) many.emplace_back("side" + std::to_string(i), 1 + i % 3);
  Sides fewer = many;
  fewer.erase(fewer.begin() + 7);
  check(many, fewer);
  check(fewer, many);
  Sides heavier = many;
  heavier[11].second *= 5;
  check(many, heavier);
}

TEST(Split, ByHashOrderAndSumDoNotMatter) {
  EXPECT_EQ(Met({{"web", 95}, {"canary", 5}}), Met({{"canary", 50}, {"web", 950}}));
  EXPECT_EQ(Met({{"a", 5}, {"b", 3}, {"off", 0}, {"c", 2}}),
            Met({{"c", 200'000}, {"b", 300'000}, {"a", 500'000}}));
}

TEST(Split, AHashThatMeetsTwoSidesAsEarlyDoesNotAskForTheOrder) {
  Split split;
  split.Add("x", 1);
  split.Add("y", 1);
  split.sticky = Split::Sticky::kHash;
  split.key = KeyOf("path");
  // The same lots: names that are not the same, but hash as if they were, to all but the last bit of the lot.
  const uint64_t lot = Unmixed(uint64_t{1} << 40);
  const uint64_t other = Unmixed(uint64_t{1} << 40 | 1);
  const uint64_t key = StableHash("/");
  split.sides[0].name_hash = key ^ lot;
  split.sides[1].name_hash = key ^ other;
  ASSERT_EQ(LotOf(key, key ^ lot), LotOf(key, key ^ other));
  const RouteRequest request = {.path = "/"};
  const uint32_t side = ChooseSide(split, request, 0).side;
  std::swap(split.sides[0], split.sides[1]);
  EXPECT_EQ(ChooseSide(split, request, 0).side, 1 - side);
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
