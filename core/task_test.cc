#include "core/task.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/sim/world.h"

namespace weir {
namespace {

// Frames come from the shard's arena, and whatever a test leaves behind ends it.
class TaskTest : public testing::Test {
 protected:
  template <class Action>
  void OnShard(Action action) {
    world_.On(shard_, action);
  }
  void Turn() { shard_.RunTurn(false); }

  sim::World world_{{.seed = 1}};
  Shard& shard_ = world_.NewShard(world_.NewSwitchboard(1), {.buffers = 8});
  std::string log_;
};

// Writes a letter when made and the same one in brackets when destroyed.
struct Mark {
  Mark(std::string& log, char letter) : log(log), letter(letter) { log += letter; }
  ~Mark() { log += std::string("(") + letter + ")"; }
  std::string& log;
  char letter;
};

Task<int> Twice(int value) { co_return value * 2; }
Task<int> Sum(int a, int b) { co_return co_await Twice(a) + co_await Twice(b); }

Root Compute(Scope& /*scope*/, int& result) { result = co_await Sum(3, 4); }

TEST_F(TaskTest, ChildrenReturnTheirValues) {
  OnShard([&] {
    Scope scope;
    int result = 0;
    Compute(scope, result);
    EXPECT_EQ(result, 14);
    EXPECT_EQ(scope.running(), 0u);
  });
}

Task<> Grandchild(std::string& log, Waiter& waiter) {
  Mark mark(log, 'c');
  co_await waiter.Park();
}
Task<> Child(std::string& log, Waiter& waiter) {
  Mark mark(log, 'b');
  co_await Grandchild(log, waiter);
  log += '-';
}
Root Parent(Scope& /*scope*/, std::string& log, Waiter& waiter) {
  Mark mark(log, 'a');
  co_await Child(log, waiter);
  log += '.';
}

TEST_F(TaskTest, AChainEndsInOneGoFromTheInside) {
  Scope scope;
  Waiter waiter;
  OnShard([&] { Parent(scope, log_, waiter); });
  EXPECT_EQ(log_, "abc");
  EXPECT_EQ(scope.running(), 1u);
  shard_.Wake(&waiter);
  EXPECT_EQ(log_, "abc");  // nothing runs but from the loop
  Turn();
  // The child's locals go before its parent goes on.
  EXPECT_EQ(log_, "abc(c)-(b).(a)");
  EXPECT_EQ(scope.running(), 0u);
  EXPECT_EQ(shard_.arena().used_bytes(), 0u);
}

struct MoveOnly {
  MoveOnly() = default;
  explicit MoveOnly(int value) : value(value) {}
  MoveOnly(MoveOnly&& other) noexcept : value(std::exchange(other.value, 0)) {}
  MoveOnly& operator=(MoveOnly&& other) noexcept {
    value = std::exchange(other.value, 0);
    return *this;
  }
  int value = 0;
};
Task<MoveOnly> Make(MoveOnly from) { co_return std::move(from); }
Root TakeMoveOnly(Scope& /*scope*/, int& value) {
  MoveOnly made = co_await Make(MoveOnly(7));
  value = made.value;
}

TEST_F(TaskTest, ValuesAreMoved) {
  OnShard([&] {
    Scope scope;
    int value = 0;
    TakeMoveOnly(scope, value);
    EXPECT_EQ(value, 7);
  });
}

Task<uintptr_t> StackDepth() { co_return reinterpret_cast<uintptr_t>(__builtin_frame_address(0)); }
Root AwaitManyTimes(Scope& /*scope*/, int times, uintptr_t& lowest, uintptr_t& highest) {
  for (int i = 0; i < times; ++i) {
    const uintptr_t at = co_await StackDepth();
    lowest = std::min(lowest, at);
    highest = std::max(highest, at);
  }
}

TEST_F(TaskTest, AMillionChildrenDoNotGrowTheStack) {
  OnShard([&] {
    Scope scope;
    uintptr_t lowest = UINTPTR_MAX;
    uintptr_t highest = 0;
    AwaitManyTimes(scope, 1'000'000, lowest, highest);
    EXPECT_EQ(scope.running(), 0u);
    EXPECT_LT(highest - lowest, 4096u);
  });
}

Root ParkManyTimes(Scope& /*scope*/, Waiter& waiter, int times, int& resumed) {
  for (; resumed < times; ++resumed) co_await waiter.Park();
}

TEST_F(TaskTest, SpuriousAndEarlyWakeUpsAreHarmless) {
  Scope scope;
  Waiter waiter;
  int resumed = 0;
  shard_.Wake(&waiter);
  shard_.Wake(&waiter);
  Turn();  // nobody is parked yet
  OnShard([&] { ParkManyTimes(scope, waiter, 3, resumed); });
  Turn();
  EXPECT_EQ(resumed, 0);
  for (int i = 1; i <= 3; ++i) {
    shard_.Wake(&waiter);
    shard_.Wake(&waiter);
    Turn();
    EXPECT_EQ(resumed, i);
  }
  EXPECT_EQ(scope.running(), 0u);
}

TEST_F(TaskTest, AScopeTellsWhenTheLastOneEnds) {
  Scope scope;
  Waiter one;
  Waiter two;
  struct Bell : Runnable {
    Bell() : Runnable([](Runnable* self) { ++static_cast<Bell*>(self)->rings; }) {}
    int rings = 0;
  } bell;
  scope.set_waiter(&bell);
  OnShard([&] {
    Parent(scope, log_, one);
    Parent(scope, log_, two);
  });
  EXPECT_EQ(scope.running(), 2u);
  shard_.Wake(&one);
  Turn();
  EXPECT_EQ(bell.rings, 0);
  shard_.Wake(&two);
  Turn();
  EXPECT_EQ(bell.rings, 1);
}

class Owner {
 public:
  Root Run(Scope& /*scope*/, int& seen) {
    co_await waiter_.Park();
    seen = value_;
  }
  Waiter waiter_;
  int value_ = 9;
};

TEST_F(TaskTest, AMemberFunctionCanBeARoot) {
  Scope scope;
  Owner owner;
  int seen = 0;
  OnShard([&] { owner.Run(scope, seen); });
  EXPECT_EQ(scope.running(), 1u);
  shard_.Wake(&owner.waiter_);
  Turn();
  EXPECT_EQ(seen, 9);
}

// One waiter handed to several events: whichever comes first, the coroutine looks at all of them.
Root WaitForEither(Scope& /*scope*/, Shard& shard, Timer& timer, const bool& flag, Waiter& waiter,
                   std::string& log) {
  timer.waiter = &waiter;
  shard.SetTimer(timer, 10);
  while (!timer.fired && !flag) co_await waiter.Park();
  log = timer.fired ? "timer" : "flag";
  shard.ClearTimer(timer);
}

TEST_F(TaskTest, WaitingForAnyOfSeveralNeedsNoFurtherFrame) {
  for (const bool set : {false, true}) {
    Scope scope;
    Waiter waiter;
    Timer timer;
    bool flag = false;
    OnShard([&] { WaitForEither(scope, shard_, timer, flag, waiter, log_); });
    world_.RunFor(5 * kNsPerMs);
    EXPECT_EQ(scope.running(), 1u);
    if (set) {
      flag = true;
      shard_.Wake(&waiter);
    }
    world_.RunFor(10 * kNsPerMs);
    EXPECT_EQ(scope.running(), 0u);
    EXPECT_EQ(log_, set ? "flag" : "timer");
  }
}

Root Forever(Scope& /*scope*/, Waiter& waiter) { co_await waiter.Park(); }

TEST(TaskDeathTest, AScopeThatEndsBeforeItsRootsIsFound) {
  EXPECT_DEATH(
      {
        Arena arena(1 << 20);
        SetFrameArena(&arena);
        Waiter waiter;
        Scope scope;
        Forever(scope, waiter);
      },
      "running_ == 0");
}

TEST(TaskDeathTest, AFrameOutsideAShardIsFound) {
  EXPECT_DEATH(
      {
        Scope scope;
        Waiter waiter;
        Forever(scope, waiter);
      },
      "frame_arena != nullptr");
}

Root Throwing(Scope& /*scope*/, const std::vector<int>& empty, int& out) {
  out = empty.at(1);
  co_return;
}

TEST_F(TaskTest, AnEscapedExceptionEndsTheProcess) {
  OnShard([&] {
    Scope scope;
    int out = 0;
    EXPECT_DEATH(Throwing(scope, {}, out), "");
  });
}

}  // namespace
}  // namespace weir
