// What Weir uses of the kernel's io_uring interface that Debian 12's headers do not know yet, and a view of
// the provided-buffer ring that is right in C++ (the header's struct is not: an empty struct has size 1
// there). Only core/uring_* includes this. Values are the kernel's ABI (include/uapi/linux/io_uring.h).
#pragma once

#include <linux/io_uring.h>
#include <linux/time_types.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

namespace weir::uring {

inline constexpr uint32_t kSetupNoSqArray = 1u << 16;  // 6.6

// A multishot receive ends after so many bytes (6.17: sqe->optlen; older headers call the field file_index,
// and older kernels refuse it).
inline void LimitReceive(io_uring_sqe& sqe, uint32_t bytes) { sqe.file_index = bytes; }

inline constexpr unsigned kRegisterBufferRingStatus = 26;  // 6.8
struct BufferRingStatus {
  uint32_t group = 0;
  uint32_t head = 0;  // how many buffers were taken so far
  uint32_t reserved[8] = {};
};

inline int Setup(unsigned entries, io_uring_params* params) {
  return static_cast<int>(syscall(__NR_io_uring_setup, entries, params));
}
inline int Enter(int fd, unsigned submit, unsigned wait, unsigned flags, const void* arg, size_t arg_bytes) {
  return static_cast<int>(syscall(__NR_io_uring_enter, fd, submit, wait, flags, arg, arg_bytes));
}
inline int Register(int fd, unsigned opcode, const void* arg, unsigned count) {
  return static_cast<int>(syscall(__NR_io_uring_register, fd, opcode, arg, count));
}

// The ring of provided buffers is an array of io_uring_buf; the tail overlays the first entry's reserved
// field.
inline uint16_t* BufferRingTail(void* ring) {
  return reinterpret_cast<uint16_t*>(static_cast<char*>(ring) + offsetof(io_uring_buf, resv));
}

}  // namespace weir::uring
