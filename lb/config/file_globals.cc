// What holds for all: keys of the file itself, `paths:`, and those of the flags' table.
#include "lb/config/file_keys.h"
#include "lb/config/file_reader.h"

namespace weir::lb {
namespace file {
namespace {

struct EscapedSlashesName {
  static constexpr const char* kPlaceholder = "keep \\| reject";
  EscapedSlashes value = EscapedSlashes::kKeep;
};
bool AbslParseFlag(absl::string_view text, EscapedSlashesName* flag, std::string* error) {
  flag->value = text == "reject" ? EscapedSlashes::kReject : EscapedSlashes::kKeep;
  if (text == "keep" || text == "reject") return true;
  *error = "expected keep or reject";
  return false;
}
std::string AbslUnparseFlag(const EscapedSlashesName& flag) {
  return flag.value == EscapedSlashes::kReject ? "reject" : "keep";
}

std::string ListOf(std::string_view name) {
  return absl::StrCat(R"({"type": "array", "items": )", Reference(name), "}");
}
std::string MapOf(std::string_view schema) {
  return absl::StrCat(R"({"type": "object", "additionalProperties": )", Absl(schema), "}");
}
void ReadElsewhere(Reader&, const ConfigNode&, FileDraft&) {}

}  // namespace

std::span<const Key<Settings>> PathKeys() {
  using T = Settings;
  static const Key<T> kKeys[] = {
      WEIR_PLAIN(T, merge_slashes, Switch, paths.merge_slashes, "// counts as /."),
      WEIR_PLAIN(T, escaped_slashes, EscapedSlashesName, paths.escaped_slashes,
                 "What becomes of %2F and %5C: characters of a segment, or 400."),
  };
  return kKeys;
}

// timeouts: and limits: hold keys of the flags' table.
std::vector<Key<FileDraft>> TopKeys() {
  std::vector<Key<FileDraft>> keys = {
      {"listeners", "list", "required", "Where clients connect.", ListOf("listener"), ReadElsewhere, nullptr,
       true},
      {"upstreams", "keys", "required", "Where requests go: names, and what each is.",
       MapOf(Reference("upstream")), ReadElsewhere},
      {"routes", "keys", "", "Lists of routes, by name.", MapOf(ListOf("route")), ReadElsewhere},
      {"error_pages", "keys", "none", kErrorPagesSentence, ErrorPagesSchema(), ReadElsewhere},
      {"paths", "keys", "", "The one spelling of paths, where there are routes.", Reference("paths"),
       ReadElsewhere},
      {"timeouts", "keys", "", "What holds for all.", Reference("timeouts"), ReadElsewhere},
      {"limits", "keys", "", "What holds for all.", Reference("limits"), ReadElsewhere},
      {"include", "text or list", "none", "Further files, or patterns such as conf.d/*.yaml.",
       ListOrOne(kTextSchema), ReadElsewhere},
  };
  for (const FlagRow& row : FlagTable()) {
    if (row.file_key.empty() || row.file_key.find('.') != std::string_view::npos) continue;
    keys.push_back(
        {row.file_key, row.placeholder, "", row.sentence,
         row.placeholder == "COUNT" ? R"({"type": "integer"})" : R"({"type": ["string", "integer"]})",
         ReadElsewhere});
    if (row.file_key == kAccessLog) {
      keys.back().type = "FILE or keys";
      keys.back().schema =
          absl::StrCat(R"({"anyOf": [)", keys.back().schema, ", ", Reference(kAccessLog), "]}");
    }
  }
  return keys;
}

std::vector<Key<FileDraft>> GroupKeys(std::string_view group) {
  std::vector<Key<FileDraft>> keys;
  for (const FlagRow& row : FlagTable()) {
    if (!row.file_key.starts_with(group) || row.file_key[group.size()] != '.') continue;
    const std::string_view placeholder = row.placeholder;
    keys.push_back({row.file_key.substr(group.size() + 1), placeholder, "", row.sentence,
                    placeholder == "COUNT" ? R"({"type": "integer"})" : R"({"type": ["string", "integer"]})",
                    ReadElsewhere});
  }
  return keys;
}

}  // namespace file

using namespace file;

std::vector<GivenKey> ReadGlobals(std::span<const ConfigNode> documents, Problems& problems, SaidKeys& said) {
  std::vector<GivenKey> given;
  Settings unused;
  Reader reader(unused, problems, said);
  const std::vector<Key<FileDraft>> top = TopKeys();
  FileDraft draft;
  // Whether the required ones are there is a question to all files together.
  std::vector<Key<FileDraft>> keys = top;
  for (Key<FileDraft>& key : keys) key.required = false;
  SaidKeys where;
  const auto take = [&](const FlagRow& row, const ConfigNode& node, const Place& key_place) {
    const std::string key(row.file_key);
    if (!where.emplace(key, key_place).second) {
      problems.Error(key_place, key, absl::StrCat("given twice; first at ", problems.Where(where[key])));
    } else if (node.is_list() && row.list) {
      std::string text;
      for (const ConfigNode& item : node.items) absl::StrAppend(&text, text.empty() ? "" : ",", item.text);
      given.push_back({&row, text, node.place});
    } else if (key == kAccessLog && node.is_map()) {
      const ConfigNode* const file = node.Find("file");
      if (file != nullptr && file->is_scalar()) given.push_back({&row, file->text, file->place});
    } else if (!node.is_scalar()) {
      problems.Error(node.place, key,
                     absl::StrCat("expected ", Absl(row.placeholder), key == kAccessLog ? " or keys" : "",
                                  ", found ", KindName(node), QuoteHint(node)));
    } else {
      given.push_back({&row, node.text, node.place});
    }
  };
  for (const ConfigNode& document : documents) {
    reader.Map<FileDraft>(document, keys, draft);
    for (const std::string_view group : {"timeouts", "limits"}) {
      const ConfigNode* node = document.Find(group);
      const std::vector<Key<FileDraft>> of_group = GroupKeys(group);
      if (node == nullptr || node->kind == ConfigNode::Kind::kNothing) continue;
      reader.Within(std::string(group), [&] { reader.Map<FileDraft>(*node, of_group, draft); });
    }
    for (const FlagRow& row : FlagTable()) {
      if (row.file_key.empty()) continue;
      const size_t dot = row.file_key.find('.');
      const ConfigNode* map =
          dot == std::string_view::npos ? &document : document.Find(row.file_key.substr(0, dot));
      if (map == nullptr || !map->is_map()) continue;
      const std::string_view name =
          dot == std::string_view::npos ? row.file_key : row.file_key.substr(dot + 1);
      for (size_t i = 0; i < map->items.size(); ++i) {
        if (map->key_text[i] == name) take(row, map->items[i], map->key_place[i]);
      }
    }
  }
  return given;
}

}  // namespace weir::lb
