"""`weir demo`: Weir in front of three origins of its own, as tools/demo starts it."""

import json
import re
import signal
import unittest

import weir_harness
from weir_harness import Process, WeirTest, binary, connect, need, parse_metrics, run, wait_for


class Demo(WeirTest):
    def start(self):
        ports = [weir_harness.free_port() for _ in range(2)]
        demo = Process([binary(), "demo", f"--listen=http://127.0.0.1:{ports[0]}", f"--admin=127.0.0.1:{ports[1]}"], "demo")
        self.addCleanup(demo.kill)

        def said():
            self.assertTrue(demo.alive(), demo.err())
            return "Ctrl-C" in demo.out()

        wait_for(said, "it says how to use it")
        return demo, ports

    def test_what_it_says_works(self):
        demo, ports = self.start()
        site, admin = (f"http://127.0.0.1:{port}/" for port in ports)
        text = demo.out()
        self.assertLess(text.index(site), text.index(admin))  # first the site
        # The line to try.
        line = re.search(r"^\s*(curl .*)$", text, re.M)[1].split()
        need("curl")
        got = run(line)
        self.assertEqual(got.returncode, 0, got.stderr)
        self.assertIn("200 OK", got.stdout)

        seen = {}
        for _ in range(6):
            client = connect(("127.0.0.1", ports[0]))
            client.send(b"GET /<x>?y=1 HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n".replace(b"<x>", b"%3Cx%3E"))
            response = client.closing_response()
            client.close()
            self.assertEqual(response.status, 200)
            name = re.search(rb"<h1>(Origin \d) answered</h1>", response.body)[1]
            seen[name] = seen.get(name, 0) + 1
            self.assertIn(b"X-Forwarded-For", response.body)
            self.assertIn(response.header("X-Origin").encode(), name)
        self.assertEqual(sorted(seen), [b"Origin 1", b"Origin 2", b"Origin 3"])

        page = run([need("curl"), "-sS", admin + "metrics"])
        metrics, _ = parse_metrics(page.stdout)
        self.assertGreaterEqual(weir_harness.pick(metrics, "weir_requests_total", code="2xx"), 7)
        self.assertEqual(len(json.loads(run([need("curl"), "-sS", admin + "stats"]).stdout)["upstreams"][0]["endpoints"]), 3)
        self.assertIn("ok", run([need("curl"), "-sS", admin + "healthz"]).stdout)

        # A body goes up to an origin too.
        posted = run([need("curl"), "-sS", "-i", "--data", "x" * 5000, site])
        self.assertIn("200 OK", posted.stdout)

        demo.signal(signal.SIGINT)
        self.assertEqual(demo.wait(), 0)
        self.assertNotIn("internal error", demo.err())

    def test_ends_with_clients_connected(self):
        demo, ports = self.start()
        clients = [connect(("127.0.0.1", ports[0])) for _ in range(5)]
        for client in clients:
            self.addCleanup(client.close)
            client.send(b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n")
            self.assertEqual(client.response().status, 200)
        demo.signal(signal.SIGINT)
        for client in clients:
            self.assertEqual(client.ending(), "fin")
            client.close()
        self.assertEqual(demo.wait(), 0)

    def test_ports_in_use(self):
        _, ports = self.start()
        got = run([binary(), "demo", f"--listen=http://127.0.0.1:{ports[0]}", f"--admin=127.0.0.1:{weir_harness.free_port()}"])
        self.assertEqual(got.returncode, 1)
        self.assertRegex(got.stderr, f"--listen.*{ports[0]}.*(in use|taken)")
        self.assertNotIn("http", got.stdout)


if __name__ == "__main__":
    unittest.main()
