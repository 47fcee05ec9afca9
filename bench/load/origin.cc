#include "bench/load/origin.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace weir::load {
namespace {

constexpr std::string_view kHeadEnd = "\r\n\r\n";
constexpr size_t kLargestHead = 65'536;

// The number that follows `name` in `text`, or `otherwise`.
uint64_t NumberAfter(std::string_view text, std::string_view name, uint64_t otherwise) {
  const size_t at = text.find(name);
  if (at == std::string_view::npos) return otherwise;
  uint64_t value = otherwise;
  std::from_chars(text.data() + at + name.size(), text.data() + text.size(), value);
  return value;
}

// Field names as Weir, HAProxy (lower case) and nginx write them.
uint64_t ContentLength(std::string_view head) {
  const uint64_t none = UINT64_MAX;
  const uint64_t usual = NumberAfter(head, "\r\nContent-Length: ", none);
  return usual != none ? usual : NumberAfter(head, "\r\ncontent-length: ", 0);
}

bool SaysClose(std::string_view head) {
  return head.find("\r\nConnection: close") != std::string_view::npos ||
         head.find("\r\nconnection: close") != std::string_view::npos;
}

}  // namespace

LoadOrigin::LoadOrigin(Shard& shard, int fd, uint32_t connections, LoadHold& hold, LoadPace pace)
    : shard_(shard), hold_(hold), pace_(pace), fd_(fd), connections_(connections), accept_runnable_(this) {
  accept_.kind = Op::Kind::kAccept;
  accept_.fd = fd;
  accept_.waiter = &accept_runnable_;
  shard_.Start(accept_);
}

LoadOrigin::~LoadOrigin() { WEIR_CHECK(closed()); }

void LoadOrigin::BeginClose() {
  closing_ = true;
  hold_ = LoadHold();
  waiting_.clear();
  shard_.Cancel(accept_);
  shard_.Wake(&accept_runnable_);
  connections_.ForEach([this](Connection& connection) { Close(connection); });
}

void LoadOrigin::OnAccept(Runnable* self) {
  LoadOrigin& origin = *static_cast<AcceptRunnable*>(self)->origin;
  Shard& shard = origin.shard_;
  while (!origin.accept_.empty()) {
    const int fd = origin.accept_.Pop();
    Connection* connection = origin.closing_ ? nullptr : origin.connections_.Make(&origin);
    if (connection == nullptr) {
      shard.backend().Close(fd);
      continue;
    }
    connection->stream.Open(fd, AF_INET);
    connection->stream.ArmReceive(shard, Op::kPollFirst);
  }
  if (origin.accept_.busy()) return;
  if (!origin.closing_) {
    if (origin.accept_.result < 0) {
      std::fprintf(stderr, "weir-load: accept: %s\n", std::strerror(-origin.accept_.result));
      std::exit(1);  // nothing measured from here on would mean anything
    }
    shard.Start(origin.accept_);
  } else if (origin.fd_ >= 0) {
    shard.backend().Close(std::exchange(origin.fd_, -1));
  }
}

void LoadOrigin::OnReady(Runnable* self) {
  auto& connection = *static_cast<Connection*>(self);
  connection.origin->Serve(connection);
}

void LoadOrigin::Serve(Connection& connection) {
  Stream& stream = connection.stream;
  if (stream.closing()) {
    Close(connection);
    return;
  }
  stream.Poll(shard_);
  if (connection.held) {
    if (connection.served.fired) EndWork(connection);
    return;
  }
  for (;;) {
    if (stream.send_error() != 0) {
      Close(connection);
      return;
    }
    if (stream.sending()) return;
    if (connection.close_after && connection.answered) {
      Close(connection);
      return;
    }
    if (!stream.has_bytes()) break;
    Slice in = stream.TakeBytes();
    if (connection.body_left == 0) {
      std::string_view head = in.view();
      size_t end = head.find(kHeadEnd);
      if (end == std::string_view::npos || !connection.head.empty()) {
        const size_t before = connection.head.size();
        connection.head.append(in.view());
        end = connection.head.find(kHeadEnd);
        if (end == std::string::npos) {
          if (connection.head.size() > kLargestHead) {
            Close(connection);
            return;
          }
          continue;
        }
        head = connection.head;
        in.RemovePrefix(static_cast<uint32_t>(end + kHeadEnd.size() - before));
      } else {
        in.RemovePrefix(static_cast<uint32_t>(end + kHeadEnd.size()));
      }
      if (!TakeHead(connection, head.substr(0, end))) {
        Close(connection);
        return;
      }
      connection.head.clear();
    }
    const auto of_body = static_cast<uint32_t>(std::min<uint64_t>(connection.body_left, in.size()));
    connection.body_left -= of_body;
    in.RemovePrefix(of_body);
    stream.PutBack(std::move(in));
    if (connection.body_left > 0) continue;
    ++requests_;
    if (!hold_.counts.empty()) {
      Hold(connection);
      return;
    }
    if (pace_.serve_ms > 0) {
      connection.held = true;
      waiting_.push_back(&connection);
      if (at_work_ < pace_.workers) Work();
      return;
    }
    Answer(connection);
  }
  if (stream.receive_ended()) {
    Close(connection);
    return;
  }
  stream.ArmReceive(shard_, connection.body_left > 0 ? Op::kPollFirst | Op::kBody : Op::kPollFirst);
}

void LoadOrigin::Answer(Connection& connection) {
  connection.answered = true;
  const Stream::Piece pieces[] = {connection.answer};
  connection.stream.SendPieces(shard_, pieces, Slice(), Slice());
}

// Held connections are left alone until all are let go, also by their clients.
void LoadOrigin::Hold(Connection& connection) {
  connection.held = true;
  hold_.waiting.emplace_back(this, &connection);
  if (hold_.waiting.size() < hold_.counts.front()) return;
  hold_.counts.erase(hold_.counts.begin());
  const auto waiting = std::move(hold_.waiting);
  hold_.waiting.clear();
  for (const auto& [origin, held] : waiting) {
    auto& one = *static_cast<Connection*>(held);
    one.held = false;
    origin->Answer(one);
  }
}

// The next one's turn.
void LoadOrigin::Work() {
  if (waiting_.empty()) return;
  ++at_work_;
  shard_.SetTimer(waiting_.front()->served, pace_.serve_ms);
  waiting_.pop_front();
}

// As with Hold: nobody looks at the connection before.
void LoadOrigin::EndWork(Connection& connection) {
  connection.served.fired = false;
  connection.held = false;
  --at_work_;
  Answer(connection);
  Work();
}

bool LoadOrigin::TakeHead(Connection& connection, std::string_view head) {
  const bool post = head.starts_with("POST ");
  if (!post && !head.starts_with("GET ")) return false;
  const std::string_view line = head.substr(0, head.find('\r'));
  const uint64_t bytes = NumberAfter(line, " /b/", UINT64_MAX);
  if (bytes > kLargestBody) return false;
  connection.close_after = SaysClose(head);
  connection.answered = false;
  connection.body_left = post ? ContentLength(head) : 0;
  connection.answer = AnswerOf(bytes, connection.close_after);
  return true;
}

void LoadOrigin::Close(Connection& connection) {
  shard_.ClearTimer(connection.served);
  if (!connection.stream.closing()) connection.stream.BeginClose(shard_, false);
  if (!connection.stream.Closed(shard_)) return;
  shard_.Forget(connection);
  connections_.Destroy(&connection);
}

std::string_view LoadOrigin::AnswerOf(uint64_t bytes, bool close) {
  std::string& answer = answers_[bytes * 2 + (close ? 1 : 0)];
  if (answer.empty()) {
    answer = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: " +
             std::to_string(bytes) + (close ? "\r\nConnection: close" : "") + "\r\n\r\n";
    // Not compressible by chance, the same in every run.
    uint64_t state = 1;
    for (uint64_t i = 0; i < bytes; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      answer += static_cast<char>(state >> 56);
    }
  }
  return answer;
}

}  // namespace weir::load
