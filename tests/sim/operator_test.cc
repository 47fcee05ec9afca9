// What operators say of endpoints: who is drained or down gets nothing new on any shard, loses nothing, and
// comes back.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "lb/endpoint_desk.h"
#include "tests/sim/seeds.h"
#include "tests/sim/stage.h"

namespace weir::lb::trial {
namespace {

EndpointBook& Book(Stage& stage, uint32_t endpoint) {
  return *stage.rig().generations().back()->plan(0)->books[endpoint];
}
uint64_t RequestsOf(Stage& stage, uint32_t endpoint) {
  return Book(stage, endpoint).page(0).counters.requests.Get();
}

void Play(const std::function<void(Stage&)>& scene) {
  ForEachSeed([&](uint64_t seed) {
    Stage::Options options;
    if (seed % 2 == 0) options.faults.late_completion = 0.3;
    options.settings = Rig::Defaults(2);
    options.settings.upstreams[0].name = "web";
    Stage stage(seed, std::move(options));
    scene(stage);
  });
}

// The answer, once there is one.
EndpointDesk::Reply Say(Stage& stage, const std::string& target) {
  EndpointDesk::Reply reply;
  bool done = false;
  stage.world().On(stage.rig().control(), [&] {
    const Generation& newest = *stage.rig().generations().back();
    EndpointDesk(stage.rig().publisher(), nullptr,
                 [&newest](const EndpointEdit&, const EndpointDesk::EditInForce& then) {
                   then({409, "not here\n"}, newest);
                 })
        .Change(newest, false, target, "a test", [&](EndpointDesk::Reply said) {
          reply = std::move(said);
          done = true;
        });
  });
  EXPECT_TRUE(stage.Until([&] { return done; }, 10)) << target;
  return reply;
}
EndpointDesk::Reply Say(Stage& stage, uint32_t endpoint, const std::string& state) {
  return Say(stage, "/upstreams/web/endpoints/" + Rig::EndpointAddress(endpoint) + "?state=" + state);
}
void Ask(Stage& stage, Speaker& client) {
  client.heard.clear();
  client.Say(Get("/"));
  ASSERT_TRUE(stage.Until([&] { return client.Heard("\r\n\r\nok"); }, 1'000)) << client.heard;
}

TEST(Operator, TheAnswerComesWhenEveryShardGoesByIt) {
  Play([](Stage& stage) {
    for (uint32_t i = 0; i < 2; ++i) stage.Origin(i, SayOk);
    Speaker& client = stage.Client();
    for (const std::string state : {"drain", "down"}) {
      for (int i = 0; i < 4; ++i) Ask(stage, client);
      const EndpointDesk::Reply reply = Say(stage, 0, state);
      EXPECT_EQ(reply.status, 200);
      EXPECT_EQ(reply.text, "upstream web: endpoint 10.0.1.1:8000 is " +
                                std::string(state == "drain" ? "draining" : "down") + "\n");
      const uint64_t before = RequestsOf(stage, 0);
      const Endpoint* endpoint = Book(stage, 0).page(0).endpoint;
      EXPECT_FALSE(endpoint->usable()) << "at the moment of the answer";
      for (int i = 0; i < 4; ++i) Ask(stage, client);
      EXPECT_EQ(RequestsOf(stage, 0), before);
      EXPECT_TRUE(stage.Until([&] { return Book(stage, 0).page(0).counters.idle.Get() == 0; }, 500));
      EXPECT_EQ(Say(stage, 0, state).status, 200) << "said again";
      EXPECT_EQ(Say(stage, 0, "ready").status, 200);
      for (int i = 0; i < 4; ++i) Ask(stage, client);
      EXPECT_EQ(RequestsOf(stage, 0), before + 2);
    }
    EXPECT_EQ(Say(stage, 0, "drain").status, 200);
    EXPECT_EQ(Say(stage, 0, "down").status, 200);
    EXPECT_EQ(Book(stage, 0).seen(), EndpointBook::kForcedDown) << "one of them";
  });
}

TEST(Operator, WhatIsInFlightEndsAndTunnelsGoOn) {
  Play([](Stage& stage) {
    std::vector<Speaker*> asked;
    const auto hangs = [&asked](Speaker& origin) { asked.push_back(&origin); };
    for (uint32_t i = 0; i < 2; ++i) stage.Origin(i, hangs);
    Speaker& tunnel = stage.Client(Get("/", "Connection: upgrade\r\nUpgrade: chat\r\n"));
    ASSERT_TRUE(stage.Until([&] { return asked.size() == 1; }, 100));
    Speaker& waits = stage.Client(Get("/"));
    ASSERT_TRUE(stage.Until([&] { return asked.size() == 2; }, 100));
    asked[0]->Say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n");
    ASSERT_TRUE(stage.Until([&] { return tunnel.Heard(" 101 "); }, 100));
    for (uint32_t i = 0; i < 2; ++i) EXPECT_EQ(Say(stage, i, i == 0 ? "drain" : "down").status, 200);
    Speaker& late = stage.Client(Get("/"));
    ASSERT_TRUE(stage.Until([&] { return late.Heard(" 503 "); }, 100));
    stage.Run(1'000);
    asked[1]->Say(kOk);
    ASSERT_TRUE(stage.Until([&] { return waits.Heard("\r\n\r\nok"); }, 100));
    tunnel.Say("more");
    ASSERT_TRUE(stage.Until([&] { return asked[0]->Heard("more"); }, 100));
    EXPECT_TRUE(stage.Until([&] { return asked[1]->over(); }, 500)) << "its connection is not kept";
    EXPECT_FALSE(asked[0]->over());
    EXPECT_EQ(stage.counters().retries.Get(), 0u);
    for (uint32_t i = 0; i < 2; ++i) EXPECT_EQ(Say(stage, i, "ready").status, 200);
    Speaker& again = stage.Client(Get("/"));
    ASSERT_TRUE(stage.Until([&] { return asked.size() == 3; }, 100));
    asked[2]->Say(kOk);
    ASSERT_TRUE(stage.Until([&] { return again.Heard("\r\n\r\nok"); }, 100));
  });
}

// An operator's word outlasts a reload, and checks do not overrule it; who is removed is forgotten.
TEST(Operator, AReloadAndOthersWordsLeaveItAsItIs) {
  Play([](Stage& stage) {
    for (uint32_t i = 0; i < 2; ++i) stage.Origin(i, SayOk);
    EXPECT_EQ(Say(stage, 0, "down").status, 200);
    stage.world().On(stage.rig().control(), [&] {
      const auto& book = stage.rig().generations().back()->plan(0)->books[0];
      stage.rig().publisher().Set(book, EndpointBook::kDown);
      stage.rig().publisher().Clear(book, EndpointBook::kDown);
    });
    const auto endpoints = stage.rig().settings().upstreams[0].endpoints;
    stage.rig().Reload([](Settings& settings) { settings.upstreams[0].endpoints[0].weight = 3; });
    stage.Run(10);
    Speaker& client = stage.Client();
    for (int i = 0; i < 6; ++i) Ask(stage, client);
    EXPECT_EQ(RequestsOf(stage, 0), 0u);
    stage.rig().Reload([](Settings& settings) {
      std::vector<EndpointSettings>& all = settings.upstreams[0].endpoints;
      all.erase(all.begin());
    });
    stage.Run(10);
    EXPECT_EQ(Say(stage, 1, "down").status, 200);
    EXPECT_EQ(Say(stage, "/upstreams/web/endpoints/10.0.1.1:8000?state=ready").status, 404);
    stage.rig().Reload([&](Settings& settings) { settings.upstreams[0].endpoints = endpoints; });
    stage.Run(10);
    EXPECT_EQ(Book(stage, 0).seen(), 0u) << "a new one";
    EXPECT_EQ(Book(stage, 1).seen(), EndpointBook::kForcedDown);
    for (int i = 0; i < 4; ++i) Ask(stage, client);
    EXPECT_EQ(RequestsOf(stage, 0), 4u);
  });
}

TEST(Operator, WhatIsUnknownIsSaid) {
  Stage stage(1);
  stage.Origin(0, SayOk);
  EndpointDesk::Reply reply = Say(stage, "/upstreams/none/endpoints/a:1?state=drain");
  EXPECT_EQ(reply.status, 404);
  EXPECT_EQ(reply.text, "\"none\": no upstream has this name; /upstreams lists them\n");
  reply = Say(stage, "/upstreams/x/endpoints/10.0.1.1:8000?state=up");
  EXPECT_EQ(reply.status, 400);
  EXPECT_EQ(reply.text, "\"state=up\": expected state=drain, state=ready or state=down\n");
}

}  // namespace
}  // namespace weir::lb::trial
