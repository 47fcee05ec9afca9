// How the endpoints of upstreams are, for operators: as JSON and in words.
#include "lb/admin/json_writer.h"
#include "lb/admin/pages.h"
#include "lb/admin/rows.h"

namespace weir::lb {
namespace {

std::string Text(uint64_t value) { return std::to_string(value); }

void Add(std::string& text, std::string_view part) { text.append(text.empty() ? "" : ", ").append(part); }

// Empty: nothing speaks against it.
std::string WhyNoRequests(const EndpointView& endpoint) {
  std::string text;
  if (endpoint.draining) Add(text, "draining (operator)");
  if (endpoint.forced_down) Add(text, "down (operator)");
  if (endpoint.down) Add(text, "down (" + std::string(endpoint.last_check_error) + ")");
  if (endpoint.ejected) {
    Add(text, "ejected (" + std::string(endpoint.ejected_why) + ", for " +
                  Text((endpoint.ejected_left_ms + 999) / 1'000) + " s more)");
  }
  const uint64_t aside = SumOf(endpoint, &EndpointCounters::set_aside);
  if (aside > 0) Add(text, "set aside on " + Text(aside) + " of " + Text(endpoint.shards.size()) + " shards");
  return text;
}

void WriteEndpoint(JsonWriter& out, const EndpointView& endpoint) {
  const uint64_t aside = SumOf(endpoint, &EndpointCounters::set_aside);
  out.Open("", '{');
  out.String("name", endpoint.address);
  out.String("address", endpoint.resolved);
  out.Bool("takes_requests", endpoint.takes_requests() && aside < endpoint.shards.size());
  out.String("why_not", WhyNoRequests(endpoint));
  out.String("operator", endpoint.operator_says());
  out.String("from", endpoint.added ? "operator" : "file");
  out.Number("file_weight", endpoint.file_weight);
  out.String("health", endpoint.health());
  out.Bool("ejected", endpoint.ejected);
  out.Number("shards", endpoint.shards.size());
  WriteEndpointRows(out, endpoint);
  out.Close('}');
}

}  // namespace

uint64_t SumOf(const EndpointView& endpoint, Counter EndpointCounters::* counter) {
  uint64_t sum = 0;
  for (const EndpointCounters* shard : endpoint.shards) sum += (shard->*counter).Get();
  return sum;
}

void WriteEndpointRows(JsonWriter& out, const EndpointView& endpoint) {
  out.Number("weight", endpoint.weight);
  out.Number("weight_percent", endpoint.weight_percent);
  out.Number("priority", endpoint.priority);
  out.Bool("backup", endpoint.backup);
  out.String("zone", endpoint.zone);
  out.Open("labels", '{');
  if (endpoint.labels != nullptr) {
    for (const auto& [name, value] : *endpoint.labels) out.String(name, value);
  }
  out.Close('}');
  for (const Row<EndpointCounters>& row : kEndpointRows) out.Number(row.key, SumOf(endpoint, row.counter));
  out.Number("checks", endpoint.checks);
  out.Number("check_failures", endpoint.check_failures);
  out.String("last_check_error", endpoint.last_check_error);
  out.Number("ejections", endpoint.all_ejections());
}

std::string UpstreamsPage(std::span<const UpstreamView> upstreams) {
  JsonWriter out;
  out.Open("", '{');
  out.Open("upstreams", '[');
  for (const UpstreamView& upstream : upstreams) {
    out.Open("", '{');
    out.String("name", upstream.name);
    out.String("balance", upstream.balance);
    out.Bool("panic", upstream.panic);
    out.Number("panics", upstream.panics);
    out.Open("removed", '[');
    for (const std::string& address : upstream.removed) out.String("", address);
    out.Close(']');
    out.Open("endpoints", '[');
    for (const EndpointView& endpoint : upstream.endpoints) WriteEndpoint(out, endpoint);
    out.Close(']');
    out.Close('}');
  }
  out.Close(']');
  out.Close('}');
  return out.Take();
}

std::string EndpointLines(const UpstreamView& upstream) {
  std::string text;
  for (const EndpointView& endpoint : upstream.endpoints) {
    const std::string why = WhyNoRequests(endpoint);
    text.append("endpoint   ").append(endpoint.address);
    if (endpoint.backup) text.append(" (backup)");
    if (!endpoint.backup && endpoint.priority > 0)
      text.append(" (priority ").append(Text(endpoint.priority)).append(")");
    if (!endpoint.zone.empty()) text.append(" (zone ").append(endpoint.zone).append(")");
    if (endpoint.labels != nullptr && !endpoint.labels->empty())
      text.append(" ").append(LabelsText(*endpoint.labels));
    text.append(": ").append(why.empty() ? "in use" : why);
    if ((endpoint.down || endpoint.ejected) && endpoint.takes_requests()) text.append(", but in use: panic");
    if (endpoint.weight_percent < 100)
      text.append(", with " + Text(endpoint.weight_percent) + " % of its weight (slow start)");
    text.append(", " + Text(SumOf(endpoint, &EndpointCounters::active)) + " in flight, ");
    text.append(Text(SumOf(endpoint, &EndpointCounters::idle)) + " idle connections\n");
  }
  return text;
}

}  // namespace weir::lb
