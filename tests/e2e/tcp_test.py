"""TCP: bytes in both directions, ends in both directions, and what happens when somebody does not read."""

import contextlib
import hashlib
import json
import os
import selectors
import socket
import threading
import time
import unittest

import weir_harness
from weir_harness import Ended, WeirTest, connect, reset, scratch, wait_for

MIB = 1 << 20
BLOCK = hashlib.shake_128(b"block").digest(MIB + 13)


def send_block(connection, size, digest=None):
    left = size
    while left > 0:
        piece = BLOCK[: min(left, len(BLOCK))]
        connection.send(piece)
        if digest is not None:
            digest.update(piece)
        left -= len(piece)


def read_digest(connection):
    """(bytes, sum) of everything up to FIN."""
    digest, total = hashlib.md5(), 0
    while True:
        if not connection.buffer:
            try:
                connection.more()
            except Ended:
                return total, digest.hexdigest()
        piece = connection.take(len(connection.buffer))
        total += len(piece)
        digest.update(piece)


def expected_digest(size):
    digest, left = hashlib.md5(), size
    while left > 0:
        piece = BLOCK[: min(left, len(BLOCK))]
        digest.update(piece)
        left -= len(piece)
    return size, digest.hexdigest()


def echo(connection, origin):
    while True:
        connection.more()
        connection.send(connection.take(len(connection.buffer)))


class TcpTest(WeirTest):
    def tcp(self, handler, *flags, record=False, **options):
        """(Weir, origin) with one TCP listener."""
        origin = self.origin(handler, record=record)
        return self.weir(origin, *flags, listen=("tcp",), **options), origin


class Bytes(TcpTest):
    def test_echo(self):
        weir, _ = self.tcp(echo)
        client = self.client(weir)
        for size in (1, 2, 1000, 36_000, 70_000, 500_000):
            data = BLOCK[:size]
            sender = threading.Thread(target=client.send, args=(data,))
            sender.start()
            self.assertEqual(client.exactly(size), data)
            sender.join()

    def test_the_server_speaks_first(self):
        def greet(connection, origin):
            connection.send(b"220 hello\r\n")
            assert connection.until(b"\r\n") == b"QUIT\r\n"
            connection.send(b"221 bye\r\n")

        weir, _ = self.tcp(greet)
        client = self.client(weir)
        self.assertEqual(client.until(b"\r\n"), b"220 hello\r\n")
        client.send(b"QUIT\r\n")
        self.assertEqual(client.rest(), b"221 bye\r\n")

    def test_200_megabytes_both_ways_at_once(self):
        size = (1024 if weir_harness.FULL else 200) * MIB
        seen = {}

        def handle(connection, origin):
            sender = threading.Thread(target=lambda: (send_block(connection, size), connection.finish_sending()))
            sender.start()
            seen["up"] = read_digest(connection)
            sender.join()

        weir, _ = self.tcp(handle)
        client = self.client(weir)
        sender = threading.Thread(target=lambda: (send_block(client, size), client.finish_sending()))
        sender.start()
        down = read_digest(client)
        sender.join()
        self.assertEqual(down, expected_digest(size))
        wait_for(lambda: "up" in seen, "the origin read it all")
        self.assertEqual(seen["up"], expected_digest(size))

    def test_one_byte_at_a_time(self):
        weir, _ = self.tcp(echo)
        client = self.client(weir)
        for i in range(500):
            client.send(BLOCK[i : i + 1])
            if i % 3 == 0:
                time.sleep(0.0005)
        self.assertEqual(client.exactly(500), BLOCK[:500])

    def test_ipv6(self):
        origin = self.origin(echo, host="::1")
        weir = self.weir(origin, listen=("tcp",), hosts=["::1"])
        client = self.client(weir)
        client.send(b"hello")
        self.assertEqual(client.exactly(5), b"hello")

    def test_http_and_tcp_listeners_side_by_side(self):
        weir = self.weir(self.origin(), listen=("http", "tcp"))
        self.assertEqual(self.get(weir, listener=0).header("Via"), "1.1 weir")
        # Through the TCP listener no byte is touched.
        client = self.client(weir, listener=1)
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        self.assertEqual(client.response().header("Via"), None)


class Ends(TcpTest):
    def test_half_close_by_the_client(self):
        """The server answers after it has seen the end: as `nc -N`, rsync and many old protocols do."""
        size = 5 * MIB

        def handle(connection, origin):
            total, digest = read_digest(connection)
            time.sleep(0.05)
            send_block(connection, size)
            connection.send(f"{total} {digest}".encode())

        weir, _ = self.tcp(handle)
        for amount in (0, 1, 3 * MIB):
            client = self.client(weir)
            send_block(client, amount)
            client.finish_sending()
            answer = client.rest()
            total, digest = expected_digest(amount)
            self.assertEqual(answer[size:], f"{total} {digest}".encode())
            self.assertEqual(hashlib.md5(answer[:size]).hexdigest(), expected_digest(size)[1])

    def test_half_close_by_the_server(self):
        got = []

        def handle(connection, origin):
            connection.send(b"last words")
            connection.finish_sending()
            got.append(connection.rest())

        weir, _ = self.tcp(handle)
        client = self.client(weir)
        self.assertEqual(client.rest(), b"last words")
        for _ in range(5):
            client.send(b"still talking ")
            time.sleep(0.02)
        client.finish_sending()
        wait_for(lambda: got, "the server heard it")
        self.assertEqual(got[0], b"still talking " * 5)

    def test_reset_by_the_client_resets_the_origin(self):
        ends = []

        def handle(connection, origin):
            connection.send(b"x")
            ends.append(connection.ending())

        weir, _ = self.tcp(handle)
        for pause in (0, 0.02):
            for sent in (b"", b"hello"):
                client = self.client(weir)
                client.exactly(1)
                client.send(sent or b"y")
                time.sleep(pause)
                client.reset()
                wait_for(lambda: ends, "the origin saw the end")
                self.assertEqual(ends.pop(), "reset")

    def test_reset_by_the_origin_resets_the_client(self):
        def handle(connection, origin):
            connection.send(b"x" * 1000)
            time.sleep(0.05)
            connection.reset()

        weir, _ = self.tcp(handle)
        client = self.client(weir)
        self.assertEqual(client.ending(), "reset")
        client = self.client(weir)
        client.send(b"hello")
        self.assertEqual(client.ending(), "reset")

    def test_reset_while_a_lot_is_on_its_way(self):
        def handle(connection, origin):
            with contextlib.suppress(OSError):
                send_block(connection, 50 * MIB)

        weir, origin = self.tcp(handle)
        for _ in range(20):
            client = self.client(weir)
            client.exactly(100_000)
            client.reset()
        wait_for(lambda: weir.metric(weir_harness.OPEN) == 0, "all are gone")
        wait_for(lambda: weir.metric(weir_harness.UPSTREAM_OPEN) == 0, "upstreams too")

    def test_fin_after_fin(self):
        weir, _ = self.tcp(lambda connection, origin: connection.finish_sending())
        for _ in range(50):
            client = self.client(weir)
            client.finish_sending()
            self.assertEqual(client.rest(), b"")


class Connects(TcpTest):
    def test_another_endpoint_when_one_refuses(self):
        dead = f"127.0.0.1:{weir_harness.free_port()}"
        origin = self.origin(echo)
        weir = self.weir(f"{dead},{origin}", listen=("tcp",), shards=1)
        for _ in range(10):
            client = self.client(weir)
            client.send(b"hello")
            self.assertEqual(client.exactly(5), b"hello")
            client.close()

    def test_what_was_sent_before_the_connection_stood_is_not_lost(self):
        dead = ",".join(f"127.0.0.1:{weir_harness.free_port()}" for _ in range(2))
        origin = self.origin(echo)
        weir = self.weir(f"{dead},{origin}", listen=("tcp",), shards=1)
        for _ in range(5):
            client = self.client(weir)
            client.send(BLOCK[:100_000])
            client.finish_sending()
            self.assertEqual(client.rest(), BLOCK[:100_000])

    def test_nobody_there(self):
        weir = self.weir(f"127.0.0.1:{weir_harness.free_port()}", listen=("tcp",))
        for _ in range(3):
            try:
                client = self.client(weir)
            except ConnectionResetError:
                continue  # it came before connect() returned
            try:
                client.send(b"hello")
            except (ConnectionResetError, BrokenPipeError):
                continue  # it was told to the send; Linux tells it once
            self.assertEqual(client.ending(), "reset")

    def test_connect_timeout(self):
        with socket.socket() as full:  # a full queue answers no handshake
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            fillers = []
            for _ in range(8):
                filler = socket.socket()
                filler.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    filler.connect(full.getsockname())
                fillers.append(filler)
            time.sleep(0.1)
            good = self.origin(echo)
            weir = self.weir(
                f"{weir_harness.address_text(full.getsockname())},{good}", "--connect_timeout=300ms", listen=("tcp",), shards=1
            )
            for _ in range(3):
                client = self.client(weir)
                client.send(b"hello")
                self.assertEqual(client.exactly(5), b"hello")
            for filler in fillers:
                filler.close()


class Idle(TcpTest):
    def test_idle_connections_end(self):
        ends = []

        def handle(connection, origin):
            connection.send(b"x")
            ends.append(connection.ending())

        weir, _ = self.tcp(handle, "--tcp_idle_timeout=500ms")
        client = self.client(weir)
        client.exactly(1)
        self.assertEqual(client.ending(), "fin")
        wait_for(lambda: ends, "the origin saw the end")

    def test_any_byte_counts(self):
        weir, _ = self.tcp(echo, "--tcp_idle_timeout=3s")
        client = self.client(weir)
        for _ in range(35):
            client.send(b"x")
            client.exactly(1)
            time.sleep(0.1)

    def test_half_closed_and_idle(self):
        weir, _ = self.tcp(lambda connection, origin: connection.ending() and time.sleep(3), "--tcp_idle_timeout=500ms")
        client = self.client(weir)
        client.finish_sending()
        client.ending()

    def test_a_slow_reader_is_not_idle(self):
        def handle(connection, origin):
            send_block(connection, 20 * MIB)

        weir, _ = self.tcp(handle, "--tcp_idle_timeout=2s")
        client = self.client(weir, receive_buffer=16384)
        total = 0
        for _ in range(30):
            total += len(client.exactly(16_000))
            time.sleep(0.1)
        # And now quickly.
        while total < 20 * MIB:
            client.more()
            total += len(client.take(len(client.buffer)))
        self.assertEqual(total, 20 * MIB)


class BackPressure(TcpTest):
    def test_slow_readers_stop_their_writers(self):
        """What Weir holds does not grow with what is waiting to be read."""
        sent = [0]
        stop = threading.Event()
        self.addCleanup(stop.set)

        def handle(connection, origin):
            connection.sock.settimeout(0.2)
            while not stop.is_set():
                try:
                    sent[0] += connection.sock.send(BLOCK)
                except TimeoutError:
                    continue

        weir, _ = self.tcp(handle, "--buffer_memory=64MiB")
        clients = [self.client(weir, receive_buffer=8192) for _ in range(100)]

        def still():
            before = sent[0]
            time.sleep(1)
            return sent[0] == before and before > 0

        wait_for(still, "the writers are stopped")
        # 100 connections, each at most a slice in flight and one of look-ahead.
        self.assertLess(weir.private_memory(), 32 * MIB)
        # A quick one beside them is served.
        quick = self.client(weir)
        self.assertEqual(len(quick.exactly(10 * MIB)), 10 * MIB)
        for client in clients:
            self.assertEqual(client.exactly(200_000), (BLOCK * 2)[:200_000])
        stop.set()

    def test_slow_origins_stop_their_clients(self):
        go = threading.Event()
        self.addCleanup(go.set)

        def handle(connection, origin):
            go.wait(weir_harness.DEADLINE)
            connection.send("%d %s".__mod__(read_digest(connection)).encode())

        weir, _ = self.tcp(handle, "--buffer_memory=64MiB")
        size = 30 * MIB
        clients = [self.client(weir) for _ in range(5)]
        threads = [threading.Thread(target=lambda c=c: (send_block(c, size), c.finish_sending())) for c in clients]
        for thread in threads:
            thread.start()
        time.sleep(1.5)
        self.assertTrue(all(thread.is_alive() for thread in threads))
        self.assertLess(weir.private_memory(), 32 * MIB)
        go.set()
        for client in clients:
            self.assertEqual(client.rest().decode(), "%d %s" % expected_digest(size))
        for thread in threads:
            thread.join()


class Many(TcpTest):
    def test_a_thousand_connections(self):
        """Each with its own bytes, all at once, through an echo server in this very thread."""
        count, size = 1000, 3000
        selector = selectors.DefaultSelector()
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", weir_harness.free_port()))
        listener.listen(4096)
        listener.setblocking(False)
        self.addCleanup(listener.close)
        weir = self.weir(weir_harness.address_text(listener.getsockname()), listen=("tcp",))

        selector.register(listener, selectors.EVENT_READ, "listener")
        clients = {}
        for i in range(count):
            sock = socket.socket()
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect(weir.address)
            data = BLOCK[i : i + size]
            clients[sock] = [data, bytearray(), data]
            selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, "client")
        done = ended = 0
        end = time.monotonic() + weir_harness.DEADLINE
        while ended < count:
            self.assertLess(time.monotonic(), end, f"{done} of {count} are done, {ended} ended")
            for key, events in selector.select(1):
                sock = key.fileobj
                if key.data == "listener":
                    with contextlib.suppress(BlockingIOError):
                        while True:
                            accepted, _ = listener.accept()
                            accepted.setblocking(False)
                            selector.register(accepted, selectors.EVENT_READ, "origin")
                elif key.data == "origin":
                    with contextlib.suppress(BlockingIOError):
                        data = sock.recv(65536)
                        if data:
                            self.assertEqual(sock.send(data), len(data))
                        else:
                            selector.unregister(sock)
                            sock.close()
                            ended += 1
                else:
                    left, got, want = clients[sock]
                    if events & selectors.EVENT_WRITE and left:
                        sent = sock.send(left[:700])
                        clients[sock][0] = left = left[sent:]
                        if not left:
                            selector.modify(sock, selectors.EVENT_READ, "client")
                    if events & selectors.EVENT_READ:
                        data = sock.recv(65536)
                        self.assertTrue(data, "closed too early")
                        got += data
                        if len(got) == size:
                            self.assertEqual(bytes(got), want)
                            done += 1
                            if done == count:
                                self.assertEqual(weir.metric(weir_harness.OPEN), count)
                                for client in clients:
                                    selector.unregister(client)
                                    client.close()
                                break
        selector.close()

    def test_connections_that_come_and_go(self):
        weir, origin = self.tcp(echo)
        for _ in range(500):
            client = connect(weir.address)
            client.send(b"hello")
            self.assertEqual(client.exactly(5), b"hello")
            client.close()
        # Nobody says anything, everybody leaves at once.
        for _ in range(300):
            reset(connect(weir.address).sock)
        for _ in range(300):
            connect(weir.address).close()


class Counted(TcpTest):
    """Why each connection ended, in the log and in the metrics."""

    def start(self, handler, *flags):
        self.log = os.path.join(scratch("log"), "access")
        self.front, self.raw = self.tcp(handler, f"--access_log={self.log}", *flags, shards=2)
        return self.front

    def ended(self, end, count=1):
        wait_for(lambda: self.front.metric("weir_tcp_active_connections") == 0, "all have ended")
        self.assertEqual(self.front.metric("weir_tcp_connection_ends_total", end=end), count, end)

    def ends(self):
        self.front.check_clean()
        self.front.stop()
        with open(self.log, encoding="ascii") as file:
            return [json.loads(line)["end"] for line in file]

    def test_who_ended_it(self):
        def handle(connection, origin):
            said = connection.exactly(1)
            if said == b"s":
                connection.finish_sending()
                connection.rest()
            elif said == b"r":
                connection.reset()
            else:
                connection.ending()

        self.start(handle)
        client = self.client(self.front)
        client.send(b"c")
        wait_for(lambda: self.front.metric("weir_tcp_active_connections") == 1, "it is there")
        client.finish_sending()
        self.assertEqual(client.ending(), "fin")
        self.ended("client_closed")
        client = self.client(self.front)
        client.send(b"s")
        self.assertEqual(client.ending(), "fin")
        client.finish_sending()
        self.ended("server_closed")
        client = self.client(self.front)
        client.send(b"r")
        self.assertEqual(client.ending(), "reset")
        self.ended("upstream_reset")
        client = self.client(self.front)
        client.send(b"c")
        wait_for(lambda: len(self.raw.connections) == 4, "the origin has it")
        client.reset()
        self.ended("client_reset")
        metrics = self.front.metrics()
        name = "weir_upstream_tcp_connection_ends_total"
        self.assertEqual(weir_harness.pick(metrics, name, upstream="default", end="server_closed"), 1)
        self.assertEqual(weir_harness.pick(metrics, name), 4)
        self.assertEqual(weir_harness.pick(metrics, "weir_tcp_connection_duration_seconds_count"), 4)
        stats = self.front.stats()
        self.assertEqual(stats["tcp_ends"]["client_reset"], 1)
        self.assertEqual(stats["upstreams"][0]["tcp_ends"],
                         {"client_closed": 1, "server_closed": 1, "upstream_reset": 1, "client_reset": 1})
        self.assertEqual(stats["tcp_duration_us"]["count"], 4)
        self.assertEqual(sorted(self.ends()), ["client_closed", "client_reset", "server_closed", "upstream_reset"])

    def test_idle_and_nobody_there(self):
        self.start(echo, "--tcp_idle_timeout=200ms", "--set_aside=100ms")
        client = self.client(self.front)
        client.send(b"x")
        client.ending()
        self.ended("idle_timeout")
        self.raw.close()
        with contextlib.suppress(ConnectionResetError):  # it may come before connect() has returned
            self.client(self.front).ending()
        self.ended("upstream_unreachable")
        self.assertEqual(self.ends(), ["idle_timeout", "upstream_unreachable"])

    def test_cut_by_the_drain(self):
        self.start(echo, "--drain_timeout=300ms")
        client = self.client(self.front)
        client.send(b"x")
        client.exactly(1)
        self.front.stop(code=2)
        with open(self.log, encoding="ascii") as file:
            self.assertEqual([json.loads(line)["end"] for line in file], ["cut"])


if __name__ == "__main__":
    unittest.main()
