// Where coroutine frames come from: the arena of the shard this thread is running, so a frame costs no lock
// and a burst's frames are given back. A frame above Arena::kSmallBytes is a design error and is refused by
// an assertion. Out of memory (the arena's bound) ends the process with a sentence: the bound is a sum over
// the connection limit (limits.h), so reaching it is our bug.
#pragma once

#include <cstddef>

namespace weir {

class Arena;

void* AllocateFrame(size_t bytes);
void FreeFrame(void* frame, size_t bytes);

// The arena of the current thread; set by Shard for as long as it runs.
void SetFrameArena(Arena* arena);
Arena* FrameArena();

// Largest frame seen and number of live frames, on this thread (the frame budget table).
struct FrameStats {
  size_t largest_bytes = 0;
  size_t live = 0;
};
const FrameStats& FrameStatistics();

}  // namespace weir
