// The PROXY protocol: headers that a listener reads.
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

}  // namespace weir::lb
