#include "lb/balance/configured.h"

#include <algorithm>
#include <utility>

namespace weir::lb {

static_assert(HashSettings().slots == HashTable::kSlots);

ConfiguredBalancer::ConfiguredBalancer(const UpstreamSettings& settings) {
  weights_.reserve(settings.endpoints.size());
  for (const EndpointSettings& endpoint : settings.endpoints) weights_.push_back(endpoint.weight);
  if (Hashes(settings.balance)) {
    for (const EndpointSettings& endpoint : settings.endpoints) texts_.push_back(endpoint.address.ToString());
    names_.assign(texts_.begin(), texts_.end());
  }
  options_.method = settings.balance;
  options_.weights = weights_;
  options_.names = names_;
  options_.slots = settings.hash.slots;
  options_.load_percent = settings.hash.balance_percent;
  options_.most_in_flight = settings.max_in_flight;
}

bool ConfiguredBalancer::SameTable(const UpstreamSettings& settings, const UpstreamSettings& before) {
  return Hashes(settings.balance) && settings.balance == before.balance &&
         settings.hash.slots == before.hash.slots &&
         std::equal(settings.endpoints.begin(), settings.endpoints.end(), before.endpoints.begin(),
                    before.endpoints.end(), [](const EndpointSettings& a, const EndpointSettings& b) {
                      return a.address == b.address && a.weight == b.weight;
                    });
}

std::shared_ptr<const HashTable> ConfiguredBalancer::MakeTable() const {
  return Hashes(options_.method) ? Balancer::MakeTable(options_) : nullptr;
}

Balancer ConfiguredBalancer::Build(uint64_t seed, std::shared_ptr<const HashTable> table) const {
  Balancer::Options options = options_;
  options.table = std::move(table);
  return Balancer::Build(options, seed);
}

}  // namespace weir::lb
