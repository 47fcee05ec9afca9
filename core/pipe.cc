#include "core/pipe.h"

#include <algorithm>

#include "core/backend.h"

namespace weir {

PipePool::PipePool(Backend& backend, CoreCounters& counters, uint32_t most)
    : backend_(backend), counters_(counters), most_(most), pipes_(std::make_unique<Pipe[]>(most)) {
  for (uint32_t i = most; i > 0; --i) {
    pipes_[i - 1].next = closed_;
    closed_ = &pipes_[i - 1];
  }
}

void PipePool::CloseAll() {
  for (uint32_t i = 0; i < most_; ++i) {
    if (pipes_[i].read_fd >= 0) Close(&pipes_[i]);
  }
  free_ = nullptr;
  free_count_ = least_free_ = 0;
}

Pipe* PipePool::Take(int64_t now_ns) {
  if (free_ != nullptr) {
    Pipe* pipe = free_;
    free_ = pipe->next;
    pipe->next = nullptr;
    --free_count_;
    least_free_ = std::min(least_free_, free_count_);
    return pipe;
  }
  if (closed_ == nullptr || now_ns < ask_again_ns_) return nullptr;
  Pipe* pipe = closed_;
  if (backend_.OpenPipe(*pipe, kPipeBytes) != 0) {
    counters_.pipes_refused.Add();
    ask_again_ns_ = now_ns + kAskAgainNs;
    return nullptr;
  }
  closed_ = pipe->next;
  pipe->next = nullptr;
  counters_.pipes_open.Set(++open_);
  if (pipe->capacity < kPipeBytes) counters_.pipes_small.Add();
  return pipe;
}

void PipePool::GiveBack(Pipe* pipe) {
  WEIR_CHECK(!pipe->given_up);
  if (pipe->busy) {
    pipe->given_up = true;
    return;
  }
  if (pipe->bytes > 0) {
    Close(pipe);
    return;
  }
  pipe->next = free_;
  free_ = pipe;
  ++free_count_;
}

void PipePool::OpDone(Pipe* pipe) {
  WEIR_CHECK(pipe->busy);
  pipe->busy = false;
  if (pipe->given_up) Close(pipe);
}

void PipePool::Trim() {
  for (uint32_t i = least_free_; i > 0; --i) {
    Pipe* pipe = free_;
    free_ = pipe->next;
    --free_count_;
    Close(pipe);
  }
  least_free_ = free_count_;
}

void PipePool::Close(Pipe* pipe) {
  backend_.ClosePipe(*pipe);
  *pipe = Pipe();
  pipe->next = closed_;
  closed_ = pipe;
  counters_.pipes_open.Set(--open_);
}

}  // namespace weir
