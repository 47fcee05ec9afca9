// The arithmetic of outlier ejection: how many, and for how long. Pure.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>

namespace weir::lb {

// Of `endpoints` so many may be ejected at one time: `percent` of them, one at least, and never all.
inline uint32_t MostEjected(uint32_t endpoints, uint32_t percent) {
  if (endpoints < 2) return 0;
  return std::clamp(static_cast<uint32_t>(uint64_t{endpoints} * percent / 100), 1u, endpoints - 1);
}

// How long the ejection is that comes after `times` others; without jitter. REQUIRES: base_ms > 0.
inline uint32_t EjectionMs(uint32_t base_ms, uint32_t most_ms, uint32_t times) {
  return static_cast<uint32_t>(std::min(uint64_t{base_ms} * (uint64_t{times} + 1), uint64_t{most_ms}));
}

// How many others it comes after then: no more than lengthen the next one.
inline uint32_t NextTimes(uint32_t base_ms, uint32_t most_ms, uint32_t times) {
  return EjectionMs(base_ms, most_ms, times) < most_ms ? times + 1 : times;
}

// Of several success rates (0 to 1): what lies below this is an outlier: `factor` standard deviations below
// the mean, and no less than kLeastGap, or of endpoints that are all nearly the same one would always be.
inline constexpr double kLeastGap = 0.05;
struct SuccessRates {
  double mean = 0;
  double threshold = 0;
};
inline SuccessRates CompareRates(std::span<const double> rates, double factor) {
  double sum = 0;
  for (const double rate : rates) sum += rate;
  const auto count = static_cast<double>(rates.size());
  const double mean = sum / count;
  double squares = 0;
  for (const double rate : rates) squares += (rate - mean) * (rate - mean);
  return {mean, mean - std::max(factor * std::sqrt(squares / count), kLeastGap)};
}

}  // namespace weir::lb
