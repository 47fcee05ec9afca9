"""The PROXY protocol between real programs: curl and HAProxy in front of Weir, spoofers, and what becomes of all that
is wrong."""

import json
import os
import shutil
import socket
import struct
import subprocess
import unittest

from weir_harness import Process, WeirTest, address_text, connect, free_port, ok, scratch, wait_for

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 203.0.113.7 198.51.100.9 1234 443\r\n"
GET = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"


def tlv(kind, value):
    return bytes([kind]) + struct.pack(">H", len(value)) + value


def v2(command=0x21, family=0x11, rest=None, tlvs=b""):
    block = rest
    if block is None:
        block = socket.inet_aton("203.0.113.7") + socket.inet_aton("198.51.100.9") + struct.pack(">HH", 1234, 443)
    block += tlvs
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", len(block)) + block


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def with_sum(header, wrong=0):
    sum_bytes = tlv(3, b"\0\0\0\0")
    text = header[:14] + struct.pack(">H", len(header) - 16 + len(sum_bytes)) + header[16:] + sum_bytes
    return text[:-4] + struct.pack(">I", crc32c(text) ^ wrong)


def v2_with_sum(tlvs=b"", wrong=0):
    return with_sum(v2(tlvs=tlvs), wrong)


CONFIG = """
access_log:
  file: {log}
  format: template
  template: "${{protocol}} ${{client}} ${{peer}} ${{proxy_protocol_authority}} ${{proxy_protocol_unique_id}} ${{proxy_protocol_tlv:0xE0}} ${{proxy_protocol_ssl_cn}} ${{end}}"
listeners:
  - {{address: LISTEN0, routes: r, proxy_protocol: {proxy_protocol}}}
  - {{address: LISTEN1, upstream: web, protocol: tcp, proxy_protocol: {proxy_protocol}}}
upstreams:
  web: {{endpoints: ["{origin}"]}}
routes:
  r:
    - match: {{proxy_protocol: {{authority: blue.test, "0xe0": {{prefix: gold}}}}}}
      respond: {{status: 200, body: "blue gold"}}
    - match: {{client: 203.0.113.99}}
      respond: {{status: 200, body: "by client"}}
    - {{upstream: web}}
"""


class Base(WeirTest):
    def start(self, proxy_protocol, shards=2, handler=None):
        self.raw = self.origin(handler)
        self.log = os.path.join(scratch("log"), "access.log")
        config = CONFIG.format(log=self.log, proxy_protocol=proxy_protocol, origin=self.raw)
        self.front = self.weir(None, config=config, listen=("http", "tcp"), shards=shards)
        return self.front

    def ask(self, data, listener=0):
        client = self.client(self.front, listener)
        client.send(data)
        response = client.response()
        client.close()
        return response

    def refused(self, data, counter, listener, finish=False):
        """The connection ends without a byte, one more of `counter`, and no origin has heard of it."""
        name = f"weir_proxy_protocol_{counter}_total"
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

    def lines(self, count):
        def read():
            with open(self.log, encoding="utf-8") as file:
                found = file.read().split("\n")[:-1]
            return found if len(found) >= count else None

        return wait_for(read, f"{count} lines")


class In(Base):
    def test_the_client_is_who_the_header_says(self):
        self.start("required")
        tlvs = tlv(2, b"a.test") + tlv(5, b"id 7") + tlv(0xE0, b"\"\x00") + tlv(0x20, b"\7\0\0\0\0" + tlv(0x22, b"anna"))
        for header in (V1, v2(), v2_with_sum(tlvs)):
            self.assertEqual(self.ask(header + GET).status, 200)
            request = self.raw.requests[-1]
            self.assertEqual(request.header("X-Forwarded-For"), "203.0.113.7")
        v6 = b"PROXY TCP6 2001:db8::7 2001:db8::9 1234 443\r\n"
        self.assertEqual(self.ask(v6 + GET).status, 200)
        self.assertEqual(self.raw.requests[-1].header("X-Forwarded-For"), "2001:db8::7")
        for header in (b"PROXY UNKNOWN\r\n", v2(0x20, 0, b"")):
            self.assertEqual(self.ask(header + GET).status, 200)
            self.assertEqual(self.raw.requests[-1].header("X-Forwarded-For"), "127.0.0.1")
        lines = sorted(line for line in self.lines(6) if "a.test" in line)
        self.assertEqual(len(lines), 1)
        words = lines[0].split(" 127.0.0.1:")
        self.assertEqual(words[0], "http 203.0.113.7:1234")
        self.assertTrue(words[1].endswith(r" a.test id 7 \x22\x00 anna ok"), words)
        self.assertEqual(self.front.metric("weir_proxy_protocol_headers_total"), 6)

    def test_routes_go_by_it(self):
        self.start("required")
        tlvs = tlv(2, b"blue.test") + tlv(0xE0, b"golden")
        self.assertEqual(self.ask(v2(tlvs=tlvs) + GET).body, b"blue gold")
        for other in (tlv(2, b"blue.test"), tlv(2, b"red.test") + tlv(0xE0, b"golden"), b""):
            self.assertEqual(self.ask(v2(tlvs=other) + GET).body, b"raw")
        self.assertEqual(self.ask(V1.replace(b"203.0.113.7", b"203.0.113.99") + GET).body, b"by client")

    def test_several_kilobytes_of_tlvs_and_requests_in_one_packet(self):
        self.start("required")
        client = self.client(self.front)
        client.send(v2(tlvs=tlv(0xE1, b"x" * 4000)) + 2 * GET.replace(b"Connection: close\r\n", b""))
        self.assertEqual([client.response().status for _ in range(2)], [200, 200])
        # None is too far behind for routes to see it.
        self.assertEqual(self.ask(v2(tlvs=tlv(0xE1, b"x" * 4000) + tlv(2, b"blue.test") + tlv(0xE0, b"gold")) + GET).body,
                         b"blue gold")

    def test_byte_by_byte(self):
        self.start("required")
        for header in (V1, v2_with_sum(tlv(2, b"blue.test") + tlv(0xE0, b"gold"))):
            client = self.client(self.front)
            for byte in header + GET:
                client.send(bytes([byte]))
            self.assertEqual(client.closing_response().status, 200)

    def test_tcp(self):
        self.start("required")
        self.assertEqual(self.ask(v2_with_sum(tlv(2, b"a.test")) + GET, listener=1).status, 200)
        line = self.lines(1)[0]
        self.assertTrue(line.startswith("tcp 203.0.113.7:1234 127.0.0.1:"), line)
        self.assertIn(" a.test ", line)
        self.assertNotIn(b"QUIT", self.raw.received())

    def test_what_is_wrong_ends_and_is_counted(self):
        self.start("{mode: required, timeout: 1s}")
        for listener in (0, 1):
            for data in (GET, b"\x16\x03\x01\x02", b"\r\n\r\nGET", b"\0" * 20):
                self.refused(data, "missing", listener)
            for data in (
                b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n" + GET,
                b"PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n" + GET,
                b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n" + GET,
                v2(0x31) + GET,
                v2(0x2F) + GET,
                v2(family=0x61) + GET,
                v2(rest=b"short") + GET,
                v2(tlvs=b"\x02\x00\x09a") + GET,
                v2_with_sum(wrong=1) + GET,
                with_sum(v2(family=0, rest=b"", tlvs=tlv(2, b"a.test")), wrong=1) + GET,
            ):
                self.refused(data, "malformed", listener)
            self.refused(b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n" + GET, "too_long", listener)
            self.refused(v2(tlvs=tlv(9, b"x" * 5000)) + GET, "too_long", listener)
            self.refused(V1[:20], "truncated", listener, finish=True)
            self.refused(v2()[:20], "truncated", listener, finish=True)
            self.refused(b"", "timeouts", listener)
            self.refused(V1[:-1], "timeouts", listener)
        ends = {line.split(" ")[-1] for line in self.lines(30)}
        self.assertLessEqual({f"proxy_protocol_{why}" for why in ("missing", "malformed", "too_long", "timeout")}, ends)
        stats = json.loads(self.front.page("/stats")[1])
        self.assertIn("proxy_protocol_missing", json.dumps(stats))

    def test_spoofers(self):
        self.start("{mode: required, from: 10.0.0.0/8}")
        for listener in (0, 1):
            for data in (V1 + GET, v2() + GET, GET, b""):
                self.refused(data, "untrusted", listener)

    def test_optional(self):
        self.start("{mode: optional, from: [10.0.0.0/8], timeout: 1s}")
        for listener in (0, 1):
            for data in (V1 + GET, v2() + GET, V1[:6], v2()[:12]):
                self.refused(data, "untrusted", listener)
        for listener in (0, 1):
            self.assertEqual(self.ask(GET, listener).status, 200)
        self.assertEqual(self.raw.requests[0].header("X-Forwarded-For"), "127.0.0.1")

    def test_optional_from_here(self):
        self.start("{mode: optional, from: [127.0.0.0/8], timeout: 1s}")
        self.assertEqual(self.ask(GET).status, 200)
        self.assertEqual(self.raw.requests[-1].header("X-Forwarded-For"), "127.0.0.1")
        self.assertEqual(self.ask(v2() + GET).status, 200)
        self.assertEqual(self.raw.requests[-1].header("X-Forwarded-For"), "203.0.113.7")
        before = len(self.raw.connections)
        silent = self.client(self.front, 1)
        wait_for(lambda: len(self.raw.connections) == before + 1, "a server that speaks first is reached")
        silent.send(GET)
        self.assertEqual(silent.response().status, 200)

    def test_no_addresses_but_tlvs(self):
        self.start("required")
        for rest in (b"", b"any bytes"):
            self.assertEqual(self.ask(v2(family=0, rest=rest) + GET).status, 200)
        tlvs = tlv(2, b"blue.test") + tlv(0xE0, b"gold")
        self.assertEqual(self.ask(with_sum(v2(family=0, rest=b"", tlvs=tlvs)) + GET).body, b"blue gold")

    def test_what_a_header_could_begin_with(self):
        """Optional, and what came is too little to tell, and is all: it is what it is."""
        for where in ("10.0.0.0/8", "127.0.0.0/8"):
            self.start(f"{{mode: optional, from: [{where}], timeout: 300ms}}", handler=lambda connection, _: connection.rest())
            for data in (b"\r\n", b"P", SIGNATURE[:11]):
                for finish in (False, True):
                    with self.subTest(where=where, data=data, finish=finish):
                        before = len(self.raw.connections)
                        client = self.client(self.front, 1)
                        client.send(data)
                        if finish:
                            client.finish_sending()
                        wait_for(lambda: len(self.raw.connections) > before and self.raw.connections[-1].received == data,
                                 "the origin has all of it")
                        client.close()
            for why in ("timeouts", "truncated", "untrusted"):
                self.assertEqual(self.front.metric(f"weir_proxy_protocol_{why}_total"), 0)

    def test_who_cannot_be_somebody_else_counts_at_once(self):
        """Silent ones as well: nothing that they could say makes them another's connections."""
        config = """
listeners:
  - {address: LISTEN0, protocol: tcp, upstream: web, max_connections_per_client: 3,
     proxy_protocol: {mode: optional, from: 10.0.0.0/8, timeout: 60s}}
  - {address: LISTEN1, protocol: tcp, upstream: web, deny: 127.0.0.0/8,
     proxy_protocol: {mode: optional, from: 10.0.0.0/8, timeout: 60s}}
upstreams:
  web: {endpoints: ["ORIGIN"]}
"""
        self.raw = self.origin()
        self.front = self.weir(None, config=config.replace("ORIGIN", str(self.raw)), listen=("tcp", "tcp"))
        kept = [self.client(self.front) for _ in range(3)]
        wait_for(lambda: self.front.metric("weir_open_connections") == 3, "they are there")
        for _ in range(3):
            self.assertIn(self.silent_end(), ("fin", "reset"))
        self.assertEqual(self.front.metric("weir_open_connections"), 3)
        self.assertIn(self.silent_end(1), ("fin", "reset"))
        self.assertEqual(self.front.metric("weir_denied_total"), 1)
        kept[0].send(GET)
        self.assertEqual(kept[0].response().status, 200)

    def silent_end(self, listener=0):
        try:
            return self.client(self.front, listener).ending()
        except ConnectionResetError:  # before connect() had returned
            return "reset"

    def test_curl(self):
        self.start("required")
        url = f"http://{address_text(self.front.address)}/"
        help_text = subprocess.run(["curl", "--help", "all"], capture_output=True, text=True, check=True).stdout
        curl = ["curl", "-s", "--noproxy", "*", "-m", "30", "-o", "/dev/null", "-w", "%{http_code}"]
        done = subprocess.run([*curl, "--haproxy-protocol", url], capture_output=True, text=True, check=False)
        self.assertEqual(done.stdout, "200", done)
        self.assertEqual(self.raw.requests[-1].header("X-Forwarded-For"), "127.0.0.1")
        if "--haproxy-clientip" in help_text:
            done = subprocess.run([*curl, "--haproxy-clientip", "203.0.113.8", url], capture_output=True, text=True,
                                  check=False)
            self.assertEqual(done.stdout, "200", done)
            self.assertEqual(self.raw.requests[-1].header("X-Forwarded-For"), "203.0.113.8")
        done = subprocess.run([*curl, url], capture_output=True, text=True, check=False)
        self.assertNotEqual(done.returncode, 0, "without a header")

    def test_behind_haproxy(self):
        """Two HAProxy in a row: what the first one says of its client the second one hands on, with TLVs."""
        program = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if program is None:
            self.skipTest("haproxy is not installed (tools/setup installs it)")
        self.start("{mode: required, from: [127.0.0.1]}")
        folder = scratch("haproxy")
        ports = [free_port() for _ in range(3)]
        http, tcp = self.front.addresses
        config = os.path.join(folder, "haproxy.cfg")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"""
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen one
  bind 127.0.0.1:{ports[0]} accept-proxy
  unique-id-format id-%ci
  server w {address_text(http)} send-proxy-v2 proxy-v2-options unique-id,crc32c check
listen two
  bind 127.0.0.1:{ports[1]} accept-proxy
  server w {address_text(http)} send-proxy
listen three
  bind 127.0.0.1:{ports[2]} accept-proxy
  server w {address_text(tcp)} send-proxy-v2
""")
        haproxy = Process([program, "-f", config, "-db"], "haproxy")
        self.addCleanup(haproxy.kill)
        for port in ports:
            wait_for(lambda at=port: self.opens(at), f"haproxy on {port}: {haproxy.err()}")
        for port in ports:
            client = connect(("127.0.0.1", port))
            client.send(V1 + GET)
            self.assertEqual(client.response().status, 200)
            client.close()
            if port != ports[2]:
                self.assertEqual(self.raw.requests[-1].header("X-Forwarded-For"), "203.0.113.7")
        lines = [line for line in self.lines(3) if " 203.0.113.7:1234 " in line]
        self.assertEqual(len(lines), 3, lines)
        self.assertEqual(sum(" id-203.0.113.7 " in line for line in lines), 1, lines)
        self.assertEqual(self.front.metric("weir_proxy_protocol_malformed_total"), 0, "its checks say LOCAL")

    @staticmethod
    def opens(port):
        try:
            connect(("127.0.0.1", port)).close()
            return True
        except OSError:
            return False


OUT = """
access_log:
  file: {log}
  format: template
  template: "${{protocol}} ${{client}} ${{proxy_protocol_unique_id}} ${{end}}"
listeners:
  - {{address: LISTEN0, upstream: web{listener}}}
  - {{address: LISTEN1, upstream: web, protocol: tcp{listener}}}
upstreams:
  web: {{endpoints: ["{origin}"], proxy_protocol: {hello}{more}}}
"""


class HeaderOrigin:
    """Answers requests behind a PROXY header; remembers headers, each as the bytes and what they say."""

    def __init__(self, test):
        self.headers = []
        self.requests = []
        self.origin = test.origin(self.serve)

    def serve(self, connection, _origin):
        while len(connection.buffer) < 16:
            connection.more()
        header = bytes(connection.take(16))
        if header.startswith(SIGNATURE):
            header += connection.exactly(struct.unpack(">H", header[14:])[0])
        else:
            while not header.endswith(b"\r\n"):
                header += connection.exactly(1)
        self.headers.append(header)
        while (request := connection.request()) is not None:
            self.requests.append((header, request))
            connection.send(ok(b"raw"))

    @staticmethod
    def said(header):
        """(source, destination, {type: value}) of a v2 header for TCP over IPv4."""
        assert header[12:14] == b"\x21\x11", header
        rest = header[28:]
        tlvs = {}
        while rest:
            length = struct.unpack(">H", rest[1:3])[0]
            tlvs[rest[0]] = rest[3 : 3 + length]
            rest = rest[3 + length :]
        source, destination = header[16:20], header[20:24]
        ports = struct.unpack(">HH", header[24:28])
        return (socket.inet_ntoa(source), ports[0]), (socket.inet_ntoa(destination), ports[1]), tlvs


class Out(Base):
    def begin(self, hello, listener="", more="", origin=None):
        self.behind = None if origin else HeaderOrigin(self)
        self.log = os.path.join(scratch("log"), "access.log")
        config = OUT.format(log=self.log, hello=hello, listener=listener, more=more,
                            origin=origin or self.behind.origin)
        self.front = self.weir(None, config=config, listen=("http", "tcp"))

    def test_v1(self):
        self.begin("v1")
        for listener in (0, 1):
            client = self.client(self.front, listener)
            client.send(GET)
            self.assertEqual(client.response().status, 200)
            source, here = client.sock.getsockname(), self.front.addresses[listener]
            self.assertEqual(self.behind.headers[-1].decode(),
                             f"PROXY TCP4 {source[0]} {here[0]} {source[1]} {here[1]}\r\n")
        self.assertEqual(len(self.behind.headers), 2)

    def test_v2_with_tlvs(self):
        self.begin("{version: v2, tlvs: [authority, unique_id, crc32c]}")
        client = self.client(self.front)
        client.send(GET.replace(b"test", b"shop.test:8080"))
        self.assertEqual(client.response().status, 200)
        header = self.behind.headers[-1]
        source, destination, tlvs = HeaderOrigin.said(header)
        self.assertEqual(source, client.sock.getsockname())
        self.assertEqual(destination, self.front.address)
        self.assertEqual(tlvs[2], b"shop.test")
        self.assertRegex(tlvs[5], b"^[0-9a-f]{32}$")
        self.assertEqual(tlvs[3], struct.pack(">I", crc32c(header[:-4] + b"\0\0\0\0")))
        self.assertIn(f" {tlvs[5].decode()} ok", self.lines(1)[0], "the log has the id too")

    def test_what_came_is_handed_on(self):
        self.begin("{version: v2, tlvs: [authority, unique_id]}", listener=", proxy_protocol: required")
        for listener in (0, 1):
            client = self.client(self.front, listener)
            client.send(v2_with_sum(tlv(2, b"a.test") + tlv(5, b"id 7")) + GET)
            self.assertEqual(client.response().status, 200)
            said = HeaderOrigin.said(self.behind.headers[-1])
            self.assertEqual(said, (("203.0.113.7", 1234), ("198.51.100.9", 443), {2: b"a.test", 5: b"id 7"}))

    def test_one_id_for_all_connections_of_a_client(self):
        """Also where its own says that it is none."""
        self.begin("{version: v2, tlvs: unique_id}", listener=", proxy_protocol: required", more=", pool: {max_requests: 1}")
        client = self.client(self.front)
        client.send(v2(tlvs=tlv(5, b"") + tlv(0xE0, b"x" * 2000)))
        keep = GET.replace(b"Connection: close\r\n", b"")
        for _ in range(1200):
            client.send(keep)
            self.assertEqual(client.response().status, 200)
        self.assertEqual(len(self.behind.headers), 1200)
        ids = {HeaderOrigin.said(header)[2][5] for header in self.behind.headers}
        self.assertEqual([len(each) for each in ids], [32])

    def test_mixed_families(self):
        self.begin("v2", listener=", proxy_protocol: required")
        client = self.client(self.front)
        client.send(b"PROXY TCP6 2001:db8::7 2001:db8::9 1 2\r\n" + GET)
        self.assertEqual(client.response().status, 200)
        header = self.behind.headers[-1]
        self.assertEqual(header[13], 0x21)
        self.assertEqual(header[16:32], socket.inet_pton(socket.AF_INET6, "2001:db8::7"))

    def test_no_connection_is_shared(self):
        """Clients in turns, each with several requests on its connection: what the origin was told is always theirs."""
        self.begin("v2")
        clients = [self.client(self.front) for _ in range(5)]
        keep = GET.replace(b"Connection: close\r\n", b"")
        for _ in range(4):
            for client in clients:
                client.send(keep)
                self.assertEqual(client.response().status, 200)
                header, _request = self.behind.requests[-1]
                self.assertEqual(HeaderOrigin.said(header)[0], client.sock.getsockname())
        self.assertEqual(len(self.behind.headers), 5, "each keeps its own")
        self.assertEqual(self.front.metric("weir_upstream_idle_connections"), 5)
        for client in clients:
            client.close()
        wait_for(lambda: self.front.metric("weir_upstream_open_connections") == 0, "they end with their clients")
        self.get(self.front)
        self.assertEqual(len(self.behind.headers), 6, "nobody else's is used")

    def test_checks_say_local(self):
        self.begin("v2", more=", health_check: {path: /up, interval: 200ms}")
        wait_for(lambda: self.behind.requests, "a check")
        self.assertEqual(self.behind.headers[0], v2(0x20, 0, b""))
        self.assertEqual(self.get(self.front).status, 200)

    def test_tcp_checks_say_unknown(self):
        self.begin("v1", more=", health_check: {type: tcp, interval: 200ms}")
        wait_for(lambda: b"PROXY UNKNOWN\r\n" in self.behind.origin.received(), "a check")

    def test_nginx_behind(self):
        port = free_port()
        said = 'return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port $remote_addr";'
        self.nginx("one", extra=f"listen 127.0.0.1:{port} proxy_protocol;\n location = /who {{ {said} }}")
        for hello in ("v1", "v2", "{version: v2, tlvs: [authority, unique_id, crc32c]}"):
            self.begin(hello, origin=f"127.0.0.1:{port}")
            for listener in (0, 1):
                client = self.client(self.front, listener)
                for _ in range(3):
                    client.send(b"GET /who HTTP/1.1\r\nHost: test\r\n\r\n")
                    source = client.sock.getsockname()
                    here = self.front.addresses[listener]
                    self.assertEqual(client.response().body.decode(), f"{source[0]} {source[1]} {here[1]} 127.0.0.1")

    def test_haproxy_behind(self):
        program = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if program is None:
            self.skipTest("haproxy is not installed (tools/setup installs it)")
        port = free_port()
        config = os.path.join(scratch("haproxy"), "haproxy.cfg")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"""
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend f
  bind 127.0.0.1:{port} accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src]:%[src_port] %[fc_pp_authority] %[fc_pp_unique_id]"
""")
        haproxy = Process([program, "-f", config, "-db"], "haproxy")
        self.addCleanup(haproxy.kill)
        wait_for(lambda: In.opens(port), f"haproxy: {haproxy.err()}")
        for hello, more in (("v1", ""), ("{version: v2, tlvs: [authority, unique_id, crc32c]}", "a.test id7")):
            self.begin(hello, origin=f"127.0.0.1:{port}", listener=", proxy_protocol: required")
            client = self.client(self.front)
            client.send(v2(tlvs=tlv(2, b"a.test") + tlv(5, b"id7")) + GET)
            body = client.response().body.decode().strip()
            self.assertEqual(body.split(" ")[0], "203.0.113.7:1234")
            self.assertIn(more, body)


if __name__ == "__main__":
    unittest.main()
