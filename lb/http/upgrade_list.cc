#include "lb/http/upgrade_list.h"

#include <cstring>

#include "lb/http/chars.h"
#include "lb/http/field.h"

namespace weir::http {
namespace {

bool IsProtocol(std::string_view text) {  // token ["/" token]
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return IsToken(text);
  return IsToken(text.substr(0, slash)) && IsToken(text.substr(slash + 1));
}

bool IsWithheld(std::string_view protocol) {
  const std::string_view name = protocol.substr(0, protocol.find('/'));
  return EqualsIgnoreCase(name, "h2c") || EqualsIgnoreCase(name, "h2") || EqualsIgnoreCase(name, "HTTP") ||
         EqualsIgnoreCase(name, "TLS");
}

}  // namespace

bool UpgradeList::Contains(std::string_view protocol) const {
  for (ListReader list(text()); list.Next();) {
    if (EqualsIgnoreCase(list.element(), protocol)) return true;
  }
  return false;
}

bool UpgradeList::AddValue(std::string_view value) {
  for (ListReader list(value); list.Next();) {
    const std::string_view protocol = list.element();
    if (!IsProtocol(protocol)) return false;
    if (IsWithheld(protocol)) continue;
    const std::string_view separator = empty() ? "" : ", ";
    if (size + separator.size() + protocol.size() > kCapacity) return false;
    memcpy(data + size, separator.data(), separator.size());
    memcpy(data + size + separator.size(), protocol.data(), protocol.size());
    size = static_cast<uint8_t>(size + separator.size() + protocol.size());
  }
  return true;
}

}  // namespace weir::http
