#include "lb/balance/consistent.h"

#include <bit>

#include "core/check.h"

namespace weir::lb {
namespace {

// Where so many could have taken the key but for their slow start, they are probably all in it.
constexpr uint32_t kMaxReluctant = 16;

// -log2(hash / 2^64), with 32 bits of fraction, within 0.01: integers, so that it is the same on any machine.
uint64_t NegativeLog2(uint64_t hash) {
  const auto zeros = static_cast<uint32_t>(std::countl_zero(hash | 1));
  const uint64_t fraction = (hash << zeros << 1) >> 32;
  constexpr uint64_t kCurve = 1'488'522'236;  // log2(1 + f) is nearly f + 0.3466 * f * (1 - f)
  const uint64_t curve = ((fraction * (UINT32_MAX - fraction)) >> 32) * kCurve >> 32;
  return (uint64_t{zeros + 1} << 32) - fraction - curve;
}

}  // namespace

Consistent::Consistent(std::shared_ptr<const HashTable> table, uint32_t load_percent)
    : table_(std::move(table)),
      takes_(table_->size(), kFullFactor),
      factors_(table_->size(), kFullFactor),
      in_flight_(table_->size()),
      usable_(table_->size()),
      load_percent_(load_percent) {
  WEIR_CHECK(load_percent == 0 || (load_percent > 100 && load_percent <= 100'000));
  for (uint32_t i = 0; i < table_->size(); ++i) shares_ += Share(i);
}

uint32_t Consistent::Pick(const PickContext& context) noexcept {
  if (usable_.size() == 0) return kNobody;
  const HashTable& table = *table_;
  const uint64_t key = MixKey(context.hash);
  uint32_t reluctant = kNobody;  // the first that its slow start keeps from this key
  uint32_t reluctants = 0;
  uint32_t place = table.First(key);
  for (uint32_t probe = 0; probe < kMaxProbes; ++probe, place = table.Next(place)) {
    const uint32_t endpoint = table.endpoint(place);
    const uint32_t takes = takes_[endpoint];
    if (takes == 0 || Contains(context.tried, endpoint)) continue;
    if (load_percent_ != 0 && !HasRoom(endpoint, context.loads)) continue;
    if (takes == kFullFactor || HashPair(key, table.name_hash(endpoint)) % kFullFactor < takes)
      return endpoint;
    if (reluctant == kNobody) reluctant = endpoint;
    if (++reluctants == kMaxReluctant) break;
  }
  return reluctant != kNobody ? reluctant : LookAtAll(key, context);
}

uint32_t Consistent::LookAtAll(uint64_t key, const PickContext& context) const {
  const HashTable& table = *table_;
  uint32_t winner = kNobody;
  uint64_t best = 0;
  uint32_t least = kNobody;
  uint64_t least_load = 0;
  const auto first_name = [&](uint32_t a, uint32_t b) { return table.rank(a) < table.rank(b); };
  for (const uint32_t endpoint : usable_.all()) {
    if (Contains(context.tried, endpoint)) continue;
    if (load_percent_ == 0 || HasRoom(endpoint, context.loads)) {
      // The smallest score / share wins.
      const uint64_t score = NegativeLog2(HashPair(key, table.name_hash(endpoint)));
      const bool wins = winner == kNobody || score * Share(winner) < best * Share(endpoint) ||
                        (score * Share(winner) == best * Share(endpoint) && first_name(endpoint, winner));
      if (!wins) continue;
      winner = endpoint;
      best = score;
    } else if (winner == kNobody) {
      const uint64_t load = uint64_t{Load(endpoint, context.loads)} + 1;
      const bool less = least == kNobody || load * Share(least) < least_load * Share(endpoint) ||
                        (load * Share(least) == least_load * Share(endpoint) && first_name(endpoint, least));
      if (!less) continue;
      least = endpoint;
      least_load = load;
    }
  }
  return winner != kNobody ? winner : least;
}

uint32_t Consistent::Load(uint32_t endpoint, const Loads* loads) const {
  return loads != nullptr ? loads->At(endpoint) : in_flight_[endpoint].all();
}

bool Consistent::HasRoom(uint32_t endpoint, const Loads* loads) const {
  using Wide = unsigned __int128;
  const uint64_t total = loads != nullptr ? loads->Total() : total_;
  // load + 1 <= ceil(x) is load < x, and no division is needed.
  return Wide{Load(endpoint, loads)} * 100 * shares_ < Wide{load_percent_} * (total + 1) * Share(endpoint);
}

void Consistent::Acquire(uint32_t endpoint) noexcept {
  ++in_flight_[endpoint].own;
  total_ += takes_[endpoint] != 0;
}

void Consistent::Release(uint32_t endpoint) noexcept {
  WEIR_CHECK(in_flight_[endpoint].own > 0);
  --in_flight_[endpoint].own;
  total_ -= takes_[endpoint] != 0;
}

void Consistent::SetRemote(uint32_t endpoint, uint32_t in_flight) noexcept {
  if (takes_[endpoint] != 0) total_ += uint64_t{in_flight} - in_flight_[endpoint].remote;
  in_flight_[endpoint].remote = in_flight;
}

void Consistent::SetUsable(uint32_t endpoint, bool usable) noexcept {
  if (usable == usable_.Has(endpoint)) return;
  if (usable) {
    usable_.Add(endpoint);
    takes_[endpoint] = factors_[endpoint];
    shares_ += Share(endpoint);
    total_ += in_flight_[endpoint].all();
  } else {
    usable_.Remove(endpoint);
    shares_ -= Share(endpoint);
    total_ -= in_flight_[endpoint].all();
    takes_[endpoint] = 0;
  }
}

void Consistent::SetWeightFactor(uint32_t endpoint, uint32_t factor) noexcept {
  factors_[endpoint] = ClampFactor(factor);
  if (takes_[endpoint] == 0) return;
  shares_ -= Share(endpoint);
  takes_[endpoint] = factors_[endpoint];
  shares_ += Share(endpoint);
}

}  // namespace weir::lb
