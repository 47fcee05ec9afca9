// RouteConditions: what a rule asks for beyond host and path. Inside only. Immutable after Compile.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lb/http/field_list.h"
#include "lb/route/network_set.h"
#include "lb/route/rule.h"
#include "re2/re2.h"

namespace weir::lb {

// RE2 as all conditions and routes use it: bytes, bounded memory, silent. Null, with RE2's words in `error`,
// if `pattern` is not a regular expression.
std::unique_ptr<re2::RE2> CompileRegex(const std::string& pattern, std::string* error);

class RouteConditions {
 public:
  // What is asked.
  struct Input {
    std::string_view method = {};
    std::string_view query = {};
    const http::FieldList* fields = nullptr;
    const SocketAddress* client = nullptr;
    std::string_view scheme = {};
    std::string_view tlvs = {};
    std::string_view alpn = {};
  };
  // Which one does not hold; kNone: all do.
  struct Failure {
    RoutePart part = RoutePart::kNone;
    uint32_t element = 0;
  };

  static bool HasAny(const RouteMatch& rule) { return !rule.scheme.empty() || HasAnyButScheme(rule); }
  static bool HasAnyButScheme(const RouteMatch& rule) {
    return !rule.methods.empty() || !rule.headers.empty() || !rule.query.empty() || !rule.clients.empty() ||
           !rule.proxy_protocol.empty() || !rule.alpn.empty();
  }
  // Appends what is wrong to `problems`; usable if there was no error.
  static RouteConditions Compile(const RouteMatch& rule, uint32_t index, std::vector<RouteProblem>& problems);

  Failure Check(const Input& input) const;

 private:
  struct Value : ValueCondition {
    uint8_t tlv = 0;                  // of kProxyProtocol only
    std::unique_ptr<re2::RE2> regex;  // of kRegex only
  };

  static std::vector<Value> CompileValues(const std::vector<ValueCondition>& from, RoutePart part,
                                          uint32_t index, std::vector<RouteProblem>& problems);

  std::vector<std::string> methods_;
  std::vector<Value> headers_;
  std::vector<Value> query_;
  std::vector<Value> proxy_protocol_;
  NetworkSet clients_;
  bool has_clients_ = false;
  std::string scheme_;
  std::vector<std::string> alpn_;
};

}  // namespace weir::lb
