#include "core/uring_probe.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "core/uring_abi.h"

namespace weir {
namespace {

constexpr uint32_t kBaseFlags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL;
constexpr uint32_t kBestFlags =
    kBaseFlags | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN;

int TrySetup(uint32_t flags) {
  io_uring_params params{};
  params.flags = flags;
  params.cq_entries = 64;
  const int fd = uring::Setup(16, &params);
  return fd < 0 ? -errno : fd;
}

std::string KernelRelease() {
  utsname name{};
  return uname(&name) == 0 ? name.release : "unknown";
}

int ReadDisabledSetting() {
  int value = 0;
  if (FILE* file = std::fopen("/proc/sys/kernel/io_uring_disabled", "re")) {
    if (std::fscanf(file, "%d", &value) != 1) value = 0;
    std::fclose(file);
  }
  return value;
}

bool CanProvideBuffers(int fd, bool& tells_status) {
  constexpr size_t kBytes = 4096;
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<uint64_t>(memory);
  registration.ring_entries = 16;
  registration.bgid = 1;
  const bool ok = uring::Register(fd, IORING_REGISTER_PBUF_RING, &registration, 1) == 0;
  uring::BufferRingStatus status;
  status.group = registration.bgid;
  tells_status = ok && uring::Register(fd, uring::kRegisterBufferRingStatus, &status, 1) == 0;
  if (ok) uring::Register(fd, IORING_UNREGISTER_PBUF_RING, &registration, 1);
  munmap(memory, kBytes);
  return ok;
}

// Asked for on a descriptor that is no socket: EINVAL is about the request, ENOTSOCK about the descriptor.
bool CanLimitReceives() {
  io_uring_params params{};
  params.flags = IORING_SETUP_CLAMP;
  const int fd = uring::Setup(1, &params);
  if (fd < 0) return false;
  const size_t ring_bytes = std::max<size_t>(params.sq_off.array + params.sq_entries * sizeof(uint32_t),
                                             params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe));
  const size_t sqe_bytes = params.sq_entries * sizeof(io_uring_sqe);
  void* ring = mmap(nullptr, ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
  void* sqes = mmap(nullptr, sqe_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
  bool can = false;
  if (ring != MAP_FAILED && sqes != MAP_FAILED) {
    const auto at = [ring](uint32_t offset) {
      return reinterpret_cast<uint32_t*>(static_cast<char*>(ring) + offset);
    };
    auto* sqe = static_cast<io_uring_sqe*>(sqes);
    *sqe = {};
    sqe->opcode = IORING_OP_RECV;
    sqe->fd = fd;
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->ioprio = IORING_RECV_MULTISHOT;
    uring::LimitReceive(*sqe, 4096);
    *at(params.sq_off.array) = 0;
    std::atomic_ref<uint32_t>(*at(params.sq_off.tail)).store(1, std::memory_order_release);
    if (uring::Enter(fd, 1, 1, IORING_ENTER_GETEVENTS, nullptr, 0) == 1) {
      can = reinterpret_cast<io_uring_cqe*>(at(params.cq_off.cqes))->res == -ENOTSOCK;
    }
  }
  if (ring != MAP_FAILED) munmap(ring, ring_bytes);
  if (sqes != MAP_FAILED) munmap(sqes, sqe_bytes);
  close(fd);
  return can;
}

bool HasOpcode(int fd, uint8_t opcode) {
  std::vector<char> memory(sizeof(io_uring_probe) + 256 * sizeof(io_uring_probe_op));
  auto* probe = reinterpret_cast<io_uring_probe*>(memory.data());
  if (uring::Register(fd, IORING_REGISTER_PROBE, probe, 256) != 0) return false;
  return opcode <= probe->last_op && (probe->ops[opcode].flags & IO_URING_OP_SUPPORTED) != 0;
}

}  // namespace

std::string ExplainUringError(int error) {
  switch (error) {
    case ENOSYS:
      return "this kernel (" + KernelRelease() +
             ") has no io_uring, or a seccomp profile hides it: run Weir on Linux 6.1 or newer, and in a "
             "container "
             "allow the system calls io_uring_setup, io_uring_enter and io_uring_register";
    case EPERM:
    case EACCES:
      if (ReadDisabledSetting() != 0) {
        return "io_uring is switched off on this machine: set it on with 'sysctl kernel.io_uring_disabled=0'";
      }
      return "io_uring is forbidden here, most likely by the container's seccomp profile: allow the system "
             "calls "
             "io_uring_setup, io_uring_enter and io_uring_register (Docker: --security-opt "
             "seccomp=<profile>)";
    case ENOMEM: {
      rlimit limit{};
      getrlimit(RLIMIT_MEMLOCK, &limit);
      return "too little locked memory for io_uring (RLIMIT_MEMLOCK is " +
             std::to_string(limit.rlim_cur / 1024) +
             " KiB): raise it with 'ulimit -l unlimited' or LimitMEMLOCK=infinity in the systemd unit";
    }
    case EMFILE:
    case ENFILE:
      return "no file descriptor left for an io_uring: raise the limit with 'ulimit -n' or LimitNOFILE= in "
             "the "
             "systemd unit";
    default:
      return "io_uring cannot be set up on kernel " + KernelRelease() + ": " + std::strerror(error) +
             "; Weir needs Linux 6.1 or newer";
  }
}

std::string UringFeatures::ToString() const {
  const auto yes_no = [](const char* name, bool on) { return std::string(name) + (on ? "=yes" : "=no"); };
  return yes_no("defer_taskrun", defer_taskrun) + " " + yes_no("single_issuer", single_issuer) + " " +
         yes_no("no_sqarray", no_sqarray) + " " + yes_no("message_ring", message_ring) + " " +
         yes_no("provided_rings", provided_rings) + " " + yes_no("ring_status", ring_status) + " " +
         yes_no("receive_limit", receive_limit);
}

bool ProbeUring(UringFeatures& features, std::string& problem) {
  features = {};
  int fd = TrySetup(kBestFlags);
  if (fd >= 0) {
    features.defer_taskrun = features.single_issuer = true;
  } else if (fd == -EINVAL) {
    fd = TrySetup(kBaseFlags);
  }
  if (fd < 0) {
    problem = ExplainUringError(-fd);
    return false;
  }
  features.provided_rings = CanProvideBuffers(fd, features.ring_status);
  features.message_ring = HasOpcode(fd, IORING_OP_MSG_RING);
  close(fd);
  if (const int second = TrySetup(kBestFlags | uring::kSetupNoSqArray); second >= 0) {
    features.no_sqarray = true;
    close(second);
  }
  features.receive_limit = CanLimitReceives();
  if (!features.defer_taskrun || !features.provided_rings || !features.message_ring) {
    problem = "kernel " + KernelRelease() + " is too old for Weir (" + features.ToString() +
              "): Linux 6.1 or newer is needed";
    return false;
  }
  return true;
}

}  // namespace weir
