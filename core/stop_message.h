// StopMessage: ends the shard that it comes to; for tests with threads.
#pragma once

#include "core/mailbox.h"
#include "core/shard.h"

namespace weir {

struct StopMessage : Message {
  StopMessage() {
    deliver = [](Message*, Shard& receiver) { receiver.Stop(); };
  }
};

}  // namespace weir
