#include "lb/admin_listener.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "lb/admin/endpoint_call.h"
#include "lb/admin/permission.h"
#include "lb/admin/plan_views.h"
#include "lb/config/explain.h"
#include "lb/config/version.h"

namespace weir::lb {
namespace {

constexpr uint32_t kConnections = 64;  // counted in config/budget.cc
constexpr std::string_view kFrontPage =
    "<!doctype html><title>Weir</title><h1>Weir</h1><ul><li><a href=/stats>/stats</a><li>"
    "<a href=/metrics>/metrics</a><li><a href=/healthz>/healthz</a><li><a href=/upstreams>/upstreams</a><li>"
    "/explain?url=http://host/path</ul>\n";

}  // namespace

absl::Status AdminListener::Start() {
  address_ = settings().admin;
  const int fd = process_.control.backend().Listen(address_, {.reuse_port = false});
  if (fd < 0) return absl::UnavailableError("--admin: " + address_.ToString() + ": " + std::strerror(-fd));
  file_.Remember(address_);
  server_ = std::make_unique<MiniServer>(
      process_.control, fd, kConnections,
      [this](const http::RequestHead& head, uint64_t ticket) { return Page(head, ticket); });
  return absl::OkStatus();
}

void AdminListener::BeginClose() {
  RemoveFile();
  if (server_ != nullptr) server_->BeginClose();
}

std::string AdminListener::url() const { return (address_.is_unix() ? "" : "http://") + address_.ToString(); }

const Settings& AdminListener::settings() const { return process_.reloader.newest().settings(); }

Refusal AdminListener::Refuses(const http::RequestHead& head) const {
  return WhyNot(head, address_.is_unix(), settings().admin_token);
}

MiniReply AdminListener::RefuseChange(const http::RequestHead& head, bool or_delete) const {
  const bool deletes = or_delete && head.facts.method == http::Method::kDelete;
  if (head.facts.method != http::Method::kPost && !deletes) {
    return {.status = 405,
            .body = or_delete ? "POST and DELETE only\n" : "POST only\n",
            .extra_fields = or_delete ? "Allow: POST, DELETE\r\n" : "Allow: POST\r\n"};
  }
  const Refusal refusal = Refuses(head);
  if (refusal.status == 0) return {.status = 0, .body = {}};
  return {.status = static_cast<uint16_t>(refusal.status),
          .body = std::string(refusal.reason) + "\n",
          .extra_fields = refusal.status == 401 ? "WWW-Authenticate: Bearer\r\n" : ""};
}

// POST /reload answers when every shard goes by the new configuration, or with what is wrong with it.
MiniReply AdminListener::Reload(const http::RequestHead& head, uint64_t ticket) {
  if (MiniReply refusal = RefuseChange(head); refusal.status != 0) return refusal;
  process_.reloader.Ask([this, ticket](const Reloader::Outcome& outcome) {
    server_->Answer(ticket, {.status = outcome.status, .body = outcome.text});
  });
  return {.later = true, .body = {}};
}

// GET tells of all or one of them; POST and DELETE of an endpoint answer when every shard goes by the change.
MiniReply AdminListener::UpstreamsPages(const http::RequestHead& head, uint64_t ticket) {
  const std::string_view path = head.target.substr(0, head.target.find('?'));
  const std::optional<std::string> name = ReadUpstreamTarget(path);
  if (path == "/upstreams" || name) {
    if (!http::IsSafe(head.facts.method))
      return {.status = 405, .body = "GET only\n", .extra_fields = "Allow: GET, HEAD\r\n"};
    std::vector<UpstreamView> upstreams = Upstreams();
    if (name) std::erase_if(upstreams, [&](const UpstreamView& upstream) { return upstream.name != *name; });
    if (name && upstreams.empty())
      return {.status = 404, .body = "no upstream has this name; /upstreams lists them\n"};
    return {.content_type = std::string(kStatsContentType), .body = UpstreamsPage(upstreams)};
  }
  const bool one_endpoint = !IsEndpointList(path);
  if (MiniReply refusal = RefuseChange(head, one_endpoint); refusal.status != 0) return refusal;
  const SocketAddress peer = server_->PeerOf(ticket);
  const std::string who = peer.is_unix() || peer.family == 0 ? "unix socket" : peer.ToString();
  process_.desk.Change(process_.reloader.newest(), head.facts.method == http::Method::kDelete, head.target,
                       who, [this, ticket](const EndpointDesk::Reply& reply) {
                         server_->Answer(ticket, {.status = reply.status, .body = reply.text});
                       });
  return {.later = true, .body = {}};
}

std::vector<UpstreamView> AdminListener::Upstreams() const {
  std::vector<UpstreamView> upstreams;
  const Generation& generation = process_.reloader.newest();
  for (uint32_t u = 0; u < generation.settings().upstreams.size(); ++u) {
    upstreams.push_back(ViewOf(*generation.plan(u), generation.shards(), process_.control.now_ns()));
    TellEdits(generation.settings(), upstreams.back());
  }
  return upstreams;
}

// What would become of a request, by the configuration in force.
MiniReply AdminListener::Explain(const http::RequestHead& head) const {
  const size_t query = std::min(head.target.find('?'), head.target.size() - 1);
  ExplainQuestion question;
  std::string text;
  question.tells_secrets = Refuses(head).status == 0;
  const Generation& generation = process_.reloader.newest();
  const UpstreamHealth health = [&generation, this](uint32_t upstream) {
    return EndpointLines(ViewOf(*generation.plan(upstream), generation.shards(), process_.control.now_ns()));
  };
  const UpstreamAside aside = [&generation](uint32_t upstream) {
    return AsideOf(*generation.plan(upstream), generation.shards());
  };
  const bool known = ReadExplainQuery(head.target.substr(query + 1), &question, &text) &&
                     ExplainRequest(settings(), question, &text, health, aside);
  if (!known) text += "\n";
  return {.status = static_cast<uint16_t>(known ? 200 : 400), .body = std::move(text)};
}

MiniReply AdminListener::Page(const http::RequestHead& head, uint64_t ticket) {
  const std::string_view path = head.target.substr(0, head.target.find('?'));
  if (path == "/reload") return Reload(head, ticket);
  if (path == "/upstreams" || path.starts_with("/upstreams/")) return UpstreamsPages(head, ticket);
  if (!http::IsSafe(head.facts.method))
    return {.status = 405, .body = "GET only\n", .extra_fields = "Allow: GET, HEAD\r\n"};
  if (path == "/healthz") {
    const bool draining = process_.draining();
    return {.status = static_cast<uint16_t>(draining ? 503 : 200), .body = std::string(HealthPage(draining))};
  }
  if (path == "/explain") return Explain(head);
  if (path == "/") return {.content_type = "text/html; charset=utf-8", .body = std::string(kFrontPage)};
  if (path == "/metrics" || path == "/stats") return Counters(path == "/metrics");
  return {.status = 404, .body = "/metrics /stats /healthz /upstreams /explain\n"};
}

MiniReply AdminListener::Counters(bool as_metrics) const {
  const Reloader& reloader = process_.reloader;
  const std::vector<UpstreamView> upstreams = Upstreams();
  std::vector<GenerationView> generations;
  for (const auto& each : reloader.generations())
    generations.push_back({each->number(), each->made_wall_ms, each->users()});
  AdminView view;
  view.shards = process_.shards;
  view.control = {&process_.control.counters(), &process_.control_counters};
  view.upstreams = upstreams;
  view.version = kVersion;
  view.generations = generations;
  view.reloads = reloader.reloads();
  view.reload_failures = reloader.failures();
  view.max_connections = settings().max_connections;
  view.check_connections = process_.checker.connections();
  view.start_wall_ms = process_.start_wall_ms;
  view.now_wall_ms = process_.control.wall_ms();
  view.draining = process_.draining();
  if (as_metrics) return {.content_type = std::string(kMetricsContentType), .body = MetricsPage(view)};
  return {.content_type = std::string(kStatsContentType), .body = StatsPage(view)};
}

}  // namespace weir::lb
