// The sentence an operator reads when Weir cannot run here. The blocked cases are real: a child process
// installs a seccomp filter, as a container's runtime does, and probes.
#include "core/uring_probe.h"

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string>

namespace weir {
namespace {

using testing::Test;

TEST(UringProbeTest, ThisKernelWillDo) {
  UringFeatures features;
  std::string problem;
  ASSERT_TRUE(ProbeUring(features, problem)) << problem;
  EXPECT_EQ(problem, "");
  EXPECT_TRUE(features.defer_taskrun);
  EXPECT_TRUE(features.provided_rings);
  EXPECT_TRUE(features.message_ring);
  EXPECT_NE(features.ToString().find("defer_taskrun=yes"), std::string::npos);
  EXPECT_EQ(features.ToString().find('\n'), std::string::npos);
}

bool Contains(const std::string& text, const char* what) { return text.find(what) != std::string::npos; }

TEST(UringProbeTest, EverySentenceSaysWhatToChange) {
  EXPECT_TRUE(Contains(ExplainUringError(ENOSYS), "Linux 6.1"));
  EXPECT_TRUE(Contains(ExplainUringError(ENOSYS), "io_uring_setup"));
  EXPECT_TRUE(Contains(ExplainUringError(EPERM), "seccomp") ||
              Contains(ExplainUringError(EPERM), "kernel.io_uring_disabled"));
  EXPECT_TRUE(Contains(ExplainUringError(ENOMEM), "RLIMIT_MEMLOCK"));
  EXPECT_TRUE(Contains(ExplainUringError(ENOMEM), "LimitMEMLOCK"));
  EXPECT_TRUE(Contains(ExplainUringError(EMFILE), "LimitNOFILE"));
  EXPECT_TRUE(Contains(ExplainUringError(EINVAL), "Invalid argument"));
  for (const int error : {ENOSYS, EPERM, EACCES, ENOMEM, EMFILE, ENFILE, EINVAL, EFAULT}) {
    const std::string sentence = ExplainUringError(error);
    EXPECT_GT(sentence.size(), 20u);
    EXPECT_EQ(sentence.find('\n'), std::string::npos);
    EXPECT_FALSE(Contains(sentence, "  ")) << sentence;
  }
}

// Runs ProbeUring in a child after `prepare`, and returns the problem it found; "" when it found none.
template <class Prepare>
std::string ProblemInChild(Prepare prepare) {
  int pipes[2];
  EXPECT_EQ(pipe(pipes), 0);
  const pid_t child = fork();
  if (child == 0) {
    if (!prepare()) _exit(3);
    UringFeatures features;
    std::string problem;
    if (ProbeUring(features, problem)) problem.clear();
    const ssize_t written = write(pipes[1], problem.data(), problem.size());
    _exit(written == static_cast<ssize_t>(problem.size()) ? 0 : 4);
  }
  close(pipes[1]);
  std::string problem;
  char bytes[1024];
  for (;;) {
    const ssize_t got = read(pipes[0], bytes, sizeof(bytes));
    if (got <= 0) break;
    problem.append(bytes, static_cast<size_t>(got));
  }
  close(pipes[0]);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  return problem;
}

bool BlockSetup(uint32_t error) {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{sizeof(code) / sizeof(code[0]), code};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST(UringProbeTest, ASeccompProfileThatForbidsIt) {
  const std::string problem = ProblemInChild([] { return BlockSetup(EPERM); });
  EXPECT_TRUE(Contains(problem, "seccomp")) << problem;
  EXPECT_TRUE(Contains(problem, "io_uring_setup, io_uring_enter and io_uring_register")) << problem;
}

TEST(UringProbeTest, ASeccompProfileThatHidesIt) {
  const std::string problem = ProblemInChild([] { return BlockSetup(ENOSYS); });
  EXPECT_TRUE(Contains(problem, "has no io_uring, or a seccomp profile hides it")) << problem;
  EXPECT_TRUE(Contains(problem, "Linux 6.1 or newer")) << problem;
}

TEST(UringProbeTest, NoDescriptorLeft) {
  const std::string problem = ProblemInChild([] {
    const int next = dup(0);
    close(next);
    const rlimit none{static_cast<rlim_t>(next), static_cast<rlim_t>(next)};
    return setrlimit(RLIMIT_NOFILE, &none) == 0;
  });
  EXPECT_TRUE(Contains(problem, "LimitNOFILE")) << problem;
}

}  // namespace
}  // namespace weir
