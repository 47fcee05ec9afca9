// FormatAccessLine: an AccessRecord as one line of strict JSON (RFC 8259), ended by LF. Text from peers
// cannot break the line: quotes, backslashes and control bytes are escaped, and every byte above 0x7e becomes
// \u00XX (so a line is ASCII whatever the peer sent, and the original bytes can be told). Text longer than
// its bound is cut and ends with a "…", which by that rule cannot come from the peer. No allocation; about
// 300 ns (bench/access_line_bench.cc).
#pragma once

#include <cstddef>
#include <cstdint>

#include "lb/log/record.h"

namespace weir::lb {

// Bounds of the escaped texts, and of the whole line.
inline constexpr size_t kMaxLoggedTarget = 2048;
inline constexpr size_t kMaxLoggedHost = 256;
inline constexpr size_t kMaxLoggedMethod = 32;
inline constexpr size_t kMaxLoggedRequestId = 128;
inline constexpr size_t kMaxLoggedEnd = 64;
inline constexpr size_t kMaxAccessLineBytes = 4096;

// `wall_ms`: when it ended, Unix time. Returns the line's length; 0 when `capacity` < kMaxAccessLineBytes.
size_t FormatAccessLine(const AccessRecord& record, int64_t wall_ms, char* out, size_t capacity);

}  // namespace weir::lb
