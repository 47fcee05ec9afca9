#include "bench/load/client.h"

#include <algorithm>
#include <cerrno>
#include <charconv>

namespace weir::load {
namespace {

constexpr std::string_view kHeadEnd = "\r\n\r\n";
constexpr size_t kLargestHead = 65'536;
constexpr uint32_t kPauseMs = 10;  // after a failure

struct AnswerHead {
  int status = 0;
  uint64_t length = UINT64_MAX;
  bool close = false;
};

bool SameName(std::string_view line, std::string_view lower_case_name) {
  return line.size() >= lower_case_name.size() &&
         std::equal(lower_case_name.begin(), lower_case_name.end(), line.begin(),
                    [](char wanted, char c) { return wanted == (c >= 'A' && c <= 'Z' ? c + 32 : c); });
}

AnswerHead ParseHead(std::string_view head) {
  AnswerHead answer;
  if (!head.starts_with("HTTP/1.1 ") || head.size() < 12) return answer;
  std::from_chars(head.data() + 9, head.data() + 12, answer.status);
  for (size_t at = head.find('\n'); at != std::string_view::npos; at = head.find('\n', at)) {
    ++at;
    if (at >= head.size() || (head[at] | 0x20) != 'c') continue;
    const std::string_view line = head.substr(at, head.find('\r', at) - at);
    if (SameName(line, "content-length: ")) {
      std::from_chars(line.data() + 16, line.data() + line.size(), answer.length);
    } else if (SameName(line, "connection: close")) {
      answer.close = true;
    }
  }
  return answer;
}

}  // namespace

LoadClient::LoadClient(Shard& shard, Options options)
    : shard_(shard),
      options_(std::move(options)),
      connections_(std::make_unique<Connection[]>(options_.connections)),
      latency_(std::make_unique<Latency>()) {
  WEIR_CHECK(!options_.asks.empty());
  for (uint32_t i = 0; i < options_.connections; ++i) {
    connections_[i].client = this;
    connections_[i].next_ask = static_cast<uint32_t>(i % options_.asks.size());
  }
}

LoadClient::~LoadClient() {
  WEIR_CHECK(closed());
  for (uint32_t i = 0; i < options_.connections; ++i) shard_.Forget(connections_[i]);
}

void LoadClient::Connect(bool first) {
  first_ = first;
  for (uint32_t i = 0; i < options_.connections; ++i) {
    if (options_.close) {
      Settle(connections_[i]);
      Rest(connections_[i]);
    } else {
      Open(connections_[i]);
    }
  }
}

void LoadClient::Settle(Connection& connection) {
  if (connection.settled) return;
  connection.settled = true;
  ++settled_;
}

void LoadClient::Begin() {
  results_ = Results{.failed_before = results_.failed_before + Failed(results_)};
  latency_ = std::make_unique<Latency>();
  begin_ns_ = shard_.now_ns();
  issued_ = 0;
  running_ = counting_ = true;
  if (options_.rate > 0) return;
  for (uint32_t i = 0; i < options_.connections; ++i) {
    Connection& connection = connections_[i];
    if (connection.state == State::kIdle) {
      Send(connection, begin_ns_);
    } else if (connection.state == State::kClosed && options_.close) {
      connection.due_ns = begin_ns_;
      Open(connection);
    }
  }
}

void LoadClient::FallDue(int64_t until_ns) {
  const double elapsed_s = static_cast<double>(until_ns - begin_ns_) * 1e-9;
  const auto wanted = static_cast<uint64_t>(elapsed_s * options_.rate);
  for (; issued_ < wanted; ++issued_) {
    due_.push_back(begin_ns_ + static_cast<int64_t>(static_cast<double>(issued_) * 1e9 / options_.rate));
  }
}

void LoadClient::Pace() {
  if (!running_ || options_.rate <= 0) return;
  FallDue(shard_.now_ns());
  while (!due_.empty() && !idle_.empty()) {
    Connection& connection = *idle_.front();
    idle_.pop_front();
    connection.listed = false;
    const State needed = options_.close ? State::kClosed : State::kIdle;
    if (connection.state != needed || connection.again.linked()) continue;
    const int64_t due_ns = due_.front();
    due_.pop_front();
    if (options_.close) {
      connection.due_ns = due_ns;
      Open(connection);
    } else {
      Send(connection, due_ns);
    }
  }
}

void LoadClient::End(int64_t end_ns) {
  running_ = false;
  if (options_.rate > 0) FallDue(end_ns);
  results_.unanswered = due_.size();
  due_.clear();
}

uint64_t LoadClient::Failed(const Results& results) {
  return results.connect_errors + results.status_errors + results.broken + results.timeouts;
}

LoadClient::Results LoadClient::results() const {
  Results results = results_;
  results.unanswered += busy_;
  return results;
}

void LoadClient::BeginClose() {
  closing_ = true;
  running_ = counting_ = false;
  for (uint32_t i = 0; i < options_.connections; ++i) {
    Connection& connection = connections_[i];
    shard_.ClearTimer(connection.again);
    if (connection.state != State::kClosed && connection.state != State::kClosing) Close(connection);
  }
}

void LoadClient::CheckTimeouts() {
  const int64_t limit_ns = options_.request_timeout_ms * kNsPerMs;
  for (uint32_t i = 0; i < options_.connections; ++i) {
    Connection& connection = connections_[i];
    const bool busy = connection.state == State::kConnecting || connection.state == State::kHead ||
                      connection.state == State::kBody;
    if (busy && shard_.now_ns() - connection.begun_ns > limit_ns) Fail(connection, results_.timeouts);
  }
}

void LoadClient::SetState(Connection& connection, State state) {
  const auto busy = [](State s) {
    return s == State::kConnecting || s == State::kHead || s == State::kBody ? 1u : 0u;
  };
  busy_ += busy(state);
  busy_ -= busy(connection.state);
  connection.state = state;
}

void LoadClient::Open(Connection& connection) {
  connection.begun_ns = shard_.now_ns();
  const int fd = shard_.backend().OpenStream(options_.target.family);
  if (fd < 0) {
    ++results_.connect_errors;
    shard_.SetTimer(connection.again, kPauseMs);
    return;
  }
  ++open_;
  if (counting_) ++results_.connects;
  connection.stream.emplace();
  connection.stream->Open(fd, options_.target.family);
  connection.stream->SetWaiter(&connection);
  connection.stream->Connect(shard_, &options_.target);
  SetState(connection, State::kConnecting);
}

void LoadClient::Close(Connection& connection) {
  SetState(connection, State::kClosing);
  connection.stream->BeginClose(shard_, false);
  Closed(connection);
}

void LoadClient::Closed(Connection& connection) {
  if (!connection.stream->Closed(shard_)) return;
  connection.stream.reset();
  connection.head.clear();
  --open_;
  SetState(connection, State::kClosed);
  if (closing_) return;
  if (connection.later) {
    connection.later = false;
    shard_.SetTimer(connection.again, kPauseMs);
  } else if (!options_.close) {
    Open(connection);
  } else if (running_ && options_.rate == 0) {
    connection.due_ns = shard_.now_ns();
    Open(connection);
  } else {
    Rest(connection);
  }
}

void LoadClient::OnReady(Runnable* self) {
  auto& connection = *static_cast<Connection*>(self);
  connection.client->Step(connection);
}

void LoadClient::Step(Connection& connection) {
  switch (connection.state) {
    case State::kClosing:
      Closed(connection);
      return;
    case State::kClosed:
      if (!connection.again.fired || closing_) return;
      connection.again.fired = false;
      if (options_.close && (options_.rate > 0 || !running_)) {
        Rest(connection);
      } else {
        connection.due_ns = shard_.now_ns();
        Open(connection);
      }
      return;
    default:
      StepOpen(connection);
  }
}

void LoadClient::StepOpen(Connection& connection) {
  Stream& stream = *connection.stream;
  stream.Poll(shard_);
  if (connection.state == State::kConnecting) {
    if (stream.connecting()) return;
    if (stream.connect_error() != 0) {
      Fail(connection, results_.connect_errors);
    } else {
      Ready(connection);
    }
    return;
  }
  if (stream.send_error() != 0) {
    Fail(connection, results_.broken);
    return;
  }
  if (options_.connect_only) {
    if (stream.has_bytes()) stream.TakeBytes();  // some say 400 to that
    if (!stream.receive_ended()) {
      stream.ArmReceive(shard_, Op::kPollFirst);
    } else if (stream.receive_error() != 0) {
      Fail(connection, results_.broken);
    } else {
      Answered(connection);
    }
    return;
  }
  while (stream.has_bytes()) {
    Slice in = stream.TakeBytes();
    if (connection.state == State::kHead && !TakeHead(connection, in)) return;
    if (connection.state == State::kHead) continue;
    const auto taken = static_cast<uint32_t>(std::min<uint64_t>(connection.left, in.size()));
    in.RemovePrefix(taken);
    connection.left -= taken;
    if (!in.empty()) {  // what nobody asked for
      Wrong("bytes behind an answer");
      Fail(connection, results_.broken);
      return;
    }
    if (connection.state == State::kBody && connection.left == 0) {
      in.Clear();
      Answered(connection);
      return;
    }
  }
  if (!stream.receive_ended()) {
    stream.ArmReceive(shard_, Op::kPollFirst);
  } else if (connection.state == State::kIdle) {
    ++results_.closed_idle;
    Close(connection);
  } else {
    Wrong(connection.state == State::kHead ? "ended before its head was there"
                                           : "ended before its body was there");
    Fail(connection, results_.broken);
  }
}

// False: it failed. Without a whole head the state stays.
bool LoadClient::TakeHead(Connection& connection, Slice& in) {
  std::string_view head = in.view();
  size_t end = connection.head.empty() ? head.find(kHeadEnd) : std::string_view::npos;
  size_t used = end + kHeadEnd.size();
  if (end == std::string_view::npos) {
    const size_t before = connection.head.size();
    connection.head.append(head);
    end = connection.head.find(kHeadEnd);
    if (end == std::string::npos) {
      if (connection.head.size() <= kLargestHead) return true;
      Fail(connection, results_.broken);
      return false;
    }
    head = connection.head;
    used = end + kHeadEnd.size() - before;
  }
  const AnswerHead answer = ParseHead(head.substr(0, end));
  connection.head.clear();
  in.RemovePrefix(static_cast<uint32_t>(used));
  if (answer.status != 200) {
    Wrong("status " + std::to_string(answer.status));
    Fail(connection, results_.status_errors);
    return false;
  }
  if (answer.length != connection.ask->answer_bytes) {
    Wrong(answer.length == UINT64_MAX ? "no Content-Length"
                                      : "Content-Length " + std::to_string(answer.length) + " instead of " +
                                            std::to_string(connection.ask->answer_bytes));
    Fail(connection, results_.broken);
    return false;
  }
  connection.left = answer.length;
  connection.last = answer.close;
  SetState(connection, State::kBody);
  return true;
}

void LoadClient::Answered(Connection& connection) {
  if (counting_) {
    ++results_.requests;
    results_.bytes += connection.ask->answer_bytes + connection.ask->request.size();
    latency_->Record(static_cast<uint64_t>(std::max<int64_t>(shard_.now_ns() - connection.due_ns, 0)));
  }
  Settle(connection);
  if (options_.close || connection.last || connection.stream->sending()) {
    Close(connection);
  } else {
    Ready(connection);
  }
}

// Connected, and free to ask.
void LoadClient::Ready(Connection& connection) {
  if (!connection.settled) {
    if (first_) {
      Send(connection, shard_.now_ns());
      return;
    }
    Settle(connection);
  }
  if (options_.connect_only) {
    connection.ask = &options_.asks.front();
    connection.begun_ns = shard_.now_ns();
    connection.stream->ShutdownSend(shard_);
    connection.stream->ArmReceive(shard_, Op::kPollFirst);
    SetState(connection, State::kBody);
  } else if (options_.close) {
    Send(connection, connection.due_ns);
  } else if (running_ && options_.rate == 0) {
    Send(connection, shard_.now_ns());
  } else {
    SetState(connection, State::kIdle);
    connection.stream->ArmReceive(shard_, Op::kPollFirst);
    Rest(connection);
  }
}

void LoadClient::Rest(Connection& connection) {
  if (options_.rate <= 0 || connection.listed) return;
  connection.listed = true;
  idle_.push_back(&connection);
}

void LoadClient::Send(Connection& connection, int64_t due_ns) {
  connection.ask = &options_.asks[connection.next_ask];
  if (++connection.next_ask == options_.asks.size()) connection.next_ask = 0;
  connection.due_ns = due_ns;
  connection.begun_ns = shard_.now_ns();
  SetState(connection, State::kHead);
  const Stream::Piece pieces[] = {std::string_view(connection.ask->request)};
  connection.stream->SendPieces(shard_, pieces, Slice(), Slice());
  connection.stream->ArmReceive(shard_, Op::kPollFirst);
}

void LoadClient::Wrong(std::string what) {
  if (first_wrong_.empty()) first_wrong_ = std::move(what);
}

void LoadClient::Fail(Connection& connection, uint64_t& counter) {
  ++counter;
  connection.later = true;
  Close(connection);
}

}  // namespace weir::load
