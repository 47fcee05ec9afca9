// A machine and command lines for configuration tests: nothing depends on where the test runs.
#pragma once

#include <cerrno>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "lb/config/command_line.h"

namespace weir::lb {

inline Machine MadeUpMachine() {
  Machine machine;
  machine.cpus = {0, 1, 4, 5};
  machine.memory_bytes = uint64_t{8} << 30;
  machine.fd_limit = 20'000;
  machine.resolve = [](const std::string& host, uint16_t port) -> absl::StatusOr<std::vector<SocketAddress>> {
    SocketAddress one = *SocketAddress::Parse("10.1.0.1:0");
    SocketAddress two = *SocketAddress::Parse("[2001:db8::1]:0");
    one.port = two.port = port;
    if (host == "one.example") return std::vector<SocketAddress>{one};
    if (host == "two.example") return std::vector<SocketAddress>{one, two};
    return absl::NotFoundError("Name or service not known");
  };
  machine.try_tcp = [](const TcpOptions& options, const SocketAddress* source) {
    if (options.congestion_control == "nosuch") return ENOENT;
    if (options.congestion_control == "forbidden") return EPERM;
    return source != nullptr && source->ToString().starts_with("192.0.2.") ? EADDRNOTAVAIL : 0;
  };
  return machine;
}

inline CommandLine Parse(std::vector<std::string_view> arguments, const Machine& machine = MadeUpMachine()) {
  return ParseCommandLine(arguments, machine);
}

// With what every run needs in front.
inline CommandLine ParseWith(std::initializer_list<std::string_view> more,
                             const Machine& machine = MadeUpMachine()) {
  std::vector<std::string_view> arguments = {"--listen=http://0.0.0.0:8080", "--backends=10.0.0.1:80"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return ParseCommandLine(arguments, machine);
}

}  // namespace weir::lb
