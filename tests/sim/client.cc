#include "tests/sim/client.h"

#include <algorithm>
#include <utility>

#include "gtest/gtest.h"

namespace weir::lb::trial {
namespace {

using Abort = Plan::Abort;
using Framing = BodyPlan::Framing;
using Outcome = Record::Outcome;

constexpr uint32_t kMostTries = 20;
// A connection that Weir said it closes is closed so soon after its last byte was read.
constexpr int64_t kCloseWithinNs = 5 * kNsPerSecond;
// A client that expects 100 does not wait for ever (RFC 9110 10.1.1).
constexpr int64_t kExpectPatienceNs = kNsPerSecond;

std::string HeadOf(const Plan& plan) {
  const std::string id = std::to_string(plan.id);
  const std::string host = "h" + id + ".test";
  std::string text = plan.method + (plan.absolute ? " http://" + host : " ") + "/r/" + id + " HTTP/1." +
                     std::to_string(plan.minor) + "\r\n";
  text += "Host: " + (plan.absolute ? "elsewhere" : host) + "\r\n";
  text += "X-One: " + id + "\r\nX-Forwarded-For: 6.6.6.6\r\nKeep-Alive: 5\r\nX-Hop: hop\r\n";
  if (plan.pad_bytes > 0) text += "X-Pad: " + std::string(plan.pad_bytes, 'p') + "\r\n";
  if (plan.own_request_id) text += "X-Request-ID: req-" + id + "\r\n";
  std::string connection;
  const auto option = [&connection](std::string_view name) {
    connection += (connection.empty() ? "" : ", ") + std::string(name);
  };
  if (plan.named_field) option("x-hop");
  if (plan.te_trailers) option("TE");
  if (plan.echo_bytes > 0) option("Upgrade");
  if (!plan.keep_alive) {
    option("close");
  } else if (plan.minor == 0) {
    option("keep-alive");
  }
  if (!connection.empty()) text += "Connection: " + connection + "\r\n";
  if (plan.te_trailers) text += "TE: trailers\r\n";
  if (plan.echo_bytes > 0) text += "Upgrade: echo\r\n";
  if (plan.expect) text += "Expect: 100-continue\r\n";
  if (plan.body.framing == Framing::kLength)
    text += "Content-Length: " + std::to_string(plan.body.length) + "\r\n";
  if (plan.body.framing == Framing::kChunked) text += "Transfer-Encoding: chunked\r\n";
  return text + "\r\n";
}

}  // namespace

Client::Client(sim::World& world, Story& story, std::vector<uint64_t> ids, Habits habits)
    : world_(world), story_(story), habits_(std::move(habits)) {
  for (const uint64_t id : ids) todo_.push_back(story_.Find(id));
}

void Client::Start() { Next(); }

uint64_t Client::bytes_received() const {
  uint64_t sum = 0;
  for (const sim::Peer* peer : peers_) sum += peer->bytes_received();
  return sum;
}

void Client::GiveUp() {
  if (current_ != nullptr && !current_->over) {
    current_->peer.Reset();
    Over(current_, ECANCELED);
  }
  done_ = true;
}

void Client::EndOf(Record& record, Outcome outcome) {
  record.outcome = outcome;
  record.over_ns = world_.now_ns();
}

// A new connection, if something is left to ask for.
void Client::Next() {
  if (done_) return;
  if (todo_.empty()) {
    done_ = true;
    return;
  }
  if (connections_ == habits_.most_connections) {
    ADD_FAILURE() << "too many connections for " << story_.ToString(*todo_.front());
    done_ = true;
    return;
  }
  ++connections_;
  Connect();
}

void Client::Connect() {
  sim::Peer& peer = world_.Connect(habits_.to, habits_.from_ip);
  peers_.push_back(&peer);
  peer.manner = habits_.manner;
  auto shared = std::make_shared<Connection>(peer);
  current_ = shared;
  peer.context = shared;
  std::weak_ptr<Connection> weak = shared;
  shared->reader.on_head = [this, weak](const Message& head) { return OnHead(weak.lock(), head); };
  shared->reader.on_body = [this, weak](std::string_view bytes) { OnBody(weak.lock(), bytes); };
  shared->reader.on_end = [this, weak](const Message& trailers) { OnEnd(weak.lock(), trailers); };
  shared->reader.on_raw = [this, weak](std::string_view bytes) { OnRaw(weak.lock(), bytes); };
  peer.on_connected = [this, weak](sim::Peer&) { SendMore(weak.lock()); };
  peer.on_bytes = [this, weak](sim::Peer& p, std::string_view bytes) {
    const Shared connection = weak.lock();
    if (connection->over) return;
    const std::string& error = connection->reader.Feed(bytes);
    if (error.empty()) return;
    ADD_FAILURE() << "the client reads: " << error;
    p.Reset();
    Over(connection, EPROTO);
  };
  peer.on_end = [this, weak](sim::Peer& p) {
    const Shared connection = weak.lock();
    if (connection->over) return;
    Over(connection, 0);
    p.Close();
  };
  peer.on_error = [this, weak](sim::Peer&, int error) {
    const Shared connection = weak.lock();
    if (!connection->over) Over(connection, error);
  };
}

// As many requests as may be on their way at once.
void Client::SendMore(const Shared& shared) {
  Connection& connection = *shared;
  while (!connection.over && !connection.finished && !connection.closes && !todo_.empty()) {
    if (connection.outstanding.size() >= habits_.depth) return;
    if (!connection.outstanding.empty()) {
      const Plan& last = connection.outstanding.back()->plan;
      // Nothing can follow these before they are answered.
      if (last.expect || last.echo_bytes > 0 || !last.keep_alive || connection.sending != nullptr) return;
      if (last.abort != Abort::kNever) return;
    } else if (connection.sending != nullptr) {
      return;
    }
    Record& record = *todo_.front();
    // HTTP/1.0 does not pipeline: a reset that ends such an answer would take earlier ones along.
    const bool alone = record.plan.echo_bytes > 0 || record.plan.minor == 0;
    if (!connection.outstanding.empty() && alone) return;
    todo_.pop_front();
    connection.outstanding.push_back(&record);
    SendRequest(shared, record);
  }
}

void Client::SendRequest(const Shared& shared, Record& record) {
  Connection& connection = *shared;
  const Plan& plan = record.plan;
  if (record.sent_times == 0) record.sent_ns = world_.now_ns();
  ++record.sent_times;
  record.outcome = Outcome::kPending;
  connection.sending = &record;
  std::string head = HeadOf(plan);
  if (plan.abort != Abort::kNever && !plan.abort_answer && plan.abort_bytes < head.size()) {
    connection.peer.Send(head.substr(0, plan.abort_bytes));
    AbortNow(shared, record);
    return;
  }
  connection.peer.Send(head);
  if (plan.expect) {
    connection.held_body = &record;
    world_.After(kExpectPatienceNs, [this, shared, &record] {
      if (shared->held_body == &record) SendRequestBody(shared, record, 0);
    });
    return;
  }
  SendRequestBody(shared, record, 0);
}

// In one go, or in halves with a pause between.
void Client::SendRequestBody(const Shared& shared, Record& record, uint64_t from) {
  Connection& connection = *shared;
  connection.held_body = nullptr;
  if (connection.over || connection.finished) return;
  const Plan& plan = record.plan;
  uint64_t all = plan.body.length;
  const bool aborts = plan.abort != Abort::kNever && !plan.abort_answer;
  if (aborts) all = std::min(all, plan.abort_bytes);
  const bool pauses = plan.pause_ns > 0 && from == 0 && all > 1;
  const uint64_t to = pauses ? all / 2 : all;
  connection.peer.Send(FrameBytes(2 * plan.id, from, to - from, plan.body));
  if (pauses) {
    world_.After(plan.pause_ns, [this, shared, &record, to] {
      // An answer that closes the connection makes the rest needless.
      if (shared->sending == &record) SendRequestBody(shared, record, to);
    });
    return;
  }
  if (aborts) {
    AbortNow(shared, record);
    return;
  }
  connection.peer.Send(FrameEnd(plan.id, plan.body));
  connection.sending = nullptr;
  if (plan.echo_bytes > 0 && plan.answer.switches) {
    // Some of it before the 101: it must wait at the proxy.
    connection.echo_sent = plan.echo_bytes / 3;
    connection.peer.Send(sim::StreamBytes(2 * plan.id, 0, connection.echo_sent));
  }
  SendMore(shared);
  if (habits_.half_close && todo_.empty() && !connection.finished && plan.echo_bytes == 0 &&
      connection.sending == nullptr && connection.outstanding.back() == &record) {
    connection.finished = true;
    connection.peer.Finish();
  }
}

// Once everything queued is on the wire.
void Client::AbortNow(const Shared& shared, Record& record) {
  Connection& connection = *shared;
  connection.finished = true;
  connection.sending = nullptr;
  switch (record.plan.abort) {
    case Abort::kNever:
      break;
    case Abort::kFinish:
      connection.peer.Finish();
      break;
    case Abort::kClose:
      connection.peer.Close();
      Over(shared, ECANCELED);
      break;
    case Abort::kReset:
      if (connection.peer.bytes_queued() == 0) {
        connection.peer.Reset();
        Over(shared, ECANCELED);
        return;
      }
      connection.peer.on_sent = [this, shared](sim::Peer& peer) {
        if (shared->over) return;
        peer.Reset();
        Over(shared, ECANCELED);
      };
      break;
  }
}

// True: no body follows.
bool Client::OnHead(const Shared& shared, const Message& head) {
  Connection& connection = *shared;
  const int status = head.Status();
  if (connection.outstanding.empty() && connection.echo_sent > 0 && status == 400) {
    connection.closes = true;  // what was meant for a tunnel that was not granted is no request
    return false;
  }
  if (connection.outstanding.empty()) {
    // Allowed without a request: 408, and 503 at the connection limit, before a close.
    EXPECT_TRUE(status == 408 || status == 503)
        << "an answer that nobody asked for: " << head.start << ", X-Id " << head.ValueOf("X-Id")
        << ", after " << (connection.last == nullptr ? "nothing" : story_.ToString(*connection.last));
    EXPECT_TRUE(head.Lists("Connection", "close"));
    connection.closes = true;
    return false;
  }
  Record& record = *connection.outstanding.front();
  const Plan& plan = record.plan;
  connection.interim = status < 200 && status != 101;
  if (connection.interim) {
    EXPECT_EQ(plan.minor, 1) << "an interim answer to HTTP/1.0";
    ++record.interims_seen;
    if (status == 100 && connection.held_body == &record) SendRequestBody(shared, record, 0);
    return true;
  }
  connection.answering = &record;
  connection.body_seen = 0;
  connection.local = head.Find("X-Id") == nullptr;
  if (status == 101) {
    EXPECT_TRUE(plan.echo_bytes > 0 && plan.answer.switches);
    EXPECT_TRUE(head.Lists("Connection", "upgrade"));
    EXPECT_EQ(head.ValueOf("Upgrade"), "echo");
    connection.reader.SwitchToRaw();
    connection.tunnel = true;
    connection.peer.Send(
        sim::StreamBytes(2 * plan.id, connection.echo_sent, plan.echo_bytes - connection.echo_sent));
    connection.peer.Finish();
    connection.finished = true;
    return false;
  }
  if (connection.local) {
    record.local_status = status;
    record.local_text.clear();
    EXPECT_EQ(head.Count("Content-Length"), 1u);
  } else {
    CheckFinal(record, head);
  }
  const bool no_body = plan.method == "HEAD" || (!connection.local && plan.AnswerHasNoBody());
  connection.until_close =
      !no_body && head.Find("Content-Length") == nullptr && head.Find("Transfer-Encoding") == nullptr;
  const bool keeps =
      plan.minor == 1 ? !head.Lists("Connection", "close") : head.Lists("Connection", "keep-alive");
  connection.closes = connection.closes || !keeps || connection.until_close || !plan.keep_alive;
  if (connection.held_body == &record) {
    // A final answer instead of 100: the body is not sent, and nobody can tell where a next request would
    // begin.
    EXPECT_TRUE(connection.closes) << "a final answer without 100 must close";
    connection.held_body = nullptr;
    connection.sending = nullptr;
  }
  return no_body;
}

void Client::CheckFinal(const Record& record, const Message& head) {
  const Plan& plan = record.plan;
  const AnswerPlan& answer = plan.answer;
  const std::string id = std::to_string(plan.id);
  std::string quoted = "'" + head.start + "'";
  for (const auto& [name, value] : head.fields) quoted += ", '" + name + ": " + value + "'";
  SCOPED_TRACE(quoted + " for " + story_.ToString(record));
  EXPECT_EQ(head.start, "HTTP/1.1 " + std::to_string(answer.status) + " Reason");
  EXPECT_EQ(head.Count("X-Id"), 1u);
  EXPECT_EQ(head.ValueOf("X-Id"), id);
  EXPECT_EQ(head.ValueOf("X-Answer"), "a value that makes the head longer");
  EXPECT_EQ(head.ValueOf("X-Pad"), std::string(answer.pad_bytes, 'q'));
  EXPECT_EQ(head.Count("Keep-Alive"), 0u);
  EXPECT_EQ(head.Count("Date"), 1u);
  if (plan.id % 2 == 0) EXPECT_EQ(head.ValueOf("Date"), "Tue, 15 Nov 1994 08:12:31 GMT");
  EXPECT_EQ(head.ValueOf("Via"), answer.minor == 0 ? "1.0 weir" : "1.1 weir");
  const bool has_length = answer.body.framing == Framing::kLength && answer.status != 204;
  EXPECT_EQ(head.ValueOf("Content-Length"), has_length ? std::to_string(answer.body.length) : "");
  const bool chunked = !plan.AnswerHasNoBody() && answer.body.framing != Framing::kLength && plan.minor == 1;
  EXPECT_EQ(head.ValueOf("Transfer-Encoding"), chunked ? "chunked" : "");
}

void Client::OnBody(const Shared& shared, std::string_view bytes) {
  Connection& connection = *shared;
  if (connection.answering == nullptr) return;
  Record& record = *connection.answering;
  const Plan& plan = record.plan;
  if (connection.local) {
    record.local_text += bytes;
    return;
  }
  const size_t wrong = sim::FirstWrongByte(2 * plan.id + 1, connection.body_seen, bytes);
  EXPECT_EQ(wrong, std::string_view::npos)
      << "byte " << connection.body_seen + wrong << " of the answer is wrong: " << story_.ToString(record);
  connection.body_seen += bytes.size();
  EXPECT_LE(connection.body_seen, plan.answer.body.length) << story_.ToString(record);
  if (plan.abort != Abort::kNever && plan.abort_answer && connection.body_seen >= plan.abort_bytes &&
      !connection.over) {
    if (plan.abort == Abort::kReset) {
      connection.peer.Reset();
    } else {
      connection.peer.Close();
    }
    Over(shared, ECANCELED);
  }
}

void Client::OnEnd(const Shared& shared, const Message& trailers) {
  Connection& connection = *shared;
  if (connection.interim) {
    connection.interim = false;
    return;
  }
  if (connection.answering == nullptr || connection.over) return;
  Record& record = *std::exchange(connection.answering, nullptr);
  connection.last = &record;
  const Plan& plan = record.plan;
  connection.outstanding.pop_front();
  ++connection.answered;
  if (connection.local) {
    EndOf(record, Outcome::kLocal);
  } else {
    EXPECT_EQ(connection.body_seen, plan.AnswerHasNoBody() ? 0 : plan.answer.body.length)
        << "an answer that looks whole is not: " << story_.ToString(record);
    EXPECT_GT(record.answers_whole, 0u) << "no origin sent all of this: " << story_.ToString(record);
    const bool wants_trailers = plan.te_trailers && plan.minor == 1 && !plan.AnswerHasNoBody() &&
                                plan.answer.body.framing == Framing::kChunked && plan.answer.body.trailers;
    EXPECT_EQ(trailers.ValueOf("X-Trailer"), wants_trailers ? std::to_string(plan.id) : "")
        << story_.ToString(record);
    if (plan.minor == 1) {
      EXPECT_EQ(record.interims_seen,
                plan.answer.interims + (plan.expect && plan.answer.says_continue ? 1 : 0))
          << story_.ToString(record);
    }
    EndOf(record, Outcome::kWhole);
  }
  if (connection.closes) {
    connection.sending = nullptr;
    // Weir ends it: the end of the stream is behind the last byte.
    world_.After(kCloseWithinNs, [this, shared] {
      if (shared->over) return;
      ADD_FAILURE() << "a connection that closes is still open";
      GiveUp();
    });
    return;
  }
  if (todo_.empty() && connection.outstanding.empty() && connection.sending == nullptr) {
    if (connection.finished) return;  // it sees our FIN
    connection.peer.Close();
    Over(shared, 0);
    return;
  }
  if (habits_.think_ns > 0) {
    world_.After(world_.random().Below(static_cast<uint32_t>(habits_.think_ns / kNsPerUs)) * kNsPerUs,
                 [this, shared] { SendMore(shared); });
  } else {
    SendMore(shared);
  }
}

void Client::OnRaw(const Shared& shared, std::string_view bytes) {
  Connection& connection = *shared;
  const Plan& plan = connection.answering->plan;
  EXPECT_EQ(sim::FirstWrongByte(2 * plan.id, connection.echo_seen, bytes), std::string_view::npos)
      << "in the tunnel of " << story_.ToString(*connection.answering);
  connection.echo_seen += bytes.size();
}

// The connection has ended: by FIN, by an error, or by our own doing.
void Client::Over(const Shared& shared, int error) {
  Connection& connection = *shared;
  if (connection.over) return;
  if (error == 0 && connection.answering != nullptr && connection.until_close)
    connection.reader.EndOfStream();
  if (connection.over) return;  // the end of that answer was all it waited for
  connection.over = true;
  connection.reader.Stop();
  connection.sending = connection.held_body = nullptr;
  const bool own = error == ECANCELED;
  if (connection.answering != nullptr) {
    Record& record = *connection.answering;
    connection.outstanding.pop_front();
    if (connection.tunnel) {
      const bool whole = error == 0 && connection.echo_seen == record.plan.echo_bytes;
      EndOf(record, whole ? Outcome::kWhole : Outcome::kTruncated);
    } else {
      EndOf(record, own ? Outcome::kAborted : Outcome::kTruncated);
    }
  }
  // Those that got no answer. Weir may end a connection between two requests, and then the next was not
  // looked at.
  bool first = connection.answered == 0 && connection.answering == nullptr;
  bool broken = connection.answering != nullptr;
  std::vector<Record*> again;
  for (Record* record : connection.outstanding) {
    const bool aborted = record->plan.abort != Abort::kNever;
    const bool between = !first && !mercy.lost && (error == 0 || broken || draining());
    broken = broken || record->plan.answer.end != AnswerPlan::End::kWhole;
    const bool may_try_again =
        !own && !aborted && record->interims_seen == 0 && (connection.closes || between);
    if (may_try_again && record->sent_times < kMostTries) {
      record->outcome = Outcome::kUnsent;
      again.push_back(record);
    } else {
      EndOf(*record, own || aborted ? Outcome::kAborted : Outcome::kLost);
      record->end = "the connection, " + std::to_string(connection.answered) + " answers old, ended with " +
                    (error == 0 ? "FIN" : "error " + std::to_string(error));
    }
    first = false;
  }
  connection.outstanding.clear();
  todo_.insert(todo_.begin(), again.begin(), again.end());
  if (!connection.peer.connected() && !own) {
    EXPECT_TRUE(mercy.refused || draining()) << "a connect failed: " << error;
    for (Record* record : todo_) {
      record->refused = true;
      EndOf(*record, Outcome::kLost);
    }
    todo_.clear();
  }
  Next();
}

}  // namespace weir::lb::trial
