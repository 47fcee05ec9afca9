#include "lb/config/explain.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "lb/auth/credentials.h"
#include "lb/auth/password.h"
#include "lb/config/explain_connection.h"
#include "lb/config/explain_hash.h"
#include "lb/config/explain_words.h"
#include "lb/config/flag_types.h"
#include "lb/http/request.h"
#include "lb/http/serialize_request.h"
#include "lb/route/changes.h"
#include "lb/route/forwarded.h"
#include "lb/route/route_head.h"

namespace weir::lb {

using namespace explain;

namespace {

struct Url {
  bool https = false;
  std::string authority;
  std::string port;
  std::string target;
};

// False: it is neither http(s)://… nor /….
bool SplitUrl(std::string_view url, Url* out) {
  if (url.starts_with('/') || url == "*") {
    out->target = url;
    return true;
  }
  const size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return false;
  const std::string_view name = url.substr(0, scheme);
  if (name != "http" && name != "https") return false;
  out->https = name == "https";
  url.remove_prefix(scheme + 3);
  const size_t end = std::min(url.find_first_of("/?"), url.size());
  out->authority = url.substr(0, end);
  out->target = absl::StrCat(end < url.size() && url[end] == '/' ? "" : "/", Absl(url.substr(end)));
  const size_t colon = out->authority.rfind(':');
  if (colon != std::string::npos && out->authority.find(']', colon) == std::string::npos) {
    out->port = out->authority.substr(colon + 1);
  }
  return !out->authority.empty();
}

const ListenerSettings* FindListener(const Settings& settings, const ExplainQuestion& question,
                                     const Url& url) {
  const ListenerSettings* first = nullptr;
  for (const ListenerSettings& listener : settings.listeners) {
    if (listener.protocol != Protocol::kHttp) continue;
    if (!question.listener.empty()) {
      if (listener.address.ToString() == question.listener) return &listener;
    } else if (std::to_string(listener.address.port) == url.port) {
      return &listener;
    } else if (first == nullptr) {
      first = &listener;
    }
  }
  return question.listener.empty() ? first : nullptr;
}

// How the request came.
struct Hop {
  const ListenerSettings& listener;
  const SocketAddress& peer;
  RouteScratch& scratch;
  const UpstreamHealth& health;
  const UpstreamAside& aside;
  bool tells_secrets;
};

// Whether the route's users have who asks; said in `text`. A Weir that serves does not `check`: it takes too
// long, and who has a name there is nobody's business.
bool MayCome(const BasicAuth& auth, const std::string& realm, bool check, http::RequestHead& head,
             std::string* text) {
  Credentials credentials;
  bool right = credentials.ReadFrom(head);
  if (right && check) {
    const BasicAuth::User* const user = auth.Find(credentials.user());
    right = user != nullptr &&
            PasswordChecker().Matches(std::string(credentials.password()).c_str(), user->hash.c_str());
  }
  if (!right) {
    absl::StrAppend(text, "answer     401: a name and a password are wanted (basic_auth, realm ", realm,
                    ")\n");
    return false;
  }
  absl::StrAppend(text, "user       ", Absl(credentials.user()),
                  check ? "\n" : ", if there is one of that name and the password is right\n");
  if (!auth.forward) head.Drop("Authorization");
  return true;
}

// The labels that are asked for; `key` is that of the subset. Empty: none are.
std::string SubsetWords(const Settings& settings, uint32_t upstream, const SubsetUse& use,
                        const std::string& key) {
  if (use.number == 0) return "";
  Labels labels = settings.upstreams[upstream].subsets[use.number - 1];
  for (auto& [name, value] : labels) value = AsWritten(settings, absl::StrCat(key, ".", name), value);
  return LabelsText(labels);
}

// Who is in the subset; empty: there is none.
std::string SubsetLine(const Settings& settings, const RouteSettings& route, const std::string& key) {
  if (route.subset.number == 0) return "";
  const UpstreamSettings& upstream = settings.upstreams[route.upstream];
  std::string endpoints;
  for (const EndpointSettings& endpoint : upstream.endpoints) {
    if (!upstream.IsIn(route.subset.number, endpoint)) continue;
    absl::StrAppend(&endpoints, endpoints.empty() ? "" : ", ", endpoint.address.ToString());
  }
  return absl::StrCat("subset     ", SubsetWords(settings, route.upstream, route.subset, key), ": ",
                      endpoints.empty() ? "nobody" : endpoints, "; else ",
                      route.subset.else_any ? "any" : "503", "\n");
}

std::string MirrorSubset(const Settings& settings, const MirrorSettings& mirror, const std::string& key) {
  const std::string labels = SubsetWords(settings, mirror.upstream, mirror.subset, key + ".mirror.subset");
  return labels.empty() ? "" : absl::StrCat("subset ", labels, ", ");
}

// When all endpoints are used, whatever is said of them; empty: never.
std::string PanicLine(const UpstreamSettings& upstream) {
  if (!upstream.panics()) return "";
  std::string text = "panic      ";
  if (upstream.panic_percent > 0)
    absl::StrAppend(&text, "while less than ", upstream.panic_percent, " % are well; ");
  return absl::StrCat(text, "all down: ", AllDownText(upstream.all_down), "\n");
}

// Whom requests go to first; empty: all of a level are the same.
std::string ZoneLine(const Settings& settings, const UpstreamSettings& upstream) {
  if (upstream.endpoints.empty()) return "";
  const LevelLayout layout(upstream);
  if (layout.parts() == layout.levels()) return "";
  return absl::StrCat("zone       ", settings.zone,
                      " first: all requests while 5 of 7 there are well, below that 1.4 times that share\n");
}

// What the upstream would get, and where it is. `key` is that of the route.
std::string Forwarded(const Settings& settings, const RouteSettings& route, const std::string& key,
                      http::RequestHead& head, http::RequestContext context, const Hop& hop,
                      const std::string& endpoint) {
  const UpstreamSettings& upstream = settings.upstreams[route.upstream];
  const uint64_t most_bytes = route.client_max_body_bytes;
  std::string endpoints;
  for (const EndpointSettings& endpoint : upstream.endpoints) {
    absl::StrAppend(&endpoints, endpoints.empty() ? "" : ", ", endpoint.address.ToString());
    if (endpoint.weight != 1) absl::StrAppend(&endpoints, " (weight ", endpoint.weight, ")");
    if (endpoint.backup()) {
      endpoints += " (backup)";
    } else if (endpoint.level != 0) {
      absl::StrAppend(&endpoints, " (priority ", endpoint.level, ")");
    }
    if (!endpoint.zone.empty()) absl::StrAppend(&endpoints, " (zone ", endpoint.zone, ")");
  }
  std::string mirror;
  if (route.mirror.upstream != MirrorSettings::kNone)
    mirror = absl::StrCat("mirror     ", settings.upstreams[route.mirror.upstream].name, ", ",
                          MirrorSubset(settings, route.mirror, key),
                          AsWritten(settings, key + ".mirror.share", route.mirror.share.text),
                          " of the requests\n");
  context.body = head.facts.body;
  context.request_id = kMadeForEach;
  context.via_name = "weir-...";
  if (!settings.via_name.empty()) context.via_name = settings.via_name;
  const ForwardedForm form = hop.listener.forwarded;
  if (form != ForwardedForm::kXForwarded) {
    AddForwarded(form, hop.peer, head.authority, context.via_name, hop.scratch, context);
  }
  std::string wire(http::MaxSerializedBytes(head, context), '\0');
  wire.resize(http::SerializeRequest(head, context, wire.data()));
  wire = Masked(wire, route.request.headers, hop.tells_secrets);
  if (const std::string& path = route.request.path_written; !path.empty())
    wire = WithPathAsWritten(std::move(wire), path);
  if (const std::string host = AsWritten(settings, key + ".rewrite.host", ""); !host.empty())
    wire = WithHostAsWritten(std::move(wire), host);
  return absl::StrCat(
      "upstream   ", upstream.name, ", ", BalanceText(upstream.balance), " among ", endpoints, "\n", endpoint,
      hop.health ? hop.health(route.upstream) : "", ZoneLine(settings, upstream), PanicLine(upstream),
      "times      ", Times(route.timeouts), "\n", "retries    ", Retries(route, upstream.retry_budget), "\n",
      most_bytes == 0 ? "" : "body       at most " + SizeInWords(most_bytes) + "\n",
      route.buffer_bytes == 0 ? "" : "buffer     up to " + SizeInWords(route.buffer_bytes) + "\n", mirror,
      "request\n", Indented(wire));
}

// Which side of a split the request goes to, and why. `key` is that of the route.
const RouteSettings& TakeSide(const Settings& settings, const SplitSettings& of, const std::string& key,
                              const RouteRequest& asked, bool* new_cookie, std::string* text) {
  const Split& split = of.split;
  const SplitChoice choice = ChooseSide(split, asked, 0);
  *new_cookie = split.sticky == Split::Sticky::kCookie && choice.why != SplitChoice::Why::kCookie;
  const auto name = [&](size_t i) {
    const RouteSettings& side = of.sides[i];
    const std::string labels =
        SubsetWords(settings, side.upstream, side.subset, absl::StrCat(key, ".split[", i, "].subset"));
    return absl::StrCat(settings.upstreams[side.upstream].name, labels.empty() ? "" : " ", labels);
  };
  const std::string cookie = AsWritten(settings, key + ".sticky.cookie", split.cookie);
  const std::string hash_on = AsWritten(settings, key + ".sticky.hash_on", split.key.ToString());
  std::string sides;
  for (size_t i = 0; i < split.sides.size(); ++i) {
    absl::StrAppend(
        &sides, i > 0 ? ", " : "", name(i), " (weight ",
        AsWritten(settings, absl::StrCat(key, ".split[", i, "].weight"), absl::StrCat(split.sides[i].weight)),
        ")");
  }
  absl::StrAppend(text, "split      ", sides, "\nside       ", name(choice.side), ", ");
  switch (choice.why) {
    case SplitChoice::Why::kCookie:
      absl::StrAppend(text, "by its cookie ", cookie, "\n");
      break;
    case SplitChoice::Why::kHash:
      absl::StrAppend(text, "by the hash of ", hash_on, "\n");
      break;
    case SplitChoice::Why::kChance:
      absl::StrAppend(text, "for example: chance decides",
                      split.sticky == Split::Sticky::kHash     ? ", as the request has no "
                      : split.sticky == Split::Sticky::kCookie ? ", as it has no valid cookie "
                                                               : " of each request",
                      split.sticky == Split::Sticky::kHash ? hash_on : cookie, "\n");
      break;
  }
  return of.sides[choice.side];
}

// What the route changes on the way down. `key` is that of the route.
std::string Response(const Settings& settings, const RouteSettings& route, const std::string& key,
                     const TemplateValues& values, bool new_cookie, const std::string& hash_cookie = "") {
  if (route.response.empty() && !new_cookie && hash_cookie.empty()) return "";
  std::string lines;
  route.response.WriteLines(values, &lines);
  lines = Masked(lines, route.response, true);
  if (new_cookie) {
    std::string line = route.set_cookie;
    const std::string cookie = AsWritten(settings, key + ".sticky.cookie", "");
    if (!cookie.empty()) line = absl::StrCat("Set-Cookie: ", cookie, line.substr(line.find('=')));
    lines += line;
  }
  lines += hash_cookie;
  std::string text = "response\n";
  for (const std::string& name : route.response.dropped) absl::StrAppend(&text, "    without ", name, "\n");
  return text + Indented(lines);
}

// A request that is for the route's upstream, and what becomes of the answer.
std::string SentUp(const Settings& settings, const RouteSettings& route, const std::string& key,
                   http::RequestHead& head, const http::RequestContext& context, const Hop& hop,
                   const Led& led, const TemplateValues& values, bool new_cookie) {
  const uint64_t most_bytes = route.client_max_body_bytes;
  if (most_bytes != 0 && head.facts.body.length > most_bytes) {
    return absl::StrCat("answer     413: the request body is too large (at most ", SizeInWords(most_bytes),
                        ")\n", PageOf(413, settings, hop.listener, route));
  }
  return Forwarded(settings, route, key, head, context, hop, led.text) +
         Response(settings, route, key, values, new_cookie, led.cookie);
}

// Which of several listeners was taken, where the question does not say.
std::string WhichListener(const Settings& settings, const ExplainQuestion& question, const Url& url,
                          const ListenerSettings& taken) {
  if (!question.listener.empty()) return "";
  const std::string port = absl::StrCat(taken.address.port);
  if (!url.port.empty() && url.port != port) {
    return absl::StrCat(" (the first one for http: none has the URL's port ", url.port, ")");
  }
  const auto count =
      std::count_if(settings.listeners.begin(), settings.listeners.end(), [&](const auto& one) {
        return one.protocol == Protocol::kHttp &&
               (url.port.empty() || one.address.port == taken.address.port);
      });
  if (count < 2) return "";
  return url.port.empty()
             ? absl::StrCat(" (1 of ", count, " listeners; --listener or a port in the URL chooses)")
             : absl::StrCat(" (1 of ", count, " listeners with port ", port, "; --listener chooses)");
}

// The routes that would have been met without the one that was, the next best first.
void TellOthers(const RouteList& list, const RoutedHead& routed, std::string* text) {
  constexpr size_t kMostTold = 5;
  if (!routed.hit.found()) return;
  const std::vector<RouteStep> others = list.table->OthersThatFit(routed.asked, routed.hit, kMostTold + 1);
  for (size_t i = 0; i < std::min(others.size(), kMostTold); ++i) {
    absl::StrAppend(text, "also fits  ", list.routes[others[i].rule].where, ": for ",
                    HostWords(others[i].host), " and ", PathWords(others[i], routed.asked.path),
                    ", but less specific or later in the list\n");
  }
  if (others.size() > kMostTold) *text += "           and others\n";
}

bool IsHost(std::string_view header) {
  const size_t colon = header.find(':');
  return colon != std::string_view::npos && http::EqualsIgnoreCase(header.substr(0, colon), "Host");
}

}  // namespace

bool ExplainRequest(const Settings& settings, const ExplainQuestion& question, std::string* text,
                    const UpstreamHealth& health, const UpstreamAside& aside) {
  Url url;
  const bool of_connection = IsOfConnection(question);
  if (!of_connection && !SplitUrl(question.url, &url)) {
    *text = absl::StrCat("explain: \"", question.url,
                         "\": expected http://HOST/PATH, or /PATH and -H 'Host: ...'");
    return false;
  }
  const std::optional<SocketAddress> client =
      question.client == "unix" ? SocketAddress::ForUnix(nullptr)
                                : SocketAddress::Parse(question.client.find(':') == std::string::npos
                                                           ? question.client + ":0"
                                                           : "[" + question.client + "]:0");
  if (!client) {
    *text = absl::StrCat("--client: \"", question.client, "\": expected an IPv4 or IPv6 address, or unix");
    return false;
  }
  if (of_connection) return ExplainConnection(settings, question, *client, health, aside, text);
  const ListenerSettings* listener = FindListener(settings, question, url);
  if (listener == nullptr) {
    *text = question.listener.empty() ? "explain: no listener speaks HTTP"
                                      : absl::StrCat("--listener: \"", question.listener,
                                                     "\": expected the address of an http listener");
    return false;
  }

  std::string wire = absl::StrCat(question.method, " ", url.target, " HTTP/1.1\r\n");
  // As with curl, a Host among the headers stands for the URL's.
  const bool says_host = std::any_of(question.headers.begin(), question.headers.end(), IsHost);
  if (!url.authority.empty() && !says_host) absl::StrAppend(&wire, "Host: ", url.authority, "\r\n");
  for (const std::string& header : question.headers) absl::StrAppend(&wire, header, "\r\n");
  wire += "\r\n";
  http::RequestHead head(settings.limits, settings.via_name);
  const http::ParseResult parsed = http::ParseRequest(wire, head);
  *text =
      absl::StrCat("listener   ", listener->text, WhichListener(settings, question, url, *listener), "\n");
  if (!parsed.done()) {
    absl::StrAppend(text, "answer     ", parsed.failed() ? parsed.error.status : 400, ": ",
                    parsed.failed() ? parsed.error.reason : "the head is incomplete", "\n");
    return true;
  }
  char peer_text[SocketAddress::kMaxIpText + 1];
  http::RequestContext context;
  context.client_ip = {peer_text, client->WriteIp(peer_text)};
  RouteScratch scratch(settings.limits.target_bytes);
  const Hop hop{*listener, *client, scratch, health, aside, question.tells_secrets};
  SocketAddress address = *client;
  char ip_text[SocketAddress::kMaxIpText + 1];
  if (listener->trusted.list != nullptr) {
    // By https it comes through a proxy that says so, if not in a header of the question then all the same.
    if (url.https) context.proto = "https";
    const std::optional<SocketAddress> found =
        FindClient(*listener->trusted.list, listener->forwarded, *client, head, scratch, context);
    if (!found) {
      *text += "answer     400: Forwarded of the proxy cannot be read\n";
      return true;
    }
    address = *found;
    absl::StrAppend(text, "client     ", Absl({ip_text, address.WriteIp(ip_text)}), "\n");
  }
  if (context.proto == "https") {
    *text += "scheme     https\n";
  } else if (url.https) {
    absl::StrAppend(text, "scheme     http: ",
                    listener->trusted.list != nullptr
                        ? "the trusted proxy says so"
                        : "the listener has no trusted_proxies that could say https",
                    "\n");
  }
  const std::string_view ip{ip_text, address.WriteIp(ip_text)};
  if (!listener->access.Allows(address)) {
    *text += "answer     403: the listener does not allow this client\n" +
             PageOf(403, settings, *listener, listener->direct);
    return true;
  }
  if (head.MustAnswerHere()) {
    *text += "answer     200: Max-Forwards is 0\n" + PageOf(200, settings, *listener, listener->direct);
    return true;
  }
  if (listener->routes == ListenerSettings::kNone) {
    const RouteSettings& direct = listener->direct;
    Led led = Lead(settings, direct, UnroutedHead(head, address), hop.aside);
    led.text = SubsetLine(settings, direct,
                          absl::StrCat("listeners[", listener - settings.listeners.data(), "].subset")) +
               led.text;
    ChangeRequest(direct.request, settings.paths, {}, head, scratch, context);
    *text += SentUp(settings, direct, "", head, context, hop, led, {}, false);
    return true;
  }

  const RouteList& list = settings.routes[listener->routes];
  std::vector<RouteStep> steps;
  const RoutedHead routed = RouteHead(*list.table, settings.paths, head, listener->DefaultHost(), address,
                                      context.proto, scratch, &steps);
  if (!routed.target.ok()) {
    absl::StrAppend(text, "answer     400: ", routed.target.error, "\n");
    return true;
  }
  absl::StrAppend(text, "routes     ", list.name, "\nhost       ", Absl(routed.asked.host), "\npath       ",
                  Absl(routed.asked.path), "\n");
  const auto key_of = [&list](uint32_t rule) { return absl::StrCat("routes.", list.name, "[", rule, "]"); };
  for (const RouteStep& step : steps) {
    absl::StrAppend(text, step.failed == RoutePart::kNone ? "met        " : "not met    ",
                    list.routes[step.rule].where, ": for ", HostWords(step.host), " and ",
                    PathWords(step, routed.asked.path));
    if (step.failed != RoutePart::kNone) {
      const std::string element = ElementText(settings, key_of(step.rule) + ".match", list.matches[step.rule],
                                              step.failed, step.failed_element);
      absl::StrAppend(text, ", but not this ", Name(step.failed), element.empty() ? "" : " (", element,
                      element.empty() ? "" : ")");
    }
    *text += "\n";
  }
  TellOthers(list, routed, text);
  if (!routed.hit.found()) {
    *text +=
        "answer     404: no route is for this request\n" + PageOf(404, settings, *listener, listener->direct);
    return true;
  }
  const RouteSettings& met = list.routes[routed.hit.rule];
  const std::string key = key_of(routed.hit.rule);
  if (!met.access.Allows(address)) {
    *text += "answer     403: the route does not allow this client\n" + PageOf(403, settings, *listener, met);
    return true;
  }
  if (head.head_bytes > met.max_header_bytes) {
    absl::StrAppend(text, "answer     431: the request head has ", head.head_bytes,
                    " bytes, the route takes ", met.max_header_bytes, "\n",
                    PageOf(431, settings, *listener, met));
    return true;
  }
  if (met.basic_auth != nullptr &&
      !MayCome(*met.basic_auth, AsWritten(settings, key + ".basic_auth.realm", met.basic_auth->realm),
               !health, head, text)) {
    *text += PageOf(401, settings, *listener, met);
    return true;
  }
  bool new_cookie = false;
  const RouteSettings& route =
      met.split == nullptr ? met : TakeSide(settings, *met.split, key, routed.asked, &new_cookie, text);
  const std::string_view request_id = head.request_id.empty() ? kMadeForEach : head.request_id;
  TemplateValues values = ValuesFor(route.captures, *list.table, routed, ip, request_id);
  const bool forward = route.action == RouteSettings::Action::kUpstream;
  values.Set(Variable::kEndpoint, forward ? "(the endpoint that answers)" : kNoEndpoint);
  if (route.auth_request != nullptr) {
    const AuthRequestSettings& auth = *route.auth_request;
    std::string target(auth.path.Bytes(values), '\0');
    auth.path.Write(values, target.data());
    // It may have the key that the other server knows Weir by.
    target =
        hop.tells_secrets ? AsWritten(settings, key + ".auth_request.path", std::move(target)) + " " : "";
    const std::string asked_of =
        SubsetWords(settings, auth.leg.upstream, auth.leg.subset, key + ".auth_request.subset");
    absl::StrAppend(text, "asks       ", head.facts.method == http::Method::kHead ? "HEAD " : "GET ", target,
                    "of ", settings.upstreams[auth.leg.upstream].name, asked_of.empty() ? "" : " ", asked_of,
                    ": this is what becomes of the request if it answers 2xx\n");
    for (const std::string& name : auth.copy) head.Drop(name);
    if (!auth.copy.empty()) {
      absl::StrAppend(text, "           which says the request's ", absl::StrJoin(auth.copy, ", "), "\n");
    }
  }
  switch (route.action) {
    case RouteSettings::Action::kUpstream: {
      Led led = Lead(settings, route, routed.asked, hop.aside);
      const std::string side =
          met.split == nullptr ? "" : absl::StrCat(".split[", &route - met.split->sides.data(), "]");
      led.text = SubsetLine(settings, route, absl::StrCat(key, side, ".subset")) + led.text;
      const char* const refused =
          ChangeRequest(route.request, settings.paths, values, head, scratch, context);
      if (refused != nullptr) {
        absl::StrAppend(text, "answer     400: ", refused, "\n");
      } else {
        *text += SentUp(settings, route, key, head, context, hop, led, values, new_cookie);
      }
      break;
    }
    case RouteSettings::Action::kRedirect: {
      std::string location(route.location.Bytes(values), '\0');
      route.location.Write(values, location.data());
      location = AsWritten(settings, key + ".redirect.to", std::move(location));
      absl::StrAppend(text, "answer     ", route.status, ", Location: ", location, "\n",
                      Response(settings, route, key, values, new_cookie));
      break;
    }
    case RouteSettings::Action::kRespond:
      absl::StrAppend(text, "answer     ", route.status, ", ", route.body.size(), " bytes",
                      route.content_type.empty() ? "" : " of ",
                      AsWritten(settings, key + ".respond.content_type", route.content_type), "\n",
                      Response(settings, route, key, values, new_cookie));
      break;
  }
  return true;
}

}  // namespace weir::lb
