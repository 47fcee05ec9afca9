#include "lb/mini_server.h"

#include <cerrno>

#include "lb/http/body_reader.h"
#include "lb/http/date.h"
#include "lb/http/status.h"

namespace weir::lb {
namespace {

constexpr size_t kMostRequestBytes = size_t{1} << 20;  // head and body kept while it arrives
constexpr uint32_t kAcceptRetryMs = 100;
constexpr uint32_t kSpare = 8;  // places for new connections while evicted ones are still being closed

std::string Format(const MiniReply& reply, bool keep_alive, bool head_only, int64_t wall_ms) {
  char date[http::kDateBytes];
  http::FormatDate(wall_ms / 1000, date);
  std::string out = "HTTP/1.1 " + std::to_string(reply.status) + " ";
  out.append(http::ReasonPhrase(reply.status));
  out.append("\r\nDate: ").append(date, sizeof(date));
  out.append("\r\nContent-Type: ").append(reply.content_type);
  out.append("\r\nContent-Length: ").append(std::to_string(reply.body.size())).append("\r\n");
  out.append(reply.extra_fields);
  if (!keep_alive) out.append("Connection: close\r\n");
  out.append("\r\n");
  if (!head_only) out.append(reply.body);
  return out;
}

}  // namespace

MiniServer::MiniServer(Shard& shard, int fd, uint32_t connections, Handler handler)
    : shard_(shard), fd_(fd), handler_(std::move(handler)), head_(http::Limits{}), connections_(connections) {
  shard_.backend().LocalAddress(fd, address_);
  accept_.kind = Op::Kind::kAccept;
  accept_.fd = fd;
  accept_.waiter = &accept_waiter_;
  accept_timer_.waiter = &accept_waiter_;
  Accept(scope_);
}

MiniServer::~MiniServer() {
  shard_.ClearTimer(accept_timer_);
  shard_.Forget(accept_waiter_);
  WEIR_CHECK(closed());
}

void MiniServer::BeginClose() {
  if (closing_) return;
  closing_ = true;
  shard_.Cancel(accept_);
  shard_.Wake(&accept_waiter_);
  connections_.ForEach([this](Connection& connection) { shard_.Wake(&connection); });
}

Root MiniServer::Accept(Scope& scope) {
  shard_.Start(accept_);
  for (;;) {
    co_await accept_waiter_.Park();
    while (!accept_.empty()) {
      const int fd = accept_.Pop();
      if (connections_.size() + kSpare >= connections_.capacity()) EvictOne();
      Connection* connection = closing_ ? nullptr : connections_.Make();
      if (connection == nullptr) {
        shard_.backend().Close(fd);
        continue;
      }
      connection->server = this;
      connection->since_ns = shard_.now_ns();
      connection->stream.Open(fd, address_.family);
      Serve(scope, connection);
    }
    if (!accept_.done()) continue;
    if (closing_) break;
    if (accept_.result < 0) {
      accept_.state = Op::State::kIdle;
      shard_.SetTimer(accept_timer_, kAcceptRetryMs);
      while (!accept_timer_.fired && !closing_) co_await accept_waiter_.Park();
      if (closing_) break;
    }
    shard_.Start(accept_);
  }
  shard_.backend().Close(fd_);
  fd_ = -1;
}

void MiniServer::EvictOne() {
  Connection* oldest = nullptr;
  connections_.ForEach([&oldest](Connection& connection) {
    if (connection.evicted || connection.reply.later || connection.stream.closing()) return;
    if (oldest == nullptr || connection.since_ns < oldest->since_ns) oldest = &connection;
  });
  if (oldest == nullptr) return;
  oldest->evicted = true;
  shard_.Wake(oldest);
}

Root MiniServer::Serve(Scope& /*scope*/, Connection* connection) {
  while (!closing_ && co_await ReadRequest(connection)) {
    const bool keep_alive = head_.facts.keep_alive;
    const bool head_only = head_.facts.method == http::Method::kHead;
    // The answer may come before the handler is done.
    connection->ticket = ++tickets_;
    connection->reply = {.later = true, .body = {}};
    MiniReply reply = handler_(head_, tickets_);
    if (!reply.later) connection->reply = std::move(reply);
    // What was parsed lies in `in`; keep what follows it for the next request.
    connection->in.erase(0, head_.head_bytes);
    if (connection->reply.later && !co_await AwaitReply(connection)) break;
    connection->ticket = 0;
    connection->out = Format(connection->reply, keep_alive, head_only, shard_.wall_ms());
    if (!co_await Send(connection) || !keep_alive) break;
    connection->since_ns = shard_.now_ns();
  }
  shard_.ClearTimer(connection->timer);
  connection->run = [](Runnable* self) {
    auto* owner = static_cast<Connection*>(static_cast<Waiter*>(self));
    owner->server->OnClosing(owner);
  };
  connection->stream.BeginClose(shard_, false);
  OnClosing(connection);
}

Task<bool> MiniServer::ReadRequest(Connection* connection) {
  Stream& stream = connection->stream;
  std::string& in = connection->in;
  shard_.SetTimer(connection->timer, kIdleMs);
  for (;;) {
    stream.Poll(shard_);
    if (stream.has_bytes()) {
      const Slice slice = stream.TakeBytes();
      in.append(slice.view());
    }
    // Whole requests only: parsed anew with every piece, which is fine for small ones.
    const http::ParseResult result =
        in.empty() ? http::ParseResult::NeedMore() : http::ParseRequest(in, head_);
    if (result.failed()) {
      connection->out =
          Format({.status = result.error.status, .body = std::string(result.error.reason) + "\n"}, false,
                 false, shard_.wall_ms());
      co_await Send(connection);
      co_return false;
    }
    if (result.done()) {
      http::BodyReader body(head_.facts.body);
      if (body.done()) {
        head_.head_bytes = result.consumed;
        co_return true;
      }
      std::string copy = in.substr(result.consumed);  // decoding works in place
      const http::BodyPiece piece = copy.empty() ? http::BodyPiece{} : body.Read(copy.data(), copy.size());
      if (piece.state == http::BodyState::kError || body.in_trailers()) co_return false;
      if (body.done()) {
        head_.head_bytes = result.consumed + static_cast<uint32_t>(piece.consumed);
        co_return true;
      }
      if (head_.facts.expect_continue && copy.empty()) {
        connection->out = "HTTP/1.1 100 Continue\r\n\r\n";
        if (!co_await Send(connection)) co_return false;
      }
    }
    if (stream.receive_ended() || closing_ || connection->timer.fired || connection->evicted ||
        in.size() > kMostRequestBytes)
      co_return false;
    stream.ArmReceive(shard_, Op::kPollFirst);
    co_await connection->Park();
  }
}

void MiniServer::Answer(uint64_t ticket, MiniReply reply) {
  connections_.ForEach([&](Connection& connection) {
    if (connection.ticket != ticket || !connection.reply.later) return;
    connection.reply = std::move(reply);
    shard_.Wake(&connection);
  });
}

SocketAddress MiniServer::PeerOf(uint64_t ticket) {
  SocketAddress peer;
  connections_.ForEach([&](Connection& connection) {
    if (connection.ticket == ticket) shard_.backend().PeerAddress(connection.stream.fd(), peer);
  });
  return peer;
}

// Nothing is read meanwhile: that the client has left is found with the answer.
Task<bool> MiniServer::AwaitReply(Connection* connection) {
  shard_.SetTimer(connection->timer, kLaterMs);
  while (connection->reply.later) {
    if (closing_ || connection->evicted || connection->timer.fired) co_return false;
    co_await connection->Park();
  }
  co_return true;
}

Task<bool> MiniServer::Send(Connection* connection) {
  Stream& stream = connection->stream;
  shard_.SetTimer(connection->timer, kIdleMs);
  const Stream::Piece pieces[] = {std::string_view(connection->out)};
  stream.SendPieces(shard_, pieces, Slice(), Slice());
  for (;;) {
    stream.Poll(shard_);
    if (stream.send_error() != 0 || connection->timer.fired || closing_) co_return false;
    if (!stream.sending()) co_return true;
    co_await connection->Park();
  }
}

void MiniServer::OnClosing(Connection* connection) {
  if (!connection->stream.Closed(shard_)) return;
  shard_.Forget(*connection);
  connections_.Destroy(connection);
}

}  // namespace weir::lb
