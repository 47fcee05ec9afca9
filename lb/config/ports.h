// CheckPortsFree: tries to bind every listener and the admin address without SO_REUSEPORT, right before the
// real sockets are made with it (else a second Weir would start and silently share the first one's
// connections). A unix socket's path is only looked at. The error names the flag, the address and what to do.
// It has half a second of patience: the sockets of a Weir that crashed just now, which a supervisor starts
// again at once, and a listener that a reload removed live on for a moment. With `running`, of a reload, it
// tries only what that does not have; where that has the port at another address (0.0.0.0:80 and
// 127.0.0.1:80) Weir's own sockets are in the way of such a bind, and it tries with SO_REUSEPORT: sockets of
// others that share the port, of the same user, at an address of their own, are not noticed there.
#pragma once

#include "absl/status/status.h"
#include "lb/config/settings.h"

namespace weir::lb {

absl::Status CheckPortsFree(const Settings& settings, const Settings* running = nullptr);

}  // namespace weir::lb
