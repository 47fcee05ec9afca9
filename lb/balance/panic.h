// Panic: which level serves, and whether all of its endpoints do, whatever is said of them. A level of which
// fewer than `panic_percent` of the endpoints are well is passed by for the next one; where no level has
// enough, the best one with anybody well serves with all that it has, as those few would drown, or as it is
// rather the checks that are wrong. Where nobody is well `on_all_down` decides. Whom an operator took out is
// not counted, and never serves.
//
// Counts and a decision, no endpoints: of a shard (levels.h), and of the control shard, which tells of it
// (lb/health/panic_watch.h); from the same views both decide the same.
#pragma once

#include <array>
#include <cstdint>

#include "lb/config/settings.h"

namespace weir::lb {

class LevelLayout;

// How an endpoint is.
struct Standing {
  bool well = true;    // checks and outlier detection have nothing against it
  bool out = false;    // an operator took it out
  bool aside = false;  // this shard leaves it alone for a while

  bool operator==(const Standing&) const = default;
};

class PanicTally {
 public:
  // All endpoints are well.
  PanicTally(const UpstreamSettings& settings, const LevelLayout& layout);

  // An endpoint of `level`.
  void Change(uint32_t level, const Standing& before, const Standing& after) noexcept;

  // Everybody serves who is not out.
  bool panic() const { return panic_; }
  // The level to ask before all others, and whether no other may be asked.
  uint32_t first() const { return first_; }
  bool alone() const { return alone_; }
  // Whether who is not well serves in `level`.
  bool InPanic(uint32_t level) const { return panic_ && (!alone_ || level == first_); }

  uint32_t there() const;  // whom no operator took out
  uint32_t well() const;   // of these

 private:
  struct Counts {
    uint32_t there = 0;
    uint32_t well = 0;
  };

  bool HasEnough(const Counts& counts) const {
    return counts.well > 0 && uint64_t{counts.well} * 100 >= uint64_t{counts.there} * percent_;
  }
  void Decide() noexcept;
  void Panic(uint32_t level, bool alone) noexcept;

  std::array<Counts, EndpointSettings::kLevels> counts_ = {};
  uint32_t levels_;
  uint32_t percent_;
  AllDown all_down_;
  bool has_backup_;  // the last level
  bool panic_ = false;
  bool alone_ = false;
  uint32_t first_ = 0;
};

}  // namespace weir::lb
