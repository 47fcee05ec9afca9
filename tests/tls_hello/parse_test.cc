#include "lb/tls_hello/parse.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lb/tls_hello/alpn.h"
#include "tests/tls_hello/hellos.h"

namespace weir::lb {
namespace {

using State = TlsHelloParser::State;

std::string_view NameOf(State state) {
  constexpr std::string_view kNames[] = {"need more", "done", "not TLS", "malformed", "too long"};
  return kNames[static_cast<size_t>(state)];
}

struct Outcome {
  State state;
  std::string name;
  std::vector<std::string> protocols;
  std::string why;

  bool operator==(const Outcome&) const = default;
};

Outcome OutcomeOf(State state, const TlsHello& hello, const TlsHelloParser& parser) {
  Outcome outcome{state, {}, {}, parser.why()};
  if (state != State::kDone) return outcome;
  outcome.name = hello.name();
  AlpnReader reader(hello.alpn());
  while (reader.Next()) outcome.protocols.emplace_back(reader.name());
  EXPECT_TRUE(reader.well_formed());
  return outcome;
}

// From a copy of just these bytes each time, so that a read behind their end is seen.
Outcome InSteps(std::string_view wire, size_t step) {
  TlsHelloParser parser;
  TlsHello hello;
  State state = State::kNeedMore;
  for (size_t size = std::min(step, wire.size());; size = std::min(size + step, wire.size())) {
    const std::unique_ptr<char[]> copy(new char[size]);
    wire.copy(copy.get(), size);
    state = parser.Read({copy.get(), size}, &hello);
    if (state != State::kNeedMore || size == wire.size()) break;
  }
  return OutcomeOf(state, hello, parser);
}

// The same however it comes.
Outcome Read(std::string_view wire) {
  const Outcome whole = InSteps(wire, std::max<size_t>(wire.size(), 1));
  for (const size_t step : {1, 2, 3, 5, 7, 100, 1460}) {
    EXPECT_EQ(whole, InSteps(wire, step)) << "in steps of " << step << ": " << whole.why;
  }
  return whole;
}

// Right; needs more at each byte before its end; and what follows is nobody's business.
Outcome Good(const std::string& wire) {
  for (size_t cut = 0; cut < wire.size(); ++cut) {
    TlsHelloParser parser;
    TlsHello hello;
    const std::string part = wire.substr(0, cut);
    EXPECT_EQ(NameOf(parser.Read(part, &hello)), "need more") << cut;
    EXPECT_EQ(NameOf(parser.Read(wire, &hello)), "done") << cut << parser.why();
  }
  const Outcome outcome = Read(wire);
  EXPECT_EQ(NameOf(outcome.state), "done") << outcome.why;
  EXPECT_EQ(Read(wire + "\x17\x03\x03\x40\x00whatever").name, outcome.name);
  return outcome;
}

using Names = std::vector<std::string>;

TEST(TlsHello, RealOnes) {
  EXPECT_EQ(Good(kOpenssl13).name, "shop.example") << "in lower case";
  EXPECT_EQ(Good(kOpenssl13).protocols, (Names{"h2", "http/1.1"}));
  EXPECT_EQ(Good(kOpenssl12).name, "shop.example");
  EXPECT_EQ(Good(kOpenssl12).protocols, Names());
  EXPECT_EQ(Good(kOpensslNoName).name, "");
  EXPECT_EQ(Good(kOpensslTls10).name, "old.example");
  EXPECT_EQ(Good(kCurl).name, "www.shop.example");
  EXPECT_EQ(Good(kCurl).protocols, (Names{"h2", "http/1.1"}));
}

TEST(TlsHello, OverManyRecords) {
  for (const std::string& real : {kOpenssl13, kCurl}) {
    const std::string message = real.substr(5);
    for (const size_t each : {1, 2, 3, 4, 5, 100, 300}) {
      const Outcome outcome = Good(TlsRecords(message, each));
      EXPECT_EQ(outcome.name, Read(real).name) << each;
      EXPECT_EQ(outcome.protocols, Read(real).protocols) << each;
    }
  }
  // Cut at each byte into two records, and other messages in the last one.
  const std::string message = kOpenssl13.substr(5);
  for (size_t cut = 1; cut < message.size(); ++cut) {
    EXPECT_EQ(Read(TlsRecord(message.substr(0, cut)) + TlsRecord(message.substr(cut) + "more")).name,
              "shop.example")
        << cut;
  }
}

TEST(TlsHello, Versions) {
  for (const uint16_t version : {0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x03ff}) {
    EXPECT_EQ(NameOf(Read(TlsRecord(kCurl.substr(5), 22, version)).state), "done") << version;
  }
  HelloParts parts;
  for (const char* version : {"\x03\x01", "\x03\x02", "\x03\x04"}) {
    parts.version = version;
    EXPECT_EQ(NameOf(Read(TlsRecord(HelloMessage(parts.Body()))).state), "done");
  }
  parts.version = "\x02\x00";
  EXPECT_EQ(Read(TlsRecord(HelloMessage(parts.Body()))).why, "expected version 3.x");
}

TEST(TlsHello, WithoutExtensions) {
  HelloParts parts;
  parts.has_extensions = false;
  EXPECT_EQ(Good(TlsRecord(HelloMessage(parts.Body()))).name, "");
  EXPECT_EQ(Good(Hello("")).name, "");
}

TEST(TlsHello, WhatIsNotKnownIsPassedOver) {
  // As Chrome has it: GREASE among suites, extensions and protocols (RFC 8701).
  HelloParts parts;
  parts.suites = Vector("\x2a\x2a\x13\x01\x13\x02\x13\x03", 2);
  parts.session_id = Vector(std::string(32, 's'), 1);
  parts.extensions = Extension(0x8a8a, "") + ServerName("chrome.example") +
                     Extension(0x000a, "\x00\x02\x1a\x1a") + Alpn({"\x4a\x4a", "h2", "http/1.1"}) +
                     Extension(0xfe0d, std::string(200, 'e')) + Extension(0x2a2a, std::string_view("\0", 1)) +
                     Extension(21, std::string(300, '\0'));
  const Outcome outcome = Good(TlsRecord(HelloMessage(parts.Body())));
  EXPECT_EQ(outcome.name, "chrome.example");
  EXPECT_EQ(outcome.protocols, (Names{"h2", "http/1.1"}));
}

TEST(TlsHello, NamesOfHosts) {
  EXPECT_EQ(Good(Hello(ServerName("WWW.A-b_c.Example."))).name, "www.a-b_c.example");
  EXPECT_EQ(Read(Hello(ServerName("localhost"))).name, "localhost");
  EXPECT_EQ(Read(Hello(ServerName("10.0.0.1"))).name, "10.0.0.1");
  const std::string label(63, 'a');
  const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'b');
  ASSERT_EQ(longest.size(), 253u);
  EXPECT_EQ(Read(Hello(ServerName(longest))).name, longest);
  EXPECT_EQ(Read(Hello(ServerName(longest + "."))).name, longest);
  for (const std::string& wrong :
       {std::string(), std::string("."), std::string("a.example.."), std::string("a..example"),
        std::string(".a"), std::string("a b"), std::string("a\0.example", 10), std::string("a/b"),
        std::string("*.example"), std::string("[::1]"), std::string("::1"), std::string("a.example:443"),
        std::string("b\xc3\xbc.example"), std::string("a\r\nb"), std::string("%61.example"),
        std::string(64, 'a') + ".example", longest + "b", std::string(5000, 'a')}) {
    EXPECT_EQ(Read(Hello(ServerName(wrong))).why, "the server name is not that of a host") << wrong;
  }
}

TEST(TlsHello, WrongServerNames) {
  const std::string name = NameEntry("a.example");
  for (const std::string& extension :
       {std::string(), std::string("\0", 1), Vector("", 2), Vector(name, 2) + "x", Vector(name + name, 2),
        Vector(NameEntry("a.example", 1), 2), Vector(name.substr(0, name.size() - 1), 2),
        Number(40, 2) + name, Vector(name, 2).substr(0, 8)}) {
    EXPECT_EQ(NameOf(Read(Hello(Extension(0, extension))).state), "malformed");
  }
}

TEST(TlsHello, WrongProtocols) {
  for (const std::string& extension :
       {std::string(), Vector("", 2), Vector(std::string_view("\0", 1), 2), Vector("\x02h", 2),
        Vector("\x02h2", 2) + "x", Number(9, 2) + "\x02h2", Vector(std::string_view("\x02h2\0", 4), 2)}) {
    EXPECT_EQ(NameOf(Read(Hello(Extension(16, extension))).state), "malformed");
  }
}

TEST(TlsHello, ManyProtocols) {
  const std::string longest(255, 'p');
  EXPECT_EQ(Read(Hello(Alpn({longest, "h2"}))).protocols, (Names{longest})) << "what fits";
  EXPECT_EQ(Read(Hello(Alpn({"h2", longest, "http/1.1"}))).protocols, (Names{"h2", "http/1.1"}));
  std::string list;
  for (int i = 0; i < 3000; ++i) list += Vector("x1", 1);
  EXPECT_EQ(Read(Hello(Extension(16, Vector(list, 2)))).protocols.size(), 85u);
}

TEST(TlsHello, NotTls) {
  for (const std::string& text : {std::string("GET / HTTP/1.1\r\n\r\n"), std::string("SSH-2.0-x\r\n"),
                                  std::string("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n"), std::string(10, '\0'),
                                  std::string("\x80\x2e\x01\x03\x01", 5), std::string("\x16\xfe\xff", 3),
                                  std::string("\x16\x02"), std::string("\x15\x03\x01\x00\x02\x01\x00", 7)}) {
    EXPECT_EQ(NameOf(Read(text).state), "not TLS") << text;
  }
  EXPECT_EQ(NameOf(Read("\x16").state), "need more") << "nobody can tell yet";
}

TEST(TlsHello, WrongRecords) {
  const std::string message = kOpenssl13.substr(5);
  const std::string begin = TlsRecord(message.substr(0, 50));
  for (const std::string& text :
       {TlsRecord(""), begin + TlsRecord(""), begin + TlsRecord("xx", 21), begin + TlsRecord("x", 23),
        begin + "GET /", begin + TlsRecord(message.substr(50), 22, 0x0203),
        std::string("\x16\x03\x01\x40\x01"), begin + "\x16\x03\x03\xff\xff", TlsRecord(HelloMessage("", 2)),
        TlsRecord(HelloMessage("", 0)), TlsRecord("\x02")}) {
    EXPECT_EQ(NameOf(Read(text).state), "malformed");
  }
}

TEST(TlsHello, WrongFields) {
  const auto with = [](auto change) {
    HelloParts parts;
    parts.extensions = ServerName("a.example");
    change(parts);
    return NameOf(Read(TlsRecord(HelloMessage(parts.Body()))).state);
  };
  using P = HelloParts;
  EXPECT_EQ(with([](P&) {}), "done");
  EXPECT_EQ(with([](P& p) { p.session_id = Vector(std::string(33, 's'), 1); }), "malformed");
  EXPECT_EQ(with([](P& p) { p.suites = Vector("", 2); }), "malformed");
  EXPECT_EQ(with([](P& p) { p.suites = Vector("\x13\x01\x13", 2); }), "malformed");
  EXPECT_EQ(with([](P& p) { p.suites = "\xff\xfe\x13\x01"; }), "malformed");
  EXPECT_EQ(with([](P& p) { p.compressions = Vector("", 1); }), "malformed");
  EXPECT_EQ(with([](P& p) { p.behind = "x"; }), "malformed");
  EXPECT_EQ(with([](P& p) { p.has_extensions = false, p.behind = "x"; }), "malformed");
  EXPECT_EQ(with([](P& p) { p.extensions += "x"; }), "malformed");
  EXPECT_EQ(with([](P& p) { p.extensions += Number(7, 2) + Number(1, 2); }), "malformed");
  EXPECT_EQ(with([](P& p) { p.extensions += ServerName("b.example"); }), "malformed");
  EXPECT_EQ(with([](P& p) { p.extensions += Extension(0x0a0a, "") + Extension(0x0a0a, ""); }), "malformed");
  EXPECT_EQ(with([](P& p) { p.extensions += Extension(0xffff, "") + Extension(0, ""); }), "malformed");
  // Each field cut short: the message ends there, or says that there is more.
  HelloParts parts;
  parts.extensions = ServerName("a.example") + Alpn({"h2"});
  const std::string body = parts.Body();
  for (size_t cut = 0; cut < body.size(); ++cut) {
    const bool may_end =
        cut == body.size() - parts.extensions.size() - 2;  // where extensions may be left out
    EXPECT_EQ(NameOf(Read(TlsRecord(HelloMessage(std::string_view(body).substr(0, cut)))).state),
              may_end ? "done" : "malformed")
        << cut;
  }
}

TEST(TlsHello, Sizes) {
  const auto of_size = [](size_t bytes) {  // of the message with its header
    HelloParts parts;
    parts.extensions = ServerName("a.example");
    const size_t rest = bytes - HelloMessage(parts.Body()).size();
    parts.extensions += Extension(21, std::string(rest - 4, '\0'));
    return HelloMessage(parts.Body());
  };
  const std::string most = of_size(TlsHello::kMostBytes);
  ASSERT_EQ(most.size(), TlsHello::kMostBytes);
  EXPECT_EQ(Read(TlsRecords(most, 1 << 14)).name, "a.example");
  EXPECT_EQ(Read(TlsRecords(most, 1000)).name, "a.example");
  EXPECT_EQ(Read(TlsRecords(most, 7)).name, "a.example");
  EXPECT_EQ(NameOf(Read(TlsRecords(most, 6)).state), "too long") << "with so many records";
  EXPECT_EQ(Read(TlsRecords(of_size(5000), 1)).name, "a.example");
  EXPECT_EQ(NameOf(Read(TlsRecords(of_size(5001), 1)).state), "too long");
  const std::string more = of_size(TlsHello::kMostBytes + 1);
  EXPECT_EQ(NameOf(Read(TlsRecords(more, 1 << 14)).state), "too long");
  EXPECT_EQ(NameOf(Read(TlsRecords(more, 1 << 14).substr(0, 9)).state), "too long") << "told by its length";
  EXPECT_EQ(NameOf(Read(TlsRecord(std::string_view("\x01\xff\xff\xff", 4))).state), "too long");
}

TEST(TlsHello, EachByteChanged) {
  // Whatever becomes of it, it is the same in one piece and in several; and nothing is read beyond its end.
  for (size_t i = 0; i < kOpenssl13.size(); ++i) {
    for (const int change : {0x01, 0x80, 0xff}) {
      std::string wire = kOpenssl13;
      wire[i] = static_cast<char>(wire[i] ^ change);
      Read(wire);
    }
  }
}

TEST(Alpn, HasProtocol) {
  const std::string list = Protocols({"h2", "http/1.1"});
  EXPECT_TRUE(HasProtocol(list, "h2"));
  EXPECT_TRUE(HasProtocol(list, "http/1.1"));
  EXPECT_FALSE(HasProtocol(list, "h"));
  EXPECT_FALSE(HasProtocol(list, "H2"));
  EXPECT_FALSE(HasProtocol("", "h2"));
}

}  // namespace
}  // namespace weir::lb
