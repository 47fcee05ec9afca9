// Levels: which endpoint is next where not all are equal: those of priority 0, then 1 and so on, then the
// backups. Each level has a balancer of its own; a request goes to the best level that has a usable endpoint
// not tried yet, so that a retry goes on to the next level once all of this one were tried, and requests come
// back with the first endpoint that does. An endpoint is its index in the upstream's list, as for Balancer.
// With one level of one part, the usual case, this is that one's balancer behind one branch.
// A level with endpoints in Weir's own zone and with others has two parts, each with a balancer of its own:
// zone_tally.h says how many requests go to which first; where it has nobody the other one is asked. A retry
// goes to those of the own zone that are left, then to the others.
// Where an upstream may be in panic (panic.h) each part has a second balancer, of all whom no operator took
// out: going into panic and out of it is to ask the others from then on.
//
// LevelLayout: who is in which level and part; never changes, and is shared by the shards. One Levels per
// shard.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/random.h"
#include "lb/balance/balancer.h"
#include "lb/balance/panic.h"
#include "lb/balance/zone_tally.h"
#include "lb/config/settings.h"

namespace weir::lb {

class LevelLayout {
 public:
  static constexpr uint16_t kNowhere = UINT16_MAX;
  struct Place {
    uint16_t level;  // 0: the best; kNowhere: the endpoint is not among the members
    uint16_t part;   // of all parts
    uint16_t index;  // there
  };

  // REQUIRES: at least one endpoint.
  explicit LevelLayout(const UpstreamSettings& settings);
  // Of `members` alone (ascending), as if there were no others. REQUIRES: at least one.
  LevelLayout(const UpstreamSettings& settings, std::span<const uint16_t> members);

  uint32_t levels() const { return static_cast<uint32_t>(levels_.size()); }
  // Of all levels; level by level.
  uint32_t parts() const { return static_cast<uint32_t>(parts_.size()); }
  // EndpointSettings::level of its members: the same number whatever other levels there are.
  uint32_t number(uint32_t level) const { return levels_[level].number; }
  // How many endpoints it has.
  uint32_t size(uint32_t level) const { return levels_[level].size; }
  // Whether it has two parts: own_part of Weir's zone, and the next one of the others.
  bool is_split(uint32_t level) const { return levels_[level].parts == 2; }
  uint32_t own_part(uint32_t level) const { return levels_[level].first_part; }
  // Ascending.
  std::span<const uint16_t> members(uint32_t part) const { return parts_[part].members; }
  // EndpointSettings::part of its members.
  uint32_t part_number(uint32_t part) const { return parts_[part].number; }
  Place place(uint32_t endpoint) const { return places_[endpoint]; }
  // One part of all endpoints: its indices are those of the upstream's list.
  bool flat() const { return parts_.size() == 1 && parts_[0].members.size() == places_.size(); }

 private:
  struct Level {
    uint32_t number;
    uint32_t first_part;
    uint32_t parts = 0;
    uint32_t size = 0;
  };
  struct Part {
    uint32_t number;
    std::vector<uint16_t> members;
  };

  std::vector<Level> levels_;
  std::vector<Part> parts_;
  std::vector<Place> places_;
};

class Levels {
 public:
  static constexpr uint32_t kNone = Balancer::kNone;
  // More than that in PickContext::tried are too many.
  static constexpr uint32_t kMostTried = 32;
  // For each part, where hashing decides; else null each.
  using Tables = std::vector<std::shared_ptr<const HashTable>>;

  // What takes long to make, of `settings`; what is the same in `before` (may be null) is taken from
  // `tables_before`.
  static Tables MakeTables(const UpstreamSettings& settings, const LevelLayout& layout,
                           const UpstreamSettings* before, const LevelLayout* layout_before,
                           const Tables& tables_before);

  // All endpoints are usable. `tables`: MakeTables'.
  Levels(const UpstreamSettings& settings, std::shared_ptr<const LevelLayout> layout, const Tables& tables,
         uint64_t seed);
  // A copy of one that was built elsewhere begins where `seed` says.
  void Begin(uint64_t seed) noexcept;

  // As Balancer's, of the same names.
  uint32_t Pick(const PickContext& context) noexcept {
    return plain_ ? first_.Pick(context) : PickInTurn(context);
  }
  void Acquire(uint32_t endpoint) noexcept {
    if (plain_) return first_.Acquire(endpoint);
    ForBoth(endpoint, [](Balancer& balancer, uint32_t index) { balancer.Acquire(index); });
  }
  void Release(uint32_t endpoint) noexcept {
    if (plain_) return first_.Release(endpoint);
    ForBoth(endpoint, [](Balancer& balancer, uint32_t index) { balancer.Release(index); });
  }
  void SetRemote(uint32_t endpoint, uint32_t in_flight) noexcept {
    ForBoth(endpoint, [=](Balancer& balancer, uint32_t index) { balancer.SetRemote(index, in_flight); });
  }
  void Observe(uint32_t endpoint, int64_t latency_ns, int64_t now_ns) noexcept {
    ForBoth(endpoint,
            [=](Balancer& balancer, uint32_t index) { balancer.Observe(index, latency_ns, now_ns); });
  }
  void SetWeightFactor(uint32_t endpoint, uint32_t factor) noexcept {
    ForBoth(endpoint, [=](Balancer& balancer, uint32_t index) { balancer.SetWeightFactor(index, factor); });
    if (zones_.has_value()) zones_->tally.SetWeightFactor(endpoint, factor);
  }
  void Set(uint32_t endpoint, const Standing& standing) noexcept;
  // For now, or again, whatever else is said of it.
  void SetUsable(uint32_t endpoint, bool usable) noexcept { Set(endpoint, {.aside = !usable}); }

  // Some level has endpoints in Weir's zone and elsewhere.
  bool has_zones() const { return zones_.has_value(); }
  // Who is not well serves where `endpoint` is.
  bool InPanic(uint32_t endpoint) const {
    return panic_.has_value() && panic_->tally.InPanic(layout_->place(endpoint).level);
  }

 private:
  struct Panic {
    PanicTally tally;
    std::vector<Balancer> parts;      // in panic
    std::vector<Standing> standings;  // by endpoint
  };
  struct Zones {
    ZoneTally tally;
    Random random;
    bool by_hash;  // that is what decides who stays
  };

  bool panics() const { return panic_.has_value() && panic_->tally.panic(); }
  Balancer& Calm(uint32_t part) { return part == 0 ? first_ : others_[part - 1]; }
  Balancer& Serving(uint32_t part) { return panics() ? panic_->parts[part] : Calm(part); }
  template <class Call>
  void ForBoth(uint32_t endpoint, Call call) {
    const LevelLayout::Place place = layout_->place(endpoint);
    call(Calm(place.part), place.index);
    if (panic_.has_value()) call(panic_->parts[place.part], place.index);
  }
  uint32_t PickInTurn(const PickContext& context) noexcept;
  uint32_t PickIn(uint32_t level, const PickContext& context) noexcept;
  bool StaysInZone(uint32_t level, const PickContext& context) noexcept;
  uint32_t PickOf(uint32_t part, const PickContext& context) noexcept;
  uint32_t PickAsSeenThere(uint32_t part, const PickContext& context) noexcept;

  std::shared_ptr<const LevelLayout> layout_;
  Balancer first_;
  std::vector<Balancer> others_;  // the parts behind it
  std::optional<Panic> panic_;    // none: never
  std::optional<Zones> zones_;    // none: no level has two parts
  bool plain_;                    // first_ is all there is
};

}  // namespace weir::lb
