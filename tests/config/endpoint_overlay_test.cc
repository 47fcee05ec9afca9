// What operators change of endpoints, on top of what the file has, from one reload to the next.
#include "lb/config/endpoint_overlay.h"

#include <gtest/gtest.h>

#include "core/unix_path.h"
#include "lb/balance/balancer.h"

namespace weir::lb {
namespace {

using Edit = EndpointEdit::Kind;

SocketAddress At(std::string_view text) {
  std::string expected;
  return text.starts_with(kUnixPrefix) ? *ParseUnixAddress(text, &expected) : *SocketAddress::Parse(text);
}

EndpointSettings Endpoint(const std::string& address, uint32_t weight = 1, const std::string& name = "") {
  return {.address = At(address), .weight = weight, .text = name.empty() ? address : name};
}

Settings With(std::vector<EndpointSettings> endpoints) {
  Settings settings;
  settings.listeners.push_back({Protocol::kHttp, At("10.0.9.9:80"), "http://10.0.9.9:80"});
  settings.has_admin = true;
  settings.admin = At("10.0.9.9:9901");
  for (const char* name : {"other", "web"}) {
    settings.upstreams.emplace_back().name = name;
    settings.upstreams.back().endpoints = endpoints;
  }
  return settings;
}

// "10.0.0.1:80=2 ..." of the upstream `web`.
std::string Web(const Settings& settings) {
  std::string text;
  for (const EndpointSettings& endpoint : settings.upstreams[1].endpoints) {
    text += (text.empty() ? "" : " ") + endpoint.address.ToString();
    if (endpoint.weight != 1) text += "=" + std::to_string(endpoint.weight);
  }
  return text;
}

class OverlayTest : public testing::Test {
 protected:
  EditedSettings Try(Edit kind, const std::string& endpoint, uint32_t weight = 0) {
    EndpointEdit edit{.kind = kind, .upstream = "web", .endpoint = endpoint, .address = {}, .weight = weight};
    if (kind == Edit::kAdd) edit.address = At(endpoint);
    return EditEndpoints(running_, edit);
  }
  void Do(Edit kind, const std::string& endpoint, uint32_t weight = 0) {
    EditedSettings edited = Try(kind, endpoint, weight);
    ASSERT_EQ(edited.status, 200) << edited.text;
    text_ = edited.text;
    if (edited.settings) running_ = *std::move(edited.settings);
  }
  // What is told.
  std::string Reload(Settings read) {
    std::string messages;
    EXPECT_TRUE(KeepEdits(running_, read, &messages));
    running_ = std::move(read);
    return messages;
  }
  size_t Entries() const {
    const auto* const web = running_.overlay == nullptr ? nullptr : running_.overlay->Find("web");
    return web == nullptr ? 0 : web->entries.size();
  }

  Settings running_ = With({Endpoint("10.0.0.1:80"), Endpoint("10.0.0.2:80", 3)});
  std::string text_;
};

// An operator says of nobody in which zone it is; what the file says of it stays.
TEST_F(OverlayTest, WhoIsAddedIsWhereAllOthersAre) {
  for (EndpointSettings& endpoint : running_.upstreams[1].endpoints) {
    endpoint.zone = "a";
    endpoint.in_own_zone = true;
  }
  const Settings file = running_;
  Do(Edit::kAdd, "10.0.0.9:80");
  Do(Edit::kWeight, "10.0.0.1:80", 7);
  Do(Edit::kRemove, "10.0.0.2:80");
  Do(Edit::kAdd, "10.0.0.2:80");
  const auto zones = [this] {
    std::string text;
    for (const EndpointSettings& endpoint : running_.upstreams[1].endpoints)
      text += endpoint.zone + (endpoint.in_own_zone ? "! " : " ");
    return text;
  };
  EXPECT_EQ(Web(running_), "10.0.0.1:80=7 10.0.0.2:80=3 10.0.0.9:80");
  EXPECT_EQ(zones(), "a! a! ! ");
  Settings elsewhere = file;
  for (EndpointSettings& endpoint : elsewhere.upstreams[1].endpoints) endpoint.in_own_zone = false;
  Reload(elsewhere);
  EXPECT_EQ(Web(running_), "10.0.0.1:80=7 10.0.0.2:80=3 10.0.0.9:80");
  EXPECT_EQ(zones(), "a a  ");
}

TEST_F(OverlayTest, AddsChangesAndRemoves) {
  Do(Edit::kAdd, "10.0.0.9:80");
  EXPECT_EQ(text_, "upstream web: endpoint 10.0.0.9:80 is added with weight 1\n");
  Do(Edit::kAdd, "[::1]:80", 4);
  Do(Edit::kWeight, "10.0.0.1:80", 7);
  EXPECT_EQ(text_, "upstream web: endpoint 10.0.0.1:80 has weight 7\n");
  EXPECT_EQ(Web(running_), "10.0.0.1:80=7 10.0.0.2:80=3 10.0.0.9:80 [::1]:80=4");
  Do(Edit::kWeight, "10.0.0.9:80", 5);
  Do(Edit::kRemove, "10.0.0.2:80");
  EXPECT_EQ(text_, "upstream web: endpoint 10.0.0.2:80 is removed\n");
  EXPECT_EQ(Web(running_), "10.0.0.1:80=7 10.0.0.9:80=5 [::1]:80=4") << "in the order they were added";
  EXPECT_EQ(running_.upstreams[1].endpoints[2].text, "[::1]:80");
  EXPECT_EQ(running_.upstreams[0].endpoints.size(), 2u) << "the other upstream's own";
  EXPECT_EQ(running_.overlay->upstreams.size(), 1u);
  EXPECT_EQ(running_.overlay->Find("web")->file.size(), 2u);

  // Back to what the file has, and nothing is left of it.
  Do(Edit::kAdd, "10.0.0.2:80");
  EXPECT_EQ(text_, "upstream web: endpoint 10.0.0.2:80 is added with weight 3\n") << "the file's";
  Do(Edit::kRemove, "10.0.0.9:80");
  Do(Edit::kRemove, "[::1]:80");
  Do(Edit::kWeight, "10.0.0.1:80", 1);
  EXPECT_EQ(Web(running_), "10.0.0.1:80 10.0.0.2:80=3");
  EXPECT_EQ(running_.overlay, nullptr);
}

TEST_F(OverlayTest, AddedAgainWithAnotherWeight) {
  Do(Edit::kRemove, "10.0.0.2:80");
  Do(Edit::kAdd, "10.0.0.2:80", 8);
  EXPECT_EQ(Web(running_), "10.0.0.1:80 10.0.0.2:80=8");
  EXPECT_EQ(running_.overlay->Find("web")->entries,
            (std::vector{EndpointOverlay::Entry{EndpointOverlay::Kind::kWeight, At("10.0.0.2:80"), 8}}));
}

TEST_F(OverlayTest, ANameStandsForItsAddresses) {
  running_ = With(
      {Endpoint("10.0.0.1:80", 1, "app:80"), Endpoint("10.0.0.2:80", 1, "app:80"), Endpoint("10.0.0.3:80")});
  Do(Edit::kWeight, "app:80", 6);
  EXPECT_EQ(text_,
            "upstream web: endpoint 10.0.0.1:80 has weight 6\nupstream web: endpoint 10.0.0.2:80 has weight "
            "6\n");
  Do(Edit::kWeight, "10.0.0.2:80", 2);
  EXPECT_EQ(Web(running_), "10.0.0.1:80=6 10.0.0.2:80=2 10.0.0.3:80");
  Do(Edit::kRemove, "app:80");
  EXPECT_EQ(Web(running_), "10.0.0.3:80");
  EXPECT_EQ(Try(Edit::kRemove, "10.0.0.3:80").status, 409);
}

TEST_F(OverlayTest, WhatChangesNothingMakesNothing) {
  const EditedSettings edited = Try(Edit::kWeight, "10.0.0.2:80", 3);
  EXPECT_EQ(edited.status, 200);
  EXPECT_EQ(edited.text, "upstream web: endpoint 10.0.0.2:80 has weight 3\n");
  EXPECT_FALSE(edited.settings);
}

TEST_F(OverlayTest, WhatCannotBeIsSaid) {
  const auto expect = [&](Edit kind, const std::string& endpoint, uint16_t status, const std::string& text) {
    const EditedSettings edited = Try(kind, endpoint, 2);
    EXPECT_EQ(edited.status, status);
    EXPECT_EQ(edited.text, text);
    EXPECT_FALSE(edited.settings);
  };
  expect(Edit::kAdd, "10.0.0.1:80", 409, "10.0.0.1:80: upstream web has this endpoint already\n");
  expect(Edit::kAdd, "10.0.9.9:80", 409, "10.0.9.9:80 is an address that Weir itself listens on\n");
  expect(Edit::kAdd, "10.0.9.9:9901", 409, "10.0.9.9:9901 is an address that Weir itself listens on\n");
  for (const Edit kind : {Edit::kWeight, Edit::kRemove}) {
    expect(kind, "10.0.0.7:80", 404,
           "\"10.0.0.7:80\": upstream web has no such endpoint; /upstreams/web lists them\n");
  }
  Do(Edit::kRemove, "10.0.0.1:80");
  expect(Edit::kWeight, "10.0.0.1:80", 404,
         "\"10.0.0.1:80\": upstream web has no such endpoint; /upstreams/web lists them\n");
  expect(Edit::kRemove, "10.0.0.2:80", 409,
         "\"10.0.0.2:80\" is all that upstream web has: one endpoint must stay; state=drain or down takes it "
         "out\n");
  const EditedSettings nowhere =
      EditEndpoints(running_, {.kind = Edit::kRemove, .upstream = "none", .endpoint = "a:1", .address = {}});
  EXPECT_EQ(nowhere.status, 404);
  EXPECT_EQ(nowhere.text, "\"none\": no upstream has this name; /upstreams lists them\n");
  running_.upstreams[1].health_check.port = 81;
  expect(Edit::kAdd, "unix:/run/a.sock", 409,
         "unix:/run/a.sock has no port, and health_check.port of the upstream wants one\n");
}

TEST_F(OverlayTest, AsManyAsTheFileMayHave) {
  std::vector<EndpointSettings> many;
  for (uint32_t i = 1; i < Balancer::kMaxEndpoints; ++i) {
    many.push_back(Endpoint("10.1." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ":80"));
  }
  running_ = With(many);
  Do(Edit::kAdd, "10.0.0.1:80");
  const EditedSettings edited = Try(Edit::kAdd, "10.0.0.2:80");
  EXPECT_EQ(edited.status, 409);
  EXPECT_EQ(edited.text, "upstream web has 16384 endpoints: more are not possible\n");
  many.push_back(Endpoint("10.0.0.5:80"));
  Settings read = With(many);
  std::string messages;
  EXPECT_FALSE(KeepEdits(running_, read, &messages));
  EXPECT_EQ(messages,
            "upstream web: 16385 endpoints with those that operators added: at most 16384 are possible\n");
}

TEST_F(OverlayTest, OutlastsReloads) {
  Do(Edit::kAdd, "10.0.0.9:80", 5);
  Do(Edit::kWeight, "10.0.0.1:80", 7);
  Do(Edit::kRemove, "10.0.0.2:80");
  // The same file, and one with one more.
  EXPECT_EQ(Reload(With({Endpoint("10.0.0.1:80"), Endpoint("10.0.0.2:80", 3)})), "");
  EXPECT_EQ(Web(running_), "10.0.0.1:80=7 10.0.0.9:80=5");
  EXPECT_EQ(Reload(With({Endpoint("10.0.0.1:80"), Endpoint("10.0.0.2:80", 4), Endpoint("10.0.0.3:80")})), "");
  EXPECT_EQ(Web(running_), "10.0.0.1:80=7 10.0.0.3:80 10.0.0.9:80=5");
  Do(Edit::kAdd, "10.0.0.2:80");
  EXPECT_EQ(Web(running_), "10.0.0.1:80=7 10.0.0.2:80=4 10.0.0.3:80 10.0.0.9:80=5")
      << "as the file has it now";
}

TEST_F(OverlayTest, WhatTheFileSaysTooIsDropped) {
  Do(Edit::kAdd, "10.0.0.8:80", 5);
  Do(Edit::kAdd, "10.0.0.9:80", 5);
  Do(Edit::kWeight, "10.0.0.1:80", 7);
  EXPECT_EQ(
      Reload(With({Endpoint("10.0.0.1:80", 7), Endpoint("10.0.0.8:80", 5), Endpoint("10.0.0.9:80", 6)})),
      "upstream web: endpoint 10.0.0.8:80 was added by an operator, and is in the file now: the file has "
      "the same weight\n"
      "upstream web: endpoint 10.0.0.9:80 was added by an operator, and is in the file now, but keeps "
      "weight 5\n"
      "upstream web: endpoint 10.0.0.1:80 had its weight from an operator: the file has the same weight\n");
  EXPECT_EQ(Web(running_), "10.0.0.1:80=7 10.0.0.8:80=5 10.0.0.9:80=5");
  EXPECT_EQ(Entries(), 1u);
  EXPECT_EQ(
      Reload(With({Endpoint("10.0.0.9:80", 5)})),
      "upstream web: endpoint 10.0.0.9:80 had its weight from an operator: the file has the same weight\n");
  EXPECT_EQ(running_.overlay, nullptr);
}

TEST_F(OverlayTest, WhatHasNoPlaceAnyMoreIsDropped) {
  Do(Edit::kAdd, "10.0.0.9:80");
  Do(Edit::kWeight, "10.0.0.1:80", 7);
  Do(Edit::kRemove, "10.0.0.2:80");
  Settings read = With({Endpoint("10.0.0.3:80")});
  read.listeners.push_back({Protocol::kHttp, At("10.0.0.9:80"), "http://10.0.0.9:80"});
  EXPECT_EQ(
      Reload(read),
      "upstream web: endpoint 10.0.0.9:80 was added by an operator, and is none any more: it is an "
      "address that Weir itself listens on\n"
      "upstream web: endpoint 10.0.0.1:80 is not in the file any more: weight 7, said by an operator, is "
      "gone too\n"
      "upstream web: endpoint 10.0.0.2:80 was removed by an operator, and is not in the file any more\n");
  EXPECT_EQ(Web(running_), "10.0.0.3:80");
  EXPECT_EQ(running_.overlay, nullptr);

  Do(Edit::kAdd, "10.0.0.8:80");
  read.upstreams[1].name = "new";
  EXPECT_EQ(Reload(read),
            "upstream web: it is gone, and with it what operators changed of 1 of its endpoints\n");
  EXPECT_EQ(running_.overlay, nullptr);
}

TEST_F(OverlayTest, NoUpstreamIsLeftWithoutEndpoints) {
  Do(Edit::kRemove, "10.0.0.1:80");
  EXPECT_EQ(
      Reload(With({Endpoint("10.0.0.1:80")})),
      "upstream web: all that the file has, backups aside, was removed by operators: it is used again\n");
  EXPECT_EQ(Web(running_), "10.0.0.1:80");
  EXPECT_EQ(Entries(), 0u);
}

TEST_F(OverlayTest, BackupsAreNotEnough) {
  const auto with_backup = [](std::vector<EndpointSettings> endpoints) {
    endpoints.push_back(Endpoint("10.0.0.5:80"));
    endpoints.back().level = EndpointSettings::kBackup;
    return With(std::move(endpoints));
  };
  running_ = with_backup({Endpoint("10.0.0.1:80"), Endpoint("10.0.0.2:80")});
  Do(Edit::kRemove, "10.0.0.1:80");
  const EditedSettings edited = Try(Edit::kRemove, "10.0.0.2:80");
  EXPECT_EQ(edited.status, 409);
  EXPECT_EQ(
      edited.text,
      "\"10.0.0.2:80\" is all that upstream web has but for backups: one endpoint must stay; state=drain "
      "or down takes it out\n");
  Do(Edit::kWeight, "10.0.0.5:80", 4);
  EXPECT_TRUE(running_.upstreams[1].endpoints.back().backup()) << "which it stays";
  EXPECT_EQ(
      Reload(with_backup({Endpoint("10.0.0.1:80")})),
      "upstream web: all that the file has, backups aside, was removed by operators: it is used again\n");
  EXPECT_EQ(Web(running_), "10.0.0.1:80 10.0.0.5:80=4");
  Do(Edit::kRemove, "10.0.0.5:80");
  EXPECT_EQ(Web(running_), "10.0.0.1:80");
}

TEST_F(OverlayTest, ManySentencesAreCounted) {
  for (int i = 0; i < 30; ++i) Do(Edit::kAdd, "10.0.1.1:" + std::to_string(100 + i));
  Settings read = With({Endpoint("10.0.0.1:80")});
  for (int i = 0; i < 30; ++i)
    read.upstreams[1].endpoints.push_back(Endpoint("10.0.1.1:" + std::to_string(100 + i)));
  const std::string messages = Reload(read);
  EXPECT_EQ(std::count(messages.begin(), messages.end(), '\n'), 21);
  EXPECT_TRUE(messages.ends_with("upstream web: and 10 more\n")) << messages;
}

}  // namespace
}  // namespace weir::lb
