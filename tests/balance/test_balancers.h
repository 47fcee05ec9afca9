// Every policy by a name, as the tests of what all have in common make them.
#pragma once

#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "core/random.h"
#include "lb/balance/balancer.h"
#include "lb/balance/levels.h"

namespace weir::lb {

struct TestPolicy {
  const char* name;
  Balancer::Method method;
  uint32_t load_percent = 0;
  uint32_t most_in_flight = 0;
};
inline std::ostream& operator<<(std::ostream& out, const TestPolicy& policy) { return out << policy.name; }

inline constexpr TestPolicy kTestPolicies[] = {
    {"round_robin", Balancer::Method::kRoundRobin},
    {"random", Balancer::Method::kRandom},
    {"least_conn", Balancer::Method::kLeastConn},
    {"p2c", Balancer::Method::kP2c},
    {"ewma", Balancer::Method::kEwma},
    {"maglev", Balancer::Method::kMaglev},
    {"maglev_bounded", Balancer::Method::kMaglev, 125},
    {"ring_hash", Balancer::Method::kRingHash},
    {"ring_hash_bounded", Balancer::Method::kRingHash, 110},
    {"first", Balancer::Method::kFirst},
    {"first_limited", Balancer::Method::kFirst, 0, 3},
};

inline std::vector<std::string> TestNames(uint32_t endpoints) {
  std::vector<std::string> names;
  for (uint32_t i = 0; i < endpoints; ++i) {
    names.push_back("10.0." + std::to_string(i / 200) + "." + std::to_string(i % 200) + ":80");
  }
  return names;
}

// `names`: by default TestNames.
inline Balancer MakeTestBalancer(const TestPolicy& policy, const std::vector<uint32_t>& weights,
                                 uint64_t seed, std::vector<std::string> names = {}) {
  if (names.empty()) names = TestNames(static_cast<uint32_t>(weights.size()));
  const std::vector<std::string_view> views(names.begin(), names.end());
  return Balancer::Build({.method = policy.method,
                          .weights = weights,
                          .names = views,
                          .slots = 4'099,
                          .load_percent = policy.load_percent,
                          .most_in_flight = policy.most_in_flight},
                         seed);
}

// One endpoint for each of `levels`.
inline UpstreamSettings UpstreamOf(const TestPolicy& policy, const std::vector<uint32_t>& levels) {
  UpstreamSettings settings;
  settings.balance = policy.method;
  settings.hash.on = {HashKey()};
  settings.hash.slots = 4'099;
  settings.hash.balance_percent = policy.load_percent;
  settings.max_in_flight = policy.most_in_flight;
  for (const uint32_t level : levels) {
    const std::string text = "10.0.0.1:" + std::to_string(1 + settings.endpoints.size());
    settings.endpoints.push_back({*SocketAddress::Parse(text), 1, text, level});
  }
  return settings;
}

inline Levels Make(const UpstreamSettings& settings, uint64_t seed) {
  const auto layout = std::make_shared<const LevelLayout>(settings);
  return Levels(settings, layout, Levels::MakeTables(settings, *layout, nullptr, nullptr, {}), seed);
}

}  // namespace weir::lb
