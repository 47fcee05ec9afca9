// Machine: what the configuration depends on besides the command line: CPUs, memory, limits, names. Read once
// at start; tests make one up.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/address.h"
#include "core/tcp_options.h"

namespace weir::lb {

struct Machine {
  std::vector<int> cpus;      // the affinity mask, in order
  uint64_t memory_bytes = 0;  // what this process may use: RAM, or less by a control group
  uint32_t fd_limit = 0;      // RLIMIT_NOFILE, soft, after RaiseFileLimit
  // Addresses of a host name, without duplicates, in getaddrinfo's order.
  std::function<absl::StatusOr<std::vector<SocketAddress>>(const std::string& host, uint16_t port)> resolve;
  // 0, or the errno of what the kernel refuses: these options, of a socket that comes from `source` if that
  // is not null.
  std::function<int(const TcpOptions& options, const SocketAddress* source)> try_tcp;
};

// Raises the soft limit of open files to the hard one and returns what it is now.
uint32_t RaiseFileLimit();

// This machine; calls RaiseFileLimit.
Machine ReadMachine();

}  // namespace weir::lb
