// MemoryBudget: every bound that is chosen at start, as sums with one commented line per holder (budget.cc
// prints them, `weir check` shows them). Counted in three kinds: address space (reserved, touched only as
// needed), memory that is there from the start, and file descriptors. Nothing else in Weir decides a size. A
// shard may come to hold every client connection (SO_REUSEPORT spreads by hash), so that what depends on
// connections is reserved per shard for all of them; what costs memory at once (the rings) is sized for twice
// the even share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "lb/config/settings.h"

namespace weir::lb {

// What one thing costs at most; asserted against the real types where those are defined.
inline constexpr size_t kConnectionBytes = 512;          // a client connection in its slab
inline constexpr size_t kUpstreamConnectionBytes = 512;  // an upstream connection in its slab
inline constexpr size_t kIdleFrameBytes = 192;           // the coroutine frame of an idle connection
inline constexpr size_t kRequestFrameBytes = 1536;       // all frames of one request (or relay) in flight
inline constexpr size_t kGatherBytes = 512;              // a gathered send in flight, per direction
inline constexpr size_t kBufferSlotBytes = 36 * 1024;    // a pool buffer with head- and tailroom

inline constexpr uint32_t kMinBuffersPerShard = 256;
inline constexpr uint32_t kMaxBuffersPerShard = 65'535;  // the kernel's buffer id has 16 bits
inline constexpr uint32_t kMaxShards = 256;
// The kernel's bounds (IORING_MAX_ENTRIES, IORING_MAX_CQ_ENTRIES).
inline constexpr uint32_t kMaxSubmissions = 32'768;
inline constexpr uint32_t kMaxCompletions = 65'536;

struct ShardBudget {
  size_t arena_bytes = 0;             // Shard::Options
  uint32_t buffers = 0;               // Shard::Options
  uint32_t submissions = 0;           // UringBackend::Options; power of two
  uint32_t completions = 0;           // UringBackend::Options; power of two
  uint32_t connections = 0;           // client connections one shard may hold
  uint32_t upstream_connections = 0;  // upstream connections one shard may hold, idle ones included
};

struct MemoryBudget {
  ShardBudget shard;
  ShardBudget control;
  uint32_t shards = 0;

  // File descriptors.
  uint32_t fds_reserved = 0;  // for everything but connections
  uint32_t fds = 0;           // all together

  uint64_t per_connection_bytes = 0;  // idle client connection: slab and frame
  uint64_t per_request_bytes = 0;     // on top, while a request is in flight, without buffers
  uint64_t ring_bytes = 0;            // all rings
  uint64_t buffer_bytes = 0;          // all pools
  uint64_t worst_bytes = 0;           // every bound reached at once
};

MemoryBudget ComputeBudget(const Settings& settings);

// Descriptors for everything but client and upstream connections.
uint32_t ReservedFds(uint32_t shards, uint32_t listeners, uint32_t endpoints);
// The largest --max_connections that `fd_limit` allows: each client may need one upstream connection; 0 when
// none.
uint32_t ConnectionsWithin(uint32_t fd_limit, uint32_t reserved);

// The resolved configuration and the budget, as `weir check` prints them.
std::string DescribeSettings(const Settings& settings);

}  // namespace weir::lb
