"""A configuration file: several sites on one address, what their routes do, and what is said of bad files."""

import json
import os
import re
import unittest

import weir_harness
from weir_harness import WeirTest, address_text, need, ok, run, scratch

SITES = r"""
listeners:
  - {address: LISTEN0, routes: sites}
  - {address: LISTEN1, upstream: static, protocol: tcp}
upstreams:
  static: {endpoints: [STATIC]}
  api:
    endpoints: [API]
    timeouts: {response: 300ms}
routes:
  sites:
    - {match: {host: [static.example, "*.static.example"]}, upstream: static}
    - {match: {host: static.example, path_prefix: /api}, upstream: api}
    - {match: {host: static.example, path_prefix: /api/slow}, upstream: api, timeouts: {response: 0}}
    - {match: {path_prefix: /api/admin, client: 10.0.0.0/8}, upstream: api}
    - {match: {path_prefix: /api/admin}, respond: {status: 403, body: "not for you\n"}}
    - {match: {host: old.example}, redirect: {to: "https://static.example${uri}", status: 308}}
    - {match: {host: old.example, path_regex: "/user/([0-9]+)(/.*)?"}, redirect: {to: "/people/${1}${query}"}}
    - {match: {host: app.example, path_prefix: /app}, upstream: api,
       rewrite: {path: "/v2${remainder}", host: "internal.example:81"},
       request_headers: {set: {X-Client: "${client}", X-Asked: "${host}${uri}"}, append: {X-Trail: edge}, remove: [Cookie]},
       response_headers: {set: {Strict-Transport-Security: max-age=60}, append: {Vary: X}, remove: [Server, X-Secret]}}
    - {match: {host: app.example, path_regex: "/file(.*)"}, upstream: api, rewrite: {path: "/static/${1}"}}
    - {match: {host: down.example}, response_headers: {set: {Retry-After: "60"}}, respond: {status: 503, body: "<p>soon</p>", content_type: text/html}}
    - {match: {path: /canary, headers: {X-Canary: "1"}}, upstream: api}
    - {match: {path: /canary, query: {beta: {present: true}}, method: [GET, HEAD]}, upstream: api}
    - {match: {path: /canary}, respond: {status: 204}}
"""


class Sites(WeirTest):
    def setUp(self):
        self.nginx_origin = self.nginx("static", extra='location /files/ { return 200 "$request_uri $host\\n"; }')
        self.api = self.origin(self.answer)
        config = SITES.replace("STATIC", address_text(self.nginx_origin.addresses[0])).replace("API", str(self.api))
        self.front = self.weir(None, config=config, listen=("http", "tcp"))

    @staticmethod
    def answer(connection, origin):
        while (request := connection.request()) is not None:
            with origin.lock:
                origin.requests.append(request)
            connection.send(ok(b"api " + request.target.encode(), b"Server: x\r\nx-secret: y\r\nVary: Origin\r\n"))

    def ask(self, host, path, *more, method="GET"):
        client = self.client(self.front)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *more, "", ""]
        client.send("\r\n".join(lines).encode())
        return client.response(method)

    def test_hosts_and_paths(self):
        for host, path, body in (
            ("static.example", "/", b"static\n"),
            ("a.b.static.example", "/", b"static\n"),
            ("STATIC.example.:8080", "/", b"static\n"),
            ("static.example", "/api", b"api /api"),
            ("static.example", "/api/x?y=1", b"api /api/x?y=1"),
            ("static.example", "/files/../api/x", b"api /api/x"),
            ("static.example", "/%61pi//x", b"api /api/x"),
            ("www.static.example", "/files/a%2fb/./c", b"/files/a%2Fb/c www.static.example\n"),
        ):
            with self.subTest(host=host, path=path):
                response = self.ask(host, path)
                self.assertEqual((response.status, response.body), (200, body))

    def test_the_origin_gets_what_was_matched(self):
        self.ask("Static.EXAMPLE.:81", "/%7Ea/../api/%7ex")
        request = self.api.requests[-1]
        self.assertEqual(request.target, "/api/~x")
        self.assertEqual(request.header("Host"), "static.example:81")

    def test_nobody_walks_around_a_rule(self):
        for path in ("/api/admin", "/api//admin", "/api/%61dmin", "/api/./admin/", "/x/../api/admin", "/api/admin/%2e/x",
                     "/%2fapi/../api/admin"):
            with self.subTest(path):
                response = self.ask("any.example", path)
                self.assertEqual((response.status, response.body), (403, b"not for you\n"))
        for path in ("/api/..%2fadmin", "/api;/..;/admin", "/../api/admin", "/api/%00admin", "/api/%zz"):
            with self.subTest(path):
                self.assertEqual(self.ask("any.example", path).status, 400)
        self.assertEqual(self.api.requests, [])

    def test_hosts_that_some_take_for_others(self):
        for host in ("old.example..", ".old.example", "old..example", "%6fld.example"):
            with self.subTest(host):
                self.assertEqual(self.ask(host, "/").status, 400)
        self.assertEqual(self.ask("x.example", "/canary?" + "&" * 5000 + "beta").status, 200)
        self.assertEqual(self.ask("x.example", "/canary?" + "a&" * 300 + "beta").status, 400)

    def test_redirects(self):
        for path, status, location in (
            ("/a//b?c=d&e", 308, "https://static.example/a/b?c=d&e"),
            ("/", 308, "https://static.example/"),
            ("/user/17/x?y", 302, "/people/17?y"),
            ("/user/x", 308, "https://static.example/user/x"),
        ):
            with self.subTest(path):
                response = self.ask("old.example", path)
                self.assertEqual((response.status, response.header("Location")), (status, location))
                self.assertIsNone(response.header("Connection"), "the connection goes on")
        self.assertEqual(self.ask("old.example", "/x", method="HEAD").status, 308)

    def test_a_redirected_upload(self):
        client = self.client(self.front)
        client.send(b"POST /x HTTP/1.1\r\nHost: old.example\r\nContent-Length: 5\r\n\r\nhello"
                    b"GET / HTTP/1.1\r\nHost: static.example\r\n\r\n")
        self.assertEqual(client.response("POST").status, 308)
        self.assertEqual(client.response().body, b"static\n")

    def test_fixed_responses(self):
        response = self.ask("down.example", "/whatever")
        self.assertEqual((response.status, response.body), (503, b"<p>soon</p>"))
        self.assertEqual(response.header("Content-Type"), "text/html")
        self.assertEqual(self.ask("down.example", "/", method="HEAD").header("Content-Length"), "11")
        response = self.ask("x.example", "/canary")
        self.assertEqual(response.status, 204)
        self.assertIsNone(response.header("Content-Length"))

    def test_what_a_route_changes(self):
        response = self.ask("app.example", "/app/x?y=z", "Cookie: a=b", "x-client: forged", "X-Trail: client", "X-Other: stays",
                            "COOKIE: c=d")
        request = self.api.requests[-1]
        self.assertEqual(request.target, "/v2/x?y=z")
        self.assertEqual(request.header("Host"), "internal.example:81")
        self.assertEqual(request.header("X-Forwarded-Host"), "app.example")
        self.assertEqual(request.all("Cookie"), [])
        self.assertEqual(request.header("X-Client"), "127.0.0.1")
        self.assertEqual(request.header("X-Asked"), "app.example/app/x?y=z")
        self.assertEqual(request.all("X-Trail"), ["client", "edge"])
        self.assertEqual(request.header("X-Other"), "stays")
        self.assertEqual(response.header("Strict-Transport-Security"), "max-age=60")
        self.assertEqual(response.all("Vary"), ["Origin", "X"])
        self.assertEqual(response.all("Server") + response.all("X-Secret"), [])
        self.assertEqual(response.body, b"api /v2/x?y=z")
        self.ask("app.example", "/app")
        self.assertEqual(self.api.requests[-1].target, "/v2")
        self.assertEqual(self.ask("down.example", "/").header("Retry-After"), "60")

    def test_what_a_route_removes_comes_in_no_other_form(self):
        client = self.client(self.front)
        client.send(b"POST /app/x HTTP/1.1\r\nHost: app.example\r\nX_Client: forged\r\nX.Trail: kept\r\nTE: trailers\r\n"
                    b"Transfer-Encoding: chunked\r\nTrailer: X-Client\r\n\r\n1\r\nx\r\n0\r\nX-Client: forged\r\nX-Good: yes\r\n\r\n")
        self.assertEqual(client.response("POST").status, 200)
        request = self.api.requests[-1]
        self.assertEqual(request.all("X_Client"), [])
        self.assertEqual(request.all("X.Trail"), ["kept"])
        self.assertEqual([name for name, _ in request.trailers], ["X-Good"])

    def test_a_rewritten_path_stays_where_it_is(self):
        self.assertEqual(self.ask("app.example", "/files").body, b"api /static/s")
        before = len(self.api.requests)
        for path in ("/file..", "/file../x", "/file/x", "/file%2e%2e/etc"):
            with self.subTest(path):
                self.assertEqual(self.ask("app.example", path).status, 400)
        self.assertEqual(len(self.api.requests), before)

    def test_conditions(self):
        for more, path, method, status in (
            (["X-Canary: 1"], "/canary", "GET", 200),
            (["x-canary: 0", "X-CANARY: 1"], "/canary", "GET", 200),
            (["X-Canary: 2"], "/canary", "GET", 204),
            ([], "/canary?a&beta", "GET", 200),
            ([], "/canary?b%65ta=1", "HEAD", 200),
            ([], "/canary?beta", "DELETE", 204),
            ([], "/canary?betamax", "GET", 204),
        ):
            with self.subTest(more=more, path=path):
                self.assertEqual(self.ask("x.example", path, *more, method=method).status, status)

    def test_nobodys_request(self):
        self.assertEqual(self.ask("x.example", "/").status, 404)
        self.assertEqual(self.front.metric("weir_no_route_total"), 1)

    def test_curl(self):
        port = self.front.addresses[0][1]
        at = ["--resolve", f"static.example:{port}:127.0.0.1", "--resolve", f"old.example:{port}:127.0.0.1"]
        done = run([need("curl"), "-sS", *at, f"http://static.example:{port}/api/z"])
        self.assertEqual(done.stdout, "api /api/z", done.stderr)
        done = run([need("curl"), "-sS", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", *at,
                    f"http://old.example:{port}/q?r"])
        self.assertEqual(done.stdout, "308 https://static.example/q?r", done.stderr)

    def test_explain_says_what_happens(self):
        self.ask("Static.Example", "/api//x?y", "Cookie: a=b", "X-Forwarded-For: 9.9.9.9")
        done = run([weir_harness.binary(), "explain", f"--config={self.front.config}", "--via_name=weir", "GET",
                    "http://Static.Example/api//x?y", "-H", "Cookie: a=b", "-H", "X-Forwarded-For: 9.9.9.9"])
        self.assertEqual(done.returncode, 0, done.stderr)
        said = [line.strip() for line in done.stdout.split("request\n")[1].splitlines()]
        got = self.api.requests[-1].raw.decode().split("\r\n\r\n")[0].split("\r\n")
        self.assertEqual([line for line in said if "Request-ID" not in line], [line for line in got if "Request-ID" not in line])

    def test_explain_on_the_admin_listener_knows_how_endpoints_are(self):
        self.assertEqual(self.ask("app.example", "/app/x").status, 200)
        query = "url=http://app.example/app/x%3Fy&header=Cookie:+a%3Db&client=203.0.113.7"
        text = self.front.page("/explain?" + query)[1]
        self.assertIn("GET /v2/x?y HTTP/1.1", text)
        self.assertNotIn("a=b", text)
        self.assertIn(f"endpoint   {self.api}: in use, 0 in flight, 1 idle connections\n", text)
        self.api.close()
        self.assertEqual(self.ask("app.example", "/app/x").status, 502)
        self.assertRegex(self.front.page("/explain?" + query)[1], rf"endpoint   {self.api}: set aside on \d of 2 shards")
        # What routes write into headers may be the upstream's keys: for whoever may change something too.
        self.assertIn("X-Client: ***", text)
        self.assertNotIn("203.0.113.7\n    X-Trail", text)
        for bad, said in (
            ("", "url is missing"),
            ("?url=nonsense", "expected http://HOST/PATH"),
            ("?url=/x&colour=red", '"colour": expected url'),
            ("?url=/x&client=x", "expected an IPv4 or IPv6 address"),
        ):
            status, text = self.front.page("/explain" + bad, check=False)
            self.assertEqual(status, 400)
            self.assertIn(said, text)

    def test_the_tcp_listener_beside_it(self):
        response = self.get(self.front, listener=1)
        self.assertEqual(response.body, b"static\n")

    def test_upstreams_are_counted_apart(self):
        self.ask("static.example", "/api")
        self.ask("static.example", "/")
        self.ask("static.example", "/api")
        stats = {upstream["name"]: upstream["endpoints"][0]["requests"] for upstream in self.front.stats()["upstreams"]}
        self.assertEqual(stats, {"static": 1, "api": 2})
        self.assertEqual(self.front.metric("weir_endpoint_requests_total", upstream="api"), 2)


class EveryKindOfResponse(WeirTest):
    def test_interim_and_101_lose_what_a_route_removes(self):
        def handle(connection, origin):
            while connection.request() is not None:
                connection.send(b"HTTP/1.1 103 Early Hints\r\nX-Secret: a\r\nLink: b\r\n\r\n"
                                b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\nX-Secret: c\r\n\r\nhi")

        config = f"""
listeners: [{{address: LISTEN0, routes: r}}]
upstreams: {{web: {{endpoints: [{self.origin(handle)}]}}}}
routes: {{r: [{{upstream: web, response_headers: {{set: {{X-Edge: here}}, remove: X-Secret}}}}]}}
"""
        client = self.client(self.weir(None, config=config))
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        switched = client.head()
        (early,) = switched.interims
        self.assertEqual((early.status, early.all("X-Secret"), early.header("Link")), (103, [], "b"))
        self.assertEqual((switched.status, switched.all("X-Secret"), switched.header("X-Edge")), (101, [], "here"))
        self.assertEqual(client.exactly(2), b"hi")


class ResponsesWithVariables(WeirTest):
    def setUp(self):
        self.api = self.origin(self.answer)
        config = f"""
listeners: [{{address: LISTEN0, routes: r}}]
upstreams: {{web: {{endpoints: [{self.api}]}}, gone: {{endpoints: [127.0.0.1:9]}}}}
routes:
  r:
    - match: {{path_prefix: /app}}
      upstream: web
      rewrite: {{path: "/v2${{remainder}}", host: inner}}
      request_headers: {{set: {{X-Trace: "${{request_id}}"}}}}
      response_headers: &headers
        set: {{X-Request-ID: "${{request_id}}", X-Who: "${{client}} ${{endpoint}}", Server: "${{host}}"}}
        append: {{X-Asked: "${{method}} ${{scheme}}://${{host}}${{uri}}"}}
    - {{match: {{path_regex: "/to/(.*)"}}, redirect: {{to: "/${{1}}"}}, response_headers: {{set: {{X-To: "${{1}} ${{endpoint}} ${{request_id}}"}}}}}}
    - {{match: {{path: /fixed}}, respond: {{body: "x"}}, response_headers: {{set: {{X-Id: "${{request_id}}"}}}}}}
    - {{match: {{path: /gone}}, upstream: gone, response_headers: *headers}}
    - {{match: {{path: /long}}, upstream: web, response_headers: {{set: {{A: "${{uri}}", B: "${{uri}}", C: "${{uri}}", D: "${{uri}}", E: "${{uri}}"}}}}}}
"""
        self.front = self.weir(None, config=config)

    @staticmethod
    def answer(connection, origin):
        while (request := connection.request()) is not None:
            with origin.lock:
                origin.requests.append(request)
            if request.header("Upgrade"):
                connection.send(b"HTTP/1.1 103 Early Hints\r\nX-Asked: early\r\n\r\n"
                                b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
            else:
                connection.send(ok(request.body or b"hello", b"X-Request-ID: theirs\r\nX-Asked: theirs\r\nServer: x\r\n"))

    def ask(self, path, *lines, client=None, body=b""):
        client = client or self.client(self.front)
        client.send("\r\n".join([f"GET {path} HTTP/1.1", "Host: Shop.Example.:8080", *lines, "", ""]).encode() + body)
        return client.response()

    def test_of_the_request_as_it_came_and_of_who_answered(self):
        response = self.ask("/app//x?y=z")
        request = self.api.requests[-1]
        self.assertEqual((request.target, request.header("Host")), ("/v2/x?y=z", "inner"))
        made = request.header("X-Request-ID")
        self.assertRegex(made, "^[0-9a-f]{32}$")
        self.assertEqual(request.header("X-Trace"), made)
        self.assertEqual(response.all("X-Request-ID"), [made])
        self.assertEqual(response.all("X-Who"), [f"127.0.0.1 {self.api}"])
        self.assertEqual(response.all("Server"), ["shop.example"])
        self.assertEqual(response.all("X-Asked"), ["theirs", "GET http://shop.example/app/x?y=z"])
        self.assertEqual(self.ask("/app", "X-Request-ID: mine-1").header("X-Request-ID"), "mine-1")
        # One that is not usable is replaced, in the response too.
        self.assertRegex(self.ask("/app", "X-Request-ID: a b").header("X-Request-ID"), "^[0-9a-f]{32}$")

    def test_bodies_of_every_size_stay_whole(self):
        client = self.client(self.front)
        for size in (1, 2047, 2048, 2049, 20_000, 100_000):
            with self.subTest(size):
                body = os.urandom(size)
                response = self.ask("/app/up", f"Content-Length: {size}", client=client, body=body)
                self.assertEqual(response.body, body)
                self.assertEqual(response.header("X-Who"), f"127.0.0.1 {self.api}")

    def test_101_has_them_and_interim_responses_do_not(self):
        client = self.client(self.front)
        client.send(b"GET /app HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        switched = client.head()
        (early,) = switched.interims
        self.assertEqual((early.status, early.all("X-Asked"), early.all("X-Who")), (103, ["early"], []))
        self.assertEqual((switched.status, switched.header("X-Who")), (101, f"127.0.0.1 {self.api}"))

    def test_our_own_answers(self):
        response = self.ask("/to/a%0d%0aX-Forged:%201", "X-Request-ID: mine")
        self.assertEqual(response.header("Location"), "/a%0D%0AX-Forged:%201")
        self.assertEqual(response.header("X-To"), "a%0D%0AX-Forged:%201 - mine")
        self.assertIsNone(response.header("X-Forged"))
        self.assertRegex(self.ask("/fixed").header("X-Id"), "^[0-9a-f]{32}$")
        # An error is nobody's response.
        response = self.ask("/gone")
        self.assertEqual((response.status, response.all("X-Who")), (502, []))

    def test_what_would_be_too_long(self):
        self.assertEqual(self.ask("/long?" + "x" * 1000).header("E"), "/long?" + "x" * 1000)
        self.assertEqual(self.ask("/long?" + "x" * 7000).status, 431)


class WhoMayCome(WeirTest):
    def test_networks_of_listeners_and_routes(self):
        api = self.origin()
        config = f"""
listeners:
  - {{address: LISTEN0, routes: r, deny: 127.0.0.2}}
  - {{address: LISTEN1, upstream: web, protocol: tcp, deny: [127.0.0.0/8], allow: 127.0.0.3}}
upstreams: {{web: {{endpoints: [{api}]}}}}
routes: {{r: [{{upstream: web}}, {{match: {{path: /admin}}, upstream: web, allow: 127.0.0.3/32}}]}}
"""
        front = self.weir(None, config=config, listen=("http", "tcp"))

        def ask(source, path="/", listener=0):
            client = self.client(front, listener, source=source)
            client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            return client.response().status

        self.assertEqual(ask("127.0.0.1"), 200)
        self.assertEqual(ask("127.0.0.2"), 403)
        self.assertEqual(ask("127.0.0.1", "/admin"), 403)
        self.assertEqual(ask("127.0.0.3", "/admin"), 200)
        self.assertEqual(ask("127.0.0.3", listener=1), 200)
        with self.assertRaises((OSError, weir_harness.Ended)):
            ask("127.0.0.1", listener=1)
        self.assertEqual(front.metric("weir_denied_total"), 3)
        # Nor is a denied client told what a request looks like here, and its connection ends.
        client = self.client(front, source="127.0.0.2")
        client.send(b"TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n")
        response = client.response()
        self.assertEqual((response.status, response.header("Connection")), (403, "close"))


class BehindAProxy(WeirTest):
    def test_whose_word_counts(self):
        api = self.origin()
        log = os.path.join(scratch("log"), "access")
        config = f"""
access_log: {log}
listeners:
  - {{address: LISTEN0, routes: r, trusted_proxies: [127.0.0.2, 10.0.0.0/8], deny: 203.0.113.66}}
upstreams: {{web: {{endpoints: [{api}]}}}}
routes:
  r:
    - upstream: web
    - {{match: {{client: 203.0.113.0/24, path: /vip}}, redirect: {{to: "${{scheme}}://${{host}}/${{client}}"}}}}
"""
        front = self.weir(None, config=config)

        def ask(source, *lines, path="/"):
            client = self.client(front, source=source)
            client.send("\r\n".join([f"GET {path} HTTP/1.1", "Host: a.example", *lines, "", ""]).encode())
            return client.response()

        def got(name):
            return api.requests[-1].header(name)

        self.assertEqual(ask("127.0.0.1", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https").status, 200)
        self.assertEqual((got("X-Forwarded-For"), got("X-Forwarded-Proto")), ("127.0.0.1", "http"))
        self.assertEqual(ask("127.0.0.2", "X-Forwarded-For: 6.6.6.6, 203.0.113.9:4444", "x-forwarded-for: 10.1.1.1",
                             "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example").status, 200)
        self.assertEqual(got("X-Forwarded-For"), "6.6.6.6, 203.0.113.9:4444, 10.1.1.1, 127.0.0.2")
        self.assertEqual((got("X-Forwarded-Proto"), got("X-Forwarded-Host"), got("Host")),
                         ("https", "shop.example", "a.example"))
        response = ask("127.0.0.2", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", path="/vip")
        self.assertEqual(response.header("Location"), "https://a.example/203.0.113.9")
        self.assertEqual(ask("127.0.0.1", "X-Forwarded-For: 203.0.113.9", path="/vip").status, 200)
        self.assertEqual(ask("127.0.0.2", "X-Forwarded-For: 203.0.113.66").status, 403)
        self.assertEqual(ask("127.0.0.2", "X-Forwarded-For: 203.0.113.66, 8.8.8.8").status, 200)
        self.assertEqual(ask("127.0.0.2", "X-Forwarded-For: nonsense", "X-Forwarded-Proto: gopher").status, 200)
        self.assertEqual((got("X-Forwarded-For"), got("X-Forwarded-Proto")), ("nonsense, 127.0.0.2", "http"))
        self.assertEqual(ask("127.0.0.2").status, 200)
        self.assertEqual(got("X-Forwarded-For"), "127.0.0.2")
        front.stop()
        with open(log, encoding="utf-8") as file:
            clients = [line["client"].rsplit(":", 1)[0] for line in map(json.loads, file)]
        self.assertIn("203.0.113.9", clients)


class Rfc7239(WeirTest):
    def setUp(self):
        self.api = self.origin()
        config = f"""
listeners:
  - {{address: LISTEN0, routes: r, trusted_proxies: 127.0.0.2}}
  - {{address: LISTEN1, upstream: web, trusted_proxies: [127.0.0.2, "::1"], forwarded: rfc7239}}
  - {{address: LISTEN2, routes: r, forwarded: both}}
upstreams: {{web: {{endpoints: [{self.api}]}}}}
routes: {{r: [{{upstream: web, rewrite: {{host: inner}}, response_headers: {{set: {{X-Saw: "${{client}} ${{scheme}}"}}}}}}]}}
"""
        self.front = self.weir(None, config=config, listen=("http", "http", "http"))

    def ask(self, source, listener, *lines):
        client = self.client(self.front, listener, source=source)
        client.send("\r\n".join(["GET / HTTP/1.1", "Host: A.example:81", *lines, "", ""]).encode())
        response = client.response()
        self.assertEqual(response.status, 200)
        request = self.api.requests[-1]
        return response, request.all("Forwarded"), request.header("X-Forwarded-For"), request.header("X-Forwarded-Host")

    def test_nobody_untrusted_is_believed_in_any_form(self):
        forged = ("Forwarded: for=1.2.3.4;proto=https", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Host: forged")
        response, forwarded, for_, host = self.ask("127.0.0.1", 0, *forged)
        self.assertEqual((response.header("X-Saw"), forwarded, for_, host),
                         ("127.0.0.1 http", [], "127.0.0.1", "a.example:81"))
        _, forwarded, for_, host = self.ask("127.0.0.1", 1, *forged)
        self.assertEqual((forwarded, for_, host), (['for=127.0.0.1;host="A.example:81";proto=http;by=_weir'], None, None))
        _, forwarded, for_, host = self.ask("127.0.0.1", 2, *forged)
        self.assertEqual((forwarded, for_, host),
                         (['for=127.0.0.1;host="a.example:81";proto=http;by=_weir'], "127.0.0.1", "a.example:81"))

    def test_a_trusted_proxy_is(self):
        said = "Forwarded: for=6.6.6.6, for=203.0.113.9;proto=https;host=shop"
        response, forwarded, for_, host = self.ask("127.0.0.2", 0, said)
        self.assertEqual((response.header("X-Saw"), forwarded, for_, host),
                         ("203.0.113.9 https", [], "203.0.113.9, 127.0.0.2", "shop"))
        _, forwarded, for_, _ = self.ask("127.0.0.2", 1, said, "X-Forwarded-For: 9.9.9.9")
        self.assertEqual((forwarded, for_),
                         ([said[11:] + ', for=127.0.0.2;host="A.example:81";proto=http;by=_weir'], None))
        # What it wrote must be readable, or somebody else would be taken for the client.
        client = self.client(self.front, 0, source="127.0.0.2")
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nForwarded: for=203.0.113.9 ;proto=https\r\n\r\n")
        self.assertEqual(client.response().status, 400)

    def test_no_longer_than_a_chunk(self):
        # What came as 14 KiB would be 45 in the other form.
        client = self.client(self.front, 1, source="127.0.0.2")
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: " + b"::1," * 3500 + b"::1" + b"\r\n\r\n")
        self.assertEqual(client.response().status, 431)
        self.assertEqual(self.ask("127.0.0.2", 1)[0].status, 200)


class Mirrors(WeirTest):
    def test_copies_go_up_and_their_answers_nowhere(self):
        web, copies = self.origin(name="web"), self.origin(name="copies")
        front = self.weir(
            None,
            config=f"""
listeners: [{{address: LISTEN0, routes: r}}]
upstreams: {{web: {{endpoints: [{web}]}}, copies: {{endpoints: [{copies}]}}}}
routes:
  r:
    - {{match: {{path_prefix: /some}}, upstream: web, mirror: {{upstream: copies, share: 25%}}}}
    - {{upstream: web, mirror: {{upstream: copies}}}}
""",
        )
        client = self.client(front)
        client.send(b"POST /a HTTP/1.1\r\nHost: x\r\nCookie: c\r\nContent-Length: 4\r\n\r\nbody")
        self.assertEqual(client.response("POST").body, b"web")
        weir_harness.wait_for(lambda: copies.requests, "the copy")
        self.assertEqual(copies.requests[0].raw, web.requests[0].raw)
        self.assertIn(b"\r\n\r\nbody", copies.received())
        for _ in range(200):
            client.send(b"GET /some HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(client.response().body, b"web")
        weir_harness.wait_for(lambda: front.metric("weir_mirrored_total") == len(copies.requests), "the last copy")
        self.assertTrue(20 < len(copies.requests) < 90, len(copies.requests))
        copies.close()
        for _ in range(20):
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(client.response().body, b"web")
        self.assertGreater(front.metric("weir_mirror_failures_total") + front.metric("weir_mirrors_left_out_total"), 0)


class Splits(WeirTest):
    def setUp(self):
        def named(name):
            def handle(connection, origin):
                while connection.request() is not None:
                    connection.send(ok(name))
            return handle

        self.web = self.origin(named(b"web"))
        self.canary = self.origin(named(b"canary"))
        self.config = f"""
listeners: [{{address: LISTEN0, routes: r, trusted_proxies: 127.0.0.0/8}}]
upstreams:
  web: {{endpoints: [{self.web}]}}
  canary: {{endpoints: [{self.canary}]}}
  gone: {{endpoints: [127.0.0.1:9]}}
routes:
  r:
    - {{match: {{path: /chance}}, split: [{{upstream: web, weight: 3}}, {{upstream: canary, weight: 1}}]}}
    - {{match: {{path: /cookie}}, split: &sides [{{upstream: web, weight: 1}}, {{upstream: canary, weight: 0}}], sticky: {{cookie: side, max_age: 1h}},
       response_headers: {{set: {{X-By: "${{endpoint}}"}}}}}}
    - {{match: {{path: /plain}}, split: *sides, sticky: {{cookie: side}}, response_headers: {{set: {{X-Plain: "1"}}, remove: Set-Cookie}}}}
    - {{match: {{path: /user}}, split: [{{upstream: web, weight: CUT}}, {{upstream: canary, weight: 50}}], sticky: {{hash_on: "query:u"}}}}
    - {{match: {{path: /client}}, split: [{{upstream: web}}, {{upstream: canary}}], sticky: {{hash_on: client_ip}}}}
    - {{match: {{path: /gone}}, split: [{{upstream: gone}}, {{upstream: web, weight: 0}}], sticky: {{cookie: side}}}}
"""
        self.front = self.weir(None, config=self.config.replace("CUT", "50"))

    def ask(self, path, *lines, front=None):
        client = self.client(front or self.front)
        client.send("\r\n".join([f"GET {path} HTTP/1.1", "Host: a", "Connection: close", *lines, "", ""]).encode())
        return client.response()

    def test_by_chance(self):
        answers = [self.ask("/chance").body for _ in range(400)]
        self.assertTrue(230 <= answers.count(b"web") <= 370, answers.count(b"web"))
        self.assertEqual(answers.count(b"web") + answers.count(b"canary"), 400)

    def test_a_cookie_holds_whoever_has_it(self):
        first = self.ask("/cookie")
        self.assertEqual(first.body, b"web")
        (line,) = first.all("Set-Cookie")
        self.assertRegex(line, "^side=[0-9a-f]{16}; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax$")
        self.assertEqual(first.header("X-By"), str(self.web))
        web = line.split(";")[0]
        for cookies in (web, f"a=b; {web}", f"side=old; {web}"):
            self.assertEqual(self.ask("/cookie", f"Cookie: {cookies}").all("Set-Cookie"), [])
        self.assertEqual(len(self.ask("/cookie", "Cookie: side=forged").all("Set-Cookie")), 1)
        plain = self.ask("/plain")
        self.assertEqual((plain.all("Set-Cookie"), plain.header("X-Plain")), ([f"{web}; Path=/; HttpOnly; SameSite=Lax"], "1"))
        # Weight 0: nobody new, but those who were there. The id is the same whatever the weights are.
        swapped = self.config.replace("web, weight: 1}", "web, weight: 0}").replace("canary, weight: 0}", "canary, weight: 1}")
        other = self.weir(None, config=swapped.replace("CUT", "50"))
        self.assertEqual(self.ask("/cookie", front=other).body, b"canary")
        self.assertEqual(self.ask("/cookie", f"Cookie: {web}", front=other).body, b"web")

    def test_a_hash_is_the_same_everywhere(self):
        users = [f"/user?u={i}" for i in range(60)]
        before = [self.ask(user).body for user in users]
        self.assertEqual(set(before), {b"web", b"canary"})
        self.assertEqual([self.ask(user).body for user in users], before, "other connections, other shards")
        other = self.weir(None, config=self.config.replace("CUT", "75"))
        after = [self.ask(user, front=other).body for user in users]
        self.assertEqual([a for a, b in zip(after, before) if b == b"web"], [b"web"] * before.count(b"web"),
                         "those whose share grew stay")
        self.assertEqual({self.ask("/user").body for _ in range(40)}, {b"web", b"canary"}, "without a key: chance")

    def test_the_client_is_who_trusted_proxies_say(self):
        answers = {}
        for i in range(30):
            at = f"X-Forwarded-For: 203.0.113.{i}"
            answers[i] = self.ask("/client", at).body
            self.assertEqual(self.ask("/client", at).body, answers[i])
        self.assertEqual(set(answers.values()), {b"web", b"canary"})

    def test_retries_stay_with_their_side(self):
        response = self.ask("/gone")
        self.assertEqual((response.status, response.all("Set-Cookie")), (502, []))

    def test_explain_says_what_happens(self):
        for i in range(10):
            done = run([weir_harness.binary(), "explain", f"--config={self.front.config}", f"http://a/user?u={i}"])
            self.assertIn(f"side       {self.ask(f'/user?u={i}').body.decode()}, by the hash of query:u\n", done.stdout)


class HeadersOfAListener(WeirTest):
    def setUp(self):
        super().setUp()

        def handle(connection, origin):
            while (request := connection.request()) is not None:
                edge = ",".join(request.all("X-Edge")).encode()
                connection.send(ok(b"edge=" + edge, b"Server: origin\r\nX-All: origin\r\n"))

        self.web = self.origin(handle)
        self.front = self.weir(None, config=f"""
listeners:
  - {{address: LISTEN0, upstream: web, request_headers: {{set: {{X-Edge: here}}}}, response_headers: {{set: {{X-All: "1"}}, remove: Server}}}}
  - {{address: LISTEN1, routes: r, request_headers: {{set: {{X-Edge: "${{path}}"}}}}, response_headers: {{set: {{X-All: "1"}}, append: {{X-By: "${{endpoint}}"}}}}}}
  - {{address: LISTEN2, routes: r}}
upstreams:
  web: {{endpoints: [{self.web}]}}
  gone: {{endpoints: [127.0.0.1:9]}}
routes:
  r:
    - {{match: {{path: /web}}, upstream: web}}
    - {{match: {{path: /own}}, upstream: web, request_headers: {{set: {{X-Edge: own}}}}, response_headers: {{remove: X-By, set: {{X-All: own}}}}}}
    - {{match: {{path: /to}}, redirect: {{to: /}}}}
    - {{match: {{path: /gone}}, upstream: gone}}
""", listen=("http",) * 3)

    def ask(self, listener, path):
        client = self.client(self.front, listener)
        client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\nX-Edge: theirs\r\nConnection: close\r\n\r\n".encode())
        response = client.response()
        return response.status, response.all("X-All"), response.all("X-By"), response.body

    def test_without_routes(self):
        client = self.client(self.front, 0)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Edge: theirs\r\n\r\n")
        response = client.response()
        self.assertEqual((response.body, response.all("X-All"), response.all("Server")), (b"edge=here", ["1"], []))
        client.send(b"nonsense\r\n\r\n")
        response = client.response()
        self.assertEqual((response.status, response.all("X-All")), (400, ["1"]))

    def test_with_routes(self):
        self.assertEqual(self.ask(1, "/web"), (200, ["1"], [str(self.web)], b"edge=/web"))
        self.assertEqual(self.ask(1, "/own"), (200, ["own"], [], b"edge=own"))
        self.assertEqual(self.ask(1, "/to")[:3], (302, ["1"], ["-"]))
        self.assertEqual(self.ask(1, "/gone")[:2], (502, ["1"]))
        self.assertEqual(self.ask(1, "/nowhere")[:2], (404, ["1"]))

    def test_another_listener_has_the_routes_as_they_are(self):
        self.assertEqual(self.ask(2, "/web"), (200, ["origin"], [], b"edge=theirs"))
        self.assertEqual(self.ask(2, "/own"), (200, ["own"], [], b"edge=own"))
        self.assertEqual(self.ask(2, "/nowhere")[:2], (404, []))


class TimesOfTheirOwn(WeirTest):
    def test_a_route_without_a_limit(self):
        release = weir_harness.threading.Event()

        def handle(connection, origin):
            while (request := connection.request()) is not None:
                if "slow" in request.target:
                    release.wait(weir_harness.DEADLINE)
                    connection.send(ok(b"late"))
                # The others are never answered.

        api = self.origin(handle)
        self.addCleanup(release.set)
        config = SITES.replace("STATIC", str(api)).replace("API", str(api))
        front = self.weir(None, config=config, listen=("http", "tcp"))
        slow = self.client(front)
        slow.send(b"GET /api/slow HTTP/1.1\r\nHost: static.example\r\n\r\n")
        quick = self.client(front)
        quick.send(b"GET /api/quick HTTP/1.1\r\nHost: static.example\r\n\r\n")
        self.assertEqual(quick.response().status, 504)  # after three times 300 ms
        release.set()
        self.assertEqual(slow.response().body, b"late")


class Logs(WeirTest):
    def test_what_weir_answers_itself_is_logged(self):
        log = os.path.join(scratch("log"), "access")
        config = f"""
access_log: {log}
listeners: [{{address: LISTEN0, routes: r}}]
upstreams: {{web: {{endpoints: [127.0.0.1:9]}}}}
routes:
  r:
    - {{match: {{path: /gone}}, redirect: {{to: /}}}}
    - {{match: {{path: /web}}, upstream: web}}
"""
        front = self.weir(None, config=config)
        self.assertEqual(self.get(front, "/x/../gone?q").status, 302)
        self.assertEqual(self.get(front, "/nobody").status, 404)
        front.stop()
        with open(log, encoding="utf-8") as file:
            lines = {line["status"]: line for line in map(json.loads, file)}
        self.assertEqual((lines[302]["path"], lines[302]["method"], lines[302]["end"]), ("/x/../gone?q", "GET", "answered_here"))
        self.assertEqual((lines[404]["path"], lines[404]["host"], lines[404]["end"]), ("/nobody", "test", "no_route"))


class BadFiles(WeirTest):
    def check(self, text, *flags, command=("check",)):
        path = os.path.join(scratch("config"), "weir.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        done = run([weir_harness.binary(), *command, f"--config={path}", *flags])
        return done.returncode, done.stdout, done.stderr.replace(path, "weir.yaml").splitlines()

    def test_every_mistake_has_its_place_and_nothing_is_bound(self):
        port = weir_harness.free_port()
        text = f"listeners:\n  - {{address: 127.0.0.1:{port}, upstram: web}}\nupstreams:\n  web: {{endpoints: [nowhere]}}\n"
        for command in (("check",), ()):
            code, out, lines = self.check(text, command=command)
            self.assertEqual((code, out), (1, ""))
            self.assertEqual(len(lines), 3, lines)
            for line in lines:
                self.assertRegex(line, r"^weir\.yaml:\d+:\d+: [a-z]")
            self.assertIn("did you mean upstream?", "".join(lines))

    def test_warnings_let_it_run(self):
        text = "listeners: [{address: 127.0.0.1:1, upstream: a}]\nupstreams: {a: {endpoints: [127.0.0.1:2]}, b: {endpoints: [127.0.0.1:3]}}\n"
        code, out, lines = self.check(text)
        self.assertEqual(code, 0)
        self.assertIn("listeners:", out)
        self.assertEqual(len(lines), 1)
        self.assertRegex(lines[0], r"^weir\.yaml:2:\d+: warning: upstreams\.b: ")

    def test_ten_thousand_hosts(self):
        routes = "".join(
            f"    - {{match: {{host: h{i}.example, path_prefix: [{', '.join(f'/p{j}/' for j in range(10))}]}}, upstream: web}}\n"
            for i in range(10_000)
        )
        text = f"listeners: [{{address: 127.0.0.1:1, routes: r}}]\nupstreams: {{web: {{endpoints: [127.0.0.1:2]}}}}\nroutes:\n  r:\n{routes}"
        code, _, lines = self.check(text)
        self.assertEqual((code, lines), (0, []))

    def test_the_schema_says_the_same_of_good_files(self):
        schema = json.loads(run([weir_harness.binary(), "help", "--schema"]).stdout)
        self.assertEqual(set(re.findall(r'"#/\$defs/([a-z_]+)"', json.dumps(schema))) - set(schema["$defs"]), set())


if __name__ == "__main__":
    unittest.main()
