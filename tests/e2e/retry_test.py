"""Further attempts: real nginx of which one answers 503, one closes without an answer, one is frozen for a while, one refuses."""

import collections
import os
import re
import signal
import time
import unittest

import weir_harness
from weir_harness import WeirTest, Wrk, address_text, free_port, wait_for

CONFIG = """
listeners: [{address: LISTEN0, upstream: web}]
upstreams:
  web:
    endpoints: [ENDPOINTS]
    retries: 7
    retry: {on: [connect_failure, reset, gateway_error], per_try_timeout: 2s, body: 8KiB, backoff: {base: 2ms}}
    BUDGET
"""


class Retry(WeirTest):
    def start(self, budget):
        """Well, well, 503, closes, and nobody."""
        self.origins = []
        for i, answer in enumerate(("200", "200", "503", "444")):
            log = os.path.join(weir_harness.scratch("log"), "access.log")
            extra = f'access_log {log}; location /api/ {{ default_type text/plain; return {answer} "{i}\\n"; }}'
            if answer == "444":
                extra = f"access_log {log}; location /api/ {{ return 444; }}"
            self.origins.append(self.nginx(f"n{i}", extra=extra))
            self.origins[-1].log = log
        endpoints = [address_text(origin.addresses[0]) for origin in self.origins] + [f"127.0.0.1:{free_port()}"]
        config = CONFIG.replace("ENDPOINTS", ", ".join(endpoints)).replace("BUDGET", budget)
        return self.weir(None, config=config, shards=2)

    def heard(self):
        """How often each request line stands in the origins' logs."""
        lines = collections.Counter()
        for origin in self.origins:
            with open(origin.log, encoding="utf-8") as log:
                lines.update(re.findall(r'"([A-Z]+ /api/\S*) HTTP', log.read()))
        return lines

    def test_gets_are_answered_whoever_fails(self):
        weir = self.start("retry_budget: off")
        wrk = Wrk(f"http://{address_text(weir.address)}/api/", connections=30, seconds=8)
        time.sleep(1)
        frozen = self.origins[1].process
        frozen.signal(signal.SIGSTOP)
        time.sleep(4)
        frozen.signal(signal.SIGCONT)
        result = wrk.result()
        self.assertEqual((result.bad, result.connect, result.read, result.write, result.timeout), (0,) * 5, result.text)
        self.assertGreater(result.requests, 100)
        metrics = weir.metrics()
        self.assertGreater(weir_harness.pick(metrics, "weir_retries_total"), result.requests / 10)
        self.assertGreater(weir_harness.pick(metrics, "weir_upstream_timeouts_total"), 0, "who was frozen was left")
        self.assertEqual(weir_harness.pick(metrics, "weir_retries_over_budget_total"), 0)

    def test_the_budget_spares_an_upstream_that_fails(self):
        weir = self.start("retry_budget: {share: 20%, min: 1}")
        wrk = Wrk(f"http://{address_text(weir.address)}/api/", connections=50, seconds=4)
        result = wrk.result()
        self.assertGreater(result.bad, 0, "two of four fail, and a fifth may be tried again")
        metrics = weir.metrics()
        self.assertGreater(weir_harness.pick(metrics, "weir_retries_over_budget_total"), 0)
        # Of those whom wrk left some were in flight, or waited for a place.
        endpoints = lambda: weir.stats()["upstreams"][0]["endpoints"]
        wait_for(lambda: [endpoint["active"] for endpoint in endpoints()] == [0] * 5, "the end of the last")

    def test_what_is_not_idempotent_is_sent_once(self):
        weir = self.start("retry_budget: off")
        client = self.client(weir)
        statuses = collections.Counter()
        frozen = self.origins[1].process
        for i in range(60):
            if i == 20:
                frozen.signal(signal.SIGSTOP)
            if i == 24:
                # What it was sent while it was frozen waits there, and is read now.
                frozen.signal(signal.SIGCONT)
            method = "POST" if i % 2 else "PUT"
            body = b"x" * (i * 50)
            if 20 <= i < 24:
                if method == "POST":
                    continue  # it would wait for as long as the answer may take
            client.send(f"{method} /api/{i} HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = client.response()
            statuses[method, answer.status] += 1
            if answer.header("connection") == "close":
                client = self.client(weir)
        self.assertEqual(statuses["PUT", 200], 30, statuses)
        self.assertGreater(statuses["POST", 200], 0, statuses)
        self.assertGreater(statuses["POST", 503] + statuses["POST", 502], 0, statuses)
        self.assertEqual(sum(statuses.values()), 58)
        wait_for(lambda: len(self.heard()) == 58, "logs")
        heard = self.heard()
        self.assertEqual({line: times for line, times in heard.items() if line.startswith("POST") and times > 1}, {})
        self.assertGreater(sum(heard.values()), 58, "the others were")
        self.assertLessEqual(max(heard.values()), 8)

    def test_an_early_answer_to_a_body_that_is_kept(self):
        def answer(connection, origin):
            connection.request_head()
            connection.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
            connection.rest()

        origin = self.origin(answer)
        weir = self.weir(
            None,
            config=f"""
listeners: [{{address: LISTEN0, routes: all}}]
upstreams: {{web: {{endpoints: [{origin}], retry: {{body: 16KiB}}}}}}
routes:
  all: [{{match: {{}}, upstream: web, response_headers: {{set: {{X-Endpoint: "${{endpoint}}", X-Path: "${{path}}"}}}}}}]
""",
        )
        client = self.client(weir)
        client.send(b"PUT /a/b HTTP/1.1\r\nHost: t\r\nContent-Length: 9000\r\n\r\n" + b"x" * 3000)
        response = client.response()
        self.assertEqual(response.status, 413)
        self.assertEqual(response.header("x-endpoint"), str(origin))
        self.assertEqual(response.header("x-path"), "/a/b")


if __name__ == "__main__":
    unittest.main()
