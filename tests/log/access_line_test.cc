#include "lb/log/access_line.h"

#include <string>

#include "core/random.h"
#include "core/unix_path.h"
#include "gtest/gtest.h"
#include "tests/json/json.h"

namespace weir::lb {
namespace {

using tests::Json;
using tests::JsonReader;

constexpr int64_t kWallMs = 1'795'359'352'123;  // 2026-11-22T14:55:52.123Z

std::string Line(const AccessRecord& record, int64_t wall_ms = kWallMs) {
  std::string line(kMaxAccessLineBytes, '#');
  line.resize(FormatAccessLine(record, wall_ms, line.data(), line.size()));
  return line;
}

// The line as JSON, after checking that it is one line of ASCII.
Json Parse(const std::string& line) {
  EXPECT_TRUE(line.ends_with('\n'));
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  const std::optional<Json> json = JsonReader::Read(line);
  EXPECT_TRUE(json.has_value()) << line;
  return json.value_or(Json());
}

TEST(AccessLine, HttpRequest) {
  const SocketAddress endpoint = *SocketAddress::Parse("10.0.0.2:80");
  AccessRecord record;
  record.client = *SocketAddress::Parse("192.0.2.7:50123");
  record.method = "GET";
  record.host = "example.com";
  record.target = "/index.html?q=1";
  record.request_id = "abc-123";
  record.status = 200;
  record.bytes_received = 5;
  record.bytes_sent = 1'234;
  record.total_us = 1'500;
  record.connect_us = 300;
  record.response_us = 1'400;
  record.endpoint = &endpoint;
  record.retries = 1;
  record.end = "ok";
  EXPECT_EQ(
      Line(record),
      R"({"time":"2026-11-22T14:55:52.123Z","protocol":"http","client":"192.0.2.7:50123","user":null,)"
      R"("method":"GET","host":"example.com","path":"/index.html?q=1","status":200,"bytes_received":5,"bytes_sent":1234,)"
      R"("duration_us":1500,"connect_us":300,"response_us":1400,"endpoint":"10.0.0.2:80","retries":1,)"
      R"("request_id":"abc-123","end":"ok"})"
      "\n");
}

TEST(AccessLine, AUser) {
  AccessRecord record;
  record.user = "a \"b\"\xe9";
  const std::string line = Line(record);
  EXPECT_NE(line.find(R"(,"user":"a \"b\"\u00e9","method":)"), std::string::npos) << line;
  Parse(line);
}

TEST(AccessLine, TcpConnection) {
  AccessRecord record;
  record.tcp = true;
  record.client = *SocketAddress::Parse("[2001:db8::1]:443");
  record.bytes_received = UINT64_MAX;
  record.end = "no_endpoint";
  EXPECT_EQ(
      Line(record),
      R"({"time":"2026-11-22T14:55:52.123Z","protocol":"tcp","client":"[2001:db8::1]:443",)"
      R"("bytes_received":18446744073709551615,"bytes_sent":0,"duration_us":0,"connect_us":0,"endpoint":null,)"
      R"("retries":0,"end":"no_endpoint"})"
      "\n");
}

TEST(AccessLine, Times) {
  const auto time = [](int64_t wall_ms) { return Parse(Line({}, wall_ms)).At("time"); };
  EXPECT_EQ(time(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(time(951'782'400'000), "2000-02-29T00:00:00.000Z");
  EXPECT_EQ(time(1'709'251'199'999), "2024-02-29T23:59:59.999Z");
  EXPECT_EQ(time(1'704'067'199'999), "2023-12-31T23:59:59.999Z");
  EXPECT_EQ(time(4'107'542'400'000), "2100-03-01T00:00:00.000Z");
  EXPECT_EQ(time(-1), "1969-12-31T23:59:59.999Z");
}

TEST(AccessLine, NothingFromAPeerBreaksTheLine) {
  AccessRecord record;
  record.target = "/a\"b\\c\r\n\t\x01\x7f\xff\xc3\xa9</script>";
  const std::string line = Line(record);
  EXPECT_NE(line.find(R"("path":"/a\"b\\c\r\n\t\u0001\u007f\u00ff\u00c3\u00a9</script>")"), std::string::npos)
      << line;
  EXPECT_EQ(Parse(line).At("path"), record.target);
}

TEST(AccessLine, EveryByteComesBack) {
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  AccessRecord record;
  record.target = all;
  EXPECT_EQ(Parse(Line(record)).At("path"), all);
}

TEST(AccessLine, LongTextIsCutAndMarked) {
  AccessRecord record;
  const std::string target = "/" + std::string(20'000, 'x');
  record.target = target;
  const std::string line = Line(record);
  const std::string path = Parse(line).At("path");
  EXPECT_LE(path.size(), kMaxLoggedTarget);
  EXPECT_GT(path.size(), kMaxLoggedTarget - 12);
  EXPECT_TRUE(path.ends_with("x\u2026"));
  EXPECT_LE(line.size(), kMaxAccessLineBytes);
}

TEST(AccessLine, ATargetOfWhichNotAllIsThereIsMarked) {
  AccessRecord record;
  record.target = "/a";
  record.target_cut = true;
  EXPECT_EQ(Parse(Line(record)).At("path"), "/a\u2026");
}

TEST(AccessLine, AUnixSocket) {
  std::string expected;
  const SocketAddress endpoint = *ParseUnixAddress("unix:/run/app=1,{x}.sock", &expected);
  AccessRecord record;
  record.client = SocketAddress::ForUnix(nullptr);
  record.endpoint = &endpoint;
  const std::string line = Line(record);
  EXPECT_NE(line.find(R"("client":"unix:",)"), std::string::npos) << line;
  EXPECT_NE(line.find(R"("endpoint":"unix:/run/app=1,{x}.sock",)"), std::string::npos) << line;
}

TEST(AccessLine, WorstCaseFits) {
  const std::string worst(50'000, '\x80');
  std::string expected;
  const SocketAddress address = *ParseUnixAddress("unix:@" + std::string(kMaxUnixPathBytes, 'n'), &expected);
  AccessRecord record;
  record.client = address;
  record.endpoint = &address;
  record.user = record.method = record.target = record.host = record.request_id = record.end = worst;
  record.status = UINT16_MAX;
  record.bytes_received = record.bytes_sent = UINT64_MAX;
  record.total_us = record.connect_us = record.response_us = record.retries = UINT32_MAX;
  const std::string line = Line(record, 253'402'300'799'999);
  EXPECT_LE(line.size(), kMaxAccessLineBytes);
  Parse(line);
}

TEST(AccessLine, RandomBytesStayOneLineOfJson) {
  Random random(3);
  for (int round = 0; round < 2'000; ++round) {
    std::string texts[5];
    for (std::string& text : texts) {
      text.resize(random.Below(round % 10 == 0 ? 5'000 : 60));
      for (char& c : text) c = static_cast<char>(random.Next());
    }
    AccessRecord record;
    record.method = texts[0];
    record.target = texts[1];
    record.host = texts[2];
    record.request_id = texts[3];
    record.end = texts[4];
    const Json json = Parse(Line(record));
    if (texts[1].size() < 300) {
      ASSERT_EQ(json.At("path"), texts[1]);
    }
  }
}

TEST(AccessLine, RefusesARoomThatMayBeTooSmall) {
  char room[kMaxAccessLineBytes];
  EXPECT_EQ(FormatAccessLine({}, 0, room, sizeof(room) - 1), 0u);
}

}  // namespace
}  // namespace weir::lb
