#include "lb/route/host.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "lb/http/chars.h"

namespace weir::lb {
namespace {

std::string_view NormaliseIpv6(std::string_view literal, char (&out)[kHostBytes]) {
  char text[INET6_ADDRSTRLEN] = {};
  if (literal.size() >= sizeof(text) || literal.find('\0') != std::string_view::npos) return {};
  std::copy(literal.begin(), literal.end(), text);
  in6_addr address;
  if (inet_pton(AF_INET6, text, &address) != 1) return {};
  out[0] = '[';
  if (inet_ntop(AF_INET6, &address, out + 1, INET6_ADDRSTRLEN) == nullptr) return {};
  const size_t size = strlen(out);
  out[size] = ']';
  return {out, size + 1};
}

}  // namespace

std::string_view NormaliseHost(std::string_view authority, char (&out)[kHostBytes]) {
  if (authority.starts_with('[')) {
    const size_t close = authority.find(']');
    if (close == std::string_view::npos) return {};
    return NormaliseIpv6(authority.substr(1, close - 1), out);
  }
  std::string_view host = authority.substr(0, authority.find(':'));
  if (host.ends_with('.')) host.remove_suffix(1);
  if (host.size() > kHostBytes) return {};
  std::transform(host.begin(), host.end(), out, http::ToLower);
  return {out, host.size()};
}

}  // namespace weir::lb
