#include "lb/admin/pages.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "lb/admin/json_writer.h"
#include "lb/admin/rows.h"

namespace weir::lb {
namespace {

// What is counted, once for both pages (rows.h).
using P = ProxyCounters;
using C = CoreCounters;

// Summed over the shards.
constexpr Row<P> kProxyRows[] = {
    {"rejected_connections", kCounter, &P::rejected_at_limit,
     "Client connections refused at --max_connections."},
    {"uncounted_clients", kCounter, &P::uncounted_clients,
     "Client connections let in without being counted for max_connections_per_client: the table was full."},
    {"accept_errors", kCounter, &P::accept_errors,
     "Accepts that failed, for want of file descriptors and the like."},
    {"client_received_bytes", kCounter, &P::client_bytes_received,
     "Bytes received from clients: request bodies, and all of TCP and tunnels."},
    {"client_sent_bytes", kCounter, &P::client_bytes_sent, "Bytes sent to clients, heads included."},
    {"requests_active", kGauge, &P::requests_active, "HTTP requests in flight."},
    {"local_responses", kCounter, &P::local_responses, "Responses made by Weir itself."},
    {"client_timeouts", kCounter, &P::client_timeouts, "Clients that took too long to send a head or body."},
    {"client_aborts", kCounter, &P::client_aborts, "Clients that left in the middle of a request."},
    {"bad_requests", kCounter, &P::bad_requests, "Requests refused for breaking a rule of HTTP or a limit."},
    {"proxy_protocol_headers", kCounter, &P::proxy_protocol_headers, "PROXY headers read and believed."},
    {"proxy_protocol_missing", kCounter, &P::proxy_protocol_missing,
     "Connections closed as something else than a PROXY header came first."},
    {"proxy_protocol_untrusted", kCounter, &P::proxy_protocol_untrusted,
     "Connections closed as their PROXY header, or they, came from a network that is not believed."},
    {"proxy_protocol_malformed", kCounter, &P::proxy_protocol_malformed,
     "Connections closed as their PROXY header broke a rule."},
    {"proxy_protocol_too_long", kCounter, &P::proxy_protocol_too_long,
     "Connections closed as their PROXY header was longer than may be."},
    {"proxy_protocol_truncated", kCounter, &P::proxy_protocol_truncated,
     "Connections that ended within their PROXY header."},
    {"proxy_protocol_timeouts", kCounter, &P::proxy_protocol_timeouts,
     "Connections closed as their PROXY header did not come in time."},
    {"tls_hellos", kCounter, &P::tls_hellos, "ClientHellos that routes of tcp listeners went by."},
    {"tls_hello_missing", kCounter, &P::tls_hello_missing,
     "Connections closed as something else than TLS came first, and no route is for that."},
    {"tls_hello_malformed", kCounter, &P::tls_hello_malformed,
     "Connections closed as their ClientHello broke a rule."},
    {"tls_hello_too_long", kCounter, &P::tls_hello_too_long,
     "Connections closed as their ClientHello was longer than may be."},
    {"tls_hello_truncated", kCounter, &P::tls_hello_truncated,
     "Connections that ended within their ClientHello."},
    {"tls_hello_timeouts", kCounter, &P::tls_hello_timeouts,
     "Connections closed as their ClientHello did not come in time."},
    {"denied", kCounter, &P::denied, "Requests and TCP connections from networks that are not allowed."},
    {"no_route", kCounter, &P::no_route,
     "Requests, and TLS connections of tcp listeners, that no route is for."},
    {"unauthorized", kCounter, &P::unauthorized,
     "Requests without the name and password that their route wants (401)."},
    {"password_checks", kCounter, &P::password_checks, "Passwords that were not known yet and were checked."},
    {"password_checks_refused", kCounter, &P::password_checks_refused,
     "Requests refused because too many passwords were being checked (503)."},
    {"auth_requests", kCounter, &P::auth_requests, "Requests about which another server was asked first."},
    {"auth_denied", kCounter, &P::auth_denied, "Requests that it refused, with its own answer."},
    {"auth_failures", kCounter, &P::auth_failures,
     "Requests about which it could not be asked: 502, 503 or 504."},
    {"too_large", kCounter, &P::too_large,
     "Requests with a body or head longer than their route takes (413, 431)."},
    {"upgrades", kCounter, &P::upgrades, "Connections that became a tunnel (101)."},
    {"upstream_connects", kCounter, &P::upstream_connects, "Connections begun to endpoints."},
    {"upstream_connect_failures", kCounter, &P::upstream_connect_failures,
     "Connections to endpoints that failed."},
    {"upstream_reused", kCounter, &P::upstream_reused, "Requests sent on a kept connection."},
    {"upstream_bad_responses", kCounter, &P::upstream_bad_responses,
     "Responses that broke a rule of HTTP or a limit."},
    {"upstream_resets", kCounter, &P::upstream_resets,
     "Connections the endpoint ended in the middle of a response, or before any; a retry may have helped."},
    {"upstream_timeouts", kCounter, &P::upstream_timeouts, "Endpoints that took too long to answer."},
    {"upstream_idle_connections", kGauge, &P::upstream_idle, "Connections to endpoints kept for reuse."},
    {"upstream_open_connections", kGauge, &P::upstream_open, "Connections to endpoints."},
    {"upstream_received_bytes", kCounter, &P::upstream_bytes_received, "Bytes received from endpoints."},
    {"upstream_sent_bytes", kCounter, &P::upstream_bytes_sent, "Bytes sent to endpoints."},
    {"retries", kCounter, &P::retries, "Attempts after the first."},
    {"retries_over_budget", kCounter, &P::retries_over_budget,
     "Attempts that were not made, as too many were under way (retry_budget)."},
    {"mirrored", kCounter, &P::mirrored, "Requests of which a copy was sent to a mirror."},
    {"mirrors_left_out", kCounter, &P::mirrors_left_out,
     "Requests of which no copy was sent: too large, too many at one time, or nobody there."},
    {"mirror_failures", kCounter, &P::mirror_failures, "Copies that got no whole answer."},
    {"endpoints_set_aside", kCounter, &P::endpoints_set_aside,
     "Times a shard stopped using an endpoint for a while."},
    {"retired_pools", kGauge, &P::retired_pools,
     "Upstreams as an earlier configuration had them, on each shard, whose last requests, tunnels and TCP "
     "connections still run."},
    {"none_available", kCounter, &P::none_available, "Requests refused because no endpoint was usable."},
    {"tcp_connections", kCounter, &P::tcp_connections,
     "TCP connections that were relayed, or refused for what they began with."},
    {"tcp_active_connections", kGauge, &P::tcp_active, "TCP connections that are being relayed."},
    {"tcp_failures", kCounter, &P::tcp_failures, "TCP connections closed because no endpoint was reached."},
    {"drain_cut_connections", kCounter, &P::drain_cut, "Connections cut at the end of the drain time."},
    {"access_log_lines", kCounter, &P::log_lines, "Access log lines handed to the writer."},
    {"access_log_lines_dropped", kCounter, &P::log_lines_dropped,
     "Access log lines lost because the log's file took no more."},
};

// One sample per data shard.
constexpr Row<P> kShardProxyRows[] = {
    {"accepted_connections", kCounter, &P::accepted, "Client connections accepted."},
    {"open_connections", kGauge, &P::open_connections, "Client connections open."},
    {"client_limit_rejections", kCounter, &P::rejected_clients,
     "Client connections refused as their client had as many as max_connections_per_client says."},
    {"buffer_resets", kCounter, &P::resets_for_buffers, "Connections reset because buffers ran out."},
};

// One sample per shard, the control shard included.
constexpr Row<C> kCoreRows[] = {
    {"turns", kCounter, &C::turns, "Turns of the event loop."},
    {"slow_turns", kCounter, &C::slow_turns, "Turns whose own work took longer than a millisecond."},
    {"stalls", kCounter, &C::stalls,
     "Times the shard stood still for more than 200 ms, as the process or the machine was stopped."},
    {"stalled_milliseconds", kCounter, &C::stalled_ms,
     "How long the shard stood still; its deadlines are later by as much."},
    {"operations_submitted", kCounter, &C::ops_submitted, "Operations given to io_uring."},
    {"completions", kCounter, &C::completions, "Completions taken from io_uring."},
    {"cq_overflows", kCounter, &C::cq_overflows, "Completions the kernel had to keep aside."},
    {"buffers_exhausted", kCounter, &C::buffers_exhausted, "Receives that had to wait for a buffer."},
    {"buffer_low_water", kCounter, &C::buffer_low_water,
     "Times fewer than an eighth of the buffers were free."},
    {"splices", kCounter, &C::passes, "Times bytes went from socket to socket through a pipe, uncopied."},
    {"spliced_bytes", kCounter, &C::passed_bytes, "How many they were."},
    {"pipes", kGauge, &C::pipes_open, "Pipes open for that."},
    {"pipes_small", kCounter, &C::pipes_small, "Pipes that the system granted less than 256 KiB."},
    {"pipes_refused", kCounter, &C::pipes_refused,
     "Times the system granted no pipe; what would have gone through it was copied."},
    {"messages", kCounter, &C::messages, "Messages received from other shards."},
    {"doorbells", kCounter, &C::doorbells, "Other shards woken."},
};

constexpr std::string_view kStatusClasses[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
static_assert(std::size(kStatusClasses) == std::extent_v<decltype(ProxyCounters::requests)>);
static_assert(std::size(kStatusClasses) == std::extent_v<decltype(UpstreamCounters::responses)>);

uint64_t SumOf(const AdminView& view, Counter ProxyCounters::* counter) {
  uint64_t sum = view.control.proxy == nullptr ? 0 : (view.control.proxy->*counter).Get();
  for (const ShardView& shard : view.shards) sum += (shard.proxy->*counter).Get();
  return sum;
}

uint64_t RequestsOf(const AdminView& view, size_t status_class) {
  uint64_t sum = 0;
  for (const ShardView& shard : view.shards) sum += shard.proxy->requests[status_class].Get();
  return sum;
}

uint64_t LeftZone(const UpstreamView& upstream) {
  uint64_t sum = 0;
  for (const UpstreamCounters* shard : upstream.shards) sum += shard->left_zone.Get();
  return sum;
}

uint64_t TcpEndsOf(const AdminView& view, size_t end) {
  uint64_t sum = 0;
  for (const ShardView& shard : view.shards) sum += shard.proxy->tcp_ends[end].Get();
  return sum;
}

uint64_t TcpEndsOf(const UpstreamView& upstream, size_t end) {
  uint64_t sum = 0;
  for (const UpstreamCounters* shard : upstream.shards) sum += shard->tcp_ends[end].Get();
  return sum;
}

uint64_t ResponsesOf(const UpstreamView& upstream, size_t status_class) {
  uint64_t sum = 0;
  for (const UpstreamCounters* shard : upstream.shards) sum += shard->responses[status_class].Get();
  return sum;
}

// The shards' times as one histogram, read once, so that what is derived from it agrees with itself.
struct Latency {
  Latency(const AdminView& view, Histogram ProxyCounters::* times_us) {
    for (const ShardView& shard : view.shards) {
      const Histogram& from = shard.proxy->*times_us;
      for (uint32_t i = 0; i < Histogram::kBuckets; ++i) buckets[i] += from.bucket(i);
      sum_us += from.sum();
    }
    for (const uint64_t bucket : buckets) count += bucket;
  }
  // The bound below which `share` of the values lie.
  uint64_t Quantile(double share) const {
    const auto wanted = static_cast<uint64_t>(share * static_cast<double>(count));
    uint64_t below = 0;
    for (uint32_t i = 0; i < Histogram::kBuckets; ++i) {
      below += buckets[i];
      if (below > wanted) return Histogram::UpperBound(i);
    }
    return 0;
  }

  std::array<uint64_t, Histogram::kBuckets> buckets{};
  uint64_t count = 0;
  uint64_t sum_us = 0;
};

std::string Text(uint64_t value) { return std::to_string(value); }

// Seconds without rounding: 1500000 is 1.5.
std::string Seconds(uint64_t us) {
  std::string fraction = std::to_string(us % 1'000'000);
  fraction.insert(0, 6 - fraction.size(), '0');
  fraction.erase(fraction.find_last_not_of('0') + 1);
  return std::to_string(us / 1'000'000) + (fraction.empty() ? "" : "." + fraction);
}

// Prometheus text: labels, their values escaped.
std::string Labels(std::initializer_list<std::pair<std::string_view, std::string_view>> labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    text.append(text.empty() ? "{" : ",").append(name).append("=\"");
    for (const char c : value) {
      if (c == '\\' || c == '"') text += '\\';
      if (c == '\n') {
        text += "\\n";
      } else {
        text += c;
      }
    }
    text += '"';
  }
  return text + "}";
}
std::string Label(std::string_view name, std::string_view value) { return Labels({{name, value}}); }

class Exposition {
 public:
  // Begins a metric; its samples follow.
  void Metric(std::string_view key, Kind kind, std::string_view help) {
    name_ = "weir_" + std::string(key) + (kind == Kind::kCounter ? "_total" : "");
    Head(kind == Kind::kCounter ? "counter" : "gauge", help);
  }
  void HistogramMetric(std::string_view key, std::string_view help) {
    name_ = "weir_" + std::string(key);
    Head("histogram", help);
  }
  void Sample(std::string_view suffix, std::string_view labels, std::string_view value) {
    text_.append(name_).append(suffix).append(labels).append(" ").append(value).append("\n");
  }
  void Sample(std::string_view labels, uint64_t value) { Sample("", labels, Text(value)); }
  std::string Take() { return std::move(text_); }

 private:
  void Head(std::string_view type, std::string_view help) {
    text_.append("# HELP ").append(name_).append(" ").append(help).append("\n");
    text_.append("# TYPE ").append(name_).append(" ").append(type).append("\n");
  }

  std::string text_;
  std::string name_;
};

// Each is a bound of the finer histogram, so that no count is estimated.
// Two bounds an octave, from 64 us to 67 s.
bool IsBoundOfRequests(uint32_t bucket) {
  const uint64_t bound_us = Histogram::UpperBound(bucket);
  return bucket % 2 == 1 && bound_us >= 64 && bound_us <= uint64_t{1} << 26;
}

// One bound for two octaves, from 1 ms to 19 hours.
bool IsBoundOfConnections(uint32_t bucket) {
  const uint64_t bound_us = Histogram::UpperBound(bucket);
  return std::has_single_bit(bound_us) && std::countr_zero(bound_us) % 2 == 0 &&
         bound_us >= uint64_t{1} << 10 && bound_us <= uint64_t{1} << 36;
}

void ExposeLatency(Exposition& out, const Latency& latency, bool (*is_bound)(uint32_t)) {
  uint64_t below = 0;
  for (uint32_t i = 0; i < Histogram::kBuckets; ++i) {
    below += latency.buckets[i];
    if (is_bound(i)) out.Sample("_bucket", Label("le", Seconds(Histogram::UpperBound(i))), Text(below));
  }
  out.Sample("_bucket", Label("le", "+Inf"), Text(latency.count));
  out.Sample("_sum", "", Seconds(latency.sum_us));
  out.Sample("_count", "", Text(latency.count));
}

void ExposeRequestTimes(Exposition& out, const AdminView& view) {
  out.HistogramMetric("request_duration_seconds",
                      "From a request's first byte to its response's last byte handed to the kernel.");
  ExposeLatency(out, Latency(view, &P::latency_us), IsBoundOfRequests);
}

void ExposeTcp(Exposition& out, const AdminView& view) {
  out.Metric("tcp_connection_ends", kCounter,
             "TCP connections that ended, by why, as the access log has it.");
  for (size_t i = 0; i < kTcpEnds; ++i) out.Sample(Label("end", kTcpEndNames[i]), TcpEndsOf(view, i));
  out.HistogramMetric("tcp_connection_duration_seconds",
                      "TCP connections that ended, from accept to the end.");
  ExposeLatency(out, Latency(view, &P::tcp_duration_us), IsBoundOfConnections);
}

void ExposeShards(Exposition& out, const AdminView& view) {
  for (const Row<P>& row : kShardProxyRows) {
    out.Metric(row.key, row.kind, row.help);
    for (size_t i = 0; i < view.shards.size(); ++i) {
      out.Sample(Label("shard", Text(i)), (view.shards[i].proxy->*row.counter).Get());
    }
  }
  for (const Row<C>& row : kCoreRows) {
    out.Metric(row.key, row.kind, row.help);
    for (size_t i = 0; i < view.shards.size(); ++i) {
      out.Sample(Label("shard", Text(i)), (view.shards[i].core->*row.counter).Get());
    }
    if (view.control.core == nullptr) continue;
    out.Sample(Label("shard", "control"), (view.control.core->*row.counter).Get());
  }
}

void ExposeUpstreams(Exposition& out, const AdminView& view) {
  if (view.upstreams.empty()) return;
  out.Metric("upstream_responses", kCounter,
             "HTTP requests that went to the upstream, by the class of the status sent, Weir's own 502, 503 "
             "and 504 among them, and of a mirror received; none: there was no answer, or nobody to get it.");
  for (const UpstreamView& upstream : view.upstreams) {
    for (size_t i = 0; i < std::size(kStatusClasses); ++i) {
      out.Sample(Labels({{"upstream", upstream.name}, {"code", kStatusClasses[i]}}),
                 ResponsesOf(upstream, i));
    }
  }
  // Most upstreams are for requests, and most reasons never come: a family without samples has no head
  // either.
  bool begun = false;
  for (const UpstreamView& upstream : view.upstreams) {
    for (size_t i = 0; i < kTcpEnds; ++i) {
      const uint64_t ends = TcpEndsOf(upstream, i);
      if (ends > 0 && !std::exchange(begun, true)) {
        out.Metric(
            "upstream_tcp_connection_ends", kCounter,
            "TCP connections to endpoints of the upstream that ended, by why; those that have happened.");
      }
      if (ends > 0) out.Sample(Labels({{"upstream", upstream.name}, {"end", kTcpEndNames[i]}}), ends);
    }
  }
}

// Of upstreams that eject outliers.
void ExposeEjections(Exposition& out, const AdminView& view) {
  const auto each = [&view](auto expose) {
    for (const UpstreamView& upstream : view.upstreams) {
      for (const EndpointView& endpoint : upstream.endpoints) {
        if (endpoint.watched) expose(upstream, endpoint);
      }
    }
  };
  bool any = false;
  each([&any](const UpstreamView&, const EndpointView&) { any = true; });
  if (!any) return;
  out.Metric("endpoint_ejected", kGauge, "1 while the endpoint gets no requests as it failed too many.");
  each([&out](const UpstreamView& upstream, const EndpointView& endpoint) {
    out.Sample(Labels({{"upstream", upstream.name}, {"endpoint", endpoint.address}}), endpoint.ejected);
  });
  out.Metric("endpoint_ejections", kCounter, "How often that began, by what was wrong.");
  each([&out](const UpstreamView& upstream, const EndpointView& endpoint) {
    for (size_t i = 0; i < kSigns; ++i) {
      out.Sample(
          Labels({{"upstream", upstream.name}, {"endpoint", endpoint.address}, {"reason", kSignNames[i]}}),
          endpoint.ejections[i]);
    }
  });
  out.Metric(
      "endpoint_ejections_refused", kCounter,
      "How often it did not as too many were ejected, or nobody else was usable; once a second counts.");
  each([&out](const UpstreamView& upstream, const EndpointView& endpoint) {
    out.Sample(Labels({{"upstream", upstream.name}, {"endpoint", endpoint.address}}),
               endpoint.ejections_refused);
  });
}

void ExposePanics(Exposition& out, const AdminView& view) {
  if (view.upstreams.empty()) return;
  out.Metric("upstream_panic", kGauge,
             "1 while too few endpoints of the upstream are well, so that all are used.");
  for (const UpstreamView& upstream : view.upstreams)
    out.Sample(Label("upstream", upstream.name), upstream.panic ? 1 : 0);
  out.Metric("upstream_panics", kCounter, "Times that this began.");
  for (const UpstreamView& upstream : view.upstreams)
    out.Sample(Label("upstream", upstream.name), upstream.panics);
}

void ExposeZones(Exposition& out, const AdminView& view) {
  const auto has_zones = [](const UpstreamView& upstream) { return upstream.has_zones; };
  if (std::none_of(view.upstreams.begin(), view.upstreams.end(), has_zones)) return;
  out.Metric("upstream_left_zone", kCounter,
             "Requests and TCP connections sent to endpoints outside of Weir's zone, where some are in it.");
  for (const UpstreamView& upstream : view.upstreams) {
    if (upstream.has_zones) out.Sample(Label("upstream", upstream.name), LeftZone(upstream));
  }
}

void ExposeEndpoints(Exposition& out, const AdminView& view) {
  if (view.upstreams.empty()) return;
  const auto each = [&view, &out](auto value) {
    for (const UpstreamView& upstream : view.upstreams) {
      for (const EndpointView& endpoint : upstream.endpoints) {
        out.Sample(Labels({{"upstream", upstream.name}, {"endpoint", endpoint.address}}), value(endpoint));
      }
    }
  };
  out.Metric("endpoint_weight", kGauge, "The endpoint's configured weight.");
  each([](const EndpointView& endpoint) -> uint64_t { return endpoint.weight; });
  for (const Row<EndpointCounters>& row : kEndpointRows) {
    out.Metric("endpoint_" + std::string(row.key), row.kind, row.help);
    each([&row](const EndpointView& endpoint) { return SumOf(endpoint, row.counter); });
  }
  out.Metric("endpoint_up", kGauge, "0 while the endpoint fails its checks; 1 also without any.");
  each([](const EndpointView& endpoint) -> uint64_t { return endpoint.down ? 0 : 1; });
  out.Metric("endpoint_weight_percent", kGauge,
             "How much of its weight counts: less than 100 in a slow start.");
  each([](const EndpointView& endpoint) -> uint64_t { return endpoint.weight_percent; });
  out.Metric("endpoint_checks", kCounter, "Active checks of the endpoint that were made.");
  each([](const EndpointView& endpoint) { return endpoint.checks; });
  out.Metric("endpoint_check_failures", kCounter, "Of these, failed.");
  each([](const EndpointView& endpoint) { return endpoint.check_failures; });
  ExposeEjections(out, view);
}

void WriteLatency(JsonWriter& out, std::string_view name, const Latency& latency) {
  out.Open(name, '{');
  out.Number("count", latency.count);
  out.Number("mean", latency.count == 0 ? 0 : latency.sum_us / latency.count);
  out.Number("p50", latency.Quantile(0.5));
  out.Number("p90", latency.Quantile(0.9));
  out.Number("p99", latency.Quantile(0.99));
  out.Number("p999", latency.Quantile(0.999));
  out.Close('}');
}

void WriteShard(JsonWriter& out, std::string_view name, const ShardView& shard, bool has_clients) {
  out.Open("", '{');
  out.String("shard", name);
  if (has_clients) {
    for (const Row<P>& row : kShardProxyRows) out.Number(row.key, (shard.proxy->*row.counter).Get());
  }
  for (const Row<C>& row : kCoreRows) out.Number(row.key, (shard.core->*row.counter).Get());
  out.Close('}');
}

}  // namespace

std::string MetricsPage(const AdminView& view) {
  Exposition out;
  out.Metric("build_info", kGauge, "The version that is running; always 1.");
  out.Sample(Label("version", view.version), 1);
  out.Metric("start_time_seconds", kGauge, "When the process started, Unix time.");
  out.Sample("", "", Seconds(static_cast<uint64_t>(std::max<int64_t>(view.start_wall_ms, 0)) * 1'000));
  out.Metric("draining", kGauge, "1 from the signal to stop on.");
  out.Sample("", view.draining ? 1 : 0);
  out.Metric("generation", kGauge, "The configuration in force: 1 at start, one more with each reload.");
  out.Sample("", view.generations.empty() ? 0 : view.generations.back().number);
  out.Metric("generations", kGauge, "Configurations that requests still go by, the newest among them.");
  out.Sample("", view.generations.size());
  out.Metric("reloads", kCounter, "Reloads that came into force.");
  out.Sample("", view.reloads);
  out.Metric("reload_failures", kCounter, "Reloads that changed nothing because something was wrong.");
  out.Sample("", view.reload_failures);
  out.Metric("max_connections", kGauge, "The limit of client connections.");
  out.Sample("", view.max_connections);
  out.Metric("check_connections", kGauge, "Connections to endpoints that active checks have, kept ones too.");
  out.Sample("", view.check_connections);
  out.Metric("requests", kCounter,
             "HTTP requests by the class of the status sent; none: the client was gone.");
  for (size_t i = 0; i < std::size(kStatusClasses); ++i) {
    out.Sample(Label("code", kStatusClasses[i]), RequestsOf(view, i));
  }
  ExposeRequestTimes(out, view);
  ExposeTcp(out, view);
  for (const Row<P>& row : kProxyRows) {
    out.Metric(row.key, row.kind, row.help);
    out.Sample("", SumOf(view, row.counter));
  }
  ExposeShards(out, view);
  ExposeUpstreams(out, view);
  ExposePanics(out, view);
  ExposeZones(out, view);
  ExposeEndpoints(out, view);
  return out.Take();
}

std::string StatsPage(const AdminView& view) {
  JsonWriter out;
  out.Open("", '{');
  out.String("version", view.version);
  out.Number("uptime_ms", static_cast<uint64_t>(std::max<int64_t>(view.now_wall_ms - view.start_wall_ms, 0)));
  out.Bool("draining", view.draining);
  out.Number("max_connections", view.max_connections);
  out.Number("check_connections", view.check_connections);
  out.Number("reloads", view.reloads);
  out.Number("reload_failures", view.reload_failures);
  out.Open("generations", '[');
  for (const GenerationView& generation : view.generations) {
    out.Open("", '{');
    out.Number("number", generation.number);
    out.Number("age_ms",
               static_cast<uint64_t>(std::max<int64_t>(view.now_wall_ms - generation.made_wall_ms, 0)));
    out.Number("requests", generation.requests);
    out.Close('}');
  }
  out.Close(']');
  for (const Row<P>& row : kShardProxyRows) out.Number(row.key, SumOf(view, row.counter));

  out.Open("requests", '{');
  for (size_t i = 0; i < std::size(kStatusClasses); ++i) out.Number(kStatusClasses[i], RequestsOf(view, i));
  out.Close('}');

  WriteLatency(out, "latency_us", Latency(view, &P::latency_us));
  WriteLatency(out, "tcp_duration_us", Latency(view, &P::tcp_duration_us));
  out.Open("tcp_ends", '{');
  for (size_t i = 0; i < kTcpEnds; ++i) out.Number(kTcpEndNames[i], TcpEndsOf(view, i));
  out.Close('}');

  for (const Row<P>& row : kProxyRows) out.Number(row.key, SumOf(view, row.counter));

  out.Open("upstreams", '[');
  for (const UpstreamView& upstream : view.upstreams) {
    out.Open("", '{');
    out.String("name", upstream.name);
    out.String("balance", upstream.balance);
    out.Bool("panic", upstream.panic);
    out.Number("panics", upstream.panics);
    out.Number("left_zone", LeftZone(upstream));
    out.Open("responses", '{');
    for (size_t i = 0; i < std::size(kStatusClasses); ++i)
      out.Number(kStatusClasses[i], ResponsesOf(upstream, i));
    out.Close('}');
    out.Open("tcp_ends", '{');
    for (size_t i = 0; i < kTcpEnds; ++i) {
      const uint64_t ends = TcpEndsOf(upstream, i);
      if (ends > 0) out.Number(kTcpEndNames[i], ends);
    }
    out.Close('}');
    out.Open("endpoints", '[');
    for (const EndpointView& endpoint : upstream.endpoints) {
      out.Open("", '{');
      out.String("address", endpoint.address);
      out.String("health", endpoint.health());
      WriteEndpointRows(out, endpoint);
      out.Bool("ejected", endpoint.ejected);
      out.Close('}');
    }
    out.Close(']');
    out.Close('}');
  }
  out.Close(']');

  out.Open("shards", '[');
  for (size_t i = 0; i < view.shards.size(); ++i) WriteShard(out, Text(i), view.shards[i], true);
  if (view.control.core != nullptr) WriteShard(out, "control", view.control, false);
  out.Close(']');
  out.Close('}');
  return out.Take();
}

std::string_view HealthPage(bool draining) { return draining ? "draining\n" : "ok\n"; }

}  // namespace weir::lb
