// Peer: one end of a simulated TCP connection in the test's hands: a client made by World::Connect, or what a
// PeerServer accepted. It never blocks and never fails to take bytes: Send queues without bound, and the peer
// puts random fragments on the wire as fast as its manner and the window allow. Callbacks run outside of any
// shard and may call anything here or in World. Owned by the World until its end, so a pointer stays good.
// Set the callbacks before the next Step.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/address.h"
#include "core/clock.h"
#include "core/sim/network.h"

namespace weir::sim {

class World;

class Peer final : Observer {
 public:
  // How it behaves. May be changed at any time.
  struct Manner {
    uint32_t most_fragment_bytes = 16 * 1024;  // each write and each read moves 1 to this many bytes
    int64_t most_pause_ns = 50 * kNsPerUs;     // between two writes, or two reads
    uint64_t send_bytes_per_s = 0;             // 0: no limit
    uint64_t read_bytes_per_s = 0;

    // A byte or a few at a time, with long pauses: a slow-header attack, or a modem.
    static Manner Slow() { return {8, 20 * kNsPerMs, 0, 0}; }
  };

  Peer(World& world, Endpoint& endpoint);
  ~Peer();

  // Each may stay empty. After on_end or on_error no more bytes come; after on_error nothing more happens at
  // all.
  std::function<void(Peer&)> on_connected;                // clients only
  std::function<void(Peer&, std::string_view)> on_bytes;  // in order; the view is valid during the call
  std::function<void(Peer&)> on_end;                      // the other side's FIN, behind the last byte
  std::function<void(Peer&, int error)> on_error;         // ECONNREFUSED, ETIMEDOUT, ECONNRESET, EPIPE
  std::function<void(Peer&)> on_sent;                     // everything queued is on the wire
  Manner manner;
  std::shared_ptr<void> context;  // the test's own state for this connection

  void Send(std::string_view bytes);
  void Finish();  // half-close, behind everything queued
  // Close as close(2) does once everything queued is on the wire: FIN, or RST if bytes are unread. No
  // callback comes afterwards.
  void Close();
  void Reset();  // now; what was queued or is on its way may be lost

  void StopReading() { reading_ = false; }
  void ReadAgain();
  void StopReadingFor(int64_t duration_ns);

  bool connected() const { return connected_; }
  bool ended() const { return ended_; }    // FIN seen
  int error() const { return error_; }     // 0: none
  bool closed() const { return closed_; }  // Close or Reset was called, or an error ended it
  // Nothing more will come in: ended, failed or closed.
  bool over() const { return ended_ || error_ != 0 || closed_; }
  uint64_t bytes_received() const { return bytes_received_; }
  uint64_t bytes_queued() const { return queue_.size() - queue_head_; }
  uint64_t bytes_acknowledged() const;  // that arrived at the other side
  SocketAddress local() const;
  SocketAddress remote() const;
  uint64_t id() const { return id_; }  // in order of creation
  World& world() { return world_; }

 private:
  friend class World;
  friend class PeerServer;

  void OnReadable() override;
  void OnWritable() override;
  void OnConnected(int error) override;

  void ScheduleSend();
  void SendSome();
  void ScheduleRead();
  void ReadSome();
  void Fail(int error);
  int64_t Pause(size_t bytes, uint64_t bytes_per_s);

  World& world_;
  Endpoint& endpoint_;
  uint64_t id_ = 0;
  std::string queue_;
  size_t queue_head_ = 0;
  uint64_t bytes_received_ = 0;
  int error_ = 0;
  bool connected_ = false;
  bool ended_ = false;
  bool closed_ = false;
  bool reading_ = true;
  bool finish_asked_ = false;
  bool finished_ = false;
  bool close_asked_ = false;
  bool send_scheduled_ = false;
  bool read_scheduled_ = false;
};

// A listening server of the test.
class PeerServer final : Observer {
 public:
  PeerServer(World& world, const SocketAddress& address, std::function<void(Peer&)> on_accept);

  // Stops listening, as a killed or restarted process does: later connects are refused, queued ones reset.
  void Stop();
  void Start();
  // While paused, connections wait in the backlog (a hung process).
  void Pause() { paused_ = true; }
  void Resume();
  // Resets every connection it accepted that is still open (kill -9).
  void ResetAll();

  bool listening() const { return listener_ != nullptr; }
  uint64_t accepted() const { return accepted_.size(); }
  const std::vector<Peer*>& connections() const { return accepted_; }  // all there ever were
  const SocketAddress& address() const { return address_; }

 private:
  void OnReadable() override;  // somebody is in the queue
  void OnWritable() override {}
  void OnConnected(int /*error*/) override {}

  World& world_;
  SocketAddress address_;
  std::function<void(Peer&)> on_accept_;
  Listener* listener_ = nullptr;
  bool paused_ = false;
  bool scheduled_ = false;
  std::vector<Peer*> accepted_;
};

// A stream of bytes that can be checked anywhere: byte `offset` of stream `id`. So a lost, doubled, reordered
// or strange byte is found where it happens, and nobody has to keep what was sent.
char StreamByte(uint64_t id, uint64_t offset);
std::string StreamBytes(uint64_t id, uint64_t offset, size_t length);
// Index of the first byte of `bytes` that is not what stream `id` has from `offset` on; npos if all are
// right.
size_t FirstWrongByte(uint64_t id, uint64_t offset, std::string_view bytes);

}  // namespace weir::sim
