// Resolve: the values of the flags (as they are set now) and this machine → Settings, with every check that
// needs more than one value: what is missing, given twice, too much for the machine, or contradicts another
// flag.
#pragma once

#include <string>
#include <vector>

#include "lb/config/machine.h"
#include "lb/config/settings.h"

namespace weir::lb {

// Appends a sentence per mistake to `errors`; the settings are usable when it appended none. `demo`:
// endpoints come later, and listener and admin have defaults.
Settings ResolveFlags(const Machine& machine, bool demo, std::vector<std::string>& errors);

}  // namespace weir::lb
