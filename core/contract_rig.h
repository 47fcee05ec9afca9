// Rig: what core/backend_contract_test.cc runs on: one shard on a backend, and the other side of the network
// in the test's hands. Two kinds: a real ring with loopback sockets, and a simulated world. Test only, one
// thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>

#include "core/shard.h"

namespace weir {

// The other end of one connection: never blocks, keeps all it received.
class Remote {
 public:
  virtual ~Remote() = default;

  virtual void Send(std::string_view bytes) = 0;  // queues without bound
  virtual void Finish() = 0;                      // half-close, behind what is queued
  virtual void Close() = 0;
  virtual void Reset() = 0;
  virtual void StopReading() = 0;
  virtual void ReadAgain() = 0;
  virtual bool connected() const = 0;
  virtual bool ended() const = 0;  // our FIN arrived
  virtual int error() const = 0;   // errno of what broke it
  virtual const std::string& received() const = 0;
};

class RemoteServer {
 public:
  virtual ~RemoteServer() = default;
  virtual size_t accepted() const = 0;
  virtual Remote& connection(size_t index) = 0;
};

struct RigOptions {
  uint32_t buffers = 64;
  uint32_t submissions = 256;
  uint32_t completions = 4096;
  bool unix_sockets =
      false;  // addresses are abstract unix names; the real ring's only (see core/sim/socket_calls.cc)
};

class Rig {
 public:
  virtual ~Rig() = default;

  virtual Shard& shard() = 0;
  Backend& backend() { return shard().backend(); }
  virtual bool simulated() const = 0;
  // Turns and the other side's work until `done()`; false after ten seconds of the rig's time.
  virtual bool RunUntil(const std::function<bool()>& done) = 0;
  void RunFor(uint32_t ms);

  virtual std::unique_ptr<Remote> Connect(const SocketAddress& to) = 0;
  // Listens on a free address, stored in `address`.
  virtual std::unique_ptr<RemoteServer> Serve(SocketAddress& address) = 0;
  // What to listen on: a port of 127.0.0.1 still to be chosen, or a unix name.
  virtual SocketAddress FreeAddress() = 0;
  // An address where nobody listens.
  virtual SocketAddress NobodysAddress() = 0;

  // Makes the send buffer of `fd` small, so that a send blocks soon.
  virtual void LimitSendBuffer(int fd) = 0;
  // No descriptor is left for the shard / there are enough again.
  virtual void TakeAllFds() = 0;
  virtual void GiveFdsBack() = 0;
  virtual int NewSignalFd(int signal) = 0;
  virtual void Raise(int signal) = 0;
  virtual int NewFile() = 0;
  virtual std::string FileContents(int fd) = 0;
  // Nothing is late or starves without cause: for tests that count what has happened so far.
  virtual void BeKind() {}
};

std::unique_ptr<Rig> NewUringRig(const RigOptions& options);
// `seed` 0: no faults; else which ones is drawn from it.
std::unique_ptr<Rig> NewSimRig(const RigOptions& options, uint64_t seed);

}  // namespace weir
