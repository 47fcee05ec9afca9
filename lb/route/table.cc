#include "lb/route/table.h"

#include <algorithm>
#include <bit>

#include "core/check.h"
#include "lb/route/blocks.h"
#include "lb/route/conditions.h"
#include "lb/route/key_hash.h"
#include "re2/re2.h"

namespace weir::lb {
namespace {

// A block of ten paths, most often.
constexpr size_t kPrefetchBytes = 8 * 64;

struct Unobserved {
  void Considered(const RouteStep&) {}
  static constexpr bool Skips(uint32_t /*rule*/) { return false; }
};

struct StepList {
  std::vector<RouteStep>& steps;
  void Considered(const RouteStep& step) { steps.push_back(step); }
  static constexpr bool Skips(uint32_t /*rule*/) { return false; }
};

// Those that were met in earlier walks are as if they were not there.
struct OtherList {
  uint32_t met;
  std::vector<RouteStep>& others;

  void Considered(const RouteStep& step) {
    if (step.failed == RoutePart::kNone) others.push_back(step);
  }
  bool Skips(uint32_t rule) const {
    return rule == met || std::any_of(others.begin(), others.end(),
                                      [rule](const RouteStep& step) { return step.rule == rule; });
  }
};

}  // namespace

// One match: from the best candidate to the worst, until one holds. The observer is told of each.
template <typename Observer>
class RouteTable::Walk {
 public:
  Walk(const RouteTable& table, const RouteRequest& request, Observer observer)
      : table_(table), request_(request), observer_(observer) {}

  RouteHit Run() {
    const HostKeys host(request_.host.size() <= kHostBytes ? request_.host : "", table_.seed_);
    const HostBlock* const exact = table_.FindHost(host.text(), host.hash(), false);
    const PathKeys path(request_.path, table_.seed_, table_.most_points_, table_.longest_path_);
    if (exact != nullptr && Search(*exact, HostKind::kExact, path)) return hit_;
    if (table_.wildcard_labels_ != 0 && SearchWildcards(host, path)) return hit_;
    if (table_.any_host_ != kNoBlock) Search(table_.BlockAt(table_.any_host_), HostKind::kAny, path);
    return hit_;
  }

 private:
  bool SearchWildcards(const HostKeys& host, const PathKeys& path) {
    uint16_t begins[kMaxWildcardLabels + 1];
    const uint32_t most = host.FindEndings(begins);
    uint32_t labels = table_.wildcard_labels_ & static_cast<uint32_t>((uint64_t{2} << most) - 1);
    for (; labels != 0; labels &= ~std::bit_floor(labels)) {
      const uint16_t begin = begins[std::bit_width(labels) - 1];
      const HostBlock* block = table_.FindHost(host.text().substr(begin), ~host.HashFrom(begin), true);
      if (block != nullptr && Search(*block, HostKind::kWildcard, path)) return true;
    }
    return false;
  }

  bool Search(const HostBlock& block, HostKind kind, const PathKeys& path) {
    step_ = {.host = kind};
    return SearchExact(block, path) || SearchRegexes(block) || SearchPrefixes(block, path) ||
           TryList(block.any_path, PathKind::kAny, 0);
  }

  bool SearchExact(const HostBlock& block, const PathKeys& path) {
    if (!path.complete()) return false;
    const uint32_t point = path.count() - 1;
    if ((block.exact_depths >> point & 1) == 0) return false;
    const PathNode* const node = block.Find(path.text(point), path.hash(point));
    const bool slash = path.text(point).size() < request_.path.size();
    return node != nullptr && TryList(node->lists[slash ? PathNode::kExactSlash : PathNode::kExact],
                                      PathKind::kExact, static_cast<uint32_t>(request_.path.size()));
  }

  bool SearchRegexes(const HostBlock& block) {
    for (uint32_t i = block.first_regex; i < block.first_regex + block.regex_count; ++i) {
      const PathRegex& entry = table_.path_regexes_[i];
      step_.path = PathKind::kRegex;
      step_.path_bytes = 0;
      if (!re2::RE2::FullMatch(request_.path, *table_.regexes_[entry.regex])) {
        Fail(entry.candidate, {.part = RoutePart::kPathRegex, .element = entry.element});
      } else if (Try(entry.candidate)) {
        hit_.regex = entry.regex;
        return true;
      }
    }
    return false;
  }

  bool SearchPrefixes(const HostBlock& block, const PathKeys& path) {
    if (path.count() == 0) return false;
    uint64_t points = block.prefix_depths & (~uint64_t{0} >> (kMaxRouteSegments + 1 - path.count()));
    for (; points != 0; points &= ~std::bit_floor(points)) {
      const auto point = static_cast<uint32_t>(std::bit_width(points)) - 1;
      const std::string_view text = path.text(point);
      const PathNode* const node = block.Find(text, path.hash(point));
      if (node == nullptr) continue;
      const auto bytes = static_cast<uint32_t>(text.size());
      // Where the path goes on, it does so with a slash: the prefix that has it is the longer one.
      if (bytes < request_.path.size() &&
          TryList(node->lists[PathNode::kPrefixSlash], PathKind::kPrefix, bytes + 1))
        return true;
      if (TryList(node->lists[PathNode::kPrefix], PathKind::kPrefix, bytes)) return true;
    }
    return false;
  }

  bool TryList(uint32_t list, PathKind kind, uint32_t path_bytes) {
    if (list == kEmptyList) return false;
    step_.path = kind;
    step_.path_bytes = path_bytes;
    if ((list & kInPlace) != 0) return Try(list & ~kInPlace);
    const uint32_t* const candidates = &table_.lists_[list];
    for (uint32_t i = 1; i <= candidates[0]; ++i) {
      if (Try(candidates[i])) return true;
    }
    return false;
  }

  bool Try(uint32_t candidate) {
    const uint32_t rule = candidate & kRuleMask;
    if (observer_.Skips(rule)) return false;
    if ((candidate & kConditional) != 0) {
      const RouteConditions& conditions = table_.conditions_[table_.conditions_of_[rule]];
      const RouteConditions::Failure failure = conditions.Check({.method = request_.method,
                                                                 .query = request_.query,
                                                                 .fields = request_.fields,
                                                                 .client = &request_.client,
                                                                 .scheme = request_.scheme,
                                                                 .tlvs = request_.tlvs,
                                                                 .alpn = request_.alpn});
      if (failure.part != RoutePart::kNone) {
        Fail(candidate, failure);
        return false;
      }
    }
    Fail(candidate, {});
    hit_ = {.rule = rule, .path = step_.path, .path_bytes = step_.path_bytes};
    return true;
  }

  // Or none did.
  void Fail(uint32_t candidate, RouteConditions::Failure failure) {
    step_.rule = candidate & kRuleMask;
    step_.failed = failure.part;
    step_.failed_element = failure.element;
    observer_.Considered(step_);
  }

  const RouteTable& table_;
  const RouteRequest& request_;
  Observer observer_;
  RouteStep step_;
  RouteHit hit_;
};

RouteTable::RouteTable() = default;
RouteTable::~RouteTable() = default;

const HostBlock& RouteTable::BlockAt(uint32_t line) const {
  return *reinterpret_cast<const HostBlock*>(lines_[line].bytes);
}

const HostBlock* RouteTable::FindHost(std::string_view name, uint64_t hash, bool wildcard) const {
  const auto tag = static_cast<uint32_t>(hash >> 32);
  const auto mask = static_cast<uint32_t>(slots_.size() - 1);
  for (uint32_t i = static_cast<uint32_t>(hash) & mask; slots_[i].line != kNoBlock; i = (i + 1) & mask) {
    if (slots_[i].tag != tag) continue;
    // The lines that will be looked at, side by side. Beyond the block they are a neighbour's, which does no
    // harm, nor does an address without memory.
    const char* const at = lines_[slots_[i].line].bytes;
    for (size_t ahead = 0; ahead < kPrefetchBytes; ahead += sizeof(Line)) __builtin_prefetch(at + ahead);
    const HostBlock& block = BlockAt(slots_[i].line);
    if (SameBytes(block.name(), name) && (block.wildcard != 0) == wildcard) return &block;
  }
  return nullptr;
}

RouteHit RouteTable::Match(const RouteRequest& request) const {
  return Walk<Unobserved>(*this, request, {}).Run();
}

RouteHit RouteTable::Explain(const RouteRequest& request, std::vector<RouteStep>& steps) const {
  return Walk<StepList>(*this, request, {steps}).Run();
}

std::vector<RouteStep> RouteTable::OthersThatFit(const RouteRequest& request, const RouteHit& met,
                                                 size_t most) const {
  std::vector<RouteStep> others;
  while (others.size() < most && Walk<OtherList>(*this, request, {met.rule, others}).Run().found()) continue;
  return others;
}

RouteCaptures RouteTable::Capture(const RouteHit& hit, std::string_view path) const {
  RouteCaptures captures;
  if (hit.path == PathKind::kPrefix) {
    WEIR_CHECK(hit.path_bytes <= path.size());
    captures.remainder = path.substr(hit.path_bytes);
  }
  if (hit.path != PathKind::kRegex) return captures;
  WEIR_CHECK(hit.regex < regexes_.size());
  const re2::RE2& regex = *regexes_[hit.regex];
  re2::StringPiece groups[RouteCaptures::kMaxGroups];
  const int count = std::min<int>(regex.NumberOfCapturingGroups() + 1, RouteCaptures::kMaxGroups);
  if (!regex.Match(path, 0, path.size(), re2::RE2::ANCHOR_BOTH, groups, count)) return captures;
  captures.count = static_cast<uint32_t>(count);
  for (int i = 0; i < count; ++i) captures.groups[i] = {groups[i].data(), groups[i].size()};
  return captures;
}

}  // namespace weir::lb
