// UringBackend: Backend on a real io_uring; one per shard, made on the shard's own thread (SINGLE_ISSUER).
// One io_uring_enter a turn submits everything (of kBulk receives a share), waits and reaps; the wait's
// timeout rides in it, so timers cost no submission. Receives take buffers from one of two provided rings,
// request heads and bodies: each a shallow window on the shard's pool (64 buffers, growing to 1024 while
// bursts exhaust it), refilled once a turn from the pool's LIFO stack, the bodies' only while the reserve is
// free. Sizes: the submission ring bounds what one turn submits (the rest stays pending); the completion ring
// holds more than all ops of the connection limit, and turns in which it overflowed are counted all the same.
// Errors: construction ends the process with a sentence only if the probe succeeded before (uring_probe.h),
// so main probes first.
#pragma once

#include <cstdint>

#include "core/backend.h"
#include "core/buffer.h"
#include "core/stats.h"
#include "core/uring_probe.h"

struct io_uring_params;
struct io_uring_sqe;
struct io_uring_cqe;

namespace weir {

class UringBackend final : public Backend {
 public:
  struct Options {
    UringFeatures features;
    uint32_t submissions = 4096;   // power of two
    uint32_t completions = 32768;  // power of two
  };

  UringBackend(const Options& options, BufferPool& pool, CoreCounters& counters);
  ~UringBackend() override;

  Now ReadClock() override;
  void Turn(const Batch& batch) override;
  void Cancel(Op& op, OpList& pending, ReadyList& ready) override;
  void Trim(uint32_t pieces) override;
  bool ReceivesWait() const override { return !starved_[kHeads].empty() || !starved_[kBodies].empty(); }
  int DoorbellFd() const override { return ring_fd_; }

  int OpenStream(uint16_t family) override;
  int SetTcp(int fd, const TcpOptions& options, const TcpOptions& before) override;
  int BindSource(int fd, const SocketAddress& source) override;
  int BeginSplice(int fd) override;
  int OpenPipe(Pipe& pipe, uint32_t bytes) override;
  void ClosePipe(Pipe& pipe) override;
  int Listen(SocketAddress& address, const ListenOptions& options) override;
  int AcceptNow(int listener_fd) override;
  int RefuseNewHandshakes(int listener_fd) override;
  int PeerAddress(int fd, SocketAddress& address) override;
  int LocalAddress(int fd, SocketAddress& address) override;
  int64_t AcknowledgedBytes(int fd) override;
  bool HasBytes(int fd) override;
  int Shutdown(int fd, Direction direction) override;
  void Close(int fd) override;
  void CloseWithReset(int fd) override;
  int TakeSignal(int signal_fd) override;

 private:
  static constexpr uint32_t kBufferEntries = 1024;
  static constexpr uint32_t kFirstWindow = 64;
  static constexpr uint32_t kRefillsUntilQuiet = 65'536;
  static constexpr uint32_t kConnectScratch = 64;
  // Unix connects that found the listener's queue full: how often they try again, and how many at a time.
  static constexpr int64_t kBusyRetryNs = 5 * kNsPerMs;
  static constexpr uint32_t kBusyTries = 32;
  static constexpr uint32_t kBulkPerTurn = 4;
  static constexpr uint32_t kSplicesPerTurn = 4;
  // After so many pieces (half a megabyte) a connection lets the others go first.
  static constexpr uint32_t kBulkRun = 16;

  // A ring of buffers that the kernel may receive into. Two, because an armed receive takes its buffer only
  // when bytes come: armed bodies could otherwise eat what is reserved for heads.
  struct Window {
    void* ring = nullptr;
    uint32_t size = kFirstWindow;
    uint32_t most = 0;          // share of the pool
    uint32_t provided = 0;      // buffers the kernel holds
    uint64_t tail = 0;          // provided ever; the ring's own counter is its low 16 bits
    uint64_t tail_at_trim = 0;  // what was provided before that and is still here lies idle
  };
  static constexpr uint16_t kHeads = 0;  // index and buffer group
  static constexpr uint16_t kBodies = 1;
  static uint16_t WindowOf(const Op& op) { return (op.flags & Op::kBody) != 0 ? kBodies : kHeads; }

  void MapRings(const io_uring_params& params);
  void RegisterBuffers();
  void RefillBuffers();
  io_uring_sqe* NextSqe();
  void FlushSubmissions();
  bool Prepare(Op& op, ReadyList& ready);
  void ConnectUnixNow(Op& op, ReadyList& ready);
  void RetryBusyConnects(ReadyList& ready);
  void Finish(Op& op, int32_t result, ReadyList& ready);
  bool Complete(const io_uring_cqe& cqe, ReadyList& ready);
  void RetryStarved(OpList& pending);
  static void SortOutCancelled(OpList& list, OpList& pending);
  bool RunSplices(ReadyList& ready);

  Options options_;
  BufferPool& pool_;
  CoreCounters& counters_;
  int ring_fd_ = -1;
  int enter_fd_ = -1;  // registered index, or ring_fd_
  unsigned enter_flags_ = 0;

  void* ring_memory_ = nullptr;
  size_t ring_bytes_ = 0;
  io_uring_sqe* sqes_ = nullptr;
  size_t sqe_bytes_ = 0;
  uint32_t* sq_head_ = nullptr;
  uint32_t* sq_tail_ = nullptr;
  uint32_t* sq_flags_ = nullptr;
  uint32_t sq_mask_ = 0;
  uint32_t sq_entries_ = 0;
  uint32_t sq_next_ = 0;  // our tail, published before the enter
  uint32_t* cq_head_ = nullptr;
  uint32_t* cq_tail_ = nullptr;
  uint32_t* cq_overflow_ = nullptr;
  uint32_t cq_mask_ = 0;
  io_uring_cqe* cqes_ = nullptr;

  Window windows_[2];
  bool low_ = false;
  uint32_t refills_ = 0;
  int64_t wall_offset_ns_ = 0;
  int64_t wall_again_ns_ = 0;
  OpList starved_[2];  // by window
  OpList bulk_;        // pending receives with kBulk, the next one first
  bool bulk_cancelled_ = false;
  OpList splices_;  // pending kPass and kDrain, in order
  bool splices_cancelled_ = false;
  OpList cancels_;
  OpList busy_;  // pending unix connects whose listener's queue is full, the next one first
  bool busy_cancelled_ = false;
  int64_t busy_again_ns_ = 0;
  uint32_t connects_ = 0;
  sockaddr_storage connect_scratch_[kConnectScratch];
};

}  // namespace weir
