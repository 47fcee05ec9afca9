// A TCP client's connection from accept to close: pick, connect, relay.
#include <algorithm>
#include <cerrno>

#include "lb/attempts.h"
#include "lb/l4/hello_route.h"
#include "lb/l4/proxy_hello.h"
#include "lb/l4/relay.h"
#include "lb/proxy.h"

namespace weir::lb {
namespace {

static_assert(Attempts::kMax <= Levels::kMostTried);

// Whoever only finished speaking still waits for an answer.
bool ClientReset(const Stream& stream) { return stream.end_seen() && stream.receive_error() != 0; }

// A connection has its client's address and perhaps a server name; one by a unix socket not even the first.
uint64_t HashOf(const UpstreamPool& pool, const SocketAddress& client, const HelloNames* names,
                Shard& shard) {
  RouteRequest asked;
  asked.client = client;
  if (names != nullptr) asked.server_name = names->server();
  uint64_t hash = 0;
  if (FindHash(pool.settings().hash.on, asked, &hash) != nullptr) return hash;
  const std::optional<uint64_t> by_address = HashKey().HashOf(asked);
  return by_address ? *by_address : shard.random().Next();
}

// Connects to an endpoint, trying others as long as nothing was sent. Null when none could be reached or the
// client left meanwhile.
Task<UpstreamConnection*> Connect(Proxy& proxy, ClientConnection& client, const RouteSettings& route,
                                  const HelloNames* names, UpstreamPool& pool, Attempts& attempts) {
  Shard& shard = proxy.shard();
  const uint64_t hash = pool.hashes() ? HashOf(pool, client.peer, names, shard) : 0;
  const uint32_t retries = route.retry.connect_failure ? route.retries : 0;
  while (attempts.count() <= retries) {
    const uint32_t endpoint = pool.Pick(attempts.tried(), hash, false, route.subset);
    if (endpoint == UpstreamPool::kNone) break;
    if (attempts.count() > 0) proxy.counters().retries.Add();
    attempts.Add(endpoint);
    int error = 0;
    const int64_t begin_ns = shard.now_ns();
    uint32_t source = UpstreamPool::kNone;
    UpstreamConnection* upstream = pool.StartConnect(endpoint, &client, &error, source, true, false);
    if (upstream == nullptr) {
      pool.Done(endpoint);
      break;
    }
    shard.SetTimer(client.timer, route.timeouts.connect_ms);
    bool client_left = false;
    for (uint32_t sources_tried = 1;;) {
      upstream->stream.Poll(shard);
      client.stream.Poll(shard);
      client_left = client.cut || ClientReset(client.stream);
      if (!upstream->stream.connecting() && upstream->stream.connect_error() == EADDRNOTAVAIL &&
          sources_tried < pool.SourcesFor(endpoint)) {
        UpstreamConnection* next = pool.StartConnect(endpoint, &client, &error, source, true, false);
        if (next != nullptr) {
          ++sources_tried;
          proxy.upstreams().Close(std::exchange(upstream, next), false);
          continue;
        }
      }
      if (client_left || !upstream->stream.connecting() || client.timer.fired) break;
      if (client.held_since_ns == 0 && client.stream.has_bytes()) client.held_since_ns = shard.now_ns();
      co_await client.Park();
    }
    if (!client_left && !upstream->stream.connecting() && upstream->stream.connect_error() == 0) {
      pool.ConnectWorked(endpoint);
      pool.Observe(endpoint, shard.now_ns() - begin_ns);
      co_return upstream;
    }
    if (!client_left) {
      const Stream& stream = upstream->stream;
      const int connect_error = stream.connecting() ? ETIMEDOUT : stream.connect_error();
      pool.ConnectFailed(endpoint, connect_error);
      pool.ObserveFailure(endpoint, shard.now_ns() - begin_ns);
      pool.Learn(endpoint, UpstreamPool::OutcomeOfConnect(connect_error), UpstreamPool::kUnknownNs);
    }
    EndUpstream(proxy, upstream, false);
    if (client_left) break;
  }
  co_return nullptr;
}

// `end` is null for who left before anything was begun.
void Count(ProxyCounters& counters, UpstreamConnection* upstream, const char* end, int64_t duration_ns) {
  counters.tcp_active.Sub();
  if (end == nullptr) return;
  const size_t place = TcpEndOf(end);
  counters.tcp_ends[place].Add();
  counters.tcp_duration_us.Record(static_cast<uint64_t>(duration_ns / kNsPerUs));
  if (upstream != nullptr) upstream->pool->counters().tcp_ends[place].Add();
}

// What a connection to an endpoint begins with: its PROXY header, and what of the client's bytes is not in
// the client's stream any more. Either may be empty.
void SendFirst(Shard& shard, Stream& upstream, Slice header, Slice begin) {
  if (header.empty()) std::swap(header, begin);
  if (header.empty()) return;
  if (begin.empty()) return upstream.Send(shard, std::move(header));
  const Stream::Piece pieces[] = {header.view(), begin.view()};
  upstream.SendPieces(shard, pieces, std::move(header), std::move(begin));
}

// What is left of the beginning when bytes are passed on.
struct Opened {
  UpstreamConnection* upstream = nullptr;
  HelloNames* names = nullptr;  // its session's to free
  const char* end = nullptr;  // not to be relayed, for this reason; null without `upstream`: nothing was said
  uint32_t connect_us = 0;    // since its route was known
  uint32_t begin_bytes = 0;   // the client's, sent on their way
  uint32_t header_bytes = 0;  // ours, before them
  uint32_t idle_ms = 0;
  uint8_t retries = 0;
  bool reset = false;
};

// Until an endpoint is there and has been greeted. Never part of the session's frame: that is there for as
// long as the connection, and most of this is not.
[[gnu::noinline]] Task<Opened> Open(Proxy& proxy, ClientConnection* client) {
  Shard& shard = proxy.shard();
  Opened opened;
  const SnapshotHold hold = proxy.HoldFor(*client);
  HelloRoute chosen;
  if (!hold.listener->access.Allows(client->peer)) {
    proxy.counters().denied.Add();
    chosen.end = "denied";
  } else if (hold.listener->routes == ListenerSettings::kNone) {
    chosen.route = &hold.listener->direct;
  } else {
    chosen = co_await RouteByHello(proxy, *client, hold);
  }
  const bool is_routed = chosen.route != nullptr;
  if (is_routed || chosen.end != nullptr) proxy.counters().tcp_connections.Add();
  if (is_routed) {
    const RouteSettings& route = *chosen.route;
    opened.idle_ms = route.timeouts.tcp_idle_ms;
    Attempts attempts;
    const int64_t connect_ns = shard.now_ns();
    UpstreamPool& pool = proxy.PoolOf(*hold.snapshot, route.upstream);
    opened.upstream = co_await Connect(proxy, *client, route, chosen.names, pool, attempts);
    opened.connect_us = static_cast<uint32_t>((shard.now_ns() - connect_ns) / kNsPerUs);
    opened.retries = static_cast<uint8_t>(attempts.count() > 0 ? attempts.count() - 1 : 0);
  }
  proxy.LetGo(hold.snapshot);
  proxy.LeaveListener(client);
  opened.names = chosen.names;
  opened.begin_bytes = chosen.begin.size();
  if (!is_routed) {
    opened.end = chosen.end;
    opened.reset = chosen.end != nullptr || client->cut;
  } else if (opened.upstream == nullptr) {
    const bool client_left = client->cut || ClientReset(client->stream);
    if (!client_left) proxy.counters().tcp_failures.Add();
    opened.end = client->cut   ? (proxy.cutting() ? "cut" : "out_of_buffers")
                 : client_left ? "client_reset"
                               : "upstream_unreachable";
    opened.reset = true;
  } else {
    const ProxyHelloSettings& hello = opened.upstream->hello;
    Slice header;
    if (hello.on()) {
      const std::string_view name = chosen.names == nullptr ? std::string_view() : chosen.names->server();
      header = MakeProxyHello(proxy, *client, hello, name);
      if (header.empty()) {
        opened.end = "out_of_memory";
        opened.reset = true;
        co_return opened;
      }
    }
    opened.header_bytes = header.size();
    SendFirst(shard, opened.upstream->stream, std::move(header), std::move(chosen.begin));
  }
  co_return opened;
}

// What came is in the result; of what was on its way when a side broke off only that counts which its kernel
// took.
uint64_t SentToUpstream(const Opened& opened) {
  if (opened.upstream == nullptr) return 0;
  const uint64_t sent = opened.upstream->stream.sent_bytes();
  return sent - std::min<uint64_t>(sent, opened.header_bytes);
}

void Log(Proxy& proxy, const ClientConnection& client, const Opened& opened, const RelayResult& result,
         int64_t begin_ns) {
  AccessLog* const log = result.end == nullptr ? nullptr : proxy.log();
  if (log == nullptr) return;
  AccessRecord record;
  record.tcp = true;
  NoteClient(client, record);
  record.bytes_received = result.client_bytes;
  record.bytes_sent = record.body_bytes_sent = client.stream.sent_bytes();
  record.total_us = static_cast<uint64_t>((proxy.shard().now_ns() - begin_ns) / kNsPerUs);
  record.connect_us = opened.connect_us;
  if (opened.names != nullptr) {
    record.sni = opened.names->server();
    record.alpn = opened.names->protocols();
  }
  const UpstreamConnection* const upstream = opened.upstream;
  if (upstream != nullptr) record.upstream = upstream->pool->settings().name;
  record.endpoint = upstream == nullptr ? nullptr : &upstream->pool->address(upstream->index);
  record.retries = opened.retries;
  record.end = result.end;
  log->Write(record, proxy.settings().log_format.get());
}

// After its last byte.
void End(Proxy& proxy, ClientConnection* client, const Opened& opened, const RelayResult& result,
         int64_t begin_ns) {
  UpstreamConnection* const upstream = opened.upstream;
  Count(proxy.counters(), upstream, result.end, proxy.shard().now_ns() - begin_ns);
  proxy.counters().client_bytes_received.Add(result.client_bytes);
  proxy.counters().client_bytes_sent.Add(client->stream.sent_bytes());
  Log(proxy, *client, opened, result, begin_ns);
  if (opened.names != nullptr) proxy.shard().arena().Free(opened.names);
  if (upstream != nullptr) {
    proxy.counters().upstream_bytes_received.Add(result.upstream_bytes);
    proxy.counters().upstream_bytes_sent.Add(SentToUpstream(opened));
    EndUpstream(proxy, upstream, result.reset);
  }
  proxy.CloseClient(client, result.reset);
}

}  // namespace

Root TcpSession(Scope& /*scope*/, Proxy& proxy, ClientConnection* client, int64_t begin_ns) {
  proxy.counters().tcp_active.Add();
  // Armed early: a client that resets while we connect is noticed.
  client->stream.ArmReceive(proxy.shard(), kRelayReceive);
  const Opened opened = co_await Open(proxy, client);
  RelayResult result;
  if (opened.upstream != nullptr && opened.end == nullptr) {
    result = co_await Relay(proxy, *client, *opened.upstream, opened.idle_ms, true);
    result.client_bytes += opened.begin_bytes;
  } else {
    result.end = opened.end;
    result.reset = opened.reset;
  }
  End(proxy, client, opened, result, begin_ns);
}

}  // namespace weir::lb
