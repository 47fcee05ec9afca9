#include "core/log.h"

#include <poll.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <ctime>

namespace weir {

namespace {

// One write, so that lines of several threads do not mix. A closed standard error is nobody's loss.
bool WriteLine(const char* format, va_list arguments) {
  char line[1024];
  const time_t now = time(nullptr);
  tm parts{};
  gmtime_r(&now, &parts);
  size_t length = strftime(line, sizeof(line), "weir: %Y-%m-%dT%H:%M:%SZ ", &parts);
  const int written = vsnprintf(line + length, sizeof(line) - length - 1, format, arguments);
  if (written > 0) length += static_cast<size_t>(written);
  if (length > sizeof(line) - 2) {
    length = sizeof(line) - 2;
    for (size_t i = 1; i <= 3; ++i) line[length - i] = '.';  // there was more
  }
  line[length++] = '\n';
  return write(STDERR_FILENO, line, length) >= 0;
}

}  // namespace

void LogLine(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  WriteLine(format, arguments);
  va_end(arguments);
}

bool LogLineNow(const char* format, ...) {
  // A pipe says so only with room for a page, which is more than a line.
  pollfd error{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
  if (poll(&error, 1, 0) != 1 || (error.revents & POLLOUT) == 0) return false;
  va_list arguments;
  va_start(arguments, format);
  const bool written = WriteLine(format, arguments);
  va_end(arguments);
  return written;
}

}  // namespace weir
