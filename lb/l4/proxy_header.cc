// The PROXY header before anything else of a client's connection: read, believed or not, and remembered; then
// the session that the listener is for begins, with what came behind the header. Whatever is wrong ends the
// connection, and is counted, before anybody else has heard of it.
//  - required: who is not one of `from` is not listened to; all others begin with a header, in time.
//  - optional: what is no header is a connection like any other. A header of one who is not one of `from`
//  ends it: whether one is there is looked at, as an origin should not meet it either. Who says nothing waits
//  for the server to speak first, or is idle: after the same time it is what it is.
#include <algorithm>
#include <cstring>
#include <new>

#include "lb/l4/relay.h"
#include "lb/proxy.h"
#include "lb/proxy_protocol/parse.h"
#include "lb/proxy_protocol/tlv.h"

namespace weir::lb {
namespace {

// How long one that has said nothing is waited for once Weir drains.
constexpr uint32_t kLastCallMs = 1'000;

enum class End : uint8_t {
  kWaits,
  kGoesOn,      // with or without a header
  kTurnedAway,  // its client has enough connections
  kQuiet,       // it ended, or is cut, before it had said anything
  kCut,
  kMissing,
  kUntrusted,
  kMalformed,
  kTooLong,
  kTruncated,
  kTimeout,
  kNoMemory,
};

struct Refusal {
  const char* text;  // in the access log
  Counter ProxyCounters::* counter;
};

Refusal RefusalOf(End end) {
  switch (end) {
    case End::kMissing:
      return {"proxy_protocol_missing", &ProxyCounters::proxy_protocol_missing};
    case End::kUntrusted:
      return {"proxy_protocol_untrusted", &ProxyCounters::proxy_protocol_untrusted};
    case End::kMalformed:
      return {"proxy_protocol_malformed", &ProxyCounters::proxy_protocol_malformed};
    case End::kTooLong:
      return {"proxy_protocol_too_long", &ProxyCounters::proxy_protocol_too_long};
    case End::kTruncated:
      return {"proxy_protocol_truncated", &ProxyCounters::proxy_protocol_truncated};
    case End::kTimeout:
      return {"proxy_protocol_timeout", &ProxyCounters::proxy_protocol_timeouts};
    case End::kNoMemory:
      return {"out_of_memory", nullptr};
    case End::kCut:
      return {"cut", nullptr};
    case End::kWaits:
    case End::kGoesOn:
    case End::kTurnedAway:
    case End::kQuiet:
      break;
  }
  return {nullptr, nullptr};
}

static_assert(ProxyHeader::kMostLength <= Introduction::kMostTlvBytes);

// Of these TLVs those that are kept: not what was for the header alone, and no id that is none.
size_t KeepTlvs(std::string_view tlvs, char* out) {
  size_t bytes = 0;
  for (TlvReader reader(tlvs); reader.Next();) {
    if (reader.type() == ProxyHeader::kNoop || reader.type() == ProxyHeader::kCrc32c) continue;
    if (reader.type() == ProxyHeader::kUniqueId && reader.value().empty()) continue;
    const size_t size = TlvReader::kFrontBytes + reader.value().size();
    if (out != nullptr) std::memcpy(out + bytes, reader.value().data() - TlvReader::kFrontBytes, size);
    bytes += size;
  }
  return bytes;
}

// False: no memory.
bool Introduce(Shard& shard, ClientConnection& client, const ProxyHeader& header) {
  const size_t tlv_bytes = KeepTlvs(header.tlvs, nullptr);
  if (header.local && tlv_bytes == 0) return true;
  void* const memory = shard.arena().Allocate(sizeof(Introduction) + tlv_bytes);
  if (memory == nullptr) return false;
  auto* const introduction = new (memory) Introduction;
  introduction->peer = client.peer;
  introduction->tlv_bytes = static_cast<uint32_t>(tlv_bytes);
  KeepTlvs(header.tlvs, reinterpret_cast<char*>(introduction + 1));
  if (!header.local) {
    introduction->destination = header.destination;
    client.peer = header.source;
  }
  client.introduction = introduction;
  return true;
}

// What has come of a header that comes in pieces.
class Gathered {
 public:
  std::string_view bytes() const { return {whole_.holds_buffer() ? whole_.data() : first_, length_}; }
  // A header for sure, and not only what one could begin with.
  bool is_header = false;
  // Takes bytes from the front of `in`, until there are `most`; none: no memory.
  uint32_t Take(BufferPool& pool, std::string_view in, uint32_t most) {
    if (most > sizeof(first_) && !whole_.holds_buffer()) {
      Buffer* const chunk = pool.TakeChunk(most);
      if (chunk == nullptr) return 0;
      std::memcpy(chunk->data, first_, length_);
      whole_ = Slice(chunk, 0, most);
    }
    const auto count = static_cast<uint32_t>(std::min<size_t>(in.size(), most - length_));
    std::memcpy((whole_.holds_buffer() ? whole_.data() : first_) + length_, in.data(), count);
    length_ += count;
    return count;
  }

 private:
  char first_[ProxyHeader::kMostV1Bytes];
  uint32_t length_ = 0;
  Slice whole_;
};

// What is asked of a connection while its header is read.
struct Asked {
  bool required = false;
  bool trusted = false;
};

// What `in` adds. What is not the header's, or is no header, goes back into the stream.
End Read(Shard& shard, ClientConnection& client, const Asked& asked, Gathered& gathered, Slice in) {
  const auto before = static_cast<uint32_t>(gathered.bytes().size());
  ProxyParse parse = ParseProxyHeader(before == 0 ? in.view() : gathered.bytes());
  for (uint32_t used = 0; parse.state == ProxyParse::State::kNeedMore && used < in.size();) {
    const uint32_t count = gathered.Take(shard.buffers(), in.view().substr(used), parse.bytes);
    if (count == 0) return End::kNoMemory;
    used += count;
    parse = ParseProxyHeader(gathered.bytes());
  }
  gathered.is_header = parse.begun;
  if (parse.begun && !asked.trusted) return End::kUntrusted;
  switch (parse.state) {
    case ProxyParse::State::kNeedMore:
      return End::kWaits;
    case ProxyParse::State::kMalformed:
      return End::kMalformed;
    case ProxyParse::State::kTooLong:
      return End::kTooLong;
    case ProxyParse::State::kDone:
      if (!Introduce(shard, client, parse.header)) return End::kNoMemory;
      in.RemovePrefix(parse.bytes - before);
      break;
    case ProxyParse::State::kNone:
      if (asked.required) return End::kMissing;
      // Fewer bytes than a signature has: they fit before those that came with the last piece.
      if (in.room_before() < before) return End::kNoMemory;
      in.Grow(before, 0);
      std::memcpy(in.data(), gathered.bytes().data(), before);
      break;
  }
  client.stream.PutBack(std::move(in));
  if (parse.state == ProxyParse::State::kDone) {
    static_cast<Proxy*>(shard.tenant)->counters().proxy_protocol_headers.Add();
  }
  return End::kGoesOn;
}

// Nothing more comes, or not in time. Without `required` what is not yet a header will not be one.
End AtEnd(Shard& shard, ClientConnection& client, const Asked& asked, const Gathered& gathered,
          End if_begun) {
  const std::string_view bytes = gathered.bytes();
  if (gathered.is_header || (asked.required && !bytes.empty())) return if_begun;
  if (asked.required) return if_begun == End::kTimeout ? End::kTimeout : End::kQuiet;
  if (!bytes.empty()) {
    Buffer* const chunk = shard.buffers().TakeChunk(bytes.size());
    if (chunk == nullptr) return End::kNoMemory;
    std::memcpy(chunk->data, bytes.data(), bytes.size());
    client.stream.PutBack(Slice(chunk, 0, static_cast<uint32_t>(bytes.size())));
  }
  return End::kGoesOn;
}

void Refuse(Proxy& proxy, const ClientConnection& client, bool tcp, End end, int64_t begin_ns) {
  const Refusal refusal = RefusalOf(end);
  if (refusal.counter != nullptr) (proxy.counters().*refusal.counter).Add();
  if (refusal.text != nullptr) proxy.LogRefusal(client, tcp, 0, refusal.text, begin_ns);
}

}  // namespace

Root ProxyHeaderSession(Scope& scope, Proxy& proxy, ClientConnection* client) {
  Shard& shard = proxy.shard();
  Stream& stream = client->stream;
  const int64_t begin_ns = shard.now_ns();
  bool tcp = false;
  bool counts = false;  // as one of its client's
  End end = End::kWaits;
  {
    const SnapshotHold hold = proxy.HoldFor(*client);
    const ProxyProtocolSettings& settings = hold.listener->proxy_protocol;
    tcp = hold.listener->protocol == Protocol::kTcp;
    const Asked asked{.required = settings.mode == ProxyProtocolSettings::Mode::kRequired,
                      .trusted = settings.from.Allows(client->peer)};
    if (asked.required && !asked.trusted) {
      end = End::kUntrusted;
    } else if (!asked.trusted) {
      // Nobody can say that it is somebody else: what holds for it holds from now on, also while it is
      // silent.
      if (!proxy.Admits(*client)) end = End::kTurnedAway;
      counts = true;
      if (end == End::kWaits && !hold.listener->access.Allows(client->peer)) end = End::kGoesOn;
    }
    shard.SetTimer(client->timer, settings.timeout_ms);
    proxy.LetGo(hold.snapshot);
    Gathered gathered;
    while (end == End::kWaits) {
      stream.Poll(shard);
      while (end == End::kWaits && stream.has_bytes()) {
        end = Read(shard, *client, asked, gathered, stream.TakeBytes());
      }
      if (end != End::kWaits) break;
      const bool begun = !gathered.bytes().empty();
      if (client->cut) {
        end = begun ? End::kCut : End::kQuiet;
      } else if (stream.receive_ended()) {
        end = AtEnd(shard, *client, asked, gathered, End::kTruncated);
      } else if (client->timer.fired) {
        end =
            proxy.draining() && !begun ? End::kQuiet : AtEnd(shard, *client, asked, gathered, End::kTimeout);
      } else {
        if (proxy.draining() && !begun && client->timer.deadline_ms - shard.wheel().now_ms() > kLastCallMs) {
          shard.SetTimer(client->timer, kLastCallMs);
        }
        stream.ArmReceive(shard, tcp ? kRelayReceive : kHeadReceive);
        co_await client->Park();
      }
    }
  }
  shard.ClearTimer(client->timer);
  if (end == End::kTurnedAway || (end == End::kGoesOn && !counts && !proxy.Admits(*client))) {
    proxy.TurnAway(client, tcp);
  } else if (end != End::kGoesOn) {
    Refuse(proxy, *client, tcp, end, begin_ns);
    proxy.CloseClient(client, end != End::kQuiet || client->cut);
  } else if (tcp) {
    TcpSession(scope, proxy, client, begin_ns);
  } else {
    AwaitRequest(proxy, client);
  }
}

}  // namespace weir::lb
