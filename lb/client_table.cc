#include "lb/client_table.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/check.h"

namespace weir::lb {
namespace {

constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr uint32_t kMinBuckets = 16;

}  // namespace

uint32_t ClientTable::BucketsFor(uint32_t connections) {
  const uint64_t wanted = (2 * uint64_t{connections} + kPlaces - 1) / kPlaces;
  return static_cast<uint32_t>(std::bit_ceil(std::max<uint64_t>(wanted, kMinBuckets)));
}

size_t ClientTable::BytesFor(uint32_t connections) { return BucketsFor(connections) * sizeof(Bucket); }

ClientTable::ClientTable(uint32_t connections, const SipKey& key)
    : key_(key),
      bucket_mask_(BucketsFor(connections) - 1),
      buckets_(std::make_unique<Bucket[]>(BucketsFor(connections))) {
  WEIR_CHECK(connections <= kCountMask);
}

uint64_t ClientTable::HashOf(uint64_t listener, const SocketAddress& client) const {
  char text[1 + 8 + sizeof(listener)] = {};
  const bool mapped = client.family == AF_INET6 && std::memcmp(client.bytes, kMapped, sizeof(kMapped)) == 0;
  if (client.family == AF_INET || mapped) {
    std::memcpy(text + 1, client.bytes + (mapped ? sizeof(kMapped) : 0), 4);
  } else {
    text[0] = 6;
    std::memcpy(text + 1, client.bytes, 8);
  }
  std::memcpy(text + 9, &listener, sizeof(listener));
  return SipHash128(key_, {text, sizeof(text)}).low;
}

ClientTable::Answer ClientTable::Enter(uint64_t listener, const SocketAddress& client, uint32_t limit,
                                       uint32_t* place) {
  const uint64_t hash = HashOf(listener, client);
  const uint64_t fingerprint = hash >> kCountBits;
  // The second one follows from what the first one does not use.
  const auto first = static_cast<uint32_t>(hash) & bucket_mask_;
  const auto second = static_cast<uint32_t>(fingerprint >> 8) & bucket_mask_;
  const uint32_t buckets[2] = {first, second == first ? (first ^ 1) : second};
  for (;;) {
    uint32_t found = kNone;
    uint64_t word = 0;
    uint32_t free[2] = {kNone, kNone};
    uint32_t free_places[2] = {0, 0};
    for (uint32_t i = 0; i < 2 && found == kNone; ++i) {
      for (uint32_t at = buckets[i] * kPlaces; at < (buckets[i] + 1) * kPlaces; ++at) {
        const uint64_t here = At(at).load();
        if (here == 0) {
          if (free_places[i]++ == 0) free[i] = at;
        } else if (here >> kCountBits == fingerprint) {
          found = at;
          word = here;
          break;
        }
      }
    }
    if (found == kNone) {
      // The emptier bucket: so neither is full before half of all places are taken.
      found = free[free_places[1] > free_places[0] ? 1 : 0];
      if (found == kNone) return Answer::kFull;
      word = 0;
    }
    if ((word & kCountMask) >= limit) return Answer::kOverLimit;
    const uint64_t next = word == 0 ? (fingerprint << kCountBits | 1) : word + 1;
    if (!At(found).compare_exchange_strong(word, next)) continue;  // somebody was quicker: look again
    uint64_t count = 0;
    for (const uint32_t bucket : buckets) {
      for (uint32_t at = bucket * kPlaces; at < (bucket + 1) * kPlaces; ++at) {
        const uint64_t here = At(at).load();
        if (here != 0 && here >> kCountBits == fingerprint) count += here & kCountMask;
      }
    }
    if (count > limit) {
      Leave(found);
      return Answer::kOverLimit;
    }
    *place = found;
    return Answer::kIn;
  }
}

void ClientTable::Leave(uint32_t place) {
  std::atomic<uint64_t>& word = At(place);
  uint64_t before = word.load();
  do {
    WEIR_CHECK((before & kCountMask) > 0);
  } while (!word.compare_exchange_weak(before, (before & kCountMask) == 1 ? 0 : before - 1));
}

uint64_t ClientTable::Total() const {
  uint64_t total = 0;
  for (uint32_t bucket = 0; bucket <= bucket_mask_; ++bucket) {
    for (const auto& word : buckets_[bucket].words) total += word.load() & kCountMask;
  }
  return total;
}

}  // namespace weir::lb
