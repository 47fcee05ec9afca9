// The product's version, in `weir version`, the start line and the metrics.
#pragma once

#include <string_view>

namespace weir::lb {

inline constexpr std::string_view kVersion = "0.1.0";

}  // namespace weir::lb
