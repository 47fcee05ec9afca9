#include "lb/balance/levels.h"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <utility>

#include "core/check.h"
#include "lb/balance/configured.h"
#include "lb/balance/endpoint_hash.h"

namespace weir::lb {

namespace {

std::vector<uint16_t> AllOf(const UpstreamSettings& settings) {
  std::vector<uint16_t> all(settings.endpoints.size());
  std::iota(all.begin(), all.end(), uint16_t{0});
  return all;
}

}  // namespace

LevelLayout::LevelLayout(const UpstreamSettings& settings) : LevelLayout(settings, AllOf(settings)) {}

LevelLayout::LevelLayout(const UpstreamSettings& settings, std::span<const uint16_t> all)
    : places_(settings.endpoints.size(), {kNowhere, kNowhere, 0}) {
  WEIR_CHECK(!all.empty() && settings.endpoints.size() <= Balancer::kMaxEndpoints);
  // Level by level, in each first those of the own zone.
  std::map<std::pair<uint32_t, bool>, std::vector<uint16_t>> parts;
  for (const uint16_t i : all) {
    const EndpointSettings& endpoint = settings.endpoints[i];
    parts[{endpoint.level, !endpoint.in_own_zone}].push_back(i);
  }
  for (auto& [key, members] : parts) {
    const uint32_t part = this->parts();
    if (levels_.empty() || levels_.back().number != key.first)
      levels_.push_back({.number = key.first, .first_part = part});
    ++levels_.back().parts;
    levels_.back().size += static_cast<uint32_t>(members.size());
    for (uint32_t index = 0; index < members.size(); ++index)
      places_[members[index]] = {.level = static_cast<uint16_t>(levels() - 1),
                                 .part = static_cast<uint16_t>(part),
                                 .index = static_cast<uint16_t>(index)};
    parts_.push_back({.number = settings.endpoints[members.front()].part(), .members = std::move(members)});
  }
}

Levels::Tables Levels::MakeTables(const UpstreamSettings& settings, const LevelLayout& layout,
                                  const UpstreamSettings* before, const LevelLayout* layout_before,
                                  const Tables& tables_before) {
  Tables tables(layout.parts());
  if (!Hashes(settings.balance)) return tables;
  for (uint32_t part = 0; part < layout.parts(); ++part) {
    for (uint32_t old = 0; old < tables_before.size() && tables[part] == nullptr; ++old) {
      if (ConfiguredBalancer::SameTable(settings, layout.members(part), *before, layout_before->members(old)))
        tables[part] = tables_before[old];
    }
    if (tables[part] == nullptr)
      tables[part] = ConfiguredBalancer(settings, layout.members(part)).MakeTable();
  }
  return tables;
}

Levels::Levels(const UpstreamSettings& settings, std::shared_ptr<const LevelLayout> layout,
               const Tables& tables, uint64_t seed)
    : layout_(std::move(layout)),
      first_(ConfiguredBalancer(settings, layout_->members(0)).Build(seed, tables[0])),
      plain_(layout_->flat() && !settings.panics()) {
  for (uint32_t part = 1; part < layout_->parts(); ++part)
    others_.push_back(ConfiguredBalancer(settings, layout_->members(part)).Build(seed, tables[part]));
  if (layout_->parts() > layout_->levels()) {
    zones_.emplace(Zones{.tally = ZoneTally(settings, *layout_),
                         .random = Random(~seed),
                         .by_hash = Hashes(settings.balance)});
  }
  if (!settings.panics()) return;
  panic_.emplace(PanicTally(settings, *layout_));
  for (uint32_t part = 0; part < layout_->parts(); ++part) panic_->parts.push_back(Calm(part));
  panic_->standings.resize(settings.endpoints.size());
}

void Levels::Begin(uint64_t seed) noexcept {
  for (uint32_t part = 0; part < layout_->parts(); ++part) {
    Calm(part).Begin(seed);
    if (panic_.has_value()) panic_->parts[part].Begin(seed);
  }
  if (zones_.has_value()) zones_->random = Random(~seed);
}

void Levels::Set(uint32_t endpoint, const Standing& standing) noexcept {
  const LevelLayout::Place place = layout_->place(endpoint);
  Calm(place.part).SetUsable(place.index, standing.well && !standing.out && !standing.aside);
  if (zones_.has_value()) zones_->tally.Set(endpoint, standing);
  if (!panic_.has_value()) return;
  panic_->parts[place.part].SetUsable(place.index, !standing.out && !standing.aside);
  panic_->tally.Change(place.level, std::exchange(panic_->standings[endpoint], standing), standing);
}

uint32_t Levels::PickInTurn(const PickContext& context) noexcept {
  if (layout_->flat()) return Serving(0).Pick(context);
  const uint32_t first = panic_.has_value() ? panic_->tally.first() : 0;
  uint32_t endpoint = PickIn(first, context);
  if (panic_.has_value() && panic_->tally.alone()) return endpoint;
  for (uint32_t level = 0; endpoint == kNone && level < layout_->levels(); ++level) {
    if (level != first) endpoint = PickIn(level, context);
  }
  return endpoint;
}

uint32_t Levels::PickIn(uint32_t level, const PickContext& context) noexcept {
  const uint32_t own = layout_->own_part(level);
  if (!layout_->is_split(level)) return PickOf(own, context);
  const bool stays = StaysInZone(level, context);
  const uint32_t endpoint = PickOf(stays ? own : own + 1, context);
  return endpoint == kNone ? PickOf(stays ? own + 1 : own, context) : endpoint;
}

// All shards, and all instances in the zone, send the same keys away.
bool Levels::StaysInZone(uint32_t level, const PickContext& context) noexcept {
  if (!context.tried.empty()) return true;
  const uint64_t draw = zones_->by_hash ? MixKeyForZone(context.hash) : zones_->random.Next();
  return zones_->tally.Stays(level, panics(), draw);
}

uint32_t Levels::PickOf(uint32_t part, const PickContext& context) noexcept {
  const bool is_first_try = context.tried.empty() && context.loads == nullptr;
  const uint32_t index = is_first_try ? Serving(part).Pick(context) : PickAsSeenThere(part, context);
  return index == kNone ? kNone : layout_->members(part)[index];
}

// In the numbers of the part.
uint32_t Levels::PickAsSeenThere(uint32_t part, const PickContext& context) noexcept {
  WEIR_CHECK(context.tried.size() <= kMostTried);
  std::array<uint32_t, kMostTried> tried;
  size_t tried_here = 0;
  for (const uint32_t endpoint : context.tried) {
    const LevelLayout::Place place = layout_->place(endpoint);
    if (place.part == part) tried[tried_here++] = place.index;
  }
  PickContext here = context;
  here.tried = {tried.data(), tried_here};
  const std::span<const uint16_t> members = layout_->members(part);
  Loads loads;
  if (context.loads != nullptr) {
    loads = *context.loads;
    loads.members = members.data();
    loads.part = layout_->part_number(part);
    here.loads = &loads;
  }
  return Serving(part).Pick(here);
}

}  // namespace weir::lb
