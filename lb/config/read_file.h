// A whole file as text.
#pragma once

#include <optional>
#include <string>

namespace weir::lb {

// The file's text, or nothing with errno (EFBIG above 64 MiB).
std::optional<std::string> ReadWholeFile(const std::string& path);

}  // namespace weir::lb
