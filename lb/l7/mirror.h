// Mirror: a copy of a request that goes to another upstream; its answer is read and dropped, and nobody waits
// for it. Only requests that are whole when they are sent (a body of a few KiB at most) are copied: the copy
// is the very bytes that the endpoint gets, in the same chunk. One attempt, no retry; the whole answer has
// the response and the body time of its upstream. What does not fit (Settings::mirrors_per_shard at one time,
// memory, buffers at low water) is left out and counted: a mirror never costs the request anything but its
// own time, and no connection gives way to it. Ends at once when Weir drains. Lives in the shard's arena
// until its end.
#pragma once

#include "core/shard.h"
#include "lb/generation.h"
#include "lb/http/body_reader.h"
#include "lb/http/request.h"
#include "lb/l7/collector.h"
#include "lb/upstream/upstream.h"

namespace weir::lb {

class Proxy;

class Mirror : private Runnable {
 public:
  static constexpr uint32_t kMost = Settings::kMostMirrors;  // of a shard, at one time
  static constexpr uint32_t kMostMs = 120'000;  // for the answer, whatever the times of its upstream

  // Sends `request` (as serialised, whole) to an endpoint of `to`, by the settings of `snapshot`.
  static void Begin(Proxy& proxy, Snapshot& snapshot, const MirrorSettings& to, uint64_t hash,
                    const Slice& request, const http::RequestFacts& facts);
  // Weir drains.
  static void EndAll(Proxy& proxy);

 private:
  enum class State : uint8_t { kConnecting, kHead, kBody };

  Mirror(Proxy& proxy, Snapshot& snapshot, UpstreamPool& pool, Slice request,
         const http::RequestFacts& facts);
  ~Mirror();

  bool Connect(uint64_t hash, SubsetUse subset);
  void Step();
  // False: it waits, or has ended.
  bool StepConnect();
  bool StepHead();
  bool StepBody();
  void SendRequest();
  void LetSnapshotGo();
  void End(bool answered);

  Proxy& proxy_;
  Shard& shard_;
  Snapshot* snapshot_;  // until the request is sent
  UpstreamPool& pool_;
  UpstreamConnection* upstream_ = nullptr;
  uint32_t endpoint_ = UpstreamPool::kNone;
  State state_ = State::kConnecting;
  bool keep_ = false;
  uint16_t status_ = 0;
  Slice request_;
  http::RequestFacts facts_;
  http::BodyReader body_;
  Collector collector_;
  Timer timer_;
  Mirror* next_ = nullptr;  // the proxy's list
  Mirror** link_ = nullptr;
};

}  // namespace weir::lb
