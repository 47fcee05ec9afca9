// The loader's thread: results come one at a time, in order, and its end waits for the job at hand.
#include "lb/loader.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "lb/config/endpoint_overlay.h"

namespace weir::lb {
namespace {

Settings Empty() {
  Settings settings;
  settings.shards = 1;
  return settings;
}

std::unique_ptr<Loader::Result> Wait(Loader& loader) {
  pollfd event{loader.event_fd(), POLLIN, 0};
  if (poll(&event, 1, 10'000) != 1) return nullptr;
  return loader.Take();
}

TEST(Loader, MakesGenerationsAndEndsThem) {
  std::atomic<int> loads = 0;
  Loader loader(
      [&loads](const Settings& running) -> LoadedSettings {
        if (++loads % 3 == 0) return {std::nullopt, "a mistake\n"};
        Settings settings = running;
        settings.upstreams.resize(static_cast<size_t>(loads));
        return {settings, "a warning\n"};
      },
      nullptr);
  auto newest = std::make_unique<Generation>(Empty(), nullptr, nullptr);
  EXPECT_EQ(loader.Take(), nullptr);
  for (int i = 1; i <= 30; ++i) {
    EXPECT_FALSE(loader.busy());
    loader.Begin(*newest);
    EXPECT_TRUE(loader.busy());
    const std::unique_ptr<Loader::Result> result = Wait(loader);
    ASSERT_NE(result, nullptr);
    EXPECT_FALSE(loader.busy());
    if (i % 3 == 0) {
      EXPECT_EQ(result->generation, nullptr);
      EXPECT_EQ(result->messages, "a mistake\n");
      continue;
    }
    ASSERT_NE(result->generation, nullptr);
    EXPECT_EQ(result->messages, "a warning\n");
    EXPECT_EQ(result->generation->number(), newest->number() + 1);
    loader.End(std::exchange(newest, std::move(result->generation)));
  }
  EXPECT_EQ(loads, 30);
}

SocketAddress At(std::string_view text) { return *SocketAddress::Parse(text); }

// An edit, and a reload behind which it still holds.
TEST(Loader, WhatOperatorsChangedOutlastsReloads) {
  std::atomic<int> loads = 0;
  Settings read = Empty();
  read.upstreams.emplace_back().name = "web";
  read.upstreams[0].endpoints = {{At("10.0.0.1:80"), 1, "10.0.0.1:80"}};
  Loader loader(
      [&](const Settings&) -> LoadedSettings {
        ++loads;
        return {read, "read\n"};
      },
      nullptr);
  const EndpointEdit edit{EndpointEdit::Kind::kAdd, "web", "", At("10.0.0.2:80"), 3};
  const auto change = [&edit](const Settings& running) -> LoadedSettings {
    EditedSettings edited = EditEndpoints(running, edit);
    return {std::move(edited.settings), std::move(edited.text), edited.status};
  };
  auto newest = std::make_unique<Generation>(read, nullptr, nullptr);
  const auto wait = [&] {
    std::unique_ptr<Loader::Result> result = Wait(loader);
    if (result->generation != nullptr) loader.End(std::exchange(newest, std::move(result->generation)));
    return result;
  };
  loader.Begin(*newest, change);
  EXPECT_EQ(wait()->messages, "upstream web: endpoint 10.0.0.2:80 is added with weight 3\n");
  EXPECT_EQ(newest->plan(0)->settings.endpoints.size(), 2u);
  EXPECT_EQ(loads, 0);
  loader.Begin(*newest, change);
  const std::unique_ptr<Loader::Result> again = wait();
  EXPECT_EQ(again->status, 409);
  EXPECT_EQ(again->messages, "10.0.0.2:80: upstream web has this endpoint already\n");

  loader.Begin(*newest);
  EXPECT_EQ(wait()->messages, "read\n");
  EXPECT_EQ(newest->plan(0)->settings.endpoints.size(), 2u);
  read.upstreams[0].endpoints.push_back({At("10.0.0.2:80"), 3, "10.0.0.2:80"});
  loader.Begin(*newest);
  EXPECT_EQ(
      wait()->messages,
      "read\nupstream web: endpoint 10.0.0.2:80 was added by an operator, and is in the file now: the file "
      "has the same weight\n");
  EXPECT_EQ(newest->settings().overlay, nullptr);
  EXPECT_EQ(loads, 2);
}

TEST(Loader, ItsEndWaitsForTheJobAtHand) {
  std::atomic<bool> done = false;
  const Generation running(Empty(), nullptr, nullptr);
  {
    Loader loader(
        [&done](const Settings&) -> LoadedSettings {
          poll(nullptr, 0, 50);
          done = true;
          return {std::nullopt, ""};
        },
        nullptr);
    loader.Begin(running);
    poll(nullptr, 0, 10);
  }
  EXPECT_TRUE(done);
}

}  // namespace
}  // namespace weir::lb
