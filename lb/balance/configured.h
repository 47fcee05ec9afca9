// The balancer of an upstream as it is configured. Names are the texts of the addresses, whatever a list or a
// name server called them: by these every shard and every node knows the same endpoint.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lb/balance/balancer.h"
#include "lb/config/settings.h"

namespace weir::lb {

class ConfiguredBalancer {
 public:
  explicit ConfiguredBalancer(const UpstreamSettings& settings);
  ConfiguredBalancer(const ConfiguredBalancer&) = delete;
  ConfiguredBalancer& operator=(const ConfiguredBalancer&) = delete;

  // Of `before`, if a table made for that is the same (its endpoints are the same ones, in the same order).
  static bool SameTable(const UpstreamSettings& settings, const UpstreamSettings& before);
  // Where hashing decides; else null. Milliseconds for a thousand endpoints.
  std::shared_ptr<const HashTable> MakeTable() const;
  // All endpoints are usable. `table`: MakeTable's.
  Balancer Build(uint64_t seed, std::shared_ptr<const HashTable> table) const;

 private:
  Balancer::Options options_;
  std::vector<uint32_t> weights_;
  std::vector<std::string> texts_;
  std::vector<std::string_view> names_;
};

}  // namespace weir::lb
