#include "lb/config/file_reader.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>

#include "absl/flags/marshalling.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lb/config/arguments.h"
#include "lb/config/read_file.h"
#include "lb/http/chars.h"
#include "lb/route/host.h"

namespace weir::lb {
namespace {

constexpr size_t kMaxBodyBytes = 16 * 1024;
constexpr size_t kMaxHeaderValue = 1024;

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

// Types that only the file has.

struct Switch {
  static constexpr const char* kPlaceholder = "true \\| false";
  bool value = false;
};
bool AbslParseFlag(absl::string_view text, Switch* flag, std::string* error) {
  flag->value = text == "true";
  if (text == "true" || text == "false") return true;
  *error = "expected true or false";
  return false;
}
std::string AbslUnparseFlag(const Switch& flag) { return flag.value ? "true" : "false"; }

struct EscapedSlashesName {
  static constexpr const char* kPlaceholder = "keep \\| reject";
  EscapedSlashes value = EscapedSlashes::kKeep;
};
bool AbslParseFlag(absl::string_view text, EscapedSlashesName* flag, std::string* error) {
  flag->value = text == "reject" ? EscapedSlashes::kReject : EscapedSlashes::kKeep;
  if (text == "keep" || text == "reject") return true;
  *error = "expected keep or reject";
  return false;
}
std::string AbslUnparseFlag(const EscapedSlashesName& flag) {
  return flag.value == EscapedSlashes::kReject ? "reject" : "keep";
}

struct ProtocolName {
  static constexpr const char* kPlaceholder = "http \\| tcp";
  Protocol value = Protocol::kHttp;
};
bool AbslParseFlag(absl::string_view text, ProtocolName* flag, std::string* error) {
  flag->value = text == "tcp" ? Protocol::kTcp : Protocol::kHttp;
  if (text == "http" || text == "tcp") return true;
  const bool later = text == "https" || text == "tls";
  *error = later ? "not available yet; expected http or tcp" : "expected http or tcp";
  return false;
}

struct RedirectStatus {
  static constexpr const char* kPlaceholder = "301 \\| 302 \\| 303 \\| 307 \\| 308";
  uint16_t value = 302;
};
bool AbslParseFlag(absl::string_view text, RedirectStatus* flag, std::string* error) {
  for (const uint16_t status : {301, 302, 303, 307, 308}) {
    if (text != absl::StrCat(status)) continue;
    flag->value = status;
    return true;
  }
  *error = "expected 301, 302, 303, 307 or 308";
  return false;
}

struct ResponseStatus {
  static constexpr const char* kPlaceholder = "200 to 599";
  uint16_t value = 200;
};
bool AbslParseFlag(absl::string_view text, ResponseStatus* flag, std::string* error) {
  uint64_t status = 0;
  if (ParseCount(text, &status, error) && status >= 200 && status <= 599) {
    flag->value = static_cast<uint16_t>(status);
    return true;
  }
  *error = "expected a status from 200 to 599";
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

  // Networks and addresses, or file:PATH with one a line.
  struct NetworkDraft {
    std::vector<std::string> texts;
    std::vector<Network> networks;
  };
  // A route as it is read: what its match said where, for what the table says of it.
  struct RouteDraft {
    RouteSettings settings;
    RouteMatch match;
    std::vector<Place> places[9];  // by RoutePart
    uint32_t actions = 0;
    bool said_timeouts[16] = {};
    const ConfigNode* timeouts = nullptr;
    const ConfigNode* retries = nullptr;
    NetworkDraft allow;
    NetworkDraft deny;
    Place rewrites;  // of something that changes the request
    Place place;
  };
  void ReadRoutes(const ConfigNode& node, RouteList& list);
  void FinishRoute(RouteDraft& draft, const ConfigNode& node);
  void BuildTable(RouteList& list, std::vector<RouteDraft>& drafts);
  void ReadConditions(const ConfigNode& node, std::vector<ValueCondition>& out, std::vector<Place>& places);
  void ReadClients(const ConfigNode& node, RouteDraft& draft);
  void ReadNetworks(const ConfigNode& node, NetworkDraft& draft);
  void ReadNetworkFile(const std::string& path, const Place& place, NetworkDraft& draft);
  AccessSettings Access(NetworkDraft allow, NetworkDraft deny);
  bool IsChangeable(const std::string& name, const Place& place);
  void ReadHeaders(const ConfigNode& node, bool set, HeaderChanges& changes);

  Settings& settings() { return settings_; }

 private:
  template <class T>
  static void SayNearest(std::string_view name, std::span<const Key<T>> keys, std::string& sentence);

  Settings& settings_;
  Problems& problems_;
  SaidKeys& said_;
  std::string key_;
  FileSections sections_;
  std::vector<const ConfigNode*> upstream_nodes_;
};

const char* KindName(const ConfigNode& node) {
  switch (node.kind) {
    case ConfigNode::Kind::kNothing:
      return "nothing";
    case ConfigNode::Kind::kScalar:
      return "a single value";
    case ConfigNode::Kind::kList:
      return "a list";
    case ConfigNode::Kind::kMap:
      return "keys and values";
  }
  return "";
}

// Where somebody wrote [..] or {..} for a text.
std::string QuoteHint(const ConfigNode& node) {
  if (node.is_list()) return "; to YAML a value that begins with [ is a list: put it in quotes";
  if (node.is_map()) return "; to YAML a value that begins with { is a map: put it in quotes";
  return "";
}

template <class T>
void Reader::SayNearest(std::string_view name, std::span<const Key<T>> keys, std::string& sentence) {
  std::vector<std::string_view> names;
  for (const Key<T>& key : keys) names.push_back(key.name);
  const std::string_view nearest = Nearest(name, names);
  if (!nearest.empty()) {
    absl::StrAppend(&sentence, "; did you mean ", Absl(nearest), "?");
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
        SayNearest(name, keys, sentence);
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
    Error(node.place, absl::StrCat("\"", node.text, "\": ", expected));
  } else {
    out = static_cast<Value>(value.value);
  }
}

bool Reader::Text(const ConfigNode& node, std::string& out) {
  if (node.is_scalar()) {
    out = node.text;
    return true;
  }
  Error(node.place, absl::StrCat("expected a text, found ", KindName(node), QuoteHint(node)));
  return false;
}

// One text, or a list of them.
void Reader::Texts(const ConfigNode& node, std::vector<std::string>& out, std::vector<Place>& places) {
  const auto one = [&](const ConfigNode& item) {
    std::string text;
    if (!Text(item, text)) return;
    out.push_back(std::move(text));
    places.push_back(item.place);
  };
  if (!node.is_list()) return one(node);
  if (node.items.empty()) Error(node.place, "the list is empty: leave the key out, or name something");
  for (const ConfigNode& item : node.items) one(item);
}

#define WEIR_PLAIN(T, name, Type, setting, sentence)                                                      \
  Key<T> {                                                                                                \
    #name, Type::kPlaceholder, "", sentence, SchemaOf<Type>(),                                            \
        [](Reader& reader, const ConfigNode& value, T& out) { reader.Scalar<Type>(value, out.setting); }, \
        [](const T& from) { return AbslUnparseFlag(Type{from.setting}); }                                 \
  }

template <class T>
Key<T> Later(std::string_view name, std::string_view sentence) {
  return {name, "", "", sentence, "", nullptr, nullptr};
}

std::string ListOrOne(std::string_view what) {
  return absl::StrCat("{\"anyOf\": [", Absl(what), ", {\"type\": \"array\", \"items\": ", Absl(what),
                      ", \"minItems\": 1}]}");
}
const char* const kTextSchema = R"({"type": "string"})";
std::string Reference(std::string_view name) {
  return absl::StrCat(R"({"$ref": "#/$defs/)", Absl(name), "\"}");
}

// Endpoints

struct EndpointDraft {
  std::string address;
  Place place;
  uint32_t weight = 1;
};

std::span<const Key<EndpointDraft>> EndpointKeys() {
  static const Key<EndpointDraft> kKeys[] = {
      {"address", "HOST:PORT", "required",
       "A name (resolved at start), an IPv4 address, or an IPv6 address in brackets.", kTextSchema,
       [](Reader& reader, const ConfigNode& value, EndpointDraft& out) {
         out.place = value.place;
         reader.Text(value, out.address);
       },
       nullptr, true},
      {"weight", "COUNT", "1", "Its share beside the others', 1 to 1000.",
       R"({"type": "integer", "minimum": 1, "maximum": 1000})",
       [](Reader& reader, const ConfigNode& value, EndpointDraft& out) {
         reader.Scalar<CountIn<1, 1000>>(value, out.weight);
       },
       nullptr},
      Later<EndpointDraft>("backup", "Only when no other endpoint is usable."),
  };
  return kKeys;
}

void Reader::ReadEndpoint(const ConfigNode& node, FileUpstream& upstream) {
  EndpointDraft draft;
  if (node.is_scalar()) {
    draft.address = node.text;
    draft.place = node.place;
  } else if (!Map(node, EndpointKeys(), draft) || draft.place.line == 0) {
    return;
  }
  if (absl::StartsWith(draft.address, "unix:"))
    return Error(draft.place, "unix: addresses are not available yet");
  BackendList list;
  std::string expected;
  if (draft.address.find('=') != std::string::npos || draft.address.find(',') != std::string::npos ||
      !ParseElement(Absl(draft.address), &list, &expected)) {
    return Error(
        draft.place,
        absl::StrCat(
            "\"", draft.address,
            "\": expected HOST:PORT (HOST: a name, an IPv4 address, or an IPv6 address in brackets)"));
  }
  list.items.front().weight = draft.weight;
  upstream.endpoints.push_back({std::move(list.items.front()), draft.place});
}

void Reader::ReadEndpoints(const ConfigNode& node, FileUpstream& upstream) {
  if (!node.is_list()) {
    return Error(node.place,
                 absl::StrCat("expected a list, such as [10.0.0.1:80, 10.0.0.2:80], found ", KindName(node)));
  }
  if (node.items.empty()) Error(node.place, "the list is empty: an upstream has at least one endpoint");
  for (size_t i = 0; i < node.items.size(); ++i) {
    Within(absl::StrCat("[", i, "]"), [&] { ReadEndpoint(node.items[i], upstream); });
  }
}

// Upstreams

std::span<const Key<UpstreamSettings>> UpstreamTimeoutKeys() {
  using T = UpstreamSettings;
  static const Key<T> kKeys[] = {
      WEIR_PLAIN(T, connect, Patience, timeouts.connect_ms, "One attempt to connect to an endpoint."),
      WEIR_PLAIN(T, response, OptionalPatience, timeouts.response_ms,
                 "From the whole request sent to the head of the response; 0 is no limit."),
      WEIR_PLAIN(T, upstream_body, OptionalPatience, timeouts.upstream_body_ms,
                 "Between two reads of a response body, or a send of a request body that makes no progress; "
                 "0 is no limit."),
      WEIR_PLAIN(T, request, OptionalPatience, timeouts.request_ms,
                 "A whole request with its response; 0 is no limit."),
      WEIR_PLAIN(T, tcp_idle, Patience, timeouts.tcp_idle_ms,
                 "TCP connections and tunnels: no byte in either direction."),
      WEIR_PLAIN(T, upstream_idle, Patience, idle_ms, "An idle connection kept to an endpoint."),
  };
  return kKeys;
}

std::span<const Key<UpstreamSettings>> UpstreamValueKeys() {
  using T = UpstreamSettings;
  static const Key<T> kKeys[] = {
      {"balance", BalanceName::kPlaceholder, "", "round_robin or least_conn, both by weight.",
       R"({"enum": ["round_robin", "least_conn"]})",
       [](Reader& reader, const ConfigNode& value, T& out) {
         static constexpr std::string_view kLater[] = {"random", "p2c",       "ewma",
                                                       "maglev", "ring_hash", "first"};
         if (std::find(std::begin(kLater), std::end(kLater), value.text) != std::end(kLater)) {
           return reader.Error(
               value.place,
               absl::StrCat("\"", value.text, "\": not available yet; expected round_robin or least_conn"));
         }
         reader.Scalar<BalanceName>(value, out.balance);
       },
       [](const T& from) { return AbslUnparseFlag(BalanceName{from.balance}); }},
      WEIR_PLAIN(T, retries, RetryCount, retries,
                 "Further attempts after the first, each on another endpoint where there is one."),
      WEIR_PLAIN(T, idle_connections, IdleCount, idle_connections,
                 "Idle connections kept for reuse, per endpoint and shard."),
      WEIR_PLAIN(T, set_aside, OptionalPatience, set_aside_ms,
                 "An endpoint that refuses connections gets none for so long, and up to 16 times that if it "
                 "goes on."),
  };
  return kKeys;
}

std::span<const Key<FileUpstream>> UpstreamKeys() {
  using T = FileUpstream;
  static const std::vector<Key<T>> kKeys = [] {
    std::vector<Key<T>> keys = {
        {"endpoints", "list", "required", "Where requests go: HOST:PORT, or keys and values each.",
         absl::StrCat(R"({"type": "array", "minItems": 1, "items": {"anyOf": [)", kTextSchema, ", ",
                      Reference("endpoint"), "]}}"),
         [](Reader& reader, const ConfigNode& value, T& out) { reader.ReadEndpoints(value, out); }, nullptr,
         true},
        {"timeouts", "keys", "those of the file", "What this upstream has of its own.",
         Reference("upstream_timeouts"),
         [](Reader& reader, const ConfigNode& value, T& out) {
           reader.Map(value, UpstreamTimeoutKeys(), out.settings);
         },
         nullptr},
    };
    // The plain ones are read into the settings.
    const auto plain = [&keys]<size_t kIndex>(std::integral_constant<size_t, kIndex>) {
      const Key<UpstreamSettings>& key = UpstreamValueKeys()[kIndex];
      keys.insert(keys.end() - 1,
                  {key.name, key.type, key.fallback, key.sentence, key.schema,
                   [](Reader& reader, const ConfigNode& value, T& out) {
                     UpstreamValueKeys()[kIndex].read(reader, value, out.settings);
                   },
                   [](const T& from) { return UpstreamValueKeys()[kIndex].write(from.settings); }});
    };
    plain(std::integral_constant<size_t, 0>());
    plain(std::integral_constant<size_t, 1>());
    plain(std::integral_constant<size_t, 2>());
    plain(std::integral_constant<size_t, 3>());
    for (const auto& [name, sentence] : std::initializer_list<std::pair<std::string_view, std::string_view>>{
             {"hash_on", "What consistent hashing looks at."},
             {"health_check", "Active checks of the endpoints."},
             {"tls", "TLS to the endpoints."}}) {
      keys.push_back(Later<T>(name, sentence));
    }
    return keys;
  }();
  return kKeys;
}

// Routes

std::span<const Key<RouteSettings>> RouteTimeoutKeys() {
  using T = RouteSettings;
  static const Key<T> kKeys[] = {
      WEIR_PLAIN(T, client_body, OptionalPatience, timeouts.client_body_ms,
                 "Between two reads of a request body; 0 is no limit."),
      WEIR_PLAIN(T, client_send, OptionalPatience, timeouts.client_send_ms,
                 "A client that acknowledges nothing of what is sent to it; 0 is no limit."),
      WEIR_PLAIN(T, connect, Patience, timeouts.connect_ms, "One attempt to connect to an endpoint."),
      WEIR_PLAIN(T, response, OptionalPatience, timeouts.response_ms,
                 "From the whole request sent to the head of the response; 0 is no limit."),
      WEIR_PLAIN(T, upstream_body, OptionalPatience, timeouts.upstream_body_ms,
                 "Between two reads of a response body, or a send of a request body that makes no progress; "
                 "0 is no limit."),
      WEIR_PLAIN(T, request, OptionalPatience, timeouts.request_ms,
                 "A whole request with its response; 0 is no limit."),
      WEIR_PLAIN(T, tcp_idle, Patience, timeouts.tcp_idle_ms,
                 "An upgraded connection: no byte in either direction."),
  };
  return kKeys;
}

using RouteDraft = Reader::RouteDraft;

template <RoutePart kPart>
void ReadTexts(Reader& reader, const ConfigNode& value, RouteDraft& out) {
  std::vector<std::string>* const list = kPart == RoutePart::kHost         ? &out.match.hosts
                                         : kPart == RoutePart::kPath       ? &out.match.paths
                                         : kPart == RoutePart::kPathPrefix ? &out.match.path_prefixes
                                         : kPart == RoutePart::kPathRegex  ? &out.match.path_regexes
                                                                           : &out.match.methods;
  reader.Texts(value, *list, out.places[static_cast<size_t>(kPart)]);
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
      {"client", "text or list", "any", "Networks or addresses, one of which has the client's.", kTexts,
       [](Reader& reader, const ConfigNode& value, T& out) { reader.ReadClients(value, out); }},
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

void Reader::ReadNetworks(const ConfigNode& node, NetworkDraft& draft) {
  std::vector<Place> places;
  Texts(node, draft.texts, places);
  for (size_t i = 0; i < draft.texts.size(); ++i) {
    const std::string& text = draft.texts[i];
    Network network;
    std::string expected;
    if (absl::StartsWith(text, "file:")) {
      ReadNetworkFile(text.substr(5), places[i], draft);
    } else if (ParseNetwork(text, &network, &expected)) {
      draft.networks.push_back(network);
    } else {
      Error(places[i], absl::StrCat("\"", text, "\": ", expected, ", or file:PATH"));
    }
  }
}

void Reader::ReadNetworkFile(const std::string& path, const Place& place, NetworkDraft& draft) {
  const std::string& from = problems_.files[place.file];
  const size_t slash = from.rfind('/');
  const std::string whole =
      absl::StartsWith(path, "/") || slash == std::string::npos ? path : from.substr(0, slash + 1) + path;
  const std::optional<std::string> text = ReadWholeFile(whole);
  if (!text) return Error(place, absl::StrCat("\"", whole, "\": cannot be read: ", std::strerror(errno)));
  Place line{static_cast<uint32_t>(problems_.files.size()), 0, 1};
  problems_.files.push_back(whole);
  for (std::string_view rest = *text; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view entry = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    ++line.line;
    entry = entry.substr(0, entry.find('#'));
    const size_t begin = entry.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos) continue;
    entry = entry.substr(begin, entry.find_last_not_of(" \t\r") + 1 - begin);
    Network network;
    std::string expected;
    if (ParseNetwork(entry, &network, &expected)) {
      draft.networks.push_back(network);
    } else {
      Error(line, absl::StrCat("\"", Absl(entry), "\": ", expected));
    }
  }
}

AccessSettings Reader::Access(NetworkDraft allow, NetworkDraft deny) {
  AccessSettings access;
  if (!allow.texts.empty() || !deny.texts.empty()) {
    access.list = std::make_shared<const AccessList>(allow.networks, deny.networks);
  }
  access.allow = std::move(allow.texts);
  access.deny = std::move(deny.texts);
  return access;
}

// For everybody who has a NetworkDraft `allow` and `deny`.
template <class T>
Key<T> AllowKey() {
  return {"allow",
          "text or list",
          "everybody",
          "Networks, addresses, or file:PATH with one a line. Who is named may come, nobody else; of several "
          "networks "
          "the longest decides.",
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

std::span<const Key<RouteSettings>> RedirectKeys() {
  using T = RouteSettings;
  static const Key<T> kKeys[] = {
      {"to", "text", "required",
       "Where to: https://host/path or /path, with ${host} ${path} ${query} ${uri} ${scheme} ${method} "
       "${client} "
       "${remainder} (behind the prefix) and ${0} to ${9} (groups of path_regex).",
       kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         std::string text;
         std::string expected;
         if (!reader.Text(value, text)) return;
         const bool visible =
             std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f && c != '"'; });
         if (!visible || !(absl::StartsWith(text, "/") || absl::StrContains(text, "://") ||
                           absl::StartsWith(text, "${path}") || absl::StartsWith(text, "${uri}"))) {
           return reader.Error(value.place,
                               absl::StrCat("\"", text, "\": expected https://HOST/PATH, or /PATH"));
         }
         if (!Template::Parse(text, &out.location, &expected)) reader.Error(value.place, expected);
       },
       nullptr, true},
      {"status", RedirectStatus::kPlaceholder, "302", "308 and 301 may be remembered for ever by browsers.",
       SchemaOf<RedirectStatus>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<RedirectStatus>(value, out.status);
       }},
  };
  return kKeys;
}

std::span<const Key<RouteSettings>> RespondKeys() {
  using T = RouteSettings;
  static const Key<T> kKeys[] = {
      {"status", ResponseStatus::kPlaceholder, "200", "The response's status.", SchemaOf<ResponseStatus>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<ResponseStatus>(value, out.status);
       }},
      {"body", "text", "empty", "Its body, at most 16 KiB.", kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         if (!reader.Text(value, out.body) || out.body.size() <= kMaxBodyBytes) return;
         reader.Error(value.place, absl::StrCat(out.body.size(), " bytes: expected at most ", kMaxBodyBytes));
       }},
      {"content_type", "text", "text/plain; charset=utf-8", "Of the body.", kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         if (!reader.Text(value, out.content_type)) return;
         const bool printable =
             !out.content_type.empty() && std::all_of(out.content_type.begin(), out.content_type.end(),
                                                      [](char c) { return c >= 0x20 && c < 0x7f; });
         if (!printable) reader.Error(value.place, "expected a media type, such as text/html");
       }},
  };
  return kKeys;
}

std::span<const Key<HeaderChanges>> HeaderKeys() {
  using T = HeaderChanges;
  static const char* const kValues = R"({"type": "object", "additionalProperties": {"type": "string"}})";
  static const Key<T> kKeys[] = {
      {"set", "keys", "none", "Headers with the one value that they shall have.", kValues,
       [](Reader& reader, const ConfigNode& value, T& out) { reader.ReadHeaders(value, true, out); }},
      {"append", "keys", "none", "Headers that are added to those that are there.", kValues,
       [](Reader& reader, const ConfigNode& value, T& out) { reader.ReadHeaders(value, false, out); }},
      {"remove", "text or list", "none", "Headers that are not forwarded.", ListOrOne(kTextSchema),
       [](Reader& reader, const ConfigNode& value, T& out) {
         std::vector<std::string> names;
         std::vector<Place> places;
         reader.Texts(value, names, places);
         for (size_t i = 0; i < names.size(); ++i) {
           if (reader.IsChangeable(names[i], places[i])) out.dropped.push_back(names[i]);
         }
       }},
  };
  return kKeys;
}

bool Reader::IsChangeable(const std::string& name, const Place& place) {
  const char* const why_not = WhyNotChangeable(name);
  if (why_not != nullptr) Error(place, absl::StrCat("\"", name, "\": ", why_not));
  return why_not == nullptr;
}

void Reader::ReadHeaders(const ConfigNode& node, bool set, HeaderChanges& changes) {
  if (!node.is_map()) {
    return Error(node.place,
                 absl::StrCat("expected names and values, such as {X-Tier: gold}, found ", KindName(node)));
  }
  for (size_t i = 0; i < node.items.size(); ++i) {
    Within(node.key_text[i], [&] {
      HeaderChanges::Line line;
      line.name = node.key_text[i];
      std::string text;
      std::string expected;
      if (!IsChangeable(line.name, node.key_place[i]) || !Text(node.items[i], text)) return;
      const bool printable =
          std::all_of(text.begin(), text.end(), [](char c) { return c == '\t' || (c >= 0x20 && c < 0x7f); });
      if (!printable || text.size() > kMaxHeaderValue) {
        return Error(node.items[i].place, absl::StrCat("expected at most ", kMaxHeaderValue,
                                                       " printable ASCII characters in a line"));
      }
      if (!Template::Parse(text, &line.value, &expected)) return Error(node.items[i].place, expected);
      if (set) changes.dropped.push_back(line.name);
      changes.added.push_back(std::move(line));
    });
  }
}

std::span<const Key<RequestChanges>> RewriteKeys() {
  using T = RequestChanges;
  static const Key<T> kKeys[] = {
      {"path", "text", "as it came",
       "The path that the upstream gets, with the variables of redirect: to; the query stays. 400 if it "
       "would not be "
       "in its normal form.",
       kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         std::string text;
         std::string expected;
         if (!reader.Text(value, text)) return;
         const bool visible = std::all_of(text.begin(), text.end(), [](char c) {
           return c > 0x20 && c < 0x7f && c != '"' && c != '?' && c != '#' && c != '<' && c != '>' &&
                  c != '\\';
         });
         if (!visible || text.empty() || !(text.front() == '/' || text.front() == '$')) {
           return reader.Error(value.place,
                               absl::StrCat("\"", text, "\": expected a path that begins with /"));
         }
         if (!Template::Parse(text, &out.path, &expected)) reader.Error(value.place, expected);
       }},
      {"host", "text", "as it came", "The Host that the upstream gets; X-Forwarded-Host has the client's.",
       kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         if (!reader.Text(value, out.host)) return;
         char normal[kHostBytes];
         const bool is_host = !out.host.empty() && std::all_of(out.host.begin(), out.host.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
                  c == '.' || c == '_' || c == ':' || c == '[' || c == ']';
         });
         if (!is_host || NormaliseHost(out.host, normal).empty()) {
           reader.Error(value.place, absl::StrCat("\"", out.host, "\": expected HOST or HOST:PORT"));
         }
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
       "What changes on the way down, in responses of the upstream and of this route; values without "
       "variables.",
       Reference("headers"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         if (!reader.Map(value, HeaderKeys(), out.settings.response)) return;
         for (const HeaderChanges::Line& line : out.settings.response.added) {
           if (line.value.HasVariables()) {
             reader.Error(value.place,
                          absl::StrCat("\"", line.value.text(), "\": variables are not available here yet"));
           }
         }
         out.settings.response.WriteLines({}, &out.settings.response_fields);
       }},
      Later<T>("split", "A weighted split between upstreams."),
      Later<T>("mirror", "A copy to another upstream."),
      Later<T>("client_max_body", "The largest request body."),
      Later<T>("buffer", "A small request is read whole before connecting."),
      AllowKey<T>(),
      DenyKey<T>(),
      Later<T>("basic_auth", "Name and password."),
      Later<T>("auth_request", "A subrequest that decides."),
      Later<T>("error_pages", "Bodies for our own errors."),
  };
  return kKeys;
}

uint32_t Reader::FindUpstream(const ConfigNode& name) {
  std::vector<std::string_view> names;
  for (uint32_t i = 0; i < sections_.upstreams.size(); ++i) {
    FileUpstream& upstream = sections_.upstreams[i];
    if (name.is_scalar() && upstream.settings.name == name.text) {
      upstream.used = true;
      return i;
    }
    names.push_back(upstream.settings.name);
  }
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
    Error(node.place, draft.actions == 0 ? "expected one of upstream, redirect, respond"
                                         : "expected only one of upstream, redirect, respond");
  }
  route.timeouts = settings_.timeouts;
  if (route.action == RouteSettings::Action::kUpstream && route.upstream < sections_.upstreams.size()) {
    route.timeouts = sections_.upstreams[route.upstream].settings.timeouts;
    route.retries = sections_.upstreams[route.upstream].settings.retries;
  }
  if (draft.timeouts != nullptr) {
    Within("timeouts", [&] { Map(*draft.timeouts, RouteTimeoutKeys(), route); });
  }
  if (draft.retries != nullptr) Within("retries", [&] { Scalar<RetryCount>(*draft.retries, route.retries); });
  if (route.action == RouteSettings::Action::kRespond) {
    if (!route.body.empty() && (route.status == 204 || route.status == 304)) {
      Error(node.place, absl::StrCat("a response of status ", route.status, " has no body"));
    }
    if (route.content_type.empty() && !route.body.empty()) route.content_type = "text/plain; charset=utf-8";
  }
  route.access = Access(std::move(draft.allow), std::move(draft.deny));
  if (draft.rewrites.line > 0 && route.action != RouteSettings::Action::kUpstream) {
    Error(draft.rewrites, "only a request that goes to an upstream can be changed");
  }
  const std::vector<HeaderChanges::Line>& lines = route.request.headers.added;
  route.captures = route.location.UsesCaptures() || route.request.path.UsesCaptures() ||
                   std::any_of(lines.begin(), lines.end(),
                               [](const HeaderChanges::Line& line) { return line.value.UsesCaptures(); });
  route.where = problems_.Where(node.place);
}

void Reader::ReadRoutes(const ConfigNode& node, RouteList& list) {
  if (!node.is_list()) {
    return Error(node.place,
                 absl::StrCat("expected a list of routes (- match: ...), found ", KindName(node)));
  }
  if (node.items.empty()) Error(node.place, "the list is empty: no request would find a route");
  std::vector<RouteDraft> drafts;
  for (size_t i = 0; i < node.items.size(); ++i) {
    Within(absl::StrCat("[", i, "]"), [&] {
      RouteDraft& draft = drafts.emplace_back();
      draft.place = node.items[i].place;
      if (Map(node.items[i], RouteKeys(), draft)) FinishRoute(draft, node.items[i]);
    });
  }
  BuildTable(list, drafts);
}

std::string_view KeyOf(RoutePart part) {
  static constexpr std::string_view kNames[] = {"",       "host",    "path",  "path_prefix", "path_regex",
                                                "method", "headers", "query", "client"};
  return kNames[static_cast<size_t>(part)];
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

// Listeners

struct ListenerDraft {
  ListenerSettings settings;
  Reader::NetworkDraft allow;
  Reader::NetworkDraft deny;
  const ConfigNode* address = nullptr;
  const ConfigNode* upstream = nullptr;
  const ConfigNode* routes = nullptr;
};

std::span<const Key<ListenerDraft>> ListenerKeys() {
  using T = ListenerDraft;
  static const Key<T> kKeys[] = {
      {"address", "ADDRESS:PORT", "required", "Where clients connect. [::] is IPv6 alone.", kTextSchema,
       [](Reader&, const ConfigNode& value, T& out) { out.address = &value; }, nullptr, true},
      {"protocol", ProtocolName::kPlaceholder, "http", "What they speak.", SchemaOf<ProtocolName>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<ProtocolName>(value, out.settings.protocol);
       }},
      {"upstream", "NAME", "", "Everything goes there.", kTextSchema,
       [](Reader&, const ConfigNode& value, T& out) { out.upstream = &value; }},
      {"routes", "NAME", "", "Requests go where these routes say (http only).", kTextSchema,
       [](Reader&, const ConfigNode& value, T& out) { out.routes = &value; }},
      Later<T>("tls", "Certificates, and what clients must prove."),
      AllowKey<T>(),
      DenyKey<T>(),
      Later<T>("trusted_proxies", "Whose X-Forwarded-For is believed."),
      Later<T>("proxy_protocol", "The PROXY protocol's header comes first."),
  };
  return kKeys;
}

// The whole file

struct FileDraft {};

std::span<const Key<Settings>> PathKeys() {
  using T = Settings;
  static const Key<T> kKeys[] = {
      WEIR_PLAIN(T, merge_slashes, Switch, paths.merge_slashes, "// counts as /."),
      WEIR_PLAIN(T, escaped_slashes, EscapedSlashesName, paths.escaped_slashes,
                 "What becomes of %2F and %5C: characters of a segment, or 400."),
  };
  return kKeys;
}

std::string ListOf(std::string_view name) {
  return absl::StrCat(R"({"type": "array", "items": )", Reference(name), "}");
}
std::string MapOf(std::string_view schema) {
  return absl::StrCat(R"({"type": "object", "additionalProperties": )", Absl(schema), "}");
}
void ReadElsewhere(Reader&, const ConfigNode&, FileDraft&) {}

// timeouts: and limits: hold keys of the flags' table.
std::vector<Key<FileDraft>> TopKeys() {
  std::vector<Key<FileDraft>> keys = {
      {"listeners", "list", "required", "Where clients connect.", ListOf("listener"), ReadElsewhere, nullptr,
       true},
      {"upstreams", "keys", "required", "Where requests go: names, and what each is.",
       MapOf(Reference("upstream")), ReadElsewhere},
      {"routes", "keys", "", "Lists of routes, by name.", MapOf(ListOf("route")), ReadElsewhere},
      {"paths", "keys", "", "The one spelling of paths, where there are routes.", Reference("paths"),
       ReadElsewhere},
      {"timeouts", "keys", "", "What holds for all.", Reference("timeouts"), ReadElsewhere},
      {"limits", "keys", "", "What holds for all.", Reference("limits"), ReadElsewhere},
      {"include", "text or list", "none", "Further files, or patterns such as conf.d/*.yaml.",
       ListOrOne(kTextSchema), ReadElsewhere},
  };
  for (const FlagRow& row : FlagTable()) {
    if (row.file_key.empty() || row.file_key.find('.') != std::string_view::npos) continue;
    keys.push_back(
        {row.file_key, row.placeholder, "", row.sentence,
         row.placeholder == "COUNT" ? R"({"type": "integer"})" : R"({"type": ["string", "integer"]})",
         ReadElsewhere});
  }
  return keys;
}

std::vector<Key<FileDraft>> GroupKeys(std::string_view group) {
  std::vector<Key<FileDraft>> keys;
  for (const FlagRow& row : FlagTable()) {
    if (!row.file_key.starts_with(group) || row.file_key[group.size()] != '.') continue;
    const std::string_view placeholder = row.placeholder;
    keys.push_back({row.file_key.substr(group.size() + 1), placeholder, "", row.sentence,
                    placeholder == "COUNT" ? R"({"type": "integer"})" : R"({"type": ["string", "integer"]})",
                    ReadElsewhere});
  }
  return keys;
}

FileSections Reader::Read(std::span<const ConfigNode> documents) {
  const auto each = [&](std::string_view key, const std::function<void(const ConfigNode&)>& read) {
    for (const ConfigNode& document : documents) {
      const ConfigNode* node = document.Find(key);
      if (node == nullptr || node->kind == ConfigNode::Kind::kNothing) continue;
      Within(std::string(key), [&] { read(*node); });
    }
  };
  const auto named =
      [&](const ConfigNode& node,
          const std::function<void(const std::string&, const Place&, const ConfigNode&)>& read) {
        if (!node.is_map()) {
          return Error(node.place, absl::StrCat("expected names, with what each is, found ", KindName(node)));
        }
        for (size_t i = 0; i < node.items.size(); ++i) {
          Within(node.key_text[i], [&] { read(node.key_text[i], node.key_place[i], node.items[i]); });
        }
      };
  each("paths", [&](const ConfigNode& node) { Map(node, PathKeys(), settings_); });
  each("upstreams", [&](const ConfigNode& node) {
    named(node, [&](const std::string& name, const Place& place, const ConfigNode& value) {
      for (const FileUpstream& other : sections_.upstreams) {
        if (other.settings.name != name) continue;
        return Error(place, absl::StrCat("given twice; first at ", problems_.Where(other.place)));
      }
      FileUpstream& upstream = sections_.upstreams.emplace_back();
      upstream.settings = settings_.upstream_defaults;
      upstream.settings.timeouts = settings_.timeouts;
      upstream.settings.name = name;
      upstream.place = place;
      Map(value, UpstreamKeys(), upstream);
    });
  });
  std::vector<Place> routes_places;
  each("routes", [&](const ConfigNode& node) {
    named(node, [&](const std::string& name, const Place& place, const ConfigNode& value) {
      for (const RouteList& other : sections_.routes) {
        if (other.name == name) return Error(place, "given twice");
      }
      RouteList& list = sections_.routes.emplace_back();
      list.name = name;
      routes_places.push_back(place);
      ReadRoutes(value, list);
    });
  });
  std::vector<bool> routes_used(sections_.routes.size());
  each("listeners", [&](const ConfigNode& node) {
    if (!node.is_list()) {
      return Error(node.place,
                   absl::StrCat("expected a list (- address: 0.0.0.0:8080), found ", KindName(node)));
    }
    for (size_t i = 0; i < node.items.size(); ++i) {
      Within(absl::StrCat("[", i, "]"), [&] {
        ListenerDraft draft;
        const ConfigNode& item = node.items[i];
        if (!Map(item, ListenerKeys(), draft)) return;
        FileListener& listener = sections_.listeners.emplace_back();
        listener.place = item.place;
        ListenerSettings& settings = draft.settings;
        if (draft.address != nullptr) {
          listener.place = draft.address->place;
          std::string text;
          Within("address", [&] {
            if (!Text(*draft.address, text)) return;
            const std::optional<SocketAddress> address = SocketAddress::Parse(text);
            if (!address) {
              return Error(listener.place, absl::StrCat("\"", text,
                                                        "\": expected ADDRESS:PORT, such as 0.0.0.0:8080 "
                                                        "or \"[::]:8080\""));
            }
            settings.address = *address;
          });
          settings.text = absl::StrCat(settings.protocol == Protocol::kTcp ? "tcp://" : "http://", text);
        }
        if ((draft.upstream == nullptr) == (draft.routes == nullptr)) {
          Error(item.place, draft.upstream == nullptr
                                ? "expected one of upstream and routes: where requests go"
                                : "expected only one of upstream and routes");
        }
        if (draft.upstream != nullptr) {
          Within("upstream", [&] { settings.direct.upstream = FindUpstream(*draft.upstream); });
        } else if (draft.routes != nullptr) {
          Within("routes", [&] {
            settings.routes = FindRoutes(*draft.routes);
            if (settings.routes < routes_used.size()) routes_used[settings.routes] = true;
            if (settings.protocol == Protocol::kTcp) {
              Error(draft.routes->place, "a tcp listener knows no requests: expected upstream");
            }
          });
        }
        settings.direct.timeouts = settings_.timeouts;
        if (draft.upstream != nullptr && settings.direct.upstream < sections_.upstreams.size()) {
          const UpstreamSettings& upstream = sections_.upstreams[settings.direct.upstream].settings;
          settings.direct.timeouts = upstream.timeouts;
          settings.direct.retries = upstream.retries;
        }
        settings.access = Access(std::move(draft.allow), std::move(draft.deny));
        listener.settings = std::move(settings);
      });
    }
  });
  for (size_t i = 0; i < routes_used.size(); ++i) {
    if (routes_used[i]) continue;
    problems_.Warning(routes_places[i], "routes." + sections_.routes[i].name, "no listener has these routes");
  }
  for (const FileUpstream& upstream : sections_.upstreams) {
    if (!upstream.used) {
      problems_.Warning(upstream.place, "upstreams." + upstream.settings.name,
                        "nobody sends to this upstream");
    }
  }
  return std::move(sections_);
}

template <class T>
std::vector<KeyDoc> DocsOf(std::span<const Key<T>> keys) {
  std::vector<KeyDoc> docs;
  const T nothing{};
  for (const Key<T>& key : keys) {
    KeyDoc& doc = docs.emplace_back();
    doc.name = key.name;
    doc.type = key.type;
    doc.fallback =
        !key.fallback.empty() || key.write == nullptr ? std::string(key.fallback) : key.write(nothing);
    doc.sentence = key.sentence;
    doc.schema = key.schema;
    doc.available = key.read != nullptr;
    doc.required = key.required;
  }
  return docs;
}

template <class T>
std::vector<KeyValue> Values(std::span<const Key<T>> keys, const T& from) {
  std::vector<KeyValue> values;
  for (const Key<T>& key : keys) {
    if (key.write != nullptr) values.push_back({std::string(key.name), key.write(from)});
  }
  return values;
}

// Those of the flags' table have its defaults.
std::vector<KeyDoc> FlagDocs(std::vector<Key<FileDraft>> keys, std::string_view group) {
  std::vector<KeyDoc> docs = DocsOf<FileDraft>(keys);
  for (KeyDoc& doc : docs) {
    const std::string path = group.empty() ? doc.name : absl::StrCat(Absl(group), ".", doc.name);
    for (const FlagRow& row : FlagTable()) {
      if (row.file_key == path) doc.fallback = DefaultText(row);
    }
  }
  return docs;
}

}  // namespace

std::vector<GivenKey> ReadGlobals(std::span<const ConfigNode> documents, Problems& problems, SaidKeys& said) {
  std::vector<GivenKey> given;
  Settings unused;
  Reader reader(unused, problems, said);
  const std::vector<Key<FileDraft>> top = TopKeys();
  FileDraft draft;
  // Whether the required ones are there is a question to all files together.
  std::vector<Key<FileDraft>> keys = top;
  for (Key<FileDraft>& key : keys) key.required = false;
  SaidKeys where;
  const auto take = [&](const FlagRow& row, const ConfigNode& node, const Place& key_place) {
    const std::string key(row.file_key);
    if (!where.emplace(key, key_place).second) {
      problems.Error(key_place, key, absl::StrCat("given twice; first at ", problems.Where(where[key])));
    } else if (node.is_list() && row.list) {
      std::string text;
      for (const ConfigNode& item : node.items) absl::StrAppend(&text, text.empty() ? "" : ",", item.text);
      given.push_back({&row, text, node.place});
    } else if (!node.is_scalar()) {
      problems.Error(
          node.place, key,
          absl::StrCat("expected ", Absl(row.placeholder), ", found ", KindName(node), QuoteHint(node)));
    } else {
      given.push_back({&row, node.text, node.place});
    }
  };
  for (const ConfigNode& document : documents) {
    reader.Map<FileDraft>(document, keys, draft);
    for (const std::string_view group : {"timeouts", "limits"}) {
      const ConfigNode* node = document.Find(group);
      const std::vector<Key<FileDraft>> of_group = GroupKeys(group);
      if (node == nullptr || node->kind == ConfigNode::Kind::kNothing) continue;
      reader.Within(std::string(group), [&] { reader.Map<FileDraft>(*node, of_group, draft); });
    }
    for (const FlagRow& row : FlagTable()) {
      if (row.file_key.empty()) continue;
      const size_t dot = row.file_key.find('.');
      const ConfigNode* map =
          dot == std::string_view::npos ? &document : document.Find(row.file_key.substr(0, dot));
      if (map == nullptr || !map->is_map()) continue;
      const std::string_view name =
          dot == std::string_view::npos ? row.file_key : row.file_key.substr(dot + 1);
      for (size_t i = 0; i < map->items.size(); ++i) {
        if (map->key_text[i] == name) take(row, map->items[i], map->key_place[i]);
      }
    }
  }
  return given;
}

FileSections ReadSections(std::span<const ConfigNode> documents, Settings& settings, Problems& problems,
                          SaidKeys& said) {
  return Reader(settings, problems, said).Read(documents);
}

std::vector<SectionDoc> DescribeSections() {
  return {
      {"file", "The file", "Everything stands under these keys.", FlagDocs(TopKeys(), "")},
      {"listener", "`listeners:`, each of the list", "An address, and where what comes there goes.",
       DocsOf(ListenerKeys())},
      {"upstream", "`upstreams: NAME:`", "A group of endpoints that serve the same.", DocsOf(UpstreamKeys())},
      {"endpoint", "`endpoints:`, each of the list", "HOST:PORT alone, or with keys.",
       DocsOf(EndpointKeys())},
      {"upstream_timeouts", "`timeouts:` of an upstream", "", DocsOf(UpstreamTimeoutKeys())},
      {"route", "`routes: NAME:`, each of the list",
       "What becomes of the requests that it matches: exactly one of upstream, redirect, respond. Of several "
       "that "
       "match the most specific is met; a request that none matches gets 404.",
       DocsOf(RouteKeys())},
      {"match", "`match:`", "All that is said must hold; of a list, one.", DocsOf(MatchKeys())},
      {"condition", "A header or query parameter in `match:`", "A text stands for `exact`.",
       DocsOf(ConditionKeys())},
      {"redirect", "`redirect:`", "", DocsOf(RedirectKeys())},
      {"rewrite", "`rewrite:`", "", DocsOf(RewriteKeys())},
      {"headers", "`request_headers:` and `response_headers:`",
       "Those that frame messages or that Weir writes itself (Host, Via, X-Forwarded-For and the like) "
       "cannot be changed.",
       DocsOf(HeaderKeys())},
      {"respond", "`respond:`", "", DocsOf(RespondKeys())},
      {"route_timeouts", "`timeouts:` of a route", "", DocsOf(RouteTimeoutKeys())},
      {"paths", "`paths:`", "Paths are spelled one way before they are matched and forwarded.",
       DocsOf(PathKeys())},
      {"timeouts", "`timeouts:`", "For all; some can be said by upstreams and routes.",
       FlagDocs(GroupKeys("timeouts"), "timeouts")},
      {"limits", "`limits:`", "For all.", FlagDocs(GroupKeys("limits"), "limits")},
  };
}

std::vector<KeyValue> ValuesOf(const UpstreamSettings& upstream) {
  return Values(UpstreamValueKeys(), upstream);
}
std::vector<KeyValue> TimeoutsOf(const UpstreamSettings& upstream) {
  return Values(UpstreamTimeoutKeys(), upstream);
}
std::vector<KeyValue> TimeoutsOf(const RouteSettings& route) { return Values(RouteTimeoutKeys(), route); }

}  // namespace weir::lb
