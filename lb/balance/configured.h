// The balancer of an upstream as it is configured. Names are the texts of the addresses, whatever a list or a
// name server called them: by these every shard and every node knows the same endpoint.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lb/balance/balancer.h"
#include "lb/config/settings.h"

namespace weir::lb {

class ConfiguredBalancer {
 public:
  // `members`: of the settings' endpoints, ascending.
  ConfiguredBalancer(const UpstreamSettings& settings, std::span<const uint16_t> members);
  ConfiguredBalancer(const ConfiguredBalancer&) = delete;
  ConfiguredBalancer& operator=(const ConfiguredBalancer&) = delete;

  // Whether a table made for `members_before` of `before` is the same: the endpoints are the same ones, in
  // the same order.
  static bool SameTable(const UpstreamSettings& settings, std::span<const uint16_t> members,
                        const UpstreamSettings& before, std::span<const uint16_t> members_before);
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
