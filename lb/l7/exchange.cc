#include "lb/l7/exchange.h"

#include <algorithm>
#include <cerrno>

#include "lb/http/local_response.h"
#include "lb/l7/auth_leg.h"
#include "lb/proxy.h"

// The frame of an exchange: its turn, its endings, its clock. The request's way up stands in
// exchange_request.cc, what its route makes of it in exchange_route.cc, the response's way down in
// exchange_response.cc, further attempts in exchange_retry.cc, its line in the access log in exchange_log.cc.

namespace weir::lb {

Exchange::Exchange(Proxy& proxy, ClientConnection& client) : Exchange(proxy, client, proxy.HoldFor(client)) {}

Exchange::Exchange(Proxy& proxy, ClientConnection& client, const SnapshotHold& hold)
    : proxy_(proxy),
      shard_(proxy.shard()),
      client_(client),
      snapshot_(hold.snapshot),
      listener_(*hold.listener),
      begin_ns_(proxy.shard().now_ns()),
      client_sent_before_(client.stream.sent_bytes()),
      address_(client.peer),
      route_(&hold.listener->direct) {
  // A new connection's first request must be there in time from the accept on: the session set that timer.
  if (client.requests > 0) shard_.SetTimer(client.timer, proxy.timeouts().client_header_ms);
}

Exchange::~Exchange() {
  WEIR_CHECK(upstream_ == nullptr);
  if (leg_ != nullptr) EndAuthLeg();
  proxy_.LetGo(snapshot_);
}

bool Exchange::Step() {
  client_.stream.Poll(shard_);
  if (upstream_ != nullptr) upstream_->stream.Poll(shard_);
  if (client_.cut) {
    end_ = "cut";
    Finish(Verdict::kReset);
    return true;
  }
  Advance();
  if (client_.timer.fired && TimerCounts()) {
    OnTimer();
    Advance();
  }
  if (phase_ == Phase::kOver) return true;
  KeepListening();
  ArmTimer();
  return false;
}

// Both sides are listened to in whatever this exchange waits for: for the rest of a body, the next request,
// an early answer, and above all for who leaves. Here and nowhere else; armed already, or with bytes that
// wait, nothing happens.
void Exchange::KeepListening() {
  const bool upload = phase_ != Phase::kHead && !request_body_.done();
  // What shall be spliced is not received ahead.
  const bool passes_up = passes_up_ || (phase_ == Phase::kForward && upload && Uploading() && MayPassUp());
  if (!passes_up) client_.stream.ArmReceive(shard_, upload ? kBodyReceive : kHeadReceive);
  if (phase_ == Phase::kForward && upstream_ != nullptr) {
    const bool body = side_ != Side::kHead && !response_body_.done();
    if (!passes_down_ && !MayPassDown())
      upstream_->stream.ArmReceive(shard_, body ? kBodyReceive : kHeadReceive);
  }
}

void Exchange::Advance() {
  Phase before;
  do {
    before = phase_;
    switch (phase_) {
      case Phase::kHead:
        StepHead();
        break;
      case Phase::kAuthorize:
        StepAuthorize();
        break;
      case Phase::kBuffer:
        StepBuffer();
        break;
      case Phase::kConnect:
        StepConnect();
        break;
      case Phase::kBackoff:
        StepBackoff();
        break;
      case Phase::kForward:
        StepForward();
        break;
      case Phase::kRespond:
        StepRespond();
        break;
      case Phase::kOver:
        break;
    }
  } while (phase_ != before);
}

void Exchange::StepForward() {
  Stream& down = client_.stream;
  if (down.send_error() != 0 || (down.end_seen() && down.receive_error() != 0)) {
    ClientGone("client_abort");
    return;
  }
  StepUpload();
  if (phase_ == Phase::kForward) StepDownload();
  if (phase_ != Phase::kForward || side_ != Side::kDone || down.sending()) return;
  if (tunnel_) {
    // The last of the request may still be in a pipe: tunnel data goes behind it.
    if (!up_.moving()) Finish(Verdict::kTunnel);
    return;
  }
  // The answer is out. The rest of the request still goes up if that keeps the connection; else it is
  // discarded. A request that came whole leaves the client's connection in order, whatever became of it.
  if (upstream_ != nullptr && UpstreamTakesNoMore()) StopUpload();
  if (upload_done_ || (upload_failed_ && request_body_.done())) {
    // A client that asked for the end has said all it will say, and nobody need be woken for its FIN. (Behind
    // a body some say CRLF, RFC 9112 2.2: to a closed socket that would be a reset, and cost them the
    // answer.)
    const bool client_closes = !request_.keep_alive && request_.body.Empty() && !down.has_bytes();
    Finish(keep_ ? Verdict::kKeepAlive : client_closes ? Verdict::kClose : Verdict::kLinger);
  } else if (upload_failed_ || !keep_) {
    Finish(Verdict::kLinger);
  }
}

// It has answered, and will not read the rest of the request. A clean end alone does not say that: who only
// finished speaking may still be reading.
bool Exchange::UpstreamTakesNoMore() const {
  const Stream& up = upstream_->stream;
  return up.end_seen() && (up.receive_error() != 0 || status_ >= 400 || !response_.keep_alive);
}

Buffer* Exchange::TakeChunk(size_t bytes) { return shard_.buffers().TakeChunk(bytes); }

void Exchange::Respond(uint16_t status, std::string_view reason, const char* end, uint32_t retry_after_s) {
  if (upstream_ != nullptr) DropUpstream(true);
  if (asking_ != nullptr) proxy_.passwords().Forget(std::exchange(asking_, nullptr));
  if (leg_ != nullptr && !deciding_) EndAuthLeg();
  if (head_sent_down_) {
    Truncate(end);
    return;
  }
  if (deciding_ && status >= 500) {
    proxy_.counters().auth_failures.Add();
    reason = "who decides about this request could not be asked";
    const std::string_view why = end;
    if (why.starts_with("upstream_") || why == "none_available") end = "auth_failed";
  }
  keep_ = keep_ && phase_ != Phase::kHead && request_body_.done() && !proxy_.Closing(client_);
  Slice answer = ErrorAnswer(status, reason, retry_after_s);
  if (answer.empty()) {
    Finish(Verdict::kReset);
    return;
  }
  AnswerWith(std::move(answer), status, end);
}

// In the words of the nearest error page; where there is none, or too little memory for it, in our own.
// Empty: not even that.
Slice Exchange::ErrorAnswer(uint16_t status, std::string_view reason, uint32_t retry_after_s) {
  const std::string_view fields = status == 401 ? route_->unauthorized_fields : route_->error_fields;
  if (const ErrorPage* const page = FindErrorPage(status)) {
    const http::FixedResponse fixed{.status = status,
                                    .content_type = page->content_type,
                                    .body = page->body,
                                    .extra_fields = fields,
                                    .retry_after_s = retry_after_s,
                                    .no_store = true};
    static_assert(kMaxLocalBodyBytes + kMaxContentTypeBytes + kMaxResponseFieldsBytes + 512 <=
                  BufferPool::kLargestChunk);
    if (Buffer* const chunk = TakeChunk(http::MaxFixedBytes(fixed))) {
      return {chunk, 0, static_cast<uint32_t>(http::SerializeFixed(fixed, LocalContext(), chunk->data))};
    }
  }
  Buffer* const chunk = TakeChunk(http::kMaxErrorBytes + fields.size());
  if (chunk == nullptr) return {};
  return {chunk, 0,
          static_cast<uint32_t>(
              http::SerializeError(status, reason, retry_after_s, LocalContext(), chunk->data, fields))};
}

// The route's, then the listener's, then those of all.
const ErrorPage* Exchange::FindErrorPage(uint16_t status) const {
  for (const ErrorPages* pages :
       {&route_->error_pages, &listener_.direct.error_pages, &snapshot_->settings().error_pages}) {
    for (const ErrorPage& page : *pages) {
      if (page.IsFor(status)) return &page;
    }
  }
  return nullptr;
}

http::LocalContext Exchange::LocalContext() {
  return {.date = proxy_.date(),
          .client_minor = request_.minor,
          .keep_alive = keep_,
          .head_request = request_.method == http::Method::kHead};
}

void Exchange::AnswerWith(Slice answer, uint16_t status, const char* end) {
  answer_ = std::move(answer);
  status_ = status;
  end_ = end;
  phase_ = Phase::kRespond;
  progress_ = true;
}

void Exchange::AnswerHere() {
  const http::RequestHead& head = proxy_.request_head();
  keep_ = keep_ && request_.body.Empty();
  const std::string_view fields = listener_.direct.error_fields;  // what every answer has
  const size_t most = http::MaxLocalAnswerBytes(head) + fields.size();
  Buffer* chunk = most <= BufferPool::kLargestChunk ? TakeChunk(most) : nullptr;
  if (chunk == nullptr) {
    Respond(503, "out of memory", "out_of_memory");
    return;
  }
  const size_t bytes = http::SerializeLocalAnswer(head, LocalContext(), chunk->data, fields);
  AnswerWith(Slice(chunk, 0, static_cast<uint32_t>(bytes)), 200, "answered_here");
}

void Exchange::StepRespond() {
  Stream& down = client_.stream;
  if (down.send_error() != 0 || (down.end_seen() && down.receive_error() != 0)) {
    ClientGone("client_abort");
    return;
  }
  if (down.sending()) return;
  if (!answered_) {
    answered_ = answer_begun_ = true;
    proxy_.counters().local_responses.Add();
    NoteHead(answer_.view().substr(0, answer_.view().find("\r\n\r\n") + 4));
    progress_ = true;
    down.Send(shard_, std::move(answer_));
    return;
  }
  Finish(keep_ ? Verdict::kKeepAlive : Verdict::kLinger);
}

void Exchange::ClientGone(const char* end) {
  proxy_.counters().client_aborts.Add();
  end_ = end;
  Finish(Verdict::kClose);
}

// Part of the answer is out and the rest will not come: it must not look whole.
void Exchange::Truncate(const char* end) {
  end_ = end;
  // Only a reset tells a close-delimited body's reader that something is missing. (It may be whole: then it
  // was the request that failed.)
  const bool reset = down_framing_ == http::Framing::kUntilClose && !response_body_.done();
  Finish(reset ? Verdict::kReset : Verdict::kLinger);
}

void Exchange::Finish(Verdict verdict) {
  WEIR_CHECK(phase_ != Phase::kOver);
  phase_ = Phase::kOver;
  verdict_ = verdict;
  if (upstream_ != nullptr && verdict != Verdict::kTunnel) DropUpstream(true);
  EndWait();
  EndRetry();
  if (asking_ != nullptr) proxy_.passwords().Forget(std::exchange(asking_, nullptr));
  client_.held_since_ns = 0;
  ProxyCounters& counters = proxy_.counters();
  if (counted_) counters.requests_active.Sub();
  const uint32_t status_class = answer_begun_ ? status_ / 100u : 0;
  counters.requests[status_class <= 5 ? status_class : 0].Add();
  if (went_up_) pool_->counters().responses[status_class <= 5 ? status_class : 0].Add();
  counters.latency_us.Record(ElapsedUs(shard_.now_ns()));
  counters.client_bytes_received.Add(body_received_);
  counters.client_bytes_sent.Add(client_.stream.sent_bytes() - client_sent_before_);
  if (proxy_.log() != nullptr) Log();
}

uint32_t Exchange::ElapsedUs(int64_t until_ns) const {
  return static_cast<uint32_t>(std::min<int64_t>((until_ns - begin_ns_) / kNsPerUs, UINT32_MAX));
}

// What a send waits for may be moving although it has not completed: a long send to a slow reader.
bool Exchange::StillAcknowledged(const Stream& stream) {
  const int fd = stream.fd();
  // A unix socket's count is lower after more was sent (core/backend.h), as a pipe does piece by piece: with
  // what was sent it is what was read. Client and upstream are counted apart; the first look at either has
  // nothing to compare with.
  const int64_t acknowledged =
      shard_.backend().AcknowledgedBytes(fd) + static_cast<int64_t>(stream.sent_bytes());
  const bool moved = fd != acknowledged_fd_ || acknowledged != acknowledged_;
  acknowledged_fd_ = fd;
  acknowledged_ = acknowledged;
  return moved;
}

// Whether anything has moved since the timer was set. Another wait has another limit, which begins with it: a
// send that is done is progress too.
bool Exchange::Moved() {
  const bool up_sending = upstream_ != nullptr && upstream_->stream.sending();
  const auto waits = static_cast<uint8_t>(client_.stream.sending() | up_sending << 1 | Uploading() << 2 |
                                          static_cast<int>(side_) << 3);
  if (waits != waits_) progress_ = true;
  waits_ = waits;
  return progress_;
}

// The timer fired, but what arrived in the same turn beats it; only the time for the whole request does not
// wait.
bool Exchange::TimerCounts() {
  switch (phase_) {
    case Phase::kHead:
      return true;
    case Phase::kBuffer:
    case Phase::kForward:
      return !Moved() || OutOfTime();
    case Phase::kRespond:
      return !Moved();
    case Phase::kAuthorize:  // they look for themselves
    case Phase::kConnect:
    case Phase::kBackoff:
    case Phase::kOver:
      return false;
  }
  return false;
}

bool Exchange::OutOfTime() const {
  const uint32_t request_ms = timeouts().request_ms;
  return request_ms > 0 && shard_.now_ns() - begin_ns_ >= int64_t{request_ms} * kNsPerMs;
}

// At most so long that the time for the whole request is kept.
uint32_t Exchange::WithinRequest(uint32_t delay_ms) const {
  const uint32_t request_ms = timeouts().request_ms;
  if (request_ms == 0) return delay_ms;
  const int64_t left_ms = request_ms - (shard_.now_ns() - begin_ns_) / kNsPerMs;
  return std::min(delay_ms, static_cast<uint32_t>(std::max<int64_t>(left_ms, 1)));
}

void Exchange::OnTimer() {
  client_.timer.fired = false;
  ProxyCounters& counters = proxy_.counters();
  switch (phase_) {
    case Phase::kHead:
      counters.client_timeouts.Add();
      Respond(408, "the request head took too long", "client_timeout");
      break;
    case Phase::kBuffer:
      counters.client_timeouts.Add();
      Respond(408, "the request body took too long", OutOfTime() ? "request_timeout" : "client_timeout");
      break;
    case Phase::kForward:
      OnForwardTimer();
      break;
    case Phase::kRespond:
      if (StillAcknowledged(client_.stream)) {
        progress_ = true;
        break;
      }
      counters.client_timeouts.Add();
      end_ = "client_timeout";
      Finish(Verdict::kReset);
      break;
    case Phase::kAuthorize:
    case Phase::kConnect:
    case Phase::kBackoff:
    case Phase::kOver:
      break;
  }
}

void Exchange::OnForwardTimer() {
  ProxyCounters& counters = proxy_.counters();
  const bool out_of_time = OutOfTime();
  if (client_.stream.sending()) {
    if (!out_of_time && StillAcknowledged(client_.stream)) {
      progress_ = true;
      return;
    }
    counters.client_timeouts.Add();
    end_ = out_of_time ? "request_timeout" : "client_timeout";
    Finish(Verdict::kReset);
    return;
  }
  if (!out_of_time && Uploading() && upstream_ != nullptr && !WaitsForContinue()) {
    if (!upstream_->stream.sending()) {
      counters.client_timeouts.Add();
      Respond(408, "the request body took too long", "client_timeout");
      return;
    }
    if (StillAcknowledged(upstream_->stream)) {
      progress_ = true;
      return;
    }
  }
  if (side_ == Side::kDone) {
    Finish(Verdict::kLinger);
    return;
  }
  if (side_ == Side::kHead && !out_of_time && (AsksAgain() || TryIsOver())) return;
  counters.upstream_timeouts.Add();
  // Of the time for the whole request the client or earlier attempts may have taken the most.
  const bool had_its_time = !out_of_time || (WentAtOnce() && attempts_.count() == 1);
  if (side_ == Side::kHead) ObserveFailure(had_its_time ? Outcome::kTimeout : Outcome::kUnknown);
  Respond(504, "the origin took too long", out_of_time ? "request_timeout" : "upstream_timeout");
}

void Exchange::ArmTimer() {
  const bool up_sending = upstream_ != nullptr && upstream_->stream.sending();
  const bool down_sending = client_.stream.sending();
  Moved();
  const bool holds = (down_sending && !client_.stream.draining()) ||
                     (up_sending && !upstream_->stream.draining()) || client_.stream.has_bytes() ||
                     first_body_.holds_buffer() || (upstream_ != nullptr && upstream_->stream.has_bytes());
  // Bytes of the next request wait for the end of this one, however well it goes.
  const bool next_waits = client_.stream.has_bytes() && request_body_.done();
  if (!holds) {
    client_.held_since_ns = 0;
  } else if ((progress_ && !next_waits) || client_.held_since_ns == 0) {
    client_.held_since_ns = shard_.now_ns();
  }
  if (!progress_ || (phase_ != Phase::kForward && phase_ != Phase::kRespond && phase_ != Phase::kBuffer))
    return;
  progress_ = false;
  uint32_t delay_ms = TimerWheel::kMaxDelayMs;
  const auto within = [&delay_ms](uint32_t limit_ms) {
    if (limit_ms > 0) delay_ms = std::min(delay_ms, limit_ms);
  };
  if (down_sending || phase_ == Phase::kRespond) within(timeouts().client_send_ms);
  if (phase_ == Phase::kBuffer) within(timeouts().client_body_ms);
  if (phase_ == Phase::kForward) {
    if (up_sending) {
      within(timeouts().upstream_body_ms);
    } else if (Uploading() && !WaitsForContinue()) {
      within(timeouts().client_body_ms);
    } else if (side_ == Side::kHead) {
      if (!leaving_) SetHeadDue();
      within(leaving_ ? AskAgainMs() : HeadLeftMs());
    }
    if (side_ == Side::kBody && !down_sending) within(timeouts().upstream_body_ms);
  }
  // Our own answer has its own time: it may well say that the request's is over.
  if (phase_ != Phase::kRespond) delay_ms = WithinRequest(delay_ms);
  shard_.SetTimer(client_.timer, delay_ms);
}

UpstreamConnection* Exchange::TakeTunnel() {
  WEIR_CHECK(verdict_ == Verdict::kTunnel);
  proxy_.counters().upstream_bytes_sent.Add(upstream_->stream.sent_bytes() - upstream_sent_before_);
  return std::exchange(upstream_, nullptr);
}

}  // namespace weir::lb
