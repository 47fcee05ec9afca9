"""The end: a signal stops Weir, and nobody who was there before notices more than a polite goodbye."""

import collections
import hashlib
import http.client
import os
import signal
import threading
import time
import unittest

import weir_harness
from weir_harness import FULL, Ended, Weir, WeirTest, connect, ok, wait_for

REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


class Gate:
    """An origin whose answers wait until the gate opens."""

    def __init__(self, test, body=b"late"):
        self.go = threading.Event()
        self.body = body
        test.addCleanup(self.go.set)
        self.origin = test.origin(self._handle)

    def _handle(self, connection, origin):
        while (request := connection.request()) is not None:
            with origin.lock:
                origin.requests.append(request)
            self.go.wait(weir_harness.DEADLINE)
            connection.send(ok(self.body))


class InFlight(WeirTest):
    def test_requests_in_flight_are_finished(self):
        gate = Gate(self)
        weir = self.weir(gate.origin)
        clients = [self.client(weir) for _ in range(20)]
        for client in clients:
            client.send(REQUEST)
        wait_for(lambda: len(gate.origin.requests) == 20, "all are in flight")
        weir.signal(signal.SIGTERM)
        time.sleep(0.7)
        self.assertTrue(weir.alive())
        gate.go.set()
        for client in clients:
            response = client.closing_response()
            self.assertEqual((response.status, response.body, response.header("Connection")), (200, b"late", "close"))
            client.close()
        weir.ended(0)

    def test_sigint_does_the_same(self):
        gate = Gate(self)
        weir = self.weir(gate.origin)
        client = self.client(weir)
        client.send(REQUEST)
        wait_for(lambda: gate.origin.requests, "it is in flight")
        weir.signal(signal.SIGINT)
        time.sleep(0.2)
        gate.go.set()
        self.assertEqual(client.closing_response().body, b"late")
        client.close()
        weir.ended(0)

    def test_idle_connections_are_closed(self):
        weir = self.weir(self.origin(), "--drain_timeout=50s")
        clients = [self.client(weir) for _ in range(50)]
        for client in clients:
            client.send(REQUEST)
            self.assertEqual(client.response().status, 200)
        weir.signal(signal.SIGTERM)
        for client in clients:
            self.assertEqual(client.rest(), b"")
            client.close()
        weir.ended(0, seconds=30)

    def test_idle_connections_whose_clients_do_not_close(self):
        """A client that leaves its socket open after our FIN does not hold us up."""
        weir = self.weir(self.origin(), "--drain_timeout=50s")
        clients = [self.client(weir) for _ in range(10)]
        for client in clients:
            client.send(REQUEST)
            self.assertEqual(client.response().status, 200)
        weir.signal(signal.SIGTERM)
        weir.ended(0, seconds=30)

    def test_connections_that_never_asked(self):
        """A browser's spare connection is idle too: it must not turn a clean stop into a cut."""
        weir = self.weir(self.origin(), "--drain_timeout=20s")
        clients = [self.client(weir) for _ in range(10)]
        wait_for(lambda: weir.metric(weir_harness.OPEN) == 10, "they are accepted")
        weir.signal(signal.SIGTERM)
        weir.ended(0, seconds=30)
        for client in clients:
            self.assertEqual(client.rest(), b"")

    def test_a_large_answer_is_finished(self):
        size = 60 << 20
        block = os.urandom(1 << 20)

        def handle(connection, origin):
            connection.request()
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for _ in range(size >> 20):
                connection.send(block)
                time.sleep(0.01)

        weir = self.weir(self.origin(handle, record=False))
        client = self.client(weir)
        client.send(REQUEST)
        head = client.head()
        weir.signal(signal.SIGTERM)
        digest = hashlib.md5()
        self.assertEqual(client.stream(head, digest.update), size)
        self.assertEqual(digest.hexdigest(), hashlib.md5(block * (size >> 20)).hexdigest())
        client.close()
        weir.ended(0)

    def test_a_large_upload_is_finished(self):
        size = 30 << 20

        def handle(connection, origin):
            request = connection.request_head()
            connection.send(ok(b"%d" % connection.stream(request, lambda piece: None)))

        weir = self.weir(self.origin(handle, record=False))
        client = self.client(weir)
        client.send(b"PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % size)
        block = os.urandom(1 << 20)
        for i in range(size >> 20):
            client.send(block)
            if i == 5:
                weir.signal(signal.SIGTERM)
            time.sleep(0.01)
        self.assertEqual(client.closing_response().body, b"%d" % size)
        client.close()
        weir.ended(0)

    def test_tcp_connections_run_on(self):
        def echo(connection, origin):
            while True:
                connection.more()
                connection.send(connection.take(len(connection.buffer)))

        weir = self.weir(self.origin(echo), listen=("tcp",))
        client = self.client(weir)
        client.send(b"a")
        self.assertEqual(client.exactly(1), b"a")
        weir.signal(signal.SIGTERM)
        for _ in range(20):
            client.send(b"b")
            self.assertEqual(client.exactly(1), b"b")
            time.sleep(0.05)
        client.close()
        weir.ended(0)

    def test_what_waits_in_the_accept_queue_is_served(self):
        """Connections that were made while Weir looked elsewhere (here: was stopped) are answered before it ends."""
        weir = self.weir(self.origin())
        for _ in range(5 if FULL else 2):
            weir.signal(signal.SIGSTOP)
            clients = [self.client(weir) for _ in range(200)]
            for client in clients[:150]:
                client.send(REQUEST)
            weir.signal(signal.SIGTERM)
            weir.signal(signal.SIGCONT)
            for client in clients[150:]:
                client.send(REQUEST)  # right behind the signal
            for client in clients:
                response = client.closing_response()
                self.assertEqual(response.status, 200)
                # A shard may answer before the one that hears signals has told it; then the end comes by itself.
                self.assertIn(response.header("Connection"), (None, "close"))
                client.close()
            weir.ended(0)
            ports = [address[1] for address in weir.addresses]
            weir = self.weir(self.origin(), ports=ports)


class Signals(WeirTest):
    def test_a_second_signal_ends_at_once(self):
        for first, second in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)):
            gate = Gate(self)
            weir = self.weir(gate.origin, "--drain_timeout=50s")
            client = self.client(weir)
            client.send(REQUEST)
            wait_for(lambda: gate.origin.requests, "it is in flight")
            weir.signal(first)
            wait_for(lambda: "draining" in weir.err(), "the signal was seen")
            weir.stop(2, number=second, seconds=20)
            client.close()

    def test_the_drain_time_has_an_end(self):
        gate = Gate(self)
        weir = self.weir(gate.origin, "--drain_timeout=1s")
        clients = [self.client(weir) for _ in range(5)]
        for client in clients:
            client.send(REQUEST)
        wait_for(lambda: len(gate.origin.requests) == 5, "they are in flight")
        weir.signal(signal.SIGTERM)
        weir.ended(2, seconds=30)
        self.assertRegex(weir.err(), r"drain time is over: cutting 5 connections")
        for client in clients:
            with self.assertRaises((Ended, ConnectionResetError)):
                client.response()

    def test_tcp_connections_are_cut_at_its_end(self):
        weir = self.weir(self.origin(lambda c, o: c.rest()), "--drain_timeout=1s", listen=("tcp",))
        client = self.client(weir)
        wait_for(lambda: weir.metric(weir_harness.OPEN) == 1, "it is there")
        weir.signal(signal.SIGTERM)
        weir.ended(2, seconds=30)
        self.assertEqual(client.ending(), "reset")

    def test_a_drain_time_of_nothing(self):
        gate = Gate(self)
        weir = self.weir(gate.origin, "--drain_timeout=0")
        weir.stop(0, seconds=20)
        weir = self.weir(gate.origin, "--drain_timeout=0")
        client = self.client(weir)
        client.send(REQUEST)
        wait_for(lambda: gate.origin.requests, "it is in flight")
        weir.stop(2, seconds=20)
        client.close()

    def test_lame_duck(self):
        """/healthz says it first, so that those in front stop sending; requests are served meanwhile, and each
        answer is its connection's last."""
        weir = self.weir(self.origin(), "--lame_duck=4s")
        keep = self.client(weir)
        keep.send(REQUEST)
        self.assertIsNone(keep.response().header("Connection"))
        quiet = self.client(weir)
        quiet.send(REQUEST)
        idle = quiet.response()
        self.assertEqual(weir.page("/healthz", check=False)[0], 200)
        weir.signal(signal.SIGTERM)
        wait_for(lambda: weir.page("/healthz", check=False)[0] == 503, "healthz says so", every=0.005)
        new = self.client(weir)
        for client in (keep, new):
            client.send(REQUEST)
            response = client.closing_response()
            self.assertEqual((response.status, response.header("Connection")), (200, "close"))
        self.assertEqual(weir.stats()["draining"], True)
        self.assertIsNone(idle.header("Connection"))
        self.assertEqual(quiet.ending(), "fin")  # nobody told it; it is closed once accepting stops
        for client in (keep, new, quiet):
            client.close()
        weir.ended(0)

    def test_no_request_is_lost_while_a_lame_duck_says_close(self):
        """A client that goes by what it is told (http.client) never meets a closed connection, up to the end of the
        lame duck's time."""
        weir = self.weir(self.origin(), "--lame_duck=3s")
        stop = threading.Event()
        counts, failures = collections.Counter(), []

        def visitor():
            connection = http.client.HTTPConnection(*weir.address, timeout=10)
            while not stop.is_set():
                try:
                    connection.request("GET", "/")
                    response = connection.getresponse()
                    response.read()
                    counts["closing" if response.will_close else "staying"] += 1
                except OSError as problem:
                    failures.append(problem)
            connection.close()

        visitors = [threading.Thread(target=visitor) for _ in range(4)]
        for thread in visitors:
            thread.start()
        wait_for(lambda: counts["staying"] > 20, "they are served")
        weir.signal(signal.SIGTERM)
        wait_for(lambda: counts["closing"] > 50, "they are told")
        stop.set()
        for thread in visitors:
            thread.join()
        self.assertEqual(failures, [])
        weir.ended(0)

    def test_admin_answers_while_draining(self):
        gate = Gate(self)
        weir = self.weir(gate.origin)
        client = self.client(weir)
        client.send(REQUEST)
        wait_for(lambda: gate.origin.requests, "it is in flight")
        weir.signal(signal.SIGTERM)
        wait_for(lambda: weir.page("/healthz", check=False)[0] == 503, "healthz says so")
        self.assertEqual(weir.metric("weir_draining"), 1)
        self.assertEqual(weir.metric(weir_harness.OPEN), 1)
        gate.go.set()
        self.assertEqual(client.closing_response().status, 200)
        client.close()
        weir.ended(0)

    def test_a_stopped_listener_refuses(self):
        gate = Gate(self)
        weir = self.weir(gate.origin)
        client = self.client(weir)
        client.send(REQUEST)
        wait_for(lambda: gate.origin.requests, "it is in flight")
        weir.signal(signal.SIGTERM)

        def refused():
            try:
                connect(weir.address, timeout=5).close()
                return False
            except ConnectionRefusedError:
                return True

        wait_for(refused, "nobody listens any more")
        gate.go.set()
        self.assertEqual(client.closing_response().status, 200)
        client.close()
        weir.ended(0)


class Restarts(WeirTest):
    def test_restarts_under_short_connections(self):
        """Every connection that came to be gets its answer; between two processes a connect may be refused."""
        nginx = self.nginx("one", "two")
        weir = self.weir(nginx)
        stop = threading.Event()
        results = collections.Counter()
        details = []
        lock = threading.Lock()

        def visitor():
            while not stop.is_set():
                try:
                    connection = connect(weir.address)
                except ConnectionRefusedError:
                    result = "refused"
                    time.sleep(0.005)
                except OSError as error:
                    result = f"connect: {error}"
                else:
                    try:
                        connection.send(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
                        response = connection.closing_response()
                        result = str(response.status)
                    except (OSError, Ended) as error:
                        result = type(error).__name__
                        with lock:
                            details.append(f"{time.monotonic():.3f} {error!r}")
                    connection.close()
                with lock:
                    results[result] += 1

        threads = [threading.Thread(target=visitor) for _ in range(8)]
        for thread in threads:
            thread.start()
        restarts = 100 if FULL else 20
        try:
            for _ in range(restarts):
                time.sleep(0.15)
                weir.stop(0)
                fresh = Weir(nginx, ports=[weir.address[1]])
                self.addCleanup(fresh.finish)
                weir = fresh
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertLessEqual(set(results), {"200", "refused"}, f"{results} {details[:5]}")
        self.assertGreater(results["200"], restarts)
        print(f"{restarts} restarts: {dict(results)}")

    def test_restarts_under_keep_alive_connections(self):
        """A kept connection may end between two requests, as RFC 9112 9.6 has it; never by a reset, never in an answer."""
        nginx = self.nginx("one", "two")
        weir = self.weir(nginx)
        stop = threading.Event()
        results = collections.Counter()
        lock = threading.Lock()

        def visitor():
            connection = None
            while not stop.is_set():
                try:
                    if connection is None:
                        connection = connect(weir.address)
                        fresh = True
                    connection.send(REQUEST)
                    response = connection.response()
                    result = str(response.status)
                    fresh = False
                    if response.header("Connection") == "close":
                        connection.close()
                        connection = None
                except ConnectionRefusedError:
                    result = "refused"
                    time.sleep(0.005)
                except Ended as error:
                    # FIN instead of an answer: on a used connection that had been idle, and with nothing of an answer.
                    result = "ended" if not fresh and str(error) == "FIN after b''" else f"lost ({fresh}) {error}"
                    connection.close()
                    connection = None
                except OSError as error:
                    result = repr(error)
                    if connection:
                        connection.close()
                    connection = None
                with lock:
                    results[result] += 1

        threads = [threading.Thread(target=visitor) for _ in range(8)]
        for thread in threads:
            thread.start()
        restarts = 50 if FULL else 10
        try:
            for _ in range(restarts):
                time.sleep(0.15)
                weir.stop(0)
                fresh_weir = Weir(nginx, ports=[weir.address[1]])
                self.addCleanup(fresh_weir.finish)
                weir = fresh_weir
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertLessEqual(set(results), {"200", "refused", "ended"}, results)
        print(f"{restarts} restarts: {dict(results)}")


if __name__ == "__main__":
    unittest.main()
