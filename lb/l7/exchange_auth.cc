// auth_request: the request waits until a server that knows the client has been asked (auth_leg.h).
#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "lb/http/chars.h"
#include "lb/http/serialize_request.h"
#include "lb/l7/auth_leg.h"
#include "lb/l7/exchange.h"
#include "lb/proxy.h"

namespace weir::lb {
namespace {

// What the asked server is told of the request, under the names that such servers look for.
constexpr const char* kToldNames[] = {"X-Forwarded-Method", "X-Forwarded-Uri", "X-Original-Method",
                                      "X-Original-URI"};
// What is about the body, which is not sent there, or would make the answer another one.
constexpr const char* kNotAsked[] = {"Content-Type", "Content-Encoding",   "Content-Language",  "Trailer",
                                     "If-Match",     "If-None-Match",      "If-Modified-Since", "If-Range",
                                     "Range",        "If-Unmodified-Since"};

void AppendLine(std::string_view name, std::string_view value, std::string* out) {
  out->append(name).append(": ").append(value).append("\r\n");
}

// Makes of a parsed request the subrequest, and itself again.
class Disguise {
 public:
  Disguise(http::RequestHead& head, std::string_view target)
      : head_(head),
        facts_(head.facts),
        method_(head.method),
        target_(head.target),
        max_forwards_(head.max_forwards),
        lacks_slash_(head.target_lacks_slash) {
    for (const char* name : kToldNames) head.Hide(name);
    for (const char* name : kNotAsked) head.Hide(name);
    // The answer to HEAD is one without a body, wherever it comes from.
    head.method = facts_.method == http::Method::kHead ? "HEAD" : "GET";
    head.target = target;
    head.target_lacks_slash = false;
    head.max_forwards = http::RequestHead::kNoMaxForwards;
    head.facts.upgrade = {};
    head.facts.te_trailers = false;
    head.facts.expect_continue = false;
  }
  ~Disguise() {
    head_.Unhide();
    head_.facts = facts_;
    head_.method = method_;
    head_.target = target_;
    head_.max_forwards = max_forwards_;
    head_.target_lacks_slash = lacks_slash_;
  }
  Disguise(const Disguise&) = delete;
  Disguise& operator=(const Disguise&) = delete;

 private:
  http::RequestHead& head_;
  const http::RequestFacts facts_;
  const std::string_view method_;
  const std::string_view target_;
  const int32_t max_forwards_;
  const bool lacks_slash_;
};

}  // namespace

// While the request's head is at hand. False: it was answered here.
bool Exchange::WriteAuthRequest(const TemplateValues& values, http::RequestContext& context) {
  const AuthRequestSettings& auth = *route_->auth_request;
  http::RequestHead& head = proxy_.request_head();
  RouteScratch& scratch = proxy_.route_scratch();
  // Who may say it is the asked server alone.
  for (const std::string& name : auth.copy) head.Drop(name);
  CompleteContext(context);
  scratch.target_there.resize(auth.path.Bytes(values));
  auth.path.Write(values, scratch.target_there.data());
  const std::string_view told[] = {values.Of(Variable::kMethod), values.Of(Variable::kUri),
                                   values.Of(Variable::kMethod), values.Of(Variable::kUri)};
  scratch.lines.clear();
  for (size_t i = 0; i < std::size(told); ++i) AppendLine(kToldNames[i], told[i], &scratch.lines);
  http::RequestContext there = context;
  there.body = {};
  there.extra_fields = scratch.lines;

  const Disguise disguise(head, scratch.target_there);
  const size_t most = http::MaxSerializedBytes(head, there) + scratch.target_there.size() + sizeof("HEAD");
  if (most > BufferPool::kLargestChunk) {
    return RefuseTooLarge(431, "the request head is too large to ask about");
  }
  Buffer* const chunk = TakeChunk(most);
  void* const memory = chunk == nullptr ? nullptr : shard_.arena().Allocate(sizeof(AuthLeg));
  if (memory == nullptr) {
    if (chunk != nullptr) BufferPool::Release(chunk);
    Respond(503, "out of memory", "out_of_memory");
    return false;
  }
  leg_ = new (memory) AuthLeg;
  leg_->subrequest = Slice(chunk, 0, static_cast<uint32_t>(http::SerializeRequest(head, there, chunk->data)));
  return true;
}

void Exchange::EndAuthLeg() {
  AuthLeg* const leg = std::exchange(leg_, nullptr);
  deciding_ = false;
  leg->~AuthLeg();
  shard_.arena().Free(leg);
}

// The request is laid aside, whole, and the subrequest takes its way.
void Exchange::AskFirst() {
  proxy_.counters().auth_requests.Add();
  leg_->route = route_;
  leg_->pool = pool_;
  std::swap(leg_->hash, hash_);
  leg_->head = std::move(head_);
  leg_->first_body = std::move(first_body_);
  leg_->answer = std::move(answer_);
  leg_->end = end_;
  leg_->head_bytes = head_bytes_;
  leg_->response_lines_bytes = response_lines_bytes_;
  leg_->status = status_;
  leg_->whole = whole_;
  deciding_ = true;
  route_ = &leg_->route->auth_request->leg;
  pool_ = &proxy_.PoolOf(*snapshot_, route_->upstream);
  head_ = std::move(leg_->subrequest);
  head_bytes_ = head_.size();
  response_lines_bytes_ = 0;
  end_ = "ok";
  status_ = 0;
  whole_ = false;
  TryUpstream();
}

// A 2xx: what it says of the client goes into the request, which is taken up again.
void Exchange::OnConsent(Slice rest) {
  if (!CopyFromConsent()) return;
  SettleUnread(std::move(rest));
  EndRetry();
  from_upstream_.Clear();
  pool_->counters().responses[2].Add();
  went_up_ = false;  // the request itself has not gone anywhere yet

  route_ = leg_->route;
  pool_ = leg_->pool;
  hash_ = leg_->hash;
  head_ = std::move(leg_->head);
  first_body_ = std::move(leg_->first_body);
  answer_ = std::move(leg_->answer);
  end_ = leg_->end;
  head_bytes_ = leg_->head_bytes;
  response_lines_bytes_ = leg_->response_lines_bytes;
  status_ = leg_->status;
  whole_ = leg_->whole;
  EndAuthLeg();
  attempts_ = {};
  endpoint_ = UpstreamPool::kNone;
  response_ = {};
  response_body_ = {};
  upstream_ns_ = response_ns_ = 0;
  interims_ = 0;
  replayable_ = true;
  reused_ = fresh_only_ = connect_timed_out_ = false;
  upload_done_ = upload_failed_ = false;
  GoOn();
}

// False: it was answered here. The lines go to the end of the head, in the room that SerializeHead left.
bool Exchange::CopyFromConsent() {
  const AuthRequestSettings& auth = *leg_->route->auth_request;
  if (auth.copy.empty() || leg_->pool == nullptr) return true;
  std::string& lines = proxy_.route_scratch().lines;
  lines.clear();
  for (const http::Field& field : proxy_.response_head().fields()) {
    const auto is_name = [&](const std::string& name) { return http::EqualsIgnoreCase(name, field.name()); };
    if (!field.dropped() && std::any_of(auth.copy.begin(), auth.copy.end(), is_name)) {
      AppendLine(field.name(), field.value(), &lines);
    }
  }
  if (lines.size() > AuthRequestSettings::kMaxCopyBytes) {
    Respond(502, "", "auth_failed");
    return false;
  }
  Slice& head = leg_->head;
  char* const data = head.buffer()->data;
  const size_t used = leg_->whole ? leg_->head_bytes + request_.body.length : head.size();
  const size_t end = used + leg_->response_lines_bytes;
  const size_t at = leg_->head_bytes - 2;  // before the empty line
  WEIR_CHECK(head.data() == data && end + lines.size() <= head.buffer()->capacity);
  std::memmove(data + at + lines.size(), data + at, end - at);
  std::memcpy(data + at, lines.data(), lines.size());
  leg_->head_bytes += static_cast<uint32_t>(lines.size());
  Buffer* const chunk = head.buffer();
  BufferPool::Reference(chunk);
  head = Slice(chunk, 0, head.size() + static_cast<uint32_t>(lines.size()));
  return true;
}

// Any other answer is the client's, and the request goes nowhere.
void Exchange::OnRefusal() {
  proxy_.counters().auth_denied.Add();
  end_ = "auth_denied";
  if (!request_body_.done()) upload_failed_ = true;
}

}  // namespace weir::lb
