// The one table of Weir's flags: name, group, type, default, the setting it goes to, one sentence. From it
// come the Abseil flags themselves, the parser, --help, the reference table of README.md and what `weir
// check` prints; a test fails when README.md and the table differ.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "absl/flags/declare.h"
#include "lb/config/flag_types.h"
#include "lb/config/settings.h"

namespace weir::lb {

enum class FlagGroup : uint8_t { kService, kMachine, kTimeouts, kLimits, kStopping };

struct FlagRow {
  std::string_view name;
  std::string_view file_key;  // where a configuration file says the same; empty: nowhere
  FlagGroup group;
  bool list;  // several values, by commas or by giving it again
  std::string_view placeholder;
  std::string_view default_text;  // empty: the flag's own default
  std::string_view sentence;
  // Sets the flag's value (a list: adds one element to it); false with what was expected.
  bool (*set)(std::string_view text, std::string* error);
  // Back to the default.
  void (*reset)();
  std::string (*flag_default)();
  // Copies the flag's value into the settings; null where resolve.cc does it.
  void (*apply)(Settings& settings);
  // The value in `settings` as the flag would say it.
  std::string (*resolved)(const Settings& settings);
};

std::span<const FlagRow> FlagTable();
const FlagRow* FindFlag(std::string_view name);
std::string_view GroupTitle(FlagGroup group);
// As --help shows it.
std::string DefaultText(const FlagRow& row);

// --help, and the table of README.md.
std::string HelpText();
std::string FlagsMarkdown();

// The types with bounds that the table uses.
inline constexpr uint32_t kMaxRetries = 7;  // lb/attempts.h
using ShardCount = CountIn<0, 256>;
using ConnectionCount = CountIn<0, 4'000'000>;
using RetryCount = CountIn<0, kMaxRetries>;
using RetryBudgetCount = CountIn<0, 1'000'000>;
using RequestCount = CountIn<0, 1'000'000'000>;
using IdleCount = CountIn<0, 1'000'000>;
using FieldCount = CountIn<1, http::kMaxFields>;
using BufferMemory = SizeIn<0, uint64_t{1} << 40, uint64_t>;
// A head with what Weir adds to it must fit a chunk of the arena (budget.h).
using HeadSize = SizeIn<http::kMinHeaderBytes, 30 * 1024, uint32_t>;
using BodySize = SizeIn<0, uint64_t{1} << 50, uint64_t>;  // 0: unlimited
// Beside its head, in a chunk of the arena.
using SpliceSize = SizeIn<0, uint64_t{1} << 40, uint64_t>;  // 0: never
using WholeBodySize = SizeIn<0, 24 * 1024, uint32_t>;
using TargetSize = SizeIn<16, 30 * 1024 - 1, uint32_t>;
using Patience = DurationIn<false>;
using OptionalPatience = DurationIn<true>;

}  // namespace weir::lb

// Flags that resolve.cc turns into settings; the others go where their row says.
ABSL_DECLARE_FLAG(weir::lb::PathText, config);
ABSL_DECLARE_FLAG(weir::lb::ListenerList, listen);
ABSL_DECLARE_FLAG(weir::lb::BackendList, backends);
ABSL_DECLARE_FLAG(weir::lb::OptionalAddress, admin);
ABSL_DECLARE_FLAG(weir::lb::TokenText, via_name);
ABSL_DECLARE_FLAG(weir::lb::ShardCount, shards);
ABSL_DECLARE_FLAG(weir::lb::CpuList, cpus);
ABSL_DECLARE_FLAG(weir::lb::ConnectionCount, max_connections);
ABSL_DECLARE_FLAG(weir::lb::BufferMemory, buffer_memory);
