"""Routing by what a ClientHello asks for, with real TLS on both ends: nginx behind, curl and OpenSSL in front; and what
becomes of hellos that come in pieces, that are wrong, or that never come."""

import contextlib
import os
import shutil
import signal
import socket
import ssl
import struct
import unittest

from weir_harness import Process, WeirTest, address_text, binary, connect, free_port, need, run, scratch, wait_for

V1 = b"PROXY TCP4 203.0.113.7 198.51.100.9 1234 443\r\n"


def vector(data, size):
    return len(data).to_bytes(size, "big") + data


def extension(kind, data):
    return struct.pack(">H", kind) + vector(data, 2)


def server_name(name):
    return extension(0, vector(b"\0" + vector(name, 2), 2))


def alpn(*names):
    return extension(16, vector(b"".join(vector(name, 1) for name in names), 2))


def message(extensions):
    body = b"\3\3" + b"r" * 32 + vector(b"", 1) + vector(b"\x13\x01", 2) + vector(b"\0", 1) + vector(extensions, 2)
    return b"\1" + vector(body, 3)


def record(data, kind=22):
    return bytes([kind]) + b"\3\1" + vector(data, 2)


def hello(extensions, each=1 << 14):
    data = message(extensions)
    return b"".join(record(data[at : at + each]) for at in range(0, len(data), each))


CONFIG = """
access_log:
  file: {log}
  format: template
  template: "${{protocol}} ${{client_ip}} ${{sni}} ${{alpn}} ${{upstream}} ${{bytes_received}} ${{end}}"
timeouts: {{client_header: {patience}}}
listeners:
  - {{address: LISTEN0, protocol: tcp, routes: all}}
  - {{address: LISTEN1, protocol: tcp, routes: some}}
  - {{address: LISTEN2, protocol: tcp, routes: some, proxy_protocol: required}}
upstreams:
  one: {{endpoints: ["127.0.0.1:{one}"]}}
  two: {{endpoints: ["127.0.0.1:{two}"]}}
  raw: {{endpoints: ["{raw}"]}}
  told: {{endpoints: ["{raw}"], proxy_protocol: {{version: v2, tlvs: authority}}}}
routes:
  all:
    - {{match: {{sni: [one.example, "*.wild.example"]}}, upstream: one}}
    - {{match: {{sni: one.example, alpn: h2}}, upstream: two}}
    - {{match: {{sni: two.example, alpn: h2}}, upstream: two}}
    - {{match: {{sni: deep.wild.example}}, upstream: two}}
    - {{match: {{sni: told.example}}, upstream: told}}
    - {{upstream: raw}}
  some:
    - {{match: {{sni: raw.example, client: [127.0.0.0/8, 203.0.113.0/24]}}, upstream: raw}}
    - {{match: {{sni: shut.example}}, deny: 127.0.0.1, upstream: raw}}
    - {{match: {{alpn: acme-tls/1}}, upstream: raw}}
"""


class Base(WeirTest):
    def start(self, patience="10s"):
        # The raw origin takes all that comes and says nothing but at the end: what came must be what was sent.
        self.raw = self.origin(self.swallow)
        self.log = os.path.join(scratch("log"), "access.log")
        ports = getattr(self, "ports", [1, 2])
        config = CONFIG.format(log=self.log, patience=patience, one=ports[0], two=ports[1], raw=self.raw)
        self.front = self.weir(None, config=config, listen=("tcp",) * 3)

    @staticmethod
    def swallow(connection, _origin):
        connection.rest()
        connection.send(b"all")

    def passed(self, data, listener=0, pieces=None):
        """What the origin got of it."""
        before = len(self.raw.connections)
        client = self.client(self.front, listener)
        for piece in pieces or [data]:
            client.send(piece)
        client.finish_sending()
        self.assertEqual(client.rest(), b"all")
        client.close()
        self.assertEqual(len(self.raw.connections), before + 1)
        return bytes(self.raw.connections[-1].received)

    def lines(self, count):
        def read():
            with open(self.log, encoding="utf-8") as file:
                found = file.read().split("\n")[:-1]
            return found if len(found) >= count else None

        return wait_for(read, f"{count} lines")


class Tls(Base):
    """With nginx."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        need("openssl")
        folder = scratch("tls")
        cls.ports = [free_port(), free_port()]
        servers = ""
        for name, port in zip(("one", "two"), cls.ports):
            key, certificate = (os.path.join(folder, f"{name}.{kind}") for kind in ("key", "pem"))
            done = run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                 "-subj", f"/CN={name}", "-keyout", key, "-out", certificate])
            assert done.returncode == 0, done
            servers += f"""
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    location / {{ default_type text/plain; return 200 "{name} $ssl_server_name $server_protocol\\n"; }}
  }}"""
        temp = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        config = os.path.join(folder, "nginx.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"""
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log warn;
events {{ worker_connections 1000; }}
http {{ access_log off; {temp} {servers} }}
""")
        program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if program is None:
            raise unittest.SkipTest("nginx is not installed (tools/setup installs it)")
        cls.nginx_process = Process([program, "-c", config, "-p", folder, "-e", f"{folder}/error.log"], "nginx")
        cls.addClassCleanup(cls.nginx_process.kill)

        def answers():
            try:
                for port in cls.ports:
                    connect(("127.0.0.1", port)).close()
                return True
            except OSError:
                return False

        wait_for(answers, "nginx")

    def curl(self, name, *flags):
        port = self.front.addresses[0][1]
        return run(["curl", "-sk", "--noproxy", "*", "-m", "30", *flags, "--resolve", f"{name}:{port}:127.0.0.1",
                    f"https://{name}:{port}/"]).stdout

    def test_names_and_protocols(self):
        self.start()
        self.assertEqual(self.curl("one.example", "--http1.1"), "one one.example HTTP/1.1\n")
        self.assertEqual(self.curl("ONE.example", "--http1.1").split()[0], "one")
        self.assertEqual(self.curl("a.wild.example", "--http2"), "one a.wild.example HTTP/2.0\n")
        self.assertEqual(self.curl("b.a.wild.example", "--http2"), "one b.a.wild.example HTTP/2.0\n", "one or more labels")
        self.assertEqual(self.curl("deep.wild.example", "--http2"), "two deep.wild.example HTTP/2.0\n", "exact before wildcard")
        self.assertEqual(self.curl("two.example", "--http2"), "two two.example HTTP/2.0\n")
        lines = [line.split(" ") for line in self.lines(6)]
        self.assertEqual({line[2] for line in lines},
                         {"one.example", "a.wild.example", "b.a.wild.example", "deep.wild.example", "two.example"})
        self.assertIn("h2,http/1.1", {line[3] for line in lines})
        self.assertEqual({line[-1] for line in lines} - {"server_closed"}, {"client_closed"})
        self.assertEqual(self.front.metric("weir_tls_hellos_total"), 6)
        self.assertEqual(self.raw.connections, [])

    def test_openssl(self):
        """It sees the certificate of who it is led to, and gets the protocol that it asked for."""
        self.start()
        where = address_text(self.front.addresses[0])
        for flags, subject, protocol in (
            (("-servername", "one.example", "-alpn", "http/1.1"), "one", "http/1.1"),
            (("-servername", "two.example", "-alpn", "h2,http/1.1"), "two", "h2"),
            (("-servername", "x.wild.example", "-tls1_2"), "one", None),
        ):
            done = run(["openssl", "s_client", "-connect", where, *flags], errors="replace")
            self.assertIn(f"subject=CN = {subject}\n", done.stdout)
            self.assertIn(f"ALPN protocol: {protocol}" if protocol else "No ALPN negotiated", done.stdout)

    def test_much_goes_through(self):
        """A connection that was led is a relay like any other: many requests, and their order."""
        self.start()
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with socket.create_connection(self.front.addresses[0], timeout=30) as sock:
            with context.wrap_socket(sock, server_hostname="one.example") as client:
                for _ in range(50):
                    client.sendall(b"GET / HTTP/1.1\r\nHost: one.example\r\n\r\n")
                    data = b""
                    while not data.endswith(b"HTTP/1.1\n"):
                        data += client.recv(65536)
                    self.assertIn(b"one one.example", data)


class Bytes(Base):
    def test_it_comes_as_it_was_sent(self):
        self.start()
        raw = server_name(b"raw.example") + extension(0x7A7A, b"")
        padding = lambda size: extension(21, b"\0" * size)  # noqa: E731
        sizes = []
        for data in (
            hello(raw),
            hello(raw, 1),
            hello(raw, 7),
            hello(raw + padding(15_000)),
            hello(raw + padding(15_000), 7),
            hello(raw + padding(4_800), 1),
            hello(raw) + b"early" * 10_000,
            hello(raw + padding(15_000), 700) + b"\x17\3\3" + b"early" * 20_000,
        ):
            for listener in (0, 1):
                self.assertEqual(self.passed(data, listener), data)
                self.assertEqual(self.passed(data, listener, [data[:1], data[1:9], data[9:]]), data)
                sizes += [len(data)] * 2
        self.assertEqual(sorted(int(line.split(" ")[5]) for line in self.lines(len(sizes))), sorted(sizes))

    def test_byte_by_byte(self):
        self.start()
        for data in (hello(server_name(b"raw.example") + alpn(b"x")), hello(server_name(b"raw.example"), 3)):
            self.assertEqual(self.passed(data, 1, [bytes([byte]) for byte in data]), data)

    def test_without_a_name(self):
        self.start()
        self.assertEqual(self.passed(hello(b"")), hello(b""), "the route without conditions")
        data = hello(alpn(b"\x1a\x1a", b"acme-tls/1"))
        self.assertEqual(self.passed(data, 1), data, "by protocol alone")
        self.assertIn(["-", "acme-tls/1", "raw"], [line.split(" ")[2:5] for line in self.lines(2)])

    def test_what_is_no_tls_meets_the_route_without_conditions(self):
        self.start()
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x16GET", b"\0" * 100_000):
            self.assertEqual(self.passed(data), data)
            self.assertEqual(self.passed(data, 0, [data[:1], data[1:]]), data)
        self.assertEqual(self.front.metric("weir_tls_hello_missing_total"), 0)
        self.assertEqual(self.front.metric("weir_tls_hellos_total"), 0)

    def test_endpoints_are_told_the_name(self):
        self.start()
        data = hello(server_name(b"told.example"), 50)
        for pieces in (None, [data[:3], data[3:]]):
            got = self.passed(data, 0, pieces)
            self.assertTrue(got.startswith(b"\r\n\r\n\0\r\nQUIT\n"), got)
            self.assertIn(b"\2" + vector(b"told.example", 2), got)
            self.assertTrue(got.endswith(data) and len(got) == 16 + 12 + 15 + len(data), got)

    def test_behind_a_proxy_header(self):
        self.start()
        data = hello(server_name(b"raw.example"), 20)
        self.assertEqual(self.passed(V1 + data, 2), data)
        self.assertEqual(self.passed(V1 + data, 2, [V1[:9], V1[9:] + data[:5], data[5:]]), data)
        self.assertEqual(self.lines(2)[0].split(" ")[1:3], ["203.0.113.7", "raw.example"])

    def test_a_reload_in_the_middle(self):
        """Who has begun goes by what held then, the next one by the new routes."""
        self.start()
        data = hello(server_name(b"new.example"))
        begun = self.client(self.front, 1)
        begun.send(data[:20])
        with open(self.front.config, encoding="utf-8") as file:
            text = file.read()
        with open(self.front.config, "w", encoding="utf-8") as file:
            file.write(text.replace("sni: raw.example", "sni: new.example"))
        self.front.signal(signal.SIGHUP)
        wait_for(lambda: self.front.metric("weir_reloads_total") == 1, "the reload")
        self.assertEqual(self.passed(data, 1), data)
        begun.send(data[20:])
        with contextlib.suppress(OSError):  # it may have been reset already
            begun.finish_sending()
        begun.ending()
        self.assertEqual(sorted(line.split(" ")[-1] for line in self.lines(2)), ["client_closed", "no_route"])


class Wrong(Base):
    def refused(self, data, counter, listener=1, finish=False):
        name = f"weir_{counter}_total"
        before = self.front.metric(name)
        received = b""
        try:
            client = self.client(self.front, listener)
            client.send(data)
            if finish:
                client.finish_sending()
            received = client.sock.recv(100)
        except ConnectionError:
            pass
        self.assertEqual(received, b"", data)
        wait_for(lambda: self.front.metric(name) == before + 1, f"{counter} after {data[:60]!r}")
        self.assertEqual(self.raw.connections, [], data)

    def test_each_ends_and_is_counted(self):
        self.start()
        good = hello(server_name(b"raw.example"))
        malformed = (
            record(b""),
            record(message(b"")[:10]) + record(b"\2\50", 21),
            record(message(b"")[:10]) + b"GET / HTTP/1.1",
            record(message(b"")[:10]) + record(b""),
            record(b"\2" + message(b"")[1:]),
            hello(server_name(b"raw.example") * 2),
            hello(extension(1, b"") * 2 + server_name(b"raw.example")),
            hello(server_name(b"raw..example")),
            hello(server_name(b"raw.example\0")),
            hello(server_name(b"")),
            hello(extension(0, vector((b"\0" + vector(b"raw.example", 2)) * 2, 2))),
            hello(server_name(b"raw.example") + alpn()),
            hello(server_name(b"raw.example") + alpn(b"")),
            hello(server_name(b"raw.example") + b"\0"),
            b"\x16\3\1\x40\1",
        )
        for listener in (0, 1):
            for data in malformed:
                self.refused(data, "tls_hello_malformed", listener)
            self.refused(b"\x16\3\1\0\4\1\0\x40\0", "tls_hello_too_long", listener)
            self.refused(hello(server_name(b"raw.example") + extension(21, b"\0" * 16_000), 1), "tls_hello_too_long", listener)
            self.refused(good[:40], "tls_hello_truncated", listener, finish=True)
            self.refused(b"\x16", "tls_hello_truncated", listener, finish=True)
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", b"\0", b"\x16\xfe\xff", V1):
            self.refused(data, "tls_hello_missing")
        for name in (b"other.example", b"a.raw.example", b"raw.example.org"):
            self.refused(hello(server_name(name)), "no_route")
        self.refused(hello(alpn(b"h2")), "no_route")
        self.refused(hello(server_name(b"shut.example")), "denied")
        self.refused(V1 + b"GET /", "tls_hello_missing", 2)
        self.refused(b"\x16\3\1", "proxy_protocol_missing", 2)
        # Who comes and goes without a word, as checks of others do, is nobody's mistake.
        self.client(self.front, 1).close()
        ends = {tuple(line.split(" ")[2:]) for line in self.lines(2 * (len(malformed) + 4) + 12)}
        self.assertIn(("other.example", "-", "-", "0", "no_route"), ends)
        self.assertIn(("shut.example", "-", "-", "0", "denied"), ends)
        self.assertLessEqual({f"tls_hello_{why}" for why in ("missing", "malformed", "too_long", "truncated")},
                             {end[-1] for end in ends})
        self.assertEqual(self.passed(good, 1), good, "and all others go on")

    def test_silence(self):
        self.start(patience="1s")
        clients = []
        for listener, data in ((0, b""), (1, b""), (1, b"\x16\3\1"), (2, V1), (2, V1 + b"\x16\3")):
            clients.append(self.client(self.front, listener))
            clients[-1].send(data)
        self.assertEqual([client.ending() for client in clients], ["reset"] * 5)
        self.assertEqual(self.front.metric("weir_tls_hello_timeouts_total"), 5)
        self.assertEqual(self.raw.connections, [])


class Hashed(WeirTest):
    """Whoever asks for a name meets that name's endpoint, which `weir explain` knows."""

    def test_by_the_server_name(self):
        origins = [self.origin(Base.swallow) for _ in range(5)]
        listed = ", ".join(f'"{origin}"' for origin in origins)
        front = self.weir(None, listen=("tcp",) * 2, config=f"""
listeners:
  - {{address: LISTEN0, protocol: tcp, routes: all}}
  - {{address: LISTEN1, protocol: tcp, upstream: many}}
upstreams:
  many: {{balance: maglev, hash_on: [sni, client_ip], endpoints: [{listed}]}}
routes:
  all: [{{upstream: many}}]
""")

        def told(url, client, listener=0):
            done = run([binary(), "explain", f"--config={front.config}", f"--client={client}",
                        f"--listener={address_text(front.addresses[listener])}", url])
            self.assertEqual(done.returncode, 0, done.stderr)
            line = next(line for line in done.stdout.splitlines() if line.startswith("endpoint "))
            return line.split()[1].rstrip(","), line

        def met(data, source, listener=0):
            before = [len(origin.connections) for origin in origins]
            client = connect(front.addresses[listener], source=source)
            client.send(data)
            client.finish_sending()
            self.assertEqual(client.rest(), b"all")
            client.close()
            return next(str(origin) for origin, count in zip(origins, before) if len(origin.connections) > count)

        seen = set()
        for i in range(20):
            name = f"site{i}.example"
            endpoint, line = told(f"tls://{name}", "127.0.0.1")
            self.assertIn("by the hash of sni", line)
            for source in ("127.0.0.1", "127.0.0.7"):
                self.assertEqual(met(hello(server_name(name.encode())), source), endpoint)
            self.assertEqual(met(hello(server_name(name.upper().encode())), "127.0.0.8"), endpoint)
            seen.add(endpoint)
        self.assertGreater(len(seen), 2)
        # Without a name, and where none is read, by the client's address.
        for listener, data, url in ((0, hello(alpn(b"h2")), "tls://:0"), (1, hello(server_name(b"site0.example")), "tcp://:0")):
            url = url.replace(":0", f":{front.addresses[listener][1]}")
            for source in ("127.0.0.1", "127.0.0.7", "127.0.0.8"):
                endpoint, line = told(url, source, listener)
                self.assertIn("by the hash of client_ip", line)
                self.assertEqual(met(data, source, listener), endpoint)


if __name__ == "__main__":
    unittest.main()
