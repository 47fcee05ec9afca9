// SortedSearch: which of many sorted numbers is the last one that is not larger than x? A static B-tree of
// cache lines: eight numbers each, so that 200,000 of them are six steps, without a branch that depends on x.
// Inside only. Immutable after construction.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/check.h"

namespace weir::lb {

class SortedSearch {
 public:
  SortedSearch() : SortedSearch(std::vector<uint64_t>{0}) {}
  // REQUIRES: sorted, and the first one is 0, so that there is an answer for every x.
  explicit SortedSearch(std::span<const uint64_t> sorted) {
    WEIR_CHECK(!sorted.empty() && sorted.front() == 0);
    WEIR_CHECK(std::is_sorted(sorted.begin(), sorted.end()) && sorted.size() < UINT32_MAX);
    std::vector<uint64_t> level(sorted.begin(), sorted.end());
    std::vector<std::vector<Line>> levels;
    while (true) {
      sizes_.push_back(static_cast<uint32_t>(level.size()));
      std::vector<uint64_t> above;
      levels.emplace_back((level.size() + kPerLine - 1) / kPerLine);
      for (size_t i = 0; i < level.size(); ++i) {
        levels.back()[i / kPerLine].numbers[i % kPerLine] = level[i];
        if (i % kPerLine == 0) above.push_back(level[i]);
      }
      if (above.size() == 1) break;
      level = std::move(above);
    }
    std::reverse(sizes_.begin(), sizes_.end());
    for (auto at = levels.rbegin(); at != levels.rend(); ++at)
      lines_.insert(lines_.end(), at->begin(), at->end());
  }

  // The index of the last number that is at most x.
  uint32_t Find(uint64_t x) const {
    uint32_t found = 0;  // in the level above: the line to look at in this one
    const Line* level = lines_.data();
    for (const uint32_t size : sizes_) {
      const Line& line = level[found];
      uint32_t not_larger = 0;
      for (const uint64_t number : line.numbers) not_larger += number <= x ? 1 : 0;
      // What fills the last line up is larger than any x but the largest.
      found = std::min(found * kPerLine + not_larger, size) - 1;
      level += (size + kPerLine - 1) / kPerLine;
    }
    return found;
  }

 private:
  static constexpr uint32_t kPerLine = 8;
  struct alignas(64) Line {
    uint64_t numbers[kPerLine] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
                                  UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
  };

  std::vector<uint32_t> sizes_;  // of the levels in numbers, root first
  std::vector<Line> lines_;      // the levels, root first
};

}  // namespace weir::lb
