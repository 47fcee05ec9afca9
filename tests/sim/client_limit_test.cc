// max_connections_per_client in the whole: over all shards, for the client that a PROXY header names, through
// reloads; who is turned away gets an answer, and takes no place.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/sim/seeds.h"
#include "tests/sim/stage.h"

namespace weir::lb::trial {
namespace {

Stage::Options Shards(uint32_t shards, bool faults) {
  Stage::Options options;
  options.shards = shards;
  options.settings = Rig::Defaults(1);
  if (faults)
    options.faults.late_completion = options.faults.source_ends = options.faults.short_receive = 0.2;
  return options;
}

void Limit(Stage& stage, uint32_t limit) {
  stage.rig().Reload([limit](Settings& settings) {
    for (ListenerSettings& listener : settings.listeners) listener.max_connections_per_client = limit;
  });
  stage.Run(10);
}

// How many of these got `text`, when all have got that or are over.
size_t Got(Stage& stage, const std::vector<Speaker*>& clients, std::string_view text) {
  const auto settled = [&](Speaker* client) { return client->Heard(text) || client->over(); };
  EXPECT_TRUE(stage.Until([&] { return std::all_of(clients.begin(), clients.end(), settled); }, 10'000));
  return static_cast<size_t>(
      std::count_if(clients.begin(), clients.end(), [&](auto* client) { return client->Heard(text); }));
}

TEST(ClientLimit, IsOneForAllShards) {
  ForEachSeed([](uint64_t seed) {
    Stage stage(seed, Shards(3, true));
    stage.Origin(0, SayOk);
    Limit(stage, 5);
    std::vector<Speaker*> clients;
    for (int i = 0; i < 20; ++i) clients.push_back(&stage.Client(Get("/")));
    EXPECT_EQ(Got(stage, clients, "200 OK"), 5u);
    EXPECT_EQ(std::count_if(clients.begin(), clients.end(),
                            [](auto* client) { return client->Heard("429 Too Many Requests"); }),
              15);
    EXPECT_EQ(stage.rig().Sum(&ProxyCounters::rejected_clients), 15u);
    for (Speaker* client : clients) {
      if (!client->Heard("429")) continue;
      EXPECT_TRUE(client->Heard("Connection: close\r\n") && client->Heard("Retry-After: 1\r\n"));
      EXPECT_EQ(client->error(), 0) << "no reset";
    }
    // As many as leave may come.
    size_t left = 0;
    for (Speaker* client : clients) {
      if (!client->Heard("200 OK") || left == 2) continue;
      client->peer.Close();
      ++left;
    }
    stage.Run(100);
    clients.clear();
    for (int i = 0; i < 6; ++i) clients.push_back(&stage.Client(Get("/")));
    EXPECT_EQ(Got(stage, clients, "200 OK"), 2u);
    EXPECT_EQ(stage.rig().Sum(&ProxyCounters::open_connections), 5u);
  });
}

TEST(ClientLimit, EachListenerCountsForItself) {
  Stage stage(1, Shards(2, false));
  stage.Origin(0, SayOk);
  Limit(stage, 2);
  std::vector<Speaker*> http;
  std::vector<Speaker*> tcp;
  for (int i = 0; i < 4; ++i) http.push_back(&stage.Client(Get("/")));
  for (int i = 0; i < 4; ++i) tcp.push_back(&stage.Client(Get("/"), kTcpAddress));
  EXPECT_EQ(Got(stage, http, "200 OK"), 2u);
  EXPECT_EQ(Got(stage, tcp, "200 OK"), 2u);
  EXPECT_EQ(stage.rig().Sum(&ProxyCounters::tcp_connections), 2u) << "nothing was begun for the others";
  for (Speaker* client : tcp) EXPECT_EQ(client->over(), client->heard.empty());
}

TEST(ClientLimit, OfWhomTheProxyHeaderNames) {
  ForEachSeed([](uint64_t seed) {
    Stage stage(seed, Shards(2, true));
    stage.Origin(0, SayOk);
    stage.rig().Reload([](Settings& settings) {
      for (ListenerSettings& listener : settings.listeners) {
        listener.max_connections_per_client = 2;
        listener.proxy_protocol.mode = ProxyProtocolSettings::Mode::kRequired;
      }
    });
    stage.Run(10);
    for (const char* to : {kHttpAddress, kTcpAddress}) {
      std::vector<Speaker*> clients;
      for (int i = 0; i < 12; ++i) {
        const std::string header =
            "PROXY TCP4 203.0.113." + std::to_string(i % 3) + " 198.51.100.9 1234 443\r\n";
        clients.push_back(&stage.Client(header + Get("/"), to));
      }
      EXPECT_EQ(Got(stage, clients, "200 OK"), 6u) << to;
    }
    EXPECT_EQ(stage.rig().Sum(&ProxyCounters::rejected_clients), 12u);
    EXPECT_EQ(stage.rig().Sum(&ProxyCounters::open_connections), 12u);
  });
}

TEST(ClientLimit, IsKeptThroughReloads) {
  Stage stage(1, Shards(2, false));
  stage.Origin(0, SayOk);
  std::vector<Speaker*> before;
  for (int i = 0; i < 3; ++i) before.push_back(&stage.Client(Get("/")));
  EXPECT_EQ(Got(stage, before, "200 OK"), 3u) << "no limit yet";
  const auto more = [&stage](int count) {
    std::vector<Speaker*> clients;
    for (int i = 0; i < count; ++i) clients.push_back(&stage.Client(Get("/")));
    return Got(stage, clients, "200 OK");
  };
  Limit(stage, 4);
  EXPECT_EQ(more(6), 4u) << "those that were there before any limit are not counted";
  Limit(stage, 6);
  EXPECT_EQ(more(6), 2u);
  Limit(stage, 3);
  EXPECT_EQ(more(6), 0u) << "and nobody is ended";
  EXPECT_EQ(stage.rig().Sum(&ProxyCounters::open_connections), 9u);
  Limit(stage, 0);
  EXPECT_EQ(more(6), 6u);
}

// A flood of refused ones leaves room for others: they count for nothing, and few of them linger.
TEST(ClientLimit, AFloodTakesNoPlaces) {
  Stage::Options options = Shards(1, false);
  options.settings.max_connections = 20;
  Stage stage(1, std::move(options));
  stage.Origin(0, SayOk);
  Limit(stage, 10);
  std::vector<Speaker*> clients;
  for (int i = 0; i < 200; ++i) clients.push_back(&stage.Client(Get("/")));
  stage.Run(100);
  EXPECT_EQ(stage.counters().open_connections.Get(), 10u);
  EXPECT_EQ(stage.counters().rejected_at_limit.Get(), 0u);
  EXPECT_EQ(Got(stage, clients, "200 OK"), 10u);
  EXPECT_EQ(stage.counters().rejected_clients.Get(), 190u);
}

}  // namespace
}  // namespace weir::lb::trial
