// ParseCommandLine: what was typed → Settings, checked and resolved, or every mistake in it. The flags stand
// in one table (flag_table.h); their values are Abseil flags, while the walk over the
// arguments is ours: it adds up repeated lists, suggests a name for an unknown flag, reports
// all mistakes at once, and never ends the process, so that tests can call it again and again.
//
// Rules: --name=value, --name value, and the same with one dash. A list flag given again adds to it. Any
// other flag may be given once in each place (the command line, or the flag files): the command line wins
// over the files.
// --flagfile=FILE: one flag a line, # begins a comment line, files may name further files.
// Names are resolved and files looked at; no socket is bound (that is CheckPortsFree, ports.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "lb/config/machine.h"
#include "lb/config/settings.h"

namespace weir::lb {

struct CommandLine {
  enum class Command : uint8_t { kRun, kDemo, kCheck, kExplain, kReload, kVersion, kHelp };

  Command command = Command::kRun;
  // True: print `out` and `err`, and exit with `exit_code`. False (kRun, kDemo, kReload): go on with
  // `settings`; of kReload they have only what names the process.
  bool exit = false;
  int exit_code = 0;
  std::string out;  // for standard output: help, version, the resolved configuration
  std::string err;  // for standard error: every mistake, one a line
  // kDemo: without endpoints (the demo brings its own); listener and admin have their defaults on loopback.
  Settings settings;
};

// `arguments` without the program's name. Not thread-safe: Abseil's flags are global.
// With `running`, the settings in force, for a reload: what was left to the machine stays as it is, and what
// cannot change while Weir runs is a mistake if it would.
CommandLine ParseCommandLine(std::span<const std::string_view> arguments, const Machine& machine,
                             const Settings* running = nullptr);
CommandLine ParseCommandLine(int argc, char** argv, const Machine& machine,
                             const Settings* running = nullptr);

// The reference page: the table of all flags in Markdown, as it stands in README.md between <!-- flags -->
// marks.
std::string FlagsMarkdown();

}  // namespace weir::lb
