// How many bytes of a range of memory are present (test only).
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace weir {

inline size_t ResidentBytes(const void* from, size_t bytes) {
  constexpr size_t kPageBytes = 4096;
  const auto begin = reinterpret_cast<uintptr_t>(from) / kPageBytes * kPageBytes;
  const auto end = (reinterpret_cast<uintptr_t>(from) + bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  std::vector<unsigned char> present((end - begin) / kPageBytes);
  if (mincore(reinterpret_cast<void*>(begin), end - begin, present.data()) != 0) return SIZE_MAX;
  size_t pages = 0;
  for (const unsigned char page : present) pages += page & 1;
  return pages * kPageBytes;
}

}  // namespace weir
