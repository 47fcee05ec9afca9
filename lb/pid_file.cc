#include "lb/pid_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "lb/config/read_file.h"

namespace weir::lb {
namespace {

std::string OwnText() { return absl::StrCat(getpid(), "\n"); }

}  // namespace

absl::Status PidFile::Write(const std::string& path) {
  if (path.empty()) return absl::OkStatus();
  const std::string text = OwnText();
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
  const bool written = fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  if (fd >= 0) close(fd);
  if (!written)
    return absl::UnavailableError(absl::StrCat("--pid_file: \"", path, "\": ", std::strerror(error)));
  path_ = path;
  return absl::OkStatus();
}

void PidFile::Remove() {
  if (!path_.empty() && ReadWholeFile(path_) == OwnText()) unlink(path_.c_str());
}

}  // namespace weir::lb
