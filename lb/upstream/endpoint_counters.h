// What a shard counts for each endpoint; written by the shard, read by the admin pages (core/stats.h).
#pragma once

#include "core/stats.h"

namespace weir::lb {

struct EndpointCounters {
  Counter requests;   // requests and TCP connections sent to it
  Counter active;     // of those, now
  Counter connects;   // connections made
  Counter failures;   // connects that failed
  Counter idle;       // pooled connections now
  Counter set_aside;  // 1 while it is not tried
};

}  // namespace weir::lb
