// MemoryBudget: every bound that is chosen at start, as sums with one line per holder; `weir check` prints
// these very lines, and the shards are built from the same values. Nothing else in Weir decides a size. A
// shard may come to hold every client connection (SO_REUSEPORT spreads by hash): what only reserves address
// space (arena, slabs) is sized per shard for all of them; what costs memory at once (the rings) for twice
// the even share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/buffer.h"
#include "lb/config/settings.h"

namespace weir::lb {

// What one of each costs at most. Asserted where the types are defined, or measured by the tests of frame
// sizes.
inline constexpr size_t kConnectionBytes = 384;          // a client connection in its slab
inline constexpr size_t kUpstreamConnectionBytes = 384;  // an upstream connection in its slab
inline constexpr size_t kIdleFrameBytes = 192;           // the coroutine frame of an idle connection
inline constexpr size_t kRequestBytes = 3072;            // an exchange (or relay) with its frames
inline constexpr size_t kIntroductionBytes = 8192;       // what a PROXY header said of a client connection
inline constexpr size_t kGatherBytes = 512;              // a gathered send in flight
inline constexpr size_t kMirrorBytes = 768;              // a copy of a request (lb/l7/mirror.h)
inline constexpr size_t kBufferSlotBytes =
    36 * 1024;  // a pool buffer with head- and tailroom, in whole pages
inline constexpr size_t kPasswordShardBytes =
    192 * 1024;  // what a shard knows and asks (lb/auth/password_desk.h)
inline constexpr size_t kPasswordThreadBytes = size_t{65} << 20;  // yescrypt's largest (lb/auth/password.cc)
inline constexpr size_t kChangeLogBytes = 9 * 1024;  // of an upstream, a shard's (lb/upstream/change_log.h)
inline constexpr size_t kClientPlaceBytes = 8;       // of the table of clients (lb/client_table.h)
inline constexpr size_t kLogBytes = 8 * 64 * 1024;   // a shard's access log (lb/log/access_log.h)
// Of a request's target as it came, for the access log, if another one went up: fits a chunk of 2 KiB.
inline constexpr size_t kMostNotedBytes = Arena::kSmallBytes - sizeof(Buffer);

// A request's head lies in up to four chunks: as it came in pieces, as it is sent on, and the same for the
// response.
inline constexpr size_t kHeadChunks = 4;
// What a head may grow by when it is sent on: the fields Weir sets.
inline constexpr size_t kAddedHeadBytes = 1024;
inline constexpr size_t kMaxHeaderBytesFlag = 30 * 1024;
static_assert(kMaxHeaderBytesFlag + kAddedHeadBytes + sizeof(Buffer) <= Arena::kLargestBytes);
static_assert(kBufferSlotBytes >=
              BufferPool::kBufferBytes + BufferPool::kHeadroomBytes + BufferPool::kTailroomBytes);

inline constexpr uint32_t kMaxShards = 256;
// A shard's connections above --max_connections, which are told so (503).
inline constexpr uint32_t kOverLimitConnections = 64;
// Of 256 KiB each: bulk on its way at one time; more is copied.
inline constexpr uint32_t kPipesPerShard = 16;
// A shard's idle upstream connections beyond one for each client.
inline constexpr uint32_t kSpareUpstreams = 1024;

inline constexpr uint32_t kMinBuffersPerShard = 256;
inline constexpr uint32_t kMaxBuffersPerShard = BufferPool::kMaxCount;
inline constexpr uint32_t kControlBuffers = 64;
inline constexpr size_t kControlArenaBytes = size_t{16} << 20;

// Per connection, client and upstream alike: a receive and a send, whose completions may wait at the same
// time.
inline constexpr uint32_t kOpsPerConnection = 2;
// Accepts, doorbells, log writes, cancels.
inline constexpr uint32_t kOtherOps = 512;
// The kernel's bound for completions is 65,536 (IORING_MAX_CQ_ENTRIES); beyond it completions wait in its own
// list.
inline constexpr uint32_t kMaxCompletions = 65'536;
// More than one turn submits; what does not fit goes with the next.
inline constexpr uint32_t kMaxSubmissions = 4'096;
inline constexpr uint32_t kMinSubmissions = 256;
static_assert(kMinSubmissions * 2 <= kMaxCompletions && kMaxSubmissions * 2 <= kMaxCompletions);

struct ShardBudget {
  size_t arena_bytes = 0;    // Shard::Options
  uint32_t buffers = 0;      // Shard::Options
  uint32_t submissions = 0;  // UringBackend::Options; power of two
  uint32_t completions = 0;  // UringBackend::Options; power of two
  uint32_t clients = 0;      // slots for client connections
  uint32_t upstreams = 0;    // slots for upstream connections, idle ones included
};

struct BudgetLine {
  std::string what;
  uint64_t amount = 0;
};

struct MemoryBudget {
  ShardBudget shard;               // each of Settings::shards
  ShardBudget control;             // the control shard
  std::vector<BudgetLine> memory;  // bytes, all shards together, every bound reached at once
  std::vector<BudgetLine> files;   // descriptors, likewise
  uint64_t memory_bytes = 0;       // sum of `memory`
  uint64_t file_count = 0;         // sum of `files`
};

MemoryBudget ComputeBudget(const Settings& settings);

// At one time, and kept between them: one for each endpoint that is checked, but no more than this.
inline constexpr uint32_t kMostCheckConnections = 256;
uint32_t CheckConnections(const Settings& settings);

// Some route has a mirror.
bool HasMirrors(const Settings& settings);
// Some listener has max_connections_per_client.
bool LimitsClients(const Settings& settings);
// Some listener reads PROXY headers.
bool HasProxyProtocol(const Settings& settings);
// Some route has basic_auth: so many threads check passwords, else 0.
uint32_t PasswordThreads(const Settings& settings);
// Descriptors for everything but client, upstream and mirror connections, as lines.
std::vector<BudgetLine> ReservedFiles(const Settings& settings);
uint64_t Sum(const std::vector<BudgetLine>& lines);

// The pool of one shard.
uint32_t BuffersPerShard(uint64_t buffer_memory_bytes, uint32_t shards);
// The least --buffer_memory for so many shards.
uint64_t MinBufferMemory(uint32_t shards);
// What --buffer_memory is when it is not given.
uint64_t DefaultBufferMemory(uint64_t memory_bytes, uint32_t shards);

}  // namespace weir::lb
