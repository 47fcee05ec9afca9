"""Everything that befalls endpoints, one after the other under wrk: five real nginx, of which one is killed, one frozen, one
slow, one answers 500, one refuses, and each comes back; then all are down. Clients see nothing of it but the last."""

import json
import os
import re
import signal
import time
import unittest

from weir_harness import WeirTest, Wrk, address_text, scratch, wait_for

SLOW_S = 0.3
# Until everybody knows: rows of failures of endpoints that get a part of the load, and a busy machine.
DETECT = 6

CONFIG = """
listeners: [{address: LISTEN0, upstream: web}]
upstreams:
  web:
    balance: round_robin
    endpoints: [ENDPOINTS]
    retries: 4
    retry: {on: [connect_failure, reset, 500, gateway_error], per_try_timeout: 500ms, backoff: {base: 2ms}}
    retry_budget: {share: 100%, min: 10}  # of those that meet one who fails each must be tried again
    set_aside: 50ms
    timeouts: {response: 2s}
    slow_start: {duration: 500ms}
    health_check: {path: /up, interval: 400ms, interval_down: 200ms, timeout: 300ms}
    outlier_ejection: {interval: 500ms, base_ejection_time: 1s, max_ejection_time: 1s, jitter: 0, max_ejection_percent: 50,
                       latency: {above: 150ms}}
"""


class Faults(WeirTest):
    def start(self):
        slow = self.origin(lambda connection, _: self.answer_slowly(connection))
        self.origins, self.ills = [], []
        for i in range(5):
            ills = scratch(f"ills{i}")
            self.ills.append(ills)
            extra = f"""
    location = /up {{ return 200 "well\\n"; }}
    location @well {{ default_type text/plain; return 200 "n{i}\\n"; }}
    location = /page {{
      if (-f {ills}/sick) {{ return 500 "sick\\n"; }}
      if (-f {ills}/slow) {{ proxy_pass http://{address_text(slow.address)}; }}
      try_files /none @well;
    }}"""
            self.origins.append(self.nginx(f"n{i}", extra=extra))
        self.endpoints = [address_text(origin.addresses[0]) for origin in self.origins]
        return self.weir(None, config=CONFIG.replace("ENDPOINTS", ", ".join(self.endpoints)), shards=2)

    def answer_slowly(self, connection):
        while connection.request() is not None:
            time.sleep(SLOW_S)
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nslow\n")

    def ill(self, i, name, yes=True):
        path = os.path.join(self.ills[i], name)
        if yes:
            with open(path, "w", encoding="ascii"):
                pass
        else:
            os.unlink(path)

    def endpoint(self, weir, i):
        return json.loads(weir.page("/upstreams/web")[1])["upstreams"][0]["endpoints"][i]

    def until(self, weir, i, takes):
        begin = time.monotonic()
        wait_for(lambda: self.endpoint(weir, i)["takes_requests"] == takes, f"endpoint {i} takes requests: {takes}")
        self.assertLess(time.monotonic() - begin, DETECT)

    def until_shares_are_equal(self, weir):
        """Of what comes from now on, once a slow start is over: a fifth each."""
        def equal():
            before = [self.endpoint(weir, i)["requests"] for i in range(5)]
            time.sleep(0.3)
            new = [self.endpoint(weir, i)["requests"] - old for i, old in enumerate(before)]
            return sum(new) > 100 and max(new) <= 1.1 * sum(new) / 5 + 10 and min(new) >= 0.9 * sum(new) / 5 - 10
        wait_for(equal, "a fifth for each")

    def reload(self, weir):
        """Another header, another number of attempts: the upstream stays, with what is known of it."""
        with open(weir.config, encoding="utf-8") as file:
            text = file.read()
        reloads = weir.stats()["reloads"]
        retries = 9 - int(re.search(r"retries: (\d)", text)[1])
        with open(weir.config + ".new", "w", encoding="utf-8") as file:
            file.write(re.sub(r"retries: \d", f"retries: {retries}", text))
        os.replace(weir.config + ".new", weir.config)
        weir.signal(signal.SIGHUP)
        wait_for(lambda: weir.stats()["reloads"] > reloads, "the reload")  # on every shard

    def under_load(self, reloads):
        weir = self.start()
        wait_for(lambda: all(self.endpoint(weir, i)["health"] == "up" for i in range(5)), "checks")
        wrk = Wrk(f"http://{address_text(weir.address)}/page", connections=40, seconds=28)
        self.until_shares_are_equal(weir)
        reload = (lambda: self.reload(weir)) if reloads else (lambda: None)

        self.origins[0].kill()
        self.until(weir, 0, False)
        reload()
        self.origins[0].start()
        self.until(weir, 0, True)

        frozen = self.origins[1].process
        frozen.signal(signal.SIGSTOP)
        try:
            self.until(weir, 1, False)
            reload()
        finally:
            frozen.signal(signal.SIGCONT)
        self.until(weir, 1, True)

        self.ill(2, "slow")
        self.until(weir, 2, False)
        self.assertIn("took more than 150 ms", self.endpoint(weir, 2)["why_not"])
        reload()
        self.ill(2, "slow", False)
        self.until(weir, 2, True)

        self.ill(3, "sick")
        self.until(weir, 3, False)
        self.assertIn("server errors", self.endpoint(weir, 3)["why_not"])
        reload()
        self.ill(3, "sick", False)
        self.until(weir, 3, True)

        self.origins[4].kill()  # and nobody listens for some time
        time.sleep(1)
        self.until(weir, 4, False)
        reload()
        self.origins[4].start()
        self.until(weir, 4, True)
        self.until_shares_are_equal(weir)

        result = wrk.result()
        self.assertEqual((result.bad, result.connect, result.read, result.write, result.timeout), (0,) * 5, result.text)
        self.assertGreater(result.requests, 1000)
        return weir

    def test_one_after_the_other(self):
        weir = self.under_load(reloads=False)
        for origin in self.origins:
            origin.kill()
        wait_for(lambda: not any(self.endpoint(weir, i)["takes_requests"] for i in range(5)), "all down")
        self.assertEqual({self.get(weir, "/page").status for _ in range(10)}, {503})
        for origin in self.origins:
            origin.start()
        wait_for(lambda: all(self.endpoint(weir, i)["takes_requests"] for i in range(5)), "all back")
        self.assertEqual({self.get(weir, "/page").status for _ in range(20)}, {200})

    def test_with_reloads_in_between(self):
        self.under_load(reloads=True)


if __name__ == "__main__":
    unittest.main()
