#include "lb/balance/choices.h"

#include <algorithm>
#include <utility>

#include "core/check.h"

namespace weir::lb {

Subsets::Subsets(const UpstreamSettings& settings, const Subsets* before,
                 const UpstreamSettings* settings_before)
    : parts_(settings.subsets.size()) {
  WEIR_CHECK(parts_.size() <= UpstreamSettings::kMostSubsets);
  if (parts_.empty()) return;
  of_.resize(settings.endpoints.size());
  for (uint32_t number = 1; number <= parts_.size(); ++number) {
    const Labels& wanted = settings.subsets[number - 1];
    std::vector<uint16_t> members;
    for (uint32_t i = 0; i < settings.endpoints.size(); ++i) {
      if (!settings.endpoints[i].HasAll(wanted)) continue;
      members.push_back(static_cast<uint16_t>(i));
      of_[i] |= uint64_t{1} << (number - 1);
    }
    if (members.empty()) continue;
    Part& part = parts_[number - 1];
    part.layout = std::make_shared<const LevelLayout>(settings, members);
    const Part* old = nullptr;
    if (before != nullptr) {
      const auto at = std::find(settings_before->subsets.begin(), settings_before->subsets.end(), wanted);
      if (at != settings_before->subsets.end())
        old = &before->parts_[static_cast<size_t>(at - settings_before->subsets.begin())];
    }
    part.tables = old == nullptr ? Levels::MakeTables(settings, *part.layout, nullptr, nullptr, {})
                                 : Levels::MakeTables(settings, *part.layout, settings_before,
                                                      old->layout.get(), old->tables);
    part.levels.emplace(settings, part.layout, part.tables, 0);
  }
}

Choices::Choices(Levels all, const Subsets& subsets, uint64_t seed)
    : all_(std::move(all)), subsets_(&subsets) {
  parts_.reserve(subsets.count());
  for (uint32_t number = 1; number <= subsets.count(); ++number) {
    parts_.push_back(subsets.levels(number));
    if (parts_.back().has_value()) parts_.back()->Begin(seed);
  }
}

bool Choices::InPanic(uint32_t endpoint) const noexcept {
  if (all_.InPanic(endpoint)) return true;
  if (parts_.empty()) return false;
  for (uint64_t left = subsets_->of(endpoint); left != 0; left &= left - 1) {
    if (parts_[static_cast<size_t>(std::countr_zero(left))]->InPanic(endpoint)) return true;
  }
  return false;
}

}  // namespace weir::lb
