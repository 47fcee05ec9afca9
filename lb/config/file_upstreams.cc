// The configuration file's upstreams and their endpoints.
#include <algorithm>

#include "core/unix_path.h"
#include "lb/config/file_keys.h"

namespace weir::lb::file {

// Endpoints

std::span<const Key<EndpointDraft>> EndpointKeys() {
  static const Key<EndpointDraft> kKeys[] = {
      {"address", "HOST:PORT", "required",
       "A name (resolved at start), an IPv4 address, or an IPv6 address in brackets, with a port; unix:/PATH "
       "or "
       "unix:@NAME (abstract): a socket of this machine.",
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
    upstream.endpoints.push_back({std::move(item), draft.place});
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
  upstream.endpoints.push_back({std::move(list.items.front()), draft.place});
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

std::span<const Key<FileUpstream>> UpstreamKeys() {
  using T = FileUpstream;
  static const Key<T> kKeys[] = {
      {"endpoints", "list", "required",
       "Where requests go: HOST:PORT or unix:/PATH, or keys and values each.",
       absl::StrCat(R"({"type": "array", "minItems": 1, "items": {"anyOf": [)", kTextSchema, ", ",
                    Reference("endpoint"), "]}}"),
       [](Reader& reader, const ConfigNode& value, T& out) { reader.ReadEndpoints(value, out); }, nullptr,
       true},
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
         reader.Scalar<BalanceName>(value, out.settings.balance);
       },
       [](const T& from) { return AbslUnparseFlag(BalanceName{from.settings.balance}); }},
      WEIR_PLAIN(T, retries, RetryCount, settings.retries,
                 "Further attempts after the first, each on another endpoint where there is one."),
      WEIR_PLAIN(T, idle_connections, IdleCount, settings.idle_connections,
                 "Idle connections kept for reuse, per endpoint and shard."),
      WEIR_PLAIN(T, set_aside, OptionalPatience, settings.set_aside_ms,
                 "An endpoint that refuses connections gets none for so long, and up to 16 times that if it "
                 "goes on."),
      {"timeouts", "keys", "those of the file", "What this upstream has of its own.",
       Reference("upstream_timeouts"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Map(value, UpstreamTimeoutKeys(), out.settings);
       }},
      Later<T>("hash_on", "What consistent hashing looks at."),
      Later<T>("health_check", "Active checks of the endpoints."),
      Later<T>("tls", "TLS to the endpoints."),
  };
  return kKeys;
}

}  // namespace weir::lb::file
