// MiniServer: a small HTTP/1.1 server for the control shard: the admin pages and the demo's origins. Whole
// answers from a function, request bodies read and dropped, keep-alive. Not the data path: it allocates, and
// serves a bounded number of connections; a new one takes the place of the one that has asked for nothing
// longest.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/shard.h"
#include "core/slab.h"
#include "core/source.h"
#include "core/stream.h"
#include "lb/http/request.h"

namespace weir::lb {

struct MiniReply {
  bool later = false;  // the rest comes by MiniServer::Answer
  uint16_t status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  std::string extra_fields = {};  // whole lines, each with its CRLF
};

class MiniServer {
 public:
  static constexpr uint32_t kIdleMs = 60'000;

  static constexpr uint32_t kLaterMs = 300'000;

  // `ticket` names this request until its answer.
  using Handler = std::function<MiniReply(const http::RequestHead&, uint64_t ticket)>;

  // Serves what comes to the listening `fd`, which it owns from now on, at most `connections` at one time.
  MiniServer(Shard& shard, int fd, uint32_t connections, Handler handler);
  ~MiniServer();
  MiniServer(const MiniServer&) = delete;
  MiniServer& operator=(const MiniServer&) = delete;

  // The reply to the request that was to get it later; in vain when its client has left.
  void Answer(uint64_t ticket, MiniReply reply);
  // The address that the request came from.
  SocketAddress PeerOf(uint64_t ticket);
  // Ends every connection and the listener; `closed` becomes true some turns later.
  void BeginClose();
  bool closed() const { return fd_ < 0 && connections_.size() == 0; }

 private:
  struct Connection : Waiter {
    Connection() {
      stream.SetWaiter(this);
      timer.waiter = this;
    }
    Stream stream;
    Timer timer;
    MiniServer* server = nullptr;
    int64_t since_ns = 0;  // the last request's end, or accept
    bool evicted = false;  // a new one needs the place
    uint64_t ticket = 0;   // of the request that waits for its reply; 0: none does
    MiniReply reply;       // has come when `later` is false again
    std::string in;
    std::string out;  // being sent: outlives the send, because the connection outlives its stream
  };

  Root Accept(Scope& scope);
  Root Serve(Scope& scope, Connection* connection);
  // Reads until a request (head and body) is there; false when the connection is to end.
  Task<bool> ReadRequest(Connection* connection);
  Task<bool> AwaitReply(Connection* connection);
  Task<bool> Send(Connection* connection);
  void OnClosing(Connection* connection);
  void EvictOne();

  Shard& shard_;
  int fd_;
  SocketAddress address_;  // of the listener
  Handler handler_;
  http::RequestHead head_;
  uint64_t tickets_ = 0;
  bool closing_ = false;
  Scope scope_;
  Slab<Connection> connections_;
  Source accept_;
  Waiter accept_waiter_;
  Timer accept_timer_;
};

}  // namespace weir::lb
