// AuthLeg: what an exchange lays aside while another server is asked whether its request may go on
// (auth_request). The asking is an exchange's ordinary way up and down, with a request of its own (the
// subrequest) to the upstream of AuthRequestSettings::leg: connections, retries, times and errors are those
// of any request. A 2xx lets the client's request go its way; every other answer is the client's.
// Owner: the exchange; from the shard's arena, from the request's head to the decision.
#pragma once

#include "core/buffer.h"
#include "lb/config/settings.h"
#include "lb/upstream/upstream.h"

namespace weir::lb {

struct AuthLeg {
  Slice subrequest;   // until it is sent
  uint64_t hash = 0;  // its own, and during it the request's

  // The exchange's own, until the decision.
  const RouteSettings* route = nullptr;
  UpstreamPool* pool = nullptr;  // null: the route answers itself
  Slice head;
  Slice first_body;
  Slice answer;
  const char* end = "ok";
  uint32_t head_bytes = 0;
  uint32_t response_lines_bytes = 0;
  uint16_t status = 0;
  bool whole = false;
};

}  // namespace weir::lb
