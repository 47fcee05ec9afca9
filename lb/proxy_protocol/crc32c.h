// CRC32c (Castagnoli), as RFC 4960 appendix B has it.
#pragma once

#include <cstdint>
#include <string_view>

namespace weir::lb {

// Of `bytes` behind those that `before` is the sum of; 0: of nothing.
uint32_t Crc32c(std::string_view bytes, uint32_t before = 0);

}  // namespace weir::lb
