// ClientTable: how many connections each client has at a listener, over all shards, exactly: what
// max_connections_per_client asks. A client is an IPv4 address, or the /64 of an IPv6 address (whoever has
// one address of it has all of them). Who has no address (a unix socket without a PROXY header) is not asked.
//
// One for the process, made with the first configuration that has a limit, kept through reloads. Any thread
// may call, once as a connection comes and once as it goes; no lock: a place is one word, a fingerprint of
// client and listener (40 bits) with its count (24), changed by compare-and-swap. A client's place is in one
// of two buckets of eight, each a cache line, so that a call looks at two lines. Two threads that see a
// client for the first time at once may make two places for it; all of them count, so that the limit is never
// exceeded (with two places and one connection left, both threads may be refused; next time is right).
// Two clients of one listener share a count with a probability of about 2^-50 a pair: nobody can aim at
// that, as the hash has a key (SipHash).
//
// Memory: two words for each connection that can be there, chosen when it is made. Should both of a client's
// buckets be full all the same, it is let in without being counted: the caller counts that.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/address.h"
#include "lb/auth/sip_hash.h"

namespace weir::lb {

class ClientTable {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  enum class Answer : uint8_t { kIn, kOverLimit, kFull };

  // For so many connections at one time. `key`: nobody else knows it.
  ClientTable(uint32_t connections, const SipKey& key);
  ClientTable(const ClientTable&) = delete;
  ClientTable& operator=(const ClientTable&) = delete;

  static bool Knows(const SocketAddress& client) {
    return client.family == AF_INET || client.family == AF_INET6;
  }
  // One more connection of `client` at `listener`, unless it has `limit`. kIn: `place` is what Leave is to be
  // called with. REQUIRES: Knows(client).
  Answer Enter(uint64_t listener, const SocketAddress& client, uint32_t limit, uint32_t* place);
  void Leave(uint32_t place);

  // Bytes for so many connections.
  static size_t BytesFor(uint32_t connections);
  // Connections that are counted; for tests, while nobody calls.
  uint64_t Total() const;
  // Two addresses that are one client hash alike.
  uint64_t HashOf(uint64_t listener, const SocketAddress& client) const;

 private:
  static constexpr uint32_t kPlaces = 8;  // of a bucket
  static constexpr uint32_t kCountBits = 24;
  static constexpr uint64_t kCountMask = (uint64_t{1} << kCountBits) - 1;

  struct alignas(64) Bucket {
    std::atomic<uint64_t> words[kPlaces];
  };

  static uint32_t BucketsFor(uint32_t connections);
  std::atomic<uint64_t>& At(uint32_t place) { return buckets_[place / kPlaces].words[place % kPlaces]; }

  const SipKey key_;
  const uint32_t bucket_mask_;
  const std::unique_ptr<Bucket[]> buckets_;
};

}  // namespace weir::lb
