// What is counted, as the pages tell it: `key` is the member's name in JSON; the metric is weir_<key>, with
// _total behind it when it only grows.
#pragma once

#include <cstdint>
#include <string_view>

#include "lb/admin/json_writer.h"
#include "lb/admin/pages.h"

namespace weir::lb {

enum class Kind { kCounter, kGauge };
inline constexpr Kind kCounter = Kind::kCounter;
inline constexpr Kind kGauge = Kind::kGauge;

template <class Counters>
struct Row {
  std::string_view key;
  Kind kind;
  Counter Counters::* counter;
  std::string_view help;
};

// One sample per endpoint, summed over the shards; the metric is weir_endpoint_<key>.
inline constexpr Row<EndpointCounters> kEndpointRows[] = {
    {"requests", kCounter, &EndpointCounters::requests, "Requests and TCP connections sent to the endpoint."},
    {"active", kGauge, &EndpointCounters::active, "Of those, in flight."},
    {"connects", kCounter, &EndpointCounters::connects, "Connections made to the endpoint."},
    {"failures", kCounter, &EndpointCounters::failures, "Connections to the endpoint that failed."},
    {"idle_connections", kGauge, &EndpointCounters::idle, "Connections to the endpoint kept for reuse."},
    {"set_aside_shards", kGauge, &EndpointCounters::set_aside,
     "Shards that do not use the endpoint at the moment."},
};

uint64_t SumOf(const EndpointView& endpoint, Counter EndpointCounters::* counter);

// Its weight, its counters, its checks and how often it was ejected: what every page in JSON tells of an
// endpoint.
void WriteEndpointRows(JsonWriter& out, const EndpointView& endpoint);

}  // namespace weir::lb
