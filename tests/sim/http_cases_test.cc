// Single cases of HTTP, byte by byte: what random days meet too seldom.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/sim/rig.h"

namespace weir::lb::trial {
namespace {

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

size_t CountOf(std::string_view text, std::string_view what) {
  size_t count = 0;
  for (size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

// One shard, one endpoint, whose every request goes to `on_request` with the number of its connection and its
// own number there, from 1.
class HttpCases : public testing::Test {
 protected:
  using OnRequest = std::function<void(sim::Peer&, int connection, int request)>;

  void Begin(OnRequest on_request, Settings settings = Rig::Defaults(1), uint64_t seed = 1) {
    connections_ = 0;
    received_.clear();
    Rig::Options options;
    options.world.seed = seed;
    options.buffers = buffers_;
    options.settings = std::move(settings);
    rig_ = std::make_unique<Rig>(std::move(options));
    on_request_ = std::move(on_request);
    origin_ = &world().Serve(Rig::EndpointAddress(0), [this](sim::Peer& accepted) {
      accepted.on_bytes = [this, connection = ++connections_, text = std::string(), request = 0](
                              sim::Peer& peer, std::string_view bytes) mutable {
        text += bytes;
        for (size_t end; (end = text.find("\r\n\r\n")) != std::string::npos;) {
          text.erase(0, end + 4);
          on_request_(peer, connection, ++request);
        }
      };
      accepted.on_end = [](sim::Peer& peer) { peer.Close(); };
    });
    client_ = &world().Connect(kHttpAddress);
    client_->on_bytes = [this](sim::Peer&, std::string_view bytes) { received_ += bytes; };
  }
  void End() {
    client_->Close();
    rig_->End();
  }
  sim::World& world() { return rig_->world(); }
  bool Receives(size_t answers) {
    return world().RunUntil([&] { return CountOf(received_, "HTTP/1.1 ") == answers; }, 20 * kNsPerSecond);
  }

  uint32_t buffers_ = 256;
  std::unique_ptr<Rig> rig_;
  OnRequest on_request_;
  sim::PeerServer* origin_ = nullptr;
  int connections_ = 0;
  sim::Peer* client_ = nullptr;
  std::string received_;
};

TEST_F(HttpCases, A408InPiecesOnAPooledConnectionIsAnIdleClose) {
  Begin([this](sim::Peer& peer, int connection, int request) {
    if (connection > 1 || request == 1) return peer.Send(kOk);
    peer.Send("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-");
    world().After(20 * kNsPerMs, [&peer] {
      peer.Send("Length: 0\r\n\r\n");
      peer.Close();
    });
  });
  client_->Send(kGet);
  ASSERT_TRUE(Receives(1));
  client_->Send(kGet);
  ASSERT_TRUE(Receives(2));
  EXPECT_EQ(CountOf(received_, kOk.substr(0, 15)), 2u) << received_;
  EXPECT_EQ(connections_, 2);
  End();
}

TEST_F(HttpCases, A408BehindAnInterimAnswerIsNotTakenForAnIdleClose) {
  Begin([](sim::Peer& peer, int connection, int request) {
    if (connection > 1 || request == 1) return peer.Send(kOk);
    peer.Send("HTTP/1.1 103 Early Hints\r\n\r\n");
    peer.Send("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    peer.Close();
  });
  const std::string get = "GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n";
  client_->Send(get);
  ASSERT_TRUE(Receives(1));
  client_->Send(get);
  ASSERT_TRUE(Receives(2));
  EXPECT_EQ(CountOf(received_, "HTTP/1.1 408"), 1u) << received_;
  EXPECT_EQ(connections_, 1);
  End();
}

TEST_F(HttpCases, SentBytesDoNotCountBackwardsWhenTheSecondAttemptCannotConnect) {
  Begin([this](sim::Peer& peer, int /*connection*/, int request) {
    if (request == 1) return peer.Send(kOk);
    origin_->Stop();
    peer.Reset();
  });
  client_->Send(kGet);
  ASSERT_TRUE(Receives(1));
  const uint64_t before = rig_->Sum(&ProxyCounters::upstream_bytes_sent);
  EXPECT_GT(before, 0u);
  client_->Send(kGet);
  ASSERT_TRUE(Receives(2));
  EXPECT_EQ(CountOf(received_, "HTTP/1.1 502"), 1u) << received_;
  EXPECT_GT(rig_->Sum(&ProxyCounters::upstream_bytes_sent), before);
  End();
}

// The reset's error goes to the send that waits, which tells only how far it got: the receive sees an end.
TEST_F(HttpCases, AResetDuringTheUploadDoesNotLookLikeTheEndOfTheAnswer) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    Begin(
        [this](sim::Peer& peer, int, int) {
          peer.StopReading();
          peer.Send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npart of it");
          world().After(100 * kNsPerMs, [&peer] { peer.Reset(); });
        },
        Rig::Defaults(1), seed);
    client_->Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n" +
                  std::string(2'000'000, 'x'));
    ASSERT_TRUE(world().RunUntil([this] { return client_->over(); }));
    EXPECT_EQ(CountOf(received_, "HTTP/1.1 200"), 1u) << received_;
    EXPECT_EQ(CountOf(received_, "0\r\n\r\n"), 0u) << received_;
    End();
  }
}

TEST_F(HttpCases, BytesBehindAnInterimAnswerAreCountedOnce) {
  const std::string hints = "HTTP/1.1 103 Early Hints\r\n\r\n";
  Begin([&](sim::Peer& peer, int, int) { peer.Send(hints + hints + std::string(kOk)); });
  client_->Send(kGet);
  ASSERT_TRUE(Receives(3));
  EXPECT_EQ(rig_->Sum(&ProxyCounters::upstream_bytes_received), 2 * hints.size() + kOk.size());
  End();
}

// Each holds a buffer with the first byte of a request whose turn does not come, and its answer never stands
// still for long.
TEST_F(HttpCases, RequestsBehindAnswersThatDripDoNotKeepTheBuffers) {
  constexpr int kDrips = 20;
  buffers_ = 16;
  std::function<void(sim::Peer&)> drip = [&](sim::Peer& peer) {
    if (peer.over()) return;
    peer.Send("1\r\nx\r\n");
    world().After(300 * kNsPerMs, [&] { drip(peer); });
  };
  Begin([&](sim::Peer& peer, int connection, int) {
    if (connection > kDrips) return peer.Send(kOk);
    peer.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    drip(peer);
  });
  std::vector<sim::Peer*> greedy;
  for (int i = 0; i < kDrips; ++i) {
    greedy.push_back(&world().Connect(kHttpAddress));
    greedy.back()->Send(kGet);
  }
  ASSERT_TRUE(world().RunUntil([this] { return connections_ == kDrips; }));
  world().RunFor(kNsPerSecond);
  for (sim::Peer* peer : greedy) peer->Send("G");
  world().RunFor(kNsPerSecond);
  client_->Send(kGet);
  EXPECT_TRUE(Receives(1));
  EXPECT_GT(rig_->Sum(&ProxyCounters::resets_for_buffers), 0u);
  for (sim::Peer* peer : greedy) peer->Reset();
  End();
}

// The origin takes every request and closes without an answer: what is tried again at one time is within the
// budget, though each request may be tried again.
TEST_F(HttpCases, WhatIsTriedAgainAtOneTimeIsWithinTheBudget) {
  for (const bool on : {true, false}) {
    SCOPED_TRACE(on);
    constexpr int kRequests = 100;
    Settings settings = Rig::Defaults(1);
    settings.upstreams[0].retry_budget.on = on;
    std::vector<sim::Peer*> waiting;
    Begin([&](sim::Peer& peer, int, int) { waiting.push_back(&peer); }, std::move(settings));
    std::vector<sim::Peer*> clients;
    for (int i = 0; i < kRequests; ++i) {
      clients.push_back(&world().Connect(kHttpAddress));
      clients.back()->Send(kGet);
    }
    ASSERT_TRUE(world().RunUntil([&] { return waiting.size() == kRequests; }));
    for (sim::Peer* peer : std::exchange(waiting, {})) peer->Close();
    world().RunFor(2 * kNsPerSecond);
    if (on) {
      EXPECT_GE(waiting.size(), 3u);
      EXPECT_LE(waiting.size(), kRequests / 5u);
    } else {
      EXPECT_EQ(waiting.size(), kRequests);
    }
    EXPECT_EQ(rig_->Sum(&ProxyCounters::retries_over_budget), kRequests - waiting.size());
    for (sim::Peer* peer : waiting) peer->Send(kOk);
    world().RunFor(kNsPerSecond);
    for (sim::Peer* peer : clients) peer->Close();
    End();
  }
}

// A budget of nothing: who found no connection, or a kept one that had ended, is tried again all the same.
TEST_F(HttpCases, WhatNeverReachedAnOriginNeedsNoBudget) {
  Settings settings = Rig::Defaults(2);  // at the second one nobody listens
  settings.upstreams[0].retry_budget.share.value = 0;
  settings.upstreams[0].retry_budget.min = 0;
  settings.upstreams[0].retries = 4;
  Begin(
      [](sim::Peer& peer, int connection, int request) {
        if (connection == 2) return peer.Close();
        request == 1 ? peer.Send(kOk) : peer.Close();
      },
      std::move(settings));
  client_->Send(kGet);
  ASSERT_TRUE(Receives(1));
  client_->Send(kGet);
  ASSERT_TRUE(Receives(2));
  EXPECT_EQ(CountOf(received_, "HTTP/1.1 200"), 1u) << received_;
  EXPECT_EQ(CountOf(received_, "HTTP/1.1 502"), 1u) << received_;
  EXPECT_EQ(connections_, 2) << "the kept one had ended: a new one is made, and that fails by itself";
  EXPECT_EQ(rig_->Sum(&ProxyCounters::upstream_connect_failures), 1u);
  EXPECT_EQ(rig_->Sum(&ProxyCounters::retries), 2u);
  EXPECT_EQ(rig_->Sum(&ProxyCounters::retries_over_budget), 1u);
  End();
}

TEST_F(HttpCases, TheTimeForARequestIncludesConnecting) {
  Settings settings = Rig::Defaults(1);
  settings.timeouts.request_ms = 500;
  Begin([](sim::Peer&, int, int) {}, std::move(settings));
  ASSERT_TRUE(world().RunUntil([this] { return client_->connected(); }));
  world().faults().connect_lost = 1;
  const int64_t start_ns = world().now_ns();
  client_->Send(kGet);
  ASSERT_TRUE(Receives(1));
  EXPECT_EQ(CountOf(received_, "HTTP/1.1 504"), 1u) << received_;
  EXPECT_LT(world().now_ns() - start_ns, 600 * kNsPerMs);
  EXPECT_EQ(rig_->Sum(&ProxyCounters::endpoints_set_aside), 0u);  // its own time was not over
  End();
}

}  // namespace
}  // namespace weir::lb::trial
