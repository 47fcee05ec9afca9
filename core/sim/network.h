// The simulated TCP: Endpoint, one end of a connection with its receive queue and what is on the wire towards
// it; Listener, a bound address with its accept queue. Behaviour is Linux's where programs can tell the
// difference:
//   - bytes that arrived before a RST can still be read; the error is reported once, to whoever asks first,
//   receive
//     or send; after that a receive gives 0 and a send EPIPE. (So an end of stream after a failed send means
//     nothing.)
//   - RST after a FIN is EPIPE instead of ECONNRESET, and receives go on giving 0.
//   - close with unread bytes, and bytes that arrive after close, send RST.
//   - a handshake is complete, and bytes may arrive, before anybody accepts; closing the listener resets
//   those.
// Internal to core/sim, but for Observer.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"

namespace weir::sim {

class World;
class Endpoint;

// Who wants to know: the backend that has ops on the socket, or a Peer.
class Observer {
 public:
  virtual void OnReadable() = 0;  // bytes, FIN, error or, for a listener, a connection
  virtual void OnWritable() = 0;  // room, or an error
  virtual void OnConnected(int error) = 0;

 protected:
  ~Observer() = default;
};

class Listener {
 public:
  World* world = nullptr;
  SocketAddress address;
  bool reuse_port = false;
  bool refuses = false;  // RefuseNewHandshakes
  bool open = true;
  size_t backlog = 0;
  std::deque<Endpoint*> queue;  // complete, not accepted
  Observer* observer = nullptr;

  void Arrive(Endpoint& endpoint);
  Endpoint* Take();
  void Close();
};

class Endpoint {
 public:
  enum class State : uint8_t { kFresh, kConnecting, kConnected, kDead };
  static constexpr int64_t kWouldBlock = INT64_MIN;

  explicit Endpoint(World& world, uint64_t id) : world_(world), id_(id) {}
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  void set_observer(Observer* observer) { observer_ = observer; }

  void Connect(const SocketAddress& to);  // the observer hears OnConnected
  // > 0 bytes read, 0 end, < 0 -errno, kWouldBlock.
  int64_t Read(char* to, size_t most);
  // > 0 bytes taken, < 0 -errno, kWouldBlock.
  int64_t Write(std::string_view bytes);
  int ShutdownSend();
  int ShutdownReceive();
  void Close();
  void Reset();

  bool Readable() const;
  bool Writable() const;
  size_t readable_bytes() const { return inbox_.size() - inbox_head_; }
  State state() const { return state_; }
  bool closed() const { return closed_; }
  uint64_t acknowledged_bytes() const { return acknowledged_bytes_; }
  const SocketAddress& local() const { return local_; }
  // Where it connects from; the port 0: any.
  void BindTo(const SocketAddress& source);
  const SocketAddress& remote() const { return remote_; }
  uint64_t id() const { return id_; }
  std::string ToString() const;

 private:
  friend class World;
  friend class Listener;

  struct Segment {
    enum class Kind : uint8_t { kBytes, kFin, kReset } kind;
    int64_t arrive_ns;
    std::string bytes;
  };

  size_t Room() const;  // bytes our other end would still take
  void Transmit(Segment::Kind kind, std::string bytes);
  void Arrive();  // the first segment on the wire is here
  void TakeReset(int error);
  void DropUnsent();  // a random tail of what is on the wire to the other end never leaves
  void BreakBoth();
  void ConnectDone(int error);

  World& world_;
  const uint64_t id_;
  Observer* observer_ = nullptr;
  State state_ = State::kFresh;
  SocketAddress local_;
  SocketAddress remote_;
  Endpoint* other_ = nullptr;
  Listener* listener_ = nullptr;  // a server's end: where it waits or waited
  int64_t latency_ns_ = 0;
  uint32_t connect_hash_ = 0;

  // Towards us.
  std::deque<Segment> wire_;
  size_t wire_bytes_ = 0;
  int64_t last_arrival_ns_ = 0;
  std::string inbox_;
  size_t inbox_head_ = 0;
  size_t window_bytes_ = 0;
  bool fin_received_ = false;
  bool receive_shut_ = false;
  bool writer_waits_ = false;  // our other end found no room
  int error_ = 0;              // reported once
  // From us.
  bool fin_sent_ = false;
  bool closed_ = false;
  bool accepted_ = true;
  uint64_t acknowledged_bytes_ = 0;
};

}  // namespace weir::sim
