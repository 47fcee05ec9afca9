"""Zone preference: real nginx in two zones under wrk, killed and back."""

import json
import time
import unittest

from weir_harness import WeirTest, Wrk, address_text, binary, run, wait_for

CONFIG = """
listeners: [{address: LISTEN0, upstream: web}]
zone: nowhere
upstreams:
  web:
    endpoints: [ENDPOINTS]
    retries: 5
    retry_budget: off  # all that is in flight fails at once
    set_aside: 200ms
    health_check: {path: /www/NAME, interval: 300ms, interval_down: 300ms, timeout: 300ms, fall: 1, rise: 1}
    MORE
"""


class Zones(WeirTest):
    def start(self, *flags, more=""):
        """Three endpoints here, two there, and Weir is here."""
        self.origins = {name: self.nginx(name) for name in ("here0", "here1", "here2", "there0", "there1")}
        for origin in self.origins.values():
            origin.write("up", b"well\n")
        endpoints = ", ".join(
            f'{{address: "{address_text(origin.addresses[0])}", zone: {name[:-1]}}}' for name, origin in self.origins.items()
        )
        text = CONFIG.replace("ENDPOINTS", endpoints).replace("NAME", "up").replace("MORE", more)
        self.front = self.weir(None, "--zone=here", *flags, config=text, shards=2)
        self.wait_for_health("up up up up up")

    def upstream(self):
        return json.loads(self.front.page("/upstreams/web")[1])["upstreams"][0]

    def wait_for_health(self, health):
        wait_for(lambda: " ".join(e["health"] for e in self.upstream()["endpoints"]) == health, health, seconds=30)

    def heard(self, requests=40, path="/"):
        return [self.get(self.front, path).body.decode().strip() for _ in range(requests)]

    def left(self):
        return self.front.metric("weir_upstream_left_zone_total", upstream="web")

    def test_own_zone_first_and_none_lost(self):
        self.start()
        self.assertEqual([e["zone"] for e in self.upstream()["endpoints"]], ["here"] * 3 + ["there"] * 2)
        self.assertEqual(set(self.heard()), {"here0", "here1", "here2"})
        self.assertEqual(self.left(), 0)
        said = self.front.page("/explain?url=/&header=Host:+a")[1]
        self.assertIn("zone       here first", said)
        wrk = Wrk(f"http://{address_text(self.front.address)}/", connections=30, seconds=15)
        time.sleep(0.5)
        self.assertEqual(self.left(), 0, "under load too")

        self.origins["here0"].kill()  # 2 of 3: 93 % stay
        self.wait_for_health("down up up up up")
        wait_for(lambda: self.left() > 0, "some leave")
        self.origins["here1"].kill()  # 1 of 3: 47 % stay
        self.wait_for_health("down down up up up")
        before, stayed = self.left(), self.of_zone("here")
        time.sleep(1)
        left, stayed = self.left() - before, self.of_zone("here") - stayed
        self.assertGreater(left + stayed, 500)
        self.assertAlmostEqual(stayed / (left + stayed), 1.4 / 3, delta=0.1)
        self.origins["here2"].kill()
        self.wait_for_health("down down down up up")
        self.assertEqual(set(self.heard()), {"there0", "there1"})
        for name in ("here0", "here1", "here2"):
            self.origins[name].start()
        self.wait_for_health("up up up up up")
        wait_for(lambda: set(self.heard()) == {"here0", "here1", "here2"}, "back in the zone")
        result = wrk.result()
        self.assertEqual((result.bad, result.connect, result.read, result.write, result.timeout), (0,) * 5, result.text)
        before = self.left()
        self.heard()
        self.assertEqual(self.left(), before)
        self.assertEqual(self.front.stats()["upstreams"][0]["left_zone"], before)

    def of_zone(self, zone):
        return sum(e["requests"] for e in self.upstream()["endpoints"] if e["zone"] == zone)

    def test_two_of_a_zone_lead_keys_to_the_same(self):
        """The same file and another process: what a key meets is the same, also of the keys that leave."""
        more = "balance: maglev\n    hash_on: query:key"
        self.start(more=more)
        with open(self.front.config, encoding="utf-8") as file:
            text = file.read()
        first = self.front
        one = address_text(first.addresses[0])
        other = self.weir(None, "--zone=here", config=text.replace(f'"{one}"', "LISTEN0"), shards=1)
        self.origins["here0"].kill()
        self.origins["here1"].kill()
        for self.front in (first, other):
            self.wait_for_health("down down up up up")
        met = {weir: [self.get(weir, f"/?key={key}").body for key in range(200)] for weir in (first, other)}
        self.assertEqual(met[first], met[other])
        self.assertEqual(set(met[first]), {b"here2\n", b"there0\n", b"there1\n"})
        done = run([binary(), "explain", f"--config={first.config}", "--zone=here", "http://a/?key=7"])
        self.assertIn("(zone there)", done.stdout)


if __name__ == "__main__":
    unittest.main()
