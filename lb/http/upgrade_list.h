// The protocols named in an Upgrade field (RFC 9110 section 7.8), kept by value.
//
// In a request: what the client wants to upgrade to, what is offered to the upstream, and what its 101 may
// choose from. h2, h2c, HTTP/x and TLS/x are never in it: a tunnel of those would carry requests past us, and
// HTTP/2 to the upstream is ours to decide. A list that does not fit counts as none.
#ifndef LB_HTTP_UPGRADE_LIST_H_
#define LB_HTTP_UPGRADE_LIST_H_

#include <cstdint>
#include <string_view>

namespace weir::http {

struct UpgradeList {
  static constexpr uint8_t kCapacity = 31;
  char data[kCapacity] = {};
  uint8_t size = 0;

  bool empty() const { return size == 0; }
  std::string_view text() const { return {data, size}; }  // "a, b"
  bool Contains(std::string_view protocol) const;         // ignores case

  // Appends the protocols of one field value that may be forwarded. False: it is malformed or does not fit.
  bool AddValue(std::string_view value);
};

}  // namespace weir::http

#endif  // LB_HTTP_UPGRADE_LIST_H_
