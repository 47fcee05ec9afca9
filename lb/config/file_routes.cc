// The configuration file's routes: what they match, and what becomes of a request.
#include <algorithm>

#include "absl/strings/ascii.h"
#include "lb/config/file_keys.h"
#include "lb/http/chars.h"

namespace weir::lb::file {
namespace {

template <RoutePart kPart>
void ReadTexts(Reader& reader, const ConfigNode& value, RouteDraft& out) {
  std::vector<std::string>* const list = kPart == RoutePart::kHost         ? &out.match.hosts
                                         : kPart == RoutePart::kSni        ? &out.match.sni
                                         : kPart == RoutePart::kAlpn       ? &out.match.alpn
                                         : kPart == RoutePart::kPath       ? &out.match.paths
                                         : kPart == RoutePart::kPathPrefix ? &out.match.path_prefixes
                                         : kPart == RoutePart::kPathRegex  ? &out.match.path_regexes
                                                                           : &out.match.methods;
  reader.Texts(value, *list, out.places[static_cast<size_t>(kPart)]);
}

std::string_view KeyOf(RoutePart part) {
  static constexpr std::string_view kNames[] = {
      "",      "host",   "path",   "path_prefix",    "path_regex", "method", "headers",
      "query", "client", "scheme", "proxy_protocol", "sni",        "alpn"};
  static_assert(std::size(kNames) == kRouteParts);
  return kNames[static_cast<size_t>(part)];
}

constexpr std::string_view kMatchedAs = "is matched as ";

struct SchemeName {
  static constexpr const char* kPlaceholder = "http \\| https";
  std::string value;
};
bool AbslParseFlag(absl::string_view text, SchemeName* flag, std::string* error) {
  flag->value = std::string(text);
  if (text == "http" || text == "https") return true;
  *error = "expected http or https";
  return false;
}

}  // namespace

// Routes

void Reader::WarnOfMatch(const RouteDraft& draft) {
  const auto each = [&](RoutePart part, const std::vector<std::string>& texts, const auto& why) {
    const std::vector<Place>& places = draft.places[static_cast<size_t>(part)];
    for (size_t i = 0; i < texts.size(); ++i) {
      const std::string sentence = why(texts[i]);
      if (!sentence.empty())
        problems_.Warning(places[i], absl::StrCat(key_, ".match.", Absl(KeyOf(part))), sentence);
    }
  };
  each(RoutePart::kMethod, draft.match.methods, [](const std::string& text) -> std::string {
    static constexpr std::string_view kMethods[] = {"GET",   "HEAD",    "POST",    "PUT",  "DELETE",
                                                    "PATCH", "OPTIONS", "CONNECT", "TRACE"};
    for (const std::string_view method : kMethods) {
      if (text != method && http::EqualsIgnoreCase(text, method))
        return absl::StrCat("\"", text, "\": methods differ by case; did you mean ", Absl(method), "?");
    }
    return "";
  });
  for (const bool prefix : {false, true}) {
    each(prefix ? RoutePart::kPathPrefix : RoutePart::kPath,
         prefix ? draft.match.path_prefixes : draft.match.paths, [&](const std::string& text) -> std::string {
           if (text == "*" || text.find('*') == std::string::npos) return "";
           const bool at_end = text.find('*') + 1 == text.size();
           return absl::StrCat("\"", text, "\": the star stands for itself",
                               at_end ? "; a path_prefix has all below it without one" : "",
                               at_end ? "" : "; path_regex is for patterns");
         });
  }
  each(RoutePart::kPathRegex, draft.match.path_regexes, [](const std::string& text) -> std::string {
    const std::string_view rest = std::string_view(text).substr(text.starts_with('^') ? 1 : 0);
    // Certain where it begins with a letter that has to be there.
    const bool letter =
        !rest.empty() && ((rest[0] >= 'a' && rest[0] <= 'z') || (rest[0] >= 'A' && rest[0] <= 'Z') ||
                          (rest[0] >= '0' && rest[0] <= '9'));
    const bool other = rest.find('|') != std::string_view::npos ||
                       (rest.size() > 1 && std::string_view("*?{").find(rest[1]) != std::string_view::npos);
    return letter && !other ? absl::StrCat("\"", text, "\": matches nothing, as paths begin with /") : "";
  });
}

// Nobody could say https: TLS ends in front of Weir, and only a trusted proxy is believed.
void Reader::WarnOfSchemes(const RoutesDraft& draft) {
  for (const RoutesDraft::Scheme& scheme : draft.schemes) {
    problems_.Warning(
        scheme.place, scheme.key,
        scheme.https ? "never holds: no listener with these routes has trusted_proxies that could say https"
                     : "always holds: no listener with these routes has trusted_proxies that could say "
                       "https");
  }
}

namespace {

constexpr std::string_view kVariables[] = {"host",   "path",   "query",     "uri",       "scheme",
                                           "method", "client", "remainder", "request_id"};

}  // namespace

void Reader::WarnOfBody(const ConfigNode& node) {
  for (const std::string_view name : kVariables) {
    const std::string variable = absl::StrCat("${", Absl(name), "}");
    if (node.text.find(variable) == std::string::npos) continue;
    return problems_.Warning(node.place, key_,
                             absl::StrCat("\"", variable, "\" stands for itself: no variables in bodies"));
  }
}

// $host as others have it; some by other names.
void Reader::WarnOfVariables(const ConfigNode& node, const Template& text) {
  struct Name {
    std::string_view theirs;
    std::string_view ours;
  };
  static constexpr Name kNames[] = {{"host", "host"},           {"http_host", "host"},
                                    {"path", "path"},           {"document_uri", "path"},
                                    {"query", "query"},         {"args", "query"},
                                    {"query_string", "query"},  {"uri", "uri"},
                                    {"request_uri", "uri"},     {"scheme", "scheme"},
                                    {"method", "method"},       {"request_method", "method"},
                                    {"client", "client"},       {"remote_addr", "client"},
                                    {"remainder", "remainder"}, {"request_id", "request_id"}};
  const std::string& all = text.text();
  const bool in_url = key_.find("_headers.") == std::string::npos;
  for (size_t at = 0; (at = all.find('$', at)) != std::string::npos; ++at) {
    const auto is = [&all](size_t at, auto test) {
      return at < all.size() && test(static_cast<unsigned char>(all[at]));
    };
    // A header may well have $5 in it.
    const bool group = in_url && is(at + 1, absl::ascii_isdigit) && !is(at + 2, absl::ascii_isalnum);
    const size_t end =
        group ? at + 2 : std::min(all.find_first_not_of("abcdefghijklmnopqrstuvwxyz_", at + 1), all.size());
    const std::string_view name = std::string_view(all).substr(at + 1, end - at - 1);
    const auto known = std::find_if(std::begin(kNames), std::end(kNames),
                                    [name](const Name& other) { return other.theirs == name; });
    if (!group && known == std::end(kNames)) continue;
    problems_.Warning(node.place, key_,
                      absl::StrCat("\"$", Absl(name), "\" stands for itself; did you mean ${",
                                   Absl(group ? name : known->ours), "}?"));
  }
}

std::span<const Key<RouteSettings>> RouteTimeoutKeys() {
  using T = RouteSettings;
  static const std::vector<Key<T>> kKeys = [] {
    std::vector<Key<T>> keys = RequestTimeoutKeys<T>();
    keys.insert(keys.begin(),
                {WEIR_PLAIN(T, client_body, OptionalPatience, timeouts.client_body_ms,
                            "Between two reads of a request body; 0 is no limit."),
                 WEIR_PLAIN(T, client_send, OptionalPatience, timeouts.client_send_ms,
                            "A client that acknowledges nothing of what is sent to it; 0 is no limit.")});
    keys.push_back(WEIR_PLAIN(T, tcp_idle, Patience, timeouts.tcp_idle_ms,
                              "An upgraded connection: no byte in either direction."));
    return keys;
  }();
  return kKeys;
}

std::span<const Key<RouteDraft>> MatchKeys() {
  using T = RouteDraft;
  static const std::string kTexts = ListOrOne(kTextSchema);
  static const std::string kConditions =
      R"({"type": "object", "additionalProperties": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/condition"}]}})";
  static const Key<T> kKeys[] = {
      {"host", "text or list", "any", "A host, or *.example.com for one or more labels before it.", kTexts,
       ReadTexts<RoutePart::kHost>},
      {"path", "text or list", "any", "The whole path.", kTexts, ReadTexts<RoutePart::kPath>},
      {"path_prefix", "text or list", "any", "Whole segments: /api has /api and /api/x, not /apiary.", kTexts,
       ReadTexts<RoutePart::kPathPrefix>},
      {"path_regex", "text or list", "any", "An RE2 expression for the whole path.", kTexts,
       ReadTexts<RoutePart::kPathRegex>},
      {"method", "text or list", "any", "GET, POST ... GET does not stand for HEAD.", kTexts,
       ReadTexts<RoutePart::kMethod>},
      {"headers", "keys", "none",
       "Header names with the value that one of their lines must have, or a condition.", kConditions,
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.ReadConditions(value, out.match.headers, out.places[static_cast<size_t>(RoutePart::kHeader)]);
       }},
      {"query", "keys", "none", "Query parameters, likewise.", kConditions,
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.ReadConditions(value, out.match.query, out.places[static_cast<size_t>(RoutePart::kQuery)]);
       }},
      {"proxy_protocol", "keys", "none",
       "What a listener's proxy_protocol read of the connection: names of TLVs (alpn, authority, unique_id, "
       "netns, ssl_version, ssl_cn, ssl_cipher, ssl_sig_alg, ssl_key_alg, or a number such as 0xe0) with "
       "their "
       "values, likewise; the first of each counts, bytes as they came.",
       kConditions,
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.ReadConditions(value, out.match.proxy_protocol,
                               out.places[static_cast<size_t>(RoutePart::kProxyProtocol)]);
       }},
      {"client", "text or list", "any", "Networks or addresses, one of which has the client's.", kTexts,
       [](Reader& reader, const ConfigNode& value, T& out) { reader.ReadClients(value, out); }},
      {"scheme", SchemeName::kPlaceholder, "either",
       "What the client came by: http, unless one of the listener's trusted_proxies says https in "
       "X-Forwarded-Proto or Forwarded; of a list in X-Forwarded-Proto all must say so (wss counts as "
       "https). What others say there does not count. A more specific route that asks for no scheme is met "
       "before one that does: a redirect of http to https must then be said there too.",
       SchemaOf<SchemeName>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         out.places[static_cast<size_t>(RoutePart::kScheme)].push_back(value.place);
         reader.Scalar<SchemeName>(value, out.match.scheme);
       }},
      {"sni", "text or list", "any, and none",
       "Only for tcp listeners: the server name that a TLS client asks for, or *.example.com for one or more "
       "labels before it. Who names none, or speaks no TLS at all, meets the routes that ask for neither sni "
       "nor "
       "alpn.",
       kTexts, ReadTexts<RoutePart::kSni>},
      {"alpn", "text or list", "any, and none",
       "Only for tcp listeners: a protocol that the TLS client offers, such as h2 or http/1.1; of several "
       "one "
       "must be offered. Which of its offers it gets is the endpoint's choice.",
       kTexts, ReadTexts<RoutePart::kAlpn>},
  };
  return kKeys;
}

std::span<const Key<ValueCondition>> ConditionKeys() {
  using T = ValueCondition;
  static const auto kText = [](Reader& reader, const ConfigNode& value, T& out, ValueCondition::Test test) {
    out.test = test;
    reader.Text(value, out.value);
  };
  static const Key<T> kKeys[] = {
      {"exact", "text", "", "The value.", kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) { kText(reader, value, out, T::Test::kExact); }},
      {"prefix", "text", "", "How it begins.", kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) { kText(reader, value, out, T::Test::kPrefix); }},
      {"regex", "text", "", "An RE2 expression for the whole value.", kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) { kText(reader, value, out, T::Test::kRegex); }},
      {"present", "true \\| false", "", "Whether there is one at all.", SchemaOf<Switch>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         bool present = true;
         reader.Scalar<Switch>(value, present);
         out.test = present ? T::Test::kPresent : T::Test::kAbsent;
       }},
  };
  return kKeys;
}

void Reader::ReadConditions(const ConfigNode& node, std::vector<ValueCondition>& out,
                            std::vector<Place>& places) {
  if (!node.is_map()) {
    return Error(node.place, absl::StrCat("expected names and values, such as {X-Canary: \"1\"}, found ",
                                          KindName(node)));
  }
  if (node.items.empty()) Error(node.place, "nothing is asked for: leave the key out, or name something");
  for (size_t i = 0; i < node.items.size(); ++i) {
    const ConfigNode& value = node.items[i];
    Within(node.key_text[i], [&] {
      ValueCondition condition;
      condition.name = node.key_text[i];
      if (value.is_scalar()) {
        condition.test = ValueCondition::Test::kExact;
        condition.value = value.text;
      } else if (value.is_map() && value.items.size() != 1) {
        return Error(value.place, "expected one of exact, prefix, regex, present");
      } else if (!Map(value, ConditionKeys(), condition)) {
        return;
      }
      out.push_back(std::move(condition));
      places.push_back(node.key_place[i]);
    });
  }
}

void Reader::ReadClients(const ConfigNode& node, RouteDraft& draft) {
  std::vector<std::string> texts;
  std::vector<Place> places;
  Texts(node, texts, places);
  for (size_t i = 0; i < texts.size(); ++i) {
    Network network;
    std::string expected;
    if (!ParseNetwork(texts[i], &network, &expected)) {
      Error(places[i], absl::StrCat("\"", texts[i], "\": ", expected));
      continue;
    }
    draft.match.clients.push_back(network);
    draft.places[static_cast<size_t>(RoutePart::kClient)].push_back(places[i]);
  }
}

std::span<const Key<MirrorDraft>> MirrorKeys() {
  using T = MirrorDraft;
  static const Key<T> kKeys[] = {
      {"upstream", "NAME", "required",
       "Where the copies go, one attempt each. Requests without a body are copied, and those whose small "
       "body came with the head, with all of their headers; what is left out is counted.",
       kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         out.name = value.text;
         out.settings.upstream = reader.FindUpstream(value);
       },
       nullptr, true},
      SubsetKey<T>(),
      SubsetFallbackKey<T>(),
      {"share", ShareText::kPlaceholder, "100%", "Of how many of the requests.", SchemaOf<ShareText>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<ShareText>(value, out.settings.share);
       }},
  };
  return kKeys;
}

std::span<const Key<RouteDraft>> RouteKeys() {
  using T = RouteDraft;
  static const Key<T> kKeys[] = {
      {"match", "keys", "everything", "Which requests this is for: all that it says must hold.",
       Reference("match"),
       [](Reader& reader, const ConfigNode& value, T& out) { reader.Map(value, MatchKeys(), out); }},
      {"upstream", "NAME", "", "The request goes there.", kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         ++out.actions;
         out.settings.action = RouteSettings::Action::kUpstream;
         out.settings.upstream = reader.FindUpstream(value);
       }},
      SubsetKey<T>(),
      SubsetFallbackKey<T>(),
      {"split", "list", "",
       "The request goes to one of several upstreams, by weight: a canary beside the rest. Retries stay with "
       "that one.",
       absl::StrCat(R"({"type": "array", "minItems": 1, "maxItems": )", Split::kMaxSides,
                    ", \"items\": ", Reference("side"), "}"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         ++out.actions;
         out.settings.action = RouteSettings::Action::kUpstream;
         reader.ReadSplit(value, out);
         if (!out.split.empty()) out.settings.upstream = out.split.front().upstream;
       }},
      {"sticky", "keys", "chance decides of each request", "What holds a client to its side of the split.",
       Reference("sticky"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         if (reader.Map(value, StickyKeys(), out.sticky)) out.sticky.place = value.place;
       }},
      {"redirect", "keys", "", "The client is sent elsewhere.", Reference("redirect"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         ++out.actions;
         out.settings.action = RouteSettings::Action::kRedirect;
         out.settings.status = 302;
         reader.Map(value, RedirectKeys(), out.settings);
       }},
      {"respond", "keys", "", "This very response.", Reference("respond"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         ++out.actions;
         out.settings.action = RouteSettings::Action::kRespond;
         out.settings.status = 200;
         reader.Map(value, RespondKeys(), out.settings);
       }},
      {"timeouts", "keys", "the upstream's", "What this route has of its own.", Reference("route_timeouts"),
       [](Reader&, const ConfigNode& value, T& out) { out.timeouts = &value; }},
      {"retries", "COUNT", "the upstream's", "Further attempts after the first.", SchemaOf<RetryCount>(),
       [](Reader&, const ConfigNode& value, T& out) { out.retries = &value; }},
      {"retry", "keys", "the upstream's", "What this route has of its own.", Reference("retry"),
       [](Reader&, const ConfigNode& value, T& out) { out.retry = &value; }},
      {"rewrite", "keys", "none", "Another path or host for the upstream.", Reference("rewrite"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         out.rewrites = value.place;
         reader.Map(value, RewriteKeys(), out.settings.request);
       }},
      {"request_headers", "keys", "none",
       "What changes on the way up; values with the variables of redirect: to.", Reference("headers"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         out.rewrites = value.place;
         reader.Map(value, HeaderKeys(), out.settings.request.headers);
       }},
      {"response_headers", "keys", "none",
       "What changes on the way down, in responses of the upstream (101 too; of 1xx only what is removed) "
       "and of this route; values with the same variables, of the request as it came, and ${endpoint}: who "
       "answered, - if this route did. What is set or appended without variables also stands in errors that "
       "Weir answers "
       "for this route, if it does not say something of a body or of caching.",
       Reference("headers"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.ReadResponseHeaders(value, out.settings);
       }},
      {"mirror", "keys", "none", "A copy of the request goes to another upstream, and its answer nowhere.",
       Reference("mirror"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         if (reader.Map(value, MirrorKeys(), out.mirror)) out.mirror.place = value.place;
       }},
      {"client_max_body", BodySize::kPlaceholder, "that of limits",
       "A request's body; a longer one is 413. 0 is no limit.", SchemaOf<BodySize>(),
       [](Reader&, const ConfigNode& value, T& out) { out.max_body = &value; }},
      {"max_header_bytes", HeadSize::kPlaceholder, "that of limits",
       "A request's head, as the client sent it; a longer one is 431. Not more than limits say.",
       SchemaOf<HeadSize>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         uint32_t bytes = 0;
         reader.Scalar<HeadSize>(value, bytes);
         const uint32_t most = reader.settings().limits.header_bytes;
         if (bytes > most) {
           return reader.Error(
               value.place, absl::StrCat("\"", value.text, "\": more than the ", SizeInWords(most),
                                         " of limits.max_header_bytes, which hold before a route is known"));
         }
         if (bytes > 0) out.settings.max_header_bytes = bytes;
       }},
      {"buffer", WholeBodySize::kPlaceholder, "0",
       "A request body whose Content-Length is at most this (24KiB at most, and beside the head) is read "
       "whole before an "
       "upstream is connected: so that it can be sent again, and a slow client occupies no upstream. Not "
       "with Expect: 100-continue, and not chunked: these pass as they come.",
       SchemaOf<WholeBodySize>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<WholeBodySize>(value, out.settings.buffer_bytes);
       }},
      AllowKey<T>(),
      DenyKey<T>(),
      {"basic_auth", "keys", "none",
       "Only who has one of these names and its password may come, others get 401. Checked after allow and "
       "deny, off the "
       "threads that serve; what was right is known for five minutes.",
       Reference("basic_auth"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         out.settings.basic_auth = reader.ReadBasicAuth(value);
       }},
      {"auth_request", "keys", "none",
       "Another server is asked about each request first: with the request's method line and headers, "
       "without its body. "
       "If it answers 2xx the request goes on; any other answer goes to the client in its place, and without "
       "an answer "
       "the client gets 502, 503 or 504. Asked after allow, deny and basic_auth.",
       Reference("auth_request"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         if (reader.Map(value, AuthRequestKeys(), out.auth_request)) out.auth_request.place = value.place;
       }},
      {"error_pages", "keys", "the listener's", kErrorPagesSentence, ErrorPagesSchema(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.ReadErrorPages(value, out.settings.error_pages);
       }},
  };
  return kKeys;
}

uint32_t Reader::FindUpstream(const ConfigNode& name) {
  const auto found = name.is_scalar() ? upstream_indices_.find(name.text) : upstream_indices_.end();
  if (found != upstream_indices_.end()) {
    sections_.upstreams[found->second].used = true;
    return found->second;
  }
  std::vector<std::string_view> names;
  for (const FileUpstream& upstream : sections_.upstreams) names.push_back(upstream.settings.name);
  const std::string_view nearest = Nearest(name.text, names);
  Error(name.place,
        absl::StrCat("\"", name.text, "\": expected the name of an upstream",
                     nearest.empty() ? "" : "; did you mean ", Absl(nearest), nearest.empty() ? "" : "?"));
  return 0;
}

uint32_t Reader::FindRoutes(const ConfigNode& name) {
  std::vector<std::string_view> names;
  for (uint32_t i = 0; i < sections_.routes.size(); ++i) {
    if (name.is_scalar() && sections_.routes[i].name == name.text) return i;
    names.push_back(sections_.routes[i].name);
  }
  const std::string_view nearest = Nearest(name.text, names);
  Error(name.place,
        absl::StrCat("\"", name.text, "\": expected a name under routes:",
                     nearest.empty() ? "" : "; did you mean ", Absl(nearest), nearest.empty() ? "" : "?"));
  return 0;
}

// Timeouts and retries are laid over the upstream's, which is known now.
void Reader::FinishRoute(RouteDraft& draft, const ConfigNode& node) {
  RouteSettings& route = draft.settings;
  if (draft.actions != 1) {
    Error(node.place, draft.actions == 0 ? "expected one of upstream, split, redirect, respond"
                                         : "expected only one of upstream, split, redirect, respond");
  }
  route.timeouts = settings_.timeouts;
  if (route.action == RouteSettings::Action::kUpstream && route.upstream < sections_.upstreams.size()) {
    route.timeouts = sections_.upstreams[route.upstream].settings.timeouts;
    route.retries = sections_.upstreams[route.upstream].settings.retries;
    route.retry = sections_.upstreams[route.upstream].settings.retry;
  }
  if (draft.timeouts != nullptr) {
    Within("timeouts", [&] { Map(*draft.timeouts, RouteTimeoutKeys(), route); });
  }
  route.client_max_body_bytes = settings_.client_max_body_bytes;
  if (draft.max_body != nullptr) {
    Within("client_max_body", [&] { Scalar<BodySize>(*draft.max_body, route.client_max_body_bytes); });
  }
  if (draft.retries != nullptr) Within("retries", [&] { Scalar<RetryCount>(*draft.retries, route.retries); });
  if (draft.retry != nullptr) Within("retry", [&] { Map(*draft.retry, RetryKeys(), route.retry); });
  if (route.action == RouteSettings::Action::kRespond) {
    if (!route.body.empty() && (route.status == 204 || route.status == 205 || route.status == 304)) {
      Error(node.place, absl::StrCat("a response of status ", route.status, " has no body"));
    }
    if (route.content_type.empty() && !route.body.empty()) route.content_type = kPlainText;
  }
  route.access = Access(std::move(draft.allow), std::move(draft.deny));
  if (route.action != RouteSettings::Action::kUpstream) {
    for (const char* ours : {"Content-Type", "Location"}) {
      const auto same = [ours](const std::string& name) { return http::EqualsIgnoreCase(name, ours); };
      const bool added = std::any_of(route.response.added.begin(), route.response.added.end(),
                                     [&](const HeaderChanges::Line& line) { return same(line.name); });
      if (added || std::any_of(route.response.dropped.begin(), route.response.dropped.end(), same)) {
        Error(node.place, absl::StrCat(ours, " of this answer is said by redirect or respond"));
      }
    }
  }
  if (draft.mirror.place.line > 0 && route.action != RouteSettings::Action::kUpstream) {
    Error(draft.mirror.place, "only a request that goes to an upstream can be mirrored");
  } else if (draft.mirror.place.line > 0) {
    route.mirror = draft.mirror.settings;
    Within("mirror", [&] { FinishSubset(draft.mirror.subset, draft.mirror.name, route.mirror.subset); });
  }
  const ConfigNode* const upstream = node.Find("upstream");
  if (draft.subset.place.line == 0 || upstream != nullptr) {
    FinishSubset(draft.subset, upstream == nullptr ? "" : upstream->text, route.subset);
  } else {
    Error(draft.subset.place, draft.split_place.line > 0
                                  ? "subset: expected at a side of the split, beside its upstream"
                                  : "subset: only of an upstream that requests go to");
  }
  if (draft.rewrites.line > 0 && route.action != RouteSettings::Action::kUpstream) {
    Error(draft.rewrites, "only a request that goes to an upstream can be changed");
  }
  PrepareResponseHeaders(route);
  bool groups = false;
  bool remainder = false;
  const auto look = [&](const Template& text) {
    groups = groups || text.UsesGroups();
    remainder = remainder || text.Uses(Variable::kRemainder);
  };
  look(route.location);
  look(route.request.path);
  look(draft.auth_request.path);
  for (const HeaderChanges::Line& line : route.request.headers.added) look(line.value);
  for (const HeaderChanges::Line& line : route.response.added) look(line.value);
  route.captures = groups || remainder;
  if (groups && draft.match.path_regexes.empty())
    Error(node.place, "${0} to ${9} want a path_regex in match");
  if (remainder && draft.match.path_prefixes.empty())
    Error(node.place, "${remainder} wants a path_prefix in match");
  route.where = problems_.Where(node.place);
  FinishAuthRequest(draft);
  FinishSplit(draft);
}

void Reader::ReadRoutes(RoutesDraft& routes, RouteList& list) {
  std::vector<RouteDraft> drafts;
  for (const ConfigNode* const part : routes.parts) {
    if (!part->is_list()) {
      Error(part->place, absl::StrCat("expected a list of routes (- match: ...), found ", KindName(*part),
                                      DashHint(*part)));
      continue;
    }
    if (part->items.empty()) Error(part->place, "the list is empty: no request would find a route");
    for (const ConfigNode& item : part->items) {
      Within(absl::StrCat("[", drafts.size(), "]"), [&] {
        RouteDraft& draft = drafts.emplace_back();
        draft.place = item.place;
        if (!Map(item, RouteKeys(), draft)) return;
        WarnOfMatch(draft);
        for (const Place& place : draft.places[static_cast<size_t>(RoutePart::kScheme)])
          routes.schemes.push_back({place, key_ + ".match.scheme", draft.match.scheme == "https"});
        FinishRoute(draft, item);
      });
    }
  }
  BuildTable(list, drafts);
}

void Reader::BuildTable(RouteList& list, std::vector<RouteDraft>& drafts) {
  for (RouteDraft& draft : drafts) {
    list.matches.push_back(draft.match);
    list.routes.push_back(std::move(draft.settings));
  }
  std::vector<RouteProblem> found;
  RouteOptions options;
  options.path = settings_.paths;
  list.table = RouteTable::Build(list.matches, options, found);
  for (const RouteProblem& problem : found) {
    const RouteDraft& draft = drafts[problem.rule];
    const std::vector<Place>& places = draft.places[static_cast<size_t>(problem.part)];
    const Place& place = problem.element < places.size() ? places[problem.element] : draft.place;
    std::string key = absl::StrCat(key_, "[", problem.rule, "]");
    if (problem.part != RoutePart::kNone) absl::StrAppend(&key, ".match.", Absl(KeyOf(problem.part)));
    std::string text = problem.text;
    // The form of a value that the environment has a part in is no more to be told than the value.
    if (const size_t form = text.find(kMatchedAs);
        form != std::string::npos && !problems_.ExpansionAt(place).written.empty()) {
      text.replace(form, std::string::npos, "is matched in another form, its normal one");
    }
    if (problem.other_rule != UINT32_MAX) {
      absl::StrAppend(&text, " (the route at ", problems_.Where(drafts[problem.other_rule].place), ")");
    }
    if (problem.is_error) {
      problems_.Error(place, key, text);
    } else {
      problems_.Warning(place, key, text);
    }
  }
}

}  // namespace weir::lb::file
