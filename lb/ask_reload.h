// AskReload: `weir reload`. Finds the running Weir by its admin listener, where the answer tells what became
// of the reload, or by its pid file, where only its log does. Blocking; for a process that does nothing else.
#pragma once

#include <string>

#include "lb/config/settings.h"

namespace weir::lb {

struct ReloadOutcome {
  bool ok = false;
  std::string text;  // sentences, each a line
};

// Looks at `admin`, `admin_token` and `pid_file` of `target`.
ReloadOutcome AskReload(const Settings& target);

}  // namespace weir::lb
