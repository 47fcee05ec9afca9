// An upstream's outlier ejection: whether at all, or with keys.
#include <algorithm>

#include "lb/config/file_keys.h"

namespace weir::lb::file {
namespace {

using Row = CountIn<0, 1000>;

// Often enough, and no load by itself.
struct LookInterval {
  static constexpr uint32_t kLeastMs = 100;
  static constexpr const char* kPlaceholder = "DURATION";
  uint32_t value = 0;
};
bool AbslParseFlag(absl::string_view text, LookInterval* flag, std::string* error) {
  DurationIn<false> duration;
  if (!AbslParseFlag(text, &duration, error)) return false;
  flag->value = duration.value;
  if (flag->value >= LookInterval::kLeastMs) return true;
  *error = absl::StrCat("expected ", DurationText(LookInterval::kLeastMs), " or more");
  return false;
}

// A decimal number; kept in thousandths.
struct Factor {
  static constexpr const char* kPlaceholder = "NUMBER";
  static constexpr uint32_t kMost = 10'000;
  uint32_t value = 0;
};
bool AbslParseFlag(absl::string_view text, Factor* flag, std::string* error) {
  *error = "expected a number from 0.001 to 10, such as 1.9";
  uint32_t thousandths = 0;
  uint32_t unit = 1'000;  // of a digit
  bool behind = false;    // the point
  size_t digits = 0;
  for (const char c : text) {
    if (c == '.' && !behind && digits > 0) {
      behind = true;
      digits = 0;
    } else if (c < '0' || c > '9' || ++digits > 3) {
      return false;
    } else if (behind) {
      unit /= 10;
      thousandths += static_cast<uint32_t>(c - '0') * unit;
    } else {
      thousandths = thousandths * 10 + static_cast<uint32_t>(c - '0') * unit;
    }
  }
  if (digits == 0 || thousandths == 0 || thousandths > Factor::kMost) return false;
  flag->value = thousandths;
  return true;
}
std::string FactorText(uint32_t thousandths) {
  std::string text = absl::StrCat(thousandths / 1'000, ".", 1'000 + thousandths % 1'000);
  text.erase(text.find('.') + 1, 1);  // the 1 that kept the zeros
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

bool FindsNothing(const OutlierSettings& settings) {
  return settings.consecutive_5xx == 0 && settings.consecutive_gateway_errors == 0 &&
         settings.consecutive_timeouts == 0 && settings.slow_above_ms == 0 && !settings.by_success_rate;
}

}  // namespace

std::span<const Key<OutlierSettings>> OutlierLatencyKeys() {
  using T = OutlierSettings;
  static const Key<T> kKeys[] = {
      {"above", DurationIn<false>::kPlaceholder, "required",
       "An answer is slow if its head comes later than this after the request was sent, and all of the "
       "request went at once. Of TCP connections nothing is.",
       SchemaOf<DurationIn<false>>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<DurationIn<false>>(value, out.slow_above_ms);
       },
       [](const T& from) { return DurationText(from.slow_above_ms); }, true},
      {"consecutive", "COUNT", "", "So many slow ones in a row.", SchemaOf<CountIn<1, 1000>>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<CountIn<1, 1000>>(value, out.consecutive_slow);
       },
       [](const T& from) { return absl::StrCat(from.consecutive_slow); }},
  };
  return kKeys;
}

std::span<const Key<OutlierSettings>> OutlierSuccessKeys() {
  using T = OutlierSettings;
  static const Key<T> kKeys[] = {
      {"stdev_factor", Factor::kPlaceholder, "",
       "So many standard deviations below the mean of all is too few; and never less than 5 % of the "
       "requests.",
       R"({"type": "number", "exclusiveMinimum": 0, "maximum": 10})",
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<Factor>(value, out.stdev_factor_thousandths);
       },
       [](const T& from) { return FactorText(from.stdev_factor_thousandths); }},
      {"minimum_hosts", "COUNT", "", "Only where at least so many endpoints can be compared.",
       SchemaOf<CountIn<2, 10'000>>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<CountIn<2, 10'000>>(value, out.success_hosts);
       },
       [](const T& from) { return absl::StrCat(from.success_hosts); }},
      {"minimum_requests", "COUNT", "",
       "Only those are compared that answered, or failed, so many requests in the interval.",
       SchemaOf<CountIn<1, 1'000'000>>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<CountIn<1, 1'000'000>>(value, out.success_requests);
       },
       [](const T& from) { return absl::StrCat(from.success_requests); }},
  };
  return kKeys;
}

std::span<const Key<OutlierDraft>> OutlierKeys() {
  using T = OutlierDraft;
  static const Key<T> kKeys[] = {
      {"consecutive_5xx", "COUNT", "", "So many server errors in a row; 0: they do not count.",
       SchemaOf<Row>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<Row>(value, out.settings.consecutive_5xx);
       },
       [](const T& from) { return absl::StrCat(from.settings.consecutive_5xx); }},
      {"consecutive_gateway_errors", "COUNT", "", "So many gateway errors in a row; 0: they do not count.",
       SchemaOf<Row>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<Row>(value, out.settings.consecutive_gateway_errors);
       },
       [](const T& from) { return absl::StrCat(from.settings.consecutive_gateway_errors); }},
      {"consecutive_timeouts", "COUNT", "",
       "So many timeouts in a row, of connecting or until the head of an answer; 0: they count as gateway "
       "errors alone.",
       SchemaOf<Row>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<Row>(value, out.settings.consecutive_timeouts);
       },
       [](const T& from) { return absl::StrCat(from.settings.consecutive_timeouts); }},
      {"latency", "keys", "none", "Answers that come, but slowly.", Reference("outlier_latency"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Map(value, OutlierLatencyKeys(), out.settings);
       }},
      {"success_rate", "false, or keys", "its defaults",
       "Which part of its requests succeeded (no server error), beside the others'; false: it does not "
       "matter.",
       absl::StrCat("{\"anyOf\": [", SchemaOf<Switch>(), ", ", Reference("outlier_success_rate"), "]}"),
       [](Reader& reader, const ConfigNode& value, T& out) {
         if (!value.is_map()) return reader.Scalar<Switch>(value, out.settings.by_success_rate);
         out.settings.by_success_rate = true;
         reader.Map(value, OutlierSuccessKeys(), out.settings);
       },
       [](const T& from) { return std::string(from.settings.by_success_rate ? "" : "false"); }},
      {"interval", LookInterval::kPlaceholder, "",
       "Between two looks at what all shards counted; each in which an endpoint stays in makes its next "
       "ejection shorter by one base_ejection_time.",
       SchemaOf<LookInterval>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<LookInterval>(value, out.settings.interval_ms);
       },
       [](const T& from) { return DurationText(from.settings.interval_ms); }},
      {"base_ejection_time", DurationIn<false>::kPlaceholder, "",
       "How long the first ejection is; the second is twice that, and so on.", SchemaOf<DurationIn<false>>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<DurationIn<false>>(value, out.settings.base_ejection_ms);
       },
       [](const T& from) { return DurationText(from.settings.base_ejection_ms); }},
      {"max_ejection_time", DurationIn<false>::kPlaceholder, "5m, or base_ejection_time if that is longer",
       "The longest.", SchemaOf<DurationIn<false>>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         out.most_ejection = value.place;
         reader.Scalar<DurationIn<false>>(value, out.settings.most_ejection_ms);
       },
       [](const T& from) { return DurationText(from.settings.most_ejection_ms); }},
      {"jitter", DurationIn<true>::kPlaceholder, "a tenth of base_ejection_time",
       "An ejection is longer by up to this, by chance, so that not all come back together.",
       SchemaOf<DurationIn<true>>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         out.jitter = value.place;
         reader.Scalar<DurationIn<true>>(value, out.settings.jitter_ms);
       },
       [](const T& from) { return DurationText(from.settings.jitter_ms); }},
      {"max_ejection_percent", "PERCENT", "",
       "Of the endpoints at most so many are ejected at one time; one always may be, all never.",
       SchemaOf<CountIn<1, 100>>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<CountIn<1, 100>>(value, out.settings.most_percent);
       },
       [](const T& from) { return absl::StrCat(from.settings.most_percent); }},
  };
  return kKeys;
}

void Reader::ReadOutliers(const ConfigNode& node, UpstreamSettings& upstream) {
  if (!node.is_map()) return Scalar<Switch>(node, upstream.outliers.enabled);
  OutlierDraft draft;
  draft.settings.enabled = true;
  if (!Map(node, OutlierKeys(), draft)) return;
  OutlierSettings& settings = draft.settings;
  const auto said = [](const Place& place) { return place.line > 0; };
  if (!said(draft.most_ejection))
    settings.most_ejection_ms = std::max(settings.most_ejection_ms, settings.base_ejection_ms);
  if (!said(draft.jitter)) settings.jitter_ms = settings.base_ejection_ms / 10;
  if (settings.most_ejection_ms < settings.base_ejection_ms) {
    Error(draft.most_ejection, absl::StrCat("max_ejection_time of ", DurationText(settings.most_ejection_ms),
                                            ": expected no less than base_ejection_time, ",
                                            DurationText(settings.base_ejection_ms)));
  }
  if (FindsNothing(settings)) Error(node.place, "nothing would be found: all that could be counts 0");
  upstream.outliers = settings;
}

}  // namespace weir::lb::file
