// EndpointCall: what an operator asks for of endpoints through the admin listener, as text:
//   POST /upstreams/UPSTREAM/endpoints/ENDPOINT?state=drain|ready|down
// Names may be percent-encoded; what stands behind endpoints/ is one name, slashes and all
// (unix:/run/a.sock).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir::lb {

// ready: it gets requests, unless something else is wrong with it. drain: no new ones, what it has goes on.
// down: the same, and it is told as down.
enum class OperatorState : uint8_t { kReady, kDrain, kDown };

struct EndpointCall {
  std::string upstream;
  std::string endpoint;
  OperatorState state = OperatorState::kReady;
};

// `target` is all of a request's, with its query. Nothing: `error` says what was expected.
std::optional<EndpointCall> ReadEndpointCall(std::string_view target, std::string* error);
// The name of "/upstreams/NAME"; nothing if the target is another one.
std::optional<std::string> ReadUpstreamTarget(std::string_view target);

}  // namespace weir::lb
