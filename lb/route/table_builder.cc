// RouteTable::Build: what rules say, checked → hosts with their paths (draft.h).
#include <algorithm>
#include <unordered_map>
#include <utility>

#include "lb/http/chars.h"
#include "lb/route/blocks.h"
#include "lb/route/conditions.h"
#include "lb/route/draft.h"
#include "lb/route/host.h"
#include "lb/route/key_hash.h"
#include "lb/route/path.h"
#include "lb/route/table.h"
#include "re2/re2.h"

namespace weir::lb {
namespace {

constexpr http::CharSet kHostChars =
    http::CharSet::Where([](char c) { return http::IsAlnum(c) || http::IsOneOf(c, "-_."); });
constexpr http::CharSet kPathChars =
    http::CharSet::Where([](char c) { return c > 0x20 && c < 0x7f && !http::IsOneOf(c, "?#<>\"\\"); });

constexpr size_t kMaxNameBytes = 253;

bool IsName(std::string_view text) {
  return !text.empty() && text.size() <= kMaxNameBytes && kHostChars.HasAll(text) && text.front() != '.' &&
         text.back() != '.' && text.find("..") == std::string_view::npos;
}

// How much of a rule another one with the same keys takes away.
struct Shadow {
  uint64_t keys = 0;
  uint64_t taken = 0;
  uint32_t by = UINT32_MAX;

  void Count(uint32_t taker) {
    ++keys;
    if (taker == UINT32_MAX) return;
    ++taken;
    by = taker;
  }
  bool whole() const { return keys > 0 && taken == keys; }
};

// A path, prefix or regex of a rule, ready to be entered for each of its hosts.
struct PathKey {
  RoutePart part = RoutePart::kNone;  // kNone: any path
  uint32_t element = 0;
  std::string text;    // normal; of a regex the pattern
  uint32_t regex = 0;  // in the table
};

}  // namespace

class RouteTableBuilder {
 public:
  RouteTableBuilder(std::span<const RouteMatch> rules, const RouteOptions& options,
                    std::vector<RouteProblem>& problems)
      : rules_(rules), options_(options), problems_(problems), table_(new RouteTable) {}

  std::unique_ptr<const RouteTable> Run() {
    if (rules_.size() > RouteTable::kMaxRules) {
      Error(0, RoutePart::kNone, 0, "expected at most " + std::to_string(RouteTable::kMaxRules) + " rules");
      return nullptr;
    }
    table_->seed_ = Mix(options_.hash_seed ^ 0x94d049bb133111ebu, 0xd6e8feb86659fd93u);
    for (uint32_t rule = 0; rule < rules_.size(); ++rule) AddRule(rule);
    if (failed_) return nullptr;
    RouteTableLayout(*table_).Run(hosts_);
    return std::move(table_);
  }

 private:
  void Error(uint32_t rule, RoutePart part, uint32_t element, std::string text) {
    failed_ = true;
    problems_.push_back({.rule = rule, .part = part, .element = element, .text = std::move(text)});
  }
  void Warn(uint32_t rule, RoutePart part, uint32_t element, std::string text, uint32_t other = UINT32_MAX) {
    problems_.push_back({.is_error = false,
                         .rule = rule,
                         .part = part,
                         .element = element,
                         .text = std::move(text),
                         .other_rule = other});
  }

  void AddRule(uint32_t rule) {
    const RouteMatch& match = rules_[rule];
    AddConditions(rule);
    if (!match.query.empty()) table_->looks_at_query_ = true;
    const std::vector<HostDraft*> hosts = HostsOf(rule);
    const std::vector<PathKey> paths = PathsOf(rule);
    keys_ += uint64_t{hosts.size()} * paths.size();
    if (keys_ > RouteTable::kMaxKeys) {
      if (!failed_) Error(rule, RoutePart::kNone, 0, "the hosts and paths of all rules make too many keys");
      return;
    }
    const uint32_t candidate = rule | (RouteConditions::HasAny(match) ? kConditional : 0);
    Shadow whole;
    std::vector<Shadow> by_host(hosts.size());
    std::vector<Shadow> by_path(paths.size());
    for (size_t h = 0; h < hosts.size(); ++h) {
      for (size_t p = 0; p < paths.size(); ++p) {
        const uint32_t taker = Enter(*hosts[h], paths[p], candidate);
        whole.Count(taker);
        by_host[h].Count(taker);
        by_path[p].Count(taker);
      }
    }
    const bool of_sni = !match.sni.empty();
    const char* const kTaken = of_sni ? "can never match: a rule with the same server name comes first"
                                      : "can never match: a rule with the same host and path comes first";
    if (whole.whole()) {
      Warn(rule, RoutePart::kNone, 0, kTaken, whole.by);
      return;
    }
    // With an error some hosts may be missing, and their places do not tell which.
    for (size_t h = 0; h < hosts.size() && !failed_; ++h) {
      if (by_host[h].whole()) {
        Warn(rule, of_sni ? RoutePart::kSni : RoutePart::kHost, static_cast<uint32_t>(h), kTaken,
             by_host[h].by);
      }
    }
    for (size_t p = 0; p < paths.size(); ++p) {
      if (by_path[p].whole()) Warn(rule, paths[p].part, paths[p].element, kTaken, by_path[p].by);
    }
  }

  void AddConditions(uint32_t rule) {
    const size_t before = problems_.size();
    table_->conditions_of_.push_back(static_cast<uint32_t>(table_->conditions_.size()));
    if (!RouteConditions::HasAny(rules_[rule])) return;
    table_->conditions_.push_back(RouteConditions::Compile(rules_[rule], rule, problems_));
    failed_ |= problems_.size() > before;
  }

  // Those that are in order, made if they are new.
  std::vector<HostDraft*> HostsOf(uint32_t rule) {
    const RouteMatch& match = rules_[rule];
    const bool of_sni = !match.sni.empty();
    const RoutePart part = of_sni ? RoutePart::kSni : RoutePart::kHost;
    const std::vector<std::string>& texts = of_sni ? match.sni : match.hosts;
    if (of_sni && !match.hosts.empty()) Error(rule, part, 0, "expected only one of host and sni");
    if (texts.empty()) return {&HostNamed("", false)};
    std::vector<HostDraft*> hosts;
    for (uint32_t i = 0; i < texts.size(); ++i) {
      std::string_view text = texts[i];
      const bool wildcard = text.starts_with("*.");
      if (wildcard) text.remove_prefix(2);
      char memory[kHostBytes];
      // Without a port, which NormaliseHost would take away.
      const bool address = text.starts_with('[') && text.ends_with(']') && !wildcard && !of_sni;
      const std::string_view name =
          address || text.find(':') == std::string_view::npos ? NormaliseHost(text, memory) : "";
      if (name.empty() || !(address || IsName(name))) {
        Error(rule, part, i, HostExpected(texts[i], of_sni));
      } else if (wildcard && std::count(name.begin(), name.end(), '.') >= kMaxWildcardLabels) {
        Error(rule, part, i,
              "expected at most " + std::to_string(kMaxWildcardLabels) + " labels behind the star");
      } else {
        hosts.push_back(&HostNamed(std::string(name), wildcard));
      }
    }
    return hosts;
  }

  static std::string HostExpected(std::string_view text, bool of_sni) {
    if (of_sni) return SniExpected(text);
    if (text == "*") return "expected a host; a rule without one is for every host";
    if (text.find('*') != std::string_view::npos)
      return "expected the star as the whole first label: *.a.example";
    if (text.find("://") != std::string_view::npos) return "expected a host alone, without scheme and path";
    if (text.find('/') != std::string_view::npos) return "expected a host without a path";
    if (text.find(':') != std::string_view::npos) return "expected a host without a port; IPv6 in brackets";
    return "expected a host name in ASCII (xn--... for others), *.NAME, an IPv4 address, or an IPv6 one in "
           "brackets";
  }

  static std::string SniExpected(std::string_view text) {
    if (text == "*") return "expected a server name; a rule without one is for every name, and for none";
    if (text.find('*') != std::string_view::npos)
      return "expected the star as the whole first label: *.a.example";
    return "expected a server name in ASCII (xn--... for others), or *.NAME, without a port";
  }

  HostDraft& HostNamed(std::string name, bool wildcard) {
    const auto [at, is_new] = host_index_.try_emplace((wildcard ? "*." : "") + name, hosts_.size());
    if (is_new) {
      hosts_.push_back(std::make_unique<HostDraft>());
      hosts_.back()->name = std::move(name);
      hosts_.back()->wildcard = wildcard;
    }
    return *hosts_[at->second];
  }

  std::vector<PathKey> PathsOf(uint32_t rule) {
    const RouteMatch& match = rules_[rule];
    std::vector<PathKey> keys;
    if (match.paths.empty() && match.path_prefixes.empty() && match.path_regexes.empty()) keys.emplace_back();
    for (uint32_t i = 0; i < match.paths.size(); ++i)
      AddPath(rule, RoutePart::kPath, i, match.paths[i], keys);
    for (uint32_t i = 0; i < match.path_prefixes.size(); ++i)
      AddPath(rule, RoutePart::kPathPrefix, i, match.path_prefixes[i], keys);
    for (uint32_t i = 0; i < match.path_regexes.size(); ++i) {
      std::string error;
      std::unique_ptr<re2::RE2> regex = CompileRegex(match.path_regexes[i], &error);
      if (regex == nullptr) {
        Error(rule, RoutePart::kPathRegex, i, "bad regular expression: " + error);
        continue;
      }
      keys.push_back({.part = RoutePart::kPathRegex,
                      .element = i,
                      .text = match.path_regexes[i],
                      .regex = static_cast<uint32_t>(table_->regexes_.size())});
      table_->regexes_.push_back(std::move(regex));
    }
    return keys;
  }

  void AddPath(uint32_t rule, RoutePart part, uint32_t element, const std::string& text,
               std::vector<PathKey>& keys) {
    const bool star = part == RoutePart::kPath && text == "*";
    if (!star && !text.starts_with('/')) {
      Error(rule, part, element, "expected a path that begins with /");
      return;
    }
    if (!kPathChars.HasAll(text)) {
      Error(rule, part, element,
            "expected a path without query, in printable ASCII; other characters percent-encoded");
      return;
    }
    std::string memory(MaxNormalBytes(text), '\0');
    const NormalTarget normal = NormaliseTarget(text, options_.path, memory.data());
    if (!normal.ok()) {
      Error(rule, part, element, normal.error);
      return;
    }
    PathKey key{.part = part, .element = element, .text = std::string(normal.path())};
    if (key.text.size() > kMaxRoutePathBytes) {
      Error(rule, part, element, "expected at most " + std::to_string(kMaxRoutePathBytes) + " bytes");
      return;
    }
    if (!KeysOf(key.text).complete()) {
      Error(rule, part, element, "expected at most " + std::to_string(kMaxRouteSegments) + " segments");
      return;
    }
    if (key.text != text) Warn(rule, part, element, "is matched as " + key.text);
    keys.push_back(std::move(key));
  }

  // Returns the earlier rule that takes all that would come to this candidate, else Takers::kNone.
  uint32_t Enter(HostDraft& host, const PathKey& key, uint32_t candidate) {
    const uint32_t rule = candidate & kRuleMask;
    const RouteMatch& match = rules_[rule];
    const bool takes_all = !RouteConditions::HasAnyButScheme(match);
    if (key.part == RoutePart::kPathRegex) {
      Takers& takers = host.regex_takers[key.text];
      const uint32_t taker = takers.LeavesNothingOf(match.scheme);
      if (taker != Takers::kNone) return taker == rule ? Takers::kNone : taker;
      host.regexes.push_back({key.regex, key.element, candidate});
      if (takes_all) takers.Add(match.scheme, rule);
      return Takers::kNone;
    }
    Candidates& list = key.part == RoutePart::kNone ? host.any_path : ListOf(host, key);
    if (!list.items.empty() && list.last_rule() == rule) return Takers::kNone;  // given twice
    const uint32_t taker = list.takers.LeavesNothingOf(match.scheme);
    if (taker != Takers::kNone) return taker;
    list.items.push_back(candidate);
    if (takes_all) list.takers.Add(match.scheme, rule);
    return Takers::kNone;
  }

  Candidates& ListOf(HostDraft& host, const PathKey& key) {
    const PathKeys keys = KeysOf(key.text);
    const uint32_t point = keys.count() - 1;
    const std::string_view text = keys.text(point);
    const bool slash = text.size() < key.text.size();
    const bool prefix = key.part == RoutePart::kPathPrefix;
    table_->most_points_ = std::max(table_->most_points_, keys.count());
    table_->longest_path_ = std::max(table_->longest_path_, static_cast<uint32_t>(text.size()));
    NodeDraft& node = host.nodes[std::string(text)];
    node.hash = keys.hash(point);
    node.depth = point;
    return node.lists[prefix ? (slash ? PathNode::kPrefixSlash : PathNode::kPrefix)
                             : (slash ? PathNode::kExactSlash : PathNode::kExact)];
  }

  PathKeys KeysOf(std::string_view path) const {
    return PathKeys(path, table_->seed_, kMaxRouteSegments + 1, kMaxRoutePathBytes);
  }

  const std::span<const RouteMatch> rules_;
  const RouteOptions& options_;
  std::vector<RouteProblem>& problems_;
  std::unique_ptr<RouteTable> table_;
  bool failed_ = false;
  uint64_t keys_ = 0;
  std::vector<std::unique_ptr<HostDraft>> hosts_;
  std::unordered_map<std::string, size_t> host_index_;  // by name as a rule writes it
};

std::unique_ptr<const RouteTable> RouteTable::Build(std::span<const RouteMatch> rules,
                                                    const RouteOptions& options,
                                                    std::vector<RouteProblem>& problems) {
  return RouteTableBuilder(rules, options, problems).Run();
}

const char* Name(RoutePart part) {
  switch (part) {
    case RoutePart::kNone:
      return "rule";
    case RoutePart::kHost:
      return "host";
    case RoutePart::kPath:
      return "path";
    case RoutePart::kPathPrefix:
      return "path prefix";
    case RoutePart::kPathRegex:
      return "path regex";
    case RoutePart::kMethod:
      return "method";
    case RoutePart::kHeader:
      return "header";
    case RoutePart::kQuery:
      return "query parameter";
    case RoutePart::kClient:
      return "client";
    case RoutePart::kScheme:
      return "scheme";
    case RoutePart::kProxyProtocol:
      return "PROXY header";
    case RoutePart::kSni:
      return "server name";
    case RoutePart::kAlpn:
      return "protocol";
  }
  return "";
}

}  // namespace weir::lb
