// Lines as datagrams: what becomes of them when nobody is there, who comes back, and who does not read.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <optional>

#include "core/uring_backend.h"
#include "gtest/gtest.h"
#include "lb/log/access_log.h"
#include "lb/log/log_writer.h"
#include "tests/log/scripted_backend.h"

namespace weir::lb {
namespace {

// A unix socket that datagrams are sent to.
class Receiver {
 public:
  explicit Receiver(const std::string& path) : path_(path) {
    unlink(path.c_str());
    fd_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    EXPECT_EQ(bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0) << path;
  }
  ~Receiver() {
    close(fd_);
    unlink(path_.c_str());
  }
  std::optional<std::string> Receive() const {
    char text[8192];
    const ssize_t bytes = recv(fd_, text, sizeof(text), 0);
    if (bytes < 0) return std::nullopt;
    return std::string(text, static_cast<size_t>(bytes));
  }

 private:
  const std::string path_;
  int fd_;
};

SyslogSettings UnixSocket(const char* name) {
  SyslogSettings settings;
  settings.path =
      std::string("/tmp/weir_syslog_test.") + name + "." + std::to_string(getpid());  // 107 bytes at most
  settings.address = "unix:" + settings.path;
  unlink(settings.path.c_str());
  return settings;
}

// One shard that logs and writes, whose sends answer what the test scripted.
class SyslogTest : public testing::Test {
 protected:
  SyslogTest() : settings_(UnixSocket("scripted")) {}
  void TearDown() override {
    if (writer_ == nullptr) return;
    log_->Flush();
    writer_->BeginStop();
    Turns();
    EXPECT_TRUE(log_->home());
    log_.reset();
    writer_.reset();
  }
  void Start() {
    writer_ = std::make_unique<LogWriter>(shard_, settings_, counters_);
    log_ = std::make_unique<AccessLog>(shard_, *writer_, 0, counters_);
  }
  void Log(std::string_view target) {
    AccessRecord record;
    record.target = target;
    log_->Write(record);
  }
  void Turns(int count = 10) {
    for (int i = 0; i < count; ++i) shard_.RunTurn(false);
  }
  void LogThree() {
    for (const char* target : {"/1", "/2", "/3"}) Log(target);
    log_->Flush();
    Turns();
  }
  std::string Targets() const {
    std::string targets;
    for (const std::string& datagram : backend_->written) {
      EXPECT_TRUE(datagram.starts_with('{') && datagram.ends_with('}')) << datagram;
      targets += datagram.substr(datagram.find("\"/") + 1, 2);
    }
    return targets;
  }
  uint64_t Dropped() const { return counters_.log_lines_dropped.Get(); }
  uint64_t Closed() const { return backend_->closed.size(); }

  SyslogSettings settings_;
  Switchboard switchboard_{1};
  ScriptedBackend* backend_ = nullptr;
  Shard shard_{
      {.index = 0, .arena_bytes = 1 << 20, .buffers = 1}, switchboard_, [this](BufferPool&, CoreCounters&) {
        auto made = std::make_unique<ScriptedBackend>();
        backend_ = made.get();
        return made;
      }};
  ProxyCounters counters_;
  std::unique_ptr<LogWriter> writer_;
  std::unique_ptr<AccessLog> log_;
};

TEST_F(SyslogTest, ADatagramForEachLine) {
  const Receiver receiver(settings_.path);
  Start();
  LogThree();
  EXPECT_EQ(Targets(), "/1/2/3");
  EXPECT_EQ(Dropped(), 0u);
  writer_->Reopen("");
  EXPECT_EQ(Closed(), 0u);
}

TEST_F(SyslogTest, NobodyIsThereAndSomebodyComes) {
  testing::internal::CaptureStderr();
  Start();
  LogThree();
  LogThree();
  EXPECT_EQ(Dropped(), 6u);
  const Receiver receiver(settings_.path);
  LogThree();  // not looked for yet
  EXPECT_EQ(Dropped(), 9u);
  PassTime(*backend_, shard_, LogWriter::kConnectMs);
  LogThree();
  EXPECT_EQ(Targets(), "/1/2/3");
  EXPECT_EQ(Dropped(), 9u);
  const std::string said = testing::internal::GetCapturedStderr();
  const size_t first = said.find("the access log cannot be sent to " + settings_.address);
  EXPECT_NE(first, std::string::npos) << said;
  EXPECT_EQ(said.find("cannot be sent", first + 30), std::string::npos) << said;
  EXPECT_NE(said.find("is written again"), std::string::npos) << said;
}

TEST_F(SyslogTest, ARestartedReceiverLosesNothing) {
  const Receiver receiver(settings_.path);
  Start();
  PassTime(*backend_, shard_, LogWriter::kConnectMs);
  backend_->answers = {1, -ECONNREFUSED};
  LogThree();
  EXPECT_EQ(Targets(), "/1/2/3");
  EXPECT_EQ(Dropped(), 0u);
  EXPECT_EQ(Closed(), 1u);
}

TEST_F(SyslogTest, AReceiverThatIsGoneCostsLines) {
  const Receiver receiver(settings_.path);
  Start();
  PassTime(*backend_, shard_, LogWriter::kConnectMs);
  backend_->answers = {1, -ECONNREFUSED, -ECONNREFUSED};
  LogThree();
  EXPECT_EQ(Targets(), "/1");
  EXPECT_EQ(Dropped(), 2u);
}

TEST_F(SyslogTest, OneLineThatIsTooLong) {
  const Receiver receiver(settings_.path);
  Start();
  backend_->answers = {1, -EMSGSIZE};
  LogThree();
  EXPECT_EQ(Targets(), "/1/3");
  EXPECT_EQ(Dropped(), 1u);
}

TEST_F(SyslogTest, AUdpReceiverThatIsNotThereIsToldOnce) {
  settings_ = {};
  settings_.address = "udp:127.0.0.1:9";
  settings_.udp = *SocketAddress::Parse("127.0.0.1:9");
  Start();
  testing::internal::CaptureStderr();
  // Each refusal is the answer to what was sent before it.
  backend_->answers = {1, -ECONNREFUSED, 1, -ECONNREFUSED, 1};
  LogThree();
  EXPECT_EQ(Targets(), "/1/2/3");
  EXPECT_EQ(Dropped(), 2u);
  backend_->answers = {-ECONNREFUSED, -ECONNREFUSED, -ENETUNREACH};
  LogThree();
  EXPECT_EQ(Targets(), "/1/2/3/3");
  EXPECT_EQ(Dropped(), 5u);
  const std::string said = testing::internal::GetCapturedStderr();
  const size_t first = said.find("no receiver at udp:127.0.0.1:9");
  EXPECT_NE(first, std::string::npos) << said;
  EXPECT_EQ(said.find("no receiver", first + 1), std::string::npos) << said;
}

TEST_F(SyslogTest, OneWhoDoesNotReadIsNotWaitedForAtTheEnd) {
  const Receiver receiver(settings_.path);
  Start();
  backend_->answers = {1, ScriptedBackend::kHang};
  LogThree();
  EXPECT_FALSE(writer_->idle());
  writer_->BeginStop();
  Turns();
  EXPECT_TRUE(writer_->idle());
  EXPECT_EQ(Dropped(), 2u);
}

// The real ring, a real socket whose queue is soon full.
TEST(Syslog, WaitsForOneWhoReadsSlowly) {
  const SyslogSettings settings = UnixSocket("slow");
  const Receiver receiver(settings.path);
  UringFeatures features;
  std::string problem;
  ASSERT_TRUE(ProbeUring(features, problem)) << problem;
  Switchboard switchboard(1);
  ProxyCounters counters;
  Shard shard({.index = 0, .arena_bytes = 1 << 20, .buffers = 64}, switchboard,
              [features](BufferPool& pool, CoreCounters& core) {
                return std::make_unique<UringBackend>(
                    UringBackend::Options{.features = features, .submissions = 64, .completions = 128}, pool,
                    core);
              });
  Shard::Enter enter(shard);
  LogWriter writer(shard, settings, counters);
  AccessLog log(shard, writer, 0, counters);
  constexpr int kLines = 1'000;
  for (int i = 0; i < kLines; ++i) {
    const std::string target = "/" + std::to_string(i);
    AccessRecord record;
    record.target = target;
    log.Write(record);
  }
  log.Flush();
  for (int i = 0; i < 100; ++i) shard.RunTurn(false);
  EXPECT_FALSE(writer.idle()) << "the queue took all: make more lines";
  for (int received = 0; received < kLines;) {
    const std::optional<std::string> line = receiver.Receive();
    if (line) {
      ASSERT_NE(line->find("\"/" + std::to_string(received) + "\""), std::string::npos) << *line;
      EXPECT_TRUE(line->ends_with('}'));
      ++received;
    } else if (!writer.idle()) {
      shard.RunTurn(true);
    }
  }
  while (!log.home()) shard.RunTurn(true);
  EXPECT_TRUE(writer.idle());
  EXPECT_EQ(counters.log_lines_dropped.Get(), 0u);
}

}  // namespace
}  // namespace weir::lb
