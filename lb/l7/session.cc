// An HTTP/1.1 client's connection from accept to close: one exchange after another (pipelined requests wait
// in the stream and are answered in order), then a close that does not eat the last answer. While it waits
// for a request, this coroutine's frame and the connection's slab entry are all that exists of it.
#include <algorithm>
#include <new>

#include "lb/http/local_response.h"
#include "lb/l4/relay.h"
#include "lb/l7/exchange.h"
#include "lb/proxy.h"

namespace weir::lb {
namespace {

// RFC 9112 section 9.6: after our FIN the client's bytes are read and dropped for a while, or the reset that
// answers them would take the response away before the client has read it.
constexpr uint32_t kLingerMs = 2'000;
constexpr uint64_t kLingerBytes = 1'000'000;
// How long a connection that has not asked for anything yet is waited for once Weir drains.
constexpr uint32_t kLastCallMs = 1'000;

Task<> Linger(Shard& shard, ClientConnection& client) {
  shard.SetTimer(client.timer, kLingerMs);
  uint64_t discarded = 0;
  for (;;) {
    Stream& stream = client.stream;
    stream.Poll(shard);
    while (stream.has_bytes()) discarded += stream.TakeBytes().size();
    if (client.cut || client.timer.fired || stream.send_error() != 0) break;
    if (stream.receive_ended() && !stream.sending()) break;
    if (discarded > kLingerBytes) break;
    if (!stream.sending()) stream.ShutdownSend(shard);
    stream.ArmReceive(shard, Op::kPollFirst);
    co_await client.Park();
  }
  // What it did not take in time is lost: where only the end of the connection ends the answer, a clean one
  // would pass what fitted for all of it.
  if (client.stream.sending()) client.cut = true;
}

// A connection above the limit, or above its client's: told so, and closed. 429 says whose fault it is: who
// looks at 5xx looks for one of ours.
void RefuseConnection(Proxy& proxy, ClientConnection& client) {
  Buffer* chunk = proxy.shard().buffers().TakeChunk(http::kMaxErrorBytes);
  if (chunk == nullptr) return;
  const http::LocalContext context{.date = proxy.date()};
  const size_t bytes =
      client.over_client_limit
          ? http::SerializeError(429, "too many connections of this client", 1, context, chunk->data)
          : http::SerializeError(503, "too many connections", 1, context, chunk->data);
  client.stream.Send(proxy.shard(), Slice(chunk, 0, static_cast<uint32_t>(bytes)));
}

Exchange* MakeExchange(Proxy& proxy, ClientConnection& client) {
  void* memory = proxy.shard().arena().Allocate(sizeof(Exchange));
  return memory == nullptr ? nullptr : new (memory) Exchange(proxy, client);
}

void EndExchange(Shard& shard, Exchange* exchange) {
  exchange->~Exchange();
  shard.arena().Free(exchange);
}

Task<> Tunnel(Proxy& proxy, ClientConnection& client, UpstreamConnection* upstream, uint32_t idle_ms) {
  proxy.LeaveListener(&client);
  const uint64_t sent_before = upstream->stream.sent_bytes();
  const RelayResult result = co_await Relay(proxy, client, *upstream, idle_ms);
  proxy.counters().client_bytes_received.Add(result.client_bytes);
  proxy.counters().client_bytes_sent.Add(result.upstream_bytes);
  proxy.counters().upstream_bytes_received.Add(result.upstream_bytes);
  proxy.counters().upstream_bytes_sent.Add(upstream->stream.sent_bytes() - sent_before);
  EndUpstream(proxy, upstream, result.reset);
  if (result.reset) client.cut = true;
}

// Says goodbye to a connection no request runs on.
Root HttpGoodbye(Scope& /*scope*/, Proxy& proxy, ClientConnection* client) {
  co_await Linger(proxy.shard(), *client);
  proxy.CloseClient(client, client->cut);
}

// What an idle connection does when it is woken: no coroutine exists for it.
void StepIdle(Proxy& proxy, ClientConnection* client) {
  Shard& shard = proxy.shard();
  Stream& stream = client->stream;
  stream.Poll(shard);
  if (stream.has_bytes()) {
    client->run = &Waiter::Resume;
    HttpSession(proxy.scope(), proxy, client);
    return;
  }
  if (stream.receive_ended() || client->cut) {
    proxy.CloseClient(client, client->cut);
    return;
  }
  if (proxy.draining() && client->requests == 0 && !client->timer.fired) {
    // Most likely a spare connection; its first request may also be on its way.
    const uint32_t most_ms = std::min(kLastCallMs, proxy.timeouts().drain_ms / 2);
    const uint32_t left_ms = client->timer.deadline_ms - shard.wheel().now_ms();
    if (left_ms > most_ms) shard.SetTimer(client->timer, most_ms);
  }
  const bool drained = proxy.draining() && client->requests > 0;
  if (client->timer.fired || (drained && !stream.receive_armed())) {
    if (client->timer.fired && client->requests == 0) proxy.counters().client_timeouts.Add();
    client->run = &Waiter::Resume;
    HttpGoodbye(proxy.scope(), proxy, client);
  } else if (drained) {
    // Disarmed first, so that a request that races in is still served.
    stream.CancelReceive(shard);
  } else {
    stream.ArmReceive(shard, kHeadReceive);
  }
}

}  // namespace

void AwaitRequest(Proxy& proxy, ClientConnection* client) {
  const Timeouts& timeouts = proxy.timeouts();
  proxy.shard().SetTimer(client->timer,
                         client->requests == 0 ? timeouts.client_header_ms : timeouts.keep_alive_ms);
  client->run = [](Runnable* self) {
    StepIdle(*static_cast<Proxy*>(Shard::Current().tenant),
             static_cast<ClientConnection*>(static_cast<Waiter*>(self)));
  };
  StepIdle(proxy, client);
}

Root HttpSession(Scope& /*scope*/, Proxy& proxy, ClientConnection* client) {
  Shard& shard = proxy.shard();
  Verdict verdict = Verdict::kKeepAlive;
  if (client->over_limit) {
    RefuseConnection(proxy, *client);
    verdict = Verdict::kLinger;
  }
  while (verdict == Verdict::kKeepAlive && client->stream.has_bytes()) {
    Exchange* exchange = MakeExchange(proxy, *client);
    if (exchange == nullptr) {
      verdict = Verdict::kReset;
      break;
    }
    while (!exchange->Step()) co_await client->Park();
    verdict = exchange->verdict();
    UpstreamConnection* tunnel = verdict == Verdict::kTunnel ? exchange->TakeTunnel() : nullptr;
    const uint32_t tunnel_idle_ms = exchange->timeouts().tcp_idle_ms;
    EndExchange(shard, exchange);
    if (tunnel != nullptr) co_await Tunnel(proxy, *client, tunnel, tunnel_idle_ms);
  }
  if (verdict == Verdict::kKeepAlive) {
    AwaitRequest(proxy, client);
    co_return;
  }
  if (verdict == Verdict::kLinger) co_await Linger(shard, *client);
  proxy.CloseClient(client, verdict == Verdict::kReset || client->cut);
}

}  // namespace weir::lb
