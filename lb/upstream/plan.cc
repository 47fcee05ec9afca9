#include "lb/upstream/plan.h"

#include <algorithm>
#include <map>
#include <string>

#include "lb/config/budget.h"

namespace weir::lb {
namespace {

// Schedules and tables of so many weights take longer than a shard has for them (schedule.h).
constexpr size_t kManyWeights = 8;

static_assert(sizeof(ChangeLog) <= kChangeLogBytes);

}  // namespace

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
    if (settings.outliers.on() && books.back()->watch == nullptr)
      books.back()->watch = std::make_unique<OutlierWatch>(shards);
  }
  // Without endpoints there is nothing to choose, and nobody who would.
  if (settings.endpoints.empty()) return;
  layout = std::make_shared<const LevelLayout>(settings);
  tables = before == nullptr ? Levels::MakeTables(settings, *layout, nullptr, nullptr, {})
                             : Levels::MakeTables(settings, *layout, &before->settings, before->layout.get(),
                                                  before->tables);
  if (Hashes(settings.balance) || settings.endpoints.size() > kManyWeights)
    levels.emplace(settings, layout, tables, 0);
  if (!settings.subsets.empty()) {
    subsets = before == nullptr ? Subsets(settings, nullptr, nullptr)
                                : Subsets(settings, &before->subsets, &before->settings);
    if (shards > 1 && settings.hash.balance_percent > 0) MakeSubsetBooks(shards, before);
  }
  if (settings.logs_changes(shards)) changes = std::make_unique<ChangeLog[]>(shards);
}

void UpstreamPlan::MakeSubsetBooks(uint32_t shards, const UpstreamPlan* before) {
  for (const Labels& wanted : settings.subsets) {
    BoundedSubset& subset = bounded.emplace_back(BoundedSubset{this, nullptr});
    for (size_t i = 0; before != nullptr && i < before->bounded.size(); ++i) {
      if (before->settings.subsets[i] == wanted) subset.book = before->bounded[i].book;
    }
    if (subset.book == nullptr) subset.book = std::make_shared<SubsetBook>(shards);
  }
}

}  // namespace weir::lb
