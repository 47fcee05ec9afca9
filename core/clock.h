// Time as the shards see it: one reading a turn, so that everything in a turn agrees on what time it is.
// Monotonic nanoseconds for durations, wall seconds only for what people and peers read (Date, log).
#pragma once

#include <cstdint>

namespace weir {

inline constexpr int64_t kNsPerUs = 1'000;
inline constexpr int64_t kNsPerMs = 1'000'000;
inline constexpr int64_t kNsPerSecond = 1'000'000'000;
inline constexpr int64_t kNever = INT64_MAX;

struct Now {
  int64_t mono_ns = 0;  // monotonic; never goes back
  int64_t wall_ms = 0;  // Unix time, may jump
};

}  // namespace weir
