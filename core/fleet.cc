#include "core/fleet.h"

#include <pthread.h>
#include <sched.h>
#include <sys/random.h>

#include <cstring>
#include <string>

#include "core/log.h"

namespace weir {

Fleet::Fleet(const Options& options, Switchboard& switchboard, MakeTenant make_tenant)
    : options_(options),
      switchboard_(switchboard),
      make_tenant_(std::move(make_tenant)),
      up_(options.shards),
      down_(options.shards + 1) {
  WEIR_CHECK(switchboard.shards() == options.shards + 1);
}

Fleet::~Fleet() { WEIR_CHECK(threads_.empty()); }

void Fleet::Start() {
  for (uint32_t i = 0; i < options_.shards; ++i) threads_.emplace_back([this, i] { RunShard(i); });
  up_.wait();
}

void Fleet::Join() {
  down_.count_down();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Fleet::RunShard(uint32_t index) {
  const std::string name = "weir-" + std::to_string(index);
  pthread_setname_np(pthread_self(), name.c_str());
  if (!options_.cpus.empty()) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<size_t>(options_.cpus[index]), &set);
    if (const int error = pthread_setaffinity_np(pthread_self(), sizeof(set), &set); error != 0) {
      LogLine("shard %u cannot be pinned to CPU %d: %s", index, options_.cpus[index], std::strerror(error));
    }
  }
  Shard::Options options = options_.shard;
  options.index = index;
  if (getrandom(&options.seed, sizeof(options.seed), 0) != sizeof(options.seed)) options.seed += index;
  Shard shard(options, switchboard_, [this](BufferPool& pool, CoreCounters& counters) {
    return std::make_unique<UringBackend>(options_.uring, pool, counters);
  });
  std::unique_ptr<Tenant> tenant;
  {
    Shard::Enter enter(shard);
    tenant = make_tenant_(shard);
  }
  up_.count_down();
  shard.Run();
  down_.arrive_and_wait();
  Shard::Enter enter(shard);
  tenant.reset();
}

}  // namespace weir
