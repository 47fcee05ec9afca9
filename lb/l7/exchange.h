// Exchange: one HTTP/1.1 request and its response, from the request's first byte to the response's last:
// parse, check, choose an endpoint, send (again), stream both bodies, answer ourselves where the other side
// cannot. RFC 9110, 9112. A state machine that its session steps after each wake-up: Step goes as far as it
// can without waiting, arms what it waits for (receives, one timer) and says whether it is over. Request and
// response bodies run at once; every direction holds at most one slice in flight and a few of look-ahead.
// Owner: the session, for the time of one request; from the arena. The upstream connection it uses is its own
// between acquiring and releasing it. What happens when something goes wrong:
//  - nothing of the answer was sent: retry (elsewhere, if there is another endpoint) if that is safe, else a
//  local answer (400, 408, 502, 503, 504)
//  - part of it was sent: the client's connection ends without the message's end, so that it cannot look
//  whole
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/splice.h"
#include "lb/attempts.h"
#include "lb/auth/password_desk.h"
#include "lb/client_connection.h"
#include "lb/config/settings.h"
#include "lb/generation.h"
#include "lb/http/body_reader.h"
#include "lb/http/local_response.h"
#include "lb/http/request.h"
#include "lb/http/response.h"
#include "lb/http/serialize_request.h"
#include "lb/l7/collector.h"
#include "lb/upstream/upstream.h"

namespace weir::lb {

class Proxy;
struct AuthLeg;

enum class Verdict : uint8_t {
  kKeepAlive,  // the connection takes another request
  kLinger,     // say FIN, discard what still comes for a while, close
  kClose,      // the client is gone, or has nothing to lose: close
  kReset,      // close with RST
  kTunnel,     // 101: relay between the client and TakeTunnel()
};

class Exchange {
 public:
  Exchange(Proxy& proxy, ClientConnection& client);
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  // True when it is over; then `verdict` says how the connection goes on.
  bool Step();
  Verdict verdict() const { return verdict_; }
  // Of the route that the request met.
  const Timeouts& timeouts() const { return route_->timeouts; }
  // After kTunnel: the upstream, leftovers put back into both streams. The caller closes it and calls Done.
  UpstreamConnection* TakeTunnel();

 private:
  Exchange(Proxy& proxy, ClientConnection& client, const SnapshotHold& hold);

  enum class Phase : uint8_t { kHead, kAuthorize, kBuffer, kConnect, kBackoff, kForward, kRespond, kOver };
  enum class Side : uint8_t { kHead, kBody, kDone };  // where the response is

  // Request.
  void StepHead();
  void TakeHead(Slice in);
  void OnHead(Slice rest);
  bool Admit(Slice& rest, http::RequestContext& context, http::BodyPiece& piece);
  bool Route(http::RequestContext& context);
  void TakeSide(const RouteRequest& asked);
  uint64_t HashFor(const UpstreamPool& pool, const RouteRequest& asked);
  void TakeHash(const RouteRequest& asked);
  void WriteHashCookie(std::string* lines) const;
  bool Deny();
  bool Authenticate();
  bool Unauthorized();
  void AwaitAuthority();
  void StepAuthorize();
  void GoOn();
  void RespondByRoute(const TemplateValues& values);
  bool WriteAuthRequest(const TemplateValues& values, http::RequestContext& context);
  void AskFirst();
  void OnConsent(Slice rest);
  bool CopyFromConsent();
  void OnRefusal();
  void EndAuthLeg();
  std::string_view RequestId(http::RequestContext& context);
  void CompleteContext(http::RequestContext& context);
  bool SerializeHead(http::RequestContext& context, const Slice& rest, const http::BodyPiece& piece,
                     bool last);
  bool IsKeptWhole(size_t head_bytes) const;
  void GoUp();
  void StepBuffer();
  Slice KeepBody(const Slice& in, const http::BodyPiece& piece);
  void SendMirror();
  void AnswerHere();
  void StepForward();
  void StepUpload();
  void TakeUpload(Slice in);
  bool PassUp();
  void StopUpload();
  bool PassedUp(uint64_t came);
  bool MayPassUp() const;
  void StepUploadTrailers();
  void BadRequestBody(const char* reason);
  bool BodyFits();
  bool RefuseTooLarge(uint16_t status, const char* reason);
  bool Uploading() const { return !upload_done_ && !upload_failed_; }
  bool UpstreamTakesNoMore() const;
  bool WaitsForContinue() const { return request_.expect_continue && !saw_continue_ && body_received_ == 0; }

  // Upstream.
  void TryUpstream(bool allow_tried = false);
  void StartConnect();
  void StepConnect();
  bool SayHello();
  void SendHead();
  void DropUpstream(bool with_reset);
  void SettleUpstream();
  void CannotBeReached();
  void ObserveHead(uint16_t status);
  void ObserveFailure(Outcome outcome);
  // So that how long its answer took says something: the client had no share in it.
  bool WentAtOnce() const { return replayable_ && !in_pieces_; }

  // Another attempt.
  bool MayRetry() const;
  bool TakeRetry();
  void EndRetry();
  void EndWait();
  void TryAgain(bool allow_tried);
  void WaitForNext(bool allow_tried, uint32_t delay_ms);
  uint32_t BackoffMs();
  void StepBackoff();
  void UpstreamFailed();
  void AwaitBudget();
  bool LeaveEndpoint();
  bool AsksAgain();
  void SetHeadDue();
  uint32_t HeadLeftMs() const;
  uint32_t AskAgainMs() const;
  void ClosedWithoutAnswer();
  bool RetryStatus(Slice& rest);
  void SettleUnread(Slice rest);
  uint32_t HeadMs() const;
  bool TryIsOver();

  // Response.
  void StepDownload();
  bool StepResponseHead();
  void OnInterim(Slice rest);
  void OnSwitch(Slice rest);
  void OnFinal(Slice rest);
  std::string_view ResponseFields();
  void TakeDownload(Slice in);
  bool PassDown();
  bool MayPassDown() const;
  bool MayPass(const http::BodyReader& body, const Splice& flow) const;
  void StepDownloadTrailers();
  bool KeepAfterEarlyAnswer() const;
  void BadResponse(const char* end);
  void Truncate(const char* end);

  // Endings.
  void Respond(uint16_t status, std::string_view reason, const char* end, uint32_t retry_after_s = 0);
  Slice ErrorAnswer(uint16_t status, std::string_view reason, uint32_t retry_after_s);
  const ErrorPage* FindErrorPage(uint16_t status) const;
  http::LocalContext LocalContext();
  void AnswerWith(Slice answer, uint16_t status, const char* end);
  void StepRespond();
  void ClientGone(const char* end);
  void Finish(Verdict verdict);
  void Advance();
  void KeepListening();
  bool Moved();
  bool TimerCounts();
  bool OutOfTime() const;
  uint32_t WithinRequest(uint32_t delay_ms) const;
  void OnTimer();
  void ArmTimer();
  void NoteHead(std::string_view head);
  void NoteRequest();
  void NoteTarget(std::string_view method, std::string_view target, bool whole);
  void Log();

  void OnForwardTimer();
  bool StillAcknowledged(const Stream& stream);
  Buffer* TakeChunk(size_t bytes);
  uint32_t ElapsedUs(int64_t until_ns) const;

  Proxy& proxy_;
  Shard& shard_;
  ClientConnection& client_;
  Snapshot* const snapshot_;  // what it goes by, whatever is reloaded meanwhile
  const ListenerSettings& listener_;
  UpstreamPool* pool_ = nullptr;  // of the upstream that the request goes to
  UpstreamConnection* upstream_ = nullptr;
  const int64_t begin_ns_;
  int64_t upstream_ns_ = 0;  // connection there
  int64_t response_ns_ = 0;  // response head there
  uint64_t client_sent_before_;
  SocketAddress address_;       // the client's: its connection's, or what a trusted proxy says
  const RouteSettings* route_;  // the listener's own until the request met one
  uint64_t upstream_sent_before_ = 0;
  uint64_t body_received_ = 0;
  uint64_t hash_ = 0;           // by which pool_ chooses an endpoint, if it hashes
  uint64_t mirror_hash_ = 0;    // likewise, of the copy's
  uint64_t hash_id_ = 0;        // new_hash_cookie_: what it says
  int64_t head_due_ns_ = 0;     // of this attempt, once the timer is armed for it
  int64_t budget_wait_ns_ = 0;  // awaits_budget_: since when
  int64_t acknowledged_ = 0;    // by the peer behind acknowledged_fd_, when it was last asked
  Slice head_;        // the serialised request head, with a small body behind it: sent, replayed, logged
  Slice first_body_;  // framed body that came with the head and did not fit behind it; sent with it
  Slice answer_;      // our own answer
  PasswordDesk::Asking* asking_ = nullptr;  // the request goes nowhere before its answer
  AuthLeg* leg_ = nullptr;                  // who asks first, another server
  const BasicAuth::User* user_ = nullptr;   // who it says it is from; of the snapshot
  Slice kept_;                              // of the response's head, for the log
  Slice noted_;  // for the log: the target as it came, where head_ has another; the method too, without head_
  http::RequestFacts request_;
  http::ResponseFacts response_;
  http::BodyReader request_body_;
  http::BodyReader response_body_;
  Splice up_;    // what of the request's body nobody must see
  Splice down_;  // likewise of the response's
  Collector from_client_;
  Collector from_upstream_;
  Attempts attempts_;
  uint32_t head_bytes_ = 0;            // of head_, without the body behind it
  uint32_t response_lines_bytes_ = 0;  // of what the route adds to the response: behind head_ in its chunk
  uint32_t answer_head_bytes_ = 0;     // of all heads that go to the client
  uint32_t endpoint_ = UpstreamPool::kNone;
  uint32_t source_ = UpstreamPool::kNone;  // of this connect
  int acknowledged_fd_ = -1;
  const char* end_ = "ok";
  uint16_t status_ = 0;
  uint8_t noted_method_bytes_ = 0;  // of noted_; 0: head_ has it
  uint8_t interims_ = 0;
  uint8_t sources_tried_ = 0;  // of this connect
  uint8_t waits_ = 0;          // for what, when the timer was last looked at
  Phase phase_ = Phase::kHead;
  Side side_ = Side::kHead;
  Verdict verdict_ = Verdict::kClose;
  http::Framing down_framing_ = http::Framing::kNone;
  bool keep_ : 1 = false;           // the client's connection may go on
  bool upload_done_ : 1 = false;    // the whole request is with the kernel
  bool upload_failed_ : 1 = false;  // the upstream takes no more of it
  bool replayable_ : 1 = true;      // head_ and first_body_ are all that went up
  bool reused_ : 1 = false;         // upstream_ came from the pool
  bool fresh_only_ : 1 = false;
  bool answer_begun_ : 1 = false;    // bytes of an answer (1xx too) went to the client
  bool head_sent_down_ : 1 = false;  // the final head is among them
  bool saw_continue_ : 1 = false;
  bool connect_timed_out_ : 1 = false;
  bool progress_ : 1 = true;
  bool counted_ : 1 = false;
  bool backs_off_ : 1 = false;  // waits for its next attempt, and counts as in flight meanwhile
  bool in_budget_ : 1 = false;  // its attempt has a place in the upstream's retry budget
  bool went_up_ : 1 = false;    // an endpoint was asked for: what becomes of it counts for the upstream
  bool answered_ : 1 = false;   // our own answer was queued
  bool tunnel_ : 1 = false;
  bool new_cookie_ : 1 = false;       // the client gets its side's
  bool new_hash_cookie_ : 1 = false;  // the client gets one by which its endpoint is chosen
  bool https_ : 1 = false;            // what the client came by
  bool deciding_ : 1 = false;         // what goes up and comes down is the subrequest's
  bool whole_ : 1 = false;            // head_ has, or shall have, the whole body
  bool in_pieces_ : 1 = false;        // a part of the body went up later than the head, in this attempt
  bool allow_tried_ : 1 = false;      // kBackoff: the next attempt may go where one was already
  bool leaving_ : 1 = false;          // its endpoint is lost, and the budget has had no room yet
  bool awaits_budget_ : 1 = false;    // kBackoff: until there is room for it
  bool patient_ : 1 = false;          // this attempt goes on beyond its own time
  bool authenticated_ : 1 = false;    // it is from user_: the password was right
  bool no_version_ : 1 = false;       // refused before the version was read
  bool passes_up_ : 1 = false;        // up_ has the client's stream
  bool passes_down_ : 1 = false;      // down_ has the upstream's
  bool passed_down_ : 1 = false;      // a part of the answer's body has
  bool noted_cut_ : 1 = false;        // the target was longer than noted_
};

}  // namespace weir::lb
