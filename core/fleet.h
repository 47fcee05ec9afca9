// Fleet: the data shards' threads. Each pins itself, makes its Shard and io_uring (SINGLE_ISSUER wants that
// on the thread that uses it), builds its tenant (the product's part), and turns until stopped. The control
// shard is not in here: it runs on the thread that made the fleet. Owner: the control thread. Start returns
// when every shard is up. Stopping: each shard is told by a message to call Shard::Stop; then Join. Tenants
// and shards are destroyed only after every shard has left its loop, because a neighbour may still ring its
// doorbell or hold one of its messages.
#pragma once

#include <functional>
#include <latch>
#include <memory>
#include <thread>
#include <vector>

#include "core/shard.h"
#include "core/uring_backend.h"

namespace weir {

// What the product builds on a shard, made and destroyed on its thread.
class Tenant {
 public:
  virtual ~Tenant() = default;
};

class Fleet {
 public:
  struct Options {
    uint32_t shards = 1;
    std::vector<int> cpus;  // shard i runs on cpus[i]; empty: not pinned
    Shard::Options shard;   // index and seed are set per shard
    UringBackend::Options uring;
  };
  using MakeTenant = std::function<std::unique_ptr<Tenant>(Shard&)>;

  // `switchboard` has one seat more than shards, the last for the control shard.
  Fleet(const Options& options, Switchboard& switchboard, MakeTenant make_tenant);
  ~Fleet();
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  void Start();
  // After every shard was told to stop. Blocks until all threads are gone.
  void Join();

 private:
  void RunShard(uint32_t index);

  Options options_;
  Switchboard& switchboard_;
  MakeTenant make_tenant_;
  std::latch up_;
  std::latch down_;
  std::vector<std::thread> threads_;
};

}  // namespace weir
