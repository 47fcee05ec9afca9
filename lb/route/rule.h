// RouteMatch: which requests a rule is for, as a configuration says it. Plain values; RouteTable::Build
// checks them and says what is wrong with which.
//
// A rule matches if every condition holds that it has: one of its hosts (if it has any), one of its paths,
// prefixes and regexes (if it has any of those), one of its methods and one of its clients (likewise), its
// scheme, and all of its headers and query parameters.
//
// Of a TLS connection that is not ended here a rule knows its server name and protocols (lb/tls_hello) in
// place of all that a request says: a rule has hosts or server names, not both.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lb/route/network_set.h"
#include "lb/route/path.h"

namespace weir::lb {

// What the value of a header or query parameter that may occur several times must be: one occurrence does.
struct ValueCondition {
  enum class Test : uint8_t {
    kPresent,  // there is one, `value` does not matter
    kAbsent,   // there is none, likewise
    kExact,    // one is `value`
    kPrefix,   // one begins with `value`
    kRegex,    // one is matched whole by `value`, an RE2 expression over bytes
  };

  std::string name = {};
  Test test = Test::kPresent;
  std::string value = {};
};
using FieldCondition = ValueCondition;  // names without regard to case, field lines as the client sent them
using QueryCondition = ValueCondition;  // names and values decoded: percent-encodings, and + for a space

struct RouteMatch {
  std::vector<std::string> hosts = {};  // "a.example"; "*.a.example": one or more labels before; none: any
  // Server names, as hosts are written; RouteRequest::host is then what they are compared with.
  std::vector<std::string> sni = {};
  std::vector<std::string> paths = {};  // the whole path
  // Of whole segments: /api has /api and /api/x; /api/ only the latter.
  std::vector<std::string> path_prefixes = {};
  std::vector<std::string> path_regexes = {};  // RE2, the whole path
  std::vector<std::string> methods = {};       // case-sensitive; GET does not stand for HEAD
  std::vector<FieldCondition> headers = {};
  std::vector<QueryCondition> query = {};
  // Names are TlvType's (lb/proxy_protocol/tlv.h); of a PROXY header's TLV of that type the first counts.
  std::vector<ValueCondition> proxy_protocol = {};
  std::vector<Network> clients = {};
  std::string scheme = {};             // http or https; empty: either
  std::vector<std::string> alpn = {};  // protocols, one of which the client offers
};

// Which list of a RouteMatch.
enum class RoutePart : uint8_t {
  kNone,  // not one of them: the rule as a whole
  kHost,
  kPath,
  kPathPrefix,
  kPathRegex,
  kMethod,
  kHeader,
  kQuery,
  kClient,
  kScheme,
  kProxyProtocol,
  kSni,
  kAlpn,
};
inline constexpr size_t kRouteParts = static_cast<size_t>(RoutePart::kAlpn) + 1;
const char* Name(RoutePart part);  // "host", "path prefix"

struct RouteProblem {
  bool is_error = true;  // else a warning: the table works without it
  uint32_t rule = 0;
  RoutePart part = RoutePart::kNone;
  uint32_t element = 0;              // of that list
  std::string text = {};             // "expected …", "is matched as /a", without what the fields above say
  uint32_t other_rule = UINT32_MAX;  // of a rule that can never match: the one that takes its requests
};

struct RouteOptions {
  PathOptions path = {};  // the same as for requests: paths of rules are normalised too
  // Anything; from a random source where strangers write the rules. (Clients cannot choose what is in the
  // table, only what is looked up, and the longest search is fixed when it is built.)
  uint64_t hash_seed = 0;
};

}  // namespace weir::lb
