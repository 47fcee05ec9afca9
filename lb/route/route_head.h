// RouteHead: a parsed request → the rule it meets, and its target and host in the one spelling that rules are
// matched against and that the origin gets. One function for those who serve requests and those who explain
// them. No allocation; not thread-safe as to the scratch.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"
#include "lb/http/request.h"
#include "lb/route/host.h"
#include "lb/route/path.h"
#include "lb/route/table.h"
#include "lb/route/template.h"

namespace weir::lb {

// Where other spellings are written; reused for every request.
struct RouteScratch {
  explicit RouteScratch(uint32_t most_target_bytes)
      : target(std::make_unique<char[]>(most_target_bytes + 1)) {}  // MaxNormalBytes
  const std::unique_ptr<char[]> target;
  char host[kHostBytes];
  char authority[kHostBytes + 8];  // with a port
  std::string lines;               // ChangeRequest: field lines, the target, and its check
  std::string rewritten;
  std::string check;
  std::string forwarded;           // FindClient: what came
  std::string forwarded_for;       // and what goes on as X-Forwarded-For
  std::string forwarded_elements;  // and as Forwarded
  std::string response_lines;      // what a route adds to the response, with marks (changes.h)
  std::string filled_lines;        // and without
  std::string target_there;        // of a subrequest
  char request_id[32];
  char client_ip[SocketAddress::kMaxIpText + 1];
};

struct RoutedHead {
  NormalTarget target;  // not ok(): refuse with 400, nothing was matched
  RouteRequest asked;
  RouteHit hit;
};

// `head` is given the new spelling, which lives as long as the scratch and `head`'s own bytes.
// `default_authority`: for an HTTP/1.0 request that names none. `client`, `scheme`: as decided, by the
// connection or a trusted proxy. `steps`: if not null, gets what was considered. `tlvs`: of the
// connection's PROXY header.
RoutedHead RouteHead(const RouteTable& table, const PathOptions& options, http::RequestHead& head,
                     std::string_view default_authority, const SocketAddress& client, std::string_view scheme,
                     RouteScratch& scratch, std::vector<RouteStep>* steps = nullptr,
                     std::string_view tlvs = {});

// What is known of a request where there are no routes: its target is as it came.
RouteRequest UnroutedHead(const http::RequestHead& head, const SocketAddress& client);

// What templates want of the request; the captures only if `captures`. The texts and `routed` are viewed.
TemplateValues ValuesFor(bool captures, const RouteTable& table, const RoutedHead& routed,
                         std::string_view client_ip, std::string_view request_id);

}  // namespace weir::lb
