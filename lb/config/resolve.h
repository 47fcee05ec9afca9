// Resolve: the values of the flags (as they are set now), the sections of the configuration file and this
// machine → Settings, with every check that needs more than one value: what is missing, given twice, too much
// for the machine, or contradicts something else.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "lb/config/document.h"
#include "lb/config/file_reader.h"
#include "lb/config/machine.h"
#include "lb/config/settings.h"

namespace weir::lb {

// Tells every mistake to `problems`; the settings are usable when there was none. `documents`: the
// configuration file, whose values of flags are set already; empty: there is none. `demo`: endpoints come
// later, and listener and admin have defaults.
Settings Resolve(const Machine& machine, bool demo, std::span<const ConfigNode> documents, Problems& problems,
                 SaidKeys& said, const Settings* running = nullptr);

// Of `weir reload`: where the running process is found.
Settings ResolveTarget(Problems& problems, SaidKeys& said);

}  // namespace weir::lb
