"""Outlier ejection: real nginx under wrk; one answers 500, one is frozen, one refuses, and each comes back."""

import json
import os
import signal
import time
import unittest

import weir_harness
from weir_harness import WeirTest, Wrk, address_text, need, run, scratch, wait_for

TERM = 2
# From what happens to when everybody knows: a row of timeouts, or of tries with growing pauses; and a busy machine.
DETECT = 6

CONFIG = """
listeners: [{address: LISTEN0, upstream: web}]
upstreams:
  web:
    endpoints: [ENDPOINTS]
    retries: 2
    set_aside: 50ms
    timeouts: {response: 1s}
    outlier_ejection: {consecutive_5xx: 5, consecutive_timeouts: 3, interval: 500ms, base_ejection_time: TERMs, jitter: 0,
                       max_ejection_percent: 50}
"""


class Outliers(WeirTest):
    def start(self, count, *flags, term=TERM):
        self.origins, self.sick = [], []
        for i in range(count):
            self.sick.append(os.path.join(scratch(f"sick{i}"), "sick"))
            extra = f'if (-f {self.sick[i]}) {{ return 500 "sick\\n"; }}'
            self.origins.append(self.nginx(f"n{i}", extra=extra))
        self.endpoints = [address_text(origin.addresses[0]) for origin in self.origins]
        text = CONFIG.replace("ENDPOINTS", ", ".join(self.endpoints)).replace("TERM", str(term))
        return self.weir(None, *flags, config=text, shards=2)

    def fall_ill(self, i):
        with open(self.sick[i], "w", encoding="ascii"):
            pass

    def endpoint(self, weir, i):
        return json.loads(weir.page("/upstreams/web")[1])["upstreams"][0]["endpoints"][i]

    def until_ejected(self, weir, i, why):
        begin = time.monotonic()
        wait_for(lambda: self.endpoint(weir, i)["ejected"], f"endpoint {i} ejected")
        self.assertLess(time.monotonic() - begin, DETECT)
        endpoint = self.endpoint(weir, i)
        self.assertFalse(endpoint["takes_requests"])
        self.assertRegex(endpoint["why_not"], rf"ejected \(\d+ {why}s in a row, for \d s more\)")
        before = endpoint["requests"]
        time.sleep(0.3)
        endpoint = self.endpoint(weir, i)
        self.assertTrue(endpoint["ejected"])
        self.assertEqual(endpoint["requests"], before, "nothing new")

    def until_back(self, weir, i):
        wait_for(lambda: not self.endpoint(weir, i)["ejected"], f"endpoint {i} back")
        before = self.endpoint(weir, i)["requests"]
        wait_for(lambda: self.endpoint(weir, i)["requests"] > before + 10, "used again")

    def test_sick_frozen_and_refusing_under_load(self):
        weir = self.start(5)
        wrk = Wrk(f"http://{address_text(weir.address)}/", connections=40, seconds=18)
        wait_for(lambda: self.endpoint(weir, 4)["requests"] > 100, "all are used")

        self.fall_ill(1)
        self.until_ejected(weir, 1, "server error")
        weir.signal(signal.SIGHUP)
        os.unlink(self.sick[1])

        frozen = self.origins[2].process
        frozen.signal(signal.SIGSTOP)
        try:
            self.until_ejected(weir, 2, "timeout")
        finally:
            frozen.signal(signal.SIGCONT)

        self.until_back(weir, 1)
        self.origins[3].kill()
        self.until_ejected(weir, 3, "gateway error")
        self.origins[3].start()
        self.until_back(weir, 2)
        self.until_back(weir, 3)

        result = wrk.result()
        self.assertEqual((result.connect, result.read, result.write, result.timeout), (0,) * 4, result.text)
        self.assertGreater(result.requests, 1000)
        # Those that showed it, on each shard, and what was in flight meanwhile.
        self.assertGreaterEqual(result.bad, 5 + 3)
        self.assertLess(result.bad, 400)
        metrics = weir.metrics()
        said = weir.err()
        for i, reason, why in ((1, "5xx", "server error"), (2, "timeouts", "timeout"), (3, "gateway_errors", "gateway error")):
            name = self.endpoints[i]
            count = weir_harness.pick(metrics, "weir_endpoint_ejections_total", endpoint=name, reason=reason)
            self.assertGreaterEqual(count, 1)
            self.assertEqual(weir_harness.pick(metrics, "weir_endpoint_ejected", endpoint=name), 0)
            self.assertRegex(said, rf"upstream web: endpoint {name} is ejected for {TERM} s: \d+ {why}s in a row")
            self.assertIn(f"upstream web: endpoint {name} is no longer ejected, after {TERM}", said)
        for i in (0, 4):
            self.assertEqual(self.endpoint(weir, i)["ejections"], 0, said)

    def test_an_operator_puts_it_back(self):
        token = os.path.join(scratch("token"), "token")
        with open(token, "w", encoding="ascii") as file:
            file.write("0123456789abcdef\n")
        weir = self.start(2, f"--admin_token_file={token}", term=600)
        url = f"http://{address_text(weir.address)}/"
        self.fall_ill(0)
        statuses = [self.get(weir).status for _ in range(60)]
        self.assertTrue(self.endpoint(weir, 0)["ejected"])
        self.assertEqual(set(statuses[-20:]), {200})
        self.assertLessEqual(statuses.count(500), 10, "five on each shard")
        self.assertIn(" server errors in a row, for 600 s more)", weir.page(f"/explain?url={url}")[1])
        self.fall_ill(1)
        self.assertEqual({self.get(weir).status for _ in range(30)}, {500}, "never all")
        self.assertFalse(self.endpoint(weir, 1)["ejected"])
        for sick in self.sick:
            os.unlink(sick)
        before = self.endpoint(weir, 0)["requests"]
        self.assertEqual({self.get(weir).status for _ in range(10)}, {200})
        self.assertEqual(self.endpoint(weir, 0)["requests"], before)
        target = f"http://{address_text(weir.admin)}/upstreams/web/endpoints/{self.endpoints[0]}?state=ready"
        done = run([need("curl"), "-sS", "-g", "-X", "POST", "-H", "Authorization: Bearer 0123456789abcdef", target])
        self.assertEqual(done.stdout, f"upstream web: endpoint {self.endpoints[0]} is ready\n", done.stderr)
        self.assertEqual({self.get(weir).status for _ in range(10)}, {200})
        self.assertGreater(self.endpoint(weir, 0)["requests"], before)


if __name__ == "__main__":
    unittest.main()
