#include "lb/config/command_line.h"

#include <algorithm>
#include <array>
#include <map>
#include <vector>

#include "lb/config/arguments.h"
#include "lb/config/describe.h"
#include "lb/config/resolve.h"
#include "lb/config/version.h"

namespace weir::lb {
namespace {

using Command = CommandLine::Command;

struct NamedCommand {
  std::string_view name;
  Command command;
};
constexpr NamedCommand kCommands[] = {{"demo", Command::kDemo},
                                      {"check", Command::kCheck},
                                      {"version", Command::kVersion},
                                      {"help", Command::kHelp}};

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
  if (arguments.words.size() > 1) {
    errors.push_back("\"" + arguments.words[1] +
                     "\": expected at most one word that is not a flag, a command");
  } else {
    errors.push_back("unknown command \"" + word + "\": expected demo, check, version or help" +
                     (nearest.empty() ? "" : "; did you mean " + std::string(nearest) + "?"));
  }
  return Command::kRun;
}

// Sets the flags in an order in which the last one wins: those of the files first.
void SetFlags(const Arguments& arguments, std::vector<std::string>& errors) {
  for (const FlagRow& row : FlagTable()) row.reset();
  for (const bool from_file : {true, false}) {
    std::map<const FlagRow*, std::string> first;  // where a flag that is no list was given
    for (const GivenFlag& given : arguments.flags) {
      if (given.from_file != from_file) continue;
      const std::string flag = given.where + "--" + std::string(given.row->name) + ": ";
      if (!given.row->list && !first.emplace(given.row, given.where).second) {
        errors.push_back(flag + "\"" + given.text + "\": the flag is given twice");
        continue;
      }
      for (std::string_view rest = given.text;;) {
        const size_t end = given.row->list ? std::min(rest.find(','), rest.size()) : rest.size();
        const std::string_view text = rest.substr(0, end);
        std::string expected;
        if (!given.row->set(text, &expected))
          errors.push_back(flag + "\"" + std::string(text) + "\": " + expected);
        if (end == rest.size()) break;
        rest.remove_prefix(end + 1);
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

CommandLine Refuse(Command command, const std::vector<std::string>& errors) {
  CommandLine result;
  result.command = command;
  result.exit = true;
  result.exit_code = 1;
  for (const std::string& error : errors) result.err += "weir: " + error + "\n";
  result.err += "weir: `weir help` lists all flags\n";
  return result;
}

}  // namespace

CommandLine ParseCommandLine(std::span<const std::string_view> arguments, const Machine& machine) {
  Arguments given = WalkArguments(arguments);
  std::vector<std::string> errors = std::move(given.errors);
  const Command command = FindCommand(given, errors);
  if (command == Command::kHelp) return Print(command, given.markdown ? FlagsMarkdown() : HelpText());
  if (command == Command::kVersion) return Print(command, "weir " + std::string(kVersion) + "\n");
  SetFlags(given, errors);
  // A flag that could not be understood would only look like one that is missing.
  if (!errors.empty()) return Refuse(command, errors);
  Settings settings = ResolveFlags(machine, command == Command::kDemo, errors);
  if (!errors.empty()) return Refuse(command, errors);
  if (command == Command::kCheck) return Print(command, DescribeSettings(settings));
  CommandLine result;
  result.command = command;
  result.settings = std::move(settings);
  return result;
}

CommandLine ParseCommandLine(int argc, char** argv, const Machine& machine) {
  std::vector<std::string_view> arguments;
  for (int i = 1; i < argc; ++i) arguments.emplace_back(argv[i]);
  return ParseCommandLine(arguments, machine);
}

}  // namespace weir::lb
