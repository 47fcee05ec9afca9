#include "lb/upstream/plan.h"

#include <algorithm>
#include <map>
#include <string>

namespace weir::lb {
namespace {

// Laying out so many weights takes longer than a shard has for it (schedule.h).
constexpr size_t kManyWeights = 8;

}  // namespace

std::vector<uint32_t> WeightsOf(const UpstreamSettings& settings) {
  std::vector<uint32_t> weights;
  weights.reserve(settings.endpoints.size());
  for (const EndpointSettings& endpoint : settings.endpoints) weights.push_back(endpoint.weight);
  return weights;
}

UpstreamPlan::UpstreamPlan(const UpstreamSettings& from, uint32_t shards, const UpstreamPlan* before)
    : settings(from),
      book(before != nullptr ? before->book : std::make_shared<UpstreamBook>(shards)),
      seats(shards),
      news(before == nullptr ? std::make_shared<News>() : before->news) {
  std::map<std::string, std::shared_ptr<EndpointBook>> known;
  if (before != nullptr) {
    for (const auto& book : before->books) known.emplace(book->address().ToString(), book);
  }
  for (const EndpointSettings& endpoint : settings.endpoints) {
    const auto found = known.find(endpoint.address.ToString());
    books.push_back(found != known.end() ? found->second
                                         : std::make_shared<EndpointBook>(endpoint.address, shards));
  }
  if (settings.balance == Balance::kRoundRobin && settings.endpoints.size() > kManyWeights)
    balancer = Balancer::Build(settings.balance, WeightsOf(settings), 0);
}

}  // namespace weir::lb
