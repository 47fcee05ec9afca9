#include "lb/l7/mirror.h"

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include "lb/config/budget.h"
#include "lb/http/response.h"
#include "lb/l4/proxy_hello.h"
#include "lb/proxy.h"

namespace weir::lb {

static_assert(sizeof(Mirror) <= kMirrorBytes);

void Mirror::Begin(Proxy& proxy, Snapshot& snapshot, const MirrorSettings& to, uint64_t hash,
                   const Slice& request, const http::RequestFacts& facts) {
  Shard& shard = proxy.shard();
  const BufferPool& buffers = shard.buffers();
  const bool room = !proxy.draining() && proxy.mirrors().count < snapshot.settings().mirrors_per_shard &&
                    buffers.free_count() >= buffers.reserve();
  void* memory = room ? shard.arena().Allocate(sizeof(Mirror)) : nullptr;
  if (memory == nullptr) {
    proxy.counters().mirrors_left_out.Add();
    return;
  }
  auto* mirror = new (memory) Mirror(proxy, snapshot, proxy.PoolOf(snapshot, to.upstream), request, facts);
  if (mirror->Connect(hash, to.subset)) {
    proxy.counters().mirrored.Add();
    mirror->Step();
  } else {
    proxy.counters().mirrors_left_out.Add();
    mirror->~Mirror();
    shard.arena().Free(mirror);
  }
}

void Mirror::EndAll(Proxy& proxy) {
  while (proxy.mirrors().first != nullptr) proxy.mirrors().first->End(false);
}

Mirror::Mirror(Proxy& proxy, Snapshot& snapshot, UpstreamPool& pool, Slice request,
               const http::RequestFacts& facts)
    : Runnable([](Runnable* self) { static_cast<Mirror*>(self)->Step(); }),
      proxy_(proxy),
      shard_(proxy.shard()),
      snapshot_(&snapshot),
      pool_(pool),
      request_(std::move(request)),
      facts_(facts),
      link_(&proxy.mirrors().first) {
  timer_.waiter = this;
  snapshot.users.Add();
  next_ = std::exchange(*link_, this);
  if (next_ != nullptr) next_->link_ = &next_;
  ++proxy_.mirrors().count;
}

Mirror::~Mirror() {
  *link_ = next_;
  if (next_ != nullptr) next_->link_ = link_;
  --proxy_.mirrors().count;
  shard_.ClearTimer(timer_);
  shard_.Forget(*this);
  LetSnapshotGo();
}

void Mirror::LetSnapshotGo() {
  if (snapshot_ != nullptr) proxy_.LetGo(std::exchange(snapshot_, nullptr));
}

// False: nowhere to go.
bool Mirror::Connect(uint64_t hash, SubsetUse subset) {
  endpoint_ = pool_.Pick({}, hash, false, subset);
  if (endpoint_ == UpstreamPool::kNone) return false;
  upstream_ = pool_.TakeIdle(endpoint_);
  if (upstream_ != nullptr) {
    SendRequest();
    return true;
  }
  int error = 0;
  uint32_t source = UpstreamPool::kNone;
  upstream_ = pool_.StartConnect(endpoint_, this, &error, source, false);
  if (upstream_ == nullptr) {
    pool_.Done(endpoint_);
    return false;
  }
  shard_.SetTimer(timer_, pool_.settings().timeouts.connect_ms);
  return true;
}

void Mirror::SendRequest() {
  upstream_->stream.SetWaiter(this);
  ++upstream_->requests;
  state_ = State::kHead;
  upstream_->stream.Send(shard_, std::move(request_));
  const Timeouts& timeouts = pool_.settings().timeouts;
  const uint64_t most_ms = uint64_t{timeouts.response_ms} + timeouts.upstream_body_ms;
  shard_.ClearTimer(timer_);
  shard_.SetTimer(timer_, static_cast<uint32_t>(std::clamp<uint64_t>(most_ms, 1, kMostMs)));
  // The pool, whose settings are all that is needed from here on, lives until Done.
  LetSnapshotGo();
}

void Mirror::Step() {
  upstream_->stream.Poll(shard_);
  for (;;) {
    bool more = false;
    switch (state_) {
      case State::kConnecting:
        more = StepConnect();
        break;
      case State::kHead:
        more = StepHead();
        break;
      case State::kBody:
        more = StepBody();
        break;
    }
    if (!more) return;
  }
}

bool Mirror::StepConnect() {
  const Stream& stream = upstream_->stream;
  if (!stream.connecting() && stream.connect_error() == 0 && upstream_->hello.on() &&
      stream.sent_bytes() == 0 && stream.send_error() == 0 && !stream.sending()) {
    Slice hello = MakeOwnProxyHello(shard_.buffers(), upstream_->hello);
    if (hello.empty()) {
      End(false);
    } else {
      upstream_->stream.Send(shard_, std::move(hello));
    }
    return false;
  }
  if (!stream.connecting() && stream.connect_error() == 0 && !stream.sending()) {
    pool_.ConnectWorked(endpoint_);
    SendRequest();
    return true;
  }
  const bool waits = stream.connecting() || stream.sending();
  if (waits && !timer_.fired) return false;
  pool_.ConnectFailed(endpoint_, waits ? ETIMEDOUT : stream.connect_error());
  End(false);
  return false;
}

bool Mirror::StepHead() {
  Stream& stream = upstream_->stream;
  if (!stream.has_bytes()) {
    if (timer_.fired || stream.receive_ended() || stream.send_error() != 0) {
      End(false);
    } else {
      stream.ArmReceive(shard_, kHeadReceive);
    }
    return false;
  }
  Slice in = stream.TakeBytes();
  http::ResponseHead& head = proxy_.response_head();
  const Collector::Added added = collector_.Add(shard_.buffers(), in, head.limits());
  http::ParseResult result;
  if (added == Collector::Added::kReady) result = http::ParseResponse(collector_.bytes(), facts_, head);
  if (added == Collector::Added::kNoMemory || result.failed()) {
    End(false);
    return false;
  }
  if (!result.done()) return true;
  in.RemovePrefix(collector_.ConsumedOfLast(result.consumed));
  collector_.Clear();
  stream.PutBack(std::move(in));
  if (head.facts.interim()) return true;
  if (head.facts.status == 101) {
    End(false);
    return false;
  }
  status_ = head.facts.status;
  keep_ = head.facts.keep_alive && head.facts.body.kind != http::Framing::kUntilClose;
  body_ = http::BodyReader(head.facts.body);
  state_ = State::kBody;
  return true;
}

bool Mirror::StepBody() {
  Stream& stream = upstream_->stream;
  // A trailer section is not worth reading: that connection is closed.
  if (body_.done() || body_.in_trailers()) {
    // That the kernel has taken the request may be told after the answer.
    if (stream.sending() && !timer_.fired && !stream.receive_ended()) return false;
    keep_ = keep_ && body_.done();
    End(true);
    return false;
  }
  if (!stream.has_bytes()) {
    if (timer_.fired || stream.receive_ended()) {
      keep_ = false;
      End(stream.receive_ended() && stream.receive_error() == 0 && body_.AtEof() == http::BodyState::kDone);
      return false;
    }
    stream.ArmReceive(shard_, kBodyReceive);
    return false;
  }
  Slice in = stream.TakeBytes();
  const http::BodyPiece piece = body_.Read(in.data(), in.size());
  if (piece.state == http::BodyState::kError) {
    keep_ = false;
    End(false);
    return false;
  }
  in.RemovePrefix(static_cast<uint32_t>(piece.consumed));
  stream.PutBack(std::move(in));
  return true;
}

void Mirror::End(bool answered) {
  if (!answered) proxy_.counters().mirror_failures.Add();
  const uint32_t status_class = answered ? status_ / 100u : 0;
  pool_.counters().responses[status_class <= 5 ? status_class : 0].Add();
  // Bytes behind the answer make Release close it.
  if (answered && keep_ && !proxy_.draining()) {
    proxy_.upstreams().Release(upstream_);
  } else {
    proxy_.upstreams().Close(upstream_, !answered);
  }
  pool_.Done(endpoint_);
  Arena& arena = shard_.arena();
  this->~Mirror();
  arena.Free(this);
}

}  // namespace weir::lb
