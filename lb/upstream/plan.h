// What the shards' pools of an upstream are made of, and what of an endpoint outlives a reload.
//  EndpointBook: an endpoint of an upstream, as long as it is configured, whatever else changes: its
//  counters, and for each shard where the shard's Endpoint is. UpstreamBook: the counters of an upstream, as
//  long as there is one of its name. UpstreamPlan: an upstream as it is configured.
//  An upstream that does not change keeps its plan, and so its pools, from one generation to the next
//  (generation.h).
// Made off the data path, used by all shards, kept by shared pointers. A page or a seat is used by its shard
// alone; counters may be read by anybody; whether an endpoint is in trouble is for all to say, its view and
// its checks are the control shard's.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/mailbox.h"
#include "lb/balance/choices.h"
#include "lb/balance/levels.h"
#include "lb/balance/pick.h"
#include "lb/config/settings.h"
#include "lb/upstream/change_log.h"
#include "lb/upstream/endpoint_counters.h"
#include "lb/upstream/outlier_watch.h"

namespace weir::lb {

class EndpointNews;
struct Endpoint;
struct UpstreamPlan;
class UpstreamPool;

class EndpointBook {
 public:
  struct alignas(64) Page {
    EndpointCounters counters;
    Endpoint* endpoint = nullptr;
  };

  // To the control shard: look at `trouble` (endpoint_news.h).
  struct Note : Message {
    std::atomic<bool> posted{false};  // it is whoever set this one's until it arrives
    EndpointNews* news = nullptr;
    UpstreamPlan* plan = nullptr;
    EndpointBook* book = nullptr;
  };

  EndpointBook(const SocketAddress& address, uint32_t shards)
      : awaited(shards), address_(address), pages_(std::make_unique<Page[]>(shards)) {}

  const SocketAddress& address() const { return address_; }
  Page& page(uint32_t shard) { return pages_[shard]; }
  const Page& page(uint32_t shard) const { return pages_[shard]; }

  // 0: as far as the shards know it takes connections. Else the errno for which the first of them has set it
  // aside, and for how many milliseconds, in the lower half.
  std::atomic<uint64_t> trouble{0};
  Note note;
  bool told_aside = false;  // control shard's: what the operator was told

  // What all shards go by: one word, written by the control shard alone (lb/health/publisher.h); each bit has
  // one who sets it there. 0: nothing is known against it, and all of its weight counts.
  static constexpr uint64_t kDown = 1;        // it fails its checks
  static constexpr uint64_t kEjected = 2;     // requests show that something is wrong with it
  static constexpr uint64_t kDraining = 4;    // an operator takes it out
  static constexpr uint64_t kForcedDown = 8;  // an operator says that it is down
  static constexpr uint64_t kNoRequests = kDown | kEjected | kDraining | kForcedDown;
  // Of who set kDown, or kEjected: it does not answer at all. What waits for it may wait for ever.
  static constexpr uint64_t kChecksUnheard = 16;
  static constexpr uint64_t kTimesOut = 32;
  static constexpr uint64_t kSilent = kChecksUnheard | kTimesOut;
  // What a panic passes over: never what an operator says.
  static constexpr uint64_t kUnwell = kDown | kEjected;
  static Standing StandingOf(uint64_t view) {
    return {.well = (view & kUnwell) == 0, .out = (view & kNoRequests & ~kUnwell) != 0};
  }
  // In a slow start: how much of its weight is missing, in parts of kFullFactor (lb/balance/pick.h).
  static constexpr int kMissingShift = 32;
  static constexpr uint64_t kMissing = uint64_t{0xffff} << kMissingShift;
  static uint32_t FactorOf(uint64_t view) {
    return kFullFactor - static_cast<uint32_t>((view & kMissing) >> kMissingShift);
  }
  // Of its weight counts so much; never 100 in a slow start.
  static uint32_t PercentOf(uint64_t view) {
    const uint32_t factor = FactorOf(view);
    return factor == kFullFactor ? 100 : std::clamp(factor * 100 / kFullFactor, 1u, 99u);
  }
  static uint64_t MissingOf(uint32_t factor) { return uint64_t{kFullFactor - factor} << kMissingShift; }
  std::atomic<uint64_t> view{0};
  uint64_t seen() const { return view.load(std::memory_order_relaxed); }
  bool down() const { return (seen() & kDown) != 0; }
  bool takes_requests() const { return (seen() & kNoRequests) == 0; }
  // Control shard's, all of it.
  std::vector<bool> awaited;  // by shard: the next letter to it names this endpoint
  struct Checks {
    bool on = false;
    uint64_t done = 0;
    uint64_t failed = 0;
    std::string last_error;  // of the last one that failed
  };
  Checks checks;
  struct Start {                 // its slow start (lb/health/slow_start.h)
    SlowStartSettings settings;  // of its upstream
    uint64_t generation = 0;     // the last one that has it; 0: none that anybody goes by yet
    uint64_t ticket = 0;         // 0: it is in none
    int64_t begun_ns = 0;
    int64_t due_ns = 0;  // the next step
  };
  Start start;
  // Made by the first plan that ejects outliers, before any shard has that, and kept. Where no plan does:
  // null.
  std::unique_ptr<OutlierWatch> watch;

 private:
  const SocketAddress address_;
  const std::unique_ptr<Page[]> pages_;
};

class UpstreamBook {
 public:
  explicit UpstreamBook(uint32_t shards) : pages_(std::make_unique<Page[]>(shards)) {}

  UpstreamCounters& page(uint32_t shard) { return pages_[shard].counters; }
  const UpstreamCounters& page(uint32_t shard) const { return pages_[shard].counters; }
  // Requests and TCP connections now, by EndpointSettings::part; only counted where a bound on load asks for
  // it.
  Counter& in_flight(uint32_t shard, uint32_t part = 0) { return pages_[shard].in_flight[part]; }
  // Requests and TCP connections now, of all levels, and requests that wait for their next attempt.
  Counter& active(uint32_t shard) { return pages_[shard].active; }
  // Of the requests those that the retry budget has let try again.
  Counter& retries(uint32_t shard) { return pages_[shard].retries; }

 private:
  struct alignas(64) Page {
    UpstreamCounters counters;
    Counter active;
    Counter retries;
    Counter in_flight[EndpointSettings::kParts];
  };

  const std::unique_ptr<Page[]> pages_;
};

// What a bound on load counts of a subset: requests and TCP connections now, at its endpoints, whichever
// choice they were given by. As long as routes ask for these labels.
class SubsetBook {
 public:
  explicit SubsetBook(uint32_t shards) : pages_(std::make_unique<Page[]>(shards)) {}

  // By EndpointSettings::part.
  Counter& in_flight(uint32_t shard, uint32_t part) { return pages_[shard].in_flight[part]; }

 private:
  struct alignas(64) Page {
    Counter in_flight[EndpointSettings::kParts];
  };

  const std::unique_ptr<Page[]> pages_;
};

struct UpstreamPlan {
  struct Seat {
    UpstreamPool* pool = nullptr;  // made when the shard first needs it
    uint64_t last_generation = 0;  // the last one of the shard's that has this plan; 0: the newest has it
  };

  // `before` (may be null): the upstream of that name until now; it and its endpoints with the same address
  // keep their books.
  UpstreamPlan(const UpstreamSettings& settings, uint32_t shards, const UpstreamPlan* before);

  const UpstreamSettings settings;
  const std::shared_ptr<UpstreamBook> book;
  std::vector<std::shared_ptr<EndpointBook>> books;  // for each of settings.endpoints
  std::shared_ptr<const LevelLayout> layout;         // null: it has no endpoints
  Levels::Tables tables;                             // for each part of a level, where hashing decides
  std::optional<Levels> levels;                      // to copy, where making one takes long
  Subsets subsets;                                   // of settings.subsets
  struct BoundedSubset {
    const UpstreamPlan* plan;
    std::shared_ptr<SubsetBook> book;
  };
  std::vector<BoundedSubset> bounded;  // for each of settings.subsets, where a bound on load asks; else none
  // By shard: what changed in its counts. Null: one shard, few endpoints, or a policy that counts nothing.
  std::unique_ptr<ChangeLog[]> changes;
  std::vector<Seat> seats;  // by shard
  // What the operator was told, whatever else changes. Control shard's.
  struct News {
    bool told_none_left = false;
    uint32_t usable_seen = 0;  // in books
    // Whether who is not well serves (lb/health/panic_watch.h); by EndpointSettings::level, a bit each.
    uint32_t panic_levels = 0;
    uint64_t panics = 0;  // times that began
  };
  const std::shared_ptr<News> news;

 private:
  void MakeSubsetBooks(uint32_t shards, const UpstreamPlan* before);
};

}  // namespace weir::lb
