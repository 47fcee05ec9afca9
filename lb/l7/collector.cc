#include "lb/l7/collector.h"

#include <algorithm>
#include <cstring>

namespace weir::lb {
namespace {

constexpr uint32_t kSmallest = 480;

}  // namespace

Collector::Added Collector::Add(BufferPool& pool, const Slice& in, const http::Limits& limits) {
  // An empty line before the head, and one byte more, so that the parser sees the limit exceeded.
  const uint32_t most = limits.header_bytes + 4;
  WEIR_CHECK(length_ < most);
  last_ = std::min(in.size(), most - length_);
  if (length_ + last_ > kept_.size()) {
    const uint32_t wanted = std::min(most, std::max(kSmallest, 2 * (length_ + last_)));
    Buffer* chunk = pool.TakeChunk(wanted);
    if (chunk == nullptr) return Added::kNoMemory;
    if (length_ > 0) std::memcpy(chunk->data, kept_.data(), length_);
    kept_ = Slice(chunk, 0, chunk->capacity);
  }
  std::memcpy(kept_.data() + length_, in.data(), last_);
  length_ += last_;
  return scanner_.Ready(bytes(), limits) || length_ == most ? Added::kReady : Added::kNotYet;
}

}  // namespace weir::lb
