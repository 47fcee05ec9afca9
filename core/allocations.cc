#include "core/allocations.h"

#include <atomic>
#include <cerrno>
#include <cstddef>

namespace {

std::atomic<uint64_t> allocations{0};
void CountOne() { allocations.fetch_add(1, std::memory_order_relaxed); }

}  // namespace

extern "C" {
void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* memory, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);

void* malloc(size_t bytes) {
  CountOne();
  return __libc_malloc(bytes);
}
void* calloc(size_t count, size_t bytes) {
  CountOne();
  return __libc_calloc(count, bytes);
}
void* realloc(void* memory, size_t bytes) {
  CountOne();
  return __libc_realloc(memory, bytes);
}
void* aligned_alloc(size_t alignment, size_t bytes) {
  CountOne();
  return __libc_memalign(alignment, bytes);
}
void* memalign(size_t alignment, size_t bytes) { return aligned_alloc(alignment, bytes); }
int posix_memalign(void** memory, size_t alignment, size_t bytes) {
  *memory = aligned_alloc(alignment, bytes);
  return *memory == nullptr ? ENOMEM : 0;
}
}

namespace weir {

uint64_t Allocations() { return allocations.load(std::memory_order_relaxed); }

}  // namespace weir
