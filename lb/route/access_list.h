// AccessList: who may come, by network. Of the networks that have an address the longest decides; if none has
// it, it may come unless somebody is named in `allow`. Unix sockets are in no network, and have a word of
// their own. Built once, then immutable. What a look-up costs:
// network_set.h.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/address.h"
#include "lb/route/network_set.h"

namespace weir::lb {

class AccessList {
 public:
  AccessList() = default;  // everybody
  // REQUIRES: what NetworkSet::Build does. A network in both is denied.
  // `named`: somebody is allowed by name, even if `allow` turned out empty: then nobody else may come.
  AccessList(bool named, std::span<const Network> allow, std::span<const Network> deny)
      : AccessList(named, allow, deny, !named) {}
  AccessList(bool named, std::span<const Network> allow, std::span<const Network> deny, bool unix_sockets);

  bool Allows(const SocketAddress& address) const {
    if (address.is_unix()) return unix_sockets_;
    const uint32_t found = networks_.Find(address);
    return found == NetworkSet::kNone ? !named_ : found == kAllow;
  }

 private:
  static constexpr uint32_t kAllow = 1;
  static constexpr uint32_t kDeny = 0;

  NetworkSet networks_;
  bool named_ = false;        // somebody is allowed by name
  bool unix_sockets_ = true;  // who comes by these may
};

}  // namespace weir::lb
