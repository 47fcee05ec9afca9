#include "lb/http/target.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

namespace weir::http {
namespace {

constexpr CharSet kPathChars =
    CharSet::Where([](char c) { return IsAlnum(c) || IsOneOf(c, "-._~!$&'()*+,;=:@/|^`{}[]"); });
constexpr CharSet kQueryChars =
    CharSet::Where([](char c) { return IsAlnum(c) || IsOneOf(c, "-._~!$&'()*+,;=:@/|^`{}[]?\"\\%"); });
// reg-name without the comma: a list of hosts is a smuggling attempt, not a name.
constexpr CharSet kHostChars =
    CharSet::Where([](char c) { return IsAlnum(c) || IsOneOf(c, "-._~!$&'()*+;="); });

bool IsPercentEncoding(const char* p, const char* end) {
  return end - p >= 3 && *p == '%' && HexValue(p[1]) >= 0 && HexValue(p[2]) >= 0;
}

// The end of what may be path and query.
const char* SkipPathAndQuery(const char* p, const Memory& memory) {
  const char* const end = memory.end;
  while (true) {
    p = kPathChars.Skip(p, memory);
    if (p == end) return p;
    if (*p == '?') return kQueryChars.Skip(p, memory);
    if (!IsPercentEncoding(p, end)) return p;
    p += 3;
  }
}

const char* CheckPathAndQuery(std::string_view text) {
  const Memory memory(text);
  return SkipPathAndQuery(memory.begin, memory) == memory.end ? nullptr
                                                              : "invalid character in the path or query";
}

bool IsValidPort(std::string_view text) {  // *DIGIT
  unsigned port = 0;
  for (char c : text) {
    if (!IsDigit(c)) return false;
    port = port * 10 + static_cast<unsigned>(c - '0');
    if (port > 65535) return false;
  }
  return true;
}

bool IsIpv6Address(std::string_view text) {
  char terminated[INET6_ADDRSTRLEN];
  if (text.size() >= sizeof(terminated)) return false;
  memcpy(terminated, text.data(), text.size());
  terminated[text.size()] = '\0';
  in6_addr address;
  return inet_pton(AF_INET6, terminated, &address) == 1;
}

// Behind the host: nothing, or a colon and a port.
bool IsPortSuffix(std::string_view text) {
  return text.empty() || (text.front() == ':' && IsValidPort(text.substr(1)));
}

const char* ParseAbsoluteForm(std::string_view text, size_t scheme_size, Method method, Target* out) {
  std::string_view rest = text.substr(scheme_size);
  const size_t end = std::min(rest.find_first_of("/?"), rest.size());
  out->authority = rest.substr(0, end);
  if (!IsValidAuthority(out->authority, Memory(text))) return "invalid authority in the target";
  out->path = rest.substr(end);
  out->lacks_slash = !out->path.empty() && out->path.front() == '?';
  if (out->path.empty()) out->path = method == Method::kOptions ? "*" : "/";
  return out->path == "*" ? nullptr : CheckPathAndQuery(out->path);
}

}  // namespace

const char* SkipOriginForm(const char* p, const Memory& memory) {
  return p < memory.end && *p == '/' ? SkipPathAndQuery(p, memory) : p;
}

const char* ParseTarget(std::string_view text, Method method, Target* out) {
  if (text.front() == '/') {
    out->path = text;
    return CheckPathAndQuery(text);
  }
  if (text == "*") {
    out->path = text;
    return method == Method::kOptions ? nullptr : "the target * is for OPTIONS only";
  }
  constexpr std::string_view kHttp = "http://";
  constexpr std::string_view kHttps = "https://";
  if (StartsWithIgnoreCase(text, kHttp)) return ParseAbsoluteForm(text, kHttp.size(), method, out);
  if (StartsWithIgnoreCase(text, kHttps)) {
    out->https = true;
    return ParseAbsoluteForm(text, kHttps.size(), method, out);
  }
  return "invalid target";
}

bool IsValidAuthority(std::string_view text, const Memory& memory) {
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  if (!text.empty() && text.front() == '[') {
    const size_t close = text.find(']');
    return close != std::string_view::npos && IsIpv6Address(text.substr(1, close - 1)) &&
           IsPortSuffix(text.substr(close + 1));
  }
  const char* p = std::min(kHostChars.Skip(begin, memory), end);
  while (p < end && IsPercentEncoding(p, end)) p = std::min(kHostChars.Skip(p + 3, memory), end);
  return p > begin && IsPortSuffix({p, static_cast<size_t>(end - p)});
}

}  // namespace weir::http
