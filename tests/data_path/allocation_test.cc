// No allocation on the data path: the real server on the real ring, its malloc counted while 10,000
// keep-alive requests and 10,000 messages of a TCP relay pass, with the access log on. The client and the
// origins here allocate nothing either, so the count of the whole process is the product's.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <string_view>
#include <thread>

#include "core/allocations.h"
#include "core/uring_probe.h"
#include "lb/server.h"

namespace weir::lb {
namespace {

constexpr int kWarmUp = 500;
constexpr int kRounds = 10'000;

int ListenHere(uint16_t* port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(listen(fd, 64), 0);
  socklen_t length = sizeof(address);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  *port = ntohs(address.sin_port);
  return fd;
}

int ConnectTo(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 ? fd : -1;
}

uint16_t FreePort() {
  uint16_t port = 0;
  close(ListenHere(&port));
  return port;
}

// Answers each head, and each line that is not one, on as many connections as come, one thread each.
void ServeConnection(int fd) {
  static constexpr std::string_view kAnswer =
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: here\r\nContent-Type: text/plain\r\n\r\nhello";
  char in[8192];
  size_t have = 0;
  for (;;) {
    const ssize_t bytes = recv(fd, in + have, sizeof(in) - have, 0);
    if (bytes <= 0) break;
    have += static_cast<size_t>(bytes);
    const std::string_view text(in, have);
    if (text.starts_with("GET")) {
      if (!text.ends_with("\r\n\r\n")) continue;
      send(fd, kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL);
    } else {
      send(fd, in, have, MSG_NOSIGNAL);
    }
    have = 0;
  }
  close(fd);
}

// One question, one answer of `answer_ends_with`.
bool RoundTrip(int fd, std::string_view question, std::string_view answer_ends_with) {
  if (send(fd, question.data(), question.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(question.size()))
    return false;
  char in[4096];
  size_t have = 0;
  while (!std::string_view(in, have).ends_with(answer_ends_with)) {
    const ssize_t bytes = recv(fd, in + have, sizeof(in) - have, 0);
    if (bytes <= 0) return false;
    have += static_cast<size_t>(bytes);
  }
  return true;
}

TEST(Allocation, NoneOnTheDataPathAfterWarmUp) {
  UringFeatures features;
  std::string problem;
  ASSERT_TRUE(ProbeUring(features, problem)) << problem;

  // Blocked before the first thread, as the server does: the signal is for its signal fd.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  uint16_t origin_port = 0;
  const int origin_fd = ListenHere(&origin_port);
  std::thread origin([origin_fd] {
    for (int fd; (fd = accept(origin_fd, nullptr, nullptr)) >= 0;) std::thread(ServeConnection, fd).detach();
  });

  Settings settings;
  const uint16_t http_port = FreePort();
  const uint16_t tcp_port = FreePort();
  const auto listener = [](Protocol protocol, uint16_t port) {
    return ListenerSettings{protocol, *SocketAddress::Parse("127.0.0.1:" + std::to_string(port)), "test"};
  };
  const uint16_t routed_port = FreePort();
  settings.listeners = {listener(Protocol::kHttp, http_port), listener(Protocol::kTcp, tcp_port),
                        listener(Protocol::kHttp, routed_port)};
  RouteList& routes = settings.routes.emplace_back();
  routes.matches = {{.hosts = {"*.example.org"}, .path_prefixes = {"/some"}, .headers = {{.name = "Accept"}}},
                    {.hosts = {"old.example.org"}}};
  routes.routes.resize(2);
  routes.routes[1].action = RouteSettings::Action::kRedirect;
  routes.routes[1].status = 308;
  std::string error;
  ASSERT_TRUE(Template::Parse("https://example.org${uri}", &routes.routes[1].location, &error));
  HeaderChanges& changes = routes.routes[0].request.headers;
  changes.dropped = {"Cookie"};
  changes.added.resize(1);
  changes.added[0].name = "X-Client";
  ASSERT_TRUE(Template::Parse("${client} ${uri}", &changes.added[0].value, &error));
  ASSERT_TRUE(Template::Parse("/v2${remainder}", &routes.routes[0].request.path, &error));
  routes.routes[0].captures = true;
  routes.routes[0].response.dropped = {"Server"};
  routes.routes[0].response_variables = true;
  routes.routes[0].response.added.resize(1);
  routes.routes[0].response.added[0].name = "X-Edge";
  ASSERT_TRUE(Template::Parse("${request_id} ${endpoint} ${path}", &routes.routes[0].response.added[0].value,
                              &error, Template::Use::kResponse));
  const auto split = std::make_shared<SplitSettings>();
  split->split.Add("origin", 1);
  split->split.sticky = Split::Sticky::kCookie;
  split->split.cookie = "side";
  split->sides = {routes.routes[0]};
  split->sides[0].set_cookie = "Set-Cookie: side=1\r\n";
  routes.routes[0].split = split;
  std::vector<RouteProblem> problems;
  routes.table = RouteTable::Build(routes.matches, {}, problems);
  ASSERT_NE(routes.table, nullptr);
  settings.listeners[2].routes = 0;
  settings.upstreams.resize(1);
  settings.upstreams[0].endpoints = {
      {*SocketAddress::Parse("127.0.0.1:" + std::to_string(origin_port)), 1, "origin"}};
  // Other ways to choose an endpoint: by a cookie that is set, with a bound on load, and by how fast it is.
  settings.upstreams[0].name = "origin";
  UpstreamSettings hashed = settings.upstreams[0];
  hashed.name = "hashed";
  hashed.balance = Balance::kMaglev;
  hashed.hash.on = {{HashKey::Of::kQuery, "none"}, {HashKey::Of::kCookie, "held"}};
  hashed.hash.cookie_attributes = "; Path=/";
  hashed.hash.balance_percent = 125;
  UpstreamSettings measured = settings.upstreams[0];
  measured.name = "measured";
  measured.balance = Balance::kEwma;
  settings.upstreams.push_back(hashed);
  settings.upstreams.push_back(measured);
  const uint16_t hashed_port = FreePort();
  const uint16_t measured_port = FreePort();
  for (const uint16_t port : {hashed_port, measured_port}) {
    settings.listeners.push_back(listener(Protocol::kHttp, port));
    settings.listeners.back().direct.upstream = port == hashed_port ? 1 : 2;
  }
  settings.shards = 2;
  settings.max_connections = 100;
  settings.buffer_memory_bytes = size_t{64} << 20;
  settings.access_log = "/dev/null";
  settings.log.redact_query = true;
  settings.log.request_headers = {"Accept", "X-Request-ID"};
  settings.log.response_headers = {"Content-Length", "Location"};
  settings.log.sample.value = Share::kAll / 2;
  AccessFormat::Problem log_problem;
  settings.log_format = AccessFormat::Build(settings.log, &log_problem);
  ASSERT_NE(settings.log_format, nullptr);
  Server server(settings, false, features);
  ASSERT_TRUE(server.Start().ok());

  uint64_t http_allocations = UINT64_MAX;
  uint64_t tcp_allocations = UINT64_MAX;
  uint64_t routed_allocations = UINT64_MAX;
  uint64_t redirect_allocations = UINT64_MAX;
  uint64_t hashed_allocations = UINT64_MAX;
  uint64_t measured_allocations = UINT64_MAX;
  bool all_answered = true;
  std::thread client([&] {
    static constexpr std::string_view kRequest =
        "GET /some/path?with=query HTTP/1.1\r\nHost: example.org\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n";
    const auto measure = [&](uint16_t port, std::string_view question, std::string_view answer) {
      const int fd = ConnectTo(port);
      for (int i = 0; i < kWarmUp; ++i) all_answered = all_answered && RoundTrip(fd, question, answer);
      const uint64_t before = Allocations();
      for (int i = 0; i < kRounds; ++i) all_answered = all_answered && RoundTrip(fd, question, answer);
      close(fd);
      return Allocations() - before;
    };
    http_allocations = measure(http_port, kRequest, "hello");
    routed_allocations = measure(
        routed_port,
        "GET /x/..//s%6fme/path?with=query HTTP/1.1\r\nHost: A.Example.org.:80\r\nAccept: */*\r\n\r\n",
        "hello");
    redirect_allocations =
        measure(routed_port, "GET /x HTTP/1.1\r\nHost: old.example.org\r\n\r\n", "Content-Length: 0\r\n\r\n");
    hashed_allocations = measure(hashed_port, kRequest, "hello");
    measured_allocations = measure(measured_port, kRequest, "hello");
    tcp_allocations = measure(tcp_port, "some bytes that come back\n", "come back\n");
    kill(getpid(), SIGTERM);
  });
  EXPECT_EQ(server.Run(), 0);
  client.join();
  shutdown(origin_fd, SHUT_RDWR);
  origin.join();
  close(origin_fd);
  EXPECT_TRUE(all_answered);
  EXPECT_EQ(http_allocations, 0u);
  EXPECT_EQ(tcp_allocations, 0u);
  EXPECT_EQ(routed_allocations, 0u);
  EXPECT_EQ(redirect_allocations, 0u);
  EXPECT_EQ(hashed_allocations, 0u);
  EXPECT_EQ(measured_allocations, 0u);

  // The counter counts: else the zeros above would mean nothing.
  const uint64_t before = Allocations();
  std::string* made = new std::string(100, 'x');
  EXPECT_GT(Allocations() - before, 0u) << *made;
  delete made;
}

}  // namespace
}  // namespace weir::lb
