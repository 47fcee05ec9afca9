#include "core/address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>
#include <string>

#include "core/unix_path.h"

namespace weir {
namespace {

TEST(SocketAddressTest, ReadsAndWritesBothFamilies) {
  for (const char* text :
       {"1.2.3.4:80", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:443", "[::]:1", "[2001:db8::7:8]:8080"}) {
    const auto address = SocketAddress::Parse(text);
    ASSERT_TRUE(address.has_value()) << text;
    EXPECT_EQ(address->ToString(), text);
    sockaddr_storage storage;
    const socklen_t length = address->ToSockaddr(&storage);
    EXPECT_EQ(length, address->family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    EXPECT_EQ(SocketAddress::FromSockaddr(reinterpret_cast<sockaddr*>(&storage)), *address);
  }
}

TEST(SocketAddressTest, RefusesWhatIsNoAddress) {
  for (const char* text : {"",
                           ":",
                           ":80",
                           "1.2.3.4",
                           "1.2.3.4:",
                           "1.2.3:80",
                           "1.2.3.4.5:80",
                           "1.2.3.256:80",
                           "01.2.3.4:80",
                           "1.2.3.4:65536",
                           "1.2.3.4:99999999999",
                           "1.2.3.4:-1",
                           "1.2.3.4:+1",
                           "1.2.3.4: 1",
                           "1.2.3.4:1 ",
                           "1.2.3.4:0x50",
                           "1.2.3.4:80:80",
                           " 1.2.3.4:80",
                           "localhost:80",
                           "::1:80",
                           "[::1]",
                           "[::1]80",
                           "[::1]:",
                           "[::1",
                           "[]:80",
                           "[1.2.3.4]:80",
                           "[::1%lo]:80",
                           "[::1]x:80",
                           "*:80"}) {
    EXPECT_FALSE(SocketAddress::Parse(text).has_value()) << text;
  }
  EXPECT_FALSE(SocketAddress::Parse(std::string_view("1.2.3.4\0.5:80", 13)).has_value());
  EXPECT_FALSE(SocketAddress::Parse(std::string_view("[::1\0]:80", 9)).has_value());
}

TEST(SocketAddressTest, AMappedAddressReadsAsIpv4) {
  const auto address = SocketAddress::Parse("[::ffff:10.1.2.3]:80");
  ASSERT_TRUE(address.has_value());
  char text[SocketAddress::kMaxIpText + 1];
  EXPECT_EQ(std::string(text, address->WriteIp(text)), "10.1.2.3");
  EXPECT_EQ(address->ToString(), "10.1.2.3:80");
}

std::string WhyNot(const std::string& text) {
  std::string expected;
  EXPECT_FALSE(ParseUnixAddress(text, &expected).has_value()) << text;
  return expected;
}

TEST(SocketAddressTest, AUnixSocketsName) {
  std::string expected;
  for (const std::string& text :
       {std::string("unix:/run/app.sock"), std::string("unix:@app"), "unix:/" + std::string(106, 'p'),
        "unix:@" + std::string(107, 'n'), std::string("unix:/a..b/.c/d.")}) {
    const auto address = ParseUnixAddress(text, &expected);
    ASSERT_TRUE(address.has_value()) << text << ": " << expected;
    EXPECT_TRUE(address->is_unix());
    EXPECT_EQ(address->ToString(), text);
    EXPECT_EQ(address->port, 0);
    sockaddr_storage storage;
    const socklen_t length = address->ToSockaddr(&storage);
    const auto* un = reinterpret_cast<const sockaddr_un*>(&storage);
    EXPECT_EQ(un->sun_family, AF_UNIX);
    std::string name(un->sun_path, length - offsetof(sockaddr_un, sun_path));
    if (text[5] == '@') {
      EXPECT_EQ(name, '\0' + text.substr(6));
    } else {
      EXPECT_EQ(name, text.substr(5) + '\0');
    }
  }
}

TEST(SocketAddressTest, EqualNamesAreEqualAddresses) {
  std::string expected;
  const auto one = ParseUnixAddress("unix:/run/one.sock", &expected);
  const auto same = ParseUnixAddress(std::string("unix:/run/") + "one.sock", &expected);
  const auto abstract = ParseUnixAddress("unix:@/run/one.sock", &expected);
  EXPECT_EQ(*one, *same);
  EXPECT_NE(*one, *abstract);
  EXPECT_NE(*one, *ParseUnixAddress("unix:/run/two.sock", &expected));
  EXPECT_NE(*one, SocketAddress::ForUnix(nullptr));
}

TEST(SocketAddressTest, AUnixSocketWithoutAName) {
  sockaddr_storage storage{};
  storage.ss_family = AF_UNIX;
  const SocketAddress address = SocketAddress::FromSockaddr(reinterpret_cast<sockaddr*>(&storage));
  EXPECT_EQ(address, SocketAddress::ForUnix(nullptr));
  EXPECT_EQ(address.ToString(), "unix:");
  EXPECT_EQ(address.ToSockaddr(&storage), offsetof(sockaddr_un, sun_path));
  char text[SocketAddress::kMaxIpText + 1];
  EXPECT_EQ(std::string(text, address.WriteIp(text)), "unix:");
}

TEST(SocketAddressTest, WhatIsNoUnixSocketsName) {
  EXPECT_EQ(WhyNot("1.2.3.4:80"), "expected unix:/PATH or unix:@NAME");
  EXPECT_EQ(WhyNot("unix:"),
            "expected an absolute path behind unix:, such as unix:/run/app.sock, or @ and a name");
  EXPECT_EQ(WhyNot("unix:app.sock"), WhyNot("unix:"));
  EXPECT_EQ(WhyNot("unix:@"), "expected a name behind unix:@");
  EXPECT_EQ(WhyNot("unix:/" + std::string(107, 'p')),
            "a unix socket's path has at most 107 bytes, this one has 108");
  EXPECT_EQ(WhyNot("unix:@" + std::string(108, 'n')),
            "a unix socket's path has at most 107 bytes, this one has 108");
  for (const char* text :
       {"unix:/a b", "unix:/a\n", "unix:/\xc3\xa9", "unix:/\x7f", "unix:@\t", "unix:/a\"b", "unix:/a\\b"}) {
    EXPECT_EQ(WhyNot(text),
              "expected printable ASCII characters without spaces, quotes and backslashes behind unix:");
  }
  for (const char* text : {"unix:/", "unix://a", "unix:///run/a", "unix:/a/", "unix:/a/./b", "unix:/a/../b",
                           "unix:/..", "unix:/."}) {
    EXPECT_EQ(WhyNot(text),
              "expected a file's path without //, /./, /../ and without a slash at its end behind unix:")
        << text;
  }
  EXPECT_FALSE(SocketAddress::Parse("unix:/run/app.sock").has_value());  // not what a peer says
}

TEST(SocketAddressTest, TheLongestTextFits) {
  char text[SocketAddress::kMaxIpText + 1];
  const auto v6 = SocketAddress::Parse("[1111:2222:3333:4444:5555:6666:7777:8888]:1");
  EXPECT_EQ(std::string(text, v6->WriteIp(text)), "1111:2222:3333:4444:5555:6666:7777:8888");
  const auto v4 = SocketAddress::Parse("255.255.255.255:1");
  const size_t length = v4->WriteIp(text);
  EXPECT_EQ(std::string(text), "255.255.255.255");
  EXPECT_EQ(length, std::strlen(text));
  EXPECT_EQ(SocketAddress().WriteIp(text), 1u);
  EXPECT_STREQ(text, "-");
}

}  // namespace
}  // namespace weir
