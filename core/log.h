// Lines for the operator, on standard error: "weir: 2026-01-02T03:04:05Z message". For start, stop and rare
// events, from any thread, never from the data path (access lines go through lb/log).
#pragma once

namespace weir {

[[gnu::format(printf, 1, 2)]] void LogLine(const char* format, ...);
// For what may come often: not at all if standard error would make it wait. False: it was not written.
[[gnu::format(printf, 1, 2)]] bool LogLineNow(const char* format, ...);

}  // namespace weir
