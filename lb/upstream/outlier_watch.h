// OutlierWatch: what requests show of one endpoint (outlier ejection): a page for each shard, which counts
// what became of its requests and how often in a row the same was wrong, and what the control shard makes of
// that (lb/health/outliers.h). A shard writes its own page alone, so that a request costs no line that others
// write; where a row is long enough it posts the page's report, one at a time, and begins a new row.
// The rows are a shard's own; what all shards saw together the control shard finds by the sums. Made with the
// plan of the first upstream that wants it, kept as long as the endpoint's book.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "core/mailbox.h"
#include "core/stats.h"
#include "lb/config/settings.h"

namespace weir {
class Shard;
}

namespace weir::lb {

class OutlierSink;
struct OutlierGroup;

// What became of a request, or of a TCP connection.
enum class Outcome : uint8_t {
  kUnknown,       // it says nothing about the endpoint
  kAnswered,      // by whatever is no failure of a server
  kServerError,   // 5xx, but for the next
  kGatewayError,  // 502, 503, 504; no connection; it ended, or broke a rule, before an answer
  kTimeout,       // no connection, or no answer, in time
};
inline Outcome OutcomeOf(uint16_t status) {
  if (status < 500) return Outcome::kAnswered;
  return status >= 502 && status <= 504 ? Outcome::kGatewayError : Outcome::kServerError;
}

// Why an endpoint is ejected. What is wrong in more than one way has the first of these.
enum class Sign : uint8_t { kTimeouts, kGatewayErrors, kServerErrors, kLatency, kSuccessRate };
inline constexpr size_t kSigns = 5;
// Those that are seen in one request after the other.
inline constexpr size_t kRowSigns = 4;
// In metrics.
inline constexpr const char* kSignNames[kSigns] = {"timeouts", "gateway_errors", "5xx", "latency",
                                                   "success_rate"};
// So many of it in a row are enough; 0: none are.
inline uint32_t LimitOf(const OutlierSettings& settings, size_t sign) {
  switch (static_cast<Sign>(sign)) {
    case Sign::kTimeouts:
      return settings.consecutive_timeouts;
    case Sign::kGatewayErrors:
      return settings.consecutive_gateway_errors;
    case Sign::kServerErrors:
      return settings.consecutive_5xx;
    case Sign::kLatency:
      return settings.slow_above_ms > 0 ? settings.consecutive_slow : 0;
    case Sign::kSuccessRate:
      return 0;
  }
  return 0;
}

class OutlierWatch {
 public:
  // To the control shard.
  struct Report : Message {
    std::atomic<bool> posted{false};  // it is the shard's while it is not
    OutlierSink* sink = nullptr;
    OutlierWatch* watch = nullptr;
    Sign sign = Sign::kTimeouts;
    uint32_t row = 0;
    bool timeouts_alone = false;  // the row has nothing else
  };

  struct alignas(64) Page {
    Counter all;                 // requests whose end says something
    Counter signs[kRowSigns];    // of these
    uint32_t rows[kRowSigns]{};  // the last so many, one behind the other
    alignas(64) Report report;

    // `took_ns` until the answer's head; less than 0: nobody knows. True: a row is long enough, and `sign`
    // says of what.
    bool Count(const OutlierSettings& settings, Outcome outcome, int64_t took_ns, Sign* sign);
    void ForgetRows() {
      for (uint32_t& row : rows) row = 0;
    }
  };

  // The control shard's.
  struct Case {
    OutlierGroup* group = nullptr;  // its upstream's; null: nobody looks at it
    uint32_t index = 0;             // there
    uint64_t generation = 0;        // the last one that has it
    uint32_t times = 0;             // ejected lately
    bool ejected = false;
    int64_t since_ns = 0;       // ejected or back
    int64_t until_ns = 0;       // of an ejection
    int64_t deaf_until_ns = 0;  // it was not ejected for a reason that holds for some time
    uint64_t ticket = 0;
    std::string why;  // of the last ejection
    uint64_t ejections[kSigns]{};
    uint64_t refused = 0;   // ejections that would have been too many
    uint64_t all_seen = 0;  // Page::all, of all shards, when it was last looked at
    uint64_t signs_seen[kRowSigns]{};
  };

  explicit OutlierWatch(uint32_t shards) : shards_(shards), pages_(std::make_unique<Page[]>(shards)) {}

  Page& page(uint32_t shard) { return pages_[shard]; }
  const Page& page(uint32_t shard) const { return pages_[shard]; }
  uint32_t shards() const { return shards_; }
  Case state;

 private:
  const uint32_t shards_;
  const std::unique_ptr<Page[]> pages_;
};

// Who hears of reports, on the control shard.
class OutlierSink {
 public:
  virtual void Take(const OutlierWatch::Report& report) = 0;

  // On the shard `from`, which has a plan in force whose book has `watch`, so that this one is there until
  // the report has arrived.
  void Post(Shard& from, OutlierWatch& watch, Sign sign);

 protected:
  ~OutlierSink() = default;
};

}  // namespace weir::lb
