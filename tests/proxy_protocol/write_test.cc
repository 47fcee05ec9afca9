#include "lb/proxy_protocol/write.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "lb/proxy_protocol/parse.h"
#include "lb/proxy_protocol/tlv.h"
#include "tests/proxy_protocol/headers.h"

namespace weir::lb {
namespace {

std::string Written(ProxyVersion version, const ProxyFacts& facts) {
  char out[kMostWrittenProxyBytes];
  return {out, WriteProxyHeader(version, facts, out)};
}

ProxyFacts Between(const char* source, const char* destination) {
  ProxyFacts facts;
  facts.source = *SocketAddress::Parse(source);
  facts.destination = *SocketAddress::Parse(destination);
  return facts;
}

TEST(ProxyWrite, V1) {
  constexpr ProxyVersion kV1 = ProxyVersion::kV1;
  EXPECT_EQ(Written(kV1, Between("203.0.113.7:1234", "198.51.100.9:443")),
            "PROXY TCP4 203.0.113.7 198.51.100.9 1234 443\r\n");
  EXPECT_EQ(Written(kV1, Between("[2001:db8::7]:65535", "[::1]:0")),
            "PROXY TCP6 2001:db8::7 ::1 65535 0\r\n");
  EXPECT_EQ(Written(kV1, Between("1.2.3.4:5", "[2001:db8::7]:80")),
            "PROXY TCP6 ::ffff:1.2.3.4 2001:db8::7 5 80\r\n");
  EXPECT_EQ(Written(kV1, Between("[2001:db8::7]:80", "1.2.3.4:5")),
            "PROXY TCP6 2001:db8::7 ::ffff:1.2.3.4 80 5\r\n");
  EXPECT_EQ(Written(kV1, Between("[::ffff:1.2.3.4]:5", "[::ffff:5.6.7.8]:80")),
            "PROXY TCP4 1.2.3.4 5.6.7.8 5 80\r\n");
  EXPECT_EQ(Written(kV1, {}), "PROXY UNKNOWN\r\n");
  ProxyFacts local = Between("1.2.3.4:5", "1.2.3.4:6");
  local.local = true;
  EXPECT_EQ(Written(kV1, local), "PROXY UNKNOWN\r\n");
  ProxyFacts unix = Between("1.2.3.4:5", "1.2.3.4:6");
  unix.destination = SocketAddress::ForUnix(nullptr);
  EXPECT_EQ(Written(kV1, unix), "PROXY UNKNOWN\r\n");
}

TEST(ProxyWrite, V2) {
  constexpr ProxyVersion kV2 = ProxyVersion::kV2;
  EXPECT_EQ(Written(kV2, Between("203.0.113.7:1234", "198.51.100.9:443")), V2Tcp4());
  const std::string mapped = std::string(10, '\0') + "\xff\xff\x01\x02\x03\x04";
  const std::string one = std::string(15, '\0') + "\x01";
  EXPECT_EQ(Written(kV2, Between("1.2.3.4:5", "[::1]:80")),
            V2(0x21, 0x21, mapped + one + ShortText(5) + ShortText(80)));
  EXPECT_EQ(Written(kV2, {}), V2(0x21, 0x00, ""));
  ProxyFacts local = Between("1.2.3.4:5", "1.2.3.4:6");
  local.local = local.crc32c = true;
  local.authority = "a.test";
  EXPECT_EQ(Written(kV2, local), V2(0x20, 0x00, ""));
}

TEST(ProxyWrite, V2Tlvs) {
  constexpr ProxyVersion kV2 = ProxyVersion::kV2;
  ProxyFacts facts = Between("203.0.113.7:1234", "198.51.100.9:443");
  facts.authority = "a.test";
  EXPECT_EQ(Written(kV2, facts), V2Tcp4(Tlv(2, "a.test")));
  facts.unique_id = "id-7";
  EXPECT_EQ(Written(kV2, facts), V2Tcp4(Tlv(2, "a.test") + Tlv(5, "id-7")));
  facts.crc32c = true;
  EXPECT_EQ(Written(kV2, facts), V2Tcp4WithSum(Tlv(2, "a.test") + Tlv(5, "id-7")));
  // The sum as other senders have it, byte by byte.
  ProxyFacts alone = Between("203.0.113.7:1234", "198.51.100.9:443");
  alone.crc32c = true;
  const std::string text = Written(kV2, alone);
  EXPECT_EQ(text.substr(0, text.size() - 4),
            V2(0x21, 0x11, kV4Block + std::string("\x03\0\x04....", 7)).substr(0, 31));
  EXPECT_EQ(ParseProxyHeader(text).state, ProxyParse::State::kDone);

  const std::string authority(255, 'a');
  const std::string id(128, 'i');
  facts = Between("1.2.3.4:5", "[::1]:80");
  facts.crc32c = true;
  facts.authority = authority;
  facts.unique_id = id;
  const std::string longest = Written(kV2, facts);
  EXPECT_EQ(longest.size(), kMostWrittenProxyBytes);
  EXPECT_EQ(ParseProxyHeader(longest).state, ProxyParse::State::kDone);
  const std::string too_long(256, 'a');
  facts.authority = facts.unique_id = too_long;
  const std::string without = Written(kV2, facts);
  EXPECT_EQ(FindTlv(ParseProxyHeader(without).header.tlvs, 2), std::nullopt);
  EXPECT_EQ(FindTlv(ParseProxyHeader(without).header.tlvs, 5), std::nullopt);
}

}  // namespace
}  // namespace weir::lb
