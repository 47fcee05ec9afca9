#include "lb/balance/hash_table.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <string>

#include "core/random.h"
#include "gtest/gtest.h"

namespace weir::lb {
namespace {

using Weights = std::vector<uint32_t>;

struct List {
  explicit List(uint32_t endpoints, const char* network = "10.1.") {
    for (uint32_t i = 0; i < endpoints; ++i) {
      texts.push_back(network + std::to_string(i / 256) + "." + std::to_string(i % 256) + ":8080");
    }
    weights.assign(endpoints, 1);
  }
  std::vector<std::string_view> names() const { return {texts.begin(), texts.end()}; }
  List Without(uint32_t endpoint) const {
    List other = *this;
    other.texts.erase(other.texts.begin() + endpoint);
    other.weights.erase(other.weights.begin() + endpoint);
    return other;
  }
  List Shuffled(uint64_t seed) const {
    List other = *this;
    Random random(seed);
    for (size_t i = texts.size(); i > 1; --i) {
      const uint32_t j = random.Below(static_cast<uint32_t>(i));
      std::swap(other.texts[i - 1], other.texts[j]);
      std::swap(other.weights[i - 1], other.weights[j]);
    }
    return other;
  }

  std::vector<std::string> texts;
  Weights weights;
};

enum class Kind { kMaglev, kRing };
std::shared_ptr<const HashTable> Make(Kind kind, const List& list) {
  return kind == Kind::kMaglev ? HashTable::Maglev(list.names(), list.weights)
                               : HashTable::Ring(list.names(), list.weights);
}

std::vector<uint32_t> Enumerate(Permutation permutation, uint32_t slots) {
  std::vector<uint32_t> all;
  for (uint32_t i = 0; i < slots; ++i) all.push_back((permutation.offset + i * permutation.skip) % slots);
  return all;
}

TEST(Maglev, PopulationIsThePapers) {
  const Permutation first = {2, 4};
  const Permutation second = {0, 5};
  const Permutation third = {1, 2};
  ASSERT_EQ(Enumerate(first, 7), (std::vector<uint32_t>{2, 6, 3, 0, 4, 1, 5}));
  ASSERT_EQ(Enumerate(second, 7), (std::vector<uint32_t>{0, 5, 3, 1, 6, 4, 2}));
  ASSERT_EQ(Enumerate(third, 7), (std::vector<uint32_t>{1, 3, 5, 0, 2, 4, 6}));
  EXPECT_EQ(Populate(7, std::vector<Permutation>{first, second, third}, Weights{1, 1, 1}),
            (std::vector<uint16_t>{1, 2, 0, 2, 0, 1, 0}));
  // Without the second; the third is then number 1.
  EXPECT_EQ(Populate(7, std::vector<Permutation>{first, third}, Weights{1, 1}),
            (std::vector<uint16_t>{0, 1, 0, 1, 0, 1, 0}));
  // Equal weights are no weights.
  EXPECT_EQ(Populate(7, std::vector<Permutation>{first, second, third}, Weights{9, 9, 9}),
            (std::vector<uint16_t>{1, 2, 0, 2, 0, 1, 0}));
}

std::vector<uint32_t> SlotsOf(const HashTable& table) {
  std::vector<uint32_t> slots(table.size());
  for (uint32_t place = 0; place < table.places(); ++place) ++slots[table.endpoint(place)];
  return slots;
}

TEST(Maglev, SharesAreTheWeightsWithinASlotOrTwo) {
  Random random(1);
  for (int round = 0; round < 40; ++round) {
    List list(1 + random.Below(400));
    const uint32_t heaviest = round % 3 == 0 ? 1 : 1 + random.Below(1'000);
    for (uint32_t& weight : list.weights) weight = 1 + random.Below(heaviest);
    const auto table = Make(Kind::kMaglev, list);
    ASSERT_EQ(table->places(), 65'537u);
    const auto sum = std::accumulate(list.weights.begin(), list.weights.end(), 0.0);
    const std::vector<uint32_t> slots = SlotsOf(*table);
    for (size_t i = 0; i < slots.size(); ++i) {
      const double ideal = table->places() * list.weights[i] / sum;
      ASSERT_NEAR(slots[i], ideal, 1.5) << i << " of " << slots.size();
      ASSERT_GE(slots[i], 1u);
    }
  }
}

TEST(Maglev, OneHeavyAmongManyLightHasItsShareAndTheyHaveTheirs) {
  List list(999);
  list.texts.push_back("10.9.9.9:1");
  list.weights.push_back(1'000);
  const auto table = Make(Kind::kMaglev, list);
  const std::vector<uint32_t> slots = SlotsOf(*table);
  EXPECT_NEAR(slots[999], table->places() * 1'000.0 / 1'999, table->places() * 0.005);
  EXPECT_GE(*std::min_element(slots.begin(), slots.end()), 49u);
  EXPECT_LE(*std::max_element(slots.begin(), slots.end() - 1), 51u);
}

TEST(Maglev, EvenOneThatIsTooLightForASlotHasOne) {
  List list(600);
  std::fill(list.weights.begin(), list.weights.end(), 1'000);
  list.weights[77] = 1;
  EXPECT_EQ(SlotsOf(*Make(Kind::kMaglev, list))[77], 1u);
}

TEST(Maglev, ManyEndpointsHaveALargerTable) {
  EXPECT_EQ(HashTable::Maglev(List(3).names(), Weights(3, 1), 251)->places(), 307u);
  EXPECT_EQ(HashTable::Maglev(List(2).names(), Weights(2, 1), 251)->places(), 251u);
  const auto table = Make(Kind::kMaglev, List(1'000));
  EXPECT_EQ(table->places(), 100'003u);
  for (const uint32_t slots : SlotsOf(*table)) EXPECT_NEAR(slots, 100, 1);
  EXPECT_GE(Make(Kind::kMaglev, List(16'384))->places(), 1'638'400u);
}

TEST(Maglev, RefusesATableThatIsNoPrime) {
  EXPECT_DEATH(HashTable::Maglev(List(3).names(), Weights(3, 1), 65'536), "expected");
}

// Of the keys of those that stay, how many lead elsewhere without `gone`.
double Moved(Kind kind, const List& list, uint32_t gone) {
  const List fewer = list.Without(gone);
  const auto before = Make(kind, list);
  const auto after = Make(kind, fewer);
  Random random(5);
  int keys = 0, moved = 0;
  for (int i = 0; i < 100'000; ++i) {
    const uint64_t key = MixKey(random.Next());
    const uint32_t was = before->endpoint(before->First(key));
    if (was == gone) continue;
    ++keys;
    moved += list.texts[was] != fewer.texts[after->endpoint(after->First(key))];
  }
  return static_cast<double>(moved) / keys;
}

TEST(Maglev, OneOfAHundredLeavesAndFewOtherKeysMove) {
  for (const uint32_t gone : {0u, 17u, 50u, 99u}) {
    EXPECT_LE(Moved(Kind::kMaglev, List(100), gone), 0.015) << gone;
    EXPECT_LE(Moved(Kind::kMaglev, List(100, "192.168."), gone), 0.015) << gone;
  }
}

TEST(Ring, OneOfAHundredLeavesAndNoOtherKeyMoves) {
  for (const uint32_t gone : {0u, 17u, 99u}) EXPECT_EQ(Moved(Kind::kRing, List(100), gone), 0) << gone;
}

TEST(Ring, ManyPointsAreHalvedTheSameForEverybody) {
  List list(100);
  std::fill(list.weights.begin(), list.weights.end(), 100);
  const auto table = Make(Kind::kRing, list);
  EXPECT_EQ(table->places(), 100'000u);
  EXPECT_EQ(Moved(Kind::kRing, list, 4), 0);
}

TEST(Ring, SharesAreNearTheWeights) {
  List list(20);
  for (uint32_t i = 0; i < 20; ++i) list.weights[i] = 1 + i % 4 * 3;
  const auto table = Make(Kind::kRing, list);
  const double sum = std::accumulate(list.weights.begin(), list.weights.end(), 0.0);
  EXPECT_EQ(table->places(), sum * 160);
  Random random(6);
  std::vector<double> keys(20);
  for (int i = 0; i < 400'000; ++i) ++keys[table->endpoint(table->First(MixKey(random.Next())))];
  for (uint32_t i = 0; i < 20; ++i) {
    const double ideal = 400'000 * list.weights[i] / sum;
    EXPECT_NEAR(keys[i], ideal, ideal * (list.weights[i] == 1 ? 0.30 : 0.15)) << i;
  }
}

// The definition: the first point that is not before the key.
TEST(Ring, FindsTheNextPoint) {
  const List list(7);
  const auto table = Make(Kind::kRing, list);
  std::vector<std::pair<uint64_t, uint32_t>> points;
  for (uint32_t i = 0; i < 7; ++i) {
    uint64_t state = HashName(list.texts[i], 1);
    for (int point = 0; point < 160; ++point) points.emplace_back(MixBits(state += 0x9e3779b97f4a7c15u), i);
  }
  std::sort(points.begin(), points.end());
  const auto expected = [&](uint64_t key) {
    const auto found = std::lower_bound(points.begin(), points.end(), std::pair(key, 0u));
    return found == points.end() ? points.front().second : found->second;
  };
  Random random(7);
  std::vector<uint64_t> keys = {0, 1, UINT64_MAX, UINT64_MAX - 1, points.back().first + 1};
  for (const auto& point : points) keys.insert(keys.end(), {point.first - 1, point.first, point.first + 1});
  for (int i = 0; i < 50'000; ++i) keys.push_back(random.Next());
  for (const uint64_t key : keys) ASSERT_EQ(table->endpoint(table->First(key)), expected(key)) << key;
}

TEST(HashTable, TheOrderOfTheListDoesNotMatter) {
  for (const Kind kind : {Kind::kMaglev, Kind::kRing}) {
    List list(50);
    for (uint32_t i = 0; i < 50; ++i) list.weights[i] = 1 + i % 7;
    const List other = list.Shuffled(3);
    ASSERT_NE(list.texts, other.texts);
    const auto one = Make(kind, list);
    const auto two = Make(kind, other);
    ASSERT_EQ(one->places(), two->places());
    for (uint32_t place = 0; place < one->places(); ++place) {
      ASSERT_EQ(list.texts[one->endpoint(place)], other.texts[two->endpoint(place)]) << place;
    }
    for (uint32_t i = 0; i < 50; ++i) {
      EXPECT_EQ(std::count_if(list.texts.begin(), list.texts.end(),
                              [&](const std::string& text) { return text < list.texts[i]; }),
                one->rank(i));
    }
  }
}

// Other nodes, and this one after an update, must find the same endpoint: what is here may never change.
TEST(HashTable, HashesAreWhatTheyAlwaysWere) {
  EXPECT_EQ(HashName("", 0), 16294208416658607535u);
  EXPECT_EQ(HashName("10.0.0.1:8080", 0), 5944781560939865803u);
  EXPECT_EQ(HashName("10.0.0.1:8080", 1), 13426024262641078767u);
  EXPECT_EQ(MixKey(0), 5272463233947570727u);
  EXPECT_EQ(MixKey(1), 3847398142028685078u);
  const List list(5);
  std::string maglev, ring;
  for (uint64_t key = 0; key < 20; ++key) {
    const auto first = [&](Kind kind) {
      const auto table = Make(kind, list);
      return static_cast<char>('a' + table->endpoint(table->First(MixKey(key))));
    };
    maglev += first(Kind::kMaglev);
    ring += first(Kind::kRing);
  }
  EXPECT_EQ(maglev, "ddbdaebaaedcadeacbba");
  EXPECT_EQ(ring, "deaacecdaadeaeebebed");
}

TEST(HashTable, NamesThatDifferInAnythingDifferInTheirHash) {
  std::map<uint64_t, std::string> seen;
  for (const List& list : {List(2'000), List(2'000, "10.2."), List(2'000, "[fd00::]:")}) {
    for (const std::string& name : list.texts) {
      for (const uint64_t seed : {0u, 1u}) {
        const auto [entry, fresh] = seen.emplace(HashName(name, seed), name);
        EXPECT_TRUE(fresh) << name << " and " << entry->second;
      }
    }
  }
  EXPECT_NE(HashName("a", 0), HashName(std::string_view("a\0", 2), 0));
}

}  // namespace
}  // namespace weir::lb
