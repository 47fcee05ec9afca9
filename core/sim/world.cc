#include "core/sim/world.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "core/check.h"
#include "core/sim/backend.h"
#include "core/sim/peer.h"
#include "core/unix_path.h"

namespace weir::sim {
namespace {

constexpr int kFirstFd = 3;

}  // namespace

World::World(const Options& options)
    : options_(options), faults_(options.faults), random_(options.seed ^ 0x5dee'ce66'd1ce'4e5bu) {}

World::~World() {
  if (options_.check_clean) CheckClean();
  DestroyShards();
  WEIR_CHECK(backends_.empty());  // whoever made a shard on this world destroys it first
}

int64_t World::Between(int64_t least, int64_t most) {
  if (most <= least) return least;
  return least + static_cast<int64_t>(random_.Next() % static_cast<uint64_t>(most - least + 1));
}

void World::At(int64_t when_ns, std::function<void()> action) {
  events_.push({std::max(when_ns, now_ns_), events_made_++, std::move(action)});
}

Shard::MakeBackend World::MakeBackend(uint32_t host) {
  return [this, host](BufferPool& pool, CoreCounters& counters) -> std::unique_ptr<weir::Backend> {
    return std::make_unique<Backend>(*this, host, pool, counters);
  };
}

Switchboard& World::NewSwitchboard(uint32_t shards) {
  switchboards_.push_back(std::make_unique<Switchboard>(shards));
  return *switchboards_.back();
}

Shard& World::NewShard(Switchboard& switchboard, const Shard::Options& options, uint32_t host) {
  auto shard = std::make_unique<Shard>(options, switchboard, MakeBackend(host));
  Adopt(*shard);
  seats_.back().owned = std::move(shard);
  return *seats_.back().owned;
}

void World::Adopt(Shard& shard) {
  auto* backend = static_cast<Backend*>(&shard.backend());
  WEIR_CHECK(std::find(backends_.begin(), backends_.end(), backend) != backends_.end());
  seats_.push_back({&shard, backend, nullptr, 0});
}

void World::Forget(Shard& shard) {
  std::erase_if(seats_, [&](const Seat& seat) { return seat.shard == &shard; });
}

void World::Poke(Shard& shard) { static_cast<Backend&>(shard.backend()).Poke(); }

void World::Stall(Shard& shard, int64_t duration_ns) {
  for (Seat& seat : seats_) {
    if (seat.shard == &shard) seat.stalled_until_ns = now_ns_ + duration_ns;
  }
}

void World::DestroyShards() {
  while (!seats_.empty()) seats_.pop_back();
}

void World::RunDueEvents() {
  while (!events_.empty() && events_.top().when_ns <= now_ns_) {
    // A priority queue shows its top as const, but this one is about to go.
    auto action = std::move(const_cast<Event&>(events_.top()).action);
    events_.pop();
    action();
  }
}

void World::RunShard(Seat& seat) {
  Shard& shard = *seat.shard;
  // While a real shard waits it is inside its turn and has announced its sleep; here the turn has returned,
  // so the world keeps the announcement up.
  auto& asleep = shard.switchboard().seat(shard.index()).asleep;
  asleep.store(0, std::memory_order_relaxed);
  shard.RunTurn(!random_.OneIn(32));
  if (seat.backend->waiting()) asleep.store(1, std::memory_order_relaxed);
  now_ns_ += Between(kNsPerUs / 2, 8 * kNsPerUs);
  if (Chance(faults_.stall)) seat.stalled_until_ns = now_ns_ + Between(0, faults_.most_stall_ns);
}

bool World::Step() {
  RunDueEvents();
  int64_t next_ns = events_.empty() ? kNever : events_.top().when_ns;
  uint32_t runnable = 0;
  Seat* chosen = nullptr;
  for (Seat& seat : seats_) {
    if (seat.shard->stopped()) continue;
    const int64_t due_ns = seat.shard->idle() ? seat.backend->DueNs() : now_ns_;
    const int64_t run_ns = std::max(due_ns, seat.stalled_until_ns);
    if (run_ns <= now_ns_) {
      if (random_.OneIn(++runnable)) chosen = &seat;  // each with the same chance
    } else {
      next_ns = std::min(next_ns, run_ns);
    }
  }
  if (chosen != nullptr) {
    RunShard(*chosen);
    return true;
  }
  if (next_ns == kNever) return false;
  now_ns_ = std::max(now_ns_, next_ns);
  RunDueEvents();
  return true;
}

void World::RunFor(int64_t duration_ns) {
  const int64_t end_ns = now_ns_ + duration_ns;
  // An event at the end, so that the clock stops there and not at the next thing that happens.
  At(end_ns, [] {});
  while (now_ns_ < end_ns && Step()) {
  }
}

Peer& World::Connect(std::string_view to, std::string_view from_ip) {
  std::string expected;
  const auto address =
      to.starts_with(kUnixPrefix) ? ParseUnixAddress(to, &expected) : SocketAddress::Parse(to);
  const auto from = SocketAddress::Parse(std::string(from_ip) + ":0");
  WEIR_CHECK(address.has_value() && from.has_value());
  Endpoint& endpoint = NewEndpoint();
  endpoint.local_ = address->is_unix() ? SocketAddress::ForUnix(nullptr) : Ephemeral(*from);
  peers_.push_back(std::make_unique<Peer>(*this, endpoint));
  peers_.back()->id_ = peers_.size() - 1;
  endpoint.Connect(*address);
  return *peers_.back();
}

PeerServer& World::Serve(std::string_view address, std::function<void(Peer&)> on_accept) {
  const auto parsed = SocketAddress::Parse(address);
  WEIR_CHECK(parsed.has_value());
  servers_.push_back(std::make_unique<PeerServer>(*this, *parsed, std::move(on_accept)));
  return *servers_.back();
}

void World::CheckClean() const {
  bool clean = true;
  for (const auto& [index, host] : hosts_) {
    // A shard's empty pipes are its own.
    for (const auto& [fd, descriptor] : host.fds)
      clean = clean && descriptor->kind == Descriptor::Kind::kPipe;
  }
  for (const Seat& seat : seats_) {
    if (seat.owned == nullptr) continue;
    clean = clean && seat.backend->in_flight() == 0;
    clean = clean && seat.shard->pipes().free_count() == seat.shard->pipes().open();
    clean = clean && seat.shard->buffers().free_count() == seat.shard->buffers().count();
    clean = clean && seat.shard->arena().used_bytes() == 0;
  }
  if (clean) return;
  std::fprintf(stderr, "sim: the world ends with something left (seed %llu):\n%s",
               static_cast<unsigned long long>(options_.seed), Dump().c_str());
  WEIR_CHECK(clean);
}

// Descriptors

int World::NewFd(uint32_t host, std::unique_ptr<Descriptor> descriptor) {
  auto& fds = hosts_[host].fds;
  if (fds.size() >= options_.fd_limit) return -EMFILE;
  int fd = kFirstFd;  // the lowest free number, as a kernel does: stale numbers are found
  for (auto at = fds.begin(); at != fds.end() && at->first == fd; ++at) ++fd;
  fds[fd] = std::move(descriptor);
  return fd;
}

Descriptor* World::Find(uint32_t host, int fd) const {
  const auto of_host = hosts_.find(host);
  if (of_host == hosts_.end()) return nullptr;
  const auto at = of_host->second.fds.find(fd);
  return at == of_host->second.fds.end() ? nullptr : at->second.get();
}

void World::RemoveFd(uint32_t host, int fd) { hosts_[host].fds.erase(fd); }

int World::NewSignalFd(uint32_t host) {
  return NewFd(host, std::make_unique<Descriptor>(Descriptor::Kind::kSignals));
}

void World::Raise(int signal, uint32_t host) {
  for (auto& [fd, descriptor] : hosts_[host].fds) {
    if (descriptor->kind != Descriptor::Kind::kSignals) continue;
    auto& signals = descriptor->signals;
    // A signal that is pending already is not counted twice.
    if (std::find(signals.begin(), signals.end(), signal) == signals.end()) signals.push_back(signal);
    descriptor->OnReadable();
    return;
  }
  WEIR_CHECK(false);  // nobody listens to signals
}

int World::NewFile(uint32_t host) {
  return NewFd(host, std::make_unique<Descriptor>(Descriptor::Kind::kFile));
}

const std::string& World::FileContents(int fd, uint32_t host) const {
  const Descriptor* descriptor = Find(host, fd);
  WEIR_CHECK(descriptor != nullptr && descriptor->kind == Descriptor::Kind::kFile);
  return descriptor->contents;
}

uint32_t World::open_fds(uint32_t host) const {
  const auto at = hosts_.find(host);
  return at == hosts_.end() ? 0 : static_cast<uint32_t>(at->second.fds.size());
}

std::string World::Dump() const {
  static constexpr const char* kKinds[] = {"stream", "listener", "signals", "file", "pipe"};
  std::string text = "time " + std::to_string(now_ns_ / kNsPerUs) + " us\n";
  for (const auto& [index, host] : hosts_) {
    for (const auto& [fd, descriptor] : host.fds) {
      text += "host " + std::to_string(index) + " fd " + std::to_string(fd) + " " +
              kKinds[static_cast<int>(descriptor->kind)];
      if (descriptor->endpoint != nullptr) text += ": " + descriptor->endpoint->ToString();
      if (descriptor->listener != nullptr) {
        text += ": " + descriptor->listener->address.ToString() + ", " +
                std::to_string(descriptor->listener->queue.size()) + " waiting";
      }
      text += "; " + std::to_string(descriptor->flights.size()) + " ops in flight\n";
    }
  }
  for (const Seat& seat : seats_) {
    text += "shard " + std::to_string(seat.shard->index()) + ": " +
            std::to_string(seat.shard->buffers().free_count()) + " of " +
            std::to_string(seat.shard->buffers().count()) + " buffers free, " +
            std::to_string(seat.shard->arena().used_bytes()) + " arena bytes used" + seat.backend->Dump() +
            "\n";
  }
  return text;
}

}  // namespace weir::sim
