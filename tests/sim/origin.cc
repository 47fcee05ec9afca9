#include "tests/sim/origin.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "gtest/gtest.h"

namespace weir::lb::trial {
namespace {

using Framing = BodyPlan::Framing;
using End = AnswerPlan::End;
using When = AnswerPlan::When;

std::string Quoted(const Message& head) {
  std::string text = "'" + head.start + "'";
  for (const auto& [name, value] : head.fields) text += ", '" + name + ": " + value + "'";
  return text;
}

}  // namespace

Origin::Origin(sim::World& world, Story& story, const std::string& address)
    : world_(world),
      story_(story),
      server_(&world.Serve(address, [this](sim::Peer& peer) { Accept(peer); })) {}

void Origin::Kill(int64_t down_ns) {
  for (sim::Peer* peer : server_->connections()) {
    if (peer->closed() || peer->context == nullptr) continue;
    const auto& connection = *static_cast<Connection*>(peer->context.get());
    if (connection.last != nullptr) connection.last->origin_died = true;
  }
  server_->Stop();
  server_->ResetAll();
  world_.After(down_ns, [this] { server_->Start(); });
}

void Origin::Accept(sim::Peer& peer) {
  auto shared = std::make_shared<Connection>(*this, peer);
  peer.context = shared;
  peer.manner = habits.manner;
  // The callbacks live in what they point to: the world takes both away together.
  std::weak_ptr<Connection> weak = shared;
  shared->reader.on_head = [this, weak](const Message& head) {
    OnHead(weak.lock(), head);
    return false;
  };
  shared->reader.on_body = [this, weak](std::string_view bytes) { OnBody(weak.lock(), bytes); };
  shared->reader.on_end = [this, weak](const Message& trailers) { OnEnd(weak.lock(), trailers); };
  shared->reader.on_raw = [weak](std::string_view bytes) {
    const Shared connection = weak.lock();
    Record& record = *connection->record;
    EXPECT_EQ(sim::FirstWrongByte(2 * record.plan.id, connection->echoed, bytes), std::string_view::npos)
        << "in the tunnel of request " << record.plan.id;
    connection->echoed += bytes.size();
    record.echoed_bytes = connection->echoed;
    connection->peer.Send(bytes);
  };
  peer.on_bytes = [weak](sim::Peer&, std::string_view bytes) {
    const Shared connection = weak.lock();
    const std::string& error = connection->reader.Feed(bytes);
    if (!error.empty()) {
      ADD_FAILURE() << "the origin reads: " << error;
      connection->peer.Reset();
    }
  };
  peer.on_end = [weak](sim::Peer& p) {
    const Shared connection = weak.lock();
    connection->reader.EndOfStream();
    if (!connection->finished) p.Close();
    connection->finished = true;
  };
  peer.on_error = [weak](sim::Peer&, int) { weak.lock()->finished = true; };
}

void Origin::OnHead(const Shared& shared, const Message& head) {
  Connection& connection = *shared;
  if (connection.left_idle) return;  // this request crossed our close
  if (connection.finished) {
    ADD_FAILURE() << "a request on a connection that the origin has ended: " << Quoted(head);
    return;
  }
  if (connection.record != nullptr) {
    ADD_FAILURE() << "a request before the last one was over: " << Quoted(head);
    return;
  }
  const size_t begin = head.start.find(" /r/");
  uint64_t id = UINT64_MAX;
  if (begin != std::string::npos) {
    std::from_chars(head.start.data() + begin + 4, head.start.data() + head.start.size(), id);
  }
  Record* record = story_.Find(id);
  if (record == nullptr) {
    ADD_FAILURE() << "a request that nobody sent: " << Quoted(head);
    connection.peer.Reset();
    connection.finished = true;
    return;
  }
  CheckHead(*record, head);
  ++requests_;
  ++connection.requests;
  connection.record = connection.last = record;
  connection.request_whole = connection.answer_whole = connection.answer_begun = false;
  connection.body_seen = 0;
  const uint32_t attempt = record->attempts++;
  connection.answer = attempt < record->plan.bad_attempts ? &record->plan.bad : &record->plan.answer;
  const AnswerPlan& answer = *connection.answer;
  if (!record->plan.Idempotent()) EXPECT_EQ(attempt, 0u) << "twice: " << Quoted(head);
  if (answer.switches) connection.reader.SwitchToRaw();
  if (record->plan.expect && answer.says_continue) connection.peer.Send("HTTP/1.1 100 Continue\r\n\r\n");
  const bool early = answer.when == When::kAfterHead ||
                     (answer.when == When::kAfterSome && answer.some_bytes == 0) ||
                     (record->plan.expect && !answer.says_continue);
  if (early || answer.switches) BeginAnswer(shared);
}

void Origin::CheckHead(const Record& record, const Message& head) {
  const Plan& plan = record.plan;
  const std::string id = std::to_string(plan.id);
  SCOPED_TRACE(Quoted(head));
  EXPECT_EQ(head.start, plan.method + " /r/" + id + " HTTP/1.1");
  EXPECT_EQ(head.Count("Host"), 1u);
  EXPECT_EQ(head.ValueOf("Host"), "h" + id + ".test");
  EXPECT_EQ(head.Count("X-One"), 1u);
  EXPECT_EQ(head.ValueOf("X-One"), id);
  EXPECT_EQ(head.ValueOf("X-Pad"), std::string(plan.pad_bytes, 'p'));
  EXPECT_EQ(head.Count("X-Hop"), plan.named_field ? 0u : 1u);
  EXPECT_EQ(head.Count("X-Forwarded-For"), 1u);
  EXPECT_TRUE(head.ValueOf("X-Forwarded-For").starts_with("127."));
  EXPECT_EQ(head.ValueOf("X-Forwarded-Host"), "h" + id + ".test");
  EXPECT_EQ(head.ValueOf("X-Forwarded-Proto"), "http");
  EXPECT_EQ(head.Count("X-Request-ID"), 1u);
  if (plan.own_request_id) {
    EXPECT_EQ(head.ValueOf("X-Request-ID"), "req-" + id);
  } else {
    EXPECT_EQ(head.ValueOf("X-Request-ID").size(), 32u);
  }
  EXPECT_EQ(head.ValueOf("Via"), plan.minor == 0 ? "1.0 weir" : "1.1 weir");
  EXPECT_EQ(head.Count("Keep-Alive"), 0u);
  EXPECT_EQ(head.Lists("Connection", "close"), false);
  EXPECT_EQ(head.Lists("Connection", "upgrade"), plan.echo_bytes > 0);
  EXPECT_EQ(head.ValueOf("Upgrade"), plan.echo_bytes > 0 ? "echo" : "");
  EXPECT_EQ(head.ValueOf("TE"), plan.te_trailers ? "trailers" : "");
  EXPECT_EQ(head.Count("Expect"), plan.expect ? 1u : 0u);
  EXPECT_EQ(head.ValueOf("Content-Length"),
            plan.body.framing == Framing::kLength ? std::to_string(plan.body.length) : "");
  EXPECT_EQ(head.ValueOf("Transfer-Encoding"), plan.body.framing == Framing::kChunked ? "chunked" : "");
}

void Origin::OnBody(const Shared& shared, std::string_view bytes) {
  Connection& connection = *shared;
  if (connection.record == nullptr) return;
  const Plan& plan = connection.record->plan;
  const size_t wrong = sim::FirstWrongByte(2 * plan.id, connection.body_seen, bytes);
  EXPECT_EQ(wrong, std::string_view::npos)
      << "request " << plan.id << ": byte " << connection.body_seen + wrong << " of the body is wrong";
  connection.body_seen += bytes.size();
  EXPECT_LE(connection.body_seen, plan.body.length) << "request " << plan.id << ": too much body";
  if (connection.answer->when == When::kAfterSome && !connection.answer_begun &&
      connection.body_seen >= connection.answer->some_bytes) {
    BeginAnswer(shared);
  }
}

void Origin::OnEnd(const Shared& shared, const Message& trailers) {
  Connection& connection = *shared;
  if (connection.record == nullptr) return;
  Record& record = *connection.record;
  const Plan& plan = record.plan;
  EXPECT_EQ(connection.body_seen, plan.body.length) << "request " << plan.id << ": its body ends early";
  const bool wants_trailers = plan.body.trailers && plan.body.framing == Framing::kChunked;
  EXPECT_EQ(trailers.ValueOf("X-Trailer"), wants_trailers ? std::to_string(plan.id) : "");
  ++record.bodies_whole;
  connection.request_whole = true;
  if (!connection.answer_begun) {
    BeginAnswer(shared);
  } else {
    NextWhenBothDone(shared);
  }
}

void Origin::BeginAnswer(const Shared& shared) {
  Connection& connection = *shared;
  connection.answer_begun = true;
  const AnswerPlan& answer = *connection.answer;
  if (!answer.reads_on) connection.peer.StopReading();
  if (answer.delay_ns == 0) {
    SendAnswer(shared);
  } else {
    world_.After(answer.delay_ns, [this, shared] { SendAnswer(shared); });
  }
}

void Origin::SendAnswer(const Shared& shared) {
  Connection& connection = *shared;
  sim::Peer& peer = connection.peer;
  if (connection.finished || peer.closed()) return;
  Record& record = *connection.record;
  const Plan& plan = record.plan;
  const AnswerPlan& answer = *connection.answer;
  const std::string id = std::to_string(plan.id);

  std::string text;
  for (uint32_t i = 0; i < answer.interims; ++i) {
    text += "HTTP/1.1 103 Early Hints\r\nX-Interim: " + std::to_string(i) + "\r\n\r\n";
  }
  const size_t before_head = text.size();
  if (answer.switches) {
    text += "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\nX-Id: " + id +
            "\r\n\r\n";
    ++record.answers_begun;
    ++record.answers_whole;
    peer.Send(text);
    return;  // the reader hands on what comes through the tunnel
  }
  text += "HTTP/1." + std::to_string(answer.minor) + " " + std::to_string(answer.status) +
          " Reason\r\nX-Id: " + id +
          "\r\nX-Answer: a value that makes the head longer\r\nKeep-Alive: timeout=5\r\n";
  const bool closes = answer.close || answer.body.framing == Framing::kUntilClose;
  if (answer.pad_bytes > 0) text += "X-Pad: " + std::string(answer.pad_bytes, 'q') + "\r\n";
  if (closes) text += "Connection: close\r\n";
  if (!closes && answer.minor == 0) text += "Connection: keep-alive\r\n";
  if (plan.id % 2 == 0) text += "Date: Tue, 15 Nov 1994 08:12:31 GMT\r\n";
  const bool no_body = plan.AnswerHasNoBody() && answer.end == End::kWhole;
  if (answer.body.framing == Framing::kLength && answer.status != 204) {
    text += "Content-Length: " + std::to_string(answer.body.length) + "\r\n";
  }
  if (answer.body.framing == Framing::kChunked && answer.status != 204) {
    text += "Transfer-Encoding: chunked\r\n";
  }
  text += "\r\n";
  if (answer.end != End::kWhole && answer.cut_in_head) {
    text.resize(before_head + answer.cut);
    if (!text.empty()) ++record.answers_begun;
    peer.Send(text);
    AnswerDone(shared);
    return;
  }
  ++record.answers_begun;
  peer.Send(text);
  if (no_body) {
    AnswerDone(shared);
  } else {
    SendBody(shared, 0);
  }
}

// In one go, or in halves with a pause between.
void Origin::SendBody(const Shared& shared, uint64_t from) {
  Connection& connection = *shared;
  if (connection.finished || connection.peer.closed()) return;
  const AnswerPlan& answer = *connection.answer;
  const uint64_t stream = 2 * connection.record->plan.id + 1;
  const uint64_t all =
      answer.end == End::kWhole || answer.end == End::kExtraBytes ? answer.body.length : answer.cut;
  const bool pauses = answer.pause_ns > 0 && from == 0 && all > 1;
  const uint64_t to = pauses ? all / 2 : all;
  connection.peer.Send(FrameBytes(stream, from, to - from, answer.body));
  if (pauses) {
    world_.After(answer.pause_ns, [this, shared, to] { SendBody(shared, to); });
    return;
  }
  if (answer.end == End::kWhole || answer.end == End::kExtraBytes) {
    connection.peer.Send(FrameEnd(connection.record->plan.id, answer.body));
  }
  AnswerDone(shared);
}

void Origin::AnswerDone(const Shared& shared) {
  Connection& connection = *shared;
  sim::Peer& peer = connection.peer;
  const AnswerPlan& answer = *connection.answer;
  switch (answer.end) {
    case End::kWhole:
      ++connection.record->answers_whole;
      connection.answer_whole = true;
      if (answer.close || answer.body.framing == Framing::kUntilClose) {
        connection.finished = true;
        // Politely: our FIN, and no RST that would eat the answer, until the other side ends.
        peer.Finish();
        peer.on_bytes = [](sim::Peer&, std::string_view) {};
        peer.on_end = [](sim::Peer& p) { p.Close(); };
        return;
      }
      NextWhenBothDone(shared);
      return;
    case End::kExtraBytes:
      ++connection.record->answers_whole;
      peer.Send("HTTP/1.1 200 OK\r\nX-Id: 0\r\nContent-Length: 3\r\n\r\nbad");
      connection.finished = true;
      return;
    case End::kBadChunk:
      peer.Send("zz\r\n");
      connection.finished = true;
      peer.Close();
      return;
    case End::kFin:
      connection.finished = true;
      peer.Close();
      return;
    case End::kReset:
      connection.finished = true;
      if (peer.bytes_queued() == 0) {
        peer.Reset();
      } else {
        peer.on_sent = [](sim::Peer& p) { p.Reset(); };
      }
      return;
    case End::kHang:
      return;
  }
}

void Origin::NextWhenBothDone(const Shared& shared) {
  Connection& connection = *shared;
  if (connection.record != nullptr) {
    if (!connection.request_whole || !connection.answer_whole) return;
    connection.record = nullptr;
    if (habits.requests_per_connection > 0 && connection.requests >= habits.requests_per_connection) {
      connection.finished = connection.left_idle = true;
      connection.peer.Close();
      return;
    }
  }
  if (habits.idle_close_ns == 0) return;
  const uint64_t number = ++connection.idle_number;
  world_.After(habits.idle_close_ns, [shared, number] {
    Connection& idle = *shared;
    if (idle.record != nullptr || idle.idle_number != number || idle.finished || idle.peer.closed()) return;
    if (!idle.reader.between()) return;
    idle.finished = idle.left_idle = true;
    idle.peer.Close();
  });
}

}  // namespace weir::lb::trial
