// Another attempt: whether there may be one, what it costs, when it begins (RFC 9110 section 9.2.2).
#include <algorithm>
#include <utility>

#include "lb/l7/exchange.h"
#include "lb/proxy.h"

namespace weir::lb {
namespace {

constexpr uint32_t kAskAgainMs = 32;

}  // namespace

// Again only what means the same when done twice, what certainly never arrived, or what the operator says may
// be done twice; and all that was sent must still be at hand.
bool Exchange::MayRetry() const {
  if (!replayable_ || answer_begun_ || attempts_.count() > route_->retries) return false;
  const Stream& up = upstream_->stream;
  const bool nothing_reached = !up.sending() && up.sent_bytes() == upstream_sent_before_;
  return nothing_reached || deciding_ || route_->retry.non_idempotent || http::IsIdempotent(request_.method);
}

// Whether the upstream bears one more attempt of this request, which is in flight there.
bool Exchange::TakeRetry() {
  if (in_budget_) return true;  // the place of the attempt that is over
  in_budget_ = pool_->retry_budget().Take(shard_.now_ns());
  return in_budget_;
}

void Exchange::EndRetry() {
  if (!in_budget_) return;
  in_budget_ = false;
  pool_->retry_budget().GiveBack();
}

void Exchange::EndWait() {
  if (!backs_off_) return;
  backs_off_ = false;
  pool_->retry_budget().EndWait();
}

// Nobody has the request any more; it is tried again, at once or after a while.
void Exchange::TryAgain(bool allow_tried) {
  interims_ = 0;
  from_upstream_.Clear();
  const uint32_t delay_ms = BackoffMs();
  if (delay_ms == 0) return TryUpstream(allow_tried);
  WaitForNext(allow_tried, delay_ms);
}

void Exchange::WaitForNext(bool allow_tried, uint32_t delay_ms) {
  allow_tried_ = allow_tried;
  if (!backs_off_) pool_->retry_budget().BeginWait();
  backs_off_ = true;
  phase_ = Phase::kBackoff;
  progress_ = true;
  shard_.SetTimer(client_.timer, WithinRequest(delay_ms));
}

// By chance up to the bound, which doubles with each attempt: who failed together shall not come back
// together.
uint32_t Exchange::BackoffMs() {
  const RetrySettings& retry = route_->retry;
  if (retry.backoff_base_ms == 0 || attempts_.count() > route_->retries) return 0;
  const uint64_t bound_ms = uint64_t{retry.backoff_base_ms} << (attempts_.count() - 1);
  return shard_.random().Below(static_cast<uint32_t>(std::min<uint64_t>(bound_ms, retry.backoff_max_ms)) + 1);
}

void Exchange::StepBackoff() {
  const Stream& down = client_.stream;
  if (down.end_seen() && down.receive_error() != 0) return ClientGone("client_abort");
  if (!client_.timer.fired) return;
  shard_.ClearTimer(client_.timer);
  if (OutOfTime()) {
    EndWait();
    proxy_.counters().upstream_timeouts.Add();
    Respond(504, "the origin took too long", "request_timeout");
    return;
  }
  if (awaits_budget_) return AwaitBudget();
  EndWait();
  TryUpstream(allow_tried_);
}

// The upstream bears no more attempts now. Who gets no answer otherwise waits for a place: an origin that
// died with much in flight is no reason to fail any of it, and the budget is kept.
void Exchange::AwaitBudget() {
  const int64_t now_ns = shard_.now_ns();
  if (!awaits_budget_) budget_wait_ns_ = now_ns;
  awaits_budget_ = true;
  if (backs_off_ && TakeRetry()) {
    awaits_budget_ = false;
    EndWait();
    return TryAgain(allow_tried_);
  }
  // Asks again by chance, and the more rarely the longer that goes on, as all that wait do.
  const uint32_t waited_ms = static_cast<uint32_t>((now_ns - budget_wait_ns_) / kNsPerMs);
  const uint32_t most_ms = pool_->retry_budget().wait_ms();
  if (waited_ms < most_ms) {
    const uint32_t delay_ms = 1 + shard_.random().Below(std::max(waited_ms, 2u));
    return WaitForNext(allow_tried_, std::min(delay_ms, most_ms - waited_ms));
  }
  awaits_budget_ = false;
  EndWait();
  proxy_.counters().retries_over_budget.Add();
  ClosedWithoutAnswer();
}

void Exchange::ClosedWithoutAnswer() {
  Respond(502, "the origin closed the connection without an answer", "upstream_closed");
}

// The upstream ended before a byte of its answer came.
void Exchange::UpstreamFailed() {
  if (!reused_) {
    ObserveFailure(Outcome::kGatewayError);
    proxy_.counters().upstream_resets.Add();
  }
  // A kept connection that had died says nothing about its endpoint: that is no attempt that failed.
  if (!MayRetry() || (!reused_ && !route_->retry.reset)) {
    if (reused_) proxy_.counters().upstream_resets.Add();
    return ClosedWithoutAnswer();
  }
  const bool has_room = reused_ || TakeRetry();
  DropUpstream(true);
  // It may have been this one connection's bad luck: where there is no other endpoint, the same once more is
  // better than no answer. Not twice: the request may be what ends it.
  const bool allow_tried = attempts_.count() <= 1;
  if (!has_room) {
    allow_tried_ = allow_tried;
    return AwaitBudget();
  }
  if (!reused_) return TryAgain(allow_tried);
  attempts_.ForgiveLast();
  fresh_only_ = true;
  TryUpstream(allow_tried);
}

// The head of an answer is there, with a status of which the route would rather have another answer. True:
// another attempt begins. False: it is the client's.
bool Exchange::RetryStatus(Slice& rest) {
  if (!route_->retry.Wants(response_.status) || !MayRetry()) return false;
  if (!TakeRetry()) {
    proxy_.counters().retries_over_budget.Add();
    return false;
  }
  upload_failed_ = Uploading();  // what of the request did not go up will not be wanted there any more
  SettleUnread(std::move(rest));
  TryAgain(true);
  return true;
}

// An answer that nobody gets: of its body only what is here already is worth reading, for the connection's
// sake.
void Exchange::SettleUnread(Slice rest) {
  response_body_ = http::BodyReader(response_.body);
  Stream& up = upstream_->stream;
  up.PutBack(std::move(rest));
  bool sound = true;
  while (sound && !response_body_.done() && !response_body_.in_trailers() && up.has_bytes()) {
    Slice in = up.TakeBytes();
    const http::BodyPiece piece = response_body_.Read(in.data(), in.size());
    proxy_.counters().upstream_bytes_received.Add(piece.consumed);
    sound = piece.state != http::BodyState::kError;
    in.RemovePrefix(static_cast<uint32_t>(piece.consumed));
    up.PutBack(std::move(in));
  }
  const bool whole = sound && !upload_failed_ && response_body_.done() && !up.sending();
  response_.keep_alive = response_.keep_alive && whole;
  upload_done_ = true;
  SettleUpstream();
  response_body_ = {};
}

// How long to wait for the head of an answer: its own time, or that of an attempt, if another one may follow.
uint32_t Exchange::HeadMs() const {
  const uint32_t response_ms = timeouts().response_ms;
  const uint32_t try_ms = route_->retry.per_try_ms;
  if (try_ms == 0 || !MayRetry()) return response_ms;
  if (response_ms == 0) return patient_ ? 0 : try_ms;
  return patient_ ? std::max(response_ms, try_ms + 1) - try_ms : std::min(response_ms, try_ms);
}

// Others say that the endpoint is not well, and of its answer nothing is there: it may never come. True:
// another attempt begins. Without room for one this goes on as it is, and asks again until its time is over.
bool Exchange::LeaveEndpoint() {
  const bool waits = side_ == Side::kHead && from_upstream_.empty() && interims_ == 0 && !Uploading();
  const bool wants = patient_ || route_->retry.endpoint_down;
  if (leaving_ || !waits || !wants || !MayRetry()) return false;
  if (!TakeRetry()) {
    if (progress_) SetHeadDue();  // the timer was about to be armed
    leaving_ = progress_ = true;
    return false;
  }
  // One whose own time is over has failed; of another nobody knows.
  if (patient_) proxy_.counters().upstream_timeouts.Add();
  ObserveFailure(patient_ ? Outcome::kTimeout : Outcome::kUnknown);
  DropUpstream(true);
  TryAgain(true);
  return true;
}

bool Exchange::AsksAgain() {
  if (!leaving_) return false;
  leaving_ = false;
  if (shard_.now_ns() >= head_due_ns_) return false;
  if ((patient_ || pool_->IsLost(endpoint_, route_->subset)) && LeaveEndpoint()) return true;
  if (!leaving_) shard_.SetTimer(client_.timer, WithinRequest(HeadLeftMs()));
  return true;
}

// When the head of the answer must be there.
void Exchange::SetHeadDue() {
  const uint32_t head_ms = HeadMs();
  head_due_ns_ = head_ms == 0 ? kNever : shard_.now_ns() + int64_t{head_ms} * kNsPerMs;
}

uint32_t Exchange::HeadLeftMs() const {
  if (head_due_ns_ == kNever) return TimerWheel::kMaxDelayMs;
  const int64_t left_ms = (head_due_ns_ - shard_.now_ns() + kNsPerMs - 1) / kNsPerMs;
  return static_cast<uint32_t>(std::clamp<int64_t>(left_ms, 1, TimerWheel::kMaxDelayMs));
}

uint32_t Exchange::AskAgainMs() const {
  return std::min(1 + shard_.random().Below(kAskAgainMs), HeadLeftMs());
}

// No head came in time. True: it was the time of the attempt alone, and another one begins, or this one goes
// on as the upstream bears no other.
bool Exchange::TryIsOver() {
  const uint32_t try_ms = route_->retry.per_try_ms;
  if (try_ms == 0 || patient_ || !MayRetry()) return false;
  if (!TakeRetry()) {
    proxy_.counters().retries_over_budget.Add();
    patient_ = true;
    SetHeadDue();
    leaving_ = progress_ = true;
    return timeouts().response_ms == 0 || try_ms < timeouts().response_ms;
  }
  proxy_.counters().upstream_timeouts.Add();
  ObserveFailure(Outcome::kTimeout);
  DropUpstream(true);
  TryAgain(true);
  return true;
}

}  // namespace weir::lb
