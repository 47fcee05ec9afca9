#include "lb/admin/endpoint_call.h"

#include <gtest/gtest.h>

namespace weir::lb {
namespace {

std::string Error(std::string_view target) {
  std::string error;
  EXPECT_FALSE(ReadEndpointCall(target, &error)) << target;
  return error;
}

TEST(EndpointCall, NamesAnEndpointAndItsState) {
  struct Case {
    std::string_view target;
    std::string_view upstream;
    std::string_view endpoint;
    OperatorState state;
  };
  const Case cases[] = {
      {"/upstreams/web/endpoints/10.0.0.1:80?state=drain", "web", "10.0.0.1:80", OperatorState::kDrain},
      {"/upstreams/web/endpoints/[::1]:80?state=down", "web", "[::1]:80", OperatorState::kDown},
      {"/upstreams/web/endpoints/%5b::1%5D:80?state=ready", "web", "[::1]:80", OperatorState::kReady},
      {"/upstreams/a%20b/endpoints/unix:/run/a.sock?state=ready", "a b", "unix:/run/a.sock",
       OperatorState::kReady},
      {"/upstreams/web/endpoints/unix:%2Frun%2fa%2?state=ready", "web", "unix:/run/a%2",
       OperatorState::kReady},
  };
  for (const Case& one : cases) {
    std::string error;
    const std::optional<EndpointCall> call = ReadEndpointCall(one.target, &error);
    ASSERT_TRUE(call) << error;
    EXPECT_EQ(call->upstream, one.upstream);
    EXPECT_EQ(call->endpoint, one.endpoint);
    EXPECT_EQ(call->state, one.state);
  }
}

TEST(EndpointCall, WhatIsWrongIsSaid) {
  for (const char* target :
       {"/upstreams", "/upstreams/", "/upstreams/web", "/upstreams/web/", "/upstreams/web/endpoints",
        "/upstreams/web/endpoints/", "/upstreams/web/endpoints/?state=drain",
        "/upstreams//endpoints/a?state=drain", "/upstreams/endpoints/a?state=drain", "/upstreams/web/x/y"}) {
    EXPECT_EQ(Error(target), "expected /upstreams/UPSTREAM/endpoints/ENDPOINT?state=drain, ready or down");
  }
  for (const char* query :
       {"", "state", "state=", "state=up", "state=drain&x=1", "weight=2", "State=drain"}) {
    EXPECT_EQ(Error("/upstreams/web/endpoints/a:1?" + std::string(query)),
              "\"" + std::string(query) + "\": expected state=drain, state=ready or state=down");
  }
  EXPECT_EQ(Error("/upstreams/web/endpoints/a:1"), "\"\": expected state=drain, state=ready or state=down");
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
