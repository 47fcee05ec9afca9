#include "lb/balance/round_robin.h"

#include <algorithm>

#include "core/check.h"
#include "lb/balance/schedule.h"

namespace weir::lb {
namespace {

// How many slots of tried endpoints the walk steps over before it takes any other endpoint.
constexpr uint32_t kMaxSteps = 16;

}  // namespace

RoundRobin::RoundRobin(std::span<const uint32_t> weights, uint64_t seed)
    : schedule_(LayOut(SlotsPerEndpoint(weights))),
      slots_(schedule_.size()),
      first_slot_(weights.size() + 1),
      usable_slots_(static_cast<uint32_t>(schedule_.size())),
      usable_(static_cast<uint32_t>(weights.size())),
      cursor_(static_cast<uint32_t>(seed % schedule_.size())) {
  for (const uint16_t endpoint : schedule_) ++first_slot_[endpoint + 1];
  for (size_t i = 1; i < first_slot_.size(); ++i) first_slot_[i] += first_slot_[i - 1];
  std::vector<uint32_t> at(first_slot_.begin(), first_slot_.end() - 1);
  for (uint32_t slot = 0; slot < schedule_.size(); ++slot) {
    slots_[at[schedule_[slot]]++] = slot;
    usable_slots_.Set(slot);
  }
}

uint32_t RoundRobin::Pick(std::span<const uint32_t> tried) noexcept {
  if (usable_.size() == 0) return UINT32_MAX;
  for (uint32_t step = 0; step < kMaxSteps; ++step) {
    uint32_t slot = usable_slots_.Next(cursor_);
    if (slot == BitSet::kNone) slot = usable_slots_.Next(0);
    cursor_ = slot + 1;
    const uint32_t endpoint = schedule_[slot];
    if (!Contains(tried, endpoint)) return endpoint;
  }
  return usable_.Other(tried, cursor_);
}

void RoundRobin::SetUsable(uint32_t endpoint, bool usable) noexcept {
  WEIR_CHECK(endpoint + 1 < first_slot_.size());
  if (usable == usable_.Has(endpoint)) return;
  if (usable) {
    usable_.Add(endpoint);
  } else {
    usable_.Remove(endpoint);
  }
  for (uint32_t i = first_slot_[endpoint]; i < first_slot_[endpoint + 1]; ++i) {
    if (usable) {
      usable_slots_.Set(slots_[i]);
    } else {
      usable_slots_.Clear(slots_[i]);
    }
  }
}

}  // namespace weir::lb
