#include "lb/route/rendezvous.h"

#include <array>
#include <bit>

#include "lb/route/hash_key.h"

namespace weir::lb {
namespace {

__extension__ using Wide = unsigned __int128;

// Numbers below 1 in units of 2^-64.
constexpr uint64_t Times(uint64_t a, uint64_t b) { return static_cast<uint64_t>(Wide{a} * b >> 64); }
constexpr uint64_t OneBy(uint64_t n) { return UINT64_MAX / n; }
constexpr uint64_t kOneByLn2LessOne = 0x71547652b82fe177u;  // 1 / ln 2 - 1

// The logarithm of a number from 1 to 2 is that of the nearest of these below it, and a short series for the
// rest.
constexpr int kStepBits = 6;
constexpr uint64_t kSteps = 1 << kStepBits;
struct Step {
  uint64_t log2;    // of 1 + i / kSteps, in units of 2^-kLotBits
  uint64_t one_by;  // 1 / (kSteps + i), in units of 2^-64
};

// Bit by bit: a square's logarithm is twice the number's.
constexpr uint64_t Log2Of(uint64_t number) {  // from 1 to 2, in units of 2^-63
  uint64_t log2 = 0;
  for (int i = 0; i < kLotBits; ++i) {
    const Wide square = Wide{number} * number >> 63;
    const bool over = square >> 64 != 0;
    number = static_cast<uint64_t>(over ? square >> 1 : square);
    log2 = log2 << 1 | (over ? 1 : 0);
  }
  return log2;
}

constexpr std::array<Step, kSteps> kTable = [] {
  std::array<Step, kSteps> table{};
  for (uint64_t i = 0; i < kSteps; ++i) {
    table[i] = {Log2Of((kSteps + i) << (63 - kStepBits)), OneBy(kSteps + i)};
  }
  return table;
}();

}  // namespace

uint64_t LotOf(uint64_t key_hash, uint64_t name_hash) {
  const uint64_t hash = MixBits(key_hash ^ name_hash) | 1;  // never 0: its logarithm is finite
  const int zeros = std::countl_zero(hash);
  const uint64_t number = hash << zeros;  // from 1 to 2, in units of 2^-63
  const Step& step = kTable[number >> (63 - kStepBits) & (kSteps - 1)];
  // number = step's number * (1 + rest)
  const uint64_t rest = Times(number << (1 + kStepBits), step.one_by);
  // ln(1 + x) = x (1 - x (1/2 - x (1/3 - ...))); as x is less than 1/kSteps, six of them are enough.
  uint64_t sum = OneBy(6);
  for (uint64_t n = 5; n > 0; --n) sum = OneBy(n) - Times(rest, sum);
  sum = Times(rest, sum);
  const uint64_t log2 = step.log2 + ((sum + Times(sum, kOneByLn2LessOne)) >> (64 - kLotBits));
  return (uint64_t{1} + static_cast<uint64_t>(zeros)) * (uint64_t{1} << kLotBits) - log2;
}

}  // namespace weir::lb
