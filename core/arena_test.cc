#include "core/arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <vector>

#include "core/random.h"
#include "core/resident.h"

namespace weir {
namespace {

TEST(ArenaTest, ClassesGoInSmallStepsThenDouble) {
  EXPECT_EQ(Arena::RoundUp(1), 32u);
  EXPECT_EQ(Arena::RoundUp(32), 32u);
  EXPECT_EQ(Arena::RoundUp(33), 64u);
  EXPECT_EQ(Arena::RoundUp(2047), 2048u);
  EXPECT_EQ(Arena::RoundUp(2048), 2048u);
  EXPECT_EQ(Arena::RoundUp(2049), 4096u);
  EXPECT_EQ(Arena::RoundUp(4097), 8192u);
  EXPECT_EQ(Arena::RoundUp(16385), 32768u);
  EXPECT_EQ(Arena::RoundUp(32768), 32768u);
  for (size_t bytes = 1; bytes <= Arena::kLargestBytes; ++bytes) {
    ASSERT_GE(Arena::RoundUp(bytes), bytes);
    ASSERT_LT(Arena::RoundUp(bytes), std::max<size_t>(bytes + Arena::kStepBytes, bytes * 2));
  }
}

TEST(ArenaTest, ObjectsOfAllSizesDoNotOverlap) {
  Arena arena(8 << 20);
  Random random(3);
  std::map<char*, std::pair<size_t, char>> live;
  size_t expected_bytes = 0;
  for (int step = 0; step < 50'000; ++step) {
    if (live.size() < 300 && !random.OneIn(3)) {
      const size_t bytes = 1 + random.Below(random.OneIn(10) ? Arena::kLargestBytes : 700);
      auto* object = static_cast<char*>(arena.Allocate(bytes));
      if (object == nullptr) continue;
      ASSERT_EQ(reinterpret_cast<uintptr_t>(object) % 32, 0u);
      const char mark = static_cast<char>(random.Next());
      std::memset(object, mark, bytes);
      live[object] = {bytes, mark};
      expected_bytes += Arena::RoundUp(bytes);
    } else if (!live.empty()) {
      auto at = live.lower_bound(
          reinterpret_cast<char*>(reinterpret_cast<uintptr_t>(live.begin()->first) + random.Below(8 << 20)));
      if (at == live.end()) at = live.begin();
      const auto [bytes, mark] = at->second;
      for (size_t i = 0; i < bytes; ++i) ASSERT_EQ(at->first[i], mark);
      arena.Free(at->first);
      expected_bytes -= Arena::RoundUp(bytes);
      live.erase(at);
    }
    ASSERT_EQ(arena.used_bytes(), expected_bytes);
    if (random.OneIn(1000)) arena.Trim(UINT32_MAX);
  }
  for (const auto& [object, what] : live) arena.Free(object);
  EXPECT_EQ(arena.used_bytes(), 0u);
}

TEST(ArenaTest, AtTheBoundThereIsNothingAndThenThereIsAgain) {
  Arena arena(4 * Arena::kSpanBytes);
  std::vector<void*> objects;
  while (void* object = arena.Allocate(1000)) objects.push_back(object);
  EXPECT_EQ(objects.size(), 4 * (Arena::kSpanBytes / Arena::RoundUp(1000)));
  EXPECT_EQ(arena.Allocate(1), nullptr);  // no span left for another class
  for (void* object : objects) arena.Free(object);
  arena.Trim(UINT32_MAX);  // the class's last span may stay until here
  for (int i = 0; i < 4; ++i) EXPECT_NE(objects[static_cast<size_t>(i)] = arena.Allocate(32768), nullptr);
  for (int i = 0; i < 4; ++i) arena.Free(objects[static_cast<size_t>(i)]);
}

TEST(ArenaTest, ABurstLeavesNothingBehind) {
  Arena arena(64 << 20);
  std::vector<void*> objects;
  for (int i = 0; i < 20'000; ++i) {
    objects.push_back(arena.Allocate(600));
    std::memset(objects.back(), 1, 600);
  }
  const auto [low, high] = std::minmax_element(objects.begin(), objects.end());
  const char* const begin = static_cast<char*>(*low);
  const size_t bytes = static_cast<size_t>(static_cast<char*>(*high) - begin);
  EXPECT_GT(ResidentBytes(begin, bytes), size_t{10} << 20);
  for (void* object : objects) arena.Free(object);
  EXPECT_GT(arena.resident_bytes(), size_t{10} << 20);
  arena.Trim(10);
  const size_t after_ten = arena.resident_bytes();
  EXPECT_GT(after_ten, size_t{10} << 20);  // a call gives back no more than it was told
  arena.Trim(UINT32_MAX);
  EXPECT_EQ(arena.resident_bytes(), 0u);
  EXPECT_EQ(ResidentBytes(begin, bytes), 0u);
  // And it can be used again.
  void* object = arena.Allocate(600);
  std::memset(object, 2, 600);
  arena.Free(object);
}

TEST(ArenaTest, OneObjectComingAndGoingTouchesOneSpan) {
  Arena arena(64 << 20);
  for (int i = 0; i < 1000; ++i) arena.Free(arena.Allocate(100));
  EXPECT_EQ(arena.resident_bytes(), Arena::kSpanBytes);
}

TEST(ArenaDeathTest, WhatItNeverGaveIsRefused) {
  Arena arena(1 << 20);
  EXPECT_DEATH(arena.Allocate(0), "bytes > 0");
  EXPECT_DEATH(arena.Allocate(Arena::kLargestBytes + 1), "bytes <= kLargestBytes");
  static char elsewhere[64];
  EXPECT_DEATH(arena.Free(elsewhere), "internal error");
  void* object = arena.Allocate(64);
  arena.Free(object);
  EXPECT_DEATH(arena.Free(object), "used > 0");
}

}  // namespace
}  // namespace weir
