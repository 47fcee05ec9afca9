// The table of clients: exact for one thread after the other, never too many for many at once, and empty when
// all have left.
#include "lb/client_table.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "core/random.h"

namespace weir::lb {
namespace {

using Answer = ClientTable::Answer;

constexpr SipKey kKey = {1, 2};

SocketAddress Client(std::string_view ip) { return *SocketAddress::Parse(std::string(ip) + ":1"); }
SocketAddress ClientNumber(uint32_t i) {
  SocketAddress address = Client("10.0.0.0");
  for (int byte = 0; byte < 3; ++byte) address.bytes[1 + byte] = static_cast<uint8_t>(i >> (8 * byte));
  return address;
}

TEST(ClientTable, LetsInAsManyAsMayBe) {
  ClientTable table(100, kKey);
  std::vector<uint32_t> places(3);
  for (uint32_t& place : places) EXPECT_EQ(table.Enter(1, Client("10.0.0.1"), 3, &place), Answer::kIn);
  uint32_t other = ClientTable::kNone;
  EXPECT_EQ(table.Enter(1, Client("10.0.0.1"), 3, &other), Answer::kOverLimit);
  EXPECT_EQ(other, ClientTable::kNone);
  EXPECT_EQ(table.Total(), 3u);
  table.Leave(places[1]);
  EXPECT_EQ(table.Enter(1, Client("10.0.0.1"), 3, &places[1]), Answer::kIn);
  EXPECT_EQ(table.Enter(1, Client("10.0.0.1"), 3, &other), Answer::kOverLimit);
  // A limit that a reload lowers, or lifts.
  EXPECT_EQ(table.Enter(1, Client("10.0.0.1"), 1, &other), Answer::kOverLimit);
  EXPECT_EQ(table.Enter(1, Client("10.0.0.1"), 4, &other), Answer::kIn);
  table.Leave(other);
  for (const uint32_t place : places) table.Leave(place);
  EXPECT_EQ(table.Total(), 0u);
}

TEST(ClientTable, WhoIsOneClient) {
  ClientTable table(100, kKey);
  uint32_t place = 0;
  EXPECT_EQ(table.Enter(1, Client("10.0.0.1"), 1, &place), Answer::kIn);
  EXPECT_EQ(table.Enter(1, *SocketAddress::Parse("10.0.0.1:9"), 1, &place), Answer::kOverLimit) << "a port";
  EXPECT_EQ(table.Enter(1, Client("[::ffff:10.0.0.1]"), 1, &place), Answer::kOverLimit) << "mapped";
  EXPECT_EQ(table.Enter(1, Client("10.0.0.2"), 1, &place), Answer::kIn);
  EXPECT_EQ(table.Enter(2, Client("10.0.0.1"), 1, &place), Answer::kIn) << "another listener";
  EXPECT_EQ(table.Enter(1, Client("[2001:db8:1:2::1]"), 1, &place), Answer::kIn);
  EXPECT_EQ(table.Enter(1, Client("[2001:db8:1:2:3:4:5:6]"), 1, &place), Answer::kOverLimit) << "its /64";
  EXPECT_EQ(table.Enter(1, Client("[2001:db8:1:3::1]"), 1, &place), Answer::kIn);
  EXPECT_EQ(table.Enter(1, Client("[a00:1::]"), 1, &place), Answer::kIn) << "the bytes of 10.0.0.1";
  EXPECT_FALSE(ClientTable::Knows(SocketAddress::ForUnix(nullptr)));
}

TEST(ClientTable, HasRoomForAllTheClientsThatCanBeThere) {
  constexpr uint32_t kConnections = 20'000;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    ClientTable table(kConnections, {seed, 7});
    std::vector<uint32_t> places(kConnections);
    // They come and go, so that the free places lie anywhere.
    for (uint32_t i = 0; i < kConnections; ++i)
      ASSERT_EQ(table.Enter(1, ClientNumber(i), 1, &places[i]), Answer::kIn) << i;
    Random random(seed);
    for (uint32_t round = 0; round < 100'000; ++round) {
      const uint32_t i = random.Below(kConnections);
      table.Leave(places[i]);
      ASSERT_EQ(table.Enter(1, ClientNumber(i), 1, &places[i]), Answer::kIn) << i;
      uint32_t other = 0;
      ASSERT_EQ(table.Enter(1, ClientNumber(i), 1, &other), Answer::kOverLimit) << i;
    }
    EXPECT_EQ(table.Total(), kConnections);
    for (const uint32_t place : places) table.Leave(place);
    EXPECT_EQ(table.Total(), 0u);
  }
}

TEST(ClientTable, SaysWhenItIsFull) {
  ClientTable table(0, kKey);
  std::vector<uint32_t> places;
  uint32_t full = 0;
  for (uint32_t i = 0; i < 1'000; ++i) {
    uint32_t place = 0;
    const Answer answer = table.Enter(1, ClientNumber(i), 1, &place);
    if (answer == Answer::kIn) places.push_back(place);
    full += answer == Answer::kFull;
  }
  EXPECT_EQ(places.size() + full, 1'000u);
  EXPECT_LE(places.size() * sizeof(uint64_t), ClientTable::BytesFor(0));
  EXPECT_EQ(table.Total(), places.size());
  for (const uint32_t place : places) table.Leave(place);
  uint32_t place = 0;
  EXPECT_EQ(table.Enter(1, ClientNumber(999), 1, &place), Answer::kIn);
}

// Many threads, few clients: none ever has more than its limit, whatever was made and given up meanwhile.
TEST(ClientTable, ThreadsNeverLetInTooMany) {
  constexpr uint32_t kThreads = 4;
  constexpr uint32_t kClients = 40;
  constexpr uint32_t kRounds = 50'000;
  constexpr uint32_t kHeld = 6;  // at one time by a thread
  const auto limit_of = [](uint32_t client) { return 1 + client % 5; };
  ClientTable table(8, kKey);  // few buckets: places are made and given up all the time
  std::atomic<uint32_t> inside[kClients] = {};
  std::atomic<uint64_t> entered = 0;
  std::atomic<uint64_t> too_many = 0;
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Random random(t + 1);
      struct Held {
        uint32_t client;
        uint32_t place;
      };
      std::vector<Held> held;
      const auto leave = [&](size_t i) {
        inside[held[i].client].fetch_sub(1);
        table.Leave(held[i].place);
        held[i] = held.back();
        held.pop_back();
      };
      for (uint32_t round = 0; round < kRounds; ++round) {
        const uint32_t client = random.Below(kClients);
        uint32_t place = 0;
        if (table.Enter(1, ClientNumber(client), limit_of(client), &place) == Answer::kIn) {
          entered.fetch_add(1);
          // Counted after it is in, and no longer before it leaves: so this is never more than the table has.
          if (inside[client].fetch_add(1) >= limit_of(client)) too_many.fetch_add(1);
          held.push_back({client, place});
        }
        if (held.size() == kHeld) leave(random.Below(kHeld));
      }
      while (!held.empty()) leave(held.size() - 1);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(too_many.load(), 0u);
  EXPECT_GT(entered.load(), kRounds);
  EXPECT_EQ(table.Total(), 0u);
}

}  // namespace
}  // namespace weir::lb
