// Headers that a route, or a listener for all of its routes, changes: what of them is ready before any
// request.
#include <algorithm>

#include "lb/config/file_keys.h"
#include "lb/http/chars.h"

namespace weir::lb::file {
namespace {

std::string TooMuch() { return absl::StrCat("more than ", kMaxResponseFieldsBytes, " bytes of headers"); }

std::string TooMany() { return absl::StrCat("more than ", kMaxHeaderLines, " headers"); }

// A listener's changes, and behind them the route's: nothing is left of it to do for a request. Empty, or
// what limit does not hold.
std::string BeginWith(const RouteSettings& listener, RouteSettings& route) {
  if (route.action == RouteSettings::Action::kUpstream) {
    route.request.headers = Chained(listener.request.headers, route.request.headers);
  }
  route.response = Chained(listener.response, route.response);
  std::string too_much = PrepareResponseHeaders(route) ? "" : TooMuch();
  if (std::max(route.response.added.size(), route.request.headers.added.size()) > kMaxHeaderLines)
    too_much = TooMany();
  if (route.auth_request != nullptr) {
    auto auth = std::make_shared<AuthRequestSettings>(*route.auth_request);
    PrepareRefusalHeaders(route, auth->leg);
    // What the asked server says of the client, it alone says.
    std::erase_if(route.request.headers.added, [&auth](const HeaderChanges::Line& line) {
      return std::any_of(auth->copy.begin(), auth->copy.end(), [&line](const std::string& name) {
        return http::EqualsIgnoreCase(name, line.name);
      });
    });
    route.auth_request = std::move(auth);
  }
  if (route.split == nullptr) return too_much;
  auto split = std::make_shared<SplitSettings>(*route.split);
  for (RouteSettings& side : split->sides) {
    const std::string of_side = BeginWith(listener, side);
    if (too_much.empty()) too_much = of_side;
  }
  route.split = std::move(split);
  return too_much;
}

// What was told where the route was read.
bool TooMuchAlone(const RouteSettings& route) {
  return std::max(route.response_fields.size(), route.error_fields.size()) > kMaxResponseFieldsBytes;
}

bool Same(const HeaderChanges& a, const HeaderChanges& b) {
  return a.dropped == b.dropped && std::equal(a.added.begin(), a.added.end(), b.added.begin(), b.added.end(),
                                              [](const HeaderChanges::Line& x, const HeaderChanges::Line& y) {
                                                return x.name == y.name && x.value.text() == y.value.text() &&
                                                       x.written == y.written;
                                              });
}

}  // namespace

bool PrepareResponseHeaders(RouteSettings& route) {
  const std::vector<HeaderChanges::Line>& added = route.response.added;
  route.response_variables = std::any_of(
      added.begin(), added.end(), [](const HeaderChanges::Line& line) { return line.value.HasVariables(); });
  route.response_fields.clear();
  if (!route.response_variables) route.response.WriteLines({}, &route.response_fields);
  HeaderChanges of_errors;
  for (const HeaderChanges::Line& line : added) {
    if (!line.value.HasVariables() && IsOfEveryAnswer(line.name)) of_errors.added.push_back(line);
  }
  route.error_fields.clear();
  of_errors.WriteLines({}, &route.error_fields);
  if (route.basic_auth != nullptr) {
    route.unauthorized_fields = route.error_fields + route.basic_auth->Challenge();
  }
  return std::max(route.response_fields.size(), route.error_fields.size()) <= kMaxResponseFieldsBytes;
}

void PrepareRefusalHeaders(const RouteSettings& route, RouteSettings& leg) {
  leg.error_fields = leg.response_fields = route.error_fields;
  leg.response.dropped.clear();
  for (const std::string& name : route.response.dropped) {
    const auto is_variable = [&](const HeaderChanges::Line& line) {
      return line.value.HasVariables() && http::EqualsIgnoreCase(name, line.name);
    };
    const std::vector<HeaderChanges::Line>& added = route.response.added;
    // What a refusal is for stays: where to log in, and how.
    if (IsOfEveryAnswer(name) && std::none_of(added.begin(), added.end(), is_variable)) {
      leg.response.dropped.push_back(name);
    }
  }
}

bool Reader::ReadResponseHeaders(const ConfigNode& node, RouteSettings& route) {
  set_in_response(true);
  const bool is_map = Map(node, HeaderKeys(), route.response);
  set_in_response(false);
  if (is_map && !PrepareResponseHeaders(route)) Error(node.place, TooMuch());
  return is_map;
}

// What the listener asks for is a part of each of its routes: of a list of its own, as others may have the
// same routes; those that ask for the same of the same routes share one.
void Reader::FinishListenerHeaders(const ListenerDraft& draft, ListenerSettings& listener) {
  const RouteSettings& direct = listener.direct;
  if (direct.request.empty() && direct.response.empty()) return;
  const bool of_request = draft.request_headers.line > 0;
  const Place& place = of_request ? draft.request_headers : draft.response_headers;
  if (listener.protocol == Protocol::kTcp) {
    return Error(place, absl::StrCat(of_request ? "request" : "response",
                                     "_headers: a tcp connection has no headers"));
  }
  for (const HeaderChanges* changes : {&direct.request.headers, &direct.response}) {
    for (const HeaderChanges::Line& line : changes->added) {
      const Place& said = changes == &direct.response ? draft.response_headers : draft.request_headers;
      if (line.value.UsesCaptures()) {
        return Error(
            said, absl::StrCat(line.name,
                               ": ${0} to ${9} and ${remainder} are what a route matched: expected there"));
      }
      if (line.value.HasVariables() && draft.routes == nullptr) {
        return Error(said, absl::StrCat(line.name, ": only with routes can a value have variables"));
      }
    }
  }
  const bool has_routes = draft.routes != nullptr && listener.routes < sections_.routes.size();
  if (!has_routes) return;
  const uint32_t without = listener.routes;
  for (const ListenerRoutes& other : listener_routes_) {
    if (other.without == without && Same(other.request, direct.request.headers) &&
        Same(other.response, direct.response)) {
      listener.routes = other.with;
      return;
    }
  }
  if (draft.headers_refused) return;
  RouteList list = sections_.routes[without];
  list.of_listener = true;
  for (RouteSettings& route : list.routes) {
    const bool refused = TooMuchAlone(route);
    const std::string too_much = BeginWith(direct, route);
    if (too_much.empty() || refused) continue;
    Error(place, absl::StrCat("with those of the route at ", route.where, ": ", too_much));
    break;
  }
  listener.routes = static_cast<uint32_t>(sections_.routes.size());
  listener_routes_.push_back({without, listener.routes, direct.request.headers, direct.response});
  sections_.routes.push_back(std::move(list));
}

}  // namespace weir::lb::file
