// Proxy: a shard's whole product: its listeners, client connections, upstream pool, counters, and what its
// sessions share (parser scratch, the Date text). Made, used and destroyed on the shard's thread. Draining:
// after SayClose (the lame duck) each answer is its connection's last, as clients should move to other
// machines; Drain stops accepting (handshakes that were begun are still served), then sessions end by
// themselves: with `Connection: close` on their next response, or at once when they are idle. `drained` then
// calls back.
// Reload: Adopt takes the next generation (generation.h). Listeners that stay keep their sockets, new ones
// come with theirs, removed ones end as in a drain; a connection that came through a removed one ends with
// its next response, or when it has been idle for long enough.
// A listener with one socket (a unix socket's path) is one shard's; that one hands what it accepts to the
// shard that has the fewest connections, by a message with the descriptor. Who gets one that it cannot take
// (it drains, or knows the listener no more, or not yet) gives it back, and the first one serves it.
// Bounds: Settings::max_connections clients over all shards, and a few more that are only told so; of one
// client a listener's max_connections_per_client (client_table.h), asked once for each connection, when its
// client is known.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/shard.h"
#include "core/slab.h"
#include "core/source.h"
#include "lb/auth/password_desk.h"
#include "lb/client_connection.h"
#include "lb/config/settings.h"
#include "lb/generation.h"
#include "lb/http/date.h"
#include "lb/http/request.h"
#include "lb/http/response.h"
#include "lb/http/trailers.h"
#include "lb/l7/mirror.h"
#include "lb/log/access_log.h"
#include "lb/route/route_head.h"
#include "lb/stats.h"
#include "lb/upstream/upstream.h"

namespace weir::lb {

class ClientTable;

class Proxy {
 public:
  // Connections above the limit that are told so; what comes on top is closed without a word.
  static constexpr uint32_t kOverLimit = 64;

  // Adopts `first`. `peers`: the counters of all shards' proxies, by shard (for the connection limit, and for
  // who has the fewest), this one's among them; filled in before the first accept. `log` may be null, and so
  // may `passwords` where no route asks for any. `news` may be null: nobody is told of endpoints; `outliers`
  // too: none is ejected.
  Proxy(Shard& shard, Snapshot& first, std::span<const ProxyCounters* const> peers, ProxyCounters& counters,
        AccessLog* log, PasswordPool* passwords = nullptr, EndpointNews* news = nullptr,
        OutlierSink* outliers = nullptr);
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  // On the control shard: the proxy of next.shard is to adopt `next`, of the generation after its newest.
  // Then its new requests and connections go by that, and the keeper hears of it.
  static void PostAdopt(Shard& control, Snapshot& next);
  // Weir will drain soon: from now on answers say `Connection: close`, and nothing else changes: who still
  // comes is served, idle connections stay.
  void SayClose() { says_close_ = true; }
  // Stops accepting, lets everything end, then calls `drained` once. Idempotent.
  void Drain(std::function<void()> drained);
  // For tests and a last resort: resets every connection.
  void CutAll();
  bool draining() const { return draining_; }
  bool cutting() const { return cutting_; }

  Shard& shard() { return shard_; }
  // What holds for new requests.
  const Settings& settings() const { return newest_->settings(); }
  const Timeouts& timeouts() const { return settings().timeouts; }
  ProxyCounters& counters() { return counters_; }
  // In Via (RFC 9110 section 7.6.3).
  std::string_view via_name() const { return via_name_; }
  Upstreams& upstreams() { return upstreams_; }
  // A request (or connect) of `client` begins: what it goes by until LetGo.
  SnapshotHold HoldFor(const ClientConnection& client) {
    const Listener& listener = *listeners_[client.listener];
    Snapshot* snapshot = listener.last == nullptr ? newest_ : listener.last;
    snapshot->users.Add();
    return {snapshot, &snapshot->settings().listeners[listener.index]};
  }
  void LetGo(Snapshot* snapshot) {
    snapshot->users.Sub();
    if (snapshot != newest_ && snapshot->users.Get() == 0) Report(*snapshot);
  }
  UpstreamPool& PoolOf(const Snapshot& snapshot, uint32_t upstream) {
    return upstreams_.PoolOf(snapshot.generation->plan(upstream));
  }
  // The next answer to `client` is its last: Weir drains, or will soon, or its listener was removed.
  bool Closing(const ClientConnection& client) const {
    return says_close_ || listeners_[client.listener]->last != nullptr;
  }
  // `client` became a tunnel: it needs its listener no more.
  void LeaveListener(ClientConnection* client);
  AccessLog* log() { return log_; }
  PasswordDesk& passwords() { return passwords_; }
  Scope& scope() { return scope_; }
  struct Mirrors {
    Mirror* first = nullptr;
    uint32_t count = 0;
  };
  Mirrors& mirrors() { return mirrors_; }
  http::RequestHead& request_head() { return request_head_; }
  http::ResponseHead& response_head() { return response_head_; }
  http::Trailers& trailers() { return trailers_; }
  RouteScratch& route_scratch() { return route_scratch_; }
  uint32_t client_count() const { return clients_.size(); }
  std::string_view date();
  std::string_view HostOf(const ClientConnection& client) const { return listeners_[client.listener]->host; }
  // 32 hex digits.
  void MakeRequestId(char out[32]);

  // `client`, which is who it says it is by now, has room for one more connection here.
  bool Admits(ClientConnection& client);
  // It has not: it is told so, or closed, and counts no more. Nobody else may know of the connection.
  void TurnAway(ClientConnection* client, bool tcp);
  // A line of the access log for a connection on which nothing was asked for.
  void LogRefusal(const ClientConnection& client, bool tcp, uint16_t status, std::string_view end,
                  int64_t begin_ns);

  // Called by a session as the last thing it does with its connection.
  void CloseClient(ClientConnection* client, bool with_reset);

 private:
  struct Listener {
    int fd = -1;
    uint16_t place = 0;    // in listeners_
    uint32_t index = 0;    // in Settings::listeners of the newest generation, or of the one of `last`
    uint64_t id = 0;       // Generation::listener_id
    uint32_t clients = 0;  // connections that came here, without tunnels, and those on their way to others
    Snapshot* last = nullptr;  // it was removed: what its connections go by
    std::string host;          // Host for an HTTP/1.0 request that names none
    Source accept;
    Waiter waiter;
    Timer timer;
    // kElsewhere: another shard has the socket.
    enum class State { kAccepting, kLastHandshakes, kStopping, kElsewhere, kClosed } state = State::kClosed;
  };
  // A connection on its way to the shard that is to serve it. From the arena of the one that accepted it.
  struct HandOver : Message {
    int fd = -1;
    uint32_t to = 0;
    uint64_t listener_id = 0;
    Listener* listener = nullptr;  // here
    bool taken = false;
  };

  // How long handshakes that were begun before the listener stopped may take to complete.
  static constexpr uint32_t kLastHandshakesMs = 100;
  static constexpr uint32_t kAcceptRetryMs = 50;
  static constexpr uint32_t kHouseKeepingMs = 100;
  // Connections on their way to one shard; what comes meanwhile stays here.
  static constexpr uint32_t kMostHandOvers = 256;
  // Changed upstreams get their new pool while a generation is adopted, as long as these have together so
  // many endpoints.
  static constexpr size_t kEndpointsAtOnce = 1024;

  void Adopt(Snapshot& next);
  void Listen(int fd, uint32_t index);
  void Remove(Listener& listener, Snapshot* last);
  void LeftListener(Listener& listener);
  void Report(Snapshot& snapshot);
  Root AcceptLoop(Scope& scope, Listener& listener);
  void Arrived(int fd, Listener& listener);
  bool GiveAway(int fd, Listener& listener);
  bool Take(int fd, uint64_t listener_id);
  void CameHome(HandOver& hand_over);
  void Accepted(int fd, Listener& listener);
  void AcceptFailed(Listener& listener, int error);
  void OnClientClosing(ClientConnection* client);
  void CheckDrained();
  void KeepHouse();
  void FreeBuffers();
  uint64_t TotalConnections() const;

  Shard& shard_;
  Snapshot* newest_ = nullptr;
  std::vector<Snapshot*> older_;  // somebody still goes by them; the oldest first
  std::span<const ProxyCounters* const> peers_;
  ProxyCounters& counters_;
  AccessLog* log_;
  PasswordDesk passwords_;
  const std::string via_name_;
  Scope scope_;
  Mirrors mirrors_;
  Slab<ClientConnection> clients_;
  Upstreams upstreams_;
  http::RequestHead request_head_;
  http::ResponseHead response_head_;
  http::Trailers trailers_;
  RouteScratch route_scratch_;
  // Those that ended leave their place to new ones.
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<Listener*> current_;       // for each of Settings::listeners
  std::vector<uint32_t> on_their_way_;   // to each shard
  uint32_t hand_overs_ = 0;              // all of these
  ClientTable* client_table_ = nullptr;  // the generations'
  uint32_t turned_away_ = 0;             // clients that are being told so
  uint32_t next_shard_ = 0;              // of those with as few connections the one to begin with
  int reserve_fd_ = -1;  // given up for a moment when descriptors run out, to tell a waiting client
  bool says_close_ = false;
  bool draining_ = false;
  bool cutting_ = false;
  std::function<void()> drained_;
  int64_t date_second_ = -1;
  std::array<char, http::kDateBytes> date_{};
  struct HouseKeeper : Runnable {
    explicit HouseKeeper(Proxy* proxy);
    Proxy* proxy;
  } house_keeper_;
  Timer house_timer_;
  uint32_t house_rounds_ = 0;
};

// Who it is, for its line in the access log.
void NoteClient(const ClientConnection& client, AccessRecord& record);
// Closes the connection that a relay had.
void EndUpstream(Proxy& proxy, UpstreamConnection* upstream, bool with_reset);
// Waits for a request, without a coroutine, then begins a session.
void AwaitRequest(Proxy& proxy, ClientConnection* client);
// The session coroutines (l7/session.cc, l4/tcp_session.cc, l4/proxy_header.cc); they own the connection
// until they call CloseClient, go back to AwaitRequest, or begin the session that comes next.
Root ProxyHeaderSession(Scope& scope, Proxy& proxy, ClientConnection* client);
Root HttpSession(Scope& scope, Proxy& proxy, ClientConnection* client);
Root TcpSession(Scope& scope, Proxy& proxy, ClientConnection* client, int64_t begin_ns);

}  // namespace weir::lb
