// Golden fixtures: bytes in, and what the origin (or the client) gets, or the status. Each file of fixtures/
// is one test, run in one piece, byte by byte, and cut in two at every byte; the outcome must always be the
// same.
//
// A fixture has `key: value` lines and blocks of lines indented by two spaces, whose line ends do not count.
// Escapes in blocks: \r \n \t \\ \xHH, and \(N*text) for repetition. Keys:
//   why       one sentence
//   kind      request | response
//   input     the bytes received
//   method, client (1.0 or 1.1), close, upgrade, eof   of responses: the request answered, and the upstream's
//   FIN origin | to client   the bytes sent on status    the error and its reason, after those then
//   incomplete | truncated   the input ended within a message, without or with an end of stream extra bytes
//   behind the response upstream  reusable | not reusable
// WEIR_UPDATE_FIXTURES=<absolute path of fixtures/> writes the outcomes into the files instead: review the
// diff.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tests/http/replay.h"

namespace weir::http {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFixtures = "tests/http/fixtures";
constexpr size_t kCutEverywhereBytes = 3000;

using Sections = std::map<std::string, std::string>;

std::string Unescape(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      bytes += text[i];
      continue;
    }
    const char c = text.at(++i);
    if (c == 'r') bytes += '\r';
    if (c == 'n') bytes += '\n';
    if (c == 't') bytes += '\t';
    if (c == '\\') bytes += '\\';
    if (c == 'x') {
      bytes += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    }
    if (c == '(') {
      const size_t star = text.find('*', i);
      const size_t close = text.find(')', star);
      const int count = std::stoi(std::string(text.substr(i + 1, star - i - 1)));
      for (int n = 0; n < count; ++n) bytes += Unescape(text.substr(star + 1, close - star - 1));
      i = close;
    }
  }
  return bytes;
}

std::string Escape(std::string_view bytes) {
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const unsigned char c = static_cast<unsigned char>(bytes[i]);
    size_t run = 1;
    while (i + run < bytes.size() && bytes[i + run] == bytes[i]) ++run;
    if (run > 40 && std::isalnum(c)) {
      text += "\\(" + std::to_string(run) + "*" + static_cast<char>(c) + ")";
      i += run - 1;
    } else if (c == '\r') {
      text += "\\r";
    } else if (c == '\n') {
      text += "\\n\n  ";
    } else if (c == '\t') {
      text += "\\t";
    } else if (c == '\\') {
      text += "\\\\";
    } else if (c < 0x20 || c >= 0x7f) {
      char hex[5];
      snprintf(hex, sizeof(hex), "\\x%02x", c);
      text += hex;
    } else {
      text += static_cast<char>(c);
    }
  }
  while (!text.empty() && (text.back() == ' ' || text.back() == '\n')) text.pop_back();
  return text;
}

Sections ReadFixture(const fs::path& path) {
  Sections sections;
  std::ifstream file(path);
  std::string key;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("  ")) {
      sections[key] += line.substr(2);
      continue;
    }
    const size_t colon = line.find(':');
    EXPECT_NE(colon, std::string::npos) << path << ": " << line;
    if (colon == std::string::npos) continue;
    key = line.substr(0, colon);
    sections[key] = colon + 2 < line.size() ? line.substr(colon + 2) : "";
  }
  return sections;
}

ResponseCase CaseOf(Sections& sections) {
  ResponseCase response_case;
  response_case.request.method = sections["method"].empty() ? Method::kGet : MethodOf(sections["method"]);
  response_case.request.minor = sections["client"] == "1.0" ? 0 : 1;
  response_case.request.keep_alive = sections["close"] != "yes";
  EXPECT_TRUE(response_case.request.upgrade.AddValue(sections["upgrade"]));
  response_case.eof = sections["eof"] == "yes";
  return response_case;
}

Outcome Expected(Sections& sections) {
  Outcome outcome;
  outcome.bytes = Unescape(sections["origin"]) + Unescape(sections["to client"]);
  const std::string& status = sections["status"];
  if (!status.empty()) {
    outcome.status = std::stoi(status);
    outcome.reason = status.substr(4);
  }
  outcome.incomplete = sections["then"] == "incomplete";
  outcome.truncated = sections["then"] == "truncated";
  if (!sections["extra"].empty()) outcome.extra = std::stoul(sections["extra"]);
  outcome.reusable = sections["upstream"] == "reusable";
  return outcome;
}

std::string Describe(const Outcome& outcome, bool response) {
  std::string text;
  if (!outcome.bytes.empty()) {
    text += std::string(response ? "to client" : "origin") + ":\n  " + Escape(outcome.bytes) + "\n";
  }
  if (outcome.status != 0) text += "status: " + std::to_string(outcome.status) + " " + outcome.reason + "\n";
  if (outcome.incomplete) text += "then: incomplete\n";
  if (outcome.truncated) text += "then: truncated\n";
  if (outcome.extra > 0) text += "extra: " + std::to_string(outcome.extra) + "\n";
  if (response && outcome.status == 0) {
    text += std::string("upstream: ") + (outcome.reusable ? "reusable" : "not reusable") + "\n";
  }
  return text;
}

// The fixture's own words, with the outcome put behind them.
void Update(const fs::path& path, const std::string& outcome) {
  std::ifstream in(path);
  std::string kept;
  bool keep = true;
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("  ")) {
      const std::string key = line.substr(0, line.find(':'));
      keep = key != "origin" && key != "to client" && key != "status" && key != "then" && key != "extra" &&
             key != "upstream";
    }
    if (keep) kept += line + "\n";
  }
  in.close();
  std::ofstream(path) << kept << outcome;
}

std::vector<std::string> FixtureNames() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kFixtures)) names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

class FixtureTest : public testing::TestWithParam<std::string> {};

TEST_P(FixtureTest, SameOutcomeHoweverItIsCut) {
  const fs::path path = fs::path(kFixtures) / (GetParam() + ".txt");
  Sections sections = ReadFixture(path);
  ASSERT_FALSE(sections["why"].empty());
  ASSERT_TRUE(sections["kind"] == "request" || sections["kind"] == "response");
  const bool response = sections["kind"] == "response";
  const ResponseCase response_case = CaseOf(sections);
  const std::string input = Unescape(sections["input"]);
  const auto replay = [&](const std::vector<size_t>& cuts) {
    return response ? ReplayResponse(input, cuts, response_case) : ReplayRequests(input, cuts);
  };

  const Outcome whole = replay({});
  if (const char* directory = getenv("WEIR_UPDATE_FIXTURES")) {
    Update(fs::path(directory) / (GetParam() + ".txt"), Describe(whole, response));
    return;
  }
  const Outcome expected = Expected(sections);
  ASSERT_EQ(Describe(whole, response), Describe(expected, response)) << sections["why"];

  std::vector<size_t> every_byte;
  for (size_t cut = 1; cut < input.size(); ++cut) every_byte.push_back(cut);
  ASSERT_EQ(Describe(replay(every_byte), response), Describe(expected, response)) << "byte by byte";
  const size_t step = input.size() <= kCutEverywhereBytes ? 1 : 101;
  for (size_t cut = 1; cut < input.size(); cut += step) {
    ASSERT_EQ(Describe(replay({cut}), response), Describe(expected, response)) << "cut at " << cut;
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, FixtureTest, testing::ValuesIn(FixtureNames()),
                         [](const auto& test) { return test.param; });

TEST(FixtureCountTest, ManyFixtures) { EXPECT_GE(FixtureNames().size(), 150u); }

}  // namespace
}  // namespace weir::http
