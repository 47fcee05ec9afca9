#include "lb/admin/endpoint_call.h"

#include <gtest/gtest.h>

namespace weir::lb {
namespace {

constexpr bool kPost = false;
constexpr bool kDelete = true;

std::string Error(std::string_view target, bool removes = kPost) {
  std::string error;
  EXPECT_FALSE(ReadEndpointCall(removes, target, &error)) << target;
  return error;
}

TEST(EndpointCall, NamesAnEndpointAndWhatIsSaidOfIt) {
  struct Case {
    std::string_view target;
    std::string_view upstream;
    std::string_view endpoint;
    std::optional<OperatorState> state;
    uint32_t weight = 0;
  };
  const Case cases[] = {
      {"/upstreams/web/endpoints/10.0.0.1:80?state=drain", "web", "10.0.0.1:80", OperatorState::kDrain},
      {"/upstreams/web/endpoints/[::1]:80?state=down", "web", "[::1]:80", OperatorState::kDown},
      {"/upstreams/web/endpoints/%5b::1%5D:80?state=ready", "web", "[::1]:80", OperatorState::kReady},
      {"/upstreams/a%20b/endpoints/unix:/run/a.sock?state=ready", "a b", "unix:/run/a.sock",
       OperatorState::kReady},
      {"/upstreams/web/endpoints/unix:%2Frun%2fa%2?state=ready", "web", "unix:/run/a%2",
       OperatorState::kReady},
      {"/upstreams/web/endpoints/a:1?weight=1000", "web", "a:1", {}, 1000},
      {"/upstreams/web/endpoints/a:1?weight=2&state=down", "web", "a:1", OperatorState::kDown, 2},
      {"/upstreams/web/endpoints/a:1?state=down&weight=2", "web", "a:1", OperatorState::kDown, 2},
      {"/upstreams/endpoints/endpoints/endpoints?weight=2", "endpoints", "endpoints", {}, 2},
      {"/upstreams/web/endpoints/endpoints/endpoints?weight=2", "web", "endpoints/endpoints", {}, 2},
  };
  for (const Case& one : cases) {
    std::string error;
    const std::optional<EndpointCall> call = ReadEndpointCall(kPost, one.target, &error);
    ASSERT_TRUE(call) << error;
    EXPECT_EQ(call->kind, EndpointCall::Kind::kChange);
    EXPECT_EQ(call->upstream, one.upstream);
    EXPECT_EQ(call->endpoint, one.endpoint);
    EXPECT_EQ(call->state, one.state);
    EXPECT_EQ(call->weight, one.weight);
  }
}

TEST(EndpointCall, AddsAnAddress) {
  struct Case {
    std::string_view target;
    std::string_view address;
    uint32_t weight;
  };
  const Case cases[] = {
      {"/upstreams/web/endpoints?address=10.0.0.1:80", "10.0.0.1:80", 0},
      {"/upstreams/web/endpoints?weight=7&address=%5B::1%5d%3A80", "[::1]:80", 7},
      {"/upstreams/web/endpoints?address=unix:/run/a.sock&weight=1", "unix:/run/a.sock", 1},
  };
  for (const Case& one : cases) {
    std::string error;
    const std::optional<EndpointCall> call = ReadEndpointCall(kPost, one.target, &error);
    ASSERT_TRUE(call) << error;
    EXPECT_EQ(call->kind, EndpointCall::Kind::kAdd);
    EXPECT_EQ(call->upstream, "web");
    EXPECT_EQ(call->address.ToString(), one.address);
    EXPECT_EQ(call->weight, one.weight);
  }
}

TEST(EndpointCall, Removes) {
  std::string error;
  const auto call = ReadEndpointCall(kDelete, "/upstreams/web/endpoints/unix:/run/a.sock", &error);
  ASSERT_TRUE(call) << error;
  EXPECT_EQ(call->kind, EndpointCall::Kind::kRemove);
  EXPECT_EQ(call->endpoint, "unix:/run/a.sock");
  EXPECT_EQ(Error("/upstreams/web/endpoints/a:1?weight=2", kDelete),
            "\"weight=2\": expected nothing behind the endpoint's name");
  for (const char* target : {"/upstreams/web/endpoints", "/upstreams/web/endpoints/", "/upstreams/web"})
    EXPECT_EQ(Error(target, kDelete), "expected /upstreams/UPSTREAM/endpoints/ENDPOINT");
}

TEST(EndpointCall, WhatIsWrongIsSaid) {
  for (const char* target :
       {"/upstreams", "/upstreams/", "/upstreams/web", "/upstreams/web/", "/upstreams/web/endpoints/",
        "/upstreams/web/endpoints/?state=drain", "/upstreams//endpoints/a?state=drain",
        "/upstreams//endpoints?address=10.0.0.1:80", "/upstreams/endpoints?address=10.0.0.1:80",
        "/upstreams/endpoints/a?state=drain", "/upstreams/web/x/y", "/upstreams/web/x/endpoints"}) {
    EXPECT_EQ(Error(target),
              "expected /upstreams/UPSTREAM/endpoints/ENDPOINT?state=drain, ready or down, or weight=N; or "
              "/upstreams/UPSTREAM/endpoints?address=ADDRESS:PORT");
  }
  const auto expect = [](const std::string& target, const std::string& expected) {
    EXPECT_EQ(Error(target), expected) << target;
  };
  const std::string endpoint = "/upstreams/web/endpoints/a:1";
  for (const char* query : {"", "?"})
    expect(endpoint + query, "expected state=drain, state=ready, state=down or weight=N");
  for (const char* query : {"state", "state=", "state=up"}) {
    expect(endpoint + "?" + query,
           "\"" + std::string(query) + "\": expected state=drain, state=ready or state=down");
  }
  for (const char* query : {"weight", "weight=", "weight=0", "weight=1001", "weight=-1", "weight=+1",
                            "weight=1.5", "weight=4294967297", "weight= 1"}) {
    expect(endpoint + "?" + query, "\"" + std::string(query) + "\": expected a weight from 1 to 1000");
  }
  const std::string each = ": expected state=drain, ready or down, or weight=N, each once";
  expect(endpoint + "?state=drain&x=1", "\"x=1\"" + each);
  expect(endpoint + "?state=drain&state=drain", "\"state=drain\"" + each);
  expect(endpoint + "?weight=1&weight=2", "\"weight=2\"" + each);
  expect(endpoint + "?State=drain", "\"State=drain\"" + each);
  expect(endpoint + "?address=10.0.0.1:80", "\"address=10.0.0.1:80\"" + each);

  const std::string list = "/upstreams/web/endpoints";
  expect(list, "expected ?address=ADDRESS:PORT, and perhaps weight=N");
  expect(list + "?weight=2", "expected ?address=ADDRESS:PORT, and perhaps weight=N");
  for (const char* address : {"", "10.0.0.1", "10.0.0.1:0", "app:80", "10.0.0.1:80=2", "::1:80"}) {
    expect(list + "?address=" + address,
           "\"address=" + std::string(address) +
               "\": expected ADDRESS:PORT or unix:/PATH; names are for the file");
  }
  EXPECT_TRUE(Error(list + "?address=unix:a").starts_with("\"address=unix:a\": expected "));
  expect(list + "?address=10.0.0.1:80&state=drain",
         "\"state=drain\": expected address=ADDRESS:PORT, and perhaps weight=N, each once");
  expect(list + "?address=10.0.0.1:80&address=10.0.0.2:80",
         "\"address=10.0.0.2:80\": expected address=ADDRESS:PORT, and perhaps weight=N, each once");
}

TEST(UpstreamTarget, IsOneName) {
  EXPECT_EQ(ReadUpstreamTarget("/upstreams/web?x=/y"), "web");
  EXPECT_EQ(ReadUpstreamTarget("/upstreams/a%2fb"), "a/b");
  for (const char* target :
       {"/", "/upstreams", "/upstreams/", "/upstreams/web/", "/upstreams/web/endpoints/a"})
    EXPECT_FALSE(ReadUpstreamTarget(target)) << target;
}

}  // namespace
}  // namespace weir::lb
