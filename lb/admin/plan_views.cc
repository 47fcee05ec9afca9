#include "lb/admin/plan_views.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <string>

#include "core/clock.h"
#include "lb/config/endpoint_overlay.h"

namespace weir::lb {
namespace {

void TellOfEjections(const OutlierWatch::Case& state, int64_t now_ns, EndpointView& view) {
  view.watched = true;
  view.ejected_why = state.why;
  view.ejected_left_ms = static_cast<uint64_t>(std::max<int64_t>(state.until_ns - now_ns, 0) / kNsPerMs);
  std::copy(std::begin(state.ejections), std::end(state.ejections), std::begin(view.ejections));
  view.ejections_refused = state.refused;
}

EndpointView ViewOf(const EndpointSettings& settings, const EndpointBook& book, uint32_t shards) {
  const uint64_t seen = book.seen();
  EndpointView view;
  view.address = settings.text;
  view.resolved = book.address().ToString();
  view.priority = settings.level;
  view.backup = settings.backup();
  view.zone = settings.zone;
  view.labels = &settings.labels;
  view.weight = view.file_weight = settings.weight;
  view.weight_percent = EndpointBook::PercentOf(seen);
  for (uint32_t shard = 0; shard < shards; ++shard) view.shards.push_back(&book.page(shard).counters);
  view.checked = book.checks.on;
  view.checks = book.checks.done;
  view.check_failures = book.checks.failed;
  view.last_check_error = book.checks.last_error;
  view.down = (seen & EndpointBook::kDown) != 0;
  view.ejected = (seen & EndpointBook::kEjected) != 0;
  view.draining = (seen & EndpointBook::kDraining) != 0;
  view.forced_down = (seen & EndpointBook::kForcedDown) != 0;
  return view;
}

}  // namespace

UpstreamView ViewOf(const UpstreamPlan& plan, uint32_t shards, int64_t now_ns) {
  UpstreamView view;
  view.name = plan.settings.name;
  view.balance = BalanceText(plan.settings.balance);
  view.panic = plan.news->panic_levels != 0;
  view.panics = plan.news->panics;
  view.has_zones = plan.layout != nullptr && plan.layout->parts() > plan.layout->levels();
  for (uint32_t shard = 0; shard < shards; ++shard) view.shards.push_back(&plan.book->page(shard));
  for (uint32_t i = 0; i < plan.books.size(); ++i) {
    const EndpointSettings& endpoint = plan.settings.endpoints[i];
    view.endpoints.push_back(ViewOf(endpoint, *plan.books[i], shards));
    view.endpoints.back().in_panic = (plan.news->panic_levels >> endpoint.level & 1) != 0;
    // A watch that this plan does not use is somebody else's, who may just be making it.
    if (plan.settings.outliers.on())
      TellOfEjections(plan.books[i]->watch->state, now_ns, view.endpoints.back());
  }
  return view;
}

void TellEdits(const Settings& settings, UpstreamView& view) {
  const EndpointOverlay::Upstream* const edits =
      settings.overlay == nullptr ? nullptr : settings.overlay->Find(view.name);
  if (edits == nullptr) return;
  std::map<std::string, uint32_t> in_file;  // weights
  for (const EndpointSettings& endpoint : edits->file)
    in_file.emplace(endpoint.address.ToString(), endpoint.weight);
  for (EndpointView& endpoint : view.endpoints) {
    const auto at = in_file.find(endpoint.resolved);
    endpoint.added = at == in_file.end();
    endpoint.file_weight = endpoint.added ? 0 : at->second;
  }
  for (const EndpointOverlay::Entry& entry : edits->entries) {
    if (entry.kind == EndpointOverlay::Kind::kRemoved) view.removed.push_back(entry.address.ToString());
  }
}

AsideNow AsideOf(const UpstreamPlan& plan, uint32_t shards) {
  AsideNow now{.on = {}, .shards = shards, .tables = plan.tables};
  for (uint32_t number = 1; number <= plan.subsets.count(); ++number)
    now.subset_tables.push_back(plan.subsets.tables(number));
  for (const auto& book : plan.books) {
    now.factors.push_back(EndpointBook::FactorOf(book->seen()));
    now.known.push_back(EndpointBook::StandingOf(book->seen()));
    uint64_t& on = now.on.emplace_back(0);
    for (uint32_t shard = 0; shard < shards; ++shard) on += book->page(shard).counters.set_aside.Get();
  }
  return now;
}

}  // namespace weir::lb
