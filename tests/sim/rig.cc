#include "tests/sim/rig.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "gtest/gtest.h"

namespace weir::lb::trial {
namespace {

// After everything was cut, or everybody has left: completions, last handshakes, the log's way home.
constexpr int64_t kLastWordsNs = 10 * kNsPerSecond;

// One world at a time.
std::vector<std::string> told;
bool Note(const std::string& line) {
  told.push_back(line);
  return true;
}

}  // namespace

std::string Rig::EndpointAddress(uint32_t endpoint) {
  return "10.0.1." + std::to_string(endpoint + 1) + ":8000";
}

Settings Rig::Defaults(uint32_t endpoints) {
  Settings settings;
  UpstreamSettings& upstream = settings.upstreams.emplace_back();
  for (uint32_t i = 0; i < endpoints; ++i) {
    const std::string address = EndpointAddress(i);
    upstream.endpoints.push_back({*SocketAddress::Parse(address), 1, address});
  }
  settings.max_connections = 1000;
  return settings;
}

const std::vector<std::string>& Rig::told() { return lb::trial::told; }

Rig::Rig(Options options) {
  lb::trial::told.clear();
  world_ = std::make_unique<sim::World>(options.world);
  Settings& settings = options.settings;
  settings.shards = options.shards;
  settings.listeners = {{Protocol::kHttp, *SocketAddress::Parse(kHttpAddress), kHttpAddress},
                        {Protocol::kTcp, *SocketAddress::Parse(kTcpAddress), kTcpAddress}};
  if (options.routed) {
    RouteList& routes = settings.routes.emplace_back();
    routes.matches.resize(2);
    routes.matches[0].path_prefixes = {"/"};
    routes.routes.resize(2);
    for (RouteSettings& route : routes.routes) {
      route.timeouts = settings.timeouts;
      route.retries = settings.upstreams[0].retries;
      route.retry = settings.upstreams[0].retry;
    }
    std::vector<RouteProblem> problems;
    routes.table = RouteTable::Build(routes.matches, {}, problems);
    settings.listeners[0].routes = 0;
  }
  for (ListenerSettings& listener : settings.listeners) {
    listener.direct.timeouts = settings.timeouts;
    listener.direct.retries = settings.upstreams[0].retries;
    listener.direct.retry = settings.upstreams[0].retry;
  }
  // Every other seed logs more than usual: what that keeps of a response must come back too.
  if (options.world.seed % 2 == 1) {
    settings.log.request_headers = {"Content-Length", "X-Request-ID"};
    settings.log.response_headers = {"Content-Length", "Date", "X-None"};
    AccessFormat::Problem problem;
    settings.log_format = AccessFormat::Build(settings.log, &problem);
    WEIR_CHECK(settings.log_format != nullptr);
  }
  generations_.push_back(std::make_unique<Generation>(std::move(settings), nullptr, this));
  switchboard_ = &world_->NewSwitchboard(options.shards + 1);
  // Destroyed before the shards, like a tenant.
  control_ = &world_->NewShard(
      *switchboard_,
      {.index = options.shards, .seed = options.world.seed + 99, .arena_bytes = 1 << 20, .buffers = 8});
  if (options.log) {
    log_fd_ = world_->NewFile();
    world_->On(*control_,
               [&] { log_writer_ = std::make_unique<LogWriter>(*control_, log_fd_, control_counters_); });
  }
  for (uint32_t i = 0; i < options.shards; ++i) {
    tenants_.push_back(std::make_unique<Tenant>());
    tenants_.back()->shard = &world_->NewShard(*switchboard_, {.index = i,
                                                               .seed = options.world.seed * 31 + i,
                                                               .arena_bytes = 16 << 20,
                                                               .buffers = options.buffers});
    counters_.push_back(&tenants_.back()->counters);
  }
  WEIR_CHECK(OpenSockets());
  world_->On(*control_, [&] {
    publisher_ = std::make_unique<Publisher>(*control_);
    slow_starter_ = std::make_unique<SlowStarter>(*control_, *publisher_);
    slow_starter_->Follow(*generations_.front());
    checker_ = std::make_unique<Checker>(*control_, *publisher_, nullptr);
    checker_->Follow(*generations_.front());
    news_ = std::make_unique<EndpointNews>(*control_, Note);
    outliers_ = std::make_unique<Outliers>(*control_, *publisher_, news_.get());
    outliers_->Follow(*generations_.front());
    panic_watch_ = std::make_unique<PanicWatch>(*control_, *publisher_, nullptr);
    panic_watch_->Follow(*generations_.front());
  });
  for (auto& owned : tenants_) {
    Tenant& tenant = *owned;
    world_->On(*tenant.shard, [&] {
      if (log_writer_ != nullptr) {
        tenant.log = std::make_unique<AccessLog>(*tenant.shard, *log_writer_, switchboard_->control(),
                                                 tenant.counters);
      }
      tenant.proxy = std::make_unique<Proxy>(
          *tenant.shard, generations_.front()->snapshot(tenant.shard->index()), counters_, tenant.counters,
          tenant.log.get(), nullptr, news_.get(), outliers_.get());
    });
  }
}

Rig::~Rig() { WEIR_CHECK(ended_); }

uint64_t Rig::Sum(Counter ProxyCounters::* counter) const {
  uint64_t sum = 0;
  for (const auto& tenant : tenants_) sum += (tenant->counters.*counter).Get();
  return sum;
}

uint64_t Rig::RequestsCounted(uint32_t status_class) const {
  uint64_t sum = 0;
  for (const auto& tenant : tenants_) sum += tenant->counters.requests[status_class].Get();
  return sum;
}

uint64_t Rig::RequestsCounted() const {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < 6; ++i) sum += RequestsCounted(i);
  return sum;
}

std::string Rig::LogLinesOf(uint64_t id) const {
  const std::string target = "/r/" + std::to_string(id) + "\"";  // perhaps behind http://host
  std::string lines;
  for (size_t begin = 0; begin < log_text_.size();) {
    const size_t end = log_text_.find('\n', begin) + 1;
    const std::string line = log_text_.substr(begin, end - begin);
    if (line.find(target) != std::string::npos) lines += line;
    begin = end;
  }
  return lines;
}

bool Rig::OpenSockets() {
  bool open = false;
  world_->On(*control_, [&] {
    Backend& backend = control_->backend();
    int error = 0;
    open = generations_.back()->OpenSockets(
               [&backend](SocketAddress& address, const ListenOptions& options) {
                 return backend.Listen(address, options);
               },
               [&backend](int fd) { backend.Close(fd); }, &error) == Generation::kNew;
  });
  return open;
}

void Rig::Reload(const std::function<void(Settings&)>& change) {
  if (draining()) return;  // as the reloader
  Settings settings = generations_.back()->settings();
  change(settings);
  generations_.push_back(std::make_unique<Generation>(std::move(settings), generations_.back().get(), this));
  if (!OpenSockets()) {  // no descriptors: as the loader, it goes on with what it has
    generations_.pop_back();
    return;
  }
  ++reloads_;
  world_->On(*control_, [&] {
    slow_starter_->Follow(*generations_.back());
    checker_->Follow(*generations_.back());
    outliers_->Follow(*generations_.back());
    panic_watch_->Follow(*generations_.back());
    for (uint32_t i = 0; i < shards(); ++i) Proxy::PostAdopt(*control_, generations_.back()->snapshot(i));
  });
}

void Rig::OnAdopted(Snapshot& snapshot) { ++snapshot.generation->snapshots_adopted; }

void Rig::OnGone(Snapshot& snapshot) {
  Generation* const generation = snapshot.generation;
  if (++generation->snapshots_gone < shards()) return;
  std::erase_if(generations_, [generation](const auto& other) { return other.get() == generation; });
}

void Rig::Post(Shard& from, uint32_t to, Order& order, std::function<void()> act) {
  order.act = std::move(act);
  order.deliver = [](Message* message, Shard&) { static_cast<Order*>(message)->act(); };
  from.Post(to, &order);
}

void Rig::SayClose() {
  world_->On(*control_, [&] {
    for (auto& owned : tenants_) {
      Tenant* tenant = owned.get();
      Post(*control_, tenant->shard->index(), tenant->say_close, [tenant] { tenant->proxy->SayClose(); });
    }
  });
}

void Rig::Drain() {
  if (draining()) return;
  drain_ns_ = world_->now_ns();
  world_->On(*control_, [&] {
    checker_->Stop();
    outliers_->Stop();
    slow_starter_->Stop();
    for (auto& owned : tenants_) {
      Tenant* tenant = owned.get();
      Post(*control_, tenant->shard->index(), tenant->drain,
           [this, tenant] { tenant->proxy->Drain([this, tenant] { ReportWhenLogIsHome(*tenant); }); });
    }
  });
  world_->After(settings().timeouts.drain_ms * kNsPerMs, [this] {
    if (drained()) return;
    cut_ = true;
    world_->On(*control_, [&] {
      for (auto& owned : tenants_) {
        Tenant* tenant = owned.get();
        Post(*control_, tenant->shard->index(), tenant->cut, [tenant] {
          if (tenant->proxy != nullptr) tenant->proxy->CutAll();  // it may have drained meanwhile
        });
      }
    });
  });
}

void Rig::ReportWhenLogIsHome(Tenant& tenant) {
  if (tenant.log != nullptr) {
    tenant.log->Flush();
    if (!tenant.log->home()) {
      world_->After(5 * kNsPerMs,
                    [this, &tenant] { world_->On(*tenant.shard, [&] { ReportWhenLogIsHome(tenant); }); });
      return;
    }
  }
  Post(*tenant.shard, switchboard_->control(), tenant.drained, [this] { ++drained_; });
}

void Rig::End() {
  if (ended_) return;
  ended_ = true;
  Drain();
  const int64_t limit_ns = drain_ns_ + settings().timeouts.drain_ms * kNsPerMs + kLastWordsNs;
  const bool in_time =
      world_->RunUntil([&] { return drained(); }, std::max<int64_t>(limit_ns - world_->now_ns(), 0));
  EXPECT_TRUE(in_time) << "not drained in time";
  if (!in_time || testing::Test::HasFailure()) std::fprintf(stderr, "%s", world_->Dump().c_str());
  WEIR_CHECK(in_time);           // nothing below, nor any destructor, would make sense
  world_->RunFor(kNsPerSecond);  // the last news of earlier generations
  CheckCounters();
  for (auto& tenant : tenants_) {
    world_->On(*tenant->shard, [&] {
      tenant->proxy.reset();
      tenant->log.reset();
    });
  }
  EXPECT_TRUE(world_->RunUntil([&] { return checker_->stopped() && publisher_->idle(); }));
  world_->On(*control_, [&] {
    panic_watch_.reset();
    checker_.reset();
    outliers_.reset();
    news_.reset();
    slow_starter_.reset();
    publisher_.reset();
  });
  if (log_fd_ >= 0) {
    EXPECT_TRUE(world_->RunUntil([&] { return log_writer_->idle(); }));
    log_text_ = world_->FileContents(log_fd_);
    world_->On(*control_, [&] { log_writer_.reset(); });
  }
  // What was cancelled last: completions that are late, peers that still talk to the dead.
  world_->RunFor(kNsPerSecond);
  EXPECT_EQ(world_->open_fds(), 0u);
}

void Rig::CheckCounters() {
  for (auto& tenant : tenants_) {
    const ProxyCounters& counters = tenant->counters;
    EXPECT_EQ(counters.open_connections.Get(), 0u);
    EXPECT_EQ(counters.requests_active.Get(), 0u);
    EXPECT_EQ(counters.upstream_open.Get(), 0u);
    EXPECT_EQ(counters.upstream_idle.Get(), 0u);
    EXPECT_EQ(tenant->proxy->client_count(), 0u);
    EXPECT_EQ(tenant->proxy->upstreams().open(), 0u);
    EXPECT_EQ(tenant->proxy->upstreams().retired(), 0u) << "pools of earlier generations";
    for (const auto& generation : generations_) {
      for (uint32_t u = 0; u < generation->settings().upstreams.size(); ++u) {
        UpstreamBook& upstream = *generation->plan(u)->book;
        EXPECT_EQ(upstream.active(tenant->shard->index()).Get(), 0u);
        EXPECT_EQ(upstream.retries(tenant->shard->index()).Get(), 0u) << "places in the retry budget";
        for (const auto& book : generation->plan(u)->books) {
          const EndpointCounters& endpoint = book->page(tenant->shard->index()).counters;
          EXPECT_EQ(endpoint.active.Get(), 0u) << book->address().ToString();
          EXPECT_EQ(endpoint.idle.Get(), 0u) << book->address().ToString();
        }
      }
    }
  }
  EXPECT_EQ(generations_.size(), 1u) << "nobody goes by earlier ones";
  if (log_fd_ < 0) return;
  const std::string& text = world_->FileContents(log_fd_);
  const uint64_t lines = static_cast<uint64_t>(std::count(text.begin(), text.end(), '\n'));
  EXPECT_EQ(lines + Sum(&ProxyCounters::log_lines_dropped), Sum(&ProxyCounters::log_lines));
  uint64_t refused = 0;  // for their PROXY header
  for (Counter ProxyCounters::* counter :
       {&ProxyCounters::proxy_protocol_missing, &ProxyCounters::proxy_protocol_untrusted,
        &ProxyCounters::proxy_protocol_malformed, &ProxyCounters::proxy_protocol_too_long,
        &ProxyCounters::proxy_protocol_truncated, &ProxyCounters::proxy_protocol_timeouts}) {
    refused += Sum(counter);
  }
  EXPECT_EQ(Sum(&ProxyCounters::log_lines), RequestsCounted() + Sum(&ProxyCounters::tcp_connections) +
                                                refused + Sum(&ProxyCounters::rejected_clients));
}

}  // namespace weir::lb::trial
