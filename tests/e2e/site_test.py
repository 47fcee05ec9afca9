"""What a site asks of its routes beyond where requests go: how much a request may bring, and what is said to who brings
more."""

import base64
import hashlib
import json
import os
import signal
import unittest

import weir_harness
from weir_harness import WeirTest, address_text, need, ok, run, scratch, wait_for


def at(weir, host="a.example"):
    """curl's arguments that find `host` at the first listener, and the beginning of its URLs."""
    port = weir.addresses[0][1]
    return ["--resolve", f"{host}:{port}:127.0.0.1"], f"http://{host}:{port}"


class HowMuchARequestMayBring(WeirTest):
    def setUp(self):
        self.continues = False
        self.answers_early = False
        self.api = self.origin(self.answer)
        self.front = self.weir(None, config=f"""
limits: {{client_max_body: 10}}
listeners: [{{address: LISTEN0, routes: r}}, {{address: LISTEN1, upstream: web}}]
upstreams: {{web: {{endpoints: [{self.api}]}}}}
routes:
  r:
    - {{upstream: web}}
    - {{match: {{path_prefix: /large}}, upstream: web, client_max_body: 300KiB}}
    - {{match: {{path_prefix: /any}}, upstream: web, client_max_body: 0}}
    - {{match: {{path_prefix: /short}}, upstream: web, max_header_bytes: 512}}
    - {{match: {{path_prefix: /gone}}, respond: {{status: 410}}, max_header_bytes: 512}}
""", listen=("http", "http"))

    def answer(self, connection, origin):
        while True:
            if self.continues:
                origin.requests.append(connection.request_head())
                connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                connection.rest()
                return
            if self.answers_early:
                connection.request_head()
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ")
                connection.rest()
                return
            request = connection.request()
            if request is None:
                return
            with origin.lock:
                origin.requests.append(request)
            connection.send(ok(str(len(request.body)).encode()))

    def post(self, path, body, *more, listener=0, chunked=False):
        client = self.client(self.front, listener)
        lines = [f"POST {path} HTTP/1.1", "Host: a", *more]
        lines.append("Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}")
        client.send("\r\n".join([*lines, "", ""]).encode())
        if chunked:
            for begin in range(0, len(body), 40_000):
                piece = body[begin : begin + 40_000]
                client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            client.send(b"0\r\n\r\n")
        else:
            client.send(body)
        return client

    def test_at_the_limit_and_above(self):
        for path, listener, size, status in (
            ("/", 0, 10, 200),
            ("/", 0, 11, 413),
            ("/", 1, 10, 200),
            ("/", 1, 11, 413),
            ("/large", 0, 300 << 10, 200),
            ("/large", 0, (300 << 10) + 1, 413),
            ("/any", 0, 500_000, 200),
        ):
            for chunked in (False, True):
                with self.subTest(path=path, listener=listener, size=size, chunked=chunked):
                    client = self.post(path, b"x" * size, listener=listener, chunked=chunked)
                    response = client.response("POST")
                    self.assertEqual(response.status, status)
                    if status == 200:
                        self.assertEqual(response.body, str(size).encode())
                    else:
                        self.assertEqual(response.header("Connection"), "close")
                        self.assertEqual(client.ending(), "fin")
        self.assertEqual(self.front.metric("weir_too_large_total"), 6)

    def test_the_endpoint_hears_nothing_of_a_length_above(self):
        self.assertEqual(self.post("/", b"x" * 11).response("POST").status, 413)
        self.assertEqual(self.api.requests, [])
        self.assertEqual(self.front.metric("weir_upstream_connects_total"), 0)

    def test_nobody_is_told_to_go_on(self):
        client = self.client(self.front)
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n")
        response = client.closing_response("POST")
        self.assertEqual((response.status, response.interims), (413, []))

    def test_too_much_after_100(self):
        self.continues = True
        client = self.client(self.front)
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
        self.assertEqual(client._head().status, 100)
        client.send(b"a\r\n0123456789\r\n1\r\nx\r\n")
        self.assertEqual(client.closing_response("POST").status, 413)

    def test_too_much_behind_the_answers_head(self):
        self.answers_early = True
        client = self.client(self.front)
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n")
        self.assertEqual(client.head("POST").status, 200)
        client.send(b"6\r\n012345\r\n")
        with self.assertRaises((weir_harness.Ended, ConnectionResetError)):
            client.exactly(10)

    def test_a_head_too_long_for_its_route(self):
        for path in ("/short", "/gone"):
            with self.subTest(path):
                client = self.post(path, b"", "X: " + "x" * 600)
                self.assertEqual(client.closing_response("POST").status, 431)
        self.assertEqual(self.post("/short", b"").response("POST").status, 200)
        self.assertEqual(self.post("/", b"", "X: " + "x" * 600).response("POST").status, 200)

    def test_curl(self):
        resolve, url = at(self.front)
        body = os.path.join(scratch("body"), "body")
        with open(body, "wb") as file:
            file.truncate(2_000_000)
        for more in ([], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"]):
            with self.subTest(more):
                done = run([need("curl"), "-sS", *resolve, *more, "--data-binary", f"@{body}", url + "/large",
                            "-o", "/dev/null", "-w", "%{http_code}"])
                self.assertEqual(done.stdout, "413", done.stderr)


class WhatIsSaidOfErrors(WeirTest):
    def setUp(self):
        self.pages = scratch("pages")
        with open(os.path.join(self.pages, "gone.html"), "w", encoding="utf-8") as file:
            file.write("<h1>nothing here</h1>\n")
        with open(os.path.join(self.pages, "large.html"), "w", encoding="utf-8") as file:
            file.write("x" * (24 << 10))
        self.api = self.origin(lambda connection, origin: connection.request()
                               and connection.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nmine"))
        dead = f"127.0.0.1:{weir_harness.free_port()}"
        self.front = self.weir(None, config=f"""
error_pages: {{5xx: {{body: "all\\n"}}, 403: {{file: {self.pages}/large.html}}}}
listeners:
  - {{address: LISTEN0, routes: r, error_pages: {{404: {{file: {self.pages}/gone.html}}, 4xx: {{body: "bad\\n"}}}}}}
  - {{address: LISTEN1, upstream: dead}}
upstreams:
  web: {{endpoints: [{self.api}]}}
  dead: {{endpoints: ["{dead}"], set_aside: 1h}}
routes:
  r:
    - {{match: {{path: /web}}, upstream: web}}
    - {{match: {{path: /dead}}, upstream: dead, error_pages: {{503: {{body: '{{"down": true}}', content_type: application/json}}}},
       response_headers: {{set: {{Strict-Transport-Security: max-age=9, Cache-Control: "public, max-age=99"}}}}}}
    - {{match: {{path: /mine}}, upstream: web, deny: 127.0.0.1}}
    - {{match: {{path: /closed}}, respond: {{status: 503, file: {self.pages}/gone.html}}, response_headers: {{set: {{Retry-After: "9"}}}}}}
    - {{match: {{path: /small}}, upstream: web, client_max_body: 1}}
""", listen=("http", "http"))

    def ask(self, path, method="GET", listener=0, more=""):
        client = self.client(self.front, listener)
        client.send(f"{method} {path} HTTP/1.1\r\nHost: a\r\n{more}\r\n".encode())
        return client.response(method)

    def test_which_page(self):
        for path, more, status, kind, body in (
            ("/none", "", 404, "text/html; charset=utf-8", b"<h1>nothing here</h1>\n"),
            ("/web", "", 404, None, b"mine"),
            ("/mine", "", 403, "text/plain; charset=utf-8", b"bad\n"),
            ("/small", "Content-Length: 9\r\n", 413, "text/plain; charset=utf-8", b"bad\n"),
            ("//a/../..", "", 400, "text/plain; charset=utf-8", b"bad\n"),
            ("/web", "Broken\r\n", 400, "text/plain; charset=utf-8", b"bad\n"),
            ("/closed", "", 503, "text/html; charset=utf-8", b"<h1>nothing here</h1>\n"),
        ):
            with self.subTest(path=path, more=more):
                response = self.ask(path, more=more)
                self.assertEqual((response.status, response.header("Content-Type"), response.body), (status, kind, body))
                self.assertEqual(response.header("Cache-Control"), None if path == "/closed" or body == b"mine" else "no-store")

    def test_an_endpoint_that_is_down(self):
        seen = {}
        for _ in range(6):  # two shards: each finds out by itself
            response = self.ask("/dead")
            seen[response.status] = response
            self.assertEqual(response.header("Strict-Transport-Security"), "max-age=9")
        self.assertEqual(seen[502].body, b"all\n")
        self.assertEqual(seen[502].header("Cache-Control"), "no-store")
        self.assertEqual(seen[503].body, b'{"down": true}')
        self.assertEqual(seen[503].header("Content-Type"), "application/json")
        self.assertEqual(seen[503].header("Cache-Control"), "no-store")
        self.assertGreater(int(seen[503].header("Retry-After")), 0)
        response = self.ask("/dead", listener=1)
        self.assertIn((response.status, response.body), ((502, b"all\n"), (503, b"all\n")))

    def test_head_and_the_connection_goes_on(self):
        client = self.client(self.front)
        client.send(b"HEAD /none HTTP/1.1\r\nHost: a\r\n\r\nGET /none HTTP/1.1\r\nHost: a\r\n\r\n")
        response = client.response("HEAD")
        self.assertEqual((response.status, response.header("Content-Length"), response.body), (404, "22", b""))
        self.assertEqual(client.response().body, b"<h1>nothing here</h1>\n")

    def test_the_largest(self):
        front = self.weir(None, config=f"""
listeners: [{{address: LISTEN0, routes: r, error_pages: {{404: {{file: {self.pages}/large.html}}}}}}]
upstreams: {{web: {{endpoints: [{self.api}]}}}}
routes: {{r: [{{match: {{path: /}}, upstream: web}}]}}
""")
        response = self.get(front, "/none")
        self.assertEqual((response.status, len(response.body)), (404, 24 << 10))


def basic(text):
    return "Authorization: Basic " + base64.b64encode(text.encode()).decode() + "\r\n"


class NamesAndPasswords(WeirTest):
    OPEN_SESAME = "$2b$04$WUHhXETkX0fnYkrqZU3ta.zwoU3NOuzYB7by401ZrGRFKs239bMTy"
    SLOW = "$2b$14$"  # and the rest of a hash: nobody's password, but it takes a second to find out

    def setUp(self):
        self.api = self.origin()
        self.log = os.path.join(scratch("log"), "access")
        users = os.path.join(scratch("users"), "users")
        with open(users, "w", encoding="ascii") as file:
            made = run([need("openssl"), "passwd", "-6", "-salt", "weir", "secret"]).stdout
            file.write(f"# ours\nbob:{made}")
        self.front = self.weir(None, config=f"""
access_log: {self.log}
listeners: [{{address: LISTEN0, routes: r}}]
upstreams: {{web: {{endpoints: [{self.api}]}}}}
routes:
  r:
    - {{upstream: web}}
    - {{match: {{path_prefix: /mine}}, upstream: web, client_max_body: 100, basic_auth: {{realm: "the shop", users: {{alice: "{self.OPEN_SESAME}"}}}},
       error_pages: {{401: {{body: "who are you?"}}}}, response_headers: {{set: {{Strict-Transport-Security: max-age=1}}}}}}
    - {{match: {{path_prefix: /passed}}, upstream: web, basic_auth: {{forward: true, users_file: {users}}}}}
    - {{match: {{path_prefix: /said}}, respond: {{status: 200, body: inside}}, basic_auth: {{users_file: {users}}}}}
    - {{match: {{path_prefix: /slow}}, upstream: web, basic_auth: {{users: {{eve: "{self.SLOW + self.OPEN_SESAME[7:]}"}}}}}}
""")

    def ask(self, path, more="", method="GET", body=b"", client=None):
        client = client or self.client(self.front)
        client.send(f"{method} {path} HTTP/1.1\r\nHost: a\r\n{more}\r\n".encode() + body)
        return client.response(method)

    def test_who_may_come(self):
        client = self.client(self.front)
        response = self.ask("/mine", client=client)
        self.assertEqual((response.status, response.body), (401, b"who are you?"))
        self.assertEqual(response.header("WWW-Authenticate"), 'Basic realm="the shop", charset="UTF-8"')
        self.assertEqual(response.header("Strict-Transport-Security"), "max-age=1")
        self.assertEqual(response.header("Cache-Control"), "no-store")
        for given in ("alice:open", "alice:", "bob:open sesame", "Alice:open sesame", ":", "nobody:open sesame"):
            with self.subTest(given):
                self.assertEqual(self.ask("/mine", basic(given), client=client).status, 401)
        for given in ("Authorization: Bearer x\r\n", "Authorization: Basic\r\n", "Authorization: Basic !!!!\r\n",
                      basic("alice:open sesame") * 2, "X-" + basic("alice:open sesame")):
            with self.subTest(given):
                self.assertEqual(self.ask("/mine", given, client=client).status, 401)
        self.assertEqual(self.api.requests, [])
        self.assertEqual(self.ask("/mine", basic("alice:open sesame"), client=client).status, 200)
        self.assertEqual(self.api.requests[-1].all("Authorization"), [])
        self.assertEqual(self.ask("/", basic("alice:open sesame"), client=client).status, 200)
        self.assertEqual(len(self.api.requests[-1].all("Authorization")), 1, "nobody asked here")
        self.assertEqual(self.front.metric("weir_unauthorized_total"), 12)

    def test_a_session_costs_one_check(self):
        client = self.client(self.front)
        for _ in range(20):
            self.assertEqual(self.ask("/mine", basic("alice:open sesame"), client=client).status, 200)
        self.assertEqual(self.front.metric("weir_password_checks_total"), 1)

    def test_passed_on_and_answered_here(self):
        self.assertEqual(self.ask("/passed", basic("bob:secret")).status, 200)
        self.assertEqual(self.api.requests[-1].header("Authorization"), basic("bob:secret").split(": ")[1].strip())
        client = self.client(self.front)
        for given, status in ((basic("bob:secret"), 200), ("", 401), (basic("bob:sekret"), 401), (basic("bob:secret"), 200)):
            self.assertEqual(self.ask("/said", given, client=client).status, status)
        self.assertEqual(self.ask("/said", basic("bob:secret"), "HEAD").header("Content-Length"), "6")

    def test_bodies_and_pipelines_wait(self):
        given = basic("alice:open sesame")
        client = self.client(self.front)
        client.send(f"POST /mine HTTP/1.1\r\nHost: a\r\n{given}Content-Length: 5\r\n\r\nhe".encode())
        client.send(b"llo")
        client.send(f"POST /mine HTTP/1.1\r\nHost: a\r\n{given}Transfer-Encoding: chunked\r\n\r\n"
                    "3\r\nabc\r\n0\r\n\r\nGET /last HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        for _ in range(3):
            self.assertEqual(client.response().status, 200)
        self.assertEqual([request.body for request in self.api.requests], [b"hello", b"abc", b""])
        client = self.client(self.front)
        client.send(f"POST /mine HTTP/1.1\r\nHost: a\r\n{given}Content-Length: 500\r\n\r\n".encode())
        self.assertEqual(client.closing_response("POST").status, 413)

    def test_others_are_served_meanwhile(self):
        clients = [self.client(self.front) for _ in range(80)]
        for i, client in enumerate(clients):
            client.send(f"GET /slow HTTP/1.1\r\nHost: a\r\n{basic(f'eve:{i}')}\r\n".encode())
        for _ in range(50):
            self.assertEqual(self.ask("/").status, 200)
        # Two shards, 32 each: the others are told at once.
        wait_for(lambda: self.front.metric("weir_password_checks_refused_total") >= 1, "some are refused")
        for client in clients[5:]:
            client.reset()
        for client in clients[:5]:
            self.assertIn(client.response().status, (401, 503))

    def test_nothing_of_it_is_logged(self):
        self.assertEqual(self.ask("/mine", basic("alice:open sesame")).status, 200)
        self.assertEqual(self.ask("/mine", basic("alice:hunter2")).status, 401)
        self.assertEqual(self.ask("/mine?x=y").status, 401)
        self.front.stop()
        with open(self.log, encoding="utf-8") as file:
            text = file.read()
        self.assertNotIn("Basic", text)
        self.assertEqual([(json.loads(line)["status"], json.loads(line)["end"]) for line in text.splitlines()],
                         [(200, "ok"), (401, "unauthorized"), (401, "unauthorized")])

    def test_a_reload_brings_the_first_password(self):
        def text(auth):
            return f"""
listeners: [{{address: LISTEN0, routes: r}}]
upstreams: {{web: {{endpoints: [{self.api}]}}}}
routes: {{r: [{{upstream: web{auth}}}]}}
"""
        front = self.weir(None, config=text(""), shards=1)
        self.assertEqual(self.get(front).status, 200)
        for number, (user, status) in enumerate((("alice", 200), ("carol", 401)), 2):
            with open(front.config, encoding="utf-8") as file:
                changed = text(f', basic_auth: {{users: {{{user}: "{self.OPEN_SESAME}"}}}}')
                address = file.read().split("address: ")[1].split(",")[0]
            with open(front.config, "w", encoding="utf-8") as file:
                file.write(changed.replace("LISTEN0", address))
            front.signal(signal.SIGHUP)
            wait_for(lambda number=number: f"generation {number} is in force" in front.err(), "the reload")
            self.assertEqual(self.get(front).status, 401)
            self.assertEqual(self.get(front, extra=basic("alice:open sesame")).status, status)

    def test_curl(self):
        resolve, url = at(self.front)
        for who, status in (("alice:open sesame", "200"), ("alice:x", "401")):
            done = run([need("curl"), "-sS", *resolve, "-u", who, url + "/mine", "-o", "/dev/null", "-w", "%{http_code}"])
            self.assertEqual(done.stdout, status, done.stderr)


class SmallBodiesAreReadFirst(WeirTest):
    def setUp(self):
        self.hang_up = 0  # on so many requests, without an answer
        self.api = self.origin(self.answer)
        log = os.path.join(scratch("log"), "access")
        self.front = self.weir(None, config=f"""
access_log: {log}
listeners: [{{address: LISTEN0, routes: r}}]
upstreams: {{web: {{endpoints: [{self.api}], retries: 2}}}}
routes:
  r:
    - {{upstream: web, buffer: 24KiB, response_headers: {{set: {{X-By: "${{path}} ${{endpoint}}"}}}}}}
    - {{match: {{path_prefix: /stream}}, upstream: web}}
    - {{match: {{path_prefix: /soon}}, upstream: web, buffer: 24KiB, timeouts: {{client_body: 300ms}}}}
    - {{match: {{path_prefix: /once}}, upstream: web, buffer: 24KiB, timeouts: {{client_body: 0, request: 300ms}}}}
    - {{match: {{path_prefix: /mine}}, upstream: web, buffer: 24KiB, basic_auth: {{users: {{alice: "{NamesAndPasswords.OPEN_SESAME}"}}}}}}
""", shards=1)

    def answer(self, connection, origin):
        while (request := connection.request()) is not None:
            with origin.lock:
                origin.requests.append(request)
                if self.hang_up > 0:
                    self.hang_up -= 1
                    return
            connection.send(ok(hashlib.sha256(request.body).hexdigest().encode()))

    def begin(self, path, body, sent, *more, method="PUT"):
        client = self.client(self.front)
        client.send("\r\n".join([f"{method} {path} HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", *more, "", ""]).encode()
                    + body[:sent])
        return client

    def connects(self):
        return self.front.metric("weir_upstream_connects_total")

    def received(self):
        return wait_for(lambda: self.front.metric("weir_requests_active") == 1, "the head is there")

    def test_nobody_is_connected_before(self):
        for size in (2, 1000, 3000, 24 << 10):
            with self.subTest(size):
                before = len(self.api.requests)
                body = os.urandom(size)
                client = self.begin("/", body, 1)
                self.received()
                client.send(body[1 : size // 2])
                self.assertTrue(client.silent(0.05))
                self.assertEqual(self.front.metric("weir_upstream_open_connections"),
                                 self.front.metric("weir_upstream_idle_connections"))
                client.send(body[size // 2 :] + b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
                response = client.response("PUT")
                self.assertEqual(response.body, hashlib.sha256(body).hexdigest().encode())
                self.assertEqual(response.header("X-By"), f"/ {self.api}", "it is kept behind the body")
                self.assertEqual(client.response().status, 200, "what stands behind the body is the next request")
                self.assertEqual([request.body for request in self.api.requests[before:]], [body, b""])
        self.assertEqual(self.connects(), 1)

    def test_what_streams_as_before(self):
        large, small = os.urandom((24 << 10) + 1), os.urandom(5000)
        for path, body, more in (("/", large, ()), ("/stream", small, ()), ("/", small, ("X: " + "x" * 12_000,) )):
            with self.subTest(path=path, more=len(more)):
                if more:
                    body = os.urandom(24 << 10)  # beside that head it does not fit
                client = self.begin(path, body, 1, *more)
                self.received()
                wait_for(lambda: self.front.metric("weir_upstream_open_connections")
                         > self.front.metric("weir_upstream_idle_connections"), "it is connected")
                client.send(body[1:])
                self.assertEqual(client.response("PUT").body, hashlib.sha256(body).hexdigest().encode())
        client = self.client(self.front)
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
        self.assertEqual(client.response("PUT").status, 200)
        self.assertEqual(self.api.requests[-1].chunks, [b"ab"])

    def test_it_can_be_sent_again(self):
        body = os.urandom(20_000)
        for path, status in (("/", 200), ("/stream", 502)):
            with self.subTest(path):
                self.api.forget()
                self.hang_up = 1
                client = self.begin(path, body, 5000)
                client.send(body[5000:])
                self.assertEqual(client.response("PUT").status, status)
                self.assertEqual([request.body == body for request in self.api.requests], [True] * (2 if status == 200 else 1))
        # What may have been done is not done twice.
        self.hang_up = 1
        self.assertEqual(self.begin("/", body, len(body), method="POST").response("POST").status, 502)
        self.hang_up = 0

    def test_clients_that_leave_or_are_slow(self):
        client = self.begin("/", b"x" * 1000, 10)
        self.received()
        client.reset()
        wait_for(lambda: self.front.metric("weir_requests_active") == 0, "it is noticed")
        client = self.begin("/", b"x" * 1000, 10)
        client.finish_sending()
        self.assertEqual(client.closing_response("PUT").status, 400)
        for path in ("/soon", "/once"):
            self.assertEqual(self.begin(path, b"x" * 1000, 10).closing_response("PUT").status, 408)
        self.assertEqual(self.connects(), 0)
        self.assertEqual(self.front.metric("weir_client_aborts_total"), 2)
        self.assertEqual(self.front.metric("weir_client_timeouts_total"), 2)

    def test_with_a_password(self):
        body = os.urandom(9000)
        client = self.begin("/mine", body, 4000, basic("alice:open sesame").strip())
        client.send(body[4000:])
        self.assertEqual(client.response("PUT").body, hashlib.sha256(body).hexdigest().encode())
        self.assertEqual(self.begin("/mine", body, 4000).response("PUT").status, 401)
        self.assertEqual(len(self.api.requests), 1)

    def test_nginx_behind_it(self):
        nginx = self.nginx("dav", extra="location /up { client_max_body_size 1m; dav_methods PUT; create_full_put_path on; }")
        front = self.weir(None, config=f"""
listeners: [{{address: LISTEN0, routes: r}}]
upstreams: {{web: {{endpoints: [{address_text(nginx.addresses[0])}]}}}}
routes: {{r: [{{upstream: web, buffer: 24KiB}}]}}
""")
        resolve, url = at(front)
        body = os.path.join(scratch("body"), "body")
        for size in (10, 20_000, 200_000):
            with open(body, "wb") as file:
                file.write(os.urandom(size))
            done = run([need("curl"), "-sS", *resolve, "-T", body, f"{url}/up/{size}", "-o", "/dev/null", "-w", "%{http_code}"])
            if done.stdout == "405":
                self.skipTest("this nginx has no WebDAV")
            self.assertEqual(done.stdout, "201", done.stderr)
            copy = body + ".copy"
            run([need("curl"), "-sS", *resolve, f"{url}/up/{size}", "-o", copy])
            with open(body, "rb") as one, open(copy, "rb") as two:
                self.assertEqual(one.read(), two.read())


if __name__ == "__main__":
    unittest.main()
