#include "lb/config/file_reader.h"

#include <algorithm>

#include "core/unix_path.h"
#include "lb/config/file_keys.h"
#include "lb/http/chars.h"

namespace weir::lb::file {
namespace {

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

struct ForwardedName {
  static constexpr const char* kPlaceholder = "x_forwarded \\| rfc7239 \\| both";
  ForwardedForm value = ForwardedForm::kXForwarded;
};
constexpr const char* kForwardedForms[] = {"x_forwarded", "rfc7239", "both"};
bool AbslParseFlag(absl::string_view text, ForwardedName* flag, std::string* error) {
  for (size_t i = 0; i < std::size(kForwardedForms); ++i) {
    if (text != kForwardedForms[i]) continue;
    flag->value = static_cast<ForwardedForm>(i);
    return true;
  }
  *error = "expected x_forwarded, rfc7239 or both";
  return false;
}
std::string AbslUnparseFlag(const ForwardedName& flag) {
  return kForwardedForms[static_cast<size_t>(flag.value)];
}

struct FileDraft {};

// A file, as the flag has it, or keys, one of which is the file.
constexpr std::string_view kAccessLog = "access_log";

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
      {"error_pages", "keys", "none", kErrorPagesSentence, ErrorPagesSchema(), ReadElsewhere},
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
    if (row.file_key == kAccessLog) {
      keys.back().type = "FILE or keys";
      keys.back().schema =
          absl::StrCat(R"({"anyOf": [)", keys.back().schema, ", ", Reference(kAccessLog), "]}");
    }
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
    std::string value = key.write != nullptr ? key.write(from) : "";
    if (!value.empty()) values.push_back({std::string(key.name), std::move(value)});
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

std::string_view NearestChoice(std::string_view text, std::string_view expected) {
  constexpr std::string_view kBegin = "expected ";
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz_";
  if (!expected.starts_with(kBegin)) return {};
  expected.remove_prefix(kBegin.size());
  std::vector<std::string_view> words;
  while (!expected.empty()) {
    const size_t end = std::min({expected.find(", "), expected.find(" or "), expected.size()});
    const std::string_view word = expected.substr(0, end);
    if (!word.empty() && word.find_first_not_of(kLetters) == std::string_view::npos) words.push_back(word);
    expected.remove_prefix(end);
    expected.remove_prefix(expected.starts_with(',') ? 2 : std::min<size_t>(4, expected.size()));
  }
  return words.size() < 2 ? std::string_view() : Nearest(text, words);
}

const char* DashHint(const ConfigNode& node) {
  const bool dash = node.is_scalar() && node.text.size() > 1 && node.text[0] == '-' && node.text[1] != '-';
  return dash ? "; a space is missing behind the dash" : "";
}

std::string QuoteHint(const ConfigNode& node) {
  if (node.is_list()) return "; to YAML a value that begins with [ is a list: put it in quotes";
  if (node.is_map()) return "; to YAML a value that begins with { is a map: put it in quotes";
  return "";
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

// Listeners

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
      {"trusted_proxies", "text or list", "nobody",
       "Networks of proxies in front, whose X-Forwarded-For, -Proto and -Host are believed and passed on: "
       "the client is "
       "then the rightmost address that is none of theirs. Where they send none of these, their Forwarded "
       "(RFC 7239) is, if it is well formed.",
       ListOrOne(kTextSchema),
       [](Reader& reader, const ConfigNode& value, T& out) { reader.ReadNetworks(value, out.trusted); }},
      {"forwarded", ForwardedName::kPlaceholder, "",
       "What upstreams are told of who asked: X-Forwarded-For, -Proto and -Host; Forwarded (RFC 7239); or "
       "all of them. With rfc7239 trusted proxies are asked for Forwarded first, and X-Forwarded-* count "
       "where it is not there. What others than they say of it never gets through, in whichever form.",
       SchemaOf<ForwardedName>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         out.forwarded = value.place;
         reader.Scalar<ForwardedName>(value, out.settings.forwarded);
       },
       [](const T& from) { return AbslUnparseFlag(ForwardedName{from.settings.forwarded}); }},
      {"error_pages", "keys", "the file's", kErrorPagesSentence, ErrorPagesSchema(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         out.error_pages = value.place;
         reader.ReadErrorPages(value, out.settings.direct.error_pages);
       }},
      {"request_headers", "keys", "none",
       "What changes in every request that goes up from here; a route's own request_headers come after these "
       "and may set or remove them again. Values with variables as at a route (but not what it matched), "
       "where "
       "there are routes.",
       Reference("headers"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         out.request_headers = value.place;
         const size_t mistakes = reader.mistakes();
         reader.Map(value, HeaderKeys(), out.settings.direct.request.headers);
         out.headers_refused = out.headers_refused || reader.mistakes() > mistakes;
       }},
      {"response_headers", "keys", "none",
       "Likewise in every response: of upstreams, of routes (redirect, respond), and, what has no variables "
       "and "
       "does not speak of a body or of caching, in every error that Weir answers itself: with no route, or "
       "before one is known, too; and in what it answers to Max-Forwards: 0. Listeners that ask for the same "
       "of the same routes share a copy of these; any other takes the memory of its own.",
       Reference("headers"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         out.response_headers = value.place;
         const size_t mistakes = reader.mistakes();
         const bool is_map = reader.ReadResponseHeaders(value, out.settings.direct);
         out.headers_refused = out.headers_refused || reader.mistakes() > mistakes;
         if (!is_map) return;
         const HeaderChanges& changes = out.settings.direct.response;
         for (const char* of_one : {"Content-Type", "Location"}) {
           const auto same = [of_one](const std::string& name) {
             return http::EqualsIgnoreCase(name, of_one);
           };
           const bool added = std::any_of(changes.added.begin(), changes.added.end(),
                                          [&](const HeaderChanges::Line& line) { return same(line.name); });
           if (added || std::any_of(changes.dropped.begin(), changes.dropped.end(), same)) {
             reader.Error(value.place, absl::StrCat(of_one, " is each answer's own: expected at a route"));
           }
         }
       }},
      Later<T>("proxy_protocol", "The PROXY protocol's header comes first."),
  };
  return kKeys;
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
  each("paths", [&](const ConfigNode& node) {
    for (size_t i = 0; i < node.key_text.size(); ++i) {
      const auto first = said_.find("paths." + node.key_text[i]);
      if (first == said_.end()) continue;
      Error(node.key_place[i],
            absl::StrCat(node.key_text[i], ": given twice; first at ", problems_.Where(first->second)));
    }
    Map(node, PathKeys(), settings_);
  });
  each("error_pages", [&](const ConfigNode& node) {
    if (!settings_.error_pages.empty()) return Error(node.place, "given twice");
    ReadErrorPages(node, settings_.error_pages);
  });
  each("upstreams", [&](const ConfigNode& node) {
    named(node, [&](const std::string& name, const Place& place, const ConfigNode& value) {
      const auto [first, is_new] =
          upstream_indices_.emplace(name, static_cast<uint32_t>(sections_.upstreams.size()));
      if (!is_new) {
        const Place& other = sections_.upstreams[first->second].place;
        return Error(place, absl::StrCat("given twice; first at ", problems_.Where(other)));
      }
      FileUpstream& upstream = sections_.upstreams.emplace_back();
      upstream.settings = settings_.upstream_defaults;
      upstream.settings.timeouts = settings_.timeouts;
      upstream.settings.name = name;
      upstream.place = place;
      if (Map(value, UpstreamKeys(), upstream)) FinishBalance(value, upstream.settings);
      FinishHealthCheck(upstream);
    });
  });
  each(kAccessLog, [&](const ConfigNode& node) { ReadAccessLog(node); });
  // Lists of the same name in several files are one: a site a file.
  std::vector<RoutesDraft> routes;
  std::map<std::string, size_t> routes_by_name;
  each("routes", [&](const ConfigNode& node) {
    named(node, [&](const std::string& name, const Place& place, const ConfigNode& value) {
      const auto [first, is_new] = routes_by_name.emplace(name, routes.size());
      if (is_new) routes.emplace_back().name = name;
      RoutesDraft& draft = routes[first->second];
      for (const Place& other : draft.places) {
        if (problems_.files[other.file] != problems_.files[place.file]) continue;
        // Within one reading of a file it is told already.
        if (other.file == place.file) return;
        return Error(place, absl::StrCat("given twice; first at ", problems_.Where(other)));
      }
      draft.places.push_back(place);
      draft.parts.push_back(&value);
    });
  });
  for (RoutesDraft& draft : routes) {
    RouteList& list = sections_.routes.emplace_back();
    list.name = draft.name;
    Within("routes." + draft.name, [&] { ReadRoutes(draft, list); });
  }
  size_t listeners = 0;  // of all files
  each("listeners", [&](const ConfigNode& node) {
    if (!node.is_list()) {
      return Error(node.place, absl::StrCat("expected a list (- address: 0.0.0.0:8080), found ",
                                            KindName(node), DashHint(node)));
    }
    for (size_t i = 0; i < node.items.size(); ++i) {
      Within(absl::StrCat("[", listeners++, "]"), [&] {
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
            if (text.starts_with(kUnixPrefix)) {
              return Error(listener.place,
                           absl::StrCat("\"", text,
                                        "\": listeners on unix sockets are not available yet; "
                                        "expected ADDRESS:PORT"));
            }
            if (!address) {
              return Error(listener.place, absl::StrCat("\"", text,
                                                        "\": expected ADDRESS:PORT, such as 0.0.0.0:8080 "
                                                        "or \"[::]:8080\""));
            }
            settings.address = *address;
            settings.where = absl::StrCat(problems_.Where(listener.place), ": ", key_);
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
            if (settings.routes < routes.size()) {
              routes[settings.routes].used = true;
              if (!draft.trusted.texts.empty()) routes[settings.routes].behind_proxies = true;
            }
            if (settings.protocol == Protocol::kTcp) {
              Error(draft.routes->place, "a tcp listener knows no requests: expected upstream");
            }
          });
        }
        settings.direct.timeouts = settings_.timeouts;
        settings.direct.client_max_body_bytes = settings_.client_max_body_bytes;
        if (draft.upstream != nullptr && settings.direct.upstream < sections_.upstreams.size()) {
          const UpstreamSettings& upstream = sections_.upstreams[settings.direct.upstream].settings;
          settings.direct.timeouts = upstream.timeouts;
          settings.direct.retries = upstream.retries;
          if (settings.protocol == Protocol::kTcp) {
            Within("upstream", [&] { WarnOfTcp(draft.upstream->place, upstream); });
          }
        }
        settings.access = Access(std::move(draft.allow), std::move(draft.deny));
        if (settings.protocol == Protocol::kTcp && !draft.trusted.texts.empty()) {
          Error(draft.trusted.place, "trusted_proxies: a tcp connection says nothing of another client");
        }
        if (settings.protocol == Protocol::kTcp && draft.forwarded.line > 0) {
          Error(draft.forwarded, "forwarded: a tcp connection has no headers");
        }
        if (settings.protocol == Protocol::kTcp && !settings.direct.error_pages.empty()) {
          Error(draft.error_pages, "error_pages: a tcp connection is answered nothing");
        }
        settings.trusted = Access(std::move(draft.trusted), {});
        FinishListenerHeaders(draft, settings);
        listener.settings = std::move(settings);
      });
    }
  });
  for (const RoutesDraft& draft : routes) {
    if (!draft.used) {
      problems_.Warning(draft.places.front(), "routes." + draft.name, "no listener has these routes");
    } else if (!draft.behind_proxies) {
      WarnOfSchemes(draft);
    }
  }
  for (const FileUpstream& upstream : sections_.upstreams) {
    if (!upstream.used) {
      problems_.Warning(upstream.place, "upstreams." + upstream.settings.name,
                        "nobody sends to this upstream");
    }
  }
  return std::move(sections_);
}

}  // namespace weir::lb::file

namespace weir::lb {

using namespace file;

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
    } else if (key == kAccessLog && node.is_map()) {
      const ConfigNode* const file = node.Find("file");
      if (file != nullptr && file->is_scalar()) given.push_back({&row, file->text, file->place});
    } else if (!node.is_scalar()) {
      problems.Error(node.place, key,
                     absl::StrCat("expected ", Absl(row.placeholder), key == kAccessLog ? " or keys" : "",
                                  ", found ", KindName(node), QuoteHint(node)));
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
      {"endpoint", "`endpoints:`, each of the list", "HOST:PORT or unix:/PATH alone, or with keys.",
       DocsOf(EndpointKeys())},
      {"hash_cookie", "`hash_cookie:`", "", DocsOf(HashCookieKeys())},
      {"upstream_timeouts", "`timeouts:` of an upstream", "", DocsOf(UpstreamTimeoutKeys())},
      {"health_check", "`health_check:`",
       "Weir asks each endpoint by itself whether it is well, once for all shards, on a kept connection. An "
       "endpoint is up until a check says otherwise; its first check decides at once, later `fall` and "
       "`rise` "
       "in a row do. One that is down gets no new requests; what it has begun goes on. With all down "
       "requests "
       "get 503. A reload keeps what is known. An answer must come whole, but for what is behind its first "
       "64 KiB. At most 128 checks run at one time; on many endpoints that hang at once the others wait for "
       "their turn.",
       DocsOf(HealthCheckKeys())},
      {"slow_start", "`slow_start:`, where it is more than DURATION",
       "Of an endpoint that comes back when its checks pass again or an operator has it ready, or that a "
       "reload adds. What was there when Weir began has all of its share at once, and so has an upstream "
       "that "
       "is new. What a single shard sets aside for a moment after a failed connect (set_aside) has no slow "
       "start. If all that are usable start at one time nobody is held back. The share grows in 20 steps, at "
       "least 50 ms apart.",
       DocsOf(SlowStartKeys())},
      {"route", "`routes: NAME:`, each of the list",
       "What becomes of the requests that it matches: exactly one of upstream, split, redirect, respond. Of "
       "several "
       "that "
       "match the most specific is met; a request that none matches gets 404.",
       DocsOf(RouteKeys())},
      {"match", "`match:`", "All that is said must hold; of a list, one.", DocsOf(MatchKeys())},
      {"condition", "A header or query parameter in `match:`", "A text stands for `exact`.",
       DocsOf(ConditionKeys())},
      {"side", "`split:`, each of the list", "", DocsOf(SideKeys())},
      {"mirror", "`mirror:`",
       "At most 256 copies are on their way on each shard at one time, fewer where the limit of open files "
       "leaves less (`weir check` shows how many); what comes on top is left out, and counted.",
       DocsOf(MirrorKeys())},
      {"sticky", "`sticky:`",
       "One of cookie and hash_on. A hash meets a side for its upstream's name and its weight, always the "
       "same: on every shard and after every restart.",
       DocsOf(StickyKeys())},
      {"redirect", "`redirect:`", "", DocsOf(RedirectKeys())},
      {"rewrite", "`rewrite:`", "", DocsOf(RewriteKeys())},
      {"headers", "`request_headers:` and `response_headers:`",
       "Those that frame messages or that Weir writes itself (Host, Via, X-Forwarded-For and the like) "
       "cannot be changed.",
       DocsOf(HeaderKeys())},
      {"respond", "`respond:`", "", DocsOf(RespondKeys())},
      {"basic_auth", "`basic_auth:`",
       "Names and hashed passwords: bcrypt, yescrypt or sha-crypt, as `htpasswd -nB NAME` or `openssl passwd "
       "-6` print them. bcrypt does not look at what comes behind 72 bytes: there a longer password is "
       "wrong. "
       "Without TLS in front, passwords can be read on the way.",
       DocsOf(BasicAuthKeys())},
      {"auth_request", "`auth_request:`",
       "The server is told of the request as X-Forwarded-Method and X-Forwarded-Uri (and the same as "
       "X-Original-Method and X-Original-URI), beside the usual X-Forwarded-*. It is asked with GET, or with "
       "HEAD where the client's request is one.",
       DocsOf(AuthRequestKeys())},
      {"error_page", "`error_pages: STATUS:`",
       "A page of the route is taken before one of the listener, that before one of the file. With "
       "Cache-Control: no-store. "
       "Errors that an upstream answers stay as they are.",
       DocsOf(ErrorPageKeys())},
      {"route_timeouts", "`timeouts:` of a route", "", DocsOf(RouteTimeoutKeys())},
      {"access_log", "`access_log:`, where it is more than FILE",
       "What the fields are, and what texts become: [the access log](../lb/README.md#the-access-log).",
       DocsOf(AccessLogKeys())},
      {"syslog", "`syslog:` of the access log, where it is more than an address", "", DocsOf(SyslogKeys())},
      {"paths", "`paths:`", "Paths are spelled one way before they are matched and forwarded.",
       DocsOf(PathKeys())},
      {"timeouts", "`timeouts:`", "For all; some can be said by upstreams and routes.",
       FlagDocs(GroupKeys("timeouts"), "timeouts")},
      {"limits", "`limits:`", "For all.", FlagDocs(GroupKeys("limits"), "limits")},
  };
}

std::vector<KeyValue> ValuesOf(const ListenerSettings& listener) {
  ListenerDraft from;
  from.settings = listener;
  return Values(ListenerKeys(), from);
}
std::vector<KeyValue> ValuesOf(const UpstreamSettings& upstream) {
  FileUpstream from;
  from.settings = upstream;
  return Values(UpstreamKeys(), from);
}
std::vector<KeyValue> ValuesOf(const HealthCheckSettings& check) {
  HealthDraft from;
  from.settings = check;
  return Values(HealthCheckKeys(), from);
}
std::vector<KeyValue> ValuesOf(const SlowStartSettings& start) { return Values(SlowStartKeys(), start); }
std::vector<KeyValue> TimeoutsOf(const UpstreamSettings& upstream) {
  return Values(UpstreamTimeoutKeys(), upstream);
}
std::vector<KeyValue> TimeoutsOf(const RouteSettings& route) { return Values(RouteTimeoutKeys(), route); }
std::vector<KeyValue> ValuesOf(const AccessLogSettings& log) { return Values(AccessLogKeys(), log); }
std::vector<KeyValue> ValuesOf(const SyslogSettings& syslog) { return Values(SyslogKeys(), syslog); }

}  // namespace weir::lb
