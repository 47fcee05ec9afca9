"""What there is only so much of: connections, descriptors, buffers; and peers who try to take it all."""

import collections
import contextlib
import hashlib
import os
import random
import resource
import selectors
import socket
import time
import unittest

import weir_harness
from weir_harness import FULL, Ended, WeirTest, Wrk, connect, ok, reset, wait_for

MIB = 1 << 20
REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


def url(weir, path="/"):
    return f"http://{weir_harness.address_text(weir.address)}{path}"


class MaxConnections(WeirTest):
    def test_more_are_told_so(self):
        weir = self.weir(self.origin(), "--max_connections=50")
        clients = [self.client(weir) for _ in range(50)]
        for client in clients:
            client.send(REQUEST)
            self.assertEqual(client.response().status, 200)
        for i in range(30):
            client = self.client(weir)
            if i % 2:
                client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000)
            response = client.closing_response()
            self.assertEqual((response.status, response.header("Connection")), (503, "close"))
            self.assertGreaterEqual(int(response.header("Retry-After")), 1)
            client.close()
        self.assertEqual(weir.metric("weir_rejected_connections_total"), 30)
        self.assertEqual(weir.metric(weir_harness.OPEN), 50)
        # Those within the limit notice nothing.
        for client in clients:
            client.send(REQUEST)
            self.assertEqual(client.response().status, 200)
        for client in clients[:10]:
            client.close()
        wait_for(lambda: weir.metric(weir_harness.OPEN) == 40, "room again")
        for _ in range(10):
            client = self.client(weir)
            client.send(REQUEST)
            self.assertEqual(client.response().status, 200)

    def test_many_more_at_once(self):
        weir = self.weir(self.origin(), "--max_connections=100")
        clients = [self.client(weir) for _ in range(100)]
        for client in clients:
            client.send(REQUEST)
            self.assertEqual(client.response().status, 200)
        late = [self.client(weir) for _ in range(200)]
        told = 0
        for client in late:
            try:
                told += client.closing_response().status == 503
            except (Ended, ConnectionResetError):
                pass
            client.close()
        # What comes on top of a crowd of refused ones is closed without a word.
        self.assertGreaterEqual(told, 64)
        self.assertEqual(weir.metric("weir_rejected_connections_total"), 200)

    def test_tcp(self):
        weir = self.weir(self.origin(lambda c, o: (c.send(b"x"), c.rest())), "--max_connections=10", listen=("tcp",))
        clients = [self.client(weir) for _ in range(10)]
        for client in clients:
            client.exactly(1)
        for _ in range(5):
            with contextlib.suppress(ConnectionResetError):  # it may come before connect() has returned
                self.assertIn(self.client(weir).ending(), ("fin", "reset"))
        clients[0].close()
        wait_for(lambda: weir.metric(weir_harness.OPEN) == 9, "room again")
        self.assertEqual(self.client(weir).exactly(1), b"x")

    def test_the_limit_follows_from_the_descriptors(self):
        """With a small limit of open files Weir takes only so many clients that each can have its upstream."""
        weir = self.weir(
            self.origin(), preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (600, 600))
        )
        most = weir.stats()["max_connections"]
        self.assertTrue(100 <= most <= 300, most)
        statuses = collections.Counter()
        clients = [self.client(weir) for _ in range(most)]
        for client in clients:
            client.send(REQUEST)
        for client in clients:
            statuses[client.response().status] += 1
        self.assertEqual(statuses, {200: most})
        self.assertEqual(self.get(weir).status, 503)


class Descriptors(WeirTest):
    def test_none_left(self):
        """The limit drops under a running Weir: it survives, and serves again when there is room."""
        nginx = self.nginx("one")
        weir = self.weir(nginx)
        self.assertEqual(self.get(weir).status, 200)
        room = weir.fds() + 30
        resource.prlimit(weir.pid, resource.RLIMIT_NOFILE, (room, room))
        clients = []
        for _ in range(300):
            with contextlib.suppress(OSError):
                clients.append(connect(weir.address))
        for client in clients:
            with contextlib.suppress(OSError):
                client.send(REQUEST)
        time.sleep(1)
        self.assertTrue(weir.alive())
        statuses = collections.Counter()
        for client in clients:
            client.sock.settimeout(0.05)
            try:
                statuses[client.response().status] += 1
            except (OSError, Ended) as error:
                statuses[type(error).__name__] += 1
            client.close()
        self.assertLessEqual(set(statuses) - {"TimeoutError", "Ended", "ConnectionResetError", "BrokenPipeError"}, {200, 503}, statuses)
        self.assertGreater(statuses[200] + statuses[503], 0, statuses)

        def served():
            try:
                return self.get(weir).status == 200
            except (OSError, Ended):
                return False

        wait_for(served, "it serves again")
        for _ in range(20):
            self.assertEqual(self.get(weir).status, 200)

    def test_none_left_and_a_stop(self):
        nginx = self.nginx("one")
        weir = self.weir(nginx, "--drain_timeout=20s")
        room = weir.fds() + 5
        resource.prlimit(weir.pid, resource.RLIMIT_NOFILE, (room, room))
        clients = []
        for _ in range(50):
            with contextlib.suppress(OSError):
                clients.append(self.client(weir))
        time.sleep(0.3)
        for client in clients:
            client.close()
        weir.stop(0)


class Crowds(WeirTest):
    def test_five_thousand_clients(self):
        nginx = self.nginx("one", "two")
        weir = self.weir(nginx)
        wrk = Wrk(url(weir), connections=5000, seconds=15 if FULL else 6, threads=2)
        most = 0
        while wrk.process.alive():
            most = max(most, weir.metric(weir_harness.OPEN))
            time.sleep(0.2)
        result = wrk.result()
        self.assertEqual((result.bad, result.connect, result.read, result.write), (0,) * 4, result.text)
        self.assertEqual(most, 5000)
        self.assertGreater(result.requests, 5000)

    def open_slow(self, weir, count, path, receive_buffer=4096):
        """Clients that ask for something large and read nothing of it."""
        slow = []
        for _ in range(count):
            client = self.client(weir, receive_buffer=receive_buffer)
            client.send(b"GET %s HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n" % path)
            slow.append(client)
        return slow

    def quick(self, weir, count, path="/www/small", body=b"small"):
        for _ in range(count):
            response = self.get(weir, path)
            self.assertEqual((response.status, response.body), (200, body))

    def read_all(self, clients, size, digest):
        """All of them at once, from one thread. How many got the whole; the others must be cut by a reset or an early FIN."""
        selector = selectors.DefaultSelector()
        state = {}
        for client in clients:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB)
            client.sock.setblocking(False)
            state[client.sock] = [client, hashlib.md5(), -1, bytearray()]
            selector.register(client.sock, selectors.EVENT_READ)
        whole = cut = 0
        end = time.monotonic() + weir_harness.DEADLINE * 10
        while state:
            self.assertLess(time.monotonic(), end, f"{whole} whole, {cut} cut, {len(state)} still reading")
            ready = selector.select(weir_harness.DEADLINE)
            self.assertTrue(ready, f"{whole} whole, {cut} cut, nothing comes for {len(state)}")
            for key, _ in ready:
                entry = state[key.fileobj]
                try:
                    data = key.fileobj.recv(1 << 18)
                except BlockingIOError:
                    continue
                except ConnectionResetError:
                    data = None
                if data:
                    if entry[2] < 0:
                        entry[3] += data
                        head, mark, data = bytes(entry[3]).partition(b"\r\n\r\n")
                        if not mark:
                            continue
                        self.assertTrue(head.startswith(b"HTTP/1.1 200"), head)
                        entry[2] = 0
                    entry[1].update(data)
                    entry[2] += len(data)
                    continue
                if data == b"" and entry[2] == size and entry[1].hexdigest() == digest:
                    whole += 1
                else:
                    cut += 1
                    self.assertTrue(data is None or entry[2] < size)
                selector.unregister(key.fileobj)
                del state[key.fileobj]
        selector.close()
        return whole, cut

    def test_slow_readers_beside_quick_ones(self):
        count = 4000 if FULL else 1000
        nginx = self.nginx("one", "two")
        large = os.urandom(3 * MIB)
        nginx.write("large", large)
        nginx.write("small", b"small")
        weir = self.weir(nginx, "--buffer_memory=512MiB")
        slow = self.open_slow(weir, count, b"/www/large")
        self.quick(weir, 300)
        wait_for(lambda: weir.metric(weir_harness.ACTIVE) == count, "all slow ones are being served")
        load = Wrk(url(weir, "/www/small"), connections=50, seconds=3)
        result = load.result()
        self.assertEqual((result.bad, result.connect, result.read, result.write, result.timeout), (0,) * 5, result.text)
        self.assertGreater(result.requests, 200)
        self.assertEqual(weir.metric("weir_buffer_resets_total"), 0)
        # And now the slow ones read: every byte is there.
        whole, cut = self.read_all(slow, len(large), hashlib.md5(large).hexdigest())
        self.assertEqual((whole, cut), (count, 0))

    def test_slow_readers_that_take_all_buffers(self):
        """With buffers for a few hundred, a thousand that read nothing: the longest waiting are cut, the quick never wait."""
        count = 4000 if FULL else 1000
        nginx = self.nginx("one", "two")
        large = os.urandom(3 * MIB)
        nginx.write("large", large)
        nginx.write("small", b"small")
        weir = self.weir(nginx, "--buffer_memory=24MiB")
        slow = self.open_slow(weir, count, b"/www/large")
        for _ in range(5):
            self.quick(weir, 60)
            time.sleep(0.3)
        self.assertLess(weir.private_memory(), 100 * MIB)
        whole, cut = self.read_all(slow, len(large), hashlib.md5(large).hexdigest())
        self.assertEqual(whole + cut, count)
        resets = weir.metric("weir_buffer_resets_total")
        self.assertGreater(resets, 0)
        self.assertLessEqual(cut, resets)
        print(f"{whole} whole, {cut} cut, {resets:g} resets counted")

    def test_slow_writers_beside_quick_ones(self):
        """A thousand uploads that stand still, half of them in the head."""
        count = 4000 if FULL else 1000
        nginx = self.nginx("one", "two")
        nginx.write("small", b"small")
        weir = self.weir(nginx, "--client_header_timeout=60s", "--client_body_timeout=60s", "--buffer_memory=24MiB")
        slow = []
        for i in range(count):
            client = self.client(weir)
            head = b"PUT /put/%d HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n" % i
            client.send(head[:30] if i % 2 else head + b"x" * 40_000)
            slow.append(client)
        self.quick(weir, 300)
        self.assertEqual(weir.metric("weir_buffer_resets_total"), 0)
        self.assertEqual(weir.metric(weir_harness.OPEN), count)
        for client in slow:
            client.close()

    def test_slow_tcp_readers_that_take_all_buffers(self):
        def handle(connection, origin):
            with contextlib.suppress(OSError):
                connection.send(b"x")
                want = connection.exactly(1)
                if want == b"L":
                    for _ in range(30):
                        connection.send(bytes(MIB))
                else:
                    connection.send(b"quick")

        weir = self.weir(self.origin(handle, record=False), "--buffer_memory=24MiB", listen=("tcp",))
        slow = [self.client(weir, receive_buffer=4096) for _ in range(700)]
        for client in slow:
            client.send(b"L")
        for _ in range(5):
            for _ in range(20):
                client = connect(weir.address)
                client.send(b"q")
                self.assertEqual(client.exactly(6), b"xquick")
                client.close()
            time.sleep(0.3)
        for client in slow:
            client.close()


class Aborts(WeirTest):
    def test_clients_that_leave_in_the_middle(self):
        """At every point of a request and its answer, with FIN and with RST; nothing may be left behind."""
        nginx = self.nginx("one")
        nginx.write("large", os.urandom(5 * MIB))
        slow = self.origin(lambda c, o: (c.request(), time.sleep(0.2), c.send(ok(b"late"))), record=False)
        weir = self.weir([nginx, slow])
        rng = random.Random(7)
        upload = b"PUT /put/x HTTP/1.1\r\nHost: test\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000
        chunked = b"PUT /put/y HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b"y" * 4096 + b"\r\n"
        download = b"GET /www/large HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
        for i in range(1500 if FULL else 400):
            client = connect(weir.address)
            request = (upload, chunked, download, REQUEST)[i % 4]
            cut = rng.randrange(1, len(request)) if i % 3 else len(request)
            client.send(request[:cut])
            if i % 5 == 0:
                time.sleep(rng.random() * 0.01)
            if request is download and cut == len(request):
                with contextlib.suppress(Ended, ConnectionResetError):
                    client.exactly(rng.randrange(1, 200_000))
            if i % 2:
                reset(client.sock)
            else:
                client.close()
        weir.check_clean()
        for _ in range(10):
            self.assertEqual(self.get(weir).status, 200)

    def test_an_abort_reaches_the_origin(self):
        """Nobody waits for the answer any more: the origin is told, whatever it was doing."""
        ends = []

        def handle(connection, origin):
            connection.request_head()
            origin.requests.append(1)
            ends.append(connection.ending())

        origin = self.origin(handle)
        weir = self.weir(origin)
        for body in (b"", b"Content-Length: 10\r\n"):
            client = self.client(weir)
            client.send(b"POST / HTTP/1.1\r\nHost: test\r\n" + (body or b"Content-Length: 0\r\n") + b"\r\n")
            wait_for(lambda: origin.requests, "the request is there")
            client.reset()
            wait_for(lambda: ends, "the origin heard of it")
            self.assertEqual(ends.pop(), "reset")
            origin.requests.clear()

    def test_clients_that_only_connect(self):
        weir = self.weir(self.origin())
        for i in range(1000):
            client = connect(weir.address)
            if i % 2:
                reset(client.sock)
            else:
                client.close()
        self.assertEqual(self.get(weir).status, 200)

    def test_origins_that_leave_in_the_middle(self):
        rng = random.Random(3)
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"z" * 1024 + b"\r\n" + b"0\r\n\r\n"

        def handle(connection, origin):
            while connection.request() is not None:
                cut = rng.randrange(len(answer) + 1)
                connection.send(answer[:cut])
                if cut < len(answer):
                    if rng.random() < 0.5:
                        connection.reset()
                    return

        weir = self.weir([self.origin(handle, record=False) for _ in range(3)])
        statuses = collections.Counter()
        for _ in range(400):
            client = connect(weir.address)
            client.send(REQUEST)
            try:
                response = client.response()
                statuses[response.status] += 1
                if response.status == 200:
                    self.assertEqual(response.body, b"z" * 1024)
            except (Ended, ConnectionResetError):
                statuses["cut"] += 1
            client.close()
        self.assertLessEqual(set(statuses), {200, 502, "cut"}, statuses)


if __name__ == "__main__":
    unittest.main()
