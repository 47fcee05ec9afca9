#include "lb/balance/by_chance.h"

#include <algorithm>

#include "core/check.h"

namespace weir::lb {
namespace {

// So much of the difference does a request move the mean of all.
constexpr double kMeanGain = 1.0 / 64;

// Of two that were drawn, the one with less cost / share. Without a jump: nobody could foretell it.
template <class Number>
uint32_t Cheaper(WeightedDraw::Two drawn, const WeightedDraw& draw, Number cost_one, Number cost_two) {
  const bool second = cost_two * static_cast<Number>(draw.share(drawn.one)) <
                      cost_one * static_cast<Number>(draw.share(drawn.two));
  return drawn.one ^ ((drawn.one ^ drawn.two) & (second ? UINT32_MAX : 0));
}

}  // namespace

uint32_t PowerOfTwo::Pick(const PickContext& context) noexcept {
  const auto [one, two] = draw_.DrawTwo(context.tried);
  if (two == kNobody) return one;
  const auto cost = [&](uint32_t endpoint) { return uint64_t{in_flight_[endpoint].all()} + 1; };
  return Cheaper({one, two}, draw_, cost(one), cost(two));
}

void PowerOfTwo::Release(uint32_t endpoint) noexcept {
  WEIR_CHECK(in_flight_[endpoint].own > 0);
  --in_flight_[endpoint].own;
}

Ewma::Ewma(std::span<const uint32_t> weights, uint64_t seed, int64_t decay_ns)
    : ByChance(weights, seed), peers_(weights.size()), per_decay_(1.0 / static_cast<double>(decay_ns)) {
  WEIR_CHECK(decay_ns > 0);
}

uint32_t Ewma::Pick(const PickContext& context) noexcept {
  const auto [one, two] = draw_.DrawTwo(context.tried);
  if (two == kNobody) return one;
  const auto cost = [&](uint32_t endpoint) {
    return LatencyNs(endpoint, context.now_ns) * (peers_[endpoint].in_flight.all() + 1.0);
  };
  return Cheaper({one, two}, draw_, cost(one), cost(two));
}

void Ewma::Release(uint32_t endpoint) noexcept {
  WEIR_CHECK(peers_[endpoint].in_flight.own > 0);
  --peers_[endpoint].in_flight.own;
}

void Ewma::Observe(uint32_t endpoint, int64_t latency_ns, int64_t now_ns) noexcept {
  Peer& peer = peers_[endpoint];
  const auto latency = static_cast<double>(std::max<int64_t>(latency_ns, 1));
  if (peer.measured_ns == kNever || latency >= LatencyNs(endpoint, now_ns)) {
    peer.latency_ns = latency;  // a peak
  } else {
    peer.latency_ns = latency + (peer.latency_ns - latency) * Decay(peer.measured_ns, now_ns);
  }
  peer.measured_ns = now_ns;
  mean_ns_ += mean_ns_ == 0 ? latency : (latency - mean_ns_) * kMeanGain;
}

double Ewma::LatencyNs(uint32_t endpoint, int64_t now_ns) const {
  const Peer& peer = peers_[endpoint];
  const double mean = mean_ns_ == 0 ? 1 : mean_ns_;
  if (peer.measured_ns == kNever) return mean;
  return mean + (peer.latency_ns - mean) * Decay(peer.measured_ns, now_ns);
}

// About e to the power of minus the time, in units of decay_ns.
double Ewma::Decay(int64_t from_ns, int64_t to_ns) const {
  const double x = static_cast<double>(std::max<int64_t>(to_ns - from_ns, 0)) * per_decay_;
  return 1 / (1 + x * (1 + x * (1.0 / 2 + x * (1.0 / 6))));
}

}  // namespace weir::lb
