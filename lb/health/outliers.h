// Outliers: takes requests from endpoints that fail them, for some time (`outlier_ejection`). The shards
// count (lb/upstream/outlier_watch.h) and report a row of failures at once; every `interval` each endpoint's
// sums over all shards are looked at too: where all that was asked of it since the last look failed, and that
// was often enough, it is a row whichever shards saw it; and of those that had requests enough, one of which
// clearly fewer succeeded than of the others is an outlier though none of its rows is long. An ejection is
// kEjected in the endpoint's view (publisher.h) until its time is over: base_ejection_time, twice that the
// second time and so on, up to max_ejection_time, and a jitter, so that not all come back together. Each
// interval that it stays in makes the next one shorter again.
//
// Nobody is ejected if that would be more than max_ejection_percent of the endpoints, if it gets no requests
// anyway, or if no other endpoint is usable: then waiting would spare nobody. What checks say is another's
// word, neither begins an ejection nor ends one; an operator's "ready" ends it.
//
// A reload keeps ejections and counts of the endpoints that stay, and ends them where outlier_ejection goes.
// Bounds: kMostAtOnce endpoints are looked at, or come back, in kTickMs; an endpoint that may not be ejected
// is not considered again for kDeafMs. Owner: the server, on the control shard, for as long as shards may
// post.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/shard.h"
#include "lb/generation.h"
#include "lb/health/publisher.h"
#include "lb/upstream/endpoint_news.h"
#include "lb/upstream/outlier_watch.h"
#include "lb/upstream/plan.h"

namespace weir::lb {

// An upstream that ejects outliers.
struct OutlierGroup {
  std::shared_ptr<UpstreamPlan> plan;
  uint64_t generation = 0;   // the last one that has it
  uint32_t ejected = 0;      // of plan->books
  uint32_t usable_seen = 0;  // in plan->books: who was found usable last
  int64_t round_ns = 0;      // when the next look at them begins, or the one that is going on began
  // Of those that were looked at in this round and had enough requests: which part succeeded, and their
  // places.
  std::vector<double> rates;
  std::vector<uint32_t> rated;
  uint32_t next = 0;  // who is looked at next; 0: nobody was yet
};

class Outliers final : public OutlierSink {
 public:
  static constexpr size_t kMostAtOnce = 64;
  static constexpr uint32_t kTickMs = 10;
  static constexpr uint32_t kDeafMs = 1'000;

  // `news` may be null: nobody is told.
  Outliers(Shard& control, Publisher& publisher, EndpointNews* news);
  ~Outliers();
  Outliers(const Outliers&) = delete;
  Outliers& operator=(const Outliers&) = delete;

  // This generation is what holds from now on.
  void Follow(const Generation& generation);
  // No more ejections; who is out stays out.
  void Stop();
  void Take(const OutlierWatch::Report& report) override;
  // An operator says that it is well. False: it was not ejected.
  bool Readmit(UpstreamPlan& plan, const std::shared_ptr<EndpointBook>& book);

  size_t ejected() const { return due_.size(); }

 private:
  struct Tick : Runnable {
    explicit Tick(Outliers* owner);
    Outliers* owner;
  };
  // By when it is over, and in which order.
  using Due = std::map<std::pair<int64_t, uint64_t>, std::shared_ptr<EndpointBook>>;

  void FollowGroup(OutlierGroup& group, const std::shared_ptr<UpstreamPlan>& plan, uint64_t generation);
  void Eject(OutlierGroup& group, const std::shared_ptr<EndpointBook>& book, Sign sign,
             const std::string& why, bool timeouts_alone);
  bool MayEject(OutlierGroup& group, const std::shared_ptr<EndpointBook>& book);
  static bool SubsetsHaveOthers(const UpstreamPlan& plan, const EndpointBook& book);
  bool OthersAreUsable(OutlierGroup& group, const EndpointBook& book) const;
  void End(const std::shared_ptr<EndpointBook>& book);
  void Forget(const std::shared_ptr<EndpointBook>& book);
  void BringBack(const std::shared_ptr<EndpointBook>& book);
  size_t GoRound(OutlierGroup& group, size_t most);
  void LookAt(OutlierGroup& group, const std::shared_ptr<EndpointBook>& book);
  void Compare(OutlierGroup& group);
  void OnTick();
  void SetTimer();

  Shard& control_;
  Publisher& publisher_;
  EndpointNews* const news_;
  std::map<std::string, OutlierGroup> groups_;  // by the upstream's name
  Due due_;
  std::string last_served_;  // of groups_: the next one comes first, so that none waits for a large one
  uint64_t tickets_ = 0;
  bool stopped_ = false;
  Timer timer_;
  Tick tick_;
};

}  // namespace weir::lb
