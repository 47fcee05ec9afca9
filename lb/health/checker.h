// Checker: the active checks of all endpoints whose upstream has `health_check`, once for the process: what
// they say becomes the one view that every shard goes by (publisher.h). Follows the generations: an endpoint
// that stays keeps its state, its connection and its rhythm, others begin or end; where an upstream is
// checked no more, its endpoints are up again.
//
// Bounds: kMostChecks run at one time; who is due then waits, in order; kMostKept connections are kept
// between checks. So many that hang at once delay the others by their timeouts, and nothing else does. Owner:
// the server, on the control shard.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>

#include "core/shard.h"
#include "lb/config/budget.h"
#include "lb/generation.h"
#include "lb/health/check.h"
#include "lb/health/publisher.h"
#include "lb/http/response.h"
#include "lb/upstream/endpoint_news.h"

namespace weir::lb {

class Checker {
 public:
  static constexpr uint32_t kMostChecks = 128;
  static constexpr uint32_t kMostKept = 128;
  static_assert(kMostChecks + kMostKept == kMostCheckConnections);

  // `news` may be null: nobody is told.
  Checker(Shard& control, Publisher& publisher, EndpointNews* news);
  ~Checker();
  Checker(const Checker&) = delete;
  Checker& operator=(const Checker&) = delete;

  // This generation is what holds from now on.
  void Follow(const Generation& generation);
  // No more checks; what they said last stays.
  void Stop();
  bool stopped() const { return stopping_ && checks_.empty() && ending_.empty(); }

  uint32_t connections() const { return open_; }

  // For Check.
  void Ask(Check& check);
  void Done();
  void Ended(Check& check);
  void Opened() { ++open_; }
  void Closed() { --open_; }
  bool MayKeep() const { return open_ < running_ + kMostKept; }
  // `heard`: there were bytes of an answer.
  void Changed(UpstreamPlan& plan, uint32_t endpoint, bool up, const std::string& error, bool heard);
  void StillDown(UpstreamPlan& plan, uint32_t endpoint, bool heard);
  http::ResponseHead& response_head() { return response_head_; }

 private:
  struct Starter : Runnable {
    explicit Starter(Checker* owner);
    Checker* owner;
  };
  struct Entry {
    std::unique_ptr<Check> check;
    uint64_t generation = 0;  // the last one that has it
  };

  void StartNext();
  static constexpr uint64_t kNoGeneration = 0;

  void EndAllBut(uint64_t generation);

  Shard& control_;
  Publisher& publisher_;
  EndpointNews* const news_;
  http::ResponseHead response_head_;
  std::unordered_map<const EndpointBook*, Entry> checks_;
  std::unordered_map<const Check*, std::unique_ptr<Check>> ending_;
  std::deque<Check*> queue_;
  uint32_t running_ = 0;
  uint32_t open_ = 0;  // connections, those of running checks among them
  bool stopping_ = false;
  Starter starter_;
};

}  // namespace weir::lb
