#include "core/sim/backend.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "core/check.h"
#include "core/pipe.h"

namespace weir::sim {

// One op in flight: what it said when it was submitted, and how far it got.
struct Backend::Flight {
  uint64_t number = 0;
  Op* op = nullptr;
  Backend* backend = nullptr;
  Descriptor* descriptor = nullptr;  // null: a doorbell
  Op::Kind kind = Op::Kind::kNone;
  int32_t fd = -1;
  const void* pointer = nullptr;
  uint32_t length = 0;
  std::string bytes;          // to send
  std::vector<iovec> pieces;  // where they came from
  size_t sent_bytes = 0;
  uint32_t received_bytes = 0;
  int connect_result = 1;  // not known yet
  bool triggered = false;
  bool over = false;  // its last completion is queued
  bool starved = false;
  bool asked = false;
  int64_t cancel_ns = 0;
  int64_t retry_ns = kNever;  // a fault made it starve: nothing else would wake it
  int64_t visible_ns = 0;     // of its latest completion
};

// Descriptors

void Descriptor::OnReadable() {
  for (Backend::Flight* flight : flights) {
    if (flight->kind == Op::Kind::kReceive || flight->kind == Op::Kind::kAccept ||
        flight->kind == Op::Kind::kPoll || flight->kind == Op::Kind::kReadable) {
      flight->backend->Trigger(*flight);
    }
  }
}

void Descriptor::OnWritable() {
  for (Backend::Flight* flight : flights) {
    if (flight->kind == Op::Kind::kSend || flight->kind == Op::Kind::kGather ||
        flight->kind == Op::Kind::kPoll || flight->kind == Op::Kind::kDrain) {
      flight->backend->Trigger(*flight);
    }
  }
}

void Descriptor::OnConnected(int error) {
  for (Backend::Flight* flight : flights) {
    if (flight->kind != Op::Kind::kConnect) continue;
    flight->connect_result = -error;
    flight->backend->Trigger(*flight);
  }
}

// Life

Backend::Backend(World& world, uint32_t host, BufferPool& pool, CoreCounters& counters)
    : world_(world), host_(host), pool_(pool), counters_(counters) {
  world_.backends_.push_back(this);
}

Backend::~Backend() {
  WEIR_CHECK(in_flight() == 0);
  std::erase(world_.backends_, this);
}

size_t Backend::in_flight() const {
  size_t count = 0;
  for (const auto& [number, flight] : flights_) count += flight->kind != Op::Kind::kDoorbell;
  return count;
}

std::string Backend::Dump() const {
  static constexpr const char* kKinds[] = {"none", "receive", "send",  "gather", "connect", "readable",
                                           "pass", "drain",   "write", "accept", "poll",    "doorbell"};
  std::string text;
  for (const auto& [number, flight] : flights_) {
    text += std::string(text.empty() ? "; in flight:" : ",") + " " + kKinds[static_cast<int>(flight->kind)] +
            " on fd " + std::to_string(flight->fd);
    if (flight->starved) text += " (starved)";
    if (flight->asked) text += " (cancelled)";
    if (flight->over) text += " (over)";
  }
  return text;
}

int64_t Backend::DueNs() const {
  if (rung_ || !triggered_.empty()) return 0;
  int64_t due_ns = wake_ns_;
  for (const Completion& completion : completions_) due_ns = std::min(due_ns, completion.visible_ns);
  for (const Flight* flight : cancels_) due_ns = std::min(due_ns, flight->cancel_ns);
  for (const Flight* flight : starved_) due_ns = std::min(due_ns, flight->retry_ns);
  return due_ns;
}

Now Backend::ReadClock() { return {world_.now_ns_, world_.wall_ms_ + world_.now_ns_ / kNsPerMs}; }

// The turn

void Backend::Turn(const Batch& batch) {
  rung_ = false;
  for (Flight* flight : std::exchange(cancels_, {})) {
    if (flight->over) continue;
    if (flight->cancel_ns > world_.now_ns_) {
      cancels_.push_back(flight);
    } else {
      CancelNow(*flight);
    }
  }
  // The oldest first, and before anything that was submitted later.
  for (Flight* flight : std::exchange(starved_, {})) {
    if (flight->over) continue;
    flight->starved = false;
    flight->retry_ns = kNever;
    AttemptReceive(*flight);
  }
  OpList later;
  for (uint32_t n = 0; n < world_.options_.submissions && !batch.pending->empty(); ++n) {
    Op* op = batch.pending->PopFront();
    const bool may_wait = (op->flags & Op::kBulk) != 0 || op->kind == Op::Kind::kPass;
    if (may_wait && (op->flags & Op::kCancelAsked) == 0 && world_.Chance(world_.faults_.late_completion)) {
      later.PushBack(op);
    } else {
      Submit(*op, *batch.ready);
    }
  }
  batch.pending->Append(later);
  std::vector<Flight*> triggered = std::exchange(triggered_, {});
  for (size_t left = triggered.size(); left > 0; --left) {
    const uint32_t pick = world_.random_.Below(static_cast<uint32_t>(left));
    Flight* flight = std::exchange(triggered[pick], triggered[left - 1]);
    flight->triggered = false;
    if (!flight->over && !flight->starved) Attempt(*flight);
  }
  Reap(*batch.ready);

  const bool low = BodyMustWait();
  if (low && !low_) counters_.buffer_low_water.Add();
  low_ = low;
  waiting_ = batch.wake_ns > batch.now_ns && batch.ready->empty() && batch.pending->empty();
  wake_ns_ = waiting_ ? batch.wake_ns : world_.now_ns_;
}

void Backend::Submit(Op& op, ReadyList& ready) {
  WEIR_CHECK(op.state == Op::State::kPending);
  WEIR_CHECK(by_op_.count(&op) == 0);  // this memory is another op's that is still in flight
  counters_.ops_submitted.Add();
  if ((op.flags & Op::kCancelAsked) != 0) {
    op.result = -ECANCELED;
    op.state = Op::State::kDone;
    counters_.completions.Add();
    if (op.waiter != nullptr) ready.PushBack(op.waiter);
    return;
  }
  auto owned = std::make_unique<Flight>();
  Flight& flight = *owned;
  flight.number = flights_made_++;
  flight.op = &op;
  flight.backend = this;
  flight.kind = op.kind;
  flight.fd = op.fd;
  flight.pointer = op.data;
  flight.length = op.length;
  op.state = Op::State::kInFlight;
  flights_.emplace(flight.number, std::move(owned));
  by_op_[&op] = &flight;
  if (op.kind == Op::Kind::kDoorbell) {
    RingDoorbell(flight);
    return;
  }
  Descriptor& descriptor = Need(op.fd, "start an op");
  flight.descriptor = &descriptor;
  for (const Flight* other : descriptor.flights) {
    const auto receives = [](Op::Kind kind) {
      return kind == Op::Kind::kReceive || kind == Op::Kind::kReadable || kind == Op::Kind::kPass;
    };
    const auto sends = [](Op::Kind kind) {
      return kind == Op::Kind::kSend || kind == Op::Kind::kGather || kind == Op::Kind::kDrain;
    };
    // Two at a time would mix their bytes.
    WEIR_CHECK(other->over || !(other->kind == op.kind || (sends(other->kind) && sends(op.kind)) ||
                                (receives(other->kind) && receives(op.kind))));
  }
  descriptor.flights.push_back(&flight);
  if (op.kind == Op::Kind::kSend || op.kind == Op::Kind::kWrite) {
    WEIR_CHECK(op.length > 0);
    flight.pieces.push_back({const_cast<void*>(op.data), op.length});
  }
  if (op.kind == Op::Kind::kGather) {
    flight.pieces.assign(op.message->msg_iov, op.message->msg_iov + op.message->msg_iovlen);
  }
  for (const iovec& piece : flight.pieces) {
    flight.bytes.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
  }
  if (op.kind == Op::Kind::kConnect) {
    WEIR_CHECK(descriptor.kind == Descriptor::Kind::kStream);
    descriptor.endpoint->Connect(*op.address);
    return;
  }
  Attempt(flight);
}

void Backend::Attempt(Flight& flight) {
  switch (flight.kind) {
    case Op::Kind::kReceive:
      AttemptReceive(flight);
      return;
    case Op::Kind::kSend:
    case Op::Kind::kGather:
      AttemptSend(flight);
      return;
    case Op::Kind::kConnect:
      if (flight.connect_result <= 0) Complete(flight, flight.connect_result, true);
      return;
    case Op::Kind::kReadable:
      AttemptReadable(flight);
      return;
    case Op::Kind::kPass:
      AttemptPass(flight);
      return;
    case Op::Kind::kDrain:
      AttemptDrain(flight);
      return;
    case Op::Kind::kWrite:
      AttemptWrite(flight);
      return;
    case Op::Kind::kAccept:
      AttemptAccept(flight);
      return;
    case Op::Kind::kPoll:
      AttemptPoll(flight);
      return;
    case Op::Kind::kDoorbell:
    case Op::Kind::kNone:
      WEIR_CHECK(false);
  }
}

void Backend::AttemptReceive(Flight& flight) {
  Endpoint* endpoint = flight.descriptor->endpoint;
  WEIR_CHECK(endpoint != nullptr);
  if (!endpoint->Readable()) {
    if (endpoint->state() == Endpoint::State::kConnected) return;
    Complete(flight, -ENOTCONN, true);
    return;
  }
  if (endpoint->readable_bytes() == 0) {
    Complete(flight, static_cast<int32_t>(endpoint->Read(nullptr, 0)), true);
    return;
  }
  const bool unlucky = world_.Chance(world_.faults_.starved);
  const bool body = (flight.op->flags & Op::kBody) != 0;
  if (unlucky || pool_.free_count() == 0 || (body && BodyMustWait())) {
    counters_.buffers_exhausted.Add();
    if (flight.received_bytes > 0) {
      Complete(flight, -ECANCELED, true);
      return;
    }
    flight.starved = true;
    if (unlucky) {
      flight.retry_ns = world_.now_ns_ + world_.Between(1, world_.faults_.most_completion_delay_ns);
    }
    starved_.push_back(&flight);
    return;
  }
  Buffer* buffer = pool_.Take();
  size_t most = buffer->capacity;
  if (world_.Chance(world_.faults_.short_receive)) {
    most = 1 + world_.random_.Below(static_cast<uint32_t>(std::min(most, endpoint->readable_bytes())));
  }
  const int64_t taken = endpoint->Read(buffer->data, most);
  flight.received_bytes += static_cast<uint32_t>(taken);
  const bool end = (flight.op->flags & Op::kStay) == 0 || flight.received_bytes >= Op::kStayBytes ||
                   world_.Chance(world_.faults_.source_ends);
  Complete(flight, static_cast<int32_t>(taken), end, buffer, endpoint->readable_bytes() > 0);
  if (!end && endpoint->Readable()) Trigger(flight);
}

void Backend::AttemptSend(Flight& flight) {
  Endpoint* endpoint = flight.descriptor->endpoint;
  WEIR_CHECK(endpoint != nullptr);
  const auto result = [&flight](int64_t error) {
    return static_cast<int32_t>(flight.sent_bytes > 0 ? static_cast<int64_t>(flight.sent_bytes) : error);
  };
  while (flight.sent_bytes < flight.bytes.size()) {
    std::string_view rest = std::string_view(flight.bytes).substr(flight.sent_bytes);
    const bool cut_short = world_.Chance(world_.faults_.short_send);
    if (cut_short) rest = rest.substr(0, 1 + world_.random_.Below(static_cast<uint32_t>(rest.size())));
    const int64_t taken = endpoint->Write(rest);
    if (taken == Endpoint::kWouldBlock) return;
    if (taken < 0) {
      Complete(flight, result(taken), true);
      return;
    }
    flight.sent_bytes += static_cast<size_t>(taken);
    if (cut_short) break;
  }
  Complete(flight, result(0), true);
}

void Backend::AttemptReadable(Flight& flight) {
  Endpoint* endpoint = flight.descriptor->endpoint;
  WEIR_CHECK(endpoint != nullptr);
  if (endpoint->Readable() || world_.Chance(world_.faults_.source_ends)) Complete(flight, 1, true);
}

void Backend::AttemptPass(Flight& flight) {
  Descriptor& to = Need(flight.op->pipe->to_fd, "pass on");
  Pipe& pipe = *flight.op->pipe;
  Endpoint* from = flight.descriptor->endpoint;
  WEIR_CHECK(from != nullptr && to.endpoint != nullptr && flight.descriptor->may_splice && to.may_splice);
  WEIR_CHECK(Need(pipe.read_fd, "fill").contents.empty());
  for (const Flight* other : to.flights) {
    const bool sends =
        other->kind == Op::Kind::kSend || other->kind == Op::Kind::kGather || other->kind == Op::Kind::kDrain;
    WEIR_CHECK(other->over || !sends);
  }
  pipe.came = pipe.passed = 0;
  pipe.error = 0;
  if (!from->Readable() || (from->readable_bytes() > 0 && world_.Chance(world_.faults_.starved))) {
    Complete(flight, -EAGAIN, true);
    return;
  }
  if (from->readable_bytes() == 0) {
    Complete(flight, static_cast<int32_t>(from->Read(nullptr, 0)), true);
    return;
  }
  size_t most = std::min<size_t>({flight.length, pipe.capacity, from->readable_bytes()});
  if (world_.Chance(world_.faults_.short_receive))
    most = 1 + world_.random_.Below(static_cast<uint32_t>(most));
  std::string bytes(most, '\0');
  WEIR_CHECK(from->Read(bytes.data(), most) == static_cast<int64_t>(most));
  pipe.came = static_cast<uint32_t>(most);
  size_t offer = most;
  if (world_.Chance(world_.faults_.short_send)) offer = world_.random_.Below(static_cast<uint32_t>(most) + 1);
  const int64_t went =
      offer == 0 ? Endpoint::kWouldBlock : to.endpoint->Write(std::string_view(bytes).substr(0, offer));
  if (went > 0) pipe.passed = static_cast<uint32_t>(went);
  if (went < 0 && went != Endpoint::kWouldBlock) pipe.error = static_cast<int32_t>(-went);
  pipe.bytes = pipe.came - pipe.passed;
  Need(pipe.read_fd, "fill").contents = bytes.substr(pipe.passed);
  counters_.passes.Add();
  counters_.passed_bytes.Add(pipe.came);
  Complete(flight, static_cast<int32_t>(most), true);
}

void Backend::AttemptDrain(Flight& flight) {
  Pipe& pipe = *flight.op->pipe;
  std::string& contents = Need(pipe.read_fd, "drain").contents;
  Endpoint* to = flight.descriptor->endpoint;
  WEIR_CHECK(to != nullptr && flight.descriptor->may_splice);
  WEIR_CHECK(flight.length > 0 && flight.length <= contents.size());
  size_t offer = flight.length;
  if (world_.Chance(world_.faults_.short_send))
    offer = 1 + world_.random_.Below(static_cast<uint32_t>(offer));
  const int64_t went = to->Write(std::string_view(contents).substr(0, offer));
  if (went == Endpoint::kWouldBlock) return;
  if (went > 0) contents.erase(0, static_cast<size_t>(went));
  Complete(flight, static_cast<int32_t>(went), true);
}

void Backend::AttemptWrite(Flight& flight) {
  WEIR_CHECK(flight.descriptor->kind == Descriptor::Kind::kFile);
  std::string_view bytes = flight.bytes;
  if (world_.Chance(world_.faults_.short_write)) {
    bytes = bytes.substr(0, 1 + world_.random_.Below(static_cast<uint32_t>(bytes.size())));
  }
  flight.descriptor->contents += bytes;
  flight.sent_bytes = bytes.size();
  Complete(flight, static_cast<int32_t>(bytes.size()), true);
}

void Backend::AttemptAccept(Flight& flight) {
  Listener* listener = flight.descriptor->listener;
  WEIR_CHECK(listener != nullptr);
  for (;;) {
    // A kernel takes the descriptor's number before it looks at the queue.
    if (world_.open_fds(host_) >= world_.options_.fd_limit ||
        (!listener->queue.empty() && world_.Chance(world_.faults_.no_fd))) {
      Complete(flight, -EMFILE, true);
      return;
    }
    const int fd = AcceptNow(flight.fd);
    if (fd == -EAGAIN) return;
    const bool end = world_.Chance(world_.faults_.source_ends);
    Complete(flight, fd, end);
    if (end) return;
  }
}

void Backend::AttemptPoll(Flight& flight) {
  const Descriptor& descriptor = *flight.descriptor;
  uint32_t mask = 0;
  if (descriptor.kind == Descriptor::Kind::kSignals && !descriptor.signals.empty()) mask |= POLLIN;
  if (descriptor.listener != nullptr && !descriptor.listener->queue.empty()) mask |= POLLIN;
  if (descriptor.endpoint != nullptr) {
    if (descriptor.endpoint->Readable()) mask |= POLLIN;
    if (descriptor.endpoint->Writable()) mask |= POLLOUT;
    if (descriptor.endpoint->state() == Endpoint::State::kDead) mask |= POLLHUP;
  }
  mask &= flight.length | POLLHUP;
  if (mask == 0) return;
  Complete(flight, static_cast<int32_t>(mask), world_.Chance(world_.faults_.source_ends));
}

void Backend::RingDoorbell(Flight& flight) {
  auto* peer = static_cast<Backend*>(flight.op->peer);
  const bool alive =
      std::find(world_.backends_.begin(), world_.backends_.end(), peer) != world_.backends_.end();
  WEIR_CHECK(alive);  // in a real process this pointer would dangle
  if (world_.Chance(world_.faults_.late_completion)) {
    World& world = world_;
    world.After(world.Between(0, world.faults_.most_completion_delay_ns), [&world, peer] {
      if (std::find(world.backends_.begin(), world.backends_.end(), peer) != world.backends_.end()) {
        peer->rung_ = true;
      }
    });
  } else {
    peer->rung_ = true;
  }
  Complete(flight, 0, true);
}

// Cancels

void Backend::Cancel(Op& op, OpList& /*pending*/, ReadyList& /*ready*/) {
  if (op.state == Op::State::kPending) {  // ends when the turn comes to it
    op.flags |= Op::kCancelAsked;
    return;
  }
  AskToEnd(op);
}

void Backend::AskToEnd(Op& op) {
  if ((op.flags & Op::kCancelAsked) != 0) return;
  op.flags |= Op::kCancelAsked;
  Flight& flight = *by_op_.at(&op);
  flight.asked = true;
  if (world_.Chance(world_.faults_.late_cancel)) {
    flight.cancel_ns = world_.now_ns_ + world_.Between(1, world_.faults_.most_completion_delay_ns);
  }
  cancels_.push_back(&flight);
}

void Backend::CancelNow(Flight& flight) {
  if (flight.starved) {
    std::erase(starved_, &flight);
    flight.starved = false;
  } else if (flight.kind != Op::Kind::kAccept && world_.random_.OneIn(2)) {
    Attempt(flight);  // what can be done at once may win the race
    if (flight.over) return;
    if (flight.starved) {
      std::erase(starved_, &flight);
      flight.starved = false;
    }
  }
  Complete(flight, flight.sent_bytes > 0 ? static_cast<int32_t>(flight.sent_bytes) : -ECANCELED, true);
}

// Completions

void Backend::Trigger(Flight& flight) {
  if (flight.triggered || flight.over) return;
  flight.triggered = true;
  triggered_.push_back(&flight);
}

void Backend::Complete(Flight& flight, int32_t result, bool end, Buffer* buffer, bool more_here) {
  WEIR_CHECK(!flight.over);
  flight.over = end;
  int64_t visible_ns = world_.now_ns_;
  if (flight.kind != Op::Kind::kPass && world_.Chance(world_.faults_.late_completion)) {
    visible_ns += world_.Between(0, world_.faults_.most_completion_delay_ns);
  }
  flight.visible_ns = std::max(flight.visible_ns, visible_ns);
  completions_.push_back({&flight, result, end, more_here, buffer, flight.visible_ns});
}

void Backend::Reap(ReadyList& ready) {
  std::vector<Completion> later;
  std::vector<Completion> now;
  for (Completion& completion : std::exchange(completions_, {})) {
    (completion.visible_ns > world_.now_ns_ ? later : now).push_back(completion);
  }
  // A random order that keeps the results of one op in theirs: draw positions, then let each op fill its own.
  std::vector<Flight*> order;
  for (const Completion& completion : now) order.push_back(completion.flight);
  for (size_t left = order.size(); left > 1; --left) {
    std::swap(order[left - 1], order[world_.random_.Below(static_cast<uint32_t>(left))]);
  }
  std::unordered_map<Flight*, std::deque<Completion>> queues;
  for (const Completion& completion : now) queues[completion.flight].push_back(completion);
  bool full = false;
  for (Flight* flight : order) {
    const Completion completion = queues[flight].front();
    queues[flight].pop_front();
    // A full Source stops the turn's reaping.
    if (full || !Deliver(completion, ready)) {
      full = true;
      completions_.push_back(completion);
    }
  }
  completions_.insert(completions_.end(), later.begin(), later.end());
}

bool Backend::Deliver(const Completion& completion, ReadyList& ready) {
  Flight& flight = *completion.flight;
  Op& op = *flight.op;
  if (flight.kind == Op::Kind::kDoorbell && op.state != Op::State::kInFlight) {
    Remove(flight);
    return true;
  }
  CheckUntouched(flight);
  if ((op.flags & Op::kSource) != 0) {
    auto& source = static_cast<Source&>(op);
    if (completion.result >= 0) {
      if (source.full()) return false;
      source.Push(completion.result);
      counters_.completions.Add();
      if (op.waiter != nullptr) ready.PushBack(op.waiter);
    }
    if (!completion.end) return true;
  }
  if (op.kind == Op::Kind::kReceive) {
    uint32_t waiting = 0;
    if (completion.buffer != nullptr) {
      waiting = op.PushReceived(completion.buffer, static_cast<uint32_t>(completion.result));
    }
    op.flags &= static_cast<uint8_t>(~Op::kMoreHere);
    if (completion.more_here) op.flags |= Op::kMoreHere;
    if (!completion.end) {
      counters_.completions.Add();
      if (op.waiter != nullptr) ready.PushBack(op.waiter);
      if (waiting >= Op::kMostWaiting) AskToEnd(op);
      return true;
    }
  }
  op.result = completion.result;
  op.state = Op::State::kDone;
  counters_.completions.Add();
  if (op.waiter != nullptr) ready.PushBack(op.waiter);
  Remove(flight);
  return true;
}

void Backend::CheckUntouched(const Flight& flight) const {
  const Op& op = *flight.op;
  WEIR_CHECK(op.state == Op::State::kInFlight);  // started twice, or its memory was used for something else
  WEIR_CHECK(op.kind == flight.kind && op.fd == flight.fd);
  if (op.kind == Op::Kind::kReceive || (op.flags & Op::kSource) != 0) return;
  WEIR_CHECK(op.data == flight.pointer && op.length == flight.length);
  if (op.kind == Op::Kind::kGather) {
    WEIR_CHECK(op.message->msg_iovlen == flight.pieces.size());
    for (size_t i = 0; i < flight.pieces.size(); ++i) {
      WEIR_CHECK(op.message->msg_iov[i].iov_base == flight.pieces[i].iov_base);
      WEIR_CHECK(op.message->msg_iov[i].iov_len == flight.pieces[i].iov_len);
    }
  }
  size_t offset = 0;
  for (const iovec& piece : flight.pieces) {
    const std::string_view was = std::string_view(flight.bytes).substr(offset, piece.iov_len);
    const std::string_view is(static_cast<const char*>(piece.iov_base), piece.iov_len);
    WEIR_CHECK(was == is);  // bytes changed while they were being sent
    offset += piece.iov_len;
  }
}

void Backend::Remove(Flight& flight) {
  by_op_.erase(flight.op);
  if (flight.descriptor != nullptr) std::erase(flight.descriptor->flights, &flight);
  std::erase(triggered_, &flight);
  std::erase(starved_, &flight);
  std::erase(cancels_, &flight);
  flights_.erase(flight.number);
}

}  // namespace weir::sim
