// Choices: among whom an endpoint is chosen: all of an upstream, or a subset of it, the endpoints that have
// the labels that a route asks for. Each has Levels of its own, with its own panic and its own tables, as if
// there were no others. What is told of an endpoint is told to all that have it. Everywhere an endpoint is
// its index in the upstream's list, and a subset its number in UpstreamSettings::subsets, from 1; 0 is all.
// Without subsets, the usual case, this is the upstream's Levels behind one branch.
//
// Subsets: who is in which, and what is long in the making; never changes, and is shared by the shards. One
// Choices per shard; it points to the Subsets that it was made of.
#pragma once

#include <bit>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "lb/balance/levels.h"
#include "lb/config/settings.h"

namespace weir::lb {

class Subsets {
 public:
  Subsets() = default;
  // `before` (may be null) and its settings: tables that are the same are taken from there.
  Subsets(const UpstreamSettings& settings, const Subsets* before, const UpstreamSettings* settings_before);

  uint32_t count() const { return static_cast<uint32_t>(parts_.size()); }
  // Bit n: subset n + 1 has the endpoint.
  uint64_t of(uint32_t endpoint) const { return of_.empty() ? 0 : of_[endpoint]; }
  bool Has(uint32_t subset, uint32_t endpoint) const {
    return subset == 0 || (of(endpoint) >> (subset - 1) & 1) != 0;
  }
  // Null: nobody is in it.
  const LevelLayout* layout(uint32_t subset) const { return parts_[subset - 1].layout.get(); }
  const Levels::Tables& tables(uint32_t subset) const { return parts_[subset - 1].tables; }
  // To copy. None: nobody is in it.
  const std::optional<Levels>& levels(uint32_t subset) const { return parts_[subset - 1].levels; }

 private:
  static_assert(UpstreamSettings::kMostSubsets <= 64);
  struct Part {
    std::shared_ptr<const LevelLayout> layout;
    Levels::Tables tables;
    std::optional<Levels> levels;
  };

  std::vector<Part> parts_;
  std::vector<uint64_t> of_;  // by endpoint; empty: there are no subsets
};

class Choices {
 public:
  // `all`: of the same upstream. All endpoints are as they were when these were made: usable.
  Choices(Levels all, const Subsets& subsets, uint64_t seed);

  // Null: nobody is in it.
  Levels* Among(uint32_t subset) noexcept {
    if (subset == 0) [[likely]]
      return &all_;
    std::optional<Levels>& levels = parts_[subset - 1];
    return levels.has_value() ? &*levels : nullptr;
  }

  // As Levels'.
  void Acquire(uint32_t endpoint) noexcept {
    ForAll(endpoint, [=](Levels& levels) { levels.Acquire(endpoint); });
  }
  void Release(uint32_t endpoint) noexcept {
    ForAll(endpoint, [=](Levels& levels) { levels.Release(endpoint); });
  }
  void SetRemote(uint32_t endpoint, uint32_t in_flight) noexcept {
    ForAll(endpoint, [=](Levels& levels) { levels.SetRemote(endpoint, in_flight); });
  }
  void Observe(uint32_t endpoint, int64_t latency_ns, int64_t now_ns) noexcept {
    ForAll(endpoint, [=](Levels& levels) { levels.Observe(endpoint, latency_ns, now_ns); });
  }
  void SetWeightFactor(uint32_t endpoint, uint32_t factor) noexcept {
    ForAll(endpoint, [=](Levels& levels) { levels.SetWeightFactor(endpoint, factor); });
  }
  void Set(uint32_t endpoint, const Standing& standing) noexcept {
    ForAll(endpoint, [&](Levels& levels) { levels.Set(endpoint, standing); });
  }
  bool has_zones() const { return all_.has_zones(); }
  // Who is not well serves where `endpoint` is, among all or in some subset.
  bool InPanic(uint32_t endpoint) const noexcept;

 private:
  template <class Call>
  void ForAll(uint32_t endpoint, Call call) {
    call(all_);
    if (parts_.empty()) [[likely]]
      return;
    for (uint64_t left = subsets_->of(endpoint); left != 0; left &= left - 1)
      call(*parts_[static_cast<size_t>(std::countr_zero(left))]);
  }

  Levels all_;
  std::vector<std::optional<Levels>> parts_;  // by number - 1
  const Subsets* subsets_;
};

}  // namespace weir::lb
