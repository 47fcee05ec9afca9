#include "core/runnable.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "core/random.h"

namespace weir {
namespace {

struct Item : Runnable {
  explicit Item(int number = 0) : Runnable([](Runnable*) {}), number(number) {}
  int number;
};

std::string PopAll(ReadyList& list) {
  std::string order;
  while (!list.empty()) order += static_cast<char>('0' + static_cast<Item*>(list.PopFront())->number);
  return order;
}

TEST(ReadyListTest, FirstInFirstOut) {
  ReadyList list;
  Item items[] = {Item(0), Item(1), Item(2)};
  for (Item& item : items) list.PushBack(&item);
  EXPECT_EQ(PopAll(list), "012");
  EXPECT_TRUE(list.empty());
}

TEST(ReadyListTest, QueuedTwiceRunsOnceAndMayBeQueuedAgain) {
  ReadyList list;
  Item one(1);
  Item two(2);
  list.PushBack(&one);
  list.PushBack(&one);
  list.PushBack(&two);
  list.PushBack(&two);  // the last of a list is known to be in it, too
  EXPECT_EQ(PopAll(list), "12");
  EXPECT_FALSE(one.queued());
  list.PushBack(&one);
  EXPECT_EQ(PopAll(list), "1");
}

TEST(ReadyListTest, RemoveFromAnywhere) {
  for (int removed = 0; removed < 3; ++removed) {
    ReadyList list;
    Item items[] = {Item(0), Item(1), Item(2)};
    Item late(3);
    for (Item& item : items) list.PushBack(&item);
    list.Remove(&items[removed]);
    list.Remove(&items[removed]);  // not in it any more: no effect
    list.PushBack(&late);
    std::string expected = "0123";
    expected.erase(static_cast<size_t>(removed), 1);
    EXPECT_EQ(PopAll(list), expected);
  }
}

TEST(ReadyListTest, AppendMovesAll) {
  ReadyList list;
  ReadyList other;
  Item items[] = {Item(0), Item(1), Item(2), Item(3)};
  list.Append(other);
  EXPECT_TRUE(list.empty());
  other.PushBack(&items[0]);
  other.PushBack(&items[1]);
  list.Append(other);
  EXPECT_TRUE(other.empty());
  other.PushBack(&items[2]);
  list.Append(other);
  list.PushBack(&items[3]);
  EXPECT_EQ(PopAll(list), "0123");
}

TEST(ReadyListTest, AgreesWithADeque) {
  Random random(7);
  ReadyList list;
  std::deque<Item*> model;
  std::vector<std::unique_ptr<Item>> items;
  for (int i = 0; i < 20; ++i) items.push_back(std::make_unique<Item>(i));
  const auto in_model = [&](Item* item) {
    return std::find(model.begin(), model.end(), item) != model.end();
  };
  for (int step = 0; step < 20'000; ++step) {
    Item* item = items[random.Below(20)].get();
    switch (random.Below(3)) {
      case 0:
        if (!in_model(item)) model.push_back(item);
        list.PushBack(item);
        break;
      case 1:
        std::erase(model, item);
        list.Remove(item);
        break;
      default:
        if (model.empty()) break;
        EXPECT_EQ(list.PopFront(), model.front());
        model.pop_front();
    }
    ASSERT_EQ(list.empty(), model.empty());
    ASSERT_EQ(item->queued(), in_model(item));
  }
  while (!list.empty()) list.PopFront();
}

TEST(ReadyListDeathTest, NothingToPop) {
  ReadyList list;
  EXPECT_DEATH(list.PopFront(), "internal error: expected !empty\\(\\)");
}

}  // namespace
}  // namespace weir
