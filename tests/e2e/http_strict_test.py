"""HTTP/1.1 as it must not pass: what no origin may ever see, what no client may take for whole, and what takes too long.

The attacks are sent byte by byte and in one piece, with a second request hidden behind them. An origin that records
everything shows that nothing of them arrived.
"""

import contextlib
import socket
import threading
import time
import unittest

import weir_harness
from weir_harness import Ended, RawOrigin, ScriptedTest, WeirTest, need, ok, run, wait_for

HIDDEN = b"GET /attack-hidden HTTP/1.1\r\nHost: test\r\n\r\n"


def post(*fields, body=b"", line=b"POST /attack HTTP/1.1", host=b"Host: test"):
    """A request with these fields, as it stands."""
    lines = [line] + ([host] if host else []) + list(fields)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked"
# A body that is something else for everyone who frames it by the other field.
TWO_FACED = b"0\r\n\r\n" + HIDDEN

# (what it is, the request, the status)
FRAMING = [
    ("CL and TE", post(b"Content-Length: 4", CHUNKED, body=TWO_FACED), 400),
    ("TE and CL", post(CHUNKED, b"Content-Length: 4", body=TWO_FACED), 400),
    ("TE and CL 0", post(CHUNKED, b"Content-Length: 0", body=TWO_FACED), 400),
    ("TE and invalid CL", post(CHUNKED, b"Content-Length: x", body=TWO_FACED), 400),
    ("CL twice, the same", post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"), 400),
    ("CL twice, different", post(b"Content-Length: 5", b"Content-Length: 0", body=b"hello"), 400),
    ("CL twice, other case", post(b"content-length: 0", b"CONTENT-LENGTH: 44", body=HIDDEN), 400),
    ("CL list, the same", post(b"Content-Length: 5, 5", body=b"hello"), 400),
    ("CL list, different", post(b"Content-Length: 0, 44", body=HIDDEN), 400),
    ("CL with a comma", post(b"Content-Length: 5,", body=b"hello"), 400),
    ("CL +", post(b"Content-Length: +5", body=b"hello"), 400),
    ("CL -", post(b"Content-Length: -1", body=b"hello"), 400),
    ("CL hex", post(b"Content-Length: 0x5", body=b"hello"), 400),
    ("CL with a fraction", post(b"Content-Length: 5.0", body=b"hello"), 400),
    ("CL with an exponent", post(b"Content-Length: 1e1", body=b"hello"), 400),
    ("CL empty", post(b"Content-Length:", body=b"hello"), 400),
    ("CL of spaces", post(b"Content-Length:   ", body=b"hello"), 400),
    ("CL with a space inside", post(b"Content-Length: 5 5", body=b"hello"), 400),
    ("CL beyond 2^63", post(b"Content-Length: 9223372036854775808", body=HIDDEN), 400),
    ("CL beyond 2^64", post(b"Content-Length: 18446744073709551616", body=HIDDEN), 400),
    ("CL that wraps to 44", post(b"Content-Length: 18446744073709551660", body=HIDDEN), 400),
    ("CL in quotes", post(b'Content-Length: "5"', body=b"hello"), 400),
    ("CL in Arabic digits", post("Content-Length: \u0665".encode(), body=b"hello"), 400),
    ("CL with a tab in front of the colon", post(b"Content-Length\t: 5", body=b"hello"), 400),
    ("CL with a space in front of the colon", post(b"Content-Length : 44", body=HIDDEN), 400),
    ("TE with a space in front of the colon", post(b"Content-Length: 44", b"Transfer-Encoding : chunked", body=HIDDEN), 400),
    ("TE identity", post(b"Transfer-Encoding: identity", b"Content-Length: 44", body=HIDDEN), 400),
    ("TE identity alone", post(b"Transfer-Encoding: identity", body=HIDDEN), 400),
    ("TE gzip, chunked", post(b"Transfer-Encoding: gzip, chunked", body=TWO_FACED), 400),
    ("TE chunked, identity", post(b"Transfer-Encoding: chunked, identity", body=TWO_FACED), 400),
    ("TE chunked, chunked", post(b"Transfer-Encoding: chunked, chunked", body=TWO_FACED), 400),
    ("TE twice", post(CHUNKED, CHUNKED, body=TWO_FACED), 400),
    ("TE chunked and then another", post(CHUNKED, b"Transfer-Encoding: cow", body=TWO_FACED), 400),
    ("TE xchunked", post(b"Transfer-Encoding: xchunked", body=TWO_FACED), 400),
    ("TE chunkedx", post(b"Transfer-Encoding: chunkedx", body=TWO_FACED), 400),
    ("TE with a vertical tab", post(b"Transfer-Encoding: \x0bchunked", body=TWO_FACED), 400),
    ("TE with a form feed", post(b"Transfer-Encoding: chunked\x0c", body=TWO_FACED), 400),
    ("TE with NUL", post(b"Transfer-Encoding: chunked\x00", body=TWO_FACED), 400),
    ("TE with 0xff", post(b"Transfer-Encoding: chunked\xff", body=TWO_FACED), 400),
    ("TE with a no-break space", post(b"Transfer-Encoding: \xa0chunked", body=TWO_FACED), 400),
    ("TE in quotes", post(b'Transfer-Encoding: "chunked"', body=TWO_FACED), 400),
    ("TE with a parameter", post(b"Transfer-Encoding: chunked;q=1", body=TWO_FACED), 400),
    ("TE empty", post(b"Transfer-Encoding:", b"Content-Length: 44", body=HIDDEN), 400),
    ("TE with a comma", post(b"Transfer-Encoding: ,chunked", body=TWO_FACED), 400),
    ("TE folded", post(b"Transfer-Encoding:\r\n chunked", body=TWO_FACED), 400),
    ("TE on a line of its own behind LF", post(b"X: y\nTransfer-Encoding: chunked", body=TWO_FACED), 400),
    ("TE behind CR", post(b"X: y\rTransfer-Encoding: chunked", body=TWO_FACED), 400),
    ("TE in HTTP/1.0", post(CHUNKED, body=TWO_FACED, line=b"POST /attack HTTP/1.0"), 400),
    ("TE and CL in HTTP/1.0", post(CHUNKED, b"Content-Length: 4", body=TWO_FACED, line=b"POST /attack HTTP/1.0"), 400),
    ("TRACE with a body", post(b"Content-Length: 5", body=b"hello", line=b"TRACE /attack HTTP/1.1"), 400),
]

SYNTAX = [
    ("LF for CRLF", b"GET /attack HTTP/1.1\nHost: test\n\n", 400),
    ("LF at the end of a field", b"GET /attack HTTP/1.1\r\nHost: test\nX: y\r\n\r\n", 400),
    ("LF LF at the end", b"GET /attack HTTP/1.1\r\nHost: test\r\n\n", 400),
    ("CR CR LF", b"GET /attack HTTP/1.1\r\nHost: test\r\r\n\r\n", 400),
    ("CR in a value", b"GET /attack HTTP/1.1\r\nHost: test\r\nX: a\rb\r\n\r\n", 400),
    ("CR in a name", b"GET /attack HTTP/1.1\r\nHost: test\r\nX\r: a\r\n\r\n", 400),
    ("CR in the request line", b"GET /attack\r HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("LF in the request line", b"GET /attack\n HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("obs-fold with a space", post(b"X: a\r\n b"), 400),
    ("obs-fold with a tab", post(b"X: a\r\n\tb"), 400),
    ("space in front of the first field", b"GET /attack HTTP/1.1\r\n Host: test\r\n\r\n", 400),
    ("space in front of the colon", post(b"X : y"), 400),
    ("tab in front of the colon", post(b"X\t: y"), 400),
    ("no colon", post(b"X"), 400),
    ("empty name", post(b": y"), 400),
    ("space in a name", post(b"X Y: z"), 400),
    ("NUL in a name", post(b"X\x00: z"), 400),
    ("0x80 in a name", post(b"X\x80: z"), 400),
    ("brackets in a name", post(b"X[]: z"), 400),
    ("NUL in a value", post(b"X: a\x00b"), 400),
    ("BEL in a value", post(b"X: a\x07b"), 400),
    ("ESC in a value", post(b"X: \x1b[0m"), 400),
    ("DEL in a value", post(b"X: a\x7f"), 400),
    ("NUL in the target", b"GET /attack\x00 HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("0x80 in the target", b"GET /attack\x80 HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("DEL in the target", b"GET /attack\x7f HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("tab in the request line", b"GET\t/attack HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("two spaces in the request line", b"GET  /attack HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("two spaces behind the target", b"GET /attack  HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("space at the end of the request line", b"GET /attack HTTP/1.1 \r\nHost: test\r\n\r\n", 400),
    ("space in front of the method", b" GET /attack HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("two empty lines in front", b"\r\n\r\nGET /attack HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("an empty LF line in front", b"\nGET /attack HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("invalid method", b"G(T /attack HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("empty method", b" /attack HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("long method", b"A" * 1000 + b" /attack HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("HTTP/0.9", b"GET /attack\r\n", 400),
    ("HTTP/0.9 with the version", b"GET /attack HTTP/0.9\r\nHost: test\r\n\r\n", 400),
    ("HTTP/2.0", b"GET /attack HTTP/2.0\r\nHost: test\r\n\r\n", 505),
    ("HTTP/3", b"GET /attack HTTP/3\r\nHost: test\r\n\r\n", 400),
    ("HTTP/1.", b"GET /attack HTTP/1.\r\nHost: test\r\n\r\n", 400),
    ("HTTP/1.10", b"GET /attack HTTP/1.10\r\nHost: test\r\n\r\n", 400),
    ("HTTP/01.1", b"GET /attack HTTP/01.1\r\nHost: test\r\n\r\n", 400),
    ("HTTP/1,1", b"GET /attack HTTP/1,1\r\nHost: test\r\n\r\n", 400),
    ("http/1.1", b"GET /attack http/1.1\r\nHost: test\r\n\r\n", 400),
    ("HTTPS/1.1", b"GET /attack HTTPS/1.1\r\nHost: test\r\n\r\n", 400),
    ("ICY", b"GET /attack ICY/1.1\r\nHost: test\r\n\r\n", 400),
    ("the HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ("PRI as HTTP/1.1", b"PRI * HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 100, 400),
    ("a PROXY line", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET /attack HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("nothing but CRLF CRLF", b"\r\n\r\n", 400),
]

TARGETS = [
    ("no slash", b"GET attack HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("empty target", b"GET  HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("* with GET", b"GET * HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("fragment", b"GET /attack#x HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("authority form with GET", b"GET test:80 HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("userinfo", b"GET http://user@test/attack HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("userinfo with a password", b"GET http://a:b@test/attack HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("absolute form without a host", b"GET http:///attack HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("absolute form with nothing", b"GET http:// HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("absolute form with a comma", b"GET http://a,b/attack HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("absolute form with #", b"GET http://a#b/attack HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("absolute form with a bad port", b"GET http://a:99999/attack HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("absolute form with port x", b"GET http://a:x/attack HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("absolute form with a bad IPv6", b"GET http://[::g]/attack HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("absolute form with a backslash", b"GET http://a\\b/attack HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("absolute form without Host", b"GET http://test/attack HTTP/1.1\r\n\r\n", 400),
    ("absolute form, Host twice", b"GET http://test/attack HTTP/1.1\r\nHost: test\r\nHost: test\r\n\r\n", 400),
    ("absolute form with https", b"GET https://test/attack HTTP/1.1\r\nHost: test\r\n\r\n", 421),
    ("ftp", b"GET ftp://test/attack HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("CONNECT", b"CONNECT test:80 HTTP/1.1\r\nHost: test:80\r\n\r\n", 501),
    ("quote in the path", b'GET /attack"x HTTP/1.1\r\nHost: test\r\n\r\n', None),
    ("less-than in the path", b"GET /attack<x HTTP/1.1\r\nHost: test\r\n\r\n", 400),
    ("bad percent", b"GET /attack%zz HTTP/1.1\r\nHost: test\r\n\r\n", None),
    ("cut percent", b"GET /attack% HTTP/1.1\r\nHost: test\r\n\r\n", None),
]

HOSTS = [
    ("no Host", post(host=None), 400),
    ("Host twice, the same", post(b"Host: test"), 400),
    ("Host twice, different", post(b"Host: evil"), 400),
    ("Host twice, other case", post(b"HOST: evil"), 400),
    ("Host empty", post(host=b"Host:"), 400),
    ("Host list", post(host=b"Host: a, b"), 400),
    ("Host with a comma", post(host=b"Host: a,b"), 400),
    ("Host with a space", post(host=b"Host: a b"), 400),
    ("Host with a slash", post(host=b"Host: a/b"), 400),
    ("Host with a backslash", post(host=b"Host: a\\b"), 400),
    ("Host with @", post(host=b"Host: user@test"), 400),
    ("Host with #", post(host=b"Host: test#x"), 400),
    ("Host with ?", post(host=b"Host: test?x"), 400),
    ("Host with a scheme", post(host=b"Host: http://test"), 400),
    ("Host with a bad port", post(host=b"Host: test:80x"), 400),
    ("Host with a large port", post(host=b"Host: test:65536"), 400),
    ("Host with two ports", post(host=b"Host: test:80:80"), 400),
    ("Host with a bad IPv6", post(host=b"Host: [::1"), 400),
    ("Host with a bad IPv6 behind", post(host=b"Host: [::1]x"), 400),
    ("Host with 0xff", post(host=b"Host: te\xffst"), 400),
    ("Host folded", post(host=b"Host: a\r\n b"), 400),
    ("Host with a space in front of the colon", post(b"Host : evil"), 400),
    ("Host only as a folded line", b"GET /attack HTTP/1.1\r\nX: y\r\n Host: test\r\n\r\n", 400),
]

NAMED = [
    (f"Connection names {name.decode()}", post(b"Connection: close, " + name, name + b": 1" if name not in (b"Host",) else b"X: y"), 400)
    for name in (b"Host", b"Content-Length", b"Transfer-Encoding", b"Cookie", b"Authorization", b"X-Forwarded-For",
                 b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Request-ID", b"Via")
] + [
    ("Connection names host", post(b"connection: HOST"), 400),
    ("Connection is no list of tokens", post(b"Connection: a b"), 400),
    ("Connection with a control byte", post(b"Connection: close\x01"), 400),
]  # fmt: skip

# What comes with the head is looked at before the head is passed on.
CHUNKS = [
    (f"chunk: {name}", post(CHUNKED, body=body), 400)
    for name, body in [
        ("size +", b"+5\r\nhello\r\n0\r\n\r\n"),
        ("size -", b"-5\r\nhello\r\n0\r\n\r\n"),
        ("size 0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
        ("size with a space in front", b" 5\r\nhello\r\n0\r\n\r\n"),
        ("size with a space behind", b"5 \r\nhello\r\n0\r\n\r\n"),
        ("size with a tab behind", b"5\t\r\nhello\r\n0\r\n\r\n"),
        ("size with _", b"0_5\r\nhello\r\n0\r\n\r\n"),
        ("size with a comma", b"5,5\r\nhello\r\n0\r\n\r\n"),
        ("size not hex", b"g\r\nhello\r\n0\r\n\r\n"),
        ("size empty", b"\r\nhello\r\n0\r\n\r\n"),
        ("size with NUL", b"5\x00\r\nhello\r\n0\r\n\r\n"),
        ("size beyond 2^63", b"8000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("size beyond 2^64", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("size with many zeros", b"0000000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("size line ends with LF", b"5\nhello\r\n0\r\n\r\n"),
        ("size line ends with CR", b"5\rhello\r\n0\r\n\r\n"),
        ("size line ends with CR CR LF", b"5\r\r\nhello\r\n0\r\n\r\n"),
        ("data longer than its size", b"4\r\nhello\r\n0\r\n\r\n"),
        ("data shorter than its size", b"6\r\nhello\r\n0\r\n\r\n"),
        ("data ends with LF", b"5\r\nhello\n0\r\n\r\n"),
        ("data ends with CR", b"5\r\nhello\r0\r\n\r\n"),
        ("data ends with two other bytes", b"5\r\nhelloxx0\r\n\r\n"),
        ("last chunk ends with LF", b"5\r\nhello\r\n0\n\n"),
        ("body ends with LF", b"5\r\nhello\r\n0\r\n\n"),
        ("extension with LF", b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
        ("extension with CR", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("extension with NUL", b"5;a=\x00\r\nhello\r\n0\r\n\r\n"),
        ("extension without a name", b"5;\r\nhello\r\n0\r\n\r\n"),
        ("extension with an open quote", b'5;a="b\r\nhello\r\n0\r\n\r\n'),
        ("extensions without end", b"5;" + b"a" * 60_000 + b"\r\nhello\r\n0\r\n\r\n"),
        ("second chunk bad", b"5\r\nhello\r\nx\r\n\r\n0\r\n\r\n"),
        ("trailer with a space in front of the colon", b"0\r\nX : y\r\n\r\n"),
        ("trailer folded", b"0\r\nX: y\r\n z\r\n\r\n"),
        ("trailer with LF", b"0\r\nX: y\nZ: a\r\n\r\n"),
        ("trailer with NUL", b"0\r\nX: \x00\r\n\r\n"),
        ("trailer without a colon", b"0\r\nGET /attack-hidden HTTP/1.1\r\n\r\n"),
    ]
]


class Attacks(WeirTest):
    def hit(self, table, slowly=False):
        origin = self.origin()
        weir = self.weir(origin)
        for name, request, status in table:
            with self.subTest(name):
                client = self.client(weir)
                data = request + HIDDEN
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    if slowly:
                        # One piece per byte. Weir may close in the middle: what it said first counts.
                        for byte in data[:1500]:
                            client.send(bytes([byte]))
                    else:
                        client.send(data)
                if status is None:  # others refuse it, we may pass it on: but then only as it is
                    client.close()
                    continue
                response = client.closing_response()
                self.assertEqual(response.status, status)
                self.assertEqual(response.header("Connection"), "close")
                client.close()
        if not slowly:
            self.assertNotIn(b"attack-hidden", origin.received().replace(b"GET /attack-hidden HTTP/1.1\r\nHost: test", b"")
                             if any(status is None for _, _, status in table) else origin.received())
        # The proof that the origin would have recorded it.
        self.assertEqual(self.get(weir, "/sentinel").status, 200)
        seen = origin.received()
        self.assertIn(b"/sentinel", seen)
        if all(status is not None for _, _, status in table):
            self.assertNotIn(b"attack", seen)

    def test_framing(self):
        self.hit(FRAMING)

    def test_framing_slowly(self):
        self.hit(FRAMING, slowly=True)

    def test_syntax(self):
        self.hit(SYNTAX)

    def test_syntax_slowly(self):
        self.hit(SYNTAX, slowly=True)

    def test_targets(self):
        self.hit([row for row in TARGETS if row[2] is not None])

    def test_doubtful_targets_pass_unchanged_or_not_at_all(self):
        origin = self.origin()
        weir = self.weir(origin)
        for name, request, status in TARGETS:
            if status is None:
                with self.subTest(name):
                    origin.forget()
                    client = self.client(weir)
                    client.send(request)
                    response = client.response()
                    self.assertIn(response.status, (200, 400))
                    line = request.split(b"\r\n")[0]
                    self.assertEqual(origin.received().startswith(line + b"\r\n"), response.status == 200)
                    client.close()

    def test_hosts(self):
        self.hit(HOSTS)

    def test_what_connection_may_not_name(self):
        self.hit(NAMED)

    def test_chunks(self):
        self.hit(CHUNKS)

    def test_chunks_slowly(self):
        """The head is gone when the bad byte comes: the origin's connection is reset, so that it acts on nothing."""
        ends = []

        def handle(connection, origin):
            try:
                request = connection.request()
            except (Ended, ConnectionResetError, AssertionError) as error:
                ends.append(type(error))
                raise Ended() from None
            if request is not None:
                origin.requests.append(request)
                connection.send(ok(b"whole"))

        origin = self.origin(handle)
        weir = self.weir(origin)
        for name, request, status in CHUNKS:
            with self.subTest(name):
                client = self.client(weir)
                head, _, body = request.partition(b"\r\n\r\n")
                client.send(head + b"\r\n\r\n")
                wait_for(lambda: b"\r\n\r\n" in origin.received(), "the head arrived")
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    client.send(body[:70_000] + HIDDEN)
                response = client.closing_response()
                self.assertEqual(response.status, status)
                client.close()
                wait_for(lambda: ends, "the origin saw the end")
                self.assertEqual(ends.pop(), ConnectionResetError)
                origin.forget()
        self.assertEqual(origin.requests, [])

    def test_obsolete_text_passes(self):
        origin = self.origin()
        client = self.client(self.weir(origin))
        client.send(post(b"X: \xe4\xf6\xfc \x80\xff", b"Y: a\tb"))
        self.assertEqual(client.response().status, 200)
        self.assertIn(b"\r\nX: \xe4\xf6\xfc \x80\xff\r\n", origin.received())
        self.assertIn(b"\r\nY: a\tb\r\n", origin.received())


class Limits(WeirTest):
    def ask(self, weir, request):
        client = self.client(weir)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            client.send(request)
        response = client.response()
        client.close()
        return response.status

    @staticmethod
    def padded(size):
        """A request head of exactly `size` bytes."""
        head = b"GET / HTTP/1.1\r\nHost: test\r\nX: "
        return head + b"x" * (size - len(head) - 4) + b"\r\n\r\n"

    def test_defaults(self):
        origin = self.origin()
        weir = self.weir(origin)
        self.assertEqual(self.ask(weir, self.padded(16384)), 200)
        self.assertEqual(self.ask(weir, self.padded(16385)), 431)
        self.assertEqual(self.ask(weir, self.padded(1_000_000)), 431)
        fields = b"".join(b"X%d: y\r\n" % i for i in range(99))
        self.assertEqual(self.ask(weir, b"GET / HTTP/1.1\r\nHost: test\r\n" + fields + b"\r\n"), 200)
        self.assertEqual(self.ask(weir, b"GET / HTTP/1.1\r\nHost: test\r\n" + fields + b"Z: y\r\n\r\n"), 431)
        self.assertEqual(self.ask(weir, b"GET /%s HTTP/1.1\r\nHost: test\r\n\r\n" % (b"x" * 8191)), 200)
        self.assertEqual(self.ask(weir, b"GET /%s HTTP/1.1\r\nHost: test\r\n\r\n" % (b"x" * 8192)), 414)
        self.assertEqual(self.ask(weir, b"GET /" + b"x" * 500_000), 414)
        self.assertEqual(len(origin.requests), 3)

    def test_flags(self):
        weir = self.weir(self.origin(), "--max_header_bytes=1024", "--max_header_fields=5", "--max_target_bytes=100")
        self.assertEqual(self.ask(weir, self.padded(1024)), 200)
        self.assertEqual(self.ask(weir, self.padded(1025)), 431)
        self.assertEqual(self.ask(weir, b"GET / HTTP/1.1\r\nHost: test\r\n" + b"A: b\r\n" * 4 + b"\r\n"), 200)
        self.assertEqual(self.ask(weir, b"GET / HTTP/1.1\r\nHost: test\r\n" + b"A: b\r\n" * 5 + b"\r\n"), 431)
        self.assertEqual(self.ask(weir, b"GET /%s HTTP/1.1\r\nHost: test\r\n\r\n" % (b"x" * 99)), 200)
        self.assertEqual(self.ask(weir, b"GET /%s HTTP/1.1\r\nHost: test\r\n\r\n" % (b"x" * 100)), 414)

    def test_the_largest_head(self):
        """All that may be configured still fits what Weir adds to it."""
        weir = self.weir(self.origin(), "--max_header_bytes=30KiB", "--max_header_fields=10000", "--max_target_bytes=30000")
        size = 30 * 1024
        self.assertEqual(self.ask(weir, self.padded(size)), 200)
        self.assertEqual(self.ask(weir, self.padded(size + 1)), 431)
        host = b"h" * ((size - 40) // 2)  # written twice
        self.assertIn(self.ask(weir, b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % host), (200, 431))
        many = b"GET / HTTP/1.1\r\nHost: t\r\n" + b"A:b\r\n" * ((size - 30) // 5) + b"\r\n"
        self.assertIn(self.ask(weir, many), (200, 431))

    def test_slow_pieces_of_a_large_head(self):
        weir = self.weir(self.origin())
        for size, status in ((16384, 200), (16385, 431)):
            client = self.client(weir)
            request = self.padded(size)
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                for at in range(0, size, 997):
                    client.send(request[at : at + 997])
                    time.sleep(0.001)
            self.assertEqual(client.response().status, status)

    def test_response_heads(self):
        state = {}

        def handle(connection, origin):
            while connection.request():
                connection.send(state["answer"])

        client_weir = self.weir(self.origin(handle))
        request = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: "
        for size, status in ((16384, 200), (16385, 502)):
            state["answer"] = head + b"x" * (size - len(head) - 4) + b"\r\n\r\n"
            self.assertEqual(self.ask(client_weir, request), status)
        for count, status in ((99, 200), (100, 502)):
            state["answer"] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + b"A: b\r\n" * count + b"\r\n"
            self.assertEqual(self.ask(client_weir, request), status)

    def test_trailer_sections(self):
        weir = self.weir(self.origin())
        head = post(CHUNKED, body=b"3\r\nabc\r\n0\r\n", line=b"POST / HTTP/1.1")
        self.assertEqual(self.ask(weir, head + b"X: " + b"x" * 16000 + b"\r\n\r\n"), 200)
        self.assertIn(self.ask(weir, head + b"X: " + b"x" * 100_000 + b"\r\n\r\n"), (400, 431))
        self.assertIn(self.ask(weir, head + b"X: y\r\n" * 200 + b"\r\n"), (400, 431))


class BadAnswers(ScriptedTest):
    CASES = [
        ("CL and TE", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        ("CL twice", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
        ("CL list", b"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc"),
        ("CL invalid", b"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc"),
        ("CL negative", b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc"),
        ("TE unknown", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc"),
        ("TE list", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ("TE twice", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("TE in HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("LF", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
        ("LF in a field", b"HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"),
        ("CR in a field", b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n"),
        ("NUL in a field", b"HTTP/1.1 200 OK\r\nX: a\x00\r\nContent-Length: 0\r\n\r\n"),
        ("obs-fold", b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
        ("space in front of the colon", b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n"),
        ("no colon", b"HTTP/1.1 200 OK\r\nX\r\nContent-Length: 0\r\n\r\n"),
        ("empty name", b"HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 0\r\n\r\n"),
        ("not HTTP", b"hello\r\n\r\n"),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n"),
        ("HTTP/2", b"HTTP/2 200 OK\r\n\r\n"),
        ("status of two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
        ("status of four digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
        ("status 099", b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"),
        ("status 600", b"HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n"),
        ("status not a number", b"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n"),
        ("control byte in the reason", b"HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n"),
        ("101 unasked", b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        ("first chunk bad", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
        ("second chunk bad", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n-1\r\n"),
        ("Connection names Set-Cookie's like", b"HTTP/1.1 200 OK\r\nConnection: Content-Length\r\nContent-Length: 0\r\n\r\n"),
    ]

    def test_are_502_and_their_connection_is_done(self):
        for name, answer in self.CASES:
            with self.subTest(name):
                client, response = self.through(answer)
                self.assertEqual(response.status, 502)
                self.assertNotIn(b"abc", response.body)
                # The origin's connection is gone, and the client's goes on.
                wait_for(lambda: self.front.metric(weir_harness.UPSTREAM_OPEN) == 0, "the connection is not kept")
                self.reply = ok(b"fine")
                client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
                self.assertEqual(client.response().body, b"fine")
                client.close()
                # This good one may be pooled; the next case wants to begin with nothing.
                for connection in self.raw.connections:
                    with contextlib.suppress(OSError):
                        connection.sock.shutdown(socket.SHUT_RDWR)
                wait_for(lambda: self.front.metric(weir_harness.UPSTREAM_OPEN) == 0, "the pooled one is closed")

    def test_pooled_connections_that_speak_unasked(self):
        """A 408, garbage, or a whole answer on an idle connection: it is closed, and the next request gets its own."""
        for late in (b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", b"garbage", ok(b"poison")):
            with self.subTest(late):
                client, response = self.through(ok(b"one"))
                self.assertEqual(response.body, b"one")
                self.assertEqual(self.front.metric(weir_harness.UPSTREAM_IDLE), 1)
                self.raw.connections[-1].send(late)
                wait_for(lambda: self.front.metric(weir_harness.UPSTREAM_IDLE) == 0, "it left the pool")
                self.reply = ok(b"two")
                client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
                self.assertEqual(client.response().body, b"two")
                client.close()
                for connection in self.raw.connections:
                    with contextlib.suppress(OSError):
                        connection.sock.shutdown(socket.SHUT_RDWR)
                wait_for(lambda: self.front.metric(weir_harness.UPSTREAM_OPEN) == 0, "all closed")


class Truncated(WeirTest):
    """Part of an answer must never look like the whole."""

    HEADS = {
        "length": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "close": b"HTTP/1.1 200 OK\r\n\r\n",
    }

    def test_answers_that_break_off(self):
        state = {}

        def handle(connection, origin):
            connection.request()
            connection.send(self.HEADS[state["framing"]])
            piece = b"x" * state["bytes"]
            if state["framing"] == "chunked" and piece:
                piece = b"%x\r\n%s\r\n" % (len(piece), piece)
                if state["cut"]:
                    piece = piece[:-5]
            connection.send(piece)
            if state["apart"]:
                time.sleep(0.02)
            if state["end"] == "reset":
                connection.reset()

        weir = self.weir(self.origin(handle, record=False))
        url = f"http://{weir_harness.address_text(weir.address)}/"
        curls = 0
        for framing in self.HEADS:
            for end in ("fin", "reset"):
                if (framing, end) == ("close", "fin"):
                    continue  # that is whole
                for size in (0, 10, 50_000):
                    for apart in (False, True):
                        for cut in (False, True) if framing == "chunked" and size else (False,):
                            state.update(framing=framing, end=end, bytes=size, apart=apart, cut=cut)
                            for request in (b"GET / HTTP/1.1\r\nHost: test\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"):
                                with self.subTest(request=request, **state):
                                    client = self.client(weir)
                                    client.send(request)
                                    try:
                                        response = client.response()
                                        # A reset may overtake the head: then it never was an answer.
                                        self.assertEqual(response.status, 502)
                                    except (Ended, ConnectionResetError):
                                        pass
                                    client.close()
                            if apart and size == 50_000:
                                with self.subTest("curl", **state):
                                    curls += 1
                                    got = run([need("curl"), "-sS", "-o", "/dev/null", "-w", "%{http_code}", url])
                                    self.assertTrue(got.returncode != 0 or got.stdout == "502", got.stdout + got.stderr)
        self.assertGreater(curls, 4)

    def test_head_requests_have_nothing_to_miss(self):
        def handle(connection, origin):
            connection.request()
            connection.send(self.HEADS["length"])

        client = self.client(self.weir(self.origin(handle)))
        client.send(b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n")
        self.assertEqual(client.response("HEAD").status, 200)

    def test_no_answer_at_all(self):
        for how in ("fin", "reset"):
            def handle(connection, origin, how=how):
                origin.requests.append(connection.request())
                if how == "reset":
                    connection.reset()

            origin = self.origin(handle)
            weir = self.weir(origin)
            # Safe to repeat, but there is no other endpoint.
            self.assertEqual(self.get(weir).status, 502)
            client = self.client(weir)
            client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello")
            self.assertEqual(client.response().status, 502)

    def test_idempotent_requests_go_elsewhere(self):
        def broken(connection, origin):
            origin.requests.append(connection.request())
            connection.reset()

        bad, good = self.origin(broken), self.origin()
        weir = self.weir([bad, good], shards=1)
        for _ in range(20):
            self.assertEqual(self.get(weir).status, 200)
        self.assertGreater(len(bad.requests), 5)
        statuses = []
        for _ in range(20):
            client = self.client(weir)
            client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
            statuses.append(client.closing_response().status)
            client.close()
        # What is not idempotent is done once: half of them met the broken one.
        self.assertEqual(sorted(set(statuses)), [200, 502])
        posts = [r for o in (bad, good) for r in o.requests if r and r.method == "POST"]
        self.assertEqual(len(posts), 20)

    def test_an_interim_answer_is_an_answer(self):
        """After a 103 nothing is repeated."""
        def broken(connection, origin):
            origin.requests.append(connection.request())
            connection.send(b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n")
            time.sleep(0.02)
            connection.reset()

        bad, good = self.origin(broken), self.origin()
        weir = self.weir([bad, good], shards=1)
        seen = {self.get(weir).status for _ in range(10)}
        self.assertEqual(seen, {200, 502})


class Timeouts(WeirTest):
    def test_slow_heads_end(self):
        weir = self.weir(self.origin(), "--client_header_timeout=700ms")
        clients = [self.client(weir) for _ in range(50)]
        for client in clients:
            client.send(b"GET / HTTP/1.1\r\nHost: test\r\nX: ")
        stop = threading.Event()

        def trickle():
            while not stop.is_set():
                for client in clients:
                    with contextlib.suppress(OSError):
                        client.send(b"x")
                stop.wait(0.05)

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            for client in clients:
                self.assertEqual(client.closing_response().status, 408)
        finally:
            stop.set()
            thread.join()

    def test_slow_second_heads_end(self):
        weir = self.weir(self.origin(), "--client_header_timeout=700ms", "--keep_alive_timeout=30s")
        client = self.client(weir)
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        self.assertEqual(client.response().status, 200)
        for _ in range(1000):
            try:
                client.send(b"G")
            except OSError:
                break
            if not client.silent(0.05):
                break
        self.assertIn(client.closing_response().status, (400, 408))

    def test_clients_that_say_nothing(self):
        weir = self.weir(self.origin(), "--client_header_timeout=500ms", "--keep_alive_timeout=500ms")
        client = self.client(weir)
        self.assertEqual(client.rest(), b"")
        client = self.client(weir)
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        self.assertEqual(client.response().status, 200)
        self.assertEqual(client.rest(), b"")

    def test_slow_bodies(self):
        weir = self.weir(self.origin(), "--client_body_timeout=2s")
        for head in (b"Content-Length: 10", CHUNKED):
            client = self.client(weir)
            client.send(post(head, body=b"3\r\nabc"))
            self.assertEqual(client.closing_response().status, 408)
        # Slow is not idle.
        client = self.client(weir)
        client.send(post(b"Content-Length: 10"))
        for _ in range(10):
            time.sleep(0.25)
            client.send(b"x")
        self.assertEqual(client.response().status, 200)

    def test_slow_origins(self):
        go = threading.Event()
        self.addCleanup(go.set)

        def silent(connection, origin):
            connection.request()
            go.wait(weir_harness.DEADLINE)

        weir = self.weir(self.origin(silent), "--response_timeout=500ms")
        client = self.client(weir)
        for _ in range(2):  # the client's connection is none the worse
            client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            self.assertEqual(client.response().status, 504)
        client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc")
        self.assertEqual(client.response().status, 504)

    def test_origins_that_stop_in_the_middle(self):
        go = threading.Event()
        self.addCleanup(go.set)

        def stalls(connection, origin):
            connection.request()
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
            go.wait(weir_harness.DEADLINE)

        weir = self.weir(self.origin(stalls), "--upstream_body_timeout=500ms")
        client = self.client(weir)
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        with self.assertRaises((Ended, ConnectionResetError)):
            client.response()

    def test_origins_that_read_nothing(self):
        go = threading.Event()
        self.addCleanup(go.set)
        weir = self.weir(self.origin(lambda connection, origin: go.wait(weir_harness.DEADLINE)), "--upstream_body_timeout=700ms")
        client = self.client(weir)

        def push():
            with contextlib.suppress(OSError):
                client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 100_000_000)

        thread = threading.Thread(target=push)
        thread.start()
        self.assertEqual(client.response().status, 504)
        client.close()
        thread.join()

    def test_clients_that_read_nothing(self):
        def handle(connection, origin):
            connection.request()
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 100_000_000)

        weir = self.weir(self.origin(handle, record=False), "--client_send_timeout=2s")
        client = self.client(weir)
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        wait_for(lambda: weir.metric(weir_harness.ACTIVE) == 1, "it began")
        wait_for(lambda: weir.metric(weir_harness.OPEN) == 0, "it was given up")
        with self.assertRaises((Ended, ConnectionResetError)):
            client.response()
        # Slow is not still: a little now and then keeps it alive, longer than the timeout.
        client = self.client(weir, receive_buffer=16384)
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        for _ in range(30):
            client.exactly(20_000)
            time.sleep(0.1)
        client.close()

    def test_whole_requests(self):
        def drips(connection, origin):
            connection.request()
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            for _ in range(100_000):
                connection.send(b"x")
                time.sleep(0.05)

        weir = self.weir(self.origin(drips), "--request_timeout=800ms")
        client = self.client(weir)
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        with self.assertRaises((Ended, ConnectionResetError)):
            client.response()

    def test_connects_that_hang(self):
        # A listener whose queue is full answers no handshake.
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            fillers = []
            for _ in range(8):
                filler = socket.socket()
                filler.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    filler.connect(full.getsockname())
                fillers.append(filler)
            time.sleep(0.1)
            text = weir_harness.address_text(full.getsockname())
            weir = self.weir(text, "--connect_timeout=300ms")
            self.assertEqual(self.get(weir).status, 504)
            good = self.origin()
            weir = self.weir(f"{text},{good}", "--connect_timeout=300ms", shards=1)
            for _ in range(4):
                self.assertEqual(self.get(weir).status, 200)
            for filler in fillers:
                filler.close()

    def test_origins_that_refuse(self):
        port = weir_harness.free_port()
        weir = self.weir(f"127.0.0.1:{port}", "--set_aside=30s", shards=1)
        self.assertEqual(self.get(weir).status, 502)
        response = self.get(weir)
        self.assertEqual(response.status, 503)
        self.assertTrue(1 <= int(response.header("Retry-After")) <= 30, response.headers)
        client = self.client(weir)
        client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc")
        self.assertEqual(client.response().status, 503)

    def test_origins_that_come_back(self):
        port = weir_harness.free_port()
        weir = self.weir(f"127.0.0.1:{port}", "--set_aside=100ms", shards=1)
        self.assertIn(self.get(weir).status, (502, 503))
        origin = RawOrigin(port=port)
        self.addCleanup(origin.close)
        wait_for(lambda: self.get(weir).status == 200, "it is used again")


if __name__ == "__main__":
    unittest.main()
