// `listeners:`.
#include <algorithm>

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

struct UnixMode {
  static constexpr const char* kPlaceholder = "MODE";
  uint32_t value = 0;
};
bool AbslParseFlag(absl::string_view text, UnixMode* flag, std::string* error) {
  *error = "expected a mode in octal, from 0600 to 0777, such as 0660";
  const bool octal = text.find_first_not_of("01234567") == text.npos;
  if (!octal || text.size() < 3 || text.size() > 4 || (text.size() == 4 && text[0] != '0')) return false;
  flag->value = 0;
  for (const char c : text) flag->value = flag->value * 8 + static_cast<uint32_t>(c - '0');
  return flag->value >= 0600;
}

using ClientLimit = CountIn<0, 4'000'000>;

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

}  // namespace

std::span<const Key<ListenerDraft>> ListenerKeys() {
  using T = ListenerDraft;
  static const Key<T> kKeys[] = {
      {"address", "ADDRESS:PORT or unix:/PATH", "required",
       "Where clients connect. [::] is IPv6 alone. unix:/PATH (or unix:@NAME, abstract) is a socket of this "
       "machine: a file is made there, kept through reloads, and removed at the end. One that a dead process "
       "left is taken over; where somebody listens, or something else lies, is an error.",
       kTextSchema, [](Reader&, const ConfigNode& value, T& out) { out.address = &value; }, nullptr, true},
      {"mode", UnixMode::kPlaceholder, "0660",
       "Of the file of a unix socket, in octal: who may write to it may connect. It is as said whatever the "
       "umask is.",
       R"({"type": ["string", "integer"]})",
       [](Reader& reader, const ConfigNode& value, T& out) {
         out.mode = value.place;
         reader.Scalar<UnixMode>(value, out.settings.unix_mode);
       }},
      {"protocol", ProtocolName::kPlaceholder, "http", "What they speak.", SchemaOf<ProtocolName>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<ProtocolName>(value, out.settings.protocol);
       }},
      WEIR_PLAIN(T, max_connections_per_client, ClientLimit, settings.max_connections_per_client,
                 "At one time, of one IPv4 address or one /64 of IPv6, on all shards together; of the client "
                 "that a PROXY header names, where one is believed. What comes on top gets a 429 and is "
                 "closed, with tcp closed at once. 0 is no limit. Who has no address (a unix socket) is not "
                 "counted."),
      {"upstream", "NAME", "", "Everything goes there.", kTextSchema,
       [](Reader&, const ConfigNode& value, T& out) { out.upstream = &value; }},
      SubsetKey<T>(),
      SubsetFallbackKey<T>(),
      {"routes", "NAME", "",
       "Requests go where these routes say. With protocol tcp: TLS connections do, by their `sni` and "
       "`alpn`, and "
       "TLS is not ended here; a route without `match` is also for what is no TLS. What is read first has to "
       "come "
       "within `timeouts: client_header`.",
       kTextSchema, [](Reader&, const ConfigNode& value, T& out) { out.routes = &value; }},
      Later<T>("tls", "Certificates, and what clients must prove."),
      AllowKey<T>(),
      DenyKey<T>(),
      {"trusted_proxies", "text or list", "nobody",
       "Networks of proxies in front (unix: who comes by a unix socket), whose X-Forwarded-For, -Proto and "
       "-Host are believed and passed on: "
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
       "where there are routes.",
       Reference("headers"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         out.request_headers = value.place;
         const size_t mistakes = reader.mistakes();
         reader.Map(value, HeaderKeys(), out.settings.direct.request.headers);
         out.headers_refused = out.headers_refused || reader.mistakes() > mistakes;
       }},
      {"response_headers", "keys", "none",
       "Likewise in every response: of upstreams, of routes (redirect, respond), and, what has no variables "
       "and does not speak of a body or of caching, in every error that Weir answers itself: with no route, "
       "or "
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
      {"tcp", "keys", "the system's", "How the kernel treats clients' connections.",
       Reference("listener_tcp"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         out.tcp = value.place;
         reader.Map(value, ListenerTcpKeys(), out);
       }},
      {"proxy_protocol", "required \\| keys", "none",
       "Connections begin with a header of the PROXY protocol, version 1 or 2, of which the client's address "
       "is "
       "taken. required alone: everybody's is believed, so that nobody but the proxies in front may be able "
       "to "
       "connect.",
       absl::StrCat(R"({"anyOf": [{"const": "required"}, )", Reference("proxy_protocol"), "]}"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.ReadProxyProtocol(value, out.settings.proxy_protocol);
       }},
  };
  return kKeys;
}

}  // namespace weir::lb::file
