// The whole proxy for HTTP under random scenarios, one family of scenarios a test. Whatever the family, no
// byte may be lost, doubled, changed or out of order, in a request, an answer or a tunnel; what looks whole
// is whole and was sent by an origin; nothing that is not idempotent reaches origins twice; and at the end
// everything is given back (Rig::End).
#include <gtest/gtest.h>

#include <algorithm>
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
    rig_ = std::make_unique<Rig>(std::move(options));
    for (uint32_t i = 0; i < scenario.settings.endpoints.size(); ++i) {
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

  // For every request: `right` says whether its outcome is one that may be.
  template <class Right>
  void Expect(Right&& right) {
    for (const Record& record : story_.records()) {
      EXPECT_TRUE(right(record)) << story_.ToString(record);
    }
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

// Every request is answered, whatever the framing, the manners and the order of completions.
TEST(HttpSeeds, PeacefulDaysAnswerEverything) {
  ForEachSeed([](uint64_t seed) {
    Random random(seed);
    Scenario scenario;
    scenario.seed = seed;
    scenario.faults = sim::Faults::Drawn(random, false);
    scenario.faults.no_fd = 0;
    scenario.shards = 1 + random.Below(3);
    Play play(scenario);
    play.Finish();
    play.Expect(Whole);
  });
}

}  // namespace
}  // namespace weir::lb::trial
