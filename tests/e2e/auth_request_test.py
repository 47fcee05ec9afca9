"""auth_request: another server says whether a request goes on."""

import json
import os
import threading
import unittest

import weir_harness
from weir_harness import WeirTest, address_text, ok, run, scratch, wait_for

AUTH = """
    location = /check {
      if ($cookie_session = "good") { set $is "ok"; }
      if ($is != "ok") { return 302 https://login.example/?back=$http_x_forwarded_uri; }
      add_header X-User ada;
      add_header X-Method $http_x_forwarded_method;
      return 204;
    }
"""


def at(weir, host="a.example"):
    port = weir.addresses[0][1]
    return ["--resolve", f"{host}:{port}:127.0.0.1"], f"http://{host}:{port}"


class WithRealServers(WeirTest):
    def setUp(self):
        self.auth = self.nginx("auth", extra=AUTH)
        self.web = self.origin(name="web")
        self.log = os.path.join(scratch("log"), "access.log")
        self.front = self.weir(None, config=f"""
access_log: {{file: {self.log}, request_headers: X-User}}
listeners: [{{address: LISTEN0, routes: r}}]
upstreams:
  web: {{endpoints: [{self.web}]}}
  auth: {{endpoints: [{address_text(self.auth.addresses[0])}]}}
routes:
  r:
    - upstream: web
      auth_request: {{upstream: auth, path: /check, copy: [X-User, X-Method]}}
      response_headers: {{set: {{X-Frame-Options: DENY}}}}
    - match: {{path: /secret}}
      respond: {{body: "for you"}}
      auth_request: {{upstream: auth, path: /check}}
    - match: {{path: /moved}}
      redirect: {{to: /new}}
      auth_request: {{upstream: auth, path: /check}}
    - match: {{path_prefix: /buffered}}
      upstream: web
      buffer: 16KiB
      auth_request: {{upstream: auth, path: "/check", copy: X-User}}
      response_headers: {{set: {{X-Id: "${{request_id}}"}}}}
""")
        self.find, self.base = at(self.front)

    def curl(self, path, *more):
        return run(["curl", "-sS", "-i", *self.find, *more, self.base + path]).stdout

    def line(self):
        wait_for(lambda: os.path.getsize(self.log) > 0, "the log has the line")
        with open(self.log, encoding="utf-8") as file:
            return json.loads(file.readline())

    def test_who_is_known_goes_on(self):
        said = self.curl("/x?q=1", "-b", "session=good", "-H", "X-User: root", "-H", "X_Method: root", "-d", "body")
        self.assertIn("200 OK", said)
        self.assertTrue(said.endswith("web"), said)
        request = self.web.requests[-1]
        self.assertEqual(request.all("X-User"), ["ada"])
        self.assertEqual(request.all("X-Method"), ["POST"])
        self.assertEqual(request.all("X_Method"), [])
        self.assertEqual((request.method, request.target, request.body), ("POST", "/x?q=1", b"body"))
        line = self.line()
        self.assertEqual(line["request_id"], request.header("X-Request-ID"))
        self.assertEqual(line["request_headers"], {"X-User": "ada"})
        metrics = self.front.metrics()
        self.assertEqual(weir_harness.pick(metrics, "weir_auth_requests_total"), 1)
        self.assertEqual(weir_harness.pick(metrics, "weir_auth_denied_total"), 0)

    def test_who_is_not_gets_the_other_servers_answer(self):
        said = self.curl("/x?q=1", "-d", "body")
        self.assertIn("302 Moved Temporarily", said)
        self.assertIn("Location: https://login.example/?back=/x?q=1\n", said)
        self.assertIn("<title>302 Found</title>", said)
        self.assertIn("X-Frame-Options: DENY", said)
        self.assertEqual(self.web.requests, [])
        self.assertEqual(self.front.metric("weir_auth_denied_total"), 1)
        line = self.line()
        self.assertEqual((line["method"], line["status"], line["end"]), ("POST", 302, "auth_denied"))
        self.assertEqual(line["path"], "/x?q=1")

    def test_what_the_route_says_itself_waits_too(self):
        for path, shown in (("/secret", "for you"), ("/moved", "Location: /new")):
            self.assertIn("login.example", self.curl(path))
            self.assertNotIn(shown, self.curl(path))
            self.assertIn(shown, self.curl(path, "-b", "session=good"))

    def test_a_connection_serves_many_of_both_kinds(self):
        client = self.client(self.front)
        for i in range(40):
            good = i % 3 != 0
            method = ("GET", "HEAD", "POST")[i % 7 % 3]
            cookie = "Cookie: session=good\r\n" if good else ""
            body = "" if method != "POST" else "x" * (i * 100)
            path = f"/buffered/{i}" if i % 2 else f"/{i}"
            client.send(f"{method} {path} HTTP/1.1\r\nHost: a\r\n{cookie}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            response = client.response(method)
            self.assertEqual(response.status, 200 if good else 302)
            if good:
                request = self.web.requests[-1]
                self.assertEqual((request.target, request.body), (path, body.encode()))
                self.assertEqual(request.all("X-User"), ["ada"])
                if i % 2:
                    self.assertEqual(response.all("X-Id"), request.all("X-Request-ID"))
        # Both servers kept their one connection.
        self.assertEqual(len(self.web.connections), 1)
        self.assertEqual(self.front.metric("weir_upstream_open_connections"), 2)

    def test_large_bodies_go_to_the_origin_alone(self):
        body = os.urandom(3 << 20)
        path = os.path.join(scratch("body"), "body")
        with open(path, "wb") as file:
            file.write(body)
        for how in ([], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"]):
            self.assertIn("200 OK", self.curl("/big", "-b", "session=good", *how, "--data-binary", f"@{path}"))
            self.assertEqual(self.web.requests[-1].body, body)
            self.assertEqual(self.web.requests[-1].all("X-User"), ["ada"])
            said = self.curl("/big", *how, "--data-binary", f"@{path}")
            self.assertIn("302 Moved", said)
        self.assertEqual(len(self.web.requests), 3)

    def test_when_nobody_can_be_asked_nothing_goes_on(self):
        self.auth.kill()
        said = self.curl("/x", "-b", "session=good")
        self.assertIn("502 Bad Gateway", said)
        self.assertEqual(self.web.requests, [])
        # Set aside (503) by the shard that found it gone, as long as that lasts.
        self.assertRegex(self.curl("/x", "-b", "session=good"), "HTTP/1.1 50[23] ")
        self.assertEqual(self.front.metric("weir_auth_failures_total"), 2)
        self.auth.start()
        wait_for(lambda: "200 OK" in self.curl("/x", "-b", "session=good"), "it is back")


class WithAScript(WeirTest):
    """The asked server says whatever a test wants."""

    def setUp(self):
        self.says = lambda connection, request: connection.send(ok())
        self.auth = self.origin(self.play, name="auth")
        self.web = self.origin(name="web")
        self.front = self.weir(None, config=f"""
listeners: [{{address: LISTEN0, routes: r}}]
upstreams:
  web: {{endpoints: [{self.web}]}}
  auth: {{endpoints: [{self.auth}], timeouts: {{response: 400ms}}}}
routes:
  r:
    - upstream: web
      rewrite: {{path: "/inner${{path}}", host: inner}}
      request_headers: {{remove: Cookie, set: {{X-Tier: gold}}}}
      auth_request: {{upstream: auth, path: "/v1${{path}}?from=${{client}}", copy: [X-User, X-Group]}}
    - match: {{path_prefix: /named}}
      upstream: web
      basic_auth: {{users: {{ada: "$2y$05$abcdefghijklmnopqrstuuqIkJXfF6bnRTDpAPCxvDZdCZdqUXfsG"}}}}
      auth_request: {{upstream: auth, path: /v1}}
    - match: {{path: /few}}
      upstream: web
      client_max_body: 10
      auth_request: {{upstream: auth, path: /v1}}
""")

    def play(self, connection, origin):
        while (request := connection.request()) is not None:
            with origin.lock:
                origin.requests.append(request)
            self.says(connection, request)

    def ask(self, head="", method="GET", path="/p"):
        client = self.client(self.front)
        client.send(f"{method} {path} HTTP/1.1\r\nHost: a.example\r\n{head}\r\n".encode())
        return client.response(method)

    def test_what_it_is_told(self):
        self.assertEqual(self.ask(
            "Cookie: c=1\r\nAuthorization: Bearer t\r\nIf-None-Match: *\r\nRange: bytes=0-1\r\nX-Forwarded-Uri: /lie\r\n"
            "X_Original_URI: /lie\r\nTE: trailers\r\nConnection: te, upgrade\r\nUpgrade: websocket\r\n"
            "Content-Type: a/b\r\nContent-Length: 0\r\n", path="/p?x=%41").status, 200)
        asked = self.auth.requests[0]
        self.assertEqual((asked.method, asked.target), ("GET", "/v1/p?from=127.0.0.1"))
        for name, values in (
            ("Host", ["a.example"]), ("Cookie", ["c=1"]), ("Authorization", ["Bearer t"]),
            ("X-Forwarded-Method", ["GET"]), ("X-Forwarded-Uri", ["/p?x=%41"]), ("X-Original-URI", ["/p?x=%41"]),
            ("X-Original-Method", ["GET"]), ("X-Forwarded-For", ["127.0.0.1"]), ("X-Forwarded-Host", ["a.example"]),
            ("X_Original_URI", []), ("If-None-Match", []), ("Range", []), ("Upgrade", []), ("TE", []),
            ("Connection", []), ("Content-Type", []), ("Content-Length", []), ("X-Tier", []),
        ):
            self.assertEqual(asked.all(name), values, name)
        served = self.web.requests[0]
        self.assertEqual(served.target, "/inner/p?x=%41")
        for name, values in (
            ("Host", ["inner"]), ("Cookie", []), ("Authorization", ["Bearer t"]), ("If-None-Match", ["*"]),
            ("Range", ["bytes=0-1"]), ("Upgrade", ["websocket"]), ("X-Tier", ["gold"]), ("Content-Type", ["a/b"]),
            ("X-Forwarded-Uri", ["/lie"]), ("X-Request-ID", asked.all("X-Request-ID")),
        ):
            self.assertEqual(served.all(name), values, name)

    def test_a_query_as_it_came(self):
        self.assertEqual(self.ask(path="/p?x=%2F").status, 200)
        self.assertEqual(self.auth.requests[0].all("X-Forwarded-Uri"), ["/p?x=%2F"])

    def test_several_lines_of_one_name_and_none(self):
        self.says = lambda connection, request: connection.send(
            b"HTTP/1.1 103 Early\r\nX-User: early\r\n\r\n"
            + ok(b"fine", b"X-Group: a\r\nx-group: b, c\r\nSet-Cookie: no=1\r\nX-Other: 1\r\n"))
        response = self.ask("X-User: root\r\n")
        self.assertEqual(response.status, 200)
        self.assertEqual(response.all("Set-Cookie"), [])
        request = self.web.requests[0]
        self.assertEqual(request.all("X-Group"), ["a", "b, c"])
        self.assertEqual(request.all("X-User"), [])
        self.assertEqual(request.all("X-Other"), [])

    def test_trailers_do_not_bring_back_what_was_dropped(self):
        client = self.client(self.front)
        client.send(b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-User\r\n\r\n")
        client.send(b"1\r\nx\r\n0\r\nX-User: root\r\nX-Sum: 1\r\n\r\n")
        self.assertEqual(client.response().status, 200)
        self.assertNotIn(b"root", self.web.received())
        self.assertIn(b"X-Sum: 1", self.web.received())

    def test_every_other_answer_is_the_clients(self):
        for status, extra in ((401, b"WWW-Authenticate: Bearer\r\n"), (403, b""), (500, b""), (304, b""), (404, b"")):
            body = b"" if status == 304 else b"why"
            length = b"" if status == 304 else b"Content-Length: 3\r\n"
            self.says = lambda connection, request: connection.send(
                b"HTTP/1.1 %d No\r\n%s%s\r\n%s" % (status, length, extra, body))
            response = self.ask()
            self.assertEqual((response.status, response.body), (status, body))
            self.assertEqual(response.header("WWW-Authenticate"), "Bearer" if status == 401 else None)
        self.assertEqual(self.web.requests, [])
        self.assertEqual(self.front.metric("weir_auth_denied_total"), 5)

    def test_a_long_refusal_streams(self):
        body = os.urandom(1 << 20)
        self.says = lambda connection, request: connection.send(
            b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        response = self.ask()
        self.assertEqual((response.status, response.body), (403, body))

    def test_a_long_consent_is_not_read(self):
        self.says = lambda connection, request: connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\nx")
        self.assertEqual(self.ask().body, b"web")
        self.says = lambda connection, request: connection.send(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
        self.assertEqual(self.ask().body, b"web")

    def test_broken_answers_let_nothing_through(self):
        for answer, status in (
            (b"HTTP/1.1 200 OK\r\nBad Line\r\n\r\n", 502),
            (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 502),
            (b"SSH-2.0-x\r\n", 502),
            (b"HTTP/1.1 200 OK\r\nX-User: " + b"u" * 5000 + b"\r\nContent-Length: 0\r\n\r\n", 502),
            (b"HTTP/1.1 2", None),  # and nothing more: too late
        ):
            self.says = lambda connection, request: connection.send(answer)
            response = self.ask("Connection: upgrade\r\nUpgrade: websocket\r\n")
            self.assertEqual(response.status, status or 504, answer[:40])
            self.assertIn(b"who decides about this request could not be asked", response.body)
        self.assertEqual(self.web.requests, [])

    def test_one_that_closes_is_asked_again(self):
        count = []

        def closes_first(connection, request):
            count.append(1)
            if len(count) == 1:
                raise weir_harness.Ended
            else:
                connection.send(ok())

        self.says = closes_first
        self.assertEqual(self.ask(method="POST", head="Content-Length: 0\r\n").status, 200)
        self.assertEqual(len(count), 2)

    def test_a_client_that_leaves_asks_no_origin(self):
        asked = threading.Event()
        may = threading.Event()

        def slow(connection, request):
            asked.set()
            may.wait(5)
            connection.send(ok())

        self.says = slow
        client = self.client(self.front)
        client.send(b"GET /p HTTP/1.1\r\nHost: a\r\n\r\n")
        asked.wait(5)
        client.reset()
        wait_for(lambda: self.front.metric("weir_client_aborts_total") == 1, "it is noticed")
        may.set()
        self.assertEqual(self.ask().status, 200)
        self.assertEqual(len(self.web.requests), 1)

    def test_the_next_request_waits_its_turn(self):
        client = self.client(self.front)
        client.send(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
        for _ in range(6):
            self.assertEqual(client.response().status, 200)
        self.assertEqual([r.target for r in self.web.requests], ["/inner/1", "/inner/2"] * 3)

    def test_a_request_that_is_refused_anyway_asks_nobody(self):
        self.assertEqual(self.ask("Content-Length: 11\r\n", "POST", "/few").status, 413)
        self.assertEqual(self.auth.requests, [])

    def test_a_wrong_password_asks_nobody(self):
        self.assertEqual(self.ask("Authorization: Basic YWRhOndyb25n\r\n", path="/named").status, 401)
        self.assertEqual(self.ask(path="/named").status, 401)
        self.assertEqual(self.auth.requests, [])


if __name__ == "__main__":
    unittest.main()
