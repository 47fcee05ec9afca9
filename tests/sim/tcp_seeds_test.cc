// The whole proxy for TCP under random scenarios: what goes in at one end comes out at the other, each byte
// once and in order; the end of one direction is the end of that direction only; a connection that breaks is
// broken on both sides and never ends as if all were well.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/rig.h"
#include "tests/sim/seeds.h"

namespace weir::lb::trial {
namespace {

// A conversation: both sides send a stream of their own, and end it in their own time.
struct Talk {
  // The plan.
  uint64_t number = 0;
  uint64_t up_bytes = 0;
  uint64_t down_bytes = 0;
  enum class Order { kTogether, kClientFirst, kServerFirst } order = Order::kTogether;  // who ends first
  bool server_breaks = false;  // resets after half of what it sends
  bool client_breaks = false;
  bool quick = false;  // both sides, and little to say
  // What happened.
  int64_t begin_ns = 0;
  int64_t over_ns = 0;
  sim::Peer* client = nullptr;
  sim::Peer* server = nullptr;
  uint64_t up_seen = 0;
  uint64_t down_seen = 0;
  bool client_ended = false;  // saw the end
  bool server_ended = false;
  int client_error = 0;
  bool client_broke = false;  // as planned
  bool server_over = false;   // broke, as planned or not

  bool Over() const {
    return client_error != 0 || client_broke ||
           (client_ended && (server_ended || server_over || server == nullptr));
  }
};

struct Scenario {
  uint64_t seed = 1;
  sim::Faults faults;
  uint32_t shards = 1;
  uint32_t buffers = 256;
  uint32_t talks = 30;
  uint64_t most_bytes = 100'000;
  bool breaks = false;
  uint32_t quick_one_in = 0;
};

Scenario Draw(uint64_t seed, bool may_break) {
  Random random(seed);
  Scenario scenario;
  scenario.seed = seed;
  scenario.faults = sim::Faults::Drawn(random, may_break);
  scenario.faults.no_fd = 0;
  scenario.shards = 1 + random.Below(3);
  return scenario;
}

class Play {
 public:
  explicit Play(const Scenario& scenario) : scenario_(scenario), random_(scenario.seed * 7919) {
    Rig::Options options;
    options.world.seed = scenario.seed;
    options.world.faults = scenario.faults;
    options.shards = scenario.shards;
    options.buffers = scenario.buffers;
    options.settings = Rig::Defaults(3);
    constexpr uint64_t kSpliceFrom[] = {0, 1, 30'000};
    options.settings.splice_from_bytes = kSpliceFrom[random_.Below(3)];
    options.settings.upstreams[0].balance = random_.OneIn(2) ? Balance::kRoundRobin : Balance::kLeastConn;
    rig_ = std::make_unique<Rig>(std::move(options));
    for (uint32_t i = 0; i < 3; ++i) {
      servers_.push_back(&world().Serve(Rig::EndpointAddress(i), [this](sim::Peer& peer) { Serve(peer); }));
    }
    for (uint32_t i = 0; i < scenario.talks; ++i) AddTalk();
  }
  ~Play() { rig_->End(); }

  sim::World& world() { return rig_->world(); }
  Rig& rig() { return *rig_; }
  Random& random() { return random_; }
  sim::PeerServer& server(uint32_t i) { return *servers_[i]; }
  std::vector<std::unique_ptr<Talk>>& talks() { return talks_; }

  void Finish() {
    const auto done = [this] {
      return std::all_of(talks_.begin(), talks_.end(), [](const auto& talk) { return talk->Over(); });
    };
    EXPECT_TRUE(world().RunUntil(done)) << "clients still wait\n" << world().Dump();
    for (auto& talk : talks_) {
      if (talk->client != nullptr) talk->client->Reset();
    }
    rig_->End();
  }

  template <class Right>
  void Expect(Right&& right) {
    int shown = 0;
    for (const auto& talk : talks_) {
      if (right(*talk) || ++shown > 3) continue;
      ADD_FAILURE() << "talk " << talk->number << ": up " << talk->up_seen << " of " << talk->up_bytes
                    << ", down " << talk->down_seen << " of " << talk->down_bytes << ", order "
                    << static_cast<int>(talk->order) << (talk->server_breaks ? ", the server breaks" : "")
                    << (talk->client_breaks ? ", the client breaks" : "")
                    << (talk->client_ended ? ", the client saw the end" : "")
                    << (talk->server_ended ? ", the server saw the end" : "") << ", error "
                    << talk->client_error;
    }
    EXPECT_LE(shown, 3);
  }

  // Both streams arrived whole, ends included.
  static bool Whole(const Talk& talk) {
    return talk.client_ended && talk.server_ended && talk.up_seen == talk.up_bytes &&
           talk.down_seen == talk.down_bytes;
  }

 private:
  static constexpr size_t kHello = 8;  // the talk's number, so that the server knows it

  sim::Peer::Manner DrawManner() {
    switch (random_.Below(5)) {
      case 1:
        return {64, kNsPerMs, 0, 0};
      case 2:
        return {4096, 20 * kNsPerMs, 0, 0};
      case 3:
        return {16 * 1024, 100 * kNsPerUs, 400'000, 200'000};
      default:
        return {};
    }
  }

  void AddTalk() {
    talks_.push_back(std::make_unique<Talk>());
    Talk* talk = talks_.back().get();
    talk->number = talks_.size() - 1;
    talk->up_bytes = random_.OneIn(5) ? 0 : random_.Below(static_cast<uint32_t>(scenario_.most_bytes));
    talk->down_bytes = random_.OneIn(5) ? 0 : random_.Below(static_cast<uint32_t>(scenario_.most_bytes));
    talk->order = static_cast<Talk::Order>(random_.Below(3));
    if (scenario_.breaks && random_.OneIn(3))
      (random_.OneIn(2) ? talk->server_breaks : talk->client_breaks) = true;
    if (scenario_.quick_one_in > 0 && random_.OneIn(scenario_.quick_one_in)) {
      talk->quick = true;
      talk->up_bytes = talk->down_bytes = 100;
    }
    const sim::Peer::Manner manner = talk->quick ? sim::Peer::Manner() : DrawManner();
    world().After(random_.Below(1'000) * kNsPerMs, [this, talk, manner] {
      sim::Peer& peer = world().Connect(kTcpAddress);
      talk->client = &peer;
      talk->begin_ns = world().now_ns();
      peer.manner = manner;
      peer.on_bytes = [talk](sim::Peer&, std::string_view bytes) {
        EXPECT_EQ(sim::FirstWrongByte(2 * talk->number + 1, talk->down_seen, bytes), std::string_view::npos);
        talk->down_seen += bytes.size();
      };
      peer.on_end = [this, talk](sim::Peer& p) {
        talk->client_ended = true;
        talk->over_ns = p.world().now_ns();
        if (talk->order == Talk::Order::kServerFirst) SendUp(*talk);
        p.Close();
      };
      peer.on_error = [talk](sim::Peer&, int error) { talk->client_error = error; };
      std::string hello(kHello, '\0');
      for (size_t i = 0; i < kHello; ++i) hello[i] = static_cast<char>(talk->number >> (8 * i));
      peer.Send(hello);
      if (talk->order != Talk::Order::kServerFirst) SendUp(*talk);
    });
  }

  void SendUp(Talk& talk) {
    if (talk.client_breaks) {
      talk.client->Send(sim::StreamBytes(2 * talk.number, 0, talk.up_bytes / 2));
      talk.client->on_sent = [&talk](sim::Peer& peer) {
        peer.Reset();
        talk.client_broke = true;
      };
      return;
    }
    talk.client->Send(sim::StreamBytes(2 * talk.number, 0, talk.up_bytes));
    if (talk.order != Talk::Order::kServerFirst) talk.client->Finish();
  }

  void SendDown(Talk& talk) {
    sim::Peer& peer = *talk.server;
    if (talk.server_breaks) {
      peer.Send(sim::StreamBytes(2 * talk.number + 1, 0, talk.down_bytes / 2));
      const auto reset = [&talk](sim::Peer& p) {
        p.Reset();
        talk.server_over = true;
      };
      if (peer.bytes_queued() == 0) {
        reset(peer);
      } else {
        peer.on_sent = reset;
      }
      return;
    }
    peer.Send(sim::StreamBytes(2 * talk.number + 1, 0, talk.down_bytes));
    peer.Finish();
  }

  void Serve(sim::Peer& peer) {
    auto hello = std::make_shared<std::string>();
    auto of = std::make_shared<Talk*>(nullptr);
    peer.manner = DrawManner();
    peer.on_bytes = [this, hello, of](sim::Peer& p, std::string_view bytes) {
      if (*of == nullptr) {
        const size_t take = std::min(bytes.size(), kHello - hello->size());
        hello->append(bytes.substr(0, take));
        bytes.remove_prefix(take);
        if (hello->size() < kHello) return;
        uint64_t number = 0;
        for (size_t i = 0; i < kHello; ++i) number |= uint64_t{static_cast<uint8_t>((*hello)[i])} << (8 * i);
        ASSERT_LT(number, talks_.size());
        *of = talks_[number].get();
        EXPECT_EQ((*of)->server, nullptr) << "talk " << number << " came twice";
        (*of)->server = &p;
        if ((*of)->quick) p.manner = {};
        if ((*of)->order != Talk::Order::kClientFirst) SendDown(**of);
      }
      Talk& talk = **of;
      EXPECT_EQ(sim::FirstWrongByte(2 * talk.number, talk.up_seen, bytes), std::string_view::npos);
      talk.up_seen += bytes.size();
    };
    peer.on_end = [this, of](sim::Peer& p) {
      if (*of == nullptr) {
        p.Close();
        return;
      }
      Talk& talk = **of;
      talk.server_ended = true;
      if (talk.order == Talk::Order::kClientFirst) SendDown(talk);
      p.Close();
    };
    peer.on_error = [of](sim::Peer&, int) {
      if (*of != nullptr) (*of)->server_over = true;
    };
  }

  const Scenario scenario_;
  Random random_;
  std::unique_ptr<Rig> rig_;
  std::vector<sim::PeerServer*> servers_;
  std::vector<std::unique_ptr<Talk>> talks_;
};

TEST(TcpSeeds, PeacefulDaysCarryEverything) {
  ForEachSeed([](uint64_t seed) {
    Play play(Draw(seed, false));
    play.Finish();
    play.Expect(Play::Whole);
  });
}

// A side that resets, and connections that break by themselves: whoever sees an end has seen everything
// before it.
TEST(TcpSeeds, WhatBreaksNeverLooksEnded) {
  ForEachSeed([](uint64_t seed) {
    Scenario scenario = Draw(seed, seed % 2 == 0);
    scenario.breaks = true;
    Play play(scenario);
    play.Finish();
    play.Expect([](const Talk& talk) {
      const bool down_right = !talk.client_ended || talk.down_seen == talk.down_bytes;
      const bool up_right = !talk.server_ended || talk.up_seen == talk.up_bytes;
      return down_right && up_right && !(talk.client_ended && talk.server_breaks && talk.down_bytes > 1);
    });
  });
}

// One server at a time is down for a while: whom it did not break off is connected elsewhere.
TEST(TcpSeeds, KilledServersAreGoneAround) {
  ForEachSeed([](uint64_t seed) {
    Scenario scenario = Draw(seed, false);
    scenario.talks = 60;
    Play play(scenario);
    sim::PeerServer& server = play.server(play.random().Below(3));
    std::vector<sim::Peer*> broken_off;
    play.world().After(play.random().Below(600) * kNsPerMs, [&] {
      broken_off = server.connections();
      server.Stop();
      server.ResetAll();
      for (const auto& talk : play.talks()) {
        const bool hit = std::find(broken_off.begin(), broken_off.end(), talk->server) != broken_off.end();
        if (hit) talk->server_over = true;
      }
    });
    play.world().After(1'500 * kNsPerMs, [&] { server.Start(); });
    play.Finish();
    play.Expect([&](const Talk& talk) {
      // No server: it was killed between the handshake and its accept.
      return Play::Whole(talk) || talk.server == nullptr ||
             std::find(broken_off.begin(), broken_off.end(), talk.server) != broken_off.end();
    });
  });
}

// Few buffers and slow ends.
TEST(TcpSeeds, FewBuffersDoNotStopAShard) {
  ForEachSeed([](uint64_t seed) {
    Scenario scenario = Draw(seed, false);
    scenario.shards = 1;
    scenario.buffers = 8 + static_cast<uint32_t>(seed % 3) * 8;
    scenario.talks = 60;
    scenario.most_bytes = 300'000;
    scenario.quick_one_in = 4;
    scenario.faults.connect_lost = 0;
    Play play(scenario);
    play.Finish();
    play.Expect([](const Talk& talk) {
      return !talk.quick || (Play::Whole(talk) && talk.over_ns - talk.begin_ns < 10 * kNsPerSecond);
    });
    uint64_t lost = 0;
    for (const auto& talk : play.talks()) lost += Play::Whole(*talk) ? 0 : 1;
    EXPECT_LE(lost, play.rig().Sum(&ProxyCounters::resets_for_buffers));
  });
}

// A drain lets them end by themselves, and cuts those that have not after its time.
TEST(TcpSeeds, DrainsEndInTime) {
  ForEachSeed([](uint64_t seed) {
    Play play(Draw(seed, false));
    play.world().After(play.random().Below(1'200) * kNsPerMs, [&play] { play.rig().Drain(); });
    play.Finish();
    EXPECT_FALSE(play.rig().cut());
    play.Expect([](const Talk& talk) { return Play::Whole(talk) || talk.client_error == ECONNREFUSED; });
  });
}

}  // namespace
}  // namespace weir::lb::trial
