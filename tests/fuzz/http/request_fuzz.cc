// Any bytes as a client's: the outcome does not depend on how they are cut, and what an origin would get
// parses again to the same meaning, with one Host and one framing.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lb/http/chars.h"
#include "lb/http/request.h"
#include "lb/http/serialize_request.h"
#include "tests/fuzz/http/fuzz_util.h"
#include "tests/http/replay.h"

namespace weir::http {
namespace {

size_t Count(const RequestHead& head, std::string_view name) {
  size_t count = 0;
  for (const Field& field : head.fields()) count += EqualsIgnoreCase(field.name(), name) ? 1 : 0;
  return count;
}

void CheckSerialized(const RequestHead& head) {
  static RequestHead again{Limits{.header_bytes = 1 << 17, .fields = 200}};
  RequestContext context;
  context.body = head.facts.body;
  context.client_ip = "192.0.2.1";
  context.request_id = "made";
  context.via_name = "weir";
  context.default_host = "default";
  std::vector<char> memory(MaxSerializedBytes(head, context));
  const std::string_view text(memory.data(), SerializeRequest(head, context, memory.data()));
  RequireCleanHead(text);
  const ParseResult result = ParseRequest(text, again);
  Require(result.done() && result.consumed == text.size(), "what we write parses");
  Require(again.facts.minor == 1, "the upstream line is HTTP/1.1");
  Require(again.method == head.method, "same method");
  Require(again.target == (head.target_lacks_slash ? "/" + std::string(head.target) : head.target),
          "same target");
  Require(again.authority == (head.authority.empty() ? "default" : head.authority), "same authority");
  Require(again.facts.body == head.facts.body, "same framing");
  Require(again.facts.upgrade.text() == head.facts.upgrade.text(), "same upgrade");
  Require(again.facts.te_trailers == head.facts.te_trailers, "same TE");
  Require(again.facts.expect_continue == head.facts.expect_continue, "same expectation");
  Require(Count(again, "Host") == 1, "one Host");
  const bool length = head.facts.body.kind == Framing::kLength;
  const bool chunked = head.facts.body.kind == Framing::kChunked;
  Require(Count(again, "Content-Length") == (length ? 1 : 0), "Content-Length as parsed");
  Require(Count(again, "Transfer-Encoding") == (chunked ? 1 : 0), "Transfer-Encoding as parsed");
  Require(Count(again, "X-Forwarded-For") == 1, "one X-Forwarded-For");
  Require(Count(again, "X_Forwarded_For") == 0, "no X_Forwarded_For");
  Require(Count(again, "Content_Length") + Count(again, "Transfer_Encoding") == 0, "no twins of framing");
  Require(Count(again, "X-Request-ID") == 1 && !again.request_id.empty(), "one valid X-Request-ID");
}

void CheckInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  static RequestHead head{Limits(), kReplayVia};
  const ParseResult result = ParseRequest(input, head);
  if (result.done()) {
    Require(result.consumed <= size, "consumed no more than there is");
    CheckSerialized(head);
    static RequestHead alone{Limits(), kReplayVia};
    const ParseResult shorter = ParseRequest(input.substr(0, result.consumed - 1), alone);
    Require(shorter.state == ParseState::kNeedMore, "every byte of a head is needed");
  }
  if (result.failed())
    Require(result.error.status >= 400 && result.error.status < 600, "errors have a status");

  const Outcome whole = ReplayRequests(input, {});
  Require(ReplayRequests(input, CutsOf(input)) == whole, "cuts change nothing");
  if (size <= kEveryByteLimit)
    Require(ReplayRequests(input, EveryByte(input)) == whole, "byte by byte is the same");
}

}  // namespace
}  // namespace weir::http

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  weir::http::CheckInput(data, size);
  return 0;
}
