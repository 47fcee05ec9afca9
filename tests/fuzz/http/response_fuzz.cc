// Any bytes as an upstream's, the first one choosing what was asked: the outcome does not depend on how they
// are cut, and what a client would get parses again to the same meaning, with one framing.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lb/http/response.h"
#include "lb/http/serialize_response.h"
#include "tests/fuzz/http/fuzz_util.h"
#include "tests/http/replay.h"

namespace weir::http {
namespace {

ResponseCase CaseOf(uint8_t choice) {
  ResponseCase response_case;
  response_case.request.method = (choice & 1) != 0 ? Method::kHead : Method::kGet;
  response_case.request.minor = (choice & 2) != 0 ? 0 : 1;
  response_case.request.keep_alive = (choice & 4) != 0;
  if ((choice & 8) != 0) response_case.request.upgrade.AddValue("websocket, foo/1");
  response_case.eof = (choice & 16) != 0;
  return response_case;
}

void CheckSerialized(const ResponseHead& head, const RequestFacts& request) {
  static ResponseHead again{Limits{.header_bytes = 1 << 17, .fields = 200}};
  ResponseContext context;
  context.body = DownstreamFraming(head.facts, request);
  context.client_minor = request.minor;
  context.keep_alive = context.body.kind != Framing::kUntilClose && request.keep_alive;
  context.date = "Sun, 06 Nov 1994 08:49:37 GMT";
  context.via_name = "weir";
  Require(request.minor == 1 || context.body.kind != Framing::kChunked, "no chunks for HTTP/1.0");
  std::vector<char> memory(MaxSerializedBytes(head, context));
  const std::string_view text(memory.data(), SerializeResponse(head, context, memory.data()));
  RequireCleanHead(text);
  const ParseResult result = ParseResponse(text, request, again);
  Require(result.done() && result.consumed == text.size(), "what we write parses");
  Require(again.facts.status == head.facts.status, "same status");
  Require(again.reason == head.reason, "same reason");
  Require(again.facts.body == context.body, "the framing we mean");
  Require(again.upgrade.text() == head.upgrade.text(), "same upgrade");
  if (head.facts.status >= 200) {
    Require(again.facts.keep_alive == context.keep_alive, "keep-alive as meant");
    Require(again.Find(FieldId::kDate) != nullptr, "a Date");
  }
  if (head.facts.status == 204 || head.facts.status < 200) {
    Require(again.Find(FieldId::kContentLength) == nullptr, "no Content-Length");
    Require(again.Find(FieldId::kTransferEncoding) == nullptr, "no Transfer-Encoding");
  }
}

void CheckInput(const uint8_t* data, size_t size) {
  if (size == 0) return;
  const ResponseCase response_case = CaseOf(data[0]);
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  static ResponseHead head{Limits()};
  const ParseResult result = ParseResponse(input, response_case.request, head);
  if (result.done()) {
    Require(result.consumed <= input.size(), "consumed no more than there is");
    CheckSerialized(head, response_case.request);
  }
  if (result.failed()) Require(result.error.status == 502, "every error is 502");

  const Outcome whole = ReplayResponse(input, {}, response_case);
  Require(ReplayResponse(input, CutsOf(input), response_case) == whole, "cuts change nothing");
  if (input.size() <= kEveryByteLimit) {
    Require(ReplayResponse(input, EveryByte(input), response_case) == whole, "byte by byte is the same");
  }
}

}  // namespace
}  // namespace weir::http

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  weir::http::CheckInput(data, size);
  return 0;
}
