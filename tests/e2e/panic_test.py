"""Panic: five real nginx under wrk whose checks lie, and all of them killed and back."""

import json
import os
import time
import unittest

import weir_harness
from weir_harness import WeirTest, Wrk, address_text, wait_for

CONFIG = """
listeners: [{address: LISTEN0, upstream: web}]
upstreams:
  web:
    endpoints: [ENDPOINTS]
    retries: 3
    MORE
    health_check: {path: /www/up, interval: 500ms, interval_down: 300ms, timeout: 300ms, RISE}
"""


class Panic(WeirTest):
    def start(self, count, more, rise="rise: 2"):
        self.origins = [self.nginx(f"n{i}") for i in range(count)]
        for origin in self.origins:
            origin.write("up", b"well\n")
        endpoints = ", ".join(address_text(origin.addresses[0]) for origin in self.origins)
        text = CONFIG.replace("ENDPOINTS", endpoints).replace("MORE", more).replace("RISE", rise)
        weir = self.weir(None, config=text, shards=2)
        wait_for(lambda: self.health(weir) == ["up"] * count, "checks")
        return weir

    def upstream(self, weir):
        return json.loads(weir.page("/upstreams/web")[1])["upstreams"][0]

    def health(self, weir):
        return [endpoint["health"] for endpoint in self.upstream(weir)["endpoints"]]

    def answering(self, weir):
        return {self.get(weir).body for _ in range(30)}

    def spoil(self, *which):
        for i in which:
            os.unlink(os.path.join(self.origins[i].www, "up"))

    def test_checks_that_lie(self):
        weir = self.start(5, "panic_threshold: 50%")
        wrk = Wrk(f"http://{address_text(weir.address)}/", connections=30, seconds=12)
        self.spoil(0, 1)
        wait_for(lambda: self.health(weir) == ["down", "down", "up", "up", "up"], "two are down")
        self.assertEqual(self.answering(weir), {b"n2\n", b"n3\n", b"n4\n"})
        self.assertEqual(weir.metric("weir_upstream_panic", upstream="web"), 0)

        self.spoil(2)
        wait_for(lambda: weir.metric("weir_upstream_panic", upstream="web") == 1, "a panic")
        wait_for(lambda: len(self.answering(weir)) == 5, "all are used")
        upstream = self.upstream(weir)
        self.assertEqual((upstream["panic"], upstream["panics"]), (True, 1))
        self.assertEqual(
            [(endpoint["health"], endpoint["takes_requests"]) for endpoint in upstream["endpoints"]],
            [("down", True)] * 3 + [("up", True)] * 2,
        )
        said = weir.page("/explain?url=/&header=Host:+a")[1]
        self.assertIn(": down (status 404), but in use: panic, ", said)
        self.assertIn("panic      while less than 50 % are well; all down: panic\n", said)

        self.origins[2].write("up", b"well\n")
        wait_for(lambda: weir.metric("weir_upstream_panic", upstream="web") == 0, "the end of the panic")
        wait_for(lambda: self.answering(weir) == {b"n2\n", b"n3\n", b"n4\n"}, "those are used that are well")
        result = wrk.result()
        self.assertEqual((result.bad, result.connect, result.read, result.write, result.timeout), (0,) * 5, result.text)
        self.assertEqual(weir.metric("weir_upstream_panics_total", upstream="web"), 1)
        lines = [line.split("Z ", 1)[1] for line in weir.err().splitlines() if "panic" in line]
        self.assertEqual(
            lines,
            [
                "upstream web: panic: 2 of 5 endpoints well, so that all are used",
                "upstream web: the panic is over",
            ],
        )

    def test_all_killed_and_back(self):
        """Whoever is back is found by requests, before its checks say so."""
        weir = self.start(3, "on_all_down: panic", rise="rise: 10")
        self.assertEqual(len(self.answering(weir)), 3)
        for origin in self.origins:
            origin.kill()
        wait_for(lambda: self.health(weir) == ["down"] * 3, "all are down")
        wait_for(lambda: weir.metric("weir_upstream_panic", upstream="web") == 1, "a panic")
        self.assertIn("upstream web: panic: 0 of 3 endpoints well, so that all are used", weir.err())
        # Whom a shard has set aside it leaves alone for a while in a panic too, but for the last.
        self.assertLessEqual({self.get(weir).status for _ in range(10)}, {502, 503})
        for origin in self.origins:
            origin.start()
        wait_for(lambda: self.get(weir).status == 200, "one is found")
        self.assertIn("down", self.health(weir))
        wait_for(lambda: self.health(weir) == ["up"] * 3, "all are up", seconds=30)
        wait_for(lambda: len(self.answering(weir)) == 3, "all are used")
        self.assertEqual(weir.metric("weir_upstream_panic", upstream="web"), 0)
        self.assertEqual({self.get(weir).status for _ in range(10)}, {200})


if __name__ == "__main__":
    unittest.main()
