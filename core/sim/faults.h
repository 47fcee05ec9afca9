// Faults: what goes wrong in a simulated world, one probability (0 to 1) per misbehaviour. None of them
// breaks a promise of core/backend.h: they are what a real kernel and a real network do on a bad day. A test
// may change them while it runs (World::faults), for instance to let everything end in peace.
#pragma once

#include <cstdint>

#include "core/clock.h"
#include "core/random.h"

namespace weir::sim {

struct Faults {
  // Ops.
  double short_receive = 0;  // a receive gives only some of the bytes that are there
  double short_send = 0;     // a send completes when only some of its bytes were taken
  double short_write = 0;    // likewise a file write
  double late_completion =
      0;  // an op is told finished only some time after it did its work; bulk waits for a turn
  double late_cancel = 0;  // a cancel takes its time: until then the op may still finish by itself
  double starved = 0;      // a receive finds no buffer though there are some, and waits its turn
  double source_ends = 0;  // a multishot request ends without cause, after a good result
  double no_fd = 0;        // EMFILE, on accept and OpenStream
  // The network.
  double late_segment = 0;     // a segment is lost and sent again: it and all behind it come late
  double reset = 0;            // per segment: the connection breaks instead, both ends see a reset
  double connect_refused = 0;  // though somebody listens
  double connect_lost = 0;     // per SYN: unanswered, sent again after 1 s, 3 s, 7 s ...
  // The machine.
  double stall = 0;  // per turn: the shard is not scheduled for some time

  int64_t most_completion_delay_ns = 2 * kNsPerMs;
  int64_t most_segment_delay_ns = 300 * kNsPerMs;
  int64_t most_stall_ns = 50 * kNsPerMs;

  // Nothing goes wrong; short sends and receives still follow from windows and from what has arrived.
  static Faults None() { return {}; }
  // Everything happens now and then.
  static Faults Rough();
  // Each fault is left out, mild or frequent, by the draw: so that every seed is another kind of bad day
  // ("swarm testing", Groce et al., 2012). Resets and refusals only if `may_break`: without them every byte
  // must arrive.
  static Faults Drawn(Random& random, bool may_break);
};

}  // namespace weir::sim
