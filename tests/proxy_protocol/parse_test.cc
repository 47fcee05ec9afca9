#include "lb/proxy_protocol/parse.h"

#include <gtest/gtest.h>

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "lb/proxy_protocol/crc32c.h"
#include "lb/proxy_protocol/tlv.h"
#include "tests/proxy_protocol/headers.h"

namespace weir::lb {
namespace {

using State = ProxyParse::State;

std::string_view NameOf(State state) {
  constexpr std::string_view kNames[] = {"need more", "done", "none", "malformed", "too long"};
  return kNames[static_cast<size_t>(state)];
}

State StateOf(std::string_view bytes) { return ParseProxyHeader(bytes).state; }

// Whole, and with what follows; at each byte before its end it needs more, and says of how many it may be.
ProxyHeader Whole(const std::string& header) {
  for (size_t cut = 0; cut < header.size(); ++cut) {
    const ProxyParse parse = ParseProxyHeader(std::string_view(header).substr(0, cut));
    EXPECT_EQ(NameOf(parse.state), "need more") << cut;
    EXPECT_GT(parse.bytes, cut);
    EXPECT_GE(parse.bytes, cut < 16 ? 16 : header.size());
    if (cut >= 12) EXPECT_TRUE(parse.begun);
  }
  for (const char* behind : {"", "\n", "GET / HTTP/1.1\r\n\r\n", "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n"}) {
    const std::string text = header + behind;
    const ProxyParse parse = ParseProxyHeader(text);
    EXPECT_EQ(NameOf(parse.state), "done") << behind << parse.why;
    EXPECT_EQ(parse.bytes, header.size());
  }
  static std::deque<std::string> kept;  // what is said of the header lies in it
  return ParseProxyHeader(kept.emplace_back(header)).header;
}

TEST(ProxyParse, V1) {
  const ProxyHeader v4 = Whole("PROXY TCP4 203.0.113.7 198.51.100.9 1234 443\r\n");
  EXPECT_EQ(v4.version, ProxyVersion::kV1);
  EXPECT_FALSE(v4.local);
  EXPECT_EQ(v4.source.ToString(), "203.0.113.7:1234");
  EXPECT_EQ(v4.destination.ToString(), "198.51.100.9:443");
  const ProxyHeader v6 = Whole("PROXY TCP6 2001:DB8::7 ::1 65535 0\r\n");
  EXPECT_EQ(v6.source.ToString(), "[2001:db8::7]:65535");
  EXPECT_EQ(v6.destination.ToString(), "[::1]:0");
  const ProxyHeader longest = Whole(
      "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 "
      "65535\r\n");
  EXPECT_FALSE(longest.local);
  const ProxyHeader mapped = Whole("PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n");
  EXPECT_EQ(mapped.source, *SocketAddress::Parse("1.2.3.4:1")) << "an IPv4 address, as everywhere else";
}

TEST(ProxyParse, V1Unknown) {
  for (const char* text :
       {"PROXY UNKNOWN\r\n", "PROXY UNKNOWN \r\n", "PROXY UNKNOWN ffff::1 whatever it is\t\x80 65535\r\n"}) {
    EXPECT_TRUE(Whole(text).local) << text;
  }
  const std::string most = "PROXY UNKNOWN " + std::string(91, 'f') + "\r\n";
  ASSERT_EQ(most.size(), 107u);
  EXPECT_TRUE(Whole(most).local);
}

TEST(ProxyParse, WrongV1) {
  for (const char* text : {
           "PROXY \r\n",
           "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
           "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
           "PROXY TCP4 1.2.3.4 1.2.3.4 1  2\r\n",
           "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
           "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
           "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
           "PROXY TCP4 1.2.3.4 1.2.3.4\r\n",
           "PROXY TCP4\r\n",
           "PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n",
           "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
           "PROXY UNKNOWN1\r\n",
           "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
           "PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n",
           "PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n",
           "PROXY TCP4 1.2.3.4/8 1.2.3.4 1 2\r\n",
           "PROXY TCP4 0x1.2.3.4 1.2.3.4 1 2\r\n",
           "PROXY TCP4 ::1 ::1 1 2\r\n",
           "PROXY TCP4 1.2.3.4 ::1 1 2\r\n",
           "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
           "PROXY TCP6 ::1%lo ::1 1 2\r\n",
           "PROXY TCP6 [::1] ::1 1 2\r\n",
           "PROXY TCP6 1::2::3 ::1 1 2\r\n",
           "PROXY TCP6 fffff::1 ::1 1 2\r\n",
           "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
           "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
           "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n",
           "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
           "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
           "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rX",
           "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n",
           "PROXY TCP4\t1.2.3.4 1.2.3.4 1 2\r\n",
       }) {
    const ProxyParse parse = ParseProxyHeader(text);
    EXPECT_EQ(NameOf(parse.state), "malformed") << text;
    EXPECT_TRUE(parse.begun);
    EXPECT_NE(std::string_view(parse.why), "");
  }
  EXPECT_EQ(StateOf(std::string_view("PROXY TCP4 1.2.3.4\0 1.2.3.4 1 2\r\n", 34)), State::kMalformed);
}

TEST(ProxyParse, AV1LineEndsWithin107Bytes) {
  const std::string begin = "PROXY UNKNOWN " + std::string(200, 'f');
  EXPECT_EQ(StateOf(begin.substr(0, 106)), State::kNeedMore);
  EXPECT_EQ(StateOf(begin.substr(0, 107)), State::kTooLong);
  EXPECT_EQ(StateOf(begin.substr(0, 106) + "\r\n"), State::kTooLong);
  EXPECT_EQ(StateOf(begin.substr(0, 105) + "\r\n"), State::kDone);
}

TEST(ProxyParse, WhatBeginsNoHeader) {
  for (const char* text :
       {"GET / HTTP/1.1\r\n", "P O", "POST / HTTP/1.1\r\n", "PROPFIND / HTTP/1.1\r\n", "PROXY\t", "PROXYTCP4",
        "proxy ", "\r\nGET ", "\r\n\r\n\r\n", "\n", "\x16\x03\x01", " PROXY TCP4"}) {
    const ProxyParse parse = ParseProxyHeader(text);
    EXPECT_EQ(NameOf(parse.state), "none") << text;
    EXPECT_FALSE(parse.begun);
  }
  const std::string v2 = V2Tcp4();
  for (size_t i = 0; i < 12; ++i) {
    std::string text = v2;
    text[i] ^= 1;
    EXPECT_EQ(NameOf(StateOf(text)), "none") << i;
  }
  EXPECT_EQ(StateOf(""), State::kNeedMore);
}

TEST(ProxyParse, V2) {
  const ProxyHeader v4 = Whole(V2Tcp4());
  EXPECT_EQ(v4.version, ProxyVersion::kV2);
  EXPECT_FALSE(v4.local);
  EXPECT_EQ(v4.source.ToString(), "203.0.113.7:1234");
  EXPECT_EQ(v4.destination.ToString(), "198.51.100.9:443");
  std::string block(36, '\0');
  block[0] = 0x20, block[1] = 0x01, block[15] = 7, block[31] = 1, block[33] = 80, block[35] = 81;
  const ProxyHeader v6 = Whole(V2(0x21, 0x21, block));
  EXPECT_EQ(v6.source.ToString(), "[2001::7]:80");
  EXPECT_EQ(v6.destination.ToString(), "[::1]:81");
  block.replace(0, 16, std::string(10, '\0') + "\xff\xff\x01\x02\x03\x04");
  EXPECT_EQ(Whole(V2(0x21, 0x21, block)).source, *SocketAddress::Parse("1.2.3.4:80"));
}

TEST(ProxyParse, V2WithoutAddresses) {
  EXPECT_TRUE(Whole(V2(0x20, 0x00, "")).local);
  EXPECT_TRUE(Whole(V2(0x20, 0x11, kV4Block)).local) << "LOCAL: what it says besides is passed over";
  EXPECT_TRUE(Whole(V2(0x20, 0xff, "\x03\xff\xff no tlv")).local);
  EXPECT_TRUE(Whole(V2(0x21, 0x00, "")).local);
  EXPECT_TRUE(Whole(V2(0x21, 0x00, "\x03\xff\xff no tlv")).local);
  EXPECT_TRUE(Whole(V2(0x21, 0x12, kV4Block)).local) << "UDP";
  const ProxyHeader unix = Whole(V2(0x21, 0x31, std::string(216, 'u') + Tlv(2, "a.test")));
  EXPECT_TRUE(unix.local);
  EXPECT_EQ(FindTlv(unix.tlvs, 2), "a.test");
  EXPECT_EQ(FindTlv(Whole(V2(0x21, 0x00, Tlv(2, "a.test"))).tlvs, 2), "a.test");
}

TEST(ProxyParse, Tlvs) {
  const std::string ssl = Tlv(0x20, std::string("\x07\0\0\0\0", 5) + Tlv(0x21, "TLSv1.3") +
                                        Tlv(0x22, "anna") + Tlv(0x23, "TLS_AES_128_GCM_SHA256"));
  const ProxyHeader header = Whole(V2Tcp4WithSum(Tlv(1, "h2") + Tlv(2, "a.test") + Tlv(4, "padding") +
                                                 Tlv(5, std::string(128, 'i')) + ssl + Tlv(0x30, "blue") +
                                                 Tlv(0xe0, "") + Tlv(2, "second")));
  EXPECT_EQ(FindTlv(header.tlvs, 1), "h2");
  EXPECT_EQ(FindTlv(header.tlvs, 2), "a.test") << "the first one";
  EXPECT_EQ(FindTlv(header.tlvs, 5), std::string(128, 'i'));
  EXPECT_EQ(FindTlv(header.tlvs, 0x21), "TLSv1.3");
  EXPECT_EQ(FindTlv(header.tlvs, 0x22), "anna");
  EXPECT_EQ(FindTlv(header.tlvs, 0x23), "TLS_AES_128_GCM_SHA256");
  EXPECT_EQ(FindTlv(header.tlvs, 0x30), "blue");
  EXPECT_EQ(FindTlv(header.tlvs, 0xe0), "");
  EXPECT_EQ(FindTlv(header.tlvs, 0xe1), std::nullopt);
}

TEST(ProxyParse, WrongV2) {
  const std::string sum = Tlv(3, std::string(4, '\0'));
  for (const std::string& text : {
           V2(0x11, 0x11, kV4Block),
           V2(0x31, 0x11, kV4Block),
           V2(0x01, 0x11, kV4Block),
           V2(0x22, 0x11, kV4Block),
           V2(0x2f, 0x11, kV4Block),
           V2(0x21, 0x13, kV4Block),
           V2(0x21, 0x41, std::string(216, '\0')),
           V2(0x21, 0x11, kV4Block.substr(1)),
           V2(0x21, 0x11, ""),
           V2(0x21, 0x21, std::string(35, '\0')),
           V2(0x21, 0x31, std::string(215, '\0')),
           V2Tcp4("\x04"),
           V2Tcp4(std::string("\x04\0", 2)),
           V2Tcp4(std::string("\x04\0\x01", 3)),
           V2Tcp4(Tlv(2, "a.test") + "x"),
           V2Tcp4(Tlv(5, std::string(129, 'i'))),
           V2Tcp4(Tlv(0x20, "1234")),
           V2Tcp4(Tlv(0x20, "12345x")),
           V2Tcp4(Tlv(0x20, std::string("12345\x21\0\x05TLS", 11))),
           V2Tcp4(Tlv(3, "123")),
           V2Tcp4(Tlv(3, "12345")),
           V2Tcp4(sum),
           V2Tcp4WithSum(sum),
       }) {
    const ProxyParse parse = ParseProxyHeader(text);
    EXPECT_EQ(NameOf(parse.state), "malformed") << text;
    EXPECT_TRUE(parse.begun);
  }
}

// Told before the rest is waited for.
TEST(ProxyParse, WrongV2IsToldAtOnce) {
  EXPECT_EQ(StateOf(V2(0x31, 0x11, kV4Block).substr(0, 13)), State::kMalformed);
  EXPECT_EQ(StateOf(V2(0x22, 0x11, kV4Block).substr(0, 13)), State::kMalformed);
  EXPECT_EQ(StateOf(V2(0x21, 0x51, kV4Block).substr(0, 14)), State::kMalformed);
  EXPECT_EQ(StateOf(V2(0x21, 0x11, "short").substr(0, 16)), State::kMalformed);
}

TEST(ProxyParse, V2HasABound) {
  const auto of_length = [](size_t length) {
    return V2Tcp4(Tlv(0xe0, std::string(length - kV4Block.size() - 3, 'x')));
  };
  EXPECT_EQ(StateOf(of_length(4096)), State::kDone);
  EXPECT_EQ(StateOf(of_length(4097)), State::kTooLong);
  EXPECT_EQ(StateOf(of_length(4097).substr(0, 16)), State::kTooLong) << "before it is read";
  EXPECT_EQ(StateOf(V2(0x20, 0, std::string(4097, 'x'))), State::kTooLong) << "LOCAL too";
}

// Whatever bit is another one, a header with a checksum does not pass.
TEST(ProxyParse, TheChecksumSeesEveryBit) {
  const std::string right = V2Tcp4WithSum(Tlv(2, "a.test"));
  ASSERT_EQ(StateOf(right), State::kDone);
  for (size_t bit = 16 * 8; bit < right.size() * 8; ++bit) {
    std::string text = right;
    text[bit / 8] ^= static_cast<char>(1 << bit % 8);
    const ProxyParse parse = ParseProxyHeader(text);
    // The type of the checksum itself may become one of which nothing is known.
    const bool is_type = bit / 8 == right.size() - 7;
    if (!is_type) EXPECT_EQ(NameOf(parse.state), "malformed") << bit;
  }
}

TEST(Tlvs, Names) {
  EXPECT_EQ(TlvType("authority"), 2);
  EXPECT_EQ(TlvType("ssl_cn"), 0x22);
  EXPECT_EQ(TlvType("0xe0"), 0xe0);
  EXPECT_EQ(TlvType("0xE0"), 0xe0);
  EXPECT_EQ(TlvType("224"), 224);
  for (const char* name : {"", "0x", "host", "256", "0x100", "-1", "0x-1", "1 ", "crc32c", "3", "0x04"}) {
    EXPECT_EQ(TlvType(name), std::nullopt) << name;
  }
}

// RFC 3720 appendix B.4.
TEST(Crc32c, Vectors) {
  std::string up, down;
  for (int i = 0; i < 32; ++i) up += static_cast<char>(i), down += static_cast<char>(31 - i);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(Crc32c(up), 0x46dd794eu);
  EXPECT_EQ(Crc32c(down), 0x113fdb5cu);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c("56789", Crc32c("1234")), 0xe3069283u) << "in pieces";
  EXPECT_EQ(Crc32c(""), 0u);
}

}  // namespace
}  // namespace weir::lb
