// Server: the running product: the control shard on the calling thread and a fleet of data shards, from bound
// sockets to the last connection. Owns counters, log file, signals, the admin listener and, for `weir demo`,
// three origins. Life: Start (sockets are bound here, every error before any thread runs) -> Run (until a
// signal) -> exit code.
//  SIGHUP: the configuration is read anew (reloader.h); what is wrong with it changes nothing.
//  first SIGTERM or SIGINT: /healthz says 503 and answers say close for lame_duck_ms; then nobody accepts
//  any more, endpoints are checked no more, requests in flight are finished, idle connections closed; exit 0.
//  What is left after drain_ms is cut, logged, and the exit code is 2. second signal: exit at once (2 if
//  anything was open, else 0). SIGUSR1, also then: the access log's file is opened again.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/fleet.h"
#include "core/shard.h"
#include "core/uring_probe.h"
#include "lb/admin/pages.h"
#include "lb/admin_listener.h"
#include "lb/auth/password_pool.h"
#include "lb/config/budget.h"
#include "lb/config/settings.h"
#include "lb/endpoint_desk.h"
#include "lb/health/checker.h"
#include "lb/health/panic_watch.h"
#include "lb/health/publisher.h"
#include "lb/health/slow_start.h"
#include "lb/log/log_writer.h"
#include "lb/mini_server.h"
#include "lb/pid_file.h"
#include "lb/reloader.h"
#include "lb/stats.h"
#include "lb/upstream/endpoint_counters.h"
#include "lb/upstream/endpoint_news.h"

namespace weir::lb {

class ShardTenant;

class Server {
 public:
  // `load` (may be empty) makes the settings of a reload.
  Server(Settings settings, bool demo, const UringFeatures& features, LoadSettings load = {});
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  absl::Status Start();
  int Run();

 private:
  friend class ShardTenant;

  // A message to every shard; one of each kind is enough.
  struct Order : Message {
    enum class Kind { kSayClose, kDrain, kCut, kStop } kind = Kind::kDrain;
    static constexpr size_t kKinds = 4;
    Server* server = nullptr;
  };
  enum class State { kServing, kLameDuck, kDraining, kCutting, kStopping, kStopped };

  // What is in force, from Start on.
  const Settings& settings() const { return reloader_->newest().settings(); }
  absl::Status BindListeners();
  absl::Status StartDemoOrigins();
  absl::Status StartAdmin();
  // Makes the next generation of it.
  void Edit(EndpointEdit edit, EndpointDesk::EditInForce then);
  void Announce() const;
  Root Control(Scope& scope);
  [[noreturn]] void Leave(int code);
  void OnSignal(int signal);
  void GiveOrder(Order::Kind kind);
  void ShardDrained();
  uint64_t OpenConnections() const;

  Settings settings_;  // until Start has made the first generation of them
  const bool demo_;
  const UringFeatures features_;
  PasswordPool passwords_;  // outlives the shards, and who loads
  LoadSettings load_;
  const uint32_t shards_;
  const MemoryBudget budget_;
  Switchboard switchboard_;
  std::unique_ptr<ProxyCounters[]> counters_;  // one per shard, then the control shard's
  std::vector<const ProxyCounters*> data_counters_;
  std::unique_ptr<Shard> control_;
  std::unique_ptr<LogWriter> log_writer_;
  std::unique_ptr<EndpointNews> news_;
  std::unique_ptr<Reloader> reloader_;
  std::unique_ptr<Publisher> publisher_;
  std::unique_ptr<SlowStarter> slow_starter_;
  std::unique_ptr<Checker> checker_;
  std::unique_ptr<Outliers> outliers_;
  std::unique_ptr<PanicWatch> panic_watch_;
  std::unique_ptr<EndpointDesk> desk_;
  PidFile pid_file_;
  std::unique_ptr<AdminListener> admin_;  // if there is one
  std::vector<std::unique_ptr<MiniServer>> origins_;
  std::unique_ptr<Fleet> fleet_;
  std::vector<ShardTenant*> tenants_;
  std::vector<ShardView> shard_views_;  // theirs, once they run
  std::unique_ptr<Order[]> orders_;     // of each kind one for each shard
  int signal_fd_ = -1;
  Source signals_;
  Waiter waiter_;
  Timer timer_;
  Scope scope_;
  State state_ = State::kServing;
  uint32_t shards_drained_ = 0;
  bool cut_ = false;
  bool log_stopped_ = false;
  int64_t signal_ns_ = 0;
  int64_t start_wall_ms_ = 0;
};

}  // namespace weir::lb
