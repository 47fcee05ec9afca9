#include "lb/admin/plan_views.h"

#include <gtest/gtest.h>

#include "core/clock.h"
#include "lb/config/endpoint_overlay.h"

namespace weir::lb {
namespace {

UpstreamSettings Hashed(uint32_t endpoints) {
  UpstreamSettings settings;
  settings.name = "web";
  settings.balance = Balance::kMaglev;
  settings.hash.on = {HashKey()};
  for (uint32_t i = 0; i < endpoints; ++i) {
    const std::string text = "10.0.0.1:" + std::to_string(80 + i);
    settings.endpoints.push_back({*SocketAddress::Parse(text), 1 + i, text});
  }
  return settings;
}

TEST(PlanViews, WhatIsKnownOfEachEndpoint) {
  constexpr uint64_t kBits[] = {EndpointBook::kDown, EndpointBook::kEjected, EndpointBook::kDraining,
                                EndpointBook::kForcedDown};
  UpstreamPlan plan(Hashed(6), 4, nullptr);
  for (uint32_t i = 0; i < 4; ++i) plan.books[i]->view = kBits[i];
  plan.books[4]->page(0).counters.set_aside.Set(1);
  plan.books[4]->page(3).counters.set_aside.Set(1);
  plan.books[0]->page(2).counters.set_aside.Set(1);
  plan.books[5]->view = EndpointBook::MissingOf(kFullFactor / 2);  // a slow start is no reason
  const AsideNow now = AsideOf(plan, 4);
  EXPECT_EQ(now.on, (std::vector<uint64_t>{1, 0, 0, 0, 2, 0}));
  const Standing unwell{.well = false}, out{.out = true};
  EXPECT_EQ(now.known, (std::vector<Standing>{unwell, unwell, out, out, {}, {}}));
  EXPECT_EQ(now.shards, 4u);
  EXPECT_EQ(now.tables, plan.tables);
  EXPECT_EQ(now.factors[0], kFullFactor);
  EXPECT_EQ(now.factors[5], kFullFactor / 2);
}

TEST(PlanViews, AnUpstreamAsItIs) {
  UpstreamSettings settings = Hashed(2);
  settings.endpoints[1].level = EndpointSettings::kBackup;
  settings.endpoints[0].zone = "a";
  settings.endpoints[0].in_own_zone = true;
  UpstreamPlan plan(settings, 2, nullptr);
  plan.books[1]->view =
      EndpointBook::kDown | EndpointBook::kDraining | EndpointBook::MissingOf(kFullFactor / 2);
  plan.books[1]->checks = {.on = true, .done = 7, .failed = 3, .last_error = "refused"};
  const UpstreamView view = ViewOf(plan, 2, 0);
  EXPECT_EQ(view.name, "web");
  EXPECT_EQ(view.balance, "maglev");
  EXPECT_EQ(view.shards.size(), 2u);
  ASSERT_EQ(view.endpoints.size(), 2u);
  const EndpointView& well = view.endpoints[0];
  EXPECT_EQ(well.address, "10.0.0.1:80");
  EXPECT_EQ(well.weight_percent, 100u);
  EXPECT_EQ(well.shards, (std::vector<const EndpointCounters*>{&plan.books[0]->page(0).counters,
                                                               &plan.books[0]->page(1).counters}));
  EXPECT_EQ(well.health(), "unchecked");
  EXPECT_EQ(well.operator_says(), "ready");
  const EndpointView& other = view.endpoints[1];
  EXPECT_EQ(other.resolved, "10.0.0.1:81");
  EXPECT_EQ(other.weight, 2u);
  EXPECT_EQ(other.priority, EndpointSettings::kBackup);
  EXPECT_TRUE(other.backup);
  EXPECT_FALSE(well.backup);
  EXPECT_EQ(other.weight_percent, 50u);
  EXPECT_EQ(other.health(), "down");
  EXPECT_EQ(other.operator_says(), "drain");
  EXPECT_EQ(other.checks, 7u);
  EXPECT_EQ(other.check_failures, 3u);
  EXPECT_EQ(other.last_check_error, "refused");
  EXPECT_FALSE(view.panic);
  EXPECT_FALSE(view.has_zones) << "each level is in one";
  EXPECT_EQ(well.zone, "a");
  EXPECT_EQ(other.zone, "");
  settings.endpoints[1].level = 0;
  EXPECT_TRUE(ViewOf(UpstreamPlan(settings, 2, &plan), 2, 0).has_zones);
  EXPECT_TRUE(well.takes_requests());
  EXPECT_FALSE(other.takes_requests());
}

TEST(PlanViews, WhoServesInAPanic) {
  UpstreamSettings settings = Hashed(3);
  settings.endpoints[2].level = EndpointSettings::kBackup;
  UpstreamPlan plan(settings, 1, nullptr);
  for (const auto& book : plan.books) book->view = EndpointBook::kDown;
  plan.books[1]->view = EndpointBook::kDown | EndpointBook::kDraining;
  plan.news->panic_levels = 1;
  plan.news->panics = 4;
  const UpstreamView view = ViewOf(plan, 1, 0);
  EXPECT_TRUE(view.panic);
  EXPECT_EQ(view.panics, 4u);
  EXPECT_TRUE(view.endpoints[0].takes_requests());
  EXPECT_FALSE(view.endpoints[1].takes_requests());
  EXPECT_FALSE(view.endpoints[2].takes_requests());
}

TEST(PlanViews, WhatOperatorsChanged) {
  Settings settings;
  settings.upstreams = {Hashed(3)};
  for (const EndpointEdit& edit :
       {EndpointEdit{EndpointEdit::Kind::kAdd, "web", "", *SocketAddress::Parse("10.0.0.9:80"), 7},
        EndpointEdit{EndpointEdit::Kind::kWeight, "web", "10.0.0.1:82", {}, 9},
        EndpointEdit{EndpointEdit::Kind::kRemove, "web", "10.0.0.1:80", {}, 0}}) {
    settings = *EditEndpoints(settings, edit).settings;
  }
  const UpstreamPlan plan(settings.upstreams[0], 2, nullptr);
  UpstreamView view = ViewOf(plan, 2, 0);
  TellEdits(settings, view);
  EXPECT_EQ(view.removed, std::vector<std::string>{"10.0.0.1:80"});
  ASSERT_EQ(view.endpoints.size(), 3u);
  const auto expect = [](const EndpointView& endpoint, std::string_view address, bool added, uint32_t weight,
                         uint32_t file_weight) {
    EXPECT_EQ(endpoint.address, address);
    EXPECT_EQ(endpoint.added, added);
    EXPECT_EQ(endpoint.weight, weight);
    EXPECT_EQ(endpoint.file_weight, file_weight);
  };
  expect(view.endpoints[0], "10.0.0.1:81", false, 2, 2);
  expect(view.endpoints[1], "10.0.0.1:82", false, 9, 3);
  expect(view.endpoints[2], "10.0.0.9:80", true, 7, 0);
}

TEST(PlanViews, WhoIsEjectedAndForHowLong) {
  UpstreamSettings settings = Hashed(2);
  settings.outliers.enabled = true;
  UpstreamPlan plan(settings, 2, nullptr);
  plan.books[1]->view = EndpointBook::kEjected;
  OutlierWatch::Case& state = plan.books[1]->watch->state;
  state.why = "5 timeouts in a row";
  state.until_ns = 12'345 * kNsPerMs;
  state.ejections[static_cast<size_t>(Sign::kTimeouts)] = 3;
  state.ejections[static_cast<size_t>(Sign::kLatency)] = 1;
  state.refused = 2;
  const UpstreamView view = ViewOf(plan, 2, 2'345 * kNsPerMs);
  EXPECT_TRUE(view.endpoints[0].watched);
  EXPECT_FALSE(view.endpoints[0].ejected);
  EXPECT_EQ(view.endpoints[0].ejected_left_ms, 0u);
  const EndpointView& ejected = view.endpoints[1];
  EXPECT_TRUE(ejected.ejected);
  EXPECT_EQ(ejected.ejected_why, "5 timeouts in a row");
  EXPECT_EQ(ejected.ejected_left_ms, 10'000u);
  EXPECT_EQ(ejected.all_ejections(), 4u);
  EXPECT_EQ(ejected.ejections_refused, 2u);
  EXPECT_FALSE(ViewOf(UpstreamPlan(Hashed(1), 2, nullptr), 2, 0).endpoints[0].watched);
}

}  // namespace
}  // namespace weir::lb
