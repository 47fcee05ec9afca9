// The loader's thread: results come one at a time, in order, and its end waits for the job at hand.
#include "lb/loader.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>

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
