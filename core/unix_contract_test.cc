// What unix sockets promise where TCP promises something else (core/backend.h), on the real ring.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "core/contract_fixture.h"
#include "core/unix_listener.h"
#include "core/unix_path.h"

namespace weir {
namespace {

class UnixContractTest : public BackendContractTest {};

// Connecting

// A connect in the hands of the backend.
struct Connecting {
  Connecting(Shard& shard, const SocketAddress& to) : address(to) {
    op.kind = Op::Kind::kConnect;
    op.fd = shard.backend().OpenStream(AF_UNIX);
    op.address = &address;
    shard.Start(op);
  }
  SocketAddress address;
  TestOp op;
};

TEST_P(UnixContractTest, AFullQueueMakesConnectsWait) {
  const int listener = Listen(4);
  constexpr size_t kConnects = 100;  // more than are tried at a time
  std::vector<std::unique_ptr<Connecting>> all;
  for (size_t i = 0; i < kConnects; ++i) all.push_back(std::make_unique<Connecting>(shard(), address_));
  const auto done = [&] {
    return std::count_if(all.begin(), all.end(), [](const auto& one) { return one->op.done(); });
  };
  rig_->RunFor(50);
  EXPECT_EQ(done(), 5);  // the kernel takes one more than it was told
  std::vector<int> fds;
  EXPECT_TRUE(rig_->RunUntil([&] {
    const int fd = backend().AcceptNow(listener);
    if (fd >= 0) fds.push_back(fd);
    return done() == kConnects;
  }));
  shard().RunTurn(false);
  for (const auto& one : all) {
    EXPECT_EQ(one->op.result, 0);
    EXPECT_EQ(one->op.bell.rings, 1);
    // Blocking again: the ring waits for it.
    EXPECT_EQ(fcntl(one->op.fd, F_GETFL) & O_NONBLOCK, 0);
    backend().Close(one->op.fd);
  }
  for (const int fd : fds) backend().Close(fd);
  backend().Close(listener);
}

TEST_P(UnixContractTest, OneFullQueueHoldsUpNobodyElse) {
  const int full = ListenWithoutAnswer();
  Connecting waits(shard(), address_);
  rig_->RunFor(10);
  SocketAddress other;
  std::unique_ptr<RemoteServer> server = rig_->Serve(other);
  Connecting goes(shard(), other);
  shard().RunTurn(false);
  EXPECT_TRUE(goes.op.done());
  EXPECT_TRUE(waits.op.busy());
  backend().Close(full);
  EXPECT_EQ(Finish(waits.op), -ECONNREFUSED);
  for (const Connecting* one : {&waits, &goes}) backend().Close(one->op.fd);
}

TEST_P(UnixContractTest, ManyWaitingConnectsAreCancelledAtOnce) {
  const int listener = ListenWithoutAnswer();
  std::vector<std::unique_ptr<Connecting>> all;
  for (size_t i = 0; i < 200; ++i) all.push_back(std::make_unique<Connecting>(shard(), address_));
  rig_->RunFor(20);
  for (const auto& one : all) shard().Cancel(one->op);
  shard().RunTurn(false);
  for (const auto& one : all) {
    EXPECT_EQ(one->op.result, -ECANCELED);
    EXPECT_TRUE(one->op.done());
    backend().Close(one->op.fd);
  }
  backend().Close(listener);
}

// Ends

TEST_P(UnixContractTest, AClosedPeerIsAnEndAndTakesNothingMore) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  remote->Send("last words");
  rig_->RunFor(5);
  remote->Reset();  // as far as that goes
  int error = -1;
  EXPECT_EQ(ReceiveAll(fd, 100, &error), "last words");
  EXPECT_EQ(error, 0);
  TestOp op;
  StartSend(op, fd, "anybody there?");
  EXPECT_EQ(Finish(op), -EPIPE);
  backend().Close(fd);
}

TEST_P(UnixContractTest, APeerThatLeavesOurBytesUnreadIsAReset) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  remote->StopReading();
  ASSERT_TRUE(SendAll(fd, "never read"));
  remote->Send("last words");
  rig_->RunFor(5);
  remote->Reset();
  int error = 0;
  EXPECT_EQ(ReceiveAll(fd, 100, &error), "last words");
  EXPECT_EQ(error, ECONNRESET);
  backend().Close(fd);
}

TEST_P(UnixContractTest, CloseWithResetIsAnEnd) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  ASSERT_TRUE(SendAll(fd, "sent"));
  backend().CloseWithReset(fd);
  EXPECT_TRUE(rig_->RunUntil([&] { return remote->ended(); }));
  EXPECT_EQ(remote->received(), "sent");
}

// The kernel forgets such an end where a receive stays armed.
TEST_P(UnixContractTest, AnEndThatCameBeforeItsBytesWereReadIsSeen) {
  for (const size_t bytes : {1u, 1'000u, 20'000u, 100'000u}) {
    for (const bool armed_before : {false, true}) {
      std::unique_ptr<Remote> remote;
      const std::string sent(bytes, 's');
      Bell bell;
      Stream stream;
      stream.SetWaiter(&bell);
      stream.Open(Pair(remote), AF_UNIX);
      if (armed_before) {
        stream.ArmReceive(shard(), kHeadReceive);
        rig_->RunFor(2);
      }
      remote->Send(sent);
      remote->Finish();
      if (!armed_before) rig_->RunFor(2);
      std::string received;
      EXPECT_TRUE(rig_->RunUntil([&] {
        stream.Poll(shard());
        while (stream.has_bytes()) received += stream.TakeBytes().view();
        if (!stream.receive_ended()) stream.ArmReceive(shard(), kHeadReceive);
        return stream.receive_ended();
      })) << bytes;
      EXPECT_EQ(stream.receive_error(), 0);
      EXPECT_EQ(received, sent);
      stream.BeginClose(shard(), false);
      EXPECT_TRUE(rig_->RunUntil([&] { return stream.Closed(shard()); }));
    }
  }
}

TEST_P(UnixContractTest, WhatWasAcknowledgedChangesOnlyWhenThePeerReads) {
  std::unique_ptr<Remote> remote;
  const int fd = Pair(remote);
  rig_->LimitSendBuffer(fd);
  const int64_t before = backend().AcknowledgedBytes(fd);
  ASSERT_GE(before, 0);
  remote->StopReading();
  const std::string big(1 << 20, 'b');
  TestOp op;
  StartSend(op, fd, big);
  rig_->RunFor(20);
  const int64_t stuck = backend().AcknowledgedBytes(fd);
  ASSERT_GE(stuck, 0);
  EXPECT_LT(stuck, before);
  rig_->RunFor(20);
  EXPECT_EQ(backend().AcknowledgedBytes(fd), stuck);
  remote->ReadAgain();
  Finish(op);
  if (op.result > 0) EXPECT_TRUE(SendAll(fd, std::string_view(big).substr(static_cast<size_t>(op.result))));
  EXPECT_TRUE(rig_->RunUntil([&] { return remote->received().size() == big.size(); }));
  EXPECT_TRUE(rig_->RunUntil([&] { return backend().AcknowledgedBytes(fd) == before; }));
  backend().Close(fd);
}

// Files

class UnixFileTest : public UnixContractTest {
 protected:
  void SetUp() override {
    UnixContractTest::SetUp();
    // Short: a path has no room for a test's long folder.
    char folder[] = "/tmp/weir-unix-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
  }
  void TearDown() override {
    std::filesystem::remove_all(folder_);
    UnixContractTest::TearDown();
  }
  SocketAddress At(const std::string& name) {
    std::string expected;
    const auto address = ParseUnixAddress("unix:" + folder_ + "/" + name, &expected);
    EXPECT_TRUE(address.has_value()) << expected;
    return *address;
  }
  std::string Path(const std::string& name) { return folder_ + "/" + name; }
  int ListenAt(const std::string& name, uint32_t mode = 0600) {
    SocketAddress address = At(name);
    return backend().Listen(address, {.unix_mode = mode});
  }
  int32_t ConnectTo(const std::string& name) {
    Connecting connecting(shard(), At(name));
    const int32_t result = Finish(connecting.op);
    backend().Close(connecting.op.fd);
    return result;
  }
  std::string folder_;
};

TEST_P(UnixFileTest, TheFileHasItsModeWhateverTheUmask) {
  const mode_t before = umask(0);
  const int open = ListenAt("open");
  const int shared = ListenAt("shared", 0660);
  umask(077);
  const int closed = ListenAt("closed");
  const int group = ListenAt("group", 0660);
  umask(before);
  for (const auto& [name, mode] : {std::pair("open", 0600u), std::pair("shared", 0660u),
                                   std::pair("closed", 0600u), std::pair("group", 0660u)}) {
    struct stat found;
    ASSERT_EQ(lstat(Path(name).c_str(), &found), 0);
    EXPECT_TRUE(S_ISSOCK(found.st_mode));
    EXPECT_EQ(found.st_mode & 07777, mode) << name;
  }
  for (const int fd : {open, shared, closed, group}) backend().Close(fd);
}

TEST_P(UnixFileTest, ALongPathWorks) {
  const std::string name(kMaxUnixPathBytes - folder_.size() - 1, 'n');
  const int fd = ListenAt(name);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(ConnectTo(name), 0);
  backend().Close(fd);
}

TEST_P(UnixFileTest, WhatADeadProcessLeftIsReplaced) {
  backend().Close(ListenAt("socket"));
  ASSERT_TRUE(std::filesystem::exists(Path("socket")));
  EXPECT_EQ(ConnectTo("socket"), -ECONNREFUSED);
  EXPECT_EQ(ProbeUnixListener(At("socket")), 0);
  EXPECT_TRUE(std::filesystem::exists(Path("socket")));  // asking changes nothing
  const int fd = ListenAt("socket");
  ASSERT_GE(fd, 0);
  EXPECT_EQ(ConnectTo("socket"), 0);
  backend().Close(fd);
}

TEST_P(UnixFileTest, WhatSomebodyUsesIsLeftAlone) {
  const int fd = ListenAt("socket");
  EXPECT_EQ(ProbeUnixListener(At("socket")), EADDRINUSE);
  EXPECT_EQ(ListenAt("socket"), -EADDRINUSE);
  EXPECT_EQ(ConnectTo("socket"), 0);
  backend().Close(fd);

  // Another kind of socket.
  const int datagrams = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_storage storage;
  const socklen_t length = At("datagrams").ToSockaddr(&storage);
  ASSERT_EQ(bind(datagrams, reinterpret_cast<sockaddr*>(&storage), length), 0);
  EXPECT_EQ(ListenAt("datagrams"), -EADDRINUSE);
  close(datagrams);

  // No socket at all.
  std::ofstream(Path("file")) << "precious";
  std::filesystem::create_directory(Path("folder"));
  std::filesystem::create_symlink(Path("nowhere"), Path("link"));
  for (const char* name : {"file", "folder", "link"}) {
    EXPECT_EQ(ProbeUnixListener(At(name)), ENOTSOCK) << name;
    EXPECT_EQ(ListenAt(name), -ENOTSOCK) << name;
    EXPECT_TRUE(std::filesystem::exists(std::filesystem::symlink_status(Path(name)))) << name;
  }
}

TEST_P(UnixFileTest, FoldersThatDoNotLetUs) {
  std::ofstream(Path("file"));
  EXPECT_EQ(ProbeUnixListener(At("none/socket")), ENOENT);
  EXPECT_EQ(ListenAt("none/socket"), -ENOENT);
  EXPECT_EQ(ProbeUnixListener(At("file/socket")), ENOTDIR);
  if (geteuid() == 0) return;  // may everything
  ASSERT_EQ(chmod(folder_.c_str(), 0500), 0);
  EXPECT_EQ(ProbeUnixListener(At("socket")), EACCES);
  ASSERT_EQ(chmod(folder_.c_str(), 0700), 0);
}

TEST_P(UnixFileTest, AnAbstractNameHasOneListener) {
  SocketAddress address = rig_->FreeAddress();
  EXPECT_EQ(ProbeUnixListener(address), 0);
  const int fd = backend().Listen(address, {});
  ASSERT_GE(fd, 0);
  EXPECT_EQ(ProbeUnixListener(address), EADDRINUSE);
  EXPECT_EQ(backend().Listen(address, {}), -EADDRINUSE);
  backend().Close(fd);
}

TEST_P(UnixFileTest, OnlyOurOwnFileIsRemoved) {
  const int fd = ListenAt("socket");
  UnixSocketFile file;
  file.Remember(At("socket"));
  file.Remove();
  EXPECT_FALSE(std::filesystem::exists(Path("socket")));
  backend().Close(fd);

  const int one = ListenAt("socket");
  UnixSocketFile of_one;
  of_one.Remember(At("socket"));
  std::filesystem::remove(Path("socket"));
  const int two = ListenAt("socket");
  of_one.Remove();
  EXPECT_EQ(ConnectTo("socket"), 0);  // still there
  for (const int either : {one, two}) backend().Close(either);

  UnixSocketFile none;
  none.Remember(*SocketAddress::Parse("127.0.0.1:80"));
  none.Remember(rig_->FreeAddress());
  none.Remove();
}

TEST_P(UnixFileTest, TheModeCanChange) {
  const int one = ListenAt("socket");
  UnixSocketFile of_one;
  of_one.Remember(At("socket"));
  EXPECT_EQ(of_one.SetMode(0666), 0);
  struct stat found;
  ASSERT_EQ(lstat(Path("socket").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0666u);
  std::filesystem::remove(Path("socket"));
  const int two = ListenAt("socket");
  EXPECT_EQ(of_one.SetMode(0666), 0);
  ASSERT_EQ(lstat(Path("socket").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0600u) << "another one's";
  for (const int either : {one, two}) backend().Close(either);
}

TEST_P(UnixFileTest, WhoIsInTheQueueIsAcceptedAndNobodyElse) {
  const int listener = ListenAt("socket");
  EXPECT_EQ(ConnectTo("socket"), 0);
  EXPECT_EQ(ConnectTo("socket"), 0);
  ASSERT_EQ(backend().RefuseNewHandshakes(listener), 0);
  EXPECT_EQ(ConnectTo("socket"), -ECONNREFUSED);
  for (int i = 0; i < 2; ++i) {
    const int fd = backend().AcceptNow(listener);
    EXPECT_GE(fd, 0);
    backend().Close(fd);
  }
  EXPECT_LT(backend().AcceptNow(listener), 0);
  EXPECT_EQ(ProbeUnixListener(At("socket")), 0) << "another process may have the path";
  backend().Close(listener);
}

TEST_P(UnixFileTest, ConnectsThatCannotWork) {
  std::ofstream(Path("file"));
  EXPECT_EQ(ConnectTo("none"), -ENOENT);
  EXPECT_EQ(ConnectTo("file"), -ECONNREFUSED);
  if (geteuid() == 0) return;
  const int fd = ListenAt("closed", 0);
  EXPECT_EQ(ConnectTo("closed"), -EACCES);
  backend().Close(fd);
}

const Machine kUringUnix{"UringUnix", false, 0, true};
INSTANTIATE_TEST_SUITE_P(On, UnixContractTest, testing::Values(kUringUnix), NameOf);
INSTANTIATE_TEST_SUITE_P(On, UnixFileTest, testing::Values(kUringUnix), NameOf);

}  // namespace
}  // namespace weir
