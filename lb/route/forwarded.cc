#include "lb/route/forwarded.h"

#include <algorithm>
#include <cstring>
#include <optional>

namespace weir::lb {
namespace {

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") + 1 - begin);
}

// "1.2.3.4", "1.2.3.4:56", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:56".
std::optional<SocketAddress> ParseElement(std::string_view text) {
  char padded[64];
  if (text.empty() || text.size() > sizeof(padded) - 5) return std::nullopt;
  size_t size = 0;
  const auto append = [&](std::string_view more) {
    std::memcpy(padded + size, more.data(), more.size());
    size += more.size();
  };
  const bool bracketed = text.front() == '[';
  const size_t colons = static_cast<size_t>(std::count(text.begin(), text.end(), ':'));
  const bool bare_v6 = !bracketed && colons > 1;
  const bool has_port = bracketed ? text.back() != ']' : colons == 1;
  if (bare_v6) append("[");
  append(text);
  if (bare_v6) append("]");
  if (!has_port) append(":0");
  std::optional<SocketAddress> address = SocketAddress::Parse({padded, size});
  if (address) address->port = 0;
  return address;
}

}  // namespace

SocketAddress FindClient(const AccessList& trusted, const SocketAddress& peer, const http::FieldList& head,
                         RouteScratch& scratch, http::RequestContext& context) {
  if (!trusted.Allows(peer)) return peer;
  std::string& chain = scratch.forwarded;
  chain.clear();
  for (const http::Field& field : head.fields()) {
    switch (field.id) {
      case http::FieldId::kXForwardedFor:
        if (!chain.empty()) chain += ", ";
        chain += field.value();
        break;
      case http::FieldId::kXForwardedProto:
        if (field.value() == "http" || field.value() == "https") context.proto = field.value();
        break;
      case http::FieldId::kXForwardedHost:
        if (!field.value().empty()) context.forwarded_host = field.value();
        break;
      default:
        break;
    }
  }
  SocketAddress client = peer;
  client.port = 0;
  for (std::string_view rest = chain; !rest.empty() && trusted.Allows(client);) {
    const size_t comma = rest.rfind(',');
    const std::optional<SocketAddress> before =
        ParseElement(Trim(comma == std::string_view::npos ? rest : rest.substr(comma + 1)));
    if (!before) break;
    client = *before;
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(0, comma);
  }
  char ip[SocketAddress::kMaxIpText + 1];
  if (!chain.empty()) chain += ", ";
  chain.append(ip, peer.WriteIp(ip));
  context.client_ip = chain;
  return client;
}

}  // namespace weir::lb
