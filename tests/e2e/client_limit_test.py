"""max_connections_per_client with real sockets from many addresses: exact over all shards, and what the refused see."""

import json
import os
import signal
import threading
import unittest

from weir_harness import OPEN, WeirTest, connect, scratch, wait_for

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
CONFIG = """
access_log: {log}
listeners:
  - {{address: LISTEN0, upstream: web, max_connections_per_client: 3}}
  - {{address: LISTEN1, upstream: web, protocol: tcp, max_connections_per_client: 3}}
  - {{address: LISTEN2, upstream: web, max_connections_per_client: 1, proxy_protocol: required}}
  - {{address: LISTEN3, upstream: web, max_connections_per_client: 1}}
upstreams:
  web: {{endpoints: ["{origin}"]}}
"""
REJECTED = "weir_client_limit_rejections_total"


class ClientLimit(WeirTest):
    def setUp(self):
        self.raw = self.origin()
        self.log = os.path.join(scratch("log"), "access")
        self.front = self.weir(
            None,
            config=CONFIG.format(log=self.log, origin=self.raw),
            listen=("http", "tcp", "http", "http"),
            hosts=["127.0.0.1", "127.0.0.1", "127.0.0.1", "::1"],
            shards=4,
        )

    def dial(self, listener=0, source=None):
        connection = connect(self.front.addresses[listener], source=source)
        self.addCleanup(connection.close)
        return connection

    def lines(self):
        self.front.check_clean()
        self.front.stop()
        with open(self.log, encoding="ascii") as file:
            return [json.loads(line) for line in file]

    def test_exact_for_each_of_many_addresses(self):
        """Four shards, clients that all come at once."""
        results = {}

        def one(source):
            clients = [self.dial(source=source) for _ in range(8)]
            for client in clients:
                client.send(GET)
            results[source] = (clients, sorted(client.response().status for client in clients))

        threads = [threading.Thread(target=one, args=(f"127.0.0.{i}",)) for i in range(2, 32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(results), 30)
        for source, (_, statuses) in results.items():
            self.assertEqual(statuses, [200] * 3 + [429] * 5, source)
        self.assertEqual(self.front.metric(OPEN), 90)
        self.assertEqual(self.front.metric(REJECTED), 150)
        self.assertEqual(self.front.metric("weir_uncounted_clients_total"), 0)
        for clients, _ in results.values():
            for client in clients:
                client.close()
        lines = self.lines()
        refused = [line for line in lines if line["end"] == "too_many_connections"]
        self.assertEqual((len(lines), len(refused)), (240, 150))
        self.assertEqual({line["status"] for line in refused}, {429})
        self.assertEqual({line["client"].split(":")[0] for line in refused}, set(results))

    def test_what_the_refused_see(self):
        kept = [self.dial() for _ in range(3)]
        for client in kept:
            client.send(GET)
            self.assertEqual(client.response().status, 200)
        refused = self.dial()
        refused.send(GET * 100)
        response = refused.closing_response()
        self.assertEqual((response.status, response.header("Connection"), response.header("Retry-After")), (429, "close", "1"))
        self.assertEqual(len(self.raw.requests), 3)
        kept.pop().close()
        wait_for(lambda: self.front.metric(OPEN) == 2, "it has left")
        again = self.dial()
        again.send(GET)
        self.assertEqual(again.response().status, 200)

    def test_tcp(self):
        kept = [self.dial(1) for _ in range(3)]
        for client in kept:
            client.send(GET)
            self.assertEqual(client.response().body, b"raw")
        self.assertEqual(self.dial(1).rest(), b"")
        other = self.dial(1, source="127.0.0.9")
        other.send(GET)
        self.assertEqual(other.response().body, b"raw")
        for client in [*kept, other]:
            client.close()
        ends = [line["end"] for line in self.lines()]
        self.assertEqual(sorted(ends), ["client_closed"] * 4 + ["too_many_connections"])

    def test_whom_the_proxy_header_names(self):
        def ask(address):
            client = self.dial(2)
            client.send(b"PROXY TCP%s 1 2\r\n" % address + GET)
            return client, client.response().status

        one, status = ask(b"4 203.0.113.1 198.51.100.1")
        self.assertEqual(status, 200)
        self.assertEqual(ask(b"4 203.0.113.1 198.51.100.1")[1], 429)
        self.assertEqual(ask(b"4 203.0.113.2 198.51.100.1")[1], 200)
        self.assertEqual(ask(b"6 2001:db8:1:2::1 2001:db8::1")[1], 200)
        self.assertEqual(ask(b"6 2001:db8:1:2:ff::2 2001:db8::1")[1], 429)
        self.assertEqual(ask(b"6 2001:db8:1:3::1 2001:db8::1")[1], 200)
        one.close()
        wait_for(lambda: self.front.metric(OPEN) == 3, "it has left")
        self.assertEqual(ask(b"4 203.0.113.1 198.51.100.1")[1], 200)

    def test_ipv6_and_a_reload(self):
        client = self.dial(3)
        client.send(GET)
        self.assertEqual(client.response().status, 200)
        refused = self.dial(3)
        refused.send(GET)
        self.assertEqual(refused.closing_response().status, 429)
        with open(self.front.config, encoding="utf-8") as file:
            text = file.read()
        with open(self.front.config, "w", encoding="utf-8") as file:
            file.write(text.replace("max_connections_per_client: 1}", "max_connections_per_client: 2}"))
        self.front.signal(signal.SIGHUP)
        wait_for(lambda: "generation 2 is in force" in self.front.err(), "the reload")
        second = self.dial(3)
        second.send(GET)
        self.assertEqual(second.response().status, 200)
        third = self.dial(3)
        third.send(GET)
        self.assertEqual(third.closing_response().status, 429)


if __name__ == "__main__":
    unittest.main()
