#include "lb/route/host.h"

#include <string>

#include "gtest/gtest.h"

namespace weir::lb {
namespace {

std::string Normal(std::string_view authority) {
  char out[kHostBytes];
  return std::string(NormaliseHost(authority, out));
}

TEST(Host, HasOneSpelling) {
  EXPECT_EQ(Normal("a.example"), "a.example");
  EXPECT_EQ(Normal("A.Example:8080"), "a.example");
  EXPECT_EQ(Normal("a.example.:80"), "a.example");
  EXPECT_EQ(Normal("a.example:"), "a.example");
  EXPECT_EQ(Normal("a.example.."), "a.example.");  // which no rule has
  EXPECT_EQ(Normal("127.0.0.1:80"), "127.0.0.1");
}

TEST(Host, Ipv6KeepsItsBrackets) {
  EXPECT_EQ(Normal("[::1]"), "[::1]");
  EXPECT_EQ(Normal("[2001:DB8:0:0::1]:443"), "[2001:db8::1]");
  EXPECT_EQ(Normal("[::ffff:1.2.3.4]"), "[::ffff:1.2.3.4]");
  EXPECT_EQ(Normal("[::1"), "");
  EXPECT_EQ(Normal("[]"), "");
  EXPECT_EQ(Normal("[" + std::string(300, ':') + "]"), "");
}

TEST(Host, EmptyOrTooLongIsNone) {
  EXPECT_EQ(Normal(""), "");
  EXPECT_EQ(Normal("."), "");
  EXPECT_EQ(Normal(":80"), "");
  EXPECT_EQ(Normal(std::string(256, 'A')), std::string(256, 'a'));
  EXPECT_EQ(Normal(std::string(257, 'a')), "");
}

}  // namespace
}  // namespace weir::lb
