// LoadOrigin: the cheapest HTTP/1.1 server that a proxy can be measured with: "GET /b/N" is answered with N
// bytes from static memory, "POST /b/N" likewise once its Content-Length has been read, keep-alive unless the
// request says "Connection: close", pipelined requests one by one. It believes what it reads: only for load
// that comes from LoadClient or a known tool. Owner: the program, on one shard; connections end when their
// clients end them.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/shard.h"
#include "core/slab.h"
#include "core/source.h"
#include "core/stream.h"

namespace weir::load {

class LoadOrigin;

// Shared by the origins of a program: requests wait until `counts.front()` of them do, then all are answered
// and the next count holds. Without counts nothing waits.
struct LoadHold {
  std::vector<uint32_t> counts;
  std::vector<std::pair<LoadOrigin*, void*>> waiting;
};

// How long an origin is at work with a request, and with how many at one time; others wait, in order. 0 ms:
// it answers at once.
struct LoadPace {
  uint32_t serve_ms = 0;
  uint32_t workers = 1;
};

class LoadOrigin {
 public:
  static constexpr size_t kLargestBody = size_t{1} << 30;

  // Serves what comes to the listening `fd`, which it owns, at most `connections` at one time.
  LoadOrigin(Shard& shard, int fd, uint32_t connections, LoadHold& hold, LoadPace pace = {});
  ~LoadOrigin();
  LoadOrigin(const LoadOrigin&) = delete;
  LoadOrigin& operator=(const LoadOrigin&) = delete;

  // Ends everything; `closed` some turns later.
  void BeginClose();
  bool closed() const { return fd_ < 0 && connections_.size() == 0; }
  uint64_t requests() const { return requests_; }

 private:
  struct Connection : Runnable {
    explicit Connection(LoadOrigin* origin) : Runnable(&LoadOrigin::OnReady), origin(origin) {
      stream.SetWaiter(this);
      served.waiter = this;
    }
    LoadOrigin* origin;
    Stream stream;
    Timer served;             // its request's time is over
    std::string head;         // of a request that came in pieces
    std::string_view answer;  // to the request whose body is being read
    uint64_t body_left = 0;
    bool close_after = false;
    bool answered = false;
    bool held = false;  // its request is being worked on, or waits
  };
  struct AcceptRunnable : Runnable {
    explicit AcceptRunnable(LoadOrigin* origin) : Runnable(&LoadOrigin::OnAccept), origin(origin) {}
    LoadOrigin* origin;
  };

  static void OnReady(Runnable* self);
  static void OnAccept(Runnable* self);
  void Serve(Connection& connection);
  // False: the request is not one of ours.
  bool TakeHead(Connection& connection, std::string_view head);
  void Close(Connection& connection);
  std::string_view AnswerOf(uint64_t bytes, bool close);
  void Answer(Connection& connection);
  void Hold(Connection& connection);
  void Work();
  void EndWork(Connection& connection);

  Shard& shard_;
  LoadHold& hold_;
  const LoadPace pace_;
  uint32_t at_work_ = 0;
  std::deque<Connection*> waiting_;
  int fd_;
  bool closing_ = false;
  uint64_t requests_ = 0;
  std::map<uint64_t, std::string> answers_;  // by size * 2 + close
  Slab<Connection> connections_;
  Source accept_;
  AcceptRunnable accept_runnable_;
};

}  // namespace weir::load
