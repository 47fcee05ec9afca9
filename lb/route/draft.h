// A host's rules while a table is being built: what the builder makes of rules, and the layout makes blocks
// of. Inside only.
#pragma once

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

// Candidates in order, up to the first that takes whatever comes to it.
struct Candidates {
  std::vector<uint32_t> items;

  bool closed() const { return !items.empty() && (items.back() & kConditional) == 0; }
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
  std::unordered_map<std::string, uint32_t> closed_regexes;  // pattern → the rule that takes all it matches
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
