// The version, as `weir version`, the admin pages and the logs say it.
#pragma once

#include <string_view>

namespace weir::lb {

inline constexpr std::string_view kVersion = "0.1.0";

}  // namespace weir::lb
