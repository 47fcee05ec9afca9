// The fixture of the contract suite: what core/backend.h promises, tried on the real ring and on the
// simulated one, so that the two do not drift apart. The simulation also runs with faults drawn from a few
// seeds: a promise holds on a bad day too.
#pragma once

#include <gtest/gtest.h>
#include <sys/utsname.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/contract_rig.h"
#include "core/stream.h"

namespace weir {

struct Machine {
  std::string name;
  bool simulated;
  uint64_t seed;
  bool unix_sockets = false;

  friend void PrintTo(const Machine& machine, std::ostream* out) { *out << machine.name; }
};

// Why some promises are not for unix sockets; core/unix_contract_test.cc has what holds instead.
inline constexpr const char* kNoReset = "a unix socket knows no reset";
inline constexpr const char* kNoHandshake = "a unix socket knows no handshake, and a path has one listener";
inline constexpr const char* kNoStaying = "a unix socket's receives do not stay armed";

// Linux 6.18 tells Op::kMoreHere of unix sockets too, 6.1 does not.
inline bool KernelTellsMoreHereOfUnixSockets() {
  utsname name{};
  int major = 0;
  int minor = 0;
  return uname(&name) == 0 && std::sscanf(name.release, "%d.%d", &major, &minor) == 2 &&
         std::pair(major, minor) >= std::pair(6, 18);
}

inline Shard* the_shard = nullptr;  // of the running test

struct Bell : Runnable {
  Bell() : Runnable([](Runnable* self) { ++static_cast<Bell*>(self)->rings; }) {}
  ~Bell() { the_shard->Forget(*this); }
  int rings = 0;
};

struct TestOp : Op {
  TestOp() { waiter = &bell; }
  Bell bell;
};

class BackendContractTest : public testing::TestWithParam<Machine> {
 protected:
  void Make(RigOptions options) {
    options.unix_sockets = GetParam().unix_sockets;
    rig_ = GetParam().simulated ? NewSimRig(options, GetParam().seed) : NewUringRig(options);
    the_shard = &rig_->shard();
  }
  void SetUp() override { Make({}); }
  void TearDown() override { in_queue_.reset(); }

  Shard& shard() { return rig_->shard(); }
  Backend& backend() { return rig_->backend(); }
  // Where nothing goes wrong by design, a socket that holds more bytes is known to.
  bool tells_more_here() const {
    return GetParam().simulated || !GetParam().unix_sockets || KernelTellsMoreHereOfUnixSockets();
  }
  uint16_t family() const { return GetParam().unix_sockets ? AF_UNIX : AF_INET; }

  void Start(Op& op, Op::Kind kind, int fd, uint8_t flags = 0) {
    op.kind = kind;
    op.fd = fd;
    op.flags = flags;
    shard().Start(op);
  }
  void StartReceive(Op& op, int fd, uint8_t flags = 0) { Start(op, Op::Kind::kReceive, fd, flags); }
  void StartSend(Op& op, int fd, std::string_view bytes) {
    op.data = bytes.data();
    op.length = static_cast<uint32_t>(bytes.size());
    Start(op, Op::Kind::kSend, fd);
  }
  int32_t Finish(Op& op) {
    EXPECT_TRUE(rig_->RunUntil([&] { return op.done(); }));
    return op.result;
  }
  // Takes what a finished receive brought.
  std::string Take(Op& op) {
    EXPECT_TRUE(op.done());
    if (op.result <= 0) return {};
    Buffer* buffer = op.TakeReceived();
    std::string bytes(buffer->data, static_cast<size_t>(op.result));
    BufferPool::Release(buffer);
    return bytes;
  }
  // Takes what waits in a receive that may still be armed.
  std::string TakeWaiting(Op& op) {
    std::string bytes;
    while (op.buffer != nullptr) {
      Buffer* buffer = op.TakeReceived();
      bytes.append(buffer->data, buffer->length);
      BufferPool::Release(buffer);
    }
    return bytes;
  }
  // Receives until `bytes` came, the end, or an error (its errno in `error`).
  std::string ReceiveAll(int fd, size_t bytes, int* error = nullptr) {
    std::string all;
    while (all.size() < bytes) {
      TestOp op;
      StartReceive(op, fd);
      const int32_t result = Finish(op);
      if (result <= 0) {
        if (error != nullptr) *error = -result;
        break;
      }
      all += Take(op);
    }
    return all;
  }
  // Sends everything, whatever the pieces; false at an error.
  bool SendAll(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
      TestOp op;
      StartSend(op, fd, bytes);
      const int32_t sent = Finish(op);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }

  int Listen(int backlog = 4096) {
    address_ = rig_->FreeAddress();
    const int fd = backend().Listen(address_, {.backlog = backlog});
    EXPECT_GE(fd, 0);
    return fd;
  }
  // One that leaves whoever connects from now on waiting.
  int ListenWithoutAnswer() {
    const int fd = Listen(GetParam().unix_sockets ? 0 : 4096);
    if (GetParam().unix_sockets) {
      in_queue_ = rig_->Connect(address_);  // one fits
    } else {
      EXPECT_EQ(backend().RefuseNewHandshakes(fd), 0);
    }
    return fd;
  }
  int AcceptOne(int listener) {
    int fd = -EAGAIN;
    EXPECT_TRUE(rig_->RunUntil([&] {
      fd = backend().AcceptNow(listener);
      return fd != -EAGAIN;
    }));
    EXPECT_GE(fd, 0);
    return fd;
  }
  // A connection: our fd, their Remote.
  int Pair(std::unique_ptr<Remote>& remote) {
    const int listener = Listen();
    remote = rig_->Connect(address_);
    const int fd = AcceptOne(listener);
    EXPECT_TRUE(rig_->RunUntil([&] { return remote->connected(); }));
    backend().Close(listener);
    return fd;
  }

  std::unique_ptr<Rig> rig_;
  SocketAddress address_;
  std::unique_ptr<Remote> in_queue_;
};

inline std::vector<Machine> Machines() {
  std::vector<Machine> machines = {{"Uring", false, 0}, {"UringUnix", false, 0, true}, {"Sim", true, 0}};
  const char* wanted = std::getenv("WEIR_SEEDS");
  const uint64_t seeds = wanted == nullptr ? 6 : std::strtoull(wanted, nullptr, 10);
  for (uint64_t seed = 1; seed <= seeds; ++seed)
    machines.push_back({"SimSeed" + std::to_string(seed), true, seed});
  return machines;
}
inline std::string NameOf(const testing::TestParamInfo<Machine>& info) { return info.param.name; }

}  // namespace weir
