// RouteTable: which rule a request meets. Built once from a list of rules, then immutable: any number of
// threads may match at one time. Pure: no sockets, no clock.
//
// Of the rules whose every condition holds the best one is met. Better is, in this order:
//   1. the host: exact, then the longest wildcard, ..., then no host;
//   2. the path: exact, then a regex, then the longest prefix, then any path;
//   3. the rule that comes first in the list (of regexes, the first one that matches).
// A less specific host or path is tried when no rule of the more specific one matches. A rule with several
// hosts or paths counts for each of them. README.md has the whole, with examples.
//
// Costs: 95 ns with 10,000 hosts of 10 paths each, 65 with 10 hosts: the steps are as many, but memory is
// further away (bench/route_bench.cc). One hash look-up for a host and each number of labels that wildcards
// have, one for each number of segments that the host's paths have, and each of the host's path regexes one
// after another until one matches. A client can cause no more: keys have at most 63 segments, wildcards 31
// labels, 256 query parameters are looked at.
// Matching allocates nothing, except RE2, which builds a regex's automaton while it is used, within 1 MiB.
// Hashes are of the operator's keys and seeded; a client cannot add keys, and keys are compared whole.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"
#include "lb/http/field_list.h"
#include "lb/route/rule.h"

namespace re2 {
class RE2;
}

namespace weir::lb {

class RouteConditions;
struct HostBlock;

struct RouteRequest {
  std::string_view host = {};    // NormaliseHost; of a TLS connection its server name
  std::string_view path = {};    // NormalTarget::path
  std::string_view query = {};   // NormalTarget::query
  std::string_view method = {};  // as text
  const http::FieldList* fields = nullptr;
  SocketAddress client = {};
  std::string_view tlvs = {};         // of the PROXY header that its connection began with
  std::string_view scheme = "http";   // or "https": what was decided, not what anybody may have said
  std::string_view alpn = {};         // what a TLS client offers: TlsHello::alpn
  std::string_view server_name = {};  // that a TLS client asked for, normalised as a host
};

// What of a rule decided its place, best first.
enum class HostKind : uint8_t { kExact, kWildcard, kAny };
enum class PathKind : uint8_t { kExact, kRegex, kPrefix, kAny };

struct RouteHit {
  static constexpr uint32_t kNone = UINT32_MAX;

  uint32_t rule = kNone;  // index in what the table was built from
  PathKind path = PathKind::kAny;
  uint32_t path_bytes = 0;  // kPrefix: of the path, what the prefix takes
  uint32_t regex = kNone;   // kRegex: for Capture

  bool found() const { return rule != kNone; }
};

// One candidate that was looked at: a rule whose host and path (but a regex) fit.
struct RouteStep {
  uint32_t rule = 0;
  HostKind host = HostKind::kAny;
  PathKind path = PathKind::kAny;
  uint32_t path_bytes = 0;              // as in RouteHit
  RoutePart failed = RoutePart::kNone;  // why it was not met; kNone: it was
  uint32_t failed_element = 0;          // which one of that list, if it is of headers, query or path regexes
};

// Parts of the path, for rewriting. Views into it.
struct RouteCaptures {
  static constexpr uint32_t kMaxGroups = 10;

  uint32_t count = 0;  // of groups: the whole and those in parentheses; 0 if no regex matched
  std::string_view groups[kMaxGroups];  // [0] is the whole; one that took no part is empty
  std::string_view remainder;           // what is behind a prefix: "/x" of /api/x for /api, "x" for /api/
};

class RouteTable {
 public:
  static constexpr uint32_t kMaxRules = 1 << 24;
  // A rule's hosts, times its paths, prefixes and regexes, of all rules together.
  static constexpr uint64_t kMaxKeys = 1 << 24;

  // Appends what is wrong to `problems`; null if anything of it is an error. Warnings are paths that are not
  // written as they are matched, and rules that can never match because one with the same host and path, and
  // no further condition but perhaps the scheme, comes first.
  static std::unique_ptr<const RouteTable> Build(std::span<const RouteMatch> rules,
                                                 const RouteOptions& options,
                                                 std::vector<RouteProblem>& problems);
  ~RouteTable();
  RouteTable(const RouteTable&) = delete;
  RouteTable& operator=(const RouteTable&) = delete;

  RouteHit Match(const RouteRequest& request) const;
  // The same walk, which also appends the candidates in the order in which they were looked at. The last one
  // is what was met, if anything was.
  RouteHit Explain(const RouteRequest& request, std::vector<RouteStep>& steps) const;
  // The rules that Match would give if the one that it gave, `met`, were not there, and then the next best,
  // and so on: the steps at which they would be met, `most` at most. Each costs another walk.
  std::vector<RouteStep> OthersThatFit(const RouteRequest& request, const RouteHit& met, size_t most) const;
  // Some rule asks for query parameters.
  bool looks_at_query() const { return looks_at_query_; }
  // REQUIRES: `hit` is what Match gave for `path`. With a regex it costs another match, which may allocate.
  RouteCaptures Capture(const RouteHit& hit, std::string_view path) const;

 private:
  friend class RouteTableBuilder;
  friend class RouteTableLayout;
  template <typename Observer>
  class Walk;
  struct alignas(64) Line {
    char bytes[64];
  };
  struct HostSlot {
    uint32_t tag = 0;   // of the hash
    uint32_t line = 0;  // where the block is; kNoBlock: an empty slot
  };
  struct PathRegex {
    uint32_t regex = 0;    // in regexes_
    uint32_t element = 0;  // in the rule's list
    uint32_t candidate = 0;
  };
  static constexpr uint32_t kNoBlock = UINT32_MAX;

  RouteTable();
  const HostBlock& BlockAt(uint32_t line) const;
  const HostBlock* FindHost(std::string_view name, uint64_t hash, bool wildcard) const;

  uint64_t seed_ = 0;
  bool looks_at_query_ = false;
  uint32_t wildcard_labels_ = 0;  // bit n: there are wildcards with n labels
  uint32_t most_points_ = 0;      // of the paths of any host
  uint32_t longest_path_ = 0;     // in bytes
  uint32_t any_host_ = kNoBlock;  // the block of rules without a host
  std::vector<HostSlot> slots_;   // open addressing, a power of two, at most half full
  std::vector<Line> lines_;       // the blocks
  std::vector<uint32_t> lists_;   // candidates of paths that have several: their number, then they
  std::vector<PathRegex> path_regexes_;
  std::vector<std::unique_ptr<re2::RE2>> regexes_;
  std::vector<uint32_t> conditions_of_;  // by rule: in conditions_
  std::vector<RouteConditions> conditions_;
};

}  // namespace weir::lb
