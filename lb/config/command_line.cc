#include "lb/config/command_line.h"

#include <algorithm>
#include <array>
#include <map>
#include <vector>

#include "absl/flags/flag.h"
#include "lb/config/arguments.h"
#include "lb/config/describe.h"
#include "lb/config/document.h"
#include "lb/config/explain.h"
#include "lb/config/file_reader.h"
#include "lb/config/reference.h"
#include "lb/config/resolve.h"
#include "lb/config/version.h"

namespace weir::lb {
namespace {

using Command = CommandLine::Command;

struct NamedCommand {
  std::string_view name;
  Command command;
};
constexpr NamedCommand kCommands[] = {{"demo", Command::kDemo},       {"check", Command::kCheck},
                                      {"explain", Command::kExplain}, {"reload", Command::kReload},
                                      {"version", Command::kVersion}, {"help", Command::kHelp}};

bool IsFileName(std::string_view word) {
  return word.find('/') != std::string_view::npos || word.ends_with(".yaml") || word.ends_with(".yml") ||
         word.ends_with(".conf") || word.ends_with(".json");
}

Command FindCommand(const Arguments& arguments, std::vector<std::string>& errors) {
  if (arguments.help) return Command::kHelp;
  if (arguments.version) return Command::kVersion;
  if (arguments.words.empty()) return Command::kRun;
  const std::string& word = arguments.words.front();
  std::vector<std::string_view> names;
  for (const NamedCommand& known : kCommands) {
    if (word == known.name && arguments.words.size() == 1) return known.command;
    names.push_back(known.name);
  }
  const std::string_view nearest = Nearest(word, names);
  const auto file = std::find_if(arguments.words.begin(), arguments.words.end(), IsFileName);
  if (file != arguments.words.end()) {
    errors.push_back("\"" + *file + "\": a configuration file is given as --config=" + *file);
  } else if (arguments.words.size() > 1) {
    errors.push_back("\"" + arguments.words[1] +
                     "\": expected at most one word that is not a flag, a command");
  } else {
    errors.push_back("unknown command \"" + word +
                     "\": expected demo, check, explain, reload, version or help" +
                     (nearest.empty() ? "" : "; did you mean " + std::string(nearest) + "?"));
  }
  return Command::kRun;
}

// False: `expected` says what was; `text` is cut to the part that was wrong.
bool SetValue(const FlagRow& row, std::string_view& text, std::string& expected) {
  for (std::string_view rest = text;;) {
    const size_t end = row.list ? std::min(rest.find(','), rest.size()) : rest.size();
    if (!row.set(rest.substr(0, end), &expected)) {
      text = rest.substr(0, end);
      return false;
    }
    if (end == rest.size()) return true;
    rest.remove_prefix(end + 1);
  }
}

// Sets the flags in an order in which the last one wins: what the configuration file says, then the flag
// files, then the command line.
void SetFlags(const Arguments& arguments, std::span<const GivenKey> from_config, Problems& problems,
              SaidKeys& said) {
  for (const FlagRow& row : FlagTable()) row.reset();
  std::map<const FlagRow*, bool> configured;
  for (const GivenKey& given : from_config) {
    std::string expected;
    std::string_view text = given.text;
    configured[given.row] = true;
    if (!SetValue(*given.row, text, expected)) {
      problems.Error(given.place, given.row->file_key, "\"" + std::string(text) + "\": " + expected);
    }
  }
  for (const bool from_file : {true, false}) {
    std::map<const FlagRow*, std::string> first;  // where a flag that is no list was given
    for (const GivenFlag& given : arguments.flags) {
      if (given.from_file != from_file) continue;
      const std::string flag = given.where + "--" + std::string(given.row->name);
      if (!given.row->list && !first.emplace(given.row, given.where).second) {
        problems.Error({}, flag, "\"" + given.text + "\": the flag is given twice");
        continue;
      }
      // To a list of flags is added, a list of the file is replaced.
      if (std::exchange(configured[given.row], false)) given.row->reset();
      if (!given.row->file_key.empty()) said[std::string(given.row->file_key)] = Place();
      std::string expected;
      std::string_view text = given.text;
      if (!SetValue(*given.row, text, expected)) {
        problems.Error({}, flag, "\"" + std::string(text) + "\": " + expected);
      }
    }
  }
}

CommandLine Print(Command command, std::string text) {
  CommandLine result;
  result.command = command;
  result.exit = true;
  result.out = std::move(text);
  return result;
}

CommandLine Refuse(Command command, const Problems& problems) {
  CommandLine result;
  result.command = command;
  result.exit = true;
  result.exit_code = 1;
  // No warnings: beside mistakes most of them are their consequences.
  for (const std::string& error : problems.Errors()) result.err += error + "\n";
  // Whose mistakes are all in the file looks there, not at the flags.
  if (problems.files.empty()) result.err += "weir: `weir help` lists all flags\n";
  return result;
}

// The last one that was given, a flag file's only if the command line has none.
std::string ConfigPath(const Arguments& arguments) {
  std::string path;
  bool from_file = true;
  for (const GivenFlag& given : arguments.flags) {
    if (given.row->name != "config" || (given.from_file && !from_file)) continue;
    path = given.text;
    from_file = given.from_file;
  }
  return path;
}

}  // namespace

CommandLine ParseCommandLine(std::span<const std::string_view> all_arguments, const Machine& machine,
                             const Settings* running) {
  std::vector<std::string_view> arguments(all_arguments.begin(), all_arguments.end());
  ExplainQuestion question;
  std::vector<std::string> question_errors;
  const bool explain = TakeExplainArguments(arguments, &question, question_errors);
  Arguments given = WalkArguments(arguments);
  std::vector<std::string> errors = std::move(given.errors);
  errors.insert(errors.end(), question_errors.begin(), question_errors.end());
  const Command command = explain && !given.help ? Command::kExplain : FindCommand(given, errors);
  if (command == Command::kHelp && given.configuration) return Print(command, ConfigurationMarkdown());
  if (command == Command::kHelp && given.schema) return Print(command, ConfigurationSchema());
  if (command == Command::kHelp) return Print(command, given.markdown ? FlagsMarkdown() : HelpText());
  if (command == Command::kVersion) return Print(command, "weir " + std::string(kVersion) + "\n");
  Problems problems;
  for (const std::string& error : errors) problems.Error({}, "", error);
  std::vector<ConfigNode> documents;
  if (const std::string path = ConfigPath(given); !path.empty()) documents = LoadDocument(path, problems);
  SaidKeys said;
  const std::vector<GivenKey> from_config = ReadGlobals(documents, problems, said);
  SetFlags(given, from_config, problems, said);
  // A flag that could not be understood would only look like one that is missing. In the file everything is
  // told at once, unless nothing of it could be read.
  const bool file_is_bad = documents.empty() && !absl::GetFlag(FLAGS_config).value.empty();
  if (!problems.ok() && (documents.empty() || file_is_bad)) return Refuse(command, problems);
  if (command == Command::kReload) {
    CommandLine result;
    result.command = command;
    result.settings = ResolveTarget(problems, said);
    return problems.ok() ? result : Refuse(command, problems);
  }
  Settings settings = Resolve(machine, command == Command::kDemo, documents, problems, said, running);
  if (!problems.ok()) return Refuse(command, problems);
  settings.parts = HashParts(documents, problems);
  settings.written = problems.written();
  CommandLine result;
  if (command == Command::kExplain) {
    std::string text;
    if (!ExplainRequest(settings, question, &text)) {
      problems.Error({}, "", text);
      return Refuse(command, problems);
    }
    return Print(command, text);
  }
  if (command == Command::kCheck) {
    result = Print(command, DescribeSettings(settings, said, problems));
  } else {
    result.command = command;
    result.settings = std::move(settings);
  }
  for (const std::string& warning : problems.Warnings()) result.err += warning + "\n";
  return result;
}

CommandLine ParseCommandLine(int argc, char** argv, const Machine& machine, const Settings* running) {
  std::vector<std::string_view> arguments;
  for (int i = 1; i < argc; ++i) arguments.emplace_back(argv[i]);
  return ParseCommandLine(arguments, machine, running);
}

}  // namespace weir::lb
