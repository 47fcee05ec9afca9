// Document: a configuration file as a tree of nodes, each of which knows where it stands. YAML 1.2 by
// yaml-cpp, with what a configuration needs on top: a key given twice is an error, anchors and merge keys
// (<<) are copied in, `include:` brings further files (paths relative to the including one; globs), and
// ${env:NAME} stands for the environment's value. The mistakes of all files are told at once (the
// first 100, and how many more there are), as "file:line:column: ...". Bounds: 16 MiB a file, 256 files, a
// million nodes. Used at start and by the control shard; no exceptions come out.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::lb {

struct Place {
  uint32_t file = 0;  // index in Document::files
  uint32_t line = 0;  // from 1; 0: nowhere
  uint32_t column = 0;

  auto operator<=>(const Place&) const = default;
};

struct ConfigNode {
  enum class Kind : uint8_t { kNothing, kScalar, kList, kMap };

  Kind kind = Kind::kNothing;  // kNothing: `key:` without a value, null, ~
  Place place;
  std::string text;                   // of a scalar
  std::string written;                // likewise, as the file has it, if ${env:...} is in it; else empty
  std::vector<std::string> key_text;  // of a map, in order
  std::vector<Place> key_place;
  std::vector<ConfigNode> items;  // of a list; or a map's values

  bool is_scalar() const { return kind == Kind::kScalar; }
  bool is_list() const { return kind == Kind::kList; }
  bool is_map() const { return kind == Kind::kMap; }
  const ConfigNode* Find(std::string_view key) const;
};

// A value that the environment has a part in.
struct Expansion {
  std::string written;  // as the file has it
  std::string text;     // what it became
  std::map<std::string, std::string> variables;
};

// Sentences about a configuration, each with its place. What the environment says may be a secret: sentences
// name the variable instead.
class Problems {
 public:
  // `key` is the path of the key within the file ("upstreams.web.balance"); may be empty.
  // What a key has behind a colon is left out of it: that may be a value without the space before it.
  void Error(const Place& place, std::string_view key, std::string_view sentence);
  void Warning(const Place& place, std::string_view key, std::string_view sentence);
  // An error after which nobody knows what `place` says: further ones about it would only be consequences,
  // and are not told.
  void Unknown(const Place& place, std::string_view key, std::string_view sentence);
  // "FILE:LINE:COLUMN".
  std::string Where(const Place& place) const;

  // Of each kind so many are told; how many more there are is the last.
  static constexpr size_t kMostTold = 100;

  bool ok() const { return errors_.count == 0; }
  size_t error_count() const { return errors_.count; }
  // The first in the order of the files and lines.
  std::vector<std::string> Errors() const { return Texts(errors_, "mistake"); }
  std::vector<std::string> Warnings() const { return Texts(warnings_, "warning"); }
  std::vector<std::string> files;  // as they were named

  // What another file said that this one names: users, networks, a body. `kind` is the key's name.
  void AddContent(const std::string& kind, std::string_view text);
  const std::map<std::string, size_t>& contents() const { return contents_; }

  // What `place` says came from the environment.
  void AddExpansion(const Place& place, const Expansion& expansion);
  Expansion ExpansionAt(const Place& place) const;
  // The same of a key, by its path ("upstreams.web.endpoints[0]").
  void AddWritten(const std::string& key, const std::string& written) { written_[key] = written; }
  // How the file has the value of a key that the environment has a part in; null: of any other.
  const std::string* Written(const std::string& key) const;
  const std::map<std::string, std::string>& written() const { return written_; }

 private:
  struct Entry {
    Place place;
    std::string text;
  };
  struct Entries {
    std::vector<Entry> told;  // in order
    size_t count = 0;         // of these and the others
  };
  std::string Sentence(const Place& place, std::string_view key, std::string_view sentence) const;
  // The sentence without what the environment says.
  std::string Discreet(const Place& place, std::string_view sentence) const;
  void Add(Entries& entries, const Place& place, std::string_view key, std::string_view sentence);
  static std::vector<std::string> Texts(const Entries& entries, const char* what);

  std::set<Place> unknown_;
  std::map<Place, std::map<std::string, Expansion>> expansions_;  // of a place, by how each is written
  std::map<std::string, std::string> variables_;
  std::map<std::string, std::string> written_;
  std::map<std::string, size_t> contents_;  // hashes
  Entries errors_;
  Entries warnings_;
};

// The file and what it includes, as one list of top-level maps, the including one first. What cannot be read
// becomes an error in `problems`, whose `files` it fills.
std::vector<ConfigNode> LoadDocument(const std::string& path, Problems& problems);
// The same from text, without a file: `name` stands for it; `include:` is an error.
std::vector<ConfigNode> ParseDocument(std::string_view text, const std::string& name, Problems& problems);
// By top-level key, and by kind of the other files that were read: a hash of what is said there.
std::map<std::string, size_t> HashParts(const std::vector<ConfigNode>& documents, const Problems& problems);

}  // namespace weir::lb
