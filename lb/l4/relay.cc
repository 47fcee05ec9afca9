#include "lb/l4/relay.h"

#include <cerrno>
#include <utility>

#include "core/splice.h"
#include "lb/proxy.h"

namespace weir::lb {
namespace {

enum class Step { kWaits, kMoved, kDone, kFailed };

struct Way {
  Stream& from;
  Stream& to;
  uint64_t& bytes;
  Splice splice{};
  bool passes = false;  // through a pipe, as it is bulk
  bool ended = false;   // all that came was sent, and its end after it
};

// It begins with receives and sends, and changes over when `splice_from` bytes came in full reads in a row
// (0: never). Then nothing more is received ahead, so that nothing is left over when the last send is done.
bool IsBulk(const Way& way, uint64_t splice_from) {
  return splice_from > 0 && way.splice.full_bytes() >= splice_from;
}

// One direction, as far as it goes without waiting.
Step Pump(Shard& shard, Way& way, uint64_t splice_from) {
  Stream& from = way.from;
  Stream& to = way.to;
  bool moved = false;
  for (;;) {
    if (way.passes) {
      uint64_t came = 0;
      const Splice::Step step = way.splice.Move(shard, from, to, UINT64_MAX, came);
      way.bytes += came;
      moved = moved || came > 0;
      if (step == Splice::Step::kFailed) return Step::kFailed;
      if (step == Splice::Step::kWaits) return moved ? Step::kMoved : Step::kWaits;
      way.passes = false;
    }
    if (to.send_error() != 0) return Step::kFailed;
    if (!to.sending()) {
      if (from.has_bytes()) {
        Slice slice = from.TakeBytes();
        way.bytes += slice.size();
        way.splice.Copied(slice.size());
        to.Send(shard, std::move(slice));
        moved = true;
        continue;
      }
      if (from.receive_ended()) {
        // A reset of which a send was told is a clean end for the receive: the send under way knows.
        if (from.receive_error() == 0 && from.sending()) return moved ? Step::kMoved : Step::kWaits;
        if (from.receive_error() != 0 || from.send_error() != 0) return Step::kFailed;
        if (!way.ended) {
          // Where the other way has ended too, closing says so, at once and with one call less.
          if (!from.send_shut()) to.ShutdownSend(shard);
          way.ended = moved = true;
        }
        return moved ? Step::kMoved : Step::kDone;
      }
      if (IsBulk(way, splice_from) && !from.receive_armed()) {
        way.passes = true;
        continue;
      }
    }
    if (!IsBulk(way, splice_from)) from.ArmReceive(shard, kRelayReceive);
    return moved ? Step::kMoved : Step::kWaits;
  }
}

bool Settle(Way& way) {
  const uint64_t came = way.splice.Settle(way.from, way.to);
  way.bytes += came;
  return came > 0;
}

// What is sent to it lies in a buffer.
bool HoldsBuffers(const Stream& stream) {
  return stream.has_bytes() || (stream.sending() && !stream.draining());
}

// Of a unix socket's count what was sent makes what was read (core/backend.h).
int64_t Acknowledged(Shard& shard, const Stream& stream) {
  return shard.backend().AcknowledgedBytes(stream.fd()) + static_cast<int64_t>(stream.sent_bytes());
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
  Way up{client.stream, upstream.stream, result.client_bytes};
  Way down{upstream.stream, client.stream, result.upstream_bytes};
  const char* first_to_close = nullptr;
  int64_t acknowledged = 0;
  shard.SetTimer(client.timer, idle_ms);
  for (;;) {
    client.stream.Poll(shard);
    upstream.stream.Poll(shard);
    const bool was_sending = client.stream.sending() || upstream.stream.sending();
    const bool up_passed = Settle(up);
    const bool passed = Settle(down) || up_passed;
    const uint64_t splice_from = proxy.settings().splice_from_bytes;
    const Step up_step = Pump(shard, up, splice_from);
    const Step down_step = Pump(shard, down, splice_from);
    if (result.upstream_bytes > 0) Learn(upstream, Outcome::kAnswered, learns);
    if (up_step == Step::kFailed || down_step == Step::kFailed) {
      const bool by_client = client.stream.send_error() != 0 || client.stream.receive_error() != 0;
      result.end = by_client ? "client_reset" : "upstream_reset";
      result.reset = true;
      if (!by_client) Learn(upstream, Outcome::kGatewayError, learns);
      break;
    }
    if (first_to_close == nullptr && up.ended) first_to_close = "client_closed";
    if (first_to_close == nullptr && down.ended) first_to_close = "server_closed";
    if (up.ended && down.ended) {
      result.end = first_to_close;
      Learn(upstream, Outcome::kAnswered, learns);
      break;
    }
    if (client.cut) {
      result.end = proxy.cutting() ? "cut" : "out_of_buffers";
      result.reset = true;
      break;
    }
    const bool moved = passed || up_step == Step::kMoved || down_step == Step::kMoved;
    if (moved) {
      shard.SetTimer(client.timer, idle_ms);
    } else if (client.timer.fired) {
      // A long send to a slow but live reader completes nothing: ask the kernel whether its bytes arrive.
      const int64_t now_acknowledged =
          Acknowledged(shard, client.stream) + Acknowledged(shard, upstream.stream);
      if (!was_sending || now_acknowledged == acknowledged) {
        result.end = "idle_timeout";
        result.reset = was_sending;
        break;
      }
      acknowledged = now_acknowledged;
      shard.SetTimer(client.timer, idle_ms);
    }
    if (!HoldsBuffers(client.stream) && !HoldsBuffers(upstream.stream)) {
      client.held_since_ns = 0;
    } else if (client.held_since_ns == 0 || moved) {
      client.held_since_ns = shard.now_ns();
    }
    co_await client.Park();
  }
  up.splice.Drop(shard, up.from);
  down.splice.Drop(shard, down.from);
  client.held_since_ns = 0;
  co_return result;
}

}  // namespace weir::lb
