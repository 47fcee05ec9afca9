// An upstream as it is at the moment, from its plan: for the pages, and for "weir explain".
#pragma once

#include <cstdint>

#include "lb/admin/pages.h"
#include "lb/config/explain.h"
#include "lb/upstream/plan.h"

namespace weir::lb {

// Points into the plan.
UpstreamView ViewOf(const UpstreamPlan& plan, uint32_t shards, int64_t now_ns);
// What of the upstream's endpoints operators changed.
void TellEdits(const Settings& settings, UpstreamView& view);
AsideNow AsideOf(const UpstreamPlan& plan, uint32_t shards);

}  // namespace weir::lb
