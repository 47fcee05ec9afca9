#include "lb/config/flag_types.h"

#include "gtest/gtest.h"

namespace weir::lb {
namespace {

// The parsed value in its own words, or the error.
template <class Type>
std::string Say(absl::string_view text) {
  Type value;
  std::string error;
  return AbslParseFlag(text, &value, &error) ? AbslUnparseFlag(value) : error;
}

TEST(Durations, TakeUnits) {
  using Patience = DurationIn<false>;
  EXPECT_EQ(Say<Patience>("10s"), "10s");
  EXPECT_EQ(Say<Patience>("1500ms"), "1500ms");
  EXPECT_EQ(Say<Patience>("60s"), "1m");
  EXPECT_EQ(Say<Patience>("120m"), "2h");
  EXPECT_EQ(Say<Patience>("24h"), "24h");
}

TEST(Durations, RefuseTheRest) {
  using Patience = DurationIn<false>;
  EXPECT_EQ(Say<Patience>("10"), "expected a unit: 10ms, 10s, 10m or 10h");
  for (const char* text :
       {"", "s", "-1s", "+1s", "1.5s", "1 s", "1S", "1sec", "1s2", " 1s", "0x1s", "99999999999999999999s"}) {
    EXPECT_EQ(Say<Patience>(text), "expected a duration such as 500ms, 10s, 5m or 1h") << text;
  }
  EXPECT_EQ(Say<Patience>("25h"), "expected a duration from 1ms to 24h");
  EXPECT_EQ(Say<Patience>("4294967297ms"), "expected a duration from 1ms to 24h");
  EXPECT_EQ(Say<Patience>("0"), "expected a duration from 1ms to 24h");
  EXPECT_EQ(Say<DurationIn<true>>("0"), "0");
  EXPECT_EQ(Say<DurationIn<true>>("0s"), "0");
  EXPECT_EQ(Say<DurationIn<true>>("25h"), "expected a duration from 1ms to 24h, or 0");
}

TEST(Sizes, TakeUnits) {
  using Size = SizeIn<1, uint64_t{1} << 40, uint64_t>;
  EXPECT_EQ(Say<Size>("4096"), "4KiB");
  EXPECT_EQ(Say<Size>("4097"), "4097");
  EXPECT_EQ(Say<Size>("64KiB"), "64KiB");
  EXPECT_EQ(Say<Size>("64k"), "64KiB");
  EXPECT_EQ(Say<Size>("1024M"), "1GiB");
  EXPECT_EQ(Say<Size>("3G"), "3GiB");
  EXPECT_EQ(Say<Size>("256MiB"), "256MiB");
}

TEST(Sizes, RefuseTheRest) {
  using Size = SizeIn<512, 30 * 1024, uint32_t>;
  for (const char* text : {"", "k", "-1k", "1.5k", "1 k", "1TiB", "kb", "1kbit", "18446744073709551615k"}) {
    EXPECT_EQ(Say<Size>(text), "expected a size such as 65536, 64KiB, 256MiB or 1GiB") << text;
  }
  for (const auto& [text, meant] :
       {std::pair("8m", "8MiB"), std::pair("10MB", "10MiB"), std::pair("1kb", "1KiB")}) {
    EXPECT_EQ(
        Say<Size>(text),
        std::string("expected a size such as 65536, 64KiB, 256MiB or 1GiB; did you mean ") + meant + "?");
  }
  EXPECT_EQ(Say<Size>("511"), "expected a size from 512B to 30KiB");
  EXPECT_EQ(Say<Size>("31k"), "expected a size from 512B to 30KiB");
}

TEST(Counts, AreWholeAndInRange) {
  using Count = CountIn<1, 10>;
  EXPECT_EQ(Say<Count>("7"), "7");
  for (const char* text : {"", "0", "11", "-1", "1.0", "1k", "4294967297", "99999999999999999999"}) {
    EXPECT_EQ(Say<Count>(text), "expected a whole number from 1 to 10") << text;
  }
}

TEST(Listeners, AreUrls) {
  EXPECT_EQ(Say<ListenerList>("http://0.0.0.0:8080,tcp://[::]:5432"), "http://0.0.0.0:8080,tcp://[::]:5432");
  EXPECT_EQ(Say<ListenerList>(""), "");
  ListenerList list;
  std::string error;
  ASSERT_TRUE(ParseElement("tcp://[::1]:1", &list, &error));
  EXPECT_EQ(list.items[0].protocol, Protocol::kTcp);
  EXPECT_EQ(list.items[0].address.ToString(), "[::1]:1");
  for (const char* text :
       {"htp://x", "0.0.0.0:80", "HTTP://0.0.0.0:80", "https://0.0.0.0:443", "//0.0.0.0:80"}) {
    EXPECT_EQ(Say<ListenerList>(text), "expected http:// or tcp://, and ADDRESS:PORT or unix:/PATH") << text;
  }
  for (const char* text :
       {"http://", "http://:80", "http://localhost:80", "http://0.0.0.0", "http://0.0.0.0:65536",
        "http://0.0.0.0:80/", "http://::1:80", "http://[::1]", "http://1.2.3:80"}) {
    EXPECT_EQ(Say<ListenerList>(text),
              "expected http:// or tcp://, and ADDRESS:PORT or unix:/PATH, with a numeric address such as "
              "0.0.0.0 or [::]")
        << text;
  }
}

TEST(Listeners, OnUnixSockets) {
  for (const char* text : {"http://unix:/run/a", "tcp://unix:@a"}) {
    EXPECT_EQ(Say<ListenerList>(text), text);
  }
}

TEST(Backends, HaveAPortAndPerhapsAWeight) {
  EXPECT_EQ(Say<BackendList>("10.0.0.1:80,10.0.0.2:80=3,[::1]:9=1000,host-1.example:65535"),
            "10.0.0.1:80,10.0.0.2:80=3,[::1]:9=1000,host-1.example:65535");
  EXPECT_EQ(Say<BackendList>("a:1=1"), "a:1");
  for (const char* text : {"10.0.0.1", "host", "[::1]", "host=3"}) {
    EXPECT_EQ(Say<BackendList>(text), "the port is missing: expected HOST:PORT or HOST:PORT=WEIGHT") << text;
  }
  for (const char* text : {"a:1=", "a:1=0", "a:1=1001", "a:1=x", "a:1=1=1", "a:1=-1"}) {
    EXPECT_EQ(Say<BackendList>(text), "expected a weight from 1 to 1000 behind the =") << text;
  }
  EXPECT_EQ(Say<BackendList>("a:0"), "expected a port from 1 to 65535");
  EXPECT_EQ(Say<BackendList>("1.1.1.1:0"), "expected a port from 1 to 65535");
  EXPECT_EQ(Say<BackendList>("a:65536"), "expected a port from 1 to 65535");
  EXPECT_EQ(Say<BackendList>("1.1.1.1:65536"), "expected a port from 1 to 65535");
  for (const char* text : {":80", "a:", "a:x", "::1:80", "1.2.3:80", "300.0.0.1:80", "a b:80", "http://a:80",
                           "-a:80", "[::1:80", "a/b:80"}) {
    EXPECT_EQ(Say<BackendList>(text),
              "expected HOST:PORT or HOST:PORT=WEIGHT (HOST: a name, an IPv4 address, or an IPv6 address in "
              "brackets), or unix:/PATH")
        << text;
  }
}

TEST(Backends, MayBeUnixSockets) {
  EXPECT_EQ(Say<BackendList>("unix:/run/a.sock,10.0.0.1:80,unix:@b=3"),
            "unix:/run/a.sock,10.0.0.1:80,unix:@b=3");
  EXPECT_EQ(Say<BackendList>("unix:/run/a:80"), "unix:/run/a:80");  // a colon is nothing special in a path
  EXPECT_EQ(Say<BackendList>("unix:"),
            "expected an absolute path behind unix:, such as unix:/run/app.sock, or @ and a name");
  EXPECT_EQ(Say<BackendList>("unix:run/a"), Say<BackendList>("unix:"));
  EXPECT_EQ(Say<BackendList>("unix:///run/a"),
            "expected a file's path without //, /./, /../ and without a slash at its end behind unix:");
  EXPECT_EQ(Say<BackendList>("unix:/" + std::string(107, 'p')),
            "a unix socket's path has at most 107 bytes, this one has 108");
  EXPECT_EQ(Say<BackendList>("unix:/a=0"), "expected a weight from 1 to 1000 behind the =");
}

TEST(Cpus, AreNumbersAndRanges) {
  EXPECT_EQ(Say<CpuList>("0-3,5"), "0-3,5");
  EXPECT_EQ(Say<CpuList>("5,0,1"), "5,0-1");
  EXPECT_EQ(Say<CpuList>("7-7"), "7");
  for (const char* text : {"-1", "1-", "3-1", "a", "1-2-3", "4096", "0-4096", "1..3"}) {
    EXPECT_EQ(Say<CpuList>(text), "expected CPU numbers and ranges such as 0-3,5") << text;
  }
}

TEST(Others, SayWhatTheyAre) {
  EXPECT_EQ(Say<BalanceName>("least_conn"), "least_conn");
  for (const char* name : {"round_robin", "random", "p2c", "ewma", "maglev", "ring_hash", "first"}) {
    EXPECT_EQ(Say<BalanceName>(name), name);
  }
  EXPECT_EQ(Say<BalanceName>("rnd"),
            "expected round_robin, random, least_conn, p2c, ewma, maglev, ring_hash or first");
  EXPECT_EQ(Say<OptionalAddress>("127.0.0.1:9901"), "127.0.0.1:9901");
  EXPECT_EQ(
      Say<OptionalAddress>("localhost:9901"),
      "expected ADDRESS:PORT with a numeric address, such as 127.0.0.1:9901 or [::1]:9901, or unix:/PATH");
  EXPECT_EQ(Say<OptionalAddress>("unix:/run/weir.sock"), "unix:/run/weir.sock");
  EXPECT_EQ(Say<OptionalAddress>("unix:weir"),
            "expected an absolute path behind unix:, such as unix:/run/app.sock, or @ and a name");
  EXPECT_EQ(Say<OptionalAddress>("unix:@weir"),
            "expected unix:/PATH: an abstract name has no mode, and everybody may connect to it");
  EXPECT_EQ(Say<PathText>("/var/log/weir.log"), "/var/log/weir.log");
}

}  // namespace
}  // namespace weir::lb
