// Weighted rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit rates";
// weights as in Schindelhauer and Schomaker, "Weighted distributed hash tables"): for a key each candidate
// draws a lot that depends on the key and on the candidate's name alone, and the one with the highest weight
// / -log(lot) is met. So each gets the share that its weight has of the sum, wherever it stands in a list;
// and as nobody's lot changes with the others, a candidate that is added or gains weight takes keys for
// itself and moves none between others, one that is removed or loses weight gives up some of its own.
// Pure, whole numbers only: the same on every machine, whatever its floating point does.
#pragma once

#include <cstdint>

namespace weir::lb {

// A candidate's lot for a key: -log2 of a number between 0 and 1 that is drawn for the two, in units of
// 2^-kLotBits; at most 64. Off by less than 2^-40. REQUIRES: hashes in which every bit depends on all that
// was hashed (StableHash).
inline constexpr int kLotBits = 57;
uint64_t LotOf(uint64_t key_hash, uint64_t name_hash);

// Whether a candidate comes before another one. REQUIRES: weights that are not 0. Comparing products rather
// than quotients makes it exact: weights of 95 and 5 are the same as those of 950 and 50.
inline bool ComesBefore(uint64_t lot, uint32_t weight, uint64_t other_lot, uint32_t other_weight) {
  __extension__ using Wide = unsigned __int128;
  return Wide{lot} * other_weight < Wide{other_lot} * weight;
}

}  // namespace weir::lb
