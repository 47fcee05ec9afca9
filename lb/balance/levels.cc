#include "lb/balance/levels.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "core/check.h"
#include "lb/balance/configured.h"

namespace weir::lb {

LevelLayout::LevelLayout(const UpstreamSettings& settings) : places_(settings.endpoints.size()) {
  WEIR_CHECK(!settings.endpoints.empty() && settings.endpoints.size() <= Balancer::kMaxEndpoints);
  std::map<uint32_t, std::vector<uint16_t>> levels;
  for (uint32_t i = 0; i < settings.endpoints.size(); ++i)
    levels[settings.endpoints[i].level].push_back(static_cast<uint16_t>(i));
  for (auto& [number, members] : levels) {
    for (uint32_t index = 0; index < members.size(); ++index)
      places_[members[index]] = {static_cast<uint16_t>(members_.size()), static_cast<uint16_t>(index)};
    numbers_.push_back(number);
    members_.push_back(std::move(members));
  }
}

Levels::Tables Levels::MakeTables(const UpstreamSettings& settings, const LevelLayout& layout,
                                  const UpstreamSettings* before, const LevelLayout* layout_before,
                                  const Tables& tables_before) {
  Tables tables(layout.levels());
  if (!Hashes(settings.balance)) return tables;
  for (uint32_t level = 0; level < layout.levels(); ++level) {
    for (uint32_t old = 0; old < tables_before.size() && tables[level] == nullptr; ++old) {
      if (ConfiguredBalancer::SameTable(settings, layout.members(level), *before,
                                        layout_before->members(old)))
        tables[level] = tables_before[old];
    }
    if (tables[level] == nullptr)
      tables[level] = ConfiguredBalancer(settings, layout.members(level)).MakeTable();
  }
  return tables;
}

Levels::Levels(const UpstreamSettings& settings, std::shared_ptr<const LevelLayout> layout,
               const Tables& tables, uint64_t seed)
    : layout_(std::move(layout)),
      first_(ConfiguredBalancer(settings, layout_->members(0)).Build(seed, tables[0])),
      plain_(layout_->levels() == 1 && !settings.panics()) {
  for (uint32_t level = 1; level < layout_->levels(); ++level)
    others_.push_back(ConfiguredBalancer(settings, layout_->members(level)).Build(seed, tables[level]));
  if (!settings.panics()) return;
  panic_.emplace(PanicTally(settings, *layout_));
  for (uint32_t level = 0; level < layout_->levels(); ++level) panic_->levels.push_back(Calm(level));
  panic_->standings.resize(settings.endpoints.size());
}

void Levels::Begin(uint64_t seed) noexcept {
  for (uint32_t level = 0; level < layout_->levels(); ++level) {
    Calm(level).Begin(seed);
    if (panic_.has_value()) panic_->levels[level].Begin(seed);
  }
}

void Levels::Set(uint32_t endpoint, const Standing& standing) noexcept {
  const LevelLayout::Place place = layout_->place(endpoint);
  Calm(place.level).SetUsable(place.index, standing.well && !standing.out && !standing.aside);
  if (!panic_.has_value()) return;
  panic_->levels[place.level].SetUsable(place.index, !standing.out && !standing.aside);
  panic_->tally.Change(place.level, std::exchange(panic_->standings[endpoint], standing), standing);
}

uint32_t Levels::PickInTurn(const PickContext& context) noexcept {
  if (layout_->levels() == 1) return Serving(0).Pick(context);
  const uint32_t first = panic_.has_value() ? panic_->tally.first() : 0;
  uint32_t endpoint = PickIn(first, context);
  if (panic_.has_value() && panic_->tally.alone()) return endpoint;
  for (uint32_t level = 0; endpoint == kNone && level < layout_->levels(); ++level) {
    if (level != first) endpoint = PickIn(level, context);
  }
  return endpoint;
}

uint32_t Levels::PickIn(uint32_t level, const PickContext& context) noexcept {
  const bool is_first_try = context.tried.empty() && context.loads == nullptr;
  const uint32_t index = is_first_try ? Serving(level).Pick(context) : PickAsSeenThere(level, context);
  return index == kNone ? kNone : layout_->members(level)[index];
}

// In the numbers of the level.
uint32_t Levels::PickAsSeenThere(uint32_t level, const PickContext& context) noexcept {
  WEIR_CHECK(context.tried.size() <= kMostTried);
  std::array<uint32_t, kMostTried> tried;
  size_t tried_here = 0;
  for (const uint32_t endpoint : context.tried) {
    const LevelLayout::Place place = layout_->place(endpoint);
    if (place.level == level) tried[tried_here++] = place.index;
  }
  PickContext here = context;
  here.tried = {tried.data(), tried_here};
  const std::span<const uint16_t> members = layout_->members(level);
  Loads loads;
  if (context.loads != nullptr) {
    loads = *context.loads;
    loads.members = members.data();
    loads.level = layout_->number(level);
    here.loads = &loads;
  }
  return Serving(level).Pick(here);
}

}  // namespace weir::lb
