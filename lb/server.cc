#include "lb/server.h"

#include <poll.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstring>
#include <optional>

#include "core/log.h"
#include "lb/config/endpoint_overlay.h"
#include "lb/config/version.h"
#include "lb/demo/origin.h"
#include "lb/proxy.h"

namespace weir::lb {
namespace {

constexpr uint32_t kDemoOrigins = 3;
constexpr uint32_t kDemoConnections = 1024;  // each
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
               log_.get(), &server.passwords_, server.news_.get(), server.outliers_.get()),
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
    panic_watch_.reset();
    checker_.reset();
    outliers_.reset();
    slow_starter_.reset();
    publisher_.reset();
    if (reloader_ != nullptr) reloader_->newest().RemoveFiles();
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
  publisher_ = std::make_unique<Publisher>(*control_);
  slow_starter_ = std::make_unique<SlowStarter>(*control_, *publisher_);
  checker_ = std::make_unique<Checker>(*control_, *publisher_, news_.get());
  outliers_ = std::make_unique<Outliers>(*control_, *publisher_, news_.get());
  panic_watch_ = std::make_unique<PanicWatch>(*control_, *publisher_, news_.get());
  desk_ = std::make_unique<EndpointDesk>(
      *publisher_, news_.get(),
      [this](EndpointEdit edit, EndpointDesk::EditInForce then) { Edit(std::move(edit), std::move(then)); },
      outliers_.get());
  if (absl::Status status = BindListeners(); !status.ok()) return status;
  if (absl::Status status = StartAdmin(); !status.ok()) return status;
  if (absl::Status status = pid_file_.Write(settings().pid_file); !status.ok()) return status;

  const auto follow = [this](const Generation& generation) {
    slow_starter_->Follow(generation);
    checker_->Follow(generation);
    outliers_->Follow(generation);
    panic_watch_->Follow(generation);
  };
  reloader_->SetFollower(follow);
  passwords_.Start(PasswordThreads(settings()));
  Fleet::Options fleet;
  fleet.shards = shards_;
  fleet.cpus = settings().cpus;
  fleet.shard.seed = RandomSeed();
  fleet.shard.arena_bytes = budget_.shard.arena_bytes;
  fleet.shard.buffers = budget_.shard.buffers;
  fleet.shard.pipes = kPipesPerShard;
  fleet.uring = {features_, budget_.shard.submissions, budget_.shard.completions};
  fleet_ = std::make_unique<Fleet>(
      fleet, switchboard_, [this](Shard& shard) { return std::make_unique<ShardTenant>(*this, shard); });
  fleet_->Start();
  for (ShardTenant* tenant : tenants_)
    shard_views_.push_back({&tenant->shard().counters(), &tenant->proxy().counters()});
  follow(reloader_->newest());
  Announce();
  return absl::OkStatus();
}

absl::Status Server::BindListeners() {
  Backend& backend = control_->backend();
  int error = 0;
  const uint32_t failed = reloader_->newest().OpenSockets(
      [&backend](SocketAddress& address, const ListenOptions& options) {
        return backend.Listen(address, options);
      },
      [&backend](int fd) { backend.Close(fd); }, &error);
  if (failed == Generation::kNew) return absl::OkStatus();
  const ListenerSettings& listener = settings().listeners[failed];
  return absl::UnavailableError((listener.where.empty() ? "--listen" : listener.where) + ": " +
                                listener.text + ": " + std::strerror(error));
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
  admin_ = std::make_unique<AdminListener>(AdminListener::Process{
      .control = *control_,
      .control_counters = counters_[switchboard_.control()],
      .shards = shard_views_,
      .reloader = *reloader_,
      .desk = *desk_,
      .checker = *checker_,
      .start_wall_ms = start_wall_ms_,
      .draining = [this] { return state_ != State::kServing; },
  });
  return admin_->Start();
}

void Server::Edit(EndpointEdit edit, EndpointDesk::EditInForce then) {
  const auto change = [edit = std::move(edit)](const Settings& running) -> LoadedSettings {
    EditedSettings edited = EditEndpoints(running, edit);
    return {std::move(edited.settings), std::move(edited.text), edited.status};
  };
  reloader_->AskChange(change, [this, then = std::move(then)](const Reloader::Outcome& outcome) {
    then({outcome.status, outcome.text}, reloader_->newest());
  });
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
  if (settings().has_admin) LogLine("admin on %s", admin_->url().c_str());
  if (!demo_) return;
  const std::string site = settings().listeners.front().address.ToString();
  std::string text =
      "\nWeir in front of three demo origins:\n\n  http://" + site + "/    the proxied site: reload it\n";
  if (settings().has_admin)
    text += "  " + admin_->url() + (settings().admin.is_unix() ? "" : "/") +
            "    admin: /stats /metrics /healthz\n";
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
  if (admin_ != nullptr) admin_->RemoveFile();
  reloader_->newest().RemoveFiles();
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
        outliers_->Stop();
        slow_starter_->Stop();
        reloader_->newest().RemoveFiles();
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
    reloader_->Ask([](const Reloader::Outcome&) {});  // what became of it is logged
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
