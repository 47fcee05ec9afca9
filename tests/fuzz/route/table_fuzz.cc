// Rules and requests from any bytes: the table never reads what it should not (sanitizers), finds what a
// matcher that goes through all rules finds, and explains the same. Lines: `h` host, `p` path, `P` prefix,
// `x` literal beginning of a path as a regex, `m` method, `s` scheme https, `q` a query parameter, `-` next
// rule, `?` host path query.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lb/route/host.h"
#include "lb/route/path.h"
#include "lb/route/table.h"
#include "tests/fuzz/http/fuzz_util.h"
#include "tests/route/reference.h"

namespace weir::lb {
namespace {

using http::Require;

std::string Word(std::string_view* line) {
  const size_t end = std::min(line->find(' '), line->size());
  std::string word(line->substr(0, end));
  line->remove_prefix(std::min(end + 1, line->size()));
  return word;
}

std::string NormalPath(std::string_view text) {
  std::vector<char> out(MaxNormalBytes(text));
  const NormalTarget normal = NormaliseTarget(text, {}, out.data());
  return normal.ok() ? std::string(normal.path()) : "/";
}

std::string NormalHost(std::string_view text) {
  char out[kHostBytes];
  return std::string(NormaliseHost(text, out));
}

// As the reference wants them; of hosts in `rules` Build does it (twice would be wrong: "a.." is "a." and
// never "a").
std::vector<RouteMatch> WithNormalHosts(std::vector<RouteMatch> rules) {
  for (RouteMatch& rule : rules)
    for (std::string& host : rule.hosts)
      host = host.starts_with("*.") ? "*." + NormalHost(host.substr(2)) : NormalHost(host);
  return rules;
}

void AddLine(std::string_view line, RouteMatch& rule) {
  const char kind = line.front();
  const std::string_view text = line.substr(1);
  if (kind == 'h') rule.hosts.emplace_back(text);
  if (kind == 'p') rule.paths.push_back(NormalPath(text));
  if (kind == 'P') rule.path_prefixes.push_back(NormalPath("/" + std::string(text)));
  if (kind == 'x' && text.find_first_not_of("abcdefghijklmnopqrstuvwxyz/") == std::string_view::npos)
    rule.path_regexes.push_back(std::string(text) + ".*");
  if (kind == 'm') rule.methods.emplace_back(text);
  if (kind == 's') rule.scheme = "https";
  if (kind == 'q') rule.query.push_back({.name = std::string(text), .test = ValueCondition::Test::kPresent});
}

void CheckInput(std::string_view input) {
  std::vector<RouteMatch> rules(1);
  std::vector<Asked> questions;
  while (!input.empty()) {
    const size_t end = std::min(input.find('\n'), input.size());
    std::string_view line = input.substr(0, end);
    input.remove_prefix(std::min(end + 1, input.size()));
    if (line.empty()) continue;
    if (line.front() == '-') {
      rules.emplace_back();
    } else if (line.front() == '?') {
      line.remove_prefix(1);
      Asked& asked = questions.emplace_back();
      asked.host = NormalHost(Word(&line));
      asked.path = NormalPath(Word(&line));
      if (line.starts_with('s')) asked.scheme = "https";
      asked.query = std::string(line.substr(0, 200));  // fewer parameters than are looked at
    } else {
      AddLine(line, rules.back());
    }
  }
  std::vector<RouteProblem> problems;
  const auto table = RouteTable::Build(rules, {}, problems);
  if (table == nullptr) {
    Require(!problems.empty() && problems.front().rule < rules.size(), "an error has a rule");
    return;
  }
  const std::vector<RouteMatch> normal_rules = WithNormalHosts(rules);
  static RequestMaker maker;
  for (const Asked& asked : questions) {
    const RouteRequest& request = maker.Make(asked);
    const RouteHit hit = table->Match(request);
    Require(hit.rule == ReferenceMatch(normal_rules, asked), "the reference finds the same");
    std::vector<RouteStep> steps;
    Require(table->Explain(request, steps).rule == hit.rule, "explained as it is");
    const RouteCaptures captures = table->Capture(hit, request.path);
    if (hit.path == PathKind::kRegex)
      Require(captures.count == 1 && captures.groups[0] == asked.path, "the whole path is group 0");
  }
}

}  // namespace
}  // namespace weir::lb

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  weir::lb::CheckInput({reinterpret_cast<const char*>(data), size});
  return 0;
}
