#include "lb/config/machine.h"

#include <netdb.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "core/socket_calls.h"

namespace weir::lb {
namespace {

std::vector<int> AffinityMask() {
  // More than the kernel is built for (8192 at most): sched_getaffinity refuses a set that is too small.
  constexpr int kMaxCpus = 16'384;
  cpu_set_t* set = CPU_ALLOC(kMaxCpus);
  const size_t bytes = CPU_ALLOC_SIZE(kMaxCpus);
  std::vector<int> cpus;
  if (sched_getaffinity(0, bytes, set) == 0) {
    for (int cpu = 0; cpu < kMaxCpus; ++cpu) {
      if (CPU_ISSET_S(cpu, bytes, set)) cpus.push_back(cpu);
    }
  }
  CPU_FREE(set);
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

// The memory limit of this process's control group (version 2), or of the one above it that is smallest.
uint64_t GroupMemoryLimit() {
  std::ifstream groups("/proc/self/cgroup");
  uint64_t least = UINT64_MAX;
  for (std::string line; std::getline(groups, line);) {
    if (!line.starts_with("0::/")) continue;
    for (std::string path = line.substr(3);; path.resize(path.rfind('/'))) {
      uint64_t limit;
      if (std::ifstream("/sys/fs/cgroup" + path + "/memory.max") >> limit) least = std::min(least, limit);
      if (path.find('/') == std::string::npos) break;
    }
  }
  return least;
}

uint64_t MemoryBytes() {
  const uint64_t ram =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return std::min(ram, GroupMemoryLimit());
}

absl::StatusOr<std::vector<SocketAddress>> Resolve(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  const int code = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (code != 0) return absl::NotFoundError(code == EAI_SYSTEM ? strerror(errno) : gai_strerror(code));
  std::vector<SocketAddress> addresses;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    SocketAddress address = SocketAddress::FromSockaddr(at->ai_addr);
    if (address.family == 0) continue;
    address.port = port;
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end())
      addresses.push_back(address);
  }
  freeaddrinfo(found);
  if (addresses.empty()) return absl::NotFoundError("the name has no address");
  return addresses;
}

}  // namespace

uint32_t RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  if (limit.rlim_cur < limit.rlim_max) {
    const rlimit raised{.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  return static_cast<uint32_t>(std::min<rlim_t>(limit.rlim_cur, INT32_MAX));
}

Machine ReadMachine() {
  return {.cpus = AffinityMask(),
          .memory_bytes = MemoryBytes(),
          .fd_limit = RaiseFileLimit(),
          .resolve = &Resolve,
          .try_tcp = &ProbeTcp};
}

}  // namespace weir::lb
