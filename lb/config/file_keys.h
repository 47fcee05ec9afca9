// The tables of the configuration file's keys, and what reads a file by them: the inside of file_reader.h,
// shared by the files that each have some sections. A section is read into a draft of its own type; a key
// says by a function how.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/flags/marshalling.h"
#include "absl/strings/str_cat.h"
#include "lb/config/arguments.h"
#include "lb/config/file_reader.h"

namespace weir::lb::file {

struct Switch {
  static constexpr const char* kPlaceholder = "true \\| false";
  bool value = false;
};
inline bool AbslParseFlag(absl::string_view text, Switch* flag, std::string* error) {
  flag->value = text == "true";
  if (text == "true" || text == "false") return true;
  *error = "expected true or false";
  return false;
}
inline std::string AbslUnparseFlag(const Switch& flag) { return flag.value ? "true" : "false"; }

// Whole seconds, which is what a cookie counts in.
struct CookieAge {
  static constexpr uint32_t kMostMs = 1000u * 3'600'000;
  static constexpr const char* kPlaceholder = "DURATION";
  uint32_t value = 0;
};
inline bool AbslParseFlag(absl::string_view text, CookieAge* flag, std::string* error) {
  if (!ParseDuration(text, &flag->value, error)) return false;
  if (flag->value <= CookieAge::kMostMs && flag->value % 1000 == 0) return true;
  *error = "expected whole seconds, at most 1000h";
  return false;
}

// The JSON Schema of a plain value.
template <class Type>
std::string SchemaOf() {
  const std::string_view placeholder = Type::kPlaceholder;
  if (placeholder == "DURATION") {
    return R"({"type": ["string", "integer"], "pattern": "^(0|[0-9]+(ms|s|m|h))$"})";
  }
  if (placeholder == "SIZE") {
    return R"({"type": ["string", "integer"], "pattern": "^[0-9]+(B|k|K|KiB|M|MiB|G|GiB)?$"})";
  }
  if (placeholder.starts_with("true")) return R"({"type": "boolean"})";
  if (placeholder == "COUNT" || placeholder == "200 to 599") return R"({"type": "integer"})";
  if (placeholder.find(" \\| ") != std::string_view::npos) {
    std::string choices;
    for (std::string_view rest = placeholder;;) {
      const size_t end = rest.find(" \\| ");
      const std::string_view choice = rest.substr(0, end);
      const bool number = choice.find_first_not_of("0123456789") == std::string_view::npos;
      absl::StrAppend(&choices, choices.empty() ? "" : ", ", number ? "" : "\"", Absl(choice),
                      number ? "" : "\"");
      if (end == std::string_view::npos) break;
      rest.remove_prefix(end + 4);
    }
    return absl::StrCat("{\"enum\": [", choices, "]}");
  }
  return R"({"type": "string"})";
}

class Reader;
struct ListenerDraft;

// Who says `upstream` may ask for some of its endpoints.
struct SubsetDraft {
  Labels labels;
  Place place;  // line 0: all are asked for
  const ConfigNode* node = nullptr;
  Place fallback;  // line 0: not said
  bool any = false;
};

// One of the sides of a route's split, and what holds clients to theirs.
struct SideDraft {
  Place place;       // of the upstream
  std::string name;  // of the upstream, there or not
  uint32_t upstream = 0;
  SubsetDraft subset;
  SubsetUse use;
  uint32_t weight = 1;
};
struct StickyDraft {
  Place place;  // line 0: not said
  std::string cookie;
  HashKey key;
  bool has_key = false;
  bool secure = false;
  uint32_t max_age_ms = 0;
};

// Who is asked about the requests of a route.
struct AuthRequestDraft {
  Place place;       // line 0: nobody
  std::string name;  // of the upstream, there or not
  uint32_t upstream = 0;
  SubsetDraft subset;
  Template path;
  std::vector<std::string> copy;
  Place copy_place;
};

// Where copies of the requests of a route go.
struct MirrorDraft {
  Place place;       // line 0: nowhere
  std::string name;  // of the upstream, there or not
  MirrorSettings settings;
  SubsetDraft subset;
};

// One key of a section that is read into a T.
template <class T>
struct Key {
  std::string_view name;
  std::string_view type;
  std::string_view fallback;  // the default in words; empty: what `write` says of a T that says nothing
  std::string_view sentence;
  std::string schema;
  void (*read)(Reader& reader, const ConfigNode& value, T& out) = nullptr;  // null: not available yet
  std::string (*write)(const T& from) = nullptr;
  bool required = false;
};

// Reads the sections; keeps where it is, for messages.
class Reader {
 public:
  Reader(Settings& settings, Problems& problems, SaidKeys& said)
      : settings_(settings), problems_(problems), said_(said) {}

  FileSections Read(std::span<const ConfigNode> documents);

  // A map's keys by their table. False if the node is no map.
  template <class T>
  bool Map(const ConfigNode& node, std::span<const Key<T>> keys, T& out);
  template <class Type, class Value>
  void Scalar(const ConfigNode& node, Value& out);
  void Texts(const ConfigNode& node, std::vector<std::string>& out, std::vector<Place>& places);
  bool Text(const ConfigNode& node, std::string& out);

  void Error(const Place& place, std::string_view sentence) { problems_.Error(place, key_, sentence); }
  size_t mistakes() const { return problems_.error_count(); }
  void Within(const std::string& name, const std::function<void()>& read) {
    const std::string outer = key_;
    key_ += name.starts_with('[') || key_.empty() ? name : "." + name;
    read();
    key_ = outer;
  }
  uint32_t FindUpstream(const ConfigNode& name);
  uint32_t FindRoutes(const ConfigNode& name);

  void ReadEndpoints(const ConfigNode& node, FileUpstream& upstream);
  void ReadEndpoint(const ConfigNode& node, FileUpstream& upstream);
  void ReadLabels(const ConfigNode& node, Labels& labels);
  void ReadSubset(const ConfigNode& node, SubsetDraft& subset);
  // What is asked for of the upstream `name`, if there is one.
  void FinishSubset(const SubsetDraft& said, std::string_view name, SubsetUse& use);
  void ReadHashOn(const ConfigNode& node, UpstreamSettings& upstream);
  void FinishBalance(const ConfigNode& node, UpstreamSettings& upstream);
  void FinishPanic(const ConfigNode& node, FileUpstream& upstream);
  // A tcp listener sends to it, as is said at `place`.
  // `hears_names`: the listener reads what TLS connections begin with.
  void WarnOfTcp(const Place& place, const UpstreamSettings& upstream, bool hears_names);
  void ReadRetryOn(const ConfigNode& node, RetrySettings& retry);
  void ReadBackoff(const ConfigNode& node, RetrySettings& retry);
  void ReadSources(const ConfigNode& node, FileUpstream& upstream);
  void ReadRetryBudget(const ConfigNode& node, RetryBudgetSettings& budget);
  void ReadHealthCheck(const ConfigNode& node, FileUpstream& upstream);
  void ReadSlowStart(const ConfigNode& node, UpstreamSettings& upstream);
  void ReadOutliers(const ConfigNode& node, UpstreamSettings& upstream);
  // What of it needs the endpoints.
  void FinishHealthCheck(const FileUpstream& upstream);

  // Networks and addresses, or file:PATH with one a line.
  struct NetworkDraft {
    std::vector<std::string> texts;
    std::vector<Network> networks;
    bool unix_sockets = false;  // so are named who comes by these
    Place place;
  };
  // A route as it is read: what its match said where, for what the table says of it.
  struct RouteDraft {
    RouteSettings settings;
    RouteMatch match;
    std::vector<Place> places[kRouteParts];  // by RoutePart
    uint32_t actions = 0;
    const ConfigNode* timeouts = nullptr;
    const ConfigNode* retries = nullptr;
    const ConfigNode* retry = nullptr;
    std::vector<SideDraft> split;
    Place split_place;
    StickyDraft sticky;
    const ConfigNode* max_body = nullptr;
    SubsetDraft subset;
    MirrorDraft mirror;
    AuthRequestDraft auth_request;
    NetworkDraft allow;
    NetworkDraft deny;
    Place rewrites;  // of something that changes the request
    Place place;
  };
  // A list of routes: what the files have of it, in their order.
  struct RoutesDraft {
    struct Scheme {
      Place place;
      std::string key;
      bool https = false;
    };
    std::string name;
    std::vector<Place> places;
    std::vector<const ConfigNode*> parts;
    std::vector<Scheme> schemes;  // that its routes ask for
    bool checked[2] = {};         // by Protocol: whether it is for that
    bool used = false;            // by a listener
    bool behind_proxies = false;  // by one that has trusted_proxies
  };
  void ReadRoutes(RoutesDraft& draft, RouteList& list);
  void FinishRoute(RouteDraft& draft, const ConfigNode& node);
  void ReadSplit(const ConfigNode& node, RouteDraft& draft);
  void FinishSplit(RouteDraft& draft);
  void FinishAuthRequest(RouteDraft& draft);
  void BuildTable(RouteList& list, std::vector<RouteDraft>& drafts);
  // That the routes say nothing that a listener of this protocol, which stands at `listener`, could not do.
  void CheckRoutesFor(Protocol protocol, const Place& listener, RoutesDraft& draft, const RouteList& list);
  // What is right and surely not meant.
  void WarnOfMatch(const RouteDraft& draft);
  void WarnOfSchemes(const RoutesDraft& draft);
  void WarnOfBody(const ConfigNode& node);
  void WarnOfVariables(const ConfigNode& node, const Template& text);
  void ReadConditions(const ConfigNode& node, std::vector<ValueCondition>& out, std::vector<Place>& places);
  void ReadClients(const ConfigNode& node, RouteDraft& draft);
  void ReadNetworks(const ConfigNode& node, NetworkDraft& draft);
  void ReadNetworkFile(const std::string& path, const Place& place, NetworkDraft& draft);
  std::shared_ptr<const BasicAuth> ReadBasicAuth(const ConfigNode& node);
  void ReadProxyHello(const ConfigNode& node, ProxyHelloSettings& settings);
  void ReadProxyProtocol(const ConfigNode& node, ProxyProtocolSettings& settings);
  void ReadErrorPages(const ConfigNode& node, ErrorPages& pages);
  void ReadUser(std::string_view name, std::string_view hash, const Place& place, BasicAuth& auth);
  void ReadUsersFile(const ConfigNode& node, BasicAuth& auth);
  // A body that Weir answers with, from a file beside the configuration.
  void ReadBodyFile(const ConfigNode& node, std::string& body);
  // The file that `path`, said at `place`, means.
  std::string FileBeside(const std::string& path, const Place& place) const;
  AccessSettings Access(NetworkDraft allow, NetworkDraft deny);
  bool IsChangeable(const std::string& name, const Place& place);
  void ReadHeaders(const ConfigNode& node, bool set, HeaderChanges& changes);
  // A route's `response_headers:`. False if the node is no map.
  bool ReadResponseHeaders(const ConfigNode& node, RouteSettings& route);
  void FinishListenerHeaders(const ListenerDraft& draft, ListenerSettings& listener);

  void ReadAccessLog(const ConfigNode& node);

  Settings& settings() { return settings_; }
  void set_in_response(bool in_response) { in_response_ = in_response; }

 private:
  template <class T>
  static void SayNearest(std::string_view name, std::span<const Key<T>> keys, std::string& sentence);

  Settings& settings_;
  Problems& problems_;
  SaidKeys& said_;
  std::string key_;
  FileSections sections_;
  std::map<std::string, uint32_t, std::less<>> upstream_indices_;
  bool in_response_ = false;  // headers that are read are a response's
  // A list of routes with the headers of a listener, and that without them.
  struct ListenerRoutes {
    uint32_t without;
    uint32_t with;
    HeaderChanges request;
    HeaderChanges response;
  };
  std::vector<ListenerRoutes> listener_routes_;
};

const char* KindName(const ConfigNode& node);
// "; Path=/..." of the cookies that Weir sets; `max_age_s` 0: until the browser ends.
std::string CookieAttributes(uint32_t max_age_s, bool secure);
// What of a route's response headers is ready before any request. False: there is too much of it.
bool PrepareResponseHeaders(RouteSettings& route);
// Of these what a refusal of auth_request has too: what holds for every answer.
void PrepareRefusalHeaders(const RouteSettings& route, RouteSettings& leg);
// Of the words in "expected http or tcp" the one that was meant by `text`; empty: none.
std::string_view NearestChoice(std::string_view text, std::string_view expected);
// Where a list was expected: -a for - a.
const char* DashHint(const ConfigNode& node);
// Where somebody wrote [..] or {..} for a text.
std::string QuoteHint(const ConfigNode& node);

template <class T>
void Reader::SayNearest(std::string_view name, std::span<const Key<T>> keys, std::string& sentence) {
  std::vector<std::string_view> names;
  for (const Key<T>& key : keys) names.push_back(key.name);
  const std::string_view nearest = Nearest(name, names);
  if (!nearest.empty()) {
    absl::StrAppend(&sentence, "; did you mean ", Absl(nearest), "?");
    return;
  }
  // What others call it.
  if (name == "add" && std::find(names.begin(), names.end(), "append") != names.end()) {
    sentence += "; did you mean append?";
    return;
  }
  if (name == "timeouts") {
    sentence += "; timeouts stand at the top of the file, at upstreams and at routes";
    return;
  }
  sentence += "; accepted:";
  for (const Key<T>& key : keys) {
    if (key.read != nullptr) absl::StrAppend(&sentence, " ", Absl(key.name));
  }
}

template <class T>
bool Reader::Map(const ConfigNode& node, std::span<const Key<T>> keys, T& out) {
  if (!node.is_map()) {
    std::string names;
    for (const Key<T>& key : keys) {
      if (key.read != nullptr) absl::StrAppend(&names, " ", Absl(key.name));
    }
    Error(node.place, absl::StrCat("expected keys and values, found ", KindName(node), "; accepted:", names));
    return false;
  }
  for (size_t i = 0; i < node.items.size(); ++i) {
    const std::string& name = node.key_text[i];
    const auto key =
        std::find_if(keys.begin(), keys.end(), [&name](const Key<T>& known) { return known.name == name; });
    Within(name, [&] {
      if (key == keys.end()) {
        std::string sentence = "unknown key";
        const size_t colon = name.find(':');
        const std::string_view before = std::string_view(name).substr(0, colon);
        const bool no_space = colon != std::string::npos &&
                              node.items[i].kind == ConfigNode::Kind::kNothing &&
                              std::any_of(keys.begin(), keys.end(),
                                          [before](const Key<T>& known) { return known.name == before; });
        if (no_space) {
          absl::StrAppend(&sentence, "; a space is missing behind the colon: ", Absl(before), ": ...");
        } else if (name.starts_with("\xc2\xa0")) {
          sentence += "; it begins with a no-break space (U+00A0): YAML is indented by usual ones";
        } else {
          SayNearest(name, keys, sentence);
        }
        Error(node.key_place[i], sentence);
      } else if (key->read == nullptr) {
        Error(node.key_place[i], "not available yet");
      } else {
        said_[key_] = node.items[i].place;
        key->read(*this, node.items[i], out);
      }
    });
  }
  for (const Key<T>& key : keys) {
    if (!key.required || node.Find(key.name) != nullptr) continue;
    Error(node.place, absl::StrCat("the key ", Absl(key.name), " is missing"));
  }
  return true;
}

template <class Type, class Value>
void Reader::Scalar(const ConfigNode& node, Value& out) {
  Type value;
  std::string expected;
  if (!node.is_scalar()) {
    absl::ParseFlag("", &value, &expected);
    Error(node.place,
          absl::StrCat("found ", KindName(node), expected.empty() ? "" : ": ", expected, QuoteHint(node)));
  } else if (!absl::ParseFlag(Absl(node.text), &value, &expected)) {
    const std::string_view nearest = NearestChoice(node.text, expected);
    Error(node.place,
          absl::StrCat("\"", node.text, "\": ", expected, nearest.empty() ? "" : "; did you mean ",
                       Absl(nearest), nearest.empty() ? "" : "?"));
  } else {
    out = static_cast<Value>(value.value);
  }
}

#define WEIR_PLAIN(T, name, Type, setting, sentence)                                                      \
  Key<T> {                                                                                                \
    #name, Type::kPlaceholder, "", sentence, SchemaOf<Type>(),                                            \
        [](Reader& reader, const ConfigNode& value, T& out) { reader.Scalar<Type>(value, out.setting); }, \
        [](const T& from) { return AbslUnparseFlag(Type{from.setting}); }                                 \
  }

// The timeouts that an upstream has and a route may have of its own.
template <class T>
std::vector<Key<T>> RequestTimeoutKeys() {
  return {
      WEIR_PLAIN(T, connect, Patience, timeouts.connect_ms, "One attempt to connect to an endpoint."),
      WEIR_PLAIN(T, response, OptionalPatience, timeouts.response_ms,
                 "From the whole request sent to the head of the response; 0 is no limit."),
      WEIR_PLAIN(T, upstream_body, OptionalPatience, timeouts.upstream_body_ms,
                 "Between two reads of a response body, or a send of a request body that makes no progress; "
                 "0 is no limit."),
      WEIR_PLAIN(T, request, OptionalPatience, timeouts.request_ms,
                 "A whole request with its response; 0 is no limit."),
  };
}

template <class T>
Key<T> Later(std::string_view name, std::string_view sentence) {
  return {name, "", "", sentence, "", nullptr, nullptr};
}

inline std::string ListOrOne(std::string_view what) {
  return absl::StrCat("{\"anyOf\": [", Absl(what), ", {\"type\": \"array\", \"items\": ", Absl(what),
                      ", \"minItems\": 1}]}");
}
inline constexpr const char* kPlainText = "text/plain; charset=utf-8";
inline constexpr const char* kTextSchema = R"({"type": "string"})";
inline std::string Reference(std::string_view name) {
  return absl::StrCat(R"({"$ref": "#/$defs/)", Absl(name), "\"}");
}

// For everybody who has a NetworkDraft `allow` and `deny`.
template <class T>
Key<T> AllowKey() {
  return {"allow",
          "text or list",
          "everybody",
          "Networks, addresses, or file:PATH with one a line. Who is named may come, nobody else; of several "
          "networks "
          "the longest decides. unix: whoever comes by a unix socket, and has no address.",
          ListOrOne(kTextSchema),
          [](Reader& reader, const ConfigNode& value, T& out) { reader.ReadNetworks(value, out.allow); }};
}
template <class T>
Key<T> DenyKey() {
  return {"deny",
          "text or list",
          "nobody",
          "Likewise: who is named gets 403 (TCP: is closed).",
          ListOrOne(kTextSchema),
          [](Reader& reader, const ConfigNode& value, T& out) { reader.ReadNetworks(value, out.deny); }};
}

// For everybody who has `error_pages`.
inline constexpr const char* kErrorPagesSentence =
    "Bodies for errors that Weir answers itself, by status: 404, 503 ..., or 4xx and 5xx for all others.";
std::string ErrorPagesSchema();

// For everybody who has `upstream` and a SubsetDraft `subset`.
std::string LabelsSchema();
template <class T>
Key<T> SubsetKey() {
  return {"subset",
          "labels",
          "all endpoints",
          "Only endpoints of the upstream that have all of these labels, such as {version: v2}; retries too "
          "stay among them.",
          LabelsSchema(),
          [](Reader& reader, const ConfigNode& value, T& out) { reader.ReadSubset(value, out.subset); }};
}
struct SubsetFallback {
  static constexpr const char* kPlaceholder = "none \\| any";
  bool value = false;  // any
};
inline bool AbslParseFlag(absl::string_view text, SubsetFallback* flag, std::string* error) {
  flag->value = text == "any";
  if (text == "any" || text == "none") return true;
  *error = "expected none or any";
  return false;
}
template <class T>
Key<T> SubsetFallbackKey() {
  return {"subset_fallback",
          SubsetFallback::kPlaceholder,
          "none",
          "Where none of the subset is usable, or a retry has tried all of them: none is 503, any are all "
          "endpoints of the upstream.",
          SchemaOf<SubsetFallback>(),
          [](Reader& reader, const ConfigNode& value, T& out) {
            out.subset.fallback = value.place;
            reader.Scalar<SubsetFallback>(value, out.subset.any);
          }};
}

// The sections. Each table is made once.
// A file, as the flag has it, or keys, one of which is the file.
inline constexpr std::string_view kAccessLog = "access_log";

// Of keys that are read elsewhere.
struct FileDraft {};

struct EndpointDraft {
  std::string address;
  Place place;
  uint32_t weight = 1;
  uint32_t priority = 0;
  Place priority_place;  // line 0: not said
  bool backup = false;
  std::string zone;
  Labels labels;

  uint32_t level() const { return backup ? EndpointSettings::kBackup : priority; }
};
// Places: line 0: not said.
struct HealthDraft {
  HealthCheckSettings settings;
  Place port;
  Place interval_down;
  Place jitter;
  Place timeout;
  Place http_key;  // of one that is for type http alone
};
struct OutlierDraft {
  OutlierSettings settings;
  Place most_ejection;
  Place jitter;
};
struct ListenerDraft {
  ListenerSettings settings;
  Place mode;
  Place tcp;
  Reader::NetworkDraft allow;
  Reader::NetworkDraft deny;
  Reader::NetworkDraft trusted;
  Place forwarded;
  Place error_pages;
  Place request_headers;
  Place response_headers;
  bool headers_refused = false;  // of these two, which was told
  Place congestion_control;
  const ConfigNode* address = nullptr;
  const ConfigNode* upstream = nullptr;
  const ConfigNode* routes = nullptr;
  SubsetDraft subset;
};
struct ProxyProtocolDraft {
  ProxyProtocolSettings settings;
  Reader::NetworkDraft from;
};
using RouteDraft = Reader::RouteDraft;
struct BasicAuthDraft {
  BasicAuth auth;
  const ConfigNode* users = nullptr;
  const ConfigNode* users_file = nullptr;
};

std::vector<Key<FileDraft>> TopKeys();
// Of `timeouts:` and `limits:`.
std::vector<Key<FileDraft>> GroupKeys(std::string_view group);
std::span<const Key<Settings>> PathKeys();
std::span<const Key<ListenerDraft>> ListenerKeys();
std::span<const Key<ListenerDraft>> ListenerTcpKeys();
std::span<const Key<FileUpstream>> UpstreamTcpKeys();
std::span<const Key<ProxyProtocolDraft>> ProxyProtocolKeys();
std::span<const Key<ProxyHelloSettings>> ProxyHelloKeys();
std::span<const Key<FileUpstream>> UpstreamKeys();
std::span<const Key<UpstreamSettings>> UpstreamTimeoutKeys();
std::span<const Key<HashSettings>> HashCookieKeys();
std::span<const Key<RetrySettings>> RetryKeys();
std::span<const Key<RetrySettings>> BackoffKeys();
std::span<const Key<RetryBudgetSettings>> RetryBudgetKeys();
std::span<const Key<PoolSettings>> PoolKeys();
std::span<const Key<HealthDraft>> HealthCheckKeys();
std::span<const Key<SlowStartSettings>> SlowStartKeys();
std::span<const Key<OutlierDraft>> OutlierKeys();
std::span<const Key<OutlierSettings>> OutlierLatencyKeys();
std::span<const Key<OutlierSettings>> OutlierSuccessKeys();
std::span<const Key<EndpointDraft>> EndpointKeys();
std::span<const Key<RouteDraft>> RouteKeys();
std::span<const Key<MirrorDraft>> MirrorKeys();
std::span<const Key<AuthRequestDraft>> AuthRequestKeys();
std::span<const Key<RouteDraft>> MatchKeys();
std::span<const Key<ValueCondition>> ConditionKeys();
std::span<const Key<RouteSettings>> RouteTimeoutKeys();
std::span<const Key<RouteSettings>> RedirectKeys();
std::span<const Key<RouteSettings>> RespondKeys();
std::span<const Key<BasicAuthDraft>> BasicAuthKeys();
std::span<const Key<ErrorPage>> ErrorPageKeys();
std::span<const Key<RequestChanges>> RewriteKeys();
std::span<const Key<SideDraft>> SideKeys();
std::span<const Key<StickyDraft>> StickyKeys();
std::span<const Key<HeaderChanges>> HeaderKeys();
std::span<const Key<AccessLogSettings>> AccessLogKeys();
std::span<const Key<SyslogSettings>> SyslogKeys();

}  // namespace weir::lb::file
