"""Who gets the next request: shares, slow endpoints, and endpoints that die and come back under load."""

import collections
import threading
import time
import unittest

import weir_harness
from weir_harness import FULL, WeirTest, Wrk, connect, ok, wait_for


def slow_by(seconds):
    def handle(connection, origin):
        while (request := connection.request()) is not None:
            with origin.lock:
                origin.requests.append(request)
            time.sleep(seconds)
            connection.send(ok(origin.name.encode()))

    return handle


class Load:
    """Clients with keep-alive connections that ask one thing after another until stopped; counts what they get."""

    def __init__(self, weir, clients, request=b"GET / HTTP/1.1\r\nHost: test\r\n\r\n", total=None):
        self.weir, self.total = weir, total
        self.request = request
        self.results = collections.Counter()
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def _run(self):
        connection = None
        while not self.stopped.is_set():
            with self.lock:
                if self.total is not None:
                    if self.total == 0:
                        break
                    self.total -= 1
            try:
                connection = connection or connect(self.weir.address)
                connection.send(self.request)
                response = connection.response()
                result = (response.status, response.body.strip() if response.status == 200 else b"")
                if response.header("Connection") == "close":
                    connection.close()
                    connection = None
            except (OSError, weir_harness.Ended) as error:
                result = (type(error).__name__, b"")
                if connection:
                    connection.close()
                connection = None
            with self.lock:
                self.results[result] += 1
        if connection:
            connection.close()

    def stop(self):
        self.stopped.set()
        return self.join()

    def join(self):
        for thread in self.threads:
            thread.join()
        return self.results


class Shares(WeirTest):
    def ask(self, weir, count):
        client = self.client(weir)
        shares = collections.Counter()
        order = []
        for _ in range(count):
            client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            body = client.response().body.decode().strip()
            shares[body] += 1
            order.append(body)
        return shares, order

    def test_weights(self):
        nginx = self.nginx("one", "two", "five")
        backends = ",".join(f"{weir_harness.address_text(at)}={weight}" for at, weight in zip(nginx.addresses, (1, 2, 5)))
        shares, order = self.ask(self.weir(backends, shards=1), 800)
        self.assertEqual(shares, {"one": 100, "two": 200, "five": 500})
        # Smooth: the heavy one does not get all of its share in a row.
        longest = max(len(run) for run in "".join("x" if name == "five" else " " for name in order).split())
        self.assertLessEqual(longest, 3)

    def test_weights_over_shards(self):
        nginx = self.nginx("one", "three")
        backends = ",".join(f"{weir_harness.address_text(at)}={weight}" for at, weight in zip(nginx.addresses, (1, 3)))
        weir = self.weir(backends, shards=2)
        results = Load(weir, 16, total=4000).join()
        self.assertEqual(sum(results.values()), 4000)
        self.assertEqual(set(status for status, _ in results), {200})
        self.assertAlmostEqual(results[200, b"three"] / 4000, 0.75, delta=0.02)

    def test_tcp_takes_turns_too(self):
        origins = [self.origin(lambda c, o: (c.send(o.name.encode()), c.rest()), name=name) for name in ("a", "b")]
        weir = self.weir(origins, listen=("tcp",), shards=1)
        names = collections.Counter()
        for _ in range(20):
            client = self.client(weir)
            names[client.exactly(1)] += 1
            client.close()
        self.assertEqual(names, {b"a": 10, b"b": 10})

    def test_least_conn_spares_the_slow(self):
        slow, quick = self.origin(slow_by(0.3), name="slow"), self.origin(name="quick")
        for balance in ("least_conn", "round_robin"):
            weir = self.weir([slow, quick], f"--balance={balance}", shards=1)
            load = Load(weir, 8)
            time.sleep(3)
            results = load.stop()
            self.assertEqual(set(status for status, _ in results), {200})
            if balance == "least_conn":
                # At most a client or two wait for the slow one at any time.
                self.assertGreater(results[200, b"quick"], 10 * results[200, b"slow"])
            else:
                self.assertAlmostEqual(results[200, b"quick"], results[200, b"slow"], delta=16)

    def test_least_conn_when_all_is_quiet(self):
        """Without anything in flight equals take turns, and a heavier one comes first."""
        nginx = self.nginx("one", "other", "third")
        shares, _ = self.ask(self.weir(nginx, "--balance=least_conn", shards=1), 300)
        self.assertEqual(shares, {"one": 100, "other": 100, "third": 100})

    def test_least_conn_with_weights(self):
        origins = [self.origin(slow_by(0.05), name=name) for name in ("one", "three")]
        backends = f"{origins[0]}=1,{origins[1]}=3"
        results = Load(self.weir(backends, "--balance=least_conn", shards=1), 8, total=400).join()
        self.assertAlmostEqual(results[200, b"three"] / 400, 0.75, delta=0.08)

    def test_one_endpoint_among_many(self):
        nginx = self.nginx("one")
        weir = self.weir(",".join([weir_harness.address_text(nginx.addresses[0])]), "--balance=least_conn")
        shares, _ = self.ask(weir, 100)
        self.assertEqual(shares, {"one": 100})


class Deaths(WeirTest):
    def test_killed_and_restarted_under_load(self):
        """kill -9 of one of two origins, again and again: a GET that can be repeated is never lost."""
        first, second = self.nginx("first"), self.nginx("second")
        weir = self.weir([first, second], "--set_aside=200ms")
        url = f"http://{weir_harness.address_text(weir.address)}/"
        rounds = 10 if FULL else 3
        wrk = Wrk(url, connections=50, seconds=3 * rounds + 1)
        load = Load(weir, 4)
        for _ in range(rounds):
            time.sleep(1)
            first.kill()
            time.sleep(1)
            first.start()
            time.sleep(0.5)
        result = wrk.result()
        mine = load.stop()
        self.assertEqual((result.bad, result.connect, result.read, result.write, result.timeout), (0,) * 5, result.text)
        self.assertEqual(set(status for status, _ in mine), {200}, mine)
        self.assertGreater(result.requests, 1000)
        # It took part again.
        wait_for(lambda: self.get(weir).body == b"first\n", "the restarted one is used")

    def test_all_dead_and_back(self):
        nginx = self.nginx("one", "two")
        weir = self.weir(nginx, "--set_aside=100ms", shards=1)
        self.assertEqual(self.get(weir).status, 200)
        nginx.kill()
        seen = {self.get(weir).status for _ in range(10)}
        self.assertLessEqual(seen, {502, 503})
        self.assertIn(503, seen)
        nginx.start()
        wait_for(lambda: self.get(weir).status == 200, "used again")
        self.assertEqual({self.get(weir).status for _ in range(10)}, {200})

    def test_who_refuses_is_set_aside(self):
        dead = f"127.0.0.1:{weir_harness.free_port()}"
        nginx = self.nginx("one")
        weir = self.weir(f"{dead},{nginx}", "--set_aside=20s", shards=1)
        client = self.client(weir)
        for _ in range(200):
            client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            self.assertEqual(client.response().status, 200)
        metrics = weir.metrics()
        failures = weir_harness.pick(metrics, "weir_endpoint_failures_total", endpoint=dead)
        self.assertEqual(failures, 1)
        self.assertEqual(weir_harness.pick(metrics, "weir_endpoint_set_aside_shards", endpoint=dead), 1)
        self.assertEqual(weir_harness.pick(metrics, "weir_retries_total"), 1)

    def test_without_setting_aside(self):
        dead = f"127.0.0.1:{weir_harness.free_port()}"
        nginx = self.nginx("one")
        weir = self.weir(f"{dead},{nginx}", "--set_aside=0", shards=1)
        for _ in range(20):
            self.assertEqual(self.get(weir).status, 200)
        self.assertGreaterEqual(weir.metric("weir_endpoint_failures_total", endpoint=dead), 9)

    def test_retries_have_a_bound(self):
        dead = [f"127.0.0.1:{weir_harness.free_port()}" for _ in range(5)]
        for retries, connects in ((0, 1), (2, 3), (7, 5)):
            weir = self.weir(",".join(dead), f"--retries={retries}", "--set_aside=0", shards=1)
            self.assertEqual(self.get(weir).status, 502)
            self.assertEqual(weir.metric("weir_upstream_connects_total"), connects)

    def test_stale_pooled_connections_cost_no_request(self):
        """The origin restarts: every pooled connection is dead, and nobody is told so by an error."""
        nginx = self.nginx("one")
        weir = self.weir(nginx, "--set_aside=0", shards=1)
        for _ in range(3):
            clients = [self.client(weir) for _ in range(30)]
            for client in clients:
                client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            for client in clients:
                self.assertEqual(client.response().status, 200)
            nginx.kill()
            nginx.start()
            for client in clients:
                client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            for client in clients:
                self.assertEqual(client.response().status, 200)
                client.close()


if __name__ == "__main__":
    unittest.main()
