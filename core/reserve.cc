#include "core/reserve.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace weir {

void* ReserveMemory(size_t bytes, const char* what) {
  void* memory =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    std::fprintf(
        stderr,
        "weir: %zu MiB of address space for %s cannot be reserved (%s): lift the limit ('ulimit -v "
        "unlimited', "
        "or vm.overcommit_memory other than 2), or choose a smaller --max_connections or --buffer_memory\n",
        (bytes >> 20) + 1, what, std::strerror(errno));
    std::_Exit(1);
  }
  madvise(memory, bytes, MADV_NOHUGEPAGE);
  return memory;
}

void ReleaseMemory(void* memory, size_t bytes) { munmap(memory, bytes); }

}  // namespace weir
