#include "lb/admin/permission.h"

#include "core/address.h"
#include "lb/http/chars.h"

namespace weir::lb {
namespace {

constexpr std::string_view kScheme = "Bearer ";

// An address or localhost, with or without a port.
bool IsNoName(std::string_view host) {
  if (SocketAddress::Parse(host) || SocketAddress::Parse(std::string(host) + ":1")) return true;
  return http::EqualsIgnoreCase(host.substr(0, host.find(':')), "localhost");
}

// Takes as long whatever the difference is.
bool Same(std::string_view given, std::string_view token) {
  unsigned difference = given.size() == token.size() ? 0 : 1;
  for (size_t i = 0; i < given.size(); ++i) {
    difference |= static_cast<unsigned char>(given[i]) ^ static_cast<unsigned char>(token[i % token.size()]);
  }
  return difference == 0;
}

bool Has(const http::RequestHead& head, std::string_view name) {
  for (const http::Field& field : head.fields()) {
    if (http::EqualsIgnoreCase(field.name(), name)) return true;
  }
  return false;
}

}  // namespace

Refusal WhyNot(const http::RequestHead& head, bool over_unix_socket, std::string_view token) {
  if (Has(head, "Origin")) return {403, "not from a browser"};
  if (over_unix_socket) return {};
  if (!IsNoName(head.authority)) return {403, "Host: expected an address, or localhost"};
  if (token.empty()) return {403, "only through a unix socket, or with --admin_token_file"};
  const http::Field* given = head.Find(http::FieldId::kAuthorization);
  const std::string_view value = given == nullptr ? std::string_view() : given->value();
  const bool bearer =
      value.size() > kScheme.size() && http::EqualsIgnoreCase(value.substr(0, kScheme.size()), kScheme);
  if (!bearer || !Same(value.substr(kScheme.size()), token))
    return {401, "expected Authorization: Bearer, and the token of --admin_token_file"};
  return {};
}

}  // namespace weir::lb
