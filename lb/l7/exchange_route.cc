// What becomes of a request: its route, and what that asks of whoever comes: networks, limits, a password; a
// route's own answers.
#include <algorithm>
#include <utility>

#include "lb/http/local_response.h"
#include "lb/http/serialize_request.h"
#include "lb/l7/auth_leg.h"
#include "lb/l7/exchange.h"
#include "lb/proxy.h"

namespace weir::lb {
namespace {

// How long a request waits for its password's turn to be checked.
constexpr uint32_t kAuthorizeMs = 10'000;

}  // namespace

// Finds the request's route, and rewrites its target and host to the spelling that routes are matched
// against, so that the origin cannot read them another way. False: it was answered here.
bool Exchange::Route(http::RequestContext& context) {
  if (listener_.routes == ListenerSettings::kNone) {
    pool_ = &proxy_.PoolOf(*snapshot_, route_->upstream);
    if (pool_->hashes()) [[unlikely]]
      TakeHash(UnroutedHead(proxy_.request_head(), address_));
    // Without variables: nobody looked at the request's target.
    if (!route_->request.headers.empty()) [[unlikely]] {
      ChangeRequest(route_->request, snapshot_->settings().paths, {}, proxy_.request_head(),
                    proxy_.route_scratch(), context);
    }
    return true;
  }
  const Settings& settings = snapshot_->settings();
  const RouteList& list = settings.routes[listener_.routes];
  const RoutedHead routed =
      RouteHead(*list.table, settings.paths, proxy_.request_head(), proxy_.HostOf(client_), address_,
                context.proto, proxy_.route_scratch(), nullptr,
                client_.introduction == nullptr ? std::string_view() : client_.introduction->tlvs());
  if (!routed.target.ok()) {
    proxy_.counters().bad_requests.Add();
    Respond(400, routed.target.error, "bad_request");
    return false;
  }
  if (!routed.hit.found()) {
    proxy_.counters().no_route.Add();
    Respond(404, "no route is for this request", "no_route");
    return false;
  }
  route_ = &list.routes[routed.hit.rule];
  if (!route_->access.Allows(address_)) return Deny();
  if (proxy_.request_head().head_bytes > route_->max_header_bytes) {
    return RefuseTooLarge(431, "the request head is too large for this route");
  }
  if (route_->basic_auth != nullptr && !Authenticate()) return false;
  if (route_->split != nullptr) TakeSide(routed.asked);
  const bool forward = route_->action == RouteSettings::Action::kUpstream;
  if (forward) {
    pool_ = &proxy_.PoolOf(*snapshot_, route_->upstream);
    if (pool_->hashes()) [[unlikely]]
      TakeHash(routed.asked);
    if (route_->mirror.upstream != MirrorSettings::kNone) [[unlikely]]
      mirror_hash_ = HashFor(proxy_.PoolOf(*snapshot_, route_->mirror.upstream), routed.asked);
  }
  const bool asks = route_->auth_request != nullptr;
  if (forward && route_->request.empty() && !route_->response_variables && !asks) return true;
  char ip[SocketAddress::kMaxIpText + 1];
  TemplateValues values =
      ValuesFor(route_->captures, *list.table, routed, {ip, address_.WriteIp(ip)}, RequestId(context));
  values.Set(Variable::kEndpoint, forward ? kEndpointMark : kNoEndpoint);
  if (asks) {
    if (!WriteAuthRequest(values, context)) return false;
    const uint32_t asked_there = route_->auth_request->leg.upstream;
    leg_->hash = HashFor(proxy_.PoolOf(*snapshot_, asked_there), routed.asked);
  }
  RouteScratch& scratch = proxy_.route_scratch();
  // Nothing is written that no head could take.
  const size_t response_bytes = route_->response_variables ? route_->response.Bytes(values) : 0;
  if (response_bytes + route_->request.headers.Bytes(values) > BufferPool::kLargestChunk) {
    return RefuseTooLarge(431, "the head is too large with what the route adds");
  }
  scratch.response_lines.clear();
  if (route_->response_variables) route_->response.WriteLines(values, &scratch.response_lines);
  if (!forward) {
    RespondByRoute(values);
    return false;
  }
  if (route_->request.empty()) return true;
  const char* const refused =
      ChangeRequest(route_->request, settings.paths, values, proxy_.request_head(), scratch, context);
  if (refused == nullptr) return true;
  proxy_.counters().bad_requests.Add();
  Respond(400, refused, "bad_request");
  return false;
}

// From here on the side is the route.
void Exchange::TakeSide(const RouteRequest& asked) {
  const SplitSettings& settings = *route_->split;
  const SplitChoice choice = ChooseSide(settings.split, asked, shard_.random().Next());
  new_cookie_ = settings.split.sticky == Split::Sticky::kCookie && choice.why != SplitChoice::Why::kCookie;
  route_ = &settings.sides[choice.side];
}

// By what `pool` chooses an endpoint: what the client sent decides, not what becomes of it here. A request
// that has nothing of it is left to chance.
uint64_t Exchange::HashFor(const UpstreamPool& pool, const RouteRequest& asked) {
  uint64_t hash = 0;
  if (!pool.hashes() || FindHash(pool.settings().hash.on, asked, &hash) != nullptr) return hash;
  return shard_.random().Next();
}

// The same for the request itself, however often it is tried. A client without the cookie that holds it to an
// endpoint gets one.
void Exchange::TakeHash(const RouteRequest& asked) {
  const HashSettings& settings = pool_->settings().hash;
  if (FindHash(settings.on, asked, &hash_) != nullptr) return;
  hash_ = hash_id_ = shard_.random().Next();
  if (settings.cookie() == nullptr) return;
  new_hash_cookie_ = true;
  char id[kHashIdBytes];
  hash_ = StableHash(WriteHashId(hash_id_, id));
}

void Exchange::WriteHashCookie(std::string* lines) const {
  const HashSettings& settings = pool_->settings().hash;
  char id[kHashIdBytes];
  lines->append("Set-Cookie: ").append(settings.cookie()->name).append("=");
  lines->append(WriteHashId(hash_id_, id)).append(settings.cookie_attributes).append("\r\n");
}

// Of a body the length that was announced, or as much as is here.
bool Exchange::BodyFits() {
  const uint64_t most_bytes = route_->client_max_body_bytes;
  if (most_bytes == 0 || std::max(request_.body.length, body_received_) <= most_bytes) return true;
  return RefuseTooLarge(413, "the request body is too large");
}

bool Exchange::RefuseTooLarge(uint16_t status, const char* reason) {
  proxy_.counters().too_large.Add();
  keep_ = false;
  Respond(status, reason, "too_large");
  return false;
}

bool Exchange::Deny() {
  proxy_.counters().denied.Add();
  Respond(403, "not allowed from your address", "denied");
  return false;
}

// Where the route asks for a name and a password. True: go on; with `asking_` the answer is still to come,
// and all that is prepared meanwhile waits for it.
bool Exchange::Authenticate() {
  http::RequestHead& head = proxy_.request_head();
  const BasicAuth& auth = *route_->basic_auth;
  Credentials credentials;
  if (!credentials.ReadFrom(head)) return Unauthorized();
  switch (proxy_.passwords().Ask(auth, credentials, address_, &client_, &asking_)) {
    case PasswordDesk::Answer::kRight:
      authenticated_ = true;
      break;
    case PasswordDesk::Answer::kWait:
      break;
    case PasswordDesk::Answer::kWrong:
      return Unauthorized();
    case PasswordDesk::Answer::kBusy:
      Respond(503, "too many passwords are being checked", "unauthorized", 1);
      return false;
  }
  if (proxy_.log() != nullptr) user_ = auth.Find(credentials.user());
  if (!auth.forward) head.Drop("Authorization");
  return true;
}

bool Exchange::Unauthorized() {
  proxy_.counters().unauthorized.Add();
  Respond(401, "a name and a password are wanted", "unauthorized");
  return false;
}

// The head is written, or our answer: nothing of the shard's scratch is needed any more.
void Exchange::AwaitAuthority() {
  phase_ = Phase::kAuthorize;
  shard_.SetTimer(client_.timer, WithinRequest(kAuthorizeMs));
}

void Exchange::StepAuthorize() {
  const Stream& down = client_.stream;
  if (down.end_seen() && down.receive_error() != 0) {
    ClientGone("client_abort");
    return;
  }
  if (asking_->answer == PasswordDesk::Answer::kWait) {
    if (!client_.timer.fired) return;
    shard_.ClearTimer(client_.timer);
    proxy_.counters().password_checks_refused.Add();
    Respond(503, "the password was not checked in time", "unauthorized", 1);
    return;
  }
  shard_.ClearTimer(client_.timer);
  const bool right = asking_->answer == PasswordDesk::Answer::kRight;
  proxy_.passwords().Forget(std::exchange(asking_, nullptr));
  progress_ = true;
  authenticated_ = right;
  if (!right) {
    Unauthorized();
  } else if (leg_ != nullptr) {
    AskFirst();
  } else {
    GoOn();
  }
}

// Nobody has anything against the request.
void Exchange::GoOn() {
  if (answer_.holds_buffer()) {
    phase_ = Phase::kRespond;
    progress_ = true;
  } else {
    GoUp();
  }
}

void Exchange::RespondByRoute(const TemplateValues& values) {
  http::FixedResponse fixed;
  fixed.status = route_->status;
  fixed.content_type = route_->content_type;
  fixed.body = route_->body;
  fixed.extra_fields = route_->response_variables ? std::string_view(proxy_.route_scratch().response_lines)
                                                  : route_->response_fields;
  const size_t location_bytes = route_->location.Bytes(values);
  const size_t most = http::MaxFixedBytes(fixed) + location_bytes;
  if (most + location_bytes > BufferPool::kLargestChunk) {
    Respond(414, "the target is too long for the answer", "bad_request");
    return;
  }
  Buffer* chunk = TakeChunk(most + location_bytes);
  if (chunk == nullptr) {
    Respond(503, "out of memory", "out_of_memory");
    return;
  }
  fixed.location = {chunk->data + most, route_->location.Write(values, chunk->data + most)};
  if (fixed.location.starts_with("//")) {
    BufferPool::Release(chunk);
    Respond(400, "the redirect would lead elsewhere", "bad_request");
    return;
  }
  keep_ = keep_ && request_body_.done();
  AnswerWith(Slice(chunk, 0, static_cast<uint32_t>(http::SerializeFixed(fixed, LocalContext(), chunk->data))),
             fixed.status, "answered_here");
}

}  // namespace weir::lb
