#include "lb/admin/endpoint_call.h"

#include <algorithm>
#include <charconv>

#include "core/unix_path.h"
#include "lb/balance/balancer.h"

namespace weir::lb {
namespace {

constexpr std::string_view kUpstreams = "/upstreams/";
constexpr std::string_view kEndpoints = "/endpoints/";
constexpr std::string_view kEndpointList = "/endpoints";

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

bool ReadState(std::string_view text, std::optional<OperatorState>* state) {
  if (text == "ready") *state = OperatorState::kReady;
  if (text == "drain") *state = OperatorState::kDrain;
  if (text == "down") *state = OperatorState::kDown;
  return state->has_value();
}

bool ReadWeight(std::string_view text, uint32_t* weight) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *weight);
  return error == std::errc() && end == text.data() + text.size() && *weight >= 1 &&
         *weight <= Balancer::kMaxWeight;
}

bool ReadAddress(const std::string& text, SocketAddress* address, std::string* expected) {
  const bool is_unix = text.starts_with(kUnixPrefix);
  *expected = "expected ADDRESS:PORT or unix:/PATH; names are for the file";
  const std::optional<SocketAddress> read =
      is_unix ? ParseUnixAddress(text, expected) : SocketAddress::Parse(text);
  if (!read || (!is_unix && read->port == 0)) return false;
  *address = *read;
  return true;
}

// What is said of the endpoint, each at most once. False: `error` says what was expected.
bool ReadQuery(std::string_view query, EndpointCall* call, std::string* error) {
  bool has_address = false;
  while (!query.empty()) {
    const std::string_view parameter = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(parameter.size() + 1, query.size()));
    const size_t equals = std::min(parameter.find('='), parameter.size());
    const std::string_view name = parameter.substr(0, equals);
    const std::string value = Decoded(parameter.substr(std::min(equals + 1, parameter.size())));
    const bool adds = call->kind == EndpointCall::Kind::kAdd;
    std::string expected;
    if (name == "weight" && call->weight == 0) {
      if (ReadWeight(value, &call->weight)) continue;
      expected = "expected a weight from 1 to " + std::to_string(Balancer::kMaxWeight);
    } else if (name == "state" && !adds && !call->state) {
      if (ReadState(value, &call->state)) continue;
      expected = "expected state=drain, state=ready or state=down";
    } else if (name == "address" && adds && !has_address) {
      has_address = true;
      if (ReadAddress(value, &call->address, &expected)) continue;
    } else {
      expected = adds ? "expected address=ADDRESS:PORT, and perhaps weight=N, each once"
                      : "expected state=drain, ready or down, or weight=N, each once";
    }
    *error = "\"" + std::string(parameter) + "\": " + expected;
    return false;
  }
  return true;
}

}  // namespace

std::optional<EndpointCall> ReadEndpointCall(bool removes, std::string_view target, std::string* error) {
  const size_t end = target.find('?');
  const std::string_view path = target.substr(0, end);
  const std::string_view query = end == std::string_view::npos ? "" : target.substr(end + 1);
  EndpointCall call;
  if (IsEndpointList(path) && !removes) {
    call.kind = EndpointCall::Kind::kAdd;
    call.upstream =
        Decoded(path.substr(kUpstreams.size(), path.size() - kUpstreams.size() - kEndpointList.size()));
    if (!ReadQuery(query, &call, error)) return std::nullopt;
    if (call.address.family != 0) return call;
    *error = "expected ?address=ADDRESS:PORT, and perhaps weight=N";
    return std::nullopt;
  }
  const size_t endpoints = path.find(kEndpoints, kUpstreams.size());
  if (!path.starts_with(kUpstreams) || endpoints == std::string_view::npos ||
      endpoints == kUpstreams.size() || endpoints + kEndpoints.size() >= path.size()) {
    *error = removes
                 ? "expected /upstreams/UPSTREAM/endpoints/ENDPOINT"
                 : "expected /upstreams/UPSTREAM/endpoints/ENDPOINT?state=drain, ready or down, or weight=N; "
                   "or /upstreams/UPSTREAM/endpoints?address=ADDRESS:PORT";
    return std::nullopt;
  }
  call.upstream = Decoded(path.substr(kUpstreams.size(), endpoints - kUpstreams.size()));
  call.endpoint = Decoded(path.substr(endpoints + kEndpoints.size()));
  if (removes) {
    call.kind = EndpointCall::Kind::kRemove;
    if (query.empty()) return call;
    *error = "\"" + std::string(query) + "\": expected nothing behind the endpoint's name";
    return std::nullopt;
  }
  if (!ReadQuery(query, &call, error)) return std::nullopt;
  if (call.state || call.weight != 0) return call;
  *error = "expected state=drain, state=ready, state=down or weight=N";
  return std::nullopt;
}

bool IsEndpointList(std::string_view target) {
  const std::string_view path = target.substr(0, target.find('?'));
  if (!path.starts_with(kUpstreams) || !path.ends_with(kEndpointList)) return false;
  const size_t name_end = path.size() - kEndpointList.size();
  return name_end > kUpstreams.size() && path.find('/', kUpstreams.size()) == name_end;
}

std::optional<std::string> ReadUpstreamTarget(std::string_view target) {
  const std::string_view path = target.substr(0, target.find('?'));
  if (!path.starts_with(kUpstreams) || path.size() == kUpstreams.size() ||
      path.find('/', kUpstreams.size()) != std::string_view::npos)
    return std::nullopt;
  return Decoded(path.substr(kUpstreams.size()));
}

}  // namespace weir::lb
