#include "lb/route/network_set.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "core/random.h"
#include "gtest/gtest.h"

namespace weir::lb {
namespace {

SocketAddress Address(const std::string& text) {
  const auto address =
      SocketAddress::Parse(text.find(':') == std::string::npos ? text + ":1" : "[" + text + "]:1");
  EXPECT_TRUE(address.has_value()) << text;
  return address.value_or(SocketAddress());
}

// What it is, or "! why not".
std::string Parsed(std::string_view text) {
  Network network;
  std::string error;
  return ParseNetwork(text, &network, &error) ? network.ToString() : "! " + error;
}

Network Net(std::string_view text) {
  Network network;
  std::string error;
  EXPECT_TRUE(ParseNetwork(text, &network, &error)) << text << ": " << error;
  return network;
}

TEST(Network, IsParsed) {
  EXPECT_EQ(Parsed("10.0.0.0/8"), "10.0.0.0/8");
  EXPECT_EQ(Parsed("10.0.0.1"), "10.0.0.1/32");
  EXPECT_EQ(Parsed("0.0.0.0/0"), "0.0.0.0/0");
  EXPECT_EQ(Parsed("2001:db8::/32"), "2001:db8::/32");
  EXPECT_EQ(Parsed("2001:DB8::1"), "2001:db8::1/128");
  EXPECT_EQ(Parsed("::/0"), "::/0");
  EXPECT_EQ(Parsed("::ffff:10.0.0.0/104"), "10.0.0.0/8");
  EXPECT_EQ(Parsed("::ffff:10.0.0.1"), "10.0.0.1/32");
  EXPECT_EQ(Parsed("::ffff:0:0/96"), "0.0.0.0/0");
}

TEST(Network, OrItIsSaidWhyNot) {
  EXPECT_EQ(Parsed("10.0.0.1/8"), "! has bits set behind its prefix; the network would be 10.0.0.0/8");
  EXPECT_EQ(Parsed("10.255.0.0/12"), "! has bits set behind its prefix; the network would be 10.240.0.0/12");
  EXPECT_EQ(Parsed("2001:db8::1/32"), "! has bits set behind its prefix; the network would be 2001:db8::/32");
  EXPECT_EQ(Parsed("::ffff:10.0.0.1/104"),
            "! has bits set behind its prefix; the network would be 10.0.0.0/8");
  for (const char* text :
       {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/08", "10.0.0.0/-1", "10.0.0.0/8 ", "1.2.3.4/+8"})
    EXPECT_EQ(Parsed(text), "! expected a prefix length from 0 to 32 behind the slash") << text;
  EXPECT_EQ(Parsed("::/129"), "! expected a prefix length from 0 to 128 behind the slash");
  for (const std::string& text :
       {std::string(""), std::string("/8"), std::string("10.0.0/8"), std::string("a.example"),
        std::string("[::1]"), std::string("10.0.0.1\0x", 10), std::string("1.2.3.4:80")})
    EXPECT_EQ(Parsed(text), "! expected an address or a network, such as 10.0.0.0/8 or 2001:db8::/32")
        << text;
}

TEST(Network, MadeByHandIsChecked) {
  std::string error;
  EXPECT_TRUE(IsValidNetwork({}, &error));  // 0.0.0.0/0
  EXPECT_FALSE(IsValidNetwork({.prefix_bits = 33}, &error));
  EXPECT_EQ(error, "expected a prefix length from 0 to 32");
  EXPECT_FALSE(IsValidNetwork({.bytes = {1}}, &error));
  EXPECT_FALSE(IsValidNetwork({.bytes = {1, 0, 0, 0, 1}, .prefix_bits = 32}, &error));
  Network mapped = {.prefix_bits = 96, .ipv6 = true};
  mapped.bytes[10] = mapped.bytes[11] = 0xff;
  EXPECT_FALSE(IsValidNetwork(mapped, &error));
  mapped.prefix_bits = 128;
  EXPECT_FALSE(IsValidNetwork(mapped, &error));
}

TEST(Network, Contains) {
  EXPECT_TRUE(Net("10.0.0.0/8").Contains(Address("10.1.2.3")));
  EXPECT_FALSE(Net("10.0.0.0/8").Contains(Address("11.1.2.3")));
  EXPECT_TRUE(Net("10.0.0.0/8").Contains(Address("::ffff:10.1.2.3")));
  EXPECT_TRUE(Net("0.0.0.0/0").Contains(Address("255.255.255.255")));
  EXPECT_FALSE(Net("0.0.0.0/0").Contains(Address("::1")));
  EXPECT_FALSE(Net("::/0").Contains(Address("::ffff:10.1.2.3")));
  EXPECT_TRUE(Net("2001:db8::/33").Contains(Address("2001:db8:7fff::1")));
  EXPECT_FALSE(Net("2001:db8::/33").Contains(Address("2001:db8:8000::1")));
  EXPECT_FALSE(Net("0.0.0.0/0").Contains(SocketAddress()));
}

TEST(NetworkSet, EmptyHasNothing) {
  EXPECT_EQ(NetworkSet().Find(Address("1.2.3.4")), NetworkSet::kNone);
  EXPECT_EQ(NetworkSet::Build({}).Find(Address("::1")), NetworkSet::kNone);
}

TEST(NetworkSet, TheLongestCounts) {
  const std::vector<NetworkSet::Entry> entries = {{Net("10.0.0.0/8"), 1},    {Net("10.1.0.0/16"), 2},
                                                  {Net("10.1.2.3"), 3},      {Net("10.1.0.0/16"), 9},
                                                  {Net("0.0.0.0/0"), 0},     {Net("255.255.255.255"), 7},
                                                  {Net("2001:db8::/32"), 4}, {Net("2001:db8::/64"), 5},
                                                  {Net("2001:db8::8"), 6},   {Net("2001:db8::ff00/120"), 8}};
  const NetworkSet set = NetworkSet::Build(entries);
  for (const auto& [text, value] : std::vector<std::pair<const char*, uint32_t>>{
           {"9.255.255.255", 0},
           {"10.0.0.0", 1},
           {"10.255.255.255", 1},
           {"11.0.0.0", 0},
           {"10.1.0.0", 2},  // the first of the same
           {"10.1.2.2", 2},
           {"10.1.2.3", 3},
           {"10.1.2.4", 2},
           {"::ffff:10.1.2.3", 3},
           {"255.255.255.255", 7},
           {"255.255.255.254", 0},
           {"2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", NetworkSet::kNone},
           {"2001:db8::", 5},
           {"2001:db8::7", 5},
           {"2001:db8::8", 6},
           {"2001:db8::9", 5},
           {"2001:db8::ff00", 8},
           {"2001:db8::ffff", 8},
           {"2001:db8::1:0", 5},
           {"2001:db8:0:0:ffff:ffff:ffff:ffff", 5},
           {"2001:db8:0:1::", 4},
           {"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 4},
           {"2001:db9::", NetworkSet::kNone},
           {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NetworkSet::kNone}})
    EXPECT_EQ(set.Find(Address(text)), value) << text;
  EXPECT_EQ(set.Find(SocketAddress()), NetworkSet::kNone);
}

TEST(NetworkSet, TheWholeOfIpv6) {
  const std::vector<NetworkSet::Entry> entries = {
      {Net("::/0"), 1}, {Net("8000::/1"), 2}, {Net("ffff::/16"), 3}};
  const NetworkSet set = NetworkSet::Build(entries);
  EXPECT_EQ(set.Find(Address("::")), 1u);
  EXPECT_EQ(set.Find(Address("8000::")), 2u);
  EXPECT_EQ(set.Find(Address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")), 3u);
  EXPECT_EQ(set.Find(Address("1.2.3.4")), NetworkSet::kNone);
}

// Few distinct bytes, so that networks nest and touch.
Network RandomNetwork(Random& random) {
  Network network{.ipv6 = random.OneIn(2)};
  const uint32_t bits = network.ipv6 ? 128 : 32;
  network.prefix_bits =
      static_cast<uint8_t>(random.OneIn(3) ? random.Below(bits + 1) : bits - random.Below(4) * 8);
  constexpr uint8_t kBytes[] = {0, 1, 0x80, 0xff, 0xfe};
  for (uint32_t i = 0; i < network.prefix_bits; ++i) {
    const uint8_t byte = kBytes[(i / 8 * 7 + random.Below(2)) % 5];
    network.bytes[i / 8] |= static_cast<uint8_t>(byte & (0x80 >> i % 8));
  }
  return network;
}

SocketAddress Near(Random& random, const Network& network) {
  SocketAddress address{.family = static_cast<uint16_t>(network.ipv6 ? AF_INET6 : AF_INET)};
  memcpy(address.bytes, network.bytes, network.ipv6 ? 16 : 4);
  const uint32_t size = network.ipv6 ? 16 : 4;
  const int step = static_cast<int>(random.Below(3)) - 1;  // one before, in it, or one further
  if (random.OneIn(2)) {
    for (uint32_t i = network.prefix_bits; i < size * 8; ++i)
      address.bytes[i / 8] |= static_cast<uint8_t>(0x80 >> i % 8);
  }
  for (uint32_t i = size; step != 0 && i-- > 0;) {
    address.bytes[i] = static_cast<uint8_t>(address.bytes[i] + step);
    if (address.bytes[i] != (step > 0 ? 0 : 0xff)) break;
  }
  return address;
}

TEST(NetworkSet, IsWhatLookingAtEachGives) {
  Random random(1);
  for (int round = 0; round < 400; ++round) {
    std::vector<NetworkSet::Entry> entries;
    const uint32_t count = random.OneIn(10) ? 2'000 : random.Below(30);
    std::string error;
    while (entries.size() < count) {
      const Network network = RandomNetwork(random);
      if (IsValidNetwork(network, &error)) entries.push_back({network, random.Below(3)});
    }
    const NetworkSet set = NetworkSet::Build(entries);
    for (int i = 0; i < 200; ++i) {
      const SocketAddress address = Near(
          random,
          entries.empty() ? Network() : entries[random.Below(static_cast<uint32_t>(entries.size()))].network);
      uint32_t expected = NetworkSet::kNone;
      int longest = -1;
      for (const NetworkSet::Entry& entry : entries) {
        if (!entry.network.Contains(address) || entry.network.prefix_bits <= longest) continue;
        longest = entry.network.prefix_bits;
        expected = entry.value;
      }
      ASSERT_EQ(set.Find(address), expected) << address.ToString() << " in round " << round;
    }
  }
}

}  // namespace
}  // namespace weir::lb
