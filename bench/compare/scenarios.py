"""What is measured. Each scenario says in one line what it asks; the sizes are of bodies."""

import dataclasses

# The median desktop page of 2024 (HTTP Archive, Web Almanac 2024, chapter "Page Weight": 71 requests, of these 24 scripts
# with 613 KB, 18 images with 1,054 KB, 78 KB of styles, 131 KB of fonts, 18 KB of HTML), each kind spread around its mean
# because sizes within a kind are skewed; the rest is small calls, some of which send.
_KIB = 1024
MIXED = (
    [f"{18 * _KIB}"]
    + [str(round(s * _KIB)) for s in (2, 3, 4, 6, 7, 9, 10, 12, 14, 16, 18, 20, 21, 22, 24, 26, 28, 32, 36, 42, 48, 58, 68, 86)]
    + [str(round(s * _KIB)) for s in (1, 2, 4, 6, 9, 13, 18, 24, 32, 40, 52, 64, 80, 100, 120, 140, 160, 189)]
    + [str(round(s * _KIB)) for s in (1, 2, 4, 8, 10, 14, 17, 20)]
    + [str(round(s * _KIB)) for s in (18, 22, 26, 30, 34)]
    + [str(s) for s in (43, 43, 120, 300, 500, 800, 1200, 2400, 5000)]
    + ["600+80", "1500+200", "3000+100", "8000+400", "2000+0", "2000+50"]
)
# Interleaved, as a browser asks: not all scripts at once.
MIXED = ",".join(MIXED[i * 29 % len(MIXED)] for i in range(len(MIXED)))


@dataclasses.dataclass(frozen=True)
class Scenario:
    name: str
    about: str
    mode: str = "http"
    ask: str = "100"
    connections: int = 64
    close: bool = False
    kind: str = "load"  # load, connect, idle, latency, growth, endpoints, scaling, uneven, fairness
    bulk: bool = False  # a proxy that splices whatever comes takes part
    light_only: bool = False  # wrk cannot do it
    warm_s: float = 0  # of the same load before it counts
    # uneven: how long each origin is at work with a request, with how many at one time, and requests a second.
    serve_ms: tuple[int, ...] = ()
    workers: int = 1
    rate: float = 0
    beside: tuple[str, int] = ("", 0)  # fairness: what others ask without a pause, on so many connections
    steps: tuple[int, ...] = ()  # growth: connections; endpoints: their number; scaling: shards
    # At most: load, connect: Weir's CPU time / that of the better peer, idle: bytes. Of steps: last / first. uneven, fairness: p99 / that of the better peer.
    goal: float | None = None

    def files(self):
        """Descriptors that one process may need."""
        return 2 * self.connections + 4 * (max(self.steps) if self.kind == "endpoints" else 0) + 500


SCENARIOS = {
    s.name: s
    for s in (
        Scenario("h1-small", "HTTP/1.1, 100 B, keep-alive", goal=0.68),
        Scenario("h1-10k", "HTTP/1.1, 10 KiB", ask="10240", goal=0.60),
        Scenario("h1-16k", "HTTP/1.1, 16 KiB", ask="16384", goal=0.60),
        Scenario("h1-1m", "HTTP/1.1, 1 MiB, 16 connections", ask="1048576", connections=16, bulk=True, goal=0.72),
        Scenario("h1-close", "HTTP/1.1, 100 B, a connection for each request", close=True, goal=0.78),
        Scenario("h1-post", "HTTP/1.1, 64 KiB up", ask="65536+100", light_only=True),
        Scenario("mixed", "HTTP/1.1, sizes and methods of the median page of 2024", ask=MIXED, light_only=True),
        Scenario("many", "HTTP/1.1, 100 B, 4,000 active connections", connections=4000, goal=0.70),
        Scenario("conn-rate", "HTTP listener: connections opened and closed without a request", kind="connect", light_only=True,
                 goal=0.80),
        Scenario("l4-small", "TCP, 100 B", mode="tcp", goal=0.88),
        Scenario("l4-16k", "TCP, 16 KiB", mode="tcp", ask="16384", bulk=True, goal=0.70),
        Scenario("l4-1m", "TCP, 1 MiB, 16 connections", mode="tcp", ask="1048576", connections=16, bulk=True, goal=0.72),
        Scenario("l4-close", "TCP, 100 B, a connection for each request", mode="tcp", close=True, goal=0.82),
        Scenario("idle", "HTTP/1.1, memory of an idle connection (9,000 of them, all active at once before)", kind="idle",
                 connections=9000, light_only=True, goal=512),
        Scenario("l4-idle", "TCP, memory of an idle pair of connections (9,000 of them, all active at once before)", kind="idle",
                 mode="tcp", connections=9000, light_only=True, goal=1024),
        Scenario("fairness", "HTTP/1.1, 100 B at a quarter of the highest rate, beside 8 connections that load 16 MiB again and "
                 "again", kind="fairness", light_only=True, bulk=True, beside=(str(16 << 20), 8), warm_s=0.5, goal=1.0),
        Scenario("latency", "HTTP/1.1, 100 B, latency at fixed rates", kind="latency", light_only=True),
        Scenario("growth", "HTTP/1.1, 100 B, with more and more active connections", kind="growth", connections=4000,
                 light_only=True, steps=(64, 256, 1000, 4000), goal=1.7),
        Scenario("endpoints", "HTTP/1.1, 100 B, 64 connections over more and more endpoints (in turns, all upstream connections "
                 "kept)", kind="endpoints", light_only=True, warm_s=0.5, steps=(3, 100, 1000), goal=1.1),
        Scenario("scaling", "HTTP/1.1, 100 B, at one fixed rate with 1 and 2 shards (threads, workers)", kind="scaling",
                 light_only=True, steps=(1, 2), goal=1.1),
        # Four of them could bear twice the rate. Timers of the origin have 1 ms: 2 ms are 2 to 3.
        Scenario("uneven", "HTTP/1.1, 100 B, five origins, one of which takes 20 ms instead of 2", kind="uneven", connections=512,
                 light_only=True, warm_s=1, serve_ms=(2, 2, 2, 2, 20), workers=16, rate=8000, goal=1.0),
    )
}

# Asked for, and skipped with a word until the feature is there.
NOT_YET = ("tls-small", "tls-1m", "tls-full", "tls-resume", "tls-idle", "h2-small", "h2-1m", "cache-hit", "gzip")
DEFAULT = "h1-small,h1-10k,h1-close,l4-small,l4-close"
