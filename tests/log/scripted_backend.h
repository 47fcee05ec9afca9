// A backend for log tests: a clock that moves only when told, and files whose writes answer what the test
// scripted.
#pragma once

#include <algorithm>
#include <cerrno>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/shard.h"

namespace weir::lb {

class ScriptedBackend final : public Backend {
 public:
  static constexpr int kFile = 1;
  static constexpr int32_t kHang = INT32_MIN;  // no completion until cancelled

  int64_t now_ns = kNsPerSecond;
  int64_t wake_ns = 0;               // of the last turn
  std::deque<int32_t> answers;       // for the next writes: bytes at most, or an error; then everything works
  std::string file;                  // what was written to kFile
  std::map<int, std::string> files;  // to others
  std::vector<std::string> written;  // for each write that went well: all that it was asked
  std::vector<int> closed;
  int writes = 0;
  Op* hanging = nullptr;

  Now ReadClock() override { return {now_ns, now_ns / kNsPerMs}; }
  void Turn(const Batch& batch) override {
    wake_ns = batch.wake_ns;
    while (!batch.pending->empty()) {
      Op* op = batch.pending->PopFront();
      if (op->kind == Op::Kind::kWrite && !Write(*op)) continue;
      Finish(*op, *batch.ready);
    }
  }
  void Cancel(Op& op, OpList& pending, ReadyList& ready) override {
    if (op.state == Op::State::kPending) {
      pending.Remove(&op);
    } else {
      hanging = nullptr;
    }
    op.result = -ECANCELED;
    Finish(op, ready);
  }

  bool ReceivesWait() const override { return false; }
  int DoorbellFd() const override { return -1; }
  int OpenStream(uint16_t) override { return -ENOSYS; }
  int SetTcp(int, const TcpOptions&, const TcpOptions&) override { return -ENOSYS; }
  int BindSource(int, const SocketAddress&) override { return -ENOSYS; }
  int BeginSplice(int) override { return -ENOSYS; }
  int OpenPipe(Pipe&, uint32_t) override { return -ENOSYS; }
  void ClosePipe(Pipe&) override {}
  int Listen(SocketAddress&, const ListenOptions&) override { return -ENOSYS; }
  int AcceptNow(int) override { return -ENOSYS; }
  int RefuseNewHandshakes(int) override { return -ENOSYS; }
  int PeerAddress(int, SocketAddress&) override { return -ENOSYS; }
  int LocalAddress(int, SocketAddress&) override { return -ENOSYS; }
  int64_t AcknowledgedBytes(int) override { return -ENOSYS; }
  bool HasBytes(int) override { return false; }
  int Shutdown(int, Direction) override { return -ENOSYS; }
  void Close(int fd) override { closed.push_back(fd); }
  void CloseWithReset(int) override {}
  int TakeSignal(int) override { return 0; }

 private:
  bool Write(Op& op) {
    ++writes;
    int32_t answer = static_cast<int32_t>(op.length);
    if (!answers.empty()) {
      answer = answers.front();
      answers.pop_front();
    }
    if (answer == kHang) {
      op.state = Op::State::kInFlight;
      hanging = &op;
      return false;
    }
    op.result = std::min(answer, static_cast<int32_t>(op.length));
    if (op.result >= 0) written.emplace_back(static_cast<const char*>(op.data), op.length);
    std::string& to = op.fd == kFile ? file : files[op.fd];
    if (op.result > 0) to.append(static_cast<const char*>(op.data), static_cast<size_t>(op.result));
    return true;
  }
  static void Finish(Op& op, ReadyList& ready) {
    op.state = Op::State::kDone;
    if (op.waiter != nullptr) ready.PushBack(op.waiter);
  }
};

// Time goes by in small steps: a shard that gets no turn for long takes it that it was stopped, with its
// clock.
inline void PassTime(ScriptedBackend& backend, Shard& shard, int64_t ms) {
  for (; ms > 0; ms -= 100) {
    backend.now_ns += std::min<int64_t>(ms, 100) * kNsPerMs;
    shard.RunTurn(false);
  }
}

}  // namespace weir::lb
