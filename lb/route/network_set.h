// NetworkSet: of up to kMaxNetworks IPv4 and IPv6 networks, each with a small value, the longest that has an
// address. For allow and deny lists, and conditions of routes on the client.
//
// Built once, then immutable: any number of threads may ask. Find allocates nothing and costs at most 100 ns
// with 100,000 networks (bench/route_bench.cc). Networks become ranges that do not overlap, so that the cost
// does not depend on how they nest.
// An IPv4-mapped IPv6 address (::ffff:a.b.c.d, RFC 4291 2.5.5.2) counts as the IPv4 address, in the set and
// when asked for: ::/0 has no IPv4 address in it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"
#include "lb/route/sorted_search.h"

namespace weir::lb {

struct Network {
  uint8_t bytes[16] = {};  // IPv4: the first four; zero behind the prefix
  uint8_t prefix_bits = 0;
  bool ipv6 = false;

  bool Contains(const SocketAddress& address) const;
  std::string ToString() const;  // "10.0.0.0/8"
  bool operator==(const Network&) const = default;
};

// "10.0.0.0/8", "2001:db8::/32"; an address alone is a network of one. False: `error` says why, and for host
// bits behind the prefix what the network would be. An IPv4-mapped network of 96 bits or more becomes IPv4.
bool ParseNetwork(std::string_view text, Network* network, std::string* error);
// Is it as ParseNetwork makes them? For networks that were put together by hand.
bool IsValidNetwork(const Network& network, std::string* error);

class NetworkSet {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint32_t kMaxNetworks = 1'000'000;

  struct Entry {
    Network network;
    uint32_t value = 0;  // not kNone
  };

  NetworkSet() = default;  // empty
  // Of entries with the same network the first counts. REQUIRES: valid networks, at most kMaxNetworks.
  static NetworkSet Build(std::span<const Entry> entries);

  // The value of the longest network that has `address` in it, or kNone.
  uint32_t Find(const SocketAddress& address) const;

 private:
  // The addresses of IPv6 that share their first 64 bits. Most often one value goes for all of them.
  struct Group {
    uint64_t high = 0;
    uint32_t first = 0;  // in lows_ and low_values_
    uint32_t count = 1;
  };

  uint32_t FindV6(uint64_t high, uint64_t low) const;

  SortedSearch v4_;  // where ranges begin
  std::vector<uint32_t> v4_values_ = {kNone};
  SortedSearch highs_;  // IPv6: the first halves of where ranges begin
  std::vector<Group> groups_ = {Group()};
  std::vector<uint64_t> lows_ = {0};  // their second halves
  std::vector<uint32_t> low_values_ = {kNone};
};

}  // namespace weir::lb
