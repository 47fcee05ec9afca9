#include "core/sim/peer.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/sim/world.h"

namespace weir::sim {

Peer::Peer(World& world, Endpoint& endpoint)
    : world_(world), endpoint_(endpoint), connected_(endpoint.state() == Endpoint::State::kConnected) {
  endpoint_.set_observer(this);
}

Peer::~Peer() = default;

uint64_t Peer::bytes_acknowledged() const { return endpoint_.acknowledged_bytes(); }
SocketAddress Peer::local() const { return endpoint_.local(); }
SocketAddress Peer::remote() const { return endpoint_.remote(); }

int64_t Peer::Pause(size_t bytes, uint64_t bytes_per_s) {
  int64_t pause_ns = world_.Between(0, manner.most_pause_ns);
  if (bytes_per_s > 0) pause_ns += static_cast<int64_t>(bytes * uint64_t{kNsPerSecond} / bytes_per_s);
  return pause_ns;
}

void Peer::Send(std::string_view bytes) {
  WEIR_CHECK(!finish_asked_ && !close_asked_);
  if (closed_) return;
  queue_.append(bytes);
  ScheduleSend();
}

void Peer::Finish() {
  if (closed_ || finish_asked_) return;
  finish_asked_ = true;
  ScheduleSend();
}

void Peer::Close() {
  if (closed_ || close_asked_) return;
  close_asked_ = true;
  ScheduleSend();
}

void Peer::Reset() {
  if (closed_) return;
  closed_ = true;
  queue_ = {};
  queue_head_ = 0;
  endpoint_.Reset();
}

void Peer::ReadAgain() {
  reading_ = true;
  ScheduleRead();
}

void Peer::StopReadingFor(int64_t duration_ns) {
  StopReading();
  world_.After(duration_ns, [this] { ReadAgain(); });
}

void Peer::OnConnected(int error) {
  if (error != 0) {
    Fail(error);
    return;
  }
  connected_ = true;
  if (on_connected) on_connected(*this);
  ScheduleSend();
  ScheduleRead();
}

void Peer::OnReadable() { ScheduleRead(); }
void Peer::OnWritable() { ScheduleSend(); }

void Peer::ScheduleSend() {
  if (send_scheduled_ || closed_ || (!connected_ && !close_asked_)) return;
  send_scheduled_ = true;
  world_.After(Pause(0, 0), [this] {
    send_scheduled_ = false;
    SendSome();
  });
}

void Peer::SendSome() {
  if (closed_) return;
  const size_t queued = queue_.size() - queue_head_;
  if (queued > 0 && connected_) {
    const size_t most = std::min<size_t>(queued, 1 + world_.random_.Below(manner.most_fragment_bytes));
    const int64_t taken = endpoint_.Write(std::string_view(queue_).substr(queue_head_, most));
    if (taken == Endpoint::kWouldBlock) return;  // OnWritable comes
    if (taken < 0) {
      Fail(static_cast<int>(-taken));
      return;
    }
    queue_head_ += static_cast<size_t>(taken);
    if (queue_head_ > 256 * 1024) {
      queue_.erase(0, queue_head_);
      queue_head_ = 0;
    }
    if (queue_head_ < queue_.size()) {
      send_scheduled_ = true;
      world_.After(Pause(static_cast<size_t>(taken), manner.send_bytes_per_s), [this] {
        send_scheduled_ = false;
        SendSome();
      });
      return;
    }
    queue_.clear();
    queue_head_ = 0;
    if (on_sent) on_sent(*this);
    if (closed_ || !queue_.empty()) return;
  }
  if (queued > 0 && !connected_) return;  // first it connects
  if (close_asked_) {
    closed_ = true;
    queue_ = {};
    endpoint_.Close();
    return;
  }
  if (finish_asked_ && !finished_) {
    finished_ = true;
    endpoint_.ShutdownSend();
  }
}

void Peer::ScheduleRead() {
  if (read_scheduled_ || !reading_ || over() || !connected_) return;
  read_scheduled_ = true;
  world_.After(Pause(0, 0), [this] {
    read_scheduled_ = false;
    ReadSome();
  });
}

void Peer::ReadSome() {
  if (!reading_ || over()) return;
  char bytes[16 * 1024];
  const uint32_t most = std::min<uint32_t>(manner.most_fragment_bytes, sizeof(bytes));
  const int64_t taken = endpoint_.Read(bytes, 1 + world_.random_.Below(most));
  if (taken == Endpoint::kWouldBlock) return;
  if (taken < 0) {
    Fail(static_cast<int>(-taken));
    return;
  }
  if (taken == 0) {
    ended_ = true;
    if (on_end) on_end(*this);
    return;
  }
  bytes_received_ += static_cast<uint64_t>(taken);
  if (on_bytes) on_bytes(*this, {bytes, static_cast<size_t>(taken)});
  if (read_scheduled_ || over()) return;
  read_scheduled_ = true;
  world_.After(Pause(static_cast<size_t>(taken), manner.read_bytes_per_s), [this] {
    read_scheduled_ = false;
    ReadSome();
  });
}

void Peer::Fail(int error) {
  error_ = error;
  closed_ = true;
  queue_ = {};
  queue_head_ = 0;
  endpoint_.Close();
  if (on_error) on_error(*this, error);
}

// PeerServer

PeerServer::PeerServer(World& world, const SocketAddress& address, std::function<void(Peer&)> on_accept)
    : world_(world), address_(address), on_accept_(std::move(on_accept)) {
  Start();
}

void PeerServer::Start() {
  if (listener_ != nullptr) return;
  WEIR_CHECK(!world_.AddressTaken(address_, true));
  listener_ = &world_.NewListener(address_, true, 4096);
  listener_->observer = this;
}

void PeerServer::Stop() {
  if (listener_ == nullptr) return;
  listener_->Close();
  listener_ = nullptr;
}

void PeerServer::Resume() {
  paused_ = false;
  if (listener_ != nullptr && !listener_->queue.empty()) OnReadable();
}

void PeerServer::ResetAll() {
  for (Peer* peer : accepted_) peer->Reset();
}

void PeerServer::OnReadable() {
  if (scheduled_ || paused_) return;
  scheduled_ = true;
  world_.After(world_.Between(0, 100 * kNsPerUs), [this] {
    scheduled_ = false;
    while (listener_ != nullptr && !paused_) {
      Endpoint* endpoint = listener_->Take();
      if (endpoint == nullptr) break;
      world_.peers_.push_back(std::make_unique<Peer>(world_, *endpoint));
      Peer& peer = *world_.peers_.back();
      peer.id_ = world_.peers_.size() - 1;
      accepted_.push_back(&peer);
      if (on_accept_) on_accept_(peer);
      if (endpoint->Readable()) peer.ScheduleRead();
    }
  });
}

// Bytes that can be checked anywhere

char StreamByte(uint64_t id, uint64_t offset) {
  // One mixed word per eight bytes.
  uint64_t z = (id + 1) * 0x9e3779b97f4a7c15u + (offset >> 3) * 0xd1342543de82ef95u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  return static_cast<char>(z >> ((offset & 7) * 8));
}

std::string StreamBytes(uint64_t id, uint64_t offset, size_t length) {
  std::string bytes(length, '\0');
  for (size_t i = 0; i < length; ++i) bytes[i] = StreamByte(id, offset + i);
  return bytes;
}

size_t FirstWrongByte(uint64_t id, uint64_t offset, std::string_view bytes) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != StreamByte(id, offset + i)) return i;
  }
  return std::string_view::npos;
}

}  // namespace weir::sim
