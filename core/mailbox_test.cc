// Messages between shards: the ring, the overflow list, the way home, and the doorbell's handshake between
// two real threads on two real rings (also under the thread sanitizer).
#include "core/mailbox.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/shard.h"
#include "core/sim/world.h"
#include "core/stop_message.h"
#include "core/switchboard.h"
#include "core/uring_backend.h"

namespace weir {
namespace {

TEST(SpscRingTest, HoldsItsCapacityInOrder) {
  SpscRing ring;
  std::vector<Message> messages(SpscRing::kCapacity + 1);
  EXPECT_EQ(ring.Pop(), nullptr);
  for (int round = 0; round < 3; ++round) {
    EXPECT_TRUE(ring.Empty());
    for (uint32_t i = 0; i < SpscRing::kCapacity; ++i) EXPECT_TRUE(ring.Push(&messages[i]));
    EXPECT_FALSE(ring.Push(&messages.back()));
    EXPECT_EQ(ring.Pop(), &messages[0]);
    EXPECT_TRUE(ring.Push(&messages.back()));
    for (uint32_t i = 1; i <= SpscRing::kCapacity; ++i) EXPECT_EQ(ring.Pop(), &messages[i]);
    EXPECT_EQ(ring.Pop(), nullptr);
  }
}

TEST(SpscRingTest, CarriesWhatTheSenderWroteToAnotherThread) {
  constexpr uint32_t kMessages = 200'000;
  SpscRing ring;
  std::vector<Message> messages(kMessages);
  std::thread sender([&] {
    for (uint32_t i = 0; i < kMessages; ++i) {
      messages[i].home = i;  // a plain write, published by the ring
      while (!ring.Push(&messages[i])) std::this_thread::yield();
    }
  });
  for (uint32_t i = 0; i < kMessages;) {
    Message* message = ring.Pop();
    if (message == nullptr) {
      std::this_thread::yield();
      continue;
    }
    ASSERT_EQ(message, &messages[i]);
    ASSERT_EQ(message->home, i);
    ++i;
  }
  sender.join();
}

struct Letter : Message {
  explicit Letter(std::vector<int>* delivered, std::vector<int>* home, int number)
      : delivered_to(delivered), came_home(home), number(number) {
    deliver = [](Message* message, Shard& receiver) {
      auto* letter = static_cast<Letter*>(message);
      EXPECT_EQ(&Shard::Current(), &receiver);
      letter->receiver = receiver.index();
      letter->delivered_to->push_back(letter->number);
    };
    recycle = [](Message* message, Shard& home) {
      auto* letter = static_cast<Letter*>(message);
      EXPECT_EQ(letter->home, home.index());
      letter->came_home->push_back(letter->number);
    };
  }
  std::vector<int>* delivered_to;
  std::vector<int>* came_home;
  int number;
  uint32_t receiver = UINT32_MAX;
};

class MailTest : public testing::TestWithParam<uint64_t> {
 protected:
  MailTest() {
    Random random(GetParam());
    sim::World::Options options;
    options.seed = GetParam();
    if (GetParam() > 1) options.faults = sim::Faults::Drawn(random, false);
    world_ = std::make_unique<sim::World>(options);
    Switchboard& switchboard = world_->NewSwitchboard(3);
    for (uint32_t i = 0; i < 3; ++i) {
      shards_[i] = &world_->NewShard(switchboard, {.index = i, .buffers = 8});
    }
  }
  std::unique_ptr<sim::World> world_;
  Shard* shards_[3];
};

TEST_P(MailTest, MessagesArriveInOrderAndComeHome) {
  constexpr int kLetters = 2000;  // several times what a ring holds
  std::vector<int> delivered;
  std::vector<int> home;
  std::vector<std::unique_ptr<Letter>> letters;
  std::vector<int> expected;
  world_->RunFor(10 * kNsPerMs);  // all asleep
  world_->On(*shards_[0], [&] {
    for (int i = 0; i < kLetters; ++i) {
      letters.push_back(std::make_unique<Letter>(&delivered, &home, i));
      shards_[0]->Post(1, letters.back().get());
      expected.push_back(i);
    }
  });
  ASSERT_TRUE(world_->RunUntil([&] { return home.size() == kLetters; }, 10 * kNsPerSecond));
  EXPECT_EQ(delivered, expected);
  EXPECT_EQ(home, expected);
  for (const auto& letter : letters) EXPECT_EQ(letter->receiver, 1u);
}

TEST_P(MailTest, ASleeperIsWokenAtOnce) {
  std::vector<int> delivered;
  std::vector<int> home;
  Letter letter(&delivered, &home, 1);
  world_->faults() = sim::Faults::None();
  for (int round = 0; round < 20; ++round) {
    world_->RunFor(200 * kNsPerMs);
    const int64_t start_ns = world_->now_ns();
    home.clear();
    world_->On(*shards_[0], [&] { shards_[0]->Post(2, &letter); });
    ASSERT_TRUE(world_->RunUntil([&] { return !home.empty(); }));
    EXPECT_LT(world_->now_ns() - start_ns, kNsPerMs);
  }
  EXPECT_GT(shards_[0]->counters().doorbells.Get(), 0u);
}

TEST_P(MailTest, AShardMayWriteToItself) {
  std::vector<int> delivered;
  std::vector<int> home;
  Letter letter(&delivered, &home, 5);
  world_->On(*shards_[1], [&] { shards_[1]->Post(1, &letter); });
  ASSERT_TRUE(world_->RunUntil([&] { return !home.empty(); }));
  EXPECT_EQ(delivered, home);
}

TEST_P(MailTest, AMessageWithoutRecycleIsTheReceivers) {
  std::vector<int> delivered;
  Letter letter(&delivered, nullptr, 6);
  letter.recycle = nullptr;
  world_->On(*shards_[0], [&] { shards_[0]->Post(1, &letter); });
  ASSERT_TRUE(world_->RunUntil([&] { return !delivered.empty(); }));
  world_->RunFor(kNsPerSecond);
  EXPECT_EQ(delivered, std::vector<int>{6});
}

// Everybody to everybody, answers included: nothing lost, nothing doubled.
TEST_P(MailTest, AllPairsAtOnce) {
  std::vector<int> delivered;
  std::vector<int> home;
  std::vector<std::unique_ptr<Letter>> letters;
  int number = 0;
  for (int burst = 0; burst < 30; ++burst) {
    const uint32_t from = world_->random().Below(3);
    const uint32_t to = world_->random().Below(3);
    world_->On(*shards_[from], [&] {
      for (uint32_t i = world_->random().Below(400); i > 0; --i) {
        letters.push_back(std::make_unique<Letter>(&delivered, &home, number++));
        shards_[from]->Post(to, letters.back().get());
      }
    });
    for (uint32_t steps = world_->random().Below(20); steps > 0; --steps) world_->Step();
  }
  ASSERT_TRUE(world_->RunUntil([&] { return home.size() == letters.size(); }, 60 * kNsPerSecond));
  std::sort(delivered.begin(), delivered.end());
  std::sort(home.begin(), home.end());
  for (int i = 0; i < number; ++i) {
    EXPECT_EQ(delivered[static_cast<size_t>(i)], i);
    EXPECT_EQ(home[static_cast<size_t>(i)], i);
  }
}

INSTANTIATE_TEST_SUITE_P(Seed, MailTest, testing::Range<uint64_t>(1, 11));

// Two threads, each with a real ring: a letter goes to and fro, and both fall asleep in between.
struct Ball : Message {
  Ball() {
    deliver = [](Message* message, Shard& receiver) {
      static_cast<Ball*>(message)->touches[receiver.index()]++;
    };
    recycle = [](Message* message, Shard& home) {
      auto* ball = static_cast<Ball*>(message);
      const int64_t now_ns = home.backend().ReadClock().mono_ns;
      ball->longest_ns = std::max(ball->longest_ns, now_ns - ball->sent_ns);
      ball->sent_ns = now_ns;
      if (++ball->rounds < ball->wanted) {
        home.Post(1, ball);
      } else {
        home.Stop();
      }
    };
  }
  int wanted = 0;
  int* finished = nullptr;
  int rounds = 0;
  int touches[2] = {};
  int64_t sent_ns = 0;
  int64_t longest_ns = 0;
};

class TwoThreads {
 public:
  // Runs `begin` on shard 0's thread, until that shard stops; then the other one is stopped.
  template <class Begin>
  void Run(Begin begin) {
    UringFeatures features;
    std::string problem;
    ASSERT_TRUE(ProbeUring(features, problem)) << problem;
    const auto body = [&](uint32_t index) {
      {
        Shard shard({.index = index, .seed = index + 1, .buffers = 16}, switchboard_,
                    [&](BufferPool& pool, CoreCounters& counters) -> std::unique_ptr<Backend> {
                      return std::make_unique<UringBackend>(UringBackend::Options{features, 64, 256}, pool,
                                                            counters);
                    });
        up_.arrive_and_wait();
        if (index == 0) {
          Shard::Enter enter(shard);
          begin(shard);
        }
        shard.Run();
        if (index == 0) {
          shard.Post(1, &stop_);
          shard.RunTurn(false);
        }
        doorbells_[index] = shard.counters().doorbells.Get();
        down_.arrive_and_wait();  // a neighbour may still ring
      }
    };
    std::thread other(body, 1);
    body(0);
    other.join();
  }
  uint64_t doorbells(uint32_t index) const { return doorbells_[index]; }

 private:
  Switchboard switchboard_{2};
  std::latch up_{2};
  std::latch down_{2};
  StopMessage stop_;
  uint64_t doorbells_[2] = {};
};

TEST(TwoThreadsTest, TheDoorbellIsNeverMissed) {
  TwoThreads threads;
  Ball ball;
  ball.wanted = 5000;
  threads.Run([&](Shard& shard) {
    ball.sent_ns = shard.backend().ReadClock().mono_ns;
    shard.Post(1, &ball);
  });
  EXPECT_EQ(ball.rounds, ball.wanted);
  EXPECT_EQ(ball.touches[1], ball.wanted);
  EXPECT_EQ(ball.touches[0], 0);
  EXPECT_GT(threads.doorbells(0) + threads.doorbells(1), 0u);
  // A missed doorbell would be noticed by the next timer, a second later.
  EXPECT_LT(ball.longest_ns, 900 * kNsPerMs);
}

TEST(TwoThreadsTest, FloodsAreCarriedThroughTheOverflowList) {
  TwoThreads threads;
  constexpr int kBalls = 3000;
  constexpr int kRounds = 20;
  std::vector<std::unique_ptr<Ball>> balls;
  int finished = 0;
  threads.Run([&](Shard& shard) {
    for (int i = 0; i < kBalls; ++i) {
      auto ball = std::make_unique<Ball>();
      ball->finished = &finished;
      ball->recycle = [](Message* message, Shard& home) {
        auto* counted = static_cast<Ball*>(message);
        if (++counted->rounds < kRounds) {
          home.Post(1, counted);
        } else if (++*counted->finished == kBalls) {
          home.Stop();
        }
      };
      shard.Post(1, ball.get());
      balls.push_back(std::move(ball));
    }
  });
  EXPECT_EQ(finished, kBalls);
  for (const auto& ball : balls) EXPECT_EQ(ball->touches[1], kRounds);
}

}  // namespace
}  // namespace weir
