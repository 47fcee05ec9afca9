#include "lb/route/route_head.h"

#include <algorithm>
#include <cstring>

#include "lb/route/query.h"

namespace weir::lb {
namespace {

// `host` with the port that `authority` has.
std::string_view WithPortOf(std::string_view authority, std::string_view host, RouteScratch& scratch) {
  const size_t colon = authority.rfind(':');
  std::string_view port;
  if (colon != std::string_view::npos && authority.find(']', colon) == std::string_view::npos) {
    port = authority.substr(colon);
  }
  if (port.size() > sizeof(scratch.authority) - kHostBytes) return authority;  // more zeros than digits
  std::memcpy(scratch.authority, host.data(), host.size());
  if (!port.empty()) std::memcpy(scratch.authority + host.size(), port.data(), port.size());
  return {scratch.authority, host.size() + port.size()};
}

}  // namespace

RoutedHead RouteHead(const RouteTable& table, const PathOptions& options, http::RequestHead& head,
                     std::string_view default_authority, const SocketAddress& client, std::string_view scheme,
                     RouteScratch& scratch, std::vector<RouteStep>* steps, std::string_view tlvs) {
  RoutedHead routed;
  routed.target = NormaliseTarget(head.target, options, scratch.target.get());
  if (!routed.target.ok()) return routed;
  const std::string_view authority = head.authority.empty() ? default_authority : head.authority;
  RouteRequest& asked = routed.asked;
  asked.host = NormaliseHost(authority, scratch.host);
  const bool ambiguous = asked.host.starts_with('.') || asked.host.ends_with('.') ||
                         asked.host.find("..") != std::string_view::npos ||
                         asked.host.find('%') != std::string_view::npos;
  // Some origins take these for a host that rules name.
  if (ambiguous || (asked.host.empty() && !authority.empty())) {
    routed.target = {.text = {}, .path_bytes = 0, .error = "ambiguous host"};
    return routed;
  }
  if (table.looks_at_query() && CountParameters(routed.target.query()) > kMaxQueryParameters) {
    routed.target = {.text = {}, .path_bytes = 0, .error = "too many query parameters"};
    return routed;
  }
  head.target = routed.target.text;
  head.target_lacks_slash = false;
  if (!head.authority.empty()) head.authority = WithPortOf(authority, asked.host, scratch);
  asked.path = routed.target.path();
  asked.query = routed.target.query();
  asked.method = head.method;
  asked.fields = &head;
  asked.client = client;
  asked.scheme = scheme;
  asked.tlvs = tlvs;
  routed.hit = steps == nullptr ? table.Match(asked) : table.Explain(asked, *steps);
  return routed;
}

RouteRequest UnroutedHead(const http::RequestHead& head, const SocketAddress& client) {
  const size_t end = std::min(head.target.find('?'), head.target.size());
  RouteRequest asked;
  asked.path = head.target.substr(0, end);
  asked.query = head.target.substr(std::min(end + 1, head.target.size()));
  asked.fields = &head;
  asked.client = client;
  return asked;
}

TemplateValues ValuesFor(bool captures_wanted, const RouteTable& table, const RoutedHead& routed,
                         std::string_view client_ip, std::string_view request_id) {
  TemplateValues values;
  values.Set(Variable::kHost, routed.asked.host);
  values.Set(Variable::kPath, routed.asked.path);
  values.Set(Variable::kQuery, routed.target.text.substr(routed.target.path_bytes));
  values.Set(Variable::kUri, routed.target.text);
  values.Set(Variable::kScheme, routed.asked.scheme);
  values.Set(Variable::kMethod, routed.asked.method);
  values.Set(Variable::kClient, client_ip);
  values.Set(Variable::kRequestId, request_id);
  if (!captures_wanted) return values;
  const RouteCaptures captures = table.Capture(routed.hit, routed.asked.path);
  values.Set(Variable::kRemainder, captures.remainder);
  for (uint32_t i = 0; i < captures.count; ++i) {
    values.Set(static_cast<Variable>(static_cast<uint32_t>(Variable::kGroup0) + i), captures.groups[i]);
  }
  return values;
}

}  // namespace weir::lb
