// lb/http promises that nothing is allocated once its scratch objects exist: this counts.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "lb/http/body_reader.h"
#include "lb/http/date.h"
#include "lb/http/head_scanner.h"
#include "lb/http/local_response.h"
#include "lb/http/serialize_request.h"
#include "lb/http/serialize_response.h"
#include "lb/http/trailers.h"

namespace {
size_t allocations = 0;
}  // namespace

void* operator new(size_t size) {
  ++allocations;
  void* memory = malloc(size);
  if (memory == nullptr) abort();
  return memory;
}
void operator delete(void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t /*size*/) noexcept { free(memory); }

namespace weir::http {
namespace {

constexpr std::string_view kRequest =
    "POST http://[::1]:80/a%20b?c HTTP/1.1\r\nHost: a\r\nConnection: X-A, upgrade, TE\r\nX-A: "
    "1\r\nX_Forwarded_For: 1\r\n"
    "Upgrade: websocket\r\nTE: trailers\r\nVia: 1.1 a\r\nExpect: 100-continue\r\nTransfer-Encoding: "
    "chunked\r\n\r\n";
constexpr std::string_view kBody = "5;a=\"b\"\r\nhello\r\n1\r\n!\r\n0\r\n";
constexpr std::string_view kTrailers = "A: b\r\nHost: c\r\n\r\n";
constexpr std::string_view kResponse =
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: X-A\r\nX-A: 1\r\nVia: 1.1 b\r\n\r\n";

TEST(AllocationTest, NoneOnceTheScratchObjectsExist) {
  RequestHead request{Limits(), "weir"};
  ResponseHead response{Limits()};
  Trailers trailers{Limits()};
  RequestContext request_context;
  request_context.via_name = "weir";
  ResponseContext response_context;
  response_context.via_name = "weir";
  std::vector<char> out(4096);
  std::vector<char> body(kBody.size());
  char date[kDateBytes];

  const size_t before = allocations;
  bool good = true;
  for (int i = 0; i < 1000; ++i) {
    HeadScanner scanner;
    good &= scanner.Ready(kRequest, Limits());
    good &= ParseRequest(kRequest, request).done();
    request_context.body = request.facts.body;
    good &= SerializeRequest(request, request_context, out.data()) <=
            MaxSerializedBytes(request, request_context);

    BodyReader reader(request.facts.body);
    std::copy(kBody.begin(), kBody.end(), body.begin());
    good &= reader.Read(body.data(), body.size()).size == 6;
    good &= ParseTrailers(kTrailers, trailers).done();
    good &= SerializeTrailers(trailers, out.data()) <= MaxSerializedBytes(trailers);

    good &= ParseResponse(kResponse, request.facts, response).done();
    response_context.body = DownstreamFraming(response.facts, request.facts);
    good &= SerializeResponse(response, response_context, out.data()) <=
            MaxSerializedBytes(response, response_context);
    good &= ParseRequest("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n", request).failed();
    good &= SerializeError(400, "x", 1, LocalContext(), out.data()) <= kMaxErrorBytes;
    FormatDate(i, date);
  }
  EXPECT_EQ(allocations - before, 0u);
  EXPECT_TRUE(good);
}

}  // namespace
}  // namespace weir::http
