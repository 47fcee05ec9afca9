#include "lb/config/document.h"

#include <glob.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <sstream>
#include <tuple>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "lb/config/flag_types.h"
#include "lb/config/read_file.h"
#include "lb/config/yaml_hints.h"

namespace weir::lb {
namespace {

constexpr size_t kMaxFileBytes = size_t{16} << 20;
constexpr size_t kMaxFiles = 256;
constexpr size_t kMaxNodes = 1'000'000;
constexpr size_t kMaxDepth = 64;
constexpr size_t kMaxIncludeDepth = 8;

// Ends the reading of a file; the problem is told already.
struct Stop {};

size_t CountNodes(const ConfigNode& node) {
  size_t count = 1;
  for (const ConfigNode& item : node.items) count += CountNodes(item);
  return count;
}

// Builds nodes from the parser's events.
class Builder final : public YAML::EventHandler {
 public:
  Builder(uint32_t file, size_t& nodes, Problems& problems)
      : file_(file), nodes_(nodes), problems_(problems) {}

  ConfigNode Take() { return std::move(root_); }
  // Where the last text of all begins.
  const YAML::Mark& last_text() const { return last_text_; }
  Place PlaceOf(const YAML::Mark& mark) const {
    return {file_, static_cast<uint32_t>(mark.line + 1), static_cast<uint32_t>(mark.column + 1)};
  }

  void OnDocumentStart(const YAML::Mark& /*mark*/) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Count(1, mark);
    ConfigNode node;
    node.place = PlaceOf(mark);
    Done(std::move(node), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) {
      problems_.Error(PlaceOf(mark), "", "an alias within the very value that it stands for");
      throw Stop();
    }
    Count(CountNodes(found->second), mark);
    ConfigNode copy = found->second;
    copy.place = PlaceOf(mark);
    Done(std::move(copy), 0);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t anchor,
                const std::string& value) override {
    Count(1, mark);
    last_text_ = mark;
    ConfigNode node;
    node.kind = ConfigNode::Kind::kScalar;
    node.place = PlaceOf(mark);
    node.text = value;
    Done(std::move(node), anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    Open(ConfigNode::Kind::kList, mark, anchor);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    Open(ConfigNode::Kind::kMap, mark, anchor);
  }
  void OnMapEnd() override {
    MergeKeys(open_.back().node);
    Close();
  }

 private:
  struct Frame {
    ConfigNode node;
    YAML::anchor_t anchor = 0;
    bool has_key = false;                             // a map's key was read, its value follows
    bool drops_value = false;                         // of a key that the map has already, or that is none
    std::unordered_map<std::string, uint32_t> lines;  // of a map's keys
  };

  void Count(size_t more, const YAML::Mark& mark) { Count(more, PlaceOf(mark)); }
  void Count(size_t more, const Place& place) {
    nodes_ += more;
    if (nodes_ <= kMaxNodes) return;
    problems_.Error(place, "", absl::StrCat("more than ", kMaxNodes, " values"));
    throw Stop();
  }
  void Open(ConfigNode::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    Count(1, mark);
    if (open_.size() == kMaxDepth) {
      problems_.Error(PlaceOf(mark), "", absl::StrCat("more than ", kMaxDepth, " levels"));
      throw Stop();
    }
    Frame& frame = open_.emplace_back();
    frame.node.kind = kind;
    frame.node.place = PlaceOf(mark);
    frame.anchor = anchor;
  }
  void Close() {
    Frame frame = std::move(open_.back());
    open_.pop_back();
    Done(std::move(frame.node), frame.anchor);
  }
  void Done(ConfigNode node, YAML::anchor_t anchor) {
    if (anchor != 0) {
      Count(CountNodes(node), node.place);
      anchors_[anchor] = node;
    }
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& frame = open_.back();
    if (frame.node.is_list()) {
      frame.node.items.push_back(std::move(node));
    } else if (frame.has_key) {
      frame.has_key = false;
      if (!frame.drops_value) frame.node.items.push_back(std::move(node));
    } else {
      frame.has_key = true;
      Key(frame.node, node);
    }
  }
  void Key(ConfigNode& map, const ConfigNode& key) {
    // Who reads the map finds keys alone, and each of them once, whatever else the file has.
    open_.back().drops_value = true;
    if (!key.is_scalar()) {
      return problems_.Error(key.place, "", "expected a key, found a list, a map or nothing");
    }
    if (key.text != "<<") {
      const auto [first, is_new] = open_.back().lines.emplace(key.text, key.place.line);
      if (!is_new) {
        return problems_.Error(key.place, key.text,
                               absl::StrCat("given twice; first on line ", first->second));
      }
    }
    open_.back().drops_value = false;
    map.key_text.push_back(key.text);
    map.key_place.push_back(key.place);
  }
  // `<<: *other`: what the map does not say itself.
  void MergeKeys(ConfigNode& map) {
    std::vector<ConfigNode> merged;
    for (size_t i = 0; i < map.key_text.size();) {
      if (map.key_text[i] != "<<") {
        ++i;
        continue;
      }
      ConfigNode value = std::move(map.items[i]);
      map.key_text.erase(map.key_text.begin() + static_cast<ptrdiff_t>(i));
      map.key_place.erase(map.key_place.begin() + static_cast<ptrdiff_t>(i));
      map.items.erase(map.items.begin() + static_cast<ptrdiff_t>(i));
      if (value.is_list()) {
        for (ConfigNode& item : value.items) merged.push_back(std::move(item));
      } else {
        merged.push_back(std::move(value));
      }
    }
    for (const ConfigNode& from : merged) {
      if (!from.is_map()) {
        problems_.Error(from.place, "<<", "expected a map to merge, such as *name");
        continue;
      }
      for (size_t i = 0; i < from.items.size(); ++i) {
        if (map.Find(from.key_text[i]) != nullptr) continue;
        map.key_text.push_back(from.key_text[i]);
        map.key_place.push_back(from.key_place[i]);
        map.items.push_back(from.items[i]);
      }
    }
  }

  const uint32_t file_;
  size_t& nodes_;
  Problems& problems_;
  std::vector<Frame> open_;
  std::map<YAML::anchor_t, ConfigNode> anchors_;
  YAML::Mark last_text_;
  ConfigNode root_;
};

// Whether the text at `mark` begins with a quote that never ends, which the parser takes as one that the
// file's end ends.
bool IsUnterminated(std::string_view text, const YAML::Mark& mark) {
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff")) return false;  // UTF-16
  size_t at = text.starts_with("\xef\xbb\xbf") ? 3 : 0;
  for (int line = 0; line < mark.line; ++line) {
    at = text.find('\n', at);
    if (at == std::string_view::npos) return false;
    ++at;
  }
  at += static_cast<size_t>(mark.column);
  if (at >= text.size() || (text[at] != '"' && text[at] != '\'')) return false;
  const char quote = text[at];
  for (++at; at < text.size(); ++at) {
    if (text[at] == '\\' && quote == '"') {
      ++at;
    } else if (text[at] == quote) {
      if (quote == '"' || at + 1 == text.size() || text[at + 1] != quote) return false;
      ++at;
    }
  }
  return true;
}

class Loader {
 public:
  explicit Loader(Problems& problems) : problems_(problems) {}

  void File(const std::string& path, const Place& from, const std::string& named_by) {
    if (std::find(open_.begin(), open_.end(), path) != open_.end()) {
      return problems_.Error(from, named_by, absl::StrCat("\"", path, "\": the file includes itself"));
    }
    if (open_.size() > kMaxIncludeDepth || problems_.files.size() == kMaxFiles) {
      return problems_.Error(from, named_by,
                             absl::StrCat("\"", path, "\": more than ", kMaxIncludeDepth,
                                          " files inside each other, or ", kMaxFiles, " in all"));
    }
    const std::optional<std::string> text = ReadWholeFile(path);
    if (!text) {
      return problems_.Error(from, named_by,
                             absl::StrCat("\"", path, "\": cannot be read: ", std::strerror(errno)));
    }
    open_.push_back(path);
    Text(*text, path, true);
    open_.pop_back();
  }

  void Text(const std::string& text, const std::string& name, bool may_include) {
    const auto file = static_cast<uint32_t>(problems_.files.size());
    problems_.files.push_back(name);
    if (text.size() > kMaxFileBytes) {
      return problems_.Error({file, 1, 1}, "", absl::StrCat("larger than ", kMaxFileBytes >> 20, " MiB"));
    }
    // A text in UTF-16 has bytes of zero at its beginning; another has none.
    const size_t zero = text.find('\0');
    if (zero != std::string::npos && zero >= 4 && !text.starts_with("\xff\xfe") &&
        !text.starts_with("\xfe\xff")) {
      const auto line =
          static_cast<uint32_t>(std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(zero), '\n'));
      return problems_.Error({file, line + 1, 1}, "", "a byte of zero: this is no text");
    }
    std::optional<ConfigNode> root = Parse(text, file);
    if (!root || root->kind == ConfigNode::Kind::kNothing) return;
    if (!root->is_map()) {
      return problems_.Error(root->place, "", "expected keys and values, such as listeners:");
    }
    Substitute(*root, "");
    CountLists(*root);
    const ConfigNode* include = root->Find("include");
    ConfigNode wanted;
    if (include != nullptr) wanted = *include;
    documents_.push_back(std::move(*root));
    if (include == nullptr) return;
    if (!may_include) return problems_.Error(wanted.place, "include", "there is no file to be relative to");
    if (wanted.is_scalar()) {
      Include(wanted, name);
    } else if (wanted.is_list()) {
      for (const ConfigNode& item : wanted.items) Include(item, name);
    } else {
      problems_.Error(wanted.place, "include", "expected a file, or a list of files");
    }
  }

  std::vector<ConfigNode> Take() { return std::move(documents_); }

 private:
  std::optional<ConfigNode> Parse(const std::string& text, uint32_t file) {
    Builder builder(file, nodes_, problems_);
    try {
      std::istringstream stream(text);
      YAML::Parser parser(stream);
      parser.HandleNextDocument(builder);
      if (IsUnterminated(text, builder.last_text())) {
        problems_.Error(builder.PlaceOf(builder.last_text()), "",
                        "this is not YAML: the quote that begins here has no end");
        return std::nullopt;
      }
      ConfigNode root = builder.Take();
      Builder rest(file, nodes_, problems_);
      if (parser.HandleNextDocument(rest)) {
        problems_.Error(rest.Take().place, "", "expected one document in a file, found a second (---)");
      }
      return root;
    } catch (const YAML::Exception& error) {
      Place place{file, static_cast<uint32_t>(std::max(error.mark.line, 0) + 1),
                  static_cast<uint32_t>(std::max(error.mark.column, 0) + 1)};
      std::string sentence = error.msg;
      // The name behind it may be a value that begins with a star.
      const std::string_view no_anchor = YAML::ErrorMsg::UNKNOWN_ANCHOR;
      if (sentence.starts_with(no_anchor)) sentence = no_anchor;
      // What comes behind the place where the parser gave up was no trouble to it.
      if (const std::optional<YamlMistake> mistake = FindYamlMistake(text);
          mistake && mistake->line <= place.line) {
        place.line = mistake->line;
        place.column = mistake->column;
        sentence = mistake->sentence;
      }
      problems_.Error(place, "", "this is not YAML: " + sentence);
    } catch (const Stop&) {
    }
    return std::nullopt;
  }

  // ${env:NAME}. Other ${...} are for those who use the value.
  void Substitute(ConfigNode& node, const std::string& key) {
    if (node.is_scalar()) {
      constexpr std::string_view kOpen = "${env:";
      std::string& text = node.text;
      if (text.find(kOpen) == std::string::npos) return;
      Expansion expansion;
      expansion.written = text;
      for (size_t at = 0; (at = text.find(kOpen, at)) != std::string::npos;) {
        const size_t end = text.find('}', at);
        if (end == std::string::npos) {
          return problems_.Unknown(node.place, key, "${env:NAME without the closing }");
        }
        const std::string name = text.substr(at + kOpen.size(), end - at - kOpen.size());
        const char* value = std::getenv(name.c_str());
        if (value == nullptr) {
          return problems_.Unknown(node.place, key,
                                   absl::StrCat("the environment has no variable \"", name, "\""));
        }
        text.replace(at, end + 1 - at, value);
        at += std::strlen(value);
        expansion.variables.emplace(name, value);
      }
      node.written = expansion.written;
      expansion.text = text;
      problems_.AddWritten(key, node.written);
      problems_.AddExpansion(node.place, expansion);
      return;
    }
    const auto in_files_before = node.is_list() ? list_items_.find(key) : list_items_.end();
    const size_t before = in_files_before == list_items_.end() ? 0 : in_files_before->second;
    for (size_t i = 0; i < node.items.size(); ++i) {
      if (node.is_map()) {
        Substitute(node.items[i], key.empty() ? node.key_text[i] : key + "." + node.key_text[i]);
        continue;
      }
      Substitute(node.items[i], absl::StrCat(key, "[", before + i, "]"));
      const ConfigNode& item = node.items[i];
      // What is wrong with an item may be told of the list.
      if (!item.written.empty()) problems_.AddExpansion(node.place, problems_.ExpansionAt(item.place));
    }
  }

  // The lists of several files are one: `listeners:`, and those of the same name under `routes:`.
  void CountLists(const ConfigNode& root) {
    if (const ConfigNode* const listeners = root.Find("listeners"); listeners && listeners->is_list())
      list_items_["listeners"] += listeners->items.size();
    const ConfigNode* const routes = root.Find("routes");
    if (routes == nullptr || !routes->is_map()) return;
    for (size_t i = 0; i < routes->items.size(); ++i) {
      if (routes->items[i].is_list())
        list_items_["routes." + routes->key_text[i]] += routes->items[i].items.size();
    }
  }

  void Include(const ConfigNode& node, const std::string& from) {
    if (!node.is_scalar() || node.text.empty()) {
      return problems_.Error(node.place, "include", "expected a file, such as conf.d/*.yaml");
    }
    std::string pattern = node.text;
    if (pattern.front() != '/') {
      const size_t slash = from.rfind('/');
      if (slash != std::string::npos) pattern = from.substr(0, slash + 1) + pattern;
    }
    glob_t found{};
    const int result = glob(pattern.c_str(), GLOB_MARK, nullptr, &found);
    std::vector<std::string> paths;
    for (size_t i = 0; i < found.gl_pathc; ++i) paths.emplace_back(found.gl_pathv[i]);
    globfree(&found);
    // A pattern may match nothing: a directory for parts that nobody has put there yet.
    const bool is_pattern = node.text.find_first_of("*?[") != std::string::npos;
    if (result != 0 && (result != GLOB_NOMATCH || !is_pattern)) {
      return problems_.Error(node.place, "include", absl::StrCat("\"", pattern, "\": there is no such file"));
    }
    for (const std::string& path : paths) File(path, node.place, "include");
  }

  Problems& problems_;
  std::vector<ConfigNode> documents_;
  std::vector<std::string> open_;
  size_t nodes_ = 0;
  std::map<std::string, size_t> list_items_;  // by key, of the files that were read
};

size_t Mixed(size_t hash, size_t more) { return (hash ^ more) * size_t{0x9e3779b97f4a7c15} + (hash >> 29); }

size_t HashOf(const ConfigNode& node) {
  size_t hash = Mixed(static_cast<size_t>(node.kind), std::hash<std::string>()(node.text));
  for (const std::string& key : node.key_text) hash = Mixed(hash, std::hash<std::string>()(key));
  for (const ConfigNode& item : node.items) hash = Mixed(hash, HashOf(item));
  return hash;
}

void ReplaceAll(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

// What stands in quotes and is the value or a piece of it becomes what is written in the file.
void HideQuoted(std::string& text, const Expansion& expansion) {
  ReplaceAll(text, absl::StrCat("\"", expansion.text, "\""), absl::StrCat("\"", expansion.written, "\""));
  for (size_t open = 0; (open = text.find('"', open)) != std::string::npos;) {
    const size_t close = text.find('"', open + 1);
    if (close == std::string::npos) return;
    const std::string piece = text.substr(open + 1, close - open - 1);
    const bool secret = !piece.empty() && expansion.text.find(piece) != std::string::npos &&
                        expansion.written.find(piece) == std::string::npos;
    if (secret) text.replace(open + 1, piece.size(), expansion.written);
    open += (secret ? expansion.written.size() : piece.size()) + 2;
  }
}

}  // namespace

const ConfigNode* ConfigNode::Find(std::string_view key) const {
  for (size_t i = 0; i < items.size() && i < key_text.size(); ++i) {
    if (key_text[i] == key) return &items[i];
  }
  return nullptr;
}

std::string Problems::Where(const Place& place) const {
  if (place.line == 0) return "";
  return absl::StrCat(files[place.file], ":", place.line, ":", place.column);
}

std::string Problems::Sentence(const Place& place, std::string_view key, std::string_view sentence) const {
  // What no file says came from the command line, and is told under the program's name.
  std::string text = place.line == 0 ? "weir" : Where(place);
  text += ": ";
  if (!key.empty())
    absl::StrAppend(&text, Absl(key.substr(0, place.line == 0 ? key.npos : key.find(':'))), ": ");
  return text + Discreet(place, sentence);
}

void Problems::AddExpansion(const Place& place, const Expansion& expansion) {
  if (!expansions_[place].emplace(expansion.written, expansion).second) return;  // as another alias says it
  variables_.insert(expansion.variables.begin(), expansion.variables.end());
}

Expansion Problems::ExpansionAt(const Place& place) const {
  const auto found = expansions_.find(place);
  return found == expansions_.end() ? Expansion() : found->second.begin()->second;
}

const std::string* Problems::Written(const std::string& key) const {
  const auto found = written_.find(key);
  return found == written_.end() ? nullptr : &found->second;
}

std::string Problems::Discreet(const Place& place, std::string_view sentence) const {
  // Shorter ones are no secrets, and would be found within other words.
  constexpr size_t kLeastHere = 4;
  constexpr size_t kLeastElsewhere = 8;
  std::string text(sentence);
  static const std::map<std::string, Expansion> kNone;
  const auto here = expansions_.find(place);
  for (const auto& [written, expansion] : here == expansions_.end() ? kNone : here->second) {
    HideQuoted(text, expansion);
    for (const auto& [name, value] : expansion.variables) {
      if (value.size() >= kLeastHere) ReplaceAll(text, value, absl::StrCat("${env:", name, "}"));
    }
    // What an expression's error is about stands at its end.
    const size_t colon = text.rfind(": ");
    const std::string tail = colon == std::string::npos ? "" : text.substr(colon + 2);
    if (!tail.empty() && expansion.text.find(tail) != std::string::npos &&
        expansion.written.find(tail) == std::string::npos) {
      text.replace(colon + 2, tail.size(), expansion.written);
    }
  }
  for (const auto& [name, value] : variables_) {
    if (value.size() >= kLeastElsewhere) ReplaceAll(text, value, absl::StrCat("${env:", name, "}"));
  }
  return text;
}

void Problems::Add(Entries& entries, const Place& place, std::string_view key, std::string_view sentence) {
  ++entries.count;
  std::vector<Entry>& told = entries.told;
  const auto after =
      std::upper_bound(told.begin(), told.end(), place,
                       [](const Place& added, const Entry& entry) { return added < entry.place; });
  if (after == told.end() && told.size() == kMostTold) return;
  told.insert(after, {place, Sentence(place, key, sentence)});
  if (told.size() > kMostTold) told.pop_back();
}

void Problems::Error(const Place& place, std::string_view key, std::string_view sentence) {
  if (!unknown_.contains(place)) Add(errors_, place, key, sentence);
}

void Problems::Unknown(const Place& place, std::string_view key, std::string_view sentence) {
  Error(place, key, sentence);
  unknown_.insert(place);
}

void Problems::Warning(const Place& place, std::string_view key, std::string_view sentence) {
  Add(warnings_, place, "warning", absl::StrCat(Absl(key), ": ", Absl(sentence)));
}

std::vector<std::string> Problems::Texts(const Entries& entries, const char* what) {
  std::vector<std::string> texts;
  for (const Entry& entry : entries.told) texts.push_back(entry.text);
  if (const size_t more = entries.count - entries.told.size(); more > 0) {
    texts.push_back(absl::StrCat("weir: and ", more, " more ", what, more == 1 ? "" : "s"));
  }
  return texts;
}

std::vector<ConfigNode> LoadDocument(const std::string& path, Problems& problems) {
  Loader loader(problems);
  loader.File(path, {}, "--config");
  return loader.Take();
}

void Problems::AddContent(const std::string& kind, std::string_view text) {
  size_t& hash = contents_[kind];
  hash = Mixed(hash, std::hash<std::string_view>()(text));
}

std::map<std::string, size_t> HashParts(const std::vector<ConfigNode>& documents, const Problems& problems) {
  std::map<std::string, size_t> parts = problems.contents();
  for (const ConfigNode& document : documents) {
    for (size_t i = 0; i < document.items.size(); ++i) {
      if (document.key_text[i] == "include") continue;
      size_t& hash = parts[document.key_text[i]];
      hash = Mixed(hash, HashOf(document.items[i]));
    }
  }
  return parts;
}

std::vector<ConfigNode> ParseDocument(std::string_view text, const std::string& name, Problems& problems) {
  Loader loader(problems);
  loader.Text(std::string(text), name, false);
  return loader.Take();
}

}  // namespace weir::lb
