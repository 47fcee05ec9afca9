#include "lb/admin/pages.h"

#include <fstream>
#include <memory>
#include <sstream>

#include "gtest/gtest.h"
#include "tests/admin/exposition.h"
#include "tests/json/json.h"

namespace weir::lb {
namespace {

using tests::Exposition;
using tests::Json;
using tests::JsonReader;

// Two data shards, the control shard and two endpoints with something of everything.
class PagesTest : public testing::Test {
 protected:
  PagesTest() {
    for (int i = 0; i < 2; ++i) {
      shards_.push_back({&core_[i], &proxy_[i]});
      for (auto& endpoint : endpoint_counters_[i])
        per_endpoint_[&endpoint - endpoint_counters_[i]].push_back(&endpoint);
    }
    view_.control = {&core_[2], &proxy_[2]};
    upstreams_ = {{"web",
                   "round_robin",
                   {{"10.0.0.1:80", 1, per_endpoint_[0], false, false, 0, 0, "", 40},
                    {"[::1]:81", 3, per_endpoint_[1], true, true, 12, 5, "status \"500\""}},
                   {&upstream_counters_[0], &upstream_counters_[1]}}};
    upstreams_[0].endpoints[1].priority = 10;
    upstreams_[0].endpoints[1].backup = true;
    upstreams_[0].endpoints[1].zone = "eu-1b";
    upstreams_[0].has_zones = true;
    upstreams_[0].endpoints[1].labels = &labels_;
    view_.shards = shards_;
    view_.upstreams = upstreams_;
    view_.version = "0.1.0";
    generations_ = {{6, 1'795'359'353'123, 3}, {7, 1'795'359'357'000, 20}};
    view_.generations = generations_;
    view_.reloads = 6;
    view_.reload_failures = 2;
    view_.max_connections = 1'000;
    view_.check_connections = 9;
    view_.start_wall_ms = 1'795'359'352'123;
    view_.now_wall_ms = view_.start_wall_ms + 5'000;
  }

  void Fill() {
    for (uint64_t i = 0; i < 2; ++i) {
      proxy_[i].accepted.Add(100 + i);
      proxy_[i].open_connections.Add(10 + i);
      for (uint64_t code = 0; code < 6; ++code) proxy_[i].requests[code].Add(code * 10);
      for (const uint64_t us : {50, 64, 70, 1'000, 1'000, 250'000}) proxy_[i].latency_us.Record(us);
      proxy_[i].resets_for_buffers.Add(i);
      core_[i].turns.Add(5'000 + i);
      core_[i].cq_overflows.Add(2 * i);
      core_[i].buffer_low_water.Add(3 * i);
      for (EndpointCounters& endpoint : endpoint_counters_[i]) endpoint.requests.Add(7);
      for (uint64_t code = 0; code < 6; ++code) upstream_counters_[i].responses[code].Add(code + 3 * i);
      upstream_counters_[i].left_zone.Add(3 + i);
      proxy_[i].tcp_active.Add(4 + i);
      proxy_[i].tcp_ends[TcpEndOf("client_closed")].Add(2 + i);
      proxy_[i].tcp_ends[TcpEndOf("other")].Add(1);
      for (const uint64_t us : {500, 1'500'000, 90'000'000}) proxy_[i].tcp_duration_us.Record(us);
      upstream_counters_[i].tcp_ends[TcpEndOf("server_closed")].Add(1 + i);
      proxy_[i].rejected_clients.Add(5 * i);
    }
    endpoint_counters_[1][1].set_aside.Set(1);
    EndpointView& failing = upstreams_[0].endpoints[1];
    failing.watched = true;
    failing.ejections[static_cast<size_t>(Sign::kServerErrors)] = 2;
    failing.ejections[static_cast<size_t>(Sign::kLatency)] = 1;
    failing.ejections_refused = 4;
    core_[2].turns.Add(77);
    proxy_[0].log_lines_dropped.Add(1);
    proxy_[2].log_lines_dropped.Add(2);
  }

  CoreCounters core_[3];
  ProxyCounters proxy_[3];
  EndpointCounters endpoint_counters_[2][2];
  UpstreamCounters upstream_counters_[2];
  std::vector<const EndpointCounters*> per_endpoint_[2];
  std::vector<ShardView> shards_;
  const Labels labels_ = {{"size", "big"}, {"version", "v2"}};
  std::vector<UpstreamView> upstreams_;
  std::vector<GenerationView> generations_;
  AdminView view_;
};

std::string FileText(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST_F(PagesTest, MetricsGolden) {
  Fill();
  EXPECT_EQ(MetricsPage(view_), FileText("tests/admin/golden/metrics.txt"));
}

TEST_F(PagesTest, StatsGolden) {
  Fill();
  EXPECT_EQ(StatsPage(view_), FileText("tests/admin/golden/stats.json"));
}

TEST_F(PagesTest, UpstreamsGolden) {
  Fill();
  upstreams_[0].endpoints[0].resolved = "10.0.0.1:80";
  upstreams_[0].endpoints[1].resolved = "[::1]:81";
  upstreams_[0].endpoints[1].draining = true;
  upstreams_[0].endpoints[1].ejected = true;
  upstreams_[0].endpoints[1].added = true;
  upstreams_[0].endpoints[1].file_weight = 0;
  upstreams_[0].removed = {"10.0.0.7:80", "unix:/run/a.sock"};
  upstreams_[0].endpoints[1].ejected_why = "5 server errors in a row";
  upstreams_[0].endpoints[1].ejected_left_ms = 1'001;
  EXPECT_EQ(UpstreamsPage(upstreams_), FileText("tests/admin/golden/upstreams.json"));
  EXPECT_EQ(UpstreamsPage({}), "{\n  \"upstreams\": []\n}\n");
}

TEST_F(PagesTest, EndpointsInWords) {
  Fill();
  EXPECT_EQ(EndpointLines(upstreams_[0]),
            "endpoint   10.0.0.1:80: in use, with 40 % of its weight (slow start), 0 in flight, 0 idle "
            "connections\n"
            "endpoint   [::1]:81 (backup) (zone eu-1b) {size: big, version: v2}: down (status \"500\"), set "
            "aside on 1 of 2 shards, 0 "
            "in flight, 0 idle "
            "connections\n");
  endpoint_counters_[1][1].set_aside.Set(0);
  upstreams_[0].endpoints[1].in_panic = true;
  EXPECT_NE(EndpointLines(upstreams_[0]).find(": down (status \"500\"), but in use: panic, 0 in flight"),
            std::string::npos);
  EXPECT_NE(UpstreamsPage(upstreams_).find("\"takes_requests\": true,\n          \"why_not\": \"down"),
            std::string::npos);
  upstreams_[0].endpoints[1].draining = true;
  EXPECT_EQ(EndpointLines(upstreams_[0]).find("panic"), std::string::npos);
  upstreams_[0].endpoints[1].draining = upstreams_[0].endpoints[1].in_panic = false;
  upstreams_[0].endpoints[0].forced_down = true;
  EXPECT_NE(EndpointLines(upstreams_[0]).find("10.0.0.1:80: down (operator), with"), std::string::npos);
  EXPECT_NE(
      EndpointLines(upstreams_[0])
          .find(":81 (backup) (zone eu-1b) {size: big, version: v2}: down (status \"500\"), 0 in flight"),
      std::string::npos);
}

TEST_F(PagesTest, MetricsAreWellFormed) {
  for (const bool filled : {false, true}) {
    if (filled) Fill();
    Exposition page;
    ASSERT_EQ(page.Read(MetricsPage(view_)), "");
    EXPECT_EQ(page.samples.at("weir_build_info{version=\"0.1.0\"}"), 1);
    EXPECT_EQ(page.samples.at("weir_start_time_seconds"), 1'795'359'352.123);
    if (!filled) continue;
    EXPECT_EQ(page.samples.at("weir_accepted_connections_total{shard=\"1\"}"), 101);
    EXPECT_EQ(page.samples.at("weir_requests_total{code=\"5xx\"}"), 100);
    EXPECT_EQ(page.samples.at("weir_turns_total{shard=\"control\"}"), 77);
    EXPECT_EQ(page.samples.at("weir_cq_overflows_total{shard=\"1\"}"), 2);
    EXPECT_EQ(page.samples.at("weir_endpoint_requests_total{upstream=\"web\",endpoint=\"[::1]:81\"}"), 14);
    EXPECT_EQ(page.samples.at("weir_endpoint_set_aside_shards{upstream=\"web\",endpoint=\"[::1]:81\"}"), 1);
    EXPECT_EQ(page.samples.at("weir_upstream_responses_total{upstream=\"web\",code=\"5xx\"}"), 13);
    // The writer's losses lie on the control shard.
    EXPECT_EQ(page.samples.at("weir_access_log_lines_dropped_total"), 3);
  }
}

TEST_F(PagesTest, TheHistogramCountsExactly) {
  Fill();
  Exposition page;
  ASSERT_EQ(page.Read(MetricsPage(view_)), "");
  const auto below = [&](const char* le) {
    return page.samples.at(std::string("weir_request_duration_seconds_bucket{le=\"") + le + "\"}");
  };
  EXPECT_EQ(below("0.000064"), 2);  // 50 us; 64 us is not below 64
  EXPECT_EQ(below("0.000096"), 6);
  EXPECT_EQ(below("0.000768"), 6);
  EXPECT_EQ(below("0.001024"), 10);
  EXPECT_EQ(below("67.108864"), 12);
  EXPECT_EQ(page.samples.at("weir_request_duration_seconds_count"), 12);
  EXPECT_DOUBLE_EQ(page.samples.at("weir_request_duration_seconds_sum"), 0.504368);
}

// Whatever is added to the counters must come to the page.
TEST_F(PagesTest, NoCounterIsForgotten) {
  const auto expect_all_shown = [&](auto& counters) {
    auto* words = reinterpret_cast<Counter*>(&counters);
    const size_t count = sizeof(counters) / sizeof(Counter);
    const std::string before = MetricsPage(view_);
    size_t unseen = 0;
    for (size_t i = 0; i < count; ++i) {
      words[i].Set(1'000'000'000);
      if (MetricsPage(view_) == before) {
        ++unseen;
        // Only what fills the last cache line.
        EXPECT_GT(i + 64 / sizeof(Counter), count) << "counter number " << i << " is not on the page";
      }
      words[i].Set(0);
    }
    EXPECT_LT(unseen, 64 / sizeof(Counter));
  };
  expect_all_shown(proxy_[0]);
  expect_all_shown(core_[0]);
  auto* words = reinterpret_cast<Counter*>(&endpoint_counters_[0][0]);
  for (size_t i = 0; i < sizeof(EndpointCounters) / sizeof(Counter); ++i) {
    const std::string before = MetricsPage(view_);
    words[i].Set(5);
    EXPECT_NE(MetricsPage(view_), before) << "endpoint counter number " << i;
  }
  words = reinterpret_cast<Counter*>(&upstream_counters_[0]);
  for (size_t i = 0; i < sizeof(UpstreamCounters) / sizeof(Counter); ++i) {
    const std::string before = MetricsPage(view_);
    words[i].Set(5);
    EXPECT_NE(MetricsPage(view_), before) << "upstream counter number " << i;
  }
}

TEST_F(PagesTest, LabelsAreEscaped) {
  upstreams_[0].endpoints[0].address = "a\\b\"c\nd";
  Exposition page;
  ASSERT_EQ(page.Read(MetricsPage(view_)), "");
  EXPECT_TRUE(page.samples.contains("weir_endpoint_weight{upstream=\"web\",endpoint=\"a\\\\b\\\"c\\nd\"}"));
  const std::optional<Json> stats = JsonReader::Read(StatsPage(view_));
  ASSERT_TRUE(stats.has_value());
  EXPECT_EQ(stats->Find("upstreams")->list[0].Find("endpoints")->list[0].At("address"), "a\\b\"c\nd");
}

TEST_F(PagesTest, StatsIsJson) {
  Fill();
  view_.draining = true;
  const std::string page = StatsPage(view_);
  const std::optional<Json> stats = JsonReader::Read(page);
  ASSERT_TRUE(stats.has_value()) << page;
  EXPECT_EQ(stats->At("version"), "0.1.0");
  EXPECT_EQ(stats->At("uptime_ms"), "5000");
  EXPECT_EQ(stats->Find("draining")->kind, Json::Kind::kTrue);
  EXPECT_EQ(stats->At("open_connections"), "21");
  EXPECT_EQ(stats->Find("requests")->At("2xx"), "40");
  EXPECT_EQ(stats->Find("latency_us")->At("count"), "12");
  EXPECT_EQ(stats->Find("latency_us")->At("p50"), "1024");
  EXPECT_EQ(stats->Find("latency_us")->At("p99"), "262144");
  EXPECT_EQ(stats->Find("upstreams")->list[0].Find("endpoints")->list.size(), 2u);
  ASSERT_EQ(stats->Find("shards")->list.size(), 3u);
  EXPECT_EQ(stats->Find("shards")->list[2].At("shard"), "control");
}

TEST_F(PagesTest, NothingConfiguredYet) {
  const AdminView nothing;
  Exposition page;
  EXPECT_EQ(page.Read(MetricsPage({.shards = shards_,
                                   .control = {},
                                   .upstreams = {},
                                   .generations = {},
                                   .version = "x",
                                   .max_connections = 0,
                                   .start_wall_ms = 0,
                                   .now_wall_ms = 0,
                                   .draining = false})),
            "");
  EXPECT_TRUE(JsonReader::Read(StatsPage(nothing)).has_value());
}

TEST(HealthPage, SaysHowItIs) {
  EXPECT_EQ(HealthPage(false), "ok\n");
  EXPECT_EQ(HealthPage(true), "draining\n");
}

}  // namespace
}  // namespace weir::lb
