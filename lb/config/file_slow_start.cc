// An upstream's slow start: for how long alone, or with keys.
#include "lb/config/file_keys.h"

namespace weir::lb::file {
namespace {

using Mode = SlowStartSettings::Mode;

struct ModeName {
  static constexpr const char* kPlaceholder = "linear \\| exponential";
  Mode value = Mode::kLinear;
};
bool AbslParseFlag(absl::string_view text, ModeName* flag, std::string* error) {
  flag->value = text == "exponential" ? Mode::kExponential : Mode::kLinear;
  if (text == "linear" || text == "exponential") return true;
  *error = "expected linear or exponential";
  return false;
}

// Of nothing no part grows, and with all there is no slow start.
struct StartPercent {
  static constexpr const char* kPlaceholder = "PERCENT%";
  uint32_t value = 0;
};
bool AbslParseFlag(absl::string_view text, StartPercent* flag, std::string* error) {
  CountIn<1, 99> count;
  const bool percent = !text.empty() && text.back() == '%';
  const bool fits = percent && AbslParseFlag(text.substr(0, text.size() - 1), &count, error);
  flag->value = count.value;
  if (!fits) *error = "expected a whole number of percent from 1% to 99%";
  return fits;
}

}  // namespace

std::span<const Key<SlowStartSettings>> SlowStartKeys() {
  using T = SlowStartSettings;
  static const Key<T> kKeys[] = {
      {"duration", DurationIn<true>::kPlaceholder, "required",
       "From when the endpoint is back until it has all of its share; 0: at once.",
       SchemaOf<DurationIn<true>>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<DurationIn<true>>(value, out.duration_ms);
       },
       [](const T& from) { return DurationText(from.duration_ms); }, true},
      {"mode", ModeName::kPlaceholder, "",
       "linear: its share grows by the same part of its weight in equal times. exponential: by the same "
       "factor.",
       SchemaOf<ModeName>(),
       [](Reader& reader, const ConfigNode& value, T& out) { reader.Scalar<ModeName>(value, out.mode); },
       [](const T& from) { return std::string(from.mode == Mode::kLinear ? "linear" : "exponential"); }},
      {"start", StartPercent::kPlaceholder, "", "The part of its weight that it begins with.", kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<StartPercent>(value, out.start_percent);
       },
       [](const T& from) { return absl::StrCat(from.start_percent, "%"); }},
  };
  return kKeys;
}

void Reader::ReadSlowStart(const ConfigNode& node, UpstreamSettings& upstream) {
  if (node.is_map()) {
    Map(node, SlowStartKeys(), upstream.slow_start);
  } else {
    Scalar<DurationIn<true>>(node, upstream.slow_start.duration_ms);
  }
}

}  // namespace weir::lb::file
