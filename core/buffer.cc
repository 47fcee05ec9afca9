#include "core/buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

#include "core/reserve.h"

namespace weir {
namespace {

constexpr size_t kPageBytes = 4096;
// Data starts are staggered over 32 cache-line positions, so that buffers do not all fall into the same cache
// sets.
constexpr uint32_t kStagger = 32;
constexpr uint32_t kStaggerBytes = 64;
constexpr size_t kSlotBytes = (BufferPool::kBufferBytes + BufferPool::kHeadroomBytes +
                               BufferPool::kTailroomBytes + kStagger * kStaggerBytes + kPageBytes - 1) /
                              kPageBytes * kPageBytes;

}  // namespace

BufferPool::BufferPool(Arena& arena, uint32_t count)
    : arena_(arena),
      count_(count),
      free_count_(count),
      low_count_(count),
      region_bytes_(size_t{count} * kSlotBytes) {
  WEIR_CHECK(count > 0 && count <= kMaxCount);
  region_ = static_cast<char*>(ReserveMemory(region_bytes_, "buffers"));
  buffers_ = std::make_unique<Buffer[]>(count);
  free_ = std::make_unique<Buffer*[]>(count);
  for (uint32_t i = 0; i < count; ++i) {
    Buffer& buffer = buffers_[i];
    buffer.data = region_ + i * kSlotBytes + kHeadroomBytes + (i % kStagger) * kStaggerBytes;
    buffer.capacity = kBufferBytes;
    buffer.pool = this;
    buffer.index = static_cast<uint16_t>(i);
    free_[count - 1 - i] = &buffer;
  }
}

BufferPool::~BufferPool() { ReleaseMemory(region_, region_bytes_); }

Buffer* BufferPool::TakeChunk(size_t bytes) {
  WEIR_CHECK(bytes <= kLargestChunk);
  const size_t total = Arena::RoundUp(bytes + sizeof(Buffer));
  void* memory = arena_.Allocate(total);
  if (memory == nullptr) return nullptr;
  Buffer* buffer = new (memory) Buffer;
  buffer->data = reinterpret_cast<char*>(buffer + 1);
  buffer->capacity = static_cast<uint32_t>(total - sizeof(Buffer));
  buffer->references = 1;
  buffer->pool = this;
  buffer->chunk = true;
  return buffer;
}

void BufferPool::Return(Buffer* buffer) {
  if (buffer->chunk) {
    arena_.Free(buffer);
    return;
  }
  WEIR_CHECK(free_count_ < count_);
  free_[free_count_++] = buffer;
}

void BufferPool::Trim(uint32_t buffers) {
  // The bottom `low_count_` entries of the stack were not touched since the last call.
  for (uint32_t i = 0; i < low_count_ && buffers > 0; ++i) {
    if (GiveBack(free_[i])) --buffers;
  }
  low_count_ = free_count_;
}

bool BufferPool::GiveBack(Buffer* buffer) {
  WEIR_CHECK(buffer->references == 0 || buffer->with_kernel);
  if (!buffer->resident) return false;
  madvise(region_ + size_t{buffer->index} * kSlotBytes, kSlotBytes, MADV_DONTNEED);
  buffer->resident = false;
  return true;
}

}  // namespace weir
