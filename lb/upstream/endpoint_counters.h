// What a shard counts for each upstream and each endpoint; written by the shard, read by the admin pages
// (core/stats.h).
#pragma once

#include "core/stats.h"
#include "lb/tcp_end.h"

namespace weir::lb {

struct EndpointCounters {
  Counter requests;   // requests and TCP connections sent to it
  Counter active;     // of those, now
  Counter connects;   // connections made
  Counter failures;   // connects that failed
  Counter idle;       // pooled connections now
  Counter set_aside;  // 1 while it is not tried
};

struct UpstreamCounters {
  // Requests that went to it, by the status class of the answer that the client got, one of our own too (502,
  // 503, 504); of copies (mirror.h) by what came back. [0]: none.
  Counter responses[6];
  // Requests and TCP connections sent to endpoints outside of Weir's zone, where some are in it.
  Counter left_zone;
  Counter tcp_ends[kTcpEnds];  // TCP connections that had one of its endpoints, by kTcpEndNames
};

}  // namespace weir::lb
