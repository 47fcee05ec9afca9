// Subsets: a route's requests stay with the endpoints that have its labels, and go elsewhere only if it says
// so.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "tests/sim/seeds.h"
#include "tests/sim/stage.h"

namespace weir::lb::trial {
namespace {

constexpr std::string_view kBusy = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy";
constexpr SubsetUse kAll = {};
constexpr SubsetUse kV2OrNone = {.number = 1, .else_any = false};
constexpr SubsetUse kV2OrAny = {.number = 1, .else_any = true};

// Endpoints 0 and 1 are v1, 2 and 3 are v2.
void Play(const std::function<void(UpstreamSettings&)>& change, const std::function<void(Stage&)>& scene) {
  ForEachSeed([&](uint64_t seed) {
    Stage::Options options;
    if (seed % 2 == 0) {
      options.faults.late_completion = 0.3;
      options.faults.short_receive = 0.3;
      options.faults.short_send = 0.3;
    }
    options.settings = Rig::Defaults(4);
    UpstreamSettings& upstream = options.settings.upstreams[0];
    for (uint32_t i = 0; i < 4; ++i) upstream.endpoints[i].labels = {{"version", i < 2 ? "v1" : "v2"}};
    upstream.subsets = {{{"version", "v2"}}, {{"version", "v3"}}};
    change(upstream);
    Stage stage(seed, std::move(options));
    scene(stage);
  });
}

UpstreamPlan& Plan(Stage& stage) { return *stage.rig().generations().back()->plan(0); }

// From now on requests are for this.
void Use(Stage& stage, SubsetUse use) {
  stage.rig().Reload([use](Settings& settings) {
    for (ListenerSettings& listener : settings.listeners) listener.direct.subset = use;
  });
  stage.Run(50);
}

// Says so of these endpoints, and nothing of the others.
void Say(Stage& stage, uint64_t bits, std::initializer_list<uint32_t> endpoints) {
  stage.world().On(stage.rig().control(), [&] {
    for (uint32_t i = 0; i < Plan(stage).books.size(); ++i) {
      const bool about = std::find(endpoints.begin(), endpoints.end(), i) != endpoints.end();
      stage.rig().publisher().Publish(Plan(stage).books[i], about ? bits : 0);
    }
  });
  stage.Run(10);
}

std::string Ask(Stage& stage) {
  Speaker& client = stage.Client(Get("/"));
  EXPECT_TRUE(stage.Until([&] { return client.heard.find("\r\n\r\n") != std::string::npos; }, 20'000));
  return client.heard.substr(0, 12);
}

// How many of `requests` each endpoint gets, as digits; -, if one is not answered with 200.
std::string Shares(Stage& stage, uint32_t requests) {
  std::vector<uint64_t> before;
  const auto requests_of = [&](uint32_t i) { return Plan(stage).books[i]->page(0).counters.requests.Get(); };
  for (uint32_t i = 0; i < Plan(stage).books.size(); ++i) before.push_back(requests_of(i));
  for (uint32_t i = 0; i < requests; ++i) {
    if (Ask(stage) != "HTTP/1.1 200") return "-";
  }
  std::string text;
  for (uint32_t i = 0; i < before.size(); ++i) text += std::to_string(requests_of(i) - before[i]);
  return text;
}

TEST(Subset, ItsEndpointsAndNoOthers) {
  Play([](UpstreamSettings&) {},
       [](Stage& stage) {
         for (uint32_t i = 0; i < 4; ++i) stage.Origin(i, SayOk);
         EXPECT_EQ(Shares(stage, 8), "2222");
         Use(stage, kV2OrNone);
         EXPECT_EQ(Shares(stage, 8), "0044");
         Say(stage, EndpointBook::kDown, {2});
         EXPECT_EQ(Shares(stage, 4), "0004");
         Say(stage, EndpointBook::kDown, {2, 3});
         EXPECT_EQ(Ask(stage), "HTTP/1.1 503");
         EXPECT_EQ(stage.counters().none_available.Get(), 1u);
         Use(stage, kV2OrAny);
         EXPECT_EQ(Shares(stage, 4), "2200");
         Say(stage, EndpointBook::kDraining, {3});
         EXPECT_EQ(Shares(stage, 4), "0040") << "back as soon as one is";
         Use(stage, kAll);
         EXPECT_EQ(Shares(stage, 6), "2220");
       });
}

TEST(Subset, OfNobody) {
  Play([](UpstreamSettings&) {},
       [](Stage& stage) {
         for (uint32_t i = 0; i < 4; ++i) stage.Origin(i, SayOk);
         Use(stage, {.number = 2, .else_any = false});
         EXPECT_EQ(Ask(stage), "HTTP/1.1 503");
         Use(stage, {.number = 2, .else_any = true});
         EXPECT_EQ(Shares(stage, 8), "2222");
         // A reload gives one of them the label.
         stage.rig().Reload(
             [](Settings& settings) { settings.upstreams[0].endpoints[1].labels = {{"version", "v3"}}; });
         stage.Run(50);
         EXPECT_EQ(Shares(stage, 4), "0400");
       });
}

// What was told of endpoints before a reload is known to the subsets that it brings.
TEST(Subset, OfAReloadKnowsWhoIsDown) {
  Play([](UpstreamSettings& upstream) { upstream.subsets.clear(); },
       [](Stage& stage) {
         for (uint32_t i = 0; i < 4; ++i) stage.Origin(i, SayOk);
         Say(stage, EndpointBook::kEjected, {3});
         stage.rig().Reload([](Settings& settings) {
           settings.upstreams[0].subsets = {{{"version", "v1"}}, {{"version", "v2"}}};
           settings.listeners[0].direct.subset = {.number = 2};
         });
         stage.Run(50);
         EXPECT_EQ(Shares(stage, 4), "0040");
       });
}

// Every request that an origin hears is refused; where they were.
std::vector<uint32_t> Tried(Stage& stage, uint32_t retries) {
  std::vector<uint32_t> heard;
  for (uint32_t i = 0; i < 4; ++i) {
    stage.Origin(i, [i, &heard](Speaker& speaker) {
      heard.push_back(i);
      speaker.Say(kBusy);
    });
  }
  stage.rig().Reload([retries](Settings& settings) {
    RouteSettings& direct = settings.listeners[0].direct;
    direct.retries = retries;
    direct.retry.statuses.set(503 - RetrySettings::kFirstStatus);
  });
  stage.Run(50);
  EXPECT_EQ(Ask(stage), "HTTP/1.1 503");
  return heard;
}

TEST(Subset, RetriesStayInIt) {
  Play([](UpstreamSettings& upstream) { upstream.retry_budget.on = false; },
       [](Stage& stage) {
         Use(stage, kV2OrNone);
         std::vector<uint32_t> heard = Tried(stage, 3);
         ASSERT_EQ(heard.size(), 4u);
         EXPECT_EQ(heard[0] + heard[1], 5u) << "each of the two";
         EXPECT_EQ(std::count_if(heard.begin(), heard.end(), [](uint32_t i) { return i < 2; }), 0);
       });
}

TEST(Subset, RetriesLeaveItLast) {
  Play([](UpstreamSettings& upstream) { upstream.retry_budget.on = false; },
       [](Stage& stage) {
         Use(stage, kV2OrAny);
         const std::vector<uint32_t> heard = Tried(stage, 4);
         ASSERT_EQ(heard.size(), 5u);
         EXPECT_EQ(heard[0] + heard[1], 5u) << "each of the two";
         EXPECT_EQ(heard[2] + heard[3], 1u) << "then the others";
         EXPECT_GE(heard[4], 2u) << "and one of the two again, rather than nobody";
       });
}

// Nobody listens there: it is set aside, and asked again after the same while each time, as requests for the
// subset have nobody else.
TEST(Subset, ItsLastEndpointIsNotSetAsideForLonger) {
  Play(
      [](UpstreamSettings& upstream) {
        upstream.set_aside_ms = 1'000;
        upstream.endpoints[3].labels.clear();
      },
      [](Stage& stage) {
        for (uint32_t i : {0u, 1u, 3u}) stage.Origin(i, SayOk);
        Use(stage, kV2OrNone);
        for (int i = 0; i < 5; ++i) {
          EXPECT_EQ(Ask(stage), "HTTP/1.1 502");
          Speaker& client = stage.Client(Get("/"));
          ASSERT_TRUE(stage.Until([&] { return client.Heard("\r\n\r\n"); }, 20'000));
          EXPECT_TRUE(client.Heard("HTTP/1.1 503") && client.Heard("Retry-After: 1\r\n")) << client.heard;
          stage.Run(1'100);
        }
        Use(stage, kV2OrAny);
        EXPECT_EQ(Ask(stage), "HTTP/1.1 200") << "tried elsewhere";
        stage.Origin(2, SayOk);
        stage.Run(1'100);
        EXPECT_EQ(Shares(stage, 2), "0020");
      });
}

TEST(Subset, PanicWithinIt) {
  Play(
      [](UpstreamSettings& upstream) {
        upstream.panic_percent = 50;
        upstream.endpoints[1].labels = {{"version", "v2"}};
      },
      [](Stage& stage) {
        for (uint32_t i = 0; i < 4; ++i) stage.Origin(i, SayOk);
        Use(stage, kV2OrNone);
        Say(stage, EndpointBook::kDown, {1, 2});
        EXPECT_EQ(Plan(stage).news->panic_levels, 0u) << "half of all are well";
        EXPECT_EQ(Shares(stage, 6), "0222") << "a third of its own are not enough";
        stage.Run(100);
        EXPECT_GT(Plan(stage).books[1]->page(0).counters.idle.Get(), 0u) << "its connections are kept";
        Use(stage, kAll);
        EXPECT_EQ(Shares(stage, 4), "2002");
      });
}

// The last tries of a request of before a reload, in the subset of its own configuration.
TEST(Subset, AnOldRequestIsTriedAgainInIt) {
  Play([](UpstreamSettings&) {},
       [](Stage& stage) {
         Speaker* held = nullptr;
         std::vector<uint32_t> heard;
         for (uint32_t i = 0; i < 4; ++i) {
           stage.Origin(i, [&held, &heard, i](Speaker& speaker) {
             heard.push_back(i);
             if (held == nullptr) {
               held = &speaker;
             } else {
               SayOk(speaker);
             }
           });
         }
         Use(stage, kV2OrNone);
         Speaker& client = stage.Client(Get("/"));
         ASSERT_TRUE(stage.Until([&] { return held != nullptr; }, 20'000));
         stage.rig().Reload([](Settings& settings) {
           for (EndpointSettings& endpoint : settings.upstreams[0].endpoints) endpoint.labels.clear();
           settings.upstreams[0].subsets.clear();
           settings.listeners[0].direct.subset = {};
         });
         stage.Run(50);
         ASSERT_EQ(stage.counters().retired_pools.Get(), 1u);
         held->peer.Close();
         ASSERT_TRUE(stage.Until([&] { return client.Heard("\r\n\r\n"); }, 20'000));
         EXPECT_TRUE(client.heard.starts_with("HTTP/1.1 200")) << client.heard;
         ASSERT_EQ(heard.size(), 2u);
         EXPECT_EQ(heard[0] + heard[1], 5u) << "each of the two";
       });
}

TEST(Subset, OfTcpConnections) {
  Play([](UpstreamSettings&) {},
       [](Stage& stage) {
         for (uint32_t i = 0; i < 4; ++i) stage.Origin(i, SayOk);
         Use(stage, kV2OrNone);
         const auto ask = [&] {
           Speaker& client = stage.Client(Get("/"), kTcpAddress);
           EXPECT_TRUE(stage.Until([&] { return client.Heard("200 OK") || client.over(); }, 20'000));
           return client.Heard("200 OK");
         };
         for (int i = 0; i < 4; ++i) EXPECT_TRUE(ask());
         EXPECT_EQ(Plan(stage).books[2]->page(0).counters.requests.Get(), 2u);
         EXPECT_EQ(Plan(stage).books[3]->page(0).counters.requests.Get(), 2u);
         Say(stage, EndpointBook::kDown, {2, 3});
         EXPECT_FALSE(ask());
         Use(stage, kV2OrAny);
         EXPECT_TRUE(ask());
       });
}

// The others of the upstream are no help to a route that asks for these labels.
TEST(Subset, TheLastOfOneIsNotEjected) {
  Play(
      [](UpstreamSettings& upstream) {
        upstream.endpoints[3].labels = {{"version", "v1"}};
        upstream.outliers.enabled = true;
        upstream.outliers.most_percent = 100;
        upstream.outliers.jitter_ms = 0;
      },
      [](Stage& stage) {
        for (uint32_t i = 0; i < 4; ++i) {
          stage.Origin(i, [i](Speaker& origin) {
            origin.Say(i == 0 || i == 2 ? "HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nno\n" : kOk);
          });
        }
        for (int i = 0; i < 40; ++i) Ask(stage);
        stage.Run(50);
        const auto ejected = [&](uint32_t i) {
          return (Plan(stage).books[i]->seen() & EndpointBook::kEjected) != 0;
        };
        EXPECT_TRUE(ejected(0));
        EXPECT_FALSE(ejected(2));
        Use(stage, kV2OrNone);
        EXPECT_EQ(Ask(stage), "HTTP/1.1 500");
      });
}

}  // namespace
}  // namespace weir::lb::trial
