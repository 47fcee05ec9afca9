#include "lb/config/arguments.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "lb/config/read_file.h"

namespace weir::lb {
namespace {

constexpr int kMaxFileDepth = 8;
constexpr std::string_view kSpaces = " \t\r\n";

std::string_view Trim(std::string_view text) {
  const size_t begin = std::min(text.find_first_not_of(kSpaces), text.size());
  const size_t end = text.find_last_not_of(kSpaces);
  return end == std::string_view::npos ? std::string_view() : text.substr(begin, end + 1 - begin);
}

std::string Quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

class Walker {
 public:
  Arguments Walk(std::span<const std::string_view> arguments);

 private:
  // One flag without its dashes; `rest` is what may hold its value when the flag's own text does not.
  void Flag(std::string_view text, std::span<const std::string_view>& rest);
  void Given(std::string_view name, std::optional<std::string_view> value);
  void Unknown(std::string_view name);
  void ReadFiles(std::string_view paths);
  void ReadFile(const std::string& path);
  void Line(std::string_view line);
  void Error(std::string_view sentence) { result_.errors.push_back(where_ + std::string(sentence)); }

  Arguments result_;
  std::string where_;
  std::vector<std::string> open_files_;
};

Arguments Walker::Walk(std::span<const std::string_view> arguments) {
  bool only_words = false;
  while (!arguments.empty()) {
    const std::string_view argument = arguments.front();
    arguments = arguments.subspan(1);
    if (only_words || !argument.starts_with('-') || argument == "-") {
      result_.words.emplace_back(argument);
    } else if (argument == "--") {
      only_words = true;
    } else {
      Flag(argument.substr(argument.starts_with("--") ? 2 : 1), arguments);
    }
  }
  return std::move(result_);
}

void Walker::Flag(std::string_view text, std::span<const std::string_view>& rest) {
  const size_t equals = text.find('=');
  const std::string_view name = text.substr(0, equals);
  if (equals != std::string_view::npos) return Given(name, text.substr(equals + 1));
  const bool takes_value = name == "flagfile" || FindFlag(name) != nullptr;
  if (!takes_value || rest.empty() || rest.front().starts_with("--")) return Given(name, std::nullopt);
  const std::string_view value = rest.front();
  rest = rest.subspan(1);
  Given(name, value);
}

void Walker::Given(std::string_view name, std::optional<std::string_view> value) {
  if (name == "help" || name == "h" || name == "helpfull") {
    result_.help = true;
  } else if (name == "version") {
    result_.version = true;
  } else if (name == "markdown") {
    result_.markdown = true;
  } else if (name == "configuration") {
    result_.configuration = true;
  } else if (name == "schema") {
    result_.schema = true;
  } else if (name == "flagfile") {
    if (value) return ReadFiles(*value);
    Error("--flagfile: the value is missing: --flagfile=FILE");
  } else if (const FlagRow* row = FindFlag(name); row == nullptr) {
    Unknown(name);
  } else if (!value) {
    Error("--" + std::string(name) + ": the value is missing: --" + std::string(name) + "=" +
          std::string(row->placeholder));
  } else {
    result_.flags.push_back({row, std::string(*value), where_, !open_files_.empty()});
  }
}

void Walker::Unknown(std::string_view name) {
  std::vector<std::string_view> names = {"help", "version", "flagfile"};
  for (const FlagRow& row : FlagTable()) names.push_back(row.name);
  const std::string_view nearest = Nearest(name, names);
  Error("unknown flag --" + std::string(name) +
        (nearest.empty() ? std::string() : "; did you mean --" + std::string(nearest) + "?"));
}

void Walker::ReadFiles(std::string_view paths) {
  for (;;) {
    const size_t comma = paths.find(',');
    ReadFile(std::string(paths.substr(0, comma)));
    if (comma == std::string_view::npos) return;
    paths.remove_prefix(comma + 1);
  }
}

void Walker::ReadFile(const std::string& path) {
  if (std::find(open_files_.begin(), open_files_.end(), path) != open_files_.end()) {
    return Error("--flagfile: " + Quoted(path) + ": the file includes itself");
  }
  if (open_files_.size() == kMaxFileDepth) {
    return Error("--flagfile: " + Quoted(path) + ": more than " + std::to_string(kMaxFileDepth) +
                 " files inside each other");
  }
  const std::optional<std::string> text = ReadWholeFile(path);
  if (!text) return Error("--flagfile: " + Quoted(path) + ": cannot be read: " + std::strerror(errno));
  open_files_.push_back(path);
  const std::string outer = where_;
  int number = 0;
  std::string_view rest = *text;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    where_ = path + ":" + std::to_string(++number) + ": ";
    Line(Trim(rest.substr(0, end)));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  where_ = outer;
  open_files_.pop_back();
}

// --name=value, or --name value.
void Walker::Line(std::string_view line) {
  if (line.empty() || line.front() == '#') return;
  if (line.front() != '-') return Error(Quoted(line) + ": expected --name=value, or # and a comment");
  line.remove_prefix(line.starts_with("--") ? 2 : 1);
  const size_t end = line.find_first_of("= \t");
  if (end == std::string_view::npos) return Given(line, std::nullopt);
  Given(line.substr(0, end), Trim(line.substr(end + 1)));
}

// Edits (insert, delete, change, swap neighbours) from one text to the other: optimal string alignment.
size_t Distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> edits(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      size_t& least = edits[i][j];
      if (i == 0 || j == 0) {
        least = i + j;
        continue;
      }
      least = std::min(
          {edits[i - 1][j] + 1, edits[i][j - 1] + 1, edits[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        least = std::min(least, edits[i - 2][j - 2] + 1);
    }
  }
  return edits[a.size()][b.size()];
}

}  // namespace

Arguments WalkArguments(std::span<const std::string_view> arguments) { return Walker().Walk(arguments); }

std::string_view Nearest(std::string_view text, std::span<const std::string_view> candidates) {
  constexpr size_t kMaxLength = 64;
  if (text.size() < 2 || text.size() > kMaxLength) return {};
  std::string_view best;
  size_t best_distance = std::max<size_t>(1, text.size() / 3) + 1;
  for (const std::string_view candidate : candidates) {
    // A beginning that is long enough to be one counts as a single edit.
    const bool beginning = text.size() >= 3 && candidate.starts_with(text);
    const size_t distance = beginning ? 1 : Distance(text, candidate);
    if (distance >= best_distance) continue;
    best_distance = distance;
    best = candidate;
  }
  return best;
}

}  // namespace weir::lb
