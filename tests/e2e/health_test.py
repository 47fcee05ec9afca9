"""Active checks: five real nginx under wrk; one is killed, one frozen, one answers 500 to its check, with reloads."""

import os
import re
import signal
import threading
import time
import unittest

import weir_harness
from weir_harness import WeirTest, Wrk, address_text, run, scratch, wait_for

INTERVAL, DOWN, TIMEOUT, RISE, FALL = 0.4, 0.2, 0.3, 2, 3
# From what happens to when everybody knows; the second is for a busy machine.
DETECT = FALL * INTERVAL + TIMEOUT + 1
BACK = (RISE + 1) * DOWN + TIMEOUT + 1

CONFIG = """
access_log: {file: ERRORS, sample: 1/1000000, errors: all}
listeners: [{address: LISTEN0, upstream: web}]
upstreams:
  web:
    endpoints: [ENDPOINTS]
    retries: 3
    timeouts: {response: 10s}
    health_check: {path: /www/up, interval: 400ms, interval_down: 200ms, timeout: 300ms, body: well}
"""


class Health(WeirTest):
    def start(self, count, response="10s"):
        self.origins = [self.nginx(f"n{i}") for i in range(count)]
        for origin in self.origins:
            origin.write("up", b"all is well\n")
        self.endpoints = [address_text(origin.addresses[0]) for origin in self.origins]
        config = CONFIG.replace("ENDPOINTS", ", ".join(self.endpoints)).replace("10s", response)
        self.errors = os.path.join(scratch("health"), "errors")
        config = config.replace("ERRORS", self.errors)
        return self.weir(None, config=config, shards=2)

    def health(self, weir):
        endpoints = weir.stats()["upstreams"][0]["endpoints"]
        return [endpoint["health"] for endpoint in endpoints]

    def until(self, weir, i, health, within):
        begin = time.monotonic()
        wait_for(lambda: self.health(weir)[i] == health, f"endpoint {i} {health}")
        self.assertLess(time.monotonic() - begin, within)

    def reload(self, weir, retries):
        with open(weir.config, encoding="utf-8") as file:
            text = file.read()
        with open(weir.config + ".new", "w", encoding="utf-8") as file:
            file.write(re.sub(r"retries: \d", f"retries: {retries}", text))
        os.replace(weir.config + ".new", weir.config)
        weir.signal(signal.SIGHUP)

    def check_nothing_lost(self, wrk):
        result = wrk.result()
        with open(self.errors, encoding="utf-8") as file:
            why = result.text + file.read(4000)
        self.assertEqual((result.bad, result.connect, result.read, result.write, result.timeout), (0,) * 5, why)
        self.assertGreater(result.requests, 1000)

    def requests(self, weir, i):
        return weir.stats()["upstreams"][0]["endpoints"][i]["requests"]

    def test_killed_frozen_and_sick_under_load(self):
        weir = self.start(5)
        wait_for(lambda: self.health(weir) == ["up"] * 5, "checks")
        url = f"http://{address_text(weir.address)}/"
        wrk = Wrk(url, connections=40, seconds=14)
        killed, frozen, sick = self.origins[1:4]
        time.sleep(0.5)

        killed.kill()
        self.until(weir, 1, "down", DETECT)
        self.reload(weir, 4)
        killed.start()
        self.until(weir, 1, "up", BACK)

        frozen.process.signal(signal.SIGSTOP)
        try:
            self.until(weir, 2, "down", DETECT)
            before = self.requests(weir, 2)
            self.reload(weir, 3)
            time.sleep(0.5)
            self.assertEqual(self.requests(weir, 2), before, "it gets nothing, also after a reload")
        finally:
            frozen.process.signal(signal.SIGCONT)
        self.until(weir, 2, "up", BACK)

        os.unlink(os.path.join(sick.www, "up"))
        self.until(weir, 3, "down", DETECT)
        endpoint = weir.stats()["upstreams"][0]["endpoints"][3]
        self.assertEqual(endpoint["last_check_error"], "status 404")
        before = self.requests(weir, 3)
        time.sleep(0.5)
        self.assertEqual(self.requests(weir, 3), before)
        sick.write("up", b"all is bad\n")
        time.sleep(1)
        self.assertEqual(self.health(weir)[3], "down")
        sick.write("up", b"all is well\n")
        self.until(weir, 3, "up", BACK)
        before = self.requests(weir, 3)
        wait_for(lambda: self.requests(weir, 3) > before + 10, "used again")

        self.check_nothing_lost(wrk)
        self.assertEqual(self.health(weir), ["up"] * 5)
        said = weir.err()
        for i, why in ((1, ""), (2, "no answer within 300 ms"), (3, "status 404")):
            self.assertIn(f"upstream web: endpoint {self.endpoints[i]} is down: {why}", said)
            self.assertIn(f"upstream web: endpoint {self.endpoints[i]} is up: its checks pass", said)
        metrics = weir.metrics()
        for endpoint in self.endpoints:
            self.assertEqual(weir_harness.pick(metrics, "weir_endpoint_up", endpoint=endpoint), 1)
            self.assertGreater(weir_harness.pick(metrics, "weir_endpoint_checks_total", endpoint=endpoint), 10)

    def test_what_waits_for_a_frozen_one_is_answered_by_another(self):
        weir = self.start(2)
        wait_for(lambda: self.health(weir) == ["up"] * 2, "checks")
        frozen = self.origins[0].process
        frozen.signal(signal.SIGSTOP)
        try:
            answers = []
            clients = [threading.Thread(target=lambda: answers.append(self.get(weir))) for _ in range(20)]
            for client in clients:
                client.start()
            for client in clients:
                client.join(10)
            self.assertEqual([answer.status for answer in answers], [200] * 20)
            self.assertEqual({answer.body for answer in answers}, {b"n1\n"})
            self.assertEqual(self.health(weir), ["down", "up"])
            retries = weir_harness.pick(weir.metrics(), "weir_retries_total")
            self.assertEqual(retries, self.requests(weir, 0))
            self.assertGreater(retries, 3, "more than the budget lets try again at one time")
        finally:
            frozen.signal(signal.SIGCONT)
        self.until(weir, 0, "up", BACK)

    def test_a_pause_of_the_proxy_is_no_timeout(self):
        weir = self.start(2, response="1s")
        wait_for(lambda: self.health(weir) == ["up"] * 2, "checks")
        wrk = Wrk(f"http://{address_text(weir.address)}/", connections=40, seconds=6)
        for _ in range(2):
            time.sleep(0.5)
            weir.signal(signal.SIGSTOP)
            time.sleep(2)
            weir.signal(signal.SIGCONT)
        self.check_nothing_lost(wrk)
        self.assertEqual(self.health(weir), ["up"] * 2)
        self.assertIn("stood still for ", weir.err())
        self.assertNotIn("is down", weir.err())
        metrics = weir.metrics()
        for shard in ("0", "1", "control"):
            self.assertGreaterEqual(weir_harness.pick(metrics, "weir_stalls_total", shard=shard), 2)
            self.assertGreater(weir_harness.pick(metrics, "weir_stalled_milliseconds_total", shard=shard), 2000)
        self.assertEqual(weir_harness.pick(metrics, "weir_upstream_timeouts_total"), 0)

    def test_all_down_and_back(self):
        weir = self.start(2)
        for origin in self.origins:
            os.unlink(os.path.join(origin.www, "up"))
        wait_for(lambda: self.health(weir) == ["down"] * 2, "both down")
        self.assertEqual({self.get(weir).status for _ in range(10)}, {503})
        self.assertIn("upstream web: no endpoint left", weir.err())
        done = run([weir_harness.binary(), "explain", f"--config={weir.config}", f"http://{address_text(weir.address)}/"])
        self.assertEqual(done.returncode, 0, done.stderr)
        for origin in self.origins:
            origin.write("up", b"well")
        wait_for(lambda: self.health(weir) == ["up"] * 2, "both up")
        self.assertEqual({self.get(weir).status for _ in range(10)}, {200})
        self.assertIn("upstream web: an endpoint is there again", weir.err())


if __name__ == "__main__":
    unittest.main()
