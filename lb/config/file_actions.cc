// What a route of the configuration file does: redirect, respond, rewrite, change headers.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/match.h"
#include "lb/config/file_keys.h"
#include "lb/config/read_file.h"
#include "lb/http/chars.h"
#include "lb/route/host.h"

namespace weir::lb::file {
namespace {

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

// What of a header's name, or of what stands there instead, can be one.
std::string TokenOf(const std::string& name) {
  const auto end = std::find_if_not(name.begin(), name.end(), [](char c) { return http::IsToken({&c, 1}); });
  return {name.begin(), end};
}

std::string TypeOfFile(const std::string& path) {
  static constexpr std::pair<std::string_view, const char*> kTypes[] = {{".html", "text/html; charset=utf-8"},
                                                                        {".htm", "text/html; charset=utf-8"},
                                                                        {".json", "application/json"},
                                                                        {".xml", "application/xml"}};
  for (const auto& [ending, type] : kTypes) {
    if (path.ends_with(ending)) return type;
  }
  return kPlainText;
}

// For what has `body`, `body_file` and `content_type`.
template <class T>
Key<T> BodyKey() {
  return {"body",
          "text",
          "empty",
          "The body, at most 24 KiB.",
          kTextSchema,
          [](Reader& reader, const ConfigNode& value, T& out) {
            if (!out.body_file.empty())
              return reader.Error(value.place, "expected only one of body and file");
            if (!reader.Text(value, out.body)) return;
            reader.WarnOfBody(value);
            if (out.body.size() <= kMaxLocalBodyBytes) return;
            reader.Error(value.place,
                         absl::StrCat(out.body.size(), " bytes: expected at most ", kMaxLocalBodyBytes));
          }};
}
template <class T>
Key<T> BodyFileKey() {
  return {"file",
          "FILE",
          "none",
          "The body instead, read at start and at each reload; a relative path begins where this file is.",
          kTextSchema,
          [](Reader& reader, const ConfigNode& value, T& out) {
            if (!out.body.empty()) return reader.Error(value.place, "expected only one of body and file");
            if (!reader.Text(value, out.body_file)) return;
            reader.ReadBodyFile(value, out.body);
            if (out.content_type.empty()) out.content_type = TypeOfFile(out.body_file);
          }};
}
template <class T>
Key<T> ContentTypeKey() {
  return {"content_type",
          "text",
          "by the file's name; else text/plain; charset=utf-8",
          "Of the body.",
          kTextSchema,
          [](Reader& reader, const ConfigNode& value, T& out) {
            if (!reader.Text(value, out.content_type)) return;
            const bool printable =
                !out.content_type.empty() && std::all_of(out.content_type.begin(), out.content_type.end(),
                                                         [](char c) { return c >= 0x20 && c < 0x7f; });
            if (!printable || out.content_type.size() > kMaxContentTypeBytes) {
              reader.Error(value.place, "expected a media type, such as text/html");
            }
          }};
}

}  // namespace

std::span<const Key<RouteSettings>> RedirectKeys() {
  using T = RouteSettings;
  static const Key<T> kKeys[] = {
      {"to", "text", "required",
       "Where to: https://host/path or /path, with ${host} ${path} ${query} ${uri} ${scheme} ${method} "
       "${client} "
       "${request_id} ${remainder} (behind the prefix) and ${0} to ${9} (groups of path_regex).",
       kTextSchema,
       [](Reader& reader, const ConfigNode& value, T& out) {
         std::string text;
         std::string expected;
         if (!reader.Text(value, text)) return;
         const bool visible =
             std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f && c != '"'; });
         if (!visible) return reader.Error(value.place, absl::StrCat("\"", text, "\": expected a URL"));
         if (!Template::Parse(text, &out.location, &expected)) return reader.Error(value.place, expected);
         reader.WarnOfVariables(value, out.location);
         if (const char* why = out.location.WhyNoRedirect()) {
           reader.Error(value.place, absl::StrCat("\"", text, "\": ", why));
         }
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
      BodyKey<T>(),
      BodyFileKey<T>(),
      ContentTypeKey<T>(),
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

std::span<const Key<ErrorPage>> ErrorPageKeys() {
  using T = ErrorPage;
  static const Key<T> kKeys[] = {BodyKey<T>(), BodyFileKey<T>(), ContentTypeKey<T>()};
  return kKeys;
}

std::string ErrorPagesSchema() {
  return absl::StrCat(R"({"type": "object", "patternProperties": {"^([45][0-9][0-9]|[45]xx)$": )",
                      Reference("error_page"), R"(}, "additionalProperties": false})");
}

void Reader::ReadBodyFile(const ConfigNode& node, std::string& body) {
  const std::string whole = FileBeside(node.text, node.place);
  std::optional<std::string> text = ReadWholeFile(whole);
  if (!text) {
    Error(node.place, absl::StrCat("\"", whole, "\": cannot be read: ", std::strerror(errno)));
  } else if (text->size() > kMaxLocalBodyBytes) {
    Error(node.place,
          absl::StrCat("\"", whole, "\": ", text->size(), " bytes: expected at most ", kMaxLocalBodyBytes));
  } else {
    problems_.AddContent("files of bodies", *text);
    body = std::move(*text);
  }
}

void Reader::ReadErrorPages(const ConfigNode& node, ErrorPages& pages) {
  if (!node.is_map()) {
    return Error(node.place, absl::StrCat("expected statuses with what to say, such as {404: {file: "
                                          "404.html}, 5xx: {body: sorry}}, found ",
                                          KindName(node)));
  }
  for (size_t i = 0; i < node.items.size(); ++i) {
    Within(node.key_text[i], [&] {
      const std::string& key = node.key_text[i];
      ErrorPage page;
      uint64_t status = 0;
      std::string expected;
      if (key == "4xx" || key == "5xx") {
        page.status = static_cast<uint16_t>(key.front() - '0');
      } else if (ParseCount(key, &status, &expected) && status >= 400 && status <= 599) {
        page.status = static_cast<uint16_t>(status);
      } else {
        return Error(node.key_place[i], "expected a status from 400 to 599, 4xx or 5xx");
      }
      if (!Map(node.items[i], ErrorPageKeys(), page)) return;
      if (node.items[i].Find("body") == nullptr && node.items[i].Find("file") == nullptr) {
        return Error(node.items[i].place, "expected one of body and file");
      }
      if (page.content_type.empty()) page.content_type = kPlainText;
      pages.push_back(std::move(page));
    });
  }
  std::sort(pages.begin(), pages.end(),
            [](const ErrorPage& a, const ErrorPage& b) { return a.status > b.status; });
}

bool Reader::IsChangeable(const std::string& name, const Place& place) {
  const char* const why_not = WhyNotChangeable(name, in_response_);
  if (why_not == nullptr) return true;
  // Behind a colon, or whatever no name has, a value may stand that got there by mistake.
  const size_t end = TokenOf(name).size();
  const bool colon = end > 0 && end < name.size() && name[end] == ':';
  Error(place, absl::StrCat("\"", name.substr(0, end), end < name.size() ? "...\": " : "\": ",
                            colon ? "a space is missing behind the colon" : why_not));
  return false;
}

void Reader::ReadHeaders(const ConfigNode& node, bool set, HeaderChanges& changes) {
  if (!node.is_map()) {
    return Error(node.place,
                 absl::StrCat("expected names and values, such as {X-Tier: gold}, found ", KindName(node)));
  }
  if (changes.added.size() + node.items.size() > kMaxHeaderLines) {
    return Error(node.place, absl::StrCat("more than ", kMaxHeaderLines, " headers"));
  }
  for (size_t i = 0; i < node.items.size(); ++i) {
    const std::string& key = node.key_text[i];
    const std::string token = TokenOf(key);
    Within(token.empty() ? "..." : token, [&] {
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
      const Template::Use use = in_response_ ? Template::Use::kResponse : Template::Use::kRequest;
      if (!Template::Parse(text, &line.value, &expected, use)) return Error(node.items[i].place, expected);
      const auto same = [&line](const std::string& other) {
        return http::EqualsIgnoreCase(other, line.name);
      };
      if (set && std::any_of(changes.dropped.begin(), changes.dropped.end(), same)) {
        return Error(node.key_place[i], "set or removed already, in other letters");
      }
      WarnOfVariables(node.items[i], line.value);
      line.written = node.items[i].written;
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
         out.path_written = value.written;
         const bool visible = std::all_of(text.begin(), text.end(), [](char c) {
           return c > 0x20 && c < 0x7f && c != '"' && c != '?' && c != '#' && c != '<' && c != '>' &&
                  c != '\\';
         });
         if (!visible || text.empty() || !(text.front() == '/' || text.front() == '$')) {
           return reader.Error(value.place,
                               absl::StrCat("\"", text, "\": expected a path that begins with /"));
         }
         if (!Template::Parse(text, &out.path, &expected)) return reader.Error(value.place, expected);
         reader.WarnOfVariables(value, out.path);
         if (out.path.Uses(Variable::kQuery) || out.path.Uses(Variable::kUri)) {
           return reader.Error(value.place,
                               "the query stays by itself: expected ${path}, not ${uri} or ${query}");
         }
         std::string normal(MaxNormalBytes(text), '\0');
         const PathOptions& paths = reader.settings().paths;
         if (!out.path.HasVariables() && NormaliseTarget(text, paths, normal.data()).text != text) {
           reader.Error(value.place, absl::StrCat("\"", text, "\": is not in its normal form"));
         }
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
         const size_t colon = out.host.rfind(':');
         const bool has_port = colon != std::string::npos && out.host.find(']', colon) == std::string::npos;
         const std::string_view name =
             std::string_view(out.host).substr(0, has_port ? colon : std::string::npos);
         uint64_t port = 1;
         std::string ignored;
         if (has_port && (!ParseCount(Absl(out.host).substr(colon + 1), &port, &ignored) || port > 65535))
           port = 0;
         const bool brackets =
             name.starts_with('[') ? name.ends_with(']') : name.find_first_of("[]:") == name.npos;
         if (!is_host || port == 0 || !brackets || NormaliseHost(out.host, normal).empty()) {
           reader.Error(value.place, absl::StrCat("\"", out.host, "\": expected HOST or HOST:PORT"));
         }
       }},
  };
  return kKeys;
}

}  // namespace weir::lb::file
