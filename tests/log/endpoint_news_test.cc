#include "lb/upstream/endpoint_news.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/log/scripted_backend.h"

namespace weir::lb {
namespace {

std::vector<std::string> g_lines;
bool g_takes = true;

// Two shards that find endpoints in trouble, and the control shard that says so, all in this thread.
class EndpointNewsTest : public testing::Test {
 protected:
  struct Member {
    Member(uint32_t index, Switchboard& switchboard)
        : shard({.index = index, .arena_bytes = 1 << 20, .buffers = 1}, switchboard,
                [this](BufferPool&, CoreCounters&) {
                  auto made = std::make_unique<ScriptedBackend>();
                  backend = made.get();
                  return made;
                }) {}
    ScriptedBackend* backend = nullptr;
    Shard shard;
  };

  EndpointNewsTest() {
    g_lines.clear();
    g_takes = true;
  }

  static UpstreamSettings Settings(uint32_t endpoints) {
    UpstreamSettings settings;
    settings.name = "web";
    for (uint32_t i = 0; i < endpoints; ++i) {
      const std::string text = "10.0.0." + std::to_string(i / 200) + ":" + std::to_string(1 + i % 200);
      settings.endpoints.push_back({*SocketAddress::Parse(text), 1, text});
    }
    return settings;
  }
  // What was said meanwhile.
  std::vector<std::string> Turns() {
    for (int i = 0; i < 8; ++i) {
      for (Member* member : {&one_, &two_, &control_}) member->shard.RunTurn(false);
    }
    return std::exchange(g_lines, {});
  }
  std::vector<std::string> Pass(int64_t ms) {
    for (Member* member : {&one_, &two_, &control_}) PassTime(*member->backend, member->shard, ms);
    return Turns();
  }
  void Aside(Member& member, UpstreamPlan& plan, size_t endpoint, int error = ECONNREFUSED) {
    news_.SetAside(member.shard, plan, *plan.books[endpoint], error, 1'000);
  }
  void Back(Member& member, UpstreamPlan& plan, size_t endpoint) {
    news_.Back(member.shard, plan, *plan.books[endpoint]);
  }

  using Lines = std::vector<std::string>;
  Switchboard switchboard_{3};
  Member one_{0, switchboard_};
  Member two_{1, switchboard_};
  Member control_{2, switchboard_};
  EndpointNews news_{control_.shard, [](const std::string& line) {
                       if (g_takes) g_lines.push_back(line);
                       return g_takes;
                     }};
};

TEST_F(EndpointNewsTest, OnceForAllShards) {
  UpstreamPlan plan(Settings(2), 2, nullptr);
  Aside(one_, plan, 0);
  EXPECT_EQ(Turns(), Lines{"upstream web: endpoint 10.0.0.0:1 is set aside for 1 s: Connection refused"});
  Aside(two_, plan, 0, ETIMEDOUT);
  Aside(one_, plan, 0);
  EXPECT_EQ(Turns(), Lines{});
  Back(two_, plan, 0);
  EXPECT_EQ(Turns(), Lines{"upstream web: endpoint 10.0.0.0:1 takes connections again"});
  Back(one_, plan, 0);
  EXPECT_EQ(Turns(), Lines{});
  news_.SetAside(two_.shard, plan, *plan.books[1], ETIMEDOUT, 250);
  EXPECT_EQ(Turns(),
            Lines{"upstream web: endpoint 10.0.0.0:2 is set aside for 250 ms: Connection timed out"});
}

TEST_F(EndpointNewsTest, TheLastOneAndTheFirst) {
  UpstreamPlan plan(Settings(3), 2, nullptr);
  for (size_t i : {0, 2}) Aside(one_, plan, i);
  EXPECT_EQ(Turns().size(), 2u);
  Aside(two_, plan, 1);
  EXPECT_EQ(Turns(), (Lines{"upstream web: endpoint 10.0.0.0:2 is set aside for 1 s: Connection refused",
                            "upstream web: no endpoint left"}));
  // A reload in between changes nothing of that.
  UpstreamSettings settings = Settings(3);
  settings.set_aside_ms *= 2;
  UpstreamPlan next(settings, 2, &plan);
  Back(one_, next, 1);
  EXPECT_EQ(Turns(), (Lines{"upstream web: endpoint 10.0.0.0:2 takes connections again",
                            "upstream web: an endpoint is there again"}));
  Back(one_, next, 0);
  EXPECT_EQ(Turns(), Lines{"upstream web: endpoint 10.0.0.0:1 takes connections again"});
}

TEST_F(EndpointNewsTest, WhatIsOverBeforeItIsToldIsNot) {
  UpstreamPlan plan(Settings(2), 2, nullptr);
  Aside(one_, plan, 0);
  Back(two_, plan, 0);
  EXPECT_EQ(Turns(), Lines{});
  Aside(one_, plan, 0);
  Back(two_, plan, 0);
  Aside(two_, plan, 0, ETIMEDOUT);
  EXPECT_EQ(Turns(), Lines{"upstream web: endpoint 10.0.0.0:1 is set aside for 1 s: Connection timed out"});
}

TEST_F(EndpointNewsTest, AThousandAreAFewLines) {
  UpstreamPlan plan(Settings(1'000), 2, nullptr);
  for (size_t i = 0; i < 1'000; ++i) Aside(i % 2 == 0 ? one_ : two_, plan, i);
  Lines lines = Turns();
  ASSERT_EQ(lines.size(), EndpointNews::kMostEndpointLines);
  EXPECT_EQ(std::count(lines.begin(), lines.end(), "upstream web: no endpoint left"), 1);
  size_t told = lines.size();
  // Flapping on.
  for (int round = 0; round < 50; ++round) {
    for (size_t i = 0; i < 10; ++i) Back(one_, plan, i);
    lines = Turns();
    for (size_t i = 0; i < 10; ++i) Aside(two_, plan, i);
    const Lines more = Turns();
    told += lines.size() + more.size();
    for (const std::string& line : more) EXPECT_EQ(line, "upstream web: no endpoint left");
  }
  EXPECT_EQ(told, EndpointNews::kMostLines);
  lines = Pass(EndpointNews::kWindowMs + 1);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0], "endpoints: and " + std::to_string(1'001 + 50 * 2 * 11 - told) +
                          " more changes (/upstreams has what is so)");
  Back(one_, plan, 0);
  EXPECT_EQ(Turns().size(), 2u);
}

TEST_F(EndpointNewsTest, WhatStandardErrorDoesNotTakeIsCounted) {
  UpstreamPlan plan(Settings(2), 2, nullptr);
  g_takes = false;
  Aside(one_, plan, 0);
  EXPECT_EQ(Turns(), Lines{});
  EXPECT_EQ(Pass(EndpointNews::kWindowMs + 1), Lines{});
  g_takes = true;
  EXPECT_EQ(Pass(EndpointNews::kWindowMs + 1),
            Lines{"endpoints: and 1 more changes (/upstreams has what is so)"});
  EXPECT_EQ(Pass(EndpointNews::kWindowMs + 1), Lines{});
}

}  // namespace
}  // namespace weir::lb
