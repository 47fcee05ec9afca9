// Who comes back gets its share little by little, whatever kept it away and whatever is reloaded meanwhile.
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "tests/sim/seeds.h"
#include "tests/sim/stage.h"

namespace weir::lb::trial {
namespace {

constexpr uint32_t kDurationMs = 10'000;

void Play(uint32_t endpoints, const std::function<void(Stage&)>& scene,
          const std::function<void(UpstreamSettings&)>& change = nullptr) {
  ForEachSeed([&](uint64_t seed) {
    Stage::Options options;
    options.settings = Rig::Defaults(endpoints);
    options.settings.upstreams[0].slow_start.duration_ms = kDurationMs;
    if (change) change(options.settings.upstreams[0]);
    Stage stage(seed, std::move(options));
    for (uint32_t i = 0; i < endpoints; ++i) stage.Origin(i, SayOk);
    scene(stage);
  });
}

const std::shared_ptr<EndpointBook>& Book(Stage& stage, uint32_t endpoint) {
  return stage.rig().generations().back()->plan(0)->books[endpoint];
}
// Somebody of the control shard's says so.
void Keep(Stage& stage, uint32_t endpoint, uint64_t bits) {
  stage.world().On(stage.rig().control(), [&] { stage.rig().publisher().Set(Book(stage, endpoint), bits); });
}
void Free(Stage& stage, uint32_t endpoint, uint64_t bits) {
  stage.world().On(stage.rig().control(),
                   [&] { stage.rig().publisher().Clear(Book(stage, endpoint), bits); });
}
// Percent, as the control shard has it, and the same as the shard has it.
uint32_t Percent(Stage& stage, uint32_t endpoint) {
  const Endpoint* known = Book(stage, endpoint)->page(0).endpoint;
  if (known != nullptr) {
    EXPECT_EQ(EndpointBook::PercentOf(known->view), EndpointBook::PercentOf(Book(stage, endpoint)->seen()));
  }
  return EndpointBook::PercentOf(Book(stage, endpoint)->seen());
}
// Of so many requests in a row, those for `endpoint`.
uint64_t ShareOf(Stage& stage, uint32_t endpoint, uint32_t requests) {
  const uint64_t before = Book(stage, endpoint)->page(0).counters.requests.Get();
  Speaker& client = stage.Client();
  for (uint32_t i = 0; i < requests; ++i) {
    client.heard.clear();
    client.Say(Get("/"));
    EXPECT_TRUE(stage.Until([&] { return client.Heard("\r\n\r\nok"); }, 1'000)) << client.heard;
  }
  return Book(stage, endpoint)->page(0).counters.requests.Get() - before;
}
void RunUntilMs(Stage& stage, int64_t ms) { stage.Run(ms - stage.now_ms()); }

TEST(SlowStart, ItsShareGrowsFromATenthToTheWhole) {
  Play(2, [](Stage& stage) {
    EXPECT_EQ(ShareOf(stage, 0, 20), 10u) << "what the process begins with has all";
    Keep(stage, 0, EndpointBook::kDraining);
    stage.Run(100);
    EXPECT_EQ(ShareOf(stage, 0, 10), 0u);
    Free(stage, 0, EndpointBook::kDraining);
    const int64_t begin_ms = stage.now_ms();
    stage.Run(5);
    EXPECT_EQ(Percent(stage, 0), 9u);  // 102 of 1,024
    // Of 110 requests a tenth of the other's: 10; at 55 % 39; at 77 % about 48.
    EXPECT_NEAR(static_cast<double>(ShareOf(stage, 0, 110)), 10, 2);
    ASSERT_LT(stage.now_ms() - begin_ms, 500) << "else the shares below are of other times";
    RunUntilMs(stage, begin_ms + 5'020);
    EXPECT_NEAR(Percent(stage, 0), 55, 3);
    EXPECT_NEAR(static_cast<double>(ShareOf(stage, 0, 110)), 39, 3);
    RunUntilMs(stage, begin_ms + 7'520);
    EXPECT_NEAR(Percent(stage, 0), 77, 3);
    RunUntilMs(stage, begin_ms + kDurationMs + 50);
    EXPECT_EQ(Percent(stage, 0), 100u);
    EXPECT_EQ(stage.rig().slow_starter().starting(), 0u);
    EXPECT_EQ(ShareOf(stage, 0, 20), 10u);
  });
}

TEST(SlowStart, ManyReasonsAreOneAbsenceAndANewAbsenceIsANewStart) {
  Play(
      2,
      [](Stage& stage) {
        stage.Run(10);
        Keep(stage, 0, EndpointBook::kDown);
        Keep(stage, 0, EndpointBook::kEjected);
        Free(stage, 0, EndpointBook::kDown);
        stage.Run(10);
        EXPECT_EQ(Percent(stage, 0), 100u);
        EXPECT_EQ(stage.rig().slow_starter().starting(), 0u) << "something still keeps it away";
        Free(stage, 0, EndpointBook::kEjected);
        stage.Run(kDurationMs / 2);
        EXPECT_NEAR(Percent(stage, 0), 50, 4);  // exponential, from 25 %
        Keep(stage, 0, EndpointBook::kForcedDown);
        stage.Run(10);
        EXPECT_EQ(stage.rig().slow_starter().starting(), 0u);
        Free(stage, 0, EndpointBook::kForcedDown);
        stage.Run(10);
        EXPECT_EQ(Percent(stage, 0), 25u);
        EXPECT_EQ(stage.rig().slow_starter().starting(), 1u);
      },
      [](UpstreamSettings& upstream) {
        upstream.slow_start.mode = SlowStartSettings::Mode::kExponential;
        upstream.slow_start.start_percent = 25;
      });
}

TEST(SlowStart, WhereAllComeBackTogetherNobodyIsHeldBack) {
  for (const Balance balance : {Balance::kRoundRobin, Balance::kLeastConn, Balance::kFirst, Balance::kP2c}) {
    Play(
        3,
        [balance](Stage& stage) {
          ShareOf(stage, 0, 3);
          for (uint32_t i = 0; i < 3; ++i) Keep(stage, i, EndpointBook::kDown);
          stage.Run(50);
          for (uint32_t i = 0; i < 3; ++i) Free(stage, i, EndpointBook::kDown);
          stage.Run(50);
          if (balance == Balance::kRoundRobin) EXPECT_EQ(ShareOf(stage, 0, 30), 10u);
          // Only one is there: it gets everything.
          Keep(stage, 1, EndpointBook::kDown);
          Keep(stage, 2, EndpointBook::kDown);
          stage.Run(50);
          EXPECT_EQ(ShareOf(stage, 0, 30), 30u);
        },
        [balance](UpstreamSettings& upstream) { upstream.balance = balance; });
  }
}

TEST(SlowStart, AnEndpointThatAReloadAddsStartsSlowlyANewUpstreamDoesNot) {
  Play(2, [](Stage& stage) {
    stage.Origin(2, SayOk);
    ShareOf(stage, 0, 4);
    stage.rig().Reload([](Settings& settings) {
      const std::string third = Rig::EndpointAddress(2);
      settings.upstreams[0].endpoints.push_back({*SocketAddress::Parse(third), 1, third});
      UpstreamSettings other = settings.upstreams[0];
      other.name = "other";
      settings.upstreams.push_back(other);
    });
    EXPECT_EQ(Percent(stage, 2), 9u) << "before the first shard goes by it";
    stage.Run(10);
    EXPECT_EQ(Percent(stage, 0), 100u);
    for (const auto& book : stage.rig().generations().back()->plan(1)->books) EXPECT_EQ(book->seen(), 0u);
    EXPECT_NEAR(static_cast<double>(ShareOf(stage, 2, 105)), 5, 2);
    // Taken out and added again it is a new one.
    stage.Run(kDurationMs);
    EXPECT_EQ(Percent(stage, 2), 100u);
    const auto endpoints = stage.rig().settings().upstreams[0].endpoints;
    stage.rig().Reload([](Settings& settings) { settings.upstreams[0].endpoints.pop_back(); });
    stage.Run(10);
    stage.rig().Reload([&](Settings& settings) { settings.upstreams[0].endpoints = endpoints; });
    stage.Run(10);
    EXPECT_EQ(Percent(stage, 2), 9u);
    // And one that goes in the middle of it is forgotten.
    stage.rig().Reload([](Settings& settings) { settings.upstreams[0].endpoints.pop_back(); });
    stage.Run(10);
    EXPECT_EQ(stage.rig().slow_starter().starting(), 0u);
  });
}

TEST(SlowStart, AReloadKeepsItAndOneWithoutEndsIt) {
  Play(2, [](Stage& stage) {
    ShareOf(stage, 0, 4);
    Keep(stage, 0, EndpointBook::kDown);
    stage.Run(10);
    Free(stage, 0, EndpointBook::kDown);
    stage.Run(kDurationMs / 2);
    EXPECT_NEAR(Percent(stage, 0), 55, 3);
    stage.rig().Reload([](Settings& settings) {
      settings.upstreams[0].balance = Balance::kLeastConn;
      settings.upstreams[0].endpoints[1].weight = 2;
    });
    stage.Run(10);
    EXPECT_NEAR(Percent(stage, 0), 55, 3);
    // Twice as long: so it is at about 32 %, and goes on from there.
    stage.rig().Reload(
        [](Settings& settings) { settings.upstreams[0].slow_start.duration_ms = 2 * kDurationMs; });
    stage.Run(50);
    EXPECT_NEAR(Percent(stage, 0), 32, 3);
    stage.Run(kDurationMs);
    EXPECT_NEAR(Percent(stage, 0), 77, 3);
    stage.rig().Reload([](Settings& settings) { settings.upstreams[0].slow_start = {}; });
    stage.Run(50);
    EXPECT_EQ(Percent(stage, 0), 100u);
    EXPECT_EQ(stage.rig().slow_starter().starting(), 0u);
    Keep(stage, 0, EndpointBook::kDown);
    stage.Run(10);
    Free(stage, 0, EndpointBook::kDown);
    stage.Run(10);
    EXPECT_EQ(Percent(stage, 0), 100u);
  });
}

// What one shard sets aside for itself has none.
TEST(SlowStart, AnEndpointThatRefusedComesBackWithAllOfItsShare) {
  Stage::Options options;
  options.settings = Rig::Defaults(2);
  options.settings.upstreams[0].slow_start.duration_ms = kDurationMs;
  Stage stage(1, std::move(options));
  sim::PeerServer& server = stage.Origin(0, SayOk);
  stage.Origin(1, SayOk);
  server.Stop();
  ShareOf(stage, 1, 10);
  ASSERT_EQ(Book(stage, 0)->page(0).counters.set_aside.Get(), 1u);
  server.Start();
  ASSERT_TRUE(stage.Until([&] { return Book(stage, 0)->page(0).counters.set_aside.Get() == 0; }, 20'000));
  EXPECT_EQ(Percent(stage, 0), 100u);
  EXPECT_EQ(ShareOf(stage, 0, 20), 10u);
}

// Thousands at one time: so many steps at once and no more, all of them end, and other news is not held up.
TEST(SlowStart, OfThousandsNotAllHaveAllSteps) {
  constexpr uint32_t kEndpoints = 3'000;
  constexpr uint32_t kShortMs = 1'000;
  Stage::Options options;
  options.settings = Rig::Defaults(2);
  std::vector<EndpointSettings>& endpoints = options.settings.upstreams[0].endpoints;
  for (uint32_t i = 2; i < kEndpoints; ++i) {
    const std::string address = "10.1." + std::to_string(i / 250) + "." + std::to_string(1 + i % 250) + ":80";
    endpoints.push_back({*SocketAddress::Parse(address), 1, address});
  }
  options.settings.upstreams[0].slow_start.duration_ms = kShortMs;
  Stage stage(9, std::move(options));
  stage.Run(10);
  for (uint32_t i = 1; i < kEndpoints; ++i) Keep(stage, i, EndpointBook::kDown);
  stage.Run(1'000);
  for (uint32_t i = 1; i < kEndpoints; ++i) Free(stage, i, EndpointBook::kDown);
  EXPECT_EQ(stage.rig().slow_starter().starting(), kEndpoints - 1);
  stage.Run(500);
  Keep(stage, 0, EndpointBook::kDraining);
  const Endpoint* first = Book(stage, 0)->page(0).endpoint;
  const auto knows = [&] { return first == nullptr || (first->view & EndpointBook::kDraining) != 0; };
  EXPECT_TRUE(stage.Until(knows, 10));
  // Whoever is late is so by what a round takes: 3,000 / 64 ticks of 10 ms.
  stage.Run(kShortMs - 500 + 1'000);
  EXPECT_EQ(stage.rig().slow_starter().starting(), 0u);
  for (uint32_t i = 1; i < kEndpoints; ++i) EXPECT_EQ(Book(stage, i)->seen(), 0u) << i;
}

}  // namespace
}  // namespace weir::lb::trial
