#include "lb/config/explain_connection.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "lb/config/explain_hash.h"
#include "lb/config/explain_words.h"
#include "lb/route/host.h"
#include "lb/tls_hello/alpn.h"

namespace weir::lb::explain {
namespace {

constexpr std::string_view kTls = "tls://";
constexpr std::string_view kTcp = "tcp://";

struct Asked {
  bool tls = false;
  std::string name;
  std::string port;
  std::string protocols;  // as ALPN has them
};

// False: it cannot be read.
bool Read(const ExplainQuestion& question, Asked* asked) {
  std::string_view url = question.url;
  asked->tls = url.starts_with(kTls);
  url.remove_prefix(kTls.size());
  static_assert(kTls.size() == kTcp.size());
  const size_t colon = std::min(url.rfind(':'), url.size());
  if (colon < url.size()) asked->port = url.substr(colon + 1);
  char memory[kHostBytes];
  asked->name = NormaliseHost(url.substr(0, colon), memory);
  const bool has_name = colon > 0;
  if (asked->name.ends_with('.') || asked->name.find("..") != std::string::npos) return false;
  if (has_name == asked->name.empty() || url.find('/') != std::string_view::npos) return false;
  if (!asked->tls) return !has_name && question.alpn.empty();
  for (std::string_view rest = question.alpn; !rest.empty();) {
    const std::string_view protocol = rest.substr(0, rest.find(','));
    if (protocol.empty() || protocol.size() > kMostProtocolBytes) return false;
    asked->protocols += static_cast<char>(protocol.size());
    asked->protocols += protocol;
    rest.remove_prefix(std::min(protocol.size() + 1, rest.size()));
  }
  return true;
}

const ListenerSettings* FindListener(const Settings& settings, const ExplainQuestion& question,
                                     const Asked& asked) {
  const ListenerSettings* first = nullptr;
  for (const ListenerSettings& listener : settings.listeners) {
    if (listener.protocol != Protocol::kTcp) continue;
    if (!question.listener.empty()) {
      if (listener.address.ToString() == question.listener) return &listener;
    } else if (asked.port.empty() ? first == nullptr : std::to_string(listener.address.port) == asked.port) {
      first = &listener;
      if (!asked.port.empty()) break;
    }
  }
  return first;
}

const char* NameWords(HostKind kind) {
  switch (kind) {
    case HostKind::kExact:
      return "its name";
    case HostKind::kWildcard:
      return "a wildcard of its name";
    case HostKind::kAny:
      return "any name, or none";
  }
  return "";
}

std::string Upstream(const Settings& settings, const RouteSettings& route, const RouteRequest& asked,
                     const UpstreamHealth& health, const UpstreamAside& aside) {
  const UpstreamSettings& upstream = settings.upstreams[route.upstream];
  std::string endpoints;
  for (const EndpointSettings& endpoint : upstream.endpoints) {
    if (!upstream.IsIn(route.subset.number, endpoint)) continue;
    absl::StrAppend(&endpoints, endpoints.empty() ? "" : ", ", endpoint.address.ToString());
    if (endpoint.weight != 1) absl::StrAppend(&endpoints, " (weight ", endpoint.weight, ")");
  }
  std::string retries = "no retries";
  if (route.retry.connect_failure && route.retries > 0) {
    retries = absl::StrCat(route.retries, route.retries == 1 ? " retry" : " retries", " on connect_failure");
  }
  return absl::StrCat("upstream   ", upstream.name, ", ", BalanceText(upstream.balance), " among ",
                      endpoints.empty() ? "nobody" : endpoints,
                      route.subset.number != 0 && route.subset.else_any ? ", else any" : "", "\n",
                      LeadConnection(settings, route, asked, aside), health ? health(route.upstream) : "",
                      "times      connect ", route.timeouts.connect_ms, " ms, idle ",
                      route.timeouts.tcp_idle_ms, " ms\nretries    ", retries, "\n");
}

// Which route is met, said in `text`; null: none.
const RouteSettings* Route(const RouteList& list, const RouteRequest& request, std::string* text) {
  std::vector<RouteStep> steps;
  const RouteHit hit = list.table->Explain(request, steps);
  absl::StrAppend(text, "routes     ", list.name, "\n");
  for (const RouteStep& step : steps) {
    const bool met = step.failed == RoutePart::kNone;
    absl::StrAppend(text, met ? "met        " : "not met    ", list.routes[step.rule].where, ": for ",
                    NameWords(step.host), met ? "" : ", but not this ", met ? "" : Name(step.failed), "\n");
  }
  if (!hit.found()) return nullptr;
  constexpr size_t kMostTold = 5;
  for (const RouteStep& other : list.table->OthersThatFit(request, hit, kMostTold)) {
    absl::StrAppend(text, "also fits  ", list.routes[other.rule].where, ": for ", NameWords(other.host),
                    ", but less specific or later in the list\n");
  }
  return &list.routes[hit.rule];
}

}  // namespace

bool IsOfConnection(const ExplainQuestion& question) {
  return question.url.starts_with(kTls) || question.url.starts_with(kTcp);
}

bool ExplainConnection(const Settings& settings, const ExplainQuestion& question, const SocketAddress& client,
                       const UpstreamHealth& health, const UpstreamAside& aside, std::string* text) {
  Asked asked;
  if (!Read(question, &asked)) {
    *text =
        absl::StrCat("explain: \"", question.url,
                     "\": expected tls://NAME[:PORT] and perhaps --alpn=h2,http/1.1, or tcp://:PORT for what "
                     "is no TLS");
    return false;
  }
  const ListenerSettings* const listener = FindListener(settings, question, asked);
  if (listener == nullptr) {
    *text = !question.listener.empty() ? absl::StrCat("--listener: \"", question.listener,
                                                      "\": expected the address of a tcp listener")
            : !asked.port.empty()      ? absl::StrCat("explain: no tcp listener has the port ", asked.port)
                                       : "explain: there is no tcp listener";
    return false;
  }
  *text = absl::StrCat("listener   ", listener->text, "\n");
  if (!listener->access.Allows(client)) {
    *text += "answer     none: the listener does not allow this client\n";
    return true;
  }
  RouteRequest request;
  request.client = client;
  if (listener->routes == ListenerSettings::kNone) {
    *text += Upstream(settings, listener->direct, request, health, aside);
    return true;
  }
  if (!asked.tls) {
    *text += "hello      none: no TLS\n";
  } else {
    absl::StrAppend(text, "name       ", asked.name.empty() ? "none" : asked.name, "\nprotocols  ",
                    question.alpn.empty() ? "none" : question.alpn, "\n");
  }
  request.host = request.server_name = asked.name;
  request.alpn = asked.protocols;
  const RouteSettings* const route = Route(settings.routes[listener->routes], request, text);
  if (route == nullptr) {
    absl::StrAppend(text, "answer     none: no route is for this ", asked.tls ? "hello" : "connection", "\n");
  } else if (!route->access.Allows(client)) {
    *text += "answer     none: the route does not allow this client\n";
  } else if (route->split == nullptr) {
    *text += Upstream(settings, *route, request, health, aside);
  } else {
    for (size_t i = 0; i < route->split->sides.size(); ++i) {
      absl::StrAppend(text, "side       weight ", route->split->split.sides[i].weight, "\n",
                      Upstream(settings, route->split->sides[i], request, health, aside));
    }
  }
  return true;
}

}  // namespace weir::lb::explain
