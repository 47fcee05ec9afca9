// A request about which another server is asked: nothing of it goes anywhere before a yes, and all of it does
// after one, whatever the network makes of the pieces.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>

#include "tests/sim/seeds.h"
#include "tests/sim/stage.h"

namespace weir::lb::trial {
namespace {

constexpr std::string_view kYes = "HTTP/1.1 200 OK\r\nX-User: ada\r\nContent-Length: 3\r\n\r\nyes";
constexpr std::string_view kNo = "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno";

// Endpoint 0 serves, endpoint 1 is asked first.
void Play(const std::function<void(Stage&, uint64_t)>& scene) {
  ForEachSeed([&](uint64_t seed) {
    Stage::Options options;
    if (seed % 4 != 0) {
      options.faults.late_completion = 0.3;
      options.faults.short_receive = seed % 4 == 1 ? 0.9 : 0.3;
      options.faults.short_send = 0.3;
    }
    options.settings = Rig::Defaults(2);
    UpstreamSettings auth = options.settings.upstreams[0];
    auth.name = "auth";
    auth.endpoints.erase(auth.endpoints.begin());
    auth.timeouts.response_ms = 1'000;
    options.settings.upstreams[0].endpoints.pop_back();
    options.settings.upstreams.push_back(auth);
    Stage stage(seed, std::move(options));
    stage.rig().Reload([seed](Settings& settings) {
      RouteList& list = settings.routes.emplace_back();
      list.name = "r";
      list.matches.resize(1);
      RouteSettings& route = list.routes.emplace_back();
      route.timeouts = settings.timeouts;
      route.buffer_bytes = seed % 3 == 0 ? 8192 : 0;
      auto asks = std::make_shared<AuthRequestSettings>();
      std::string error;
      ASSERT_TRUE(Template::Parse("/auth", &asks->path, &error));
      asks->copy = {"X-User"};
      asks->leg.upstream = 1;
      asks->leg.timeouts = settings.upstreams[1].timeouts;
      route.auth_request = asks;
      std::vector<RouteProblem> problems;
      list.table = RouteTable::Build(list.matches, {}, problems);
      settings.listeners[0].routes = 0;
    });
    stage.Run(250);
    scene(stage, seed);
  });
}

TEST(AuthRequest, AYesLetsTheWholeRequestThrough) {
  Play([](Stage& stage, uint64_t seed) {
    stage.Origin(0, SayOk);
    stage.Origin(1, [](Speaker& auth) { auth.Say(kYes); });
    Speaker& client = stage.Client();
    for (int i = 1; i <= 3; ++i) {
      const std::string body(static_cast<size_t>(i) * 700, 'B');
      const std::string fields = "X-User: root\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
      client.Say(Post("/" + std::to_string(i), fields, body.substr(0, seed % 700)));
      stage.Run(seed % 5);
      client.Say(body.substr(seed % 700));
      ASSERT_TRUE(stage.Until([&] { return client.Count("\r\n\r\nok") == static_cast<size_t>(i); }, 5'000));
      stage.Run(100);
    }
    const Generation& generation = *stage.rig().generations().back();
    for (uint32_t upstream = 0; upstream < 2; ++upstream)
      EXPECT_EQ(generation.plan(upstream)->book->page(0).responses[2].Get(), 3u) << upstream;
    std::string heard;
    for (auto& origin : stage.origins()) {
      if (origin->Heard("/1 HTTP")) heard = origin->heard;
    }
    EXPECT_NE(heard.find("X-User: ada\r\n"), std::string::npos);
    EXPECT_EQ(heard.find("root"), std::string::npos);
    size_t bodies = 0;
    for (const auto& origin : stage.origins()) {
      bodies += static_cast<size_t>(std::count(origin->heard.begin(), origin->heard.end(), 'B'));
    }
    EXPECT_EQ(bodies, 4'200u) << "not a byte is lost, and the one who is asked gets none";
    EXPECT_EQ(stage.counters().auth_requests.Get(), 3u);
    EXPECT_EQ(stage.counters().auth_denied.Get() + stage.counters().auth_failures.Get(), 0u);
  });
}

TEST(AuthRequest, ANoIsTheClientsAndNothingGoesOn) {
  Play([](Stage& stage, uint64_t seed) {
    stage.Origin(0, SayOk);
    stage.Origin(1, [](Speaker& auth) { auth.Say(kNo); });
    std::string body = Get("/body");
    body.resize(3000, 'x');
    const bool at_once = seed % 2 == 1;
    Speaker& client = stage.Client(Post("/", "Content-Length: 3000\r\n", at_once ? body : ""));
    ASSERT_TRUE(stage.Until([&] { return client.Heard("\r\n\r\nno"); }, 5'000));
    EXPECT_TRUE(client.Heard("403 No"));
    // A body that nobody read is no next request.
    if (!at_once) client.Say(body);
    ASSERT_TRUE(stage.Until([&] { return at_once ? true : client.over(); }, 10'000));
    stage.Run(500);
    EXPECT_EQ(client.Count("HTTP/1.1 "), 1u);
    ASSERT_EQ(stage.origins().size(), 1u);
    EXPECT_FALSE(stage.origin(0).Heard("xx"));
    EXPECT_EQ(stage.counters().auth_denied.Get(), 1u);
  });
}

TEST(AuthRequest, ReloadsAndDrainsWaitForTheAnswer) {
  Play([](Stage& stage, uint64_t) {
    stage.Origin(0, SayOk);
    stage.Origin(1, [](Speaker&) {});
    Speaker& client = stage.Client(Get("/"));
    ASSERT_TRUE(
        stage.Until([&] { return stage.origins().size() == 1 && stage.origin(0).Heard("/auth"); }, 5'000));
    stage.rig().Reload([](Settings& settings) {
      settings.listeners[0].routes = ListenerSettings::kNone;
      settings.routes.clear();
      settings.upstreams.pop_back();
    });
    stage.Run(300);
    stage.rig().Drain();
    stage.Run(50);
    EXPECT_FALSE(client.over());
    stage.origin(0).Say(kYes);
    ASSERT_TRUE(stage.Until([&] { return client.Heard("\r\n\r\nok"); }, 5'000));
    client.peer.Finish();
    ASSERT_TRUE(stage.Until([&] { return stage.rig().drained(); }, 5'000));
    EXPECT_FALSE(stage.rig().cut());
  });
}

TEST(AuthRequest, SilenceIsNoYes) {
  Play([](Stage& stage, uint64_t seed) {
    stage.Origin(0, SayOk);
    stage.Origin(1, [seed](Speaker& auth) {
      if (seed % 2 == 0) auth.Say("HTTP/1.1 200 OK\r\nX-User: ada\r\n");  // and no end
    });
    Speaker& client = stage.Client(Get("/"));
    ASSERT_TRUE(stage.Until([&] { return client.Heard("504"); }, 5'000));
    EXPECT_EQ(stage.origins().size(), 1u);
    EXPECT_EQ(stage.counters().auth_failures.Get(), 1u);
  });
}

TEST(AuthRequest, AClientThatLeavesTakesAllWithIt) {
  Play([](Stage& stage, uint64_t seed) {
    stage.Origin(0, SayOk);
    stage.Origin(1, [](Speaker&) {});
    Speaker& client = stage.Client(Post("/", "Content-Length: 3000\r\n", std::string(seed % 3000, 'x')));
    ASSERT_TRUE(stage.Until([&] { return stage.origins().size() == 1; }, 5'000));
    stage.Run(static_cast<int64_t>(seed % 7));
    client.peer.Reset();
    ASSERT_TRUE(stage.Until([&] { return stage.counters().client_aborts.Get() == 1; }, 5'000));
    ASSERT_TRUE(stage.Until([&] { return stage.origin(0).over(); }, 5'000));
    EXPECT_EQ(stage.origins().size(), 1u);
  });
}

}  // namespace
}  // namespace weir::lb::trial
