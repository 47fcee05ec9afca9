#include "lb/balance/round_robin.h"

#include <algorithm>

#include "core/check.h"
#include "lb/balance/schedule.h"

namespace weir::lb {
namespace {

// How many slots of tried endpoints the walk steps over before it takes any other endpoint, and how many
// while some are starting.
constexpr uint32_t kMaxSteps = 16;
constexpr uint32_t kMaxStepsWhileStarting = 64;

}  // namespace

RoundRobin::RoundRobin(std::span<const uint32_t> weights, uint64_t seed)
    : schedule_(LayOut(SlotsPerEndpoint(weights))),
      slots_(schedule_.size()),
      first_slot_(weights.size() + 1),
      usable_slots_(static_cast<uint32_t>(schedule_.size())),
      usable_(static_cast<uint32_t>(weights.size())),
      starts_(weights.size()),
      cursor_(static_cast<uint32_t>(seed % schedule_.size())) {
  for (const uint16_t endpoint : schedule_) ++first_slot_[endpoint + 1];
  for (size_t i = 1; i < first_slot_.size(); ++i) first_slot_[i] += first_slot_[i - 1];
  std::vector<uint32_t> at(first_slot_.begin(), first_slot_.end() - 1);
  for (uint32_t slot = 0; slot < schedule_.size(); ++slot) {
    slots_[at[schedule_[slot]]++] = slot;
    usable_slots_.Set(slot);
  }
}

uint32_t RoundRobin::Pick(const PickContext& context) noexcept {
  if (usable_.size() == 0) return kNobody;
  const uint32_t steps = starting_ == 0 ? kMaxSteps : kMaxStepsWhileStarting;
  uint32_t reluctant = kNobody;
  uint32_t behind_reluctant = 0;
  for (uint32_t step = 0; step < steps; ++step) {
    uint32_t slot = usable_slots_.Next(cursor_);
    if (slot == BitSet::kNone) slot = usable_slots_.Next(0);
    cursor_ = slot + 1;
    const uint32_t endpoint = schedule_[slot];
    if (Contains(context.tried, endpoint)) continue;
    if (starting_ == 0 || TakesTurn(endpoint)) return endpoint;
    if (reluctant != kNobody) continue;
    reluctant = endpoint;
    behind_reluctant = cursor_;
  }
  if (reluctant == kNobody) return usable_.Other(context.tried, cursor_);
  cursor_ = behind_reluctant;
  return reluctant;
}

bool RoundRobin::TakesTurn(uint32_t endpoint) {
  Start& start = starts_[endpoint];
  const uint32_t saved = uint32_t{start.saved} + start.factor;
  start.saved = static_cast<uint16_t>(saved % kFullFactor);
  return saved >= kFullFactor;
}

void RoundRobin::SetWeightFactor(uint32_t endpoint, uint32_t factor) noexcept {
  Start& start = starts_[endpoint];
  if (start.factor == kFullFactor) {
    ++starting_;
    // Those that start together do not have their turns together.
    start.saved = static_cast<uint16_t>(endpoint * 0x9e3779b1u >> 22);
  }
  start.factor = ClampFactor(factor);
  if (start.factor == kFullFactor) --starting_;
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
