// The request's way up: head, endpoint, body (RFC 9112 sections 2 to 7, RFC 9110 sections 7 and 9.2.2).
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "lb/http/local_response.h"
#include "lb/http/serialize_request.h"
#include "lb/http/trailers.h"
#include "lb/l4/proxy_hello.h"
#include "lb/l7/body_encoder.h"
#include "lb/l7/exchange.h"
#include "lb/l7/mirror.h"
#include "lb/proxy.h"
#include "lb/route/forwarded.h"

namespace weir::lb {
namespace {

// A body piece up to this size is copied behind the head: one plain send is cheaper than a gathered one, and
// the whole can be sent again.
constexpr size_t kCopyBytes = 2048;

}  // namespace

void Exchange::StepHead() {
  Stream& down = client_.stream;
  while (phase_ == Phase::kHead && down.has_bytes()) TakeHead(down.TakeBytes());
  if (phase_ == Phase::kHead) {
    if (!down.receive_ended()) return;
    if (down.receive_error() != 0) {
      ClientGone("client_abort");
    } else {
      Respond(400, "the request head is incomplete", "client_abort");
    }
  }
}

void Exchange::TakeHead(Slice in) {
  http::RequestHead& head = proxy_.request_head();
  http::ParseResult result;
  if (from_client_.empty()) {
    result = http::ParseRequest(in.view(), head);
    if (result.done()) in.RemovePrefix(result.consumed);
  }
  if (!from_client_.empty() || result.state == http::ParseState::kNeedMore) {
    const bool first = from_client_.empty();
    const Collector::Added added = from_client_.Add(shard_.buffers(), in, proxy_.settings().limits);
    if (added == Collector::Added::kNoMemory) {
      Respond(503, "out of memory", "out_of_memory");
      return;
    }
    if (!first && added == Collector::Added::kReady) {
      result = http::ParseRequest(from_client_.bytes(), head);
      if (result.done()) in.RemovePrefix(from_client_.ConsumedOfLast(result.consumed));
    }
  }
  if (result.done()) {
    OnHead(std::move(in));
  } else if (result.failed()) {
    proxy_.counters().bad_requests.Add();
    request_ = head.facts;
    NoteRequest();
    Respond(result.error.status, result.error.reason, "bad_request");
  }
}

void Exchange::OnHead(Slice rest) {
  const http::RequestHead& head = proxy_.request_head();
  http::RequestContext context;
  http::BodyPiece piece;
  request_ = head.facts;
  counted_ = true;
  ++client_.requests;
  proxy_.counters().requests_active.Add();
  keep_ = request_.keep_alive && !proxy_.Closing(client_);
  request_body_ = http::BodyReader(request_.body);
  if (!Admit(rest, context, piece)) {
    if (proxy_.log() != nullptr && !SerializeHead(context, rest, piece, false)) NoteRequest();
    return;
  }
  phase_ = Phase::kConnect;  // the head is dealt with: an answer of our own no longer ends the connection
  const bool forward = Route(context) && BodyFits();
  const bool serialized =
      (!forward && proxy_.log() == nullptr) || SerializeHead(context, rest, piece, request_body_.done());
  if (!serialized) NoteRequest();
  from_client_.Clear();
  rest.RemovePrefix(static_cast<uint32_t>(piece.consumed));
  client_.stream.PutBack(std::move(rest));
  if (asking_ != nullptr) {
    AwaitAuthority();
  } else if (leg_ != nullptr) {
    AskFirst();
  } else if (forward && serialized) {
    GoUp();
  }
}

// What is asked of every request, whatever its route. False: it was answered here.
bool Exchange::Admit(Slice& rest, http::RequestContext& context, http::BodyPiece& piece) {
  const http::RequestHead& head = proxy_.request_head();
  if (listener_.trusted.list != nullptr) {
    const std::optional<SocketAddress> client = FindClient(
        *listener_.trusted.list, listener_.forwarded, client_.peer, head, proxy_.route_scratch(), context);
    if (!client) {
      keep_ = false;
      proxy_.counters().bad_requests.Add();
      Respond(400, "Forwarded of the proxy cannot be read", "bad_request");
      return false;
    }
    address_ = *client;
    https_ = context.proto == "https";
  }
  if (!listener_.access.Allows(address_)) {
    keep_ = false;
    return Deny();
  }
  if (head.MustAnswerHere()) {
    if (!rest.empty() && keep_ && request_.body.Empty()) client_.stream.PutBack(std::move(rest));
    AnswerHere();
    return false;
  }
  if (request_.https_target) {
    Respond(421, "this listener does not speak for https targets", "misdirected");
    return false;
  }
  // What came of the body is checked before anything is sent on.
  if (!request_body_.done() && !rest.empty()) {
    piece = request_body_.Read(rest.data(), rest.size());
    if (piece.state == http::BodyState::kError) {
      BadRequestBody(piece.reason);
      return false;
    }
    body_received_ += piece.size;
  }
  if (request_body_.in_trailers()) {
    // Only a look: they are read again, perhaps with more of them, when their turn comes.
    const http::ParseResult trailers =
        http::ParseTrailers(rest.view().substr(piece.consumed), proxy_.trailers());
    if (trailers.failed()) {
      BadRequestBody(trailers.error.reason);
      return false;
    }
  }
  return true;
}

// The one that the endpoint gets: the client's, or one that is made as soon as somebody asks.
std::string_view Exchange::RequestId(http::RequestContext& context) {
  const http::RequestHead& head = proxy_.request_head();
  if (!head.request_id.empty()) return head.request_id;
  if (context.request_id.empty()) {
    auto& id = proxy_.route_scratch().request_id;
    proxy_.MakeRequestId(id);
    context.request_id = {id, sizeof(id)};
  }
  return context.request_id;
}

// With what the head alone does not say. To be called while its authority is the client's, or received_host
// says that one.
void Exchange::CompleteContext(http::RequestContext& context) {
  const http::RequestHead& head = proxy_.request_head();
  RouteScratch& scratch = proxy_.route_scratch();
  context.body = request_.body;
  if (context.client_ip.empty()) {
    context.client_ip = {scratch.client_ip, client_.peer.WriteIp(scratch.client_ip)};
  }
  RequestId(context);
  context.via_name = proxy_.via_name();
  context.default_host = proxy_.HostOf(client_);
  if (listener_.forwarded != ForwardedForm::kXForwarded) {
    AddForwarded(listener_.forwarded, client_.peer, head.authority, proxy_.via_name(), scratch, context);
  }
}

bool Exchange::SerializeHead(http::RequestContext& context, const Slice& rest, const http::BodyPiece& piece,
                             bool last) {
  const http::RequestHead& head = proxy_.request_head();
  if (context.via_name.empty()) CompleteContext(context);  // else it was for the subrequest
  // For a line in the log alone nothing is answered otherwise.
  const bool only_for_log = phase_ != Phase::kConnect;
  const std::string_view lines = route_->response_variables && !only_for_log
                                     ? std::string_view(proxy_.route_scratch().response_lines)
                                     : std::string_view();
  // What the asked server adds comes later.
  const size_t room =
      leg_ != nullptr && !route_->auth_request->copy.empty() ? AuthRequestSettings::kMaxCopyBytes : 0;
  const size_t most = http::MaxSerializedBytes(head, context) + lines.size() + room;
  whole_ = IsKeptWhole(most);
  const bool copy =
      only_for_log || whole_ ||
      (piece.size <= kCopyBytes && most + kCopyBytes + kMaxFramingBytes <= BufferPool::kLargestChunk);
  if (most > BufferPool::kLargestChunk) {
    if (!only_for_log) Respond(431, "the request head is too large to forward", "bad_request");
    return false;
  }
  const size_t body_bytes = only_for_log ? 0 : whole_ ? request_.body.length : piece.size;
  Buffer* chunk = TakeChunk(copy ? most + body_bytes + kMaxFramingBytes : most);
  if (chunk == nullptr) {
    if (!only_for_log) Respond(503, "out of memory", "out_of_memory");
    return false;
  }
  size_t bytes = http::SerializeRequest(head, context, chunk->data);
  head_bytes_ = static_cast<uint32_t>(bytes);
  if (copy && !only_for_log)
    bytes += CopyFramedBody(rest.data(), piece, request_.body.kind, last, chunk->data + bytes);
  head_ = Slice(chunk, 0, static_cast<uint32_t>(bytes));
  // Behind what is sent, for the response.
  lines.copy(chunk->data + (whole_ ? head_bytes_ + body_bytes : bytes), lines.size());
  response_lines_bytes_ = static_cast<uint32_t>(lines.size());
  // The same text in the same place, unless something was rewritten.
  if (proxy_.log() != nullptr && head.target.data() != head.received_target.data()) {
    NoteTarget({}, head.received_target, true);
  }
  if (!copy) first_body_ = FrameBody(rest, piece, request_.body.kind, last);
  return true;
}

// The body gets into the chunk that has the head: it can be sent as often as that. With `buffer` it is read
// before anybody is connected. A client that waits to be asked for it (Expect) is not asked here, and who was
// told by an endpoint to send it has had a part of the answer.
bool Exchange::IsKeptWhole(size_t head_bytes) const {
  const http::BodyFraming& body = request_.body;
  if (body.kind != http::Framing::kLength || body.length == 0 || phase_ != Phase::kConnect) return false;
  const RetrySettings& retry = route_->retry;
  const bool replays = retry.non_idempotent || http::IsIdempotent(request_.method);
  const uint32_t most_bytes = std::max(route_->buffer_bytes, replays ? retry.body_bytes : 0);
  return body.length <= most_bytes && !request_.expect_continue &&
         head_bytes + body.length + kMaxFramingBytes <= BufferPool::kLargestChunk;
}

// The next piece of such a body goes behind what is there.
Slice Exchange::KeepBody(const Slice& in, const http::BodyPiece& piece) {
  Buffer* const chunk = head_.buffer();
  const uint32_t end = head_.size();
  WEIR_CHECK(end + piece.size <= chunk->capacity);
  std::memcpy(chunk->data + end, in.data() + piece.offset, piece.size);
  BufferPool::Reference(chunk);
  head_ = Slice(chunk, 0, end + static_cast<uint32_t>(piece.size));
  BufferPool::Reference(chunk);
  return {chunk, end, static_cast<uint32_t>(piece.size)};
}

// The head is written, and who asks may come.
void Exchange::GoUp() {
  if (whole_ && !request_body_.done() && request_.body.length <= route_->buffer_bytes) {
    phase_ = Phase::kBuffer;
    progress_ = true;
    return;
  }
  TryUpstream();
  // The request itself comes first, also to the last descriptor.
  if (upstream_ != nullptr && route_->mirror.upstream != MirrorSettings::kNone) SendMirror();
}

// Only what lies in one piece and is whole: nothing of the request is kept for its copy's sake.
void Exchange::SendMirror() {
  const Share& share = route_->mirror.share;
  if (share.value != Share::kAll && !share.Takes(shard_.random().Next())) return;
  if (request_body_.done() && first_body_.empty() && request_.upgrade.empty()) {
    Mirror::Begin(proxy_, *snapshot_, route_->mirror, mirror_hash_, head_, request_);
  } else {
    proxy_.counters().mirrors_left_out.Add();
  }
}

void Exchange::StepBuffer() {
  Stream& down = client_.stream;
  while (!request_body_.done()) {
    if (!down.has_bytes()) {
      if (!down.receive_ended()) return;
      if (down.receive_error() != 0) return ClientGone("client_abort");
      proxy_.counters().client_aborts.Add();
      Respond(400, "the request body is incomplete", "client_abort");
      return;
    }
    Slice in = down.TakeBytes();
    const http::BodyPiece piece = request_body_.Read(in.data(), in.size());
    KeepBody(in, piece);
    body_received_ += piece.size;
    progress_ = true;
    in.RemovePrefix(static_cast<uint32_t>(piece.consumed));
    down.PutBack(std::move(in));
  }
  GoUp();
}

// With `allow_tried` rather an endpoint that was tried than none.
void Exchange::TryUpstream(bool allow_tried) {
  progress_ = went_up_ = true;
  if (attempts_.count() > route_->retries) return CannotBeReached();
  const uint32_t endpoint = pool_->Pick(attempts_.tried(), hash_, allow_tried, route_->subset);
  if (endpoint == UpstreamPool::kNone) {
    if (attempts_.count() == 0) {
      proxy_.counters().none_available.Add();
      Respond(503, "no endpoint is available", "none_available", pool_->RetryAfterSeconds(route_->subset));
    } else {
      CannotBeReached();
    }
    return;
  }
  if (attempts_.count() > 0) proxy_.counters().retries.Add();
  attempts_.Add(endpoint);
  endpoint_ = endpoint;
  reused_ = false;
  if (!fresh_only_) {
    const bool own_only = pool_->settings().proxy_hello.on();
    upstream_ = own_only ? pool_->TakeOwn(endpoint, client_.own) : pool_->TakeIdle(endpoint);
    if (upstream_ != nullptr) {
      reused_ = true;
      SendHead();
      return;
    }
  }
  sources_tried_ = 0;
  source_ = UpstreamPool::kNone;
  StartConnect();
}

void Exchange::StartConnect() {
  int error = 0;
  upstream_ = pool_->StartConnect(endpoint_, &client_, &error, source_);
  if (upstream_ == nullptr) {
    pool_->Done(endpoint_);
    if (error == EADDRNOTAVAIL) return Respond(503, "no source address is left", "out_of_sources", 1);
    Respond(503, "out of file descriptors", "out_of_descriptors", 1);
    return;
  }
  upstream_sent_before_ = 0;  // of this connection; the last one's count means nothing here
  phase_ = Phase::kConnect;
  shard_.SetTimer(client_.timer, WithinRequest(timeouts().connect_ms));
}

void Exchange::CannotBeReached() {
  Respond(connect_timed_out_ ? 504 : 502, "the origin cannot be reached", "upstream_unreachable");
}

void Exchange::StepConnect() {
  const Stream& down = client_.stream;
  if (down.end_seen() && down.receive_error() != 0) {
    ClientGone("client_abort");
    return;
  }
  Stream& up = upstream_->stream;
  if (!up.connecting() && up.connect_error() == 0 && !SayHello()) {
    if (upstream_ == nullptr) return;  // no memory
  } else if (!up.connecting() && up.connect_error() == 0) {
    pool_->ConnectWorked(endpoint_);
    SendHead();
    return;
  }
  const bool waits = up.connecting() || up.sending();
  if (waits && !client_.timer.fired) return;
  if (waits && OutOfTime()) {  // says nothing about the endpoint
    proxy_.counters().upstream_timeouts.Add();
    Respond(504, "the origin took too long", "request_timeout");
    return;
  }
  connect_timed_out_ = waits;
  shard_.ClearTimer(client_.timer);
  const int error = connect_timed_out_ ? ETIMEDOUT : up.connect_error();
  if (error == EADDRNOTAVAIL && ++sources_tried_ < pool_->SourcesFor(endpoint_)) {
    proxy_.upstreams().Close(std::exchange(upstream_, nullptr), false);
    return StartConnect();
  }
  pool_->ConnectFailed(endpoint_, error);
  pool_->ObserveFailure(endpoint_, connect_timed_out_ ? timeouts().connect_ms * kNsPerMs : 0);
  pool_->Learn(endpoint_, UpstreamPool::OutcomeOfConnect(error), UpstreamPool::kUnknownNs);
  DropUpstream(false);
  if (!route_->retry.connect_failure) return CannotBeReached();
  TryAgain(false);
}

// The PROXY header of a new connection, if it is to begin with one. True: it is with the kernel.
bool Exchange::SayHello() {
  Stream& up = upstream_->stream;
  // Of a connection that ended in that very moment the request will be told.
  if (!upstream_->hello.on() || up.sent_bytes() > 0 || up.send_error() != 0) return !up.sending();
  if (up.sending()) return false;
  std::string_view host;
  constexpr std::string_view kHost = "\r\nHost: ";
  if (const size_t at = head_.view().find(kHost); at != std::string_view::npos) {
    host = head_.view().substr(at + kHost.size());
    host = host.substr(0, host.find('\r'));
  }
  Slice hello = MakeProxyHello(proxy_, client_, upstream_->hello, host);
  if (hello.empty()) {
    Respond(503, "out of memory", "out_of_memory");
  } else {
    up.Send(shard_, std::move(hello));
  }
  return false;
}

void Exchange::SendHead() {
  Stream& up = upstream_->stream;
  up.SetWaiter(&client_);
  ++upstream_->requests;
  upstream_sent_before_ = up.sent_bytes();
  upstream_ns_ = shard_.now_ns();
  upload_done_ = upload_failed_ = in_pieces_ = patient_ = leaving_ = false;
  if (first_body_.empty()) {
    up.Send(shard_, head_);
  } else {
    if (WriteBefore(head_.view(), first_body_)) {
      up.Send(shard_, first_body_);
      first_body_.RemovePrefix(head_.size());
    } else {
      const Stream::Piece pieces[] = {head_.view(), first_body_.view()};
      up.SendPieces(shard_, pieces, head_, first_body_);
    }
  }
  phase_ = Phase::kForward;
  progress_ = true;
}

void Exchange::StepUpload() {
  while (phase_ == Phase::kForward && Uploading() && upstream_ != nullptr) {
    Stream& up = upstream_->stream;
    if (const uint64_t came = up_.Settle(client_.stream, up); came > 0 && !PassedUp(came)) return;
    if (up.send_error() != 0) {
      // It takes no more; an early answer may still be there to read.
      StopUpload();
      return;
    }
    if (up.sending()) return;
    if (first_body_.holds_buffer()) {
      first_body_.Clear();
      replayable_ = false;
    }
    if ((passes_up_ || MayPassUp()) && PassUp()) return;
    if (deciding_ || request_body_.done()) {
      upload_done_ = true;
      progress_ = true;
      if (side_ != Side::kHead && response_body_.done()) SettleUpstream();
      return;
    }
    if (side_ == Side::kHead ? up.receive_ended() : UpstreamTakesNoMore()) {
      StopUpload();
      return;
    }
    Stream& down = client_.stream;
    if (request_body_.in_trailers()) {
      if (!down.has_bytes() && !down.receive_ended()) return;
      StepUploadTrailers();
    } else if (down.has_bytes()) {
      TakeUpload(down.TakeBytes());
    } else if (down.receive_ended() && down_.moving() && response_body_.done()) {
      StopUpload();  // the answer is complete: its last bytes are in the pipe, and the client may be reading
      return;
    } else if (down.receive_ended()) {
      proxy_.counters().client_aborts.Add();
      Respond(400, "the request body is incomplete", "client_abort");
    } else {
      return;
    }
  }
}

bool Exchange::MayPassUp() const {
  return !deciding_ && !whole_ && request_.body.kind == http::Framing::kLength && !request_body_.done() &&
         MayPass(request_body_, up_);
}

// The upstream takes no more of it. What is on its way is lost, and with it the place where the body goes on.
void Exchange::StopUpload() {
  up_.Drop(shard_, client_.stream);
  passes_up_ = false;
  upload_failed_ = true;
}

// So many bytes went into the pipe. False: that was too much.
bool Exchange::PassedUp(uint64_t came) {
  request_body_.Skip(came);
  body_received_ += came;
  progress_ = in_pieces_ = true;
  replayable_ = false;
  return BodyFits();
}

// Like PassDown.
bool Exchange::PassUp() {
  Stream& down = client_.stream;
  Stream& up = upstream_->stream;
  if (side_ == Side::kHead ? up.receive_ended() : UpstreamTakesNoMore()) {
    up_.Drop(shard_, down);
    passes_up_ = false;
    return false;
  }
  if (!passes_up_) {
    if (down.has_bytes() || down.end_seen()) return false;
    if (down.receive_armed()) {
      down.CancelReceive(shard_);
      return true;
    }
    passes_up_ = true;
  }
  uint64_t came = 0;
  const Splice::Step step = up_.Move(shard_, down, up, request_body_.contiguous_bytes(), came);
  if (came > 0 && !PassedUp(came)) return true;
  if (step == Splice::Step::kWaits) return true;
  passes_up_ = false;
  if (step == Splice::Step::kFailed) {
    StopUpload();
    return true;
  }
  return false;
}

void Exchange::TakeUpload(Slice in) {
  up_.Copied(in.size());
  const http::BodyPiece piece = request_body_.Read(in.data(), in.size());
  if (piece.state == http::BodyState::kError) {
    BadRequestBody(piece.reason);
    return;
  }
  body_received_ += piece.size;
  if (!BodyFits()) return;
  progress_ = in_pieces_ = true;
  replayable_ = replayable_ && whole_;
  Slice framed =
      whole_ ? KeepBody(in, piece) : FrameBody(in, piece, request_.body.kind, request_body_.done());
  in.RemovePrefix(static_cast<uint32_t>(piece.consumed));
  client_.stream.PutBack(std::move(in));
  if (!framed.empty()) upstream_->stream.Send(shard_, std::move(framed));
}

void Exchange::StepUploadTrailers() {
  Stream& down = client_.stream;
  if (!down.has_bytes()) {
    proxy_.counters().client_aborts.Add();
    Respond(400, "the request's trailer section is incomplete", "client_abort");
    return;
  }
  Slice in = down.TakeBytes();
  const Collector::Added added = from_client_.Add(shard_.buffers(), in, proxy_.settings().limits);
  if (added == Collector::Added::kNoMemory) {
    Respond(503, "out of memory", "out_of_memory");
    return;
  }
  if (added == Collector::Added::kNotYet) return;
  http::Trailers& trailers = proxy_.trailers();
  const http::ParseResult result = http::ParseTrailers(from_client_.bytes(), trailers);
  if (result.failed()) {
    BadRequestBody(result.error.reason);
    return;
  }
  if (!result.done()) return;
  route_->request.headers.Drop(trailers);
  if (route_->auth_request != nullptr) {
    for (const std::string& name : route_->auth_request->copy) trailers.Drop(name);
  }
  in.RemovePrefix(from_client_.ConsumedOfLast(result.consumed));
  const size_t most = http::MaxSerializedBytes(trailers);
  Buffer* chunk = most <= BufferPool::kLargestChunk ? TakeChunk(most) : nullptr;
  if (chunk == nullptr) {
    Respond(503, "out of memory", "out_of_memory");
    return;
  }
  const size_t bytes = http::SerializeTrailers(trailers, chunk->data);
  from_client_.Clear();
  request_body_.TrailersDone();
  replayable_ = false;
  progress_ = true;
  down.PutBack(std::move(in));
  upstream_->stream.Send(shard_, Slice(chunk, 0, static_cast<uint32_t>(bytes)));
}

void Exchange::BadRequestBody(const char* reason) {
  proxy_.counters().bad_requests.Add();
  keep_ = false;
  Respond(400, reason, "bad_request");
}

void Exchange::DropUpstream(bool with_reset) {
  up_.Drop(shard_, client_.stream);
  down_.Drop(shard_, upstream_->stream);
  passes_up_ = passes_down_ = false;
  UpstreamConnection* upstream = std::exchange(upstream_, nullptr);
  proxy_.counters().upstream_bytes_sent.Add(upstream->stream.sent_bytes() - upstream_sent_before_);
  proxy_.upstreams().Close(upstream, with_reset);
  pool_->Done(endpoint_);
}

// The answer went through. If the request did too, the connection takes the next one, if it can.
void Exchange::SettleUpstream() {
  if (upstream_ == nullptr || tunnel_ || passes_down_) return;  // the last of it is in the pipe
  if (Uploading()) {
    // It may take no more of the request: its end says so long before a timeout does. (Bytes behind the
    // answer are nobody's, and such a connection is not used again.)
    while (upstream_->stream.has_bytes()) {
      upstream_->stream.TakeBytes();
      response_.keep_alive = false;
    }
    return;
  }
  // What lies behind a body that was received is seen; behind one that went through pipes it is asked for.
  const bool more = passed_down_ && shard_.backend().HasBytes(upstream_->stream.fd());
  if (!upload_done_ || !response_.keep_alive || response_.body.kind == http::Framing::kUntilClose || more) {
    DropUpstream(false);
    return;
  }
  UpstreamConnection* upstream = std::exchange(upstream_, nullptr);
  proxy_.counters().upstream_bytes_sent.Add(upstream->stream.sent_bytes() - upstream_sent_before_);
  proxy_.upstreams().Release(upstream, &client_.own);
  pool_->Done(endpoint_);
}

// How long the answer's head took. Where a part of the request was still to come the client had a share in
// that, and it says nothing. An endpoint that cannot serve says so quickly.
void Exchange::ObserveHead(uint16_t status) {
  const int64_t took_ns = shard_.now_ns() - upstream_ns_;
  pool_->Learn(endpoint_, OutcomeOf(status), WentAtOnce() ? took_ns : UpstreamPool::kUnknownNs);
  if (!WentAtOnce()) return;
  if (status == 502 || status == 503 || status == 504) {
    pool_->ObserveFailure(endpoint_, took_ns);
  } else {
    pool_->Observe(endpoint_, took_ns);
  }
}

void Exchange::ObserveFailure(Outcome outcome) {
  const int64_t took_ns = shard_.now_ns() - upstream_ns_;
  pool_->Learn(endpoint_, outcome, WentAtOnce() ? took_ns : UpstreamPool::kUnknownNs);
  if (WentAtOnce()) pool_->ObserveFailure(endpoint_, took_ns);
}

}  // namespace weir::lb
