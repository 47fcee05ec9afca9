#include "core/op.h"

#include <gtest/gtest.h>

#include <vector>

#include "core/source.h"

namespace weir {
namespace {

std::vector<Op*> PopAll(OpList& list) {
  std::vector<Op*> all;
  while (!list.empty()) all.push_back(list.PopFront());
  return all;
}

TEST(OpListTest, FirstInFirstOut) {
  OpList list;
  Op ops[3];
  for (Op& op : ops) list.PushBack(&op);
  EXPECT_EQ(list.front(), &ops[0]);
  EXPECT_EQ(PopAll(list), (std::vector<Op*>{&ops[0], &ops[1], &ops[2]}));
}

TEST(OpListTest, PushFrontOvertakes) {
  OpList list;
  Op ops[3];
  list.PushFront(&ops[0]);
  list.PushBack(&ops[1]);
  list.PushFront(&ops[2]);
  EXPECT_EQ(PopAll(list), (std::vector<Op*>{&ops[2], &ops[0], &ops[1]}));
}

TEST(OpListTest, RemoveFromAnywhere) {
  for (int removed = 0; removed < 3; ++removed) {
    OpList list;
    Op ops[3];
    Op late;
    for (Op& op : ops) list.PushBack(&op);
    EXPECT_TRUE(list.Remove(&ops[removed]));
    EXPECT_FALSE(list.Remove(&ops[removed]));
    list.PushBack(&late);
    std::vector<Op*> expected = {&ops[0], &ops[1], &ops[2], &late};
    expected.erase(expected.begin() + removed);
    EXPECT_EQ(PopAll(list), expected);
  }
}

TEST(OpListTest, AppendMovesAll) {
  OpList list;
  OpList other;
  Op ops[3];
  list.Append(other);
  EXPECT_TRUE(list.empty());
  other.PushBack(&ops[0]);
  list.Append(other);
  EXPECT_TRUE(other.empty());
  other.PushBack(&ops[1]);
  list.Append(other);
  list.PushBack(&ops[2]);
  EXPECT_EQ(PopAll(list), (std::vector<Op*>{&ops[0], &ops[1], &ops[2]}));
}

TEST(SourceTest, KeepsResultsInOrderRoundItsRing) {
  Source source;
  int32_t in = 0;
  int32_t out = 0;
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 50; ++i) source.Push(in++);
    for (int i = 0; i < 50; ++i) EXPECT_EQ(source.Pop(), out++);
  }
  EXPECT_TRUE(source.empty());
  for (uint32_t i = 0; i < Source::kCapacity; ++i) source.Push(0);
  EXPECT_TRUE(source.full());
  EXPECT_DEATH(source.Push(0), "!full\\(\\)");
}

TEST(OpDeathTest, AnOpThatEndsInFlightIsFound) {
  EXPECT_DEATH(
      {
        Op op;
        op.state = Op::State::kInFlight;
      },
      "state == State::kIdle");
}

}  // namespace
}  // namespace weir
