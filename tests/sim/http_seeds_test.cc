// The whole proxy for HTTP under random scenarios, one family of scenarios a test. Whatever the family, no
// byte may be lost, doubled, changed or out of order, in a request, an answer or a tunnel; what looks whole
// is whole and was sent by an origin; nothing that is not idempotent reaches origins twice; and at the end
// everything is given back (Rig::End).
#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/client.h"
#include "tests/sim/origin.h"
#include "tests/sim/rig.h"
#include "tests/sim/seeds.h"
#include "tests/sim/story.h"

namespace weir::lb::trial {
namespace {

using Outcome = Record::Outcome;

struct Scenario {
  uint64_t seed = 1;
  sim::Faults faults;
  uint32_t fd_limit = 4096;
  uint32_t shards = 1;
  uint32_t buffers = 256;
  Settings settings = Rig::Defaults(3);
  Taste taste;
  uint32_t clients = 15;
  uint32_t most_requests = 6;          // each
  uint32_t most_depth = 3;             // requests at once
  int64_t arrivals_ns = kNsPerSecond;  // clients begin within
  bool slow_clients = true;
  bool slow_origins = true;
  int64_t think_ns = 0;
  int64_t origin_idle_close_ns = 0;
  uint32_t abort_one_in = 0;
  int64_t pulse_within_ns =
      0;  // a quick client beside the others gets each answer so soon; 0: no such client
  Client::Mercy mercy;
};

sim::Peer::Manner DrawManner(Random& random) {
  switch (random.Below(5)) {
    case 0:
      return {64, kNsPerMs, 0, 0};  // in crumbs
    case 1:
      return {4096, 20 * kNsPerMs, 0, 0};
    case 2:
      return {16 * 1024, 100 * kNsPerUs, 400'000, 200'000};
    default:
      return {};
  }
}

// A scenario running.
class Play {
 public:
  explicit Play(const Scenario& scenario) : scenario_(scenario), random_(scenario.seed * 1'000'003) {
    Rig::Options options;
    options.world.seed = scenario.seed;
    options.world.faults = scenario.faults;
    options.world.fd_limit = scenario.fd_limit;
    options.shards = scenario.shards;
    options.buffers = scenario.buffers;
    options.settings = scenario.settings;
    options.routed = scenario.seed % 2 == 1;
    rig_ = std::make_unique<Rig>(std::move(options));
    for (uint32_t i = 0; i < scenario.settings.upstreams[0].endpoints.size(); ++i) {
      origins_.push_back(std::make_unique<Origin>(world(), story_, Rig::EndpointAddress(i)));
      if (scenario.slow_origins) origins_.back()->habits.manner = DrawManner(random_);
      origins_.back()->habits.idle_close_ns = scenario.origin_idle_close_ns;
    }
    for (uint32_t i = 0; i < scenario.clients; ++i) AddClient();
    if (scenario.pulse_within_ns > 0) AddPulse();
  }
  ~Play() { rig_->End(); }

  sim::World& world() { return rig_->world(); }
  Rig& rig() { return *rig_; }
  Random& random() { return random_; }
  Story& story() { return story_; }
  Origin& origin(uint32_t i) { return *origins_[i]; }
  uint32_t origins() const { return static_cast<uint32_t>(origins_.size()); }

  bool Finish(int64_t limit_ns = 600 * kNsPerSecond) {
    const bool finished = world().RunUntil([this] { return Done(); }, limit_ns);
    if (!finished) {
      for (const Record& record : story_.records()) {
        if (record.outcome == Outcome::kPending) ADD_FAILURE() << story_.ToString(record);
      }
      ADD_FAILURE() << "clients still wait\n" << world().Dump();
      for (auto& client : clients_) client->GiveUp();
    }
    rig_->End();
    CheckPulse();
    return finished;
  }
  bool Done() const {
    return std::all_of(clients_.begin(), clients_.end(), [](const auto& client) { return client->done(); });
  }

  // Nothing was lost and everything was answered: then every byte and every answer is counted, and logged,
  // once.
  void CheckSums() {
    uint64_t bodies = 0;
    uint64_t answers[6] = {};
    for (const Record& record : story_.records()) {
      const Plan& plan = record.plan;
      const bool tunnel = plan.answer.switches;
      bodies += plan.body.length + (tunnel ? plan.echo_bytes : 0);
      const int status = tunnel ? 101 : plan.answer.status;
      ++answers[status / 100];
      const std::string line = rig_->LogLinesOf(plan.id);
      EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << line;
      EXPECT_NE(line.find("\"status\":" + std::to_string(status) + ","), std::string::npos) << line;
      EXPECT_NE(line.find("\"end\":\"ok\""), std::string::npos) << line;
    }
    uint64_t client_heard = 0;
    for (const auto& client : clients_) client_heard += client->bytes_received();
    uint64_t origin_heard = 0;
    uint64_t origin_said = 0;
    for (const auto& origin : origins_) {
      for (const sim::Peer* peer : origin->server().connections()) {
        origin_heard += peer->bytes_received();
        origin_said += peer->bytes_acknowledged();
      }
    }
    EXPECT_EQ(rig_->Sum(&ProxyCounters::client_bytes_received), bodies);
    EXPECT_EQ(rig_->Sum(&ProxyCounters::client_bytes_sent), client_heard);
    // A send that is told finished after its connection was closed is not counted.
    EXPECT_LE(rig_->Sum(&ProxyCounters::upstream_bytes_sent), origin_heard);
    if (scenario_.faults.late_completion == 0) {
      EXPECT_EQ(rig_->Sum(&ProxyCounters::upstream_bytes_sent), origin_heard);
    }
    EXPECT_EQ(rig_->Sum(&ProxyCounters::upstream_bytes_received), origin_said);
    EXPECT_EQ(rig_->RequestsCounted(), story_.records().size());
    for (uint32_t i = 0; i < 6; ++i) EXPECT_EQ(rig_->RequestsCounted(i), answers[i]) << i << "xx";
    EXPECT_EQ(rig_->Sum(&ProxyCounters::local_responses), 0u);
    const uint64_t retries = rig_->Sum(&ProxyCounters::retries);  // of connects that took too long
    if (scenario_.faults.connect_lost == 0) EXPECT_EQ(retries, 0u);
    EXPECT_EQ(rig_->Sum(&ProxyCounters::client_aborts), 0u);
    EXPECT_EQ(rig_->Sum(&ProxyCounters::upstream_connects) + rig_->Sum(&ProxyCounters::upstream_reused),
              story_.records().size() + retries);
  }

  // For every request: `right` says whether its outcome is one that may be.
  template <class Right>
  void Expect(Right&& right) {
    constexpr int kMostShown = 3;
    int shown = 0;
    for (const Record& record : story_.records()) {
      if (right(record)) continue;
      if (++shown > kMostShown) continue;
      ADD_FAILURE() << story_.ToString(record) << "\n" << rig_->LogLinesOf(record.plan.id);
    }
    EXPECT_LE(shown, kMostShown) << "not all are shown";
  }

 private:
  void AddClient() {
    std::vector<uint64_t> ids;
    const uint32_t requests = 1 + random_.Below(scenario_.most_requests);
    for (uint32_t i = 0; i < requests; ++i) {
      Plan plan = DrawPlan(random_, scenario_.taste);
      if (scenario_.abort_one_in > 0 && random_.OneIn(scenario_.abort_one_in)) DrawAbort(plan);
      ids.push_back(story_.Add(std::move(plan)).plan.id);
    }
    Client::Habits habits;
    habits.to = kHttpAddress;
    habits.from_ip = "127.0.0." + std::to_string(1 + random_.Below(200));
    habits.depth = 1 + random_.Below(scenario_.most_depth);
    habits.half_close = random_.OneIn(4);
    habits.think_ns = scenario_.think_ns;
    if (scenario_.slow_clients) habits.manner = DrawManner(random_);
    Begin(std::move(ids), std::move(habits), scenario_.arrivals_ns);
  }

  void DrawAbort(Plan& plan) {
    constexpr Plan::Abort kAborts[] = {Plan::Abort::kReset, Plan::Abort::kClose, Plan::Abort::kFinish};
    plan.abort = kAborts[random_.Below(std::size(kAborts))];
    plan.expect = false;
    plan.echo_bytes = 0;
    plan.answer.switches = false;
    plan.abort_answer = plan.abort != Plan::Abort::kFinish && random_.OneIn(2);
    const uint64_t most = plan.abort_answer ? plan.answer.body.length : 200 + plan.body.length;
    plan.abort_bytes = random_.Below(static_cast<uint32_t>(most) + 1);
  }

  void AddPulse() {
    std::vector<uint64_t> ids;
    for (uint32_t i = 0; i < 40; ++i) {
      Plan plan;
      plan.keep_alive = !random_.OneIn(3);
      plan.answer.body.length = 100;
      ids.push_back(story_.Add(plan).plan.id);
    }
    pulse_first_ = ids.front();
    Client::Habits habits;
    habits.to = kHttpAddress;
    habits.think_ns = 200 * kNsPerMs;
    Begin(std::move(ids), std::move(habits), 1000);
    clients_.back()->mercy = {};
  }

  void Begin(std::vector<uint64_t> ids, Client::Habits habits, int64_t within_ns) {
    clients_.push_back(std::make_unique<Client>(world(), story_, std::move(ids), std::move(habits)));
    Client* client = clients_.back().get();
    client->mercy = scenario_.mercy;
    client->draining = [this] { return rig_->draining(); };
    world().After(random_.Below(static_cast<uint32_t>(within_ns / kNsPerUs) + 1) * kNsPerUs,
                  [client] { client->Start(); });
  }

  void CheckPulse() {
    if (scenario_.pulse_within_ns == 0) return;
    for (const Record& record : story_.records()) {
      if (record.plan.id < pulse_first_) continue;
      EXPECT_LE(record.over_ns - record.sent_ns, scenario_.pulse_within_ns)
          << "a quick client waits: " << story_.ToString(record);
    }
  }

  const Scenario scenario_;
  Random random_;
  Story story_;
  std::unique_ptr<Rig> rig_;
  std::vector<std::unique_ptr<Origin>> origins_;
  std::vector<std::unique_ptr<Client>> clients_;
  uint64_t pulse_first_ = 0;
};

bool Whole(const Record& record) { return record.outcome == Outcome::kWhole; }

// Any of the ways to choose an endpoint.
void DrawBalance(Random& random, UpstreamSettings& upstream) {
  upstream.balance = static_cast<Balance>(random.Below(std::size(kBalanceNames)));
  upstream.hash = {};
  upstream.max_in_flight = upstream.balance == Balance::kFirst ? random.Below(4) : 0;
  if (!Hashes(upstream.balance)) return;
  switch (random.Below(3)) {
    case 0:
      upstream.hash.on = {{HashKey::Of::kClientIp, ""}};
      break;
    case 1:
      upstream.hash.on = {{HashKey::Of::kHeader, "X-Nobody"}, {HashKey::Of::kPath, ""}};
      break;
    default:
      upstream.hash.on = {{HashKey::Of::kCookie, "held"}};
      upstream.hash.cookie_attributes = "; Path=/";
  }
  if (random.OneIn(2)) upstream.hash.balance_percent = 110 + random.Below(100);
  upstream.hash.slots = 1'009;
}

Scenario Draw(uint64_t seed, bool may_break) {
  Random random(seed);
  Scenario scenario;
  scenario.seed = seed;
  scenario.faults = sim::Faults::Drawn(random, may_break);
  scenario.faults.no_fd = 0;
  scenario.shards = 1 + random.Below(3);
  DrawBalance(random, scenario.settings.upstreams[0]);
  constexpr uint64_t kSpliceFrom[] = {0, 1, 5'000, 64 * 1024};
  scenario.settings.splice_from_bytes = kSpliceFrom[random.Below(4)];
  return scenario;
}

// Every request is answered, whatever the framing, the manners and the order of completions.
TEST(HttpSeeds, PeacefulDaysAnswerEverything) {
  ForEachSeed([](uint64_t seed) {
    Scenario scenario = Draw(seed, false);
    Play play(scenario);
    play.Finish();
    play.Expect(Whole);
    play.CheckSums();
  });
}

// Where the end of the connection ends the answer, and the request is stuck in the same connection, nobody
// can tell the end from a reset.
bool WholeOrDoubtful(const Record& record) {
  const AnswerPlan& answer = record.plan.answer;
  const bool doubtful = !answer.reads_on && answer.body.framing == BodyPlan::Framing::kUntilClose;
  return Whole(record) || (doubtful && record.outcome == Outcome::kTruncated);
}

// Answers that come before the request's end, from origins that go on reading and from some that do not.
TEST(HttpSeeds, EarlyAnswersArriveWhole) {
  ForEachSeed([](uint64_t seed) {
    Scenario scenario = Draw(seed, false);
    scenario.taste.early_answers = true;
    Play play(scenario);
    play.Finish();
    play.Expect(WholeOrDoubtful);
  });
}

// A tunnel carries everything both ways, also what was sent before it was granted; a refused one is a request
// like any other.
TEST(HttpSeeds, TunnelsCarryEverything) {
  ForEachSeed([](uint64_t seed) {
    Scenario scenario = Draw(seed, false);
    scenario.taste.upgrades = true;
    Play play(scenario);
    play.Finish();
    play.Expect(Whole);
    play.CheckSums();
  });
}

// An origin may take a request without body and die without a word, and idle connections may end at any time:
// who asks for something that may be asked twice never learns of it.
TEST(HttpSeeds, RetriesHideOneBadAttempt) {
  ForEachSeed([](uint64_t seed) {
    Scenario scenario = Draw(seed, false);
    scenario.taste.one_bad_attempt = true;
    scenario.taste.uploads = false;
    scenario.settings.upstreams[0].retry_budget.on = false;  // each of them is tried again
    scenario.origin_idle_close_ns = seed % 2 == 0 ? 0 : 3 * kNsPerMs;
    scenario.think_ns = 20 * kNsPerMs;
    Play play(scenario);
    play.Finish();
    play.Expect(Whole);
  });
}

// Answers that break off, break the rules or never end: never whole for the client, nobody else suffers.
TEST(HttpSeeds, BrokenAnswersNeverLookWhole) {
  ForEachSeed([](uint64_t seed) {
    Scenario scenario = Draw(seed, false);
    scenario.taste.broken_answers = true;
    scenario.pulse_within_ns = scenario.faults.connect_lost > 0 ? 0 : 3 * kNsPerSecond;
    Play play(scenario);
    play.Finish();
    play.Expect([](const Record& record) {
      if (record.plan.answer.end == AnswerPlan::End::kWhole) return Whole(record);
      // A reset, all that a reader until the end can be told, may overtake the answer's first byte.
      const bool until_close =
          record.plan.minor == 0 && record.plan.answer.body.framing != BodyPlan::Framing::kLength;
      return record.outcome == Outcome::kTruncated || (until_close && record.outcome == Outcome::kLost) ||
             (record.outcome == Outcome::kLocal &&
              (record.local_status == 502 || record.local_status == 504));
    });
  });
}

// One origin after the other is killed and started again.
TEST(HttpSeeds, KilledOriginsCostIdempotentRequestsNothing) {
  ForEachSeed([](uint64_t seed) {
    Scenario scenario = Draw(seed, false);
    scenario.clients = 25;
    scenario.most_requests = 12;
    scenario.think_ns = 300 * kNsPerMs;
    scenario.slow_origins = false;
    Play play(scenario);
    for (uint32_t i = 0; i < 4; ++i) {
      const int64_t down_ns = play.random().Below(2'000) * kNsPerMs;
      Origin& origin = play.origin(play.random().Below(play.origins()));
      play.world().After((i * 4'000 + play.random().Below(1'000)) * kNsPerMs,
                         [&origin, down_ns] { origin.Kill(down_ns); });
    }
    play.Finish();
    play.Expect([](const Record& record) {
      if (Whole(record)) return true;
      const bool broken_off = record.origin_died && record.answers_begun > 0;
      const bool may_fail = !record.plan.Idempotent() || record.plan.HasBody() || broken_off;
      return may_fail && (record.outcome == Outcome::kTruncated ||
                          (record.outcome == Outcome::kLocal && record.local_status == 502));
    });
  });
}

// Connections break anywhere and connects fail: much may be lost, nothing may be wrong.
TEST(HttpSeeds, BrokenConnectionsCorruptNothing) {
  ForEachSeed([](uint64_t seed) {
    Scenario scenario = Draw(seed, true);
    Random random(seed);
    if (random.OneIn(2)) scenario.faults.no_fd = 0.02;
    scenario.taste.early_answers = random.OneIn(2);
    scenario.taste.broken_answers = random.OneIn(2);
    scenario.taste.upgrades = random.OneIn(2);
    scenario.abort_one_in = random.OneIn(2) ? 6 : 0;
    scenario.origin_idle_close_ns = random.OneIn(2) ? 0 : 5 * kNsPerMs;
    scenario.think_ns = random.OneIn(2) ? 0 : 20 * kNsPerMs;
    scenario.mercy = {.lost = true, .local = true, .refused = true};
    Play play(scenario);
    play.Finish();
    play.Expect([](const Record& record) {
      return record.outcome != Outcome::kPending && record.outcome != Outcome::kUnsent;
    });
  });
}

// Clients leave in the middle of requests and answers; the others do not notice.
TEST(HttpSeeds, ClientsThatLeaveHurtNobodyElse) {
  ForEachSeed([](uint64_t seed) {
    Scenario scenario = Draw(seed, false);
    scenario.abort_one_in = 3;
    scenario.taste.early_answers = seed % 2 == 0;
    scenario.pulse_within_ns = scenario.faults.connect_lost > 0 ? 0 : 3 * kNsPerSecond;
    Play play(scenario);
    play.Finish();
    play.Expect([](const Record& record) {
      return WholeOrDoubtful(record) || record.plan.abort != Plan::Abort::kNever ||
             record.outcome == Outcome::kAborted;
    });
  });
}

// Many slow readers and writers, few buffers. Some may be reset for holding them; a quick client is served.
TEST(HttpSeeds, SlowPeersDoNotStopAShardWithFewBuffers) {
  ForEachSeed([](uint64_t seed) {
    Scenario scenario = Draw(seed, false);
    scenario.faults.connect_lost = 0;
    scenario.shards = 1;
    scenario.buffers = 8 + static_cast<uint32_t>(seed % 3) * 8;
    scenario.clients = 60;
    scenario.most_depth = 4;
    scenario.taste.most_body_bytes = 300'000;
    scenario.pulse_within_ns = 10 * kNsPerSecond;
    scenario.mercy = {.lost = true, .local = true};
    Play play(scenario);
    play.Finish();
    uint64_t resets = play.rig().Sum(&ProxyCounters::resets_for_buffers);
    play.Expect([resets](const Record& record) { return Whole(record) || resets > 0; });
  });
}

// Few descriptors: 503 or a close for some, and no end to the rest.
TEST(HttpSeeds, DescriptorsRunOutAndComeBack) {
  ForEachSeed([](uint64_t seed) {
    Scenario scenario = Draw(seed, false);
    Random random(seed);
    scenario.faults.no_fd = random.OneIn(2) ? 0 : 0.02;
    scenario.fd_limit = 1 + 4 * scenario.shards + random.Below(30);
    scenario.clients = 40;
    scenario.mercy = {.lost = true, .local = true};
    Play play(scenario);
    play.Finish();
    play.Expect([](const Record& record) {
      return Whole(record) || record.outcome == Outcome::kLost ||
             (record.outcome == Outcome::kLocal && record.local_status == 503);
    });
  });
}

// Above the limit a client is told so.
TEST(HttpSeeds, TheConnectionLimitIsTold) {
  ForEachSeed([](uint64_t seed) {
    Scenario scenario = Draw(seed, false);
    scenario.settings.max_connections = 6;
    scenario.clients = 30;
    scenario.think_ns = 50 * kNsPerMs;
    Play play(scenario);
    play.Finish();
    play.Expect([](const Record& record) {
      return Whole(record) || (record.outcome == Outcome::kLocal && record.local_status == 503);
    });
  });
}

// A drain in the middle: who is connected gets an answer, and it is over in time without cutting anything.
TEST(HttpSeeds, DrainsServeWhoIsThere) {
  ForEachSeed([](uint64_t seed) {
    Scenario scenario = Draw(seed, false);
    scenario.clients = 30;
    scenario.think_ns = 200 * kNsPerMs;
    scenario.arrivals_ns = 2 * kNsPerSecond;
    Play play(scenario);
    play.world().After(play.random().Below(2'000) * kNsPerMs, [&play] { play.rig().Drain(); });
    play.Finish();
    EXPECT_FALSE(play.rig().cut());
    play.Expect([](const Record& record) { return Whole(record) || record.refused; });
  });
}

// Somebody edits the upstream: other endpoints, weights, ways to balance, or nothing at all.
void ChangeUpstream(Random& random, Settings& settings) {
  UpstreamSettings& upstream = settings.upstreams[0];
  const Settings all = Rig::Defaults(3);
  upstream.endpoints.clear();
  while (upstream.endpoints.empty()) {
    for (const EndpointSettings& endpoint : all.upstreams[0].endpoints) {
      if (random.OneIn(3)) continue;
      upstream.endpoints.push_back(endpoint);
      upstream.endpoints.back().weight = 1 + random.Below(3);
    }
  }
  if (random.OneIn(3)) std::reverse(upstream.endpoints.begin(), upstream.endpoints.end());
  DrawBalance(random, upstream);
  upstream.idle_connections = random.OneIn(4) ? 1 : 1024;
}

// Listeners that nobody uses come and go; the order of those that stay is no matter.
void ChangeListeners(Random& random, Settings& settings) {
  std::vector<ListenerSettings>& listeners = settings.listeners;
  const SocketAddress extra = *SocketAddress::Parse("10.0.0.1:82");
  const size_t had = std::erase_if(listeners, [&](const auto& other) { return other.address == extra; });
  if (had == 0) {
    listeners.insert(listeners.begin() + random.Below(3), listeners.front());
    auto& added = *std::find_if(listeners.begin(), listeners.end(), [&](const auto& other) {
      return other.address == listeners.front().address;
    });
    added.address = extra;
    added.text = "10.0.0.1:82";
  }
  if (random.OneIn(2)) std::swap(listeners.front(), listeners.back());
}

// So many within `within_ms`, at random times, some of them in the same moment.
void ScheduleReloads(Play& play, uint32_t reloads, uint32_t within_ms) {
  for (; reloads > 0; --reloads) {
    play.world().After(play.random().Below(within_ms) * kNsPerMs, [&play] {
      play.rig().Reload([&play](Settings& settings) {
        Random& random = play.random();
        if (random.OneIn(2)) ChangeUpstream(random, settings);
        if (random.OneIn(4)) ChangeListeners(random, settings);
        if (random.OneIn(4)) settings.timeouts.keep_alive_ms += 1'000;
      });
    });
  }
}

// Whatever is reloaded, however often: every request is answered whole, by an endpoint of its own
// configuration, and tunnels carry everything.
TEST(HttpSeeds, ReloadsCostNothing) {
  ForEachSeed([](uint64_t seed) {
    Scenario scenario = Draw(seed, false);
    scenario.clients = 25;
    scenario.think_ns = seed % 3 == 0 ? 0 : 50 * kNsPerMs;
    scenario.taste.upgrades = true;
    Play play(scenario);
    ScheduleReloads(play, 30, 3'000);
    play.Finish();
    play.Expect(Whole);
    play.CheckSums();
    EXPECT_EQ(play.rig().reloads(), 30u);
  });
}

// The listener is removed, and comes back: who is connected gets every answer that was begun, and learns with
// it that the connection ends.
TEST(HttpSeeds, RemovedListenersServeWhoIsThere) {
  ForEachSeed([](uint64_t seed) {
    Scenario scenario = Draw(seed, false);
    scenario.clients = 30;
    scenario.think_ns = 100 * kNsPerMs;
    scenario.arrivals_ns = 2 * kNsPerSecond;
    scenario.mercy = {.refused = true};
    Play play(scenario);
    std::vector<ListenerSettings> removed;
    const auto here = [](const ListenerSettings& listener) {
      return listener.address == *SocketAddress::Parse(kHttpAddress);
    };
    const uint32_t after_ms = play.random().Below(2'000);
    play.world().After(after_ms * kNsPerMs, [&] {
      play.rig().Reload([&](Settings& settings) {
        for (const ListenerSettings& listener : settings.listeners) {
          if (here(listener)) removed.push_back(listener);
        }
        std::erase_if(settings.listeners, here);
      });
    });
    play.world().After((after_ms + 300 + play.random().Below(500)) * kNsPerMs, [&] {
      play.rig().Reload([&](Settings& settings) {
        settings.listeners.insert(settings.listeners.end(), removed.begin(), removed.end());
      });
    });
    play.Finish();
    EXPECT_EQ(play.rig().reloads(), 2u);
    play.Expect([](const Record& record) { return Whole(record) || record.refused; });
  });
}

// Everything at once, with settings nobody would choose: only what must never happen is looked for.
TEST(HttpSeeds, TheWorstDaysEndToo) {
  ForEachSeed([](uint64_t seed) {
    Scenario scenario = Draw(seed, seed % 2 == 0);
    Random random(seed * 104'729);
    const auto one_of = [&random](std::initializer_list<uint32_t> values) {
      return values.begin()[random.Below(static_cast<uint32_t>(values.size()))];
    };
    scenario.faults.no_fd = random.OneIn(3) ? 0.02 : 0;
    scenario.buffers = one_of({8, 12, 40, 256});
    scenario.fd_limit = one_of({1 + 4 * scenario.shards + 20, 4096, 4096});
    scenario.clients = 40;
    scenario.taste.early_answers = random.OneIn(2);
    scenario.taste.broken_answers = random.OneIn(2);
    scenario.taste.one_bad_attempt = random.OneIn(2);
    scenario.taste.upgrades = random.OneIn(2);
    scenario.taste.most_body_bytes = one_of({3'000, 60'000, 300'000});
    scenario.abort_one_in = one_of({0, 3, 10});
    scenario.origin_idle_close_ns = one_of({0, 1, 20}) * kNsPerMs;
    scenario.think_ns = one_of({0, 20, 300}) * kNsPerMs;
    Settings& settings = scenario.settings;
    settings.max_connections = one_of({5, 20, 1000});
    if (random.OneIn(3)) {
      settings.limits.header_bytes = 30 * 1024;
      scenario.taste.most_pad_bytes = 30'000;
    }
    settings.upstreams[0].retries = one_of({0, 1, 2, 7});
    settings.upstreams[0].set_aside_ms = one_of({0, 10, 1'000});
    settings.upstreams[0].idle_connections = one_of({0, 1, 1024});
    settings.timeouts.client_header_ms = one_of({50, 1'000, 10'000});
    settings.timeouts.client_body_ms = one_of({50, 1'000, 30'000});
    settings.timeouts.client_send_ms = one_of({50, 1'000, 30'000});
    settings.timeouts.keep_alive_ms = one_of({10, 1'000, 60'000});
    settings.timeouts.connect_ms = one_of({1, 100, 3'000});
    settings.timeouts.response_ms = one_of({50, 1'000, 60'000});
    settings.timeouts.upstream_body_ms = one_of({50, 1'000, 30'000});
    settings.timeouts.request_ms = one_of({0, 0, 200, 5'000});
    settings.timeouts.tcp_idle_ms = one_of({50, 1'000, 600'000});
    settings.upstreams[0].idle_ms = one_of({5, 300, 55'000});
    settings.timeouts.drain_ms = one_of({20, 2'000, 30'000});
    scenario.mercy = {.lost = true, .local = true, .refused = true};
    Play play(scenario);
    for (uint32_t kills = random.Below(4); kills > 0; --kills) {
      const int64_t down_ns = random.Below(2'000) * kNsPerMs;
      Origin& origin = play.origin(random.Below(play.origins()));
      play.world().After(random.Below(3'000) * kNsPerMs, [&origin, down_ns] { origin.Kill(down_ns); });
    }
    if (random.OneIn(2)) {
      play.world().After(random.Below(3'000) * kNsPerMs, [&play] { play.rig().Drain(); });
    }
    if (random.OneIn(2)) ScheduleReloads(play, 10, 3'000);
    play.Finish();
    play.Expect([](const Record& record) {
      return record.outcome != Outcome::kPending && record.outcome != Outcome::kUnsent;
    });
  });
}

}  // namespace
}  // namespace weir::lb::trial
