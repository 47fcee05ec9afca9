#include "lb/l4/relay.h"

#include <cerrno>
#include <utility>

#include "lb/proxy.h"

namespace weir::lb {
namespace {

enum class Step { kWaits, kMoved, kDone, kFailed };

// One direction, as far as it goes without waiting.
Step Pump(Shard& shard, Stream& from, Stream& to, uint64_t& bytes) {
  bool moved = false;
  for (;;) {
    if (to.send_error() != 0) return Step::kFailed;
    if (!to.sending()) {
      if (from.has_bytes()) {
        Slice slice = from.TakeBytes();
        bytes += slice.size();
        to.Send(shard, std::move(slice));
        moved = true;
        continue;
      }
      if (from.receive_ended()) {
        // A reset of which a send was told is a clean end for the receive: the send under way knows.
        if (from.receive_error() == 0 && from.sending()) return moved ? Step::kMoved : Step::kWaits;
        if (from.receive_error() != 0 || from.send_error() != 0) return Step::kFailed;
        if (!to.send_shut()) moved = true;
        to.ShutdownSend(shard);
        return moved ? Step::kMoved : Step::kDone;
      }
    }
    from.ArmReceive(shard, kRelayReceive);
    return moved ? Step::kMoved : Step::kWaits;
  }
}

// Once for each connection, if at all.
void Learn(UpstreamConnection& upstream, Outcome outcome, bool& learns) {
  if (std::exchange(learns, false)) upstream.pool->Learn(upstream.index, outcome, UpstreamPool::kUnknownNs);
}

}  // namespace

Task<RelayResult> Relay(Proxy& proxy, ClientConnection& client, UpstreamConnection& upstream,
                        uint32_t idle_ms, bool learns) {
  Shard& shard = proxy.shard();
  RelayResult result;
  int64_t acknowledged = 0;
  shard.SetTimer(client.timer, idle_ms);
  for (;;) {
    client.stream.Poll(shard);
    upstream.stream.Poll(shard);
    const bool was_sending = client.stream.sending() || upstream.stream.sending();
    const Step up = Pump(shard, client.stream, upstream.stream, result.client_bytes);
    const Step down = Pump(shard, upstream.stream, client.stream, result.upstream_bytes);
    if (result.upstream_bytes > 0) Learn(upstream, Outcome::kAnswered, learns);
    if (up == Step::kFailed || down == Step::kFailed) {
      const bool by_client = client.stream.send_error() != 0 || client.stream.receive_error() != 0;
      result.end = by_client ? "client_reset" : "upstream_reset";
      result.reset = true;
      if (!by_client) Learn(upstream, Outcome::kGatewayError, learns);
      break;
    }
    if (client.stream.send_shut() && upstream.stream.send_shut()) {
      Learn(upstream, Outcome::kAnswered, learns);
      break;
    }
    if (client.cut) {
      result.end = "cut";
      result.reset = true;
      break;
    }
    if (up == Step::kMoved || down == Step::kMoved) {
      shard.SetTimer(client.timer, idle_ms);
    } else if (client.timer.fired) {
      // A long send to a slow but live reader completes nothing: ask the kernel whether its bytes arrive.
      const int64_t now_acknowledged = shard.backend().AcknowledgedBytes(client.stream.fd()) +
                                       shard.backend().AcknowledgedBytes(upstream.stream.fd());
      if (!was_sending || now_acknowledged == acknowledged) {  // a unix socket's may be less: core/backend.h
        result.end = "idle_timeout";
        result.reset = was_sending;
        break;
      }
      acknowledged = now_acknowledged;
      shard.SetTimer(client.timer, idle_ms);
    }
    const bool holds = client.stream.sending() || upstream.stream.sending() || client.stream.has_bytes() ||
                       upstream.stream.has_bytes();
    if (!holds) {
      client.held_since_ns = 0;
    } else if (client.held_since_ns == 0 || up == Step::kMoved || down == Step::kMoved) {
      client.held_since_ns = shard.now_ns();
    }
    co_await client.Park();
  }
  client.held_since_ns = 0;
  co_return result;
}

}  // namespace weir::lb
