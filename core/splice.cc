#include "core/splice.h"

#include <algorithm>

#include "core/shard.h"

namespace weir {

Splice::Step Splice::Move(Shard& shard, Stream& from, Stream& to, uint64_t most, uint64_t& came) {
  const uint64_t passed = Settle(from, to);
  came += passed;
  most -= passed;
  if (passing_) return Step::kWaits;
  if (to.send_error() != 0) return Step::kFailed;
  if (to.sending()) return Step::kWaits;
  if (pipe_ != nullptr) {
    if (pipe_->bytes > 0) {
      to.Drain(shard, pipe_);
      return Step::kWaits;
    }
    shard.pipes().GiveBack(std::exchange(pipe_, nullptr));
  }
  if (most == 0 || from.receive_ended()) return Step::kEnded;
  if (from.receive_armed()) return Step::kWaits;
  if (small_ >= kSmallRun) return TurnBack();
  if (!from.readable()) {
    from.WaitReadable(shard);
    return Step::kWaits;
  }
  pipe_ = shard.pipes().Take(shard.now_ns());
  if (pipe_ == nullptr) return TurnBack();
  from.Pass(shard, to, pipe_, static_cast<uint32_t>(std::min<uint64_t>(most, pipe_->capacity)));
  passing_ = true;
  return Step::kWaits;
}

uint64_t Splice::Settle(Stream& from, Stream& to) {
  if (!passing_ || from.receive_armed()) return 0;
  passing_ = false;
  const uint32_t bytes = pipe_->came;
  small_ = bytes >= kSmallBytes ? 0 : static_cast<uint8_t>(small_ + 1);
  Stream::EndPass(*pipe_, to);
  return bytes;
}

Splice::Step Splice::TurnBack() {
  small_ = 0;
  full_bytes_ = 0;
  turned_back_ = true;
  return Step::kCopy;
}

void Splice::Drop(Shard& shard, Stream& from) {
  if (pipe_ == nullptr) return;
  if (passing_) from.CancelReceive(shard);
  passing_ = false;
  shard.pipes().GiveBack(std::exchange(pipe_, nullptr));
}

}  // namespace weir
