// Schedule: the order of smooth weighted round robin, laid out once: slot → endpoint. Each endpoint has as
// many slots as its weight (divided by the weights' greatest common divisor), spread as nginx does it (each
// turn everybody gains its weight, the richest is chosen and pays the sum): 5, 1, 1 gives a a b a c a a.
// Bound: kMaxSlots. Weights that add up to more are scaled down, each to at least 1: shares are then right
// within one slot per endpoint, and an endpoint far lighter than the average gets more than its share.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace weir::lb {

inline constexpr uint32_t kMaxSlots = 65'536;

// The weights as slots per endpoint. REQUIRES: at most kMaxSlots / 4 weights, none 0.
std::vector<uint32_t> SlotsPerEndpoint(std::span<const uint32_t> weights);

// Costs O(slots * distinct weights).
std::vector<uint16_t> LayOut(std::span<const uint32_t> slots_per_endpoint);

}  // namespace weir::lb
