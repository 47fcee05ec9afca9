#include "lb/config/describe.h"

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "lb/config/budget.h"
#include "lb/config/flag_table.h"
#include "lb/config/version.h"

namespace weir::lb {
namespace {

constexpr size_t kAmountColumn = 92;

void AppendLine(std::string& out, const std::string& what, const std::string& amount) {
  const size_t used = 4 + what.size() + amount.size();
  out.append("#   ")
      .append(what)
      .append(used < kAmountColumn ? kAmountColumn - used : 1, ' ')
      .append(amount)
      .append("\n");
}

std::string MiB(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  return text;
}

}  // namespace

std::string DescribeSettings(const Settings& settings) {
  std::string out =
      "# weir " + std::string(kVersion) + ": the configuration is valid; this is a flag file of it\n";
  FlagGroup group = FlagGroup::kStopping;
  for (const FlagRow& row : FlagTable()) {
    if (row.group != group) {
      group = row.group;
      out.append("\n# ").append(GroupTitle(group)).append("\n");
    }
    const std::string value = row.resolved(settings);
    // What is off has no value to give.
    out.append(value.empty() ? "# --" : "--").append(row.name).append("=").append(value).append("\n");
  }

  const MemoryBudget budget = ComputeBudget(settings);
  out += "\n# Memory, if every bound is reached at once\n";
  for (const BudgetLine& line : budget.memory) AppendLine(out, line.what, MiB(line.amount));
  AppendLine(out, "all together", MiB(budget.memory_bytes));
  AppendLine(out, absl::StrCat("address space reserved for requests: ", settings.shards, " x"),
             MiB(budget.shard.arena_bytes));

  out += "\n# Open files, likewise\n";
  for (const BudgetLine& line : budget.files) AppendLine(out, line.what, absl::StrCat(line.amount));
  AppendLine(out, "all together", absl::StrCat(budget.file_count));
  AppendLine(out, "limit", absl::StrCat(settings.fd_limit));
  return out;
}

}  // namespace weir::lb
