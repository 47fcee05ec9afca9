// How often memory was allocated: links in malloc and its kin that count every call of the process, whoever
// makes it, on any thread. For tests and benchmarks; not together with a sanitizer, which does the same.
#pragma once

#include <cstdint>

namespace weir {

uint64_t Allocations();

}  // namespace weir
