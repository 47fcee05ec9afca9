// Who the client is behind trusted proxies.
#include "lb/route/forwarded.h"

#include "gtest/gtest.h"

namespace weir::lb {
namespace {

struct Found {
  std::string client;
  std::string forwarded_for;
  std::string proto;
  std::string host;
};

Found Find(const std::string& peer, const std::string& fields) {
  std::vector<Network> networks(3);
  std::string error;
  EXPECT_TRUE(ParseNetwork("10.0.0.0/8", &networks[0], &error));
  EXPECT_TRUE(ParseNetwork("2001:db8::/32", &networks[1], &error));
  EXPECT_TRUE(ParseNetwork("192.0.2.1", &networks[2], &error));
  const AccessList trusted(true, networks, {});
  const std::string wire = "GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
  const http::Limits limits;
  http::RequestHead head(limits);
  EXPECT_TRUE(http::ParseRequest(wire, head).done());
  RouteScratch scratch(limits.target_bytes);
  http::RequestContext context;
  const SocketAddress client = FindClient(trusted, *SocketAddress::Parse(peer), head, scratch, context);
  char ip[SocketAddress::kMaxIpText + 1];
  return {std::string(ip, client.WriteIp(ip)), std::string(context.client_ip), std::string(context.proto),
          std::string(context.forwarded_host)};
}

TEST(Forwarded, NobodyIsBelievedWhoIsNotTrusted) {
  const Found found = Find("203.0.113.1:5", "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n");
  EXPECT_EQ(found.client, "203.0.113.1");
  EXPECT_EQ(found.forwarded_for, "");
  EXPECT_EQ(found.proto, "http");
}

TEST(Forwarded, TheRightmostThatIsNoProxy) {
  for (const auto& [fields, client] : std::initializer_list<std::pair<std::string, std::string>>{
           {"", "10.0.0.1"},
           {"X-Forwarded-For: 1.2.3.4\r\n", "1.2.3.4"},
           {"X-Forwarded-For: 6.6.6.6, 1.2.3.4\r\n", "1.2.3.4"},
           {"X-Forwarded-For: 6.6.6.6,1.2.3.4 ,\t10.9.9.9\r\n", "1.2.3.4"},
           {"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.1\r\n", "6.6.6.6"},
           {"X-Forwarded-For: 10.0.0.2, 10.0.0.3\r\n", "10.0.0.2"},
           {"X-Forwarded-For: 1.2.3.4:56\r\n", "1.2.3.4"},
           {"X-Forwarded-For: 2a00::1\r\n", "2a00::1"},
           {"X-Forwarded-For: 1.1.1.1, [2a00::1]:443\r\n", "2a00::1"},
           {"X-Forwarded-For: 1.1.1.1, [2001:db8::7]\r\n", "1.1.1.1"},
           {"X-Forwarded-For: 1.1.1.1, ::ffff:10.0.0.9\r\n", "1.1.1.1"},
           // What is no address ends the search at who wrote it.
           {"X-Forwarded-For: 1.2.3.4, unknown\r\n", "10.0.0.1"},
           {"X-Forwarded-For: 1.2.3.4, nonsense, 10.0.0.2\r\n", "10.0.0.2"},
           {"X-Forwarded-For: 1.2.3.4, , 10.0.0.2\r\n", "10.0.0.2"},
           {"X-Forwarded-For: 1.2.3.4.5\r\n", "10.0.0.1"},
           {"X-Forwarded-For: " + std::string(500, '1') + "\r\n", "10.0.0.1"},
       }) {
    EXPECT_EQ(Find("10.0.0.1:5", fields).client, client) << fields;
  }
}

TEST(Forwarded, WhatGoesOn) {
  const Found found =
      Find("10.0.0.1:5",
           "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: unknown\r\nX-Forwarded-Proto: https\r\n"
           "X-Forwarded-Host: shop.example\r\n");
  EXPECT_EQ(found.forwarded_for, "6.6.6.6, unknown, 10.0.0.1");
  EXPECT_EQ(found.proto, "https");
  EXPECT_EQ(found.host, "shop.example");
  EXPECT_EQ(Find("10.0.0.1:5", "X-Forwarded-Proto: gopher\r\n").proto, "http");
}

}  // namespace
}  // namespace weir::lb
