// What is to happen in a simulated run, and what did: every request has a number, a Plan for both its sides,
// and a record in the Story that its client and its origin write into. Bodies are streams of bytes that can
// be checked anywhere (core/sim/peer.h): stream 2n is what the client of request n sends, 2n + 1 what its
// origin answers.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "core/random.h"

namespace weir::lb::trial {

struct BodyPlan {
  enum class Framing { kNone, kLength, kChunked, kUntilClose };
  Framing framing = Framing::kNone;
  uint64_t length = 0;
  uint32_t most_chunk_bytes = 4096;
  bool trailers = false;  // X-Trailer: <number>
};

struct AnswerPlan {
  int status = 200;
  int minor = 1;
  BodyPlan body = {BodyPlan::Framing::kLength, 2};
  uint32_t interims = 0;  // 103, and 100 as often as is asked for
  bool close = false;     // Connection: close
  enum class When { kAfterRequest, kAfterHead, kAfterSome } when = When::kAfterRequest;
  uint64_t some_bytes = 0;  // of the request's body
  int64_t delay_ns = 0;     // then
  int64_t pause_ns = 0;     // between head and body, and between parts of the body
  bool reads_on = true;     // after an early answer
  bool says_continue = true;
  // How it ends: as it should, or after `cut` bytes of head or body.
  enum class End { kWhole, kFin, kReset, kHang, kExtraBytes, kBadChunk } end = End::kWhole;
  bool cut_in_head = false;
  uint64_t cut = 0;
  bool switches = false;   // 101, then an echo
  uint32_t pad_bytes = 0;  // a long field
};

struct Plan {
  uint64_t id = 0;
  std::string method = "GET";
  int minor = 1;
  bool keep_alive = true;
  BodyPlan body;
  bool expect = false;
  bool te_trailers = false;
  bool own_request_id = false;
  bool named_field = false;  // a field that Connection names
  bool absolute = false;     // target in absolute form
  int64_t pause_ns = 0;      // in the middle of the body
  uint32_t pad_bytes = 0;    // a long field
  AnswerPlan answer;
  uint32_t bad_attempts = 0;  // so many times the origin behaves as in `bad` first
  AnswerPlan bad;
  // The client ends its connection: after so many bytes of this request (its head included) went out or, with
  // `abort_answer`, of its answer's body came in.
  enum class Abort { kNever, kReset, kClose, kFinish } abort = Abort::kNever;
  bool abort_answer = false;
  uint64_t abort_bytes = 0;
  uint64_t echo_bytes = 0;  // through the tunnel

  bool Idempotent() const { return method != "POST" && method != "PATCH"; }
  bool HasBody() const { return body.framing == BodyPlan::Framing::kChunked || body.length > 0; }
  // The answer has no body whatever the plan says.
  bool AnswerHasNoBody() const { return method == "HEAD" || answer.status == 204 || answer.status == 304; }
};

// What became of a request.
struct Record {
  Plan plan;
  // At the client.
  enum class Outcome {
    kUnsent,
    kPending,
    kWhole,
    kLocal,
    kTruncated,
    kLost,
    kAborted
  } outcome = Outcome::kUnsent;
  int local_status = 0;  // Weir's own answer
  std::string local_text;
  int64_t sent_ns = 0;
  int64_t over_ns = 0;
  uint32_t sent_times = 0;
  uint32_t interims_seen = 0;
  bool refused = false;  // its last connect failed
  std::string end;       // of the connection it was lost with
  // At the origins.
  uint32_t attempts = 0;       // heads that came
  uint32_t bodies_whole = 0;   // requests that came whole
  uint32_t answers_begun = 0;  // of which bytes left
  uint32_t answers_whole = 0;  // of which all bytes left, behind a whole answer
  uint64_t echoed_bytes = 0;
  bool origin_died = false;  // an origin was killed while it had this request
};

class Story {
 public:
  // Records stay where they are.
  Record& Add(Plan plan) {
    plan.id = records_.size();
    records_.push_back({});
    records_.back().plan = std::move(plan);
    return records_.back();
  }
  Record* Find(uint64_t id) { return id < records_.size() ? &records_[id] : nullptr; }
  std::deque<Record>& records() { return records_; }
  std::string ToString(const Record& record) const;

 private:
  std::deque<Record> records_;
};

// What a body looks like on the wire, piece by piece.
std::string FrameBytes(uint64_t stream, uint64_t offset, uint64_t length, const BodyPlan& body);
std::string FrameEnd(uint64_t id, const BodyPlan& body);

const char* NameOf(Record::Outcome outcome);

// What a family of seeds may draw.
struct Taste {
  uint64_t most_body_bytes = 60'000;
  bool uploads = true;
  bool posts = true;
  bool expects = true;
  bool early_answers = false;
  bool interims = true;
  bool old_clients = true;  // HTTP/1.0
  bool old_origins = true;
  bool bodyless = true;  // HEAD, 204, 304
  bool broken_answers = false;
  bool one_bad_attempt = false;  // for idempotent requests without body: no answer the first time
  bool upgrades = false;
  bool slow_origins = true;
  uint32_t most_pad_bytes = 15'000;
};
Plan DrawPlan(Random& random, const Taste& taste);

}  // namespace weir::lb::trial
