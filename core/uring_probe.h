// What this kernel's io_uring offers, found out once at start, and the sentence to print when Weir cannot run
// here. Runs on the calling thread with a ring of its own that is gone afterwards.
#pragma once

#include <cstdint>
#include <string>

namespace weir {

struct UringFeatures {
  bool defer_taskrun = false;    // 6.1; completions run only inside our own enter
  bool no_sqarray = false;       // 6.6
  bool message_ring = false;     // 5.18; doorbells between rings
  bool provided_rings = false;   // 5.19
  bool ring_status = false;      // 6.8; tells how many provided buffers were taken
  bool receive_limit = false;    // 6.17; receives that stay armed, up to so many bytes
  bool single_issuer = false;    // 6.0
  std::string ToString() const;  // one line for the log
};

// True when Weir can run; else `problem` says in one sentence what is missing and what to change.
bool ProbeUring(UringFeatures& features, std::string& problem);

// Turns an error of io_uring_setup into that sentence.
std::string ExplainUringError(int error);

}  // namespace weir
