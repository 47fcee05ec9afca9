#include "lb/proxy_protocol/crc32c.h"

#include <array>

namespace weir::lb {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // its bits reversed

constexpr std::array<uint32_t, 256> MakeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < table.size(); ++i) {
    uint32_t sum = i;
    for (int bit = 0; bit < 8; ++bit) sum = sum >> 1 ^ ((sum & 1) != 0 ? kPolynomial : 0);
    table[i] = sum;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kTable = MakeTable();

}  // namespace

uint32_t Crc32c(std::string_view bytes, uint32_t before) {
  uint32_t sum = ~before;
  for (const char c : bytes) sum = sum >> 8 ^ kTable[(sum ^ static_cast<uint8_t>(c)) & 0xff];
  return ~sum;
}

}  // namespace weir::lb
