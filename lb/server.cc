#include "lb/server.h"

#include <poll.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstring>
#include <optional>

#include "core/log.h"
#include "lb/admin/endpoint_call.h"
#include "lb/admin/pages.h"
#include "lb/admin/permission.h"
#include "lb/config/explain.h"
#include "lb/config/version.h"
#include "lb/demo/origin.h"
#include "lb/proxy.h"

namespace weir::lb {
namespace {

constexpr uint32_t kDemoOrigins = 3;
constexpr uint32_t kDemoConnections = 1024;  // each
constexpr uint32_t kAdminConnections = 64;   // counted in config/budget.cc
constexpr uint32_t kLastWordsMs = 2'000;     // between cutting and leaving without a goodbye
constexpr uint32_t kPollMs = 5;

uint64_t RandomSeed() {
  uint64_t seed = 1;
  return getrandom(&seed, sizeof(seed), 0) == sizeof(seed) ? seed : 1;
}

// A reload may bring the first route that asks for passwords.
LoadSettings WithPasswords(LoadSettings load, PasswordPool& passwords) {
  if (load == nullptr) return load;
  return [load = std::move(load), &passwords](const Settings& running) {
    LoadedSettings loaded = load(running);
    if (loaded.settings) passwords.Start(PasswordThreads(*loaded.settings));
    return loaded;
  };
}

}  // namespace

// A data shard's part of the server.
class ShardTenant final : public Tenant {
 public:
  ShardTenant(Server& server, Shard& shard)
      : server_(server),
        shard_(shard),
        log_(server.log_writer_ == nullptr
                 ? nullptr
                 : std::make_unique<AccessLog>(shard, *server.log_writer_, server.switchboard_.control(),
                                               Counters())),
        proxy_(shard, server.reloader_->newest().snapshot(shard.index()), server.data_counters_, Counters(),
               log_.get(), &server.passwords_, server.news_.get()),
        home_watch_(this) {
    timer_.waiter = &home_watch_;
    drained_.deliver = [](Message* message, Shard&) {
      static_cast<DrainedMessage*>(message)->server->ShardDrained();
    };
    drained_.server = &server;
    server.tenants_[shard.index()] = this;
  }
  ~ShardTenant() override {
    shard_.ClearTimer(timer_);
    shard_.Forget(home_watch_);
  }

  Proxy& proxy() { return proxy_; }
  Shard& shard() { return shard_; }
  void Drain() {
    proxy_.Drain([this] { ReportWhenLogIsHome(); });
  }

 private:
  struct DrainedMessage : Message {
    Server* server = nullptr;
  };
  struct HomeWatch : Runnable {
    explicit HomeWatch(ShardTenant* owner)
        : Runnable([](Runnable* self) { static_cast<HomeWatch*>(self)->owner->ReportWhenLogIsHome(); }),
          owner(owner) {}
    ShardTenant* owner;
  };

  ProxyCounters& Counters() { return server_.counters_[shard_.index()]; }
  // The last access lines are written before anybody leaves.
  void ReportWhenLogIsHome() {
    if (log_ != nullptr) {
      log_->Flush();
      if (!log_->home()) {
        shard_.SetTimer(timer_, kPollMs);
        return;
      }
    }
    shard_.Post(server_.switchboard_.control(), &drained_);
  }

  Server& server_;
  Shard& shard_;
  std::unique_ptr<AccessLog> log_;
  Proxy proxy_;
  DrainedMessage drained_;
  HomeWatch home_watch_;
  Timer timer_;
};

Server::Server(Settings settings, bool demo, const UringFeatures& features, LoadSettings load)
    : settings_(std::move(settings)),
      demo_(demo),
      features_(features),
      passwords_(settings_.shards),
      load_(WithPasswords(std::move(load), passwords_)),
      shards_(settings_.shards),
      budget_(ComputeBudget(settings_)),
      switchboard_(shards_ + 1),
      counters_(std::make_unique<ProxyCounters[]>(shards_ + 1)),
      tenants_(shards_, nullptr),
      orders_(std::make_unique<Order[]>(shards_ * Order::kKinds)) {
  if (settings_.via_name.empty()) {
    char name[16];
    std::snprintf(name, sizeof(name), "weir-%08x", static_cast<uint32_t>(RandomSeed()));
    settings_.via_name = name;
  }
  for (uint32_t i = 0; i < shards_; ++i) data_counters_.push_back(&counters_[i]);
}

Server::~Server() {
  if (control_ == nullptr) return;
  {
    Shard::Enter enter(*control_);
    WEIR_CHECK(scope_.running() == 0);
    control_->ClearTimer(timer_);
    control_->Forget(waiter_);
    admin_.reset();
    desk_.reset();
    checker_.reset();
    slow_starter_.reset();
    publisher_.reset();
    reloader_.reset();
    origins_.clear();
    log_writer_.reset();
    news_.reset();
  }
  control_.reset();
  if (signal_fd_ >= 0) close(signal_fd_);
}

absl::Status Server::Start() {
  int log_fd = -1;
  if (!settings_.access_log.empty()) {
    absl::StatusOr<int> fd = OpenLogFile(settings_.access_log);
    if (!fd.ok()) return fd.status();
    log_fd = *fd;
  }
  // Signals come through the ring: blocked before any thread starts, so that all inherit it.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  sigaddset(&signals, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal_fd_ = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signal_fd_ < 0) return absl::InternalError(std::string("signalfd: ") + std::strerror(errno));

  Shard::Options options;
  options.index = switchboard_.control();
  options.seed = RandomSeed();
  options.arena_bytes = budget_.control.arena_bytes;
  options.buffers = budget_.control.buffers;
  UringBackend::Options uring{features_, budget_.control.submissions, budget_.control.completions};
  control_ =
      std::make_unique<Shard>(options, switchboard_, [&uring](BufferPool& pool, CoreCounters& counters) {
        return std::make_unique<UringBackend>(uring, pool, counters);
      });
  Shard::Enter enter(*control_);
  start_wall_ms_ = control_->wall_ms();
  news_ = std::make_unique<EndpointNews>(*control_);
  if (log_fd >= 0) {
    log_writer_ = std::make_unique<LogWriter>(*control_, log_fd, counters_[switchboard_.control()]);
  } else if (settings_.log.syslog.on()) {
    log_writer_ =
        std::make_unique<LogWriter>(*control_, settings_.log.syslog, counters_[switchboard_.control()]);
  }
  if (demo_) {
    if (absl::Status status = StartDemoOrigins(); !status.ok()) return status;
  }
  reloader_ = std::make_unique<Reloader>(*control_, std::exchange(settings_, {}), std::move(load_));
  if (absl::Status status = BindListeners(); !status.ok()) return status;
  if (absl::Status status = StartAdmin(); !status.ok()) return status;
  if (absl::Status status = pid_file_.Write(settings().pid_file); !status.ok()) return status;

  publisher_ = std::make_unique<Publisher>(*control_);
  slow_starter_ = std::make_unique<SlowStarter>(*control_, *publisher_);
  checker_ = std::make_unique<Checker>(*control_, *publisher_, news_.get());
  desk_ = std::make_unique<EndpointDesk>(*publisher_, news_.get());
  const auto follow = [this](const Generation& generation) {
    slow_starter_->Follow(generation);
    checker_->Follow(generation);
  };
  reloader_->SetFollower(follow);
  passwords_.Start(PasswordThreads(settings()));
  Fleet::Options fleet;
  fleet.shards = shards_;
  fleet.cpus = settings().cpus;
  fleet.shard.seed = RandomSeed();
  fleet.shard.arena_bytes = budget_.shard.arena_bytes;
  fleet.shard.buffers = budget_.shard.buffers;
  fleet.uring = {features_, budget_.shard.submissions, budget_.shard.completions};
  fleet_ = std::make_unique<Fleet>(
      fleet, switchboard_, [this](Shard& shard) { return std::make_unique<ShardTenant>(*this, shard); });
  fleet_->Start();
  follow(reloader_->newest());
  Announce();
  return absl::OkStatus();
}

absl::Status Server::BindListeners() {
  Backend& backend = control_->backend();
  int error = 0;
  const uint32_t failed = reloader_->newest().OpenSockets(
      [&backend](SocketAddress& address) { return backend.Listen(address, {}); },
      [&backend](int fd) { backend.Close(fd); }, &error);
  if (failed == Generation::kNew) return absl::OkStatus();
  return absl::UnavailableError("--listen: " + settings().listeners[failed].text + ": " +
                                std::strerror(error));
}

absl::Status Server::StartDemoOrigins() {
  settings_.upstreams = {settings_.upstream_defaults};
  UpstreamSettings& upstream = settings_.upstreams.front();
  upstream.name = kFlagUpstream;
  for (uint32_t i = 1; i <= kDemoOrigins; ++i) {
    SocketAddress address = *SocketAddress::Parse("127.0.0.1:0");
    const int fd = control_->backend().Listen(address, {.reuse_port = false});
    if (fd < 0)
      return absl::UnavailableError(std::string("a demo origin cannot listen: ") + std::strerror(-fd));
    const std::string name = address.ToString();
    upstream.endpoints.push_back({address, 1, name});
    origins_.push_back(std::make_unique<MiniServer>(
        *control_, fd, kDemoConnections,
        [i, name](const http::RequestHead& head, uint64_t) { return DemoReply(i, name, head); }));
  }
  return absl::OkStatus();
}

absl::Status Server::StartAdmin() {
  if (!settings().has_admin) return absl::OkStatus();
  admin_address_ = settings().admin;
  const int fd = control_->backend().Listen(admin_address_, {.reuse_port = false});
  if (fd < 0) {
    return absl::UnavailableError("--admin: " + admin_address_.ToString() + ": " + std::strerror(-fd));
  }
  admin_file_.Remember(admin_address_);
  admin_ = std::make_unique<MiniServer>(
      *control_, fd, kAdminConnections,
      [this](const http::RequestHead& head, uint64_t ticket) { return AdminPage(head, ticket); });
  return absl::OkStatus();
}

MiniReply Server::RefuseChange(const http::RequestHead& head) const {
  if (head.facts.method != http::Method::kPost)
    return {.status = 405, .body = "POST only\n", .extra_fields = "Allow: POST\r\n"};
  const Refusal refusal = WhyNot(head, admin_address_.family == AF_UNIX, settings().admin_token);
  if (refusal.status == 0) return {.status = 0, .body = {}};
  return {.status = static_cast<uint16_t>(refusal.status),
          .body = std::string(refusal.reason) + "\n",
          .extra_fields = refusal.status == 401 ? "WWW-Authenticate: Bearer\r\n" : ""};
}

// POST /reload answers when every shard goes by the new configuration, or with what is wrong with it.
MiniReply Server::Reload(const http::RequestHead& head, uint64_t ticket) {
  if (MiniReply refusal = RefuseChange(head); refusal.status != 0) return refusal;
  reloader_->Ask([this, ticket](bool in_force, const std::string& text) {
    admin_->Answer(ticket, {.status = static_cast<uint16_t>(in_force ? 200 : 422), .body = text});
  });
  return {.later = true, .body = {}};
}

// GET tells of all or one of them; POST of an endpoint answers when every shard goes by the change.
MiniReply Server::UpstreamsPages(const http::RequestHead& head, uint64_t ticket) {
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
  if (MiniReply refusal = RefuseChange(head); refusal.status != 0) return refusal;
  const SocketAddress peer = admin_->PeerOf(ticket);
  const std::string who = peer.is_unix() || peer.family == 0 ? "unix socket" : peer.ToString();
  desk_->Change(reloader_->newest(), head.target, who, [this, ticket](const EndpointDesk::Reply& reply) {
    admin_->Answer(ticket, {.status = reply.status, .body = reply.text});
  });
  return {.later = true, .body = {}};
}

std::vector<UpstreamView> Server::Upstreams() const {
  std::vector<UpstreamView> upstreams;
  const Generation& generation = reloader_->newest();
  for (uint32_t u = 0; u < generation.settings().upstreams.size(); ++u) {
    const UpstreamPlan& plan = *generation.plan(u);
    UpstreamView& upstream_view = upstreams.emplace_back();
    upstream_view.name = plan.settings.name;
    upstream_view.balance = BalanceText(plan.settings.balance);
    for (uint32_t shard = 0; shard < shards_; ++shard)
      upstream_view.shards.push_back(&plan.book->page(shard));
    for (uint32_t i = 0; i < plan.books.size(); ++i) {
      EndpointView& endpoint = upstream_view.endpoints.emplace_back();
      endpoint.address = plan.settings.endpoints[i].text;
      endpoint.weight = plan.settings.endpoints[i].weight;
      for (uint32_t shard = 0; shard < shards_; ++shard)
        endpoint.shards.push_back(&plan.books[i]->page(shard).counters);
      const EndpointBook::Checks& checks = plan.books[i]->checks;
      endpoint.checked = checks.on;
      endpoint.down = plan.books[i]->down();
      const uint64_t seen = plan.books[i]->seen();
      endpoint.resolved = plan.books[i]->address().ToString();
      endpoint.ejected = (seen & EndpointBook::kEjected) != 0;
      endpoint.draining = (seen & EndpointBook::kDraining) != 0;
      endpoint.forced_down = (seen & EndpointBook::kForcedDown) != 0;
      endpoint.weight_percent = EndpointBook::PercentOf(plan.books[i]->seen());
      endpoint.checks = checks.done;
      endpoint.check_failures = checks.failed;
      endpoint.last_check_error = checks.last_error;
    }
  }
  return upstreams;
}

// What would become of a request, by the configuration in force.
MiniReply Server::Explain(const http::RequestHead& head) const {
  const size_t query = std::min(head.target.find('?'), head.target.size() - 1);
  ExplainQuestion question;
  std::string text;
  question.tells_secrets = WhyNot(head, admin_address_.family == AF_UNIX, settings().admin_token).status == 0;
  const UpstreamHealth health = [this](uint32_t upstream) { return EndpointLines(Upstreams()[upstream]); };
  const UpstreamAside aside = [this](uint32_t upstream) {
    const UpstreamPlan& plan = *reloader_->newest().plan(upstream);
    AsideNow now{.on = {}, .shards = shards_, .table = plan.table};
    for (const auto& book : plan.books) {
      uint64_t& shards = now.on.emplace_back(0);
      for (uint32_t i = 0; i < shards_; ++i) shards += book->page(i).counters.set_aside.Get();
    }
    return now;
  };
  const bool known = ReadExplainQuery(head.target.substr(query + 1), &question, &text) &&
                     ExplainRequest(settings(), question, &text, health, aside);
  if (!known) text += "\n";
  return {.status = static_cast<uint16_t>(known ? 200 : 400), .body = std::move(text)};
}

MiniReply Server::AdminPage(const http::RequestHead& head, uint64_t ticket) {
  const std::string_view path = head.target.substr(0, head.target.find('?'));
  if (path == "/reload") return Reload(head, ticket);
  if (path == "/upstreams" || path.starts_with("/upstreams/")) return UpstreamsPages(head, ticket);
  if (!http::IsSafe(head.facts.method))
    return {.status = 405, .body = "GET only\n", .extra_fields = "Allow: GET, HEAD\r\n"};
  const bool draining = state_ != State::kServing;
  if (path == "/healthz") {
    return {.status = static_cast<uint16_t>(draining ? 503 : 200), .body = std::string(HealthPage(draining))};
  }
  if (path == "/explain") return Explain(head);
  if (path != "/metrics" && path != "/stats" && path != "/")
    return {.status = 404, .body = "/metrics /stats /healthz /upstreams /explain\n"};
  if (path == "/") {
    return {.content_type = "text/html; charset=utf-8",
            .body =
                "<!doctype html><title>Weir</title><h1>Weir</h1><ul><li><a href=/stats>/stats</a><li>"
                "<a href=/metrics>/metrics</a><li><a "
                "href=/healthz>/healthz</a><li><a "
                "href=/upstreams>/upstreams</a><li>/explain?url=http://host/path</ul>\n"};
  }
  std::vector<ShardView> shards;
  for (ShardTenant* tenant : tenants_) {
    shards.push_back({&tenant->shard().counters(), &tenant->proxy().counters()});
  }
  const std::vector<UpstreamView> upstreams = Upstreams();
  AdminView view;
  view.shards = shards;
  view.control = {&control_->counters(), &counters_[switchboard_.control()]};
  view.upstreams = upstreams;
  view.version = kVersion;
  std::vector<GenerationView> generations;
  for (const auto& each : reloader_->generations())
    generations.push_back({each->number(), each->made_wall_ms, each->users()});
  view.generations = generations;
  view.reloads = reloader_->reloads();
  view.reload_failures = reloader_->failures();
  view.max_connections = settings().max_connections;
  view.check_connections = checker_->connections();
  view.start_wall_ms = start_wall_ms_;
  view.now_wall_ms = control_->wall_ms();
  view.draining = draining;
  if (path == "/metrics")
    return {.content_type = std::string(kMetricsContentType), .body = MetricsPage(view)};
  return {.content_type = std::string(kStatsContentType), .body = StatsPage(view)};
}

std::string Server::AdminUrl() const {
  return (admin_address_.is_unix() ? "" : "http://") + admin_address_.ToString();
}

void Server::Announce() const {
  LogLine("version %.*s, %u shard%s, io_uring: %s", static_cast<int>(kVersion.size()), kVersion.data(),
          shards_, shards_ == 1 ? "" : "s", features_.ToString().c_str());
  for (const ListenerSettings& listener : settings().listeners) {
    LogLine("listening on %s://%s", listener.protocol == Protocol::kTcp ? "tcp" : "http",
            listener.address.ToString().c_str());
  }
  for (const UpstreamSettings& upstream : settings().upstreams) {
    for (const EndpointSettings& endpoint : upstream.endpoints) {
      LogLine("upstream %s: endpoint %s weight %u", upstream.name.c_str(),
              endpoint.address.ToString().c_str(), endpoint.weight);
    }
  }
  if (settings().has_admin) LogLine("admin on %s", AdminUrl().c_str());
  if (!demo_) return;
  const std::string site = settings().listeners.front().address.ToString();
  std::string text =
      "\nWeir in front of three demo origins:\n\n  http://" + site + "/    the proxied site: reload it\n";
  if (settings().has_admin)
    text +=
        "  " + AdminUrl() + (admin_address_.is_unix() ? "" : "/") + "    admin: /stats /metrics /healthz\n";
  text += "\n  curl -i http://" + site + "/\n\nCtrl-C drains and ends it.\n";
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

int Server::Run() {
  {
    Shard::Enter enter(*control_);
    signals_.kind = Op::Kind::kPoll;
    signals_.fd = signal_fd_;
    signals_.length = POLLIN;
    signals_.waiter = &waiter_;
    timer_.waiter = &waiter_;
    Control(scope_);
  }
  while (state_ != State::kStopped) control_->RunTurn(true);
  fleet_->Join();
  if (reloader_->loading()) Leave(cut_ ? 2 : 0);  // perhaps in a name server's timeout
  return cut_ ? 2 : 0;
}

// Without the destructors, which wait for what does not end.
void Server::Leave(int code) {
  admin_file_.Remove();
  pid_file_.Remove();
  std::fflush(nullptr);
  _exit(code);
}

Root Server::Control(Scope& /*scope*/) {
  control_->Start(signals_);
  while (state_ != State::kStopping) {
    co_await waiter_.Park();
    while (!signals_.empty()) {
      signals_.Pop();
      while (const int signal = control_->backend().TakeSignal(signal_fd_)) OnSignal(signal);
    }
    if (signals_.done()) control_->Start(signals_);
    if (timer_.fired) {
      timer_.fired = false;
      const int64_t since_ms = (control_->now_ns() - signal_ns_) / kNsPerMs;
      if (state_ == State::kLameDuck) {
        state_ = State::kDraining;
        checker_->Stop();
        slow_starter_->Stop();
        GiveOrder(Order::Kind::kDrain);
        const int64_t left_ms = int64_t{settings().timeouts.drain_ms} - since_ms;
        control_->SetTimer(timer_, static_cast<uint32_t>(std::max<int64_t>(left_ms, 1)));
      } else if (state_ == State::kDraining) {
        state_ = State::kCutting;
        cut_ = OpenConnections() > 0;
        LogLine("drain time is over: cutting %llu connections",
                static_cast<unsigned long long>(OpenConnections()));
        GiveOrder(Order::Kind::kCut);
        control_->SetTimer(timer_, kLastWordsMs / 2);  // for the log lines of what was cut
      } else if (state_ == State::kCutting && log_writer_ != nullptr && !log_stopped_) {
        log_stopped_ = true;  // a pipe that nobody reads, or a stuck disk
        log_writer_->BeginStop();
        control_->SetTimer(timer_, kLastWordsMs / 2);
      } else if (state_ == State::kCutting) {
        LogLine("connections did not end: leaving");
        Leave(2);
      }
    }
    if ((state_ == State::kDraining || state_ == State::kCutting) && shards_drained_ == shards_) {
      state_ = State::kStopping;
    }
  }
  control_->ClearTimer(timer_);
  control_->Cancel(signals_);
  GiveOrder(Order::Kind::kStop);
  admin_file_.Remove();
  if (admin_ != nullptr) admin_->BeginClose();
  for (auto& origin : origins_) origin->BeginClose();
  if (log_writer_ != nullptr) log_writer_->BeginStop();
  for (;;) {
    bool busy = !reloader_->Stopped() || !checker_->stopped() || signals_.busy() ||
                (log_writer_ != nullptr && !log_writer_->idle());
    busy = busy || (admin_ != nullptr && !admin_->closed());
    for (auto& origin : origins_) busy = busy || !origin->closed();
    if (!busy) break;
    control_->SetTimer(timer_, kPollMs);
    co_await waiter_.Park();
  }
  control_->ClearTimer(timer_);
  LogLine("stopped");
  state_ = State::kStopped;
  control_->Stop();  // this turn waits for nothing more
}

void Server::OnSignal(int signal) {
  if (signal == SIGHUP) {
    reloader_->Ask([](bool, const std::string&) {});  // what became of it is logged
    return;
  }
  if (signal == SIGUSR1) {
    if (log_writer_ != nullptr) log_writer_->Reopen(settings().access_log);
    return;
  }
  if (state_ != State::kServing) {
    const uint64_t open = OpenConnections();
    LogLine("second signal: leaving at once, %llu connections cut", static_cast<unsigned long long>(open));
    Leave(open > 0 ? 2 : 0);
  }
  signal_ns_ = control_->now_ns();
  state_ = State::kLameDuck;
  reloader_->Close("Weir is draining: nothing is reloaded any more");
  LogLine("signal %d: draining, %llu connections open", signal,
          static_cast<unsigned long long>(OpenConnections()));
  if (settings().timeouts.lame_duck_ms > 0) {
    GiveOrder(Order::Kind::kSayClose);
    control_->SetTimer(timer_, settings().timeouts.lame_duck_ms);
  } else {
    timer_.fired = true;  // the loop that called goes on with it
  }
}

void Server::GiveOrder(Order::Kind kind) {
  for (uint32_t i = 0; i < shards_; ++i) {
    Order& order = orders_[i * Order::kKinds + static_cast<size_t>(kind)];
    order.kind = kind;
    order.server = this;
    order.deliver = [](Message* message, Shard& shard) {
      const auto* order = static_cast<Order*>(message);
      ShardTenant* tenant = order->server->tenants_[shard.index()];
      switch (order->kind) {
        case Order::Kind::kSayClose:
          tenant->proxy().SayClose();
          break;
        case Order::Kind::kDrain:
          tenant->Drain();
          break;
        case Order::Kind::kCut:
          tenant->proxy().CutAll();
          break;
        case Order::Kind::kStop:
          shard.Stop();
          break;
      }
    };
    control_->Post(i, &order);
  }
}

void Server::ShardDrained() {
  ++shards_drained_;
  control_->Wake(&waiter_);
}

uint64_t Server::OpenConnections() const {
  uint64_t open = 0;
  for (const ProxyCounters* counters : data_counters_) open += counters->open_connections.Get();
  return open;
}

}  // namespace weir::lb
