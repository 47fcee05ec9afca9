// What the control shard says of 1,000 endpoints, while shards choose among them: real threads and rings,
// more of them than CPUs. With --config=tsan nothing of this may race.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/fleet.h"
#include "core/stop_message.h"
#include "core/uring_probe.h"
#include "lb/health/publisher.h"
#include "lb/stats.h"
#include "lb/upstream/upstream.h"
#include "tests/upstream/many_endpoints.h"

namespace weir::lb {
namespace {

constexpr uint32_t kShards = 6;
constexpr uint32_t kEndpoints = 1'000;
constexpr uint32_t kFlips = 20'000;
constexpr uint32_t kAtOnce = 1'000;
constexpr uint32_t kAlone = 200;
constexpr int kPatienceS = 60;

// A shard that chooses all the time (or, every other one, only now and then: it sleeps, and is woken by the
// letters).
class Chooser : public Tenant, Runnable {
 public:
  Chooser(Shard& shard, const std::shared_ptr<UpstreamPlan>& plan)
      : Runnable([](Runnable* self) { static_cast<Chooser*>(self)->Choose(); }),
        shard_(shard),
        plan_(plan),
        upstreams_(shard, 8, counters_),
        pool_(upstreams_.PoolOf(plan)),
        busy_(shard.index() % 2 == 0) {
    timer_.waiter = this;
    shard_.tenant = this;
    shard_.SetTimer(timer_, 1);
  }
  ~Chooser() override {
    shard_.ClearTimer(timer_);
    shard_.Forget(*this);
    for (const uint32_t endpoint : in_flight_) pool_.Done(endpoint);
  }

  // By what this shard knows no choice was wrong.
  uint64_t wrong() const { return wrong_; }
  uint64_t choices() const { return choices_; }
  // Endpoints of which this shard knows something else than the book says.
  uint32_t Different() const {
    uint32_t different = 0;
    for (const auto& book : plan_->books) {
      if (book->page(shard_.index()).endpoint->view != book->seen()) ++different;
    }
    return different;
  }
  void ChooseSome(uint32_t choices) {
    for (uint32_t i = 0; i < choices; ++i) {
      const uint32_t endpoint = pool_.Pick({}, shard_.random().Next());
      ++choices_;
      if (endpoint == UpstreamPool::kNone) {
        ++wrong_;  // some are always up
        continue;
      }
      const EndpointBook& book = *plan_->books[endpoint];
      if ((book.page(shard_.index()).endpoint->view & EndpointBook::kNoRequests) != 0) ++wrong_;
      in_flight_.push_back(endpoint);
      if (in_flight_.size() > kMostInFlight) {
        pool_.Done(in_flight_.front());
        in_flight_.pop_front();
      }
    }
  }

 private:
  static constexpr size_t kMostInFlight = 300;

  void Choose() {
    timer_.fired = false;
    ChooseSome(busy_ ? 500 : 20);
    shard_.SetTimer(timer_, busy_ ? 1 : 20);
  }

  Shard& shard_;
  const std::shared_ptr<UpstreamPlan> plan_;
  ProxyCounters counters_;
  Upstreams upstreams_;
  UpstreamPool& pool_;
  const bool busy_;
  Timer timer_;
  std::deque<uint32_t> in_flight_;
  uint64_t wrong_ = 0;
  uint64_t choices_ = 0;
};

// What a shard has to say when nothing changes.
struct Question : Message {
  Question() {
    deliver = [](Message* message, Shard& receiver) {
      auto* question = static_cast<Question*>(message);
      auto* chooser = static_cast<Chooser*>(receiver.tenant);
      chooser->ChooseSome(2'000);
      question->different = chooser->Different();
      question->wrong = chooser->wrong();
      question->choices = chooser->choices();
    };
    recycle = [](Message* message, Shard&) { static_cast<Question*>(message)->answered = true; };
  }
  bool answered = false;
  uint32_t different = 0;
  uint64_t wrong = 0;
  uint64_t choices = 0;
};

class ViewStressTest : public testing::TestWithParam<Balance> {
 protected:
  ViewStressTest() {
    std::string problem;
    EXPECT_TRUE(ProbeUring(features_, problem)) << problem;
    uring_ = {features_, 64, 256};
    plan_ = std::make_shared<UpstreamPlan>(ManyEndpoints(kEndpoints, GetParam()), kShards, nullptr);
    fleet_ = std::make_unique<Fleet>(
        Fleet::Options{.shards = kShards,
                       .cpus = {},
                       .shard = {.index = 0, .seed = 1, .arena_bytes = 1 << 20, .buffers = 16},
                       .uring = uring_},
        switchboard_, [this](Shard& shard) { return std::make_unique<Chooser>(shard, plan_); });
    fleet_->Start();
    control_ = std::make_unique<Shard>(
        Shard::Options{.index = kShards, .arena_bytes = 1 << 20, .buffers = 16}, switchboard_,
        [this](BufferPool& pool, CoreCounters& counters) -> std::unique_ptr<Backend> {
          return std::make_unique<UringBackend>(uring_, pool, counters);
        });
    publisher_ = std::make_unique<Publisher>(*control_);
  }
  ~ViewStressTest() override {
    StopMessage stops[kShards];
    for (uint32_t i = 0; i < kShards; ++i) control_->Post(i, &stops[i]);
    control_->RunTurn(false);
    fleet_->Join();
  }

  void Flip(uint32_t endpoint) {
    const std::shared_ptr<EndpointBook>& book = plan_->books[endpoint];
    if (book->takes_requests()) {
      publisher_->Set(book, EndpointBook::kDown);
    } else {
      publisher_->Clear(book, EndpointBook::kDown);
    }
  }
  template <typename Condition>
  void TurnUntil(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(kPatienceS);
    while (!condition()) {
      control_->RunTurn(false);
      ASSERT_LT(std::chrono::steady_clock::now(), end);
    }
  }
  void ExpectThatAllKnow() {
    Question questions[kShards];
    for (uint32_t i = 0; i < kShards; ++i) control_->Post(i, &questions[i]);
    TurnUntil([&] {
      return std::all_of(questions, questions + kShards, [](const Question& each) { return each.answered; });
    });
    for (const Question& question : questions) {
      EXPECT_EQ(question.different, 0u);
      EXPECT_EQ(question.wrong, 0u);
      EXPECT_GE(question.choices, 2'000u);
    }
  }

  UringFeatures features_;
  UringBackend::Options uring_;
  Switchboard switchboard_{kShards + 1};
  std::shared_ptr<UpstreamPlan> plan_;
  std::unique_ptr<Fleet> fleet_;
  std::unique_ptr<Shard> control_;
  std::unique_ptr<Publisher> publisher_;
  Random random_{7};
};

TEST_P(ViewStressTest, EveryShardKnowsOfEveryFlip) {
  for (uint32_t flips = 0; flips < kFlips;) {
    for (uint32_t i = 0; i < kAtOnce; ++i, ++flips) {
      Flip(1 + static_cast<uint32_t>(random_.Next() % (kEndpoints - 1)));  // the first stays up
      if (i % 16 == 0) control_->RunTurn(false);
    }
    TurnUntil([&] { return publisher_->idle(); });
    ExpectThatAllKnow();
  }
}

TEST_P(ViewStressTest, OneFlipIsKnownToAllWithATurnOfEach) {
  std::vector<int64_t> took_us;
  for (uint32_t i = 0; i < kAlone; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    Flip(1 + i % (kEndpoints - 1));
    TurnUntil([&] { return publisher_->idle(); });
    took_us.push_back(
        std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin)
            .count());
  }
  ExpectThatAllKnow();
  std::sort(took_us.begin(), took_us.end());
  // How long depends on the machine, and is said, not judged.
  RecordProperty("median_us", std::to_string(took_us[kAlone / 2]));
  RecordProperty("most_us", std::to_string(took_us.back()));
  printf("known to %u shards and back after %lld us (median), %lld us (99 %%), %lld us (most)\n", kShards,
         static_cast<long long>(took_us[kAlone / 2]), static_cast<long long>(took_us[kAlone * 99 / 100]),
         static_cast<long long>(took_us.back()));
}

INSTANTIATE_TEST_SUITE_P(Policies, ViewStressTest,
                         testing::Values(Balance::kRoundRobin, Balance::kLeastConn, Balance::kMaglev),
                         [](const auto& info) {
                           return info.param == Balance::kRoundRobin  ? "RoundRobin"
                                  : info.param == Balance::kLeastConn ? "LeastConn"
                                                                      : "Maglev";
                         });

}  // namespace
}  // namespace weir::lb
