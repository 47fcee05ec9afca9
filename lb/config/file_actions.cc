// What a route of the configuration file does: redirect, respond, rewrite, change headers.
#include <algorithm>

#include "absl/strings/match.h"
#include "lb/config/file_keys.h"
#include "lb/route/host.h"

namespace weir::lb::file {
namespace {

constexpr size_t kMaxBodyBytes = 16 * 1024;
constexpr size_t kMaxHeaderValue = 1024;

struct RedirectStatus {
  static constexpr const char* kPlaceholder = "301 \\| 302 \\| 303 \\| 307 \\| 308";
  uint16_t value = 302;
};
bool AbslParseFlag(absl::string_view text, RedirectStatus* flag, std::string* error) {
  for (const uint16_t status : {301, 302, 303, 307, 308}) {
    if (text != absl::StrCat(status)) continue;
    flag->value = status;
    return true;
  }
  *error = "expected 301, 302, 303, 307 or 308";
  return false;
}

struct ResponseStatus {
  static constexpr const char* kPlaceholder = "200 to 599";
  uint16_t value = 200;
};
bool AbslParseFlag(absl::string_view text, ResponseStatus* flag, std::string* error) {
  uint64_t status = 0;
  if (ParseCount(text, &status, error) && status >= 200 && status <= 599) {
    flag->value = static_cast<uint16_t>(status);
    return true;
  }
  *error = "expected a status from 200 to 599";
  return false;
}

}  // namespace

std::span<const Key<RouteSettings>> RedirectKeys() {
  using T = RouteSettings;
  static const Key<T> kKeys[] = {
      {"to", "text", "required",
       "Where to: https://host/path or /path, with ${host} ${path} ${query} ${uri} ${scheme} ${method} "
       "${client} "
       "${remainder} (behind the prefix) and ${0} to ${9} (groups of path_regex).",
       kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         std::string text;
         std::string expected;
         if (!reader.Text(value, text)) return;
         const bool visible =
             std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f && c != '"'; });
         if (!visible || !(absl::StartsWith(text, "/") || absl::StrContains(text, "://") ||
                           absl::StartsWith(text, "${path}") || absl::StartsWith(text, "${uri}"))) {
           return reader.Error(value.place,
                               absl::StrCat("\"", text, "\": expected https://HOST/PATH, or /PATH"));
         }
         if (!Template::Parse(text, &out.location, &expected)) reader.Error(value.place, expected);
       },
       nullptr, true},
      {"status", RedirectStatus::kPlaceholder, "302", "308 and 301 may be remembered for ever by browsers.",
       SchemaOf<RedirectStatus>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<RedirectStatus>(value, out.status);
       }},
  };
  return kKeys;
}

std::span<const Key<RouteSettings>> RespondKeys() {
  using T = RouteSettings;
  static const Key<T> kKeys[] = {
      {"status", ResponseStatus::kPlaceholder, "200", "The response's status.", SchemaOf<ResponseStatus>(),
       [](Reader& reader, const ConfigNode& value, T& out) {
         reader.Scalar<ResponseStatus>(value, out.status);
       }},
      {"body", "text", "empty", "Its body, at most 16 KiB.", kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         if (!reader.Text(value, out.body) || out.body.size() <= kMaxBodyBytes) return;
         reader.Error(value.place, absl::StrCat(out.body.size(), " bytes: expected at most ", kMaxBodyBytes));
       }},
      {"content_type", "text", "text/plain; charset=utf-8", "Of the body.", kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         if (!reader.Text(value, out.content_type)) return;
         const bool printable =
             !out.content_type.empty() && std::all_of(out.content_type.begin(), out.content_type.end(),
                                                      [](char c) { return c >= 0x20 && c < 0x7f; });
         if (!printable) reader.Error(value.place, "expected a media type, such as text/html");
       }},
  };
  return kKeys;
}

std::span<const Key<HeaderChanges>> HeaderKeys() {
  using T = HeaderChanges;
  static const char* const kValues = R"({"type": "object", "additionalProperties": {"type": "string"}})";
  static const Key<T> kKeys[] = {
      {"set", "keys", "none", "Headers with the one value that they shall have.", kValues,
       [](Reader& reader, const ConfigNode& value, T& out) { reader.ReadHeaders(value, true, out); }},
      {"append", "keys", "none", "Headers that are added to those that are there.", kValues,
       [](Reader& reader, const ConfigNode& value, T& out) { reader.ReadHeaders(value, false, out); }},
      {"remove", "text or list", "none", "Headers that are not forwarded.", ListOrOne(kTextSchema),
       [](Reader& reader, const ConfigNode& value, T& out) {
         std::vector<std::string> names;
         std::vector<Place> places;
         reader.Texts(value, names, places);
         for (size_t i = 0; i < names.size(); ++i) {
           if (reader.IsChangeable(names[i], places[i])) out.dropped.push_back(names[i]);
         }
       }},
  };
  return kKeys;
}

bool Reader::IsChangeable(const std::string& name, const Place& place) {
  const char* const why_not = WhyNotChangeable(name);
  if (why_not != nullptr) Error(place, absl::StrCat("\"", name, "\": ", why_not));
  return why_not == nullptr;
}

void Reader::ReadHeaders(const ConfigNode& node, bool set, HeaderChanges& changes) {
  if (!node.is_map()) {
    return Error(node.place,
                 absl::StrCat("expected names and values, such as {X-Tier: gold}, found ", KindName(node)));
  }
  for (size_t i = 0; i < node.items.size(); ++i) {
    Within(node.key_text[i], [&] {
      HeaderChanges::Line line;
      line.name = node.key_text[i];
      std::string text;
      std::string expected;
      if (!IsChangeable(line.name, node.key_place[i]) || !Text(node.items[i], text)) return;
      const bool printable =
          std::all_of(text.begin(), text.end(), [](char c) { return c == '\t' || (c >= 0x20 && c < 0x7f); });
      if (!printable || text.size() > kMaxHeaderValue) {
        return Error(node.items[i].place, absl::StrCat("expected at most ", kMaxHeaderValue,
                                                       " printable ASCII characters in a line"));
      }
      if (!Template::Parse(text, &line.value, &expected)) return Error(node.items[i].place, expected);
      if (set) changes.dropped.push_back(line.name);
      changes.added.push_back(std::move(line));
    });
  }
}

std::span<const Key<RequestChanges>> RewriteKeys() {
  using T = RequestChanges;
  static const Key<T> kKeys[] = {
      {"path", "text", "as it came",
       "The path that the upstream gets, with the variables of redirect: to; the query stays. 400 if it "
       "would not be "
       "in its normal form.",
       kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         std::string text;
         std::string expected;
         if (!reader.Text(value, text)) return;
         const bool visible = std::all_of(text.begin(), text.end(), [](char c) {
           return c > 0x20 && c < 0x7f && c != '"' && c != '?' && c != '#' && c != '<' && c != '>' &&
                  c != '\\';
         });
         if (!visible || text.empty() || !(text.front() == '/' || text.front() == '$')) {
           return reader.Error(value.place,
                               absl::StrCat("\"", text, "\": expected a path that begins with /"));
         }
         if (!Template::Parse(text, &out.path, &expected)) reader.Error(value.place, expected);
       }},
      {"host", "text", "as it came", "The Host that the upstream gets; X-Forwarded-Host has the client's.",
       kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         if (!reader.Text(value, out.host)) return;
         char normal[kHostBytes];
         const bool is_host = !out.host.empty() && std::all_of(out.host.begin(), out.host.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
                  c == '.' || c == '_' || c == ':' || c == '[' || c == ']';
         });
         if (!is_host || NormaliseHost(out.host, normal).empty()) {
           reader.Error(value.place, absl::StrCat("\"", out.host, "\": expected HOST or HOST:PORT"));
         }
       }},
  };
  return kKeys;
}

}  // namespace weir::lb::file
