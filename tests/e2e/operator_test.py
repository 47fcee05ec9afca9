"""What operators say of endpoints, with curl: real nginx under wrk are drained, forced down and taken back."""

import json
import os
import signal
import time
import unittest

from weir_harness import WeirTest, Wrk, address_text, need, run, scratch, wait_for

TOKEN = "0123456789abcdef"

CONFIG = """
listeners: [{address: LISTEN0, upstream: web}]
upstreams: {web: {endpoints: [ENDPOINTS], slow_start: 2s}}
"""


class Operator(WeirTest):
    def start(self, count, *flags):
        self.origins = [self.nginx(f"n{i}") for i in range(count)]
        self.endpoints = [address_text(origin.addresses[0]) for origin in self.origins]
        self.token = os.path.join(scratch("token"), "token")
        with open(self.token, "w", encoding="ascii") as file:
            file.write(TOKEN + "\n")
        text = CONFIG.replace("ENDPOINTS", ", ".join(self.endpoints))
        return self.weir(None, f"--admin_token_file={self.token}", *flags, config=text, shards=2)

    def curl(self, weir, path, *options, token=TOKEN):
        """(status, text)"""
        argv = [need("curl"), "-sS", "-g", "-w", "%{http_code}", *options]
        if token:
            argv += ["-H", f"Authorization: Bearer {token}"]
        done = run([*argv, f"http://{address_text(weir.admin)}{path}"])
        self.assertEqual(done.returncode, 0, done.stderr)
        return int(done.stdout[-3:]), done.stdout[:-3]

    def say(self, weir, i, state):
        status, text = self.curl(weir, f"/upstreams/web/endpoints/{self.endpoints[i]}?state={state}", "-X", "POST")
        self.assertEqual(status, 200, text)
        return text

    def endpoint(self, weir, i):
        status, text = self.curl(weir, "/upstreams/web", token=None)
        self.assertEqual(status, 200)
        return json.loads(text)["upstreams"][0]["endpoints"][i]

    def test_drained_down_and_back_under_load(self):
        weir = self.start(3)
        wrk = Wrk(f"http://{address_text(weir.address)}/", connections=40, seconds=9)
        wait_for(lambda: self.endpoint(weir, 2)["requests"] > 100, "all are used")
        for i, state, word in ((0, "drain", "draining"), (1, "down", "down")):
            self.assertEqual(self.say(weir, i, state), f"upstream web: endpoint {self.endpoints[i]} is {word}\n")
            before = self.endpoint(weir, i)["requests"]
            weir.signal(signal.SIGHUP)
            time.sleep(0.5)
            endpoint = self.endpoint(weir, i)
            self.assertEqual(endpoint["requests"], before, "nothing new, from the answer on")
            self.assertEqual((endpoint["operator"], endpoint["takes_requests"]), (state, False))
            self.assertEqual(endpoint["why_not"], f"{word} (operator)")
            wait_for(lambda i=i: self.endpoint(weir, i)["active"] == 0, "what was in flight is over")
            wait_for(lambda i=i: self.endpoint(weir, i)["idle_connections"] == 0, "and no connection is kept")
        # Slowly back, and then with all of its share.
        self.say(weir, 0, "ready")
        endpoint = self.endpoint(weir, 0)
        self.assertTrue(endpoint["takes_requests"])
        self.assertLess(endpoint["weight_percent"], 100)
        wait_for(lambda: self.endpoint(weir, 0)["weight_percent"] == 100, "its slow start is over")
        self.say(weir, 1, "ready")
        wait_for(lambda: self.endpoint(weir, 1)["weight_percent"] == 100, "its slow start is over")
        result = wrk.result()
        self.assertEqual((result.bad, result.connect, result.read, result.write, result.timeout), (0,) * 5, result.text)
        self.assertGreater(result.requests, 1000)
        said = weir.err()
        for line in ("draining", "ready", "down"):
            self.assertIn(f" is {line}, says the operator (127.0.0.1:", said)

    def test_with_none_left_requests_get_503(self):
        weir = self.start(1)
        self.assertEqual(self.get(weir).status, 200)
        self.say(weir, 0, "drain")
        self.assertEqual(self.get(weir).status, 503)
        self.assertIn("upstream web: no endpoint left", weir.err())
        self.say(weir, 0, "ready")
        self.assertEqual(self.get(weir).status, 200)
        self.assertIn("upstream web: an endpoint is there again", weir.err())

    def test_who_may_and_what_is_understood(self):
        weir = self.start(1)
        path = f"/upstreams/web/endpoints/{self.endpoints[0]}"
        for want, at, options, token in (
            (401, f"{path}?state=down", ("-X", "POST"), None),
            (401, f"{path}?state=down", ("-X", "POST"), "wrong-wrong-wrong"),
            (403, f"{path}?state=down", ("-X", "POST", "-H", "Origin: http://localhost"), TOKEN),
            (403, f"{path}?state=down", ("-X", "POST", "-H", "Host: weir.example"), TOKEN),
            (405, f"{path}?state=down", (), TOKEN),
            (405, "/upstreams", ("-X", "POST"), TOKEN),
            (400, path, ("-X", "POST"), TOKEN),
            (400, f"{path}?state=off", ("-X", "POST"), TOKEN),
            (400, "/upstreams/web/endpoints/?state=down", ("-X", "POST"), TOKEN),
            (404, "/upstreams/web/endpoints/127.0.0.1:1?state=down", ("-X", "POST"), TOKEN),
            (404, f"/upstreams/none/endpoints/{self.endpoints[0]}?state=down", ("-X", "POST"), TOKEN),
            (404, "/upstreams/none", (), TOKEN),
        ):
            status, text = self.curl(weir, at, *options, token=token)
            self.assertEqual(status, want, f"{at}: {text}")
            self.assertTrue(text.endswith("\n"), text)
        self.assertEqual(self.endpoint(weir, 0)["operator"], "ready")
        self.assertNotIn("says the operator", weir.err())


if __name__ == "__main__":
    unittest.main()
