// weir: reads the command line, checks that this machine can run it, and runs it.
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "core/uring_probe.h"
#include "lb/ask_reload.h"
#include "lb/config/command_line.h"
#include "lb/config/ports.h"
#include "lb/server.h"

namespace {

// Started without standard streams, the first sockets would get their numbers, and a log line would go to a
// client.
void OccupyStandardStreams() {
  int fd;
  do {
    fd = open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) close(fd);
}

// The same command line, with what its files and the names in it say now.
weir::lb::LoadedSettings LoadAgain(int argc, char** argv, const weir::lb::Settings& running) {
  weir::lb::CommandLine line = weir::lb::ParseCommandLine(argc, argv, weir::lb::ReadMachine(), &running);
  if (line.exit) return {std::nullopt, line.err};
  const absl::Status status = weir::lb::CheckPortsFree(line.settings, &running);
  if (!status.ok()) return {std::nullopt, "weir: " + std::string(status.message()) + "\n"};
  return {std::move(line.settings), line.err};
}

}  // namespace

int main(int argc, char** argv) {
  OccupyStandardStreams();
  pthread_setname_np(pthread_self(), "weir");  // whatever the file is called: `weir reload` looks at it
  using weir::lb::CommandLine;
  CommandLine line = weir::lb::ParseCommandLine(argc, argv, weir::lb::ReadMachine());
  std::fputs(line.out.c_str(), stdout);
  std::fputs(line.err.c_str(), stderr);
  if (line.exit) return line.exit_code;

  if (line.command == CommandLine::Command::kReload) {
    const weir::lb::ReloadOutcome outcome = weir::lb::AskReload(line.settings);
    std::fputs(outcome.text.c_str(), outcome.ok ? stdout : stderr);
    return outcome.ok ? 0 : 1;
  }

  weir::UringFeatures features;
  std::string problem;
  if (!weir::ProbeUring(features, problem)) {
    std::fprintf(stderr, "weir: %s\n", problem.c_str());
    return 1;
  }
  if (const absl::Status status = weir::lb::CheckPortsFree(line.settings); !status.ok()) {
    std::fprintf(stderr, "weir: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  weir::lb::LoadSettings load;
  if (line.command == CommandLine::Command::kRun) {
    load = [argc, argv](const weir::lb::Settings& running) { return LoadAgain(argc, argv, running); };
  }
  weir::lb::Server server(std::move(line.settings), line.command == CommandLine::Command::kDemo, features,
                          load);
  if (const absl::Status status = server.Start(); !status.ok()) {
    std::fprintf(stderr, "weir: %s\n", std::string(status.message()).c_str());
    std::_Exit(1);  // half started: there is nothing to drain, and the kernel takes everything back
  }
  return server.Run();
}
