// PanicWatch: which upstreams are in panic (lb/balance/panic.h), for those who look: each shard decides that
// for itself, with the turn in which it hears of an endpoint; this decides the same from the same views,
// tells it on standard error, and keeps it, with how often it began, in the plan's news. What begins and ends
// within one turn of the control shard is not told.
//
// Costs a change of an endpoint a look-up. Owner: the server, on the control shard.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/shard.h"
#include "lb/balance/panic.h"
#include "lb/generation.h"
#include "lb/health/publisher.h"
#include "lb/upstream/endpoint_news.h"

namespace weir::lb {

class PanicWatch final : private Publisher::Listener {
 public:
  // `news` may be null: nobody is told.
  PanicWatch(Shard& control, Publisher& publisher, EndpointNews* news);
  ~PanicWatch();
  PanicWatch(const PanicWatch&) = delete;
  PanicWatch& operator=(const PanicWatch&) = delete;

  // This generation is what holds from now on.
  void Follow(const Generation& generation);

 private:
  struct Look : Runnable {
    explicit Look(PanicWatch* owner);
    PanicWatch* owner;
  };
  struct Upstream {
    Upstream(const std::shared_ptr<UpstreamPlan>& plan) : plan(plan), tally(plan->settings, *plan->layout) {}

    std::shared_ptr<UpstreamPlan> plan;
    PanicTally tally;
    bool changed = true;
  };
  struct Member {
    Upstream* upstream;
    uint32_t level;
  };

  void Changed(const EndpointBook& book, uint64_t before) override;
  void LookAtChanged();
  void Tell(const UpstreamPlan& plan, const PanicTally* tally);

  Shard& control_;
  Publisher& publisher_;
  EndpointNews* const news_;
  std::vector<std::unique_ptr<Upstream>> upstreams_;  // that may be in panic
  std::unordered_map<const EndpointBook*, Member> members_;
  std::vector<Upstream*> changed_;
  Look look_;
};

}  // namespace weir::lb
