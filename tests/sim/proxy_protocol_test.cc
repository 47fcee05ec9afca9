// PROXY headers before requests and TCP connections: in pieces, from whom, wrong, late; and that nothing of a
// connection reaches an origin whose header is not right.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/random.h"
#include "lb/route/network_set.h"
#include "tests/proxy_protocol/headers.h"
#include "tests/sim/seeds.h"
#include "tests/sim/stage.h"

namespace weir::lb::trial {
namespace {

using Mode = ProxyProtocolSettings::Mode;

constexpr std::string_view kV1 = "PROXY TCP4 203.0.113.7 198.51.100.9 1234 443\r\n";
constexpr std::string_view kClient = "X-Forwarded-For: 203.0.113.7\r\n";

// Clients of the stage come from 127.0.0.1.
ProxyProtocolSettings From(Mode mode, const char* network) {
  ProxyProtocolSettings settings;
  settings.mode = mode;
  if (network != nullptr) {
    Network parsed;
    std::string error;
    EXPECT_TRUE(ParseNetwork(network, &parsed, &error));
    settings.from.allow = {network};
    settings.from.list =
        std::make_shared<const AccessList>(true, std::vector<Network>{parsed}, std::vector<Network>{});
  }
  return settings;
}

class Scene {
 public:
  Scene(uint64_t seed, Mode mode, const char* network, sim::Faults faults = {}) {
    Stage::Options options;
    options.faults = faults;
    stage_ = std::make_unique<Stage>(seed, std::move(options));
    stage_->Origin(0, SayOk);
    stage_->rig().Reload([&](Settings& settings) {
      for (ListenerSettings& listener : settings.listeners) listener.proxy_protocol = From(mode, network);
    });
    stage_->Run(10);
  }
  Stage& stage() { return *stage_; }
  const ProxyCounters& counters() { return stage_->counters(); }
  void ExpectRefused(Speaker& client, const Counter& counter, uint64_t count = 1) {
    EXPECT_TRUE(stage_->Until([&] { return client.over(); }, 4'000));
    EXPECT_EQ(client.heard, "");
    EXPECT_EQ(counter.Get(), count);
    EXPECT_TRUE(stage_->origins().empty());
  }

 private:
  std::unique_ptr<Stage> stage_;
};

TEST(ProxyProtocol, TheHeaderComesInTwoPieces) {
  for (const std::string& header : {std::string(kV1), V2Tcp4WithSum(Tlv(2, "a.test") + Tlv(5, "id"))}) {
    Scene scene(1, Mode::kRequired, nullptr);
    const std::string text = header + Get("/");
    size_t heard = 0;
    for (size_t cut = 1; cut < header.size() + 5; ++cut) {
      Speaker& client = scene.stage().Client(text.substr(0, cut));
      scene.stage().Run(1);
      client.Say(text.substr(cut));
      ASSERT_TRUE(scene.stage().Until([&] { return client.Heard("ok"); }, 4'000)) << cut;
      client.peer.Close();
      ASSERT_EQ(scene.stage().origins().size(), 1u);
      const std::string request = scene.stage().origin(0).heard.substr(heard);
      heard += request.size();
      EXPECT_EQ(request.find("GET / HTTP/1.1\r\n"), 0u);
      EXPECT_NE(request.find(kClient), std::string::npos) << request;
    }
  }
}

TEST(ProxyProtocol, ByteByByteWithFaults) {
  ForEachSeed([](uint64_t seed) {
    sim::Faults faults;
    faults.short_receive = faults.late_completion = faults.late_segment = faults.starved = 0.1;
    Scene scene(seed, Mode::kRequired, "127.0.0.0/8", faults);
    const std::string header = seed % 2 == 0 ? std::string(kV1) : V2Tcp4(Tlv(0xe0, std::string(3000, 'x')));
    Speaker& client = scene.stage().Client();
    client.peer.manner.most_fragment_bytes = 1 + seed % 3;
    client.Say(header + Get("/one") + Get("/two"));
    ASSERT_TRUE(scene.stage().Until([&] { return client.Count("ok") == 2; }, 4'000)) << client.heard;
    EXPECT_EQ(scene.counters().proxy_protocol_headers.Get(), 1u);
  });
}

TEST(ProxyProtocol, Tcp) {
  ForEachSeed([](uint64_t seed) {
    Scene scene(seed, Mode::kRequired, nullptr);
    Speaker& client = scene.stage().Client(V2Tcp4(), kTcpAddress);
    ASSERT_TRUE(scene.stage().Until([&] { return scene.stage().origins().size() == 1; }, 4'000));
    client.Say("hello");
    ASSERT_TRUE(scene.stage().Until([&] { return scene.stage().origin(0).heard == "hello"; }, 4'000));
    Speaker& other = scene.stage().Client(std::string(kV1) + "at once", kTcpAddress);
    ASSERT_TRUE(scene.stage().Until(
        [&] { return scene.stage().origins().size() == 2 && scene.stage().origin(1).heard == "at once"; },
        4'000));
    scene.stage().origin(1).Say("answer");
    ASSERT_TRUE(scene.stage().Until([&] { return other.heard == "answer"; }, 4'000));
  });
}

TEST(ProxyProtocol, LocalIsTheConnectionItself) {
  Scene scene(1, Mode::kRequired, nullptr);
  for (const std::string& header : {V2(0x20, 0, ""), std::string("PROXY UNKNOWN\r\n")}) {
    Speaker& client = scene.stage().Client(header + Get("/"));
    ASSERT_TRUE(scene.stage().Until([&] { return client.Heard("ok"); }, 4'000));
    EXPECT_TRUE(scene.stage().origin(0).Heard("X-Forwarded-For: 127.0.0.1\r\n"));
  }
}

TEST(ProxyProtocol, BadOnesEndAtOnce) {
  for (const char* const to : {kHttpAddress, kTcpAddress}) {
    const std::string behind = Get("/");
    Scene scene(1, Mode::kRequired, nullptr);
    const ProxyCounters& counters = scene.counters();
    scene.ExpectRefused(scene.stage().Client(behind, to), counters.proxy_protocol_missing);
    scene.ExpectRefused(scene.stage().Client(V2(0x31, 0x11, kV4Block) + behind, to),
                        counters.proxy_protocol_malformed);
    scene.ExpectRefused(scene.stage().Client("PROXY TCP4 1.2.3.4\r\n" + behind, to),
                        counters.proxy_protocol_malformed, 2);
    scene.ExpectRefused(scene.stage().Client(V2Tcp4(Tlv(3, "sum!")) + behind, to),
                        counters.proxy_protocol_malformed, 3);
    scene.ExpectRefused(scene.stage().Client("PROXY " + std::string(200, 'x'), to),
                        counters.proxy_protocol_too_long);
    scene.ExpectRefused(scene.stage().Client(V2Tcp4(Tlv(9, std::string(5000, 'x'))) + behind, to),
                        counters.proxy_protocol_too_long, 2);
    Speaker& cut = scene.stage().Client(V2Tcp4().substr(0, 20), to);
    cut.peer.Finish();
    scene.ExpectRefused(cut, counters.proxy_protocol_truncated);
    EXPECT_EQ(counters.proxy_protocol_headers.Get(), 0u);
  }
}

TEST(ProxyProtocol, WhoIsNotListed) {
  for (const char* const to : {kHttpAddress, kTcpAddress}) {
    for (const Mode mode : {Mode::kRequired, Mode::kOptional}) {
      Scene scene(1, mode, "10.0.0.0/8");
      const Counter& untrusted = scene.counters().proxy_protocol_untrusted;
      scene.ExpectRefused(scene.stage().Client(std::string(kV1) + Get("/"), to), untrusted);
      scene.ExpectRefused(scene.stage().Client(V2Tcp4() + Get("/"), to), untrusted, 2);
      if (mode == Mode::kRequired) scene.ExpectRefused(scene.stage().Client(Get("/"), to), untrusted, 3);
      if (mode == Mode::kRequired) scene.ExpectRefused(scene.stage().Client("", to), untrusted, 4);
    }
  }
}

TEST(ProxyProtocol, OptionalWithoutOneIsWhatItIs) {
  for (const char* const network : {"10.0.0.0/8", "127.0.0.1"}) {
    Scene scene(1, Mode::kOptional, network);
    const std::string post = Post("/", "Content-Length: 3\r\n", "abc");
    for (size_t cut = 1; cut < 8; ++cut) {
      Speaker& client = scene.stage().Client(post.substr(0, cut));
      scene.stage().Run(1);
      client.Say(post.substr(cut));
      ASSERT_TRUE(scene.stage().Until([&] { return client.Heard("ok"); }, 4'000)) << cut;
      EXPECT_TRUE(scene.stage().origin(0).Heard("X-Forwarded-For: 127.0.0.1\r\n"));
    }
    Speaker& tcp = scene.stage().Client("P", kTcpAddress);
    scene.stage().Run(1);
    tcp.Say("RO, said he");
    ASSERT_TRUE(
        scene.stage().Until([&] { return scene.stage().origins().back()->heard == "PRO, said he"; }, 4'000));
  }
}

// Who lets the server speak first is heard after a while, and who only has not asked yet is an idle client.
TEST(ProxyProtocol, OptionalAndSilent) {
  Scene scene(1, Mode::kOptional, "127.0.0.1");
  Speaker& client = scene.stage().Client("", kTcpAddress);
  scene.stage().Run(4'900);
  EXPECT_TRUE(scene.stage().origins().empty());
  ASSERT_TRUE(scene.stage().Until([&] { return scene.stage().origins().size() == 1; }, 300));
  EXPECT_FALSE(client.over());
  Speaker& idle = scene.stage().Client();
  scene.stage().Run(6'000);
  idle.Say(Get("/"));
  ASSERT_TRUE(scene.stage().Until([&] { return idle.Heard("ok"); }, 1'000));
}

TEST(ProxyProtocol, TooLate) {
  for (const std::string_view begin : {std::string_view(), kV1.substr(0, 1), kV1.substr(0, 20)}) {
    Scene scene(1, Mode::kRequired, nullptr);
    Speaker& client = scene.stage().Client(begin);
    scene.stage().Run(4'900);
    EXPECT_FALSE(client.over());
    scene.ExpectRefused(client, scene.counters().proxy_protocol_timeouts);
  }
}

// A probe that connects and leaves is nothing to be told of.
TEST(ProxyProtocol, NothingAtAll) {
  Scene scene(1, Mode::kRequired, nullptr);
  Speaker& client = scene.stage().Client();
  scene.stage().Run(10);
  client.peer.Finish();
  ASSERT_TRUE(scene.stage().Until([&] { return client.over(); }, 1'000));
  const ProxyCounters& counters = scene.counters();
  EXPECT_EQ(counters.proxy_protocol_missing.Get() + counters.proxy_protocol_truncated.Get() +
                counters.proxy_protocol_timeouts.Get(),
            0u);
}

TEST(ProxyProtocol, ADrainDoesNotWaitForOne) {
  Scene scene(1, Mode::kRequired, nullptr);
  Speaker& client = scene.stage().Client();
  scene.stage().Run(10);
  scene.stage().rig().Drain();
  EXPECT_TRUE(scene.stage().Until([&] { return client.over(); }, 1'500));
}

// What it said is in the log's lines, and gone with the connection (the rig counts the arena's bytes).
TEST(ProxyProtocol, AccessListsSeeTheClient) {
  Scene scene(1, Mode::kRequired, nullptr);
  scene.stage().rig().Reload([](Settings& settings) {
    Network network;
    std::string error;
    EXPECT_TRUE(ParseNetwork("203.0.113.0/24", &network, &error));
    for (ListenerSettings& listener : settings.listeners) {
      listener.access.list =
          std::make_shared<const AccessList>(false, std::vector<Network>{}, std::vector<Network>{network});
    }
  });
  scene.stage().Run(10);
  Speaker& denied = scene.stage().Client(V2Tcp4(Tlv(2, "a.test")) + Get("/"));
  ASSERT_TRUE(scene.stage().Until([&] { return denied.Heard("403"); }, 1'000));
  Speaker& tcp = scene.stage().Client(V2Tcp4(Tlv(2, "a.test")) + "hello", kTcpAddress);
  ASSERT_TRUE(scene.stage().Until([&] { return tcp.over(); }, 1'000));
  EXPECT_EQ(scene.counters().denied.Get(), 2u);
  EXPECT_TRUE(scene.stage().origins().empty());
}

// Out

class OutScene {
 public:
  explicit OutScene(uint64_t seed, const sim::Faults& faults = {}, uint32_t endpoints = 1,
                    ProxyVersion version = ProxyVersion::kV1) {
    Stage::Options options;
    options.faults = faults;
    options.settings = Rig::Defaults(endpoints);
    options.settings.upstreams[0].proxy_hello.version = version;
    stage_ = std::make_unique<Stage>(seed, std::move(options));
    for (uint32_t i = 0; i < endpoints; ++i) stage_->Origin(i, SayOk);
  }
  Stage& stage() { return *stage_; }

 private:
  std::unique_ptr<Stage> stage_;
};

std::string HelloOf(const Speaker& origin) { return origin.heard.substr(0, origin.heard.find('\n') + 1); }

TEST(ProxyHello, ComesFirstAndOnce) {
  ForEachSeed([](uint64_t seed) {
    sim::Faults faults;
    faults.short_send = faults.late_completion = faults.late_segment = 0.1;
    OutScene scene(seed, faults);
    Speaker& client = scene.stage().Client(Get("/1"));
    ASSERT_TRUE(scene.stage().Until([&] { return client.Count("ok") == 1; }, 10'000));
    client.Say(Get("/2") + Get("/3"));
    ASSERT_TRUE(scene.stage().Until([&] { return client.Count("ok") == 3; }, 10'000));
    ASSERT_EQ(scene.stage().origins().size(), 1u) << "its own connection is kept";
    const Speaker& origin = scene.stage().origin(0);
    EXPECT_EQ(origin.Count("PROXY TCP4 127.0.0.1 10.0.0.1 "), 1u) << origin.heard;
    EXPECT_TRUE(origin.heard.starts_with("PROXY TCP4 "));
    EXPECT_EQ(origin.heard.find("GET /1 HTTP/1.1\r\n"), HelloOf(origin).size());
  });
}

TEST(ProxyHello, NobodyElseGetsTheConnection) {
  OutScene scene(1);
  Speaker& one = scene.stage().Client(Get("/"));
  ASSERT_TRUE(scene.stage().Until([&] { return one.Heard("ok"); }, 1'000));
  Speaker& two = scene.stage().Client(Get("/"));
  ASSERT_TRUE(scene.stage().Until([&] { return two.Heard("ok"); }, 1'000));
  ASSERT_EQ(scene.stage().origins().size(), 2u);
  EXPECT_NE(HelloOf(scene.stage().origin(0)), HelloOf(scene.stage().origin(1))) << "another port";
  one.peer.Close();
  ASSERT_TRUE(scene.stage().Until([&] { return scene.stage().origin(0).over(); }, 1'000))
      << "it ends with its client";
  EXPECT_FALSE(scene.stage().origin(1).over());
}

// The one that is kept may end at any time, be at another endpoint than is next, or be closed for want of
// room.
TEST(ProxyHello, WhatIsKeptComesAndGoes) {
  ForEachSeed([](uint64_t seed) {
    OutScene scene(seed, {}, 3);
    std::vector<Speaker*> clients;
    Random random(seed);
    for (int round = 0; round < 200; ++round) {
      if (clients.size() < 5) clients.push_back(&scene.stage().Client());
      Speaker* const client = clients[random.Below(static_cast<uint32_t>(clients.size()))];
      client->heard.clear();
      client->Say(Get("/"));
      if (random.Below(3) == 0) {
        for (auto& origin : scene.stage().origins()) {
          if (!origin->over() && random.Below(2) == 0 && origin->heard.ends_with("\r\n\r\n")) {
            scene.stage().Run(5);
            origin->peer.Close();
          }
        }
      }
      ASSERT_TRUE(scene.stage().Until([&] { return client->Heard("ok") || client->over(); }, 10'000));
      if (random.Below(5) == 0) {
        client->peer.Close();
        std::erase(clients, client);
        scene.stage().Run(1);
      }
    }
    for (auto& origin : scene.stage().origins()) {
      EXPECT_TRUE(origin->heard.empty() || origin->heard.starts_with("PROXY TCP4 127.0.0.1 "))
          << origin->heard;
      EXPECT_LE(origin->Count("PROXY "), 1u);
    }
  });
}

TEST(ProxyHello, TcpAlsoWhenTheServerSpeaksFirst) {
  ForEachSeed([](uint64_t seed) {
    OutScene scene(seed);
    Speaker& client = scene.stage().Client("", kTcpAddress);
    ASSERT_TRUE(scene.stage().Until(
        [&] { return scene.stage().origins().size() == 1 && scene.stage().origin(0).Heard("\r\n"); }, 1'000));
    client.Say("hello");
    ASSERT_TRUE(scene.stage().Until([&] { return scene.stage().origin(0).Heard("\r\nhello"); }, 1'000));
    EXPECT_TRUE(scene.stage().origin(0).heard.starts_with("PROXY TCP4 127.0.0.1 10.0.0.1 "));
  });
}

// Kept connections are as they were begun: after a reload only those serve that begin as it says.
TEST(ProxyHello, AReloadLooksAtHowKeptConnectionsBegan) {
  OutScene scene(1, {}, 1, ProxyVersion::kNone);
  Speaker& client = scene.stage().Client(Get("/"));
  ASSERT_TRUE(scene.stage().Until([&] { return client.Count("ok") == 1; }, 1'000));
  size_t asked = 1;
  for (const ProxyVersion version :
       {ProxyVersion::kV1, ProxyVersion::kNone, ProxyVersion::kV1, ProxyVersion::kV2}) {
    scene.stage().rig().Reload(
        [&](Settings& settings) { settings.upstreams[0].proxy_hello.version = version; });
    scene.stage().Run(10);
    client.Say(Get("/"));
    ASSERT_TRUE(scene.stage().Until([&] { return client.Count("ok") == asked + 1; }, 1'000));
    ++asked;
  }
  // None, v1, none, v1, v2: of these only the one without a header was there already when it was wanted
  // again.
  ASSERT_EQ(scene.stage().origins().size(), 4u);
  const std::string_view begins[] = {"GET ", "PROXY TCP4 ", "PROXY TCP4 ", "\r\n\r\n"};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(scene.stage().origin(i).heard.starts_with(begins[i])) << i;
    EXPECT_EQ(scene.stage().origin(i).Count("GET / "), i == 0 ? 2u : 1u) << i;
  }
}

}  // namespace
}  // namespace weir::lb::trial
