#include "lb/generation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "core/socket_calls.h"
#include "core/unix_path.h"

namespace weir::lb {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr uint32_t kNew = Generation::kNew;

Settings With(std::initializer_list<const char*> listeners,
              std::initializer_list<std::pair<const char*, std::initializer_list<const char*>>> upstreams) {
  Settings settings;
  settings.shards = 2;
  for (const char* text : listeners)
    settings.listeners.push_back({Protocol::kHttp, *SocketAddress::Parse(text), text});
  for (const auto& [name, endpoints] : upstreams) {
    UpstreamSettings& upstream = settings.upstreams.emplace_back();
    upstream.name = name;
    for (const char* text : endpoints) upstream.endpoints.push_back({*SocketAddress::Parse(text), 1, text});
  }
  return settings;
}

class Sockets {
 public:
  uint32_t Open(Generation& generation, int fail_at = 0) {
    return generation.OpenSockets(
        [&](SocketAddress& address, const ListenOptions&) {
          if (++opened_ == fail_at) return -98;
          if (address.port == 0) address.port = 40'000;
          open_.insert(100 + opened_);
          return 100 + opened_;
        },
        [&](int fd) { open_.erase(fd); }, &error);
  }
  const std::set<int>& open() const { return open_; }
  int error = 0;

 private:
  int opened_ = 0;
  std::set<int> open_;
};

TEST(Generation, AnUpstreamThatIsTheSameKeepsItsPlan) {
  const Generation one(With({}, {{"a", {"10.0.0.1:80"}}, {"b", {"10.0.0.2:80"}}}), nullptr, nullptr);
  Settings next = With({}, {{"b", {"10.0.0.2:80"}}, {"c", {"10.0.0.3:80"}}, {"a", {"10.0.0.1:80"}}});
  const Generation two(next, &one, nullptr);
  EXPECT_EQ(two.number(), 2u);
  EXPECT_EQ(two.plan(0), one.plan(1));
  EXPECT_EQ(two.plan(2), one.plan(0));
  EXPECT_THAT(two.changed(), IsEmpty());
  EXPECT_EQ(two.upstreams_added(), 1u);
}

TEST(Generation, AnEndpointKeepsItsBookWhileItsUpstreamHasIt) {
  const Generation one(With({}, {{"a", {"10.0.0.1:80", "10.0.0.2:80"}}, {"b", {"10.0.0.1:80"}}}), nullptr,
                       nullptr);
  EXPECT_NE(one.plan(0)->books[0], one.plan(1)->books[0]) << "two upstreams count apart";
  const Generation two(With({}, {{"a", {"10.0.0.3:80", "10.0.0.2:80"}}}), &one, nullptr);
  EXPECT_EQ(two.plan(0)->books[1], one.plan(0)->books[1]);
  ASSERT_EQ(two.changed().size(), 2u);
  EXPECT_EQ(two.changed()[0].before, one.plan(0));
  EXPECT_EQ(two.changed()[0].after, two.plan(0));
  EXPECT_EQ(two.changed()[1].before, one.plan(1));
  EXPECT_EQ(two.changed()[1].after, nullptr);
  const Generation three(With({}, {{"a", {"10.0.0.1:80"}}}), &two, nullptr);
  EXPECT_NE(three.plan(0)->books[0], one.plan(0)->books[0]) << "it was gone";
}

TEST(Generation, AnUpstreamKeepsItsBookWhileThereIsOneOfItsName) {
  const Generation one(With({}, {{"a", {"10.0.0.1:80"}}, {"b", {"10.0.0.1:80"}}}), nullptr, nullptr);
  EXPECT_NE(one.plan(0)->book, one.plan(1)->book);
  const Generation two(With({}, {{"b", {"10.0.0.9:80"}}}), &one, nullptr);
  EXPECT_EQ(two.plan(0)->book, one.plan(1)->book);
  const Generation three(With({}, {{"a", {"10.0.0.1:80"}}, {"b", {"10.0.0.9:80"}}}), &two, nullptr);
  EXPECT_NE(three.plan(0)->book, one.plan(0)->book) << "it was gone";
}

TEST(Generation, EveryOptionOfAnUpstreamCounts) {
  const Settings settings = With({}, {{"a", {"10.0.0.1:80"}}});
  const Generation one(settings, nullptr, nullptr);
  const auto changed = [&](auto change) {
    Settings next = settings;
    change(next.upstreams[0]);
    return Generation(next, &one, nullptr).changed().size();
  };
  EXPECT_EQ(changed([](UpstreamSettings&) {}), 0u);
  EXPECT_EQ(changed([](UpstreamSettings& upstream) { upstream.balance = Balance::kLeastConn; }), 1u);
  EXPECT_EQ(changed([](UpstreamSettings& upstream) { upstream.endpoints[0].weight = 2; }), 1u);
  EXPECT_EQ(changed([](UpstreamSettings& upstream) { upstream.timeouts.response_ms = 1; }), 1u);
  EXPECT_EQ(changed([](UpstreamSettings& upstream) { upstream.idle_ms = 1; }), 1u);
}

TEST(Generation, ListenersAreTheSameByAddress) {
  Generation one(With({"10.0.0.1:80", "10.0.0.1:81", "127.0.0.1:0"}, {}), nullptr, nullptr);
  Sockets sockets;
  ASSERT_EQ(sockets.Open(one), kNew);
  EXPECT_EQ(sockets.open().size(), 6u);
  EXPECT_EQ(one.settings().listeners[2].address.port, 40'000);
  Generation two(With({"127.0.0.1:0", "10.0.0.1:82", "10.0.0.1:80"}, {}), &one, nullptr);
  EXPECT_THAT(two.listeners_before(), ElementsAre(2, kNew, 0));
  EXPECT_THAT(two.listeners_removed(), ElementsAre(1));
  EXPECT_EQ(two.settings().listeners[0].address.port, 40'000) << "the port that was chosen stays";
  ASSERT_EQ(sockets.Open(two), kNew);
  EXPECT_THAT(two.snapshot(1).sockets, ElementsAre(-1, testing::Ge(0), -1));
}

TEST(Generation, AListenerOfAnotherProtocolIsAnotherOne) {
  Generation one(With({"10.0.0.1:80"}, {}), nullptr, nullptr);
  Settings next = With({"10.0.0.1:80"}, {});
  next.listeners[0].protocol = Protocol::kTcp;
  const Generation two(next, &one, nullptr);
  EXPECT_THAT(two.listeners_before(), ElementsAre(kNew));
  EXPECT_THAT(two.listeners_removed(), ElementsAre(0));
}

// Real sockets, as their files are what it is about.
class UnixListeners : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = "/tmp/weir-generation.XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  Settings With(std::initializer_list<const char*> names) const {
    Settings settings;
    settings.shards = 2;
    std::string expected;
    for (const char* name : names) {
      const std::string text = "unix:" + Path(name);
      settings.listeners.push_back({Protocol::kHttp, *ParseUnixAddress(text, &expected), text});
    }
    return settings;
  }
  static uint32_t Open(Generation& generation) {
    int error = 0;
    return generation.OpenSockets(
        [](SocketAddress& address, const ListenOptions& options) { return ListenOn(address, options); },
        [](int fd) { close(fd); }, &error);
  }
  static void CloseAll(Generation& generation) {
    for (uint32_t shard = 0; shard < generation.shards(); ++shard) {
      for (const int fd : generation.snapshot(shard).sockets) {
        if (fd >= 0) close(fd);
      }
    }
  }
  uint32_t ModeOf(const std::string& name) const {
    struct stat found;
    return lstat(Path(name).c_str(), &found) == 0 ? found.st_mode & 07777 : 0;
  }
  bool Exists(const std::string& name) const { return ModeOf(name) != 0; }

 private:
  std::string folder_;
};

TEST_F(UnixListeners, OneShardHasTheSocket) {
  Generation one(With({"a", "b", "c"}), nullptr, nullptr);
  ASSERT_EQ(Open(one), kNew);
  EXPECT_THAT(one.snapshot(0).sockets, ElementsAre(testing::Ge(0), -1, testing::Ge(0)));
  EXPECT_THAT(one.snapshot(1).sockets, ElementsAre(-1, testing::Ge(0), -1));
  EXPECT_NE(one.listener_id(0), one.listener_id(1));
  EXPECT_EQ(ModeOf("a"), 0660u);
  one.RemoveFiles();
  EXPECT_FALSE(Exists("a") || Exists("b") || Exists("c"));
  CloseAll(one);
}

TEST_F(UnixListeners, AFileStaysAsLongAsItsListener) {
  Generation one(With({"a", "b"}), nullptr, nullptr);
  ASSERT_EQ(Open(one), kNew);
  Settings next = With({"c", "b"});
  next.listeners[1].unix_mode = 0600;
  Generation two(next, &one, nullptr);
  EXPECT_EQ(two.listener_id(1), one.listener_id(1));
  EXPECT_NE(two.listener_id(0), one.listener_id(0));
  ASSERT_EQ(Open(two), kNew);
  EXPECT_TRUE(Exists("a")) << "the generation is not in force yet";
  EXPECT_EQ(ModeOf("b"), 0660u);
  EXPECT_EQ(two.UpdateFiles(), 0);
  EXPECT_FALSE(Exists("a"));
  EXPECT_EQ(ModeOf("b"), 0600u);
  EXPECT_TRUE(Exists("c"));
  Generation three(With({"a"}), &two, nullptr);
  ASSERT_EQ(Open(three), kNew) << "the path may be had again";
  EXPECT_NE(three.listener_id(0), one.listener_id(0));
  three.UpdateFiles();
  EXPECT_FALSE(Exists("b") || Exists("c"));
  for (Generation* generation : {&one, &two, &three}) CloseAll(*generation);
}

TEST_F(UnixListeners, WhatIsNotWantedAfterAllLeavesNothing) {
  Generation one(With({"a"}), nullptr, nullptr);
  ASSERT_EQ(Open(one), kNew);
  std::ofstream(Path("file")) << "precious";
  Generation two(With({"a", "b", "file"}), &one, nullptr);
  EXPECT_EQ(Open(two), 2u);
  EXPECT_TRUE(Exists("a"));
  EXPECT_FALSE(Exists("b"));
  EXPECT_TRUE(Exists("file"));
  Generation three(With({"a", "b"}), &one, nullptr);
  ASSERT_EQ(Open(three), kNew);
  three.CloseSockets([](int fd) { close(fd); });
  EXPECT_TRUE(Exists("a"));
  EXPECT_FALSE(Exists("b"));
  CloseAll(one);
}

TEST(Generation, OneSocketThatCannotBeOpenedClosesTheOthers) {
  Generation one(With({"10.0.0.1:80", "10.0.0.1:81"}, {}), nullptr, nullptr);
  Sockets sockets;
  EXPECT_EQ(sockets.Open(one, 4), 1u);
  EXPECT_EQ(sockets.error, 98);
  EXPECT_THAT(sockets.open(), IsEmpty());
}

}  // namespace
}  // namespace weir::lb
