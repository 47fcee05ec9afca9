// Routes of tcp listeners: what of a list is for requests, and what for connections that are passed on as
// they are.
#include <algorithm>
#include <utility>
#include <vector>

#include "lb/config/file_keys.h"

namespace weir::lb::file {
namespace {

// What a route may say where it is for connections; whole keys, and those within them that are.
constexpr std::string_view kOfConnections[] = {"match",
                                               "match.sni",
                                               "match.alpn",
                                               "match.client",
                                               "match.proxy_protocol",
                                               "upstream",
                                               "subset",
                                               "subset_fallback",
                                               "split",
                                               "sticky",
                                               "sticky.hash_on",
                                               "timeouts",
                                               "timeouts.connect",
                                               "timeouts.tcp_idle",
                                               "retries",
                                               "retry",
                                               "retry.on",
                                               "allow",
                                               "deny"};
constexpr std::string_view kOfConnectionsAlone[] = {"match.sni", "match.alpn"};

template <size_t kCount>
bool IsOneOf(std::string_view name, const std::string_view (&names)[kCount]) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

// The names that stand beside `name`.
std::string Beside(std::string_view name) {
  const size_t dot = name.find('.');
  const std::string_view group = dot == std::string_view::npos ? "" : name.substr(0, dot + 1);
  std::string names;
  for (const std::string_view other : kOfConnections) {
    if (!other.starts_with(group)) continue;
    const std::string_view last = other.substr(group.size());
    if (last.find('.') == std::string_view::npos)
      absl::StrAppend(&names, names.empty() ? "" : ", ", Absl(last));
  }
  return names;
}

}  // namespace

void Reader::CheckRoutesFor(Protocol protocol, const Place& listener, RoutesDraft& draft,
                            const RouteList& list) {
  if (std::exchange(draft.checked[static_cast<size_t>(protocol)], true)) return;
  const bool tcp = protocol == Protocol::kTcp;
  const std::string where = problems_.Where(listener);
  const std::string outer = key_;
  for (size_t i = 0; i < list.routes.size(); ++i) {
    const std::string route = absl::StrCat("routes.", list.name, "[", i, "].");
    std::vector<std::pair<Place, std::string>> keys;  // in the order of the file
    for (auto at = said_.lower_bound(route); at != said_.end() && at->first.starts_with(route); ++at) {
      keys.emplace_back(at->second, at->first.substr(route.size()));
    }
    std::sort(keys.begin(), keys.end());
    for (const auto& [place, key] : keys) {
      const std::string_view name = key;
      const size_t dot = name.find('.');
      const bool whole = dot == std::string_view::npos;
      if (name.find('[') != std::string_view::npos) continue;
      if (!whole && name.find('.', dot + 1) != std::string_view::npos) continue;
      key_ = route + key;
      // What is within a key that is refused is told with it.
      if (tcp && !IsOneOf(name, kOfConnections) && (whole || IsOneOf(name.substr(0, dot), kOfConnections))) {
        Error(place, absl::StrCat("only of requests, and the tcp listener at ", where,
                                  " knows none: expected ", Beside(name)));
      } else if (!tcp && IsOneOf(name, kOfConnectionsAlone)) {
        Error(place, absl::StrCat("only of connections that a tcp listener passes on, and the listener at ",
                                  where, " is for http"));
      }
    }
    const RouteSettings& settings = list.routes[i];
    if (!tcp || settings.action != RouteSettings::Action::kUpstream) continue;
    const auto warn = [&](const std::string& key, uint32_t upstream) {
      const auto at = said_.find(key);
      if (at == said_.end() || upstream >= sections_.upstreams.size()) return;
      key_ = key;
      WarnOfTcp(at->second, sections_.upstreams[upstream].settings, true);
    };
    if (settings.split == nullptr) {
      warn(route + "upstream", settings.upstream);
      continue;
    }
    for (size_t side = 0; side < settings.split->sides.size(); ++side) {
      warn(absl::StrCat(route, "split[", side, "].upstream"), settings.split->sides[side].upstream);
    }
    const auto hash_on = said_.find(route + "sticky.hash_on");
    const HashKey::Of of = settings.split->split.key.of;
    if (hash_on == said_.end() || of == HashKey::Of::kClientIp || of == HashKey::Of::kServerName) continue;
    key_ = hash_on->first;
    Error(hash_on->second,
          absl::StrCat("\"", settings.split->split.key.ToString(), "\": of requests; the tcp listener at ",
                       where, " knows none: expected client_ip or sni"));
  }
  key_ = outer;
}

}  // namespace weir::lb::file
