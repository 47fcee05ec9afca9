// Verdict: from the results of an endpoint's checks to up or down. It is up until a check says otherwise, as
// nobody knows better, and the very first result decides at once: one that is down when Weir starts is not
// tried for `fall` more checks. From then on it takes `fall` failures in a row to go down, and `rise` passes
// in a row to come up again. One endpoint's; the control shard's.
#pragma once

#include <cstdint>
#include <utility>

namespace weir::lb {

class Verdict {
 public:
  // A check passed or failed. True: so the endpoint has just come up, or gone down.
  bool Add(bool passed, uint32_t rise, uint32_t fall) {
    const bool first = std::exchange(first_, false);
    if (passed == up_) {
      against_ = 0;
      return false;
    }
    if (++against_ < (passed ? rise : fall) && !first) return false;
    against_ = 0;
    up_ = passed;
    return true;
  }
  // Other checks than before: what they said counts no more, but what came of it does.
  void Restart() { against_ = 0; }

  bool up() const { return up_; }
  // Up, and the last check passed.
  bool steady() const { return up_ && against_ == 0; }
  // No check has said anything yet.
  bool open() const { return first_; }

 private:
  bool up_ = true;
  bool first_ = true;
  uint32_t against_ = 0;  // results in a row that say otherwise
};

}  // namespace weir::lb
