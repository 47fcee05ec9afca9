"""What `tcp:` says of clients' and of endpoints' connections, asked of the very sockets that Weir has; and where those
to endpoints come from: more of them than one address has ports for."""

import ctypes
import os
import signal
import socket
import unittest

import weir_harness
from weir_harness import Connection, Ended, WeirTest, address_text, free_port, wait_for

PIDFD_GETFD = 438
CLONE_NEWNET = 0x40000000
TCP_FASTOPEN_CONNECT = 30
LIBC = ctypes.CDLL(None, use_errno=True)

CONFIG = """
listeners:
- {address: LISTEN0, protocol: tcp, upstream: web, tcp: {CLIENTS}}
- {address: LISTEN1, upstream: web}
upstreams:
  web:
    endpoints: [ENDPOINT]
    timeouts: {connect: 2s}
    tcp: {SERVERS}
"""


def sockets_of(pid):
    """A copy of each of a process's TCP sockets."""
    pidfd = os.pidfd_open(pid)
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
                continue
            fd = LIBC.syscall(PIDFD_GETFD, pidfd, int(name), 0)
            if fd < 0:
                raise OSError(ctypes.get_errno(), "pidfd_getfd")
            with socket.socket(fileno=fd) as sock:
                if sock.family == socket.AF_INET and sock.type == socket.SOCK_STREAM:
                    yield sock
    finally:
        os.close(pidfd)


def options(sock):
    """What was set, by the keys' names."""
    tcp = lambda name: sock.getsockopt(socket.IPPROTO_TCP, name)
    return {
        "keepalive": sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) and tcp(socket.TCP_KEEPIDLE),
        "keepalive_interval": tcp(socket.TCP_KEEPINTVL),
        "keepalive_count": tcp(socket.TCP_KEEPCNT),
        "user_timeout": tcp(socket.TCP_USER_TIMEOUT),
        "nodelay": tcp(socket.TCP_NODELAY),
        "congestion_control": sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode(),
    }


def echo(connection, _):
    while True:
        connection.more()
        connection.send(connection.take(len(connection.buffer)))


def talk(client, data):
    """What comes back."""
    try:
        client.send(data)
        while len(client.buffer) < min(len(data), 15):
            client.more()
    except (Ended, OSError):
        pass
    return bytes(client.take(len(client.buffer)))


class TcpOptions(WeirTest):
    def start(self, clients, servers, handler=echo, endpoint=None, **options):
        self.raw = self.origin(handler, **options)
        config = CONFIG.replace("CLIENTS", clients).replace("SERVERS", servers)
        return self.weir(None, config=config.replace("ENDPOINT", endpoint or address_text(self.raw.address)), shards=1, listen=("tcp", "http"))

    def one_each(self, weir):
        """The options of a connection of ours, and of the one that Weir made for it."""
        client = self.client(weir)
        self.assertEqual(talk(client, b"x"), b"x")
        for sock in sockets_of(weir.pid):
            with_peer = True
            try:
                peer = sock.getpeername()
            except OSError:
                with_peer = False
            if with_peer and peer == client.sock.getsockname():
                ours = options(sock)
            elif with_peer and peer == self.raw.address:
                made = options(sock)
        return ours, made

    def test_they_are_what_was_said_also_after_a_reload(self):
        weir = self.start("", "")
        system, made = self.one_each(weir)
        self.assertEqual((system["keepalive"], system["user_timeout"], system["nodelay"]), (0, 0, 1))
        self.assertEqual(made, system)

        said = {"keepalive": 61, "keepalive_interval": 7, "keepalive_count": 3, "user_timeout": 4500, "nodelay": 0,
                "congestion_control": "reno"}
        text = ("keepalive: 61s, keepalive_interval: 7s, keepalive_count: 3, user_timeout: 4500ms, nodelay: false, "
                "congestion_control: reno")
        other = dict(system, keepalive=90, nodelay=1)
        weir = self.start(text, "keepalive: 90s")
        self.assertEqual(self.one_each(weir), (said, other))

        self.rewrite(weir, "tcp: {" + text + "}", "tcp: {}", "tcp: {keepalive: 90s}", "tcp: {" + text + "}")
        self.assertEqual(self.one_each(weir), (system, said))

    def rewrite(self, weir, *changes):
        with open(weir.config, encoding="utf-8") as file:
            config = file.read()
        for before, after in zip(changes[::2], changes[1::2]):
            self.assertIn(before, config)
            config = config.replace(before, after, 1)
        with open(weir.config + ".new", "w", encoding="utf-8") as file:
            file.write(config)
        os.replace(weir.config + ".new", weir.config)
        weir.signal(signal.SIGHUP)
        wait_for(lambda: weir.stats()["reloads"] == 1, "the reload")  # on every shard

    def test_fast_open(self):
        weir = self.start("fast_open: 16", "fast_open: true")
        queues = []
        for sock in sockets_of(weir.pid):
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and sock.getsockname()[1] == weir.address[1]:
                queues.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN))
        self.assertEqual(queues, [16])
        for _ in range(3):
            client = self.client(weir)
            self.assertEqual(talk(client, b"hello"), b"hello")
            client.close()
        # Nobody is there: known only once the first bytes are on their way.
        weir = self.start("", "fast_open: true", endpoint=f"127.0.0.1:{free_port()}")
        self.assertEqual(self.get(weir, listener=1).status, 502)

    def test_what_the_kernel_does_not_have_is_refused_at_start(self):
        for servers, error in (
            ("congestion_control: nosuch", 'tcp.congestion_control: "nosuch": this kernel has no such algorithm'),
            ("source: 192.0.2.1", "tcp.source: 192.0.2.1: this machine does not have that address"),
        ):
            config = CONFIG.replace("CLIENTS", "").replace("SERVERS", servers).replace("ENDPOINT", "127.0.0.1:1")
            path = os.path.join(weir_harness.scratch("refused"), "weir.yaml")
            with open(path, "w", encoding="utf-8") as file:
                file.write(config.replace("LISTEN0", "127.0.0.1:0").replace("LISTEN1", "127.0.0.1:0"))
            done = weir_harness.run([weir_harness.binary(), f"--config={path}"])
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn(error, done.stderr)

    def test_they_come_from_the_sources_in_turn(self):
        def who(connection, _):
            peer = connection.sock.getpeername()[0]
            while connection.request() is not None:
                connection.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(peer)}\r\n\r\n{peer}".encode())

        weir = self.start("", "source: [127.0.3.1, 127.0.3.2, '::1']", handler=who)
        clients = [self.client(weir, listener=1) for _ in range(6)]
        for client in clients:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual(sorted(client.response().body for client in clients), [b"127.0.3.1"] * 3 + [b"127.0.3.2"] * 3)


class ManyConnections(WeirTest):
    """In a network of its own, where an address has a few ports."""

    PORTS = 30

    @classmethod
    def setUpClass(cls):
        cls.network = os.open("/proc/self/ns/net", os.O_RDONLY)
        if LIBC.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare: a network of our own needs root")
        weir_harness.run([weir_harness.need("ip"), "link", "set", "lo", "up"])
        with open("/proc/sys/net/ipv4/ip_local_port_range", "w", encoding="ascii") as file:
            file.write(f"20000 {20000 + cls.PORTS - 1}\n")

    @classmethod
    def tearDownClass(cls):
        LIBC.setns(cls.network, CLONE_NEWNET)
        os.close(cls.network)

    def connect_from(self, port, to):
        """From none of the few ports. None: it was reset."""
        sock = socket.socket()
        self.addCleanup(lambda: sock.fileno() >= 0 and weir_harness.reset(sock))  # an end alone aborts nothing
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.4.1", port))
        try:
            sock.connect(to)
        except ConnectionResetError:
            return None
        return Connection(sock, weir_harness.DEADLINE)

    def test_more_tcp_connections_than_one_address_has_ports_for(self):
        self.fill(0, echo, b"x", b"x", "weir_tcp_failures_total")

    def test_more_requests_at_one_time_than_one_address_has_ports_for(self):
        def begin_to_answer(connection, _):
            connection.request()
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx")
            connection.more()

        self.fill(1, begin_to_answer, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK",
                  "weir_upstream_connect_failures_total")

    def fill(self, listener, handler, asked, answer, failures):
        for sources in (1, 3):
            with self.subTest(sources=sources):
                origin = self.origin(handler, host="127.0.1.1")
                listed = ", ".join(f"127.0.2.{i + 1}" for i in range(sources))
                config = CONFIG.replace("CLIENTS", "").replace("SERVERS", f"source: [{listed}]")
                weir = self.weir(None, config=config.replace("ENDPOINT", address_text(origin.address)), shards=1, listen=("tcp", "http"))
                served = 0
                for i in range(3 * self.PORTS - 3):
                    client = self.connect_from(50_000 + 1_000 * sources + i, weir.addresses[listener])
                    served += client is not None and talk(client, asked).startswith(answer)
                if sources == 1:
                    self.assertLessEqual(served, self.PORTS)
                    self.assertGreater(served, self.PORTS // 2)
                    self.assertGreater(weir_harness.pick(weir.metrics(), failures), 0)
                else:
                    self.assertEqual(served, 3 * self.PORTS - 3)


if __name__ == "__main__":
    unittest.main()
