#include "core/slab.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "core/random.h"
#include "core/resident.h"

namespace weir {
namespace {

struct Thing {
  explicit Thing(int number) : number(number) { ++live; }
  ~Thing() { --live; }
  int number;
  char rest[300] = {};
  static inline int live = 0;
};

TEST(SlabTest, TakesTheLowestFreeIndex) {
  Slab<Thing> slab(200);
  std::vector<Thing*> things;
  for (int i = 0; i < 200; ++i) things.push_back(slab.Make(i));
  EXPECT_EQ(slab.Make(0), nullptr);
  for (uint32_t i = 0; i < 200; ++i) EXPECT_EQ(slab.IndexOf(things[i]), i);
  for (const uint32_t index : {150u, 3u, 64u, 199u}) slab.Destroy(things[index]);
  EXPECT_EQ(slab.size(), 196u);
  for (const uint32_t index : {3u, 64u, 150u, 199u}) EXPECT_EQ(slab.IndexOf(slab.Make(0)), index);
  slab.ForEach([&](Thing& thing) { slab.Destroy(&thing); });
  EXPECT_EQ(slab.size(), 0u);
  EXPECT_EQ(Thing::live, 0);
}

TEST(SlabTest, AgreesWithAMap) {
  for (const uint32_t capacity : {1u, 63u, 64u, 65u, 5000u}) {
    Slab<Thing> slab(capacity);
    std::map<uint32_t, Thing*> model;
    Random random(capacity);
    for (int step = 0; step < 20'000; ++step) {
      if (!random.OneIn(2)) {
        Thing* thing = slab.Make(step);
        ASSERT_EQ(thing == nullptr, model.size() == capacity);
        if (thing == nullptr) continue;
        const uint32_t index = slab.IndexOf(thing);
        uint32_t lowest = 0;
        for (auto at = model.begin(); at != model.end() && at->first == lowest; ++at) ++lowest;
        ASSERT_EQ(index, lowest);
        model[index] = thing;
      } else if (!model.empty()) {
        auto at = model.lower_bound(random.Below(capacity));
        if (at == model.end()) at = model.begin();
        slab.Destroy(at->second);
        model.erase(at);
      }
      if (random.OneIn(500)) slab.Trim();
      if (random.OneIn(500)) {
        auto expected = model.begin();
        slab.ForEach([&](Thing& thing) {
          ASSERT_NE(expected, model.end());
          ASSERT_EQ(expected->second, &thing);
          ++expected;
        });
        ASSERT_EQ(expected, model.end());
      }
    }
    for (auto [index, thing] : model) slab.Destroy(thing);
  }
  EXPECT_EQ(Thing::live, 0);
}

TEST(SlabTest, TrimGivesBackPagesWithoutALiveObject) {
  Slab<Thing> slab(10'000);
  std::vector<Thing*> things;
  for (int i = 0; i < 10'000; ++i) things.push_back(slab.Make(i));
  const size_t bytes = things.size() * sizeof(Thing);
  EXPECT_GE(ResidentBytes(things[0], bytes), bytes);
  for (size_t i = 100; i < things.size(); ++i) slab.Destroy(things[i]);
  slab.Trim();
  EXPECT_LE(ResidentBytes(things[0], bytes), 100 * sizeof(Thing) + 2 * 4096);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(things[static_cast<size_t>(i)]->number, i);
  for (size_t i = 0; i < 100; ++i) slab.Destroy(things[i]);
  slab.Trim();
  EXPECT_EQ(ResidentBytes(things[0], bytes), 0u);
}

TEST(SlabDeathTest, MisuseIsFound) {
  Slab<Thing> slab(10);
  Thing* thing = slab.Make(1);
  slab.Destroy(thing);
  EXPECT_DEATH(slab.Destroy(thing), "internal error");
  EXPECT_DEATH(
      {
        Slab<Thing> leaking(10);
        leaking.Make(1);
      },
      "size_ == 0");
}

}  // namespace
}  // namespace weir
