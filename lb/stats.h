// What the proxy counts, per shard; each is written by its shard and read by the admin pages (core/stats.h).
// Names follow the metrics they become (admin/pages.cc).
#pragma once

#include "core/stats.h"
#include "lb/tcp_end.h"

namespace weir::lb {

struct alignas(64) ProxyCounters {
  // Clients.
  Counter accepted;
  Counter open_connections;   // now
  Counter rejected_at_limit;  // --max_connections reached: 503 or close
  Counter rejected_clients;   // max_connections_per_client reached: 429 or close
  Counter uncounted_clients;  // let in without being counted: no room in the table
  Counter accept_errors;      // EMFILE and the like
  Counter client_bytes_received;
  Counter client_bytes_sent;
  // Requests by status class of the answer the client got: [1] 1xx finals (101) to [5]; [0]: none (client
  // gone).
  Counter requests[6];
  Counter requests_active;  // now
  Counter local_responses;  // answers of our own (errors, TRACE)
  Counter client_timeouts;  // 408, or closed for want of a head or body
  Counter client_aborts;    // the client reset or left in the middle of a request
  Counter bad_requests;     // refused by the parser
  // PROXY headers: those read and believed, then connections closed for the want of a right one.
  Counter proxy_protocol_headers;
  Counter proxy_protocol_missing;    // something else came first
  Counter proxy_protocol_untrusted;  // from a network that is not believed
  Counter proxy_protocol_malformed;  // breaks a rule
  Counter proxy_protocol_too_long;
  Counter proxy_protocol_truncated;  // the connection ended within it
  Counter proxy_protocol_timeouts;   // it did not come in time
  // The ClientHellos that routes of tcp listeners go by: those read, then connections closed for the want of
  // a right one.
  Counter tls_hellos;
  Counter tls_hello_missing;    // something else came first, and no route is for that
  Counter tls_hello_malformed;  // breaks a rule
  Counter tls_hello_too_long;
  Counter tls_hello_truncated;      // the connection ended within it
  Counter tls_hello_timeouts;       // it did not come in time
  Counter denied;                   // 403, or a TCP connection closed: not allowed here
  Counter no_route;                 // 404, or a TLS connection closed: no route is for it
  Counter unauthorized;             // 401: a route wants another name or password
  Counter password_checks;          // asked of the threads that check them
  Counter password_checks_refused;  // 503: too many at one time
  Counter auth_requests;            // asked of another server whether a request may go on (auth_request)
  Counter auth_denied;              // its no: the client got its answer
  Counter auth_failures;            // it could not be asked: 502, 503 or 504
  Counter too_large;                // 413, or 431 of a route: a body or head longer than its route takes
  Counter upgrades;                 // tunnels begun
  Histogram latency_us;  // first byte of the request to last byte of the response handed to the kernel
  // Upstreams.
  Counter upstream_connects;
  Counter upstream_connect_failures;
  Counter upstream_reused;         // requests sent on a pooled connection
  Counter upstream_bad_responses;  // 502 because of a rule broken
  Counter upstream_resets;         // ended in the middle of a response, or before any
  Counter upstream_timeouts;       // 504
  Counter upstream_idle;           // pooled connections now
  Counter upstream_open;           // upstream connections now
  Counter upstream_bytes_received;
  Counter upstream_bytes_sent;
  Counter retries;
  Counter retries_over_budget;  // that were not made: too many at one time (RetryBudget)
  Counter mirrored;             // copies of requests that were sent
  Counter mirrors_left_out;     // that were not: too large, too many at one time, no memory, no endpoint
  Counter mirror_failures;      // that got no whole answer
  Counter endpoints_set_aside;
  Counter retired_pools;   // of upstreams as they were before a reload, now
  Counter none_available;  // 503 because every endpoint is set aside
  // TCP.
  Counter tcp_connections;
  Counter tcp_active;          // now
  Counter tcp_ends[kTcpEnds];  // by kTcpEndNames
  Histogram tcp_duration_us;   // from accept to the end
  Counter tcp_failures;        // closed because no endpoint could be reached
  // Limits reached.
  Counter resets_for_buffers;  // connections reset because buffers ran out
  Counter drain_cut;           // connections cut at the end of the drain time
  Counter log_lines;
  Counter log_lines_dropped;
};

}  // namespace weir::lb
