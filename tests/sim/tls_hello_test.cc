// ClientHellos before what a tcp listener with routes passes on: in pieces, wrong, late, with memory short;
// and that nothing of a connection reaches an origin whose hello is not right. The rig counts the arena's
// bytes.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/seeds.h"
#include "tests/sim/stage.h"
#include "tests/tls_hello/hellos.h"

namespace weir::lb::trial {
namespace {

std::string Named(std::string_view name, size_t padding = 0) {
  return HelloMessage([&] {
    HelloParts parts;
    parts.extensions = ServerName(name) + Alpn({"h2"}) + Extension(21, std::string(padding, '\0'));
    return parts.Body();
  }());
}

// Two origins: for a.example, and, with a fallback, for all others.
class Scene {
 public:
  explicit Scene(uint64_t seed, bool fallback = false, const sim::Faults& faults = {}) {
    Stage::Options options;
    options.faults = faults;
    options.settings = Rig::Defaults(1);
    options.settings.upstreams.push_back(Rig::Defaults(2).upstreams[0]);
    options.settings.upstreams[1].name = "other";
    options.settings.upstreams[1].endpoints.erase(options.settings.upstreams[1].endpoints.begin());
    stage_ = std::make_unique<Stage>(seed, std::move(options));
    stage_->Origin(0);
    stage_->rig().Reload([&](Settings& settings) { AddRoutes(settings, fallback); });
    stage_->Run(10);
  }
  Stage& stage() { return *stage_; }
  const ProxyCounters& counters() { return stage_->counters(); }
  Speaker& Client(std::string_view bytes) { return stage_->Client(bytes, kTcpAddress); }
  // The last origin's connection has heard just `bytes`.
  bool Passed(const std::string& bytes, size_t connections) {
    return stage_->Until(
        [&] { return stage_->origins().size() == connections && stage_->origins().back()->heard == bytes; },
        8'000);
  }
  void ExpectRefused(Speaker& client, const Counter& counter, uint64_t count = 1) {
    EXPECT_TRUE(stage_->Until([&] { return client.over(); }, 11'000));
    EXPECT_EQ(client.heard, "");
    EXPECT_EQ(counter.Get(), count);
    EXPECT_TRUE(stage_->origins().empty());
  }

 private:
  static void AddRoutes(Settings& settings, bool fallback) {
    RouteList list;
    list.name = "tls";
    list.matches.push_back({.sni = {"a.example", "*.a.example"}});
    list.matches.push_back({.alpn = {"never"}});
    if (fallback) list.matches.push_back({});
    for (uint32_t i = 0; i < list.matches.size(); ++i) {
      list.routes.push_back(settings.listeners[1].direct);
      list.routes.back().upstream = i == 0 ? 0 : 1;
    }
    std::vector<RouteProblem> problems;
    list.table = RouteTable::Build(list.matches, {}, problems);
    EXPECT_TRUE(problems.empty());
    settings.routes.push_back(std::move(list));
    for (ListenerSettings& listener : settings.listeners) {
      if (listener.protocol == Protocol::kTcp) listener.routes = 0;
    }
  }

  std::unique_ptr<Stage> stage_;
};

TEST(TlsHello, ItComesInTwoPieces) {
  Scene scene(1);
  const std::string wire = TlsRecords(Named("x.a.example"), 40) + "and more";
  for (size_t cut = 1; cut < wire.size(); ++cut) {
    Speaker& client = scene.Client(std::string_view(wire).substr(0, cut));
    scene.stage().Run(1);
    client.Say(std::string_view(wire).substr(cut));
    ASSERT_TRUE(scene.Passed(wire, cut)) << cut;
    scene.stage().origins().back()->Say("answer");
    ASSERT_TRUE(scene.stage().Until([&] { return client.heard == "answer"; }, 4'000));
    client.peer.Close();
  }
}

TEST(TlsHello, AnyPiecesWithFaults) {
  ForEachSeed([](uint64_t seed) {
    sim::Faults faults;
    faults.short_receive = faults.late_completion = faults.late_segment = faults.starved = 0.1;
    Scene scene(seed, false, faults);
    const std::string wire = TlsRecords(Named("a.example", seed % 5 * 3'000), 7 + seed % 3 * 700) +
                             std::string(seed % 2 * 70'000, 'e');
    Speaker& client = scene.Client("");
    client.peer.manner.most_fragment_bytes = 1 + seed % 4 * 500;
    client.Say(wire);
    ASSERT_TRUE(scene.Passed(wire, 1)) << wire.size();
    scene.stage().origin(0).Say("answer");
    ASSERT_TRUE(scene.stage().Until([&] { return client.heard == "answer"; }, 4'000));
    EXPECT_EQ(scene.counters().tls_hellos.Get(), 1u);
  });
}

TEST(TlsHello, BadOnesEndAtOnce) {
  for (const bool fallback : {false, true}) {
    Scene scene(1, fallback);
    const ProxyCounters& counters = scene.counters();
    scene.ExpectRefused(scene.Client(TlsRecord("")), counters.tls_hello_malformed);
    scene.ExpectRefused(scene.Client(TlsRecord(Named("a..example"))), counters.tls_hello_malformed, 2);
    scene.ExpectRefused(scene.Client(TlsRecord("\x01\xff\xff\xff")), counters.tls_hello_too_long);
    scene.ExpectRefused(scene.Client(TlsRecords(Named("a.example", 15'000), 1)), counters.tls_hello_too_long,
                        2);
    Speaker& cut = scene.Client(TlsRecord(Named("a.example")).substr(0, 50));
    cut.peer.Finish();
    scene.ExpectRefused(cut, counters.tls_hello_truncated);
    Speaker& reset = scene.Client(TlsRecord(Named("a.example")).substr(0, 50));
    scene.stage().Run(1);
    reset.peer.Reset();
    ASSERT_TRUE(scene.stage().Until([&] { return counters.tls_hello_truncated.Get() == 2; }, 1'000));
    if (fallback) continue;
    scene.ExpectRefused(scene.Client("GET / HTTP/1.1\r\n\r\n"), counters.tls_hello_missing);
    scene.ExpectRefused(scene.Client(TlsRecord(Named("b.example"))), counters.no_route);
    EXPECT_EQ(counters.tls_hellos.Get(), 1u);
  }
}

TEST(TlsHello, TooLate) {
  for (const size_t bytes : {0, 1, 50}) {
    Scene scene(1, true);
    Speaker& client = scene.Client(TlsRecord(Named("a.example")).substr(0, bytes));
    scene.stage().Run(9'900);
    EXPECT_FALSE(client.over());
    scene.ExpectRefused(client, scene.counters().tls_hello_timeouts);
  }
}

// Bytes that come one by one do not move the deadline.
TEST(TlsHello, Dripping) {
  Scene scene(1, true);
  const std::string wire = TlsRecord(Named("a.example"));
  Speaker& client = scene.Client("");
  for (size_t i = 0; i < 20 && !client.over(); ++i) {
    client.Say(wire.substr(i, 1));
    scene.stage().Run(600);
  }
  scene.ExpectRefused(client, scene.counters().tls_hello_timeouts);
}

TEST(TlsHello, NothingAtAll) {
  Scene scene(1);
  Speaker& client = scene.Client("");
  scene.stage().Run(10);
  client.peer.Finish();
  ASSERT_TRUE(scene.stage().Until([&] { return client.over(); }, 1'000));
  EXPECT_EQ(client.error(), 0) << "no reset";
  EXPECT_EQ(scene.counters().tls_hello_truncated.Get() + scene.counters().tls_hello_timeouts.Get(), 0u);
}

TEST(TlsHello, ADrainDoesNotWaitForOne) {
  Scene scene(1);
  Speaker& silent = scene.Client("");
  const std::string wire = TlsRecord(Named("a.example"));
  Speaker& begun = scene.Client(wire.substr(0, 30));
  scene.stage().Run(10);
  scene.stage().rig().Drain();
  EXPECT_TRUE(scene.stage().Until([&] { return silent.over(); }, 1'500));
  EXPECT_FALSE(begun.over());
  begun.Say(wire.substr(30));
  EXPECT_TRUE(scene.Passed(wire, 1)) << "who has begun is served";
}

// Where nothing is to be read first a server may speak first, whatever else is listening.
TEST(TlsHello, WithoutRoutesNothingIsWaitedFor) {
  Stage stage(1);
  stage.Origin(0);
  stage.Client("", kTcpAddress);
  EXPECT_TRUE(stage.Until([&] { return stage.origins().size() == 1; }, 100));
}

}  // namespace
}  // namespace weir::lb::trial
