// RemoteLoads: how many requests the other shards have in flight, for the policies that count them. Every
// shard writes what it has into lines of its own; whoever wants to know reads them (relaxed), at most once in
// kPeriodNs and only when it chooses an endpoint. Nobody writes to what another one writes.
//  - A few endpoints (UpstreamSettings::kFewEndpoints): all counts are read.
//  - Many: each shard says what changed in a ring of its own (ChangeLog), and the others read what is new in
//    it. What a reader missed, as it was away for too long, or as the writer had not yet the same plan, it
//    finds by and by: some endpoints are read each time, in turns.
// With one shard there are none.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/shard.h"
#include "lb/upstream/plan.h"

namespace weir::lb {

class RemoteLoads {
 public:
  static constexpr int64_t kPeriodNs = kNsPerMs;

  // Tells `choices` all that the others have.
  RemoteLoads(const UpstreamPlan& plan, uint32_t shard, Choices& choices);

  // Tells `choices` what has changed since the last time.
  void Follow(int64_t now_ns, Choices& choices) {
    if (now_ns < next_ns_) [[likely]]
      return;
    next_ns_ = now_ns + kPeriodNs;
    ReadChanges(choices);
  }

 private:
  static constexpr uint32_t kInTurns = 16;   // read each time
  static constexpr uint32_t kHealing = 256;  // the same, as long as something was missed

  void ReadChanges(Choices& choices);
  void ReadAll(uint32_t endpoint, Choices& choices);
  void Take(uint32_t shard, uint32_t endpoint, uint32_t active, Choices& choices);

  const UpstreamPlan& plan_;
  const uint32_t shard_;
  const uint32_t shards_;
  std::vector<uint32_t> seen_;    // by shard and endpoint
  std::vector<uint32_t> remote_;  // by endpoint: the sum of these
  std::vector<uint64_t> read_;    // by shard: of its ring
  uint32_t turn_ = 0;             // the next endpoint to be read
  uint32_t missed_ = 0;           // so many endpoints may have changes that are not known
  int64_t next_ns_ = 0;
};

}  // namespace weir::lb
