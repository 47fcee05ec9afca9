#include "lb/health/check.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "lb/health/checker.h"
#include "lb/http/method.h"
#include "lb/proxy_protocol/write.h"

namespace weir::lb {
namespace {

bool IsOurs(int error) {
  return error == EADDRNOTAVAIL || error == EAGAIN || error == ENOMEM || error == ENOBUFS ||
         error == EMFILE || error == ENFILE;
}

std::string Duration(uint32_t ms) {
  return ms % 1000 == 0 ? std::to_string(ms / 1000) + " s" : std::to_string(ms) + " ms";
}

SocketAddress CheckedAddress(const UpstreamPlan& plan, uint32_t endpoint) {
  SocketAddress address = plan.settings.endpoints[endpoint].address;
  if (plan.settings.health_check.port != 0) address.port = plan.settings.health_check.port;
  return address;
}

}  // namespace

Check::Check(Checker& checker, Shard& shard, std::shared_ptr<UpstreamPlan> plan, uint32_t endpoint)
    : Runnable([](Runnable* self) { static_cast<Check*>(self)->Step(); }),
      checker_(checker),
      shard_(shard),
      plan_(std::move(plan)),
      endpoint_(endpoint),
      address_(CheckedAddress(*plan_, endpoint)) {
  timer_.waiter = this;
  shard_.SetTimer(timer_, shard_.random().Below(std::min(settings().interval_ms, kFirstMs)));
}

Check::~Check() {
  WEIR_CHECK(!stream_);
  shard_.ClearTimer(timer_);
  shard_.Forget(*this);
}

void Check::SetPlan(std::shared_ptr<UpstreamPlan> plan, uint32_t endpoint) {
  const bool same = plan->settings.health_check == settings() &&
                    plan->settings.proxy_hello == plan_->settings.proxy_hello &&
                    plan->settings.endpoints[endpoint].text == plan_->settings.endpoints[endpoint_].text;
  plan_ = std::move(plan);
  endpoint_ = endpoint;
  if (same) return;
  // What is asked is another question now.
  verdict_.Restart();
  address_ = CheckedAddress(*plan_, endpoint_);
  if (running()) checker_.Done();
  if (stream_ && !stream_->closing()) Close(running());
  if (state_ == State::kQueued) return;
  state_ = State::kPausing;
  shard_.ClearTimer(timer_);
  shard_.SetTimer(timer_, shard_.random().Below(std::min(settings().interval_ms, kFirstMs)));
}

void Check::End() {
  if (running()) checker_.Done();
  const bool was_running = running();
  state_ = State::kEnding;
  shard_.ClearTimer(timer_);
  if (stream_ && !stream_->closing()) Close(was_running);
  shard_.Wake(this);
}

void Check::Step() {
  if (stream_ && stream_->closing()) {
    FinishClose();
  } else if (stream_) {
    stream_->Poll(shard_);
  }
  switch (state_) {
    case State::kPausing:
      return StepPause();
    case State::kQueued:
      return;
    case State::kReconnecting:
      if (timer_.fired) return Unheard("no answer within ");
      if (!stream_) Connect();
      return;
    case State::kConnecting:
      return StepConnect();
    case State::kAnswer:
      return StepAnswer();
    case State::kEnding:
      if (!stream_) checker_.Ended(*this);
      return;
  }
}

void Check::StepPause() {
  // The kept connection may end at any time; bytes that nobody asked for end it too.
  if (stream_ && !stream_->closing() && (stream_->end_seen() || stream_->has_bytes())) Close(false);
  if (timer_.fired) {
    state_ = State::kQueued;
    return checker_.Ask(*this);
  }
  if (stream_ && !stream_->closing()) stream_->ArmReceive(shard_, Op::kPollFirst);
}

void Check::Begin() {
  begun_ns_ = shard_.now_ns();
  shard_.ClearTimer(timer_);
  shard_.SetTimer(timer_, settings().timeout_ms);
  if (stream_ && !stream_->closing()) {
    stream_->Poll(shard_);
    if (!stream_->end_seen() && !stream_->has_bytes() && !stream_->sending()) {
      reused_ = true;
      return SendRequest();
    }
    Close(false);
  }
  state_ = State::kReconnecting;
  if (!stream_) Connect();
}

void Check::Connect() {
  reused_ = false;
  const int fd = shard_.backend().OpenStream(address_.family);
  if (fd < 0) return Postpone();
  SetUp(fd);
  checker_.Opened();
  state_ = State::kConnecting;
  stream_.emplace();
  stream_->Open(fd, address_.family);
  stream_->SetWaiter(this);
  stream_->Connect(shard_, &address_);
}

// As the requests' connections are. What cannot be had is theirs to tell.
void Check::SetUp(int fd) {
  const UpstreamSettings& upstream = plan_->settings;
  TcpOptions options = upstream.tcp;
  options.fast_open = 0;  // a connect would say nothing
  shard_.backend().SetTcp(fd, options, TcpOptions());
  const auto count = static_cast<uint32_t>(upstream.sources.size());
  const uint32_t first = count == 0 ? 0 : shard_.random().Below(count);
  for (uint32_t i = 0; i < count; ++i) {
    const SocketAddress& source = upstream.sources[(first + i) % count];
    if (source.family == address_.family && shard_.backend().BindSource(fd, source) == 0) return;
  }
}

void Check::StepConnect() {
  if (stream_->connecting()) {
    if (timer_.fired) Unheard("no connection within ");
    return;
  }
  const int error = stream_->connect_error();
  silent_ = error == ETIMEDOUT || error == EHOSTUNREACH || error == ENETUNREACH;
  if (error != 0 && IsOurs(error)) return Postpone();
  if (error != 0) return Finish(std::strerror(error), false);
  if (http()) return SendRequest();
  // An origin that expects a header gets one.
  if (stream_->sending()) {
    if (timer_.fired) Finish("no connection within " + Duration(settings().timeout_ms), false);
    return;
  }
  if (const int send_error = stream_->send_error(); send_error != 0)
    return Finish(std::strerror(send_error), false);
  if (stream_->sent_bytes() == 0) request_ = Hello();
  if (stream_->sent_bytes() == 0 && !request_.empty()) {
    const Stream::Piece pieces[] = {std::string_view(request_)};
    return stream_->SendPieces(shard_, pieces, Slice(), Slice());
  }
  Finish("", false);
}

std::string Check::Hello() const {
  const ProxyHelloSettings& hello = plan_->settings.proxy_hello;
  if (!hello.on() || settings().port != 0) return "";
  ProxyFacts facts;
  facts.local = true;
  char out[kMostWrittenProxyBytes];
  return {out, WriteProxyHeader(hello.version, facts, out)};
}

std::string Check::Host() const {
  if (!settings().host.empty()) return settings().host;
  if (address_.is_unix()) return "localhost";
  return settings().port != 0 ? address_.ToString() : plan_->settings.endpoints[endpoint_].text;
}

std::string Check::RequestText() const {
  return settings().method + " " + settings().path + " HTTP/1.1\r\nHost: " + Host() +
         "\r\nUser-Agent: weir-health-check\r\nAccept: */*\r\n\r\n";
}

void Check::SendRequest() {
  state_ = State::kAnswer;
  in_.clear();
  head_done_ = found_ = keep_ = false;
  bytes_ = 0;
  facts_ = {};
  facts_.method = settings().method == "HEAD"      ? http::Method::kHead
                  : settings().method == "OPTIONS" ? http::Method::kOptions
                                                   : http::Method::kGet;
  request_ = (reused_ ? "" : Hello()) + RequestText();
  const Stream::Piece pieces[] = {std::string_view(request_)};
  stream_->SendPieces(shard_, pieces, Slice(), Slice());
  stream_->ArmReceive(shard_, Op::kPollFirst);
}

void Check::Broken(int error) {
  if (!reused_) {
    return Finish(error != 0   ? std::strerror(error)
                  : head_done_ ? "the answer broke off"
                               : "closed without an answer",
                  false);
  }
  // It was about to end anyhow: servers close what has been idle for long.
  Close(false);
  state_ = State::kReconnecting;
  if (!stream_) Connect();
}

void Check::StepAnswer() {
  for (;;) {
    if (stream_->has_bytes()) {
      const Slice in = stream_->TakeBytes();
      reused_ = false;
      bytes_ += in.size();
      if (head_done_ ? StepBody(in.data(), in.size()) : StepHead(in.view())) continue;
      return;
    }
    if (stream_->receive_ended()) {
      const bool whole =
          head_done_ && stream_->receive_error() == 0 && body_.AtEof() == http::BodyState::kDone;
      return whole ? Judge(false) : Broken(stream_->receive_error());
    }
    if (stream_->send_error() != 0) return Broken(stream_->send_error());
    if (timer_.fired && bytes_ == 0) return Unheard("no answer within ");
    if (timer_.fired) {
      return Finish(
          (head_done_ ? "no whole answer within " : "no answer within ") + Duration(settings().timeout_ms),
          false);
    }
    return stream_->ArmReceive(shard_, Op::kPollFirst);
  }
}

// This and StepBody: false: it is over.
bool Check::StepHead(std::string_view bytes) {
  http::ResponseHead& head = checker_.response_head();
  in_.append(bytes);
  for (;;) {
    const http::ParseResult result =
        in_.empty() ? http::ParseResult::NeedMore() : http::ParseResponse(in_, facts_, head);
    if (result.failed() || (!result.done() && bytes_ > kMostBytes)) {
      Finish(std::string("the answer breaks a rule: ") +
                 (result.failed() ? result.error.reason : "there is no end to its head"),
             false);
      return false;
    }
    if (!result.done()) return true;
    in_.erase(0, result.consumed);
    if (head.facts.interim()) continue;
    break;
  }
  status_ = head.facts.status;
  keep_ = head.facts.keep_alive;
  body_ = http::BodyReader(head.facts.body);
  head_done_ = true;
  std::string rest = std::exchange(in_, {});
  return StepBody(rest.data(), rest.size());
}

bool Check::StepBody(char* data, size_t size) {
  bool over = body_.done();
  bool clean = over && size == 0;
  if (!over && size > 0) {
    const http::BodyPiece piece = body_.Read(data, size);
    if (piece.state == http::BodyState::kError) {
      Finish("the answer breaks a rule: " + std::string(piece.reason), false);
      return false;
    }
    const std::string& wanted = settings().body;
    if (!found_ && !wanted.empty()) {
      in_.append(data + piece.offset, piece.size);
      found_ = in_.find(wanted) != std::string::npos;
      if (in_.size() >= wanted.size()) in_.erase(0, in_.size() - (wanted.size() - 1));
    }
    // A trailer section is not worth reading: that connection is closed.
    over = piece.state != http::BodyState::kMore;
    clean = piece.state == http::BodyState::kDone && piece.consumed == size;
  }
  if (!over && bytes_ <= kMostBytes) return true;
  Judge(keep_ && clean);
  return false;
}

void Check::Judge(bool keep) {
  std::string error;
  if (!settings().Expects(status_)) {
    error = "status " + std::to_string(status_);
  } else if (!settings().body.empty() && !found_) {
    error = "the body is not as expected";
  }
  Finish(error, keep);
}

// Not a sign of life: who refuses or closes is there, and may well finish what it has.
void Check::Unheard(const char* what) {
  silent_ = true;
  Finish(what + Duration(settings().timeout_ms), false);
}

void Check::Finish(const std::string& error, bool keep) {
  if (keep && checker_.MayKeep()) {
    stream_->ArmReceive(shard_, Op::kPollFirst);
  } else if (stream_ && !stream_->closing()) {
    Close(!error.empty());
  }
  state_ = State::kPausing;
  EndpointBook::Checks& checks = book().checks;
  ++checks.done;
  if (!error.empty()) {
    ++checks.failed;
    checks.last_error = error;
  }
  const bool heard = !std::exchange(silent_, false);
  if (verdict_.Add(error.empty(), settings().rise, settings().fall)) {
    checker_.Changed(*plan_, endpoint_, verdict_.up(), error, heard);
  } else if (!verdict_.up()) {
    checker_.StillDown(*plan_, endpoint_, heard);
  }
  Schedule();
  checker_.Done();
}

void Check::Postpone() {
  if (stream_ && !stream_->closing()) Close(false);
  state_ = State::kPausing;
  shard_.ClearTimer(timer_);
  shard_.SetTimer(timer_, kOurTroubleMs);
  checker_.Done();
}

void Check::Schedule() {
  const HealthCheckSettings& check = settings();
  uint64_t interval_ms = verdict_.steady() ? check.interval_ms : check.interval_down_ms;
  if (!spread_) {
    interval_ms = 1 + shard_.random().Below(static_cast<uint32_t>(interval_ms));
    spread_ = true;
  } else {
    const uint64_t jitter_ms = interval_ms * check.jitter_ms / check.interval_ms;
    interval_ms -= shard_.random().Below(static_cast<uint32_t>(jitter_ms) + 1);
  }
  const int64_t left_ms = static_cast<int64_t>(interval_ms) - (shard_.now_ns() - begun_ns_) / kNsPerMs;
  shard_.ClearTimer(timer_);
  shard_.SetTimer(timer_, static_cast<uint32_t>(std::max<int64_t>(left_ms, 1)));
}

void Check::Close(bool with_reset) {
  stream_->BeginClose(shard_, with_reset);
  FinishClose();
}

void Check::FinishClose() {
  if (!stream_->Closed(shard_)) return;
  stream_.reset();
  checker_.Closed();
}

}  // namespace weir::lb
