#include "lb/config/yaml_hints.h"

#include <algorithm>
#include <unordered_set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lb/config/flag_types.h"

namespace weir::lb {
namespace {

constexpr std::string_view kBrackets = "[{\"'";

bool IsBlank(char c) { return c == ' ' || c == '\t'; }
bool IsWord(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (IsBlank(text.back()) || text.back() == '\r')) text.remove_suffix(1);
  while (!text.empty() && IsBlank(text.front())) text.remove_prefix(1);
  return text;
}

// Sentences name a key, never a value, which may be a password or its hash: its place tells which one is
// meant.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  std::optional<YamlMistake> Scan() {
    if (text_.starts_with("\xff\xfe") || text_.starts_with("\xfe\xff")) return std::nullopt;  // UTF-16
    if (text_.starts_with("\xef\xbb\xbf")) at_ = line_begin_ = 3;
    while (at_ < text_.size() && !mistake_ && !lost_) Line();
    return mistake_;
  }

 private:
  // A level of the block structure: keys, or items of a list, that begin at `column`.
  struct Level {
    size_t column;
    bool is_list;
  };

  void Mistake(size_t at, std::string sentence) {
    if (mistake_ || lost_) return;
    mistake_ = YamlMistake{line_, static_cast<uint32_t>(at - line_begin_ + 1), std::move(sentence)};
  }
  char Peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\n'; }
  bool AtEnd() const { return at_ >= text_.size(); }
  void NextLine() {
    at_ = std::min(text_.find('\n', at_), text_.size() - 1) + 1;
    line_begin_ = at_;
    ++line_;
  }
  std::string_view RestOfLine(size_t from) const {
    return Trimmed(text_.substr(from, std::min(text_.find('\n', from), text_.size()) - from));
  }
  void SkipBlanks() {
    while (!AtEnd() && IsBlank(Peek())) ++at_;
  }
  // Behind a value or before it: nothing more on this line.
  bool LineIsOver() const {
    return Peek() == '\n' || Peek() == '\r' ||
           (Peek() == '#' && (at_ == line_begin_ || IsBlank(text_[at_ - 1])));
  }

  void Line() {
    const size_t begin = at_;
    while (!AtEnd() && Peek() == ' ') ++at_;
    const size_t tab = at_;
    SkipBlanks();
    if (LineIsOver()) return NextLine();
    if (tab != at_) {
      return Mistake(tab, "a tab in the indentation: YAML is indented by spaces alone");
    }
    if (at_ == begin && (RestOfLine(begin) == "---" || RestOfLine(begin) == "...")) {
      levels_.clear();
      value_missing_ = false;
      return NextLine();
    }
    Block(at_ - begin);
    if (!mistake_ && !lost_) NextLine();
  }

  // The content of a line outside of brackets, which begins at `column` (from 0).
  void Block(size_t column) {
    for (;;) {
      const bool is_item = Peek() == '-' && (IsBlank(Peek(1)) || Peek(1) == '\n' || Peek(1) == '\r');
      if (!is_item) break;
      if (!Enter(column, true)) return;
      value_missing_ = true;
      has_value_ = false;
      const size_t dash = at_++;
      SkipBlanks();
      if (LineIsOver()) return;
      column += at_ - dash;
    }
    const size_t begin = at_;
    const size_t colon = KeyEnd();
    if (mistake_ || lost_) return;
    if (colon == std::string_view::npos) {
      at_ = begin;
      return NoKey(column);
    }
    if (!Enter(column, false)) return;
    key_ = std::string(Trimmed(text_.substr(begin, colon - begin)));
    key_at_ = begin;
    key_line_ = line_;
    key_line_begin_ = line_begin_;
    at_ = colon + 1;
    SkipBlanks();
    value_missing_ = LineIsOver();
    has_value_ = !value_missing_;
    if (has_value_) Value();
  }

  // Where the colon behind a key on this line stands, or npos.
  size_t KeyEnd() {
    if (Peek() == '"' || Peek() == '\'') {
      const size_t begin = at_;
      if (!Quote()) return std::string_view::npos;
      if (line_begin_ > begin) return std::string_view::npos;  // several lines are no key
      SkipBlanks();
      return Peek() == ':' ? at_ : std::string_view::npos;
    }
    if (Peek() == '{' || Peek() == '[' || Peek() == '?' || Peek() == '!' || Peek() == '&')
      return std::string_view::npos;
    for (size_t i = at_; i < text_.size() && text_[i] != '\n'; ++i) {
      if (text_[i] == '#' && i > at_ && IsBlank(text_[i - 1])) break;
      if (text_[i] == ':' &&
          (i + 1 == text_.size() || IsBlank(text_[i + 1]) || text_[i + 1] == '\n' || text_[i + 1] == '\r')) {
        return i;
      }
    }
    return std::string_view::npos;
  }

  // A key or an item at `column`: it belongs to a level that is there, or is the value that is missing.
  bool Enter(size_t column, bool is_list) {
    const Level before = levels_.empty() ? Level{0, false} : levels_.back();
    const bool first = levels_.empty();
    if (!first && column > before.column) {
      // The key right behind the dash of an item, or the first line of a value.
      if (value_missing_) {
        levels_.push_back({column, is_list});
        return true;
      }
      if (is_list) {
        lost_ = has_value_ && !before.is_list;  // a text that goes on with a dash
        if (lost_) return false;
      }
      TooDeep(column, before);
      return false;
    }
    while (!levels_.empty() && levels_.back().column > column) levels_.pop_back();
    if (first) {
      levels_.push_back({column, is_list});
      return true;
    }
    if (levels_.empty() || levels_.back().column != column) {
      Mistake(at_, absl::StrCat("indented by ", column, column == 1 ? " space" : " spaces",
                                ", and nothing above is: begin it below what it stands beside"));
      return false;
    }
    if (levels_.back().is_list == is_list) return true;
    if (is_list && value_missing_ && before.column == column) {  // a list may begin below its key
      levels_.push_back({column, true});
      return true;
    }
    if (!is_list && levels_.size() > 1 && levels_[levels_.size() - 2].column == column) {
      levels_.pop_back();
      return true;
    }
    Mistake(at_, is_list ? "an item of a list (- ...) among keys: a list stands below a key of its own"
                         : "a key among items of a list: begin it with a dash, or indent it below one");
    return false;
  }

  // A key is indented below a value that is complete.
  void TooDeep(size_t column, const Level& before) {
    if (!before.is_list && key_.starts_with('-')) {
      line_ = key_line_;
      line_begin_ = key_line_begin_;
      return Mistake(key_at_, "a space is missing behind the dash of a list's item");
    }
    Mistake(at_,
            absl::StrCat("indented by ", column, " spaces, but ", before.is_list ? "the item" : Absl(key_),
                         " above has a value already: begin it "
                         "below what it stands beside"));
  }

  // A line without a key: a value of the line above, or a mistake.
  void NoKey(size_t column) {
    const std::string_view rest = RestOfLine(at_);
    if (value_missing_) {
      value_missing_ = false;
      has_value_ = true;
      // `address:1.2.3.4` where a key should be, and a key follows at the same column.
      if (levels_.empty() && NextKeyAt(column) && kBrackets.find(rest.front()) == rest.npos)
        return MissingSpace(rest);
      if (IsWord(rest.front())) {
        if (NextKeyAt(column)) return MissingSpace(rest);
        if (!levels_.empty() && levels_.back().column >= column && !levels_.back().is_list)
          return MissingSpace(rest);
      }
      if (rest.starts_with('-') && rest.size() > 1 && rest[1] != ' ' && rest[1] != '-' &&
          NextKeyAt(column + 1)) {
        return Mistake(at_, "a space is missing behind the dash of a list's item");
      }
      return Value();
    }
    const bool beside = levels_.empty() || column <= levels_.back().column;
    if (beside) return MissingSpace(rest);
    // It goes on with the text above, if that is one.
    if (!has_value_ || !value_is_plain_) lost_ = true;
  }

  // Whether the next line that says something has a key at `column`.
  bool NextKeyAt(size_t column) const {
    for (size_t at = std::min(text_.find('\n', at_), text_.size() - 1) + 1; at < text_.size();) {
      const size_t end = std::min(text_.find('\n', at), text_.size());
      const std::string_view line = text_.substr(at, end - at);
      at = end + 1;
      const size_t first = line.find_first_not_of(' ');
      if (first == std::string_view::npos || line[first] == '#' || line[first] == '\r') continue;
      return first == column &&
             (line.find(": ", first) != std::string_view::npos || Trimmed(line).ends_with(':'));
    }
    return false;
  }

  void MissingSpace(std::string_view rest) {
    const size_t colon = rest.find(':');
    const auto words = [&](size_t end) {
      return end > 0 && std::all_of(rest.begin(), rest.begin() + end, IsWord);
    };
    if (rest.starts_with("//")) return Mistake(at_, "a comment begins with #");
    if (colon != std::string_view::npos && words(colon)) {
      return Mistake(
          at_ + colon,
          absl::StrCat("a space is missing behind the colon: ", Absl(rest.substr(0, colon)), ": ..."));
    }
    const size_t equals = rest.find('=');
    if (equals != std::string_view::npos && words(Trimmed(rest.substr(0, equals)).size())) {
      return Mistake(at_ + equals, absl::StrCat("a key and its value stand as ",
                                                Absl(Trimmed(rest.substr(0, equals))), ": ..."));
    }
    if (words(rest.size())) {
      return Mistake(at_ + rest.size(), "a colon is missing behind the key that ends here");
    }
    if (const size_t space = rest.find(' ');
        space != std::string_view::npos && words(space) && rest.ends_with(';')) {
      return Mistake(at_, "expected KEY: VALUE");
    }
    lost_ = true;
  }

  // A value on this line, behind its key or dash.
  void Value() {
    value_is_plain_ = false;
    const size_t begin = at_;
    const char first = Peek();
    switch (first) {
      case '"':
      case '\'':
        if (const uint32_t line = line_; Quote()) Behind(line, "quote");
        return;
      case '[':
      case '{': {
        const uint32_t line = line_;
        if (!Brackets()) return;
        const size_t close = at_;
        SkipBlanks();
        if (LineIsOver()) return;
        if (text_[close] == ']' || text_[close] == '}')
          return Mistake(close, absl::StrCat("this ", std::string(1, text_[close]), " ends nothing"));
        if (Peek() == ':' && close == at_) return Reserved(begin, first, line);
        if (line == line_ && !IsBlank(text_[close])) return Reserved(begin, first, line);
        return Behind(line, "bracket");
      }
      case '*': {
        const std::string_view rest = RestOfLine(begin);
        const std::string_view name = rest.substr(1, rest.find_first_of(" ,]}") - 1);
        if (!IsAnchor(name)) Reserved(begin, first, line_);
        return;
      }
      case '%':
      case '@':
      case '`':
        return Reserved(begin, first, line_);
      case '|':
      case '>':
        return Literal(begin);
      case '&':
      case '!':
        // A name or a tag comes before the value.
        while (!AtEnd() && !IsBlank(Peek()) && Peek() != '\n') ++at_;
        SkipBlanks();
        if (LineIsOver()) {
          value_missing_ = true;
          has_value_ = false;
          return;
        }
        return Value();
      default:
        return Plain();
    }
  }

  void Plain() {
    value_is_plain_ = true;
    for (; Peek() != '\n'; ++at_) {
      if (LineIsOver()) break;
      const bool colon = Peek() == ':' && (IsBlank(Peek(1)) || Peek(1) == '\n' || Peek(1) == '\r');
      if (!colon) continue;
      return Mistake(at_, "a colon with a space behind it within a value: put the value in quotes");
    }
  }

  // A text of several lines: they are indented deeper than its key.
  void Literal(size_t begin) {
    ++at_;
    while (Peek() == '+' || Peek() == '-' || (Peek() >= '0' && Peek() <= '9')) ++at_;
    SkipBlanks();
    if (!LineIsOver()) return Reserved(begin, text_[begin], line_);
    const size_t column = levels_.empty() ? 0 : levels_.back().column;
    for (;;) {
      const size_t next = std::min(text_.find('\n', at_), text_.size() - 1) + 1;
      if (next >= text_.size()) {
        at_ = text_.size();
        return;
      }
      const size_t content = text_.find_first_not_of(" \r", next);
      if (content != std::string_view::npos && text_[content] != '\n' && content - next <= column) return;
      at_ = next;
      line_begin_ = next;
      ++line_;
    }
  }

  void Reserved(size_t begin, char first, uint32_t line) {
    if (line != line_) {
      lost_ = true;
      return;
    }
    Mistake(begin, absl::StrCat("a value that begins with ", std::string(1, first), " wants quotes"));
  }

  // Behind what began on `line`.
  void Behind(uint32_t line, const char* what) {
    SkipBlanks();
    if (LineIsOver()) return;
    if (line == line_) {
      return Mistake(at_, absl::StrCat("something stands behind the closing ", what,
                                       ": put all of the value in quotes, or nothing there"));
    }
    Mistake(at_, absl::StrCat("something stands behind the ", what, " that ends here and begins on line ",
                              line, ": is its end missing there?"));
  }

  // From a quote to behind its end. False: a mistake.
  bool Quote() {
    const char quote = Peek();
    const size_t begin = at_;
    const size_t begin_line_begin = line_begin_;
    const uint32_t begin_line = line_;
    for (++at_; !AtEnd(); ++at_) {
      const char c = Peek();
      if (c == '\n') {
        ++line_;
        line_begin_ = at_ + 1;
      } else if (c == '\\' && quote == '"') {
        static constexpr std::string_view kEscapes = "0abtnvfre \"/\\N_LPxuU\t\n\r";
        if (kEscapes.find(Peek(1)) == std::string_view::npos) {
          Mistake(at_,
                  absl::StrCat("\\", std::string(1, Peek(1)),
                               " means nothing in double quotes: in single quotes a backslash is itself"));
          return false;
        }
        if (Peek(1) == '\n') continue;
        ++at_;
      } else if (c == quote) {
        if (quote == '\'' && Peek(1) == '\'') {
          ++at_;
          continue;
        }
        ++at_;
        return true;
      }
    }
    line_ = begin_line;
    line_begin_ = begin_line_begin;
    Mistake(begin, absl::StrCat("the quote ", std::string(1, quote), " that begins here has no end"));
    return false;
  }

  // From [ or { to behind its end. False: a mistake.
  bool Brackets() {
    struct Open {
      char bracket;
      size_t at;
      uint32_t line;
      size_t line_begin;
    };
    std::vector<Open> open;
    bool fresh = true;          // an item or a key begins
    bool behind_value = false;  // behind a quoted text or a bracket
    bool in_value = false;      // behind a key's colon
    while (!AtEnd()) {
      const char c = Peek();
      if (c == '\n') {
        ++at_;
        ++line_;
        line_begin_ = at_;
        if (IsBlockLine()) break;
      } else if (c == '#' && (at_ == line_begin_ || IsBlank(text_[at_ - 1]))) {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (IsBlank(c) || c == '\r') {
        ++at_;
      } else if (c == ',') {
        ++at_;
        fresh = true;
        behind_value = false;
        in_value = false;
      } else if (c == ']' || c == '}') {
        if ((c == ']') != (open.back().bracket == '[')) {
          Mistake(at_,
                  absl::StrCat("found ", std::string(1, c), " where ", open.back().bracket == '[' ? "]" : "}",
                               " would end what line ", open.back().line, " begins"));
          return false;
        }
        ++at_;
        open.pop_back();
        if (open.empty()) return true;
        fresh = false;
        in_value = open.back().bracket == '{';
        behind_value = true;
      } else if (c == ':' && (behind_value || IsBlank(Peek(1)) || Peek(1) == '\n' || Peek(1) == '\r')) {
        if (in_value) {
          Mistake(at_,
                  "a second colon with a space behind it: is a comma missing before, or quotes around the "
                  "value?");
          return false;
        }
        ++at_;
        fresh = true;
        behind_value = false;
        in_value = true;
      } else if (behind_value) {
        Mistake(at_, "a comma is missing before this");
        return false;
      } else if (c == '[' || c == '{') {
        open.push_back({c, at_, line_, line_begin_});
        ++at_;
        fresh = true;
        in_value = false;
      } else if ((c == '"' || c == '\'') && fresh) {
        if (!Quote()) return false;
        behind_value = true;
        fresh = false;
      } else if (!FlowText(fresh)) {
        return false;
      } else {
        fresh = false;
      }
      if (open.size() > 64) {
        lost_ = true;
        return false;
      }
    }
    line_ = open.back().line;
    line_begin_ = open.back().line_begin;
    Mistake(open.back().at,
            absl::StrCat("the ", std::string(1, open.back().bracket), " that begins here has no end"));
    return false;
  }

  // Within brackets: whether the line that begins here is a key of the block around them, or of one farther
  // out.
  bool IsBlockLine() const {
    if (levels_.empty()) return false;
    const std::string_view line = text_.substr(at_, std::min(text_.find('\n', at_), text_.size()) - at_);
    const size_t column = line.find_first_not_of(' ');
    if (column == std::string_view::npos || column > levels_.back().column) return false;
    const size_t colon = line.find(':', column);
    return colon != std::string_view::npos && colon > column &&
           std::all_of(line.begin() + static_cast<ptrdiff_t>(column),
                       line.begin() + static_cast<ptrdiff_t>(colon), IsWord) &&
           (colon + 1 == line.size() || IsBlank(line[colon + 1]) || line[colon + 1] == '\r');
  }

  // A plain text within brackets, to where something else begins. False: a mistake.
  bool FlowText(bool fresh) {
    const size_t begin = at_;
    const char first = Peek();
    if (fresh && first == '*') {
      const size_t end = std::min(text_.find_first_of(" ,]}\n", at_), text_.size());
      const std::string_view name = text_.substr(at_ + 1, end - at_ - 1);
      if (!IsAnchor(name)) {
        Mistake(at_, "a value that begins with * wants quotes");
        return false;
      }
    }
    if (fresh && (first == '%' || first == '@' || first == '`')) {
      Mistake(at_, absl::StrCat("a value that begins with ", std::string(1, first), " wants quotes"));
      return false;
    }
    for (; !AtEnd() && Peek() != '\n'; ++at_) {
      const char c = Peek();
      if (c == ',' || c == ']' || c == '}' || (c == '#' && IsBlank(text_[at_ - 1]))) return true;
      const bool colon = c == ':' && (IsBlank(Peek(1)) || Peek(1) == '\n' || Peek(1) == '\r');
      if (colon) return true;
      if (c == '[' || c == '{') {
        Mistake(begin, absl::StrCat("a value with ", std::string(1, c),
                                    " in it wants quotes within {...} and [...]"));
        return false;
      }
    }
    return true;
  }

  // Whether an alias may be of that name: of what anchors there are, wherever in the text.
  bool IsAnchor(std::string_view name) {
    if (!anchors_) {
      anchors_.emplace();
      for (size_t at = 0; (at = text_.find('&', at)) != std::string_view::npos;) {
        const bool begins =
            at == 0 || std::string_view(" \t\n[{,").find(text_[at - 1]) != std::string_view::npos;
        const size_t end = std::min(text_.find_first_of(" \t\r\n,[]{}", ++at), text_.size());
        if (begins && end > at) anchors_->insert(text_.substr(at, end - at));
      }
    }
    return anchors_->contains(name);
  }

  const std::string_view text_;
  std::optional<std::unordered_set<std::string_view>> anchors_;  // found when the first alias asks
  size_t at_ = 0;
  size_t line_begin_ = 0;
  uint32_t line_ = 1;
  std::vector<Level> levels_;
  bool value_missing_ = true;    // what was said last waits for its value
  bool has_value_ = false;       // it has one
  bool value_is_plain_ = false;  // a text without quotes, which lines may go on with
  std::string key_;
  size_t key_at_ = 0;
  size_t key_line_begin_ = 0;
  uint32_t key_line_ = 0;
  bool lost_ = false;  // this is beyond what is known here
  std::optional<YamlMistake> mistake_;
};

}  // namespace

std::optional<YamlMistake> FindYamlMistake(std::string_view text) { return Scanner(text).Scan(); }

}  // namespace weir::lb
