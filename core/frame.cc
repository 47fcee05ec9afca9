#include "core/frame.h"

#include "core/arena.h"
#include "core/check.h"

namespace weir {
namespace {

constinit thread_local Arena* frame_arena = nullptr;
constinit thread_local FrameStats frame_stats;

}  // namespace

void* AllocateFrame(size_t bytes) {
  WEIR_CHECK(frame_arena != nullptr);
  WEIR_CHECK(bytes <= Arena::kSmallBytes);
  void* frame = frame_arena->Allocate(bytes);
  WEIR_CHECK(frame != nullptr);
  if (bytes > frame_stats.largest_bytes) frame_stats.largest_bytes = bytes;
  ++frame_stats.live;
  return frame;
}

void FreeFrame(void* frame, size_t /*bytes*/) {
  WEIR_CHECK(frame_arena != nullptr);
  --frame_stats.live;
  frame_arena->Free(frame);
}

void SetFrameArena(Arena* arena) { frame_arena = arena; }
Arena* FrameArena() { return frame_arena; }
const FrameStats& FrameStatistics() { return frame_stats; }

}  // namespace weir
