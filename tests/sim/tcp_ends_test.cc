// What is counted of TCP connections: who ended each, for how long it was there, how many there are.
#include <gtest/gtest.h>

#include <string>

#include "tests/sim/stage.h"

namespace weir::lb::trial {
namespace {

class TcpEnds : public testing::Test {
 protected:
  TcpEnds() : stage_(1, Options()) {}
  static Stage::Options Options() {
    Stage::Options options;
    options.settings = Rig::Defaults(1);
    options.settings.timeouts.tcp_idle_ms = 1'000;
    options.settings.timeouts.drain_ms = 500;
    return options;
  }
  // A client that has an origin to talk to.
  Speaker& Talk() {
    const size_t before = stage_.origins().size();
    Speaker& client = stage_.Client("hello", kTcpAddress);
    EXPECT_TRUE(stage_.Until(
        [&] { return stage_.origins().size() == before + 1 && stage_.origin(before).Heard("hello"); },
        1'000));
    return client;
  }
  uint64_t Of(std::string_view end) { return stage_.counters().tcp_ends[TcpEndOf(end)].Get(); }
  void ExpectOne(std::string_view end, bool had_endpoint = true) {
    EXPECT_TRUE(stage_.Until([&] { return stage_.counters().tcp_active.Get() == 0; }, 5'000));
    EXPECT_EQ(Of(end), 1u) << end;
    uint64_t all = 0;
    for (const Counter& counter : stage_.counters().tcp_ends) all += counter.Get();
    EXPECT_EQ(all, stage_.counters().tcp_connections.Get());
    UpstreamBook& book = *stage_.rig().generations().back()->plan(0)->book;
    EXPECT_EQ(book.page(0).tcp_ends[TcpEndOf(end)].Get(), had_endpoint ? 1u : 0u) << end;
    uint64_t durations = 0;
    for (uint32_t i = 0; i < Histogram::kBuckets; ++i)
      durations += stage_.counters().tcp_duration_us.bucket(i);
    EXPECT_EQ(durations, all);
  }

  Stage stage_;
};

TEST_F(TcpEnds, TheClientFirst) {
  stage_.Origin(0);
  Speaker& client = Talk();
  EXPECT_EQ(stage_.counters().tcp_active.Get(), 1u);
  client.peer.Finish();
  ASSERT_TRUE(stage_.Until([&] { return stage_.origin(0).ended(); }, 1'000));
  EXPECT_EQ(stage_.counters().tcp_active.Get(), 1u) << "the other half is still there";
  stage_.Run(200);
  stage_.origin(0).Say("bye");
  stage_.origin(0).peer.Finish();
  ExpectOne("client_closed");
  EXPECT_GE(stage_.counters().tcp_duration_us.sum(), 200'000u);
}

TEST_F(TcpEnds, TheServerFirst) {
  stage_.Origin(0);
  Speaker& client = Talk();
  stage_.origin(0).peer.Finish();
  ASSERT_TRUE(stage_.Until([&] { return client.ended(); }, 1'000));
  client.peer.Finish();
  ExpectOne("server_closed");
}

TEST_F(TcpEnds, Resets) {
  stage_.Origin(0);
  Talk().peer.Reset();
  ExpectOne("client_reset");
  Talk();
  stage_.origin(1).peer.Reset();
  ExpectOne("upstream_reset");
}

TEST_F(TcpEnds, Idle) {
  stage_.Origin(0);
  Talk();
  ExpectOne("idle_timeout");
}

TEST_F(TcpEnds, NobodyThere) {
  stage_.Client("hello", kTcpAddress);
  stage_.Run(100);
  ExpectOne("upstream_unreachable", false);
}

TEST_F(TcpEnds, TheDrain) {
  stage_.Origin(0);
  Speaker& client = Talk();
  stage_.rig().Drain();
  for (int i = 0; i < 10; ++i) {
    stage_.Run(100);
    client.Say("still here");
  }
  ExpectOne("cut");
}

TEST(TcpEnd, UnknownWordsAreOther) {
  EXPECT_EQ(kTcpEndNames[TcpEndOf("denied")], "denied");
  EXPECT_EQ(kTcpEndNames[TcpEndOf("tls_hello_timeout")], "tls_hello");
  EXPECT_EQ(kTcpEndNames[TcpEndOf("nothing of it")], "other");
  EXPECT_EQ(kTcpEndNames[TcpEndOf("")], "other");
}

}  // namespace
}  // namespace weir::lb::trial
