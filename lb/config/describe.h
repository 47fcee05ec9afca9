// DescribeSettings: the resolved configuration and the memory budget in words, as `weir check` prints them:
// as a flag file if flags made it, else as a configuration file, each value with where it came from.
#pragma once

#include <string>

#include "lb/config/document.h"
#include "lb/config/file_reader.h"
#include "lb/config/settings.h"

namespace weir::lb {

std::string DescribeSettings(const Settings& settings, const SaidKeys& said, const Problems& problems);

}  // namespace weir::lb
