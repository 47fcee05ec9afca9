// Who may come.
#include "lb/route/access_list.h"

#include "gtest/gtest.h"

namespace weir::lb {
namespace {

std::vector<Network> Networks(std::initializer_list<const char*> texts) {
  std::vector<Network> networks;
  std::string error;
  for (const char* text : texts) EXPECT_TRUE(ParseNetwork(text, &networks.emplace_back(), &error)) << error;
  return networks;
}

bool Allows(const AccessList& list, const char* address) {
  return list.Allows(*SocketAddress::Parse(std::string(address) + ":1"));
}

TEST(AccessList, EverybodyWhereNobodyIsNamed) {
  EXPECT_TRUE(Allows(AccessList(), "1.2.3.4"));
  const AccessList list(false, {}, Networks({"1.2.0.0/16"}));
  EXPECT_FALSE(Allows(list, "1.2.3.4"));
  EXPECT_TRUE(Allows(list, "1.3.3.4"));
  EXPECT_TRUE(Allows(list, "[::1]"));
}

TEST(AccessList, NobodyElseWhereSomebodyIsNamed) {
  const AccessList list(true, Networks({"10.0.0.0/8"}), {});
  EXPECT_TRUE(Allows(list, "10.1.1.1"));
  EXPECT_FALSE(Allows(list, "11.1.1.1"));
  EXPECT_FALSE(Allows(list, "[::1]"));
  // Also where the names turned out to be none.
  EXPECT_FALSE(Allows(AccessList(true, {}, {}), "10.1.1.1"));
}

TEST(AccessList, UnixSocketsAreInNoNetwork) {
  const SocketAddress unix = SocketAddress::ForUnix(nullptr);
  EXPECT_TRUE(AccessList().Allows(unix));
  EXPECT_TRUE(AccessList(false, {}, Networks({"0.0.0.0/0", "::/0"})).Allows(unix));
  EXPECT_FALSE(AccessList(true, Networks({"0.0.0.0/0", "::/0"}), {}).Allows(unix));
  EXPECT_TRUE(AccessList(true, Networks({"10.0.0.0/8"}), {}, true).Allows(unix));
  EXPECT_FALSE(AccessList(false, {}, {}, false).Allows(unix));
}

TEST(AccessList, TheLongestDecides) {
  const AccessList list(true, Networks({"10.0.0.0/8", "10.1.2.3"}), Networks({"10.1.0.0/16", "10.0.0.0/8"}));
  EXPECT_TRUE(Allows(list, "10.1.2.3"));
  EXPECT_FALSE(Allows(list, "10.1.2.4"));
  EXPECT_FALSE(Allows(list, "10.2.0.1")) << "in both: denied";
}

}  // namespace
}  // namespace weir::lb
