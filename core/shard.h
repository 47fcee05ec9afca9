// Shard: a thread's event machine: a ring, pools and a clock. Nothing mutable is shared between shards; they
// exchange messages (mailbox.h) and read each other's counters (stats.h). Made, used and destroyed on its own
// thread.
//
// Everything happens in a turn, in this order:
//   1. mailboxes    what other shards ask is older than what this turn will find
//   2. due timers   before the ready list: their owners see a deadline and fresh data in one resume, and data
//   wins
//   3. ready list   bounded, so that a busy shard still enters the kernel, where deferred completions run
//   4. the backend  one system call: submit all that is new, wait if nothing is left to do, reap
// Nothing runs inside a completion: 4 only fills the ready list.
//
// The shard's clock stands still while the shard does (kStallNs and more late for its turn: the process or
// the machine was stopped, the processor was taken away). A deadline is a peer's time to answer: what the
// peer sent meanwhile is looked at before anything is called late.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "core/arena.h"
#include "core/backend.h"
#include "core/buffer.h"
#include "core/pipe.h"
#include "core/random.h"
#include "core/stats.h"
#include "core/switchboard.h"
#include "core/task.h"
#include "core/timer_wheel.h"

namespace weir {

class Shard {
 public:
  struct Options {
    uint32_t index = 0;
    uint64_t seed = 1;
    size_t arena_bytes = size_t{64} << 20;
    uint32_t buffers = 1024;
    uint32_t pipes = 16;  // at most
  };
  using MakeBackend = std::function<std::unique_ptr<Backend>(BufferPool&, CoreCounters&)>;

  Shard(const Options& options, Switchboard& switchboard, const MakeBackend& make_backend);
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  // The shard whose turn this thread is in.
  static Shard& Current();

  // One turn. With `may_wait`, waits for something to do.
  void RunTurn(bool may_wait);
  // Turns until Stop.
  void Run() {
    while (!stopped_) RunTurn(true);
  }
  void Stop() { stopped_ = true; }
  bool stopped() const { return stopped_; }
  // Makes this the thread's current shard while alive (construction and destruction of what lives on the
  // shard).
  class Enter;

  void Start(Op& op) {
    WEIR_CHECK(!op.busy());
    op.state = Op::State::kPending;
    op.flags &= static_cast<uint8_t>(~(Op::kCancelAsked | Op::kMoreHere));
    if (op.kind == Op::Kind::kReceive) op.buffer = nullptr;
    pending_.PushBack(&op);
  }
  void Cancel(Op& op) {
    if (op.busy()) backend_->Cancel(op, pending_, ready_);
  }
  void Wake(Runnable* runnable) { ready_.PushBack(runnable); }
  // For an owner that ends while it may still be queued.
  void Forget(Runnable& runnable) { ready_.Remove(&runnable); }
  void SetTimer(Timer& timer, uint32_t delay_ms) { wheel_.Set(timer, delay_ms); }
  void ClearTimer(Timer& timer) { wheel_.Clear(timer); }

  // Sends `message` (owned by this shard until it comes back) to another shard.
  void Post(uint32_t to, Message* message);

  uint32_t index() const { return options_.index; }
  // This turn's time: monotonic, less what the shard stood still. Only this shard's: never compared with
  // another's.
  int64_t now_ns() const { return now_.mono_ns; }
  int64_t wall_ms() const { return now_.wall_ms; }
  Backend& backend() { return *backend_; }
  Arena& arena() { return arena_; }
  BufferPool& buffers() { return buffers_; }
  PipePool& pipes() { return pipes_; }
  Random& random() { return random_; }
  CoreCounters& counters() { return counters_; }
  const CoreCounters& counters() const { return counters_; }
  Switchboard& switchboard() { return switchboard_; }
  TimerWheel& wheel() { return wheel_; }
  bool idle() const { return ready_.empty() && pending_.empty(); }

  // What the product keeps per shard (lb); not owned.
  void* tenant = nullptr;

 private:
  static constexpr uint32_t kMaxTimersPerTurn = 1024;
  static constexpr uint32_t kMaxRunsPerTurn = 4096;
  static constexpr uint32_t kTrimIntervalMs = 1000;
  static constexpr int64_t kStallNs = 200 * kNsPerMs;
  static constexpr int64_t kToldStallNs = kNsPerSecond;
  static constexpr uint32_t kTrimPieces = 256;  // at ~0.3 us each

  struct Outgoing {
    Message* first = nullptr;  // overflow, oldest first
    Message* last = nullptr;
    bool ring_doorbell = false;
    Op doorbell;
  };

  // What time it is for one who would have asked at `by_ns` at the latest, had it not stood still.
  Now ReadClock(int64_t by_ns);
  void ReceiveMail();
  void FlushMail();
  void PushTo(uint32_t to, Message* message);
  void OnTrim();

  Options options_;
  Switchboard& switchboard_;
  CoreCounters counters_;
  Arena arena_;
  BufferPool buffers_;
  std::unique_ptr<Backend> backend_;
  PipePool pipes_;
  Now now_;
  int64_t stalled_ns_ = 0;   // how far the shard's clock is behind the backend's
  int64_t due_ns_ = kNever;  // when the next turn begins at the latest
  TimerWheel wheel_;
  Random random_;
  ReadyList ready_;
  OpList pending_;
  bool stopped_ = false;
  bool mail_out_ = false;  // something in outgoing_ wants attention
  std::unique_ptr<Outgoing[]> outgoing_;
  Timer trim_timer_;
  struct TrimRunnable : Runnable {
    explicit TrimRunnable(Shard* shard);
    Shard* shard;
  } trim_runnable_;
};

class Shard::Enter {
 public:
  explicit Enter(Shard& shard);
  ~Enter();

 private:
  Shard* previous_;
  Arena* previous_arena_;
};

}  // namespace weir
