// A host's rules while a table is being built: what the builder makes of rules, and the layout makes blocks
// of. Inside only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "lb/route/blocks.h"
#include "lb/route/table.h"

namespace weir::lb {

// Which rules take whatever comes to them: those that ask for nothing further, of each scheme.
struct Takers {
  static constexpr uint32_t kNone = UINT32_MAX;

  uint32_t of_http = kNone;
  uint32_t of_https = kNone;

  // The one because of which no request that `scheme` has (of a rule; empty: either) is left, or kNone.
  uint32_t LeavesNothingOf(std::string_view scheme) const {
    if (scheme == "http") return of_http;
    if (scheme == "https") return of_https;
    if (of_http == kNone || of_https == kNone) return kNone;
    return std::max(of_http, of_https);  // the later: without it some would be
  }
  void Add(std::string_view scheme, uint32_t rule) {
    if (scheme != "https") of_http = std::min(of_http, rule);
    if (scheme != "http") of_https = std::min(of_https, rule);
  }
};

// Candidates in order, up to those that take whatever comes to them.
struct Candidates {
  std::vector<uint32_t> items;
  Takers takers;

  uint32_t last_rule() const { return items.back() & kRuleMask; }
};

struct NodeDraft {
  Candidates lists[PathNode::kLists];
  uint64_t hash = 0;
  uint32_t depth = 0;  // which point of a path it is
};

struct HostDraft {
  std::string name;  // of a wildcard without "*."
  bool wildcard = false;
  std::map<std::string, NodeDraft, std::less<>> nodes;  // ordered: the same rules make the same table
  Candidates any_path;
  struct Regex {
    uint32_t regex;
    uint32_t element;
    uint32_t candidate;
  };
  std::vector<Regex> regexes;
  std::unordered_map<std::string, Takers> regex_takers;  // by pattern
};

// Puts the hosts into the table's memory. The rest of the table is the builder's.
class RouteTableLayout {
 public:
  explicit RouteTableLayout(RouteTable& table) : table_(table) {}
  void Run(std::span<const std::unique_ptr<HostDraft>> hosts);

 private:
  void EnterHost(const HostDraft& host, uint32_t line);
  uint32_t LayOutHost(const HostDraft& host);  // returns where its block is
  // Also says in `block` and `slots` what there is.
  std::string LayOutNodes(const HostDraft& host, size_t nodes_at, HostBlock& block,
                          std::vector<PathSlot>& slots);
  void AppendNode(const std::string& text, const NodeDraft& draft, std::string& nodes);
  uint32_t LayOutList(const Candidates& candidates);

  RouteTable& table_;
};

}  // namespace weir::lb
