#include "lb/route/access_list.h"

namespace weir::lb {

AccessList::AccessList(bool named, std::span<const Network> allow, std::span<const Network> deny,
                       bool unix_sockets)
    : named_(named), unix_sockets_(unix_sockets) {
  std::vector<NetworkSet::Entry> entries;  // of the same network the first counts
  entries.reserve(allow.size() + deny.size());
  for (const Network& network : deny) entries.push_back({network, kDeny});
  for (const Network& network : allow) entries.push_back({network, kAllow});
  networks_ = NetworkSet::Build(entries);
}

}  // namespace weir::lb
