// FormatAccessLine: an AccessRecord as one line of strict JSON (RFC 8259), ended by LF: the form of the
// access log where nothing else was asked for (access_format.h has the others). Texts are escaped and bounded
// by line_writer.h. No allocation; about 200 ns (bench/access_line_bench.cc).
#pragma once

#include <cstddef>
#include <cstdint>

#include "lb/log/record.h"

namespace weir::lb {

// Bounds of the escaped texts, and of the whole line.
inline constexpr size_t kMaxLoggedTarget = 2048;
inline constexpr size_t kMaxLoggedHost = 256;
inline constexpr size_t kMaxLoggedMethod = 32;
inline constexpr size_t kMaxLoggedUser = 256;
inline constexpr size_t kMaxLoggedUpstream = 64;
inline constexpr size_t kMaxLoggedRequestId = 128;
inline constexpr size_t kMaxLoggedTlv = 512;
inline constexpr size_t kMaxLoggedEnd = 64;
inline constexpr size_t kMaxAccessLineBytes = 4096;

// `wall_ms`: when it ended, Unix time. Returns the line's length; 0 when `capacity` < kMaxAccessLineBytes.
size_t FormatAccessLine(const AccessRecord& record, int64_t wall_ms, char* out, size_t capacity);

}  // namespace weir::lb
