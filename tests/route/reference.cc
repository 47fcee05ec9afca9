#include "tests/route/reference.h"

#include <algorithm>
#include <array>
#include <optional>

#include "core/check.h"
#include "lb/http/chars.h"

namespace weir::lb {
namespace {

SocketAddress ClientOf(const Asked& asked) {
  const bool ipv6 = asked.client.find(':') != std::string::npos;
  const auto address = SocketAddress::Parse((ipv6 ? "[" + asked.client + "]" : asked.client) + ":1");
  WEIR_CHECK(address.has_value());
  return *address;
}

bool Begins(const std::string& text, const std::string& prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

// How well a host fits: larger is better; 0: not at all.
size_t HostRank(const std::string& pattern, const std::string& host) {
  if (!Begins(pattern, "*.")) return pattern == host ? 1'000 : 0;
  const std::string ending = pattern.substr(1);
  const bool fits = host.size() > ending.size() && host.substr(host.size() - ending.size()) == ending;
  return fits ? 2 + static_cast<size_t>(std::count(ending.begin(), ending.end(), '.')) : 0;
}

bool PrefixFits(const std::string& prefix, const std::string& path) {
  if (!Begins(path, prefix)) return false;
  return prefix.back() == '/' || path.size() == prefix.size() || path[prefix.size()] == '/';
}

// The only regexes that rules under this test have: LITERAL.*
bool RegexFits(const std::string& pattern, const std::string& text) {
  WEIR_CHECK(pattern.size() >= 2 && pattern.substr(pattern.size() - 2) == ".*");
  return Begins(text, pattern.substr(0, pattern.size() - 2));
}

std::string DecodedText(const std::string& text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && http::HexValue(text[i + 1]) >= 0 &&
        http::HexValue(text[i + 2]) >= 0) {
      decoded += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
      i += 2;
    } else {
      decoded += text[i] == '+' ? ' ' : text[i];
    }
  }
  return decoded;
}

using Pairs = std::vector<std::pair<std::string, std::string>>;

Pairs ParametersOf(const std::string& query) {
  Pairs pairs;
  for (size_t i = 0; i < query.size();) {
    const size_t end = std::min(query.find('&', i), query.size());
    const std::string text = query.substr(i, end - i);
    const size_t equals = std::min(text.find('='), text.size());
    if (!text.empty())
      pairs.emplace_back(DecodedText(text.substr(0, equals)),
                         DecodedText(equals < text.size() ? text.substr(equals + 1) : ""));
    i = end + 1;
  }
  return pairs;
}

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), http::ToLower);
  return text;
}

Pairs FieldsOf(const Asked& asked) {
  Pairs pairs;
  for (const std::string& line : asked.fields) {
    const size_t colon = line.find(':');
    pairs.emplace_back(Lower(line.substr(0, colon)), line.substr(colon + 2));
  }
  return pairs;
}

bool Fits(const ValueCondition& condition, const std::string& name, const Pairs& pairs) {
  bool any = false;
  for (const auto& [key, value] : pairs) {
    if (key != name) continue;
    switch (condition.test) {
      case ValueCondition::Test::kPresent:
      case ValueCondition::Test::kAbsent:
        any = true;
        break;
      case ValueCondition::Test::kExact:
        any |= value == condition.value;
        break;
      case ValueCondition::Test::kPrefix:
        any |= Begins(value, condition.value);
        break;
      case ValueCondition::Test::kRegex:
        any |= RegexFits(condition.value, value);
        break;
    }
  }
  return any != (condition.test == ValueCondition::Test::kAbsent);
}

bool ConditionsHold(const RouteMatch& rule, const Asked& asked) {
  if (!rule.scheme.empty() && rule.scheme != asked.scheme) return false;
  if (!rule.methods.empty() && std::count(rule.methods.begin(), rule.methods.end(), asked.method) == 0)
    return false;
  const SocketAddress client = ClientOf(asked);
  if (!rule.clients.empty() && std::none_of(rule.clients.begin(), rule.clients.end(),
                                            [&](const Network& n) { return n.Contains(client); }))
    return false;
  for (const FieldCondition& condition : rule.headers) {
    if (!Fits(condition, Lower(condition.name), FieldsOf(asked))) return false;
  }
  for (const QueryCondition& condition : rule.query) {
    if (!Fits(condition, condition.name, ParametersOf(asked.query))) return false;
  }
  return true;
}

}  // namespace

const RouteRequest& RequestMaker::Make(const Asked& asked) {
  text_ = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (const std::string& line : asked.fields) text_ += line + "\r\n";
  text_ += "\r\n";
  WEIR_CHECK(http::ParseRequest(text_, head_).done());
  request_ = {.host = asked.host,
              .path = asked.path,
              .query = asked.query,
              .method = asked.method,
              .fields = &head_,
              .client = ClientOf(asked),
              .scheme = asked.scheme};
  return request_;
}

uint32_t ReferenceMatch(std::span<const RouteMatch> rules, const Asked& asked) {
  // Host, kind of path, length of prefix, and then the earlier rule: the largest is the best.
  using Rank = std::array<size_t, 4>;
  std::optional<Rank> best;
  uint32_t met = RouteHit::kNone;
  for (uint32_t i = 0; i < rules.size(); ++i) {
    const RouteMatch& rule = rules[i];
    if (!ConditionsHold(rule, asked)) continue;
    size_t host = rule.hosts.empty() ? 1 : 0;
    for (const std::string& pattern : rule.hosts) host = std::max(host, HostRank(pattern, asked.host));
    if (host == 0) continue;
    const bool any = rule.paths.empty() && rule.path_prefixes.empty() && rule.path_regexes.empty();
    const auto offer = [&](size_t kind, size_t length) {
      const Rank rank = {host, kind, length, rules.size() - i};
      if (best.has_value() && rank <= *best) return;
      best = rank;
      met = i;
    };
    if (any) offer(1, 0);
    for (const std::string& prefix : rule.path_prefixes) {
      if (PrefixFits(prefix, asked.path)) offer(2, prefix.size());
    }
    for (const std::string& regex : rule.path_regexes) {
      if (RegexFits(regex, asked.path)) offer(3, 0);
    }
    for (const std::string& path : rule.paths) {
      if (path == asked.path) offer(4, 0);
    }
  }
  return met;
}

}  // namespace weir::lb
