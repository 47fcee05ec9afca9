// What pools know of the other shards' requests, and plans of the plans before them.
#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "lb/stats.h"
#include "lb/upstream/upstream.h"
#include "tests/log/scripted_backend.h"
#include "tests/upstream/many_endpoints.h"

namespace weir::lb {
namespace {

// Shards in one thread, with a clock that stands unless it is moved.
class LoadsTest : public testing::Test {
 protected:
  struct Member {
    Member(uint32_t index, Switchboard& switchboard)
        : shard({.index = index, .arena_bytes = 1 << 20, .buffers = 1}, switchboard,
                [this](BufferPool&, CoreCounters&) {
                  auto made = std::make_unique<ScriptedBackend>();
                  backend = made.get();
                  return made;
                }),
          upstreams(shard, 8, counters) {}
    uint32_t Pick(uint64_t hash = 0) {
      const uint32_t endpoint = pool->Pick({}, hash);
      picked.emplace_back(pool, endpoint);
      return endpoint;
    }
    void DoneWithAll() {
      for (const auto& [from, endpoint] : std::exchange(picked, {})) from->Done(endpoint);
    }

    ScriptedBackend* backend = nullptr;
    Shard shard;
    ProxyCounters counters;
    Upstreams upstreams;
    UpstreamPool* pool = nullptr;
    std::vector<std::pair<UpstreamPool*, uint32_t>> picked;
  };

  ~LoadsTest() override {
    for (Member* member : {&one_, &two_}) member->DoneWithAll();
  }
  void Use(const UpstreamSettings& settings, bool pools = true) {
    plan_ = std::make_shared<UpstreamPlan>(settings, 2, plan_.get());
    if (!pools) return;
    for (Member* member : {&one_, &two_}) member->pool = &member->upstreams.PoolOf(plan_);
  }
  void PassMs(int64_t ms) {
    for (Member* member : {&one_, &two_}) {
      member->backend->now_ns += ms * kNsPerMs;
      member->shard.RunTurn(false);
    }
  }
  static std::set<uint32_t> Distinct(Member& member, uint32_t picks) {
    std::set<uint32_t> met;
    for (uint32_t i = 0; i < picks; ++i) met.insert(member.Pick());
    return met;
  }

  Switchboard switchboard_{3};
  std::shared_ptr<UpstreamPlan> plan_;
  Member one_{0, switchboard_};
  Member two_{1, switchboard_};
};

TEST_F(LoadsTest, OthersAreKnownWithinAMillisecond) {
  for (const uint32_t endpoints : {3u, 100u}) {
    Use(ManyEndpoints(endpoints, Balance::kLeastConn));
    EXPECT_EQ(plan_->changes != nullptr, endpoints > UpstreamSettings::kFewEndpoints);
    PassMs(1);
    two_.Pick();
    two_.DoneWithAll();
    const std::set<uint32_t> taken = Distinct(one_, endpoints - 1);
    EXPECT_EQ(taken.size(), endpoints - 1);
    PassMs(1);
    for (int i = 0; i < 3; ++i) {
      EXPECT_FALSE(taken.contains(two_.Pick()));
      two_.DoneWithAll();
    }
    // And that they are through.
    one_.DoneWithAll();
    PassMs(1);
    EXPECT_EQ(Distinct(two_, endpoints).size(), endpoints);
    two_.DoneWithAll();
    plan_.reset();
  }
}

TEST_F(LoadsTest, WhoWasAwayForLongFindsWhatItMissed) {
  Use(ManyEndpoints(1'000, Balance::kLeastConn));
  PassMs(1);
  two_.Pick();
  two_.DoneWithAll();
  const std::set<uint32_t> taken = Distinct(one_, 999);
  for (uint32_t i = 0; i < 2 * ChangeLog::kEntries; ++i) {
    one_.pool->Done(one_.pool->Pick({}));
  }
  for (int i = 0; i < 4; ++i) {  // what is read at once has a bound
    PassMs(1);
    two_.Pick();
    two_.DoneWithAll();
  }
  PassMs(1);
  EXPECT_FALSE(taken.contains(two_.Pick()));
}

TEST_F(LoadsTest, APlanThatIsNewKnowsWhatRuns) {
  UpstreamSettings settings = ManyEndpoints(100, Balance::kP2c);
  Use(settings);
  std::set<uint32_t> taken;
  while (taken.size() < 99) taken.insert(one_.Pick());
  std::shared_ptr<UpstreamPlan> before = plan_;
  settings.balance = Balance::kLeastConn;
  std::reverse(settings.endpoints.begin(), settings.endpoints.end());
  Use(settings);
  for (Member* member : {&one_, &two_}) member->upstreams.Retire(before, 1);
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(taken.contains(99 - two_.Pick()));
    two_.DoneWithAll();
  }
  // What ends in the old pool is told to who looks at the new one.
  one_.DoneWithAll();
  PassMs(1);
  EXPECT_EQ(Distinct(two_, 100).size(), 100u);
  two_.DoneWithAll();
}

TEST_F(LoadsTest, ABoundHoldsForAllShardsTogether) {
  for (const uint32_t percent : {110u, 125u, 300u}) {
    UpstreamSettings settings = ManyEndpoints(7, Balance::kMaglev);
    settings.hash.on = {HashKey()};
    settings.hash.balance_percent = percent;
    Use(settings);
    std::vector<uint32_t> active(7);
    for (uint32_t total = 0; total < 300; ++total) {
      Member& member = total % 3 == 0 ? one_ : two_;
      const uint32_t endpoint = member.Pick(12'345);
      ++active[endpoint];
      EXPECT_LE(active[endpoint], (percent * (total + 1) + 699) / 700);
    }
    // Without a bound it would have been one.
    EXPECT_LE(*std::max_element(active.begin(), active.end()), 300u * percent / 700 + 1);
    for (Member* member : {&one_, &two_}) member->DoneWithAll();
    EXPECT_EQ(plan_->book->in_flight(0).Get() + plan_->book->in_flight(1).Get(), 0u);
    plan_.reset();
  }
}

// What runs in another level makes no room in this one.
TEST_F(LoadsTest, ABoundIsOfItsLevel) {
  UpstreamSettings settings = ManyEndpoints(6, Balance::kMaglev);
  settings.hash.on = {HashKey()};
  settings.hash.balance_percent = 125;
  for (uint32_t i = 0; i < 6; i += 2) settings.endpoints[i].level = EndpointSettings::kBackup;
  Use(settings);
  for (int i = 0; i < 60; ++i) one_.Pick(static_cast<uint64_t>(i) << 58);
  const uint32_t primaries[] = {1, 3, 5};
  std::vector<uint32_t> active(6);
  for (uint32_t total = 0; total < 60; ++total) {
    const uint32_t endpoint = two_.pool->Pick(primaries, 12'345);  // as a retry once these were tried
    two_.picked.emplace_back(two_.pool, endpoint);
    ASSERT_EQ(endpoint % 2, 0u);
    EXPECT_LE(++active[endpoint], (125 * (total + 1) + 299) / 300);
  }
  EXPECT_EQ(plan_->book->in_flight(0).Get(), 60u);
  EXPECT_EQ(plan_->book->in_flight(1, 2 * EndpointSettings::kBackup).Get(), 60u);
  for (Member* member : {&one_, &two_}) member->DoneWithAll();
  EXPECT_EQ(plan_->book->in_flight(0).Get(), 0u);
  EXPECT_EQ(plan_->book->in_flight(1, 2 * EndpointSettings::kBackup).Get(), 0u);
}

// Nor what runs in another zone in this one; and what left the zone is counted.
TEST_F(LoadsTest, ABoundIsOfItsZone) {
  UpstreamSettings settings = ManyEndpoints(6, Balance::kMaglev);
  settings.hash.on = {HashKey()};
  settings.hash.balance_percent = 125;
  for (uint32_t i = 1; i < 6; i += 2) settings.endpoints[i].in_own_zone = true;
  Use(settings);
  for (uint64_t i = 0; i < 60; ++i) EXPECT_EQ(one_.Pick(i << 58) % 2, 1u);
  EXPECT_EQ(plan_->book->page(0).left_zone.Get(), 0u);
  const uint32_t own[] = {1, 3, 5};
  std::vector<uint32_t> active(6);
  for (uint32_t total = 0; total < 60; ++total) {
    const uint32_t endpoint = two_.pool->Pick(own, 12'345);  // as a retry once these were tried
    two_.picked.emplace_back(two_.pool, endpoint);
    ASSERT_EQ(endpoint % 2, 0u);
    EXPECT_LE(++active[endpoint], (125 * (total + 1) + 299) / 300);
  }
  EXPECT_EQ(plan_->book->in_flight(0, 1).Get(), 60u);
  EXPECT_EQ(plan_->book->in_flight(1, 0).Get(), 60u);
  EXPECT_EQ(plan_->book->page(1).left_zone.Get(), 60u);
  for (Member* member : {&one_, &two_}) member->DoneWithAll();
  EXPECT_EQ(plan_->book->in_flight(0, 1).Get(), 0u);
  EXPECT_EQ(plan_->book->in_flight(1, 0).Get(), 0u);
  EXPECT_EQ(plan_->book->page(1).left_zone.Get(), 60u);
}

TEST_F(LoadsTest, OthersOfTheZoneAreKnown) {
  for (const uint32_t endpoints : {6u, 100u}) {
    UpstreamSettings settings = ManyEndpoints(endpoints, Balance::kLeastConn);
    for (uint32_t i = 1; i < endpoints; i += 2) settings.endpoints[i].in_own_zone = true;
    Use(settings);
    PassMs(1);
    two_.Pick();
    two_.DoneWithAll();
    const std::set<uint32_t> taken = Distinct(one_, endpoints / 2 - 1);
    EXPECT_EQ(taken.size(), endpoints / 2 - 1);
    PassMs(1);
    const uint32_t last = two_.Pick();
    EXPECT_EQ(last % 2, 1u);
    EXPECT_FALSE(taken.contains(last));
    for (Member* member : {&one_, &two_}) member->DoneWithAll();
    plan_.reset();
  }
}

// What the whole upstream has in flight says nothing of a subset's share.
TEST_F(LoadsTest, ABoundOnLoadIsThatOfTheSubset) {
  UpstreamSettings settings = ManyEndpoints(6, Balance::kMaglev);
  settings.hash.on = {HashKey()};
  settings.hash.balance_percent = 125;
  for (uint32_t i = 0; i < 6; ++i) settings.endpoints[i].labels = {{"version", i < 3 ? "v2" : "v1"}};
  settings.subsets = {{{"version", "v3"}}, {{"version", "v2"}}, {{"version", "v1"}}};
  Use(settings);
  const auto pick = [](Member& member, uint64_t hash, SubsetUse use) {
    const uint32_t endpoint = member.pool->Pick({}, hash, false, use);
    member.picked.emplace_back(member.pool, endpoint);
    return endpoint;
  };
  EXPECT_EQ(one_.pool->Pick({}, 1, false, {.number = 1}), UpstreamPool::kNone) << "nobody is in it";
  for (uint64_t key = 0; key < 60; ++key) EXPECT_GE(pick(one_, key << 58, {.number = 3}), 3u);
  std::vector<uint32_t> active(6);
  for (uint32_t total = 0; total < 60; ++total) {
    const uint32_t endpoint = pick(total % 2 == 0 ? one_ : two_, 12'345, {.number = 2});
    ASSERT_LT(endpoint, 3u);
    EXPECT_LE(++active[endpoint], (125 * (total + 1) + 299) / 300) << total;
  }
  EXPECT_EQ(plan_->bounded[1].book->in_flight(0, 0).Get(), 30u);
  EXPECT_EQ(plan_->bounded[1].book->in_flight(1, 0).Get(), 30u);
  // A reload with other subsets keeps what is counted.
  std::shared_ptr<UpstreamPlan> before = plan_;
  settings.subsets = {{{"version", "v2"}}};
  Use(settings);
  EXPECT_EQ(plan_->bounded[0].book, before->bounded[1].book);
  for (Member* member : {&one_, &two_}) member->DoneWithAll();
  EXPECT_EQ(plan_->bounded[0].book->in_flight(0, 0).Get(), 0u);
  EXPECT_EQ(plan_->bounded[0].book->in_flight(1, 0).Get(), 0u);
}

// Of one shard's choices the others know in every subset.
TEST_F(LoadsTest, SubsetsKnowTheOtherShards) {
  for (const uint32_t endpoints : {4u, 100u}) {
    UpstreamSettings settings = ManyEndpoints(endpoints, Balance::kLeastConn);
    settings.endpoints[1].labels = settings.endpoints[2].labels = {{"version", "v2"}};
    settings.subsets = {{{"version", "v2"}}};
    Use(settings);
    PassMs(1);
    const uint32_t taken = one_.pool->Pick({}, 0, false, {.number = 1});
    one_.picked.emplace_back(one_.pool, taken);
    PassMs(1);
    const uint32_t other = two_.pool->Pick({}, 0, false, {.number = 1});
    two_.picked.emplace_back(two_.pool, other);
    EXPECT_EQ(taken + other, 3u) << "the one and the other";
    for (Member* member : {&one_, &two_}) member->DoneWithAll();
    plan_.reset();
  }
}

TEST_F(LoadsTest, TablesAreMadeAnewOnlyWhereTheyChange) {
  UpstreamSettings settings = ManyEndpoints(5, Balance::kMaglev);
  settings.hash.on = {HashKey()};
  Use(settings, false);
  const std::shared_ptr<const HashTable> table = plan_->tables[0];
  ASSERT_NE(table, nullptr);
  const auto same_with = [&](const auto& change) {
    UpstreamSettings changed = settings;
    change(changed);
    return UpstreamPlan(changed, 2, plan_.get()).tables[0] == table;
  };
  EXPECT_TRUE(same_with([](UpstreamSettings& other) { other.retries = 7; }));
  EXPECT_TRUE(same_with([](UpstreamSettings& other) { other.hash.balance_percent = 200; }));
  EXPECT_TRUE(same_with([](UpstreamSettings& other) { other.endpoints[0].text = "a name of it"; }));
  EXPECT_FALSE(same_with([](UpstreamSettings& other) { other.endpoints[0].weight = 2; }));
  EXPECT_FALSE(same_with([](UpstreamSettings& other) { other.endpoints.pop_back(); }));
  EXPECT_FALSE(same_with([](UpstreamSettings& other) { other.hash.slots = 101; }));
  EXPECT_FALSE(same_with([](UpstreamSettings& other) { other.balance = Balance::kRingHash; }));
  EXPECT_FALSE(same_with([](UpstreamSettings& other) { std::swap(other.endpoints[0], other.endpoints[1]); }));
  EXPECT_EQ(UpstreamPlan(ManyEndpoints(5, Balance::kRandom), 2, plan_.get()).tables[0], nullptr);
}

TEST_F(LoadsTest, AnOrderOfTheListIsNone) {
  UpstreamSettings settings = ManyEndpoints(9, Balance::kRingHash);
  Use(settings);
  std::vector<SocketAddress> met;
  for (uint64_t key = 0; key < 200; ++key) met.push_back(one_.pool->address(one_.Pick(key)));
  one_.DoneWithAll();
  std::reverse(settings.endpoints.begin(), settings.endpoints.end());
  Use(settings);
  for (uint64_t key = 0; key < 200; ++key) EXPECT_EQ(two_.pool->address(two_.Pick(key)), met[key]);
}

TEST_F(LoadsTest, FailuresCountAsSlow) {
  Use(ManyEndpoints(2, Balance::kEwma));
  PassMs(1);
  one_.pool->Observe(0, 20 * kNsPerMs);
  one_.pool->ObserveFailure(1, kNsPerMs / 10);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(one_.Pick(), 0u);
}

}  // namespace
}  // namespace weir::lb
