#include "lb/upstream/outlier_watch.h"

#include "core/shard.h"

namespace weir::lb {

bool OutlierWatch::Page::Count(const OutlierSettings& settings, Outcome outcome, int64_t took_ns,
                               Sign* sign) {
  if (outcome == Outcome::kUnknown) return false;
  all.Add();
  const bool known = took_ns >= 0;
  const bool slow =
      known && settings.slow_above_ms > 0 && took_ns > int64_t{settings.slow_above_ms} * kNsPerMs;
  const bool is[kRowSigns] = {outcome == Outcome::kTimeout, outcome >= Outcome::kGatewayError,
                              outcome >= Outcome::kServerError, slow};
  for (size_t i = 0; i < kRowSigns; ++i) {
    if (is[i]) {
      signs[i].Add();
      ++rows[i];
    } else if (static_cast<Sign>(i) != Sign::kLatency || known) {
      rows[i] = 0;
    }
  }
  for (size_t i = 0; i < kRowSigns; ++i) {
    const uint32_t limit = LimitOf(settings, i);
    if (!is[i] || limit == 0 || rows[i] < limit) continue;
    *sign = static_cast<Sign>(i);
    return true;
  }
  return false;
}

void OutlierSink::Post(Shard& from, OutlierWatch& watch, Sign sign) {
  OutlierWatch::Page& page = watch.page(from.index());
  OutlierWatch::Report& report = page.report;
  // The last one is still on its way: the row goes on, and the next of it tries again.
  if (report.posted.load(std::memory_order_acquire)) return;
  report.posted.store(true, std::memory_order_relaxed);
  report.sink = this;
  report.watch = &watch;
  report.sign = sign;
  report.row = page.rows[static_cast<size_t>(sign)];
  report.timeouts_alone = page.rows[static_cast<size_t>(Sign::kTimeouts)] >= report.row;
  report.deliver = [](Message* message, Shard&) {
    auto& arrived = *static_cast<OutlierWatch::Report*>(message);
    arrived.sink->Take(arrived);
    arrived.posted.store(false, std::memory_order_release);  // from here on it is the shard's
  };
  page.ForgetRows();
  from.Post(from.switchboard().control(), &report);
}

}  // namespace weir::lb
