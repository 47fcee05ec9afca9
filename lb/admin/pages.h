// The admin listener's pages, as text: counters in, page out. Counters are read as they are at the moment
// (core/stats.h); nothing here knows a socket. MetricsPage follows the Prometheus text exposition format
// 0.0.4; StatsPage is JSON for people and scripts. Called on the control shard; costs some 100 us with dozens
// of shards.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/stats.h"
#include "lb/stats.h"
#include "lb/upstream/endpoint_counters.h"
#include "lb/upstream/outlier_watch.h"

namespace weir::lb {

struct ShardView {
  const CoreCounters* core = nullptr;
  const ProxyCounters* proxy = nullptr;
};

struct EndpointView {
  std::string_view address;
  uint32_t weight = 1;
  std::vector<const EndpointCounters*> shards;  // one per shard
  bool checked = false;
  bool down = false;  // for its checks
  uint64_t checks = 0;
  uint64_t check_failures = 0;
  std::string_view last_check_error = {};
  uint32_t weight_percent = 100;  // that counts; less in a slow start
  bool ejected = false;
  std::string_view ejected_why = {};
  uint64_t ejected_left_ms = 0;
  bool watched = false;             // its upstream ejects outliers
  uint64_t ejections[kSigns] = {};  // by why
  uint64_t ejections_refused = 0;
  bool draining = false;      // says an operator
  bool forced_down = false;   // likewise
  std::string resolved = {};  // `address`, where that is a name
  uint32_t priority = 0;      // EndpointSettings::level
  bool backup = false;
  std::string_view zone = {};
  const Labels* labels = nullptr;  // null: none
  bool added = false;              // by an operator
  uint32_t file_weight = 1;        // without what an operator said; 0: the file has no such endpoint
  bool in_panic = false;           // it serves although it is down or ejected

  bool taken_out() const { return draining || forced_down; }
  bool takes_requests() const { return !taken_out() && (in_panic || (!down && !ejected)); }
  std::string_view operator_says() const { return forced_down ? "down" : draining ? "drain" : "ready"; }

  uint64_t all_ejections() const {
    uint64_t sum = 0;
    for (const uint64_t count : ejections) sum += count;
    return sum;
  }
  std::string_view health() const { return down ? "down" : checked ? "up" : "unchecked"; }
};

struct UpstreamView {
  std::string_view name;
  std::string_view balance;
  std::vector<EndpointView> endpoints;
  std::vector<const UpstreamCounters*> shards;  // one per shard
  std::vector<std::string> removed = {};        // addresses of the file's that an operator removed
  bool panic = false;                           // whoever is not taken out serves
  uint64_t panics = 0;                          // times that began
  bool has_zones = false;                       // some endpoints are in Weir's zone, and others elsewhere
};

struct GenerationView {
  uint64_t number = 0;
  int64_t made_wall_ms = 0;
  uint64_t requests = 0;  // that still go by it
};

struct AdminView {
  std::span<const ShardView> shards;  // the data shards, in order
  ShardView control;
  std::span<const UpstreamView> upstreams;
  std::span<const GenerationView> generations;  // oldest first; the last one is in force
  uint64_t reloads = 0;                         // that came into force
  uint64_t reload_failures = 0;
  std::string_view version;
  uint32_t max_connections = 0;
  uint32_t check_connections = 0;  // to endpoints, of active checks
  int64_t start_wall_ms = 0;
  int64_t now_wall_ms = 0;
  bool draining = false;  // lame duck included
};

inline constexpr std::string_view kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";
inline constexpr std::string_view kStatsContentType = "application/json";

std::string MetricsPage(const AdminView& view);
std::string StatsPage(const AdminView& view);
// JSON, for operators: how the endpoints are, and why one gets no requests.
std::string UpstreamsPage(std::span<const UpstreamView> upstreams);
// How the endpoints of an upstream are, a line each, for people: behind "weir explain"'s.
std::string EndpointLines(const UpstreamView& upstream);
// The body of /healthz; the status is 200, or 503 while draining.
std::string_view HealthPage(bool draining);

}  // namespace weir::lb
