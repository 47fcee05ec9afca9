// EndpointCall: what an operator asks for of endpoints through the admin listener, as text:
//   POST   /upstreams/UPSTREAM/endpoints/ENDPOINT?state=drain|ready|down&weight=N    one of them, or both
//   POST   /upstreams/UPSTREAM/endpoints?address=ADDRESS:PORT&weight=N               adds one
//   DELETE /upstreams/UPSTREAM/endpoints/ENDPOINT
// Names and values may be percent-encoded; what stands behind endpoints/ is one name, slashes and all
// (unix:/run/a.sock).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/address.h"

namespace weir::lb {

// ready: it gets requests, unless something else is wrong with it. drain: no new ones, what it has goes on.
// down: the same, and it is told as down.
enum class OperatorState : uint8_t { kReady, kDrain, kDown };

struct EndpointCall {
  enum class Kind : uint8_t { kChange, kAdd, kRemove };

  Kind kind = Kind::kChange;
  std::string upstream;
  std::string endpoint;                // not of kAdd
  SocketAddress address;               // of kAdd
  std::optional<OperatorState> state;  // of kChange
  uint32_t weight = 0;                 // 0: not said
};

// `target` is all of a request's, with its query. Nothing: `error` says what was expected.
std::optional<EndpointCall> ReadEndpointCall(bool removes, std::string_view target, std::string* error);
// Whether the path is one that endpoints are added by: /upstreams/NAME/endpoints.
bool IsEndpointList(std::string_view target);
// The name of "/upstreams/NAME"; nothing if the target is another one.
std::optional<std::string> ReadUpstreamTarget(std::string_view target);

}  // namespace weir::lb
