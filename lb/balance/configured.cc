#include "lb/balance/configured.h"

#include <algorithm>
#include <utility>

namespace weir::lb {

static_assert(HashSettings().slots == HashTable::kSlots);

ConfiguredBalancer::ConfiguredBalancer(const UpstreamSettings& settings, std::span<const uint16_t> members) {
  weights_.reserve(members.size());
  for (const uint16_t member : members) weights_.push_back(settings.endpoints[member].weight);
  if (Hashes(settings.balance)) {
    for (const uint16_t member : members) texts_.push_back(settings.endpoints[member].address.ToString());
    names_.assign(texts_.begin(), texts_.end());
  }
  options_.method = settings.balance;
  options_.weights = weights_;
  options_.names = names_;
  options_.slots = settings.hash.slots;
  options_.load_percent = settings.hash.balance_percent;
  options_.most_in_flight = settings.max_in_flight;
}

bool ConfiguredBalancer::SameTable(const UpstreamSettings& settings, std::span<const uint16_t> members,
                                   const UpstreamSettings& before, std::span<const uint16_t> members_before) {
  return Hashes(settings.balance) && settings.balance == before.balance &&
         settings.hash.slots == before.hash.slots &&
         std::equal(members.begin(), members.end(), members_before.begin(), members_before.end(),
                    [&](uint16_t here, uint16_t there) {
                      const EndpointSettings& a = settings.endpoints[here];
                      const EndpointSettings& b = before.endpoints[there];
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
