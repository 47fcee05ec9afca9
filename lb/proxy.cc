#include "lb/proxy.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "lb/client_table.h"
#include "lb/config/budget.h"

namespace weir::lb {

namespace {

// Eight digits at once, as each request that brings no id gets 32.
void WriteHex(uint32_t bits, char out[8]) {
  uint64_t x = bits;  // a nibble for each byte
  x = (x | x << 16) & 0x0000ffff0000ffff;
  x = (x | x << 8) & 0x00ff00ff00ff00ff;
  x = (x | x << 4) & 0x0f0f0f0f0f0f0f0f;
  const uint64_t letters = (x + 0x0606060606060606) >> 4 & 0x0101010101010101;
  x += 0x3030303030303030 + letters * ('a' - '0' - 10);
  std::memcpy(out, &x, sizeof(x));
}

}  // namespace

Proxy::HouseKeeper::HouseKeeper(Proxy* proxy)
    : Runnable([](Runnable* self) { static_cast<HouseKeeper*>(self)->proxy->KeepHouse(); }), proxy(proxy) {}

Proxy::Proxy(Shard& shard, Snapshot& first, std::span<const ProxyCounters* const> peers,
             ProxyCounters& counters, AccessLog* log, PasswordPool* passwords, EndpointNews* news,
             OutlierSink* outliers)
    : shard_(shard),
      peers_(peers),
      counters_(counters),
      log_(log),
      passwords_(shard, passwords, counters),
      via_name_(first.settings().via_name.empty() ? "weir" : first.settings().via_name),
      clients_(first.settings().max_connections + kOverLimit),
      // In use is at most one connection for each client; idle ones give way when the slab is full.
      upstreams_(shard, first.settings().max_connections + kSpareUpstreams, counters, news, outliers),
      request_head_(first.settings().limits, via_name_),
      response_head_(first.settings().limits),
      trailers_(first.settings().limits),
      route_scratch_(first.settings().limits.target_bytes),
      house_keeper_(this) {
  shard_.tenant = this;
  on_their_way_.resize(first.settings().shards);
  Adopt(first);
  reserve_fd_ = shard_.backend().OpenStream(AF_INET);
  house_timer_.waiter = &house_keeper_;
  shard_.SetTimer(house_timer_, kHouseKeepingMs);
}

Proxy::~Proxy() {
  Shard::Enter enter(shard_);
  WEIR_CHECK(clients_.size() == 0);
  upstreams_.CloseAllIdle();
  shard_.ClearTimer(house_timer_);
  shard_.Forget(house_keeper_);
  if (reserve_fd_ >= 0) shard_.backend().Close(reserve_fd_);
}

std::string_view Proxy::date() {
  const int64_t second = shard_.wall_ms() / 1000;
  if (second != date_second_) {
    date_second_ = second;
    http::FormatDate(second, date_.data());
  }
  return {date_.data(), date_.size()};
}

void Proxy::MakeRequestId(char out[32]) {
  for (int word = 0; word < 2; ++word, out += 16) {
    const uint64_t bits = shard_.random().Next();
    WriteHex(static_cast<uint32_t>(bits), out);
    WriteHex(static_cast<uint32_t>(bits >> 32), out + 8);
  }
}

uint64_t Proxy::TotalConnections() const {
  uint64_t total = 0;
  for (const ProxyCounters* peer : peers_) total += peer->open_connections.Get();
  return total;
}

void Proxy::PostAdopt(Shard& control, Snapshot& next) {
  next.adopt.deliver = [](Message* message, Shard& shard) {
    Snapshot& snapshot = *static_cast<Snapshot::Note*>(message)->snapshot;
    static_cast<Proxy*>(shard.tenant)->Adopt(snapshot);
    shard.Post(shard.switchboard().control(), &snapshot.adopted);
  };
  control.Post(next.shard, &next.adopt);
}

void Proxy::Adopt(Snapshot& next) {
  const int64_t begin_ns = shard_.backend().ReadClock().mono_ns;
  const Generation& generation = *next.generation;
  Snapshot* const before = std::exchange(newest_, &next);
  client_table_ = generation.client_table();
  const std::vector<Listener*> listeners_before = std::exchange(current_, {});
  for (uint32_t i = 0; i < next.sockets.size(); ++i) {
    const uint32_t was = generation.listeners_before()[i];
    if (was == Generation::kNew) {
      Listen(next.sockets[i], i);
    } else {
      Listener& listener = *listeners_before[was];
      listener.index = i;
      if (listener.fd >= 0) {
        shard_.backend().SetTcp(listener.fd, generation.settings().listeners[i].tcp,
                                before->settings().listeners[was].tcp);
      }
      current_.push_back(&listener);
    }
  }
  if (before != nullptr) {
    before->users.Add();  // until nothing here needs it
    older_.push_back(before);
    for (const uint32_t index : generation.listeners_removed()) Remove(*listeners_before[index], before);
    size_t endpoints = 0;
    for (const Generation::Change& change : generation.changed()) {
      const bool in_use = change.before->seats[shard_.index()].pool != nullptr;
      upstreams_.Retire(change.before, before->generation->number());
      // The others follow with their first request; what is in use should not lose its idle connections.
      if (!in_use || change.after == nullptr || endpoints > kEndpointsAtOnce) continue;
      endpoints += change.after->books.size();
      if (endpoints > kEndpointsAtOnce) continue;
      upstreams_.PoolOf(change.after);
    }
    LetGo(before);
  }
  next.adopt_us = (shard_.backend().ReadClock().mono_ns - begin_ns) / kNsPerUs;
}

// Nobody goes by `snapshot` any more.
void Proxy::Report(Snapshot& snapshot) {
  std::erase(older_, &snapshot);
  shard_.Post(shard_.switchboard().control(), &snapshot.gone);
}

void Proxy::Listen(int fd, uint32_t index) {
  if (fd >= 0) shard_.backend().SetTcp(fd, newest_->settings().listeners[index].tcp, TcpOptions());
  auto place = std::find_if(listeners_.begin(), listeners_.end(), [](const auto& listener) {
    return listener->state == Listener::State::kClosed && listener->clients == 0;
  });
  if (place == listeners_.end()) place = listeners_.insert(place, nullptr);
  if (*place != nullptr) shard_.Forget((*place)->waiter);
  *place = std::make_unique<Listener>();
  Listener& listener = **place;
  current_.push_back(&listener);
  listener.fd = fd;
  listener.index = index;
  listener.id = newest_->generation->listener_id(index);
  listener.place = static_cast<uint16_t>(place - listeners_.begin());
  listener.host = settings().listeners[index].DefaultHost();
  listener.state = fd >= 0 ? Listener::State::kAccepting : Listener::State::kElsewhere;
  if (fd < 0) return;
  listener.accept.kind = Op::Kind::kAccept;
  listener.accept.fd = fd;
  listener.accept.waiter = &listener.waiter;
  listener.timer.waiter = &listener.waiter;
  AcceptLoop(scope_, listener);
}

void Proxy::Remove(Listener& listener, Snapshot* last) {
  last->users.Add();
  listener.last = last;
  if (listener.state != Listener::State::kElsewhere) return shard_.Wake(&listener.waiter);
  listener.state = Listener::State::kClosed;
  LeftListener(listener);
}

// A connection through it, or its socket, is gone.
void Proxy::LeftListener(Listener& listener) {
  if (listener.last == nullptr || listener.clients > 0 || listener.state != Listener::State::kClosed) return;
  LetGo(std::exchange(listener.last, nullptr));
}

void Proxy::LeaveListener(ClientConnection* client) {
  if (client->listener == ClientConnection::kNoListener) return;
  Listener& listener = *listeners_[client->listener];
  client->listener = ClientConnection::kNoListener;
  --listener.clients;
  LeftListener(listener);
}

Root Proxy::AcceptLoop(Scope& /*scope*/, Listener& listener) {
  shard_.Start(listener.accept);
  for (;;) {
    co_await listener.waiter.Park();
    while (!listener.accept.empty()) Arrived(listener.accept.Pop(), listener);
    const bool ends = draining_ || listener.last != nullptr;
    if (ends && listener.state == Listener::State::kAccepting) {
      // The accept queue is served to its end; handshakes that were begun may complete; new ones are not
      // answered: the peer tries again, and by then meets the next process. Closing at once would reset them
      // all.
      listener.state = Listener::State::kLastHandshakes;
      shard_.backend().RefuseNewHandshakes(listener.fd);
      shard_.SetTimer(listener.timer, kLastHandshakesMs);
    }
    if (listener.state == Listener::State::kLastHandshakes && (listener.timer.fired || cutting_)) {
      shard_.ClearTimer(listener.timer);
      listener.state = Listener::State::kStopping;
      shard_.Cancel(listener.accept);
    }
    if (!listener.accept.done()) continue;
    if (listener.state == Listener::State::kStopping) break;
    // So ends a unix socket that refuses, once its queue is empty.
    if (listener.state == Listener::State::kLastHandshakes && listener.accept.result == -EINVAL) break;
    if (listener.accept.result < 0) {
      const int error = -listener.accept.result;
      listener.accept.state = Op::State::kIdle;
      AcceptFailed(listener, error);
      shard_.ClearTimer(listener.timer);
      shard_.SetTimer(listener.timer, kAcceptRetryMs);
      while (!listener.timer.fired) co_await listener.waiter.Park();
      listener.timer.fired = false;
      if (listener.state == Listener::State::kLastHandshakes)
        shard_.SetTimer(listener.timer, kLastHandshakesMs);
      // A drain may have begun in that pause, and nobody says so again.
      shard_.Wake(&listener.waiter);
    }
    shard_.Start(listener.accept);
  }
  for (int fd; (fd = shard_.backend().AcceptNow(listener.fd)) >= 0;) Accepted(fd, listener);
  shard_.ClearTimer(listener.timer);
  shard_.backend().Close(listener.fd);
  listener.fd = -1;
  listener.state = Listener::State::kClosed;
  LeftListener(listener);
  CheckDrained();
}

void Proxy::AcceptFailed(Listener& listener, int error) {
  counters_.accept_errors.Add();
  if (error != EMFILE && error != ENFILE) return;
  // Descriptors ran out. An idle upstream connection gives one back; else the reserved one lets a waiting
  // client be closed rather than left hanging in the queue.
  if (upstreams_.CloseOneIdle() || reserve_fd_ < 0) return;
  shard_.backend().Close(reserve_fd_);
  const int fd = shard_.backend().AcceptNow(listener.fd);
  if (fd >= 0) shard_.backend().Close(fd);
  reserve_fd_ = shard_.backend().OpenStream(AF_INET);
}

void Proxy::Arrived(int fd, Listener& listener) {
  if (!GiveAway(fd, listener)) Accepted(fd, listener);
}

// To the shard with the fewest connections, if that is not this one.
bool Proxy::GiveAway(int fd, Listener& listener) {
  const ListenerSettings& settings =
      (listener.last == nullptr ? newest_ : listener.last)->settings().listeners[listener.index];
  // At the end each serves what it has.
  if (!settings.address.is_unix() || draining_ || listener.last != nullptr) return false;
  const auto shards = static_cast<uint32_t>(on_their_way_.size());
  uint32_t best = 0;
  uint64_t fewest = UINT64_MAX;
  for (uint32_t i = 0; i < shards; ++i) {
    const uint32_t at = (next_shard_ + i) % shards;
    const uint64_t connections = peers_[at]->open_connections.Get() + on_their_way_[at];
    if (connections >= fewest) continue;
    fewest = connections;
    best = at;
  }
  next_shard_ = (best + 1) % shards;
  if (best == shard_.index() || on_their_way_[best] == kMostHandOvers) return false;
  void* const memory = shard_.arena().Allocate(sizeof(HandOver));
  if (memory == nullptr) return false;
  auto* const hand_over = new (memory) HandOver;
  hand_over->fd = fd;
  hand_over->to = best;
  hand_over->listener_id = listener.id;
  hand_over->listener = &listener;
  hand_over->deliver = [](Message* message, Shard& shard) {
    auto& given = *static_cast<HandOver*>(message);
    given.taken = static_cast<Proxy*>(shard.tenant)->Take(given.fd, given.listener_id);
  };
  hand_over->recycle = [](Message* message, Shard& shard) {
    static_cast<Proxy*>(shard.tenant)->CameHome(*static_cast<HandOver*>(message));
  };
  ++on_their_way_[best];
  ++hand_overs_;
  ++listener.clients;
  shard_.Post(best, hand_over);
  return true;
}

bool Proxy::Take(int fd, uint64_t listener_id) {
  if (draining_) return false;
  const auto found = std::find_if(listeners_.begin(), listeners_.end(), [listener_id](const auto& listener) {
    return listener->id == listener_id && listener->state == Listener::State::kElsewhere;
  });
  if (found == listeners_.end()) return false;
  Accepted(fd, **found);
  return true;
}

void Proxy::CameHome(HandOver& hand_over) {
  Listener& listener = *hand_over.listener;
  if (!hand_over.taken) Accepted(hand_over.fd, listener);
  --on_their_way_[hand_over.to];
  --hand_overs_;
  --listener.clients;
  shard_.arena().Free(&hand_over);
  LeftListener(listener);
  CheckDrained();
}

void Proxy::Accepted(int fd, Listener& listener) {
  counters_.accepted.Add();
  SocketAddress peer;
  if (cutting_ || shard_.backend().PeerAddress(fd, peer) < 0) {  // too late, or reset before we came to it
    shard_.backend().Close(fd);
    return;
  }
  const Settings& settings = (listener.last == nullptr ? newest_ : listener.last)->settings();
  const bool tcp = settings.listeners[listener.index].protocol == Protocol::kTcp;
  const bool over_limit = TotalConnections() >= settings.max_connections;
  if (over_limit) counters_.rejected_at_limit.Add();
  ClientConnection* client = over_limit && tcp ? nullptr : clients_.Make();
  if (client == nullptr) {
    shard_.backend().Close(fd);
    return;
  }
  client->stream.Open(fd, peer.family);
  client->listener = listener.place;
  ++listener.clients;
  client->over_limit = over_limit;
  client->peer = peer;
  if (!over_limit) counters_.open_connections.Add();
  if (settings.listeners[listener.index].proxy_protocol.on() && !over_limit) {
    ProxyHeaderSession(scope_, *this, client);
  } else if (!over_limit && !Admits(*client)) {
    TurnAway(client, tcp);
  } else if (tcp) {
    TcpSession(scope_, *this, client, shard_.now_ns());
  } else if (over_limit) {
    HttpSession(scope_, *this, client);
  } else {
    AwaitRequest(*this, client);
  }
}

bool Proxy::Admits(ClientConnection& client) {
  const Listener& listener = *listeners_[client.listener];
  const Settings& settings = (listener.last == nullptr ? newest_ : listener.last)->settings();
  const uint32_t limit = settings.listeners[listener.index].max_connections_per_client;
  if (limit == 0 || !ClientTable::Knows(client.peer)) return true;
  switch (client_table_->Enter(listener.id, client.peer, limit, &client.count_slot)) {
    case ClientTable::Answer::kOverLimit:
      return false;
    case ClientTable::Answer::kFull:
      counters_.uncounted_clients.Add();
      break;
    case ClientTable::Answer::kIn:
      break;
  }
  return true;
}

void Proxy::TurnAway(ClientConnection* client, bool tcp) {
  counters_.rejected_clients.Add();
  // Who lingers to read the answer takes no place from those that are let in.
  counters_.open_connections.Sub();
  client->over_limit = client->over_client_limit = true;
  const bool told = !tcp && turned_away_ < kOverLimit;
  ++turned_away_;
  LogRefusal(*client, tcp, told ? 429 : 0, "too_many_connections", shard_.now_ns());
  if (told) {
    HttpSession(scope_, *this, client);
  } else {
    CloseClient(client, false);
  }
}

void Proxy::LogRefusal(const ClientConnection& client, bool tcp, uint16_t status, std::string_view end,
                       int64_t begin_ns) {
  if (log_ == nullptr) return;
  AccessRecord record;
  record.tcp = tcp;
  NoteClient(client, record);
  record.has_version = false;
  record.status = status;
  record.total_us = static_cast<uint64_t>((shard_.now_ns() - begin_ns) / kNsPerUs);
  record.end = end;
  log_->Write(record, settings().log_format.get());
}

void NoteClient(const ClientConnection& client, AccessRecord& record) {
  record.client = record.peer = client.peer;
  if (client.introduction == nullptr) return;
  record.peer = client.introduction->peer;
  record.tlvs = client.introduction->tlvs();
}

void EndUpstream(Proxy& proxy, UpstreamConnection* upstream, bool with_reset) {
  UpstreamPool& pool = *upstream->pool;
  const uint32_t endpoint = upstream->index;
  proxy.upstreams().Close(upstream, with_reset);
  pool.Done(endpoint);
}

void Proxy::CloseClient(ClientConnection* client, bool with_reset) {
  LeaveListener(client);
  shard_.ClearTimer(client->timer);
  if (client->own != nullptr) upstreams_.CloseOwn(client->own);
  if (!client->over_limit) counters_.open_connections.Sub();
  if (client->over_client_limit) --turned_away_;
  if (client->count_slot != ClientTable::kNone) client_table_->Leave(client->count_slot);
  // The session is gone: from now on the waiter runs the closing.
  client->run = [](Runnable* self) {
    auto* owner = static_cast<ClientConnection*>(static_cast<Waiter*>(self));
    static_cast<Proxy*>(Shard::Current().tenant)->OnClientClosing(owner);
  };
  client->stream.BeginClose(shard_, with_reset);
  OnClientClosing(client);
}

void Proxy::OnClientClosing(ClientConnection* client) {
  if (!client->stream.Closed(shard_)) return;
  shard_.Forget(*client);
  if (client->introduction != nullptr) shard_.arena().Free(client->introduction);
  clients_.Destroy(client);
  CheckDrained();
}

void Proxy::Drain(std::function<void()> drained) {
  if (draining_) return;
  says_close_ = draining_ = true;
  drained_ = std::move(drained);
  for (auto& listener : listeners_) {
    if (listener->state == Listener::State::kElsewhere) listener->state = Listener::State::kClosed;
    if (listener->state != Listener::State::kClosed) shard_.Wake(&listener->waiter);
  }
  clients_.ForEach([this](ClientConnection& client) {
    if (!client.stream.closing()) shard_.Wake(&client);
  });
  Mirror::EndAll(*this);
  upstreams_.CloseAllIdle();
  CheckDrained();
}

void Proxy::CheckDrained() {
  if (!draining_ || !drained_ || clients_.size() > 0 || hand_overs_ > 0) return;
  for (auto& listener : listeners_) {
    if (listener->state != Listener::State::kClosed) return;
  }
  upstreams_.CloseAllIdle();
  if (upstreams_.open() > 0) return;  // the house keeper looks again
  std::exchange(drained_, nullptr)();
}

void Proxy::KeepHouse() {
  FreeBuffers();
  upstreams_.KeepHouse((older_.empty() ? newest_ : older_.front())->generation->number());
  CheckDrained();
  if (reserve_fd_ < 0) reserve_fd_ = shard_.backend().OpenStream(AF_INET);
  if (++house_rounds_ % (Upstreams::kShrinkMs / kHouseKeepingMs) == 0) {
    clients_.Trim();
    upstreams_.Shrink();
  }
  shard_.SetTimer(house_timer_, kHouseKeepingMs);
}

// At low water the connections whose bytes have lain in buffers longest are reset: a reader that does not
// read, a request that waits behind one that hangs. With every buffer held by such, the others would wait for
// ever.
void Proxy::FreeBuffers() {
  constexpr int64_t kPatienceNs = kNsPerSecond;
  // So many every kHouseKeepingMs: who waits behind a thousand that do not read waits for seconds, not for
  // minutes.
  constexpr size_t kMostAtOnce = 32;
  const BufferPool& buffers = shard_.buffers();
  // The kernel's windows hold free buffers too: there is no want before a receive waits.
  if (buffers.free_count() >= buffers.reserve() || !shard_.backend().ReceivesWait()) return;
  ClientConnection* longest[kMostAtOnce];  // the longest first
  size_t count = 0;
  const int64_t latest_ns = shard_.now_ns() - kPatienceNs;
  clients_.ForEach([&](ClientConnection& client) {
    const int64_t since_ns = client.held_since_ns;
    if (since_ns == 0 || since_ns > latest_ns || client.stream.closing() || client.cut) return;
    size_t at = count;
    while (at > 0 && since_ns < longest[at - 1]->held_since_ns) --at;
    if (at == kMostAtOnce) return;
    if (count < kMostAtOnce) ++count;
    std::move_backward(longest + at, longest + count - 1, longest + count);
    longest[at] = &client;
  });
  for (size_t i = 0; i < count; ++i) {
    counters_.resets_for_buffers.Add();
    longest[i]->cut = true;
    shard_.Wake(longest[i]);
  }
}

void Proxy::CutAll() {
  cutting_ = true;
  Mirror::EndAll(*this);
  for (auto& listener : listeners_) {
    if (listener->fd >= 0) shard_.Wake(&listener->waiter);
  }
  clients_.ForEach([this](ClientConnection& client) {
    if (client.stream.closing()) return;
    client.cut = true;
    counters_.drain_cut.Add();
    shard_.Wake(&client);
  });
}

}  // namespace weir::lb
