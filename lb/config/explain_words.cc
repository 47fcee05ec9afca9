#include "lb/config/explain_words.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "lb/config/file_reader.h"
#include "lb/config/flag_types.h"
#include "lb/http/chars.h"
#include "lb/http/field.h"

namespace weir::lb::explain {

std::string AsWritten(const Settings& settings, const std::string& key, std::string value) {
  const auto found = settings.written.find(key);
  return found == settings.written.end() ? value : found->second;
}

std::string ElementText(const Settings& settings, const std::string& key, const RouteMatch& match,
                        RoutePart part, uint32_t element) {
  const auto condition = [element](const std::vector<ValueCondition>& conditions) -> std::string {
    return element < conditions.size() ? conditions[element].name : "";
  };
  switch (part) {
    case RoutePart::kHeader:
      return condition(match.headers);
    case RoutePart::kQuery:
      return condition(match.query);
    case RoutePart::kProxyProtocol:
      return condition(match.proxy_protocol);
    case RoutePart::kPathRegex:
      if (element >= match.path_regexes.size()) return "";
      return AsWritten(settings, absl::StrCat(key, ".path_regex[", element, "]"),
                       AsWritten(settings, key + ".path_regex", match.path_regexes[element]));
    case RoutePart::kScheme:
      return AsWritten(settings, key + ".scheme", match.scheme);
    default:
      return "";
  }
}

const char* HostWords(HostKind kind) {
  switch (kind) {
    case HostKind::kExact:
      return "its host";
    case HostKind::kWildcard:
      return "a wildcard of its host";
    case HostKind::kAny:
      return "any host";
  }
  return "";
}

std::string PathWords(const RouteStep& step, std::string_view path) {
  switch (step.path) {
    case PathKind::kExact:
      return "its path";
    case PathKind::kRegex:
      return "a path regex";
    case PathKind::kPrefix:
      return absl::StrCat("the prefix ", Absl(path.substr(0, step.path_bytes)));
    case PathKind::kAny:
      return "any path";
  }
  return "";
}

std::string Indented(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t end = std::min(text.find("\r\n"), text.size());
    if (end > 0) absl::StrAppend(&out, "    ", Absl(text.substr(0, end)), "\n");
    text.remove_prefix(std::min(end + 2, text.size()));
  }
  return out;
}

std::string Retries(const RouteSettings& route, const RetryBudgetSettings& budget) {
  if (route.retries == 0) return "no retries";
  const RetrySettings& retry = route.retry;
  std::string text = absl::StrCat(route.retries, route.retries == 1 ? " retry" : " retries", " on ",
                                  absl::StrJoin(ConditionsOf(retry), ", "));
  if (retry.per_try_ms > 0) absl::StrAppend(&text, ", after ", retry.per_try_ms, " ms without an answer");
  if (retry.non_idempotent) text += ", of every method";
  if (retry.body_bytes > 0) absl::StrAppend(&text, ", bodies up to ", SizeInWords(retry.body_bytes));
  if (retry.backoff_base_ms > 0) {
    absl::StrAppend(&text, ", back-off up to ", retry.backoff_base_ms, " ms, later ", retry.backoff_max_ms,
                    " ms");
  }
  if (!budget.on) return text + "; no budget";
  return absl::StrCat(text, "; budget ", budget.share.text, " of what is in flight, at least ", budget.min);
}

std::string Times(const Timeouts& timeouts) {
  const auto time = [](uint32_t ms) { return ms == 0 ? std::string("none") : absl::StrCat(ms, " ms"); };
  return absl::StrCat("connect ", time(timeouts.connect_ms), ", response ", time(timeouts.response_ms),
                      ", body ", time(timeouts.upstream_body_ms), ", request ", time(timeouts.request_ms));
}

std::string Masked(const std::string& wire, const HeaderChanges& changes, bool tells) {
  std::string out;
  for (size_t at = 0; at < wire.size();) {
    const size_t end = std::min(wire.find("\r\n", at), wire.size() - 2) + 2;
    const std::string_view line(wire.data() + at, end - at);
    const auto set =
        std::find_if(changes.added.begin(), changes.added.end(), [line, tells](const auto& added) {
          return (!tells || !added.written.empty()) && line.size() > added.name.size() &&
                 line[added.name.size()] == ':' &&
                 http::EqualsIgnoreCase(line.substr(0, added.name.size()), added.name);
        });
    absl::StrAppend(&out, set == changes.added.end() ? std::string(line)
                          : tells                    ? set->name + ": " + set->written + "\r\n"
                                                     : set->name + ": ***\r\n");
    at = end;
  }
  return out;
}

std::string PageOf(uint16_t status, const Settings& settings, const ListenerSettings& listener,
                   const RouteSettings& route) {
  const std::string fields =
      route.error_fields.empty()
          ? ""
          : absl::StrCat("response\n", Indented(Masked(route.error_fields, route.response, true)));
  for (const ErrorPages* pages : {&route.error_pages, &listener.direct.error_pages, &settings.error_pages}) {
    for (const ErrorPage& page : *pages) {
      if (!page.IsFor(status)) continue;
      return absl::StrCat("page       ", page.body.size(), " bytes of ", page.content_type,
                          page.body_file.empty() ? "" : " from ", page.body_file, "\n", fields);
    }
  }
  return fields;
}

std::string WithPathAsWritten(std::string wire, const std::string& written) {
  const size_t begin = wire.find(' ') + 1;
  const size_t end = wire.find_first_of("? ", begin);
  return wire.replace(begin, end - begin, written);
}

std::string WithHostAsWritten(std::string wire, const std::string& written) {
  constexpr std::string_view kHost = "\r\nHost: ";
  const size_t begin = wire.find(kHost);
  if (begin == std::string::npos) return wire;
  const size_t value = begin + kHost.size();
  return wire.replace(value, wire.find("\r\n", value) - value, written);
}

}  // namespace weir::lb::explain
