// An upstream's active checks.
#include <algorithm>

#include "lb/config/file_keys.h"
#include "lb/http/chars.h"

namespace weir::lb::file {
namespace {

constexpr size_t kMaxPath = 2048;
constexpr size_t kMaxHost = 255;
constexpr size_t kMaxBody = 1024;
constexpr size_t kMostRanges = 32;
constexpr uint16_t kFirstStatus = 200;
constexpr uint16_t kLastStatus = 599;

using Type = HealthCheckSettings::Type;

struct TypeName {
  static constexpr const char* kPlaceholder = "http \\| tcp";
  Type value = Type::kHttp;
};
bool AbslParseFlag(absl::string_view text, TypeName* flag, std::string* error) {
  flag->value = text == "tcp" ? Type::kTcp : Type::kHttp;
  if (text == "http" || text == "tcp") return true;
  *error = "expected http or tcp";
  return false;
}

struct MethodName {
  static constexpr const char* kPlaceholder = "GET \\| HEAD \\| OPTIONS";
  std::string value = "GET";
};
bool AbslParseFlag(absl::string_view text, MethodName* flag, std::string* error) {
  flag->value = std::string(text);
  if (text == "GET" || text == "HEAD" || text == "OPTIONS") return true;
  *error = "expected GET, HEAD or OPTIONS";
  return false;
}

// Often enough, and no load by itself.
struct CheckInterval {
  static constexpr uint32_t kLeastMs = 10;
  static constexpr const char* kPlaceholder = "DURATION";
  uint32_t value = 0;
};
bool AbslParseFlag(absl::string_view text, CheckInterval* flag, std::string* error) {
  DurationIn<false> duration;
  if (!AbslParseFlag(text, &duration, error)) return false;
  flag->value = duration.value;
  if (flag->value >= CheckInterval::kLeastMs) return true;
  *error = absl::StrCat("expected ", DurationText(CheckInterval::kLeastMs), " or more");
  return false;
}
std::string AbslUnparseFlag(const CheckInterval& flag) { return DurationText(flag.value); }

bool IsVisible(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

// 200, 2xx or 200-399.
bool ParseRange(std::string_view text, HealthCheckSettings::StatusRange* range) {
  const auto number = [](std::string_view digits, uint16_t* out) {
    uint64_t count = 0;
    std::string unused;
    if (digits.size() != 3 || !ParseCount(Absl(digits), &count, &unused)) return false;
    *out = static_cast<uint16_t>(count);
    return count >= kFirstStatus && count <= kLastStatus;
  };
  if (text.size() == 3 && text.ends_with("xx") && text[0] >= '2' && text[0] <= '5') {
    range->first = static_cast<uint16_t>((text[0] - '0') * 100);
    range->last = static_cast<uint16_t>(range->first + 99);
    return true;
  }
  const size_t dash = text.find('-');
  if (dash == std::string_view::npos) {
    if (!number(text, &range->first)) return false;
    range->last = range->first;
    return true;
  }
  return number(text.substr(0, dash), &range->first) && number(text.substr(dash + 1), &range->last) &&
         range->first <= range->last;
}

void ReadText(Reader& reader, const ConfigNode& value, HealthDraft& out, std::string& text, size_t most,
              bool (*good)(std::string_view), std::string_view expected) {
  out.http_key = value.place;
  if (!reader.Text(value, text)) return;
  if (!text.empty() && text.size() <= most && good(text)) return;
  reader.Error(value.place, absl::StrCat("\"", text, "\": expected ", Absl(expected)));
}

void ReadStatus(Reader& reader, const ConfigNode& value, HealthDraft& out) {
  out.http_key = value.place;
  std::vector<std::string> texts;
  std::vector<Place> places;
  reader.Texts(value, texts, places);
  out.settings.status.clear();
  for (size_t i = 0; i < texts.size(); ++i) {
    HealthCheckSettings::StatusRange range;
    if (!ParseRange(texts[i], &range)) {
      reader.Error(places[i], absl::StrCat("\"", texts[i], "\": expected a status from 200 to 599, such as ",
                                           "200, 2xx or 200-399"));
    }
    out.settings.status.push_back(range);
  }
  if (texts.size() > kMostRanges) reader.Error(value.place, absl::StrCat("at most ", kMostRanges));
}

bool IsHttp(const HealthDraft& draft) { return draft.settings.type == Type::kHttp; }

}  // namespace

std::span<const Key<HealthDraft>> HealthCheckKeys() {
  using T = HealthDraft;
  static const Key<T> kKeys[] = {
      {"type", TypeName::kPlaceholder, "http",
       "What an endpoint has to do: answer a request, or take a connection.", SchemaOf<TypeName>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<TypeName>(value, out.settings.type);
       },
       [](const T& from) { return std::string(IsHttp(from) ? "http" : "tcp"); }},
      {"port", "COUNT", "the endpoint's", "Another port of the same address.",
       R"({"type": "integer", "minimum": 1, "maximum": 65535})",
       [](Reader& reader, const ConfigNode& value, T& out) {
         out.port = value.place;
         reader.Scalar<CountIn<1, 65'535>>(value, out.settings.port);
       },
       [](const T& from) {
         return from.settings.port == 0 ? std::string() : absl::StrCat(from.settings.port);
       }},
      {"method", MethodName::kPlaceholder, "GET", "Of the request.", SchemaOf<MethodName>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         out.http_key = value.place;
         MethodName method;
         std::string expected;
         if (!reader.Text(value, method.value)) return;
         if (!AbslParseFlag(Absl(std::string(method.value)), &method, &expected))
           return reader.Error(value.place, absl::StrCat("\"", method.value, "\": ", expected));
         out.settings.method = method.value;
       },
       [](const T& from) { return IsHttp(from) ? from.settings.method : ""; }},
      {"path", "text", "/", "Of the request, with a query if need be.", kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         ReadText(
             reader, value, out, out.settings.path, kMaxPath,
             [](std::string_view text) {
               return text.starts_with('/') && IsVisible(text) && text.find('#') == std::string_view::npos;
             },
             "a path that begins with /, in visible ASCII");
       },
       [](const T& from) { return IsHttp(from) ? from.settings.path : ""; }},
      {"host", "text", "the endpoint's name", "The request's Host. Of a unix socket it is else localhost.",
       kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         ReadText(
             reader, value, out, out.settings.host, kMaxHost,
             [](std::string_view text) {
               return std::all_of(text.begin(), text.end(), [](char c) {
                 return http::IsAlnum(c) || c == '.' || c == '-' || c == '_' || c == ':' || c == '[' ||
                        c == ']';
               });
             },
             "a host name, with a port if need be");
       },
       [](const T& from) { return IsHttp(from) ? from.settings.host : ""; }},
      {"status", "text or list", "200-399", "Statuses that are right: 200, 2xx, 200-399.",
       ListOrOne(R"({"type": ["string", "integer"]})"), ReadStatus},
      {"body", "text", "anything",
       "What must be found in the first 64 KiB of the answer's body, byte for byte.", kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         ReadText(
             reader, value, out, out.settings.body, kMaxBody, [](std::string_view) { return true; },
             "1 to 1024 bytes");
       },
       [](const T& from) { return IsHttp(from) ? from.settings.body : ""; }},
      WEIR_PLAIN(T, interval, CheckInterval, settings.interval_ms,
                 "From one check's beginning to the next one's, of an endpoint that is well."),
      {"interval_down", CheckInterval::kPlaceholder, "1s, or the interval if that is shorter",
       "The same where the last check failed, or the endpoint is down.", SchemaOf<CheckInterval>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         out.interval_down = value.place;
         reader.Scalar<CheckInterval>(value, out.settings.interval_down_ms);
       },
       [](const T& from) { return DurationText(from.settings.interval_down_ms); }},
      {"jitter", DurationIn<true>::kPlaceholder, "a tenth of the interval",
       "The interval is shorter by up to this, by chance, and interval_down by the same share.",
       SchemaOf<DurationIn<true>>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         out.jitter = value.place;
         reader.Scalar<DurationIn<true>>(value, out.settings.jitter_ms);
       },
       [](const T& from) { return DurationText(from.settings.jitter_ms); }},
      {"timeout", DurationIn<false>::kPlaceholder, "2s, or the interval if that is shorter",
       "Of a check, from its beginning to the end of the answer.", SchemaOf<DurationIn<false>>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         out.timeout = value.place;
         reader.Scalar<DurationIn<false>>(value, out.settings.timeout_ms);
       },
       [](const T& from) { return DurationText(from.settings.timeout_ms); }},
      {"rise", "COUNT", "", "So many checks in a row pass, and the endpoint is up again.",
       SchemaOf<CountIn<1, 100>>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<CountIn<1, 100>>(value, out.settings.rise);
       },
       [](const T& from) { return absl::StrCat(from.settings.rise); }},
      {"fall", "COUNT", "", "So many fail in a row, and it is down.", SchemaOf<CountIn<1, 100>>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<CountIn<1, 100>>(value, out.settings.fall);
       },
       [](const T& from) { return absl::StrCat(from.settings.fall); }},
  };
  return kKeys;
}

void Reader::ReadHealthCheck(const ConfigNode& node, FileUpstream& upstream) {
  HealthDraft draft;
  draft.settings.type = Type::kHttp;
  if (!Map(node, HealthCheckKeys(), draft)) return;
  HealthCheckSettings& check = draft.settings;
  const HealthCheckSettings usual;
  const auto said = [](const Place& place) { return place.line > 0; };
  if (check.type == Type::kTcp && said(draft.http_key)) {
    Error(draft.http_key, "with type tcp nothing is asked");
  }
  if (check.method == "HEAD" && !check.body.empty()) Error(node.place, "the answer to HEAD has no body");
  if (!said(draft.timeout)) check.timeout_ms = std::min(usual.timeout_ms, check.interval_ms);
  if (!said(draft.interval_down)) {
    check.interval_down_ms = std::min(usual.interval_down_ms, check.interval_ms);
  }
  if (!said(draft.jitter)) check.jitter_ms = check.interval_ms / 10;
  const auto fits = [&](const Place& place, const char* name, uint32_t ms) {
    if (ms <= check.interval_ms) return;
    Error(said(place) ? place : node.place,
          absl::StrCat(name, " of ", DurationText(ms), ": expected no more than the interval, ",
                       DurationText(check.interval_ms)));
  };
  fits(draft.timeout, "timeout", check.timeout_ms);
  fits(draft.interval_down, "interval_down", check.interval_down_ms);
  fits(draft.jitter, "jitter", check.jitter_ms);
  upstream.settings.health_check = std::move(check);
  upstream.health_port = draft.port;
}

void Reader::FinishHealthCheck(const FileUpstream& upstream) {
  if (upstream.health_port.line == 0) return;
  const bool any_unix =
      std::any_of(upstream.endpoints.begin(), upstream.endpoints.end(),
                  [](const FileEndpoint& endpoint) { return endpoint.item.address.is_unix(); });
  if (any_unix) Error(upstream.health_port, "health_check.port: a unix socket has no port");
}

}  // namespace weir::lb::file
