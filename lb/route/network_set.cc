#include "lb/route/network_set.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "core/check.h"

namespace weir::lb {
namespace {

using Wide = unsigned __int128;

constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr unsigned kMappedBits = 96;

bool IsMapped(const uint8_t (&bytes)[16]) { return memcmp(bytes, kMapped, sizeof(kMapped)) == 0; }

template <typename Word>
Word BigEndian(const uint8_t* bytes) {
  Word value = 0;
  for (size_t i = 0; i < sizeof(Word); ++i) value = static_cast<Word>(value << 8) | bytes[i];
  return value;
}

// The IPv4 address in `address`, if it is or counts as one.
const uint8_t* Ipv4BytesOf(const SocketAddress& address) {
  if (address.family == AF_INET) return address.bytes;
  return address.family == AF_INET6 && IsMapped(address.bytes) ? address.bytes + sizeof(kMapped) : nullptr;
}

unsigned BitsOf(const Network& network) { return network.ipv6 ? 128 : 32; }

// Zero from bit `prefix_bits` on.
Network Masked(Network network) {
  for (unsigned i = 0; i < 16; ++i) {
    const unsigned kept = std::clamp(static_cast<int>(network.prefix_bits) - static_cast<int>(8 * i), 0, 8);
    network.bytes[i] &= static_cast<uint8_t>(0xff00u >> kept);
  }
  return network;
}

// A network as the addresses from `first` to `last`.
struct Range {
  Wide first;
  Wide last;
  uint32_t value;
  uint32_t order = 0;  // as given
};

Range RangeOf(const NetworkSet::Entry& entry) {
  const unsigned bits = BitsOf(entry.network);
  const Wide first = entry.network.ipv6 ? BigEndian<Wide>(entry.network.bytes)
                                        : Wide{BigEndian<uint32_t>(entry.network.bytes)};
  const unsigned free_bits = bits - entry.network.prefix_bits;
  const Wide size_less_one = free_bits == 128 ? ~Wide{0} : (Wide{1} << free_bits) - 1;
  return {first, first + size_less_one, entry.value};
}

// From `first` to the next one's, `value` holds.
struct Step {
  Wide first;
  uint32_t value;
};

// Nested ranges as steps that cover all numbers up to `last`, the first from 0 on.
class Flattener {
 public:
  explicit Flattener(Wide last) : last_(last) {}

  std::vector<Step> Flatten(std::vector<Range> ranges) {
    // Outer ones first; of the same the first given, which then hides the others.
    for (uint32_t i = 0; i < ranges.size(); ++i) ranges[i].order = i;
    std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) {
      if (a.first != b.first) return a.first < b.first;
      return a.last != b.last ? a.last > b.last : a.order < b.order;
    });
    Add(0, NetworkSet::kNone);
    const Range* previous = nullptr;
    for (const Range& range : ranges) {
      const bool repeated =
          previous != nullptr && previous->first == range.first && previous->last == range.last;
      previous = &range;
      if (repeated) continue;
      while (!open_.empty() && open_.back().last < range.first) Close();
      Add(range.first, range.value);
      open_.push_back(range);
    }
    while (!open_.empty()) Close();
    return std::move(steps_);
  }

 private:
  void Add(Wide first, uint32_t value) {
    if (!steps_.empty() && steps_.back().first == first) steps_.pop_back();
    if (steps_.empty() || steps_.back().value != value) steps_.push_back({first, value});
  }
  void Close() {
    const Wide last = open_.back().last;
    open_.pop_back();
    if (last < last_) Add(last + 1, open_.empty() ? NetworkSet::kNone : open_.back().value);
  }

  const Wide last_;
  std::vector<Range> open_;
  std::vector<Step> steps_;
};

// The index of the last one that is at most x, if the first one is. No branch depends on x.
uint32_t LastNotLarger(const uint64_t* sorted, uint32_t count, uint64_t x) {
  const uint64_t* at = sorted;
  while (count > 1) {
    const uint32_t half = count / 2;
    at += at[half] <= x ? half : 0;
    count -= half;
  }
  return static_cast<uint32_t>(at - sorted);
}

bool ParsePrefixBits(std::string_view text, unsigned most, uint8_t* bits) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > most) return false;
  if (text.size() > 1 && text.front() == '0') return false;
  *bits = static_cast<uint8_t>(value);
  return true;
}

}  // namespace

bool Network::Contains(const SocketAddress& address) const {
  const uint8_t* v4 = Ipv4BytesOf(address);
  if (ipv6 ? v4 != nullptr || address.family != AF_INET6 : v4 == nullptr) return false;
  Network other = {.prefix_bits = prefix_bits, .ipv6 = ipv6};
  memcpy(other.bytes, ipv6 ? address.bytes : v4, BitsOf(*this) / 8);
  return Masked(other) == *this;
}

std::string Network::ToString() const {
  char text[INET6_ADDRSTRLEN];
  if (inet_ntop(ipv6 ? AF_INET6 : AF_INET, bytes, text, sizeof(text)) == nullptr) return "-";
  return std::string(text) + "/" + std::to_string(prefix_bits);
}

bool IsValidNetwork(const Network& network, std::string* error) {
  if (network.prefix_bits > BitsOf(network)) {
    *error = "expected a prefix length from 0 to " + std::to_string(BitsOf(network));
    return false;
  }
  if (const Network masked = Masked(network); masked != network) {
    *error = "has bits set behind its prefix; the network would be " + masked.ToString();
    return false;
  }
  if (network.ipv6 && network.prefix_bits >= kMappedBits && IsMapped(network.bytes)) {
    *error = "is an IPv4 network written as an IPv6 one";
    return false;
  }
  return true;
}

bool ParseNetwork(std::string_view text, Network* network, std::string* error) {
  const size_t slash = text.find('/');
  const std::string address(text.substr(0, slash));
  Network parsed;
  parsed.ipv6 = address.find(':') != std::string::npos;
  if (address.find('\0') != std::string::npos ||  // inet_pton would stop there
      inet_pton(parsed.ipv6 ? AF_INET6 : AF_INET, address.c_str(), parsed.bytes) != 1) {
    *error = "expected an address or a network, such as 10.0.0.0/8 or 2001:db8::/32";
    return false;
  }
  parsed.prefix_bits = static_cast<uint8_t>(BitsOf(parsed));
  if (slash != std::string_view::npos &&
      !ParsePrefixBits(text.substr(slash + 1), BitsOf(parsed), &parsed.prefix_bits)) {
    *error = "expected a prefix length from 0 to " + std::to_string(BitsOf(parsed)) + " behind the slash";
    return false;
  }
  if (parsed.ipv6 && parsed.prefix_bits >= kMappedBits && IsMapped(parsed.bytes)) {
    Network v4 = {.prefix_bits = static_cast<uint8_t>(parsed.prefix_bits - kMappedBits)};
    memcpy(v4.bytes, parsed.bytes + sizeof(kMapped), 4);
    parsed = v4;
  }
  if (!IsValidNetwork(parsed, error)) return false;
  *network = parsed;
  return true;
}

NetworkSet NetworkSet::Build(std::span<const Entry> entries) {
  WEIR_CHECK(entries.size() <= kMaxNetworks);
  std::vector<Range> v4;
  std::vector<Range> v6;
  for (const Entry& entry : entries) {
    std::string error;
    WEIR_CHECK(IsValidNetwork(entry.network, &error) && entry.value != kNone);
    (entry.network.ipv6 ? v6 : v4).push_back(RangeOf(entry));
  }
  NetworkSet set;
  std::vector<uint64_t> v4_firsts;
  set.v4_values_.clear();
  for (const Step& step : Flattener(UINT32_MAX).Flatten(std::move(v4))) {
    v4_firsts.push_back(static_cast<uint64_t>(step.first));
    set.v4_values_.push_back(step.value);
  }
  set.v4_ = SortedSearch(v4_firsts);

  std::vector<uint64_t> highs;
  set.groups_.clear();
  set.lows_.clear();
  set.low_values_.clear();
  for (const Step& step : Flattener(~Wide{0}).Flatten(std::move(v6))) {
    const auto high = static_cast<uint64_t>(step.first >> 64);
    const auto low = static_cast<uint64_t>(step.first);
    if (highs.empty() || highs.back() != high) {
      // Every group has a value for its beginning: what holds there already.
      const uint32_t before = highs.empty() ? kNone : set.low_values_.back();
      highs.push_back(high);
      set.groups_.push_back({.high = high, .first = static_cast<uint32_t>(set.lows_.size()), .count = 0});
      if (low != 0) {
        set.lows_.push_back(0);
        set.low_values_.push_back(before);
        ++set.groups_.back().count;
      }
    }
    set.lows_.push_back(low);
    set.low_values_.push_back(step.value);
    ++set.groups_.back().count;
  }
  set.highs_ = SortedSearch(highs);
  return set;
}

uint32_t NetworkSet::Find(const SocketAddress& address) const {
  if (const uint8_t* v4 = Ipv4BytesOf(address)) return v4_values_[v4_.Find(BigEndian<uint32_t>(v4))];
  if (address.family != AF_INET6) return kNone;
  return FindV6(BigEndian<uint64_t>(address.bytes), BigEndian<uint64_t>(address.bytes + 8));
}

uint32_t NetworkSet::FindV6(uint64_t high, uint64_t low) const {
  const uint32_t index = highs_.Find(high);
  const Group& group = groups_[index];
  if (group.count == 1) return low_values_[group.first];
  // Behind the group's own 64 bits, what its last range says holds on.
  if (high != group.high) low = UINT64_MAX;
  return low_values_[group.first + LastNotLarger(&lows_[group.first], group.count, low)];
}

}  // namespace weir::lb
