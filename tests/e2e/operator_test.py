"""What operators say of endpoints, with curl: real nginx under wrk are drained, forced down and taken back, added,
given another weight and removed."""

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
    def start(self, count, *flags, in_file=None, config=CONFIG):
        """`count` nginx, of which the file has the first `in_file`."""
        self.origins = [self.nginx(f"n{i}") for i in range(count)]
        self.endpoints = [address_text(origin.addresses[0]) for origin in self.origins]
        self.token = os.path.join(scratch("token"), "token")
        with open(self.token, "w", encoding="ascii") as file:
            file.write(TOKEN + "\n")
        text = config.replace("ENDPOINTS", ", ".join(self.endpoints[: in_file or count]))
        return self.weir(None, f"--admin_token_file={self.token}", *flags, config=text, shards=2)

    def post(self, weir, path):
        status, text = self.curl(weir, path, "-X", "POST")
        self.assertEqual(status, 200, text)
        return text

    def upstream(self, weir):
        status, text = self.curl(weir, "/upstreams/web", token=None)
        self.assertEqual(status, 200)
        return json.loads(text)["upstreams"][0]

    def weights(self, weir):
        """{address: weight}"""
        return {endpoint["address"]: endpoint["weight"] for endpoint in self.upstream(weir)["endpoints"]}

    def requests(self, weir):
        return {endpoint["address"]: endpoint["requests"] for endpoint in self.upstream(weir)["endpoints"]}

    def reload(self, weir, text=None):
        """Answers what is told of it."""
        if text is not None:
            with open(weir.config, "w", encoding="utf-8") as file:
                file.write(text)
        return self.post(weir, "/reload")

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
        return next(e for e in json.loads(text)["upstreams"][0]["endpoints"] if e["name"] == self.endpoints[i])

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

    def test_added_given_weight_and_removed_under_load(self):
        weir = self.start(3, in_file=2)
        a, b, c = self.endpoints
        wrk = Wrk(f"http://{address_text(weir.address)}/", connections=40, seconds=14)
        wait_for(lambda: min(self.requests(weir).values()) > 100, "both are used")

        # One more, with a slow start.
        self.assertEqual(
            self.post(weir, f"/upstreams/web/endpoints?address={c}"),
            f"upstream web: endpoint {c} is added with weight 1\n",
        )
        self.assertLess(self.endpoint(weir, 2)["weight_percent"], 100)
        wait_for(lambda: self.endpoint(weir, 2)["weight_percent"] == 100, "its slow start is over")

        # Weights are shares, also behind a reload of the file, which has others.
        self.post(weir, f"/upstreams/web/endpoints/{c}?weight=2")
        self.post(weir, f"/upstreams/web/endpoints/{a}?weight=3&state=ready")
        self.assertNotIn("operator", self.reload(weir), "nothing to tell of them")
        self.assertEqual(self.weights(weir), {a: 3, b: 1, c: 2})
        first = self.requests(weir)
        wait_for(lambda: self.requests(weir)[b] > first[b] + 1000, "some more requests")
        last = self.requests(weir)
        total = sum(last.values()) - sum(first.values())
        for endpoint, share in ((a, 3 / 6), (b, 1 / 6), (c, 2 / 6)):
            self.assertAlmostEqual((last[endpoint] - first[endpoint]) / total, share, delta=0.03, msg=endpoint)

        # Without one of the file's: it gets nothing new, and loses its connections.
        status, text = self.curl(weir, f"/upstreams/web/endpoints/{b}", "-X", "DELETE")
        self.assertEqual((status, text), (200, f"upstream web: endpoint {b} is removed\n"))
        self.assertNotIn("operator", self.reload(weir))
        upstream = self.upstream(weir)
        self.assertEqual(upstream["removed"], [b])
        self.assertEqual(
            [(e["address"], e["from"], e["weight"], e["file_weight"]) for e in upstream["endpoints"]],
            [(a, "file", 3, 1), (c, "operator", 2, 0)],
        )
        # Without the one that was added, and with the file's again.
        self.assertEqual(self.curl(weir, f"/upstreams/web/endpoints/{c}", "-X", "DELETE")[0], 200)
        self.post(weir, f"/upstreams/web/endpoints?address={b}")
        self.assertEqual(self.weights(weir), {a: 3, b: 1})
        wait_for(lambda: self.requests(weir)[b] > 100, "it is used again")

        result = wrk.result()
        self.assertEqual((result.bad, result.connect, result.read, result.write, result.timeout), (0,) * 5, result.text)
        self.assertGreater(result.requests, 1000)
        said = weir.err()
        for what in (f"{c} is added with weight 1", f"{a} has weight 3", f"{b} is removed"):
            self.assertIn(f"upstream web: endpoint {what}, says the operator (127.0.0.1:", said)

    def test_added_ones_are_checked_and_can_be_taken_out(self):
        config = CONFIG.replace("slow_start: 2s", "health_check: {path: /, interval: 200ms}")
        weir = self.start(2, in_file=1, config=config)
        added = self.endpoints[1]
        self.post(weir, f"/upstreams/web/endpoints?address={added}&weight=5")
        wait_for(lambda: self.endpoint(weir, 1)["checks"] > 1, "it is checked")
        self.assertEqual(self.endpoint(weir, 1)["health"], "up")
        self.say(weir, 1, "drain")
        self.reload(weir)
        self.assertEqual(self.endpoint(weir, 1)["operator"], "drain")
        # Whoever is removed and added again is a new one.
        self.assertEqual(self.curl(weir, f"/upstreams/web/endpoints/{added}", "-X", "DELETE")[0], 200)
        self.post(weir, f"/upstreams/web/endpoints?address={added}")
        self.assertEqual(self.endpoint(weir, 1)["operator"], "ready")
        # One that nobody is at.
        self.origins[1].close()
        wait_for(lambda: self.endpoint(weir, 1)["health"] == "down", "its checks fail")
        self.assertEqual({self.get(weir).status for _ in range(20)}, {200})

    def test_a_reload_tells_what_the_file_has_now(self):
        weir = self.start(2, in_file=1)
        a, b = self.endpoints
        with open(weir.config, encoding="utf-8") as file:
            text = file.read()
        self.post(weir, f"/upstreams/web/endpoints?address={b}&weight=2")
        told = self.reload(weir, text.replace(a, f"{{address: '{a}'}}, {{address: '{b}', weight: 2}}"))
        line = f"upstream web: endpoint {b} was added by an operator, and is in the file now: the file has the same weight"
        self.assertIn(line + "\n", told)
        self.assertIn(line, weir.err())
        self.assertEqual({e["from"] for e in self.upstream(weir)["endpoints"]}, {"file"})
        self.assertEqual(self.get(weir, "/").status, 200)
        # Explain, too, goes by what is so.
        self.post(weir, f"/upstreams/web/endpoints/{a}?weight=7")
        status, text = self.curl(weir, "/explain?url=http://web/", token=None)
        self.assertEqual(status, 200)
        self.assertIn(f"among {a} (weight 7), {b} (weight 2)\n", text)

    def test_the_last_endpoint_stays(self):
        weir = self.start(1)
        path = f"/upstreams/web/endpoints/{self.endpoints[0]}"
        status, text = self.curl(weir, path, "-X", "DELETE")
        self.assertEqual(status, 409)
        self.assertIn("one endpoint must stay", text)
        self.assertEqual(self.get(weir).status, 200)

    def test_changes_that_were_asked_for_together_are_all_made(self):
        weir = self.start(1)
        ports = range(20001, 20031)
        path = "/upstreams/web/endpoints?address=127.9.9.9:"
        urls = [f"http://{address_text(weir.admin)}{path}{port}" for port in ports]
        argv = [need("curl"), "-sS", "-g", "-X", "POST", "-H", f"Authorization: Bearer {TOKEN}"]
        done = run([*argv, "--parallel", "--parallel-immediate", "--parallel-max", "30", *urls])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count(" is added with weight 1\n"), len(ports), done.stdout)
        self.assertEqual(len(self.weights(weir)), 1 + len(ports))

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
            (401, path, ("-X", "DELETE"), None),
            (403, path, ("-X", "DELETE", "-H", "Origin: http://localhost"), TOKEN),
            (401, "/upstreams/web/endpoints?address=127.0.0.1:1", ("-X", "POST"), None),
            (405, "/upstreams/web/endpoints?address=127.0.0.1:1", ("-X", "PUT"), TOKEN),
            (405, "/upstreams/web/endpoints", ("-X", "DELETE"), TOKEN),
            (405, "/upstreams/web", ("-X", "DELETE"), TOKEN),
            (405, "/reload", ("-X", "DELETE"), TOKEN),
            (400, "/upstreams/web/endpoints", ("-X", "POST"), TOKEN),
            (400, "/upstreams/web/endpoints?address=localhost:80", ("-X", "POST"), TOKEN),
            (400, f"{path}?weight=0", ("-X", "POST"), TOKEN),
            (400, f"{path}?weight=2", ("-X", "DELETE"), TOKEN),
            (404, "/upstreams/none/endpoints?address=127.0.0.1:1", ("-X", "POST"), TOKEN),
            (404, "/upstreams/web/endpoints/127.0.0.1:1", ("-X", "DELETE"), TOKEN),
            (404, "/upstreams/web/endpoints/127.0.0.1:1?weight=2&state=drain", ("-X", "POST"), TOKEN),
            (409, f"/upstreams/web/endpoints?address={self.endpoints[0]}", ("-X", "POST"), TOKEN),
            (409, f"/upstreams/web/endpoints?address={address_text(weir.admin)}", ("-X", "POST"), TOKEN),
        ):
            status, text = self.curl(weir, at, *options, token=token)
            self.assertEqual(status, want, f"{at}: {text}")
            self.assertTrue(text.endswith("\n"), text)
        self.assertEqual(self.endpoint(weir, 0)["operator"], "ready")
        self.assertNotIn("says the operator", weir.err())


if __name__ == "__main__":
    unittest.main()
