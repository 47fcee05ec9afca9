// ConnectSyslog: a socket that sends a datagram to syslog.
#pragma once

#include "lb/log/access_format.h"

namespace weir::lb {

// Connected to where `settings` say; -errno if that cannot be: no such socket, nobody who
// reads it.
int ConnectSyslog(const SyslogSettings& settings);

}  // namespace weir::lb
