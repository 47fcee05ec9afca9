"""A new configuration without a new process: how it is asked for, what it refuses, and what it costs who is connected."""

import asyncio
import os
import re
import signal
import threading
import time
import unittest

import weir_harness
from weir_harness import WeirTest, Wrk, address_text, binary, connect, free_port, ok, run, scratch, wait_for

FULL = os.environ.get("WEIR_FULL") == "1"
TOKEN = "correct-horse-battery"


def in_force(weir):
    return weir.stats()["generations"][-1]["number"]


class ReloadTest(WeirTest):
    def start(self, config, *flags, **options):
        folder = scratch("reload")
        self.token = os.path.join(folder, "token")
        with open(self.token, "w", encoding="ascii") as file:
            file.write(TOKEN + "\n")
        self.pid_file = os.path.join(folder, "pid")
        flags = (f"--admin_token_file={self.token}", f"--pid_file={self.pid_file}", *flags)
        self.front = self.weir(None, *flags, config=config, **options)
        with open(self.front.config, encoding="utf-8") as file:
            self.text = file.read()
        return self.front

    def write(self, text):
        # As editors and configuration management do it: never half a file.
        with open(self.front.config + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(self.front.config + ".new", self.front.config)

    def post(self, *lines, path="/reload", method="POST", token=TOKEN):
        client = connect(self.front.admin)
        try:
            lines = [f"{method} {path} HTTP/1.1", f"Host: {address_text(self.front.admin)}", *lines]
            if token:
                lines.append(f"Authorization: Bearer {token}")
            client.send("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode())
            return client.response(method)
        finally:
            client.close()

    def reload(self, text=None):
        if text is not None:
            self.write(text)
        response = self.post()
        self.assertEqual(response.status, 200, response.body)
        return response.body.decode()

    def command(self, *flags):
        return run([binary(), "reload", *flags])


MARKED = """
listeners: [{address: LISTEN0, routes: all}]
upstreams:
  web: {endpoints: [WEB]}
routes:
  all: [{upstream: web, response_headers: {set: {X-Mark: "1"}}}]
"""


class Asking(ReloadTest):
    def setUp(self):
        self.web = self.origin(name="web")
        self.start(MARKED.replace("WEB", str(self.web)))

    def mark(self):
        return self.get(self.front).header("X-Mark")

    def test_by_signal(self):
        self.write(self.text.replace('"1"', '"2"'))
        self.assertEqual(self.mark(), "1")
        self.front.signal(signal.SIGHUP)
        wait_for(lambda: in_force(self.front) == 2, "the second generation")
        self.assertEqual(self.mark(), "2")
        self.assertIn("generation 2 is in force", self.front.err())

    def test_by_post(self):
        text = self.reload(self.text.replace('"1"', '"2"'))
        self.assertRegex(text, r"generation 2 is in force: read and built in \d+ ms, adopted in \d+ us at most")
        self.assertEqual(self.mark(), "2")

    def test_it_says_what_changed(self):
        nothing = "listeners: 0 new, 0 removed; upstreams: 0 new, 0 changed, 0 removed; nothing changed\n"
        self.assertTrue(self.reload(self.text + "# seen\n").endswith(nothing))
        text = self.text.replace('"1"', '"2"') + "error_pages: {404: {file: lost.html}}\n"
        page = os.path.join(os.path.dirname(self.front.config), "lost.html")
        for words, changed in (("lost", "error_pages, files of bodies, routes"), ("found", "files of bodies")):
            with open(page, "w", encoding="ascii") as file:
                file.write(words)
            self.assertTrue(self.reload(text).endswith(f"0 removed; changed: {changed}\n"), changed)
        self.assertTrue(self.reload(text.replace("web: {", "web: {retries: 1, "))
                        .endswith("upstreams: 0 new, 1 changed, 0 removed\n"))

    def test_by_command(self):
        self.write(self.text.replace('"1"', '"2"'))
        done = self.command(f"--admin={address_text(self.front.admin)}", f"--admin_token_file={self.token}")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("generation 2 is in force", done.stdout)
        self.assertEqual(self.mark(), "2")
        with open(self.pid_file, encoding="ascii") as file:
            self.assertEqual(file.read(), f"{self.front.pid}\n")
        done = self.command(f"--pid_file={self.pid_file}")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        wait_for(lambda: in_force(self.front) == 3, "the third generation")

    def test_the_command_says_what_is_wrong(self):
        self.write(self.text.replace("upstream: web", "upstream: wed"))
        done = self.command(f"--admin={address_text(self.front.admin)}", f"--admin_token_file={self.token}")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("did you mean web?", done.stderr)
        for flags, expected in (
            ((), "weir: --admin or --pid_file (or a --config that says it) is missing: which Weir?"),
            ((f"--admin={address_text(self.front.admin)}",), "expected Authorization: Bearer"),
            ((f"--admin=127.0.0.1:{free_port()}", f"--admin_token_file={self.token}"), "Connection refused"),
            (("--pid_file=/nonexistent",), 'weir: --pid_file: "/nonexistent": No such file or directory'),
            ((f"--pid_file={self.token}",), "expected the number of a process"),
        ):
            with self.subTest(flags=flags):
                done = self.command(*flags)
                self.assertEqual(done.returncode, 1)
                self.assertIn(expected, done.stderr)
        stale = os.path.join(scratch("pid"), "pid")
        with open(stale, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
        self.assertIn("is no Weir", self.command(f"--pid_file={stale}").stderr)

    def test_who_may_ask(self):
        self.assertEqual(self.post(method="GET").status, 405)
        self.assertEqual(self.post(token=None).status, 401)
        self.assertEqual(self.post(token="something-else-entirely").status, 401)
        self.assertEqual(self.post("Origin: http://evil.example").status, 403)
        self.assertEqual(in_force(self.front), 1)
        client = connect(self.front.admin)
        client.send(f"POST /reload HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        self.assertEqual(client.response("POST").status, 403)
        client.close()
        self.assertEqual(in_force(self.front), 1)

    def test_the_pid_file_goes_with_the_process(self):
        self.front.stop()
        self.assertFalse(os.path.exists(self.pid_file))

    def test_a_wrong_file_changes_nothing(self):
        self.write(self.text.replace("upstream: web", "upstream: wed").replace("X-Mark", "Content-Length"))
        response = self.post()
        self.assertEqual(response.status, 422)
        text = response.body.decode()
        self.assertIn(f"{self.front.config}:6:", text)
        self.assertIn("did you mean web?", text)
        self.assertIn("Content-Length", text)
        self.assertEqual(self.mark(), "1")
        self.front.signal(signal.SIGHUP)
        wait_for(lambda: self.front.stats()["reload_failures"] == 2, "another refusal")
        self.assertEqual(self.front.err().count("reload refused, nothing has changed"), 2)
        # Each line of it has its time.
        for line in self.front.err().splitlines():
            if self.front.config in line:
                self.assertRegex(line, r"^weir: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ")
        self.assertEqual(self.front.metric("weir_reload_failures_total"), 2)
        os.unlink(self.front.config)
        self.assertIn("No such file", self.post().body.decode())
        self.assertEqual((self.mark(), in_force(self.front)), ("1", 1))

    def test_what_cannot_change_is_refused(self):
        for line, key in (
            ("shards: 3", "shards"),
            ("admin: 127.0.0.1:1", "admin"),
            ("access_log: /tmp/other.log", "access_log"),
            ("limits: {max_connections: 99}", "limits.max_connections"),
            ("limits: {buffer_memory: 100MiB}", "limits.buffer_memory"),
            ("limits: {max_header_bytes: 20KiB}", "limits.max_header_bytes"),
        ):
            with self.subTest(line=line):
                self.write(self.text + line + "\n")
                response = self.post()
                if key in ("shards", "admin"):  # the flags win
                    self.assertEqual(response.status, 200, response.body)
                    continue
                self.assertEqual(response.status, 422)
                number = len(self.text.splitlines()) + 1
                self.assertRegex(
                    response.body.decode(), rf"weir.yaml:{number}:\d+: {key}: cannot change while Weir runs: restart it"
                )

    def test_nothing_is_reloaded_while_it_drains_and_that_is_said_at_once(self):
        self.front.stop()
        front = self.start(self.text.replace(address_text(self.front.address), "LISTEN0").replace('"LISTEN0"', "LISTEN0"),
                           "--lame_duck=20s")
        front.signal(signal.SIGTERM)
        wait_for(lambda: front.page("/healthz", check=False)[0] == 503, "it drains")
        begin = time.monotonic()
        response = self.post()
        self.assertEqual((response.status, response.body.decode()),
                         (422, "Weir is draining: nothing is reloaded any more\n"))
        self.assertLess(time.monotonic() - begin, 10)
        front.signal(signal.SIGHUP)
        wait_for(lambda: front.err().count("reload refused: Weir is draining") == 2, "the log says so too")
        front.signal(signal.SIGTERM)
        front.ended()

    def test_reloads_that_were_asked_for_together_all_get_an_answer(self):
        clients = [connect(self.front.admin) for _ in range(12)]
        for i, client in enumerate(clients):
            self.write(self.text.replace('"1"', f'"{i + 2}"'))
            client.send(f"POST /reload HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        for client in clients:
            self.assertEqual(client.response("POST").status, 200)
            client.close()
        self.assertEqual(self.mark(), "13")


class Listeners(ReloadTest):
    def setUp(self):
        self.web = self.origin(name="web")
        self.extra = ("127.0.0.1", free_port())
        self.start(MARKED.replace("WEB", str(self.web)))
        self.more = self.text.replace(
            "listeners: [", f'listeners: [{{address: "{address_text(self.extra)}", upstream: web}}, '
        )

    def ask(self, client):
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        return client.response()

    def test_come_and_go(self):
        staying = self.client(self.front)
        self.assertEqual(self.ask(staying).status, 200)
        with self.assertRaises(ConnectionRefusedError):
            connect(self.extra)
        for _ in range(3):
            self.assertIn("listeners: 1 new, 0 removed", self.reload(self.more))
            client = connect(self.extra)
            self.assertEqual(self.ask(client).status, 200)
            self.assertIn("listeners: 0 new, 1 removed", self.reload(self.text))
            # Its connection ends with the next answer, not before.
            response = self.ask(client)
            self.assertEqual((response.status, response.header("Connection")), (200, "close"))
            self.assertEqual(client.rest(), b"")
            client.close()
            wait_for(lambda: self.refused(self.extra), "nobody listens any more")
            self.assertEqual(self.ask(staying).status, 200)
        staying.close()

    @staticmethod
    def refused(address):
        try:
            connect(address).close()
        except ConnectionRefusedError:
            return True
        return False

    def test_one_that_changes_its_protocol_is_another_one(self):
        old = self.client(self.front)
        self.assertEqual(self.ask(old).status, 200)
        self.reload(self.text.replace("routes: all", "upstream: web, protocol: tcp").split("routes:\n")[0])
        response = self.ask(old)
        self.assertEqual((response.status, response.header("Connection"), response.header("X-Mark")), (200, "close", "1"))
        new = self.client(self.front)
        response = self.ask(new)
        self.assertEqual((response.status, response.header("Via")), (200, None))
        new.close()
        old.close()

    def test_from_one_address_to_all_and_back(self):
        """The old and the new sockets stand beside each other for a moment, and nobody is refused."""
        port = self.front.address[1]
        every = self.text.replace(address_text(self.front.address), f"0.0.0.0:{port}")
        other = ("127.0.0.2", port)
        self.assertTrue(self.refused(other))
        stop = threading.Event()
        statuses, failures = [], []

        def visitor():
            while not stop.is_set():
                try:
                    statuses.append(self.get(self.front).status)
                except OSError as problem:
                    failures.append(problem)

        visitors = [threading.Thread(target=visitor) for _ in range(2)]
        for thread in visitors:
            thread.start()
        for text, elsewhere in ((every, True), (self.text, False)) * 3:
            staying = self.client(self.front)
            self.assertEqual(self.ask(staying).status, 200)
            self.assertIn("listeners: 1 new, 1 removed", self.reload(text))
            response = self.ask(staying)
            self.assertEqual((response.status, response.header("Connection")), (200, "close"))
            staying.close()
            wait_for(lambda: self.refused(other) != elsewhere, "only the new one listens")
            seen = len(statuses)
            wait_for(lambda: len(statuses) > seen + 5, "they are served again")
        stop.set()
        for thread in visitors:
            thread.join()
        self.assertEqual((set(statuses), failures), ({200}, []))

    def test_a_port_in_use_is_told(self):
        other = self.origin()
        self.write(
            self.text.replace("listeners: [", f'listeners: [{{address: "{other}", upstream: web}}, ').replace('"1"', '"2"')
        )
        response = self.post()
        self.assertEqual(response.status, 422)
        self.assertIn("the port is in use by another process", response.body.decode())
        self.assertRegex(response.body.decode(), r"^weir: .*:\d+:\d+: listeners\[\d\].address: ")
        self.assertEqual(self.get(self.front).header("X-Mark"), "1")


class Endpoints(ReloadTest):
    CONFIG = """
listeners: [{address: LISTEN0, upstream: web}, {address: LISTEN1, upstream: web, protocol: tcp}]
upstreams:
  web: {endpoints: [ONE, TWO]}
"""

    def test_removed_ones_finish_what_they_have(self):
        release = threading.Event()

        def slow(connection, origin):
            while (request := connection.request()) is not None:
                with origin.lock:
                    origin.requests.append(request)
                if request.target == "/slow":
                    release.wait(weir_harness.DEADLINE)
                connection.send(ok(str(origin).encode()))

        one, two = self.origin(slow), self.origin(slow)
        config = self.CONFIG.replace("ONE", str(one)).replace("TWO", str(two))
        self.start(config, listen=("http", "tcp"), shards=1)
        waiting = [self.client(self.front) for _ in range(4)]
        for client in waiting:
            client.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: len(one.requests) == len(two.requests) == 2, "two requests at each")
        self.reload(self.text.replace(f", {two}", ""))
        self.assertEqual(self.front.stats()["generations"][0]["requests"], 4)
        for _ in range(6):
            self.assertEqual(self.get(self.front).body, str(one).encode())
        release.set()
        bodies = sorted(client.response().body.decode() for client in waiting)
        self.assertEqual(bodies, sorted([str(one)] * 2 + [str(two)] * 2))
        wait_for(lambda: len(self.front.stats()["generations"]) == 1, "the first generation's end")
        stats = self.front.stats()
        self.assertEqual([e["address"] for e in stats["upstreams"][0]["endpoints"]], [str(one)])
        wait_for(
            lambda: self.front.stats()["upstream_open_connections"]
            == self.front.stats()["upstreams"][0]["endpoints"][0]["idle_connections"],
            "the removed endpoint has no connection left",
        )
        for client in waiting:
            client.close()


class Traffic:
    """An origin and clients in one event loop: requests get an answer, upgrades an echo."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.port = self.call(self.listen())

    def call(self, coroutine, seconds=weir_harness.DEADLINE * 6):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(seconds)

    async def listen(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=4096)
        return self.server.sockets[0].getsockname()[1]

    @staticmethod
    async def serve(reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if b"upgrade: echo" in head.lower():
                    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
                    while data := await reader.read(4096):
                        writer.write(data)
                    break
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    async def tunnels(self, address, count):
        async def tunnel():
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101"), head
            return reader, writer

        return await asyncio.gather(*(tunnel() for _ in range(count)))

    async def echo(self, tunnels, word):
        async def one(reader, writer):
            try:
                writer.write(word)
                return await reader.readexactly(len(word)) == word
            except (asyncio.IncompleteReadError, ConnectionError):
                return False

        return (await asyncio.gather(*(one(*tunnel) for tunnel in tunnels))).count(True)

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()


BUSY = """
listeners:
  - {address: LISTEN0, routes: all}
EXTRA
upstreams:
  steady: {endpoints: [STEADY]}
  moving: {balance: BALANCE, endpoints: [MOVING]}
routes:
  all:
    - {match: {path_prefix: /ws}, upstream: steady}
    - {match: {path_prefix: /moving}, upstream: moving, rewrite: {path: /}, response_headers: {set: {X-Round: "ROUND"}}}
    - {upstream: steady}
"""


class UnderLoad(ReloadTest):
    """The proof: wrk at full load and tunnels, while upstreams, routes, headers and a listener change all the time."""

    def test_nothing_is_lost(self):
        seconds, tunnels, every = (60, 500, 1.0) if FULL else (6, 100, 0.2)
        traffic = Traffic()
        self.addCleanup(traffic.close)
        origin = self.nginx("one", "two", "three")
        extra = free_port()

        def text(i):
            moving = [address_text(a) for a in origin.addresses]
            chosen = [f"{{address: {a}, weight: {1 + (i + n) % 3}}}" for n, a in enumerate(moving) if (i + n) % 3 != 0]
            return (
                BUSY.replace("STEADY", f"127.0.0.1:{traffic.port}")
                .replace("MOVING", ", ".join(chosen))
                .replace("BALANCE", "least_conn" if i % 2 else "round_robin")
                .replace("ROUND", str(i))
                .replace("EXTRA", f"  - {{address: 127.0.0.1:{extra}, upstream: steady}}" if i % 2 else "")
            )

        weir = self.start(text(0))
        address = address_text(weir.address)
        fixed = re.search(r"address: (\"[^\"]+\"), routes: all", self.text)[1]
        open_tunnels = traffic.call(traffic.tunnels(weir.address, tunnels))
        self.assertEqual(traffic.call(traffic.echo(open_tunnels, b"hello")), tunnels)
        loads = [
            Wrk(f"http://{address}/moving", 32, seconds),
            Wrk(f"http://{address}/steady", 8, seconds),
        ]
        begin = time.monotonic()
        sizes = []
        i = 0
        while time.monotonic() - begin < seconds - 0.5:
            i += 1
            self.reload(text(i).replace("LISTEN0", fixed))
            if i % 5 == 0:
                self.assertEqual(traffic.call(traffic.echo(open_tunnels, b"still here")), tunnels)
                sizes.append(weir.memory("Pss_Anon"))
            time.sleep(every)
        self.reload(text(0).replace("LISTEN0", fixed))
        i += 1
        for load in loads:
            result = load.result()
            self.assertGreater(result.requests, 100)
            self.assertEqual(
                (result.connect, result.read, result.write, result.timeout, result.bad), (0, 0, 0, 0, 0), result.text
            )
        self.assertEqual(traffic.call(traffic.echo(open_tunnels, b"to the end")), tunnels)
        stats = weir.stats()
        self.assertEqual((stats["reloads"], stats["reload_failures"]), (i, 0))
        self.assertGreater(i, 5)
        wait_for(lambda: len(weir.stats()["generations"]) == 1, "one generation is left")
        # Settled halfway, it does not grow: each generation, pool and table goes again.
        self.assertLess(sizes[-1], sizes[len(sizes) // 2] + (4 << 20), sizes)
        for _, writer in open_tunnels:
            traffic.loop.call_soon_threadsafe(writer.close)


class Large(ReloadTest):
    """10,000 hosts, each with an upstream and a route of its own."""

    HOSTS = 10_000

    def sites(self, mark):
        upstreams = "\n".join(
            f"  up{i}: {{endpoints: [{self.web}], timeouts: {{response: {10 + (mark if i % 2 else 0)}s}}}}"
            for i in range(self.HOSTS)
        )
        routes = "\n".join(
            f"    - {{match: {{host: h{i}.example}}, upstream: up{i}, response_headers: {{set: {{X-Mark: \"{mark}\"}}}}}}"
            for i in range(self.HOSTS)
        )
        return f"listeners: [{{address: LISTEN0, routes: all}}]\nupstreams:\n{upstreams}\nroutes:\n  all:\n{routes}\n"

    def ask(self, host):
        client = self.client(self.front)
        client.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        response = client.response()
        client.close()
        return response

    def test_hosts(self):
        self.web = self.origin(name="web")
        weir = self.start(self.sites(0))
        listen = re.search(r"address: (\"[^\"]+\")", self.text)[1]
        client = self.client(weir)
        for i in range(0, self.HOSTS, 5):  # so many pools exist
            client.send(f"GET / HTTP/1.1\r\nHost: h{i}.example\r\n\r\n".encode())
            self.assertEqual(client.response().status, 200)
        for mark in (1, 2, 3):
            told = self.reload(self.sites(mark).replace("LISTEN0", listen))
            self.assertIn("upstreams: 0 new, 5000 changed, 0 removed", told)
            print(told.strip())
            for host in ("h0.example", "h9999.example"):
                self.assertEqual(self.ask(host).header("X-Mark"), str(mark))
        client.close()


if __name__ == "__main__":
    unittest.main()
