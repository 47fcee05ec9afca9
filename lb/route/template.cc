#include "lb/route/template.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "core/address.h"

namespace weir::lb {
namespace {

struct Named {
  std::string_view name;
  Variable variable;
};
constexpr Named kNames[] = {
    {"host", Variable::kHost},     {"path", Variable::kPath},           {"query", Variable::kQuery},
    {"uri", Variable::kUri},       {"scheme", Variable::kScheme},       {"method", Variable::kMethod},
    {"client", Variable::kClient}, {"remainder", Variable::kRemainder}, {"request_id", Variable::kRequestId},
};
constexpr Named kInResponse = {"endpoint", Variable::kEndpoint};

Variable Find(std::string_view name, Template::Use use) {
  if (use == Template::Use::kResponse && name == kInResponse.name) return kInResponse.variable;
  for (const Named& known : kNames) {
    if (known.name == name) return known.variable;
  }
  if (name.size() == 1 && name[0] >= '0' && name[0] <= '9') {
    return static_cast<Variable>(static_cast<int>(Variable::kGroup0) + (name[0] - '0'));
  }
  return Variable::kNone;
}

// The longest value: of what a parsed request has, see lb/http/request.h; of the others, core/address.h.
size_t MostBytesOf(Variable variable, size_t target_bytes) {
  switch (variable) {
    case Variable::kNone:
      return 0;
    case Variable::kHost:
      return 256;
    case Variable::kScheme:
    case Variable::kMethod:
      return 32;
    case Variable::kClient:
      return SocketAddress::kMaxIpText;
    case Variable::kEndpoint:
      return SocketAddress::kMaxText;
    case Variable::kRequestId:
      return 128;
    default:  // the target and parts of it, normalised
      return target_bytes + 1;
  }
}

bool IsControl(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

}  // namespace

bool Template::Parse(std::string_view text, Template* out, std::string* error, Use use) {
  Template parsed;
  parsed.text_ = text;
  std::string literal;
  while (!text.empty()) {
    const size_t dollar = text.find('$');
    literal += text.substr(0, dollar);
    if (dollar == std::string_view::npos) break;
    text.remove_prefix(dollar);
    if (text.starts_with("$${")) {
      literal += "${";
      text.remove_prefix(3);
    } else if (text.starts_with("${")) {
      const size_t end = text.find('}');
      const std::string_view name = text.substr(2, end == std::string_view::npos ? end : end - 2);
      const Variable variable = end == std::string_view::npos ? Variable::kNone : Find(name, use);
      if (variable == Variable::kNone) {
        *error = "\"${" + std::string(name.substr(0, 40)) + "}\": expected one of";
        for (const Named& known : kNames) *error += " ${" + std::string(known.name) + "}";
        *error += " ${0} to ${9}";
        if (use == Use::kResponse) *error += " ${" + std::string(kInResponse.name) + "}";
        return false;
      }
      parsed.pieces_.push_back({std::move(literal), variable});
      literal.clear();
      text.remove_prefix(end + 1);
    } else {
      literal += '$';
      text.remove_prefix(1);
    }
  }
  if (!literal.empty()) parsed.pieces_.push_back({std::move(literal), Variable::kNone});
  *out = std::move(parsed);
  return true;
}

bool Template::HasVariables() const {
  return std::any_of(pieces_.begin(), pieces_.end(),
                     [](const Piece& piece) { return piece.variable != Variable::kNone; });
}

bool Template::UsesGroups() const {
  return std::any_of(pieces_.begin(), pieces_.end(),
                     [](const Piece& piece) { return piece.variable >= Variable::kGroup0; });
}

bool Template::Uses(Variable variable) const {
  return std::any_of(pieces_.begin(), pieces_.end(),
                     [variable](const Piece& piece) { return piece.variable == variable; });
}

const char* Template::WhyNoRedirect() const {
  constexpr const char* kExpected = "expected https://HOST/PATH, or /PATH";
  if (text_.starts_with("//")) return kExpected;
  const bool by_scheme = text_.starts_with("${scheme}://");
  const bool absolute = by_scheme || text_.starts_with("http://") || text_.starts_with("https://");
  if (!absolute && !text_.starts_with('/') && !text_.starts_with("${path}") && !text_.starts_with("${uri}")) {
    return kExpected;
  }
  if (!absolute) return nullptr;  // what is written is looked at, for "//"
  size_t scheme = by_scheme ? 3 : text_.find("://") + 3;
  for (const Piece& piece : std::span(pieces_).subspan(by_scheme ? 1 : 0)) {
    const std::string_view literal =
        std::string_view(piece.literal).substr(std::min(scheme, piece.literal.size()));
    scheme = 0;
    if (literal.find_first_of("/?#") != std::string_view::npos) return nullptr;
    switch (piece.variable) {
      case Variable::kHost:
      case Variable::kNone:
        break;
      case Variable::kPath:
      case Variable::kUri:
        return nullptr;
      default:
        return "behind the host comes ${path}, ${uri} or a /, or others could make a host of their own";
    }
  }
  return nullptr;
}

size_t Template::Bytes(const TemplateValues& values) const {
  size_t bytes = 0;
  for (const Piece& piece : pieces_) {
    bytes += piece.literal.size() + values.values[static_cast<size_t>(piece.variable)].size();
  }
  return bytes;
}

size_t Template::MostBytes(size_t target_bytes) const {
  size_t bytes = 0;
  for (const Piece& piece : pieces_)
    bytes += piece.literal.size() + MostBytesOf(piece.variable, target_bytes);
  return bytes;
}

size_t Template::Write(const TemplateValues& values, char* out) const {
  char* at = out;
  const auto append = [&at](std::string_view text) {
    if (!text.empty()) std::memcpy(at, text.data(), text.size());
    at += text.size();
  };
  for (const Piece& piece : pieces_) {
    append(piece.literal);
    char* const begin = at;
    append(values.values[static_cast<size_t>(piece.variable)]);
    if (piece.variable != Variable::kEndpoint) std::replace_if(begin, at, IsControl, '_');
  }
  return static_cast<size_t>(at - out);
}

}  // namespace weir::lb
