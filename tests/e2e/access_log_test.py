"""The access log in other forms than the usual JSON: what a configuration file can say of it."""

import contextlib
import json
import os
import re
import signal
import socket
import time
import unittest

from weir_harness import Ended, WeirTest, address_text, free_port, need, ok, run, scratch, socket_folder, wait_for

FILE = """
access_log:
  file: {log}
{keys}
listeners: [{{address: LISTEN0, routes: r}}]
upstreams: {{web: {{endpoints: ["{origin}"]}}}}
routes:
  r:
    - {{upstream: web}}
    - {{match: {{path: /old}}, redirect: {{to: "/new${{query}}", status: 301}}}}
    - {{match: {{path_prefix: /app}}, upstream: web, rewrite: {{path: "/v2${{remainder}}"}}}}
    - {{match: {{host: tagged}}, upstream: web, response_headers: {{set: {{X-Tag: "yes"}}, remove: [X-Inner]}}}}
"""


class Form(WeirTest):
    def front(self, origin, *keys, shards=1, flags=()):
        self.log = os.path.join(scratch("log"), "access.log")
        config = FILE.format(log=self.log, origin=origin, keys="\n".join("  " + key for key in keys))
        return self.weir(None, *flags, config=config, shards=shards)

    def ask(self, front, target, *lines, method="GET", host="test", version="HTTP/1.1"):
        client = self.client(front)
        client.send("\r\n".join([f"{method} {target} {version}", f"Host: {host}", *lines, "", ""]).encode("latin-1"))
        response = client.response(method)
        client.close()
        return response

    def lines(self, count, path=None):
        def read():
            with open(path or self.log, encoding="utf-8") as file:
                found = file.read().split("\n")
            return found[:-1] if len(found) > count else None

        lines = wait_for(read, f"{count} lines are written")
        self.assertEqual(len(lines), count)
        return lines


class Combined(Form):
    def test_as_nginx_writes_it(self):
        """The same requests, in the log of the nginx behind. It sees the address of Weir, which is that of the client."""
        folder = scratch("log")
        theirs = os.path.join(folder, "nginx.log")
        nginx = self.nginx("one", extra=f"access_log {theirs} combined;")
        nginx.write("file", b"x" * 70_000)
        front = self.front(nginx, "format: combined")
        odd = 'quote " backslash \\ tab \t high \xe9\xff'
        requests = [
            ("/", []),
            ("/?a=b&c=%22", ["User-Agent: curl/8.0", "Referer: http://example.org/?q=1"]),
            ("/www/file", ["User-Agent: " + odd, "Referer: " + odd]),
            ("/www/missing", ["Referer:", "User-Agent: "]),
            ("/www/file", ["Range: bytes=0-9"]),
        ]
        for target, more in requests:
            self.ask(front, target, *more)
        self.ask(front, "/", method="HEAD")
        times = re.compile(r"\[\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]")
        ours = [times.sub("[]", line) for line in self.lines(6)]
        self.assertEqual(ours, [times.sub("[]", line) for line in self.lines(6, theirs)])
        self.assertEqual(ours[0], '127.0.0.1 - - [] "GET / HTTP/1.1" 200 4 "-" "-"')
        self.assertIn(r'"quote \x22 backslash \x5C tab \x09 high \xE9\xFF"', ours[2])

    def test_what_weir_answers_itself(self):
        front = self.front(self.origin(), "format: combined")
        self.ask(front, "/old?x", "User-Agent: me")
        self.ask(front, "/old", version="HTTP/1.0")
        client = self.client(front)
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        body = client.closing_response().body
        first, second, third = self.lines(3)
        self.assertRegex(first, r'^127\.0\.0\.1 - - \[[^]]*\+0000\] "GET /old\?x HTTP/1\.1" 301 0 "-" "me"$')
        self.assertRegex(second, r'"GET /old HTTP/1\.0" 301 0 "-" "-"$')
        self.assertRegex(third, rf'\] "GET / HTTP/1\.1" 400 {len(body)} "-" "-"$')


class Json(Form):
    def test_fields_and_headers(self):
        def handle(connection, origin):
            while connection.request() is not None:
                fields = b"Content-Type: text/x\r\nVary: a\r\nVary: b\r\nX-Inner: i\r\nSet-Cookie: s=1\r\nX-Long: " + b"l" * 400 + b"\r\n"
                connection.send(ok(b"hello", fields))

        front = self.front(
            self.origin(handle),
            "fields: [status, path, end]",
            "request_headers: [User-Agent, X-Missing, Authorization]",
            "response_headers: [content-type, Vary, X-Tag, X-Inner, X-Long, Location, Set-Cookie]",
            "redact_headers: [Authorization, Set-Cookie]",
        )
        self.ask(front, "/a?b", "User-Agent: me", "Authorization: Basic eDp5", host="tagged")
        self.ask(front, "/old?b")
        first, second = map(json.loads, self.lines(2))
        self.assertEqual(list(first), ["status", "path", "end", "request_headers", "response_headers"])
        self.assertEqual((first["status"], first["path"], first["end"]), (200, "/a?b", "ok"))
        self.assertEqual(first["request_headers"], {"User-Agent": "me", "X-Missing": None, "Authorization": "***"})
        self.assertEqual(
            first["response_headers"],
            {"content-type": "text/x", "Vary": "a, b", "X-Tag": "yes", "X-Inner": None, "X-Long": "l" * 256 + "\u2026",
             "Location": None, "Set-Cookie": "***"},
        )
        self.assertEqual(second["response_headers"]["Location"], "/new?b")
        self.assertEqual((second["status"], second["end"]), (301, "answered_here"))

    def test_an_upgraded_connection(self):
        def handle(connection, origin):
            connection.request()
            connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\nX-It: is\r\n\r\n")
            connection.rest()

        front = self.front(self.origin(handle), "fields: [status, body_bytes_sent]", "response_headers: [X-It, Upgrade]")
        client = self.client(front)
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        self.assertEqual(client.response().status, 101)
        client.close()
        line = json.loads(self.lines(1)[0])
        self.assertEqual(line, {"status": 101, "body_bytes_sent": 0, "response_headers": {"X-It": "is", "Upgrade": "echo"}})

    def test_redacted_queries(self):
        front = self.front(
            self.origin(), "fields: [path, request]", "query: redact", "request_headers: Referer", "response_headers: Location"
        )
        self.ask(front, "/old?token=secret&secret", "Referer: http://a.example/?token=secret#secret")
        text = self.lines(1)[0]
        self.assertNotIn("secret", text)
        line = json.loads(text)
        self.assertEqual(line["path"], "/old?token=***&***")
        self.assertEqual(line["request"], "GET /old?token=***&*** HTTP/1.1")
        self.assertEqual(line["request_headers"]["Referer"], "http://a.example/?token=***#***")
        self.assertEqual(line["response_headers"]["Location"], "/new?token=***&***")

    def test_a_sample_and_all_errors(self):
        def handle(connection, origin):
            while (request := connection.request()) is not None:
                status = b"500 No" if "bad" in request.target else b"200 OK"
                connection.send(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")

        front = self.front(self.origin(handle), "sample: 10%")
        client = self.client(front)
        for number in range(550):
            client.send(b"GET /%s HTTP/1.1\r\nHost: test\r\n\r\n" % (b"bad" if number % 11 == 0 else b"good"))
            client.response()
        client.close()
        front.check_clean()
        front.stop(0)
        with open(self.log, encoding="utf-8") as file:
            statuses = [json.loads(line)["status"] for line in file]
        self.assertEqual(statuses.count(500), 50)
        self.assertTrue(15 <= statuses.count(200) <= 100, statuses.count(200))


class Targets(Form):
    """What the client asked for is logged, whatever an endpoint gets."""

    REWRITTEN = [
        ("/app/x?token=secret", "/v2/x?token=secret"),  # by its route
        ("/a/../b//%7e?q=1", "/b/~?q=1"),  # to its one spelling
        ("http://test/c?q=1", "/c?q=1"),  # from absolute-form
        ("http://test?q=1", "/?q=1"),
        ("/plain?q=1", "/plain?q=1"),
    ]

    def lines_of(self, *keys):
        origin = self.origin()
        front = self.front(origin, *keys)
        for target, _ in self.REWRITTEN:
            self.assertEqual(self.ask(front, target).status, 200)
        self.assertEqual([request.target for request in origin.requests], [there for _, there in self.REWRITTEN])
        return self.lines(len(self.REWRITTEN))

    def test_json(self):
        self.assertEqual([json.loads(line)["path"] for line in self.lines_of("format: json")], [here for here, _ in self.REWRITTEN])

    def test_chosen_fields(self):
        lines = [json.loads(line) for line in self.lines_of("fields: [path, forwarded_path, request]")]
        self.assertEqual([(line["path"], line["forwarded_path"]) for line in lines], self.REWRITTEN)
        self.assertEqual([line["request"] for line in lines], [f"GET {here} HTTP/1.1" for here, _ in self.REWRITTEN])

    def test_combined(self):
        lines = self.lines_of("format: combined")
        self.assertEqual([line.split('"')[1] for line in lines], [f"GET {here} HTTP/1.1" for here, _ in self.REWRITTEN])

    def test_template_and_redaction(self):
        lines = self.lines_of("template: ${path} ${forwarded_path}", "query: redact")
        self.assertEqual(
            lines,
            ["/app/x?token=*** /v2/x?token=***", "/a/../b//%7e?q=*** /b/~?q=***", "http://test/c?q=*** /c?q=***",
             "http://test?q=*** /?q=***", "/plain?q=*** /plain?q=***"],
        )

    def test_long_ones_and_those_for_no_endpoint(self):
        front = self.front(self.origin(), "template: ${path} ${forwarded_path}")
        self.ask(front, "/app/" + "x" * 5000)
        self.ask(front, "//old?x")
        self.ask(front, "/%2e./%2e%2e/")
        long, moved, refused = self.lines(3)
        here, there = long.split(" ")
        self.assertRegex(here, "^/app/x{1990,2048}\u2026$")
        self.assertRegex(there, "^/v2/x{1990,2048}\u2026$")
        self.assertEqual(moved, "//old?x -")
        self.assertEqual(refused, "/%2e./%2e%2e/ -")


class Users(Form):
    """Who has shown a password is logged by name, and nobody else."""

    SECRET = "$2b$04$WUHhXETkX0fnYkrqZU3ta.zwoU3NOuzYB7by401ZrGRFKs239bMTy"
    USERS = """
    - {match: {path_prefix: /mine}, upstream: web, basic_auth: {users: {alice: "%s", 'a "b" [c]': "%s"}}}
    - {match: {path_prefix: /said}, respond: {status: 200, body: inside}, basic_auth: {users: {alice: "%s"}}}
"""
    CASES = [  # path, name, password, status, who is logged
        ("/mine", "alice", "open sesame", 200, "alice"),  # asked of the threads
        ("/mine", "alice", "open sesame", 200, "alice"),  # known
        ("/said", "alice", "open sesame", 200, "alice"),
        ("/mine", "alice", "wrong", 401, None),
        ("/mine", "alice", "wrong", 401, None),  # known too
        ("/mine", "mallory", "open sesame", 401, None),
        ("/mine", 'a "b" [c]', "open sesame", 200, 'a "b" [c]'),
        ("/open", "alice", "open sesame", 200, None),  # nobody asked
        ("/mine", None, None, 401, None),
    ]

    def lines_of(self, *keys):
        origin = self.origin()
        self.log = os.path.join(scratch("log"), "access.log")
        config = FILE.format(log=self.log, origin=origin, keys="\n".join("  " + key for key in keys))
        front = self.weir(None, config=config + self.USERS.replace("%s", self.SECRET), shards=1)
        for path, name, password, status, _ in self.CASES:
            said = [] if name is None else ["-u", f"{name}:{password}"]
            answer = run([need("curl"), "-s", "-o", "/dev/null", "-w", "%{http_code}", *said, f"http://{address_text(front.address)}{path}"])
            self.assertEqual(answer.stdout, str(status))
        lines = self.lines(len(self.CASES))
        self.assertNotIn("sesame", "".join(lines))
        return lines

    def test_json(self):
        lines = [json.loads(line) for line in self.lines_of("format: json")]
        self.assertEqual([line["user"] for line in lines], [user for *_, user in self.CASES])

    def test_combined(self):
        users = [line.split(" ")[2] for line in self.lines_of("format: combined")]
        odd = r"a\x20\x22b\x22\x20[c]"
        self.assertEqual(users, ["-" if user is None else "alice" if user == "alice" else odd for *_, user in self.CASES])

    def test_template(self):
        lines = self.lines_of("template: ${user}|${status}")
        self.assertEqual(lines[:4], ["alice|200", "alice|200", "alice|200", "-|401"])


class Refused(Form):
    """Whom Weir refuses, and what for, as far as it was read."""

    def refused(self, *requests, extra="", flags=(), keys=("fields: [method, path, request, status, end]",)):
        self.log = os.path.join(scratch("log"), "access.log")
        config = FILE.format(log=self.log, origin=self.origin(), keys="\n".join("  " + key for key in keys))
        front = self.weir(None, *flags, config=config.replace("routes: r}", "routes: r" + extra + "}", 1), shards=1)
        for request in requests:
            client = self.client(front)
            for piece in request if isinstance(request, list) else [request]:
                client.send(piece)
                time.sleep(0.05)
            client.closing_response()
        return self.lines(len(requests))

    def test_what_breaks_a_rule(self):
        x = b"x" * 9000
        cases = [
            (b"GET /a HTTP/1.1\r\n\r\n", "GET", "/a", "GET /a HTTP/1.1", 400),  # no Host
            (b"\x00\xff\"\\\r\n\r\n", "", "", "", 400),
            (b"G\x01T /a HTTP/1.1\r\n\r\n", "", "", "", 400),
            (b"GET /a\x01\x1b[31m HTTP/1.1\r\n\r\n", "GET", "/a\u2026", "GET /a\u2026", 400),
            (b"GET nothing HTTP/1.0\r\n\r\n", "GET", "nothing", "GET nothing", 400),
            (b"GET /a\r\n\r\n", "GET", "/a", "GET /a", 400),
            (b"GET /a HTTP/3.0\r\n\r\n", "GET", "/a", "GET /a", 505),
            (b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", "CONNECT", "h:443", "CONNECT h:443", 501),
            # Who takes us for a forward proxy may say a password.
            (b"CONNECT joe:pw@h:443 HTTP/1.1\r\nHost: h\r\n\r\n", "CONNECT", "***@h:443", "CONNECT ***@h:443", 501),
            (b"GET http://joe:p@w@h/a@b HTTP/1.1\r\nHost: h\r\n\r\n", "GET", "http://***@h/a@b", "GET http://***@h/a@b", 400),
            (b"GET //joe:pw@h/a HTTP/1.1\r\n\r\n", "GET", "//joe:pw@h/a", "GET //joe:pw@h/a HTTP/1.1", 400),  # a path
            (b"GET /a HTTP/1.0\r\nA : b\r\n\r\n", "GET", "/a", "GET /a HTTP/1.0", 400),
            (b"GET /b HTTP/1.1\r\nHost: h\r\nA: " + x + x + b"\r\n\r\n", "GET", "/b", "GET /b HTTP/1.1", 431),
            ([b"GET /in/pie", b"ces HTTP/1.1\r\nHost: h\r\n", b"Host: h\r\n\r\n"], "GET", "/in/pieces", "GET /in/pieces HTTP/1.1", 400),
            (b"GET https://h/a HTTP/1.1\r\nHost: h\r\n\r\n", "GET", "https://h/a", "GET https://h/a HTTP/1.1", 421),
            (b"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "POST", "/p", "POST /p HTTP/1.1", 400),
        ]
        lines = self.refused(*(case[0] for case in cases))
        for line, (request, method, path, whole, status) in zip(map(json.loads, lines), cases):
            with self.subTest(request=request[:60] if isinstance(request, bytes) else request):
                self.assertEqual((line["method"], line["path"], line["request"], line["status"]), (method, path, whole, status))

    def test_a_long_target(self):
        line = json.loads(self.refused(b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n")[0])
        self.assertEqual((line["method"], line["status"]), ("GET", 414))
        self.assertRegex(line["path"], "^/x{1900,2048}\u2026$")

    def test_a_head_that_takes_too_long(self):
        lines = self.refused(b"GET /slow HTTP/1.1\r\nHo", b"GET /slo", b"G", flags=("--client_header_timeout=300ms",))
        lines = [json.loads(line) for line in lines]
        self.assertEqual([line["status"] for line in lines], [408] * 3)
        self.assertEqual([line["request"] for line in lines], ["GET /slow HTTP/1.1", "GET /slo\u2026", ""])
        self.assertEqual({line["end"] for line in lines}, {"client_timeout"})

    def test_addresses_that_are_not_allowed(self):
        request = b"GET /secret?a=b HTTP/1.1\r\nHost: h\r\nUser-Agent: crawler\r\nReferer: http://r/\r\n\r\n"
        line = self.refused(request, extra=", deny: 127.0.0.0/8", keys=("format: combined", "query: redact"))[0]
        self.assertRegex(line, r'^127\.0\.0\.1 - - \[[^]]*\] "GET /secret\?a=\*\*\* HTTP/1\.1" 403 \d+ "http://r/" "crawler"$')
        line = self.refused(request, extra=", deny: 127.0.0.0/8", keys=("template: ${method} ${host} ${path} ${forwarded_path} ${end}",))[0]
        self.assertEqual(line, "GET h /secret?a=b - denied")


class Template(Form):
    def test_a_line_of_ones_own(self):
        keys = ("""template: '${client_ip} "${method} ${host}${path}" ${status} ${request_header:X-It} ${response_header:X-Tag} $${x}'""",)
        front = self.front(self.origin(), *keys)
        self.ask(front, "/a\xe9b".encode("ascii", "ignore").decode(), 'X-It: "\\', host="tagged")
        self.assertEqual(self.lines(1)[0], r'127.0.0.1 "GET tagged/ab" 200 \x22\x5C yes ${x}')

    def test_a_flag_says_where(self):
        other = os.path.join(scratch("log"), "other.log")
        front = self.front(self.origin(), "template: ${status}", flags=(f"--access_log={other}",))
        self.ask(front, "/")
        self.assertEqual(self.lines(1, other), ["200"])
        self.assertFalse(os.path.exists(self.log))
        os.rename(other, other + ".1")
        front.signal(signal.SIGUSR1)
        wait_for(lambda: os.path.exists(other), "it was opened again")
        self.ask(front, "/")
        self.assertEqual(self.lines(1, other), ["200"])

    def test_another_form_by_a_reload(self):
        front = self.front(self.origin(), "template: one ${status}")
        self.ask(front, "/")
        with open(front.config, encoding="utf-8") as file:
            text = file.read()
        with open(front.config, "w", encoding="utf-8") as file:
            file.write(text.replace("one ${status}", "two ${response_header:Content-Length}"))
        front.signal(signal.SIGHUP)
        wait_for(lambda: "is in force" in front.err(), "it is in force")
        self.ask(front, "/")
        self.assertEqual([line.split()[0] for line in self.lines(2)], ["one", "two"])


class Endpoints(WeirTest):
    """Standard error says which endpoints are set aside, once for all shards, and when they are back."""

    def until(self, front, text):
        """Requests, until standard error says it."""
        def asked():
            with contextlib.suppress(Ended, ConnectionError):
                client = self.client(front)
                client.send(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
                client.response()
            return text in front.err()

        wait_for(asked, text)

    def test_aside_and_back(self):
        ports = [free_port(), free_port()]
        addresses = [f"127.0.0.1:{port}" for port in ports]
        config = f"""
listeners: [{{address: LISTEN0, upstream: web}}]
upstreams: {{web: {{endpoints: {json.dumps(addresses)}, set_aside: 100ms}}}}
"""
        front = self.weir(None, config=config, shards=2)
        self.until(front, "upstream web: no endpoint left")
        for address in addresses:
            self.assertRegex(
                front.err(),
                rf"(?m)^weir: \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ upstream web: endpoint {address} is set aside for 100 ms: Connection refused$",
            )
        for _ in range(20):  # both shards find out, and try again
            self.assertIn(self.get(front, "/").status, (502, 503))
            time.sleep(0.02)
        self.assertEqual(front.err().count("set aside"), 2)
        self.assertNotIn("again", front.err())
        self.origin(port=ports[0])
        self.until(front, "upstream web: an endpoint is there again")
        self.assertEqual(front.err().count(f"endpoint {addresses[0]} takes connections again"), 1)
        self.assertEqual(front.err().count("takes connections again"), 1)
        self.origin(port=ports[1])
        self.until(front, f"endpoint {addresses[1]} takes connections again")
        self.assertEqual(front.err().count("set aside"), 2)

    def test_one_that_flaps_does_not_flood(self):
        count = 200
        endpoints = json.dumps([f"127.0.1.{number}:9" for number in range(1, count + 1)])
        front = self.weir(None, config=f"""
listeners: [{{address: LISTEN0, upstream: web}}]
upstreams: {{web: {{endpoints: {endpoints}, set_aside: 60s}}}}
""", shards=1)
        self.until(front, "no endpoint left")
        self.assertLessEqual(front.err().count("upstream web: "), 20 + count)  # those at the start are other lines
        self.assertLessEqual(front.err().count("set aside"), 15)
        wait_for(lambda: re.search(r"endpoints: and 18\d more changes", front.err()), "the rest is counted")


class Receiver:
    """A socket that syslog's datagrams come to."""

    def __init__(self, test, address):
        self.socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(10)
        self.socket.bind(address)
        test.addCleanup(self.socket.close)

    def line(self):
        return self.socket.recv(65536).decode()


HEADER = r"<190>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (\S+) weir (\d+) access - "


class Syslog(Form):
    def front(self, address, *keys):
        config = FILE.format(log="", origin=self.origin(), keys="\n".join("  " + key for key in (f"syslog: {address}", *keys)))
        return self.weir(None, "--drain_timeout=3s", config=config.replace("  file: \n", ""), shards=1)

    def test_a_unix_socket(self):
        path = os.path.join(socket_folder(self), "log")
        receiver = Receiver(self, path)
        front = self.front(f"unix:{path}")
        for _ in range(3):
            self.ask(front, "/a")
        for _ in range(3):
            match = re.fullmatch(HEADER + r"(\{.*\})", receiver.line())
            self.assertTrue(match)
            self.assertEqual((match[1], match[2]), (socket.gethostname(), str(front.popen.pid)))
            self.assertEqual(json.loads(match[3])["path"], "/a")
        front.signal(signal.SIGUSR1)
        self.ask(front, "/b")
        self.assertIn("/b", receiver.line())
        front.check_clean()
        self.ask(front, "/last")
        front.stop(0)
        self.assertIn("/last", receiver.line())

    def test_who_comes_late_and_again(self):
        path = os.path.join(socket_folder(self), "log")
        front = self.front(f"unix:{path}", "template: ${path}")
        self.assertEqual(front.err().count(f"cannot be sent to unix:{path} (No such file or directory)"), 1)
        self.ask(front, "/lost")
        wait_for(lambda: front.metric("weir_access_log_lines_dropped_total") == 1, "it is counted")
        receiver = Receiver(self, path)
        time.sleep(1.1)
        self.ask(front, "/one")
        self.assertTrue(receiver.line().endswith(" access - /one"))
        receiver.socket.close()
        os.unlink(path)
        receiver = Receiver(self, path)
        time.sleep(1.1)
        self.ask(front, "/two")
        self.assertTrue(receiver.line().endswith(" access - /two"))
        self.assertEqual(front.metric("weir_access_log_lines_dropped_total"), 1)
        self.assertEqual(front.err().count("cannot be sent"), 1, "said once")

    def test_one_who_does_not_read(self):
        path = os.path.join(socket_folder(self), "log")
        receiver = Receiver(self, path)
        front = self.front(f"unix:{path}")
        client = self.client(front)
        for _ in range(3000):
            client.send(b"GET /%s HTTP/1.1\r\nHost: test\r\n\r\n" % (b"x" * 1000))
            self.assertEqual(client.response().status, 200)
        client.close()
        wait_for(lambda: front.metric("weir_access_log_lines_dropped_total") > 0, "lines are dropped")
        front.signal(signal.SIGTERM)
        receiver.line()
        front.stopped = True
        self.assertIn(front.wait(40), (0, 2))

    def test_udp(self):
        receiver = Receiver(self, ("127.0.0.1", 0))
        port = receiver.socket.getsockname()[1]
        front = self.front(f"{{address: udp:127.0.0.1:{port}, facility: daemon, tag: edge}}", "format: combined")
        self.ask(front, "/a")
        self.assertRegex(receiver.line(), r'^<30>1 \S+ \S+ edge \d+ access - 127\.0\.0\.1 - - \[.*\] "GET /a HTTP/1\.1" 200 \d+ "-" "-"$')
        receiver.socket.close()
        for _ in range(10):
            self.ask(front, "/b")
            time.sleep(0.15)  # a datagram each
        self.assertEqual(front.err().count("has no receiver at udp:"), 1, "said once")
        self.assertTrue(4 <= front.metric("weir_access_log_lines_dropped_total") <= 10)


if __name__ == "__main__":
    unittest.main()
