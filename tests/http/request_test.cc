#include "lb/http/request.h"

#include <gtest/gtest.h>

#include <string>

#include "lb/http/head_scanner.h"

namespace weir::http {
namespace {

std::string Get(std::string_view fields) {
  return "GET / HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n";
}

class RequestTest : public testing::Test {
 protected:
  void Parse(std::string_view bytes) {
    bytes_ = bytes;
    result_ = ParseRequest(bytes_, head_);
  }
  void ParseDone(std::string_view bytes) {
    Parse(bytes);
    ASSERT_TRUE(result_.done()) << result_.error.reason;
  }
  const RequestFacts& facts() const { return head_.facts; }

  std::string bytes_;
  RequestHead head_{Limits(), "weir"};
  ParseResult result_;
};

TEST_F(RequestTest, Views) {
  ParseDone("POST /p?q HTTP/1.1\r\nA: 1\r\nHost: h:1\r\nContent-Length: 3\r\n\r\nabc");
  EXPECT_EQ(result_.consumed, bytes_.size() - 3);
  EXPECT_EQ(head_.head_bytes, result_.consumed);
  EXPECT_EQ(head_.method, "POST");
  EXPECT_EQ(facts().method, Method::kPost);
  EXPECT_EQ(head_.target, "/p?q");
  EXPECT_EQ(head_.authority, "h:1");
  EXPECT_EQ(facts().body, BodyFraming::Length(3));
  ASSERT_EQ(head_.fields().size(), 3u);
  EXPECT_EQ(head_.fields()[0].name(), "A");
  EXPECT_EQ(head_.fields()[0].value(), "1");
  EXPECT_FALSE(head_.fields()[0].dropped());
  EXPECT_TRUE(head_.fields()[1].dropped());
  ASSERT_NE(head_.Find(FieldId::kContentLength), nullptr);
  EXPECT_EQ(head_.Find(FieldId::kContentLength)->value(), "3");
  EXPECT_EQ(head_.Find(FieldId::kCookie), nullptr);
}

TEST_F(RequestTest, NothingIsLeftOfTheRequestBefore) {
  ParseDone(
      "OPTIONS http://b?q HTTP/1.0\r\nX-Request-ID: x\r\nTE: trailers\r\nMax-Forwards: 0\r\nContent-Length: "
      "4\r\n\r\n");
  EXPECT_TRUE(head_.target_lacks_slash);
  EXPECT_TRUE(head_.MustAnswerHere());
  ParseDone(Get(""));
  EXPECT_EQ(facts().minor, 1);
  EXPECT_EQ(facts().body, BodyFraming::None());
  EXPECT_TRUE(facts().upgrade.empty());
  EXPECT_FALSE(facts().te_trailers);
  EXPECT_FALSE(head_.target_lacks_slash);
  EXPECT_FALSE(head_.MustAnswerHere());
  EXPECT_EQ(head_.request_id, "");
  EXPECT_EQ(head_.authority, "a");
  EXPECT_EQ(head_.fields().size(), 1u);
  EXPECT_EQ(head_.Find(FieldId::kTe), nullptr);
}

TEST_F(RequestTest, TheTargetAsItCame) {
  for (const std::string target : {"/a/../b?c", "http://h:1/x?y", "http://h?q", "HTTPS://h"}) {
    ParseDone("GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_EQ(head_.received_target, target);
  }
  ParseDone("OPTIONS http://h HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(head_.received_target, "http://h");
}

TEST_F(RequestTest, WhatWasReadOfARefusedTarget) {
  const auto read = [&](std::string_view bytes) {
    Parse(bytes);
    EXPECT_FALSE(result_.done());
    return std::string(head_.method) + "|" + std::string(head_.received_target) +
           (head_.target_read ? "|" : "...|") + (head_.version_read ? "version" : "");
  };
  EXPECT_EQ(read("G\x01T / HTTP/1.1\r\n"), "|...|");
  EXPECT_EQ(read("GET"), "|...|");
  EXPECT_EQ(read("GET /a"), "GET|/a...|");
  EXPECT_EQ(read("GET /a HT"), "GET|/a|");
  EXPECT_EQ(read("GET /a HTTP/2.0\r\n"), "GET|/a|");
  EXPECT_EQ(read("GET /a HTTP/1.0\r\nA"), "GET|/a|version");
  EXPECT_EQ(read("GET /a\x1b[31m HTTP/1.1\r\n"), "GET|/a...|");
  EXPECT_EQ(read("GET a HTTP/1.1\r\n"), "GET|a|");
  EXPECT_EQ(read("CONNECT h:1 HTTP/1.1\r\n"), "CONNECT|h:1|");
  EXPECT_EQ(read("CONNECT h"), "CONNECT|h...|");
  EXPECT_EQ(read("GET / HTTP/1.1\r\n\r\n"), "GET|/|version");
}

TEST_F(RequestTest, KeepAlive) {
  const auto keeps = [&](std::string_view version, std::string_view connection) {
    Parse("GET / " + std::string(version) + "\r\nHost: a\r\nConnection: " + std::string(connection) +
          "\r\n\r\n");
    return facts().keep_alive;
  };
  EXPECT_TRUE(keeps("HTTP/1.1", ""));
  EXPECT_TRUE(keeps("HTTP/1.1", "Keep-Alive"));
  EXPECT_FALSE(keeps("HTTP/1.1", "CLOSE"));
  EXPECT_FALSE(keeps("HTTP/1.1", "keep-alive, close"));
  EXPECT_FALSE(keeps("HTTP/1.0", ""));
  EXPECT_TRUE(keeps("HTTP/1.0", "keep-alive"));
  EXPECT_FALSE(keeps("HTTP/1.0", "keep-alive,close"));
  EXPECT_TRUE(keeps("HTTP/1.9", ""));
}

TEST_F(RequestTest, Upgrade) {
  ParseDone(Get("Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: foo/2, h2c\r\n"));
  EXPECT_EQ(facts().upgrade.text(), "websocket, foo/2");
  EXPECT_TRUE(facts().upgrade.Contains("WEBSOCKET"));
  EXPECT_TRUE(facts().upgrade.Contains("foo/2"));
  EXPECT_FALSE(facts().upgrade.Contains("foo"));
  EXPECT_FALSE(facts().upgrade.Contains("h2c"));
}

TEST_F(RequestTest, ExpectContinue) {
  ParseDone("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_TRUE(facts().expect_continue);
  ParseDone(Get("Expect: 100-continue\r\n"));
  EXPECT_FALSE(facts().expect_continue);
}

TEST_F(RequestTest, HttpsTarget) {
  ParseDone("GET https://b/ HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(facts().https_target);
  ParseDone("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_FALSE(facts().https_target);
}

TEST_F(RequestTest, MethodIsKnownAfterAnError) {
  Parse("HEAD / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(result_.error.status, 400);
  EXPECT_EQ(facts().method, Method::kHead);
}

TEST_F(RequestTest, NoLoopDetectionWithoutName) {
  RequestHead head{Limits()};
  EXPECT_TRUE(ParseRequest(Get("Via: 1.1 weir\r\n"), head).done());
}

TEST_F(RequestTest, SafeAndIdempotent) {
  for (std::string_view name : {"GET", "HEAD", "OPTIONS", "TRACE"}) {
    EXPECT_TRUE(IsSafe(MethodOf(name)) && IsIdempotent(MethodOf(name))) << name;
  }
  for (std::string_view name : {"PUT", "DELETE"}) {
    EXPECT_TRUE(!IsSafe(MethodOf(name)) && IsIdempotent(MethodOf(name))) << name;
  }
  for (std::string_view name : {"POST", "PATCH", "CONNECT", "get", "PROPFIND", "GETX", "GE", ""}) {
    EXPECT_TRUE(!IsSafe(MethodOf(name)) && !IsIdempotent(MethodOf(name))) << name;
  }
}

TEST_F(RequestTest, ErrorsAreFoundBeforeTheHeadIsWhole) {
  for (std::string_view prefix : {
           "\x16\x03\x01",
           " ",
           "GET  ",
           "GET /\r",
           "GET / HTTP/0",
           "GET / http",
           "GET / HTTP/2.0\r\n",
           "GE(",
           "GET / HTTP/1.1\n",
           "GET / HTTP/1.1\r\n ",
           "GET / HTTP/1.1\r\n:",
           "GET / HTTP/1.1\r\nA b",
           "GET / HTTP/1.1\r\nA: \x01",
           "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
           "CONNECT ",
           "PRI ",
           "GET / HTTP/1.1\r\nA: b\rc",
           "GET / HTTP/1.1\r\nContent-Length: x\r\n",
           "\r\n\r",
           "\n",
           "\rG",
       }) {
    Parse(prefix);
    EXPECT_TRUE(result_.failed()) << prefix;
  }
}

TEST_F(RequestTest, EveryPrefixOfAGoodHeadNeedsMore) {
  const std::string good =
      "\r\nPOST http://h:80/a%20b?c HTTP/1.1\r\nHost: a\r\nX_y: \t z \r\nTransfer-Encoding: chunked\r\n\r\n";
  for (size_t size = 0; size < good.size(); ++size) {
    Parse(good.substr(0, size));
    ASSERT_EQ(result_.state, ParseState::kNeedMore) << good.substr(0, size);
  }
  ParseDone(good);
}

TEST_F(RequestTest, LimitsAreConfigurable) {
  RequestHead small{Limits{.header_bytes = 512, .fields = 3, .target_bytes = 10}};
  EXPECT_TRUE(ParseRequest("GET /123456789 HTTP/1.1\r\nHost: a\r\nB: c\r\nD: e\r\n\r\n", small).done());
  EXPECT_EQ(ParseRequest("GET /1234567890 HTTP/1.1\r\nHost: a\r\n\r\n", small).error.status, 414);
  EXPECT_EQ(ParseRequest("GET / HTTP/1.1\r\nHost: a\r\nB: c\r\nD: e\r\nF: g\r\n\r\n", small).error.status,
            431);
}

TEST_F(RequestTest, HeadOfExactlyTheLimit) {
  const Limits limits{.header_bytes = 512, .fields = 3, .target_bytes = 10};
  RequestHead small{limits};
  const auto request = [](size_t size) {
    const std::string start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    return start + std::string(size - start.size() - 4, 'y') + "\r\n\r\n";
  };
  EXPECT_TRUE(ParseRequest(request(512), small).done());
  EXPECT_TRUE(ParseRequest(request(512) + "body", small).done());
  EXPECT_EQ(ParseRequest(request(513), small).error.status, 431);
  EXPECT_EQ(ParseRequest(request(513).substr(0, 512), small).error.status, 431);
  EXPECT_EQ(ParseRequest(request(513).substr(0, 511), small).state, ParseState::kNeedMore);
}

TEST_F(RequestTest, ManyNamesAndFieldsStayCheap) {
  std::string fields = "Connection: ";
  for (int i = 0; i < 16; ++i) fields += "n" + std::to_string(i) + ",";
  fields += "\r\n";
  for (int i = 0; i < 98; ++i) fields += "n" + std::to_string(i) + ": x\r\n";
  ParseDone(Get(fields));
  size_t forwarded = 0;
  for (const Field& field : head_.fields()) forwarded += field.dropped() ? 0 : 1;
  EXPECT_EQ(forwarded, 98u - 16u);
}

TEST(HeadScannerTest, NeverLateForAWholeHead) {
  const std::string head = "GET / HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n";
  for (size_t first = 0; first <= head.size(); ++first) {
    HeadScanner scanner;
    scanner.Ready(head.substr(0, first), Limits());
    EXPECT_TRUE(first == head.size() || scanner.Ready(head, Limits())) << first;
  }
}

TEST(HeadScannerTest, ByteByByteItAsksForFewParses) {
  std::string head = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (int i = 0; i < 90; ++i) head += "Name: value\r\n";
  head += "\r\n";
  HeadScanner scanner;
  int ready = 0;
  for (size_t size = 1; size <= head.size(); ++size)
    ready += scanner.Ready(head.substr(0, size), Limits()) ? 1 : 0;
  EXPECT_EQ(ready, 2);  // the request line, and the whole
}

TEST(HeadScannerTest, AsksAtOnceAboutBytesThatCannotBe) {
  for (std::string_view bytes : {"GET / HTTP/1.1\n", "\x16", "A\rB", "\r\n\r\n"}) {
    HeadScanner scanner;
    EXPECT_TRUE(scanner.Ready(bytes, Limits())) << bytes;
  }
}

}  // namespace
}  // namespace weir::http
