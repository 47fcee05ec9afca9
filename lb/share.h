// A share of what passes: of log lines, of requests that are mirrored.
#pragma once

#include <cstdint>
#include <string>

namespace weir::lb {

struct Share {
  static constexpr uint64_t kAll = uint64_t{1} << 32;

  uint64_t value = kAll;      // of kAll
  std::string text = "100%";  // as it was said

  // `bits`: any 64 random ones.
  bool Takes(uint64_t bits) const { return (bits >> 32) < value; }
  bool operator==(const Share&) const = default;
};

}  // namespace weir::lb
