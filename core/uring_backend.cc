#include "core/uring_backend.h"

#include <poll.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "core/pipe.h"
#include "core/socket_calls.h"
#include "core/splice_calls.h"
#include "core/uring_abi.h"

namespace weir {
namespace {

template <class T>
T LoadAcquire(T* at) {
  return std::atomic_ref<T>(*at).load(std::memory_order_acquire);
}
template <class T>
void StoreRelease(T* at, T value) {
  std::atomic_ref<T>(*at).store(value, std::memory_order_release);
}

template <class T>
T* At(void* base, uint32_t offset) {
  return reinterpret_cast<T*>(static_cast<char*>(base) + offset);
}

// Work of the turn itself, which needs the ring only to wait.
bool MovesAtOnce(const Op& op) {
  if ((op.flags & Op::kCancelAsked) != 0) return false;
  return op.kind == Op::Kind::kPass || (op.kind == Op::Kind::kDrain && (op.flags & Op::kPollFirst) == 0);
}

}  // namespace

UringBackend::UringBackend(const Options& options, BufferPool& pool, CoreCounters& counters)
    : options_(options), pool_(pool), counters_(counters) {
  io_uring_params params{};
  params.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL;
  if (options.features.defer_taskrun) {
    params.flags |= IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN;
  }
  if (options.features.no_sqarray) params.flags |= uring::kSetupNoSqArray;
  params.cq_entries = options.completions;
  ring_fd_ = uring::Setup(options.submissions, &params);
  if (ring_fd_ < 0) {
    std::fprintf(stderr, "weir: %s\n", ExplainUringError(errno).c_str());
    std::exit(1);
  }
  MapRings(params);
  RegisterBuffers();
  // A registered ring descriptor saves the file lookup of each enter.
  io_uring_rsrc_update update{};
  update.offset = UINT32_MAX;
  update.data = static_cast<uint64_t>(ring_fd_);
  enter_fd_ = ring_fd_;
  if (uring::Register(ring_fd_, IORING_REGISTER_RING_FDS, &update, 1) == 1) {
    enter_fd_ = static_cast<int>(update.offset);
    enter_flags_ = IORING_ENTER_REGISTERED_RING;
  }
}

UringBackend::~UringBackend() {
  for (OpList* list : {&bulk_, &busy_}) {
    while (!list->empty()) list->PopFront()->state = Op::State::kIdle;
  }
  for (const Window& window : windows_) munmap(window.ring, kBufferEntries * sizeof(io_uring_buf));
  if (sqes_ != nullptr) munmap(sqes_, sqe_bytes_);
  if (ring_memory_ != nullptr) munmap(ring_memory_, ring_bytes_);
  if (enter_flags_ != 0) {
    io_uring_rsrc_update update{};
    update.offset = static_cast<uint32_t>(enter_fd_);
    uring::Register(ring_fd_, IORING_UNREGISTER_RING_FDS, &update, 1);
  }
  close(ring_fd_);
}

void UringBackend::MapRings(const io_uring_params& params) {
  WEIR_CHECK((params.features & IORING_FEAT_SINGLE_MMAP) != 0);
  WEIR_CHECK((params.features & IORING_FEAT_NODROP) != 0);
  WEIR_CHECK((params.features & IORING_FEAT_EXT_ARG) != 0);
  ring_bytes_ = std::max<size_t>(params.sq_off.array + params.sq_entries * sizeof(uint32_t),
                                 params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe));
  ring_memory_ = mmap(nullptr, ring_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring_fd_,
                      IORING_OFF_SQ_RING);
  sqe_bytes_ = params.sq_entries * sizeof(io_uring_sqe);
  void* sqes =
      mmap(nullptr, sqe_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring_fd_, IORING_OFF_SQES);
  if (ring_memory_ == MAP_FAILED || sqes == MAP_FAILED) {
    std::fprintf(stderr, "weir: %s\n", ExplainUringError(ENOMEM).c_str());
    std::exit(1);
  }
  sqes_ = static_cast<io_uring_sqe*>(sqes);
  sq_head_ = At<uint32_t>(ring_memory_, params.sq_off.head);
  sq_tail_ = At<uint32_t>(ring_memory_, params.sq_off.tail);
  sq_flags_ = At<uint32_t>(ring_memory_, params.sq_off.flags);
  sq_entries_ = params.sq_entries;
  sq_mask_ = params.sq_entries - 1;
  cq_head_ = At<uint32_t>(ring_memory_, params.cq_off.head);
  cq_tail_ = At<uint32_t>(ring_memory_, params.cq_off.tail);
  cq_overflow_ = At<uint32_t>(ring_memory_, params.cq_off.overflow);
  cq_mask_ = params.cq_entries - 1;
  cqes_ = At<io_uring_cqe>(ring_memory_, params.cq_off.cqes);
  if (!options_.features.no_sqarray) {
    uint32_t* array = At<uint32_t>(ring_memory_, params.sq_off.array);
    for (uint32_t i = 0; i < sq_entries_; ++i) array[i] = i;
  }
}

void UringBackend::RegisterBuffers() {
  WEIR_CHECK(pool_.count() >= 8);  // both windows and the reserve need some
  windows_[kHeads].most = pool_.count() / 4;
  windows_[kBodies].most = pool_.count() / 2;
  for (uint16_t group : {kHeads, kBodies}) {
    Window& window = windows_[group];
    window.ring = mmap(nullptr, kBufferEntries * sizeof(io_uring_buf), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    WEIR_CHECK(window.ring != MAP_FAILED);
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<uint64_t>(window.ring);
    registration.ring_entries = kBufferEntries;
    registration.bgid = group;
    WEIR_CHECK(uring::Register(ring_fd_, IORING_REGISTER_PBUF_RING, &registration, 1) == 0);
  }
  RefillBuffers();
}

void UringBackend::RefillBuffers() {
  const bool quiet = ++refills_ % kRefillsUntilQuiet == 0;
  for (Window& window : windows_) {
    // What a burst needed is not kept for ever: fewer buffers in turn stay warmer in the cache.
    if (quiet && window.size > kFirstWindow) window.size /= 2;
    const uint32_t target = std::min(window.size, window.most);
    if (window.provided >= target) continue;
    const uint32_t least = &window == &windows_[kBodies] ? std::max(pool_.reserve(), 1u) : 1;
    while (window.provided < target && pool_.free_count() >= least) {
      Buffer* buffer = pool_.Take();
      buffer->with_kernel = true;
      auto* entry = static_cast<io_uring_buf*>(window.ring) + (window.tail & (kBufferEntries - 1));
      entry->addr = reinterpret_cast<uint64_t>(buffer->data);
      entry->len = buffer->capacity;
      entry->bid = buffer->index;
      ++window.tail;
      ++window.provided;
    }
    StoreRelease(uring::BufferRingTail(window.ring), static_cast<uint16_t>(window.tail));
  }
  const bool low = pool_.free_count() < pool_.reserve();
  if (low && !low_) counters_.buffer_low_water.Add();
  low_ = low;
}

// After a burst many buffers lie in the kernel's hands that nobody needs for now: their pages go back, they
// stay where they are. Only while the kernel's own count says that it has handed out nothing but what we have
// seen completed: a receive that went to a worker thread (when the kernel lacked memory to arm it) takes its
// buffer long before it completes, and out of order. Kernels that cannot tell (before 6.8) keep the pages.
void UringBackend::Trim(uint32_t pieces) {
  if (!options_.features.ring_status) return;
  for (const uint16_t group : {kHeads, kBodies}) {
    Window& window = windows_[group];
    const uint64_t first = window.tail - window.provided;
    uring::BufferRingStatus status{};
    status.group = group;
    const bool known = uring::Register(ring_fd_, uring::kRegisterBufferRingStatus, &status, 1) == 0 &&
                       static_cast<uint16_t>(status.head) == static_cast<uint16_t>(first);
    for (uint64_t at = first; known && at < window.tail_at_trim && pieces > 0; ++at) {
      const auto* entry = static_cast<const io_uring_buf*>(window.ring) + (at & (kBufferEntries - 1));
      Buffer* buffer = pool_.at(entry->bid);
      if (buffer->with_kernel && pool_.GiveBack(buffer)) --pieces;
    }
    window.tail_at_trim = window.tail;
  }
}

Now UringBackend::ReadClock() {
  timespec mono;
  clock_gettime(CLOCK_MONOTONIC, &mono);
  Now now;
  now.mono_ns = mono.tv_sec * kNsPerSecond + mono.tv_nsec;
  // The wall clock is asked ten times a second and carried on in between: two readings a turn would show in a
  // profile.
  if (now.mono_ns >= wall_again_ns_) {
    timespec wall;
    clock_gettime(CLOCK_REALTIME_COARSE, &wall);
    wall_offset_ns_ = wall.tv_sec * kNsPerSecond + wall.tv_nsec - now.mono_ns;
    wall_again_ns_ = now.mono_ns + kNsPerSecond / 10;
  }
  now.wall_ms = (now.mono_ns + wall_offset_ns_) / kNsPerMs;
  return now;
}

void UringBackend::FlushSubmissions() {
  const uint32_t submit = sq_next_ - LoadAcquire(sq_head_);
  StoreRelease(sq_tail_, sq_next_);
  const int entered = uring::Enter(enter_fd_, submit, 0, enter_flags_, nullptr, 0);
  if (entered > 0) counters_.ops_submitted.Add(static_cast<uint32_t>(entered));
  if (sq_next_ == LoadAcquire(sq_head_)) connects_ = 0;
}

io_uring_sqe* UringBackend::NextSqe() {
  if (sq_next_ - LoadAcquire(sq_head_) == sq_entries_) {
    FlushSubmissions();
    if (sq_next_ - LoadAcquire(sq_head_) == sq_entries_) return nullptr;
  }
  io_uring_sqe* sqe = &sqes_[sq_next_ & sq_mask_];
  std::memset(sqe, 0, sizeof(*sqe));
  return sqe;
}

bool UringBackend::Prepare(Op& op, ReadyList& ready) {
  if ((op.flags & Op::kCancelAsked) != 0) {
    Finish(op, -ECANCELED, ready);
    return true;
  }
  if (op.kind == Op::Kind::kConnect && op.address->is_unix()) {
    ConnectUnixNow(op, ready);
    return true;
  }
  // The kernel copies an address while it submits: the scratch is free again after each enter.
  if (op.kind == Op::Kind::kConnect && connects_ == kConnectScratch) FlushSubmissions();
  io_uring_sqe* sqe = NextSqe();
  if (sqe == nullptr || (op.kind == Op::Kind::kConnect && connects_ == kConnectScratch)) return false;
  sqe->fd = op.fd;
  sqe->user_data = reinterpret_cast<uint64_t>(&op);
  switch (op.kind) {
    case Op::Kind::kReceive:
      sqe->opcode = IORING_OP_RECV;
      sqe->flags = IOSQE_BUFFER_SELECT;
      sqe->buf_group = WindowOf(op);
      if ((op.flags & Op::kPollFirst) != 0) sqe->ioprio = IORING_RECVSEND_POLL_FIRST;
      if ((op.flags & Op::kStay) != 0 && options_.features.receive_limit) {
        sqe->ioprio |= IORING_RECV_MULTISHOT;
        // The kernel hands out all that is there before anybody here has a look.
        uring::LimitReceive(*sqe, Op::kStayBytes);
      }
      break;
    case Op::Kind::kSend:
      sqe->opcode = IORING_OP_SEND;
      sqe->addr = reinterpret_cast<uint64_t>(op.data);
      sqe->len = op.length;
      sqe->msg_flags = MSG_WAITALL | MSG_NOSIGNAL;
      break;
    case Op::Kind::kGather:
      sqe->opcode = IORING_OP_SENDMSG;
      sqe->addr = reinterpret_cast<uint64_t>(op.message);
      sqe->len = 1;
      sqe->msg_flags = MSG_WAITALL | MSG_NOSIGNAL;
      break;
    case Op::Kind::kConnect: {
      sockaddr_storage* storage = &connect_scratch_[connects_];
      ++connects_;
      sqe->opcode = IORING_OP_CONNECT;
      sqe->off = op.address->ToSockaddr(storage);
      sqe->addr = reinterpret_cast<uint64_t>(storage);
      break;
    }
    case Op::Kind::kReadable:
    case Op::Kind::kDrain:  // which found no room
      sqe->opcode = IORING_OP_POLL_ADD;
      sqe->poll32_events = op.kind == Op::Kind::kDrain ? POLLOUT : POLLIN;
      break;
    case Op::Kind::kWrite:
      sqe->opcode = IORING_OP_WRITE;
      sqe->addr = reinterpret_cast<uint64_t>(op.data);
      sqe->len = op.length;
      sqe->off = UINT64_MAX;  // the file's own position
      break;
    case Op::Kind::kAccept:
      sqe->opcode = IORING_OP_ACCEPT;
      sqe->ioprio = IORING_ACCEPT_MULTISHOT;
      sqe->accept_flags = SOCK_CLOEXEC;
      break;
    case Op::Kind::kPoll:
      sqe->opcode = IORING_OP_POLL_ADD;
      sqe->len = IORING_POLL_ADD_MULTI;
      sqe->poll32_events = op.length;
      break;
    case Op::Kind::kDoorbell:
      sqe->opcode = IORING_OP_MSG_RING;
      sqe->fd = op.peer->DoorbellFd();
      sqe->addr = IORING_MSG_DATA;
      sqe->off = 0;  // the user_data the receiver sees: nothing to finish, it only wakes
      break;
    case Op::Kind::kPass:
    case Op::Kind::kNone:
      WEIR_CHECK(false);
  }
  ++sq_next_;
  op.state = Op::State::kInFlight;
  return true;
}

// A unix socket connects at once, or never by waiting on the socket: where the listener's queue is full, the
// ring would try 128 times and then give each connect a kernel thread to wait on.
void UringBackend::ConnectUnixNow(Op& op, ReadyList& ready) {
  const bool in_line = !busy_.empty() && *busy_.front()->address == *op.address;
  const int result = in_line ? -EAGAIN : ConnectUnix(op.fd, *op.address);
  if (result == -EAGAIN) {
    busy_.PushBack(&op);
  } else {
    Finish(op, result, ready);
  }
}

// Some of those who wait, in turn: whose listener is still busy goes to the end.
void UringBackend::RetryBusyConnects(ReadyList& ready) {
  OpList waiting;
  std::swap(waiting, busy_);
  if (busy_cancelled_) {
    busy_cancelled_ = false;
    OpList kept;
    while (!waiting.empty()) {
      Op* op = waiting.PopFront();
      if ((op->flags & Op::kCancelAsked) != 0) {
        Finish(*op, -ECANCELED, ready);
      } else {
        kept.PushBack(op);
      }
    }
    waiting = kept;
  }
  OpList still_busy;
  for (uint32_t tries = kBusyTries; tries > 0 && !waiting.empty(); --tries) {
    Op* op = waiting.PopFront();
    // Mostly all wait for the same listener: one failure, which costs the kernel a socket, tells for all.
    const Op* const last_busy = still_busy.back();
    const bool known = last_busy != nullptr && *last_busy->address == *op->address;
    const int result = known ? -EAGAIN : ConnectUnix(op->fd, *op->address);
    if (result == -EAGAIN) {
      still_busy.PushBack(op);
    } else {
      Finish(*op, result, ready);
    }
  }
  busy_ = waiting;
  busy_.Append(still_busy);
}

void UringBackend::Finish(Op& op, int32_t result, ReadyList& ready) {
  if ((op.flags & Op::kCancelAsked) != 0) cancels_.Remove(&op);
  op.result = result;
  op.state = Op::State::kDone;
  counters_.completions.Add();
  if (op.waiter != nullptr) ready.PushBack(op.waiter);
}

bool UringBackend::Complete(const io_uring_cqe& cqe, ReadyList& ready) {
  if (cqe.user_data == 0) return true;  // a cancel's own answer, or somebody rang our doorbell
  Op& op = *reinterpret_cast<Op*>(cqe.user_data);
  WEIR_CHECK(op.state == Op::State::kInFlight);
  if ((op.flags & Op::kSource) != 0) {
    Source& source = static_cast<Source&>(op);
    if (cqe.res >= 0) {
      if (source.full()) return false;
      source.Push(cqe.res);
      counters_.completions.Add();
      if (op.waiter != nullptr) ready.PushBack(op.waiter);
    }
    if ((cqe.flags & IORING_CQE_F_MORE) == 0) Finish(op, cqe.res, ready);
    return true;
  }
  if (op.kind == Op::Kind::kDrain && cqe.res >= 0 && (op.flags & Op::kCancelAsked) == 0) {
    op.state = Op::State::kPending;  // there is room now
    op.flags &= static_cast<uint8_t>(~Op::kPollFirst);
    splices_.PushBack(&op);
    return true;
  }
  if (op.kind != Op::Kind::kReceive) {
    // What a poll found out is in its result; to its owner it is one thing.
    const bool polled = op.kind == Op::Kind::kReadable || op.kind == Op::Kind::kDrain;
    Finish(op, !polled || cqe.res < 0 ? cqe.res : op.kind == Op::Kind::kReadable ? 1 : -ECANCELED, ready);
    return true;
  }
  Window& window = windows_[WindowOf(op)];
  uint32_t waiting = op.buffer == nullptr ? 0 : 1;
  if ((cqe.flags & IORING_CQE_F_BUFFER) != 0) {
    Buffer* buffer = pool_.at(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
    --window.provided;
    buffer->with_kernel = false;
    buffer->resident = true;  // Trim may have given its pages back since it was provided
    if (cqe.res > 0) {
      waiting = op.PushReceived(buffer, static_cast<uint32_t>(cqe.res));
    } else {
      BufferPool::Release(buffer);
    }
  }
  op.flags &= static_cast<uint8_t>(~Op::kMoreHere);
  if ((cqe.flags & IORING_CQE_F_SOCK_NONEMPTY) != 0) op.flags |= Op::kMoreHere;
  if ((cqe.flags & IORING_CQE_F_MORE) != 0) {
    counters_.completions.Add();
    if (op.waiter != nullptr) ready.PushBack(op.waiter);
    if (waiting >= Op::kMostWaiting && (op.flags & Op::kCancelAsked) == 0) {
      op.flags |= Op::kCancelAsked;
      cancels_.PushBack(&op);
    }
    return true;
  }
  if (cqe.res == -ENOBUFS) {
    // The window was too shallow for this burst, or the pool is empty: the op waits its turn.
    if (pool_.free_count() > pool_.reserve()) window.size = std::min(window.size * 2, kBufferEntries);
    counters_.buffers_exhausted.Add();
    if (waiting == 0 && (op.flags & Op::kCancelAsked) == 0) {
      op.flags |= Op::kStarved;
      starved_[WindowOf(op)].PushBack(&op);
      return true;
    }
  }
  Finish(op, cqe.res == -ENOBUFS ? -ECANCELED : cqe.res, ready);
  return true;
}

void UringBackend::RetryStarved(OpList& pending) {
  OpList again;
  for (const uint16_t group : {kHeads, kBodies}) {
    // No more than find a buffer: who waits costs nothing in the turns in which nothing comes back.
    for (uint32_t room = windows_[group].provided; room > 0 && !starved_[group].empty(); --room) {
      Op* op = starved_[group].PopFront();
      op->flags &= static_cast<uint8_t>(~(Op::kStarved | Op::kPollFirst | Op::kBulk));
      op->state = Op::State::kPending;
      again.PushBack(op);
    }
  }
  // Ahead of what was started since: first come, first served.
  again.Append(pending);
  pending = again;
}

void UringBackend::Cancel(Op& op, OpList& pending, ReadyList& /*ready*/) {
  if ((op.flags & Op::kCancelAsked) != 0) return;
  op.flags |= Op::kCancelAsked;
  if (op.state == Op::State::kPending) {  // ends when the turn comes to it
    bulk_cancelled_ |= (op.flags & Op::kBulk) != 0;
    splices_cancelled_ |= op.kind == Op::Kind::kPass || op.kind == Op::Kind::kDrain;
    busy_cancelled_ |= op.kind == Op::Kind::kConnect;
    return;
  }
  if ((op.flags & Op::kStarved) != 0) {
    WEIR_CHECK(starved_[WindowOf(op)].Remove(&op));
    op.flags &= static_cast<uint8_t>(~Op::kStarved);
    op.state = Op::State::kPending;
    pending.PushBack(&op);
    return;
  }
  cancels_.PushBack(&op);
}

// Once a turn at most, however many were cancelled.
void UringBackend::SortOutCancelled(OpList& list, OpList& pending) {
  OpList kept;
  while (!list.empty()) {
    Op* op = list.PopFront();
    ((op->flags & Op::kCancelAsked) != 0 ? pending : kept).PushBack(op);
  }
  list = kept;
}

// Some of those that wait, in order, so that bulk does not own the turn. False: the submission ring is full.
bool UringBackend::RunSplices(ReadyList& ready) {
  for (uint32_t left = kSplicesPerTurn; left > 0 && !splices_.empty(); --left) {
    Op* op = splices_.PopFront();
    Pipe& pipe = *op->pipe;
    int32_t result = 0;
    if (op->kind == Op::Kind::kPass) {
      result = PassThrough(op->fd, pipe, op->length);
      if (result > 0) {
        counters_.passes.Add();
        counters_.passed_bytes.Add(static_cast<uint32_t>(result));
      }
    } else {
      result = SpliceOnce(pipe.read_fd, op->fd, op->length);
      if (result == -EAGAIN) {
        if (Prepare(*op, ready)) continue;
        splices_.PushFront(op);
        return false;
      }
    }
    Finish(*op, result, ready);
  }
  return true;
}

void UringBackend::Turn(const Batch& batch) {
  const uint64_t finished_before = counters_.completions.Get();
  RefillBuffers();
  if (!busy_.empty() && (busy_cancelled_ || batch.now_ns >= busy_again_ns_)) {
    RetryBusyConnects(*batch.ready);
    busy_again_ns_ = batch.now_ns + kBusyRetryNs;
  }
  if (ReceivesWait()) RetryStarved(*batch.pending);
  while (!cancels_.empty()) {
    io_uring_sqe* sqe = NextSqe();
    if (sqe == nullptr) break;
    sqe->opcode = IORING_OP_ASYNC_CANCEL;
    sqe->fd = -1;
    sqe->addr = reinterpret_cast<uint64_t>(cancels_.PopFront());
    ++sq_next_;
  }
  if (std::exchange(bulk_cancelled_, false)) SortOutCancelled(bulk_, *batch.pending);
  if (std::exchange(splices_cancelled_, false)) SortOutCancelled(splices_, *batch.pending);
  bool all_submitted = true;
  uint32_t others = 0;
  while (!batch.pending->empty()) {
    Op* op = batch.pending->PopFront();
    if ((op->flags & (Op::kBulk | Op::kCancelAsked)) == Op::kBulk) {
      // Whose run begins, or begins again, waits behind those who came before.
      if (op->length % kBulkRun == 1) {
        bulk_.PushBack(op);
      } else {
        bulk_.PushFront(op);
      }
    } else if (MovesAtOnce(*op)) {
      splices_.PushBack(op);
    } else if (Prepare(*op, *batch.ready)) {
      ++others;
    } else {
      batch.pending->PushFront(op);
      all_submitted = false;
      break;
    }
  }

  // In depth rather than in breadth: were all connections with bulk to move a piece each, everything would be
  // out of the cache when its turn to be sent comes, and as many transfers as possible would be under way.
  // Beside much other work it keeps its share of the turn.
  for (uint32_t left = std::max(kBulkPerTurn, others / 4); left > 0 && all_submitted && !bulk_.empty();
       --left) {
    Op* op = bulk_.PopFront();
    if (Prepare(*op, *batch.ready)) continue;
    bulk_.PushFront(op);
    all_submitted = false;
  }
  const bool splices_submitted = RunSplices(*batch.ready);
  all_submitted = all_submitted && bulk_.empty() && splices_submitted && splices_.empty();

  const uint32_t submit = sq_next_ - LoadAcquire(sq_head_);
  StoreRelease(sq_tail_, sq_next_);
  const bool have_completions = LoadAcquire(cq_tail_) != *cq_head_;
  const int64_t wake_ns = busy_.empty() ? batch.wake_ns : std::min(batch.wake_ns, busy_again_ns_);
  const bool wait = wake_ns > batch.now_ns && batch.ready->empty() && all_submitted && cancels_.empty() &&
                    !have_completions && counters_.completions.Get() == finished_before;
  io_uring_getevents_arg argument{};
  __kernel_timespec timeout{};
  if (wait && wake_ns != kNever) {
    const int64_t wait_ns = wake_ns - batch.now_ns;
    timeout.tv_sec = wait_ns / kNsPerSecond;
    timeout.tv_nsec = wait_ns % kNsPerSecond;
    argument.ts = reinterpret_cast<uint64_t>(&timeout);
  }
  const int entered =
      uring::Enter(enter_fd_, submit, wait ? 1 : 0,
                   IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG | enter_flags_, &argument, sizeof(argument));
  if (entered < 0) {
    // Interrupted, timed out, or too much outstanding (the next turn submits the rest).
    WEIR_CHECK(errno == EINTR || errno == ETIME || errno == EBUSY || errno == EAGAIN || errno == ENOMEM);
  } else {
    counters_.ops_submitted.Add(static_cast<uint32_t>(entered));
  }
  if (sq_next_ == LoadAcquire(sq_head_)) connects_ = 0;

  uint32_t head = *cq_head_;
  const uint32_t tail = LoadAcquire(cq_tail_);
  while (head != tail && Complete(cqes_[head & cq_mask_], *batch.ready)) ++head;
  StoreRelease(cq_head_, head);
  // The kernel keeps what does not fit and hands it out in later turns, at the price of an allocation each.
  if ((LoadAcquire(sq_flags_) & IORING_SQ_CQ_OVERFLOW) != 0) counters_.cq_overflows.Add();
  // It had no memory for that: an op's completion is lost, and its owner would wait for ever.
  WEIR_CHECK(LoadAcquire(cq_overflow_) == 0);
}

int UringBackend::OpenStream(uint16_t family) { return OpenStreamSocket(family); }
int UringBackend::SetTcp(int fd, const TcpOptions& options, const TcpOptions& before) {
  return SetTcpOptions(fd, options, before);
}
int UringBackend::BindSource(int fd, const SocketAddress& source) { return BindSourceAddress(fd, source); }
int UringBackend::BeginSplice(int fd) { return StopBlocking(fd); }
int UringBackend::OpenPipe(Pipe& pipe, uint32_t bytes) { return OpenKernelPipe(pipe, bytes); }
void UringBackend::ClosePipe(Pipe& pipe) {
  close(pipe.read_fd);
  close(pipe.write_fd);
}
int UringBackend::Listen(SocketAddress& address, const ListenOptions& options) {
  return ListenOn(address, options);
}
int UringBackend::AcceptNow(int listener_fd) { return AcceptFrom(listener_fd); }
int UringBackend::RefuseNewHandshakes(int listener_fd) { return DropSynSegments(listener_fd); }
int UringBackend::PeerAddress(int fd, SocketAddress& address) { return QueryPeer(fd, address); }
int UringBackend::LocalAddress(int fd, SocketAddress& address) { return QueryLocal(fd, address); }
int64_t UringBackend::AcknowledgedBytes(int fd) { return QueryAcknowledged(fd); }
bool UringBackend::HasBytes(int fd) { return QueryHasBytes(fd); }
int UringBackend::Shutdown(int fd, Direction direction) { return ShutdownSocket(fd, direction); }
void UringBackend::Close(int fd) { close(fd); }
void UringBackend::CloseWithReset(int fd) { CloseSocketWithReset(fd); }
int UringBackend::TakeSignal(int signal_fd) { return ReadSignal(signal_fd); }

}  // namespace weir
