#include "lb/route/forwarded_element.h"

#include <algorithm>

#include "lb/http/chars.h"

namespace weir::lb {
namespace {

using http::IsAlnum;
using http::IsDigit;

// Section 6.3.
constexpr http::CharSet kNameChars =
    http::CharSet::Where([](char c) { return IsAlnum(c) || http::IsOneOf(c, "._-"); });
constexpr http::CharSet kHostChars =
    http::CharSet::Where([](char c) { return IsAlnum(c) || http::IsOneOf(c, "-._~:[]!$&'()*+;=%"); });
constexpr http::CharSet kSchemeChars =
    http::CharSet::Where([](char c) { return IsAlnum(c) || http::IsOneOf(c, "+-."); });
constexpr size_t kMaxHostBytes = 256 + 6;  // with a port

bool IsMadeUpName(std::string_view text) {
  return text.size() > 1 && text.front() == '_' && kNameChars.HasAll(text.substr(1));
}

bool IsPort(std::string_view text) {
  const bool number = !text.empty() && text.size() <= 5 && std::all_of(text.begin(), text.end(), IsDigit);
  return number || IsMadeUpName(text);
}

// The nodename of `node`; empty: it is none.
std::string_view NameOf(std::string_view node) {
  const size_t bracket = node.starts_with('[') ? node.find(']') : 0;
  if (bracket == std::string_view::npos) return {};
  const size_t colon = node.find(':', bracket);
  if (colon == std::string_view::npos) return node;
  return IsPort(node.substr(colon + 1)) ? node.substr(0, colon) : std::string_view();
}

bool IsNode(std::string_view node) {
  const std::string_view name = NameOf(node);
  return http::EqualsIgnoreCase(name, "unknown") || IsMadeUpName(name) || AddressOfNode(node);
}

// Walks over one element.
class ElementReader {
 public:
  explicit ElementReader(std::string_view text) : rest_(text) {}
  bool Read(ForwardedElement* out);

 private:
  bool Pair(ForwardedElement* out);
  bool Token(std::string_view* token);
  bool Quoted(std::string_view* value);
  // False: said before.
  bool Once(unsigned bit) {
    const bool first = (seen_ & bit) == 0;
    seen_ |= bit;
    return first;
  }

  std::string_view rest_;
  unsigned seen_ = 0;
  bool escaped_ = false;  // the last value had a quoted pair
};

// [ pair ] *( ";" [ pair ] )
bool ElementReader::Read(ForwardedElement* out) {
  for (;;) {
    if (!rest_.empty() && rest_.front() != ';' && !Pair(out)) return false;
    if (rest_.empty()) return true;
    if (rest_.front() != ';') return false;
    rest_.remove_prefix(1);
  }
}

bool ElementReader::Pair(ForwardedElement* out) {
  std::string_view name;
  std::string_view value;
  if (!Token(&name) || !rest_.starts_with('=')) return false;
  rest_.remove_prefix(1);
  escaped_ = false;
  if (rest_.starts_with('"') ? !Quoted(&value) : !Token(&value)) return false;
  if (http::EqualsIgnoreCase(name, "for")) {
    out->node = value;
    return Once(1) && !escaped_ && IsNode(value);
  }
  if (http::EqualsIgnoreCase(name, "by")) return Once(2) && !escaped_ && IsNode(value);
  if (http::EqualsIgnoreCase(name, "host")) {
    out->host = value;
    return Once(4) && !escaped_ && !value.empty() && value.size() <= kMaxHostBytes &&
           kHostChars.HasAll(value);
  }
  if (http::EqualsIgnoreCase(name, "proto")) {
    out->proto = value;
    return Once(8) && !escaped_ && !value.empty() && http::IsAlpha(value.front()) &&
           kSchemeChars.HasAll(value);
  }
  return true;  // an extension: nobody here knows what it means
}

bool ElementReader::Token(std::string_view* token) {
  size_t size = 0;
  while (size < rest_.size() && http::kTokenChars.Has(rest_[size])) ++size;
  *token = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return size > 0;
}

bool ElementReader::Quoted(std::string_view* value) {
  for (size_t at = 1; at < rest_.size(); ++at) {
    if (rest_[at] == '"') {
      *value = rest_.substr(1, at - 1);
      rest_.remove_prefix(at + 1);
      return true;
    }
    if (rest_[at] != '\\') continue;
    escaped_ = true;
    ++at;
  }
  return false;
}

}  // namespace

std::string_view TakeLastElement(std::string_view* list) {
  bool quoted = false;
  size_t begin = list->size();
  for (; begin > 0; --begin) {
    const char c = (*list)[begin - 1];
    if (c == ',' && !quoted) break;
    if (c != '"') continue;
    size_t backslashes = 0;
    while (begin >= 2 + backslashes && (*list)[begin - 2 - backslashes] == '\\') ++backslashes;
    if (backslashes % 2 == 0) quoted = !quoted;
  }
  std::string_view element = list->substr(begin);
  *list = list->substr(0, begin > 0 ? begin - 1 : 0);
  while (!element.empty() && http::IsBlank(element.front())) element.remove_prefix(1);
  while (!element.empty() && http::IsBlank(element.back())) element.remove_suffix(1);
  return element;
}

bool ParseForwardedElement(std::string_view text, ForwardedElement* out) {
  *out = {};
  return ElementReader(text).Read(out);
}

std::optional<SocketAddress> AddressOfNode(std::string_view node) {
  const std::string_view name = NameOf(node);
  char text[64];
  constexpr std::string_view kPort = ":0";
  if (name.empty() || name.size() > sizeof(text) - kPort.size()) return std::nullopt;
  name.copy(text, name.size());
  kPort.copy(text + name.size(), kPort.size());
  return SocketAddress::Parse({text, name.size() + kPort.size()});
}

void AppendForwardedPair(std::string_view name, std::string_view value, std::string* out) {
  out->append(name).append("=");
  if (http::IsToken(value)) {
    out->append(value);
    return;
  }
  *out += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') *out += '\\';
    *out += c;
  }
  *out += '"';
}

void AppendForwardedFor(const SocketAddress& address, std::string* out) {
  char text[SocketAddress::kMaxIpText + 3];
  const bool is_ip = address.family == AF_INET || address.family == AF_INET6;
  const size_t size = is_ip ? address.WriteIp(text + 1) : 0;
  const bool v6 = std::string_view(text + 1, size).find(':') != std::string_view::npos;
  if (size == 0) return AppendForwardedPair("for", "unknown", out);
  if (!v6) return AppendForwardedPair("for", {text + 1, size}, out);
  text[0] = '[';
  text[size + 1] = ']';
  AppendForwardedPair("for", {text, size + 2}, out);
}

}  // namespace weir::lb
