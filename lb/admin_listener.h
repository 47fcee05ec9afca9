// AdminListener: what operators ask of the running process, and tell it, over HTTP: the pages of lb/admin/,
// reloads, and the state of endpoints. Reading is for everybody who reaches it; changes are for those whom
// lb/admin/permission.h lets. Owner: the server, on the control shard.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/shard.h"
#include "core/unix_listener.h"
#include "lb/admin/pages.h"
#include "lb/admin/permission.h"
#include "lb/endpoint_desk.h"
#include "lb/health/checker.h"
#include "lb/mini_server.h"
#include "lb/reloader.h"
#include "lb/stats.h"

namespace weir::lb {

class AdminListener {
 public:
  // What it tells of and acts on; all of it outlives the listener.
  struct Process {
    Shard& control;
    const ProxyCounters& control_counters;
    const std::vector<ShardView>& shards;
    Reloader& reloader;
    EndpointDesk& desk;
    const Checker& checker;
    int64_t start_wall_ms;
    std::function<bool()> draining;
  };

  explicit AdminListener(Process process) : process_(std::move(process)) {}
  AdminListener(const AdminListener&) = delete;
  AdminListener& operator=(const AdminListener&) = delete;

  // Binds and serves.
  absl::Status Start();
  void BeginClose();
  bool closed() const { return server_ == nullptr || server_->closed(); }
  // The unix socket's, if it is one: for who leaves without closing.
  void RemoveFile() { file_.Remove(); }
  std::string url() const;

 private:
  const Settings& settings() const;
  Refusal Refuses(const http::RequestHead& head) const;
  // Who may not change anything is told so, and status 0 is for those who may.
  MiniReply RefuseChange(const http::RequestHead& head, bool or_delete = false) const;
  MiniReply Page(const http::RequestHead& head, uint64_t ticket);
  MiniReply Reload(const http::RequestHead& head, uint64_t ticket);
  MiniReply UpstreamsPages(const http::RequestHead& head, uint64_t ticket);
  MiniReply Explain(const http::RequestHead& head) const;
  MiniReply Counters(bool as_metrics) const;
  std::vector<UpstreamView> Upstreams() const;

  const Process process_;
  SocketAddress address_;
  UnixSocketFile file_;
  std::unique_ptr<MiniServer> server_;
};

}  // namespace weir::lb
