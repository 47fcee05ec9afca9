// Who the client is behind trusted proxies.
#include "lb/route/forwarded.h"

#include "core/random.h"
#include "gtest/gtest.h"
#include "lb/route/forwarded_element.h"

namespace weir::lb {
namespace {

struct Found {
  std::string client;
  std::string forwarded_for;
  std::string proto;
  std::string host;
  std::string forwarded;  // with this hop's element
};

Found Find(const std::string& peer, const std::string& fields,
           ForwardedForm form = ForwardedForm::kXForwarded) {
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
  scratch.forwarded_elements = "of another request";
  const SocketAddress address = *SocketAddress::Parse(peer);
  const std::optional<SocketAddress> found = FindClient(trusted, form, address, head, scratch, context);
  if (!found) return {"refused", "", "", "", ""};
  const SocketAddress& client = *found;
  if (form != ForwardedForm::kXForwarded) AddForwarded(form, address, "inner", "weir", scratch, context);
  EXPECT_EQ(context.x_forwarded, form != ForwardedForm::kRfc7239);
  char ip[SocketAddress::kMaxIpText + 1];
  return {std::string(ip, client.WriteIp(ip)), std::string(context.client_ip), std::string(context.proto),
          std::string(context.forwarded_host), std::string(context.forwarded)};
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

TEST(Forwarded, Schemes) {
  const std::string name = "X-Forwarded-Proto: ";
  for (const auto& [lines, scheme] : std::initializer_list<std::pair<std::string, std::string>>{
           {name + "HTTPS\r\n", "https"},
           {name + "wss\r\n", "https"},
           {name + "https,https\r\n", "https"},
           {name + "https, wss\r\n", "https"},
           // One word of http is enough: who was first may have been the client itself.
           {name + "https, http\r\n", "http"},
           {name + "http, https\r\n", "http"},
           {name + "ws\r\n", "http"},
           {name + "https, gopher\r\n", "http"},
           {name + "\r\n", "http"},
           // The last line was added by who is nearest, whatever it means.
           {name + "https\r\n" + name + "HTTP\r\n", "http"},
           {name + "https\r\n" + name + "gopher\r\n", "http"},
           {name + "http\r\n" + name + "https\r\n", "https"},
       }) {
    EXPECT_EQ(Find("10.0.0.1:5", lines).proto, scheme) << lines;
  }
}

TEST(Forwarded, OfRfc7239) {
  for (const auto& [value, client] : std::initializer_list<std::pair<std::string, std::string>>{
           {"for=1.2.3.4", "1.2.3.4"},
           {"For=\"1.2.3.4:56\"", "1.2.3.4"},
           {"for=\"[2a00::1]\"", "2a00::1"},
           {"for=\"[2a00::1]:443\";proto=https;by=10.0.0.1", "2a00::1"},
           {"for=6.6.6.6, for=1.2.3.4,\tfor=10.9.9.9 ", "1.2.3.4"},
           {"for=6.6.6.6,,for=1.2.3.4, ,", "1.2.3.4"},
           {"for=6.6.6.6;ext=\"a, for=7.7.7.7\", for=10.0.0.3", "6.6.6.6"},
           {"for=6.6.6.6;ext=\"a\\\", for=7.7.7.7\";by=_x, for=10.0.0.3", "6.6.6.6"},
           {"for=10.0.0.2, for=10.0.0.3", "10.0.0.2"},
           {";;for=1.2.3.4;", "1.2.3.4"},
           // Who is not named ends the search at who wrote it.
           {"for=1.2.3.4, for=unknown", "10.0.0.1"},
           {"for=1.2.3.4, for=_hidden, for=10.0.0.2", "10.0.0.2"},
           {"for=1.2.3.4, for=\"UNKNOWN:_port\", for=10.0.0.2", "10.0.0.2"},
           {"for=1.2.3.4, proto=https, for=10.0.0.2", "10.0.0.2"},
           // What a trusted proxy wrote must be readable; what stands left of the client's address need not.
           {"for=1.2.3.4, for==, for=10.0.0.2", "refused"},
           {"for==, for=1.2.3.4, for=10.0.0.2", "1.2.3.4"},
           {"for=9.9.9.9;host=\"a!b(c)%41;='\"", "9.9.9.9"},
           {"for=9.9.9.9;host=\"a b\"", "refused"},
           {"for=\", for=1.2.3.4", "1.2.3.4"},
           {"for=\"\\, for=1.2.3.4, for=10.0.0.2", "1.2.3.4"},
           {"for=1.2.3.4, for=5.6.7.8\"", "refused"},
       }) {
    EXPECT_EQ(Find("10.0.0.1:5", "Forwarded: " + value + "\r\n").client, client) << value;
    EXPECT_EQ(Find("203.0.113.1:5", "Forwarded: " + value + "\r\n").client, "203.0.113.1");
  }
  EXPECT_EQ(Find("10.0.0.1:5", "Forwarded: for=6.6.6.6\r\nforwarded: for=192.0.2.1\r\n").client, "6.6.6.6");
}

TEST(Forwarded, WhatNobodyWrites) {
  for (const char* value : {"for",
                            "for=",
                            "=1.2.3.4",
                            "for =1.2.3.4",
                            "for= 1.2.3.4",
                            "for=1.2.3.4 ;proto=http",
                            "for=1.2.3.4:80",
                            "for=2a00::1",
                            "for=\"2a00::1\"",
                            "for=[2a00::1]",
                            "for=\"[2a00::1\"",
                            "for=\"[2a00::1]x\"",
                            "for=1.2.3.4;for=1.2.3.4",
                            "for=1.2.3.4;FOR=\"\"",
                            "for=1.2.3",
                            "for=01.2.3.4",
                            "for=1.2.3.4.5",
                            "for=\"1.2.3.4\\0\"",
                            "for=\"1.2.3.4:\"",
                            "for=\"1.2.3.4:123456\"",
                            "for=\"1.2.3.4:x\"",
                            "for=hidden",
                            "for=_",
                            "for=_a/b",
                            "for=\"_a b\"",
                            "by=x",
                            "by=",
                            "for=1.2.3.4 for=1.2.3.4",
                            "proto=\"\"",
                            "proto=1a",
                            "proto=\"a b\"",
                            "host=\"\"",
                            "host=\"a/b\"",
                            "host=\"a,b\"",
                            "host=a\"b\"",
                            "host=\"a\\b\"",
                            "a=b=c",
                            "for=\"1.2.3.4\"5",
                            "\"for\"=1.2.3.4",
                            "ext=\"a",
                            "for=\"[::1%lo]\""}) {
    ForwardedElement element;
    EXPECT_FALSE(ParseForwardedElement(value, &element)) << value;
    const Found found = Find("10.0.0.1:5", std::string("Forwarded: ") + value + "\r\n", ForwardedForm::kBoth);
    EXPECT_EQ(found.client, "refused") << value;
  }
  for (const char* value :
       {"", ";", "for=unknown", "for=_a;by=\"_b:_c\"", "ext=\"a\\\"b\"", "ext=\"\"", "a=b;;c=d",
        "for=\"[::1]:0\"", "host=\"[::1]:80\"", "proto=HTTPS", "x=\"\xff\""}) {
    ForwardedElement element;
    EXPECT_TRUE(ParseForwardedElement(value, &element)) << value;
  }
}

TEST(Forwarded, SchemeAndHostAreThoseThatTheClientUsed) {
  const Found found =
      Find("10.0.0.1:5",
           "Forwarded: for=6.6.6.6;proto=gopher;host=forged, for=1.2.3.4;proto=HTTPS;host=\"shop:8\", "
           "for=10.0.0.2;proto=http;host=inner\r\n");
  EXPECT_EQ(found.proto, "https");
  EXPECT_EQ(found.host, "shop:8");
  EXPECT_EQ(found.forwarded_for, "1.2.3.4, 10.0.0.2, 10.0.0.1");
  EXPECT_EQ(Find("10.0.0.1:5", "Forwarded: for=1.2.3.4;proto=gopher, for=10.0.0.2;proto=https\r\n").proto,
            "http");
  EXPECT_EQ(Find("10.0.0.1:5", "Forwarded: for=unknown;proto=https;host=a\r\n").proto, "https");
  const Found others = Find("203.0.113.1:5", "Forwarded: for=1.2.3.4;proto=https;host=a\r\n");
  EXPECT_EQ(others.proto + others.host, "http");
}

// One source is believed, and what goes on in every form is of that one.
TEST(Forwarded, WhichIsBelieved) {
  const std::string x = "X-Forwarded-For: 6.6.6.6, 1.1.1.1, 10.0.0.7\r\nX-Forwarded-Proto: https\r\n";
  const std::string rfc =
      "Forwarded: for=7.7.7.7, for=2.2.2.2;host=b;proto=http, for=\"[2001:db8::7]\";by=_p\r\n";
  const std::string own = "for=10.0.0.1;host=inner;proto=http;by=_weir";
  const std::string of_x = "for=1.1.1.1;proto=https, for=10.0.0.7, " + own;
  const std::string of_rfc =
      "for=7.7.7.7, for=2.2.2.2;host=b;proto=http, for=\"[2001:db8::7]\";by=_p, " + own;
  struct Case {
    ForwardedForm form;
    std::string fields;
    std::string client;
    std::string forwarded_for;
    std::string forwarded;
  };
  const Case cases[] = {
      {ForwardedForm::kXForwarded, x, "1.1.1.1", "6.6.6.6, 1.1.1.1, 10.0.0.7, 10.0.0.1", ""},
      {ForwardedForm::kXForwarded, rfc, "2.2.2.2", "2.2.2.2, 2001:db8::7, 10.0.0.1", ""},
      {ForwardedForm::kXForwarded, x + rfc, "1.1.1.1", "6.6.6.6, 1.1.1.1, 10.0.0.7, 10.0.0.1", ""},
      {ForwardedForm::kXForwarded, "X-Forwarded-Proto: https\r\n" + rfc, "10.0.0.1", "10.0.0.1", ""},
      {ForwardedForm::kBoth, x + rfc, "1.1.1.1", "6.6.6.6, 1.1.1.1, 10.0.0.7, 10.0.0.1", of_x},
      {ForwardedForm::kBoth, rfc, "2.2.2.2", "2.2.2.2, 2001:db8::7, 10.0.0.1", of_rfc},
      {ForwardedForm::kRfc7239, x + rfc, "2.2.2.2", "", of_rfc},
      {ForwardedForm::kRfc7239, x, "1.1.1.1", "", of_x},
      {ForwardedForm::kRfc7239, "Forwarded: junk, for=3.3.3.3\r\n", "3.3.3.3", "", "for=3.3.3.3, " + own},
      {ForwardedForm::kRfc7239, "X-Forwarded-For: nonsense\r\nX-Forwarded-Host: a\"b\\\r\n", "10.0.0.1", "",
       "for=unknown;host=\"a\\\"b\\\\\", " + own},
      {ForwardedForm::kRfc7239, "", "10.0.0.1", "", own},
  };
  for (const Case& each : cases) {
    const Found found = Find("10.0.0.1:5", each.fields, each.form);
    EXPECT_EQ(found.client, each.client) << each.fields;
    EXPECT_EQ(found.forwarded_for, each.forwarded_for.empty() && each.form != ForwardedForm::kRfc7239
                                       ? "10.0.0.1"
                                       : each.forwarded_for)
        << each.fields;
    EXPECT_EQ(found.forwarded, each.forwarded) << each.fields;
    const Found others = Find("[2a00::5]:5", each.fields, each.form);
    EXPECT_EQ(others.client, "2a00::5");
    EXPECT_EQ(others.forwarded, each.form == ForwardedForm::kXForwarded
                                    ? ""
                                    : "for=\"[2a00::5]\";host=inner;proto=http;by=_weir");
  }
}

// A client must not be able to make what a proxy says of it unreadable: not by a Host, the one thing of its
// own that goes into the element.
TEST(Forwarded, WhatAHostMayBeIsReadAgain) {
  const http::Limits limits;
  for (int c = 0x21; c < 0x7f; ++c) {
    const std::string host = std::string("a") + static_cast<char>(c) + "b";
    http::RequestHead head(limits);
    const std::string wire = "GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n";  // the head has views of it
    if (!http::ParseRequest(wire, head).done()) continue;
    std::string text = "for=9.9.9.9;";
    AppendForwardedPair("host", head.authority, &text);
    EXPECT_EQ(Find("10.0.0.1:5", "Forwarded: " + text + "\r\n").client, "9.9.9.9") << host;
    EXPECT_EQ(Find("10.0.0.1:5", "Forwarded: " + text + "\r\n").host, host);
  }
}

TEST(Forwarded, ThisHop) {
  const http::Limits limits;
  http::RequestHead head(limits);
  const std::string wire = "GET / HTTP/1.1\r\nHost: shop.example:8080\r\nForwarded: for=1.1.1.1\r\n\r\n";
  ASSERT_TRUE(http::ParseRequest(wire, head).done());
  RouteScratch scratch(limits.target_bytes);
  http::RequestContext context;
  context.client_ip = "::1";
  AddForwarded(ForwardedForm::kBoth, *SocketAddress::Parse("[::1]:5"), head.authority, "we!r-1", scratch,
               context);
  std::string out(http::MaxSerializedBytes(head, context), '\0');
  out.resize(http::SerializeRequest(head, context, out.data()));
  EXPECT_EQ(out,
            "GET / HTTP/1.1\r\nHost: shop.example:8080\r\nX-Forwarded-For: ::1\r\nX-Forwarded-Proto: http\r\n"
            "X-Forwarded-Host: shop.example:8080\r\n"
            "Forwarded: for=\"[::1]\";host=\"shop.example:8080\";proto=http;by=_we_r-1\r\n\r\n");
  // What the client asked for, where the route rewrites the host; nothing else without X-Forwarded-*.
  context.forwarded = {};
  context.received_host = "asked.example";
  AddForwarded(ForwardedForm::kRfc7239, {}, "inner", "", scratch, context);
  out.assign(http::MaxSerializedBytes(head, context), '\0');
  out.resize(http::SerializeRequest(head, context, out.data()));
  EXPECT_EQ(out,
            "GET / HTTP/1.1\r\nHost: shop.example:8080\r\n"
            "Forwarded: for=unknown;host=asked.example;proto=http;by=_\r\n\r\n");
}

// Whatever a client made up, what a trusted proxy added behind it is found, and what goes on is well formed.
TEST(Forwarded, NothingMadeUpCoversWhatAProxyAdded) {
  Random random(7);
  constexpr std::string_view kPieces[] = {
      "for=",    "\"",           "\\", ",",           ";",     "=",
      "1.2.3.4", "[::1]",        " ",  "for=9.9.9.9", "_x",    "proto=http",
      "host=a",  "for=10.0.0.9", "\t", ":",           "by=_a", "\xff"};
  for (int round = 0; round < 20'000; ++round) {
    std::string made_up;
    for (uint32_t i = random.Below(12); i > 0; --i) made_up += kPieces[random.Below(std::size(kPieces))];
    const std::string value = "x" + made_up + (random.OneIn(2) ? ", " : "\r\nForwarded: ") +
                              "for=203.0.113.7;proto=https, for=10.0.0.2;ext=\"q,\\\"\"";
    const Found found = Find("10.0.0.1:5", "Forwarded: " + value + "\r\n", ForwardedForm::kBoth);
    ASSERT_EQ(found.client, "203.0.113.7") << value;
    ASSERT_EQ(found.proto, "https") << value;
    ASSERT_EQ(found.forwarded_for, "203.0.113.7, 10.0.0.2, 10.0.0.1") << value;
    ForwardedElement element;
    uint32_t elements = 0;
    for (http::ListReader list(found.forwarded); list.Next(); ++elements) {
      ASSERT_TRUE(ParseForwardedElement(list.element(), &element)) << found.forwarded;
    }
    ASSERT_GE(elements, 3u);
    ASSERT_EQ(element.node, "10.0.0.1") << found.forwarded;
  }
}

}  // namespace
}  // namespace weir::lb
