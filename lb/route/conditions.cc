#include "lb/route/conditions.h"

#include <algorithm>

#include "lb/http/chars.h"
#include "lb/proxy_protocol/tlv.h"
#include "lb/route/query.h"
#include "lb/tls_hello/alpn.h"

namespace weir::lb {
namespace {

// Of one regex, for its program and the automaton it builds while it runs: past this it goes on without one.
constexpr int64_t kRegexMemoryBytes = 1 << 20;

bool Holds(const ValueCondition& condition, const re2::RE2* regex, std::string_view value) {
  switch (condition.test) {
    case ValueCondition::Test::kPresent:
    case ValueCondition::Test::kAbsent:
      return true;
    case ValueCondition::Test::kExact:
      return value == condition.value;
    case ValueCondition::Test::kPrefix:
      return value.starts_with(condition.value);
    case ValueCondition::Test::kRegex:
      return re2::RE2::FullMatch(value, *regex);
  }
  return false;
}

[[gnu::noinline]] bool DecodedMatches(std::string_view encoded, const re2::RE2& regex) {
  char memory[kMaxDecodedBytes];
  std::string_view decoded;
  return Decode(encoded, memory, &decoded) && re2::RE2::FullMatch(decoded, regex);
}

bool HoldsDecoded(const ValueCondition& condition, const re2::RE2* regex, std::string_view encoded) {
  switch (condition.test) {
    case ValueCondition::Test::kPresent:
    case ValueCondition::Test::kAbsent:
      return true;
    case ValueCondition::Test::kExact:
      return DecodedEquals(encoded, condition.value);
    case ValueCondition::Test::kPrefix:
      return DecodedStartsWith(encoded, condition.value);
    case ValueCondition::Test::kRegex:
      return DecodedMatches(encoded, *regex);
  }
  return false;
}

bool AnyField(const ValueCondition& condition, const re2::RE2* regex, const http::FieldList* fields) {
  if (fields == nullptr) return false;
  return std::ranges::any_of(fields->fields(), [&](const http::Field& field) {
    return http::EqualsIgnoreCase(field.name(), condition.name) && Holds(condition, regex, field.value());
  });
}

bool AnyParameter(const ValueCondition& condition, const re2::RE2* regex, std::string_view query) {
  for (QueryReader reader(query); reader.Next();) {
    const QueryParameter& parameter = reader.parameter();
    if (DecodedEquals(parameter.name, condition.name) && HoldsDecoded(condition, regex, parameter.value))
      return true;
  }
  return false;
}

bool HasTlv(const ValueCondition& condition, const re2::RE2* regex, uint8_t type, std::string_view tlvs) {
  const std::optional<std::string_view> value = FindTlv(tlvs, type);
  return value && Holds(condition, regex, *value);
}

bool WantsOne(const ValueCondition& condition) { return condition.test != ValueCondition::Test::kAbsent; }

}  // namespace

std::unique_ptr<re2::RE2> CompileRegex(const std::string& pattern, std::string* error) {
  // Bytes, as header values may have any; and paths are ASCII.
  re2::RE2::Options options(re2::RE2::Latin1);
  options.set_log_errors(false);
  options.set_max_mem(kRegexMemoryBytes);
  auto regex = std::make_unique<re2::RE2>(pattern, options);
  if (regex->ok()) return regex;
  *error = regex->error();
  return nullptr;
}

std::vector<RouteConditions::Value> RouteConditions::CompileValues(const std::vector<ValueCondition>& from,
                                                                   RoutePart part, uint32_t index,
                                                                   std::vector<RouteProblem>& problems) {
  std::vector<Value> values;
  for (uint32_t i = 0; i < from.size(); ++i) {
    const auto refuse = [&](std::string text) {
      problems.push_back({.rule = index, .part = part, .element = i, .text = std::move(text)});
    };
    if (part == RoutePart::kHeader ? !http::IsToken(from[i].name) : from[i].name.empty())
      refuse(part == RoutePart::kHeader ? "expected the name of a header" : "expected a name");
    Value value{from[i], 0, nullptr};
    std::string error;
    if (part == RoutePart::kProxyProtocol) {
      const std::optional<uint8_t> type = TlvType(from[i].name);
      if (!type) refuse(std::string("expected one of ") + kTlvNames);
      value.tlv = type.value_or(0);
    }
    if (value.test == ValueCondition::Test::kRegex) {
      value.regex = CompileRegex(value.value, &error);
      if (value.regex == nullptr) refuse("bad regular expression: " + error);
    }
    values.push_back(std::move(value));
  }
  return values;
}

RouteConditions RouteConditions::Compile(const RouteMatch& rule, uint32_t index,
                                         std::vector<RouteProblem>& problems) {
  RouteConditions conditions;
  conditions.methods_ = rule.methods;
  for (uint32_t i = 0; i < rule.methods.size(); ++i) {
    if (!http::IsToken(rule.methods[i]))
      problems.push_back({.rule = index,
                          .part = RoutePart::kMethod,
                          .element = i,
                          .text = "expected a method, such as GET"});
  }
  conditions.headers_ = CompileValues(rule.headers, RoutePart::kHeader, index, problems);
  conditions.query_ = CompileValues(rule.query, RoutePart::kQuery, index, problems);
  conditions.proxy_protocol_ = CompileValues(rule.proxy_protocol, RoutePart::kProxyProtocol, index, problems);
  std::vector<NetworkSet::Entry> networks;
  for (uint32_t i = 0; i < rule.clients.size(); ++i) {
    std::string error;
    if (IsValidNetwork(rule.clients[i], &error)) {
      networks.push_back({.network = rule.clients[i], .value = 0});
    } else {
      problems.push_back({.rule = index, .part = RoutePart::kClient, .element = i, .text = std::move(error)});
    }
  }
  if (networks.size() > NetworkSet::kMaxNetworks) {
    problems.push_back({.rule = index, .part = RoutePart::kClient, .text = "too many networks"});
    networks.clear();
  }
  conditions.clients_ = NetworkSet::Build(networks);
  conditions.has_clients_ = !rule.clients.empty();
  conditions.scheme_ = rule.scheme;
  if (!rule.scheme.empty() && rule.scheme != "http" && rule.scheme != "https") {
    problems.push_back({.rule = index, .part = RoutePart::kScheme, .text = "expected http or https"});
  }
  conditions.alpn_ = rule.alpn;
  for (uint32_t i = 0; i < rule.alpn.size(); ++i) {
    if (rule.alpn[i].empty() || rule.alpn[i].size() > kMostProtocolBytes)
      problems.push_back({.rule = index,
                          .part = RoutePart::kAlpn,
                          .element = i,
                          .text = "expected the name of a protocol, such as h2 or http/1.1"});
  }
  return conditions;
}

RouteConditions::Failure RouteConditions::Check(const Input& input) const {
  if (!methods_.empty() && std::ranges::find(methods_, input.method) == methods_.end())
    return {.part = RoutePart::kMethod};
  if (!scheme_.empty() && scheme_ != input.scheme) return {.part = RoutePart::kScheme};
  if (has_clients_ && (input.client == nullptr || clients_.Find(*input.client) == NetworkSet::kNone))
    return {.part = RoutePart::kClient};
  for (uint32_t i = 0; i < headers_.size(); ++i) {
    if (AnyField(headers_[i], headers_[i].regex.get(), input.fields) != WantsOne(headers_[i]))
      return {.part = RoutePart::kHeader, .element = i};
  }
  for (uint32_t i = 0; i < query_.size(); ++i) {
    if (AnyParameter(query_[i], query_[i].regex.get(), input.query) != WantsOne(query_[i]))
      return {.part = RoutePart::kQuery, .element = i};
  }
  for (uint32_t i = 0; i < proxy_protocol_.size(); ++i) {
    const Value& value = proxy_protocol_[i];
    if (HasTlv(value, value.regex.get(), value.tlv, input.tlvs) != WantsOne(value))
      return {.part = RoutePart::kProxyProtocol, .element = i};
  }
  const auto offered = [&](const std::string& protocol) { return HasProtocol(input.alpn, protocol); };
  if (!alpn_.empty() && std::ranges::none_of(alpn_, offered)) return {.part = RoutePart::kAlpn};
  return {};
}

}  // namespace weir::lb
