// Origin: an HTTP server of the test. It finds each request's record by the number in its target, checks that
// the request is what its client sent after the rewriting that is allowed, and answers as the plan says.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/sim/peer.h"
#include "core/sim/world.h"
#include "tests/sim/message.h"
#include "tests/sim/story.h"

namespace weir::lb::trial {

class Origin {
 public:
  struct Habits {
    int64_t idle_close_ns = 0;             // closes a connection that is idle for so long; 0: never
    uint32_t requests_per_connection = 0;  // then closes without a word; 0: no limit
    sim::Peer::Manner manner;
  };

  Origin(sim::World& world, Story& story, const std::string& address);
  Origin(const Origin&) = delete;
  Origin& operator=(const Origin&) = delete;

  Habits habits;
  sim::PeerServer& server() { return *server_; }
  // kill -9, and started again after a while.
  void Kill(int64_t down_ns);
  uint64_t requests() const { return requests_; }

 private:
  struct Connection {
    Connection(Origin& origin, sim::Peer& peer)
        : origin(origin), peer(peer), reader(MessageReader::Kind::kRequests) {}
    Origin& origin;
    sim::Peer& peer;
    MessageReader reader;
    Record* record = nullptr;  // being answered
    Record* last = nullptr;    // the same, or the one answered last
    bool request_whole = false;
    bool answer_whole = false;
    bool answer_begun = false;
    bool finished = false;   // nothing more may be sent
    bool left_idle = false;  // closed without having announced it
    const AnswerPlan* answer = nullptr;
    uint64_t body_seen = 0;
    uint32_t requests = 0;
    uint64_t echoed = 0;
    uint64_t idle_number = 0;  // of the latest time it became idle
  };
  using Shared = std::shared_ptr<Connection>;

  void Accept(sim::Peer& peer);
  void OnHead(const Shared& shared, const Message& head);
  void CheckHead(const Record& record, const Message& head);
  void OnBody(const Shared& shared, std::string_view bytes);
  void OnEnd(const Shared& shared, const Message& trailers);
  void BeginAnswer(const Shared& shared);
  void SendAnswer(const Shared& shared);
  void SendBody(const Shared& shared, uint64_t from);
  void AnswerDone(const Shared& shared);
  void NextWhenBothDone(const Shared& shared);

  sim::World& world_;
  Story& story_;
  sim::PeerServer* server_;
  uint64_t requests_ = 0;
};

}  // namespace weir::lb::trial
