// Headers that a route, or a listener for all of its routes, changes: what of them is ready before any
// request.
#include <algorithm>

#include "lb/config/file_keys.h"
#include "lb/http/chars.h"

namespace weir::lb::file {
namespace {

std::string TooMuch() { return absl::StrCat("more than ", kMaxResponseFieldsBytes, " bytes of headers"); }

// A listener's changes, and behind them the route's: nothing is left of it to do for a request. False: it is
// more than fits.
bool BeginWith(const RouteSettings& listener, RouteSettings& route) {
  if (route.action == RouteSettings::Action::kUpstream) {
    route.request.headers = Chained(listener.request.headers, route.request.headers);
  }
  route.response = Chained(listener.response, route.response);
  bool fits = PrepareResponseHeaders(route) && route.response.added.size() <= kMaxHeaderLines &&
              route.request.headers.added.size() <= kMaxHeaderLines;
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
  if (route.split == nullptr) return fits;
  auto split = std::make_shared<SplitSettings>(*route.split);
  for (RouteSettings& side : split->sides) fits = BeginWith(listener, side) && fits;
  route.split = std::move(split);
  return fits;
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
// same routes.
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
  RouteList list = sections_.routes[listener.routes];
  list.of_listener = true;
  for (RouteSettings& route : list.routes) {
    if (BeginWith(direct, route)) continue;
    Error(place, absl::StrCat("with those of the route at ", route.where, ": more than ", kMaxHeaderLines,
                              " headers, or ", TooMuch()));
    break;
  }
  listener.routes = static_cast<uint32_t>(sections_.routes.size());
  sections_.routes.push_back(std::move(list));
}

}  // namespace weir::lb::file
