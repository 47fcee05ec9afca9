// RingShard: a shard on a real ring, on this thread, for benchmarks. Ends the program with a sentence where
// io_uring cannot be used.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "core/shard.h"
#include "core/uring_backend.h"
#include "core/uring_probe.h"

namespace weir::bench {

inline std::unique_ptr<Shard> RingShard(Switchboard& switchboard, uint32_t index = 0) {
  UringFeatures features;
  std::string problem;
  if (!ProbeUring(features, problem)) {
    std::fprintf(stderr, "%s\n", problem.c_str());
    std::exit(1);
  }
  Shard::Options options;
  options.index = index;
  const UringBackend::Options uring{features, 1024, 4096};
  return std::make_unique<Shard>(options, switchboard, [&uring](BufferPool& pool, CoreCounters& counters) {
    return std::make_unique<UringBackend>(uring, pool, counters);
  });
}

}  // namespace weir::bench
