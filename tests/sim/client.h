// Client: an HTTP client of the test with a list of requests. It sends them over as many connections as that
// takes, checks every byte of every answer, and writes down what became of each.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/sim/peer.h"
#include "core/sim/world.h"
#include "tests/sim/message.h"
#include "tests/sim/story.h"

namespace weir::lb::trial {

class Client {
 public:
  struct Habits {
    sim::Peer::Manner manner;
    uint32_t depth = 1;       // requests sent before the first is answered
    bool half_close = false;  // FIN after the last request
    uint32_t most_connections = 50;
    std::string from_ip = "127.0.0.1";
    std::string to;
    int64_t think_ns = 0;  // between requests
  };

  // What is not an error in this run.
  struct Mercy {
    bool lost = false;     // connections may break or end without an answer
    bool local = false;    // Weir may answer 502, 503, 504 and 408 itself
    bool refused = false;  // connects may fail
  };

  Client(sim::World& world, Story& story, std::vector<uint64_t> ids, Habits habits);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  Mercy mercy;
  void Start();
  bool done() const { return done_; }
  uint64_t bytes_received() const;  // on all its connections
  // Weir was told to end: closed idle connections and refused connects are right from now on.
  std::function<bool()> draining = [] { return false; };
  // Ends whatever it is doing.
  void GiveUp();

 private:
  struct Connection {
    explicit Connection(sim::Peer& peer) : peer(peer), reader(MessageReader::Kind::kResponses) {}
    sim::Peer& peer;
    MessageReader reader;
    std::deque<Record*> outstanding;
    Record* answering = nullptr;  // its final head came
    Record* last = nullptr;       // answered
    bool interim = false;
    bool local = false;
    bool until_close = false;
    bool closes = false;    // said so, or was told so
    bool finished = false;  // our FIN is on its way
    bool over = false;
    uint64_t body_seen = 0;
    uint32_t answered = 0;
    Record* sending = nullptr;    // its last byte is not queued yet
    Record* held_body = nullptr;  // waits for 100
    bool tunnel = false;
    uint64_t echo_sent = 0;
    uint64_t echo_seen = 0;
  };
  using Shared = std::shared_ptr<Connection>;

  void Connect();
  void SendMore(const Shared& shared);
  void SendRequest(const Shared& shared, Record& record);
  void SendRequestBody(const Shared& shared, Record& record, uint64_t from);
  bool OnHead(const Shared& shared, const Message& head);
  void CheckFinal(const Record& record, const Message& head);
  void OnBody(const Shared& shared, std::string_view bytes);
  void OnEnd(const Shared& shared, const Message& trailers);
  void OnRaw(const Shared& shared, std::string_view bytes);
  void Over(const Shared& shared, int error);
  void AbortNow(const Shared& shared, Record& record);
  void EndOf(Record& record, Record::Outcome outcome);
  void Next();

  sim::World& world_;
  Story& story_;
  Habits habits_;
  std::deque<Record*> todo_;
  uint32_t connections_ = 0;
  Shared current_;
  std::vector<const sim::Peer*> peers_;
  bool done_ = false;
};

}  // namespace weir::lb::trial
