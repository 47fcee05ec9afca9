// Backend: the only door to the kernel. One per shard, used by the shard's thread alone (Doorbell's target
// excepted). Asynchronous work goes through Turn: it submits what is pending (of kBulk receives a share),
// waits until something finished or `wake_ns`, and for each finished op sets its result, makes it kDone and
// queues its waiter. Nothing else runs inside. The rest is a closed set of synchronous calls that never
// block. UringBackend is the kernel; sim::Backend replaces it in tests, and both pass one contract suite
// (core/backend_contract_test.cc).
//
// Contract of the ops (what both backends promise):
//  - Every op started gets exactly one completion; a Source gets any number of results and exactly one end.
//  - kReceive: bytes come in `Op::buffer`, one reference each, now the owner's. The completion's result is
//    positive when it brought the last of them, 0 at the end of the stream, else -errno. Without kStay there
//    is one buffer or none. With it buffers come one by one, each waking the owner, before the one
//    completion, which is -ECANCELED also when the backend itself ended it. When no buffer is free it waits
//    its turn (kBody ops leave the pool's reserve alone), fair in order of arrival; the owner never sees
//    -ENOBUFS.
//  - kSend, kGather: bytes taken by the kernel; may be short: the owner sends the rest.
//  - A connection's error is told once, to the op that meets it first, and a send that got somewhere swallows
//    it. So an end of stream is one only if everything we had to send was sent.
//  - kReadable: 1 once a receive would find bytes, an end or an error; perhaps also without cause.
//  - kPass: the pipe is empty, the other socket has no send. What the socket has now comes into the pipe and,
//  as
//    far as the other socket takes it, goes on. The result is what came: 0 is the end of the stream, -EAGAIN
//    says that nothing is there. What remains in the pipe, and what the other socket said, is in the Pipe:
//    that error is told there and to nobody else. It never waits for a peer, but may wait its turn; the turn
//    in which bytes moved tells of it, before anything that they lead to.
//  - kDrain: like a send, of bytes that are in the pipe already. May be short.
//    The process ignores SIGPIPE: splice(2) cannot be told to leave it out.
//  - Both want sockets that BeginSplice was told about. One turn moves a bounded number of pipes.
//  - kConnect on a unix socket waits while the listener's queue is full, as TCP's does, until it is
//  cancelled.
//  - Cancel: the op still completes once, with its own result if that came first, else -ECANCELED. One that
//    was not submitted yet, a kBulk receive that waits for its turn among them, ends in the next turn.
//  - Close of an fd with an op in flight is forbidden: shut down or cancel, wait for the completions, close.
// Errors of synchronous calls: -errno.
#pragma once

#include <cstdint>
#include <string>

#include "core/address.h"
#include "core/clock.h"
#include "core/op.h"
#include "core/source.h"
#include "core/tcp_options.h"

namespace weir {

struct ListenOptions {
  int backlog = 4096;
  bool reuse_port = true;     // no meaning for unix sockets: a path has one listener
  uint32_t unix_mode = 0600;  // of the file: who may connect
};

class Backend {
 public:
  struct Batch {
    OpList* pending;  // ops to submit; what does not fit stays for the next turn, kBulk ones with the backend
    ReadyList* ready;  // where waiters go
    int64_t now_ns;    // what time it is
    int64_t wake_ns;   // wait no longer than this (monotonic); 0: do not wait
  };

  virtual ~Backend() = default;

  virtual Now ReadClock() = 0;
  virtual void Turn(const Batch& batch) = 0;
  // Asks to end a busy op. O(1) for ops in flight.
  virtual void Cancel(Op& op, OpList& pending, ReadyList& ready) = 0;
  // A receive found no free buffer and waits for one.
  virtual bool ReceivesWait() const = 0;
  // Called by another shard's thread, from its own backend's turn: what kDoorbell needs to reach this one.
  virtual int DoorbellFd() const = 0;

  // Gives memory back that lay unused for a second, at most `pieces` of it. About once a second.
  virtual void Trim(uint32_t /*pieces*/) {}

  // A socket to connect with (TCP: no delay set), or -errno.
  virtual int OpenStream(uint16_t family) = 0;
  // Of a fresh socket of OpenStream, or of a listener and what it accepts from now on, which have `before`
  // until now: sets what differs. 0, or the first -errno; the rest is set all the same. A unix socket knows
  // nothing of it: 0.
  virtual int SetTcp(int fd, const TcpOptions& options, const TcpOptions& before) = 0;
  // Of a fresh socket of OpenStream: it connects from there; with the port 0 from any that is not in use
  // towards where it connects. 0, or -errno.
  virtual int BindSource(int fd, const SocketAddress& source) = 0;
  // Of a connected socket, before the first kPass from or to it, or kDrain: 0, or -errno. Other ops go on as
  // before.
  virtual int BeginSplice(int fd) = 0;
  // Opens a pipe of `bytes`, or of what the system grants: sets its descriptors and its capacity. 0, or
  // -errno.
  virtual int OpenPipe(Pipe& pipe, uint32_t bytes) = 0;
  virtual void ClosePipe(Pipe& pipe) = 0;
  // Bound and listening, or -errno. The port 0 of `address` is replaced by the one chosen. A unix socket's
  // path: see core/unix_listener.h.
  virtual int Listen(SocketAddress& address, const ListenOptions& options) = 0;
  // One connection from the listener's queue without waiting, or -EAGAIN.
  virtual int AcceptNow(int listener_fd) = 0;
  // From now on the listener ignores new handshakes and completes those begun (a listener about to close).
  // A unix socket's refuses who comes, at once, and its accept may end with -EINVAL once its queue is empty.
  virtual int RefuseNewHandshakes(int listener_fd) = 0;
  // Both: of a unix socket without its name.
  virtual int PeerAddress(int fd, SocketAddress& address) = 0;
  virtual int LocalAddress(int fd, SocketAddress& address) = 0;
  // Bytes the peer has acknowledged so far (monotonic), or -errno. Of a unix socket, whose kernel counts only
  // what the peer has not read: a number that grows by what it reads, and falls by what is sent. So while one
  // send waits, another number than before means that the peer takes bytes.
  virtual int64_t AcknowledgedBytes(int fd) = 0;
  // Bytes lie in the socket that nobody has received.
  virtual bool HasBytes(int fd) = 0;
  enum class Direction { kSend, kReceive, kBoth };
  virtual int Shutdown(int fd, Direction direction) = 0;
  virtual void Close(int fd) = 0;
  // Close that sends RST and drops what was not delivered. A unix socket knows no RST: the peer gets what was
  // sent and an end, or ECONNRESET if we leave bytes unread.
  virtual void CloseWithReset(int fd) = 0;
  // Takes one pending signal from a signal fd (after its poll Source fired), 0 when none.
  virtual int TakeSignal(int signal_fd) = 0;
};

}  // namespace weir
