#include "lb/balance/hash_table.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <utility>

#include "core/check.h"

namespace weir::lb {
namespace {

constexpr uint16_t kFree = UINT16_MAX;
// The second hash of a name; the first has the seed 0.
constexpr uint64_t kSecond = 1;
// A ring has no more points than this, or than so many for each endpoint.
constexpr uint64_t kMaxPoints = 131'072;
constexpr uint64_t kMaxPointsPerEndpoint = 128;

// Whose turn it is, round by round. The heaviest have a turn in every round, the others in their proportion:
// turn k of an endpoint falls into round (k + 1/2) * heaviest / weight. Rounds lie in a circle of lists, long
// enough for the lightest (one and a half times `heaviest` lies between its first two turns).
class Turns {
 public:
  Turns(uint32_t slots, std::span<const uint32_t> weights)
      : weights_(weights),
        heaviest_(*std::max_element(weights.begin(), weights.end())),
        taken_(weights.size()),
        rounds_(2 * heaviest_ + 1) {
    const auto sum = std::accumulate(weights.begin(), weights.end(), uint64_t{0});
    for (uint32_t i = 0; i < weights.size(); ++i) {
      // Who would come to less than one slot has it right away.
      const bool starved = uint64_t{slots} * weights[i] < sum;
      rounds_[starved ? 0 : RoundOf(i)].push_back(i);
    }
  }

  uint32_t Next() {
    while (at_ == rounds_[round_ % rounds_.size()].size()) {
      rounds_[round_ % rounds_.size()].clear();
      ++round_;
      at_ = 0;
    }
    const uint32_t endpoint = rounds_[round_ % rounds_.size()][at_++];
    ++taken_[endpoint];
    const uint64_t next = std::max(RoundOf(endpoint), round_ + 1);
    rounds_[next % rounds_.size()].push_back(endpoint);
    return endpoint;
  }

 private:
  uint64_t RoundOf(uint32_t endpoint) const {
    return (2 * taken_[endpoint] + 1) * heaviest_ / (2 * uint64_t{weights_[endpoint]});
  }

  const std::span<const uint32_t> weights_;
  const uint64_t heaviest_;
  std::vector<uint64_t> taken_;  // turns, by endpoint
  std::vector<std::vector<uint32_t>> rounds_;
  uint64_t round_ = 0;
  size_t at_ = 0;  // in its list
};

uint32_t NextPrime(uint32_t number) {
  while (!IsPrime(number)) ++number;
  return number;
}

}  // namespace

bool IsPrime(uint32_t number) {
  if (number < 2) return false;
  for (uint64_t divisor = 2; divisor * divisor <= number; ++divisor) {
    if (number % divisor == 0) return false;
  }
  return true;
}

std::vector<uint16_t> Populate(uint32_t slots, std::span<const Permutation> permutations,
                               std::span<const uint32_t> weights) {
  WEIR_CHECK(!permutations.empty() && permutations.size() == weights.size() && permutations.size() < kFree);
  std::vector<uint16_t> table(slots, kFree);
  std::vector<uint32_t> next;
  for (const Permutation& permutation : permutations) next.push_back(permutation.offset);
  Turns turns(slots, weights);
  for (uint32_t filled = 0; filled < slots; ++filled) {
    const uint32_t endpoint = turns.Next();
    const uint32_t skip = permutations[endpoint].skip;
    uint32_t slot = next[endpoint];
    const auto step = [&] {
      slot += skip;
      if (slot >= slots) slot -= slots;
    };
    while (table[slot] != kFree) step();
    table[slot] = static_cast<uint16_t>(endpoint);
    step();
    next[endpoint] = slot;
  }
  return table;
}

HashTable::HashTable(std::span<const std::string_view> names, std::span<const uint32_t> weights)
    : weights_(weights.begin(), weights.end()), ranks_(names.size()), order_(names.size()) {
  WEIR_CHECK(!names.empty() && names.size() == weights.size() && names.size() <= 16'384);
  for (const std::string_view name : names) name_hashes_.push_back(HashName(name, 0));
  std::iota(order_.begin(), order_.end(), 0u);
  std::sort(order_.begin(), order_.end(),
            [&](uint32_t a, uint32_t b) { return std::pair(names[a], a) < std::pair(names[b], b); });
  for (uint32_t rank = 0; rank < order_.size(); ++rank) ranks_[order_[rank]] = rank;
}

std::shared_ptr<const HashTable> HashTable::Maglev(std::span<const std::string_view> names,
                                                   std::span<const uint32_t> weights, uint32_t slots) {
  std::shared_ptr<HashTable> table(new HashTable(names, weights));
  WEIR_CHECK(slots <= kMaxSlots && IsPrime(slots));
  const auto least = static_cast<uint32_t>(names.size() * kSlotsPerEndpoint);
  if (slots < least) slots = NextPrime(least);
  std::vector<Permutation> permutations;
  std::vector<uint32_t> ordered_weights;
  for (const uint32_t endpoint : table->order_) {
    const uint64_t second = HashName(names[endpoint], kSecond);
    permutations.push_back({static_cast<uint32_t>(table->name_hashes_[endpoint] % slots),
                            static_cast<uint32_t>(second % (slots - 1) + 1)});
    ordered_weights.push_back(weights[endpoint]);
  }
  table->endpoints_ = Populate(slots, permutations, ordered_weights);
  for (uint16_t& slot : table->endpoints_) slot = static_cast<uint16_t>(table->order_[slot]);
  return table;
}

std::shared_ptr<const HashTable> HashTable::Ring(std::span<const std::string_view> names,
                                                 std::span<const uint32_t> weights) {
  std::shared_ptr<HashTable> table(new HashTable(names, weights));
  // Halved until they fit: so the points of an endpoint stay the same while others come and go, but where the
  // sum of weights crosses a power of two.
  const auto sum = std::accumulate(weights.begin(), weights.end(), uint64_t{0});
  const uint64_t most = std::max(kMaxPoints, kMaxPointsPerEndpoint * names.size());
  uint32_t halvings = 0;
  while (((sum * kPointsPerWeight) >> halvings) > most) ++halvings;
  // With ranks: two points on one spot (2^-64 each) stand in the order of their names.
  std::vector<std::pair<uint64_t, uint16_t>> points;
  points.reserve(((sum * kPointsPerWeight) >> halvings) + names.size());
  for (const uint32_t endpoint : table->order_) {
    const uint32_t count = std::max(1u, (weights[endpoint] * kPointsPerWeight) >> halvings);
    uint64_t state = HashName(names[endpoint], kSecond);
    for (uint32_t i = 0; i < count; ++i) {
      points.emplace_back(MixBits(state += 0x9e3779b97f4a7c15u),
                          static_cast<uint16_t>(table->ranks_[endpoint]));
    }
  }
  std::sort(points.begin(), points.end());

  const auto parts_log = static_cast<uint32_t>(std::bit_width(points.size()));
  table->shift_ = 64 - parts_log;
  table->first_point_.reserve(size_t{1} << parts_log);
  for (const auto& [point, rank] : points) {
    while (table->first_point_.size() <= point >> table->shift_) {
      table->first_point_.push_back(static_cast<uint32_t>(table->points_.size()));
    }
    table->points_.push_back(point);
    table->endpoints_.push_back(static_cast<uint16_t>(table->order_[rank]));
  }
  table->first_point_.resize(size_t{1} << parts_log, static_cast<uint32_t>(points.size()));
  return table;
}

}  // namespace weir::lb
