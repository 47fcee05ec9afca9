// For `tools/compare --instructions`. valgrind runs one thread at a time and hands over in calls that it knows to block;
// of io_uring_enter it does not know. Preloaded, this waits in ppoll instead. What is added here is in this object alone
// (raw calls, not libc's), so that its instructions can be left out of the count; the enter that the program asked for goes
// through libc and counts.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <linux/time_types.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/syscall.h>

#define REGISTERED_RINGS 16  // the kernel's IO_RINGFD_REG_MAX

// Descriptors registered by this thread, by the number that an enter gives.
static __thread int ring_fds[REGISTERED_RINGS];

static long raw(long number, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
#else
#error "raw system calls of this architecture are not known here"
#endif
}

// Until there is at least one completion, or the time in `arg` is over: 0 or a negative errno.
static long await(int fd, long wait, long flags, const struct io_uring_getevents_arg* arg) {
  const int ring = (flags & IORING_ENTER_REGISTERED_RING) ? ring_fds[fd] : fd;
  struct __kernel_timespec left = {0, 0};
  struct __kernel_timespec* limit = 0;
  struct __kernel_timespec none = {0, 0};
  struct io_uring_getevents_arg now = {0};
  if ((flags & IORING_ENTER_EXT_ARG) && arg->ts != 0) {
    left = *(const struct __kernel_timespec*)(uintptr_t)arg->ts;
    limit = &left;
  }
  now.ts = (uint64_t)(uintptr_t)&none;
  for (;;) {
    struct pollfd readable = {ring, POLLIN, 0};
    const long ready = raw(SYS_ppoll, (long)&readable, 1, (long)limit, 0, 0, 0);  // leaves in `left` what is left
    if (ready <= 0) return ready == 0 ? -ETIME : ready;
    // "Readable" may be work that the kernel has deferred and that completes nothing: then it waits on.
    const long entered = raw(__NR_io_uring_enter, fd, 0, wait, flags | IORING_ENTER_EXT_ARG, (long)&now, sizeof(now));
    if (entered != -ETIME) return entered;
  }
}

long syscall(long number, ...) {
  static long (*real)(long, ...);
  va_list list;
  va_start(list, number);
  long a[6];
  for (int i = 0; i < 6; ++i) a[i] = va_arg(list, long);
  va_end(list);
  if (real == 0) real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
  if (number == __NR_io_uring_enter && a[2] > 0) {
    const long submitted = real(number, a[0], a[1], 0L, a[3], a[4], a[5]);
    if (submitted < 0) return submitted;
    const long waited = await((int)a[0], a[2], a[3], (const struct io_uring_getevents_arg*)a[4]);
    if (submitted > 0 || waited >= 0) return submitted;  // as the kernel: an error counts if nothing was submitted
    errno = (int)-waited;
    return -1;
  }
  const long result = real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (number == __NR_io_uring_register && a[1] == IORING_REGISTER_RING_FDS) {
    const struct io_uring_rsrc_update* rings = (const struct io_uring_rsrc_update*)a[2];
    for (long i = 0; i < result; ++i) {
      if (rings[i].offset < REGISTERED_RINGS) ring_fds[rings[i].offset] = (int)rings[i].data;
    }
  }
  return result;
}
