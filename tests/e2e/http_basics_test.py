"""HTTP/1.1 as it should pass: every framing in both directions, both kinds of peers, and bodies of any size."""

import asyncio
import hashlib
import os
import re
import threading
import time
import unittest

import weir_harness
from weir_harness import FULL, Ended, ScriptedTest, WeirTest, need, ok, run, wait_for

MIB = 1 << 20
LARGE = (1024 if FULL else 100) * MIB


def pattern(size, seed=1):
    """`size` bytes that do not repeat within a buffer, and the same ones each time."""
    block = hashlib.shake_128(str(seed).encode()).digest(max(1, min(size, MIB + 7)))
    return (block * (size // len(block) + 1))[:size]


def digest_of_pattern(size, seed=1):
    digest = hashlib.md5()
    block = pattern(MIB + 7, seed)
    left = size
    while left > 0:
        digest.update(block[: min(left, len(block))])
        left -= min(left, len(block))
    return digest.hexdigest()


def send_pattern(connection, size, seed=1):
    block = pattern(MIB + 7, seed)
    left = size
    while left > 0:
        connection.send(block[: min(left, len(block))])
        left -= min(left, len(block))


def scripted(*answers, close=False):
    """A handler that answers the n-th request of each connection with answers[n], the last one for ever."""

    def handle(connection, origin):
        count = 0
        while (request := connection.request()) is not None:
            with origin.lock:
                origin.requests.append(request)
            answer = answers[min(count, len(answers) - 1)]
            connection.send(answer(request) if callable(answer) else answer)
            count += 1
            if close:
                return

    return handle


class ThroughNginx(WeirTest):
    def test_methods_and_conditional_requests_with_curl(self):
        nginx = self.nginx("one", "two")
        nginx.write("file", pattern(100_000))
        weir = self.weir(nginx)
        url = f"http://{weir_harness.address_text(weir.address)}"
        curl = need("curl")

        got = run([curl, "-sS", "-i", f"{url}/www/file", "-o", os.path.join(weir.directory, "got"), "-w", "%{http_code}"])
        self.assertEqual(got.stdout, "200", got.stderr)
        with open(os.path.join(weir.directory, "got"), "rb") as file:
            head, _, body = file.read().partition(b"\r\n\r\n")
        self.assertEqual(body, pattern(100_000))
        self.assertIn(b"Via: 1.1 weir", head)

        head = run([curl, "-sS", "-I", f"{url}/www/file"]).stdout
        self.assertIn("200 OK", head)
        self.assertIn("Content-Length: 100000", head)

        part = run([curl, "-sS", "-r", "10-19", "-w", "%{http_code}", f"{url}/www/file"], errors="replace")
        self.assertTrue(part.stdout.endswith("206"), part.stdout)

        etag = re.search(r"ETag: (.*)", head)[1].strip()
        fresh = run([curl, "-sS", "-H", f"If-None-Match: {etag}", "-w", "%{http_code}", f"{url}/www/file"])
        self.assertEqual(fresh.stdout, "304")

        for data, headers in ((b"", []), (b"x" * 10, []), (pattern(3_000_000), []), (pattern(3_000_000), ["-H", "Transfer-Encoding: chunked"])):
            source = os.path.join(weir.directory, "source")
            with open(source, "wb") as file:
                file.write(data)
            for name in range(2):  # one for each origin: they share the directory
                put = run([curl, "-sS", "-T", source, *headers, "-w", "%{http_code}", f"{url}/put/{name}"])
                self.assertIn(put.stdout[-3:], ("201", "204"), put.stdout + put.stderr)
                with open(os.path.join(nginx.put, str(name)), "rb") as file:
                    self.assertEqual(file.read(), data)
        gone = run([curl, "-sS", "-X", "DELETE", "-w", "%{http_code}", f"{url}/put/0"])
        self.assertEqual(gone.stdout, "204")
        self.assertFalse(os.path.exists(os.path.join(nginx.put, "0")))

        post = run([curl, "-sS", "--data-binary", "@" + source, f"{url}/put/none", "-w", "%{http_code}"])
        self.assertTrue(post.stdout.endswith("404"), post.stdout + post.stderr)  # answered before all of it was read

        zipped = run([curl, "-sS", "--compressed", "-D", "-", "-o", os.path.join(weir.directory, "got"), f"{url}/gzip/file"])
        self.assertIn("Transfer-Encoding: chunked", zipped.stdout)
        with open(os.path.join(weir.directory, "got"), "rb") as file:
            self.assertEqual(file.read(), pattern(100_000))

    def test_connections_are_reused_on_both_sides(self):
        nginx = self.nginx("one")
        weir = self.weir(nginx, shards=1)
        client = self.client(weir)
        for _ in range(200):
            client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            response = client.response()
            self.assertEqual((response.status, response.body), (200, b"one\n"))
            self.assertIsNone(response.header("Connection"))
        # One client connection, one upstream connection, 200 requests.
        self.assertEqual(weir.metric(weir_harness.UPSTREAM_OPEN), 1)

    def test_both_origins_take_turns(self):
        nginx = self.nginx("one", "two", "three")
        weir = self.weir(nginx, shards=1)
        client = self.client(weir)
        bodies = []
        for _ in range(30):
            client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            bodies.append(client.response().body)
        self.assertEqual({body: bodies.count(body) for body in bodies}, {b"one\n": 10, b"two\n": 10, b"three\n": 10})

    def test_an_origin_that_closes_after_each_answer(self):
        nginx = self.nginx("one")
        weir = self.weir(nginx)
        client = self.client(weir)
        for _ in range(50):
            client.send(b"GET /close HTTP/1.1\r\nHost: test\r\n\r\n")
            self.assertEqual(client.response().body, b"one\n")

    def test_an_origin_that_forgets_idle_connections(self):
        """Requests race with the origin's closing of the pooled connection: none may fail."""
        nginx = self.nginx("one", extra="keepalive_requests 3;")
        weir = self.weir(nginx)
        client = self.client(weir)
        for _ in range(200):
            client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            self.assertEqual(client.response().status, 200)

    def test_ipv6_on_both_sides(self):
        origin = self.origin(host="::1")
        weir = self.weir(origin, hosts=["::1"])
        response = self.get(weir)
        self.assertEqual(response.body, b"raw")
        self.assertEqual(origin.requests[0].header("X-Forwarded-For"), "::1")


class Pipelining(WeirTest):
    def test_fifty_requests_in_one_write_are_answered_in_order(self):
        origins = [self.origin(scripted(lambda r: ok(r.target.encode())), name=str(i)) for i in range(2)]
        weir = self.weir(origins)
        client = self.client(weir)
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: test\r\n\r\n" % i for i in range(50)))
        for i in range(50):
            self.assertEqual(client.response().body, b"/%d" % i)

    def test_pipelined_requests_with_bodies_of_every_framing(self):
        def answer(request):
            body = request.target.encode() + b" " + request.body
            if int(request.target[1:]) % 3 == 0:
                return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
            return ok(body)

        weir = self.weir(self.origin(scripted(answer)))
        bodies = [pattern(size, size) for size in (0, 1, 100, 5000, 70_000, 300_000)]
        request = b""
        expected = []
        for i in range(36):
            body = bodies[i % len(bodies)]
            if i % 2:
                request += b"POST /%d HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%s" % (i, len(body), body)
            else:
                chunks = b"".join(b"%x;x=y\r\n%s\r\n" % (len(body[j : j + 9999]), body[j : j + 9999]) for j in range(0, len(body), 9999))
                request += b"POST /%d HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n" % (i, chunks)
            expected.append(b"/%d " % i + body)
        client = self.client(weir)
        sender = threading.Thread(target=client.send, args=(request,))
        sender.start()
        for body in expected:
            self.assertEqual(client.response().body, body)
        sender.join()

    def test_requests_cut_at_every_byte(self):
        weir = self.weir(self.origin(scripted(lambda r: ok(r.target.encode() + r.body))))
        request = b"POST /x HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\nGET /y HTTP/1.1\r\nHost: a\r\n\r\n"
        client = self.client(weir)
        for cut in range(1, len(request)):
            client.send(request[:cut])
            time.sleep(0.001)
            client.send(request[cut:])
            self.assertEqual(client.response().body, b"/xabc", cut)
            self.assertEqual(client.response().body, b"/y", cut)
        for byte in request:
            client.send(bytes([byte]))
            time.sleep(0.0005)
        self.assertEqual(client.response().body, b"/xabc")
        self.assertEqual(client.response().body, b"/y")

    def test_an_error_comes_after_the_answers_before_it(self):
        def slow(request):
            time.sleep(0.05)
            return ok(request.target.encode())

        weir = self.weir(self.origin(scripted(slow)))
        client = self.client(weir)
        good = b"".join(b"GET /%d HTTP/1.1\r\nHost: test\r\n\r\n" % i for i in range(5))
        client.send(good + b"GET / HTTP/1.1\r\nHost : bad\r\n\r\n" + good)
        for i in range(5):
            self.assertEqual(client.response().body, b"/%d" % i)
        self.assertEqual(client.closing_response().status, 400)

    def test_one_empty_line_before_a_request(self):
        weir = self.weir(self.origin())
        client = self.client(weir)
        client.send(b"\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n")
        self.assertEqual(client.response().status, 200)
        self.assertEqual(client.response().status, 200)
        client.send(b"\r\n\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n")
        self.assertEqual(client.closing_response().status, 400)

    def test_client_says_fin_behind_its_requests(self):
        weir = self.weir(self.origin(scripted(lambda r: (time.sleep(0.02), ok(r.target.encode()))[1])))
        client = self.client(weir)
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: test\r\n\r\n" % i for i in range(10)))
        client.finish_sending()
        for i in range(10):
            self.assertEqual(client.response().body, b"/%d" % i)
        self.assertEqual(client.rest(), b"")


class Framing(ScriptedTest):
    def test_chunked_down_with_tiny_chunks_and_extensions(self):
        body = pattern(3000)
        coded = b"".join(b"1;a=b;c=\"d;\\\"e\"\r\n%c\r\n" % byte for byte in body)
        _, response = self.through(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + coded + b"0;end\r\n\r\n")
        self.assertEqual((response.framing, response.body), ("chunked", body))

    def test_chunked_down_byte_by_byte(self):
        coded = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n00a\r\n0123456789\r\n1\r\nx\r\n000\r\nT: v\r\n\r\n"

        def handle(connection, origin):
            while connection.request():
                for byte in coded:
                    connection.send(bytes([byte]))
                    time.sleep(0.0005)

        client = self.client(self.weir(self.origin(handle)))
        for _ in range(3):
            client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            response = client.response()
            self.assertEqual((response.framing, response.body), ("chunked", b"0123456789x"))

    def test_chunked_up_with_tiny_chunks_and_extensions(self):
        body = pattern(3000)
        coded = b"".join(b"1;a=b;c=\"d;\\\"e\"\r\n%c\r\n" % byte for byte in body)
        request = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\n\r\n"
        _, response = self.through(ok(b"x"), request)
        self.assertEqual(response.status, 200)
        self.assertEqual(self.raw.requests[0].body, body)
        self.assertNotIn(b";a=b", self.raw.received())

    def test_chunked_spellings_of_the_coding(self):
        for coding in (b"chunked", b"Chunked", b"CHUNKED"):
            request = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: %s\r\n\r\n3\r\nabc\r\n0\r\n\r\n" % coding
            _, response = self.through(ok(b"x"), request)
            self.assertEqual((response.status, self.raw.requests[0].body), (200, b"abc"))
            self.assertEqual(self.raw.requests[0].header("Transfer-Encoding"), "chunked")

    def test_trailers_down_only_for_those_who_ask(self):
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\nContent-Length: 3\r\nHost: evil\r\n\r\n"
        ask = b"GET / HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nConnection: TE\r\n\r\n"
        _, response = self.through(answer, ask)
        self.assertEqual((response.body, response.trailers), (b"abc", [("X-Sum", "7")]))
        self.assertEqual(self.raw.requests[0].header("TE"), "trailers")
        self.assertIn("TE", self.raw.requests[0].header("Connection"))
        _, response = self.through(answer)
        self.assertEqual((response.body, response.trailers), (b"abc", []))
        self.assertIsNone(self.raw.requests[0].header("TE"))

    def test_trailers_up(self):
        request = (
            b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
            b"3\r\nabc\r\n0\r\nX-Sum: 7\r\nTransfer-Encoding: chunked\r\nX-Forwarded-For: 6.6.6.6\r\nHost: evil\r\nX_Forwarded_For: 6\r\n\r\n"
        )
        _, response = self.through(ok(b"x"), request)
        self.assertEqual(response.status, 200)
        self.assertEqual((self.raw.requests[0].body, self.raw.requests[0].trailers), (b"abc", [("X-Sum", "7")]))

    def test_close_delimited_answer(self):
        body = pattern(300_000)
        client, response = self.through(b"HTTP/1.1 200 OK\r\n\r\n" + body, close=True)
        self.assertEqual((response.framing, response.body), ("chunked", body))
        self.assertIsNone(response.header("Connection"))  # the client's connection goes on
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        self.assertEqual(client.response().body, body)

    def test_close_delimited_answer_of_an_old_origin(self):
        for body in (b"", b"x", pattern(100_000)):
            _, response = self.through(b"HTTP/1.0 200 OK\r\nContent-Type: text/x\r\n\r\n" + body, close=True)
            self.assertEqual((response.framing, response.body, response.minor), ("chunked", body, 1))

    def test_an_old_origin_with_a_length_and_keep_alive(self):
        origin = self.origin(scripted(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi"))
        weir = self.weir(origin, shards=1)
        client = self.client(weir)
        for _ in range(3):
            client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            self.assertEqual(client.response().body, b"hi")
        self.assertEqual(len(origin.connections), 1)

    def test_an_old_origin_with_a_length_and_no_keep_alive(self):
        origin = self.origin(scripted(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"))
        weir = self.weir(origin, shards=1)
        client = self.client(weir)
        for _ in range(3):
            client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            self.assertEqual(client.response().body, b"hi")
        self.assertEqual(len(origin.connections), 3)

    def test_answers_without_a_body(self):
        for status in (204, 304):
            client, response = self.through(b"HTTP/1.1 %d No\r\nX: y\r\n\r\n" % status)
            self.assertEqual((response.status, response.header("Content-Length")), (status, None))
            client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            self.assertEqual(client.response().status, status)
        _, response = self.through(b"HTTP/1.1 304 No\r\nContent-Length: 1000\r\n\r\n")
        self.assertEqual(response.header("Content-Length"), "1000")
        for field in (b"Content-Length: 1000", b"Transfer-Encoding: chunked"):
            _, response = self.through(b"HTTP/1.1 204 No\r\n%s\r\n\r\n" % field)
            self.assertIsNone(response.header("Content-Length"))
            self.assertIsNone(response.header("Transfer-Encoding"))

    def test_head(self):
        head = b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n"
        client, response = self.through(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n", head, "HEAD")
        self.assertEqual(response.header("Content-Length"), "12345")
        client.send(head)
        self.assertEqual(client.response("HEAD").status, 200)
        _, response = self.through(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", head, "HEAD")
        self.assertEqual(response.status, 200)
        client, response = self.through(b"HTTP/1.1 200 OK\r\n\r\n", head, "HEAD")
        self.assertEqual(response.status, 200)
        client.send(head)
        self.assertEqual(client.response("HEAD").status, 200)

    def test_bytes_behind_an_answer_end_its_connection(self):
        cases = [
            (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"),
            (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"),
            (b"GET", b"HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"),
            (b"GET", b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\nwrong"),
            (b"GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"),
        ]
        for method, answer in cases:
            with self.subTest(answer=answer):
                origin = self.origin(scripted(answer))
                weir = self.weir(origin, shards=1)
                client = self.client(weir)
                for _ in range(3):
                    client.send(method + b" / HTTP/1.1\r\nHost: test\r\n\r\n")
                    response = client.response(method.decode())
                    self.assertNotIn(b"wrong", response.body)
                # The extra bytes may come a moment after the answer; then the pool must notice them.
                self.assertEqual(len(origin.connections), 3)
                self.assertTrue(client.silent(0.1))

    def test_old_clients(self):
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\nT: v\r\n\r\n"
        for answer, close in ((chunked, False), (b"HTTP/1.1 200 OK\r\n\r\nabcdefg", True), (ok(b"abcdefg"), False)):
            for fields in (b"", b"Host: test\r\n", b"Connection: close\r\n"):
                client, response = self.through(answer, b"GET / HTTP/1.0\r\n" + fields + b"\r\n", close=close)
                self.assertEqual(response.body, b"abcdefg")
                self.assertIn(response.framing, ("close", "length"))
                self.assertEqual(client.rest(), b"")
                self.assertEqual(self.raw.requests[0].version, "HTTP/1.1")
                self.assertTrue(self.raw.requests[0].header("Host"))

    def test_old_clients_with_keep_alive(self):
        client, response = self.through(ok(b"abc"), b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        self.assertEqual((response.body, response.header("Connection").lower()), (b"abc", "keep-alive"))
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        self.assertEqual(client.closing_response().body, b"abc")
        # A length is not known: only the end of the connection tells.
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        client, response = self.through(chunked, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        self.assertEqual((response.framing, response.body), ("close", b"abc"))
        self.assertNotEqual((response.header("Connection") or "").lower(), "keep-alive")

    def test_old_clients_hear_no_interim_responses(self):
        _, response = self.through(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + ok(b"abc"), b"GET / HTTP/1.0\r\n\r\n")
        self.assertEqual((response.interims, response.body), ([], b"abc"))
        client, response = self.through(ok(b"abc"), b"POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nx")
        self.assertEqual((response.interims, response.body), ([], b"abc"))


class Interim(WeirTest):
    def test_early_hints_pass(self):
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
        weir = self.weir(self.origin(scripted(hints + hints + ok(b"abc"))))
        client = self.client(weir)
        for _ in range(2):
            client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            response = client.response()
            self.assertEqual([interim.status for interim in response.interims], [103, 103])
            self.assertEqual(response.interims[0].header("Link"), "</a.css>; rel=preload")
            self.assertEqual(response.body, b"abc")

    def test_interim_long_before_the_answer(self):
        def handle(connection, origin):
            while connection.request():
                connection.send(b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n")
                origin.go.wait(weir_harness.DEADLINE)
                connection.send(ok(b"abc"))

        origin = self.origin(handle)
        origin.go = threading.Event()
        client = self.client(self.weir(origin))
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        self.assertEqual(client._head().status, 103)  # it was not held back until the answer
        origin.go.set()
        self.assertEqual(client.response().body, b"abc")

    def test_eight_are_enough(self):
        hint = b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"
        for count, status in ((8, 200), (9, 502)):
            client = self.client(self.weir(self.origin(scripted(hint * count + ok(b"abc")))))
            client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            response = client.response()
            self.assertEqual((response.status, len(response.interims)), (status, 8))

    def test_a_switch_nobody_asked_for(self):
        client = self.client(self.weir(self.origin(scripted(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"))))
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        self.assertEqual(client.response().status, 502)


class ExpectContinue(WeirTest):
    HEAD = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"

    @staticmethod
    def patient(connection, origin):
        """An origin that asks for the body before it reads it."""
        while True:
            try:
                request = connection.request_head()
            except (Ended, ConnectionResetError):
                return
            origin.requests.append(request)
            if request.header("Expect"):
                connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            if request.header("Transfer-Encoding"):
                connection.chunked(request)
            else:
                request.body = connection.exactly(int(request.header("Content-Length") or 0))
            connection.send(ok(b"got %d" % len(request.body)))

    def test_continue_passes(self):
        origin = self.origin(self.patient)
        client = self.client(self.weir(origin))
        for _ in range(3):
            client.send(self.HEAD)
            self.assertEqual(client._head().status, 100)
            client.send(b"hello")
            self.assertEqual(client.response().body, b"got 5")
        self.assertEqual(origin.requests[0].header("Expect"), "100-continue")

    def test_continue_with_the_body_at_once(self):
        client = self.client(self.weir(self.origin(self.patient)))
        for _ in range(3):
            client.send(self.HEAD + b"hello")
            response = client.response()
            self.assertEqual(response.body, b"got 5")

    def test_a_final_answer_instead_ends_the_connection(self):
        def refuse(connection, origin):
            while True:
                connection.request_head()
                connection.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")

        client = self.client(self.weir(self.origin(refuse)))
        client.send(self.HEAD)
        response = client.closing_response()
        self.assertEqual((response.status, response.header("Connection")), (413, "close"))

    def test_unknown_expectation(self):
        origin = self.origin()
        client = self.client(self.weir(origin))
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\nExpect: miracles\r\n\r\n")
        self.assertEqual(client.closing_response().status, 417)
        self.assertEqual(origin.received(), b"")

    def test_curl_with_a_large_body(self):
        origin = self.origin(self.patient, record=False)
        weir = self.weir(origin)
        path = os.path.join(weir.directory, "body")
        with open(path, "wb") as file:
            file.write(pattern(5 * MIB))
        for headers in (["Expect: 100-continue"], ["Expect: 100-continue", "Transfer-Encoding: chunked"]):
            argv = [need("curl"), "-sS", "-v", "--expect100-timeout", "60", "--data-binary", "@" + path]
            for header in headers:
                argv += ["-H", header]
            got = run([*argv, f"http://{weir_harness.address_text(weir.address)}/"])
            self.assertEqual(got.stdout, f"got {5 * MIB}", got.stderr)
            self.assertIn("HTTP/1.1 100 Continue", got.stderr)


class Upgrade(WeirTest):
    def test_websocket(self):
        """A real client and a real server: texts, large messages, pings, pushes, closing from either side."""
        import websockets

        big = pattern(MIB).hex()

        async def serve(websocket, path):
            await websocket.send("pushed at once")
            if path == "/server-closes":
                await websocket.close(4001, "enough")
                return
            async for message in websocket:
                await websocket.send(message)

        async def talk(port):
            async with websockets.connect(f"ws://127.0.0.1:{port}/echo", max_size=None, open_timeout=60, ping_interval=None, close_timeout=60) as client:
                assert await client.recv() == "pushed at once"
                for text in ("", "x", "text" * 1000, big):
                    await client.send(text)
                    assert await client.recv() == text
                await client.send(b"\x00\xff" * 1000)
                assert await client.recv() == b"\x00\xff" * 1000
                await asyncio.wait_for(await client.ping(), 60)
                for i in range(100):  # many at once, in both directions
                    await client.send(f"{i} " + "y" * i * 100)
                for i in range(100):
                    assert (await client.recv()).startswith(f"{i} ")
            async with websockets.connect(f"ws://127.0.0.1:{port}/server-closes", open_timeout=60, close_timeout=60) as client:
                assert await client.recv() == "pushed at once"
                try:
                    await client.recv()
                    raise AssertionError("not closed")
                except websockets.ConnectionClosed as closed:
                    assert closed.code == 4001 and closed.reason == "enough"

        async def everything():
            async with websockets.serve(serve, "127.0.0.1", 0, max_size=None, ping_interval=None, close_timeout=60) as server:
                address = server.sockets[0].getsockname()
                weir = await asyncio.to_thread(self.weir, weir_harness.address_text(address))
                await asyncio.gather(*(talk(weir.address[1]) for _ in range(3)))
                return weir

        weir = asyncio.run(everything())
        weir.check_clean()

    HEAD = b"GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: chat/1, other\r\n\r\n"
    SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat/1\r\n\r\n"

    def test_bytes_right_behind_both_heads(self):
        def handle(connection, origin):
            request = connection.request_head()
            assert request.header("Upgrade") == "chat/1, other", request.raw
            connection.send(self.SWITCH + b"server speaks first")
            assert connection.exactly(5) == b"early"
            connection.send(b"heard")
            assert connection.rest() == b"more"
            connection.send(b"goodbye")

        client = self.client(self.weir(self.origin(handle)))
        client.send(self.HEAD + b"early")  # impatient, but these bytes belong to the tunnel
        response = client.head()
        self.assertEqual((response.status, response.header("Upgrade")), (101, "chat/1"))
        self.assertEqual(client.exactly(len(b"server speaks first")), b"server speaks first")
        self.assertEqual(client.exactly(5), b"heard")
        client.send(b"more")
        client.finish_sending()
        self.assertEqual(client.rest(), b"goodbye")

    def test_nothing_behind_an_upgrade_request_is_a_request(self):
        def handle(connection, origin):
            connection.request_head()
            connection.send(ok(b"no upgrade"))
            while connection.request():
                connection.send(ok(b"second"))

        origin = self.origin(handle)
        client = self.client(self.weir(origin))
        client.send(self.HEAD + b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n")
        self.assertEqual(client.response().body, b"no upgrade")
        self.assertEqual(client.response().body, b"second")  # refused: so it was HTTP all along
        heads = [request for request in origin.received().split(b"\r\n\r\n") if request]
        self.assertEqual(len(heads), 2)

    def test_a_switch_to_something_else_is_refused(self):
        def handle(connection, origin):
            connection.request_head()
            connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: evil\r\n\r\n")
            connection.rest()

        client = self.client(self.weir(self.origin(handle)))
        client.send(self.HEAD)
        self.assertEqual(client.response().status, 502)

    def test_h2c_is_not_passed_on(self):
        origin = self.origin()
        client = self.client(self.weir(origin))
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
        self.assertEqual(client.response().status, 200)
        for name in ("Upgrade", "HTTP2-Settings", "Connection"):
            self.assertIsNone(origin.requests[0].header(name), name)

    def test_a_large_tunnel_both_ways_at_once(self):
        size = 40 * MIB
        sums = {}

        def handle(connection, origin):
            connection.request_head()
            connection.send(self.SWITCH)
            sender = threading.Thread(target=lambda: (send_pattern(connection, size, 2), connection.finish_sending()))
            sender.start()
            digest = hashlib.md5(connection.rest())
            sender.join()
            sums["up"] = digest.hexdigest()

        client = self.client(self.weir(self.origin(handle, record=False)))
        client.send(self.HEAD)
        self.assertEqual(client.head().status, 101)
        sender = threading.Thread(target=lambda: (send_pattern(client, size, 1), client.finish_sending()))
        sender.start()
        down = client.rest()
        sender.join()
        self.assertEqual(len(down), size)
        self.assertEqual(hashlib.md5(down).hexdigest(), digest_of_pattern(size, 2))
        wait_for(lambda: "up" in sums, "the origin read everything")
        self.assertEqual(sums["up"], digest_of_pattern(size, 1))

    def test_reset_in_a_tunnel_is_a_reset(self):
        def handle(connection, origin):
            connection.request_head()
            connection.send(self.SWITCH)
            connection.exactly(2)
            connection.reset()

        client = self.client(self.weir(self.origin(handle)))
        client.send(self.HEAD)
        client.head()
        client.send(b"hi")
        self.assertEqual(client.ending(), "reset")


class Special(ScriptedTest):
    def one(self, request):
        _, response = self.through(ok(b"raw"), request)
        return response, self.raw

    def test_options_star(self):
        response, origin = self.one(b"OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n")
        self.assertEqual((response.status, origin.requests[0].line), (200, "OPTIONS * HTTP/1.1"))
        response, origin = self.one(b"OPTIONS http://other:81 HTTP/1.1\r\nHost: test\r\n\r\n")
        self.assertEqual((response.status, origin.requests[0].line), (200, "OPTIONS * HTTP/1.1"))
        self.assertEqual(origin.requests[0].header("Host"), "other:81")

    def test_absolute_form(self):
        response, origin = self.one(b"GET http://real.example:8080/path?q HTTP/1.1\r\nHost: fake.example\r\n\r\n")
        request = origin.requests[0]
        self.assertEqual((response.status, request.line), (200, "GET /path?q HTTP/1.1"))
        self.assertEqual((request.header("Host"), request.header("X-Forwarded-Host")), ("real.example:8080",) * 2)
        _, origin = self.one(b"GET http://real.example HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(origin.requests[0].line, "GET / HTTP/1.1")
        _, origin = self.one(b"GET http://real.example?q=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(origin.requests[0].line, "GET /?q=1 HTTP/1.1")

    def test_max_forwards(self):
        for method in (b"TRACE", b"OPTIONS"):
            response, origin = self.one(method + b" /x HTTP/1.1\r\nHost: test\r\nMax-Forwards: 0\r\nCookie: secret\r\n\r\n")
            self.assertEqual((response.status, origin.received()), (200, b""))
            self.assertNotIn(b"secret", response.body)
            if method == b"TRACE":
                self.assertEqual(response.header("Content-Type"), "message/http")
                self.assertTrue(response.body.startswith(b"TRACE /x HTTP/1.1\r\nHost: test\r\n"), response.body)
            response, origin = self.one(method + b" /x HTTP/1.1\r\nHost: test\r\nMax-Forwards: 7\r\n\r\n")
            self.assertEqual(origin.requests[0].header("Max-Forwards"), "6")
        _, origin = self.one(b"GET /x HTTP/1.1\r\nHost: test\r\nMax-Forwards: 0\r\n\r\n")
        self.assertEqual(origin.requests[0].header("Max-Forwards"), "0")

    def test_local_answers_keep_the_connection(self):
        client = self.client(self.weir(self.origin()))
        client.send(b"OPTIONS * HTTP/1.1\r\nHost: test\r\nMax-Forwards: 0\r\n\r\n" * 3 + b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        for _ in range(4):
            self.assertEqual(client.response().status, 200)

    def test_connect(self):
        response, origin = self.one(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
        self.assertEqual((response.status, origin.received()), (501, b""))

    def test_loops(self):
        ports = [weir_harness.free_port() for _ in range(2)]
        one = self.weir(f"127.0.0.1:{ports[1]}", "--via_name=one", ports=[ports[0]], shards=1)
        other = self.weir(f"127.0.0.1:{ports[0]}", "--via_name=other", ports=[ports[1]], shards=1)
        self.assertEqual((self.get(one).status, self.get(other).status), (508, 508))
        response, origin = self.one(b"GET / HTTP/1.1\r\nHost: test\r\nVia: 1.1 other, 1.1 weir (comment)\r\n\r\n")
        self.assertEqual((response.status, origin.received()), (508, b""))
        response, origin = self.one(b"GET / HTTP/1.1\r\nHost: test\r\nVia: 1.0 fred, 1.1 weirdo\r\n\r\n")
        self.assertEqual((response.status, origin.requests[0].header("Via")), (200, "1.0 fred, 1.1 weirdo, 1.1 weir"))

    def test_one_weir_behind_another_is_no_loop(self):
        origin = self.origin()
        weirs = [self.weir(origin, "--via_name=inner")]
        weirs.append(self.weir(weir_harness.address_text(weirs[0].address), "--via_name=outer"))
        response = self.get(weirs[1])
        self.assertEqual((response.status, response.header("Via")), (200, "1.1 inner, 1.1 outer"))
        self.assertEqual(origin.requests[0].header("Via"), "1.1 outer, 1.1 inner")

    def test_what_the_origin_sees(self):
        response, origin = self.one(
            b"GET /a/../b?x=%41 HTTP/1.1\r\nHost: Test.Example:80\r\nConnection: close, X-Private, keep-alive\r\nX-Private: 1\r\n"
            b"Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: x\r\nTE: gzip\r\nUpgrade: x\r\n"
            b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: gopher\r\nX-Forwarded-Host: evil\r\nX_Forwarded_For: 6.6.6.6\r\nForwarded: for=6\r\n"
            b"X-Request-ID: my-id.1\r\nAccept:  spaces  \r\nX-Text: caf\xc3\xa9 \xff\r\nCookie: a=b\r\nCookie: c=d\r\n\r\n"
        )
        request = origin.requests[0]
        self.assertEqual(response.status, 200)
        self.assertEqual(request.line, "GET /a/../b?x=%41 HTTP/1.1")
        self.assertEqual(request.header("Host"), "Test.Example:80")
        for gone in ("Connection", "X-Private", "Keep-Alive", "Proxy-Connection", "TE", "Upgrade", "X_Forwarded_For"):
            self.assertIsNone(request.header(gone), gone)
        self.assertEqual(request.header("X-Forwarded-For"), "127.0.0.1")
        self.assertEqual(request.header("X-Forwarded-Proto"), "http")
        self.assertEqual(request.header("X-Forwarded-Host"), "Test.Example:80")
        self.assertEqual(request.header("X-Request-ID"), "my-id.1")
        self.assertEqual(request.header("Via"), "1.1 weir")
        self.assertEqual(request.header("Accept"), "spaces")
        self.assertEqual(request.header("X-Text"), "caf\u00c3\u00a9 \u00ff")
        self.assertEqual(request.all("Cookie"), ["a=b", "c=d"])

    def test_request_ids(self):
        _, origin = self.one(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        self.assertRegex(origin.requests[0].header("X-Request-ID"), "^[0-9a-f]{32}$")
        for bad in (b"a b", b"<x>", b"x" * 129, b""):
            _, origin = self.one(b"GET / HTTP/1.1\r\nHost: test\r\nX-Request-ID: " + bad + b"\r\n\r\n")
            self.assertRegex(origin.requests[0].header("X-Request-ID"), "^[0-9a-f]{32}$")

    def test_what_the_client_sees(self):
        origin = self.origin(scripted(b"HTTP/1.1 299 What Ever\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 1\r\n\r\nx"))
        response = self.get(self.weir(origin))
        self.assertEqual((response.status, response.reason), (299, "What Ever"))
        self.assertEqual(response.all("Set-Cookie"), ["a", "b"])
        for gone in ("X-Hop", "Keep-Alive"):
            self.assertIsNone(response.header(gone))
        self.assertEqual(response.header("Connection"), "close")
        self.assertRegex(response.header("Date"), r"^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$")
        self.assertEqual(response.header("Via"), "1.1 weir")
        origin = self.origin(scripted(b"HTTP/1.0 200 OK\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nVia: 1.1 cache\r\nContent-Length: 0\r\n\r\n"))
        response = self.get(self.weir(origin))
        self.assertEqual(response.header("Date"), "Tue, 15 Nov 1994 08:12:31 GMT")
        self.assertEqual(response.header("Via"), "1.1 cache, 1.0 weir")

    def test_several_listeners(self):
        weir = self.weir(self.origin(), listen=("http", "http"), hosts=["127.0.0.1", "127.0.0.2"])
        self.assertEqual([self.get(weir, listener=i).status for i in range(2)], [200, 200])


class Bodies(WeirTest):
    @staticmethod
    def sink(connection, origin):
        """Reads a body and answers with its length and sum."""
        while True:
            request = connection.request_head()
            digest = hashlib.md5()
            total = connection.stream(request, digest.update)
            connection.send(ok(f"{total} {digest.hexdigest()}".encode()))

    def source(self, chunked):
        def handle(connection, origin):
            while connection.request() is not None:
                if not chunked:
                    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
                    send_pattern(connection, LARGE)
                    continue
                connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                block = pattern(MIB + 7)
                left = LARGE
                while left > 0:
                    piece = block[: min(left, len(block))]
                    connection.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
                    left -= len(piece)
                connection.send(b"0\r\n\r\n")

        return self.origin(handle, record=False)

    def test_large_bodies_up(self):
        weir = self.weir(self.origin(self.sink, record=False), "--buffer_memory=32MiB")
        client = self.client(weir)
        expected = f"{LARGE} {digest_of_pattern(LARGE)}".encode()
        client.send(b"PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % LARGE)
        send_pattern(client, LARGE)
        self.assertEqual(client.response().body, expected)

        client.send(b"PUT / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
        block = pattern(MIB + 7)
        left = LARGE
        while left > 0:
            piece = block[: min(left, len(block))]
            client.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
            left -= len(piece)
        client.send(b"0\r\n\r\n")
        self.assertEqual(client.response().body, expected)
        self.assertLess(weir.private_memory(), 64 * MIB)  # streamed, not stored

    def test_large_bodies_down(self):
        for chunked in (False, True):
            weir = self.weir(self.source(chunked), "--buffer_memory=32MiB")
            client = self.client(weir)
            client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            head = client.head()
            digest = hashlib.md5()
            self.assertEqual(client.stream(head, digest.update), LARGE)
            self.assertEqual(digest.hexdigest(), digest_of_pattern(LARGE))
            self.assertLess(weir.private_memory(), 64 * MIB)

    def test_large_files_with_nginx_and_curl(self):
        nginx = self.nginx("one")
        source = os.path.join(nginx.www, "large")
        with open(source, "wb") as file:
            block, left = pattern(MIB + 7), LARGE
            while left > 0:
                left -= file.write(block[: min(left, len(block))])
        weir = self.weir(nginx)
        url = f"http://{weir_harness.address_text(weir.address)}"
        target = os.path.join(weir.directory, "got")
        got = run([need("curl"), "-sS", "-o", target, f"{url}/www/large"], seconds=600)
        self.assertEqual(got.returncode, 0, got.stderr)
        self.assertEqual(run(["cmp", source, target]).returncode, 0)
        os.remove(target)
        put = run([need("curl"), "-sS", "-T", source, "-w", "%{http_code}", f"{url}/put/large"], seconds=600)
        self.assertEqual(put.stdout, "201", put.stderr)
        self.assertEqual(run(["cmp", source, os.path.join(nginx.put, "large")]).returncode, 0)

    def test_many_sizes_both_ways(self):
        """Around every size at which something changes: copied or gathered, one buffer or two, chunk digits."""
        weir = self.weir(self.origin(scripted(lambda r: ok(r.body)), record=False))
        client = self.client(weir)
        sizes = [0, 1, 15, 16, 17, 255, 256, 2047, 2048, 2049, 4095, 4096, 4097, 16383, 16384, 16385]
        sizes += [size + by for size in (32768, 36864, 65536, 131072) for by in (-200, -1, 0, 1, 200)]
        for size in sizes:
            body = pattern(size, size)
            client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%s" % (size, body))
            self.assertEqual(client.response().body, body, size)
            client.send(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"%x\r\n%s\r\n" % (size, body) if size else b"") + b"0\r\n\r\n")
            self.assertEqual(client.response().body, body, size)
            client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % size)
            time.sleep(0.002)
            if body:
                client.send(body)
            self.assertEqual(client.response().body, body, size)


class EarlyAnswers(WeirTest):
    def test_an_answer_before_the_body_is_there(self):
        """The rest of a small body still goes up, and both connections live on."""

        def handle(connection, origin):
            while True:
                request = connection.request_head()
                connection.send(ok(b"early"))
                connection.exactly(int(request.header("Content-Length")))

        origin = self.origin(handle)
        client = self.client(self.weir(origin, shards=1))
        for _ in range(3):
            client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n" + b"x" * 10)
            response = client.response()
            self.assertEqual(response.body, b"early")
            client.send(b"x" * 990)
        self.assertEqual(len(origin.connections), 1)

    def refusing(self, size):
        def handle(connection, origin):
            connection.request_head()
            connection.send(b"HTTP/1.1 403 No\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size + pattern(size))
            connection.ending()

        return handle

    def test_an_origin_that_refuses_in_the_middle_of_an_upload(self):
        size = 50_000
        client_size = 20 * MIB
        weir = self.weir(self.origin(self.refusing(size), record=False))
        for _ in range(10):
            client = self.client(weir)
            client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % client_size + b"x" * 100_000)
            response = client.response()
            self.assertEqual((response.status, response.body), (403, pattern(size)))
            self.assertEqual(response.header("Connection"), "close")
            client.close()

    def test_an_origin_that_refuses_and_resets(self):
        """Its answer came before the reset: the client gets it, or a 502, but never half a message that looks whole."""

        def handle(connection, origin):
            connection.request_head()
            connection.send(b"HTTP/1.1 403 No\r\nConnection: close\r\nContent-Length: 5\r\n\r\nno no")
            time.sleep(0.01)
            connection.close()  # with unread bytes: the kernel resets

        weir = self.weir(self.origin(handle, record=False), "--retries=0")
        seen = set()
        for _ in range(20):
            client = self.client(weir)
            client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 300000\r\n\r\n" + b"x" * 100_000)
            response = client.response()
            seen.add(response.status)
            if response.status == 403:
                self.assertEqual(response.body, b"no no")
            client.close()
        self.assertLessEqual(seen, {403, 502})

    def test_lingering_close(self):
        """After an early error the client goes on sending: the reset that this deserves must not eat the answer."""
        weir = self.weir(self.origin(), shards=1)
        for i in range(200 if FULL else 60):
            client = self.client(weir)
            client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: bad\r\n\r\n")
            time.sleep(0.002 * (i % 3))
            try:
                client.send(b"x" * 500_000)
            except (ConnectionResetError, BrokenPipeError):
                self.fail(f"reset while sending, try {i}")
            time.sleep(0.002 * (i % 2))
            self.assertEqual(client.closing_response().status, 400, i)
            client.close()

    def test_lingering_close_after_an_early_answer(self):
        weir = self.weir(self.origin(self.refusing(100_000), record=False))
        for i in range(200 if FULL else 60):
            client = self.client(weir)
            client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 900000\r\n\r\n")
            time.sleep(0.002 * (i % 3))
            client.send(b"x" * 500_000)
            response = client.closing_response()
            self.assertEqual((response.status, response.body), (403, pattern(100_000)), i)
            client.close()

    def test_lingering_has_an_end(self):
        weir = self.weir(self.origin())
        client = self.client(weir)
        client.send(b"GARBAGE\r\n\r\n")
        self.assertEqual(client.closing_response().status, 400)
        # The client never closes: Weir does, some seconds later.
        wait_for(lambda: weir.metric(weir_harness.OPEN) == 0, "the lingering connection is gone")


if __name__ == "__main__":
    unittest.main()
