#include "core/sim/network.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "core/sim/world.h"

namespace weir::sim {
namespace {

bool IsWildcard(const SocketAddress& address) {
  return std::all_of(std::begin(address.bytes), std::end(address.bytes), [](uint8_t b) { return b == 0; });
}

bool Matches(const SocketAddress& bound, const SocketAddress& wanted) {
  if (bound.family != wanted.family || bound.port != wanted.port) return false;
  return IsWildcard(bound) || std::memcmp(bound.bytes, wanted.bytes, sizeof(bound.bytes)) == 0;
}

}  // namespace

// Listener

void Listener::Arrive(Endpoint& endpoint) {
  if (!open) {
    endpoint.Reset();
    return;
  }
  queue.push_back(&endpoint);
  if (observer != nullptr) observer->OnReadable();
}

Endpoint* Listener::Take() {
  if (queue.empty()) return nullptr;
  Endpoint* endpoint = queue.front();
  queue.pop_front();
  endpoint->accepted_ = true;
  return endpoint;
}

void Listener::Close() {
  open = false;
  observer = nullptr;
  for (Endpoint* endpoint : std::exchange(queue, {})) endpoint->Reset();
}

// World's part

Endpoint& World::NewEndpoint() {
  endpoints_.push_back(std::make_unique<Endpoint>(*this, endpoints_.size()));
  Endpoint& endpoint = *endpoints_.back();
  endpoint.window_bytes_ = static_cast<size_t>(Between(
      options_.least_window_bytes, std::max(options_.least_window_bytes, options_.most_window_bytes)));
  return endpoint;
}

SocketAddress World::Ephemeral(const SocketAddress& ip) {
  SocketAddress address = ip;
  address.port = next_port_;
  next_port_ = next_port_ == UINT16_MAX ? 10'000 : static_cast<uint16_t>(next_port_ + 1);
  return address;
}

Listener* World::PickListener(const SocketAddress& address, uint32_t hash) const {
  std::vector<Listener*> exact;
  std::vector<Listener*> wildcard;
  for (const auto& listener : listeners_) {
    if (!listener->open || !Matches(listener->address, address)) continue;
    (IsWildcard(listener->address) ? wildcard : exact).push_back(listener.get());
  }
  const auto& candidates = exact.empty() ? wildcard : exact;
  return candidates.empty() ? nullptr : candidates[hash % candidates.size()];
}

bool World::AddressTaken(const SocketAddress& address, bool reuse_port) const {
  for (const auto& listener : listeners_) {
    if (!listener->open || listener->address.family != address.family ||
        listener->address.port != address.port) {
      continue;
    }
    const bool overlap = Matches(listener->address, address) || IsWildcard(address);
    if (overlap && !(reuse_port && listener->reuse_port)) return true;
  }
  return false;
}

Listener& World::NewListener(const SocketAddress& address, bool reuse_port, int backlog) {
  listeners_.push_back(std::make_unique<Listener>());
  Listener& listener = *listeners_.back();
  listener.world = this;
  listener.address = address;
  listener.reuse_port = reuse_port;
  listener.backlog = static_cast<size_t>(std::max(backlog, 0));
  return listener;
}

void World::Syn(Endpoint& client, uint32_t attempt) {
  if (client.closed_ || client.state_ != Endpoint::State::kConnecting) return;
  Listener* listener = PickListener(client.remote_, client.connect_hash_);
  if (listener == nullptr || Chance(faults_.connect_refused)) {
    After(client.latency_ns_, [&client] { client.ConnectDone(ECONNREFUSED); });
    return;
  }
  if (listener->refuses || listener->queue.size() > listener->backlog || Chance(faults_.connect_lost)) {
    constexpr uint32_t kAttempts = 7;  // Linux: 127 s in all
    const int64_t wait_ns = kNsPerSecond << attempt;
    if (attempt + 1 == kAttempts) {
      After(wait_ns, [&client] { client.ConnectDone(ETIMEDOUT); });
    } else {
      After(wait_ns, [this, &client, attempt] { Syn(client, attempt + 1); });
    }
    return;
  }
  Endpoint& server = NewEndpoint();
  server.state_ = Endpoint::State::kConnected;
  server.local_ = client.remote_;
  server.remote_ = client.local_;
  server.latency_ns_ = client.latency_ns_;
  server.listener_ = listener;
  server.accepted_ = false;
  server.other_ = &client;
  client.other_ = &server;
  After(client.latency_ns_, [&client] { client.ConnectDone(0); });
  // The last step of the handshake comes just ahead of the client's first bytes.
  After(2 * client.latency_ns_, [listener, &server] { listener->Arrive(server); });
}

// Endpoint

void Endpoint::Connect(const SocketAddress& to) {
  WEIR_CHECK(state_ == State::kFresh);
  state_ = State::kConnecting;
  remote_ = to;
  if (local_.family == 0) local_ = world_.Ephemeral(*SocketAddress::Parse("127.0.0.1:0"));
  latency_ns_ = world_.Between(world_.options_.least_latency_ns, world_.options_.most_latency_ns);
  connect_hash_ = static_cast<uint32_t>(world_.random_.Next() >> 32);
  world_.After(latency_ns_, [this] { world_.Syn(*this, 0); });
}

void Endpoint::BindTo(const SocketAddress& source) {
  WEIR_CHECK(state_ == State::kFresh);
  local_ = source.port == 0 ? world_.Ephemeral(source) : source;
}

void Endpoint::ConnectDone(int error) {
  if (closed_ || state_ != State::kConnecting) return;
  state_ = error == 0 ? State::kConnected : State::kDead;
  if (observer_ != nullptr) observer_->OnConnected(error);
}

bool Endpoint::Readable() const {
  return readable_bytes() > 0 || fin_received_ || receive_shut_ || error_ != 0 || state_ == State::kDead;
}

bool Endpoint::Writable() const {
  return error_ != 0 || fin_sent_ || state_ == State::kDead || (state_ == State::kConnected && Room() > 0);
}

size_t Endpoint::Room() const {
  if (other_->closed_ || other_->state_ == State::kDead) return 64 * 1024;  // nobody counts any more
  const size_t held = other_->wire_bytes_ + other_->readable_bytes();
  return held >= other_->window_bytes_ ? 0 : other_->window_bytes_ - held;
}

int64_t Endpoint::Read(char* to, size_t most) {
  if (const size_t bytes = std::min(most, readable_bytes()); bytes > 0) {
    std::memcpy(to, inbox_.data() + inbox_head_, bytes);
    inbox_head_ += bytes;
    if (inbox_head_ == inbox_.size()) {
      inbox_.clear();
      inbox_head_ = 0;
    } else if (inbox_head_ > 64 * 1024) {
      inbox_.erase(0, inbox_head_);
      inbox_head_ = 0;
    }
    if (writer_waits_ && other_ != nullptr) {
      writer_waits_ = false;
      world_.After(latency_ns_, [other = other_] {
        if (other->observer_ != nullptr) other->observer_->OnWritable();
      });
    }
    return static_cast<int64_t>(bytes);
  }
  if (fin_received_) return 0;
  if (error_ != 0) return -std::exchange(error_, 0);
  if (receive_shut_ || state_ == State::kDead) return 0;
  if (state_ != State::kConnected) return -ENOTCONN;
  return kWouldBlock;
}

int64_t Endpoint::Write(std::string_view bytes) {
  if (error_ != 0) return -std::exchange(error_, 0);
  if (fin_sent_ || state_ != State::kConnected) return -EPIPE;
  const size_t taken = std::min(bytes.size(), Room());
  if (taken == 0) {
    other_->writer_waits_ = true;
    return kWouldBlock;
  }
  std::string_view rest = bytes.substr(0, taken);
  // Most writes are one segment, some are cut.
  while (rest.size() > 1 && world_.random_.OneIn(4)) {
    const size_t cut = 1 + world_.random_.Below(static_cast<uint32_t>(rest.size() - 1));
    Transmit(Segment::Kind::kBytes, std::string(rest.substr(0, cut)));
    rest.remove_prefix(cut);
  }
  Transmit(Segment::Kind::kBytes, std::string(rest));
  return static_cast<int64_t>(taken);
}

void Endpoint::Transmit(Segment::Kind kind, std::string bytes) {
  Endpoint& to = *other_;
  int64_t arrive_ns = world_.now_ns_ + latency_ns_;
  if (world_.Chance(world_.faults_.late_segment)) {
    arrive_ns += world_.Between(0, world_.faults_.most_segment_delay_ns);
  }
  arrive_ns = std::max(arrive_ns, to.last_arrival_ns_);
  to.last_arrival_ns_ = arrive_ns;
  to.wire_bytes_ += bytes.size();
  to.wire_.push_back({kind, arrive_ns, std::move(bytes)});
  world_.At(arrive_ns, [&to] { to.Arrive(); });
}

void Endpoint::Arrive() {
  // The event of a segment that was dropped finds nothing due.
  if (wire_.empty() || wire_.front().arrive_ns > world_.now_ns_) return;
  Segment segment = std::move(wire_.front());
  wire_.pop_front();
  wire_bytes_ -= segment.bytes.size();
  if (state_ == State::kDead) return;
  if (segment.kind != Segment::Kind::kReset && world_.Chance(world_.faults_.reset)) {
    BreakBoth();
    return;
  }
  switch (segment.kind) {
    case Segment::Kind::kReset:
      TakeReset(fin_received_ ? EPIPE : ECONNRESET);
      return;
    case Segment::Kind::kFin:
      fin_received_ = true;
      break;
    case Segment::Kind::kBytes:
      if (closed_) {  // nobody will read them: the sender must know
        state_ = State::kDead;
        wire_.clear();
        wire_bytes_ = 0;
        Transmit(Segment::Kind::kReset, {});
        return;
      }
      other_->acknowledged_bytes_ += segment.bytes.size();
      inbox_ += segment.bytes;
      break;
  }
  if (observer_ != nullptr) observer_->OnReadable();
}

void Endpoint::TakeReset(int error) {
  if (state_ == State::kDead) return;
  state_ = State::kDead;
  wire_.clear();
  wire_bytes_ = 0;
  if (closed_) return;
  error_ = error;
  if (observer_ != nullptr) observer_->OnReadable();
  if (observer_ != nullptr) observer_->OnWritable();
}

void Endpoint::BreakBoth() {
  Endpoint* other = other_;
  TakeReset(fin_received_ ? EPIPE : ECONNRESET);
  other->TakeReset(other->fin_received_ ? EPIPE : ECONNRESET);
}

void Endpoint::DropUnsent() {
  std::deque<Segment>& wire = other_->wire_;
  for (size_t drop = world_.random_.Below(static_cast<uint32_t>(wire.size()) + 1); drop > 0; --drop) {
    other_->wire_bytes_ -= wire.back().bytes.size();
    wire.pop_back();
  }
}

int Endpoint::ShutdownSend() {
  if (state_ != State::kConnected) return -ENOTCONN;
  if (!fin_sent_) {
    fin_sent_ = true;
    Transmit(Segment::Kind::kFin, {});
    if (observer_ != nullptr) observer_->OnWritable();
  }
  return 0;
}

int Endpoint::ShutdownReceive() {
  if (state_ != State::kConnected) return -ENOTCONN;
  receive_shut_ = true;
  if (observer_ != nullptr) observer_->OnReadable();
  return 0;
}

void Endpoint::Close() {
  WEIR_CHECK(!closed_);
  if (state_ == State::kConnecting || readable_bytes() > 0) {
    Reset();
    return;
  }
  observer_ = nullptr;
  closed_ = true;
  inbox_ = {};
  inbox_head_ = 0;
  if (state_ == State::kConnected && !fin_sent_) {
    fin_sent_ = true;
    Transmit(Segment::Kind::kFin, {});
  }
}

void Endpoint::Reset() {
  WEIR_CHECK(!closed_);
  observer_ = nullptr;
  closed_ = true;
  if (state_ != State::kDead && other_ != nullptr) {
    DropUnsent();
    Transmit(Segment::Kind::kReset, {});
  }
  state_ = State::kDead;
  wire_.clear();
  wire_bytes_ = 0;
  inbox_ = {};
  inbox_head_ = 0;
}

std::string Endpoint::ToString() const {
  static constexpr const char* kNames[] = {"fresh", "connecting", "connected", "dead"};
  std::string text = "connection " + std::to_string(id_) + " " + local_.ToString() + " to " +
                     remote_.ToString() + " " + kNames[static_cast<int>(state_)];
  text += ", " + std::to_string(readable_bytes()) + " bytes unread, " + std::to_string(wire_bytes_) +
          " on the wire to it";
  if (fin_received_) text += ", FIN received";
  if (fin_sent_) text += ", FIN sent";
  if (error_ != 0) text += ", error " + std::to_string(error_);
  if (closed_) text += ", closed";
  return text;
}

}  // namespace weir::sim
