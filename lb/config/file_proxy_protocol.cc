// The PROXY protocol: headers that a listener reads, and those that connections to endpoints begin with.
#include "lb/config/file_keys.h"

namespace weir::lb::file {
namespace {

using Mode = ProxyProtocolSettings::Mode;

struct ModeName {
  static constexpr const char* kPlaceholder = "required \\| optional";
  Mode value = Mode::kRequired;
};
bool AbslParseFlag(absl::string_view text, ModeName* flag, std::string* error) {
  flag->value = text == "optional" ? Mode::kOptional : Mode::kRequired;
  if (text == "required" || text == "optional") return true;
  *error = "expected required or optional";
  return false;
}

struct VersionName {
  static constexpr const char* kPlaceholder = "v1 \\| v2";
  ProxyVersion value = ProxyVersion::kV1;
};
bool AbslParseFlag(absl::string_view text, VersionName* flag, std::string* error) {
  flag->value = text == "v2" ? ProxyVersion::kV2 : ProxyVersion::kV1;
  if (text == "v1" || text == "v2") return true;
  *error = "expected v1 or v2";
  return false;
}

constexpr struct {
  const char* name;
  bool ProxyHelloSettings::* member;
} kHelloTlvs[] = {{"authority", &ProxyHelloSettings::authority},
                  {"unique_id", &ProxyHelloSettings::unique_id},
                  {"crc32c", &ProxyHelloSettings::crc32c}};

}  // namespace

std::span<const Key<ProxyProtocolDraft>> ProxyProtocolKeys() {
  using T = ProxyProtocolDraft;
  static const Key<T> kKeys[] = {
      {"mode", ModeName::kPlaceholder, "required",
       "required: a connection that does not begin with a header is closed. optional: it is what it is; so "
       "is "
       "one that says nothing for `timeout`, as clients do who let the server speak first.",
       SchemaOf<ModeName>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<ModeName>(value, out.settings.mode);
       },
       [](const T& from) {
         return std::string(from.settings.mode == Mode::kOptional ? "optional" : "required");
       },
       true},
      {"from", "text or list", "everybody; with optional required",
       "Networks, addresses, or file:PATH with one a line: whose header is believed. Who else sends one is "
       "closed, and with required who else connects at all.",
       ListOrOne(kTextSchema),
       [](Reader& reader, const ConfigNode& value, T& out) { reader.ReadNetworks(value, out.from); }},
      {"timeout", Patience::kPlaceholder, "5s", "From the accept until the whole header is there.",
       SchemaOf<Patience>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<Patience>(value, out.settings.timeout_ms);
       },
       [](const T& from) { return DurationText(from.settings.timeout_ms); }},
  };
  return kKeys;
}

void Reader::ReadProxyProtocol(const ConfigNode& node, ProxyProtocolSettings& settings) {
  ProxyProtocolDraft draft;
  if (node.is_map()) {
    if (!Map(node, ProxyProtocolKeys(), draft)) return;
  } else {
    Scalar<ModeName>(node, draft.settings.mode);
  }
  if (draft.settings.mode == Mode::kOptional && node.Find("from") == nullptr) {
    Error(node.place,
          "with optional everybody could say to be anybody: expected {mode: optional, from: [NETWORK, ...]}");
  }
  settings = std::move(draft.settings);
  settings.from = Access(std::move(draft.from), {});
}

std::span<const Key<ProxyHelloSettings>> ProxyHelloKeys() {
  using T = ProxyHelloSettings;
  static const Key<T> kKeys[] = {
      {"version", VersionName::kPlaceholder, "required", "Of the header.", SchemaOf<VersionName>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<VersionName>(value, out.version);
       },
       [](const T& from) { return std::string(from.version == ProxyVersion::kV2 ? "v2" : "v1"); }, true},
      {"tlvs", "authority \\| unique_id \\| crc32c, or a list of them", "none",
       "With v2: what it says besides. authority: that of the client's own PROXY header, else of the request "
       "that the connection is made for its host. unique_id: likewise, else one is made for the client's "
       "connection, which the log has as `proxy_protocol_unique_id`. crc32c: a checksum.",
       ListOrOne(R"({"enum": ["authority", "unique_id", "crc32c"]})"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         std::vector<std::string> texts;
         std::vector<Place> places;
         reader.Texts(value, texts, places);
         for (size_t i = 0; i < texts.size(); ++i) {
           bool known = false;
           for (const auto& tlv : kHelloTlvs) {
             if (texts[i] != tlv.name) continue;
             known = true;
             if (out.*tlv.member) reader.Error(places[i], absl::StrCat("\"", texts[i], "\" is given twice"));
             out.*tlv.member = true;
           }
           if (!known) {
             reader.Error(places[i],
                          absl::StrCat("\"", texts[i], "\": expected authority, unique_id or crc32c"));
           }
         }
       }},
  };
  return kKeys;
}

void Reader::ReadProxyHello(const ConfigNode& node, ProxyHelloSettings& settings) {
  if (!node.is_map()) return Scalar<VersionName>(node, settings.version);
  if (!Map(node, ProxyHelloKeys(), settings)) return;
  const ConfigNode* const tlvs = node.Find("tlvs");
  if (tlvs == nullptr || settings.version != ProxyVersion::kV1) return;
  Within("tlvs", [&] { Error(tlvs->place, "only with version: v2"); });
}

}  // namespace weir::lb::file

namespace weir::lb {

using namespace file;

std::vector<KeyValue> ValuesOf(const ProxyProtocolSettings& settings) {
  ProxyProtocolDraft draft;
  draft.settings = settings;
  std::vector<KeyValue> values;
  for (const Key<ProxyProtocolDraft>& key : ProxyProtocolKeys()) {
    if (key.write != nullptr) values.push_back({std::string(key.name), key.write(draft)});
  }
  return values;
}

std::vector<KeyValue> ValuesOf(const ProxyHelloSettings& settings) {
  std::vector<KeyValue> values;
  for (const Key<ProxyHelloSettings>& key : ProxyHelloKeys()) {
    if (key.write != nullptr) values.push_back({std::string(key.name), key.write(settings)});
  }
  return values;
}

std::vector<std::string> TlvsOf(const ProxyHelloSettings& settings) {
  std::vector<std::string> names;
  for (const auto& tlv : kHelloTlvs) {
    if (settings.*tlv.member) names.emplace_back(tlv.name);
  }
  return names;
}

}  // namespace weir::lb
