// Address space for a pool: reserved now, touched (and so paid for) only as it is used, never in huge pages,
// which one object would fill and which could not be given back. When the system refuses (ulimit -v,
// vm.overcommit_memory=2), the process ends with a sentence that says what to change: pools are made at
// start, before anything is served.
#pragma once

#include <cstddef>

namespace weir {

// `what` completes "address space for ...". Never null.
void* ReserveMemory(size_t bytes, const char* what);
void ReleaseMemory(void* memory, size_t bytes);

}  // namespace weir
