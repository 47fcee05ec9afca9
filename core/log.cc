#include "core/log.h"

#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <ctime>

namespace weir {

void LogLine(const char* format, ...) {
  char line[1024];
  const time_t now = time(nullptr);
  tm parts{};
  gmtime_r(&now, &parts);
  size_t length = strftime(line, sizeof(line), "weir: %Y-%m-%dT%H:%M:%SZ ", &parts);
  va_list arguments;
  va_start(arguments, format);
  const int written = vsnprintf(line + length, sizeof(line) - length - 1, format, arguments);
  va_end(arguments);
  if (written > 0) length += static_cast<size_t>(written);
  if (length > sizeof(line) - 2) length = sizeof(line) - 2;
  line[length++] = '\n';
  // One write, so that lines of several threads do not mix. A closed standard error is nobody's loss.
  if (write(STDERR_FILENO, line, length) < 0) return;
}

}  // namespace weir
