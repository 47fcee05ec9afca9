// Zone preference: which share of a level's requests stays with the endpoints of Weir's own zone, where the
// level has others too. All of them while five sevenths of what is there are well, so that a few that are
// down cost no trip to another zone; below that 1.4 times the share that is well, so that those who are left
// have at most 1.4 times their usual load. Counted are weights, in a slow start so much of them as counts
// there; whom an operator took out is missing, as who is not well. What a single shard sets aside does not
// change the share: from the same views all shards decide the same.
//
// A number each for calm and for panic, kept up to date as endpoints change: asking is a comparison.
#pragma once

#include <cstdint>
#include <vector>

#include "lb/balance/panic.h"
#include "lb/balance/pick.h"
#include "lb/config/settings.h"

namespace weir::lb {

class ZoneTally {
 public:
  // All endpoints are well.
  ZoneTally(const UpstreamSettings& settings, const LevelLayout& layout);

  void Set(uint32_t endpoint, const Standing& standing) noexcept;
  void SetWeightFactor(uint32_t endpoint, uint32_t factor) noexcept;

  // Whether a request stays, in a level that has both. `draw`: evenly spread over all numbers. In panic all
  // count who may serve then.
  bool Stays(uint32_t level, bool panic, uint64_t draw) const {
    const Share& share = shares_[level];
    return (draw >> (64 - kShareBits)) < (panic ? share.in_panic : share.calm);
  }

 private:
  static constexpr int kShareBits = 24;

  struct Share {
    uint64_t whole = 0;  // weights times kFullFactor
    uint64_t there = 0;
    uint64_t well = 0;  // of these
    uint32_t calm = 1 << kShareBits;
    uint32_t in_panic = 1 << kShareBits;
  };
  struct Member {
    uint32_t weight;  // 0: it is not in Weir's zone, or all of its level are
    uint16_t level;
    uint16_t factor = kFullFactor;
    Standing standing = {};
  };

  static uint32_t ShareOf(uint64_t part, uint64_t whole);
  void Change(uint32_t endpoint, const Member& after) noexcept;

  std::vector<Share> shares_;    // by level
  std::vector<Member> members_;  // by endpoint
};

}  // namespace weir::lb
