// What a reload touches and what it leaves alone, scene by scene (http_seeds_test has whole days of them).
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>

#include "tests/sim/seeds.h"
#include "tests/sim/stage.h"

namespace weir::lb::trial {
namespace {

constexpr std::string_view kUpgrade = "Connection: upgrade\r\nUpgrade: chat\r\n";
constexpr std::string_view kSwitching =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n";
// A reload's order and the house keeper's next round.
constexpr int64_t kSettleMs = 250;

void Play(uint32_t endpoints, const std::function<void(Stage&)>& scene) {
  ForEachSeed([&](uint64_t seed) {
    Stage::Options options;
    options.settings = Rig::Defaults(endpoints);
    Stage stage(seed, std::move(options));
    scene(stage);
  });
}

std::vector<EndpointSettings>& Endpoints(Settings& settings) { return settings.upstreams[0].endpoints; }

void DropEndpoint(Settings& settings, uint32_t endpoint) {
  std::erase_if(Endpoints(settings), [endpoint](const EndpointSettings& other) {
    return other.text == Rig::EndpointAddress(endpoint);
  });
}

void MarkResponses(Settings& settings, const std::string& value) {
  for (ListenerSettings& listener : settings.listeners)
    listener.direct.response_fields = "X-Generation: " + value + "\r\n";
}

void ReloadAndSettle(Stage& stage, const std::function<void(Settings&)>& change) {
  stage.rig().Reload(change);
  stage.Run(kSettleMs);
}

TEST(Reload, ARequestEndsWithWhatItBeganWith) {
  Play(1, [](Stage& stage) {
    bool answer = false;
    stage.Origin(0, [&answer](Speaker& origin) {
      if (answer) origin.Say(kOk);
    });
    ReloadAndSettle(stage, [](Settings& settings) { MarkResponses(settings, "2"); });
    Speaker& client = stage.Client(Get("/slow"));
    ASSERT_TRUE(
        stage.Until([&] { return !stage.origins().empty() && stage.origin(0).Heard("\r\n\r\n"); }, 1000));
    ReloadAndSettle(stage, [](Settings& settings) { MarkResponses(settings, "3"); });
    EXPECT_EQ(stage.rig().generations().size(), 2u);
    EXPECT_EQ(stage.rig().generations().front()->users(), 1u);
    stage.origin(0).Say(kOk);
    ASSERT_TRUE(stage.Until([&] { return client.Heard("\r\n\r\nok"); }, 1000));
    EXPECT_TRUE(client.Heard("X-Generation: 2\r\n"));
    answer = true;
    client.Say(Get("/quick"));
    ASSERT_TRUE(stage.Until([&] { return client.Count("\r\n\r\nok") == 2; }, 1000));
    EXPECT_TRUE(client.Heard("X-Generation: 3\r\n"));
    stage.Run(kSettleMs);
    EXPECT_EQ(stage.rig().generations().size(), 1u);
  });
}

TEST(Reload, WhatStaysKeepsItsConnectionsWhateverChangesAroundIt) {
  Play(3, [](Stage& stage) {
    for (uint32_t i = 0; i < 3; ++i) stage.Origin(i, SayOk);
    // In a row, so that each endpoint gets one connection.
    for (int i = 0; i < 3; ++i) {
      Speaker& client = stage.Client(Get("/"));
      ASSERT_TRUE(stage.Until([&] { return client.Heard("ok"); }, 1000));
    }
    ASSERT_EQ(stage.origins().size(), 3u);
    ReloadAndSettle(stage, [](Settings& settings) {
      std::reverse(Endpoints(settings).begin(), Endpoints(settings).end());
      for (EndpointSettings& endpoint : Endpoints(settings)) endpoint.weight = 2;
      settings.upstreams[0].balance = Balance::kLeastConn;
    });
    for (int i = 0; i < 6; ++i) {
      Speaker& client = stage.Client(Get("/"));
      ASSERT_TRUE(stage.Until([&] { return client.Heard("ok"); }, 1000));
    }
    EXPECT_EQ(stage.origins().size(), 3u) << "no new connection";
    EXPECT_EQ(stage.counters().upstream_reused.Get(), 6u);
    for (const auto& book : stage.rig().generations().back()->plan(0)->books)
      EXPECT_EQ(book->page(0).counters.requests.Get(), 3u) << "counted on";
  });
}

TEST(Reload, AnEndpointThatIsRemovedLosesItsIdleConnectionsAndKeepsTheBusyOnes) {
  Play(2, [](Stage& stage) {
    bool hang = true;
    const auto hangs = [&hang](Speaker& origin) {
      if (!hang || !origin.Heard("/hang")) origin.Say(kOk);
    };
    for (uint32_t i = 0; i < 2; ++i) stage.Origin(i, hangs);
    for (int i = 0; i < 2; ++i) {
      Speaker& client = stage.Client(Get("/"));
      ASSERT_TRUE(stage.Until([&] { return client.Heard("ok"); }, 1000));
    }
    Speaker& one = stage.Client(Get("/hang/1"));
    Speaker& two = stage.Client(Get("/hang/2"));
    const auto hanging = [](Speaker& origin) { return origin.Heard("/hang") && !origin.over(); };
    ASSERT_TRUE(stage.Until(
        [&] {
          return std::count_if(stage.origins().begin(), stage.origins().end(),
                               [&](auto& o) { return hanging(*o); }) == 2;
        },
        1000));
    // A third and a fourth connection, idle.
    for (int i = 0; i < 2; ++i) {
      Speaker& client = stage.Client(Get("/"));
      ASSERT_TRUE(stage.Until([&] { return client.Heard("ok"); }, 1000));
    }
    ASSERT_EQ(stage.origins().size(), 4u);
    ReloadAndSettle(stage, [](Settings& settings) { DropEndpoint(settings, 1); });
    hang = false;
    uint32_t ended = 0;
    for (auto& origin : stage.origins()) {
      EXPECT_FALSE(origin->Heard("/hang") && origin->over()) << "a request was in flight";
      if (origin->over()) ++ended;
    }
    EXPECT_EQ(ended, 1u) << "the idle one of the endpoint that is gone, not the other's";
    for (auto& origin : stage.origins()) {
      if (origin->Heard("/hang")) origin->Say(kOk);
    }
    ASSERT_TRUE(stage.Until([&] { return one.Heard("ok") && two.Heard("ok"); }, 1000));
    stage.Run(kSettleMs);
    EXPECT_EQ(
        std::count_if(stage.origins().begin(), stage.origins().end(), [](auto& o) { return o->over(); }), 2);
    EXPECT_EQ(stage.rig().proxy(0).upstreams().retired(), 0u);
    for (int i = 0; i < 4; ++i) {
      Speaker& client = stage.Client(Get("/after"));
      ASSERT_TRUE(stage.Until([&] { return client.Heard("ok"); }, 1000));
    }
    EXPECT_EQ(stage.origins().size(), 4u) << "all at the endpoint that stayed, on its connections";
  });
}

TEST(Reload, AnEndpointThatIsSetAsideStaysSo) {
  ForEachSeed([](uint64_t seed) {
    Stage::Options options;
    options.settings = Rig::Defaults(2);
    options.settings.upstreams[0].set_aside_ms = 60'000;
    Stage stage(seed, std::move(options));
    stage.Origin(1, SayOk);  // nobody listens at the other
    const auto ask = [&stage] {
      Speaker& client = stage.Client(Get("/"));
      return stage.Until([&] { return client.Heard("ok"); }, 1000);
    };
    while (stage.counters().endpoints_set_aside.Get() == 0) ASSERT_TRUE(ask());
    const uint64_t failures = stage.counters().upstream_connect_failures.Get();
    for (uint32_t weight = 2; weight < 5; ++weight) {
      ReloadAndSettle(stage, [weight](Settings& settings) { Endpoints(settings)[1].weight = weight; });
      for (int i = 0; i < 4; ++i) ASSERT_TRUE(ask());
    }
    EXPECT_EQ(stage.counters().upstream_connect_failures.Get(), failures);
    // Its time over, it is tried again, and by the pool of today.
    stage.Origin(0, SayOk);
    stage.Run(61'000);
    for (int i = 0; i < 12; ++i) ASSERT_TRUE(ask());
    EXPECT_GT(stage.rig().generations().back()->plan(0)->books[0]->page(0).counters.connects.Get(), 0u);
  });
}

// By the class of what the client got, whoever made it; each request once, however often it was tried, and
// none that never went there.
TEST(Reload, ResponsesOfAnUpstreamAreCountedOn) {
  ForEachSeed([](uint64_t seed) {
    Stage::Options options;
    options.settings = Rig::Defaults(1);
    options.settings.upstreams[0].set_aside_ms = 1'000;
    options.settings.limits.target_bytes = 100;
    Stage stage(seed, std::move(options));
    sim::PeerServer& server = stage.Origin(0, [](Speaker& origin) {
      if (origin.Heard("/leaves")) return;
      const bool missing =
          origin.heard.rfind("/missing") > origin.heard.rfind("/there") && origin.Heard("/missing");
      origin.Say(missing ? "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n" : kOk);
    });
    const auto count = [&stage](uint32_t status_class) {
      return stage.rig().generations().back()->plan(0)->book->page(0).responses[status_class].Get();
    };
    const auto ask = [&stage](std::string_view target) {
      Speaker& client = stage.Client(Get(target));
      ASSERT_TRUE(stage.Until([&] { return client.Heard("\r\n\r\n"); }, 1000)) << target;
    };
    ask("/there/1");
    ask("/missing/2");
    ReloadAndSettle(stage, [](Settings& settings) { Endpoints(settings)[0].weight = 2; });
    ask("/there/3");
    ask("/" + std::string(200, 'a'));  // 414: it goes nowhere
    EXPECT_EQ(count(2), 2u) << "counted on";
    EXPECT_EQ(count(4), 1u);
    Speaker& client = stage.Client(Get("/leaves"));
    ASSERT_TRUE(stage.Until([&] { return stage.counters().requests_active.Get() == 1; }, 1000));
    stage.Run(50);
    client.peer.Reset();
    stage.Run(50);
    EXPECT_EQ(count(0), 1u);
    server.Stop();
    for (auto& origin : stage.origins()) origin->peer.Reset();
    stage.Run(50);
    ask("/there/5");  // 502: refused
    ask("/there/6");  // 503: set aside
    EXPECT_EQ(count(5), 2u);
    EXPECT_EQ(count(0) + count(1) + count(2) + count(3) + count(4), 4u);
  });
}

// A request that began before a reload is tried again where endpoints are known to be up by now.
TEST(Reload, ARetryInAnOldPoolPassesByWhatIsDown) {
  Play(2, [](Stage& stage) {
    bool hang = true;
    Speaker* hung = nullptr;
    std::vector<sim::PeerServer*> servers;
    for (uint32_t i = 0; i < 2; ++i) {
      servers.push_back(&stage.Origin(i, [&](Speaker& origin) {
        if (hang) {
          hung = &origin;
        } else {
          origin.Say(kOk);
        }
      }));
    }
    Speaker& client = stage.Client(Get("/"));
    ASSERT_TRUE(stage.Until([&] { return hung != nullptr; }, 1000));
    hang = false;
    const auto& books = stage.rig().generations().back()->plan(0)->books;
    const uint32_t other = books[0]->page(0).counters.active.Get() == 1 ? 1 : 0;
    ReloadAndSettle(stage, [](Settings& settings) { settings.upstreams[0].set_aside_ms = 60'000; });
    EXPECT_EQ(stage.counters().retired_pools.Get(), 1u);
    servers[other]->Stop();
    while (stage.counters().endpoints_set_aside.Get() == 0) {
      Speaker& next = stage.Client(Get("/"));
      ASSERT_TRUE(stage.Until([&] { return next.Heard("ok"); }, 1000));
    }
    hung->peer.Reset();
    ASSERT_TRUE(stage.Until([&] { return client.Heard("\r\n\r\n"); }, 1000));
    EXPECT_TRUE(client.Heard("200 OK")) << client.heard;
    EXPECT_EQ(stage.counters().upstream_connect_failures.Get(), 1u) << "nobody tries it again";
    stage.Run(kSettleMs);
    EXPECT_EQ(stage.counters().retired_pools.Get(), 0u);
  });
}

TEST(Reload, ARetryInAnOldPoolFindsWhatCameBack) {
  ForEachSeed([](uint64_t seed) {
    Stage::Options options;
    options.settings = Rig::Defaults(2);
    options.settings.upstreams[0].set_aside_ms = 1'000;
    Stage stage(seed, std::move(options));
    sim::PeerServer& server = stage.Origin(0, [](Speaker&) {});  // nobody listens at the other yet
    while (stage.counters().endpoints_set_aside.Get() == 0) {
      stage.Client(Get("/"));
      stage.Run(50);
    }
    Speaker& client = stage.Client(Get("/last"));
    ASSERT_TRUE(stage.Until([&] { return stage.origins().back()->Heard("/last"); }, 1000));
    ReloadAndSettle(stage, [](Settings& settings) { Endpoints(settings)[0].weight = 2; });
    stage.Origin(1, SayOk);
    stage.Run(1'500);
    server.Stop();
    for (auto& origin : stage.origins()) origin->peer.Reset();
    ASSERT_TRUE(stage.Until([&] { return client.Heard("\r\n\r\n"); }, 1000));
    EXPECT_TRUE(client.Heard("200 OK")) << client.heard;
  });
}

TEST(Reload, ATunnelLetsItsGenerationGo) {
  Play(1, [](Stage& stage) {
    stage.Origin(0, [](Speaker& origin) { origin.Say(kSwitching); });
    Speaker& client = stage.Client(Get("/", kUpgrade));
    ASSERT_TRUE(stage.Until([&] { return client.Heard("101"); }, 1000));
    ReloadAndSettle(stage, [](Settings& settings) {
      settings.upstreams.clear();
      settings.upstreams = Rig::Defaults(2).upstreams;
      DropEndpoint(settings, 0);
      std::erase_if(settings.listeners, [](const auto& other) { return other.text == kHttpAddress; });
    });
    EXPECT_EQ(stage.rig().generations().size(), 1u);
    EXPECT_EQ(stage.counters().retired_pools.Get(), 1u) << "what it runs on is still to be seen";
    client.Say("up");
    ASSERT_TRUE(stage.Until([&] { return stage.origin(0).Heard("up"); }, 1000));
    stage.origin(0).Say("down");
    ASSERT_TRUE(stage.Until([&] { return client.Heard("down"); }, 1000));
  });
}

TEST(Reload, ARemovedListenerEndsGently) {
  Play(1, [](Stage& stage) {
    stage.Origin(0, SayOk);
    Speaker& idle = stage.Client(Get("/1"));
    Speaker& never = stage.Client(Get("/1"));
    ASSERT_TRUE(stage.Until([&] { return idle.Heard("ok") && never.Heard("ok"); }, 1000));
    EXPECT_FALSE(idle.Heard("Connection: close"));
    ReloadAndSettle(stage, [](Settings& settings) {
      MarkResponses(settings, "2");
      settings.timeouts.keep_alive_ms = 5'000;
      std::erase_if(settings.listeners, [](const auto& other) { return other.text == kHttpAddress; });
    });
    EXPECT_FALSE(idle.over());
    Speaker& late = stage.Client(Get("/"));
    ASSERT_TRUE(stage.Until([&] { return late.over(); }, 1000)) << "nobody listens";
    EXPECT_NE(late.error(), 0);
    idle.Say(Get("/2"));
    ASSERT_TRUE(stage.Until([&] { return idle.over(); }, 1000));
    EXPECT_EQ(idle.Count("\r\n\r\nok"), 2u);
    EXPECT_TRUE(idle.Heard("Connection: close"));
    EXPECT_FALSE(idle.Heard("X-Generation")) << "its listener was never part of that";
    EXPECT_EQ(stage.rig().generations().size(), 2u);
    ASSERT_TRUE(stage.Until([&] { return never.over(); }, 61'000)) << "its keep-alive time";
    stage.Run(3'000);  // these clients never close: they are waited for
    EXPECT_EQ(stage.rig().generations().size(), 1u);
  });
}

TEST(Reload, AListenerThatComesBackIsAnotherOne) {
  Play(1, [](Stage& stage) {
    stage.Origin(0, SayOk);
    Speaker& before = stage.Client(Get("/1"));
    ASSERT_TRUE(stage.Until([&] { return before.Heard("ok"); }, 1000));
    const std::vector<ListenerSettings> listeners = stage.rig().settings().listeners;
    ReloadAndSettle(stage, [](Settings& settings) { settings.listeners.erase(settings.listeners.begin()); });
    ReloadAndSettle(stage, [&listeners](Settings& settings) {
      settings.listeners = listeners;
      MarkResponses(settings, "3");
    });
    Speaker& after = stage.Client(Get("/2"));
    ASSERT_TRUE(stage.Until([&] { return after.Heard("ok"); }, 1000));
    EXPECT_TRUE(after.Heard("X-Generation: 3\r\n"));
    before.Say(Get("/3"));
    ASSERT_TRUE(stage.Until([&] { return before.over(); }, 1000));
    EXPECT_TRUE(before.Heard("Connection: close"));
    EXPECT_FALSE(before.Heard("X-Generation"));
  });
}

TEST(Reload, TcpConnectionsGoOn) {
  Play(2, [](Stage& stage) {
    for (uint32_t i = 0; i < 2; ++i) stage.Origin(i);
    Speaker& client = stage.Client("one", kTcpAddress);
    ASSERT_TRUE(stage.Until([&] { return !stage.origins().empty() && stage.origin(0).Heard("one"); }, 1000));
    ReloadAndSettle(stage, [](Settings& settings) {
      settings.listeners.erase(settings.listeners.begin() + 1);
      Endpoints(settings).pop_back();
    });
    EXPECT_EQ(stage.rig().generations().size(), 1u);
    client.Say("two");
    ASSERT_TRUE(stage.Until([&] { return stage.origin(0).Heard("onetwo"); }, 1000));
    stage.origin(0).Say("three");
    ASSERT_TRUE(stage.Until([&] { return client.Heard("three"); }, 1000));
  });
}

}  // namespace
}  // namespace weir::lb::trial
