// `tcp:` of listeners and of upstreams.
#include "lb/config/file_keys.h"

namespace weir::lb::file {
namespace {

// What the kernel takes: TCP_KEEPIDLE and TCP_KEEPINTVL up to 32,767 s, TCP_KEEPCNT up to 127.
struct WholeSeconds {
  static constexpr const char* kPlaceholder = "DURATION";
  static constexpr uint32_t kMost = 32'767;
  uint32_t value = 0;
};
bool AbslParseFlag(absl::string_view text, WholeSeconds* flag, std::string* error) {
  uint32_t ms = 0;
  if (!ParseDuration(text, &ms, error)) return false;
  flag->value = ms / 1'000;
  if (ms % 1'000 == 0 && flag->value <= WholeSeconds::kMost) return true;
  *error = absl::StrCat("expected whole seconds, ", WholeSeconds::kMost, "s at most, or 0");
  return false;
}
std::string AbslUnparseFlag(const WholeSeconds& flag) { return DurationText(uint64_t{flag.value} * 1'000); }

using ProbeCount = CountIn<0, 127>;
using SynCount = CountIn<0, 65'535>;

struct CongestionControl {
  static constexpr const char* kPlaceholder = "NAME";
  std::string value;
};
bool AbslParseFlag(absl::string_view text, CongestionControl* flag, std::string* error) {
  constexpr size_t kMostBytes = 15;  // TCP_CA_NAME_MAX
  flag->value = std::string(text);
  const bool fits = text.size() <= kMostBytes &&
                    text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_-") == text.npos;
  if (!fits) *error = "expected the name of an algorithm, such as cubic or bbr";
  return fits;
}

// For a T with `settings.tcp` and `congestion_control`.
template <class T>
std::vector<Key<T>> CommonKeys() {
  return {
      WEIR_PLAIN(T, keepalive, WholeSeconds, settings.tcp.keepalive_idle_s,
                 "A connection that has been quiet for so long is asked whether the peer is still there (TCP "
                 "keepalive); 0: never."),
      WEIR_PLAIN(T, keepalive_interval, WholeSeconds, settings.tcp.keepalive_interval_s,
                 "And again so often while nothing comes back; 0: as the system has it."),
      WEIR_PLAIN(T, keepalive_count, ProbeCount, settings.tcp.keepalive_count,
                 "After so many without an answer it is over; 0: as the system has it."),
      WEIR_PLAIN(T, user_timeout, OptionalPatience, settings.tcp.user_timeout_ms,
                 "What was sent may lie without an acknowledgement for so long, then the connection is over "
                 "(TCP_USER_TIMEOUT); 0: as the system has it, a quarter of an hour as a rule."),
      WEIR_PLAIN(T, nodelay, Switch, settings.tcp.no_delay,
                 "Small pieces are sent at once. With false the kernel may wait for more while others are on "
                 "their way (Nagle)."),
      {"congestion_control", CongestionControl::kPlaceholder, "the system's",
       "The algorithm, of those that sysctl net.ipv4.tcp_available_congestion_control names.", kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         out.congestion_control = value.place;
         reader.Scalar<CongestionControl>(value, out.settings.tcp.congestion_control);
       },
       nullptr},
  };
}

struct SourceAddress {
  SocketAddress value;
};
bool AbslParseFlag(absl::string_view text, SourceAddress* flag, std::string* error) {
  const bool is_v6 = text.find(':') != text.npos;
  const auto address =
      SocketAddress::Parse(is_v6 ? absl::StrCat("[", text, "]:0") : absl::StrCat(text, ":0"));
  if (address.has_value()) flag->value = *address;
  if (!address) *error = "expected an address of this machine without a port, such as 10.0.0.5";
  return address.has_value();
}

}  // namespace

std::span<const Key<ListenerDraft>> ListenerTcpKeys() {
  using T = ListenerDraft;
  static const std::vector<Key<T>> kKeys = [] {
    std::vector<Key<T>> keys = CommonKeys<T>();
    keys.push_back(
        WEIR_PLAIN(T, fast_open, SynCount, settings.tcp.fast_open,
                   "Clients that were here before may send data with their SYN (TCP Fast Open); so "
                   "many of them at one time whose handshake is not over. 0: none. The system must "
                   "allow it: sysctl net.ipv4.tcp_fastopen, 2 or 3."));
    return keys;
  }();
  return kKeys;
}

std::span<const Key<FileUpstream>> UpstreamTcpKeys() {
  using T = FileUpstream;
  static const std::vector<Key<T>> kKeys = [] {
    std::vector<Key<T>> keys = CommonKeys<T>();
    keys.push_back(
        {"fast_open", Switch::kPlaceholder, "",
         "The first bytes go with the SYN to endpoints that allow it (TCP Fast Open). Whether an endpoint is "
         "there is known later then, with the request on its way: what may not be sent twice is not tried "
         "again, and nobody is set aside for refusing, so that checks are worth having. Not for tcp "
         "listeners "
         "(a server may be the first to speak), nor for checks.",
         SchemaOf<Switch>(),
         [](Reader& reader, const ConfigNode& value, T& out) {
           bool on = false;
           reader.Scalar<Switch>(value, on);
           out.settings.tcp.fast_open = on ? 1 : 0;
         },
         [](const T& from) { return AbslUnparseFlag(Switch{from.settings.tcp.fast_open > 0}); }});
    keys.push_back(
        {"source", "ADDRESS, or a list of them", "the system's choice",
         "Connections to endpoints come from these addresses in turn, each family's to its own. One "
         "address has a port for each of about 28,000 connections to one endpoint (sysctl "
         "net.ipv4.ip_local_port_range); where one has none left the next is asked.",
         ListOrOne(kTextSchema),
         [](Reader& reader, const ConfigNode& value, T& out) { reader.ReadSources(value, out); }, nullptr});
    return keys;
  }();
  return kKeys;
}

void Reader::ReadSources(const ConfigNode& node, FileUpstream& upstream) {
  std::vector<std::string> texts;
  std::vector<Place> places;
  Texts(node, texts, places);
  for (size_t i = 0; i < texts.size(); ++i) {
    SourceAddress source;
    std::string expected;
    if (!AbslParseFlag(Absl(texts[i]), &source, &expected)) {
      Error(places[i], absl::StrCat("\"", texts[i], "\": ", expected));
      continue;
    }
    std::vector<SocketAddress>& sources = upstream.settings.sources;
    if (std::find(sources.begin(), sources.end(), source.value) != sources.end()) {
      Error(places[i], absl::StrCat("\"", texts[i], "\" is given twice"));
      continue;
    }
    if (sources.size() == UpstreamSettings::kMostSources) {
      Error(places[i], absl::StrCat("more than ", UpstreamSettings::kMostSources, " addresses"));
      return;
    }
    sources.push_back(source.value);
    upstream.source_places.push_back(places[i]);
  }
}

}  // namespace weir::lb::file
