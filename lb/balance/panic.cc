#include "lb/balance/panic.h"

#include "lb/balance/levels.h"

namespace weir::lb {

PanicTally::PanicTally(const UpstreamSettings& settings, const LevelLayout& layout)
    : levels_(layout.levels()),
      percent_(settings.panic_percent),
      all_down_(settings.all_down),
      has_backup_(layout.number(layout.levels() - 1) == EndpointSettings::kBackup) {
  for (uint32_t level = 0; level < levels_; ++level) {
    const auto count = layout.size(level);
    counts_[level] = {.there = count, .well = count};
  }
}

void PanicTally::Change(uint32_t level, const Standing& before, const Standing& after) noexcept {
  const auto is_well = [](const Standing& standing) { return standing.well && !standing.out; };
  if (before.out == after.out && is_well(before) == is_well(after)) return;
  Counts& counts = counts_[level];
  counts.there = counts.there - !before.out + !after.out;
  counts.well = counts.well - is_well(before) + is_well(after);
  Decide();
}

void PanicTally::Panic(uint32_t level, bool alone) noexcept {
  panic_ = true;
  alone_ = alone;
  first_ = level;
}

void PanicTally::Decide() noexcept {
  panic_ = alone_ = false;
  for (first_ = 0; first_ < levels_; ++first_) {
    if (HasEnough(counts_[first_])) return;
  }
  for (uint32_t level = 0; level < levels_; ++level) {
    if (counts_[level].well > 0) return Panic(level, false);
  }
  first_ = 0;
  if (all_down_ == AllDown::kBackup && has_backup_ && counts_[levels_ - 1].there > 0)
    return Panic(levels_ - 1, true);
  if (all_down_ != AllDown::kPanic) return;
  for (uint32_t level = 0; level < levels_; ++level) {
    if (counts_[level].there > 0) return Panic(level, false);
  }
}

uint32_t PanicTally::there() const {
  uint32_t sum = 0;
  for (const Counts& counts : counts_) sum += counts.there;
  return sum;
}

uint32_t PanicTally::well() const {
  uint32_t sum = 0;
  for (const Counts& counts : counts_) sum += counts.well;
  return sum;
}

}  // namespace weir::lb
