// Splice: one direction of a relay in bulk: bytes of one stream go on to another through a pipe of the
// shard's pool, seen by nobody. It holds the pipe only while bytes are on their way, and what came is always
// sent before anything else is: whoever changes over to it first sends the bytes it has, and changes back
// only when Move says so. Owner: whoever owns both streams, on their shard.
#pragma once

#include <cstdint>
#include <utility>

#include "core/pipe.h"
#include "core/stream.h"

namespace weir {

class Splice {
 public:
  enum class Step : uint8_t {
    kWaits,   // for either side
    kCopy,    // nothing is on its way: there is no pipe, or the flow turned small. The caller goes on by
              // copying.
    kEnded,   // all that came was sent; `from` has ended, or `most` were asked for and came
    kFailed,  // `to` has a send error
  };
  // Passes of fewer bytes are small; so many in a row are a small flow.
  static constexpr uint32_t kSmallBytes = 16 * 1024;
  static constexpr uint8_t kSmallRun = 8;

  // Reads of fewer bytes, where it is copied, are not full ones.
  static constexpr uint32_t kFullBytes = BufferPool::kBufferBytes / 4 * 3;

  Splice() = default;
  Splice(const Splice&) = delete;
  Splice& operator=(const Splice&) = delete;
  ~Splice() { WEIR_CHECK(pipe_ == nullptr); }

  // As far as it goes without waiting; call after Poll of both, after every wake-up. `most`: bytes that are
  // to come still. Adds to `came` what came.
  Step Move(Shard& shard, Stream& from, Stream& to, uint64_t most, uint64_t& came);
  // What a pass that is over has moved, which Move does too. Whoever looks at an end of a stream with a
  // Splice at either side has all of them settle first: what a pass took out of one socket, and an error of
  // the other that it was told of, nobody hears of again.
  uint64_t Settle(Stream& from, Stream& to);
  // Something is on its way: only Move may touch the streams' ops.
  bool moving() const { return pipe_ != nullptr; }
  // Tells of a piece that the caller copied. `full_bytes`: how many came in full reads in a row, up to now.
  void Copied(uint32_t bytes) { full_bytes_ = bytes >= kFullBytes ? full_bytes_ + bytes : 0; }
  uint32_t full_bytes() const { return full_bytes_; }
  // It said kCopy before.
  bool turned_back() const { return turned_back_; }
  // Gives up what is on its way: before the streams are closed.
  void Drop(Shard& shard, Stream& from);

 private:
  Step TurnBack();

  Pipe* pipe_ = nullptr;
  uint32_t full_bytes_ = 0;
  bool passing_ = false;  // `from` has a Pass
  bool turned_back_ = false;
  uint8_t small_ = 0;
};

}  // namespace weir
