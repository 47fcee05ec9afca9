// Hosts with their paths → blocks (blocks.h).
#include <algorithm>
#include <bit>
#include <cstring>

#include "core/check.h"
#include "lb/route/draft.h"
#include "lb/route/key_hash.h"

namespace weir::lb {
namespace {

size_t RoundedUp(size_t bytes) { return (bytes + 3) / 4 * 4; }

}  // namespace

void RouteTableLayout::Run(std::span<const std::unique_ptr<HostDraft>> hosts) {
  table_.slots_.assign(std::bit_ceil(2 * hosts.size() + 1), {.line = RouteTable::kNoBlock});
  for (const std::unique_ptr<HostDraft>& host : hosts) {
    const uint32_t line = LayOutHost(*host);
    if (host->name.empty()) {
      table_.any_host_ = line;
    } else {
      EnterHost(*host, line);
    }
  }
}

void RouteTableLayout::EnterHost(const HostDraft& host, uint32_t line) {
  const auto labels = static_cast<uint32_t>(std::count(host.name.begin(), host.name.end(), '.')) + 1;
  if (host.wildcard) table_.wildcard_labels_ |= 1u << labels;
  const HostKeys keys(host.name, table_.seed_);
  const uint64_t hash = host.wildcard ? ~keys.hash() : keys.hash();
  const size_t mask = table_.slots_.size() - 1;
  size_t i = hash & mask;
  while (table_.slots_[i].line != RouteTable::kNoBlock) i = (i + 1) & mask;
  table_.slots_[i] = {.tag = static_cast<uint32_t>(hash >> 32), .line = line};
}

uint32_t RouteTableLayout::LayOutHost(const HostDraft& host) {
  HostBlock block = {};
  block.name_bytes = static_cast<uint32_t>(host.name.size());
  block.wildcard = host.wildcard ? 1 : 0;
  block.slot_count =
      host.nodes.empty() ? 0 : static_cast<uint32_t>(std::bit_ceil(host.nodes.size() * 3 / 2 + 1));
  block.any_path = LayOutList(host.any_path);
  block.first_regex = static_cast<uint32_t>(table_.path_regexes_.size());
  block.regex_count = static_cast<uint32_t>(host.regexes.size());
  for (const HostDraft::Regex& regex : host.regexes)
    table_.path_regexes_.push_back({regex.regex, regex.element, regex.candidate});

  std::vector<PathSlot> slots(block.slot_count);
  const size_t slots_at = sizeof(HostBlock) + RoundedUp(host.name.size());
  const size_t nodes_at = slots_at + slots.size() * sizeof(PathSlot);
  const std::string nodes = LayOutNodes(host, nodes_at, block, slots);

  const size_t bytes = nodes_at + nodes.size();
  WEIR_CHECK(bytes <= UINT32_MAX);
  const auto line = table_.lines_.size();
  constexpr size_t kLineBytes = sizeof(RouteTable::Line);
  table_.lines_.resize(line + (bytes + kLineBytes - 1) / kLineBytes);
  char* const at = table_.lines_[line].bytes;
  memcpy(at, &block, sizeof(block));
  memcpy(at + sizeof(block), host.name.data(), host.name.size());
  if (!slots.empty()) memcpy(at + slots_at, slots.data(), slots.size() * sizeof(PathSlot));
  memcpy(at + nodes_at, nodes.data(), nodes.size());
  return static_cast<uint32_t>(line);
}

std::string RouteTableLayout::LayOutNodes(const HostDraft& host, size_t nodes_at, HostBlock& block,
                                          std::vector<PathSlot>& slots) {
  std::string nodes;
  for (const auto& [text, draft] : host.nodes) {
    const auto has = [&](PathNode::List list) { return !draft.lists[list].items.empty(); };
    const uint64_t bit = uint64_t{1} << draft.depth;
    if (has(PathNode::kExact) || has(PathNode::kExactSlash)) block.exact_depths |= bit;
    if (has(PathNode::kPrefix) || has(PathNode::kPrefixSlash)) block.prefix_depths |= bit;
    size_t i = draft.hash & (slots.size() - 1);
    while (slots[i].node != 0) i = (i + 1) & (slots.size() - 1);
    slots[i] = {.tag = static_cast<uint32_t>(draft.hash >> 32),
                .node = static_cast<uint32_t>(nodes_at + nodes.size())};
    AppendNode(text, draft, nodes);
  }
  return nodes;
}

void RouteTableLayout::AppendNode(const std::string& text, const NodeDraft& draft, std::string& nodes) {
  PathNode node;
  for (uint32_t i = 0; i < PathNode::kLists; ++i) node.lists[i] = LayOutList(draft.lists[i]);
  node.text_bytes = static_cast<uint32_t>(text.size());
  nodes.append(reinterpret_cast<const char*>(&node), sizeof(node));
  nodes.append(text);
  nodes.resize(RoundedUp(nodes.size()));
}

uint32_t RouteTableLayout::LayOutList(const Candidates& candidates) {
  const std::vector<uint32_t>& items = candidates.items;
  if (items.empty()) return kEmptyList;
  if (items.size() == 1) return items.front() | kInPlace;
  const auto at = static_cast<uint32_t>(table_.lists_.size());
  table_.lists_.push_back(static_cast<uint32_t>(items.size()));
  table_.lists_.insert(table_.lists_.end(), items.begin(), items.end());
  return at;
}

}  // namespace weir::lb
