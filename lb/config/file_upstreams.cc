// The configuration file's upstreams and their endpoints.
#include <algorithm>

#include "core/unix_path.h"
#include "lb/balance/hash_table.h"
#include "lb/config/file_keys.h"

namespace weir::lb::file {

namespace {

// The bound on load, in percent of the average.
struct LoadFactor {
  static constexpr const char* kPlaceholder = "PERCENT";
  uint32_t value = 0;
};
bool AbslParseFlag(absl::string_view text, LoadFactor* flag, std::string* error) {
  CountIn<0, 100'000> count;
  const bool fits = AbslParseFlag(text, &count, error) && (count.value == 0 || count.value >= 110);
  flag->value = count.value;
  if (!fits) *error = "expected 0, or a whole number from 110 to 100000";
  return fits;
}

struct TableSize {
  static constexpr const char* kPlaceholder = "COUNT";
  uint32_t value = HashTable::kSlots;
};
bool AbslParseFlag(absl::string_view text, TableSize* flag, std::string* error) {
  CountIn<HashTable::kSlotsPerEndpoint, HashTable::kMaxSlots> count;
  const bool fits = AbslParseFlag(text, &count, error) && IsPrime(count.value);
  flag->value = count.value;
  if (!fits) *error = "expected a prime number from 101 to 5000011, such as 65537 or 655373";
  return fits;
}

struct PanicThreshold {
  static constexpr const char* kPlaceholder = "PERCENT%";
  uint32_t value = 0;
};
bool AbslParseFlag(absl::string_view text, PanicThreshold* flag, std::string* error) {
  CountIn<0, 100> count;
  const bool percent = !text.empty() && text.back() == '%';
  const bool fits = percent && AbslParseFlag(text.substr(0, text.size() - 1), &count, error);
  flag->value = count.value;
  if (!fits) *error = "expected a whole number of percent from 0% to 100%";
  return fits;
}

struct AllDownName {
  static constexpr const char* kPlaceholder = "503 \\| panic \\| backup";
  AllDown value = AllDown::k503;
};
bool AbslParseFlag(absl::string_view text, AllDownName* flag, std::string* error) {
  for (size_t i = 0; i < std::size(kAllDownNames); ++i) {
    flag->value = static_cast<AllDown>(i);
    if (text == kAllDownNames[i]) return true;
  }
  *error = "expected 503, panic or backup";
  return false;
}

// Whoever has the key names one.
struct ZoneName {
  static constexpr const char* kPlaceholder = ZoneText::kPlaceholder;
  std::string value;
};
bool AbslParseFlag(absl::string_view text, ZoneName* flag, std::string* error) {
  ZoneText zone;
  const bool fits = !text.empty() && AbslParseFlag(text, &zone, error);
  flag->value = zone.value;
  if (text.empty()) *error = "expected the name of a zone, such as eu-1a";
  return fits;
}

// What is said, and for whom it would be.
struct OnlyWith {
  const char* key;
  const char* balance;
  bool (*fits)(Balance balance);
};
constexpr OnlyWith kOnlyWith[] = {
    {"hash_on", "maglev or ring_hash", Hashes},
    {"hash_cookie", "maglev or ring_hash", Hashes},
    {"hash_balance_factor", "maglev or ring_hash", Hashes},
    {"hash_table_size", "maglev", [](Balance balance) { return balance == Balance::kMaglev; }},
    {"max_in_flight", "first", [](Balance balance) { return balance == Balance::kFirst; }},
};

}  // namespace

// Endpoints

std::span<const Key<EndpointDraft>> EndpointKeys() {
  static const Key<EndpointDraft> kKeys[] = {
      {"address", "HOST:PORT", "required",
       "A name (resolved at start), an IPv4 address, or an IPv6 address in brackets, with a port; unix:/PATH "
       "or unix:@NAME (abstract): a socket of this machine.",
       kTextSchema,
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
      {"priority", "COUNT", "0",
       "0 to 9: endpoints with a larger one get requests only while none with a smaller one is usable, and "
       "retries once all of those were tried.",
       R"({"type": "integer", "minimum": 0, "maximum": 9})",
       [](Reader& reader, const ConfigNode& value, EndpointDraft& out) {
         out.priority_place = value.place;
         reader.Scalar<CountIn<0, EndpointSettings::kMostPriority>>(value, out.priority);
       },
       nullptr},
      {"backup", Switch::kPlaceholder, "false",
       "Likewise, behind all priorities: only while no other endpoint is usable.", SchemaOf<Switch>(),
       [](Reader& reader, const ConfigNode& value, EndpointDraft& out) {
         reader.Scalar<Switch>(value, out.backup);
       },
       nullptr},
      {"zone", ZoneName::kPlaceholder, "",
       "Where it is. Where Weir knows its own zone (`zone` of the file, or --zone), endpoints of that zone "
       "are preferred in their priority: they get all requests while 5 of 7 of them, by weight, are well, "
       "below that 1.4 times the share that is well, and none while nobody is; the others of that priority "
       "get the rest. With maglev and ring_hash the key decides which requests leave. A retry goes to those "
       "of the zone that are left first. In a panic all that may serve count as well. "
       "One that an operator adds is taken to be there if all others are, else to be elsewhere.",
       kTextSchema,
       [](Reader& reader, const ConfigNode& value, EndpointDraft& out) {
         reader.Scalar<ZoneName>(value, out.zone);
       },
       nullptr},
      {"labels", "names with values", "none",
       "What it is known by beside its address, such as {version: v2, size: big}: for routes that ask for a "
       "subset. At most 16; letters, digits and -_./ each, 63 at most. An endpoint that an operator adds has "
       "none.",
       LabelsSchema(),
       [](Reader& reader, const ConfigNode& value, EndpointDraft& out) {
         reader.ReadLabels(value, out.labels);
       },
       nullptr},
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
  if (draft.backup && draft.priority_place.line != 0) {
    Within("priority",
           [&] { Error(draft.priority_place, "a backup has none: it comes behind all priorities"); });
  }
  BackendList list;
  std::string expected;
  if (draft.address.starts_with(kUnixPrefix)) {
    // Not as the flag has it: a path may hold "=" and ",".
    const std::optional<SocketAddress> address = ParseUnixAddress(draft.address, &expected);
    if (!address) return Error(draft.place, absl::StrCat("\"", draft.address, "\": ", expected));
    BackendList::Item item;
    item.address = *address;
    item.weight = draft.weight;
    item.text = draft.address;
    upstream.endpoints.push_back(
        {std::move(item), draft.place, draft.level(), draft.zone, std::move(draft.labels)});
    return;
  }
  if (const size_t equals = draft.address.find('='); equals != std::string::npos) {
    // As the flag has it.
    const std::string before = draft.address.substr(0, equals);
    CountIn<1, 1000> weight;
    if (ParseElement(Absl(before), &list, &expected) && before.find(',') == std::string::npos &&
        absl::ParseFlag(Absl(draft.address).substr(equals + 1), &weight, &expected)) {
      return Error(draft.place,
                   absl::StrCat("\"", draft.address, "\": a weight is a key of its own: {address: \"", before,
                                "\", weight: ", weight.value, "}"));
    }
  }
  if (draft.address.find('=') != std::string::npos || draft.address.find(',') != std::string::npos ||
      !ParseElement(Absl(draft.address), &list, &expected)) {
    return Error(draft.place, absl::StrCat("\"", draft.address,
                                           "\": expected HOST:PORT (HOST: a name, an IPv4 address, or an "
                                           "IPv6 address in brackets) or unix:/PATH"));
  }
  list.items.front().weight = draft.weight;
  upstream.endpoints.push_back(
      {std::move(list.items.front()), draft.place, draft.level(), draft.zone, std::move(draft.labels)});
}

void Reader::ReadEndpoints(const ConfigNode& node, FileUpstream& upstream) {
  if (!node.is_list()) {
    return Error(node.place, absl::StrCat("expected a list, such as [10.0.0.1:80, 10.0.0.2:80], found ",
                                          KindName(node), DashHint(node)));
  }
  if (node.items.empty()) Error(node.place, "the list is empty: an upstream has at least one endpoint");
  for (size_t i = 0; i < node.items.size(); ++i) {
    Within(absl::StrCat("[", i, "]"), [&] { ReadEndpoint(node.items[i], upstream); });
  }
  const std::vector<FileEndpoint>& all = upstream.endpoints;
  if (!all.empty() && all.size() == node.items.size() &&
      std::all_of(all.begin(), all.end(),
                  [](const FileEndpoint& endpoint) { return endpoint.level == EndpointSettings::kBackup; })) {
    Error(node.place, "all endpoints are backups: whose? At least one is none");
  }
}

// Balancing

std::span<const Key<HashSettings>> HashCookieKeys() {
  using T = HashSettings;
  static const Key<T> kKeys[] = {
      {"max_age", CookieAge::kPlaceholder, "0",
       "Of the cookie, from when it is set; 0: until the browser ends.", SchemaOf<CookieAge>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         CookieAge age{out.cookie_max_age_s * 1000};
         reader.Scalar<CookieAge>(value, age.value);
         out.cookie_max_age_s = age.value / 1000;
       }},
      {"secure", Switch::kPlaceholder, "false",
       "The cookie is Secure: browsers send it over https alone. For sites that are reached in no other way.",
       SchemaOf<Switch>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<Switch>(value, out.cookie_secure);
       }},
  };
  return kKeys;
}

void Reader::ReadHashOn(const ConfigNode& node, UpstreamSettings& upstream) {
  std::vector<std::string> texts;
  std::vector<Place> places;
  Texts(node, texts, places);
  for (size_t i = 0; i < texts.size(); ++i) {
    HashKey key;
    std::string expected;
    std::vector<HashKey>& keys = upstream.hash.on;
    if (!HashKey::Parse(texts[i], &key, &expected)) {
      Error(places[i], absl::StrCat("\"", texts[i], "\": ", expected));
    } else if (std::find(keys.begin(), keys.end(), key) != keys.end()) {
      Error(places[i], absl::StrCat("\"", texts[i], "\" is given twice"));
    } else {
      keys.push_back(std::move(key));
    }
  }
}

void Reader::FinishBalance(const ConfigNode& node, UpstreamSettings& upstream) {
  for (const OnlyWith& only : kOnlyWith) {
    const ConfigNode* const value = node.Find(only.key);
    if (value == nullptr || only.fits(upstream.balance)) continue;
    Within(only.key, [&] { Error(value->place, absl::StrCat("only with balance: ", only.balance)); });
  }
  if (!Hashes(upstream.balance)) return;
  if (node.Find("hash_on") == nullptr) upstream.hash.on = {HashKey()};
  if (upstream.hash.cookie() != nullptr) {
    upstream.hash.cookie_attributes =
        CookieAttributes(upstream.hash.cookie_max_age_s, upstream.hash.cookie_secure);
  }
  const ConfigNode* const cookie = node.Find("hash_cookie");
  if (cookie == nullptr || upstream.hash.cookie() != nullptr) return;
  Within("hash_cookie",
         [&] { Error(cookie->place, "no cookie is set: hash_on has none, or not in the last place"); });
}

void Reader::FinishPanic(const ConfigNode& node, FileUpstream& upstream) {
  UpstreamSettings& settings = upstream.settings;
  const ConfigNode* const said = node.Find("on_all_down");
  if (said == nullptr && settings.panic_percent > 0) settings.all_down = AllDown::kPanic;
  const std::vector<FileEndpoint>& all = upstream.endpoints;
  if (settings.all_down != AllDown::kBackup || said == nullptr ||
      std::any_of(all.begin(), all.end(),
                  [](const FileEndpoint& endpoint) { return endpoint.level == EndpointSettings::kBackup; }))
    return;
  Within("on_all_down", [&] { Error(said->place, "no endpoint is a backup"); });
}

void Reader::WarnOfTcp(const Place& place, const UpstreamSettings& upstream, bool hears_names) {
  const std::vector<HashKey>& keys = upstream.hash.on;
  const bool has_key = std::any_of(keys.begin(), keys.end(), [hears_names](const HashKey& key) {
    return key.of == HashKey::Of::kClientIp || (hears_names && key.of == HashKey::Of::kServerName);
  });
  if (!Hashes(upstream.balance) || has_key) return;
  problems_.Warning(place, key_,
                    absl::StrCat("tcp connections have nothing that hash_on of ", upstream.name,
                                 " names: they are hashed by client_ip"));
}

// Upstreams

std::span<const Key<UpstreamSettings>> UpstreamTimeoutKeys() {
  using T = UpstreamSettings;
  static const std::vector<Key<T>> kKeys = [] {
    std::vector<Key<T>> keys = RequestTimeoutKeys<T>();
    keys.push_back(WEIR_PLAIN(T, tcp_idle, Patience, timeouts.tcp_idle_ms,
                              "TCP connections and tunnels: no byte in either direction."));
    keys.push_back(
        WEIR_PLAIN(T, upstream_idle, Patience, idle_ms, "An idle connection kept to an endpoint."));
    return keys;
  }();
  return kKeys;
}

std::span<const Key<PoolSettings>> PoolKeys() {
  using T = PoolSettings;
  static const Key<T> kKeys[] = {
      WEIR_PLAIN(T, max_requests, RequestCount, max_requests, "On one connection; 0 is no limit."),
      WEIR_PLAIN(T, max_age, OptionalPatience, max_age_ms,
                 "Of a connection, from its connect; 0 is no limit."),
  };
  return kKeys;
}

std::span<const Key<FileUpstream>> UpstreamKeys() {
  using T = FileUpstream;
  static const Key<T> kKeys[] = {
      {"endpoints", "list", "required",
       "Where requests go: HOST:PORT or unix:/PATH, or keys and values each.",
       absl::StrCat(R"({"type": "array", "minItems": 1, "items": {"anyOf": [)", kTextSchema, ", ",
                    Reference("endpoint"), "]}}"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         const size_t mistakes = reader.mistakes();
         reader.ReadEndpoints(value, out);
         out.complete = reader.mistakes() == mistakes;
       },
       nullptr, true},
      {"balance", BalanceName::kPlaceholder, "",
       "Which endpoint is next, by weight: round_robin (in turns), random, least_conn (the least in flight "
       "for its weight; of idle ones the heaviest), "
       "p2c (the better of two drawn by chance), ewma (likewise, by how fast they answer), maglev and "
       "ring_hash "
       "(consistent hashing: the same key meets the same endpoint), first (in the order of the list).",
       R"({"enum": ["round_robin", "random", "least_conn", "p2c", "ewma", "maglev", "ring_hash", "first"]})",
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<BalanceName>(value, out.settings.balance);
       },
       [](const T& from) { return AbslUnparseFlag(BalanceName{from.settings.balance}); }},
      {"hash_on",
       "client_ip \\| header:NAME \\| cookie:NAME \\| path \\| query:NAME \\| sni, or a list of them",
       "client_ip",
       "With maglev and ring_hash: what of a request is hashed; of a list the first that it has. A cookie in "
       "the last place is set by Weir (Path=/, HttpOnly, SameSite=Lax) where a request has none of them, and "
       "holds the client to its endpoint; else such a request is left to chance. A path is as routes see it "
       "(where a listener has no routes, as it came). sni is the server name that a TLS client asks for, "
       "which tcp listeners with routes read. TCP connections without what is named go by client_ip.",
       ListOrOne(kTextSchema),
       [](Reader& reader, const ConfigNode& value, T& out) { reader.ReadHashOn(value, out.settings); }},
      {"hash_cookie", "keys", "", "The cookie that hash_on has Weir set.", Reference("hash_cookie"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Map(value, HashCookieKeys(), out.settings.hash);
       }},
      {"hash_balance_factor", LoadFactor::kPlaceholder, "0",
       "With maglev and ring_hash: no endpoint has more in flight than so many percent of the average, 110 "
       "or more; what is above goes to the next one that its key leads to. 0 is no bound.",
       R"({"anyOf": [{"const": 0}, {"type": "integer", "minimum": 110, "maximum": 100000}]})",
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<LoadFactor>(value, out.settings.hash.balance_percent);
       },
       [](const T& from) {
         return Hashes(from.settings.balance) ? absl::StrCat(from.settings.hash.balance_percent) : "";
       }},
      {"hash_table_size", TableSize::kPlaceholder, "65537",
       "With maglev: slots of its table, a prime number; below 100 for each endpoint it is the next prime "
       "that is enough.",
       R"({"type": "integer", "minimum": 101, "maximum": 5000011})",
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<TableSize>(value, out.settings.hash.slots);
       },
       [](const T& from) {
         return from.settings.balance == Balance::kMaglev ? absl::StrCat(from.settings.hash.slots) : "";
       }},
      {"max_in_flight", "COUNT", "0",
       "With first: an endpoint that has so many requests and connections in flight, times its weight, is "
       "passed by as long as a later one has less. 0 is no limit.",
       R"({"type": "integer", "minimum": 0, "maximum": 1000000})",
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<CountIn<0, 1'000'000>>(value, out.settings.max_in_flight);
       },
       [](const T& from) {
         return from.settings.balance == Balance::kFirst ? absl::StrCat(from.settings.max_in_flight) : "";
       }},
      WEIR_PLAIN(T, retries, RetryCount, settings.retries,
                 "Further attempts after the first, each on another endpoint where there is one."),
      {"retry", "keys", "", "After what a request is tried again, and how.", Reference("retry"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Map(value, RetryKeys(), out.settings.retry);
       }},
      {"retry_budget", "off \\| keys", "20%, at least 3",
       "How many requests may be tried again at one time, so that an upstream that fails is not buried: the "
       "share, or min if that is more. Who found no connection, or a kept one that had ended, needs none of "
       "it. Above it a request gets the failure itself.",
       absl::StrCat(R"({"anyOf": [{"const": "off"}, )", Reference("retry_budget"), "]}"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.ReadRetryBudget(value, out.settings.retry_budget);
       }},
      WEIR_PLAIN(T, idle_connections, IdleCount, settings.idle_connections,
                 "Idle connections kept for reuse, per endpoint and shard."),
      {"pool", "keys", "no limits", "How long a connection is used again.", Reference("pool"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Map(value, PoolKeys(), out.settings.pool);
       }},
      {"tcp", "keys", "the system's",
       "How the kernel treats connections to endpoints, and where they come from.", Reference("upstream_tcp"),
       [](Reader& reader, const ConfigNode& value, T& out) { reader.Map(value, UpstreamTcpKeys(), out); }},
      WEIR_PLAIN(T, set_aside, OptionalPatience, settings.set_aside_ms,
                 "An endpoint that refuses connections gets none for so long, and up to 16 times that if it "
                 "goes on."),
      {"proxy_protocol", "v1 \\| v2 \\| keys", "none",
       "Connections to the endpoints begin with a PROXY header of this version, which says who the client "
       "is. "
       "Each serves the requests of one client connection alone. Health checks, but for those with a port of "
       "their own, and copies for a mirror say that they are Weir's own (LOCAL; v1: UNKNOWN).",
       absl::StrCat(R"({"anyOf": [{"enum": ["v1", "v2"]}, )", Reference("proxy_hello"), "]}"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.ReadProxyHello(value, out.settings.proxy_hello);
       }},
      {"health_check", "keys", "none", "Active checks of the endpoints: who fails them gets no requests.",
       Reference("health_check"),
       [](Reader& reader, const ConfigNode& value, T& out) { reader.ReadHealthCheck(value, out); }},
      {"slow_start", "DURATION or keys", "0",
       "An endpoint that comes back or is added begins with a part of its share, and has all of it after so "
       "long.",
       absl::StrCat("{\"anyOf\": [", SchemaOf<DurationIn<true>>(), ", ", Reference("slow_start"), "]}"),
       [](Reader& reader, const ConfigNode& value, T& out) { reader.ReadSlowStart(value, out.settings); }},
      {"outlier_ejection", "true \\| false, or keys", "false",
       "Who fails requests gets none for some time: true is with the defaults of all keys.",
       absl::StrCat("{\"anyOf\": [", SchemaOf<Switch>(), ", ", Reference("outlier_ejection"), "]}"),
       [](Reader& reader, const ConfigNode& value, T& out) { reader.ReadOutliers(value, out.settings); }},
      {"panic_threshold", PanicThreshold::kPlaceholder, "",
       "Endpoints of a priority of which fewer are well, for checks and outlier detection, are passed by for "
       "those of the next one. While no priority has enough of them, all endpoints are used, whatever these "
       "say, beginning with the best priority that has one: a panic. Whom an operator took out is not "
       "counted and gets nothing. With 0% this is never so.",
       kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<PanicThreshold>(value, out.settings.panic_percent);
       },
       [](const T& from) { return absl::StrCat(from.settings.panic_percent, "%"); }},
      {"on_all_down", AllDownName::kPlaceholder, "503, with a panic_threshold panic",
       "While not one endpoint is well: 503 is what requests get, panic uses all, backup the backups, "
       "whatever is said of them.",
       R"({"enum": [503, "503", "panic", "backup"]})",
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<AllDownName>(value, out.settings.all_down);
       },
       [](const T& from) { return std::string(AllDownText(from.settings.all_down)); }},
      {"timeouts", "keys", "those of the file", "What this upstream has of its own.",
       Reference("upstream_timeouts"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Map(value, UpstreamTimeoutKeys(), out.settings);
       }},
      Later<T>("tls", "TLS to the endpoints."),
  };
  return kKeys;
}

}  // namespace weir::lb::file
