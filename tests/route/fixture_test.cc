// Golden fixtures: a configuration's routes, requests, and what becomes of each: which rule is met, and what
// the upstream would get, or what is answered. It is told by `weir explain`, which asks the code that serves.
//
// A fixture has `key: value` lines and blocks of lines indented by two spaces. First
//   why       one sentence
//   listener  what the listener says beside its address and routes (YAML, in one line); may be missing
//   routes    the list of routes, as YAML; upstreams are web and api (connect: 1s)
// and then, for each request,
//   ask       METHOD URL
//   header    Name: value; any number of them
//   client    its address; else 127.0.0.1
//   then      the outcome: host and path as they were matched, rules by their number in the list, the request
//             without the fields that Weir adds to every one
// WEIR_UPDATE_FIXTURES=<absolute path of fixtures/> writes the outcomes into the files: review the diff.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "lb/config/document.h"
#include "lb/config/explain.h"
#include "lb/config/file_reader.h"

namespace weir::lb {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFixtures = "tests/route/fixtures";

struct Entry {
  std::string key;
  std::string value;               // of one line
  std::vector<std::string> block;  // lines without their indentation
};

std::vector<Entry> ReadFixture(const fs::path& path) {
  std::vector<Entry> entries;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("  ")) {
      entries.back().block.push_back(line.substr(2));
      continue;
    }
    if (line.empty()) continue;
    const size_t colon = line.find(':');
    entries.push_back({line.substr(0, colon), line.size() > colon + 1 ? line.substr(colon + 2) : "", {}});
  }
  return entries;
}

std::string Joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

Settings Load(const std::string& listener, const std::string& routes) {
  std::string yaml = "listeners: [{address: 0.0.0.0:80, routes: r" +
                     (listener.empty() ? "" : ", " + listener) +
                     "}]\nupstreams:\n  web: {endpoints: [10.0.0.1:80]}\n"
                     "  api: {endpoints: [10.0.0.2:80], timeouts: {connect: 1s}}\nroutes:\n  r:\n";
  std::stringstream lines(routes);
  for (std::string line; std::getline(lines, line);) yaml += "    " + line + "\n";
  Problems problems;
  SaidKeys said;
  Settings settings;
  const std::vector<ConfigNode> documents = ParseDocument(yaml, "f", problems);
  FileSections sections = ReadSections(documents, settings, problems, said);
  EXPECT_TRUE(problems.ok()) << Joined(problems.Errors()) << yaml;
  for (FileListener& from : sections.listeners) settings.listeners.push_back(from.settings);
  for (FileUpstream& from : sections.upstreams) settings.upstreams.push_back(from.settings);
  settings.routes = std::move(sections.routes);
  return settings;
}

// Of what explain says, what is this request's own.
std::vector<std::string> Outcome(const Settings& settings, const ExplainQuestion& question) {
  std::string said;
  EXPECT_TRUE(ExplainRequest(settings, question, &said)) << said;
  std::vector<std::string> outcome;
  std::stringstream lines(said);
  for (std::string line; std::getline(lines, line);) {
    static constexpr std::string_view kSame[] = {
        "listener ", "routes ", "times ", "retries ", "    X-Request-ID: (made", "    Via: 1.1 weir-"};
    const bool same =
        std::ranges::any_of(kSame, [&line](std::string_view begin) { return line.starts_with(begin); }) ||
        line == "    X-Forwarded-Proto: http";
    if (same) continue;
    for (size_t rule = 0; rule < settings.routes[0].routes.size(); ++rule) {
      const std::string& where = settings.routes[0].routes[rule].where;
      const size_t at = line.find(" " + where + ":");
      if (at != std::string::npos) line.replace(at + 1, where.size(), "rule " + std::to_string(rule));
    }
    if (line.starts_with("upstream ")) line.resize(line.find(','));
    outcome.push_back(line);
  }
  return outcome;
}

class Fixture : public testing::TestWithParam<fs::path> {};

TEST_P(Fixture, Becomes) {
  std::vector<Entry> entries = ReadFixture(GetParam());
  std::string listener;
  std::string routes;
  bool why = false;
  ExplainQuestion question;
  uint32_t asked = 0;
  for (Entry& entry : entries) {
    if (entry.key == "why") {
      why = entry.value.ends_with('.');
    } else if (entry.key == "listener") {
      listener = entry.value;
    } else if (entry.key == "routes") {
      routes = Joined(entry.block);
    } else if (entry.key == "ask") {
      question = {};
      const size_t space = entry.value.find(' ');
      question.method = entry.value.substr(0, space);
      question.url = entry.value.substr(space + 1);
    } else if (entry.key == "header") {
      question.headers.push_back(entry.value);
    } else if (entry.key == "client") {
      question.client = entry.value;
    } else if (entry.key == "then") {
      ++asked;
      const std::vector<std::string> outcome = Outcome(Load(listener, routes), question);
      if (std::getenv("WEIR_UPDATE_FIXTURES") == nullptr) {
        EXPECT_EQ(Joined(entry.block), Joined(outcome)) << question.method << " " << question.url;
      }
      entry.block = outcome;
    } else {
      ADD_FAILURE() << "unknown key " << entry.key;
    }
  }
  EXPECT_TRUE(why) << "it says why it is there, in a sentence";
  EXPECT_GT(asked, 0u);
  if (const char* folder = std::getenv("WEIR_UPDATE_FIXTURES")) {
    std::ofstream out(fs::path(folder) / GetParam().filename());
    for (const Entry& entry : entries) {
      if (entry.key == "ask") out << "\n";
      out << entry.key << (entry.value.empty() ? ":" : ": ") << entry.value << "\n";
      for (const std::string& line : entry.block) out << "  " << line << "\n";
    }
  }
}

std::vector<fs::path> AllFixtures() {
  std::vector<fs::path> paths;
  for (const auto& file : fs::directory_iterator(kFixtures)) paths.push_back(file.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

INSTANTIATE_TEST_SUITE_P(All, Fixture, testing::ValuesIn(AllFixtures()),
                         [](const auto& info) { return info.param.stem().string(); });

}  // namespace
}  // namespace weir::lb
