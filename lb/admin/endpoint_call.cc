#include "lb/admin/endpoint_call.h"

namespace weir::lb {
namespace {

constexpr std::string_view kUpstreams = "/upstreams/";
constexpr std::string_view kEndpoints = "/endpoints/";

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// What is no encoding stays as it is.
std::string Decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? HexValue(text[i + 1]) : -1;
    const int low = high >= 0 ? HexValue(text[i + 2]) : -1;
    if (low < 0) {
      out += text[i];
    } else {
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return out;
}

}  // namespace

std::optional<EndpointCall> ReadEndpointCall(std::string_view target, std::string* error) {
  const size_t end = target.find('?');
  const std::string_view path = target.substr(0, end);
  const std::string_view query = end == std::string_view::npos ? "" : target.substr(end + 1);
  const size_t endpoints = path.find(kEndpoints);
  if (!path.starts_with(kUpstreams) || endpoints == std::string_view::npos ||
      endpoints <= kUpstreams.size() || endpoints + kEndpoints.size() >= path.size()) {
    *error = "expected /upstreams/UPSTREAM/endpoints/ENDPOINT?state=drain, ready or down";
    return std::nullopt;
  }
  EndpointCall call;
  call.upstream = Decoded(path.substr(kUpstreams.size(), endpoints - kUpstreams.size()));
  call.endpoint = Decoded(path.substr(endpoints + kEndpoints.size()));
  if (query == "state=drain") {
    call.state = OperatorState::kDrain;
  } else if (query == "state=down") {
    call.state = OperatorState::kDown;
  } else if (query != "state=ready") {
    *error = "\"" + std::string(query) + "\": expected state=drain, state=ready or state=down";
    return std::nullopt;
  }
  return call;
}

std::optional<std::string> ReadUpstreamTarget(std::string_view target) {
  const std::string_view path = target.substr(0, target.find('?'));
  if (!path.starts_with(kUpstreams) || path.size() == kUpstreams.size() ||
      path.find('/', kUpstreams.size()) != std::string_view::npos)
    return std::nullopt;
  return Decoded(path.substr(kUpstreams.size()));
}

}  // namespace weir::lb
