#include "lb/l4/hello_route.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "lb/proxy.h"
#include "lb/tls_hello/parse.h"

namespace weir::lb {
namespace {

// How long one that has said nothing is waited for once Weir drains.
constexpr uint32_t kLastCallMs = 1'000;

enum class End : uint8_t {
  kWaits,
  kHello,
  kNotTls,
  kQuiet,  // it ended, or is cut, before it had said anything
  kCut,
  kMissing,
  kMalformed,
  kTooLong,
  kTruncated,
  kTimeout,
  kNoRoute,
  kDenied,
  kNoMemory,
};

struct Refusal {
  const char* text;  // in the access log
  Counter ProxyCounters::* counter;
};

Refusal RefusalOf(End end) {
  switch (end) {
    case End::kMissing:
      return {"tls_hello_missing", &ProxyCounters::tls_hello_missing};
    case End::kMalformed:
      return {"tls_hello_malformed", &ProxyCounters::tls_hello_malformed};
    case End::kTooLong:
      return {"tls_hello_too_long", &ProxyCounters::tls_hello_too_long};
    case End::kTruncated:
      return {"tls_hello_truncated", &ProxyCounters::tls_hello_truncated};
    case End::kTimeout:
      return {"tls_hello_timeout", &ProxyCounters::tls_hello_timeouts};
    case End::kNoRoute:
      return {"no_route", &ProxyCounters::no_route};
    case End::kDenied:
      return {"denied", &ProxyCounters::denied};
    case End::kNoMemory:
      return {"out_of_memory", nullptr};
    case End::kCut:
      return {"cut", nullptr};
    case End::kWaits:
    case End::kHello:
    case End::kNotTls:
    case End::kQuiet:
      break;
  }
  return {nullptr, nullptr};
}

// What has come of a hello, which is looked at where it lies as long as it is in one piece.
class Reader {
 public:
  bool begun() const { return length_ > 0; }

  // What of `in` is not kept here goes back into the stream.
  End Read(Shard& shard, Stream& stream, Slice in, TlsHello* hello) {
    End end = End::kWaits;
    if (!begun()) {
      end = EndOf(parser_.Read(in.view(), hello));
      if (end == End::kWaits && !Keep(shard.buffers(), in.view())) return End::kNoMemory;
    } else {
      const uint32_t used = std::min(in.size(), static_cast<uint32_t>(TlsHello::kMostWireBytes) - length_);
      if (!Keep(shard.buffers(), in.view().substr(0, used))) return End::kNoMemory;
      in.RemovePrefix(used);
      end = EndOf(parser_.Read({gathered_.data(), length_}, hello));
    }
    if (end == End::kHello || end == End::kNotTls) stream.PutBack(std::move(in));
    return end;
  }
  // All of it that is kept here.
  Slice Take() {
    if (begun()) gathered_.Truncate(length_);
    return std::move(gathered_);
  }

 private:
  static End EndOf(TlsHelloParser::State state) {
    switch (state) {
      case TlsHelloParser::State::kNeedMore:
        return End::kWaits;
      case TlsHelloParser::State::kDone:
        return End::kHello;
      case TlsHelloParser::State::kNotTls:
        return End::kNotTls;
      case TlsHelloParser::State::kMalformed:
        return End::kMalformed;
      case TlsHelloParser::State::kTooLong:
        return End::kTooLong;
    }
    return End::kMalformed;
  }

  // False: no memory. A chunk is at most twice what it holds, so that all copying together is a few times
  // that.
  bool Keep(BufferPool& pool, std::string_view bytes) {
    constexpr size_t kLeastBytes = 512;
    static_assert(TlsHello::kMostWireBytes <= BufferPool::kLargestChunk);
    if (length_ + bytes.size() > gathered_.size()) {
      const size_t size = std::min(std::max({kLeastBytes, size_t{2} * length_, length_ + bytes.size()}),
                                   TlsHello::kMostWireBytes);
      Buffer* const chunk = pool.TakeChunk(size);
      if (chunk == nullptr) return false;
      Slice larger(chunk, 0, static_cast<uint32_t>(size));
      if (length_ > 0) std::memcpy(larger.data(), gathered_.data(), length_);
      gathered_ = std::move(larger);
    }
    std::memcpy(gathered_.data() + length_, bytes.data(), bytes.size());
    length_ += static_cast<uint32_t>(bytes.size());
    return true;
  }

  TlsHelloParser parser_;
  Slice gathered_;  // its size is what there is room for
  uint32_t length_ = 0;
};

// Null: no memory.
HelloNames* MakeNames(Arena& arena, const TlsHello& hello) {
  const std::string_view list = hello.alpn();
  const size_t protocols_bytes = list.empty() ? 0 : list.size() - 1;
  void* const memory = arena.Allocate(sizeof(HelloNames) + hello.name().size() + protocols_bytes);
  if (memory == nullptr) return nullptr;
  auto* const names = new (memory) HelloNames;
  char* at = reinterpret_cast<char*>(names + 1);
  names->server_bytes = static_cast<uint16_t>(hello.name().copy(at, hello.name().size()));
  at += names->server_bytes;
  // Each name's length is where the comma before it goes.
  for (size_t i = 0; i < list.size();) {
    const size_t length = static_cast<uint8_t>(list[i]);
    if (i > 0) *at++ = ',';
    at += list.substr(i + 1, length).copy(at, length);
    i += 1 + length;
  }
  names->protocols_bytes = static_cast<uint16_t>(protocols_bytes);
  return names;
}

// kHello: `found` has its route. `hello`: empty where there was none.
End Choose(Proxy& proxy, const ClientConnection& client, const SnapshotHold& hold, const TlsHello& hello,
           bool is_tls, HelloRoute* found) {
  Shard& shard = proxy.shard();
  if (is_tls) proxy.counters().tls_hellos.Add();
  if (!hello.name().empty() || !hello.alpn().empty()) {
    found->names = MakeNames(shard.arena(), hello);
    if (found->names == nullptr) return End::kNoMemory;
  }
  RouteRequest asked;
  asked.client = client.peer;
  if (client.introduction != nullptr) asked.tlvs = client.introduction->tlvs();
  asked.host = asked.server_name = hello.name();
  asked.alpn = hello.alpn();
  const RouteList& list = hold.snapshot->settings().routes[hold.listener->routes];
  const RouteHit hit = list.table->Match(asked);
  if (!hit.found()) return is_tls ? End::kNoRoute : End::kMissing;
  const RouteSettings& route = list.routes[hit.rule];
  WEIR_CHECK(route.action == RouteSettings::Action::kUpstream);
  if (!route.access.Allows(client.peer)) return End::kDenied;
  found->route = &route;
  if (route.split != nullptr) {
    const SplitSettings& split = *route.split;
    found->route = &split.sides[ChooseSide(split.split, asked, shard.random().Next()).side];
  }
  return End::kHello;
}

// What has come, as far as it is there. Not a part of the coroutine, whose frame would have all of a
// TlsHello.
[[gnu::noinline]] End ReadAndChoose(Proxy& proxy, ClientConnection& client, const SnapshotHold& hold,
                                    Reader& reader, HelloRoute* found) {
  Stream& stream = client.stream;
  TlsHello hello;
  End end = End::kWaits;
  while (end == End::kWaits && stream.has_bytes()) {
    end = reader.Read(proxy.shard(), stream, stream.TakeBytes(), &hello);
  }
  if (end != End::kHello && end != End::kNotTls) return end;
  found->begin = reader.Take();
  return Choose(proxy, client, hold, end == End::kHello ? hello : TlsHello(), end == End::kHello, found);
}

}  // namespace

Task<HelloRoute> RouteByHello(Proxy& proxy, ClientConnection& client, SnapshotHold hold) {
  Shard& shard = proxy.shard();
  HelloRoute found;
  Reader reader;
  End end = End::kWaits;
  shard.SetTimer(client.timer, hold.listener->direct.timeouts.client_header_ms);
  for (;;) {
    client.stream.Poll(shard);
    end = ReadAndChoose(proxy, client, hold, reader, &found);
    if (end != End::kWaits) break;
    if (client.cut) {
      end = reader.begun() ? End::kCut : End::kQuiet;
    } else if (client.stream.receive_ended()) {
      end = reader.begun() ? End::kTruncated : End::kQuiet;
    } else if (client.timer.fired) {
      end = proxy.draining() && !reader.begun() ? End::kQuiet : End::kTimeout;
    }
    if (end != End::kWaits) break;
    const bool last_call = proxy.draining() && !reader.begun();
    if (last_call && client.timer.deadline_ms - shard.wheel().now_ms() > kLastCallMs) {
      shard.SetTimer(client.timer, kLastCallMs);
    }
    client.stream.ArmReceive(shard, kRelayReceive);
    co_await client.Park();
  }
  shard.ClearTimer(client.timer);
  if (end != End::kHello) {
    const Refusal refusal = RefusalOf(end);
    if (refusal.counter != nullptr) (proxy.counters().*refusal.counter).Add();
    found.route = nullptr;
    found.end = end == End::kCut && !proxy.cutting() ? "out_of_buffers" : refusal.text;
  }
  co_return found;
}

}  // namespace weir::lb
