// Collector: a message head (or trailer section) that arrives in more than one piece, kept in a right-sized
// chunk so that the receive buffer goes back to the pool at once. Empty in the usual case of a head that came
// whole. Bounds: Limits::header_bytes and a little more (the parser refuses what is longer). One direction of
// one exchange.
#pragma once

#include <string_view>

#include "core/buffer.h"
#include "lb/http/head_scanner.h"
#include "lb/http/limits.h"

namespace weir::lb {

class Collector {
 public:
  enum class Added { kNoMemory, kNotYet, kReady };

  // Takes bytes from the front of `in` (all of them, unless the limit is reached). kReady: worth parsing
  // bytes().
  Added Add(BufferPool& pool, const Slice& in, const http::Limits& limits);
  bool empty() const { return length_ == 0; }
  std::string_view bytes() const { return {kept_.data(), length_}; }
  // Memory the parsed views point into.
  const Slice& kept() const { return kept_; }
  // How many of the last Add's bytes belong to a message of `consumed` bytes.
  uint32_t ConsumedOfLast(uint32_t consumed) const { return consumed - (length_ - last_); }
  void Clear() {
    kept_.Clear();
    length_ = last_ = 0;
    scanner_.Reset();
  }

 private:
  Slice kept_;
  uint32_t length_ = 0;
  uint32_t last_ = 0;
  http::HeadScanner scanner_;
};

}  // namespace weir::lb
