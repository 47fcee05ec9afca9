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

  Splice() = default;
  Splice(const Splice&) = delete;
  Splice& operator=(const Splice&) = delete;
  ~Splice() { WEIR_CHECK(pipe_ == nullptr); }

  // As far as it goes without waiting; call after Poll of both, after every wake-up. `most`: bytes that are
  // to come still. Adds to `came` what came.
  Step Move(Shard& shard, Stream& from, Stream& to, uint64_t most, uint64_t& came);
  // Something is on its way: only Move may touch the streams' ops.
  bool moving() const { return pipe_ != nullptr; }
  // Gives up what is on its way: before the streams are closed.
  void Drop(Shard& shard, Stream& from);

 private:
  Pipe* pipe_ = nullptr;
  bool passing_ = false;  // `from` has a Pass
  uint8_t small_ = 0;
};

}  // namespace weir
