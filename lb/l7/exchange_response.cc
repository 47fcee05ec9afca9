// The response's way down: interim and final heads, body, trailers (RFC 9112 sections 4, 6 and 7, RFC 9110
// section 15).
#include "lb/http/serialize_response.h"
#include "lb/http/trailers.h"
#include "lb/l7/body_encoder.h"
#include "lb/l7/exchange.h"
#include "lb/proxy.h"

namespace weir::lb {
namespace {

constexpr uint8_t kMaxInterims = 8;
constexpr size_t kCopyBytes = 2048;
// How much of a request body may still be to come when the answer is there already, for the connection to be
// kept.
constexpr uint64_t kKeepForBytes = 256 * 1024;

}  // namespace

void Exchange::StepDownload() {
  while (phase_ == Phase::kForward && side_ != Side::kDone && !client_.stream.sending()) {
    if (side_ == Side::kHead) {
      if (!StepResponseHead()) return;
      continue;
    }
    if (side_ == Side::kBody && upstream_ != nullptr && PassDown()) return;
    if (response_body_.done()) {
      side_ = Side::kDone;
      progress_ = true;
      SettleUpstream();
      return;
    }
    Stream& up = upstream_->stream;
    if (up.has_bytes()) {
      if (response_body_.in_trailers()) {
        StepDownloadTrailers();
      } else {
        TakeDownload(up.TakeBytes());
      }
      continue;
    }
    if (!up.receive_ended()) return;
    // A reset of which a send was told is a clean end for the receive. Where the end of the connection is all
    // there is to tell the end of the body, every send must have gone well.
    if (response_body_.framing() == http::Framing::kUntilClose && (up.sending() || up_.moving())) return;
    if (up.receive_error() != 0 || up.send_error() != 0 || response_body_.AtEof() != http::BodyState::kDone) {
      proxy_.counters().upstream_resets.Add();
      Truncate("upstream_truncated");
      return;
    }
    if (down_framing_ == http::Framing::kChunked) {
      const Stream::Piece last[] = {http::kLastChunk};
      client_.stream.SendPieces(shard_, last, Slice(), Slice());
    }
    progress_ = true;
  }
}

// False: it waits.
bool Exchange::StepResponseHead() {
  Stream& up = upstream_->stream;
  if (!up.has_bytes()) {
    if (!up.receive_ended()) return pool_->IsLost(endpoint_, route_->subset) && LeaveEndpoint();
    if (from_upstream_.empty() && interims_ == 0) {
      UpstreamFailed();
    } else {
      proxy_.counters().upstream_resets.Add();
      ObserveFailure(Outcome::kGatewayError);
      Respond(502, "the origin's answer broke off", "upstream_truncated");
    }
    return true;
  }
  Slice in = up.TakeBytes();
  const uint32_t received = in.size();
  http::ResponseHead& head = proxy_.response_head();
  http::ParseResult result;
  if (from_upstream_.empty()) {
    result = http::ParseResponse(in.view(), request_, head);
    if (result.done()) in.RemovePrefix(result.consumed);
  }
  if (!from_upstream_.empty() || result.state == http::ParseState::kNeedMore) {
    const bool first = from_upstream_.empty();
    const Collector::Added added = from_upstream_.Add(shard_.buffers(), in, proxy_.settings().limits);
    if (added == Collector::Added::kNoMemory) {
      Respond(503, "out of memory", "out_of_memory");
      return true;
    }
    if (!first && added == Collector::Added::kReady) {
      result = http::ParseResponse(from_upstream_.bytes(), request_, head);
      if (result.done()) in.RemovePrefix(from_upstream_.ConsumedOfLast(result.consumed));
    }
  }
  // What stands behind the head is counted as it is used.
  proxy_.counters().upstream_bytes_received.Add(result.done() ? received - in.size() : received);
  if (result.failed()) {
    BadResponse("upstream_bad_response");
    return true;
  }
  if (!result.done()) return true;  // more of it, or the end, may be there already
  progress_ = true;
  if (head.facts.interim()) {
    OnInterim(std::move(in));
  } else if (head.facts.status == 101) {
    OnSwitch(std::move(in));
  } else {
    OnFinal(std::move(in));
  }
  return true;
}

void Exchange::BadResponse(const char* end) {
  proxy_.counters().upstream_bad_responses.Add();
  if (response_ns_ == 0) ObserveFailure(Outcome::kGatewayError);
  Respond(502, "the origin's answer breaks the rules of HTTP", end);
}

void Exchange::OnInterim(Slice rest) {
  http::ResponseHead& head = proxy_.response_head();
  route_->response.Drop(head);
  if (++interims_ > kMaxInterims) {
    BadResponse("upstream_bad_response");
    return;
  }
  if (deciding_) {  // of no use to the client, whose request is not there yet
    from_upstream_.Clear();
    upstream_->stream.PutBack(std::move(rest));
    return;
  }
  if (head.facts.status == 100) saw_continue_ = true;
  const bool forward = request_.minor >= 1;  // HTTP/1.0 knows no interim responses
  if (forward) {
    const http::ResponseContext context{.body = {},
                                        .client_minor = request_.minor,
                                        .date = {},
                                        .via_name = proxy_.via_name(),
                                        .extra_fields = {}};
    const size_t most = http::MaxSerializedBytes(head, context);
    Buffer* chunk = most <= BufferPool::kLargestChunk ? TakeChunk(most) : nullptr;
    if (chunk == nullptr) {
      Respond(503, "out of memory", "out_of_memory");
      return;
    }
    const size_t bytes = http::SerializeResponse(head, context, chunk->data);
    answer_head_bytes_ += static_cast<uint32_t>(bytes);
    answer_begun_ = true;
    client_.stream.Send(shard_, Slice(chunk, 0, static_cast<uint32_t>(bytes)));
  }
  from_upstream_.Clear();
  upstream_->stream.PutBack(std::move(rest));
}

void Exchange::OnSwitch(Slice rest) {
  http::ResponseHead& head = proxy_.response_head();
  route_->response.Drop(head);
  // The whole request must be on its way; that the kernel has taken it may be told only after this answer.
  if (deciding_ || !request_body_.done() || upload_failed_) {
    BadResponse("upstream_bad_response");
    return;
  }
  ObserveHead(head.facts.status);
  response_ = head.facts;
  status_ = response_.status;
  response_ns_ = shard_.now_ns();
  const http::ResponseContext context{.body = {},
                                      .client_minor = request_.minor,
                                      .date = proxy_.date(),
                                      .via_name = proxy_.via_name(),
                                      .extra_fields = ResponseFields()};
  const size_t most = http::MaxSerializedBytes(head, context);
  Buffer* chunk = most <= BufferPool::kLargestChunk ? TakeChunk(most) : nullptr;
  if (chunk == nullptr) {
    Respond(503, "out of memory", "out_of_memory");
    return;
  }
  const size_t bytes = http::SerializeResponse(head, context, chunk->data);
  NoteHead({chunk->data, bytes});
  answer_begun_ = head_sent_down_ = tunnel_ = true;
  side_ = Side::kDone;
  client_.stream.Send(shard_, Slice(chunk, 0, static_cast<uint32_t>(bytes)));
  upstream_->stream.PutBack(std::move(rest));
  proxy_.counters().upgrades.Add();
}

// What the route adds to the final response, as lines. Views the route or the shard's scratch.
std::string_view Exchange::ResponseFields() {
  const bool hash_cookie = new_hash_cookie_ && !deciding_;
  if (!route_->response_variables && !new_cookie_ && !hash_cookie) [[likely]]
    return route_->response_fields;
  std::string& lines = proxy_.route_scratch().filled_lines;
  lines = route_->response_fields;
  if (route_->response_variables) {
    char endpoint[SocketAddress::kMaxText];
    const size_t body_end = whole_ ? head_bytes_ + request_.body.length : head_.size();
    FillEndpoint({head_.data() + body_end, response_lines_bytes_},
                 {endpoint, pool_->address(endpoint_).Write(endpoint)}, &lines);
  }
  if (new_cookie_) lines += route_->set_cookie;
  if (hash_cookie) WriteHashCookie(&lines);
  return lines;
}

bool Exchange::KeepAfterEarlyAnswer() const {
  if (request_body_.done()) return true;
  // A client that waits for 100 may or may not send its body now: nobody can tell where the next request
  // begins.
  if (request_.expect_continue && !saw_continue_) return false;
  return !upload_failed_ && request_body_.framing() == http::Framing::kLength &&
         request_body_.contiguous_bytes() <= kKeepForBytes;
}

void Exchange::OnFinal(Slice rest) {
  http::ResponseHead& head = proxy_.response_head();
  response_ = head.facts;
  if (reused_ && response_.status == 408 && !response_.keep_alive && interims_ == 0 && MayRetry()) {
    // The origin's way to close an idle connection, crossed by our request. Another one begins to answer.
    from_upstream_.Clear();
    UpstreamFailed();
    return;
  }
  ObserveHead(response_.status);
  if (response_.status >= RetrySettings::kFirstStatus && RetryStatus(rest)) return;
  if (deciding_) {
    if (response_.status / 100 == 2) return OnConsent(std::move(rest));
    OnRefusal();
  }
  status_ = response_.status;
  response_ns_ = shard_.now_ns();
  response_body_ = http::BodyReader(response_.body);
  http::BodyPiece piece;
  if (!response_body_.done() && !rest.empty()) {
    piece = response_body_.Read(rest.data(), rest.size());
    proxy_.counters().upstream_bytes_received.Add(piece.consumed);
    if (piece.state == http::BodyState::kError) {
      BadResponse("upstream_bad_response");
      return;
    }
  }
  const bool last = response_body_.done();
  const http::BodyFraming framing = http::DownstreamFraming(response_, request_);
  down_framing_ = framing.kind;
  keep_ = keep_ && framing.kind != http::Framing::kUntilClose && !proxy_.Closing(client_) &&
          KeepAfterEarlyAnswer();
  route_->response.Drop(head);
  const http::ResponseContext context{.body = framing,
                                      .client_minor = request_.minor,
                                      .keep_alive = keep_,
                                      .date = proxy_.date(),
                                      .via_name = proxy_.via_name(),
                                      .extra_fields = ResponseFields()};
  const size_t most = http::MaxSerializedBytes(head, context);
  const bool copy =
      piece.size <= kCopyBytes && most + kCopyBytes + kMaxFramingBytes <= BufferPool::kLargestChunk;
  Buffer* chunk = most <= BufferPool::kLargestChunk
                      ? TakeChunk(copy ? most + piece.size + kMaxFramingBytes : most)
                      : nullptr;
  if (chunk == nullptr) {
    Respond(502, "the origin's answer head cannot be forwarded", "out_of_memory");
    return;
  }
  size_t bytes = http::SerializeResponse(head, context, chunk->data);
  from_upstream_.Clear();
  NoteHead({chunk->data, bytes});
  answer_begun_ = head_sent_down_ = true;
  side_ = Side::kBody;
  Slice body;
  if (copy) {
    bytes += CopyFramedBody(rest.data(), piece, framing.kind, last, chunk->data + bytes);
  } else {
    body = FrameBody(rest, piece, framing.kind, last);
  }
  Slice head_out(chunk, 0, static_cast<uint32_t>(bytes));
  // Bytes behind the response's end stay in the stream: such a connection is never pooled. Given back before
  // WriteBefore, which wants a buffer that is nobody else's.
  rest.RemovePrefix(static_cast<uint32_t>(piece.consumed));
  upstream_->stream.PutBack(std::move(rest));
  if (copy) {
    client_.stream.Send(shard_, std::move(head_out));
  } else if (WriteBefore(head_out.view(), body)) {
    client_.stream.Send(shard_, std::move(body));
  } else {
    const Stream::Piece pieces[] = {head_out.view(), body.view()};
    client_.stream.SendPieces(shard_, pieces, std::move(head_out), std::move(body));
  }
  if (last) SettleUpstream();
}

// Of a known length on both sides, with enough to come: what the flow has shown to be bulk, where it turned
// small.
bool Exchange::MayPass(const http::BodyReader& body, const Splice& flow) const {
  const uint64_t from_bytes = snapshot_->settings().splice_from_bytes;
  if (from_bytes == 0 || body.framing() != http::Framing::kLength) return false;
  return body.contiguous_bytes() > from_bytes && (!flow.turned_back() || flow.full_bytes() >= from_bytes);
}

bool Exchange::MayPassDown() const {
  return side_ == Side::kBody && down_framing_ == http::Framing::kLength && MayPass(response_body_, down_);
}

// True: the body goes down without being looked at, and there is nothing to do but to wait, or it is all
// over.
bool Exchange::PassDown() {
  Stream& up = upstream_->stream;
  if (!passes_down_) {
    if (up.has_bytes() || up.end_seen() || !MayPassDown()) return false;
    if (up.receive_armed()) {  // for what came with the head
      up.CancelReceive(shard_);
      return true;
    }
    passes_down_ = true;
  }
  uint64_t came = 0;
  const Splice::Step step = down_.Move(shard_, up, client_.stream, response_body_.contiguous_bytes(), came);
  if (came > 0) {
    passed_down_ = true;
    response_body_.Skip(came);
    proxy_.counters().upstream_bytes_received.Add(came);
    progress_ = true;
  }
  if (step == Splice::Step::kWaits) return true;
  passes_down_ = false;
  if (step == Splice::Step::kFailed) {
    down_.Drop(shard_, up);
    ClientGone("client_abort");
    return true;
  }
  return false;
}

void Exchange::TakeDownload(Slice in) {
  down_.Copied(in.size());
  const http::BodyPiece piece = response_body_.Read(in.data(), in.size());
  proxy_.counters().upstream_bytes_received.Add(piece.consumed);
  if (piece.state == http::BodyState::kError) {
    proxy_.counters().upstream_bad_responses.Add();
    Truncate("upstream_bad_response");
    return;
  }
  progress_ = true;
  Slice framed = FrameBody(in, piece, down_framing_, response_body_.done());
  in.RemovePrefix(static_cast<uint32_t>(piece.consumed));
  upstream_->stream.PutBack(std::move(in));
  if (!framed.empty()) client_.stream.Send(shard_, std::move(framed));
  if (response_body_.done()) SettleUpstream();
}

void Exchange::StepDownloadTrailers() {
  Stream& up = upstream_->stream;
  Slice in = up.TakeBytes();
  const Collector::Added added = from_upstream_.Add(shard_.buffers(), in, proxy_.settings().limits);
  http::ParseResult result;
  http::Trailers& trailers = proxy_.trailers();
  if (added == Collector::Added::kReady) result = http::ParseTrailers(from_upstream_.bytes(), trailers);
  if (added == Collector::Added::kNoMemory || result.failed()) {
    proxy_.counters().upstream_bad_responses.Add();
    Truncate("upstream_bad_response");
    return;
  }
  if (!result.done()) {
    proxy_.counters().upstream_bytes_received.Add(in.size());
    return;
  }
  const uint32_t consumed = from_upstream_.ConsumedOfLast(result.consumed);
  proxy_.counters().upstream_bytes_received.Add(consumed);
  in.RemovePrefix(consumed);
  progress_ = true;
  route_->response.Drop(trailers);
  if (down_framing_ == http::Framing::kChunked) {
    const size_t most = http::MaxSerializedBytes(trailers);
    Buffer* chunk = request_.te_trailers && most <= BufferPool::kLargestChunk ? TakeChunk(most) : nullptr;
    if (chunk != nullptr) {
      const size_t bytes = http::SerializeTrailers(trailers, chunk->data);
      client_.stream.Send(shard_, Slice(chunk, 0, static_cast<uint32_t>(bytes)));
    } else {
      const Stream::Piece last[] = {http::kLastChunk};
      client_.stream.SendPieces(shard_, last, Slice(), Slice());
    }
  }
  from_upstream_.Clear();
  response_body_.TrailersDone();
  up.PutBack(std::move(in));
  SettleUpstream();
}

}  // namespace weir::lb
