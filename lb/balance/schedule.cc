#include "lb/balance/schedule.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "core/check.h"

namespace weir::lb {

std::vector<uint32_t> SlotsPerEndpoint(std::span<const uint32_t> weights) {
  WEIR_CHECK(!weights.empty() && weights.size() <= kMaxSlots / 4);
  uint32_t divisor = 0;
  for (const uint32_t weight : weights) divisor = std::gcd(divisor, weight);
  WEIR_CHECK(divisor > 0);
  std::vector<uint32_t> slots(weights.begin(), weights.end());
  uint64_t sum = 0;
  for (uint32_t& slot : slots) sum += slot /= divisor;
  if (sum <= kMaxSlots) return slots;
  // Rounding adds at most one half a slot to each, the minimum of 1 at most one.
  const uint64_t room = kMaxSlots - weights.size();
  for (uint32_t& slot : slots) {
    slot = std::max<uint32_t>(1, static_cast<uint32_t>((slot * room + sum / 2) / sum));
  }
  return slots;
}

std::vector<uint16_t> LayOut(std::span<const uint32_t> slots_per_endpoint) {
  // Endpoints of equal weight gain equally, so that among them the one chosen longest ago is the richest:
  // only the first of each group has to be looked at.
  struct Group {
    std::vector<uint16_t> members;
    size_t next = 0;
    int64_t credit = 0;  // of the member that is next
    int64_t rounds = 0;
  };
  std::map<uint32_t, Group> by_weight;
  uint64_t sum = 0;
  for (size_t i = 0; i < slots_per_endpoint.size(); ++i) {
    by_weight[slots_per_endpoint[i]].members.push_back(static_cast<uint16_t>(i));
    sum += slots_per_endpoint[i];
  }
  WEIR_CHECK(sum > 0 && sum <= kMaxSlots);

  std::vector<uint16_t> schedule;
  schedule.reserve(sum);
  for (uint64_t turn = 1; turn <= sum; ++turn) {
    Group* richest = nullptr;
    for (auto& [weight, group] : by_weight) {
      group.credit = static_cast<int64_t>(weight * turn) - static_cast<int64_t>(sum) * group.rounds;
      const bool richer =
          richest == nullptr || group.credit > richest->credit ||
          (group.credit == richest->credit && group.members[group.next] < richest->members[richest->next]);
      if (richer) richest = &group;
    }
    schedule.push_back(richest->members[richest->next]);
    if (++richest->next == richest->members.size()) {
      richest->next = 0;
      ++richest->rounds;
    }
  }
  return schedule;
}

}  // namespace weir::lb
