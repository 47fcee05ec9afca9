// What tests of the route table share: requests as text, and a second matcher that goes through all rules and
// compares, with none of the table's ideas.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lb/http/request.h"
#include "lb/route/table.h"

namespace weir::lb {

// A request with what its views point to. `fields` are lines without line ends.
struct Asked {
  std::string host = {};
  std::string path = "/";
  std::string query = {};
  std::string method = "GET";
  std::vector<std::string> fields = {};
  std::string client = "192.0.2.1";
  std::string scheme = "http";
};

// Owns the parsed head of one request at a time. REQUIRES: fields that lb/http accepts.
class RequestMaker {
 public:
  // Valid until the next call; `asked` must live as long.
  const RouteRequest& Make(const Asked& asked);

 private:
  http::RequestHead head_{http::Limits()};
  std::string text_;
  RouteRequest request_;
};

// The rule that Match must find. REQUIRES: normal paths in rules, and regexes of the kind LITERAL.*
uint32_t ReferenceMatch(std::span<const RouteMatch> rules, const Asked& asked);

}  // namespace weir::lb
