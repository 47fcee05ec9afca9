#include "core/shard.h"

#include <algorithm>

#include "core/frame.h"
#include "core/log.h"

namespace weir {
namespace {

constinit thread_local Shard* current_shard = nullptr;

}  // namespace

Shard& Shard::Current() {
  WEIR_CHECK(current_shard != nullptr);
  return *current_shard;
}

Shard::Enter::Enter(Shard& shard) : previous_(current_shard), previous_arena_(FrameArena()) {
  current_shard = &shard;
  SetFrameArena(&shard.arena_);
}

Shard::Enter::~Enter() {
  current_shard = previous_;
  SetFrameArena(previous_arena_);
}

void WakeLater(Runnable* runnable) { Shard::Current().Wake(runnable); }

Shard::TrimRunnable::TrimRunnable(Shard* shard)
    : Runnable([](Runnable* self) { static_cast<TrimRunnable*>(self)->shard->OnTrim(); }), shard(shard) {}

Shard::Shard(const Options& options, Switchboard& switchboard, const MakeBackend& make_backend)
    : options_(options),
      switchboard_(switchboard),
      arena_(options.arena_bytes),
      buffers_(arena_, options.buffers),
      backend_(make_backend(buffers_, counters_)),
      pipes_(*backend_, counters_, options.pipes),
      now_(backend_->ReadClock()),
      wheel_(now_.mono_ns),
      random_(options.seed),
      outgoing_(std::make_unique<Outgoing[]>(switchboard.shards())),
      trim_runnable_(this) {
  trim_timer_.waiter = &trim_runnable_;
  wheel_.Set(trim_timer_, kTrimIntervalMs);
  switchboard_.seat(options_.index).backend.store(backend_.get(), std::memory_order_release);
}

Shard::~Shard() {
  Enter enter(*this);
  wheel_.Clear(trim_timer_);
  ready_.Remove(&trim_runnable_);
  while (!pending_.empty()) pending_.PopFront()->state = Op::State::kIdle;
  for (uint32_t i = 0; i < switchboard_.shards(); ++i) outgoing_[i].doorbell.state = Op::State::kIdle;
  pipes_.CloseAll();
  // The ring goes first: nothing may still write into buffers that are about to be unmapped.
  backend_.reset();
}

void Shard::OnTrim() {
  arena_.Trim(kTrimPieces);
  buffers_.Trim(kTrimPieces);
  pipes_.Trim();
  backend_->Trim(kTrimPieces);
  wheel_.Set(trim_timer_, kTrimIntervalMs);
}

Now Shard::ReadClock(int64_t by_ns) {
  Now now = backend_->ReadClock();
  now.mono_ns -= stalled_ns_;
  const int64_t late_ns = now.mono_ns - by_ns;
  if (late_ns <= kStallNs) [[likely]]
    return now;
  counters_.stalls.Add();
  counters_.stalled_ms.Add(static_cast<uint64_t>(late_ns / kNsPerMs));
  if (late_ns >= kToldStallNs) {
    LogLineNow("shard %u stood still for %lld ms: its deadlines are later by as much", options_.index,
               static_cast<long long>(late_ns / kNsPerMs));
  }
  stalled_ns_ += late_ns;
  now.mono_ns = by_ns;
  return now;
}

void Shard::RunTurn(bool may_wait) {
  Enter enter(*this);
  now_ = ReadClock(due_ns_);
  const int64_t begin_ns = now_.mono_ns;
  Switchboard::Seat& seat = switchboard_.seat(options_.index);

  ReceiveMail();
  wheel_.Advance(now_.mono_ns, ready_, kMaxTimersPerTurn);
  for (uint32_t runs = 0; runs < kMaxRunsPerTurn && !ready_.empty(); ++runs) {
    Runnable* runnable = ready_.PopFront();
    runnable->run(runnable);
  }
  if (mail_out_) FlushMail();

  int64_t wake_ns = 0;
  if (may_wait && ready_.empty() && !stopped_) {
    wake_ns = wheel_.NextWakeNs();
    // Mail that did not fit, or a doorbell still on its way: nobody tells us when to try again.
    if (mail_out_) wake_ns = std::min(wake_ns, now_.mono_ns + kNsPerMs);
    seat.asleep.store(1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (seat.mail.load(std::memory_order_relaxed) != 0) wake_ns = 0;
  }
  counters_.turns.Add();
  const int64_t stalled_before_ns = stalled_ns_;
  const int64_t end_ns = ReadClock(begin_ns).mono_ns;
  if (end_ns - begin_ns + stalled_ns_ - stalled_before_ns > kNsPerMs) counters_.slow_turns.Add();
  due_ns_ = std::max(end_ns, wake_ns);
  if (wake_ns != 0 && wake_ns != kNever) wake_ns += stalled_ns_;
  backend_->Turn({&pending_, &ready_, end_ns + stalled_ns_, wake_ns});
  seat.asleep.store(0, std::memory_order_relaxed);
}

void Shard::ReceiveMail() {
  Switchboard::Seat& seat = switchboard_.seat(options_.index);
  if (seat.mail.load(std::memory_order_relaxed) == 0) return;
  // Cleared before the rings are read: a message pushed meanwhile sets it again.
  seat.mail.exchange(0, std::memory_order_seq_cst);
  for (uint32_t from = 0; from < switchboard_.shards(); ++from) {
    SpscRing& ring = switchboard_.ring(from, options_.index);
    while (Message* message = ring.Pop()) {
      counters_.messages.Add();
      if (message->returning) {
        message->returning = false;
        if (message->recycle != nullptr) message->recycle(message, *this);
        continue;
      }
      const bool send_back = message->recycle != nullptr;
      message->deliver(message, *this);
      if (!send_back) continue;
      message->returning = true;
      PushTo(from, message);
    }
  }
}

void Shard::Post(uint32_t to, Message* message) {
  message->home = options_.index;
  message->returning = false;
  PushTo(to, message);
}

void Shard::PushTo(uint32_t to, Message* message) {
  Outgoing& out = outgoing_[to];
  message->next = nullptr;
  if (out.first == nullptr && switchboard_.ring(options_.index, to).Push(message)) {
    out.ring_doorbell = true;
  } else {
    (out.first == nullptr ? out.first : out.last->next) = message;
    out.last = message;
  }
  mail_out_ = true;
}

void Shard::FlushMail() {
  mail_out_ = false;
  for (uint32_t to = 0; to < switchboard_.shards(); ++to) {
    Outgoing& out = outgoing_[to];
    while (out.first != nullptr) {
      // The ring owns the message once pushed: `next` is read before.
      Message* next = out.first->next;
      if (!switchboard_.ring(options_.index, to).Push(out.first)) break;
      out.ring_doorbell = true;
      out.first = next;
    }
    if (out.first != nullptr) mail_out_ = true;
    if (!out.ring_doorbell) continue;
    Switchboard::Seat& seat = switchboard_.seat(to);
    seat.mail.store(1, std::memory_order_seq_cst);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (seat.asleep.load(std::memory_order_relaxed) == 0) {
      out.ring_doorbell = false;
      continue;
    }
    if (out.doorbell.busy()) {
      mail_out_ = true;  // its completion ends the next wait, and then it is rung again
      continue;
    }
    Backend* peer = seat.backend.load(std::memory_order_acquire);
    if (peer == nullptr) continue;
    out.ring_doorbell = false;
    out.doorbell.kind = Op::Kind::kDoorbell;
    out.doorbell.peer = peer;
    counters_.doorbells.Add();
    Start(out.doorbell);
  }
}

}  // namespace weir
