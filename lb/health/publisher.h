// Publisher: makes what the control shard knows of endpoints known to all shards. The one view of an endpoint
// is EndpointBook::view, written here alone; a shard reads it when it makes its Endpoint, and when a letter
// names it: one message to each shard at a time, with what changed since the last one, at most kMostAtOnce
// endpoints. So a change is in force on a shard with the turn that its doorbell begins, and choosing an
// endpoint reads no atomics. Of several changes of one endpoint the last is what counts.
// Bound: an endpoint waits once for each shard. Owner: the server, on the control shard; outlives the shards'
// turns.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "core/shard.h"
#include "lb/upstream/plan.h"

namespace weir::lb {

class Publisher {
 public:
  static constexpr size_t kMostAtOnce = 64;  // at up to a microsecond or two

  // Hears of each endpoint that is about to take requests again, or none any more, before the shards do, and
  // says which part of its weight is missing from then on (EndpointBook::kMissing). Publishes nothing itself.
  class Greeter {
   public:
    virtual uint64_t Missing(const std::shared_ptr<EndpointBook>& book, bool takes_requests) = 0;

   protected:
    ~Greeter() = default;
  };

  // Hears of each endpoint that takes requests from now on, or none, or for another reason none.
  class Listener {
   public:
    virtual void Changed(const EndpointBook& book, uint64_t before) = 0;

   protected:
    ~Listener() = default;
  };

  explicit Publisher(Shard& control);
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;

  // Null: nobody.
  void SetGreeter(Greeter* greeter) { greeter_ = greeter; }
  void SetListener(Listener* listener) { listener_ = listener; }

  void Publish(const std::shared_ptr<EndpointBook>& book, uint64_t view);
  // The same, of some bits: the others' are others' to say.
  void Set(const std::shared_ptr<EndpointBook>& book, uint64_t bits) { Publish(book, book->seen() | bits); }
  void Clear(const std::shared_ptr<EndpointBook>& book, uint64_t bits) {
    Publish(book, book->seen() & ~bits);
  }
  // Calls `then` when every shard has heard of all that was published until now; perhaps at once.
  void AfterAll(std::function<void()> then);
  // Every shard has heard of everything.
  bool idle() const;

 private:
  struct Letter : Message {
    Publisher* publisher = nullptr;
    uint32_t shard = 0;
    bool out = false;
    std::vector<std::shared_ptr<EndpointBook>> changed;  // the shard's to read while it is out
    std::deque<std::shared_ptr<EndpointBook>> next;      // in order
    uint64_t queued = 0;                                 // endpoints, ever
    uint64_t heard = 0;                                  // of these
  };

  struct Waiting {
    std::vector<uint64_t> heard;  // by shard: when so many were
    std::function<void()> then;
  };

  void Send(Letter& letter);
  bool Heard(const Waiting& waiting) const;
  void WakeWaiting();

  Shard& control_;
  Greeter* greeter_ = nullptr;
  Listener* listener_ = nullptr;
  std::unique_ptr<Letter[]> letters_;  // by shard
  std::deque<Waiting> waiting_;        // in order; one for each who asked and has no answer yet
};

}  // namespace weir::lb
