#include "core/address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <cstring>

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
