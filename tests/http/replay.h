// Runs bytes through lb/http the way a proxy does, in pieces of any size, and tells what came out as text: so
// that the same input cut differently can be compared, and a fixture can say what is expected.
//
// Requests: every request of the input is parsed, its body read, and the whole written as the origin would
// get it (one chunk for all data of a chunked body). Responses: the same towards the client, until the final
// response is complete.
#ifndef TESTS_HTTP_REPLAY_H_
#define TESTS_HTTP_REPLAY_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lb/http/request.h"

namespace weir::http {

inline constexpr std::string_view kReplayVia = "weir";

struct Outcome {
  std::string bytes;        // what the origin (or client) would get
  int status = 0;           // of the error that ended it, or 0
  std::string reason;       // of the error
  bool incomplete = false;  // the input ended within a message
  bool truncated = false;   // the same, with an end of stream (responses)
  size_t extra = 0;         // bytes behind the final response
  bool reusable = false;    // the upstream connection may go back to its pool

  friend bool operator==(const Outcome&, const Outcome&) = default;
};

// `cuts` are ascending offsets at which a new piece begins.
Outcome ReplayRequests(std::string_view input, const std::vector<size_t>& cuts, const Limits& limits = {});

struct ResponseCase {
  RequestFacts request;
  bool eof = false;  // the upstream closes after the input
};
Outcome ReplayResponse(std::string_view input, const std::vector<size_t>& cuts,
                       const ResponseCase& response_case, const Limits& limits = {});

}  // namespace weir::http

#endif  // TESTS_HTTP_REPLAY_H_
