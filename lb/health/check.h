// Check: the checks of one endpoint, one after the other for as long as it is configured. type tcp: it takes
// a connection. type http: it answers a request in time, whole, with a status (and text) that is expected;
// the connection is kept for the next check, and one that ended meanwhile is made anew without a word.
// What is of our own making (no descriptor, no port, no memory) says nothing about the endpoint.
//
// Between two checks it waits for its time, then for its turn (Checker bounds how many run). One timer, one
// stream at a time. Bounds: kMostBytes of an answer (a body is not looked at behind that, a longer head is
// wrong), timeout_ms in all. Owner: the Checker, on the control shard.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/shard.h"
#include "core/stream.h"
#include "lb/health/verdict.h"
#include "lb/http/body_reader.h"
#include "lb/http/request.h"
#include "lb/http/response.h"
#include "lb/upstream/plan.h"

namespace weir::lb {

class Checker;

class Check : private Runnable {
 public:
  static constexpr size_t kMostBytes = 64 * 1024;
  // The first check comes within this, the second at any time of an interval: so they spread, and stay so.
  static constexpr uint32_t kFirstMs = 1'000;
  static constexpr uint32_t kOurTroubleMs = 1'000;  // then it is tried again

  Check(Checker& checker, Shard& shard, std::shared_ptr<UpstreamPlan> plan, uint32_t endpoint);
  ~Check();
  Check(const Check&) = delete;
  Check& operator=(const Check&) = delete;

  // A reload: it is `endpoint` of `plan` now. What is known of it stays.
  void SetPlan(std::shared_ptr<UpstreamPlan> plan, uint32_t endpoint);
  // It is its turn.
  void Begin();
  // Stops; Checker::Ended follows, at once or later.
  void End();
  bool waits_for_turn() const { return state_ == State::kQueued; }

 private:
  enum class State : uint8_t {
    kPausing,
    kQueued,
    kReconnecting,  // the old connection is being closed
    kConnecting,
    kAnswer,
    kEnding,
  };

  const HealthCheckSettings& settings() const { return plan_->settings.health_check; }
  EndpointBook& book() const { return *plan_->books[endpoint_]; }
  bool running() const { return state_ >= State::kReconnecting && state_ <= State::kAnswer; }
  bool http() const { return settings().type == HealthCheckSettings::Type::kHttp; }

  void Step();
  void StepPause();
  void StepConnect();
  void StepAnswer();
  bool StepHead(std::string_view bytes);
  bool StepBody(char* data, size_t size);
  void Connect();
  void SetUp(int fd);
  void SendRequest();
  // The connection ended, or would not take the request.
  void Broken(int error);
  // `error` is empty: it passed. `keep`: the connection is as good as new.
  void Unheard(const char* what);
  void Finish(const std::string& error, bool keep);
  // The whole answer, or as much of it as is looked at, is there.
  void Judge(bool keep);
  // Nobody can say: tries again soon.
  void Postpone();
  void Schedule();
  void Close(bool with_reset);
  void FinishClose();
  std::string RequestText() const;
  std::string Host() const;
  // The PROXY header that its connections begin with; empty: none.
  std::string Hello() const;

  Checker& checker_;
  Shard& shard_;
  std::shared_ptr<UpstreamPlan> plan_;
  uint32_t endpoint_;
  SocketAddress address_;  // that is checked
  Verdict verdict_;
  State state_ = State::kPausing;
  bool silent_ = false;  // this one ended without a sign of life
  bool reused_ = false;  // the connection is an earlier check's, and nothing has come on it yet
  bool spread_ = false;  // the pause after the first check has been
  bool head_done_ = false;
  bool keep_ = false;   // the answer lets the connection stay
  bool found_ = false;  // the body has what is looked for
  uint16_t status_ = 0;
  int64_t begun_ns_ = 0;
  size_t bytes_ = 0;     // of this answer
  std::string request_;  // outlives the send
  std::string in_;       // of the head; then of the body, as much as may begin what is looked for
  http::RequestFacts facts_;
  http::BodyReader body_;
  std::optional<Stream> stream_;
  Timer timer_;
};

}  // namespace weir::lb
