// Buffer: a counted piece of a shard's memory that bytes from or to the network live in. BufferPool: where
// they come from. Two kinds share the type: pool buffers (32 KiB, what the kernel receives into) and chunks
// (right-sized, from the shard's Arena: a head that must wait for a peer is copied into one, so that the 32
// KiB go back at once). Owner: the shard; one thread, so the count is not atomic. Slice is the counted view
// everything above passes around. Bounds: the pool holds `count` buffers, chosen at start (--buffer_memory);
// only touched pages are resident, the free ones form a LIFO stack (few pages stay hot), and Trim() returns
// what a burst left behind.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "core/arena.h"
#include "core/check.h"

namespace weir {

class BufferPool;

struct Buffer {
  char* data = nullptr;
  BufferPool* pool = nullptr;
  Buffer* next = nullptr;  // received behind this one and not taken yet (Op::buffer)
  uint32_t capacity = 0;
  uint32_t length = 0;  // what a receive put into it
  uint32_t references = 0;
  uint16_t index = 0;  // in the pool; unused for chunks
  bool chunk : 1 = false;
  bool resident : 1 = false;     // pool buffers: pages may be present
  bool with_kernel : 1 = false;  // provided for receives: nobody here knows what is in it
};
static_assert(sizeof(Buffer) == 40);

class BufferPool {
 public:
  static constexpr uint32_t kBufferBytes = 32 * 1024;
  // Before each buffer's data: room for a chunk header written in front of a body; behind: for CR LF 0 CR LF
  // CR LF.
  static constexpr uint32_t kHeadroomBytes = 64;
  static constexpr uint32_t kTailroomBytes = 64;
  static constexpr uint32_t kMaxCount = 65'535;  // the kernel's buffer id has 16 bits

  // `arena` outlives the pool and gives the chunks.
  BufferPool(Arena& arena, uint32_t count);
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // A buffer with one reference, or null when all are in use.
  Buffer* Take() {
    if (free_count_ == 0) return nullptr;
    Buffer* buffer = free_[--free_count_];
    if (free_count_ < low_count_) low_count_ = free_count_;
    buffer->references = 1;
    buffer->resident = true;
    return buffer;
  }
  // A chunk with room for `bytes` (at most kLargestChunk) and one reference, or null at the arena's bound.
  Buffer* TakeChunk(size_t bytes);
  static constexpr size_t kLargestChunk = Arena::kLargestBytes - sizeof(Buffer);

  static void Reference(Buffer* buffer) { ++buffer->references; }
  static void Release(Buffer* buffer) {
    WEIR_CHECK(buffer->references > 0);
    if (--buffer->references == 0) buffer->pool->Return(buffer);
  }

  Buffer* at(uint32_t index) { return &buffers_[index]; }
  uint32_t count() const { return count_; }
  uint32_t free_count() const { return free_count_; }
  // The last eighth is for request heads (Op::kBody receives wait instead).
  uint32_t reserve() const { return count_ / 8; }

  // Returns pages of buffers that were free all the time since the last Trim, at most `buffers` of them.
  void Trim(uint32_t buffers);
  // Returns the pages of one buffer, free or with the kernel, whose content nobody needs. False: there were
  // none.
  bool GiveBack(Buffer* buffer);

 private:
  void Return(Buffer* buffer);

  Arena& arena_;
  uint32_t count_;
  uint32_t free_count_;
  uint32_t low_count_;  // smallest free_count_ since the last Trim
  char* region_ = nullptr;
  size_t region_bytes_;
  std::unique_ptr<Buffer[]> buffers_;
  std::unique_ptr<Buffer*[]> free_;  // stack; [0, free_count_) are free
};

// A counted view of part of a Buffer. Copying counts; an empty Slice holds nothing.
class Slice {
 public:
  Slice() = default;
  // Takes over one reference.
  Slice(Buffer* buffer, uint32_t offset, uint32_t length)
      : buffer_(buffer), offset_(offset), length_(length) {
    WEIR_CHECK(buffer == nullptr || offset + length <= buffer->capacity);
  }
  Slice(const Slice& other) : buffer_(other.buffer_), offset_(other.offset_), length_(other.length_) {
    if (buffer_ != nullptr) BufferPool::Reference(buffer_);
  }
  Slice(Slice&& other) noexcept
      : buffer_(std::exchange(other.buffer_, nullptr)),
        offset_(std::exchange(other.offset_, 0)),
        length_(std::exchange(other.length_, 0)) {}
  Slice& operator=(Slice other) noexcept {
    std::swap(buffer_, other.buffer_);
    std::swap(offset_, other.offset_);
    std::swap(length_, other.length_);
    return *this;
  }
  ~Slice() {
    if (buffer_ != nullptr) BufferPool::Release(buffer_);
  }

  bool empty() const { return length_ == 0; }
  bool holds_buffer() const { return buffer_ != nullptr; }
  uint32_t size() const { return length_; }
  char* data() const { return buffer_ == nullptr ? nullptr : buffer_->data + offset_; }
  std::string_view view() const { return {data(), length_}; }
  Buffer* buffer() const { return buffer_; }
  void RemovePrefix(uint32_t bytes) {
    WEIR_CHECK(bytes <= length_);
    offset_ += static_cast<int32_t>(bytes);
    length_ -= bytes;
  }
  void Truncate(uint32_t bytes) {
    WEIR_CHECK(bytes <= length_);
    length_ = bytes;
  }
  // Takes in bytes before and behind, for framing written around a body. Pool buffers have head- and tailroom
  // for it.
  void Grow(uint32_t front, uint32_t back) {
    WEIR_CHECK(buffer_ != nullptr && !buffer_->chunk);
    offset_ -= static_cast<int32_t>(front);
    length_ += front + back;
    WEIR_CHECK(offset_ >= -static_cast<int32_t>(BufferPool::kHeadroomBytes));
    WEIR_CHECK(offset_ + static_cast<int64_t>(length_) <=
               int64_t{buffer_->capacity} + BufferPool::kTailroomBytes);
  }
  // What Grow could take in before. Whose bytes they are is the caller's question.
  uint32_t room_before() const {
    if (buffer_ == nullptr || buffer_->chunk) return 0;
    return static_cast<uint32_t>(offset_ + static_cast<int32_t>(BufferPool::kHeadroomBytes));
  }
  void Clear() { *this = Slice(); }

 private:
  Buffer* buffer_ = nullptr;
  int32_t offset_ = 0;  // negative: in the headroom
  uint32_t length_ = 0;
};
static_assert(sizeof(Slice) == 16);

}  // namespace weir
