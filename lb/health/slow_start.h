// SlowStarter: an endpoint that comes back for all shards, or that is added to an upstream of the running
// process, begins with a part of its weight and has all of it some time later (`slow_start`). How much is
// missing stands in its view, next to why it would get no requests at all (plan.h), and is written in steps:
// kSteps over the time, or one every kLeastStepMs, counted from its beginning. Shards hear of a step as of
// any other change.
//
// Comes back: of the bits that keep requests from it, whoever set them, the last is cleared. In the same
// publication the first part of its weight takes the place of the whole, so that no shard sees it come back
// with all of it. One that goes again starts anew when it comes back. Not: what the process begins with; an
// upstream that is new, whose endpoints are; what one shard sets aside for itself after a failed connect.
// Where all start at one time nobody is held back, as only the relation of their factors counts.
//
// A reload keeps what has begun; where the new settings have no slow start, all of the weight is back at
// once. Bounds: an endpoint waits once; kMostAtOnce steps in kTickMs, whose time has come for longest first:
// of thousands that start together some have fewer steps and end up to a tick for each kMostAtOnce later.
// Owner: the server, on the control shard; outlives nothing that publishes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "core/shard.h"
#include "lb/config/settings.h"
#include "lb/generation.h"
#include "lb/health/publisher.h"
#include "lb/upstream/plan.h"

namespace weir::lb {

// Of kFullFactor, `since_ms` after its beginning.
uint32_t SlowStartFactor(const SlowStartSettings& settings, int64_t since_ms);

class SlowStarter final : private Publisher::Greeter {
 public:
  static constexpr uint32_t kSteps = 20;
  static constexpr uint32_t kLeastStepMs = 50;
  static constexpr size_t kMostAtOnce = Publisher::kMostAtOnce;
  static constexpr uint32_t kTickMs = 10;

  SlowStarter(Shard& control, Publisher& publisher);
  ~SlowStarter();
  SlowStarter(const SlowStarter&) = delete;
  SlowStarter& operator=(const SlowStarter&) = delete;

  // This generation is what holds from now on. Before any shard goes by it, so that none gives a new endpoint
  // its whole share first.
  void Follow(const Generation& generation);
  // No more steps; what was said last stays.
  void Stop();

  size_t starting() const { return due_.size(); }

 private:
  struct Tick : Runnable {
    explicit Tick(SlowStarter* owner);
    SlowStarter* owner;
  };
  // By when, and in which order.
  using Due = std::map<std::pair<int64_t, uint64_t>, std::shared_ptr<EndpointBook>>;

  uint64_t Missing(const std::shared_ptr<EndpointBook>& book, bool takes_requests) override;
  // The first part of its weight is in force from now on: what is missing.
  uint64_t Begin(const std::shared_ptr<EndpointBook>& book);
  // It has all of its weight, or gets nothing.
  void Forget(EndpointBook& book);
  void Wait(const std::shared_ptr<EndpointBook>& book, int64_t due_ns);
  void WaitForStep(const std::shared_ptr<EndpointBook>& book);
  void Change(const std::shared_ptr<EndpointBook>& book, const SlowStartSettings& settings);
  void Step(const std::shared_ptr<EndpointBook>& book);
  void OnTick();
  void SetTimer();

  Shard& control_;
  Publisher& publisher_;
  Due due_;  // those that start, by their next step
  uint64_t tickets_ = 0;
  bool stopped_ = false;
  Timer timer_;
  Tick tick_;
};

}  // namespace weir::lb
