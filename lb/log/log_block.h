// LogBlock: a piece of the access log on its way from a shard to the file and back home (access_log.h,
// log_writer.h).
#pragma once

#include <cstdint>

#include "core/mailbox.h"

namespace weir::lb {

class AccessLog;
class LogWriter;

struct LogBlock : Message {
  static constexpr uint32_t kBytes = 64 * 1024;

  AccessLog* log = nullptr;
  LogWriter* writer = nullptr;
  LogBlock* next_block = nullptr;  // the log's free list, then the writer's queue
  uint32_t shard = 0;              // where it belongs
  uint32_t length = 0;             // whole lines
  uint32_t lines = 0;
  char* data = nullptr;  // kBytes
};

}  // namespace weir::lb
