#include "lb/http/response.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "lb/http/date.h"
#include "lb/http/local_response.h"
#include "lb/http/serialize_response.h"
#include "lb/http/status.h"

namespace weir::http {
namespace {

constexpr std::string_view kDate = "Sun, 06 Nov 1994 08:49:37 GMT";

TEST(ResponseTest, Facts) {
  ResponseHead head{Limits()};
  const std::string bytes = "HTTP/1.1 404 Not  Found\r\nContent-Length: 7\r\nX: y\r\n\r\n";
  const ParseResult result = ParseResponse(bytes + "Not her", RequestFacts(), head);
  ASSERT_TRUE(result.done());
  EXPECT_EQ(result.consumed, bytes.size());
  EXPECT_EQ(head.facts.status, 404);
  EXPECT_EQ(head.facts.minor, 1);
  EXPECT_EQ(head.facts.body, BodyFraming::Length(7));
  EXPECT_TRUE(head.facts.has_content_length);
  EXPECT_TRUE(head.facts.keep_alive);
  EXPECT_FALSE(head.facts.interim());
}

TEST(ResponseTest, EveryPrefixOfAGoodHeadNeedsMore) {
  const std::string good = "HTTP/1.1 200 OK\r\nX: \t z \r\nTransfer-Encoding: chunked\r\n\r\n";
  ResponseHead head{Limits()};
  for (size_t size = 0; size < good.size(); ++size) {
    ASSERT_EQ(ParseResponse(good.substr(0, size), RequestFacts(), head).state, ParseState::kNeedMore) << size;
  }
}

TEST(ResponseTest, EveryErrorIs502) {
  ResponseHead head{Limits()};
  for (std::string_view bytes :
       {"HTTP/2.0 ", "X", "HTTP/1.1 2x", "HTTP/1.1 200 OK\n", "HTTP/1.1 200 OK\r\nA b:"}) {
    const ParseResult result = ParseResponse(bytes, RequestFacts(), head);
    ASSERT_TRUE(result.failed()) << bytes;
    EXPECT_EQ(result.error.status, 502);
  }
}

TEST(ResponseTest, DownstreamFraming) {
  RequestFacts http10;
  http10.minor = 0;
  ResponseFacts response;
  for (const BodyFraming& body : {BodyFraming::None(), BodyFraming::Length(3)}) {
    response.body = body;
    EXPECT_EQ(DownstreamFraming(response, RequestFacts()), body);
    EXPECT_EQ(DownstreamFraming(response, http10), body);
  }
  for (const BodyFraming& body : {BodyFraming::Chunked(), BodyFraming::UntilClose()}) {
    response.body = body;
    EXPECT_EQ(DownstreamFraming(response, RequestFacts()), BodyFraming::Chunked());
    EXPECT_EQ(DownstreamFraming(response, http10), BodyFraming::UntilClose());
  }
}

std::string ErrorText(uint16_t status, std::string_view reason, uint32_t retry_after_s,
                      const LocalContext& context) {
  std::vector<char> memory(kMaxErrorBytes);
  return {memory.data(), SerializeError(status, reason, retry_after_s, context, memory.data())};
}

TEST(LocalResponseTest, Error) {
  LocalContext context;
  context.date = kDate;
  EXPECT_EQ(ErrorText(400, "repeated Host", 0, context),
            "HTTP/1.1 400 Bad Request\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n"
            "Content-Length: 31\r\nConnection: close\r\n\r\n400 Bad Request: repeated Host\n");
  context.keep_alive = true;
  context.head_request = true;
  EXPECT_EQ(ErrorText(503, "", 5, context),
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
            "Content-Type: text/plain\r\nContent-Length: 24\r\n\r\n");
  context.client_minor = 0;
  EXPECT_NE(ErrorText(503, "", 0, context).find("Connection: keep-alive\r\n"), std::string::npos);
}

TEST(LocalResponseTest, PageOfARoute) {
  LocalContext context;
  context.keep_alive = true;
  FixedResponse page;
  page.status = 503;
  page.content_type = "text/html";
  page.body = "<p>soon</p>";
  page.extra_fields = "X-A: b\r\n";
  page.retry_after_s = 7;
  page.no_store = true;
  const auto text = [&] {
    std::vector<char> memory(MaxFixedBytes(page));
    return std::string(memory.data(), SerializeFixed(page, context, memory.data()));
  };
  const std::string head =
      "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nCache-Control: no-store\r\nX-A: b\r\n"
      "Content-Type: text/html\r\nContent-Length: 11\r\n\r\n";
  EXPECT_EQ(text(), head + "<p>soon</p>");
  context.head_request = true;
  EXPECT_EQ(text(), head);
}

// What we say ourselves must be good HTTP, with a length that is right, whatever the status.
TEST(LocalResponseTest, EveryErrorIsAValidResponse) {
  LocalContext context;
  context.date = kDate;
  ResponseHead head{Limits()};
  for (uint16_t status = 200; status < 600; ++status) {
    if (status == 204 || status == 304) continue;
    const std::string text = ErrorText(status, std::string(256, 'r'), UINT32_MAX, context);
    const ParseResult result = ParseResponse(text, RequestFacts(), head);
    ASSERT_TRUE(result.done());
    EXPECT_EQ(head.facts.status, status);
    EXPECT_EQ(head.facts.body, BodyFraming::Length(text.size() - result.consumed));
    EXPECT_FALSE(head.facts.keep_alive);
  }
}

std::string LocalAnswer(std::string_view request) {
  RequestHead head{Limits()};
  EXPECT_TRUE(ParseRequest(request, head).done());
  EXPECT_TRUE(head.MustAnswerHere());
  std::vector<char> memory(MaxLocalAnswerBytes(head));
  LocalContext context;
  context.keep_alive = true;
  return {memory.data(), SerializeLocalAnswer(head, context, memory.data())};
}

TEST(LocalResponseTest, WhatIsAnsweredHereHasTheListenersFields) {
  for (const char* method : {"OPTIONS", "TRACE"}) {
    const std::string request = std::string(method) + " / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n";
    RequestHead head{Limits()};
    ASSERT_TRUE(ParseRequest(request, head).done());
    constexpr std::string_view kFields = "X-A: b\r\n";
    std::vector<char> memory(MaxLocalAnswerBytes(head) + kFields.size());
    const std::string_view answer{memory.data(), SerializeLocalAnswer(head, {}, memory.data(), kFields)};
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\nX-A: b\r\n")) << answer;
  }
}

TEST(LocalResponseTest, OptionsAnsweredHere) {
  EXPECT_EQ(LocalAnswer("OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"),
            "HTTP/1.1 200 OK\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, "
            "TRACE\r\nContent-Length: 0\r\n\r\n");
}

TEST(LocalResponseTest, TraceAnsweredHereHasNoCredentials) {
  EXPECT_EQ(
      LocalAnswer(
          "TRACE /x HTTP/1.1\r\nHost: a\r\nCookie: s\r\nAuthorization: t\r\nX:y\r\nMax-Forwards: 0\r\n\r\n"),
      "HTTP/1.1 200 OK\r\nContent-Type: message/http\r\nContent-Length: 53\r\n\r\n"
      "TRACE /x HTTP/1.1\r\nHost: a\r\nX: y\r\nMax-Forwards: 0\r\n\r\n");
}

TEST(StatusTest, Phrases) {
  EXPECT_EQ(ReasonPhrase(200), "OK");
  EXPECT_EQ(ReasonPhrase(431), "Request Header Fields Too Large");
  EXPECT_EQ(ReasonPhrase(508), "Loop Detected");
  EXPECT_EQ(ReasonPhrase(299), "Unknown");
}

std::string Date(int64_t unix_seconds) {
  char text[kDateBytes];
  FormatDate(unix_seconds, text);
  return {text, kDateBytes};
}

TEST(DateTest, KnownDates) {
  EXPECT_EQ(Date(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(Date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(Date(951782400), "Tue, 29 Feb 2000 00:00:00 GMT");
  EXPECT_EQ(Date(4107542400), "Mon, 01 Mar 2100 00:00:00 GMT");
  EXPECT_EQ(Date(253402300799), "Fri, 31 Dec 9999 23:59:59 GMT");
}

TEST(DateTest, AgreesWithTheLibraryForEveryDay) {
  for (int64_t day = 0; day < 60000; ++day) {
    const time_t when = day * 86400 + day % 86400;
    tm utc;
    gmtime_r(&when, &utc);
    char text[64];
    strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &utc);
    ASSERT_EQ(Date(when), text);
  }
}

}  // namespace
}  // namespace weir::http
