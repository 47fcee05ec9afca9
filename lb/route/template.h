// Template: text with variables of the request, such as "https://shop.example${path}". Read once when the
// configuration is, then immutable: any number of threads may write it out. No allocation when written.
//
//   ${host}    the host without port, in lower case        ${path}    the path, normalised
//   ${query}   with its '?', or empty                      ${uri}     path and query
//   ${scheme}  http or https                               ${method}  as it came
//   ${client}  the client's address, without port          ${remainder}  what is behind a matched prefix
//   ${request_id}  the X-Request-ID that the endpoint gets
//   ${1} … ${9}  groups of a matched path regex            ${0}       what it matched
// In what a response gets also ${endpoint}: address and port of the one that answered.
// A '$' that no '{' follows is itself; "$${" writes "${".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::lb {

enum class Variable : uint8_t {
  kNone,
  kHost,
  kPath,
  kQuery,
  kUri,
  kScheme,
  kMethod,
  kClient,
  kRemainder,
  kRequestId,
  kEndpoint,
  kGroup0,  // and nine more
  kCount = kGroup0 + 10,
};

struct TemplateValues {
  std::string_view values[static_cast<size_t>(Variable::kCount)];

  std::string_view Of(Variable variable) const { return values[static_cast<size_t>(variable)]; }
  void Set(Variable variable, std::string_view value) { values[static_cast<size_t>(variable)] = value; }
};

class Template {
 public:
  // Where the text goes, and so what is known when it is written.
  enum class Use : uint8_t { kRequest, kResponse };

  // False: `error` says what is wrong ("expected one of …").
  static bool Parse(std::string_view text, Template* out, std::string* error, Use use = Use::kRequest);

  const std::string& text() const { return text_; }
  bool empty() const { return pieces_.empty(); }
  // Null, or why it could send a client to somebody else's host: https://a${1} with .evil.example, /${1} with
  // /evil.example.
  const char* WhyNoRedirect() const;
  bool HasVariables() const;
  // Whether it asks for a path regex's groups, or for the remainder behind a prefix.
  bool UsesCaptures() const { return UsesGroups() || Uses(Variable::kRemainder); }
  bool UsesGroups() const;
  bool Uses(Variable variable) const;
  size_t Bytes(const TemplateValues& values) const;
  // What Bytes is at most where a request's target has `target_bytes`.
  size_t MostBytes(size_t target_bytes) const;
  // Writes Bytes(values). What requests are made of has no control characters; should a value come to have
  // one, it is written as '_', so that no value ever ends a line. (${endpoint} is ours, and passes as it is.)
  size_t Write(const TemplateValues& values, char* out) const;

 private:
  struct Piece {
    std::string literal;
    Variable variable = Variable::kNone;  // behind it
  };

  std::string text_;
  std::vector<Piece> pieces_;
};

}  // namespace weir::lb
