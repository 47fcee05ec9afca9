// HashTable: where a key leads first, and where next if it cannot have that: a circle of places, each with an
// endpoint. Made once for a list of endpoints, off the data path, and then the same for all shards; nothing
// in it says who is healthy.
//  - Maglev (Eisenbud and others, "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016,
//    3.4): a table with a prime number of slots. Endpoints take turns, each the first free slot of a
//    permutation of its own. Shares are those of the weights within a slot or two.
//  - Ring (Karger and others, 1997; ketama): each endpoint has points on a circle, 160 for each unit of
//    weight, and a key belongs to the next one. An endpoint that leaves moves its own keys and no others, but
//    shares are within some 8 % at a weight of 1.
//
// What an endpoint is depends on its name alone (its address): the same list in another order makes the same
// table, on any node. Names and keys are hashed without a secret, and always as they are now: another hash
// would lead every key elsewhere.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "lb/balance/endpoint_hash.h"

namespace weir::lb {

// A permutation of 0 to M - 1, M prime: offset, offset + skip, offset + 2 * skip ..., modulo M.
// REQUIRES: offset < M, 0 < skip < M.
struct Permutation {
  uint32_t offset;
  uint32_t skip;
};

// Maglev's population: slot → index in `permutations`. Heavier ones have more turns, and everybody at least
// one, where there are enough slots. REQUIRES: `slots` is prime; weights between 1 and 1,000.
std::vector<uint16_t> Populate(uint32_t slots, std::span<const Permutation> permutations,
                               std::span<const uint32_t> weights);

bool IsPrime(uint32_t number);

class HashTable {
 public:
  static constexpr uint32_t kSlots = 65'537;
  static constexpr uint32_t kMaxSlots = 5'000'011;
  // Maglev has so many slots for each endpoint at least.
  static constexpr uint32_t kSlotsPerEndpoint = 100;
  static constexpr uint32_t kPointsPerWeight = 160;

  // `slots`: a prime up to kMaxSlots; where it is below kSlotsPerEndpoint for each endpoint, the next prime
  // that is not. REQUIRES: as many names as weights, 1 to 16,384; weights between 1 and 1,000.
  static std::shared_ptr<const HashTable> Maglev(std::span<const std::string_view> names,
                                                 std::span<const uint32_t> weights, uint32_t slots = kSlots);
  static std::shared_ptr<const HashTable> Ring(std::span<const std::string_view> names,
                                               std::span<const uint32_t> weights);

  uint32_t places() const { return static_cast<uint32_t>(endpoints_.size()); }
  uint32_t endpoint(uint32_t place) const { return endpoints_[place]; }
  // Where a key begins. `mixed`: MixKey of its hash.
  uint32_t First(uint64_t mixed) const {
    if (points_.empty())
      return static_cast<uint32_t>((static_cast<unsigned __int128>(mixed) * places()) >> 64);
    uint32_t place = first_point_[mixed >> shift_];
    while (place < points_.size() && points_[place] < mixed) ++place;
    return place < points_.size() ? place : 0;
  }
  uint32_t Next(uint32_t place) const { return place + 1 < places() ? place + 1 : 0; }

  uint32_t size() const { return static_cast<uint32_t>(weights_.size()); }
  uint32_t weight(uint32_t endpoint) const { return weights_[endpoint]; }
  uint64_t name_hash(uint32_t endpoint) const { return name_hashes_[endpoint]; }
  // Where it stands among the names.
  uint32_t rank(uint32_t endpoint) const { return ranks_[endpoint]; }

 private:
  HashTable(std::span<const std::string_view> names, std::span<const uint32_t> weights);

  std::vector<uint16_t> endpoints_;  // by place
  std::vector<uint32_t> weights_;    // by endpoint, as the next two
  std::vector<uint64_t> name_hashes_;
  std::vector<uint32_t> ranks_;
  std::vector<uint32_t> order_;  // endpoints in the order of their names
  // Ring only: where on the circle the places are, ascending; and of each equal part of the circle the first
  // point that is in it or after it, so that finding one takes a step or two.
  std::vector<uint64_t> points_;
  std::vector<uint32_t> first_point_;
  uint32_t shift_ = 0;
};

}  // namespace weir::lb
