"""docs/recipes.md: each file there runs as it stands (with addresses of the test's), and does what is said of it."""

import os
import re
import ssl
import threading
import unittest

import runfiles
import weir_harness
from weir_harness import WeirTest, need, ok, run, scratch, wait_for


def recipes():
    """{heading: [configuration, ...]}"""
    with open(runfiles.path("docs/recipes.md"), encoding="utf-8") as file:
        text = file.read()
    return {
        section.split("\n", 1)[0]: re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
        for section in text.split("\n## ")[1:]
    }


class Recipes(WeirTest):
    def start(self, heading, number=0):
        text = recipes()[heading][number]
        self.api = self.origin(self.answer)
        text = text.replace("10.0.0.1:80", str(self.api))
        listeners = text[: text.index("upstreams:")]
        addresses = re.findall(r'"(?:0\.0\.0\.0|127\.0\.0\.1):[0-9]+"', listeners)
        for i, address in enumerate(addresses):
            text = text.replace(address, f"LISTEN{i}", 1)
        # A file beside the configuration, whose folder the harness makes: by its whole name.
        page = os.path.join(scratch("page"), "soon.html")
        with open(page, "w", encoding="ascii") as file:
            file.write("<h1>soon</h1>\n")
        text = text.replace("soon.html", page)
        self.front = self.weir(None, config=text, listen=("http",) * len(addresses))

    @staticmethod
    def answer(connection, origin):
        while (request := connection.request()) is not None:
            with origin.lock:
                origin.requests.append(request)
            if request.target == "/oauth2/auth":
                known = request.header("Cookie") == "known=1"
                connection.send(
                    ok(b"", b"X-Auth-Request-User: ada\r\n")
                    if known
                    else b"HTTP/1.1 302 Found\r\nLocation: /oauth2/start\r\nContent-Length: 0\r\n\r\n"
                )
                continue
            connection.send(ok(request.target.encode(), b"Access-Control-Allow-Origin: *\r\n"))

    def ask(self, host, path, *more, method="GET", listener=0, source=None):
        client = self.client(self.front, listener, source=source)
        client.send("\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *more, "", ""]).encode())
        return client.response(method)

    def test_each_is_valid(self):
        folder = scratch("recipes")
        with open(os.path.join(folder, "soon.html"), "w", encoding="ascii") as file:
            file.write("soon\n")
        found = 0
        for heading, files in recipes().items():
            for text in files:
                found += 1
                path = os.path.join(folder, "weir.yaml")
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
                done = run([weir_harness.binary(), "check", f"--config={path}"])
                with self.subTest(heading):
                    self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(found, 14)

    def test_everything_to_https(self):
        self.start("Everything to https, and it stays there")
        response = self.ask("shop.example", "/a//b?c")
        self.assertEqual((response.status, response.header("Location")), (308, "https://shop.example/a/b?c"))
        self.assertIsNone(response.header("Strict-Transport-Security"))
        hsts = "max-age=31536000; includeSubDomains"
        for host, path, status in (("shop.example", "/", 200), ("shop.example", "/old", 302), ("other.example", "/", 404),
                                   ("shop.example", "/%zz", 400)):
            response = self.ask(host, path, listener=1)
            self.assertEqual((response.status, response.all("Strict-Transport-Security")), (status, [hsts]), (host, path))
        client = self.client(self.front, 1)
        client.send(b"no request\r\n\r\n")
        response = client.response()
        self.assertEqual((response.status, response.header("Strict-Transport-Security")), (400, hsts))
        self.api.close()
        response = self.ask("shop.example", "/", listener=1)
        self.assertEqual((response.status, response.header("Strict-Transport-Security")), (502, hsts))

    def test_one_address_for_both(self):
        self.start("Everything to https, and it stays there", 1)
        hsts = "Strict-Transport-Security"
        for told in (("X-Forwarded-Proto: http",), ("Forwarded: proto=http",), (), ("X-Forwarded-Proto: gopher",)):
            response = self.ask("shop.example", "/x", *told)
            self.assertEqual((response.status, response.header("Location"), response.header(hsts)),
                             (308, "https://shop.example/x", None), told)
        for told in ("X-Forwarded-Proto: https", "Forwarded: for=203.0.113.7;proto=https"):
            response = self.ask("shop.example", "/x", told)
            self.assertEqual((response.status, response.header(hsts)), (200, "max-age=31536000"), told)

    def test_origins_that_fail(self):
        ill = []

        def answer(connection, origin):
            while (request := connection.request()) is not None:
                if origin.name in ill:
                    connection.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
                else:
                    connection.send(ok(origin.name.encode()))

        text = recipes()["Origins that fail"][0]
        for i, name in enumerate(("one", "two", "spare"), 1):
            text = text.replace(f"10.0.0.{i}:80", str(self.origin(answer, name=name)))
        text = text.replace('"0.0.0.0:80"', "LISTEN0").replace("interval: 2s, timeout: 500ms", "interval: 200ms")
        self.front = self.weir(None, config=text.replace("time: 10s", "time: 1s"))

        def heard():
            return {self.get(self.front).body.decode() for _ in range(20)}

        wait_for(lambda: "one" in heard() and "two" in heard(), "both serve")
        self.assertNotIn("spare", heard())
        ill.append("one")
        for _ in range(50):
            self.assertEqual(heard(), {"two"})
        ill.append("two")
        for _ in range(50):
            self.assertEqual(self.get(self.front).status, 200, "by the spare, if neither of the others is left")
        wait_for(lambda: heard() == {"spare"}, "the spare one serves")
        ill.clear()
        wait_for(lambda: {"one", "two"} <= heard(), "both are back")

    def test_several_zones(self):
        text = recipes()["Several zones"][0].replace('"0.0.0.0:80"', "LISTEN0").replace("interval: 2s, timeout: 500ms", "interval: 200ms")
        origins = {}
        for name in ("10.0.0.1", "10.0.0.2", "10.0.1.1", "10.0.1.2", "10.0.9.1"):
            origins[name] = self.origin(name=name)
            text = text.replace(f"{name}:80", str(origins[name]))
        for zone, own in (("eu-1a", "10.0.0."), ("eu-1b", "10.0.1.")):
            self.front = self.weir(None, f"--zone={zone}", config=text)
            heard = {self.get(self.front).body.decode() for _ in range(20)}
            self.assertEqual(heard, {own + "1", own + "2"})
        for name in ("10.0.1.1", "10.0.1.2"):
            origins[name].close()
        wait_for(lambda: {self.get(self.front).body.decode() for _ in range(20)} == {"10.0.0.1", "10.0.0.2"}, "the other zone")
        for name in ("10.0.0.1", "10.0.0.2"):
            origins[name].close()
        wait_for(lambda: {self.get(self.front).body.decode() for _ in range(20)} == {"10.0.9.1"}, "the office serves")

    def test_canary_by_label(self):
        def answer(connection, origin):
            while connection.request() is not None:
                connection.send(ok(origin.name.encode()))

        text = recipes()["Canary by label"][0].replace('"0.0.0.0:80"', "LISTEN0")
        origins = [self.origin(answer, name=name) for name in ("v1 a", "v1 b", "v2")]
        for i, origin in enumerate(origins, 1):
            text = text.replace(f"10.0.0.{i}:80", str(origin))
        self.front = self.weir(None, config=text)

        def heard(*more):
            return {self.ask("a", "/", *more).body.decode() for _ in range(20)}

        wait_for(lambda: heard("X-Canary: yes") == {"v2"}, "the canary serves")
        cookies = {}  # by version
        while len(cookies) < 2:
            response = self.ask("a", "/")
            cookies[response.body.decode()[:2]] = response.header("Set-Cookie").split(";")[0]
        self.assertEqual(heard("Cookie: " + cookies["v1"]), {"v1 a", "v1 b"})
        self.assertEqual(heard("Cookie: " + cookies["v2"]), {"v2"})
        origins[2].close()
        wait_for(lambda: self.ask("a", "/", "X-Canary: yes").status == 503, "it is gone")
        self.assertEqual(heard("Cookie: " + cookies["v2"]), {"v1 a", "v1 b"})

    def test_whoever_else_says_https(self):
        """Not one of the trusted proxies: its word does not count."""
        text = recipes()["Everything to https, and it stays there"][1]
        text = text.replace('"127.0.0.1:8080"', "LISTEN0").replace("127.0.0.0/8", "127.0.0.2").replace("10.0.0.1:80", "127.0.0.1:9")
        self.front = self.weir(None, config=text)
        for told in ("X-Forwarded-Proto: https", "Forwarded: for=203.0.113.7;proto=https"):
            response = self.ask("shop.example", "/x", told, source="127.0.0.3")
            self.assertEqual((response.status, response.header("Location")), (308, "https://shop.example/x"), told)
        self.assertEqual(self.ask("shop.example", "/x", "X-Forwarded-Proto: https", source="127.0.0.2").status, 502)
        for client, outcome in (("127.0.0.2", "upstream   web"), ("127.0.0.3", "answer     308, Location: https://shop.example/x")):
            done = run([weir_harness.binary(), "explain", f"--config={self.front.config}", "http://shop.example/x",
                        "-H", "X-Forwarded-Proto: https", f"--client={client}"])
            self.assertIn(outcome, done.stdout)

    def test_one_file_per_site(self):
        heading = "One file per site"
        folder = scratch("sites")
        pattern = os.path.join(folder, "*.yaml")
        self.api = self.origin(self.answer)
        main = recipes()[heading][0].replace("sites-enabled/*.yaml", pattern).replace('"0.0.0.0:80"', "LISTEN0")
        self.front = self.weir(None, config=main)
        self.assertEqual(self.ask("shop.example", "/").body, b"There is no such site.\n")
        with open(runfiles.path("docs/recipes.md"), encoding="utf-8") as file:
            site = re.search(rf"## {heading}.*?```yml\n(.*?)```", file.read(), re.DOTALL).group(1)
        site = site.replace("10.0.0.1:80", str(self.api))
        for name, text in (("shop", site), ("blog", site.replace("shop", "blog"))):
            with open(os.path.join(folder, name + ".yaml"), "w", encoding="utf-8") as file:
                file.write(text)
        self.front = self.weir(None, config=main)
        for host, body in (("shop.example", b"/x"), ("blog.example", b"/x"), ("other.example", b"There is no such site.\n")):
            self.assertEqual(self.ask(host, "/x").body, body, host)

    def test_www(self):
        self.start("www to the bare domain")
        response = self.ask("www.shop.example", "/x?y")
        self.assertEqual((response.status, response.header("Location")), (308, "https://shop.example/x?y"))
        self.assertEqual(self.ask("shop.example", "/x").status, 200)

    def test_trailing_slashes(self):
        self.start("Trailing slashes")
        for path, location in (
            ("/docs", "/docs/"),
            ("/docs?a=b", "/docs/?a=b"),
            ("/docs/", None),
            ("/docs/x", None),
            ("/api/users/?a=b", "/api/users?a=b"),
            ("/api/users/7/", "/api/users/7"),
            ("/api/users", None),
            ("/api/", None),
            ("/x/", None),
        ):
            with self.subTest(path):
                response = self.ask("a", path)
                self.assertEqual((response.status, response.header("Location")), (308 if location else 200, location))

    def test_cors(self):
        self.start("CORS")
        preflight = ("Origin: https://app.example", "Access-Control-Request-Method: PUT")
        response = self.ask("api.example", "/users/7", *preflight, method="OPTIONS")
        self.assertEqual((response.status, response.body, response.header("Content-Length")), (204, b"", None))
        self.assertEqual(response.header("Access-Control-Allow-Origin"), "https://app.example")
        self.assertIn("PUT", response.header("Access-Control-Allow-Methods"))
        self.assertEqual(self.api.requests, [])
        response = self.ask("api.example", "/users/7", "Origin: https://app.example", method="PUT")
        self.assertEqual(response.all("Access-Control-Allow-Origin"), ["https://app.example"])
        self.assertEqual(response.header("Vary"), "Origin")
        for more in (("Origin: https://evil.example", "Access-Control-Request-Method: PUT"), ()):
            response = self.ask("api.example", "/users/7", *more, method="OPTIONS")
            self.assertEqual((response.status, response.all("Access-Control-Allow-Origin")), (200, []))
        self.api.close()
        response = self.ask("api.example", "/users/7", "Origin: https://app.example")
        self.assertEqual((response.status, response.header("Access-Control-Allow-Origin")), (502, "https://app.example"),
                         "so that the page can read what went wrong")

    def test_streams_that_last(self):
        go_on = threading.Event()

        def handle(connection, origin):
            request = connection.request_head()
            if "slow" in request.target:
                go_on.wait(weir_harness.DEADLINE)
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nevent\r\n")
            while "echo" in request.target:
                line = connection.until(b"\r\n")
                size = int(line, 16)
                data = connection.exactly(size + 2)
                connection.send(line + data)
                if size == 0:
                    return
            go_on.wait(weir_harness.DEADLINE)
            connection.send(b"4\r\nlast\r\n0\r\n\r\n")

        self.addCleanup(go_on.set)
        answer, self.answer = self.answer, handle
        self.start("Streams that last")
        self.answer = answer
        lasting = [self.client(self.front) for _ in range(2)]
        lasting[0].send(b"GET /events/slow HTTP/1.1\r\nHost: a\r\n\r\n")
        lasting[1].send(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        both_ways = self.client(self.front)
        both_ways.send(b"POST /events/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        both_ways.head("POST")
        # The others' limits pass meanwhile, more than once.
        for path in (b"/slow", b"/slow"):
            late = self.client(self.front)
            late.send(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertEqual(late.response().status, 504)
        both_ways.send(b"3\r\nabc\r\n")
        self.assertEqual(both_ways.exactly(18), b"5\r\nevent\r\n3\r\nabc\r\n")
        both_ways.send(b"0\r\n\r\n")
        self.assertEqual(both_ways.exactly(5), b"0\r\n\r\n")
        go_on.set()
        for client in lasting:
            self.assertEqual(client.response().body, b"eventlast")

    def test_maintenance(self):
        self.start("Maintenance")
        response = self.ask("shop.example", "/cart")
        self.assertEqual((response.status, response.body), (503, b"<h1>soon</h1>\n"))
        self.assertEqual(response.header("Content-Type"), "text/html; charset=utf-8")
        self.assertEqual((response.header("Retry-After"), response.header("Cache-Control")), ("600", "no-store"))
        self.assertEqual(self.ask("shop.example", "/cart", source="127.0.0.2").body, b"/cart")
        port = self.front.addresses[0][1]
        done = run([need("curl"), "-sS", "-i", "--resolve", f"shop.example:{port}:127.0.0.1", f"http://shop.example:{port}/"])
        self.assertIn("HTTP/1.1 503 Service Unavailable", done.stdout)
        self.assertTrue(done.stdout.endswith("<h1>soon</h1>\n"), done.stdout)

    def test_pages_limits_and_a_password(self):
        self.start("Pages for errors, limits and a password")
        response = self.ask("a", "/nobody")
        self.assertEqual((response.status, response.body), (404, b"There is nothing here.\n"))
        port = self.front.addresses[0][1]
        body = os.path.join(scratch("body"), "body")
        with open(body, "wb") as file:
            file.truncate(2 << 20)
        for more, path, status in (
            (["-u", "alice:secret"], "/admin", "200"),
            (["-u", "alice:wrong"], "/admin", "401"),
            ([], "/admin/x", "401"),
            (["--data-binary", f"@{body}"], "/upload", "200"),
            (["--data-binary", f"@{body}"], "/", "413"),
        ):
            with self.subTest(more=more, path=path):
                done = run([need("curl"), "-sS", *more, f"http://127.0.0.1:{port}{path}", "-o", "/dev/null", "-w", "%{http_code}"])
                self.assertEqual(done.stdout, status, done.stderr)
        self.api.close()
        self.assertEqual(self.ask("a", "/").body, b"<h1>soon</h1>\n")

    def test_tls_by_name(self):
        text = recipes()["TLS to several servers, each with its own certificates"][0]
        origins = {name: self.origin(lambda connection, _: connection.rest(), name=name) for name in ("shop", "mail", "acme")}
        for origin in origins.values():
            text = text.replace("10.0.0.1:80", str(origin), 1)
        self.front = self.weir(None, config=text.replace('"0.0.0.0:443"', "LISTEN0"), listen=("tcp",))
        for name, protocol, to in (("shop.example", "h2", "shop"), ("mail.example", "h2", "mail"), (None, "h2", "shop"),
                                   ("a.mail.example", "http/1.1", "mail"), ("mail.example", "acme-tls/1", "acme")):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.set_alpn_protocols([protocol])
            out = ssl.MemoryBIO()
            with self.assertRaises(ssl.SSLWantReadError):
                context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
            hello = out.read()
            client = self.client(self.front)
            client.send(hello)
            wait_for(lambda to=to, hello=hello: origins[to].received().endswith(hello), f"{name} at {to}")
            client.close()

    def test_another_server_says_who_may_come(self):
        self.start("Another server says who may come")
        refused = self.ask("a", "/x", "X-Auth-Request-User: root")
        self.assertEqual((refused.status, refused.header("Location")), (302, "/oauth2/start"))
        self.assertEqual([r.target for r in self.api.requests], ["/oauth2/auth"])
        self.assertEqual(self.ask("a", "/oauth2/start").status, 200)
        self.assertEqual(self.ask("a", "/x", "X-Auth-Request-User: root", "Cookie: known=1").status, 200)
        self.assertEqual(self.api.requests[-1].target, "/x")
        self.assertEqual(self.api.requests[-1].all("X-Auth-Request-User"), ["ada"])


if __name__ == "__main__":
    unittest.main()
