#include "lb/config/explain_hash.h"

#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lb/config/explain_words.h"
#include "lb/config/flag_types.h"

namespace weir::lb::explain {
namespace {

// The balancers that serve: of the subset, and then of all, where the route wants that.
struct ChoiceThere {
  Levels levels;
  uint32_t subset;
};
std::vector<ChoiceThere> ChoicesOf(const UpstreamSettings& upstream, const SubsetUse& use,
                                   const AsideNow& aside) {
  std::vector<ChoiceThere> choices;
  const auto add = [&](uint32_t subset, const Levels::Tables& tables) {
    std::vector<uint16_t> members;
    for (size_t i = 0; i < upstream.endpoints.size(); ++i) {
      if (upstream.IsIn(subset, upstream.endpoints[i])) members.push_back(static_cast<uint16_t>(i));
    }
    if (members.empty()) return;
    const auto layout = std::make_shared<const LevelLayout>(upstream, members);
    choices.push_back(
        {Levels(upstream, layout,
                !tables.empty() ? tables : Levels::MakeTables(upstream, *layout, nullptr, nullptr, {}), 0),
         subset});
  };
  if (use.number != 0)
    add(use.number,
        use.number <= aside.subset_tables.size() ? aside.subset_tables[use.number - 1] : Levels::Tables());
  if (use.number == 0 || use.else_any) add(0, aside.tables);
  return choices;
}

// `key`: what was hashed, as the file has it.
std::string LedTo(const Settings& settings, const RouteSettings& route, const UpstreamAside& aside_of,
                  const std::string& key, uint64_t hash) {
  const UpstreamSettings& upstream = settings.upstreams[route.upstream];
  const AsideNow aside = aside_of ? aside_of(route.upstream) : AsideNow{};
  const std::vector<ChoiceThere> choices = ChoicesOf(upstream, route.subset, aside);
  // As a shard chooses that has set aside what `least` shards or more have.
  const auto pick = [&](uint64_t least) -> std::string {
    for (const ChoiceThere& choice : choices) {
      Levels levels = choice.levels;
      const auto here = [&](uint32_t i) { return upstream.IsIn(choice.subset, upstream.endpoints[i]); };
      for (uint32_t i = 0; i < aside.on.size(); ++i) {
        if (!here(i)) continue;
        Standing standing = i < aside.known.size() ? aside.known[i] : Standing();
        standing.aside = aside.on[i] >= least;
        levels.Set(i, standing);
      }
      for (uint32_t i = 0; i < aside.factors.size(); ++i) {
        if (here(i)) levels.SetWeightFactor(i, aside.factors[i]);
      }
      const uint32_t endpoint = levels.Pick({.hash = hash});
      if (endpoint != Levels::kNone) return upstream.endpoints[endpoint].address.ToString();
    }
    return "none";
  };
  const std::string everywhere = pick(aside.shards);
  const std::string somewhere = pick(1);
  std::string text = absl::StrCat("endpoint   ", everywhere);
  if (somewhere != everywhere)
    absl::StrAppend(&text, ", or ", somewhere, " on shards that have set it aside");
  absl::StrAppend(&text, ", by the hash of ", key, " (", absl::Hex(hash, absl::kZeroPad16), ")");
  if (upstream.hash.balance_percent > 0) {
    absl::StrAppend(&text, ", unless it has ", upstream.hash.balance_percent, " % of the average in flight");
  }
  return text + "\n";
}

// As the file has it.
std::string NameOf(const Settings& settings, const UpstreamSettings& upstream, size_t key) {
  const std::string hash_on = "upstreams." + upstream.name + ".hash_on";
  return AsWritten(settings, absl::StrCat(hash_on, "[", key, "]"),
                   AsWritten(settings, hash_on, upstream.hash.on[key].ToString()));
}

std::string NamesOf(const Settings& settings, const UpstreamSettings& upstream) {
  std::string names;
  for (size_t i = 0; i < upstream.hash.on.size(); ++i) {
    absl::StrAppend(&names, i > 0 ? ", " : "", NameOf(settings, upstream, i));
  }
  return names;
}

}  // namespace

Led Lead(const Settings& settings, const RouteSettings& route, const RouteRequest& asked,
         const UpstreamAside& aside) {
  const UpstreamSettings& upstream = settings.upstreams[route.upstream];
  if (!Hashes(upstream.balance) || upstream.endpoints.empty()) return {};
  const std::vector<HashKey>& keys = upstream.hash.on;
  uint64_t hash = 0;
  const HashKey* const key = FindHash(keys, asked, &hash);
  Led led;
  if (key != nullptr) {
    const std::string name = NameOf(settings, upstream, static_cast<size_t>(key - keys.data()));
    led.text = LedTo(settings, route, aside, name, hash);
    return led;
  }
  if (upstream.hash.cookie() != nullptr) {
    const std::string last = NameOf(settings, upstream, keys.size() - 1);
    led.cookie = absl::StrCat("Set-Cookie: ", last.substr(last.find(':') + 1), "=", Absl(kMadeForEach),
                              upstream.hash.cookie_attributes, "\r\n");
  }
  led.text = absl::StrCat("endpoint   by chance, as the request has no ", NamesOf(settings, upstream),
                          led.cookie.empty() ? "" : "; its cookie holds it there", "\n");
  return led;
}

std::string LeadConnection(const Settings& settings, const RouteSettings& route, const RouteRequest& asked,
                           const UpstreamAside& aside) {
  const UpstreamSettings& upstream = settings.upstreams[route.upstream];
  if (!Hashes(upstream.balance) || upstream.endpoints.empty()) return "";
  const std::vector<HashKey>& keys = upstream.hash.on;
  uint64_t hash = 0;
  const HashKey* const key = FindHash(keys, asked, &hash);
  if (key != nullptr)
    return LedTo(settings, route, aside, NameOf(settings, upstream, static_cast<size_t>(key - keys.data())),
                 hash);
  const std::optional<uint64_t> by_address = HashKey().HashOf(asked);
  if (!by_address) return "endpoint   by chance, as the connection has no address\n";
  return LedTo(settings, route, aside,
               absl::StrCat("client_ip, as the connection has no ", NamesOf(settings, upstream)),
               *by_address);
}

}  // namespace weir::lb::explain
