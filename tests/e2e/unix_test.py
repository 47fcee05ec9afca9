"""Endpoints on unix sockets: everything that works through TCP, and what such an endpoint does of its own."""

import hashlib
import json
import os
import re
import signal
import socket
import stat
import threading
import time
import unittest

import weir_harness
from weir_harness import WeirTest, address_text, need, ok, run, scratch, socket_folder, wait_for

MB10 = os.urandom(1 << 20) * 10
# Root without its powers, who is to files of somebody else as anybody is; and unlike anybody it may be where these tests
# are, even if that is for root alone.
POWERLESS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
OTHER = 65534


class UnixTest(WeirTest):
    def setUp(self):
        self.folder = socket_folder(self)

    def path(self, name="app.sock"):
        return os.path.join(self.folder, name)

    def url(self, weir, path):
        return f"http://{address_text(weir.address)}{path}"

    def endpoint(self, weir, address):
        """What /stats says of an endpoint."""
        for upstream in weir.stats()["upstreams"]:
            for endpoint in upstream["endpoints"]:
                if endpoint["address"] == address:
                    return endpoint
        raise AssertionError(f"no endpoint {address}")


class Nginx(UnixTest):
    def setUp(self):
        super().setUp()
        self.socket = self.path()
        self.origin_nginx = self.nginx(
            "app", extra=f'listen unix:{self.socket}; location /host {{ return 200 "$http_host $scheme"; }}'
        )

    def test_curl_both_ways(self):
        weir = self.weir(f"unix:{self.socket}")
        with open(self.path("body"), "wb") as file:
            file.write(MB10)
        put = run([need("curl"), "-sS", "-T", self.path("body"), "-w", "%{http_code}", self.url(weir, "/put/body")])
        self.assertEqual((put.returncode, put.stdout), (0, "201"), put.stderr)
        got = run([need("curl"), "-sS", "-f", "-o", self.path("back"), self.url(weir, "/put/body")])
        self.assertEqual(got.returncode, 0, got.stderr)
        with open(self.path("back"), "rb") as file:
            self.assertEqual(hashlib.sha256(file.read()).digest(), hashlib.sha256(MB10).digest())
        said = run([need("curl"), "-sS", "-H", "Host: shop.example:81", self.url(weir, "/host")])
        self.assertEqual(said.stdout, "shop.example:81 http")

    def test_kept_connections(self):
        weir = self.weir(f"unix:{self.socket}", shards=1)
        client = self.client(weir)
        for _ in range(20):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertEqual(client.response().body, b"app\n")
        self.assertEqual(weir.metric("weir_upstream_reused_total"), 19)
        self.assertEqual(weir.metric("weir_upstream_connects_total"), 1)
        endpoint = self.endpoint(weir, f"unix:{self.socket}")
        self.assertEqual((endpoint["requests"], endpoint["idle_connections"]), (20, 1))
        self.assertEqual(weir.metric("weir_endpoint_requests_total", endpoint=f"unix:{self.socket}"), 20)

    def test_many_at_once(self):
        weir = self.weir(f"unix:{self.socket}")
        result = weir_harness.Wrk(self.url(weir, "/"), connections=64, seconds=2).result()
        self.assertGreater(result.requests, 100)
        self.assertEqual((result.bad, result.read, result.write, result.connect, result.timeout), (0, 0, 0, 0, 0))

    def test_restart(self):
        weir = self.weir(f"unix:{self.socket}", "--set_aside=200ms", "--retries=1")
        self.assertEqual(self.get(weir).body, b"app\n")
        self.origin_nginx.kill()
        # The file is still there, and nobody listens.
        self.assertTrue(stat.S_ISSOCK(os.stat(self.socket).st_mode))
        self.assertEqual(self.get(weir).status, 502)
        os.unlink(self.socket)
        wait_for(lambda: self.get(weir).status == 502, "set aside is over")
        self.assertIn(self.get(weir).status, (502, 503))
        self.assertGreater(weir.metric("weir_endpoints_set_aside_total"), 0)
        self.origin_nginx.start()
        wait_for(lambda: self.get(weir).status == 200, "it is used again")

    def test_a_config_file(self):
        weir = self.weir(
            None,
            config=f"""
listeners:
  - {{address: LISTEN0, upstream: web}}
  - {{address: LISTEN1, upstream: web, protocol: tcp}}
upstreams:
  web: {{endpoints: [{{address: "unix:{self.socket}", weight: 2}}]}}
""",
            listen=("http", "tcp"),
        )
        self.assertEqual(self.get(weir).body, b"app\n")
        self.assertEqual(self.get(weir, listener=1).body, b"app\n")
        self.assertEqual(self.endpoint(weir, f"unix:{self.socket}")["weight"], 2)


class Reload(UnixTest):
    CONFIG = """
listeners: [{{address: LISTEN0, upstream: web}}]
upstreams: {{web: {{endpoints: [{}]}}}}
"""

    def write(self, weir, *endpoints):
        with open(weir.config, encoding="utf-8") as file:
            text = file.read()
        with open(weir.config, "w", encoding="utf-8") as file:
            file.write(re.sub("endpoints: .*", "endpoints: [%s]}}" % ", ".join(endpoints), text))

    def reload(self, weir, said):
        before = weir.err().count(said)
        weir.signal(signal.SIGHUP)
        wait_for(lambda: weir.err().count(said) > before, said)

    def test_endpoints_come_and_go(self):
        one = self.origin(name="one", path=self.path("one"))
        two = self.origin(name="two", path=self.path("two"))
        weir = self.weir(None, config=self.CONFIG.format(one), shards=1)
        client = self.client(weir)

        def ask():
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            return client.response().body

        self.assertEqual(ask(), b"one")
        self.write(weir, str(one), str(two))
        self.reload(weir, "is in force")
        self.assertEqual({ask() for _ in range(4)}, {b"one", b"two"})
        self.assertEqual(len(one.connections), 1, "the kept connection lives on")
        self.write(weir, str(two))
        self.reload(weir, "is in force")
        one.close()
        self.assertEqual({ask() for _ in range(4)}, {b"two"})
        self.write(weir, "unix:two")
        self.reload(weir, "expected an absolute path behind unix:")
        self.assertEqual(ask(), b"two")


class Raw(UnixTest):
    def test_access_log(self):
        origin = self.origin(path=self.path())
        log = os.path.join(scratch("log"), "access")
        weir = self.weir([origin, f"unix:{self.path('none')}"], f"--access_log={log}", "--retries=3", shards=1)
        for _ in range(4):
            self.assertEqual(self.get(weir).status, 200)
        weir.check_clean()
        weir.stop()
        with open(log, encoding="ascii") as file:
            lines = [json.loads(line) for line in file]
        self.assertEqual({line["endpoint"] for line in lines}, {str(origin)})
        self.assertEqual(sum(line["retries"] for line in lines), 1)

    def test_an_abstract_name(self):
        name = f"weir-e2e-{os.getpid()}"
        self.origin(path="\0" + name)
        weir = self.weir(f"unix:@{name}")
        self.assertEqual(self.get(weir).body, b"raw")
        self.assertEqual(self.endpoint(weir, f"unix:@{name}")["requests"], 1)

    def test_a_tunnel(self):
        def upgrade(connection, origin):
            request = connection.request_head()
            assert request.header("Upgrade") == "echo", request.headers
            connection.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
            while True:
                connection.send(connection.take(len(connection.buffer)))
                connection.more()

        origin = self.origin(upgrade, path=self.path())
        weir = self.weir(origin)
        client = self.client(weir)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
        self.assertEqual(client.head().status, 101)
        sender = threading.Thread(target=client.send, args=(MB10,))
        sender.start()
        self.assertEqual(client.exactly(len(MB10)), MB10)
        sender.join()
        client.finish_sending()
        self.assertEqual(client.ending(), "fin")

    def test_tcp_with_half_close(self):
        def last_word(connection, origin):
            received = connection.rest()
            connection.send(hashlib.sha256(received).digest() + received[::-1])

        origin = self.origin(last_word, path=self.path(), record=False)
        weir = self.weir(origin, listen=("tcp",))
        client = self.client(weir)
        client.send(MB10)
        client.finish_sending()
        self.assertEqual(client.rest(), hashlib.sha256(MB10).digest() + MB10[::-1])

    def test_many_small_messages_over_tcp(self):
        def echo(connection, origin):
            while True:
                connection.send(connection.exactly(5))

        weir = self.weir(self.origin(echo, path=self.path()), listen=("tcp",))
        client = self.client(weir)
        for i in range(500):
            client.send(b"%05d" % i)
            self.assertEqual(client.exactly(5), b"%05d" % i)

    def test_an_answer_that_ends_with_the_connection(self):
        body = os.urandom(300_000)

        def answer(connection, origin):
            connection.request()
            connection.send(b"HTTP/1.0 200 OK\r\n\r\n" + body)

        weir = self.weir(self.origin(answer, path=self.path(), record=False))
        for _ in range(10):
            self.assertEqual(self.get(weir).body, body)

    def test_a_kept_connection_that_died_is_not_missed(self):
        def one_each(connection, origin):
            connection.request()
            connection.send(ok(b"x"))

        weir = self.weir(self.origin(one_each, path=self.path()))
        client = self.client(weir)
        for _ in range(20):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertEqual(client.response().body, b"x")


class Admin(UnixTest):
    """The admin pages on a unix socket."""

    def start(self, **options):
        weir = self.weir(self.backend, f"--admin=unix:{self.path()}", admin=False, **options)
        wait_for(lambda: "admin on unix:" in weir.err(), "the admin socket is there")
        return weir

    def setUp(self):
        super().setUp()
        self.backend = self.origin()

    def curl(self, page, *flags, wrapper=()):
        return run([*wrapper, need("curl"), "-sS", *flags, "--unix-socket", self.path(), f"http://localhost{page}"])

    def test_pages(self):
        weir = self.start()
        self.assertIn(f"admin on unix:{self.path()}\n", weir.err())
        self.assertEqual(self.get(weir).status, 200)
        self.assertEqual(self.curl("/healthz").stdout, "ok\n")
        self.assertEqual(json.loads(self.curl("/stats").stdout)["requests"]["2xx"], 1)
        self.assertIn("weir_requests_total", self.curl("/metrics").stdout)
        self.assertTrue(self.curl("/nothing", "-f").returncode)
        found = os.stat(self.path())
        self.assertTrue(stat.S_ISSOCK(found.st_mode))
        self.assertEqual((stat.S_IMODE(found.st_mode), found.st_uid), (0o600, os.geteuid()))
        weir.stop()
        self.assertFalse(os.path.exists(self.path()))

    def test_the_mode_does_not_hang_on_the_umask(self):
        self.start(preexec=lambda: os.umask(0))
        self.assertEqual(stat.S_IMODE(os.stat(self.path()).st_mode), 0o600)

    @unittest.skipIf(os.geteuid() != 0, "only root can be somebody else")
    def test_not_for_others(self):
        self.start()
        os.chown(self.path(), OTHER, OTHER)
        result = self.curl("/healthz", wrapper=POWERLESS)
        self.assertEqual((result.returncode, result.stdout), (7, ""), result.stderr)

    def test_after_a_crash(self):
        first = self.start()
        first.kill()
        first.stopped = True
        self.assertTrue(os.path.exists(self.path()))
        self.start()
        self.assertEqual(self.curl("/healthz").stdout, "ok\n")

    def test_after_many_crashes(self):
        """The next one starts while the kernel still takes the last one's ring apart."""
        port = weir_harness.free_port()
        for _ in range(5):
            weir = self.weir(self.backend, f"--admin=unix:{self.path()}", admin=False, ports=[port])
            wait_for(lambda at=weir: "admin on unix:" in at.err(), "it has started")
            weir.kill()
            weir.stopped = True

    def test_a_second_one(self):
        first = self.start()
        other = run([*first.argv[:1], "--listen=http://127.0.0.1:0", f"--backends={self.backend}",
                     f"--admin=unix:{self.path()}"])
        self.assertEqual((other.returncode, other.stderr),
                         (1, f"weir: --admin: unix:{self.path()}: the socket is in use by another process "
                             "(ss -lxp tells which)\n"))
        self.assertEqual(self.curl("/healthz").stdout, "ok\n")
        os.unlink(self.path())
        with open(self.path(), "w", encoding="ascii") as file:
            file.write("precious")
        other = run([*first.argv[:1], "--listen=http://127.0.0.1:0", f"--backends={self.backend}",
                     f"--admin=unix:{self.path()}"])
        self.assertEqual((other.returncode, other.stderr),
                         (1, f"weir: --admin: unix:{self.path()}: there is something that is no socket: remove it, or "
                             "choose another path\n"))
        with open(self.path(), encoding="ascii") as file:
            self.assertEqual(file.read(), "precious")

    def test_what_is_not_ours_stays(self):
        weir = self.start()
        os.unlink(self.path())
        other = self.origin(path=self.path())
        weir.stop()
        self.assertEqual(str(other), f"unix:{self.path()}")
        self.assertEqual(self.curl("/").stdout, "raw")

    def test_while_it_drains(self):
        weir = self.weir(self.backend, f"--admin=unix:{self.path()}", "--lame_duck=300ms", admin=False)
        wait_for(lambda: "admin on unix:" in weir.err(), "the admin socket is there")
        weir.signal(signal.SIGTERM)
        wait_for(lambda: self.curl("/healthz").stdout == "draining\n", "it says so", every=0.01)
        weir.ended()
        self.assertFalse(os.path.exists(self.path()))

    def test_a_second_signal(self):
        weir = self.weir(self.backend, f"--admin=unix:{self.path()}", "--lame_duck=1h", admin=False)
        wait_for(lambda: "admin on unix:" in weir.err(), "the admin socket is there")
        weir.signal(signal.SIGTERM)
        wait_for(lambda: "draining" in weir.err(), "the first signal")
        weir.stop()
        self.assertFalse(os.path.exists(self.path()))


class Trouble(UnixTest):
    def test_what_cannot_be_connected_to(self):
        with open(self.path("file"), "w", encoding="ascii"):
            pass
        datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(datagrams.close)
        datagrams.bind(self.path("datagrams"))
        for name in ("missing", "no/folder", "file", "datagrams"):
            with self.subTest(name):
                weir = self.weir(f"unix:{self.path(name)}", shards=1)
                self.assertEqual(self.get(weir).status, 502)
                response = self.get(weir)
                self.assertEqual(response.status, 503)
                self.assertEqual(response.header("Retry-After"), "1")
                endpoint = self.endpoint(weir, f"unix:{self.path(name)}")
                self.assertEqual((endpoint["failures"], endpoint["set_aside_shards"]), (1, 1))

    @unittest.skipIf(os.geteuid() != 0, "only root can be somebody else")
    def test_no_permission(self):
        origin = self.origin(path=self.path())
        os.chown(self.path(), OTHER, OTHER)
        os.chmod(self.path(), 0o600)
        weir = self.weir(origin, wrapper=POWERLESS, shards=1)
        self.assertEqual(self.get(weir).status, 502)
        self.assertEqual(self.endpoint(weir, str(origin))["set_aside_shards"], 1)
        os.chmod(self.path(), 0o666)
        wait_for(lambda: self.get(weir).status == 200, "it may now")

    def test_the_next_endpoint(self):
        origin = self.origin(path=self.path())
        tcp = self.origin(name="tcp")
        weir = self.weir([f"unix:{self.path('missing')}", origin, tcp])
        bodies = [self.get(weir).body for _ in range(12)]
        self.assertEqual(set(bodies), {b"raw", b"tcp"})

    def test_a_busy_endpoint_costs_time_not_requests(self):
        """Its queue is full: connect says EAGAIN at once, where TCP would wait."""
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(self.path())
        listener.listen(0)
        weir = self.weir(f"unix:{self.path()}", "--connect_timeout=30s", shards=1)
        clients = [self.client(weir) for _ in range(30)]
        for client in clients:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.3)
        self.assertEqual(weir.metric("weir_upstream_connect_failures_total"), 0)

        def serve():
            for _ in clients:
                connection = weir_harness.Connection(listener.accept()[0])
                connection.request()
                time.sleep(0.01)
                connection.send(ok(b"done", b"Connection: close\r\n"))
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        for client in clients:
            self.assertEqual(client.response().body, b"done")
        thread.join()
        self.assertEqual(weir.metric("weir_upstream_connect_failures_total"), 0)
        self.assertEqual(weir.metric("weir_upstream_connects_total"), 30)

    def test_an_endpoint_that_accepts_nobody(self):
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(self.path())
        listener.listen(0)
        filler = socket.socket(socket.AF_UNIX)
        self.addCleanup(filler.close)
        filler.connect(self.path())
        weir = self.weir(f"unix:{self.path()}", "--connect_timeout=200ms", shards=1)
        self.assertEqual(self.get(weir).status, 504)
        self.assertEqual(self.get(weir).status, 503)
        # A client that leaves while it waits.
        wait_for(lambda: self.endpoint(weir, f"unix:{self.path()}")["set_aside_shards"] == 0, "it is tried again")
        client = self.client(weir)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        client.reset()

    def upload(self, pause, *flags):
        """2 MiB to an origin that reads 64 KiB at a time: the answer's status."""
        stop = threading.Event()
        self.addCleanup(stop.set)

        def slowly(connection, origin):
            connection.request_head()
            left = (2 << 20) - len(connection.buffer)
            while left > 0 and not stop.wait(pause):
                left -= len(connection.sock.recv(1 << 16))
            connection.send(ok(b"all of it"))

        weir = self.weir(self.origin(slowly, path=self.path(), record=False), *flags, shards=1)
        client = self.client(weir)
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (2 << 20))
        sender = threading.Thread(target=lambda: self.assertIsNone(self.send_quietly(client)))
        sender.start()
        response = client.response("POST")
        stop.set()
        client.close()
        sender.join()
        return response.status

    @staticmethod
    def send_quietly(client):
        try:
            client.send(b"u" * (2 << 20))
        except OSError:
            pass

    def test_a_slow_reader_lives(self):
        self.assertEqual(self.upload(0.1, "--upstream_body_timeout=500ms"), 200)

    def test_one_who_reads_nothing_does_not(self):
        self.assertEqual(self.upload(3600, "--upstream_body_timeout=500ms"), 504)


if __name__ == "__main__":
    unittest.main()
