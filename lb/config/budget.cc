#include "lb/config/budget.h"

#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"

namespace weir::lb {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr size_t kSqeBytes = 64;
constexpr size_t kCqeBytes = 16;

// The most that a route adds to a request's head, with a body that is kept whole and what it keeps for the
// response's behind that; or to the response's.
size_t RouteHeadBytes(const Settings& settings) {
  size_t most = 0;
  const auto count = [&](const RouteSettings& route) {
    const size_t target_bytes = settings.limits.target_bytes;
    most = std::max(most, route.request.headers.MostBytes(target_bytes) +
                              route.response.MostBytes(target_bytes) +
                              std::max(route.buffer_bytes, route.retry.body_bytes));
  };
  for (const ListenerSettings& listener : settings.listeners) count(listener.direct);
  for (const RouteList& list : settings.routes) {
    for (const RouteSettings& route : list.routes) count(route);
  }
  return most;
}

// One head in one chunk. What would be longer than a chunk can be is refused: 431, or 502.
size_t HeadChunkBytes(const Settings& settings) {
  const size_t wanted =
      settings.limits.header_bytes + kAddedHeadBytes + RouteHeadBytes(settings) + sizeof(Buffer);
  return Arena::RoundUp(std::min(wanted, Arena::kLargestBytes));
}

// Of a response's head, for the access log.
size_t KeptHeaderBytes(const Settings& settings) {
  const bool keeps = settings.log_format != nullptr && settings.log_format->keeps_response();
  return keeps ? Arena::RoundUp(settings.log_format->max_kept_bytes() + sizeof(Buffer)) : 0;
}

// Of a request, for the access log: the target as it came.
size_t NotedBytes(const Settings& settings) {
  return settings.has_access_log() ? Arena::RoundUp(kMostNotedBytes + sizeof(Buffer)) : 0;
}

// On top of an idle connection, while a request is in flight; without pool buffers.
size_t RequestBytes(const Settings& settings) {
  return kRequestBytes                             // exchange and frames
         + 2 * kGatherBytes                        // a gathered send in each direction
         + kHeadChunks * HeadChunkBytes(settings)  // heads
         + KeptHeaderBytes(settings) + NotedBytes(settings);
}

// The same, whatever a reload may bring: it costs address space, and nothing can be added to it later.
constexpr size_t kMostRequestBytes =
    kRequestBytes + 2 * kGatherBytes + (kHeadChunks + 1) * Arena::kLargestBytes;
static_assert(AccessFormat::kMostHeaders * (sizeof(uint16_t) + AccessFormat::kMostKeptBytes) +
                  kMostNotedBytes + 2 * sizeof(Buffer) <=
              Arena::kLargestBytes / 2);  // both are rounded up

// A copy keeps the head that was sent, and reads another.
constexpr size_t kMirrorHeads = 2;
constexpr size_t kMostMirrorBytes = kMirrorBytes + kMirrorHeads * Arena::kLargestBytes;

// Of consistent hashing: a slot or point and what finds it. Of Maglev two bytes; a ring has more points than
// this only where there are more than 1,024 endpoints, and 128 then for each.
constexpr uint64_t kRingPoints = 131'072;
constexpr uint64_t kRingPointBytes = sizeof(uint64_t) + 2 * sizeof(uint32_t) + sizeof(uint16_t);

uint64_t HashTableBytes(const UpstreamSettings& upstream, uint64_t endpoints) {
  switch (upstream.balance) {
    case Balance::kMaglev:
      return sizeof(uint16_t) * std::max<uint64_t>(upstream.hash.slots, 100 * endpoints);
    case Balance::kRingHash:
      return kRingPointBytes * std::max<uint64_t>(kRingPoints, 128 * endpoints);
    default:
      return 0;
  }
}

// One for each part of a level, of all and of each subset. A reload makes new ones before the old ones end.
uint64_t HashTablesBytes(const Settings& settings) {
  uint64_t bytes = 0;
  for (const UpstreamSettings& upstream : settings.upstreams) {
    for (uint32_t subset = 0; subset <= upstream.subsets.size(); ++subset) {
      uint64_t endpoints[EndpointSettings::kParts] = {};
      for (const EndpointSettings& endpoint : upstream.endpoints)
        endpoints[endpoint.part()] += upstream.IsIn(subset, endpoint);
      for (const uint64_t count : endpoints) bytes += count == 0 ? 0 : 2 * HashTableBytes(upstream, count);
    }
  }
  return bytes;
}

uint32_t PowerOfTwo(uint64_t at_least, uint32_t least, uint32_t most) {
  return static_cast<uint32_t>(std::bit_ceil(std::clamp<uint64_t>(at_least, least, most)));
}

ShardBudget DataShard(const Settings& settings) {
  ShardBudget budget;
  budget.clients = settings.max_connections + kOverLimitConnections;
  budget.upstreams = settings.max_connections + kSpareUpstreams;
  budget.buffers = BuffersPerShard(settings.buffer_memory_bytes, settings.shards);
  // Half as much again: sizes of different classes do not share spans.
  const uint64_t requests =
      uint64_t{budget.clients} * (kIdleFrameBytes + kIntroductionBytes + kMostRequestBytes);
  budget.arena_bytes = (requests + Settings::kMostMirrors * kMostMirrorBytes) * 3 / 2 + 16 * kMiB;
  // Clients and upstreams of twice the even share.
  const uint64_t even = (settings.max_connections + settings.shards - 1) / settings.shards;
  const uint64_t connections = 2 * std::min<uint64_t>(settings.max_connections, 2 * even);
  budget.completions =
      PowerOfTwo(connections * kOpsPerConnection + kOtherOps, 2 * kMinSubmissions, kMaxCompletions);
  budget.submissions = PowerOfTwo(budget.completions / 2, kMinSubmissions, kMaxSubmissions);
  return budget;
}

ShardBudget ControlShard() {
  return {.arena_bytes = kControlArenaBytes,
          .buffers = kControlBuffers,
          .submissions = kMinSubmissions,
          .completions = 4 * kMinSubmissions};
}

uint64_t ClientTableBytes(uint64_t clients) {
  return std::bit_ceil(2 * std::max<uint64_t>(clients, 64)) * kClientPlaceBytes;
}

uint64_t RingBytes(const ShardBudget& budget) {
  return uint64_t{budget.submissions} * kSqeBytes + uint64_t{budget.completions} * kCqeBytes;
}

}  // namespace

uint64_t Sum(const std::vector<BudgetLine>& lines) {
  uint64_t sum = 0;
  for (const BudgetLine& line : lines) sum += line.amount;
  return sum;
}

uint32_t CheckConnections(const Settings& settings) {
  size_t checked = 0;
  for (const UpstreamSettings& upstream : settings.upstreams)
    checked += upstream.health_check.on() ? upstream.endpoints.size() : 0;
  return static_cast<uint32_t>(std::min<size_t>(checked, kMostCheckConnections));
}

std::vector<BudgetLine> ReservedFiles(const Settings& settings) {
  constexpr uint64_t kAdminConnections = 64;
  const uint32_t shards = settings.shards;
  const size_t listeners = settings.listeners.size();
  std::vector<BudgetLine> lines = {
      {"standard input, output and error", 3},
      {"access log, signals, admin listener", 3},
      {"admin connections", kAdminConnections},
      {absl::StrCat("rings and one file in reserve: ", shards + 1, " x 2"), uint64_t{shards + 1} * 2},
      {absl::StrCat("listening sockets: ", shards, " x ", listeners), uint64_t{shards} * listeners},
      {absl::StrCat("pipes to splice through: ", shards, " x ", kPipesPerShard, " x 2"),
       uint64_t{shards} * kPipesPerShard * 2},
      {absl::StrCat("connections above the limit, told so: ", shards, " x ", kOverLimitConnections),
       uint64_t{shards} * kOverLimitConnections},
      {"libraries, and connections being closed", 64},
  };
  if (const uint32_t checks = CheckConnections(settings); checks > 0)
    lines.push_back({"connections of health checks", checks});
  return lines;
}

bool HasMirrors(const Settings& settings) {
  return std::any_of(settings.routes.begin(), settings.routes.end(), [](const RouteList& list) {
    return std::any_of(list.routes.begin(), list.routes.end(), [](const RouteSettings& route) {
      return route.mirror.upstream != MirrorSettings::kNone;
    });
  });
}

bool LimitsClients(const Settings& settings) {
  return std::any_of(
      settings.listeners.begin(), settings.listeners.end(),
      [](const ListenerSettings& listener) { return listener.max_connections_per_client > 0; });
}

bool HasProxyProtocol(const Settings& settings) {
  return std::any_of(settings.listeners.begin(), settings.listeners.end(),
                     [](const ListenerSettings& listener) { return listener.proxy_protocol.on(); });
}

uint32_t PasswordThreads(const Settings& settings) {
  for (const RouteList& list : settings.routes) {
    for (const RouteSettings& route : list.routes) {
      if (route.basic_auth != nullptr) return settings.shards > 2 ? 2 : 1;
    }
  }
  return 0;
}

uint32_t BuffersPerShard(uint64_t buffer_memory_bytes, uint32_t shards) {
  return static_cast<uint32_t>(
      std::min<uint64_t>(buffer_memory_bytes / shards / kBufferSlotBytes, kMaxBuffersPerShard));
}

uint64_t MinBufferMemory(uint32_t shards) {
  return uint64_t{shards} * kMinBuffersPerShard * kBufferSlotBytes;
}

uint64_t DefaultBufferMemory(uint64_t memory_bytes, uint32_t shards) {
  const uint64_t share = std::clamp<uint64_t>(memory_bytes / 16, 64 * kMiB, 1024 * kMiB) / kMiB * kMiB;
  return std::max(share, MinBufferMemory(shards));
}

MemoryBudget ComputeBudget(const Settings& settings) {
  MemoryBudget budget;
  budget.shard = DataShard(settings);
  budget.control = ControlShard();
  const uint64_t shards = settings.shards;
  const uint64_t clients = settings.max_connections;
  const size_t head = HeadChunkBytes(settings);
  budget.memory = {
      {absl::StrCat("rings: ", shards, " x (", budget.shard.submissions, " submissions x ", kSqeBytes,
                    " B + ", budget.shard.completions, " completions x ", kCqeBytes, " B), control shard"),
       shards * RingBytes(budget.shard) + RingBytes(budget.control)},
      {absl::StrCat("buffers: ", shards, " x ", budget.shard.buffers, " x ", kBufferSlotBytes / 1024,
                    " KiB, control shard ", kControlBuffers),
       (shards * budget.shard.buffers + kControlBuffers) * kBufferSlotBytes},
      {absl::StrCat("client connections: ", clients, " x (", kConnectionBytes, " B + frame ", kIdleFrameBytes,
                    " B)"),
       clients * (kConnectionBytes + kIdleFrameBytes)},
      {absl::StrCat("upstream connections: ", clients, " x ", kUpstreamConnectionBytes, " B"),
       clients * kUpstreamConnectionBytes},
      {absl::StrCat("requests in flight: ", clients, " x (", kRequestBytes, " B + 2 sends x ", kGatherBytes,
                    " B + ", kHeadChunks, " heads x ", head / 1024, " KiB)"),
       clients * (RequestBytes(settings) - KeptHeaderBytes(settings) - NotedBytes(settings))},
      {"control shard's arena", kControlArenaBytes},
  };
  if (HasProxyProtocol(settings)) {
    budget.memory.push_back({absl::StrCat("PROXY headers: ", clients, " x ", kIntroductionBytes, " B"),
                             clients * kIntroductionBytes});
  }
  if (LimitsClients(settings)) {
    budget.memory.push_back({absl::StrCat("connections of each client: ", clients, " x 2 x ",
                                          kClientPlaceBytes, " B, as a power of two"),
                             ClientTableBytes(clients)});
  }
  if (settings.has_access_log()) {
    budget.memory.push_back(
        {absl::StrCat("access log: ", shards, " x ", kLogBytes / 1024, " KiB"), shards * kLogBytes});
  }
  if (const uint32_t threads = PasswordThreads(settings); threads > 0) {
    budget.memory.push_back(
        {absl::StrCat("passwords: ", shards, " x ", kPasswordShardBytes / 1024, " KiB + threads: ", threads,
                      " x ", kPasswordThreadBytes >> 20, " MiB"),
         shards * kPasswordShardBytes + threads * kPasswordThreadBytes});
  }
  if (const size_t noted = NotedBytes(settings); noted > 0) {
    budget.memory.push_back(
        {absl::StrCat("targets for the access log: ", clients, " x ", noted, " B"), clients * noted});
  }
  if (const size_t kept = KeptHeaderBytes(settings); kept > 0) {
    budget.memory.push_back(
        {absl::StrCat("response headers for the access log: ", clients, " x ", kept, " B"), clients * kept});
  }
  if (const uint64_t tables = HashTablesBytes(settings); tables > 0) {
    budget.memory.push_back({"tables of consistent hashing, before and after a reload", tables});
  }
  const auto logs = static_cast<uint64_t>(std::count_if(
      settings.upstreams.begin(), settings.upstreams.end(),
      [&](const UpstreamSettings& upstream) { return upstream.logs_changes(settings.shards); }));
  if (logs > 0) {
    budget.memory.push_back({absl::StrCat("load of each shard for the others, reloads too: 2 x ", logs, " x ",
                                          shards, " x ", kChangeLogBytes / 1024, " KiB"),
                             2 * logs * shards * kChangeLogBytes});
  }
  const uint64_t mirrors = HasMirrors(settings) ? settings.mirrors_per_shard : 0;
  if (mirrors > 0) {
    budget.memory.push_back(
        {absl::StrCat("copies to mirrors: ", shards, " x ", mirrors, " x (", kUpstreamConnectionBytes,
                      " B + ", kMirrorBytes, " B + ", kMirrorHeads, " heads x ", head / 1024, " KiB)"),
         shards * mirrors * (kUpstreamConnectionBytes + kMirrorBytes + kMirrorHeads * head)});
  }
  budget.memory_bytes = Sum(budget.memory);
  budget.files = ReservedFiles(settings);
  budget.files.push_back({absl::StrCat("client connections: ", clients), clients});
  budget.files.push_back({absl::StrCat("upstream connections: ", clients), clients});
  if (mirrors > 0) {
    budget.files.push_back(
        {absl::StrCat("connections to mirrors: ", shards, " x ", mirrors), shards * mirrors});
  }
  budget.file_count = Sum(budget.files);
  return budget;
}

}  // namespace weir::lb
