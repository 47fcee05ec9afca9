// LoadClient: many HTTP/1.1 connections that ask one target again and again and check what comes back: status
// 200, the Content-Length asked for, as many bytes as it says, nothing behind them. Closed loop (each
// connection asks as soon as it is answered) or open loop (requests fall due at a fixed rate whether or not a
// connection is free; latency counts from when they fell due, so that a stall is seen by all it delayed).
// Owner: the program, on one shard.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/shard.h"
#include "core/stats.h"
#include "core/stream.h"

namespace weir::load {

// One kind of request.
struct Ask {
  std::string request;  // head and body
  uint64_t answer_bytes = 0;
};

class LoadClient {
 public:
  struct Options {
    SocketAddress target;
    uint32_t connections = 64;
    // Asked in this order, again and again, each connection beginning elsewhere.
    std::vector<Ask> asks;
    bool close = false;  // a new connection for each request
    // With `close`, instead of asking: say FIN, wait for the peer's.
    bool connect_only = false;
    double rate = 0;  // requests a second over all connections; 0: closed loop
    int64_t request_timeout_ms = 30'000;
  };
  struct Results {
    uint64_t requests = 0;  // answered well
    uint64_t connects = 0;
    uint64_t bytes = 0;  // of bodies, both ways
    uint64_t connect_errors = 0;
    uint64_t status_errors = 0;  // not 200
    uint64_t broken = 0;         // ended early, or not what was asked for
    uint64_t timeouts = 0;
    uint64_t closed_idle = 0;    // the peer ended a connection between requests; no error
    uint64_t unanswered = 0;     // due or under way at the end
    uint64_t failed_before = 0;  // until Begin
  };
  using Latency = HistogramOf<6>;  // ns, within 1.6 %

  LoadClient(Shard& shard, Options options);
  ~LoadClient();
  LoadClient(const LoadClient&) = delete;
  LoadClient& operator=(const LoadClient&) = delete;

  // Connects all; with `first` each asks once. (Where every request has its own connection: nothing.)
  void Connect(bool first);
  // Every connection is there (and was answered).
  bool ready() const { return settled_ == options_.connections; }
  // Begins the load, with results and latencies from zero.
  void Begin();
  // Open loop: asks what is due; once a turn.
  void Pace();
  // Asks no more; what is under way counts until Results are read. Open loop: what fell due until `end_ns`
  // and was not asked, because everything stood still just then, is unanswered.
  void End(int64_t end_ns);
  bool quiet() const { return busy_ == 0; }
  // Ends all connections; `closed` some turns later.
  void BeginClose();
  bool closed() const { return open_ == 0; }
  // Looks for requests that take too long; about once a second.
  void CheckTimeouts();

  Results results() const;
  static uint64_t Failed(const Results& results);
  const Latency& latency() const { return *latency_; }
  // What was wrong with the first answer that was not as asked for; empty: none was.
  const std::string& first_wrong() const { return first_wrong_; }

 private:
  enum class State : uint8_t { kClosed, kConnecting, kIdle, kHead, kBody, kClosing };
  struct Connection : Runnable {
    Connection() : Runnable(&LoadClient::OnReady) { again.waiter = this; }
    LoadClient* client = nullptr;
    std::optional<Stream> stream;
    Timer again;       // after a failure
    std::string head;  // of an answer that came in pieces
    int64_t due_ns = 0;
    int64_t begun_ns = 0;
    uint64_t left = 0;
    const Ask* ask = nullptr;
    uint32_t next_ask = 0;
    State state = State::kClosed;
    bool settled = false;
    bool listed = false;  // in idle_
    bool last = false;    // the answer says that its connection ends
    bool later = false;   // opened again only after a pause
  };

  static void OnReady(Runnable* self);
  void Step(Connection& connection);
  void StepOpen(Connection& connection);
  void Open(Connection& connection);
  void Close(Connection& connection);
  void Closed(Connection& connection);
  void Ready(Connection& connection);
  void Settle(Connection& connection);
  void Rest(Connection& connection);
  void FallDue(int64_t until_ns);
  void Send(Connection& connection, int64_t due_ns);
  bool TakeHead(Connection& connection, Slice& in);
  void Answered(Connection& connection);
  void Fail(Connection& connection, uint64_t& counter);
  void Wrong(std::string what);
  void SetState(Connection& connection, State state);

  Shard& shard_;
  const Options options_;
  std::unique_ptr<Connection[]> connections_;
  std::deque<Connection*> idle_;  // open loop: those that may ask; some may be gone
  std::deque<int64_t> due_;       // open loop: when what nobody has asked yet fell due
  Results results_;
  std::unique_ptr<Latency> latency_;
  std::string first_wrong_;
  int64_t begin_ns_ = 0;
  uint64_t issued_ = 0;
  uint32_t settled_ = 0;
  uint32_t busy_ = 0;  // connecting, or a request under way
  uint32_t open_ = 0;  // sockets
  bool first_ = false;
  bool running_ = false;
  bool counting_ = false;
  bool closing_ = false;
};

}  // namespace weir::load
