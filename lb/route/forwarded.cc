#include "lb/route/forwarded.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "lb/http/chars.h"
#include "lb/route/forwarded_element.h"

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

// What was said of those in front of a trusted peer.
struct Chain {
  std::string_view text;          // the source's field
  std::string_view since_client;  // the end of it that begins with the element where the search ended
  SocketAddress client;
  std::string_view proto;  // http, https; empty: not said
  std::string_view host;
};

bool HasXForwarded(const http::FieldList& head) {
  return head.Has(http::FieldId::kXForwardedFor) || head.Has(http::FieldId::kXForwardedProto) ||
         head.Has(http::FieldId::kXForwardedHost);
}

// All lines of a field as one list.
std::string_view Joined(const http::FieldList& head, http::FieldId id, std::string& memory) {
  memory.clear();
  for (const http::Field& field : head.fields()) {
    if (field.id != id) continue;
    if (!memory.empty()) memory += ", ";
    memory += field.value();
  }
  return memory;
}

// Of a list all must say the same: who was first may have been the client itself. A WebSocket's scheme is
// that of its handshake. What nobody understands says nothing, and undoes what a line before it said.
std::string_view SchemeOf(std::string_view value) {
  std::string_view scheme;
  for (http::ListReader list(value); list.Next();) {
    const auto is = [&list](std::string_view name) { return http::EqualsIgnoreCase(list.element(), name); };
    const std::string_view said = is("https") || is("wss") ? "https" : is("http") || is("ws") ? "http" : "";
    if (said.empty()) return "";
    scheme = scheme.empty() || scheme == said ? said : "http";
  }
  return scheme;
}

void ReadXForwarded(const AccessList& trusted, const http::FieldList& head, std::string& memory,
                    Chain& chain) {
  chain.text = Joined(head, http::FieldId::kXForwardedFor, memory);
  for (std::string_view rest = chain.text; !rest.empty() && trusted.Allows(chain.client);) {
    const size_t comma = rest.rfind(',');
    const size_t begin = comma == std::string_view::npos ? 0 : comma + 1;
    chain.since_client = chain.text.substr(begin);
    const std::optional<SocketAddress> before = ParseElement(Trim(rest.substr(begin)));
    if (!before) break;
    chain.client = *before;
    rest = rest.substr(0, begin == 0 ? 0 : comma);
  }
  for (const http::Field& field : head.fields()) {
    const std::string_view value = field.value();
    if (field.id == http::FieldId::kXForwardedProto) chain.proto = SchemeOf(value);
    if (field.id == http::FieldId::kXForwardedHost && !value.empty()) chain.host = value;
  }
}

enum class Field : uint8_t { kAbsent, kRead, kMalformed };

Field ReadForwarded(const AccessList& trusted, const http::FieldList& head, std::string& memory,
                    Chain& chain) {
  const std::string_view all = Joined(head, http::FieldId::kForwarded, memory);
  bool searching = true;
  for (std::string_view rest = all; !rest.empty();) {
    const std::string_view text = TakeLastElement(&rest);
    if (text.empty()) continue;
    ForwardedElement element;
    if (!ParseForwardedElement(text, &element)) {
      if (searching) return Field::kMalformed;
      break;
    }
    chain.text = all.substr(static_cast<size_t>(text.data() - all.data()));
    if (!searching) continue;
    chain.since_client = chain.text;
    // Of all that was said of scheme and host, what the proxy nearest to the client said of it.
    const bool https = http::EqualsIgnoreCase(element.proto, "https");
    chain.proto = https ? "https" : http::EqualsIgnoreCase(element.proto, "http") ? "http" : "";
    chain.host = element.host;
    const std::optional<SocketAddress> before = AddressOfNode(element.node);
    if (before) chain.client = *before;
    searching = before && trusted.Allows(*before);
  }
  return chain.text.empty() ? Field::kAbsent : Field::kRead;
}

// X-Forwarded-For of what Forwarded says, without the peer.
void WriteFor(std::string_view elements, std::string& out) {
  out.clear();
  for (http::ListReader list(elements); list.Next();) {
    ForwardedElement element;
    ParseForwardedElement(list.element(), &element);
    if (!out.empty()) out += ", ";
    const std::optional<SocketAddress> address = AddressOfNode(element.node);
    char ip[SocketAddress::kMaxIpText + 1];
    out += address                ? std::string_view(ip, address->WriteIp(ip))
           : element.node.empty() ? "unknown"
                                  : element.node;
  }
}

// Forwarded of what X-Forwarded-* say, without the peer. Scheme and host are the client's, the first one's.
void WriteElements(const Chain& chain, std::string& out) {
  out.clear();
  for (std::string_view rest = chain.since_client; !rest.empty();) {
    const size_t end = std::min(rest.find(','), rest.size());
    const std::optional<SocketAddress> address = ParseElement(Trim(rest.substr(0, end)));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const bool first = out.empty();
    if (!first) out += ", ";
    AppendForwardedFor(address.value_or(SocketAddress()), &out);
    if (first && !chain.host.empty()) AppendForwardedPair(";host", chain.host, &out);
    if (first && !chain.proto.empty()) AppendForwardedPair(";proto", chain.proto, &out);
  }
}

}  // namespace

std::optional<SocketAddress> FindClient(const AccessList& trusted, ForwardedForm form,
                                        const SocketAddress& peer, const http::FieldList& head,
                                        RouteScratch& scratch, http::RequestContext& context) {
  if (!trusted.Allows(peer)) return peer;
  Chain chain;
  chain.client = peer;
  chain.client.port = 0;
  const bool x_first = form != ForwardedForm::kRfc7239 && HasXForwarded(head);
  const Field forwarded = x_first ? Field::kAbsent : ReadForwarded(trusted, head, scratch.forwarded, chain);
  if (forwarded == Field::kMalformed) return std::nullopt;
  const bool by_forwarded = forwarded == Field::kRead;
  if (!by_forwarded) ReadXForwarded(trusted, head, scratch.forwarded, chain);
  if (!chain.proto.empty()) context.proto = chain.proto;
  context.forwarded_host = chain.host;
  if (form != ForwardedForm::kXForwarded) {
    if (by_forwarded) {
      scratch.forwarded_elements = chain.text;
    } else {
      WriteElements(chain, scratch.forwarded_elements);
    }
    context.forwarded = scratch.forwarded_elements;
  }
  if (form != ForwardedForm::kRfc7239) {
    std::string& list = scratch.forwarded_for;
    if (by_forwarded) {
      WriteFor(chain.since_client, list);
    } else {
      list = chain.text;
    }
    char ip[SocketAddress::kMaxIpText + 1];
    if (!list.empty()) list += ", ";
    list.append(ip, peer.WriteIp(ip));
    context.client_ip = list;
  }
  return chain.client;
}

void AddForwarded(ForwardedForm form, const SocketAddress& peer, std::string_view authority,
                  std::string_view by_name, RouteScratch& scratch, http::RequestContext& context) {
  std::string& elements = scratch.forwarded_elements;  // FindClient's, if it found any
  if (context.forwarded.empty()) {
    elements.clear();
  } else {
    elements += ", ";
  }
  AppendForwardedFor(peer, &elements);
  const std::string_view host = context.received_host.empty() ? authority : context.received_host;
  if (!host.empty()) AppendForwardedPair(";host", host, &elements);
  AppendForwardedPair(";proto", "http", &elements);
  elements += ";by=_";
  for (const char c : by_name) elements += http::IsAlnum(c) || c == '.' || c == '-' ? c : '_';
  context.forwarded = elements;
  context.x_forwarded = form != ForwardedForm::kRfc7239;
}

}  // namespace weir::lb
