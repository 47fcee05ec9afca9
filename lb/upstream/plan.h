// What the shards' pools of an upstream are made of, and what of an endpoint outlives a reload.
//  EndpointBook: an endpoint of an upstream, as long as it is configured, whatever else changes: its
//  counters, and for each shard where the shard's Endpoint is. UpstreamBook: the counters of an upstream, as
//  long as there is one of its name. UpstreamPlan: an upstream as it is configured.
//  An upstream that does not change keeps its plan, and so its pools, from one generation to the next
//  (generation.h).
// Made off the data path, used by all shards, kept by shared pointers. A page or a seat is used by its shard
// alone; counters may be read by anybody.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "lb/balance/balancer.h"
#include "lb/config/settings.h"
#include "lb/upstream/endpoint_counters.h"

namespace weir::lb {

struct Endpoint;
class UpstreamPool;

class EndpointBook {
 public:
  struct alignas(64) Page {
    EndpointCounters counters;
    Endpoint* endpoint = nullptr;
  };

  EndpointBook(const SocketAddress& address, uint32_t shards)
      : address_(address), pages_(std::make_unique<Page[]>(shards)) {}

  const SocketAddress& address() const { return address_; }
  Page& page(uint32_t shard) { return pages_[shard]; }
  const Page& page(uint32_t shard) const { return pages_[shard]; }

 private:
  const SocketAddress address_;
  const std::unique_ptr<Page[]> pages_;
};

class UpstreamBook {
 public:
  explicit UpstreamBook(uint32_t shards) : pages_(std::make_unique<Page[]>(shards)) {}

  UpstreamCounters& page(uint32_t shard) { return pages_[shard].counters; }
  const UpstreamCounters& page(uint32_t shard) const { return pages_[shard].counters; }

 private:
  struct alignas(64) Page {
    UpstreamCounters counters;
  };

  const std::unique_ptr<Page[]> pages_;
};

struct UpstreamPlan {
  struct Seat {
    UpstreamPool* pool = nullptr;  // made when the shard first needs it
    uint64_t last_generation = 0;  // the last one of the shard's that has this plan; 0: the newest has it
  };

  // `before` (may be null): the upstream of that name until now; it and its endpoints with the same address
  // keep their books.
  UpstreamPlan(const UpstreamSettings& settings, uint32_t shards, const UpstreamPlan* before);

  const UpstreamSettings settings;
  const std::shared_ptr<UpstreamBook> book;
  std::vector<std::shared_ptr<EndpointBook>> books;  // for each of settings.endpoints
  std::optional<Balancer> balancer;                  // to copy, where making one takes long
  std::vector<Seat> seats;                           // by shard
};

std::vector<uint32_t> WeightsOf(const UpstreamSettings& settings);

}  // namespace weir::lb
