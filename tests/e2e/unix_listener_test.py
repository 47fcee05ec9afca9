"""Listeners on unix sockets: clients of every kind, all shards, reloads, drains, and what becomes of the file."""

import hashlib
import json
import os
import signal
import socket
import stat
import threading
import unittest

import weir_harness
from weir_harness import Connection, Ended, WeirTest, need, ok, run, scratch, socket_folder, wait_for

MB10 = os.urandom(1 << 20) * 10
V1 = b"PROXY TCP4 203.0.113.7 198.51.100.9 1234 443\r\n"
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


class ListenerTest(WeirTest):
    def setUp(self):
        self.folder = socket_folder(self)
        self.raw = self.origin()
        self.log = os.path.join(scratch("log"), "access")

    def path(self, name="weir.sock"):
        return os.path.join(self.folder, name)

    def start(self, listeners, shards=2, more="", **options):
        """`listeners`: what each says beside its address."""
        text = f"access_log: {self.log}\nlisteners:\n"
        for name, keys in listeners:
            text += f'  - {{address: "unix:{self.path(name)}", {keys}}}\n'
        text += f'upstreams: {{web: {{endpoints: ["{self.raw}"]}}}}\n{more}'
        weir = self.weir(None, config=text, listen=(), shards=shards, **options)
        wait_for(lambda: weir.err().count("listening on") >= len(listeners), "it listens")
        return weir

    def write(self, weir, old, new):
        with open(weir.config, encoding="utf-8") as file:
            text = file.read()
        self.assertIn(old, text)
        with open(weir.config, "w", encoding="utf-8") as file:
            file.write(text.replace(old, new))

    def reload(self, weir, said="is in force"):
        before = weir.err().count(said)
        weir.signal(signal.SIGHUP)
        wait_for(lambda: weir.err().count(said) > before, said)

    def dial(self, name="weir.sock"):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self.path(name))
        connection = Connection(sock)
        self.addCleanup(connection.close)
        return connection

    def ask(self, connection, request=GET):
        connection.send(request)
        return connection.response()

    def lines(self):
        with open(self.log, encoding="ascii") as file:
            return [json.loads(line) for line in file]

    def curl(self, *flags, name="weir.sock"):
        return run([need("curl"), "-sS", *flags, "--unix-socket", self.path(name)])


class Clients(ListenerTest):
    def test_curl_both_ways(self):
        stored = []

        def store(connection, origin):
            while (request := connection.request()) is not None:
                if request.method == "PUT":
                    stored.append(request.body)
                connection.send(ok(stored[-1] if request.method == "GET" else b""))

        self.raw = self.origin(store, record=False)
        self.start([("weir.sock", "upstream: web")], shards=1)
        with open(self.path("body"), "wb") as file:
            file.write(MB10)
        for flags in (("-T", self.path("body")), ("-o", self.path("back"))):
            result = self.curl(*flags, "http://a/x")
            self.assertEqual(result.returncode, 0, result.stderr)
        with open(self.path("back"), "rb") as file:
            self.assertEqual(hashlib.sha256(file.read()).digest(), hashlib.sha256(MB10).digest())

    def test_what_is_told_of_the_client(self):
        weir = self.start([
            ("plain", "upstream: web"),
            ("trusted", "upstream: web, trusted_proxies: unix"),
            ("nobody", "upstream: web, allow: 10.0.0.0/8"),
            ("unix", "upstream: web, allow: [unix, 10.0.0.0/8]"),
            ("rfc", "upstream: web, forwarded: rfc7239"),
        ])
        spoofed = b"GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"
        self.ask(self.dial("plain"), spoofed)
        self.assertEqual(self.raw.requests[-1].header("X-Forwarded-For"), "unix:")
        self.ask(self.dial("trusted"), spoofed)
        self.assertEqual(self.raw.requests[-1].header("X-Forwarded-For"), "203.0.113.9, unix:")
        self.assertEqual(self.ask(self.dial("nobody")).status, 403)
        self.assertEqual(self.ask(self.dial("unix")).status, 200)
        self.ask(self.dial("rfc"))
        self.assertIn("for=unknown;", self.raw.requests[-1].header("Forwarded"))
        old = self.dial("plain")
        old.send(b"GET / HTTP/1.0\r\n\r\n")
        self.assertEqual(old.response().status, 200)
        self.assertEqual(self.raw.requests[-1].header("Host"), "localhost")
        weir.stop()
        self.assertEqual([line["client"] for line in self.lines()].count("203.0.113.9"), 1)
        self.assertEqual([line["client"] for line in self.lines()].count("unix:"), 5)

    def test_the_proxy_protocol(self):
        weir = self.start([
            ("http", "upstream: web, proxy_protocol: {mode: required, from: unix}"),
            ("tcp", "upstream: web, protocol: tcp, proxy_protocol: required"),
            ("not", "upstream: web, proxy_protocol: {mode: required, from: 10.0.0.0/8}"),
        ])
        clients = [self.dial("http"), self.dial("tcp")]
        self.assertEqual(self.ask(clients[0], V1 + GET).status, 200)
        self.assertEqual(self.raw.requests[-1].header("X-Forwarded-For"), "203.0.113.7")
        self.assertEqual(self.ask(clients[1], V1 + GET).status, 200)
        for client in clients:
            client.close()
        self.dial("not").ending()
        wait_for(lambda: weir.metric("weir_proxy_protocol_untrusted_total") == 1, "it is counted")
        weir.check_clean()
        weir.stop()
        self.assertEqual({line["client"] for line in self.lines()}, {"203.0.113.7:1234", "unix:"})

    def test_tcp_with_half_close(self):
        def last_word(connection, origin):
            received = connection.rest()
            connection.send(hashlib.sha256(received).digest() + received[::-1])

        self.raw = self.origin(last_word, record=False)
        self.start([("weir.sock", "upstream: web, protocol: tcp")])
        client = self.dial()
        client.send(MB10)
        client.finish_sending()
        self.assertEqual(client.rest(), hashlib.sha256(MB10).digest() + MB10[::-1])

    def test_every_shard_has_its_share(self):
        weir = self.start([("weir.sock", "upstream: web")], shards=3)
        clients = [self.dial() for _ in range(60)]
        for client in clients:
            self.assertEqual(self.ask(client).body, b"raw")
        for shard in range(3):
            open_now = weir.metric(weir_harness.OPEN, shard=str(shard))
            self.assertTrue(15 <= open_now <= 25, f"shard {shard} has {open_now} of 60")
        # The one with the fewest gets the next.
        for client in clients:
            client.close()
        wait_for(lambda: weir.metric(weir_harness.OPEN) == 0, "all have left")
        clients = [self.dial() for _ in range(30)]
        for client in clients:
            self.ask(client)
        self.assertEqual(weir.metric(weir_harness.OPEN), 30)

    def test_an_abstract_name(self):
        name = f"weir-e2e-listener-{os.getpid()}"
        config = f'listeners: [{{address: "unix:@{name}", upstream: web}}]\nupstreams: {{web: {{endpoints: ["{self.raw}"]}}}}\n'
        weir = self.weir(None, config=config, listen=())
        wait_for(lambda: f"listening on http://unix:@{name}\n" in weir.err(), "it listens")
        sock = socket.socket(socket.AF_UNIX)
        sock.connect("\0" + name)
        connection = Connection(sock)
        self.assertEqual(self.ask(connection).body, b"raw")
        connection.close()


class File(ListenerTest):
    def mode(self, name="weir.sock"):
        found = os.stat(self.path(name))
        self.assertTrue(stat.S_ISSOCK(found.st_mode))
        return stat.S_IMODE(found.st_mode)

    def test_its_mode_and_its_end(self):
        weir = self.start([("a", "upstream: web"), ("b", "upstream: web, mode: 0600"), ("c", "upstream: web, mode: 0777")],
                          preexec=lambda: os.umask(0o77))
        self.assertEqual([self.mode(name) for name in "abc"], [0o660, 0o600, 0o777])
        self.write(weir, "mode: 0600", "mode: 0666")
        self.reload(weir)
        self.assertEqual([self.mode(name) for name in "abc"], [0o660, 0o666, 0o777])
        weir.stop()
        self.assertEqual(os.listdir(self.folder), [])

    def test_after_a_crash_and_beside_a_living_one(self):
        first = self.start([("weir.sock", "upstream: web")])
        other = run([*first.argv[:1], f"--listen=http://unix:{self.path()}", f"--backends={self.raw}"])
        self.assertEqual((other.returncode, other.stderr),
                         (1, f"weir: --listen: http://unix:{self.path()}: the socket is in use by another process "
                             "(ss -lxp tells which)\n"))
        self.assertEqual(self.ask(self.dial()).status, 200)
        first.kill()
        first.stopped = True
        self.assertTrue(os.path.exists(self.path()))
        self.start([("weir.sock", "upstream: web")])
        self.assertEqual(self.ask(self.dial()).status, 200)

    def test_what_is_no_socket_stays(self):
        with open(self.path(), "w", encoding="ascii") as file:
            file.write("precious")
        other = run([weir_harness.binary(), f"--listen=tcp://unix:{self.path()}", f"--backends={self.raw}"])
        self.assertEqual(other.returncode, 1)
        self.assertIn("there is something that is no socket", other.stderr)
        with open(self.path(), encoding="ascii") as file:
            self.assertEqual(file.read(), "precious")

    def test_a_second_signal(self):
        weir = self.start([("weir.sock", "upstream: web")], more="timeouts: {lame_duck: 1h}\n")
        weir.signal(signal.SIGTERM)
        wait_for(lambda: "draining" in weir.err(), "the first signal")
        weir.stop()
        self.assertFalse(os.path.exists(self.path()))


class Reload(ListenerTest):
    def test_listeners_come_and_go(self):
        weir = self.start([("weir.sock", "upstream: web")])
        kept = self.dial()
        self.ask(kept)
        inode = os.stat(self.path()).st_ino
        second = f'  - {{address: "unix:{self.path("two")}", upstream: web}}\nupstreams:'
        self.write(weir, "upstreams:", second)
        self.reload(weir)
        self.assertEqual(self.ask(self.dial("two")).status, 200)
        self.assertEqual(self.ask(kept).status, 200)
        self.assertEqual(os.stat(self.path()).st_ino, inode)
        late = self.dial("two")
        self.write(weir, second, "upstreams:")
        self.reload(weir)
        self.assertFalse(os.path.exists(self.path("two")))
        self.assertEqual(self.ask(late).header("Connection"), "close")
        self.assertEqual(self.ask(self.dial()).status, 200)
        self.write(weir, "upstreams:", second)
        self.reload(weir)
        self.assertEqual(self.ask(self.dial("two")).status, 200)
        self.write(weir, second, second.replace("upstream: web", "upstream: web, protocol: tcp"))
        self.reload(weir, "a unix socket keeps its protocol while Weir runs")
        self.assertEqual(self.ask(self.dial("two")).status, 200)

    def hammer(self, each):
        """Clients that connect, ask and leave until told to stop; `each(error)` for what went wrong."""
        stop = threading.Event()
        done = [0] * 4

        def work(i):
            while not stop.is_set():
                sock = socket.socket(socket.AF_UNIX)
                try:
                    sock.connect(self.path())
                    connection = Connection(sock)
                    connection.send(GET)
                    assert connection.response().status == 200
                    done[i] += 1
                except (OSError, Ended, AssertionError) as error:
                    if not each(error):
                        return
                finally:
                    sock.close()

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(done))]
        for thread in threads:
            thread.start()
        return stop, threads, done

    def test_reloads_under_load_lose_nothing(self):
        weir = self.start([("weir.sock", "upstream: web")], shards=3, more="timeouts: {connect: 1s}\n")
        errors = []
        stop, threads, done = self.hammer(lambda error: errors.append(repr(error)))
        for i in range(1, 11):
            self.write(weir, f"connect: {i}s", f"connect: {i + 1}s")
            self.reload(weir)
        wait_for(lambda: sum(done) > 200 or errors, "some requests")
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])

    def test_a_drain_under_load_loses_nothing(self):
        """Whoever could connect is answered; then nobody can."""
        weir = self.start([("weir.sock", "upstream: web")], shards=3)
        errors = []
        stop, threads, done = self.hammer(lambda error: errors.append(error))
        wait_for(lambda: sum(done) > 100, "some requests")
        weir.signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        weir.ended()
        self.assertEqual({type(error) for error in errors} - {FileNotFoundError, ConnectionRefusedError}, set(), errors)
        self.assertFalse(os.path.exists(self.path()))

    def test_a_replacement_takes_over_while_the_first_drains(self):
        first = self.start([("weir.sock", "upstream: web")])
        slow = self.dial()
        self.ask(slow)
        first.signal(signal.SIGTERM)
        wait_for(lambda: not os.path.exists(self.path()), "the path is free")
        self.start([("weir.sock", "upstream: web")])
        self.assertEqual(self.ask(self.dial()).status, 200)
        first.ended()
        self.assertTrue(os.path.exists(self.path()))
        self.assertEqual(self.ask(self.dial()).status, 200)


if __name__ == "__main__":
    unittest.main()
