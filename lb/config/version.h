// The version, as `weir version`, the admin pages and the logs say it.
#pragma once

namespace weir::lb {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace weir::lb
