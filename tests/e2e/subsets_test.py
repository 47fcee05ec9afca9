"""Subsets: a canary among real nginx that is met by its label, killed, drained, and given to others by a reload under wrk."""

import json
import os
import re
import unittest

from weir_harness import WeirTest, Wrk, address_text, need, ok, run, scratch, wait_for

TOKEN = "0123456789abcdef"

CONFIG = """
listeners:
  - {address: LISTEN0, routes: shop}
  - {address: LISTEN1, protocol: tcp, upstream: web, subset: {version: v2}}
upstreams:
  web:
    endpoints:
      - {address: ENDPOINT0, labels: {version: v1}}
      - {address: ENDPOINT1, labels: {version: v1, size: big}}
      - {address: ENDPOINT2, labels: {version: v2}}
      - {address: ENDPOINT3, labels: {version: v2, size: big}}
    retries: 5
    retry_budget: off
    MORE
routes:
  shop:
    - {match: {headers: {X-Canary: "1"}}, upstream: web, subset: {version: v2}, subset_fallback: FALLBACK}
    - {match: {headers: {X-All: "1"}}, upstream: web}
    - {upstream: web, subset: {version: v1}}
"""
CANARY = "X-Canary: 1\r\n"


class Subsets(WeirTest):
    def start(self, fallback, more="balance: round_robin"):
        self.origins = [self.nginx(f"n{i}") for i in range(4)]
        text = CONFIG.replace("FALLBACK", fallback).replace("MORE", more)
        for i, origin in enumerate(self.origins):
            text = text.replace(f"ENDPOINT{i}", address_text(origin.addresses[0]))
        token = os.path.join(scratch("token"), "token")
        with open(token, "w", encoding="ascii") as file:
            file.write(TOKEN + "\n")
        weir = self.weir(None, f"--admin_token_file={token}", config=text, shards=2, listen=("http", "tcp"))
        with open(weir.config, encoding="utf-8") as file:
            self.text = file.read()
        return weir

    def post(self, weir, path):
        done = run([need("curl"), "-sS", "-g", "-X", "POST", "-w", "%{http_code}", "-H", f"Authorization: Bearer {TOKEN}",
                    f"http://{address_text(weir.admin)}{path}"])
        self.assertEqual(done.stdout[-3:], "200", done.stdout)

    def reload(self, weir, text):
        with open(weir.config, "w", encoding="utf-8") as file:
            file.write(text)
        self.post(weir, "/reload")

    def answering(self, weir, extra="", listener=0):
        """Who answers, as digits; X: somebody answers with something else than 200."""
        answers = [self.get(weir, extra=extra, listener=listener) for _ in range(24)]
        return "".join(sorted({answer.body.decode()[1] if answer.status == 200 else "X" for answer in answers}))

    def all_was_well(self, wrk):
        result = wrk.result()
        self.assertEqual((result.bad, result.connect, result.read, result.write, result.timeout), (0,) * 5, result.text)
        self.assertGreater(result.requests, 1000)

    def test_without_a_fallback(self):
        weir = self.start("none")
        self.assertEqual(self.answering(weir, CANARY), "23")
        self.assertEqual(self.answering(weir), "01")
        self.assertEqual(self.answering(weir, "X-All: 1\r\n"), "0123")
        self.assertEqual(self.answering(weir, listener=1), "23")

        self.origins[2].kill()
        wait_for(lambda: self.answering(weir, CANARY) == "3", "the other one serves alone")
        self.origins[3].kill()

        def nobody():
            answer = self.get(weir, extra=CANARY)
            return answer.status == 503 and answer.header("Retry-After") is not None

        wait_for(nobody, "nobody of the subset is left")
        self.assertEqual(self.answering(weir), "01")
        self.assertEqual(self.answering(weir, "X-All: 1\r\n"), "01")
        for origin in self.origins[2:]:
            origin.start()
        wait_for(lambda: self.answering(weir, CANARY) == "23", "both are back")

        # What an operator says holds there too.
        for origin in self.origins[2:]:
            self.post(weir, f"/upstreams/web/endpoints/{address_text(origin.addresses[0])}?state=drain")
        self.assertEqual(self.answering(weir, CANARY), "X")
        for origin in self.origins[2:]:
            self.post(weir, f"/upstreams/web/endpoints/{address_text(origin.addresses[0])}?state=ready")
        self.assertEqual(self.answering(weir, CANARY), "23")

    def test_killed_under_load_with_a_fallback(self):
        weir = self.start("any")
        wrk = Wrk(f"http://{address_text(weir.address)}/", connections=30, seconds=8, headers=["X-Canary: 1"])
        wait_for(lambda: self.answering(weir, CANARY) == "23", "the canary serves")
        for origin in self.origins[2:]:
            origin.kill()
        wait_for(lambda: self.answering(weir, CANARY) == "01", "the others serve in its place")
        for origin in self.origins[2:]:
            origin.start()
        wait_for(lambda: self.answering(weir, CANARY) == "23", "the canary is back")
        self.all_was_well(wrk)

    def test_reloads_change_labels_under_load(self):
        weir = self.start("none")
        wrks = [
            Wrk(f"http://{address_text(weir.address)}/", connections=15, seconds=10, headers=headers)
            for headers in (["X-Canary: 1"], ["X-None: 1"])
        ]
        for swapped in (True, False) * 3:
            text = self.text
            if swapped:
                text = re.sub(r"version: v1, size|version: v2, size",
                              lambda match: match[0].replace("1", "x").replace("2", "1").replace("x", "2"), text)
            self.reload(weir, text)
            self.assertEqual(self.answering(weir, CANARY), "12" if swapped else "23", "from the answer on")
            self.assertEqual(self.answering(weir), "03" if swapped else "01")
        # Another subset, and another fallback.
        self.reload(weir, self.text.replace("subset: {version: v2}, subset_fallback: none",
                                            "subset: {version: v2, size: big}, subset_fallback: any"))
        self.assertEqual(self.answering(weir, CANARY), "3")
        for wrk in wrks:
            self.all_was_well(wrk)

        # One of nobody is refused, and nothing changes.
        with open(weir.config, "w", encoding="utf-8") as file:
            file.write(self.text.replace("subset: {version: v1}", "subset: {version: v7}"))
        done = run([need("curl"), "-sS", "-X", "POST", "-H", f"Authorization: Bearer {TOKEN}",
                    f"http://{address_text(weir.admin)}/reload"])
        self.assertIn('].subset.version: no endpoint of web has the label version: v7', done.stdout)
        self.assertEqual(self.answering(weir), "01")

    def test_what_is_told(self):
        weir = self.start("any", "balance: maglev\n    hash_on: 'header:X-User'")
        upstream = json.loads(weir.page("/upstreams/web")[1])["upstreams"][0]
        self.assertEqual(upstream["endpoints"][3]["labels"], {"size": "big", "version": "v2"})
        self.assertEqual(weir.stats()["upstreams"][0]["endpoints"][0]["labels"], {"version": "v1"})
        endpoints = [address_text(origin.addresses[0]) for origin in self.origins]
        met = set()
        for user in range(20):
            said = weir.page(f"/explain?url=/&header=Host:+a&header=X-Canary:+1&header=X-User:+{user}")[1]
            self.assertIn(f"subset     {{version: v2}}: {endpoints[2]}, {endpoints[3]}; else any\n", said)
            endpoint = re.search(r"\nendpoint   (\S+), by the hash of header:X-User", said)[1]
            answer = self.get(weir, extra=f"{CANARY}X-User: {user}\r\n")
            self.assertEqual(answer.body, f"n{endpoints.index(endpoint)}\n".encode())
            met.add(endpoint)
        self.assertEqual(met, set(endpoints[2:]))

        # Whom an operator adds has no labels.
        added = self.origin(lambda connection, _: connection.request() and connection.send(ok(b"n9\n")))
        self.post(weir, f"/upstreams/web/endpoints?address={added}")
        upstream = json.loads(weir.page("/upstreams/web")[1])["upstreams"][0]
        self.assertEqual(upstream["endpoints"][4]["labels"], {})
        self.assertEqual(self.answering(weir, CANARY), "23")


if __name__ == "__main__":
    unittest.main()
