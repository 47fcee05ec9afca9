"""What an idle keep-alive connection costs, measured from outside: the private memory of the whole process."""

import re
import selectors
import socket
import time
import unittest

import weir_harness
from weir_harness import WeirTest

FEW, MANY = 1_000, 9_000
MOST_BYTES = 512
MOST_PAIR_BYTES = 1024
PORTION = 1_000
REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


def kernel_memory():
    """Bytes of the kernel's own, best effort: slabs (sockets, io_uring requests) and what sockets hold."""
    with open("/proc/meminfo", encoding="ascii") as file:
        fields = dict(re.findall(r"(\w+):\s+(\d+) kB", file.read()))
    with open("/proc/net/sockstat", encoding="ascii") as file:
        pages = int(re.search(r"TCP:.* mem (\d+)", file.read())[1])
    return int(fields["Slab"]) * 1024 + pages * 4096


class Both:
    """Clients and their origin in one thread: every request is in flight before the first answer goes out."""

    def __init__(self, closing):
        # With `closing` the origin ends each of its connections, so that only clients stay.
        fields = b"Connection: close\r\n" if closing else b""
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" + fields + b"\r\nabc"
        self.closing = closing
        self.selector = selectors.DefaultSelector()
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", weir_harness.free_port()))
        self.listener.listen(16384)
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ, "listener")
        self.origins = set()
        self.clients = []
        self.waiting = []  # origin connections with a request

    def connect(self, address, count):
        for _ in range(count):
            client = socket.socket()
            client.connect(address)
            client.setblocking(False)
            self.clients.append(client)
            self.selector.register(client, selectors.EVENT_READ, "client")

    def round(self):
        """One request of every client, all in flight at the same time; returns when all are answered."""
        # In portions: more connections at one time than the listener's queue holds (net.core.somaxconn) would have their
        # handshakes dropped and repeated until somebody gives up.
        ahead = iter(self.clients)
        asked = answered = 0
        released = False
        got = {}
        end = time.monotonic() + 2 * weir_harness.DEADLINE
        while answered < len(self.clients):
            while asked - len(self.waiting) < PORTION and (client := next(ahead, None)) is not None:
                client.send(REQUEST)
                asked += 1
            assert time.monotonic() < end, f"{len(self.waiting)} in flight, {answered} answered"
            for key, _ in self.selector.select(0.5):
                sock = key.fileobj
                if key.data == "listener":
                    self._accept()
                    continue
                try:
                    data = sock.recv(65536)
                except ConnectionResetError as error:
                    raise AssertionError(
                        f"reset: {key.data}'s connection, {len(self.waiting)} requests in flight, {answered} answered, "
                        f"released: {released}, {2 * weir_harness.DEADLINE - (end - time.monotonic()):.1f} s"
                    ) from error
                if key.data == "origin":
                    if not data:
                        self._drop(sock)
                    elif data.endswith(b"\r\n\r\n"):
                        self.waiting.append(sock)
                else:
                    assert data, "Weir closed a client's connection"
                    got[sock] = got.get(sock, b"") + data
                    assert got[sock].startswith(b"HTTP/1.1 200 "[: len(got[sock])]), got[sock]
                    if got[sock].endswith(b"abc"):
                        answered += 1
            if len(self.waiting) == len(self.clients):
                released = True
                for sock in self.waiting:
                    sock.send(self.answer)
                    if self.closing:
                        self._drop(sock)
                self.waiting.clear()
        assert released

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            self.origins.add(sock)
            self.selector.register(sock, selectors.EVENT_READ, "origin")

    def _drop(self, sock):
        self.selector.unregister(sock)
        self.origins.discard(sock)
        sock.close()

    def pump(self):
        """Notices which of its connections Weir has closed."""
        for key, _ in self.selector.select(0):
            if key.data == "origin" and not key.fileobj.recv(65536):
                self._drop(key.fileobj)

    def close(self):
        for sock in [*self.clients, *self.origins, self.listener]:
            sock.close()
        self.selector.close()


class Idle(WeirTest):
    def measure(self, closing, *flags, **options):
        hard = weir_harness.raise_file_limit()
        if hard < 20_000:
            self.skipTest(f"{MANY} proxied connections need 20000 open files, and the hard limit (ulimit -Hn) is {hard}")
        both = Both(closing)
        # On a busy machine it takes minutes until all are connected and the memory has settled: no deadline of the
        # clients' may end a connection meanwhile.
        patience = ("--keep_alive_timeout=1h", "--client_header_timeout=1h", "--client_body_timeout=1h")
        weir = self.weir(weir_harness.address_text(both.listener.getsockname()), *patience, *flags, **options)
        self.addCleanup(both.close)

        def settled(seconds):
            """The smallest that it comes to in some seconds: what a burst needed is given back in pieces."""
            least, end = weir.private_memory(), time.monotonic() + seconds
            still = 0
            while time.monotonic() < end and still < 4:
                both.pump()
                time.sleep(0.5)
                now = weir.private_memory()
                still = still + 1 if now >= least else 0
                least = min(least, now)
            return least

        both.connect(weir.address, FEW)
        both.round()
        few, few_kernel = settled(30), kernel_memory()
        both.connect(weir.address, MANY - FEW)
        for _ in range(2):
            both.round()
            both.pump()
        at_work = weir.private_memory()
        many, many_kernel = settled(60), kernel_memory()
        self.assertEqual(weir.metric(weir_harness.OPEN), MANY)
        idle = weir.metric(weir_harness.UPSTREAM_IDLE)
        each = (many - few) / (MANY - FEW)
        kernel = (many_kernel - few_kernel) / (MANY - FEW)
        print(
            f"\n{'closing' if closing else 'keeping'} origin: {each:.0f} bytes of private memory per idle connection "
            f"({few / 1e6:.1f} MB with {FEW}, {many / 1e6:.1f} MB with {MANY}, {at_work / 1e6:.1f} MB right after all were "
            f"active; {idle:g} upstream connections pooled); about {kernel:.0f} bytes of the kernel's, both ends and the "
            f"origin's included"
        )
        # Whatever it gave back, every one of them still works.
        try:
            both.round()
        except AssertionError:
            print(weir.page("/metrics")[1])
            raise
        return each

    def test_connections_alone(self):
        self.assertLessEqual(self.measure(True), MOST_BYTES)

    def test_connections_with_a_pool_of_upstreams(self):
        self.assertLessEqual(self.measure(False), MOST_BYTES)

    def test_pairs_of_tcp(self):
        self.assertLessEqual(self.measure(False, "--tcp_idle_timeout=1h", listen=("tcp",)), MOST_PAIR_BYTES)


if __name__ == "__main__":
    unittest.main()
