// sim::Backend: weir::Backend in a simulated World; one per shard, on a host whose file descriptors it shares
// with that host's other shards. It never blocks: a turn that would wait returns, and the World runs the
// shard again when something happened or the wake time has come. What a kernel leaves open is drawn from the
// world's seed: the order of completions within a turn (results of one Source stay in order), how much a
// receive or send moves, how late a completion or a cancel is. Buffers: kBody receives wait while fewer than
// the pool's reserve are free.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/backend.h"
#include "core/sim/network.h"
#include "core/sim/world.h"
#include "core/stats.h"

namespace weir::sim {

class Backend final : public weir::Backend {
 public:
  Backend(World& world, uint32_t host, BufferPool& pool, CoreCounters& counters);
  ~Backend() override;

  Now ReadClock() override;
  void Turn(const Batch& batch) override;
  void Cancel(Op& op, OpList& pending, ReadyList& ready) override;
  bool ReceivesWait() const override { return !starved_.empty(); }
  int DoorbellFd() const override { return -1; }

  int OpenStream(uint16_t family) override;
  int SetTcp(int fd, const TcpOptions& options, const TcpOptions& before) override;
  int BindSource(int fd, const SocketAddress& source) override;
  int BeginSplice(int fd) override;
  int OpenPipe(Pipe& pipe, uint32_t bytes) override;
  void ClosePipe(Pipe& pipe) override;
  int Listen(SocketAddress& address, const ListenOptions& options) override;
  int AcceptNow(int listener_fd) override;
  int RefuseNewHandshakes(int listener_fd) override;
  int PeerAddress(int fd, SocketAddress& address) override;
  int LocalAddress(int fd, SocketAddress& address) override;
  int64_t AcknowledgedBytes(int fd) override;
  bool HasBytes(int fd) override;
  int Shutdown(int fd, Direction direction) override;
  void Close(int fd) override;
  void CloseWithReset(int fd) override;
  int TakeSignal(int signal_fd) override;

  // For the World.
  // When the shard has something to do: now or earlier if something happened since its last turn.
  int64_t DueNs() const;
  void Poke() { rung_ = true; }
  // The last turn would have blocked: the shard sleeps.
  bool waiting() const { return waiting_; }
  // Ops in flight, doorbells excepted.
  size_t in_flight() const;
  uint32_t host() const { return host_; }
  std::string Dump() const;

 private:
  friend struct Descriptor;
  struct Flight;
  struct Completion {
    Flight* flight;
    int32_t result;
    bool end;  // no more of this flight
    bool more_here;
    Buffer* buffer;
    int64_t visible_ns;
  };

  void Submit(Op& op, ReadyList& ready);
  void Attempt(Flight& flight);
  void AttemptReceive(Flight& flight);
  void AttemptSend(Flight& flight);
  void AttemptReadable(Flight& flight);
  void AttemptPass(Flight& flight);
  void AttemptDrain(Flight& flight);
  void AttemptWrite(Flight& flight);
  void AttemptAccept(Flight& flight);
  void AttemptPoll(Flight& flight);
  void RingDoorbell(Flight& flight);
  void AskToEnd(Op& op);
  void CancelNow(Flight& flight);
  void Complete(Flight& flight, int32_t result, bool end, Buffer* buffer = nullptr, bool more_here = false);
  void Reap(ReadyList& ready);
  bool Deliver(const Completion& completion, ReadyList& ready);
  void CheckUntouched(const Flight& flight) const;
  void Trigger(Flight& flight);
  void Remove(Flight& flight);
  bool BodyMustWait() const { return pool_.free_count() < pool_.reserve(); }
  Descriptor& Need(int fd, const char* what) const;

  World& world_;
  const uint32_t host_;
  BufferPool& pool_;
  CoreCounters& counters_;
  uint64_t flights_made_ = 0;
  std::map<uint64_t, std::unique_ptr<Flight>> flights_;  // by number: no run may depend on an address
  std::unordered_map<const Op*, Flight*> by_op_;
  std::vector<Flight*> triggered_;  // something happened to what they wait for
  std::vector<Flight*> starved_;    // receives that found no buffer, oldest first
  std::vector<Flight*> cancels_;    // asked for, not executed
  std::vector<Completion> completions_;
  bool rung_ = false;
  bool waiting_ = false;
  bool low_ = false;
  int64_t wake_ns_ = 0;
};

// What a file descriptor stands for.
struct Descriptor final : Observer {
  enum class Kind : uint8_t { kStream, kListener, kSignals, kFile, kPipe };

  explicit Descriptor(Kind kind) : kind(kind) {}
  void OnReadable() override;
  void OnWritable() override;
  void OnConnected(int error) override;

  const Kind kind;
  Endpoint* endpoint = nullptr;
  Listener* listener = nullptr;
  std::vector<int> signals;
  std::string contents;  // of a file, or of a pipe (its reading end)
  bool may_splice = false;
  std::vector<Backend::Flight*> flights;  // ops in flight here, of any shard of the host
};

}  // namespace weir::sim
