// What the real kernel does with pipes (pipe.h). None blocks, on sockets after StopBlocking. Errors: -errno.
#pragma once

#include <cstdint>

#include "core/pipe.h"

namespace weir {

// For splice(2), which asks the socket and not its caller whether to wait. The ring's own requests wait for
// readiness as before.
int StopBlocking(int fd);
// Sets the descriptors and the capacity: `bytes`, or what the system grants.
int OpenKernelPipe(Pipe& pipe, uint32_t bytes);
int32_t SpliceOnce(int from_fd, int to_fd, uint32_t bytes);
// Op::Kind::kPass.
int32_t PassThrough(int from_fd, Pipe& pipe, uint32_t bytes);

}  // namespace weir
