// What is asked of the real machine: limits, names, ports.
#include "lb/config/machine.h"

#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "core/backend.h"
#include "core/unix_listener.h"
#include "core/unix_path.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lb/config/ports.h"

namespace weir::lb {
namespace {

using testing::Contains;
using testing::HasSubstr;

TEST(Machine, IsRead) {
  const Machine machine = ReadMachine();
  EXPECT_FALSE(machine.cpus.empty());
  EXPECT_GT(machine.memory_bytes, uint64_t{1} << 20);
  EXPECT_GT(machine.fd_limit, 3u);
}

TEST(Machine, RaisesTheSoftFileLimit) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit lowered{.rlim_cur = 64, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &lowered), 0);
  EXPECT_EQ(RaiseFileLimit(), before.rlim_max);
  rlimit after{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &after), 0);
  EXPECT_EQ(after.rlim_cur, before.rlim_max);
}

TEST(Machine, ResolvesNames) {
  const Machine machine = ReadMachine();
  const auto found = machine.resolve("localhost", 81);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_THAT(*found, Contains(*SocketAddress::Parse("127.0.0.1:81")));
  EXPECT_FALSE(machine.resolve("no-such-name.invalid", 81).ok());
}

// A socket as another process would have it.
class Occupied {
 public:
  explicit Occupied(bool reuse_port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int one = 1;
    setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (reuse_port) setsockopt(fd_, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&any), sizeof(any)), 0);
    EXPECT_EQ(listen(fd_, 1), 0);
    sockaddr_storage bound;
    socklen_t length = sizeof(bound);
    EXPECT_EQ(getsockname(fd_, reinterpret_cast<sockaddr*>(&bound), &length), 0);
    address_ = SocketAddress::FromSockaddr(reinterpret_cast<sockaddr*>(&bound));
  }
  ~Occupied() { close(fd_); }
  const SocketAddress& address() const { return address_; }

 private:
  int fd_;
  SocketAddress address_;
};

Settings Listening(const SocketAddress& address) {
  Settings settings;
  settings.listeners.push_back({Protocol::kHttp, address, "http://" + address.ToString()});
  return settings;
}

TEST(Ports, FreeOnesPassAndStayFree) {
  SocketAddress address;
  {
    const Occupied occupied(false);
    address = occupied.address();
  }
  Settings settings = Listening(address);
  settings.has_admin = true;
  settings.admin = *SocketAddress::Parse("127.0.0.1:0");
  EXPECT_TRUE(CheckPortsFree(settings).ok());
  EXPECT_TRUE(CheckPortsFree(settings).ok());
}

TEST(Ports, ASecondWeirIsNoticed) {
  // SO_REUSEPORT would let it in silently.
  const Occupied occupied(true);
  const std::string text = occupied.address().ToString();
  EXPECT_EQ(CheckPortsFree(Listening(occupied.address())).message(),
            "--listen: http://" + text + ": the port is in use by another process (ss -ltnp tells which)");
  Settings settings;
  settings.has_admin = true;
  settings.admin = occupied.address();
  EXPECT_THAT(std::string(CheckPortsFree(settings).message()),
              HasSubstr("--admin: " + text + ": the port is in use"));
}

// A reload from one to the other: what runs is in the way of a bind that shares with nobody.
TEST(Ports, AWildcardBesideWhatRuns) {
  const Occupied shared(true);
  SocketAddress any = *SocketAddress::Parse("0.0.0.0:0");
  any.port = shared.address().port;
  const Settings running = Listening(shared.address());
  const std::string text = any.ToString();
  EXPECT_EQ(CheckPortsFree(Listening(any), &running).message(), "");
  Settings other_port = running;
  other_port.listeners[0].address.port ^= 1;
  const std::string in_use =
      "--listen: http://" + text + ": the port is in use by another process (ss -ltnp tells which)";
  EXPECT_EQ(CheckPortsFree(Listening(any), &other_port).message(), in_use) << "that is not ours";
  EXPECT_EQ(CheckPortsFree(Listening(any)).message(), in_use);
  // Somebody who does not share.
  const Occupied alone(false);
  any.port = alone.address().port;
  SocketAddress ours = alone.address();
  ours.bytes[3] = 2;  // 127.0.0.2
  const Settings beside = Listening(ours);
  EXPECT_THAT(std::string(CheckPortsFree(Listening(any), &beside).message()),
              HasSubstr("the port is in use by another process"));
}

TEST(Ports, AWildcardThatTakesInAdmin) {
  SocketAddress address;
  {
    const Occupied occupied(false);
    address = occupied.address();
  }
  SocketAddress any = *SocketAddress::Parse("0.0.0.0:0");
  any.port = address.port;
  Settings settings = Listening(any);
  settings.has_admin = true;
  settings.admin = address;
  EXPECT_EQ(CheckPortsFree(settings).message(),
            "--listen: http://" + any.ToString() + ": the port of the admin listener, " + address.ToString() +
                ", is among these: choose another port for one");
  const Settings running = Listening(*SocketAddress::Parse("127.0.0.1:1"));
  EXPECT_FALSE(CheckPortsFree(settings, &running).ok());
  settings.admin.port ^= 1;
  EXPECT_EQ(CheckPortsFree(settings, &running).message(), "");
}

TEST(Ports, AUnixSocketForAdmin) {
  const std::string folder = "/tmp/weir-ports-" + std::to_string(getpid());
  std::filesystem::create_directory(folder);
  const auto check = [&folder](const std::string& name) {
    Settings settings;
    std::string expected;
    settings.has_admin = true;
    settings.admin = *ParseUnixAddress("unix:" + folder + name, &expected);
    std::string said(CheckPortsFree(settings).message());
    const std::string prefix = "--admin: unix:" + folder + name + ": ";
    EXPECT_TRUE(said.empty() || said.starts_with(prefix)) << said;
    return said.substr(std::min(said.size(), prefix.size()));
  };
  EXPECT_EQ(check("/socket"), "");
  EXPECT_FALSE(std::filesystem::exists(folder + "/socket"));  // it only looks
  std::string expected;
  SocketAddress address = *ParseUnixAddress("unix:" + folder + "/socket", &expected);
  const int fd = ListenOnUnix(address, {});
  ASSERT_GE(fd, 0);
  EXPECT_EQ(check("/socket"), "the socket is in use by another process (ss -lxp tells which)");
  close(fd);
  EXPECT_EQ(check("/socket"), "");  // a crash leaves it so
  EXPECT_TRUE(std::filesystem::exists(folder + "/socket"));
  std::ofstream(folder + "/file") << "precious";
  EXPECT_EQ(check("/file"), "there is something that is no socket: remove it, or choose another path");
  EXPECT_EQ(check("/none/socket"), "its folder does not exist");
  EXPECT_EQ(check("/file/socket"), "its folder does not exist");
  std::filesystem::remove_all(folder);
}

TEST(Ports, AUnixSocketKeepsItsProtocol) {
  std::string expected;
  const SocketAddress address = *ParseUnixAddress("unix:/none/socket", &expected);
  const Settings running = Listening(address);
  Settings next = running;
  EXPECT_EQ(CheckPortsFree(next, &running).message(), "") << "it is ours";
  next.listeners[0].protocol = Protocol::kTcp;
  EXPECT_THAT(std::string(CheckPortsFree(next, &running).message()),
              testing::HasSubstr("a unix socket keeps its protocol while Weir runs: choose another path"));
  EXPECT_THAT(std::string(CheckPortsFree(next).message()), testing::HasSubstr("its folder does not exist"));
}

TEST(Ports, AnAddressOfAnotherMachine) {
  const SocketAddress address = *SocketAddress::Parse("192.0.2.1:80");
  EXPECT_EQ(CheckPortsFree(Listening(address)).message(),
            "--listen: http://192.0.2.1:80: this machine does not have that address");
}

}  // namespace
}  // namespace weir::lb
