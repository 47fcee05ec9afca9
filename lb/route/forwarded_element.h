// The elements of the field Forwarded (RFC 7239): one for each proxy that a request has passed, the last one
// by the last. They are read from the end of the field, because only there stands the word of somebody
// known: whatever the first sender wrote, a quote that never closes too, stays to the left of it. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/address.h"

namespace weir::lb {

struct ForwardedElement {
  std::string_view node;   // for=, without quotes: "192.0.2.1", "[2001:db8::1]:443", "unknown", "_hidden"
  std::string_view host;   // HOST or HOST:PORT
  std::string_view proto;  // a URI scheme
};

// Takes the element behind the last comma that is in no quoted string (counted from the end) away from
// `list`, and returns it without the blanks around it; empty between two commas.
std::string_view TakeLastElement(std::string_view* list);

// False: not to the letter of section 4 to 6, or for=, by=, host= or proto= has an escaped character, which
// nothing that they may say needs. Empty values: not said. Views `text`.
bool ParseForwardedElement(std::string_view text, ForwardedElement* out);

// The address of a node, without its port; none if it is unknown or a made-up name.
std::optional<SocketAddress> AddressOfNode(std::string_view node);

// Appends name=value, quoted if it must be. REQUIRES: `value` has nothing that a field value may not have.
void AppendForwardedPair(std::string_view name, std::string_view value, std::string* out);
// Appends for= with `address`, or unknown if there is none.
void AppendForwardedFor(const SocketAddress& address, std::string* out);

}  // namespace weir::lb
