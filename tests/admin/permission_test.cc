#include "lb/admin/permission.h"

#include <gtest/gtest.h>

#include <string>

namespace weir::lb {
namespace {

constexpr std::string_view kToken = "0123456789abcdef";

int StatusOf(const std::string& fields, bool over_unix_socket = false, std::string_view token = kToken) {
  http::RequestHead head{http::Limits()};
  const std::string text = "POST /reload HTTP/1.1\r\n" + fields + "\r\n";
  EXPECT_TRUE(http::ParseRequest(text, head).done()) << text;
  return WhyNot(head, over_unix_socket, token).status;
}

TEST(Permission, OverTcpWhoHasTheTokenMay) {
  EXPECT_EQ(StatusOf("Host: 127.0.0.1:9901\r\nAuthorization: Bearer 0123456789abcdef\r\n"), 0);
  EXPECT_EQ(StatusOf("Host: [::1]:9901\r\nAuthorization: bearer 0123456789abcdef\r\n"), 0);
  EXPECT_EQ(StatusOf("Host: 10.0.0.1\r\nAuthorization: Bearer 0123456789abcdef\r\n"), 0);
  EXPECT_EQ(StatusOf("Host: LocalHost:9901\r\nAuthorization: Bearer 0123456789abcdef\r\n"), 0);
}

TEST(Permission, OverTcpNobodyElseMay) {
  for (const char* given : {"", "Authorization: Bearer 0123456789abcdeX\r\n", "Authorization: Bearer 0\r\n",
                            "Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n",
                            "Authorization: Bearer \r\n", "Authorization: Basic 0123456789abcdef\r\n",
                            "Authorization: 0123456789abcdef\r\n", "X-Token: 0123456789abcdef\r\n"}) {
    EXPECT_EQ(StatusOf(std::string("Host: 127.0.0.1\r\n") + given), 401) << given;
  }
  EXPECT_EQ(StatusOf("Host: 127.0.0.1\r\n", false, ""), 403) << "there is no token";
  EXPECT_EQ(StatusOf("Host: 127.0.0.1\r\nAuthorization: Bearer \r\n", false, ""), 403);
}

TEST(Permission, NoBrowserMay) {
  const std::string token = "Authorization: Bearer 0123456789abcdef\r\n";
  EXPECT_EQ(StatusOf("Host: rebound.example:9901\r\n" + token), 403);
  EXPECT_EQ(StatusOf("Host: localhost.example\r\n" + token), 403);
  EXPECT_EQ(StatusOf("Host: 127.0.0.1.example\r\n" + token), 403);
  EXPECT_EQ(StatusOf("Host: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n" + token), 403);
  EXPECT_EQ(StatusOf("Host: localhost\r\norigin: null\r\n", true), 403);
}

TEST(Permission, OverAUnixSocketWhoCanOpenItMay) {
  EXPECT_EQ(StatusOf("Host: localhost\r\n", true), 0);
  EXPECT_EQ(StatusOf("Host: anything.example\r\n", true, ""), 0);
}

}  // namespace
}  // namespace weir::lb
