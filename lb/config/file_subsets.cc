// Labels of endpoints, and who asks for which of them.
#include <algorithm>
#include <set>

#include "lb/config/file_keys.h"

namespace weir::lb::file {
namespace {

bool IsLabel(std::string_view text) {
  return !text.empty() && text.size() <= kMaxLabelBytes && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_' || c == '.' || c == '/';
  });
}

std::string Suggestion(std::string_view text, const std::set<std::string_view>& known) {
  const std::vector<std::string_view> candidates(known.begin(), known.end());
  const std::string_view nearest = Nearest(text, candidates);
  return nearest.empty() ? "" : absl::StrCat("; did you mean ", Absl(nearest), "?");
}

// Values are often near each other, and mean something else.
std::string Known(const std::set<std::string_view>& values) {
  constexpr size_t kTold = 5;
  std::string text;
  size_t told = 0;
  for (const std::string_view value : values) {
    if (++told > kTold) return text + " ...";
    absl::StrAppend(&text, told == 1 ? "; there are " : ", ", Absl(value));
  }
  return text;
}

// Why none of the endpoints has all of the labels; `which` becomes the one that is wrong, if it is one.
std::string WhyNobody(const FileUpstream& upstream, const Labels& wanted, std::string* which) {
  const std::string nobody = absl::StrCat("no endpoint of ", upstream.settings.name, " has ");
  for (const auto& [name, value] : wanted) {
    std::set<std::string_view> names;
    std::set<std::string_view> values;  // of this name
    for (const FileEndpoint& endpoint : upstream.endpoints) {
      for (const auto& [its_name, its_value] : endpoint.labels) {
        names.insert(its_name);
        if (its_name == name) values.insert(its_value);
      }
    }
    *which = name;
    if (values.empty()) return absl::StrCat(nobody, "a label ", name, Suggestion(name, names));
    if (!values.contains(value)) return absl::StrCat(nobody, "the label ", name, ": ", value, Known(values));
  }
  which->clear();
  return absl::StrCat(nobody, "all of the labels ", LabelsText(wanted));
}

}  // namespace

std::string LabelsSchema() {
  const std::string text = absl::StrCat("[-_./A-Za-z0-9]{1,", kMaxLabelBytes, "}");
  return absl::StrCat(R"({"type": "object", "maxProperties": )", kMaxLabels, R"(, "patternProperties": {"^)",
                      text, R"($": {"type": ["string", "number", "boolean"], "pattern": "^)", text,
                      R"($"}}, "additionalProperties": false})");
}

void Reader::ReadLabels(const ConfigNode& node, Labels& labels) {
  if (!node.is_map()) {
    return Error(node.place,
                 absl::StrCat("expected names with values, such as {version: v2}, found ", KindName(node)));
  }
  if (node.items.size() > kMaxLabels)
    return Error(node.place,
                 absl::StrCat(node.items.size(), " labels: at most ", kMaxLabels, " are possible"));
  const auto expected = [](std::string_view text) {
    return absl::StrCat("\"", Absl(text), "\": expected 1 to ", kMaxLabelBytes,
                        " letters, digits, and any of -_./");
  };
  for (size_t i = 0; i < node.items.size(); ++i) {
    const std::string& name = node.key_text[i];
    if (!IsLabel(name)) {
      Error(node.key_place[i], expected(name));
      continue;
    }
    Within(name, [&] {
      std::string value;
      if (!Text(node.items[i], value)) return;
      if (!IsLabel(value)) return Error(node.items[i].place, expected(value));
      labels.emplace(name, std::move(value));
    });
  }
}

void Reader::ReadSubset(const ConfigNode& node, SubsetDraft& subset) {
  subset.place = node.place;
  subset.node = &node;
  const size_t before = mistakes();
  ReadLabels(node, subset.labels);
  if (mistakes() > before) {
    subset.labels.clear();
  } else if (subset.labels.empty()) {
    Error(node.place, "no labels: leave the key out for all endpoints, or name some");
  }
}

void Reader::FinishSubset(const SubsetDraft& said, std::string_view name, SubsetUse& use) {
  if (said.place.line == 0) {
    if (said.fallback.line > 0)
      Error(said.fallback, "subset_fallback: there is no subset that it could be for");
    return;
  }
  const auto found = upstream_indices_.find(name);
  if (said.labels.empty() || found == upstream_indices_.end()) return;  // which was told
  FileUpstream& upstream = sections_.upstreams[found->second];
  const bool somebody =
      std::any_of(upstream.endpoints.begin(), upstream.endpoints.end(), [&](const FileEndpoint& endpoint) {
        return std::includes(endpoint.labels.begin(), endpoint.labels.end(), said.labels.begin(),
                             said.labels.end());
      });
  if (!somebody && upstream.complete) {
    std::string which;
    const std::string why = WhyNobody(upstream, said.labels, &which);
    const Place& place = which.empty() ? said.place : said.node->Find(which)->place;
    Within(which.empty() ? "subset" : "subset." + which, [&] {
      if (!said.any) return Error(place, why);
      problems_.Warning(place, key_, absl::StrCat(why, "; for now all are used (subset_fallback: any)"));
    });
  }
  std::vector<Labels>& subsets = upstream.settings.subsets;
  auto at = std::find(subsets.begin(), subsets.end(), said.labels);
  if (at == subsets.end()) {
    if (subsets.size() == UpstreamSettings::kMostSubsets) {
      return Within("subset", [&] {
        Error(said.place, absl::StrCat("another subset of ", upstream.settings.name, ": at most ",
                                       UpstreamSettings::kMostSubsets, " are possible"));
      });
    }
    at = subsets.insert(subsets.end(), said.labels);
  }
  use.number = static_cast<uint32_t>(at - subsets.begin()) + 1;
  use.else_any = said.any;
}

}  // namespace weir::lb::file
