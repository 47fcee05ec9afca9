#include "lb/ask_reload.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "lb/config/read_file.h"

namespace weir::lb {
namespace {

constexpr time_t kPatienceS = 310;  // longer than the admin listener's
constexpr size_t kMostAnswerBytes = size_t{16} << 20;

ReloadOutcome Failed(std::string text) { return {false, absl::StrCat("weir: ", text, "\n")}; }

// The whole answer, or nothing with errno.
std::optional<std::string> Exchange(const SocketAddress& to, const std::string& request) {
  sockaddr_storage address;
  const socklen_t length = to.ToSockaddr(&address);
  const int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::nullopt;
  const timeval patience{kPatienceS, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  std::string answer;
  bool ok = connect(fd, reinterpret_cast<sockaddr*>(&address), length) == 0 &&
            send(fd, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size());
  while (ok && answer.size() < kMostAnswerBytes) {
    char piece[4096];
    const ssize_t bytes = recv(fd, piece, sizeof(piece), 0);
    if (bytes <= 0) {
      ok = bytes == 0;
      break;
    }
    answer.append(piece, static_cast<size_t>(bytes));
  }
  const int error = errno;
  close(fd);
  errno = error;
  if (!ok) return std::nullopt;
  return answer;
}

ReloadOutcome AskAdmin(const Settings& target) {
  const std::string name = target.admin.ToString();
  std::string request =
      "POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n";
  if (!target.admin_token.empty())
    absl::StrAppend(&request, "Authorization: Bearer ", target.admin_token, "\r\n");
  const std::optional<std::string> answer = Exchange(target.admin, request + "\r\n");
  if (!answer) return Failed(absl::StrCat("--admin: ", name, ": ", std::strerror(errno)));
  if (answer->empty())
    return Failed(absl::StrCat("--admin: ", name, ": it ended without an answer; see its log"));
  const size_t body = answer->find("\r\n\r\n");
  if (answer->rfind("HTTP/1.1 ", 0) != 0 || body == std::string::npos)
    return Failed(absl::StrCat("--admin: ", name, ": what answers there is no Weir"));
  return {answer->substr(9, 3) == "200", answer->substr(body + 4)};
}

ReloadOutcome Signal(const Settings& target) {
  const std::optional<std::string> text = ReadWholeFile(target.pid_file);
  if (!text) return Failed(absl::StrCat("--pid_file: \"", target.pid_file, "\": ", std::strerror(errno)));
  int pid = 0;
  if (!absl::SimpleAtoi(*text, &pid) || pid <= 1)
    return Failed(absl::StrCat("--pid_file: \"", target.pid_file, "\": expected the number of a process"));
  // The number may be another process's by now, which the signal might end.
  const std::optional<std::string> name = ReadWholeFile(absl::StrCat("/proc/", pid, "/comm"));
  if (!name || absl::StripSuffix(*name, "\n") != "weir")
    return Failed(
        absl::StrCat("--pid_file: process ", pid, " is no Weir: it ended without removing the file"));
  if (kill(pid, SIGHUP) != 0) return Failed(absl::StrCat("process ", pid, ": ", std::strerror(errno)));
  return {true, absl::StrCat("SIGHUP sent to process ", pid, "; what became of it is in its log\n")};
}

}  // namespace

ReloadOutcome AskReload(const Settings& target) {
  const bool permitted = target.has_admin && (target.admin.family == AF_UNIX || !target.admin_token.empty());
  if (permitted || target.pid_file.empty()) return AskAdmin(target);
  return Signal(target);
}

}  // namespace weir::lb
