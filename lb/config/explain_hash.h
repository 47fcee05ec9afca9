// Where consistent hashing leads a request or a connection, for "weir explain": by the balancers that serve,
// in the state that they are in.
#pragma once

#include <string>
#include <string_view>

#include "lb/config/explain.h"
#include "lb/config/settings.h"
#include "lb/route/table.h"

namespace weir::lb::explain {

inline constexpr std::string_view kMadeForEach = "(made for each request)";

struct Led {
  std::string text;    // which endpoint, and why; empty: something else decides
  std::string cookie;  // the line with which a client without its cookie gets one
};

// `asked`: as the client sent it.
Led Lead(const Settings& settings, const RouteSettings& route, const RouteRequest& asked,
         const UpstreamAside& aside);
// A connection that has nothing of what hash_on names goes by its client's address.
std::string LeadConnection(const Settings& settings, const RouteSettings& route, const RouteRequest& asked,
                           const UpstreamAside& aside);

}  // namespace weir::lb::explain
