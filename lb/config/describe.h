// DescribeSettings: the resolved configuration and the memory budget in words, as `weir check` prints them.
#pragma once

#include <string>

#include "lb/config/settings.h"

namespace weir::lb {

std::string DescribeSettings(const Settings& settings);

}  // namespace weir::lb
